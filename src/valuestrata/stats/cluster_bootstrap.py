"""Bootstrap of ratios of sums over items, with items as clusters.

Answers to one item resemble each other, so items are resampled with all their answers. With G items the percentiles are moved away
from the estimate by sqrt(G / (G - 1)) t / z, where t is the quantile of Student's t with G - 1 degrees of freedom and z that of the
normal distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Floats, Indices, generator
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
        value, low, high: the estimate and its interval. n: number of observations. items: number of clusters.
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
    """Return how often each item is drawn in each replicate, a read-only array of shape (bootstrap, items)."""
    if items == 0 or bootstrap == 0:
        return np.zeros((0, items))
    drawn = generator(seed).multinomial(items, np.full(items, 1.0 / items), size=bootstrap).astype(np.float64)
    # The cache returns the same array to all callers.
    drawn.flags.writeable = False
    return drawn


def percentile_interval(estimate: float, replicates: Floats, items: int, low: float = -np.inf, high: float = np.inf) -> tuple[float, float]:
    """Return the 95 % interval of an estimate from its replicates, clipped to the range `low` to `high`.

    Both ends are NaN with fewer than `MIN_ITEMS` items or if too few replicates are defined.
    """
    known = replicates[np.isfinite(replicates)]
    if items < MIN_ITEMS or not np.isfinite(estimate) or len(known) < max(MIN_DEFINED * len(replicates), 1):
        return np.nan, np.nan
    upper = (1 + CONFIDENCE) / 2
    factor = float(stretch(np.array([items - 1.0]), CONFIDENCE)[0]) * np.sqrt(items / (items - 1))
    moved = estimate + factor * (np.quantile(known, [1 - upper, upper]) - estimate)
    # With skewed replicates both percentiles can be on one side; the interval always contains the estimate.
    return float(np.clip(min(moved[0], estimate), low, high)), float(np.clip(max(moved[1], estimate), low, high))


def clustered_mean(
    values: Floats, items: Sequence[Any] | NDArray[Any], *, bootstrap: int, seed: int, low: float = 0.0, high: float = 1.0
) -> ClusterEstimate:
    """Return the mean of `values` with an interval clustered by item.

    Args:
        values: one number per answer, NaN is left out; shape (n,). items: item of each answer, shape (n,).
        bootstrap, seed: number of replicates and their seed. low, high: range of the mean.
    """
    keep = np.isfinite(values)
    kept = values[keep]
    if not len(kept):
        return UNDEFINED
    cluster = cluster_numbers(np.asarray(items)[keep])
    number = int(cluster.max()) + 1
    sums, counts = np.bincount(cluster, kept), np.bincount(cluster).astype(np.float64)
    weights = cluster_draws(number, bootstrap, seed)
    value = float(kept.mean())
    ends = percentile_interval(value, (weights @ sums) / (weights @ counts), number, low, high)
    return ClusterEstimate(value, *ends, len(kept), number)
