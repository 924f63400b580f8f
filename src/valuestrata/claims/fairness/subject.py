"""What claims about one audited run share: the run, the level of the claims, and the weight of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import pi, sqrt
from statistics import NormalDist
from typing import Any

from valuestrata.claims.claim import Claim, Figure, Strength, importance
from valuestrata.claims.fairness.screen import Row, Screen
from valuestrata.fairness.estimate.gaps import ROUNDING
from valuestrata.formatting import LOWER_IS_BETTER
from valuestrata.scores.plan import Thresholds
from valuestrata.stats.intervals import MarginTest, margin_test

# Kind -> strength and weight of its claims, in the order of the documentation.
KINDS: Mapping[str, tuple[Strength, int]] = {
    "not-a-test": (Strength.UNDETERMINED, 100),
    "mostly-missing": (Strength.SHOWN, 100),
    "many-missing": (Strength.SHOWN, 76),
    "incomplete": (Strength.SHOWN, 62),
    "no-baseline": (Strength.UNDETERMINED, 100),
    "cannot-be-judged": (Strength.UNDETERMINED, 70),
    "differ": (Strength.SHOWN, 80),
    "alike": (Strength.NOT_SHOWN, 62),
    "paper-figures-beyond-noise": (Strength.SHOWN, 48),
    "paper-figures-noise": (Strength.NOT_SHOWN, 44),
    "served-worse": (Strength.SHOWN, 92),
    "nobody-shown-worse": (Strength.NOT_SHOWN, 76),
    "gap-remains": (Strength.SHOWN, 90),
    "gap-unclear": (Strength.SHOWN, 68),
    "gap-explained": (Strength.SHOWN, 66),
    "gap-composition": (Strength.SHOWN, 64),
    "gap-turned": (Strength.SHOWN, 60),
    "gap-hidden": (Strength.SHOWN, 58),
    "no-gap-shown": (Strength.NOT_SHOWN, 74),
    "underpowered": (Strength.UNDERPOWERED, 66),
    "missing-concentrated": (Strength.SHOWN, 74),
    "missing-uneven": (Strength.SHOWN, 70),
    "missing-unclear": (Strength.SHOWN, 52),
    "missing-composition": (Strength.SHOWN, 50),
    "missing-not-concentrated": (Strength.NOT_SHOWN, 44),
    "missing-not-looked-at": (Strength.UNDETERMINED, 80),
    "flattened": (Strength.SHOWN, 56),
    "exaggerated": (Strength.SHOWN, 46),
    "pulled-to-nation": (Strength.SHOWN, 58),
    "intersection-worse": (Strength.SHOWN, 64),
    "intersection-better": (Strength.SHOWN, 50),
    "no-intersection-shown": (Strength.NOT_SHOWN, 42),
    "better": (Strength.SHOWN, 78),
    "worse": (Strength.SHOWN, 86),
    "no-change": (Strength.NOT_SHOWN, 86),
    "better-for-all": (Strength.SHOWN, 70),
    "better-for-some": (Strength.SHOWN, 72),
    "losses-not-excluded": (Strength.SHOWN, 72),
    "mixed": (Strength.SHOWN, 84),
    "worse-for-some": (Strength.SHOWN, 86),
    "gains-not-excluded": (Strength.SHOWN, 86),
    "worse-for-all": (Strength.SHOWN, 88),
    "worse-for-none": (Strength.WITHIN_MARGIN, 66),
    "unchanged": (Strength.WITHIN_MARGIN, 66),
    "no-change-shown": (Strength.NOT_SHOWN, 56),
    "levelled-down": (Strength.SHOWN, 88),
    "opposite-directions": (Strength.SHOWN, 64),
    "spread-narrower": (Strength.SHOWN, 70),
    "spread-wider": (Strength.SHOWN, 76),
    "spread-moved-with-noise": (Strength.NOT_SHOWN, 58),
    "spread-not-changed": (Strength.NOT_SHOWN, 52),
}
RULES = tuple(KINDS)
# Share of its weight that a change within the levels of one attribute keeps.
PART = 0.7


@dataclass(frozen=True)
class AuditSubject:
    """The run and the part of a split that claims are about.

    Attributes:
        run, run_kind: name, and model, control or baseline. scheme, fold, part: of the split.
        confidence: of intervals; claims are made at 1 - confidence.
        thresholds: with the margins. screen: families of tests that its first screen is corrected for.
    """

    run: str
    run_kind: str
    scheme: str
    fold: int | None
    part: str
    confidence: float
    thresholds: Thresholds = field(default_factory=Thresholds)
    screen: Screen = field(default_factory=Screen)

    @property
    def alpha(self) -> float:
        """Significance level of the claims."""
        return 1 - self.confidence

    @property
    def quantile(self) -> float:
        """Normal quantile of a two-sided interval."""
        return NormalDist().inv_cdf((1 + self.confidence) / 2)

    def shown(self, p: float | None, difference: float | None = None) -> bool:
        """Whether an adjusted p-value supports a claim; never about a difference that is rounding."""
        return p is not None and p <= self.alpha and (difference is None or abs(difference) > ROUNDING)

    def margin_test(self, row: Row, value: str = "change", *, level: float | None = None) -> MarginTest | None:
        """Test a difference in a row against the margin of its metric, as a gain; None without an interval or p-value.

        `value` is the column of the difference, `level` that of the ends (see `stats.intervals.margin_test`).
        """
        if None in (row[value], row["ci_low"], row["ci_high"], row["p"]):
            return None
        sign = gain_sign(row["metric"])
        low, high = turned_ends(sign, row["ci_low"], row["ci_high"])
        assert low is not None
        assert high is not None
        margin = self.thresholds.margin(row["metric"])
        return margin_test(sign * row[value], low, high, self.confidence, margin, row["pairs"] or 0, level)

    def page_p(self, family: str, *names: str, p: float | None = None) -> float | None:
        """Return the p-value of a test over the first screen, from `p` within its family (see `Screen.corrected`)."""
        return self.screen.corrected((family, *names), p)

    def claim(self, kind: str, estimate: Figure, *, effect: float | None = None, strength: Strength | None = None, **fields: Any) -> Claim:
        """Return a claim of one of KINDS; `effect` is the size that its importance depends on, `strength` another one than the kind's."""
        usual, weight = KINDS[kind]
        strength = strength or usual
        return Claim(
            family="fairness",
            kind=kind,
            run=self.run,
            run_kind=self.run_kind,
            scheme=self.scheme,
            fold=self.fold,
            part=self.part,
            confidence=self.confidence,
            estimate=estimate,
            strength=strength,
            # Changes within one attribute repeat what all subgroups show.
            importance=importance(weight * (PART if fields.get("by") == "attribute" and fields.get("against") else 1.0), strength, effect),
            **fields,
        )


def gain_sign(metric: str) -> float:
    """Return +1 where a high metric is better, -1 where a low one is."""
    return -1.0 if metric in LOWER_IS_BETTER else 1.0


def turned_ends(sign: float, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """Multiply an interval by +1 or -1."""
    if low is None or high is None:
        return None, None
    return (low, high) if sign > 0 else (-high, -low)


def mean_of_noise(se: float) -> float:
    """Return the mean absolute difference under no effect, for a normal difference with standard error `se`."""
    return sqrt(2 / pi) * se
