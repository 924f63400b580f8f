"""Helpers that the templates share: names, intervals, p-values and the standard details."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.formatting import LOWER_IS_BETTER, count, ends, level, number, percent, size, title

# Baseline -> what it answers.
BASELINE_RULES: Mapping[str, str] = {
    "uniform": "random guesses",
    "midpoint": "always the middle of the scale",
    "item-mode": "always the most common answer of the whole population",
    "nearest-parent": "the answer of the smallest larger group that contains the subgroup",
    "additive": "the sum of the effects of single attributes",
    "multilevel": "a multilevel regression with poststratification",
    "low-rank": "a low-rank model of items and subgroups",
    "item-text": "a regression on the wording of the question",
}
# Notes of claims on attributes that the audited part does not have: made on another part; of a run that was trained there.
ELSEWHERE, TRAINED_THERE = "elsewhere", "trained-there"
METHODS: Mapping[str, str] = {"holm": "Holm", "benjamini-hochberg": "Benjamini-Hochberg", "bonferroni": "Bonferroni"}


@dataclass(frozen=True)
class Names:
    """Names shown to readers: run -> name, and key (subgroup, level, item) -> name. What is missing keeps its own name."""

    runs: Mapping[str, str] = field(default_factory=dict[str, str])
    keys: Mapping[str, str] = field(default_factory=dict[str, str])

    def run(self, name: str | None) -> str:
        """Name a run."""
        return "" if name is None else self.runs.get(name, name)

    def key(self, key: str | None) -> str:
        """Name a subgroup, level or item."""
        return "" if key is None else self.keys.get(key, key)


def interval(claim: Claim, figure: Figure | None = None, *, write: Callable[[float], str] | None = None) -> str:
    """Write the interval of a difference: `95 % CI 1.1 to 5.3`; of another quantity with `write`; `no interval` without one."""
    figure = figure or claim.estimate
    if figure.low is None or figure.high is None:
        return "no interval"
    low_high = f"{write(figure.low)} to {write(figure.high)}" if write else ends(figure.metric or "", figure.low, figure.high)
    return f"{percent(claim.confidence)} CI {low_high}"


def magnitude(figure: Figure) -> str:
    """Write the absolute size of a difference with its unit: `3.2 points`, `.012`."""
    return "unknown" if figure.value is None else size(figure.metric or "", abs(figure.value))


def p_value(value: float) -> str:
    """Write a p-value: `p = .013`, `p < .001`."""
    return "p < .001" if value < 0.001 else f"p = {number(value)}"


def sample(figure: Figure) -> str:
    """Write the sample sizes of a figure: `18 items, 1,204 pairs`; empty without one."""
    sizes = [(figure.items, "item"), (figure.pairs, "pair"), (figure.respondents, "respondent"), (figure.n, figure.unit or "answer")]
    return ", ".join(count(value, noun) for value, noun in sizes if value is not None)


def place(claim: Claim, names: Names) -> str:
    """Write where a claim holds: ` (in Female, 16-24 years)`; empty for the whole run."""
    if claim.by in (None, "all"):
        return ""
    return f" (in {names.keys.get(claim.key or '', f'{claim.by} {claim.key}')})"


def difference(claim: Claim, figure: Figure | None = None) -> str:
    """Write a gain as a difference of the metric: `expected accuracy 3.2 points lower (95 % CI 1.1 to 5.3)`.

    The interval of a difference downwards is written downwards too: 1.1 to 5.3 points lower.
    """
    figure = figure or claim.estimate
    metric = figure.metric or ""
    if figure.value is None:
        return f"{title(metric)} unknown"
    # A gain in a distance is a lower distance.
    higher = (figure.value >= 0) != (metric in LOWER_IS_BETTER)
    low_high = "no interval"
    if figure.low is not None and figure.high is not None:
        low, high = (figure.low, figure.high) if figure.value >= 0 else (-figure.high, -figure.low)
        low_high = f"{percent(claim.confidence)} CI {ends(metric, low, high)}"
    return f"{title(metric)} {magnitude(figure)} {'higher' if higher else 'lower'} ({low_high})"


@dataclass(frozen=True)
class ClaimTemplate:
    """How one kind of claim is worded.

    Attributes:
        sentence: one sentence without a final period: the finding, its main figure and interval.
        details: further statements, each one line; added before the standard details.
        other: the figure of the same finding in another metric. expected: whether to state the value under no effect.
    """

    sentence: Callable[[Claim, Names], str]
    details: Callable[[Claim, Names], list[str]] = lambda claim, names: []
    other: Callable[[Claim, Figure], str] = difference
    expected: bool = True


def listed(texts: list[str] | tuple[str, ...]) -> str:
    """Join texts as a list: `a, b and c`."""
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def standard_details(claim: Claim, template: ClaimTemplate) -> list[str]:
    """Return the details that every claim shares: sample, p-value, value under no effect, other metrics, status."""
    figure, lines = claim.estimate, list[str]()
    if sizes := sample(figure):
        lines.append(f"Based on {sizes}")
    if p := _tested(claim, figure):
        lines.append(p)
    if claim.page_p is not None and claim.strength in (Strength.SHOWN, Strength.WITHIN_MARGIN):
        alone = "" if claim.on_first_screen else "; it holds within its own family of tests only"
        lines.append(f"Corrected over all findings of the first screen: {p_value(claim.page_p)}{alone}")
    if figure.expected is not None and template.expected:
        write = _writer(figure)
        usual = ""
        if figure.expected_low is not None and figure.expected_high is not None:
            usual = f" (usual range {write(figure.expected_low)} to {write(figure.expected_high)})"
        elif figure.expected_high is not None:
            usual = f" (at most {write(figure.expected_high)} in {percent(claim.confidence)} of samples)"
        lines.append(f"Expected under no effect: {write(figure.expected)}{usual}")
    for other in claim.also:
        lines.append(f"Also {template.other(claim, other)}")
    if claim.status is not None:
        lines.append("Declared in advance" if claim.status == "declared" else "Exploratory")
    return lines


def margin_of(claim: Claim, label: str | None = None) -> str:
    """Write the margin that a difference was tested against: `2.0 points`."""
    figure = claim.figure("margin", label)
    return "the margin" if figure is None else magnitude(figure)


def score_of(figure: Figure) -> str:
    """Write a score (no difference): `81.2 %`, `.057`."""
    return "unknown" if figure.value is None else level(figure.metric or "", figure.value)


def _tested(claim: Claim, figure: Figure) -> str:
    parts: list[str] = []
    if figure.p is not None:
        parts.append(p_value(figure.p) if figure.p_adjusted is None else f"uncorrected {p_value(figure.p)}")
    if figure.p_adjusted is not None:
        tests = "" if claim.tests is None else f" for {count(claim.tests, 'test')}"
        how = METHODS.get(claim.correction or "", claim.correction or "")
        parts.insert(0, p_value(figure.p_adjusted) + (f" corrected{tests} ({how})" if how else f" corrected{tests}"))
    return "; ".join(parts)


def _writer(figure: Figure) -> Callable[[float], str]:
    return lambda value: size(figure.metric or "", value)
