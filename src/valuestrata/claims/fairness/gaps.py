"""Rules on gaps between levels: which are shown, what explains them, and which could have been missed. Rows of GAPS in, claims out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from math import isnan
from statistics import NormalDist
from typing import Any

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.fairness.subject import AuditSubject, Row, gain_sign
from valuestrata.fairness.estimate.gaps import ExplainedGap, GapEstimate

# Power at which a gap counts as detectable.
TARGET = 0.8
# Kinds of shown gaps, by `gaps.REMAINS`.
REMAINS_KINDS = ("remains", "explained", "composition", "turned", "unclear", "hidden")
# What holding the other attributes leaves of a gap in missing answers (`GapEstimate.left_of`) -> kind.
MISSING_KINDS = {
    "remains": "missing-uneven",
    "explained": "missing-composition",
    "turned": "missing-composition",
    "alone": "missing-unclear",
    "untold": "missing-unclear",
    "unknown": "missing-unclear",
}


def explained_of(row: Row) -> ExplainedGap:
    """Return the figures of a row of GAPS."""
    return ExplainedGap(
        gap=GapEstimate.of(row["gap"], row["ci_low"], row["ci_high"], row["p_holm"]),
        **{
            name: GapEstimate.of(*(row[f"{name}{end}"] for end in ("", "_low", "_high", "_p_holm")))
            for name in ("excess", "adjusted", "held")
        },
    )


def gaps(subject: AuditSubject, rows: Sequence[Row], pairs: int, differ: Collection[str | None]) -> Iterator[Claim]:
    """Yield the claims on the gaps of one metric.

    Args:
        rows: of GAPS. pairs: scored of the run. differ: attributes whose levels, taken together, differ beyond noise.
    """
    if not rows:
        return
    metric = rows[0]["metric"]
    if subject.run_kind != "baseline" and not any(row["baseline"] for row in rows):
        yield subject.claim("no-baseline", Figure(metric=metric, pairs=pairs))
    tests = sum(row["p_holm"] is not None for row in rows)
    claimed: set[str] = set()
    for row in rows:
        found = gap(subject, row, tests)
        if found is not None:
            yield found
            claimed |= {row["attribute"]} if found.kind != "gap-hidden" else set()
    unknown = [row for row in rows if row["p_holm"] is None]
    if unknown:
        reason = "no common items" if all(row["gap"] is None for row in unknown) else "no common items or no interval"
        names = ", ".join(dict.fromkeys(row["attribute"] for row in unknown))
        yield subject.claim(
            "cannot-be-judged",
            Figure(metric=metric, n=len(unknown), unit="gap", pairs=sum(row["pairs"] or 0 for row in unknown)),
            by="level",
            notes=("untested-gaps", names, reason),
        )
    yield from _not_shown(subject, [row for row in rows if row["p_holm"] is not None and row["attribute"] not in claimed], tests, differ)


def gap(subject: AuditSubject, row: Row, tests: int) -> Claim | None:
    """Return the claim on one gap, None where nothing is shown."""
    figures = explained_of(row)
    remains = figures.remains(subject.alpha)
    if remains not in REMAINS_KINDS:
        return None
    side = figures.side(subject.alpha)
    turned = figures.turned(side)
    levels = (row["level"], row["against_level"])
    better, worse = levels if gain_sign(row["metric"]) * side > 0 else levels[::-1]
    parts = [_left(role, getattr(turned, role), turned.gap.value, row, subject) for role in ("excess", "held", "adjusted")]
    return _level_claim(subject, row, f"gap-{remains}", better, worse, turned, tuple(parts), tests)


def missing_by_level(subject: AuditSubject, row: Row, tests: int) -> Claim | None:
    """Return the claim that answers are missing more often at one level than at another; None where that is not shown."""
    figures = explained_of(row)
    if not figures.gap.shown(subject.alpha):
        return None
    side = figures.side(subject.alpha)
    turned = figures.turned(side)
    levels = (row["level"], row["against_level"])
    more, less = levels if side > 0 else levels[::-1]
    held = _left("held", turned.held, turned.gap.value, row, subject)
    kind = MISSING_KINDS[held.label or "unknown"]
    return _level_claim(subject, row, kind, more, less, turned, (held,), tests, notes=(held.label or "unknown",))


def _level_claim(
    subject: AuditSubject,
    row: Row,
    kind: str,
    key: str,
    against: str,
    turned: ExplainedGap,
    figures: tuple[Figure, ...],
    tests: int,
    notes: tuple[str, ...] = (),
) -> Claim:
    low, high = (None if isnan(end) else end for end in (turned.gap.low, turned.gap.high))
    # Noise reaches this far in the usual range; the mean is what it gives on average.
    reach = None if row["se"] is None or kind.startswith("missing") else subject.quantile * row["se"]
    estimate = Figure(
        metric=row["metric"],
        value=turned.gap.value,
        low=low,
        high=high,
        se=row["se"],
        expected=row["expected_alike"],
        expected_high=reach,
        p=row["p"],
        p_adjusted=row["p_holm"],
        items=row["items"],
        pairs=row["pairs"],
    )
    return subject.claim(
        kind,
        estimate,
        page_p=_over_screen(subject, row, kind, figures),
        effect=turned.gap.value,
        by="level",
        key=f"{row['attribute']}={key}",
        against=f"{row['attribute']}={against}",
        figures=figures,
        correction="holm",
        tests=tests,
        notes=notes,
    )


def _over_screen(subject: AuditSubject, row: Row, kind: str, figures: Sequence[Figure]) -> float | None:
    """Return the p-value over the first screen: of the gap, and of what the claim says remains of it or is reversed."""
    metric, attribute = row["metric"], row["attribute"]
    stated = [one.p_adjusted for one in figures if one.label in ("remains", "turned") and one.p_adjusted is not None]
    if kind.startswith("missing"):
        return subject.page_p("uneven", metric, p=max(row["p_holm"], *stated[: kind == "missing-uneven"], 0.0))
    if kind == "gap-hidden":
        return subject.page_p("hidden", metric, p=max(stated, default=1.0))
    alone = subject.screen.gaps.get((metric, attribute, row["level"], row["against_level"]), row["p_holm"])
    stated = stated if kind in ("gap-remains", "gap-turned") else []
    return subject.page_p("gaps", metric, attribute, p=max([1.0 if alone is None else alone, *stated]))


def _left(role: str, one: GapEstimate, advantage: float, row: Row, subject: AuditSubject) -> Figure:
    """Return what an explanation leaves of a gap; `label` is one of `gaps.LEFT`."""
    value, low, high, p = (None if isnan(figure) else figure for figure in (one.value, one.low, one.high, one.p))
    label = one.left_of(advantage, subject.alpha)
    return Figure(role=role, metric=row["metric"], label=label, value=value, low=low, high=high, p_adjusted=p)


def _not_shown(subject: AuditSubject, rows: Sequence[Row], tests: int, differ: Collection[str | None]) -> Iterator[Claim]:
    """Yield that no gap of some attributes is shown, and which gaps could have been missed."""
    if not rows:
        return
    names = list(dict.fromkeys(str(row["attribute"]) for row in rows))
    where: dict[str, Any] = {"by": "attribute", "key": ", ".join(names), "correction": "holm", "tests": tests}
    largest = max(rows, key=lambda row: abs(row["gap"]))
    together = tuple(name for name in names if name in differ)
    estimate = _unsigned(largest, largest["gap"], largest["ci_low"], largest["ci_high"])
    tests_ = [subject.margin_test(row, "gap") for row in rows]
    # "No gap beyond the margin" is false only if one gap is beyond it, and that one alone passes with probability alpha.
    p = max(1.0 if test is None else test.within for test in tests_)
    margin = Figure(role="margin", metric=largest["metric"], value=subject.thresholds.margin(largest["metric"]), p=p)
    page_p = subject.page_p("gaps-margin", largest["metric"], p=p)
    within = not together and subject.shown(p) and subject.shown(page_p or 0.0)
    yield subject.claim(
        "no-gap-shown",
        estimate,
        strength=Strength.WITHIN_MARGIN if within else None,
        figures=(margin,),
        page_p=page_p if within else None,
        notes=together,
        **where,
    )
    if within:
        return
    by_precision = sorted(rows, key=lambda row: row["se"])
    first, last = (_detectable(subject, row["se"], tests) for row in (by_precision[0], by_precision[-1]))
    if last > subject.thresholds.margin(largest["metric"]):
        smallest = Figure(role="smallest", metric=largest["metric"], label=_pair(by_precision[0]), value=first)
        yield subject.claim("underpowered", _unsigned(by_precision[-1], last, None, None), figures=(smallest,), **where)


def _pair(row: Row) -> str:
    return f"{row['level']} − {row['against_level']}"


def _unsigned(row: Row, value: float, low: float | None, high: float | None) -> Figure:
    return Figure(
        metric=row["metric"],
        label=_pair(row),
        value=value,
        low=low,
        high=high,
        expected=row["expected_alike"],
        p_adjusted=row["p_holm"],
        items=row["items"],
        pairs=row["pairs"],
    )


def _detectable(subject: AuditSubject, se: float, tests: int) -> float:
    """Return the gap detected with power TARGET at Holm's first step."""
    normal = NormalDist()
    return (normal.inv_cdf(1 - subject.alpha / 2 / max(tests, 1)) + normal.inv_cdf(TARGET)) * se


def reference_level(rows: Sequence[Row]) -> str:
    """Return the level with most pairs in its gaps, the first of equals: rows of GAPS, one attribute."""
    pairs: dict[str, int] = {}
    for row in rows:
        for name in ("level", "against_level"):
            pairs[row[name]] = pairs.get(row[name], 0) + (row["pairs"] or 0)
    return max(pairs, key=lambda level: pairs[level])
