"""Intervals of means over items and of ratios of two of them: items resampled, respondents redrawn.

Variances over items are skewed to the right: a few items hold most of what an order of options does. Percentiles of resampled means
then end too early on the right. So two intervals are made from the same resamples and the outer of their ends taken (of fewer than
`ENOUGH_TO_STUDENTISE` items the first alone):

- percentiles, moved out as Student's t stands to the normal with the number of items less one degrees of freedom (`intervals`);
- studentised: estimate - q se, q a quantile of (replicate - estimate) / se of that replicate (Efron 1981, Canadian Journal of
  Statistics 9:139-158; Hall 1992, The Bootstrap and Edgeworth Expansion, 3.5). The se of a ratio is that of above - ratio below.

What people differ by also has noise of respondents, which redraws of the data set give. They are added to both, times the k of
`bootstrap`, so that what resampled items have of it is counted once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.scores.bootstrap import ENOUGH_ITEMS, NOTHING, centred, freedom_of, scale_of, shared_variance, shrink
from valuestrata.scores.bootstrap import variance as spread_of
from valuestrata.scores.intervals import stretch
from valuestrata.scores.pairs import Floats, Indices

Ends = tuple[float, float]
# A replicate whose standard error is below this part of the estimate's has none.
SPREADS = 1e-6
# Of fewer items too many resamples hold two items only (2 % of six, .3 % of seven): where these are nearly equal, their standard
# error, and not the figure, decides where the interval ends.
ENOUGH_TO_STUDENTISE = 7


@dataclass(frozen=True)
class Column:
    """A figure of every item.

    Attributes:
        values: shape (n,). redraws: shape (D, n), deviations under redrawn respondents, or None without noise of theirs.
    """

    values: Floats
    redraws: Floats | None = None

    @property
    def mean(self) -> float:
        """Mean over the items."""
        return float(self.values.mean())

    def minus(self, other: Column, times: float = 1.0) -> Column:
        """Subtract `times` another column item by item; at most one of the two has redraws."""
        redraws = self.redraws if other.redraws is None else -times * other.redraws
        return Column(self.values - times * other.values, redraws)


class Items:
    """Resamples of the items of one table, shared by its keys and figures, so that all of them are paired."""

    def __init__(self, items: int, bootstrap: int, seed: int, confidence: float) -> None:
        """Draw `bootstrap` resamples of `items` items by `seed`, for intervals at a confidence."""
        self._seed, self._confidence = seed, confidence
        rng = np.random.default_rng(seed)
        self._weights = rng.multinomial(items, np.full(items, 1.0 / max(items, 1)), size=bootstrap).astype(np.float64)

    def mean(self, column: Column, places: Indices) -> Ends | None:
        """Return the ends of the mean of a column over the items at `places`; None where there are too few to be resampled."""
        return self.ratio(column, Column(np.ones(len(column.values))), places)

    def ratio(self, above: Column, below: Column, places: Indices) -> Ends | None:
        """Return the ends of the ratio of two means; None also where its denominator is not above 0, resampled or not."""
        weights = self._weights[:, places]
        # A resample of fewer than two items of a topic has no spread of its own.
        weights = weights[weights.sum(axis=1) > 1]
        if len(places) < 2 or len(weights) < 2 or below.mean <= NOTHING:
            return None
        rho = above.mean / below.mean
        moved = above.minus(below, rho)
        scale = float(scale_of(_count(places))[0])
        between = spread_of(centred((weights @ moved.values / weights.sum(axis=1))[:, None]) * scale)
        if len(places) < ENOUGH_ITEMS and between[0] <= NOTHING**2:
            # A few items that happen to be equal say nothing of how items differ.
            return None
        k = _shrunk(moved, between)
        of_people = spread_of(k * self._people(moved, len(weights)))
        top, base, error = _studentised(above.values, below.values, weights)
        top = top + k * self._people(above, len(weights))[:, 0]
        base = base + k * self._people(below, len(weights))[:, 0]
        if (base <= NOTHING).any():
            return None
        drawn, spread = top / base, np.sqrt(error**2 + of_people / base**2)
        wider = scale * float(stretch(freedom_of(_count(places), between, of_people), self._confidence)[0])
        tails = np.array([(1 - self._confidence) / 2, (1 + self._confidence) / 2])
        ends = [rho, *(rho + wider * (np.quantile(drawn, tails) - rho))]
        se = np.sqrt(float(between[0] + of_people[0])) / below.mean
        # Where one item was drawn again and again nothing but rounding spreads, and no end follows from it.
        usable = spread > SPREADS * se
        if len(places) >= ENOUGH_TO_STUDENTISE and usable.any():
            ends += [*(rho - np.quantile((drawn[usable] - rho) / spread[usable], tails) * se)]
        return float(min(ends)), float(max(ends))

    def _people(self, column: Column, replicates: int) -> Floats:
        """Return deviations of the mean under redrawn respondents, one for each resample of items, shape (B, 1)."""
        if column.redraws is None:
            return np.zeros((replicates, 1))
        means = column.redraws.mean(axis=1, keepdims=True)
        order = np.random.default_rng([self._seed, 1]).permutation(np.arange(replicates) % len(means))
        return means[order]


def _shrunk(column: Column, between: Floats) -> float:
    """Return k: by how much redraws enter, so that what resampled items have of them is counted once."""
    if column.redraws is None:
        return 1.0
    number = _count(column.values)
    single = column.redraws[:, None].astype(np.float32)
    shared = shared_variance(single, single, np.ones((1, len(column.values)))) / number**2 * scale_of(number) ** 2
    return float(shrink(between, spread_of(column.redraws.mean(axis=1, keepdims=True)), shared)[0])


def _studentised(above: Floats, below: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return both means of each resample and the standard error of their ratio in it, each of shape (B,)."""
    number = weights.sum(axis=1)
    top, base = weights @ above / number, weights @ below / number
    rho = top / np.where(base > NOTHING, base, np.inf)
    squares = weights @ (above * above) - 2 * rho * (weights @ (above * below)) + rho**2 * (weights @ (below * below))
    variance = np.maximum(squares, 0.0) / (number * (number - 1))
    return top, base, np.sqrt(variance) / np.where(base > NOTHING, base, np.inf)


def _count(values: Floats | Indices) -> Floats:
    return np.array([float(len(values))])
