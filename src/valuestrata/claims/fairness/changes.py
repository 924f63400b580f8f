"""Rules on a run against another: overall change, who gained and lost, and changes of spread. Rows of CHANGES in, claims out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from valuestrata.claims.claim import Claim, Figure
from valuestrata.claims.fairness.subject import AuditSubject, Row, gain_sign, mean_of_noise, turned_ends
from valuestrata.fairness.context import UNEVEN
from valuestrata.fairness.estimate.groups import FEW_PAIRS
from valuestrata.stats.multiple_testing import holm

# Outcome over subgroups or levels (column `pareto`) -> kind.
PARETO: Mapping[str, str] = {
    "better for all": "better-for-all",
    "better for some, worse for none": "better-for-some",
    "better for some, worse for others": "mixed",
    "worse for some, better for none": "worse-for-some",
    "worse for all": "worse-for-all",
    "no change shown": "no-change-shown",
}
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
        for (by, key), measures in populations.items():
            inside = "subgroup" if by == "all" else "level"
            members = [row for row in scores if row["by"] == inside and (by == "all" or row["key"].startswith(f"{key}="))]
            yield from _population(subject, measures, adjusted[by, key], members)


def _adjusted(populations: Mapping[Place, Mapping[str, Row]]) -> dict[Place, dict[str, float | None]]:
    """Adjust p-values of spreads by Holm: absolute and relative ones of all populations together, corrected variances together."""
    made: dict[Place, dict[str, float | None]] = {place: {} for place in populations}
    for names in ((ABSOLUTE, RELATIVE), (CORRECTED,)):
        tests = [(place, name) for place, rows in populations.items() for name in names if name in rows]
        for (place, name), p in zip(tests, holm([populations[place][name]["p"] for place, name in tests]), strict=True):
            made[place][name] = p
    return made


def _population(
    subject: AuditSubject, measures: Mapping[str, Row], p: Mapping[str, float | None], members: Sequence[Row]
) -> Iterator[Claim]:
    """Yield the claims on one population: who gained and lost, levelling down, the spread."""
    first = next(iter(measures.values()))
    whole = first["by"] == "all"
    known = [row for row in members if row["before"] is not None]
    best = max(known, key=lambda row: gain_sign(first["metric"]) * row["before"], default=None)
    if "max_min" in measures:
        gained = gained_and_lost(subject, measures["max_min"], members)
        # Of attributes only what is shown: the claim on all subgroups says that nothing else is.
        if gained is not None and (whole or gained.kind != "no-change-shown"):
            yield gained
        yield from levelled_down(subject, measures["max_min"], best)
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
    return subject.claim(kind, estimate, effect=row["change"], by="all", key="all", against=against)


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
    """Return who gained and who lost.

    Args:
        spread: row of CHANGES, measure max_min, with the outcome. scores: rows of measure score of the same units.
    """
    kind = PARETO.get(str(spread["pareto"] or "").partition(": ")[0])
    if kind is None:
        return None
    sign = gain_sign(spread["metric"])
    lost = sorted((row for row in scores if row["outcome"] == "worse"), key=lambda row: sign * row["change"])
    gained = sorted((row for row in scores if row["outcome"] == "better"), key=lambda row: -sign * row["change"])
    tests = sum(row["p_holm"] is not None for row in scores)
    widest = [row["ci_high"] - row["ci_low"] for row in scores if row["ci_low"] is not None and row["pairs"] >= FEW_PAIRS]
    unit = "subgroup" if spread["by"] == "all" else "level"
    figures = [Figure(role=role, n=number, unit=unit) for role, number in (("gained", len(gained)), ("lost", len(lost)), ("units", tests))]
    figures += [_change(subject, row, "loser") for row in lost[:MOST_NAMED]] + [_change(subject, row, "winner") for row in gained[:1]]
    if widest:
        figures.append(Figure(role="noise", metric=spread["metric"], value=max(widest) / 2))
    estimate = Figure(
        metric=spread["metric"],
        value=(len(gained) - len(lost)) / tests if tests else None,
        # Holm: the expected share named by chance is at most alpha / tests.
        expected=subject.alpha / tests if tests else None,
        pairs=spread["pairs"],
    )
    return subject.claim(
        kind,
        estimate,
        by=spread["by"],
        key=spread["key"],
        against=spread["against"],
        figures=tuple(figures),
        correction="holm",
        tests=tests,
        notes=_uneven(spread),
    )


def levelled_down(subject: AuditSubject, row: Row, best: Row | None) -> Iterator[Claim]:
    """Yield that the range fell while the best-served unit lost: rows of CHANGES, of max_min and of that unit's score."""
    if row["levelling_down"]:
        loss = () if best is None else (_change(subject, best, "loser"),)
        figures = (*_before_and_after(row), *loss)
        notes = (*(() if row["outcome"] == "narrower" else ("range-not-shown",)), *_uneven(row))
        estimate = _spread_estimate(row, row["p"], tested=False)
        yield subject.claim("levelled-down", estimate, by=row["by"], key=row["key"], against=row["against"], figures=figures, notes=notes)


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
    if corrected is not None and corrected["change"] is not None:
        figures += _before_and_after(corrected, "corrected")
    return subject.claim(
        kind,
        _spread_estimate(row, absolute.p, tested=True),
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
