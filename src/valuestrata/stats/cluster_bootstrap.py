"""Bootstrap of ratios of sums over items, with items or blocks of items as clusters.

Answers to one item, and to the items of one block, resemble each other, so blocks are resampled with all their answers. Where the
items are mostly of one block (see `blocks.units_of`), or no blocks are given, items are. With G clusters the percentiles are moved
away from the estimate by sqrt(G / (G - 1)) t / z, where t is the quantile of Student's t with G - 1 degrees of freedom and z that of
the normal distribution; for blocks G is their effective number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Floats, Indices, generator
from valuestrata.stats.blocks import units_of
from valuestrata.stats.intervals import stretch

CONFIDENCE = 0.95
# No interval below this number of items: the variation between items is then not known.
MIN_ITEMS = 5
# No interval if a smaller share of the replicates is defined.
MIN_DEFINED = 0.9


@dataclass(frozen=True)
class ClusterEstimate:
    """An estimate with its 95 % interval; NaN where undefined.

    Attributes:
        value, low, high: the estimate and its interval. n: number of observations. items: number of items.
    """

    value: float
    low: float
    high: float
    n: int
    items: int

    def columns(self) -> dict[str, float | None]:
        """Return value, ci_low and ci_high as a table stores them, None for NaN."""
        return {"value": finite(self.value), "ci_low": finite(self.low), "ci_high": finite(self.high)}


UNDEFINED = ClusterEstimate(np.nan, np.nan, np.nan, 0, 0)


def finite(value: float) -> float | None:
    """Return a number, None if it is NaN or infinite."""
    return float(value) if np.isfinite(value) else None


def cluster_numbers(items: Sequence[Any] | NDArray[Any]) -> Indices:
    """Return the number of each entry's item, 0..G-1, in sorted order of the items."""
    return np.unique(np.asarray(items), return_inverse=True)[1].astype(np.intp)


@lru_cache(maxsize=16)
def cluster_draws(items: int, bootstrap: int, seed: int) -> Floats:
    """Return how often each item (or block) is drawn in each replicate, a read-only array of shape (bootstrap, items)."""
    if items == 0 or bootstrap == 0:
        return np.zeros((0, items))
    drawn = generator(seed).multinomial(items, np.full(items, 1.0 / items), size=bootstrap).astype(np.float64)
    # The cache returns the same array to all callers.
    drawn.flags.writeable = False
    return drawn


@dataclass(frozen=True)
class Clusters:
    """Clusters of answers.

    Attributes:
        of: shape (n,), the cluster 0..G-1 of each answer. items: number of items.
        number: number of items, or the effective number of their blocks where these are the clusters.
    """

    of: Indices
    items: int
    number: float

    @property
    def count(self) -> int:
        """G, the number of clusters."""
        return int(self.of.max(initial=-1)) + 1


def clusters_of(items: Sequence[Any] | NDArray[Any], blocks: Sequence[Any] | NDArray[Any] | None = None) -> Clusters:
    """Return the clusters of n answers: the blocks of their items, or the items if these are mostly of one block.

    Args:
        items, blocks: the item of each answer and its block, shape (n,); without blocks, items are the clusters.
    """
    names, first, item = np.unique(np.asarray(items), return_index=True, return_inverse=True)
    number = item.astype(np.intp)
    if blocks is None or not len(names):
        return Clusters(number, len(names), float(len(names)))
    block = cluster_numbers(np.asarray(blocks)[first])
    units = units_of(np.ones((1, len(names))), block)
    return Clusters(block[number] if units.by_block[0] else number, len(names), float(units.number[0]))


def percentile_interval(
    estimate: float, replicates: Floats, clusters: Clusters, low: float = -np.inf, high: float = np.inf
) -> tuple[float, float]:
    """Return the 95 % interval of an estimate from its replicates, clipped to the range `low` to `high`.

    Both ends are NaN with fewer than `MIN_ITEMS` items or if too few replicates are defined.
    """
    known = replicates[np.isfinite(replicates)]
    number = clusters.number
    if clusters.items < MIN_ITEMS or not np.isfinite(estimate) or len(known) < max(MIN_DEFINED * len(replicates), 1):
        return np.nan, np.nan
    upper = (1 + CONFIDENCE) / 2
    factor = float(stretch(np.array([number - 1.0]), CONFIDENCE)[0]) * np.sqrt(number / (number - 1))
    moved = estimate + factor * (np.quantile(known, [1 - upper, upper]) - estimate)
    # With skewed replicates both percentiles can be on one side; the interval always contains the estimate.
    return float(np.clip(min(moved[0], estimate), low, high)), float(np.clip(max(moved[1], estimate), low, high))


def clustered_mean(
    values: Floats,
    items: Sequence[Any] | NDArray[Any],
    blocks: Sequence[Any] | NDArray[Any] | None = None,
    *,
    bootstrap: int,
    seed: int,
    low: float = 0.0,
    high: float = 1.0,
) -> ClusterEstimate:
    """Return the mean of `values` with an interval clustered by block, or by item without blocks.

    Args:
        values: one number per answer, NaN is left out; shape (n,). items, blocks: of each answer, shape (n,); see `clusters_of`.
        bootstrap, seed: number of replicates and their seed. low, high: range of the mean.
    """
    keep = np.isfinite(values)
    kept = values[keep]
    if not len(kept):
        return UNDEFINED
    clusters = clusters_of(np.asarray(items)[keep], None if blocks is None else np.asarray(blocks)[keep])
    sums, counts = np.bincount(clusters.of, kept), np.bincount(clusters.of).astype(np.float64)
    weights = cluster_draws(clusters.count, bootstrap, seed)
    value = float(kept.mean())
    ends = percentile_interval(value, (weights @ sums) / (weights @ counts), clusters, low, high)
    return ClusterEstimate(value, *ends, len(kept), clusters.items)
