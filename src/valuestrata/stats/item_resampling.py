"""Bootstrap intervals of means over items and of ratios of two means, blocks of items being resampled (see `blocks`).

Variances over items are skewed to the right, so percentiles of resampled means end too early on that side. Two intervals are made
from the same resamples, and the outer ends are taken (below `ENOUGH_TO_STUDENTISE` blocks, only the first interval):

- percentiles, widened by Student's t over the normal;
- studentised: estimate - q se, q a quantile of (replicate - estimate) / se of that replicate (Efron 1981, Canadian Journal of
  Statistics 9:139-158; Hall 1992, The Bootstrap and Edgeworth Expansion, 3.5). The se of a ratio is that of above - ratio below.

Redrawn respondents are added to both intervals, multiplied by the k of `bootstrap` to count shared noise once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import NEGLIGIBLE, Floats, Indices, generator
from valuestrata.stats.blocks import Units, draw_blocks, is_single, sum_blocks, units_of
from valuestrata.stats.bootstrap import ENOUGH_ITEMS, centred, freedom_of, scale_of, shared_variance, shrink, variance
from valuestrata.stats.intervals import percentile_ends, stretch

Ends = tuple[float, float]
# A replicate whose standard error is below this part of the estimate's standard error is not studentised.
SMALLEST_ERROR = 1e-6
# With fewer blocks, too many resamples contain only two different ones (2 % of six, .3 % of seven). Where these are nearly equal,
# their standard error dominates the studentised interval. Items without blocks count as blocks.
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


@dataclass(frozen=True)
class ItemDraws:
    """Resamples of items for statistics that are no means.

    Attributes:
        weights: shape (B, I), how often each item is drawn.
        blocks: shape (I,), the block of each item; None where items are drawn.
        number: effective number of blocks behind the statistic; None where items are drawn.
    """

    weights: Floats
    blocks: Indices | None
    number: float | None

    @classmethod
    def of(cls, blocks: Indices, used: Indices, bootstrap: int, random: np.random.Generator) -> ItemDraws:
        """Draw blocks, or items if the items in use are mostly of one block (see `blocks.units_of`).

        Args:
            blocks: shape (I,), any numbers. used: items that the statistic uses. bootstrap: B. random: draws items, its child blocks.
        """
        blocks = np.unique(blocks, return_inverse=True)[1]
        units = units_of(np.isin(np.arange(len(blocks)), used)[None].astype(np.float64), blocks)
        items = draw_blocks(random, np.arange(len(blocks)), bootstrap)
        if not units.by_block[0]:
            return cls(items, None, None)
        return cls(draw_blocks(random.spawn(1)[0], blocks, bootstrap), blocks, float(units.number[0]))

    def interval(self, value: float, replicates: Floats, confidence: float, ends: Ends) -> Ends | tuple[None, None]:
        """Return a percentile interval; None where at least half of the replicates are undefined.

        With n blocks the percentiles are moved sqrt(n / (n - 1)) t / z times as far from the value, t with n - 1 degrees of freedom,
        and cut to `ends`.
        """
        known = replicates[~np.isnan(replicates)]
        if len(known) <= len(replicates) / 2:
            return None, None
        if self.number is None:
            low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
            return float(low), float(high)
        number = np.array([self.number])
        wider = float(scale_of(number)[0] * stretch(number - 1, confidence)[0])
        low, high = np.clip(percentile_ends(value, known, wider, confidence), *ends)
        return float(low), float(high)


@dataclass(frozen=True)
class _DrawnUnits:
    """The units that are resampled for some items.

    Attributes:
        unit: shape (n,), the unit 0..U-1 of each item; None where every item is one.
        sizes: shape (U,), items of each unit. weights: shape (B, U), how often each is drawn. number: effective number of units.
    """

    unit: Indices | None
    sizes: Floats
    weights: Floats
    number: Floats

    def sums(self, values: Floats) -> Floats:
        """Sum values (..., n) by unit."""
        return values if self.unit is None else sum_blocks(values, self.unit)

    @property
    def items(self) -> Floats:
        """Number of items of each resample, shape (B,)."""
        return self.weights @ self.sizes


class ItemResamples:
    """Resamples of items in blocks, shared by all statistics of a table so that they are paired."""

    def __init__(self, blocks: Indices, bootstrap: int, seed: int, confidence: float) -> None:
        """Draw `bootstrap` resamples of items and of their blocks, given as numbers of shape (I,) (see `blocks.block_numbers`)."""
        self._seed, self._confidence, self._blocks = seed, confidence, blocks
        self._weights = draw_blocks(generator(seed), np.arange(len(blocks)), bootstrap)
        self._block_weights = self._weights if is_single(blocks) else draw_blocks(generator(seed, 2), blocks, bootstrap)

    def blocks(self, places: Indices) -> float | None:
        """Return the effective number of blocks resampled for the items at `places`; None where items are."""
        units = self._units(places)
        return float(units.number[0]) if units.by_block[0] else None

    def mean(self, values: ItemValues, places: Indices) -> Ends | None:
        """Return the interval of a mean over the items at `places`; None with too few items."""
        return self.ratio(values, ItemValues(np.ones(len(values.values))), places)

    def ratio(self, above: ItemValues, below: ItemValues, places: Indices) -> Ends | None:
        """Return the interval of a ratio of means; None also where the denominator, or a replicate of it, is not above 0."""
        drawn = self._drawn(places)
        if len(places) < 2 or len(drawn.weights) < 2 or below.mean <= NEGLIGIBLE:
            return None
        rho, number = above.mean / below.mean, drawn.number
        linearised = above.minus(below, rho)
        scale = float(scale_of(number)[0])
        between = variance(centred((drawn.weights @ drawn.sums(linearised.values) / drawn.items)[:, None]) * scale)
        if number[0] < ENOUGH_ITEMS and between[0] <= NEGLIGIBLE**2:
            # A few items that happen to be identical do not show how much items vary.
            return None
        k = _shrink_factor(linearised, between, drawn)
        of_people = variance(k * self._people(linearised, len(drawn.weights)))
        top, base, error = _studentised(drawn.sums(above.values), drawn.sums(below.values), drawn)
        top = top + k * self._people(above, len(top))[:, 0]
        base = base + k * self._people(below, len(base))[:, 0]
        if (base <= NEGLIGIBLE).any():
            return None
        ratios, errors = top / base, np.sqrt(error**2 + of_people / base**2)
        wider = scale * float(stretch(freedom_of(number, between, of_people, None if drawn.unit is None else number), self._confidence)[0])
        ends = list(percentile_ends(rho, ratios, wider, self._confidence))
        se = np.sqrt(float(between[0] + of_people[0])) / below.mean
        usable = errors > SMALLEST_ERROR * se
        if number[0] >= ENOUGH_TO_STUDENTISE and usable.any():
            tails = [(1 - self._confidence) / 2, (1 + self._confidence) / 2]
            ends += [*(rho - np.quantile((ratios[usable] - rho) / errors[usable], tails) * se)]
        return float(min(ends)), float(max(ends))

    def _units(self, places: Indices) -> Units:
        counts = np.zeros((1, len(self._blocks)))
        counts[0, places] = 1.0
        return units_of(counts, self._blocks)

    def _drawn(self, places: Indices) -> _DrawnUnits:
        """Return what is resampled for the items at `places`, in the resamples that contain two of it or more."""
        units = self._units(places)
        if units.by_block[0]:
            _, first, unit = np.unique(self._blocks[places], return_index=True, return_inverse=True)
            sizes, weights = np.bincount(unit).astype(np.float64), self._block_weights[:, places[first]]
        else:
            unit, sizes, weights = None, np.ones(len(places)), self._weights[:, places]
        # The standard error of a resample needs two.
        return _DrawnUnits(unit, sizes, weights[weights.sum(axis=1) > 1], units.number)

    def _people(self, values: ItemValues, replicates: int) -> Floats:
        """Return deviations of the mean under redrawn respondents, one for each resample, shape (B, 1)."""
        if values.redraws is None:
            return np.zeros((replicates, 1))
        means = values.redraws.mean(axis=1, keepdims=True)
        order = np.random.default_rng([self._seed, 1]).permutation(np.arange(replicates) % len(means))
        return means[order]


def _shrink_factor(values: ItemValues, between: Floats, drawn: _DrawnUnits) -> float:
    """Return k, the factor on the redraws."""
    if values.redraws is None:
        return 1.0
    by_unit = drawn.sums(values.redraws)[:, None].astype(np.float32)
    shared = shared_variance(by_unit, by_unit, drawn.sizes[None]) / drawn.sizes.sum() ** 2 * scale_of(drawn.number) ** 2
    return float(shrink(between, variance(values.redraws.mean(axis=1, keepdims=True)), shared)[0])


def _studentised(above: Floats, below: Floats, drawn: _DrawnUnits) -> tuple[Floats, Floats, Floats]:
    """Return numerator and denominator of each resample and the standard error of their ratio, each of shape (B,).

    Args:
        above, below: shape (U,), sums by unit. drawn: the resamples.
    """
    weights, items, number = drawn.weights, drawn.items, drawn.weights.sum(axis=1)
    top, base = weights @ above / items, weights @ below / items
    safe = np.where(base > NEGLIGIBLE, base, np.inf)
    rho = top / safe
    squares = weights @ (above * above) - 2 * rho * (weights @ (above * below)) + rho**2 * (weights @ (below * below))
    return top, base, np.sqrt(np.maximum(squares, 0.0) * number / (number - 1)) / items / safe
