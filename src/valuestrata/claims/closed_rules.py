"""The rules behind verdict lines: figures in, a sentence out. Each is one small pure function; `docs/verdicts.md` lists them.

A gain is a difference turned so that positive is better, whatever the metric. An interval *includes 0* when
low <= 0 <= high.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from valuestrata.formatting import count, ends, level, number, percent, size, title
from valuestrata.scores.degenerate_answers import PositionPreference, Sameness

# In the order in which they are said of a run.
RULES = (
    "no-baseline",
    "below-item-mode",
    "level-with-item-mode",
    "above-item-mode",
    "below-nearest-parent",
    "level-with-nearest-parent",
    "above-nearest-parent",
    "persona-adds-nothing",
    "persona-hurts",
    "persona-adds",
    "below",
    "level",
    "above",
    "cannot-be-judged",
    "underpowered",
    "saturated",
    "at-the-ceiling",
    "beyond-the-ceiling",
    "cannot-be-placed",
    "taught-what-is-tested",
    "shared-respondents",
    "not-a-test",
    "incomplete",
    "unanswered",
    "same-position",
    "same-answer",
)
# z(.8): a gap this many standard errors past the end of its interval is found four times in five.
Z_POWER = 0.8416
SAME_POSITION = 0.99
# An interval that reaches the ceiling and starts above this part of the way to it is at the ceiling; a wider one says little.
AT_CEILING = 0.8
# More of its responses than this without an answer are worth a line.
UNANSWERED = 0.05


class Finding(NamedTuple):
    """One verdict: columns of VERDICTS that a rule decides."""

    rule: str
    verdict: str
    metric: str | None = None
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    pairs: int | None = None
    against: str | None = None
    status: str | None = None


@dataclass(frozen=True)
class Gap:
    """A paired comparison as the rules read it; `gain`, `low` and `high` positive where `run` is better.

    Attributes:
        within: where it holds, as words (`stratum sex_x_age`), or empty for all pairs.
        confidence: of the interval. thin: share of the part's pairs that both were asked, where that is too few; else None.
        p_adjusted, adjustment, status: as in COMPARISONS.
    """

    run: str
    against: str
    metric: str
    gain: float | None
    low: float | None
    high: float | None
    se: float | None
    pairs: int
    confidence: float = 0.95
    thin: float | None = None
    within: str = ""
    p_adjusted: float | None = None
    adjustment: str | None = None
    status: str | None = None


def standing(gap: Gap, slug: str, below: str, level_with: str, above: str) -> Finding:
    """Say whether a run stands below, level with or above another one, or why that cannot be said.

    Args:
        gap: the comparison. slug: ending of the rule's name. below, level_with, above: how the sentence begins.
    """
    if gap.gain is None or gap.low is None or gap.high is None:
        return _unknown(gap)
    word, head = ("below", below) if gap.high < 0 else ("above", above) if gap.low > 0 else ("level", level_with)
    name = {"below": "below{}", "above": "above{}", "level": "level-with{}"}[word].format(f"-{slug}") if slug else word
    return _of(gap, name, f"{head}: {_figures(gap)}")


def item_mode(gap: Gap) -> Finding:
    """Against the item-mode baseline: does the model know more than each question's usual answer?"""
    baseline = "the item-mode baseline"
    return standing(gap, "item-mode", f"below {baseline}", f"not distinguishable from {baseline}", f"above {baseline}")


def nearest_parent(gap: Gap) -> Finding:
    """Against the nearest-parent baseline: does it know more of a subgroup than the larger group around it tells?"""
    return standing(gap, "nearest-parent", "below nearest parent", "not distinguishable from nearest parent", "above nearest parent")


def other(gap: Gap) -> Finding:
    """Against any other run that a plan declared."""
    return standing(gap, "", f"below {gap.against}", f"not distinguishable from {gap.against}", f"above {gap.against}")


def persona(gap: Gap, smallest_gap: float) -> Finding:
    """Against the same model with shuffled personas: is it the persona that makes it good?

    An interval that includes 0 and reaches past `smallest_gap` leaves room for a gain that was not seen.
    """
    if gap.gain is None or gap.low is None or gap.high is None:
        return _unknown(gap)
    if gap.low > 0:
        return _of(gap, "persona-adds", f"persona adds {size(gap.metric, gap.gain)} of {title(gap.metric)}: {_figures(gap)}")
    if gap.high < 0:
        return _of(gap, "persona-hurts", f"persona hurts: {_figures(gap)}")
    seen = " that can be seen here" if gap.high > smallest_gap else ""
    return _of(gap, "persona-adds-nothing", f"persona adds nothing{seen}: {_figures(gap)}")


