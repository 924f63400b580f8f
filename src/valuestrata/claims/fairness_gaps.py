"""Verdict lines on gaps between levels: which are shown, what explains them, which could not have been seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import NormalDist

from valuestrata.claims.fairness_rules import NO_PROOF, UNJUDGED, Finding, Manner, Row, baseline_named, corrected, p_of, turned, turned_ends
from valuestrata.fairness.estimate.gaps import ExplainedGap, GapEstimate
from valuestrata.formatting import count, percent, size, title

# Chance with which a detectable gap is found.
TARGET = 0.8
# Gaps under this need not be seen: the size from which `underpowered` is said.
SMALLEST_GAP = 0.02


def no_baseline(metric: str, pairs: int) -> Finding:
    """Say that no baseline tells what lies in the survey itself."""
    text = f"how much of any gap in {title(metric)} a model-free answer shows too is not known"
    return Finding("no-baseline", "no cheap baseline was run beside it", f"{text} ({count(pairs, 'pair')})", metric, pairs=pairs)


# What remains of a gap (`gaps.REMAINS`) -> how a line begins that says so, after `better for A than for B (attribute)`.
HEADS: Mapping[str, str] = {
    "remains": ", and that remains",
    "explained": ", but that need not be the model's doing",
    "composition": ", but less, if at all, where their cells are alike in all other attributes",
    "turned": ", but turned round by what explains it",
    "unclear": "; how much of it is the model's doing cannot be told",
    "hidden": " than the plain figures show",
}
# What an explanation leaves of a gap (`Figure.left_of`) -> how that is said.
SAYS: Mapping[str, str] = {
    "remains": "remain",
    "alone": "are left, not shown once corrected for the number of gaps",
    "explained": "are left, which may be nothing and is less than the gap",
    "turned": "remain, the other way round",
    "untold": "are left, which may be nothing or all of it",
}
# The gap with the other attributes held is said where it leaves the plain one by more than this.
WORTH_SAYING = 0.005


def explained_of(row: Row) -> ExplainedGap:
    """Return the figures of a row of GAPS."""
    return ExplainedGap(
        gap=GapEstimate.of(row["gap"], row["ci_low"], row["ci_high"], row["p_holm"]),
        **{
            name: GapEstimate.of(*(row[f"{name}{end}"] for end in ("", "_low", "_high", "_p_holm")))
            for name in ("excess", "adjusted", "held")
        },
    )


def gap(row: Row, family: int, manner: Manner) -> Finding | None:
    """Say what a gap between two levels is worth, and what remains of it; None where nothing is shown.

    A gap that is not there plainly but beside the baseline and at equal difficulty is said, too.

    Args:
        row: of GAPS. family: gaps tested together. manner: of writing.
    """
    figures = explained_of(row)
    remains = figures.remains(manner.alpha)
    if remains not in HEADS:
        return None
    side = figures.side(manner.alpha)
    turned_to = figures.turned(side)
    forward = turned(row["metric"], side) > 0
    better, worse = (row["level"], row["against_level"]) if forward else (row["against_level"], row["level"])
    metric, advantage = row["metric"], turned_to.gap.value
    low, high = turned_ends(side, row["ci_low"], row["ci_high"])
    alike = row["expected_alike"]
    way = "better" if advantage >= 0 else "worse"
    text = f"{title(metric)} {size(metric, abs(advantage))} {way} for {better} ({manner.interval(metric, low, high, 'the advantage')}"
    text += f"; noise alone gives {size(metric, alike)} on average" if alike is not None else ""
    text += f"; {p_of(row['p_holm'])}{corrected(family, 'gap')}; {count(row['items'], 'item')}, {count(row['pairs'], 'pair')})"
    beside = f"beside {baseline_named(row['baseline'])}" if row["baseline"] else "beside a baseline"
    left = [
        _left(beside, turned_to.excess, advantage, metric, manner),
        _left("at equal difficulty", turned_to.adjusted, advantage, metric, manner),
    ]
    held = turned_to.held
    if remains == "composition" or abs(held.value - advantage) > WORTH_SAYING:
        left.insert(1, _left("with the other attributes held", held, advantage, metric, manner))
    return Finding(
        f"gap-{remains}",
        f"better for {better} than for {worse} ({row['attribute']}){HEADS[remains]}",
        f"{text}; {'; '.join(left)}",
        metric,
        "level",
        f"{row['attribute']}={better}",
        advantage,
        low,
        high,
        alike,
        None,
        None if row["se"] is None else NormalDist().inv_cdf((1 + manner.confidence) / 2) * row["se"],
        row["p_holm"],
        row["items"],
        row["pairs"],
        f"{row['attribute']}={worse}",
    )


def _left(called: str, one: GapEstimate, advantage: float, metric: str, manner: Manner) -> str:
    """Say what an explanation, `called` so, leaves of an advantage; all turned so that the advantage is positive."""
    word = one.left_of(advantage, manner.alpha)
    if word == "unknown":
        return f"what is left of it {called} is not known"
    return f"{called} {size(metric, one.value)} {SAYS[word]} ({manner.interval(metric, one.low, one.high)})"


def no_gaps(rows: Sequence[Row], shown: Sequence[str], family: int, manner: Manner, differ: Collection[str | None] = ()) -> list[Finding]:
    """Say of which attributes no gap is shown, and which gaps could not have been seen there.

    Args:
        rows: of GAPS, one run and metric. shown: attributes of which a gap is claimed. family: gaps tested together. manner: of writing.
        differ: attributes whose levels are shown to differ, taken together.
    """
    found: list[Finding] = []
    unknown = [row for row in rows if row["p_holm"] is None]
    if unknown:
        why = "no common items" if all(row["gap"] is None for row in unknown) else "no common items or no interval"
        names = ", ".join(dict.fromkeys(row["attribute"] for row in unknown))
        text = f"{count(len(unknown), 'gap')} in {title(rows[0]['metric'])} between levels of {names}: {why}"
        found.append(
            Finding(
                "cannot-be-judged",
                UNJUDGED,
                f"{text} (0 pairs)" if not any(row["pairs"] for row in unknown) else text,
                rows[0]["metric"],
                "level",
            )
        )
    quiet = [row for row in rows if row["p_holm"] is not None and row["attribute"] not in shown]
    if not quiet:
        return found
    metric = quiet[0]["metric"]
    attributes = ", ".join(dict.fromkeys(row["attribute"] for row in quiet))
    largest = max(quiet, key=lambda row: abs(row["gap"]))
    pair = f"{largest['level']} less {largest['against_level']}"
    claim = f"no gap between levels of {attributes} is shown ({count(len(quiet), 'gap')} in {title(metric)}, Holm over {family}), "
    claim += NO_PROOF
    together = [attribute for attribute in dict.fromkeys(row["attribute"] for row in quiet) if attribute in differ]
    if together:
        claim += f"; the levels of {', '.join(together)} differ, but it is not shown which of them"
    text = (
        f"the largest is {pair}, {size(metric, largest['gap'])} "
        f"({manner.interval(metric, largest['ci_low'], largest['ci_high'])}; noise alone gives {size(metric, largest['expected_alike'])} "
        f"on average; {count(largest['items'], 'item')}, {count(largest['pairs'], 'pair')})"
    )
    found.append(_about_gap("no-gap-shown", claim, text, largest, largest["gap"], largest["ci_low"], largest["ci_high"]))
    seen = sorted(quiet, key=lambda row: row["se"])
    first, last = (_detectable(row["se"], family, manner) for row in (seen[0], seen[-1]))
    if last > SMALLEST_GAP:
        between = f"{size(metric, first)} ({seen[0]['level']}, {seen[0]['against_level']})"
        if len(seen) > 1:
            between += f" to {size(metric, last)} ({seen[-1]['level']}, {seen[-1]['against_level']})"
        text = (
            f"a gap in {title(metric)} must be at least {between} to be seen "
            f"({percent(TARGET)} power{corrected(family, 'gap')}); smaller ones may be there "
            f"(noise alone gives {size(metric, seen[0]['expected_alike'])} to {size(metric, seen[-1]['expected_alike'])} on average; "
            f"{seen[0]['pairs']:,} and {count(seen[-1]['pairs'], 'pair')})"
        )
        found.append(_about_gap("underpowered", f"underpowered for {attributes}", text, seen[-1], last, None, None))
    return found


def _detectable(se: float, family: int, manner: Manner) -> float:
    """Return the gap found with chance TARGET at Holm's first step."""
    normal = NormalDist()
    return (normal.inv_cdf(1 - manner.alpha / 2 / max(family, 1)) + normal.inv_cdf(TARGET)) * se


def _about_gap(rule: str, claim: str, text: str, row: Row, value: float, low: float | None, high: float | None) -> Finding:
    key, against = (f"{row['attribute']}={row[name]}" for name in ("level", "against_level"))
    where = (row["metric"], "level", key, value, low, high, row["expected_alike"], None, None, row["p_holm"])
    return Finding(rule, claim, text, *where, row["items"], row["pairs"], against)


def reference_level(rows: Sequence[Row]) -> str:
    """Return the level with most pairs in its gaps, the first of those that tie: rows of GAPS, one attribute."""
    pairs: dict[str, int] = {}
    for row in rows:
        for name in ("level", "against_level"):
            pairs[row[name]] = pairs.get(row[name], 0) + (row["pairs"] or 0)
    return max(pairs, key=lambda level: pairs[level])
