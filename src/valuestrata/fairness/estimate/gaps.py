"""Gaps between levels of an attribute, and what explains them.

The gap of two levels is the mean difference, over the items for which both have pairs, of their means over cells: the same items on both
sides. It is compared with explanations other than bias. A *baseline* answers as the nation or a parent does: a gap that it shows too lies
in the survey, and `excess` = gap - gap of the baseline is what the model adds. The *adjusted* gap compares cells of equal difficulty, and
the *held* gap holds the other attributes constant (`held_attributes`). Under noise alone the mean absolute gap is sqrt(2 / pi) se.

Families: the gaps of one run and metric, over all attributes, by Holm; excess, adjusted and held gaps likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from valuestrata.fairness.estimate.contrasts import ContrastWeights, item_means
from valuestrata.stats.arrays import Floats

# Differences below this are rounding errors: weights of contrasts have single precision.
ROUNDING = 1e-6
# What an explanation leaves of an advantage (`GapEstimate.left_of`).
LEFT = ("remains", "alone", "explained", "turned", "untold", "unknown")
# What remains of `better for X` (`ExplainedGap.remains`).
REMAINS: Mapping[str, str] = {
    "not known": "no common items, or no interval",
    "not shown": "no gap beyond noise",
    "remains": "significant relative to the baseline and at equal difficulty",
    "explained": "the baseline's gap or difficulty may explain it, and the other does not contradict that",
    "composition": "other attributes of the cells may explain it",
    "turned": "an explanation reverses it",
    "unclear": "undetermined how much remains",
    "hidden": "significant only relative to the baseline and at equal difficulty",
}


@dataclass(frozen=True)
class LevelPairs:
    """The K pairs of levels of all attributes.

    Attributes:
        names: (attribute, level, against_level) of each. first, second: shape (K,), rows of `members`.
        members: shape (L, G), 1 where a subgroup has the level.
    """

    names: Sequence[tuple[str, str, str]]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    members: Floats


def level_pairs(levels: Mapping[str, Mapping[str, NDArray[np.bool_]]], groups: int) -> LevelPairs:
    """Pair the levels of each attribute: attribute -> level -> which of the G = `groups` subgroups have it, shape (G,)."""
    rows: list[NDArray[np.bool_]] = []
    names: list[tuple[str, str, str]] = []
    places: list[tuple[int, int]] = []
    for attribute, members in levels.items():
        start = len(rows)
        rows += list(members.values())
        for (a, one), (b, two) in combinations(enumerate(members), 2):
            names.append((attribute, one, two))
            places.append((start + a, start + b))
    ends = np.array(places, dtype=np.intp).reshape(-1, 2)
    return LevelPairs(names, ends[:, 0], ends[:, 1], np.array(rows, dtype=np.float64).reshape(len(rows), groups))


def gap_weights(pairs: LevelPairs, mask: NDArray[np.bool_]) -> ContrastWeights:
    """Return the gap of every pair of levels as a contrast, on the items that both have: mask (G, I)."""
    number = pairs.members @ mask
    common = (number[pairs.first] > 0) & (number[pairs.second] > 0)
    means = item_means(pairs.members, mask)
    apart = (means[pairs.first] - means[pairs.second]) * common[:, None, :]
    return ContrastWeights(apart.astype(np.float32), common.astype(np.float64))


def common_pairs(pairs: LevelPairs, mask: NDArray[np.bool_]) -> Floats:
    """Return the pairs of both levels on the items that both have, shape (K,)."""
    number = pairs.members @ mask
    first, second = number[pairs.first], number[pairs.second]
    return ((first + second) * ((first > 0) & (second > 0))).sum(axis=1)


def expected_alike(se: Floats) -> Floats:
    """Return the mean absolute gap under equal service, for a normal gap with this standard error."""
    return np.sqrt(2.0 / np.pi) * se


@dataclass(frozen=True)
class GapEstimate:
    """A gap, or what an explanation leaves of it; NaN where unknown.

    Attributes:
        value, low, high: estimate and interval. p: adjusted within its family.
    """

    value: float
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, value: float | None, low: float | None, high: float | None, p: float | None) -> GapEstimate:
        """Return the estimate of a row of GAPS, with None for unknown values."""
        return cls(*(np.nan if one is None else float(one) for one in (value, low, high, p)))

    def turned(self, sign: float) -> GapEstimate:
        """Return the estimate times +1 or -1."""
        return self if sign > 0 else GapEstimate(-self.value, -self.high, -self.low, self.p)

    def shown(self, alpha: float) -> bool:
        """Whether it is significant within its family and more than a rounding error."""
        return self.p <= alpha and abs(self.value) > ROUNDING

    def left_of(self, advantage: float, alpha: float) -> str:
        """Return what an explanation that leaves this estimate does to an advantage: one of `LEFT`.

        `explained`: the interval includes 0 and excludes the advantage. `untold`: it includes both. `alone`: significant before correction
        only.
        """
        if np.isnan([self.value, self.low, self.high, self.p]).any():
            return "unknown"
        if self.shown(alpha):
            return "remains" if self.value > 0 else "turned"
        if self.low > 0:
            return "alone"
        return "explained" if self.high >= 0 and self.high < advantage else "untold"


@dataclass(frozen=True)
class ExplainedGap:
    """A gap of two levels with its explanations, all in the same direction.

    Attributes:
        gap: the raw gap. excess: minus that of the baseline. adjusted: at equal difficulty. held: other attributes held constant.
    """

    gap: GapEstimate
    excess: GapEstimate
    adjusted: GapEstimate
    held: GapEstimate

    def side(self, alpha: float) -> float:
        """Return the sign of the gap where it is significant, else that of excess and adjusted gap where both are and agree, else 0.

        Both must agree: a single adjustment may overshoot where levels differ much in difficulty.
        """
        if self.gap.shown(alpha):
            return float(np.sign(self.gap.value))
        signs = {float(np.sign(one.value)) if one.shown(alpha) else 0.0 for one in (self.excess, self.adjusted)}
        return signs.pop() if len(signs) == 1 else 0.0

    def turned(self, sign: float) -> ExplainedGap:
        """Return all estimates times +1 or -1."""
        return ExplainedGap(*(one.turned(sign) for one in (self.gap, self.excess, self.adjusted, self.held)))

    def remains(self, alpha: float) -> str:
        """Return what remains of the gap: one of `REMAINS`."""
        if np.isnan([self.gap.value, self.gap.p]).any():
            return "not known"
        side = self.side(alpha)
        if side == 0:
            return "not shown"
        if not self.gap.shown(alpha):
            return "hidden"
        mine = self.turned(side)
        excess, adjusted, held = (one.left_of(mine.gap.value, alpha) for one in (mine.excess, mine.adjusted, mine.held))
        if held in ("explained", "turned") and excess != "explained":
            return "composition"
        if "turned" in (excess, adjusted):
            return "turned"
        if excess == adjusted == "remains":
            return "remains"
        if "explained" in (excess, adjusted) and not {"remains", "alone"} & {excess, adjusted}:
            return "explained"
        return "unclear"