def underpowered(gap: Gap, smallest_gap: float) -> Finding | None:
    """Say what gap would have been seen, where none was and one worth knowing of could have been missed."""
    if gap.gain is None or gap.low is None or gap.high is None or gap.se is None or not gap.low <= 0 <= gap.high:
        return None
    # The half width holds what the interval took for few items and for its confidence; power adds to it in proportion.
    seen = 0.5 * (gap.high - gap.low) * (1 + Z_POWER / NormalDist().inv_cdf((1 + gap.confidence) / 2))
    if seen <= smallest_gap:
        return None
    level_ = percent(1 - gap.confidence)
    begins = (
        f"underpowered: a gap under {size(gap.metric, seen)} cannot be seen here (80\u00a0% power, two-sided {level_}): {_figures(gap)}"
    )
    return _of(gap, "underpowered", begins)._replace(value=seen, ci_low=None, ci_high=None)


def ceiling(
    metric: str,
    baseline: str,
    baseline_value: float,
    bound: str,
    bound_value: float,
    relative: tuple[float, float, float] | None,
    pairs: int,
    confidence: float,
) -> Finding | None:
    """Place a run between the best cheap baseline (0) and the ceiling (1); None where it stands short of the ceiling.

    Args:
        metric: of RELATIVE. baseline, baseline_value, bound, bound_value: the two ends, with their scores.
        relative: the place with its interval; None where there is no room between the two ends.
        pairs: behind it. confidence: of the interval.
    """
    between = f"between {baseline} ({level(metric, baseline_value)}) and {bound} ({level(metric, bound_value)})"
    if relative is None:
        text = f"saturated: no room that can be told from noise {between}, {title(metric)}, {count(pairs, 'pair')}"
        return Finding("saturated", text, metric, bound_value, None, None, pairs, baseline)
    value, low, high = relative
    if high < 1:
        return None
    where = f"{percent(value)} of the way {between} in {title(metric)} ({percent(confidence)} interval "
    where += f"{percent(low)} to {percent(high)}; {count(pairs, 'pair')})"
    if low > 1:
        text = f"beyond the ceiling: {where}; only who has seen the answers tested on can do better than their noise allows"
        return Finding("beyond-the-ceiling", text, metric, value, low, high, pairs, baseline)
    if low < AT_CEILING:
        text = f"cannot be placed between the best cheap baseline and the ceiling: {where}"
        return Finding("cannot-be-placed", text, metric, value, low, high, pairs, baseline)
    return Finding("at-the-ceiling", f"at the ceiling: {where}", metric, value, low, high, pairs, baseline)


def shared_respondents(shared: float | None, pairs: int, scheme: str) -> Finding | None:
    """Say that the people of the test pairs stand behind training gold too; `shared` is their mean share."""
    if not shared or scheme.endswith("+disjoint"):
        return None
    text = (
        f"train and test share respondents: on average {percent(shared)} of a test pair's respondents stand behind trained "
        f"gold of the same item ({count(pairs, 'pair')}); {scheme}+disjoint keeps them apart"
    )
    return Finding("shared-respondents", text, None, shared, pairs=pairs)


def taught_what_is_tested(share: float | None, pairs: int) -> Finding | None:
    """Say that a tuned model was taught pairs that it is judged on."""
    if not share:
        return None
    text = f"it was taught {percent(share)} of the pairs that it is judged on ({count(pairs, 'pair')}): no test of what it learned"
    return Finding("taught-what-is-tested", text, None, share, pairs=pairs)


def not_a_test(part: str) -> Finding | None:
    """Say that a part is no test: what is trained on stands in it, or stands behind it."""
    if part not in ("train", "validation"):
        return None
    what = "its pairs are those that train" if part == "train" else "its people are those behind the training pairs, with +disjoint too"
    return Finding("not-a-test", f"the part {part} is no test: {what}")


def incomplete(coverage: float | None, pairs: int, threshold: float) -> Finding | None:
    """Say that a run was not asked all pairs of the part."""
    if coverage is None or coverage >= threshold:
        return None
    text = f"was asked {percent(coverage)} of the pairs only ({count(pairs, 'pair')}; {percent(threshold)} were to be reached)"
    return Finding("incomplete", f"{text}: the score does not stand for the part", None, coverage, pairs=pairs)


