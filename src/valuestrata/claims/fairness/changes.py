"""Rules on a run against another: overall change, who gained and lost, and changes of spread. Rows of CHANGES in, claims out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.fairness.subject import AuditSubject, Row, gain_sign, mean_of_noise, turned_ends
from valuestrata.fairness.context import UNEVEN
from valuestrata.fairness.estimate.changes import limits, outcome, pareto
from valuestrata.fairness.estimate.groups import FEW_PAIRS
from valuestrata.stats.intervals import MarginTest
from valuestrata.stats.multiple_testing import holm

# Outcome over subgroups or levels (`fairness.estimate.changes.pareto`) -> kind.
PARETO: Mapping[str, str] = {
    "better for all": "better-for-all",
    "better for some, worse for none": "better-for-some",
    "better for some, losses not excluded": "losses-not-excluded",
    "better for some, worse for others": "mixed",
    "worse for some, better for none": "worse-for-some",
    "worse for some, gains not excluded": "gains-not-excluded",
    "worse for all": "worse-for-all",
    "worse for none, gains not shown": "worse-for-none",
    "no change": "unchanged",
    "no change shown": "no-change-shown",
}
# Kinds that state something of the units that did not change beyond noise: they depend on tests against the margin.
BOUNDED = ("better-for-some", "worse-for-some", "worse-for-none", "unchanged")
# Absolute, relative and noise-free measures of spread.
ABSOLUTE, RELATIVE, CORRECTED = "sd", "cv", "variance_corrected"
# Losers that a claim names; the table has all of them.
MOST_NAMED = 6
Place = tuple[str, str]


def changes(subject: AuditSubject, rows: Sequence[Row]) -> Iterator[Claim]:
    """Yield the claims on the changes of one metric: rows of CHANGES of one run and metric."""
    for against in dict.fromkeys(row["against"] for row in rows):
        mine = [row for row in rows if row["against"] == against]
        scores = [row for row in mine if row["measure"] == "score"]
        yield from (overall(subject, row) for row in scores if row["by"] == "all")
        populations: dict[Place, dict[str, Row]] = {}
        for row in mine:
            if row["measure"] != "score":
                populations.setdefault((row["by"], row["key"]), {})[row["measure"]] = row
        adjusted = _adjusted(populations)
        number = len(populations)
        for (by, key), measures in populations.items():
            inside = "subgroup" if by == "all" else "level"
            members = [row for row in scores if row["by"] == inside and (by == "all" or row["key"].startswith(f"{key}="))]
            yield from _population(subject, measures, adjusted[by, key], members, number)


def _adjusted(populations: Mapping[Place, Mapping[str, Row]]) -> dict[Place, dict[str, float | None]]:
    """Adjust p-values of spreads by Holm: absolute and relative ones of all populations together, corrected variances together."""
    made: dict[Place, dict[str, float | None]] = {place: {} for place in populations}
    for names in ((ABSOLUTE, RELATIVE), (CORRECTED,)):
        tests = [(place, name) for place, rows in populations.items() for name in names if name in rows]
        for (place, name), p in zip(tests, holm([populations[place][name]["p"] for place, name in tests]), strict=True):
            made[place][name] = p
    return made


def _population(
    subject: AuditSubject, measures: Mapping[str, Row], p: Mapping[str, float | None], members: Sequence[Row], populations: int
) -> Iterator[Claim]:
    """Yield the claims on one population: who gained and lost, levelling down, the spread; `populations` is their number."""
    first = next(iter(measures.values()))
    whole = first["by"] == "all"
    known = [row for row in members if row["before"] is not None]
    best = max(known, key=lambda row: gain_sign(first["metric"]) * row["before"], default=None)
    if "max_min" in measures:
        gained = gained_and_lost(subject, measures["max_min"], members)
        # Of attributes only what is shown: the claim on all subgroups says that nothing else is.
        if gained is not None and (whole or gained.kind != "no-change-shown"):
            yield gained
        yield from levelled_down(subject, measures["max_min"], best, populations)
    moves = spread_moves(subject, measures, p)
    if moves is not None and (whole or any(subject.shown(one.p) for one in moves)):
        yield spread_change(subject, *moves, measures.get(CORRECTED))


def overall(subject: AuditSubject, row: Row) -> Claim:
    """Return whether the run is better than the other over all pairs: the row of CHANGES of all."""
    metric, against = row["metric"], row["against"]
    if row["change"] is None or row["outcome"] is None:
        why = "no pair in common" if not row["pairs"] else "no interval"
        estimate = Figure(metric=metric, pairs=row["pairs"])
        return subject.claim("cannot-be-judged", estimate, by="all", key="all", against=against, notes=("no-change", why))
    estimate = _change(subject, row, "estimate")
    kind = {"better": "better", "worse": "worse", "not shown": "no-change"}[row["outcome"]]
    strength, page_p, figures = None, subject.page_p("overall", metric, p=row["p"]), ()
    if kind == "no-change":
        strength, page_p, figures = equivalence(subject, row, "overall")
    return subject.claim(
        kind,
        estimate,
        effect=row["change"],
        strength=strength,
        by="all",
        key="all",
        against=against,
        page_p=page_p,
        figures=figures,
    )


def equivalence(
    subject: AuditSubject, row: Row, family: str, value: str = "change"
) -> tuple[Strength | None, float | None, tuple[Figure, ...]]:
    """Return whether a difference is shown to be within the margin, also over the first screen.

    Returns:
        The strength (None where that is not shown), the p-value over the screen, and the margin with the ends of the shorter interval.
    """
    test = subject.margin_test(row, value)
    if test is None:
        return None, None, ()
    margin = subject.thresholds.margin(row["metric"])
    figures = (Figure(role="margin", metric=row["metric"], value=margin, low=test.low, high=test.high, p=test.within),)
    page_p = subject.page_p(family, row["metric"], p=test.within)
    if not subject.shown(test.within) or not subject.shown(page_p or 0.0):
        return None, None, figures
    return Strength.WITHIN_MARGIN, page_p, figures


def _change(subject: AuditSubject, row: Row, role: str) -> Figure:
    """Return the change of a score as a gain, with the mean size that noise gives."""
    sign = gain_sign(row["metric"])
    low, high = turned_ends(sign, row["ci_low"], row["ci_high"])
    noise = None if low is None or high is None else mean_of_noise((high - low) / (2 * subject.quantile))
    label = None if role == "estimate" else row["key"]
    return Figure(
        role=role,
        metric=row["metric"],
        label=label,
        value=sign * row["change"],
        low=low,
        high=high,
        expected=noise,
        p=row["p"] if role == "estimate" else None,
        p_adjusted=None if role == "estimate" else row["p_holm"],
        pairs=row["pairs"],
    )


def gained_and_lost(subject: AuditSubject, spread: Row, scores: Sequence[Row]) -> Claim | None:
    """Return who gained and who lost, at the level of the first screen; the table has all outcomes at the level of the family alone.

    Args:
        spread: row of CHANGES, measure max_min. scores: rows of measure score of the same units.
    """
    metric, whole = spread["metric"], spread["by"] == "all"
    family = "who" if whole else "levels"
    level, margin_level = (subject.screen.level((name, metric), subject.alpha) for name in (family, f"{family}-margin"))
    sign = gain_sign(metric)
    tested = [row for row in scores if row["p_holm"] is not None]
    outcomes = [None if row["p_holm"] is None else outcome(row["change"], row["p_holm"], int(sign), level) for row in scores]
    tests = [None if row["p_holm"] is None else subject.margin_test(row, level=margin_level) for row in scores]
    bounds = [None if test is None else limits(test, 1, margin_level) for test in tests]
    kind = PARETO.get(pareto(outcomes, bounds, "").partition(": ")[0])
    if kind is None:
        return None
    named = {word: [row for row, one in zip(scores, outcomes, strict=True) if one == word] for word in ("better", "worse")}
    lost = sorted(named["worse"], key=lambda row: sign * row["change"])
    gained = sorted(named["better"], key=lambda row: -sign * row["change"])
    widest = [row["ci_high"] - row["ci_low"] for row in scores if row["ci_low"] is not None and row["pairs"] >= FEW_PAIRS]
    unit = "subgroup" if whole else "level"
    figures = [
        Figure(role=role, n=number, unit=unit) for role, number in (("gained", len(gained)), ("lost", len(lost)), ("units", len(tested)))
    ]
    figures += [_change(subject, row, "loser") for row in lost[:MOST_NAMED]] + [_change(subject, row, "winner") for row in gained[:1]]
    figures += _not_excluded(metric, subject.thresholds.margin(metric), outcomes, tests, margin_level)
    screened = sum(subject.shown(row["p_holm"], row["change"]) for row in tested) - len(gained) - len(lost)
    if screened:
        figures.append(Figure(role="screened", n=screened, unit=unit))
    if widest:
        figures.append(Figure(role="noise", metric=metric, value=max(widest) / 2))
    estimate = Figure(
        metric=metric,
        value=(len(gained) - len(lost)) / len(tested) if tested else None,
        # Holm: the expected share named by chance is at most alpha / tests.
        expected=level / len(tested) if tested else None,
        pairs=spread["pairs"],
    )
    stated = [subject.page_p(family, metric, p=max(row["p_holm"] for row in (*gained, *lost)))] if gained or lost else []
    if kind in BOUNDED:
        rest = [test for test, one in zip(tests, outcomes, strict=True) if test is not None and one not in ("better", "worse")]
        side = {"worse-for-some": "below", "unchanged": "within"}.get(kind, "above")
        stated.append(subject.page_p(f"{family}-margin", metric, p=max((getattr(test, side) for test in rest), default=0.0)))
    return subject.claim(
        kind,
        estimate,
        by=spread["by"],
        key=spread["key"],
        against=spread["against"],
        figures=tuple(figures),
        correction="holm",
        tests=len(tested),
        page_p=max((one for one in stated if one is not None), default=None),
        notes=_uneven(spread),
    )


def _not_excluded(
    metric: str, margin: float, outcomes: Sequence[str | None], tests: Sequence[MarginTest | None], level: float
) -> Iterator[Figure]:
    """Yield the margin, and the largest loss and gain that is not excluded with the number of units where it exceeds the margin."""
    yield Figure(role="margin", metric=metric, value=margin)
    rest = [(one, test) for one, test in zip(outcomes, tests, strict=True) if one not in ("better", "worse")]
    for role, word in (("loss", "not worse"), ("gain", "not better")):
        open_ = [test for _, test in rest if test is None or limits(test, 1, level) not in ("within", word)]
        ends = [-test.low if role == "loss" else test.high for test in open_ if test is not None]
        if open_:
            yield Figure(role=f"{role} not excluded", metric=metric, value=max(ends, default=None), n=len(open_))


def levelled_down(subject: AuditSubject, row: Row, best: Row | None, populations: int = 1) -> Iterator[Claim]:
    """Yield that the range fell while the best-served unit lost: rows of CHANGES, of max_min and of that unit's score.

    It is shown where the fall of the range is significant as well as the loss; otherwise only the loss is.
    """
    if row["levelling_down"]:
        fell = row["outcome"] == "narrower"
        # Both tests must be significant. Each is corrected for its number, and twice because either may be the false one.
        largest = max(1.0 if row["p"] is None else populations * row["p"], 1.0 if best is None else best["p_holm"] or 0.0)
        page_p = subject.page_p("levelled", row["metric"], p=min(1.0, 2 * largest)) if fell else None
        loss = () if best is None else (_change(subject, best, "loser"),)
        figures = (*_before_and_after(row), *loss)
        notes = (*(() if fell else ("range-not-shown",)), *_uneven(row))
        estimate = _spread_estimate(row, row["p"], tested=False)
        yield subject.claim(
            "levelled-down",
            estimate,
            strength=None if fell else Strength.UNDETERMINED,
            by=row["by"],
            key=row["key"],
            against=row["against"],
            figures=figures,
            page_p=page_p,
            notes=notes,
        )


@dataclass(frozen=True)
class SpreadMove:
    """The change of one measure of spread.

    Attributes:
        row: of CHANGES. p: adjusted within its family. beyond: shown, and more than a change of noise gives.
    """

    row: Row
    p: float | None
    beyond: bool

    @property
    def direction(self) -> str:
        """`fell`, `rose` or `stayed`."""
        change = self.row["change"] or 0.0
        return "fell" if change < 0 else "rose" if change > 0 else "stayed"


def spread_moves(subject: AuditSubject, rows: Mapping[str, Row], p: Mapping[str, float | None]) -> tuple[SpreadMove, SpreadMove] | None:
    """Return the changes of the absolute and the relative spread of one population; None where unknown.

    Both contain noise, and a better run contains another amount of it. The absolute spread changed *beyond noise* where the corrected
    variance changed in the same direction, shown; the relative one where its interval excludes the change under noise alone.

    Args:
        rows: measure -> row of CHANGES. p: measure -> adjusted p-value.
    """
    absolute, relative, corrected = (rows.get(name) for name in (ABSOLUTE, RELATIVE, CORRECTED))
    if absolute is None or relative is None or absolute["change"] is None or absolute["p"] is None:
        return None
    same = corrected is not None and corrected["change"] is not None and corrected["change"] * absolute["change"] > 0
    noise = _noise(relative)
    outside = noise is not None and relative["ci_low"] is not None and not relative["ci_low"] <= noise <= relative["ci_high"]
    return (
        SpreadMove(absolute, p.get(ABSOLUTE), subject.shown(p.get(ABSOLUTE)) and same and subject.shown(p.get(CORRECTED))),
        SpreadMove(relative, p.get(RELATIVE), subject.shown(p.get(RELATIVE)) and outside),
    )


def spread_change(subject: AuditSubject, absolute: SpreadMove, relative: SpreadMove, corrected: Row | None) -> Claim:
    """Return the claim on the spread of one population; `corrected` is the row of the corrected variance."""
    row = absolute.row
    beyond = [one for one in (absolute, relative) if one.beyond]
    shown = [one for one in (absolute, relative) if subject.shown(one.p)]
    named = [name for name, one in (("absolute", absolute), ("relative", relative)) if one in (beyond or shown)]
    if {absolute.direction, relative.direction} == {"fell", "rose"} and len(shown) == 2:
        kind, direction = "opposite-directions", absolute.direction
        named = [name for name, one in (("absolute", absolute), ("relative", relative)) if one.beyond]
    elif beyond:
        direction = "narrower" if beyond[0].direction == "fell" else "wider"
        kind = f"spread-{direction}"
    elif shown:
        kind, direction = "spread-moved-with-noise", shown[0].direction
    else:
        kind, direction = "spread-not-changed", None
    figures = [*_before_and_after(row), *_before_and_after(relative.row, "relative")]
    strength = page_p = None
    if kind == "spread-not-changed":
        strength, page_p, margin = equivalence(subject, row, "spreads")
        figures += margin
    elif kind != "spread-moved-with-noise":
        behind = [one.p or 0.0 for one in (shown if kind == "opposite-directions" else beyond)]
        page_p = subject.page_p("spreads", row["metric"], p=max(behind))
    if corrected is not None and corrected["change"] is not None:
        figures += _before_and_after(corrected, "corrected")
    return subject.claim(
        kind,
        _spread_estimate(row, absolute.p, tested=True),
        strength=strength,
        page_p=page_p,
        by=row["by"],
        key=row["key"],
        against=row["against"],
        direction=direction,
        figures=tuple(figures),
        correction="holm",
        notes=(*named, *_uneven(row)),
    )


def _spread_estimate(row: Row, p: float | None, *, tested: bool) -> Figure:
    return Figure(
        metric=row["metric"],
        value=row["change"],
        low=row["ci_low"],
        high=row["ci_high"],
        expected=_noise(row),
        p=row["p"],
        p_adjusted=p if tested else None,
        pairs=row["pairs"],
    )


def _before_and_after(row: Row, name: str = "") -> list[Figure]:
    """Return a spread before and after, each with its mean under noise alone."""
    times = ("before", "after")
    roles = [f"{name} {time}".strip() for time in times]
    return [
        Figure(role=role, metric=row["metric"], value=row[time], expected=row[f"alike_{time}"])
        for role, time in zip(roles, times, strict=True)
    ]


def _noise(row: Row) -> float | None:
    """Return the change of a spread if all were served alike before and after."""
    before, after = row["alike_before"], row["alike_after"]
    return None if before is None or after is None else after - before


def _uneven(row: Row) -> tuple[str, ...]:
    return ("uneven",) if UNEVEN in (row["note"] or "") else ()
