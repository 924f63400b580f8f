"""Levels of an attribute against one another: the gap, that of a baseline on the same pairs, and what remains.

The gap of two levels is the mean, over the items for which both have pairs, of the difference of their means over their cells: the
same items on both sides. It stands beside two explanations that need no bias. The *baseline* answers as the nation or a parent
does: a gap that it shows too lies in the survey, and `excess` = gap - gap of the baseline is what the model adds. The *adjusted*
gap compares cells of equal difficulty, and the one *held* holds the other attributes of the levels' cells (`adjusting`). Noise alone
gives a mean absolute gap of sqrt(2 / pi) se.

Families: the gaps of one run and metric, over all attributes, by Holm; excesses, adjusted gaps and those held likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from valuestrata.fairness.estimate.contrasts import ContrastWeights, item_means
from valuestrata.stats.arrays import Floats

# A difference below this is rounding: weights of contrasts have single precision.
ROUNDING = 1e-6
# What an explanation may do to an advantage, by `GapEstimate.left_of`.
LEFT = ("remains", "alone", "explained", "turned", "untold", "unknown")
# What may remain of `better for X`, by `ExplainedGap.remains`.
REMAINS: Mapping[str, str] = {
    "not known": "no common items, or no interval",
    "not shown": "no gap beyond noise",
    "remains": "shown beside the baseline's gap and at equal difficulty as well",
    "explained": "the baseline's gap, or difficulty, may be all of it, and the other one does not gainsay that",
    "composition": "it goes with the other attributes of the levels' cells",
    "turned": "an explanation leaves a gap the other way round",
    "unclear": "how much is left cannot be told",
    "hidden": "not shown plainly, but beside the baseline's gap and at equal difficulty",
}


@dataclass(frozen=True)
class LevelPairs:
    """The pairs of levels of every attribute, K of them.

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
    """Return the mean absolute gap of levels that are alike: that of a normal variable with the gap's standard error."""
    return np.sqrt(2.0 / np.pi) * se


@dataclass(frozen=True)
class GapEstimate:
    """A gap, or what an explanation leaves of it; NaN where not known.

    Attributes:
        value, low, high: the figure and its interval. p: within its family.
    """

    value: float
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, value: float | None, low: float | None, high: float | None, p: float | None) -> GapEstimate:
        """Read a figure from a row of GAPS, where null is what is not known."""
        return cls(*(np.nan if one is None else float(one) for one in (value, low, high, p)))

    def turned(self, sign: float) -> GapEstimate:
        """Return it times +1 or -1."""
        return self if sign > 0 else GapEstimate(-self.value, -self.high, -self.low, self.p)

    def shown(self, alpha: float) -> bool:
        """Whether it can be told from 0 within its family; what is mere rounding cannot."""
        return self.p <= alpha and abs(self.value) > ROUNDING

    def left_of(self, advantage: float, alpha: float) -> str:
        """Say what an explanation that leaves this does to an advantage: one of `LEFT`.

        It *explains* the advantage where its interval includes 0 and leaves out the advantage. An interval that holds both tells
        nothing: what is left may be nothing or all of it. What is left `alone` would be shown if it were the only gap looked at.
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
        gap: the plain one. excess: less that of the baseline. adjusted: at equal difficulty. held: with the other attributes held.
    """

    gap: GapEstimate
    excess: GapEstimate
    adjusted: GapEstimate
    held: GapEstimate

    def side(self, alpha: float) -> float:
        """Return +1 or -1: the sign of the gap, or of what explanations bring to light where the plain gap is not shown; 0 for neither.

        Both explanations must show it, the same way round: one alone overshoots now and then where levels differ much in difficulty and the
        model treats all alike.
        """
        if self.gap.shown(alpha):
            return float(np.sign(self.gap.value))
        signs = {float(np.sign(one.value)) if one.shown(alpha) else 0.0 for one in (self.excess, self.adjusted)}
        return signs.pop() if len(signs) == 1 else 0.0

    def turned(self, sign: float) -> ExplainedGap:
        """Return all times +1 or -1."""
        return ExplainedGap(*(one.turned(sign) for one in (self.gap, self.excess, self.adjusted, self.held)))

    def remains(self, alpha: float) -> str:
        """Say what remains of the gap: one of `REMAINS`. Table, verdict lines and page all mean this."""
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
