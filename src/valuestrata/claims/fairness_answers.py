"""Verdict lines on how a run answers: what is missing and for whom, pull toward the nation, levels told apart too little or too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan, sqrt
from statistics import NormalDist

from valuestrata.claims.fairness_gaps import explained_of
from valuestrata.claims.fairness_rules import NO_PROOF, Finding, Manner, Row, corrected, group_line, p_of, turned_ends
from valuestrata.fairness.tables.rows import MANY_MISSING, RATES
from valuestrata.formatting import count, number, percent, size

# Shares of answers missing from which a run's figures need care, and from which they say little else.
MOSTLY_MISSING = 1 / 3
# A pull toward the nation of less than this is not worth a line.
SMALLEST_PULL = 0.05
# What is said of a subgroup whose rate is higher.
HAPPENS: Mapping[str, str] = dict(zip(RATES, ("refused", "left without a readable answer"), strict=True))


def missing_answers(refused: float, invalid: float, pairs: int) -> Finding | None:
    """Say that many answers are missing; from a third on, that they decide who seems served worse."""
    share = refused + invalid
    if share <= MANY_MISSING:
        return None
    how = f"{percent(share)} of its answers are missing (refused {percent(refused)}, unreadable or failed {percent(invalid)}; "
    how += f"{count(pairs, 'pair')}) and count as wrong"
    if share >= MOSTLY_MISSING:
        text = f"{how}; gaps below are gaps in answering as much as in answering rightly"
        return Finding("mostly-missing", "a third or more missing", text, value=share, pairs=pairs)
    return Finding("many-missing", "many answers missing", how, value=share, pairs=pairs)


def not_asked(pairs: int, of: int) -> Finding | None:
    """Say that not all pairs of the part were asked, so that subgroups may have met different items."""
    share = pairs / of if of else 1.0
    if share >= 0.95:
        return None
    claim = f"answered {percent(share)} of the pairs only ({pairs:,} of {count(of, 'pair')})"
    return Finding("incomplete", claim, "the audit does not stand for the part", value=share, pairs=pairs)


def missing_by_subgroup(rows: Sequence[Row], manner: Manner) -> list[Finding]:
    """Say in which subgroups refusals, or invalid answers, are more common than in the rest: rows of GROUPS, metric a rate."""
    metric = rows[0]["metric"]
    tested = [row for row in rows if row["p_worst"] is not None]
    if not tested:
        return []
    family = f"looking at {count(len(tested), 'subgroup')} together, max-T"
    claims = sorted((row for row in tested if row["worst"]), key=lambda row: row["p_worst"])
    if claims:
        head = f"is {HAPPENS[metric]} more often than the rest"
        return [group_line(row, "missing-concentrated", f"{manner.name(row['subgroup'])} {head}", family, None, manner) for row in claims]
    nearest = min(tested, key=lambda row: row["p_worst"])
    head = f"no subgroup is shown to be {HAPPENS[metric]} more often than the rest, {NO_PROOF}"
    head += f"; nearest is {manner.name(nearest['subgroup'])}"
    return [group_line(nearest, "missing-not-concentrated", head, family, None, manner)]


# What the other attributes leave of a gap in missing answers -> rule and end of the claim.
BLAMED: Mapping[str, tuple[str, str]] = {
    "remains": ("missing-uneven", ""),
    "explained": ("missing-composition", ", but less, if at all, where their cells are alike in all other attributes"),
    "turned": ("missing-composition", ", but the other way round where their cells are alike in all other attributes"),
    **dict.fromkeys(
        ("alone", "untold", "unknown"), ("missing-unclear", "; whether that goes with other attributes of their cells cannot be told")
    ),
}


def missing_by_level(row: Row, family: int, manner: Manner) -> Finding | None:
    """Say that refusals, or invalid answers, are more common at one level than at another, and whether other attributes make it so.

    Args:
        row: of GAPS, metric a rate. family: gaps tested together. manner: of writing.
    """
    figures = explained_of(row)
    if not figures.gap.shown(manner.alpha):
        return None
    metric = row["metric"]
    sign = figures.side(manner.alpha)
    turned_to = figures.turned(sign)
    more, less = (row["level"], row["against_level"]) if sign > 0 else (row["against_level"], row["level"])
    low, high = turned_ends(sign, row["ci_low"], row["ci_high"])
    rule, end = BLAMED[turned_to.held.left_of(turned_to.gap.value, manner.alpha)]
    held = turned_to.held
    beside = "not known" if isnan(held.value) else f"by {size(metric, held.value)} ({manner.interval(metric, held.low, held.high)})"
    text = (
        f"by {size(metric, turned_to.gap.value)} "
        f"({manner.interval(metric, low, high)}; noise alone gives {size(metric, row['expected_alike'])} on average; {p_of(row['p_holm'])}"
        f"{corrected(family, 'gap')}; {count(row['items'], 'item')}, {count(row['pairs'], 'pair')}); "
        f"with the other attributes held {beside}; these answers count as wrong"
    )
    keys = (f"{row['attribute']}={more}", f"{row['attribute']}={less}")
    where = (metric, "level", keys[0], turned_to.gap.value, low, high, row["expected_alike"], None, None, row["p_holm"])
    claim = f"{more} is {HAPPENS[metric]} more often than {less} ({row['attribute']}){end}"
    return Finding(rule, claim, text, *where, row["items"], row["pairs"], keys[1])


def not_looked_at(rate: str, share: float, pairs: int) -> Finding:
    """Say that nobody asked whether missing answers are concentrated in some subgroups."""
    text = f"{percent(share)} of them are ({count(pairs, 'pair')}); audit the metric {rate}, too"
    return Finding("missing-not-looked-at", "where answers are missing was not asked", text, rate, value=share, pairs=pairs)


def pulled(rows: Sequence[Row], items: int, manner: Manner) -> Finding | None:
    """Say that wrong answers are the nation's usual answer more often than those of people are.

    The interval takes all errors on one item as a single one, the widest case: errors on an item tend to be alike in all subgroups, and
    the tables do not say how alike.

    Args:
        rows: of GROUPS, metric accuracy. items: behind them. manner: of writing.
    """
    known = [row for row in rows if None not in (row["pull"], row["pull_expected"], row["value"])]
    weights = [max(row["pairs"] * (1 - row["value"] - (row["refusal_rate"] or 0) - (row["invalid_rate"] or 0)), 0.0) for row in known]
    errors = sum(weights)
    if items < 2 or errors < 1:
        return None
    toward, awaited = (sum(w * row[name] for w, row in zip(weights, known, strict=True)) / errors for name in ("pull", "pull_expected"))
    half = NormalDist().inv_cdf((1 + manner.confidence) / 2) * sqrt(max(toward * (1 - toward), 0.0) / items)
    low, high = max(toward - half, 0.0), min(toward + half, 1.0)
    if toward - awaited < SMALLEST_PULL or low <= awaited:
        return None
    text = (
        f"{percent(toward)} of its wrong answers are the nation's usual answer "
        f"({percent(manner.confidence)} interval {percent(low)} to {percent(high)}, all errors on an item taken as one; of people who "
        f"differ from their subgroup's usual answer {percent(awaited)} give it; {count(items, 'item')}, "
        f"{count(round(errors), 'wrong answer')})"
    )
    pairs = sum(row["pairs"] for row in known)
    return Finding(
        "pulled-to-nation",
        "pulled toward the national answer",
        text,
        "accuracy",
        "all",
        "all",
        toward,
        low,
        high,
        awaited,
        items=items,
        pairs=pairs,
    )


def spread_ratio(row: Row, attributes: int, manner: Manner) -> Finding | None:
    """Say that a run flattens or exaggerates an attribute: a row of ERRS."""
    word = row["word"]
    if word not in ("flattened", "exaggerated"):
        return None
    name = "corrected" if word == "flattened" else "raw"
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    figures = (
        f"({percent(manner.confidence)} interval {number(low)} to {number(high)}, 1 where as far apart as people; "
        f"{count(row['pairs'], 'pair')}; each of {count(attributes, 'attribute')} judged alone)"
    )
    if word == "flattened":
        claim = f"the levels of {row['attribute']} are flattened"
        how = f"its answers tell them less apart than people are, spread ratio with noise of people's answers out {number(value)}"
    else:
        claim = f"its answers differ more between levels of {row['attribute']} than people's do, as errors at random make them"
        how = f"spread ratio {number(value)}"
    where = ("spread_ratio", "attribute", row["attribute"], value, low, high, 1.0)
    return Finding(word, claim, f"{how} {figures}", *where, pairs=row["pairs"])