def unanswered(refused: float | None, invalid: float | None, pairs: int) -> Finding | None:
    """Say that many responses are no answers; they count as wrong."""
    share = (refused or 0.0) + (invalid or 0.0)
    if share <= UNANSWERED:
        return None
    text = (
        f"no answer in {percent(share)} of its responses (refused {percent(refused or 0.0)}, unreadable or failed {percent(invalid or 0.0)}"
    )
    return Finding("unanswered", f"{text}; {count(pairs, 'pair')}): they count as wrong", None, share, pairs=pairs)


def no_baseline(beside: tuple[str, ...], metric: str, value: float | None, low: float | None, high: float | None, pairs: int) -> Finding:
    """Say that a score cannot be judged; `beside` are the baselines there were, none of them item-mode or nearest-parent."""
    lacking = "only " + ", ".join(beside) if beside else "neither item-mode nor nearest-parent"
    text = f"no baseline was run beside it that knows the questions ({lacking})" if beside else f"no baseline was run beside it ({lacking})"
    score = f"{title(metric)} {level(metric, value)} over {count(pairs, 'pair')}" if value is not None else "its score"
    return Finding("no-baseline", f"{text}: {score} cannot be judged", metric, value, low, high, pairs)


def same_position(position: PositionPreference | None) -> Finding | None:
    """Say that a model picks one end of every list, over items of different numbers of options."""
    if position is None or position.share < SAME_POSITION or position.fewest == position.most:
        return None
    order = "; every list was shown in one order, so that place and code cannot be told apart" if position.one_order else ""
    text = (
        f"same position whatever is asked: {percent(position.share)} of its {count(position.answers, 'answer')} stand "
        f"{position.place} in the list shown, over items of {position.fewest} to {position.most} options{order}"
    )
    return Finding("same-position", text, None, position.share, pairs=position.pairs)


def same_answer(sameness: Sameness, spread: float | None) -> Finding | None:
    """Say that a model answers for everyone alike, where people differ.

    Args:
        sameness: of its answers. spread: `spread_ratio` over all pairs; null where the gold does not vary.
    """
    if spread is None or spread > 1e-9 or sameness.items == 0 or sameness.alike < sameness.items:
        return None
    text = (
        f"same answer for everyone: in none of {count(sameness.items, 'item')} does it answer differently for different "
        f"subgroups ({count(sameness.pairs, 'pair')}), and the subgroups' commonest answers differ"
    )
    return Finding("same-answer", text, "spread_ratio", 0.0, pairs=sameness.pairs)


def _figures(gap: Gap) -> str:
    """Write a gap: what it is against, its size, its interval, the pairs, and what correction does to it."""
    assert gap.gain is not None
    assert gap.low is not None
    assert gap.high is not None
    way = "better" if gap.gain >= 0 else "worse"
    text = (
        f"{title(gap.metric)} {size(gap.metric, abs(gap.gain))} {way} than {gap.against}{f' within {gap.within}' if gap.within else ''} "
        f"({percent(gap.confidence)} interval of the gain {ends(gap.metric, gap.low, gap.high)}; {count(gap.pairs, 'pair')})"
    )
    if gap.thin is not None:
        text += f"; on {percent(gap.thin)} of the pairs only"
    excludes = gap.low > 0 or gap.high < 0
    if excludes and gap.p_adjusted is not None and gap.p_adjusted > 1 - gap.confidence:
        how = {"holm": "Holm", "benjamini-hochberg": "Benjamini-Hochberg"}.get(gap.adjustment or "", gap.adjustment or "adjusted")
        text += f"; not when corrected for the number of comparisons ({how}, p = {number(gap.p_adjusted)})"
    return text


def _unknown(gap: Gap) -> Finding:
    where = f"{title(gap.metric)} against {gap.against}{f' within {gap.within}' if gap.within else ''}"
    if gap.gain is None:
        return _of(gap, "cannot-be-judged", f"cannot be judged: {where}, for there is no pair that both have a value for")
    way = f"{size(gap.metric, abs(gap.gain))} {'better' if gap.gain >= 0 else 'worse'}"
    return _of(gap, "cannot-be-judged", f"cannot be judged: {where}, {way} over {count(gap.pairs, 'pair')}, but without an interval")


def _of(gap: Gap, rule: str, text: str) -> Finding:
    return Finding(rule, text, gap.metric, gap.gain, gap.low, gap.high, gap.pairs, gap.against, gap.status)
