"""Bootstrap intervals of means over items and of ratios of two means.

Variances over items are skewed to the right, so percentiles of resampled means end too early on that side. Two intervals are made
from the same resamples, and the outer ends are taken (below `ENOUGH_TO_STUDENTISE` items, only the first interval):

- percentiles, widened by Student's t over the normal;
- studentised: estimate - q se, q a quantile of (replicate - estimate) / se of that replicate (Efron 1981, Canadian Journal of
  Statistics 9:139-158; Hall 1992, The Bootstrap and Edgeworth Expansion, 3.5). The se of a ratio is that of above - ratio below.

Redrawn respondents are added to both intervals, multiplied by the k of `bootstrap` to count shared noise once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import NEGLIGIBLE, Floats, Indices, generator
from valuestrata.stats.bootstrap import ENOUGH_ITEMS, centred, freedom_of, scale_of, shared_variance, shrink, variance
from valuestrata.stats.intervals import percentile_ends, stretch

Ends = tuple[float, float]
# A replicate whose standard error is below this part of the estimate's standard error is not studentised.
SMALLEST_ERROR = 1e-6
# With fewer items, too many resamples contain only two different items (2 % of six, .3 % of seven). Where these are nearly equal,
# their standard error dominates the studentised interval.
ENOUGH_TO_STUDENTISE = 7


@dataclass(frozen=True)
class ItemValues:
    """One number for each of n items.

    Attributes:
        values: shape (n,). redraws: shape (D, n), deviations under redrawn respondents; None without noise of respondents.
    """

    values: Floats
    redraws: Floats | None = None

    @property
    def mean(self) -> float:
        """Mean over the items."""
        return float(self.values.mean())

    def minus(self, other: ItemValues, times: float = 1.0) -> ItemValues:
        """Subtract `times` the other values; at most one of the two may have redraws."""
        redraws = self.redraws if other.redraws is None else -times * other.redraws
        return ItemValues(self.values - times * other.values, redraws)


class ItemResamples:
    """Resamples of items, shared by all statistics of a table so that they are paired."""

    def __init__(self, items: int, bootstrap: int, seed: int, confidence: float) -> None:
        """Draw `bootstrap` resamples of `items` items."""
        self._seed, self._confidence = seed, confidence
        rng = generator(seed)
        self._weights = rng.multinomial(items, np.full(items, 1.0 / max(items, 1)), size=bootstrap).astype(np.float64)

    def mean(self, values: ItemValues, places: Indices) -> Ends | None:
        """Return the interval of a mean over the items at `places`; None with too few items."""
        return self.ratio(values, ItemValues(np.ones(len(values.values))), places)

    def ratio(self, above: ItemValues, below: ItemValues, places: Indices) -> Ends | None:
        """Return the interval of a ratio of means; None also where the denominator, or a replicate of it, is not above 0."""
        weights = self._weights[:, places]
        # The standard error of a resample needs two items.
        weights = weights[weights.sum(axis=1) > 1]
        if len(places) < 2 or len(weights) < 2 or below.mean <= NEGLIGIBLE:
            return None
        rho, number = above.mean / below.mean, _count(places)
        linearised = above.minus(below, rho)
        scale = float(scale_of(number)[0])
        between = variance(centred((weights @ linearised.values / weights.sum(axis=1))[:, None]) * scale)
        if len(places) < ENOUGH_ITEMS and between[0] <= NEGLIGIBLE**2:
            # A few items that happen to be identical do not show how much items vary.
            return None
        k = _shrink_factor(linearised, between)
        of_people = variance(k * self._people(linearised, len(weights)))
        top, base, error = _studentised(above.values, below.values, weights)
        top = top + k * self._people(above, len(weights))[:, 0]
        base = base + k * self._people(below, len(weights))[:, 0]
        if (base <= NEGLIGIBLE).any():
            return None
        drawn, errors = top / base, np.sqrt(error**2 + of_people / base**2)
        wider = scale * float(stretch(freedom_of(number, between, of_people), self._confidence)[0])
        ends = list(percentile_ends(rho, drawn, wider, self._confidence))
        se = np.sqrt(float(between[0] + of_people[0])) / below.mean
        usable = errors > SMALLEST_ERROR * se
        if len(places) >= ENOUGH_TO_STUDENTISE and usable.any():
            tails = [(1 - self._confidence) / 2, (1 + self._confidence) / 2]
            ends += [*(rho - np.quantile((drawn[usable] - rho) / errors[usable], tails) * se)]
        return float(min(ends)), float(max(ends))

    def _people(self, values: ItemValues, replicates: int) -> Floats:
        """Return deviations of the mean under redrawn respondents, one for each resample, shape (B, 1)."""
        if values.redraws is None:
            return np.zeros((replicates, 1))
        means = values.redraws.mean(axis=1, keepdims=True)
        order = np.random.default_rng([self._seed, 1]).permutation(np.arange(replicates) % len(means))
        return means[order]


def _shrink_factor(values: ItemValues, between: Floats) -> float:
    """Return k, the factor on the redraws."""
    if values.redraws is None:
        return 1.0
    number = _count(values.values)
    single = values.redraws[:, None].astype(np.float32)
    shared = shared_variance(single, single, np.ones((1, len(values.values)))) / number**2 * scale_of(number) ** 2
    return float(shrink(between, variance(values.redraws.mean(axis=1, keepdims=True)), shared)[0])


def _studentised(above: Floats, below: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return numerator and denominator of each resample and the standard error of their ratio, each of shape (B,)."""
    number = weights.sum(axis=1)
    top, base = weights @ above / number, weights @ below / number
    safe = np.where(base > NEGLIGIBLE, base, np.inf)
    rho = top / safe
    squares = weights @ (above * above) - 2 * rho * (weights @ (above * below)) + rho**2 * (weights @ (below * below))
    return top, base, np.sqrt(np.maximum(squares, 0.0) / (number * (number - 1))) / safe


def _count(values: Floats | Indices) -> Floats:
    return np.array([float(len(values))])
