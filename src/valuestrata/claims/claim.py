"""The claim record: one statement that results support, as fields without prose; and its importance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Strength(StrEnum):
    """How well the data support the effect that a claim is about.

    `shown`: the interval or test excludes no effect. `within the margin`: an equivalence test shows that the effect is smaller than
    the margin of the metric. `not shown`: neither. `undetermined`: the data do not allow a test. `underpowered`: as `not shown`, and an
    effect as large as the margin would have been missed.
    """

    SHOWN = "shown"
    WITHIN_MARGIN = "within the margin"
    NOT_SHOWN = "not shown"
    UNDETERMINED = "undetermined"
    UNDERPOWERED = "underpowered"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number behind a claim, with its uncertainty and sample size.

    Attributes:
        role: what it is in the claim, such as `estimate`, `baseline`, `held`, `adjusted`, `corrected`.
        metric: metric it is measured in, or None.
        label: what it belongs to, such as the name of a baseline, or None.
        value: the estimate. Differences of scores are gains: positive is better, whatever the metric.
        low, high: ends of its confidence interval. se: its standard error.
        expected: its mean under no effect. expected_low, expected_high: the usual range under no effect.
        p: p-value. p_adjusted: p-value corrected for the claim's family of tests.
        items, pairs, respondents: sample sizes. n, unit: another sample size, and what it counts (singular: `call`).
    """

    role: str = "estimate"
    metric: str | None = None
    label: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    expected: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    items: int | None = None
    pairs: int | None = None
    respondents: int | None = None
    n: int | None = None
    unit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement about a run.

    Attributes:
        family: the module of rules that made it: `closed`, `variance`, `fairness`, `judges`, `open` or `tuning`.
        kind: name of the rule's outcome, such as `below-item-mode`; unique within its family.
        run: name of the run. run_kind: `model`, `control` or `baseline`.
        scheme, fold, part: split; the fold is None where folds are pooled. elicitation: how the answers were obtained, or None.
        by, key: subgroup, level, item or component that it is about; None where it is about the whole run.
        against: run, level or component it is compared with, or None.
        direction: `better`, `worse` or another word that the kind defines; None where there is no direction.
        estimate: the main figure. figures: further figures, one per role and label.
        also: main figures of the same finding in other metrics (see `select.merged`).
        correction: method that corrected p-values, such as `holm`. tests: number of tests in its family.
        status: `declared` or `exploratory`; None where it is not a comparison.
        strength: how well the data support it. importance: 0 (least) to 100, from `importance`.
        confidence: level of the intervals.
        page_p: p-value corrected over all claims that the first screen of the run may show (docs/verdicts.md); None for statements
            that are not tests.
        notes: slugs or short texts that the templates of the kind explain.
    """

    family: str
    kind: str
    run: str
    run_kind: str = "model"
    scheme: str | None = None
    fold: int | None = None
    part: str | None = None
    elicitation: str | None = None
    by: str | None = None
    key: str | None = None
    against: str | None = None
    direction: str | None = None
    estimate: Figure = Figure()
    figures: tuple[Figure, ...] = ()
    also: tuple[Figure, ...] = ()
    correction: str | None = None
    tests: int | None = None
    status: str | None = None
    strength: Strength = Strength.SHOWN
    importance: int = 0
    confidence: float = 0.95
    page_p: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def metric(self) -> str | None:
        """Metric of the main figure."""
        return self.estimate.metric

    @property
    def on_first_screen(self) -> bool:
        """Whether the first screen may show it: it finds nothing, is no test, or holds after correction over the whole screen."""
        finding = self.strength in (Strength.SHOWN, Strength.WITHIN_MARGIN)
        return not finding or self.page_p is None or self.page_p <= 1 - self.confidence + 1e-9

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that shows the finding, the main one first."""
        return tuple(figure.metric for figure in (self.estimate, *self.also) if figure.metric is not None)

    def figure(self, role: str, label: str | None = None) -> Figure | None:
        """Return the further figure of a role, and of a label where one is given; None where there is none."""
        return next((one for one in self.figures if one.role == role and label in (None, one.label)), None)


FACTORS: Mapping[Strength, float] = {
    Strength.SHOWN: 1.0,
    Strength.WITHIN_MARGIN: 0.9,
    Strength.NOT_SHOWN: 0.75,
    Strength.UNDERPOWERED: 0.7,
    Strength.UNDETERMINED: 0.6,
}
# A difference of 10 points, or .1 of a distance on 0 to 1, counts as large.
LARGE = 0.10


def importance(weight: float, strength: Strength, effect: float | None = None, large: float = LARGE) -> int:
    """Return `weight * factor(strength) * (0.8 + 0.2 * min(1, |effect| / large))`, rounded to 0..100.

    Args:
        weight: of the kind, 0 to 100: how much a reader who sees one claim only needs this one.
        strength: how well the data support it; its factor is in `FACTORS`.
        effect: size of the effect. The last term is 1 without one. large: the effect that counts as large.
    """
    size = 1.0 if effect is None else 0.8 + 0.2 * min(1.0, abs(effect) / large)
    return round(max(0.0, min(100.0, weight * FACTORS[strength] * size)))
