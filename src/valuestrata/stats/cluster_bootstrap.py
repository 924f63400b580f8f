"""Intervals clustered by item: items are drawn again with all that was said of them.

What is measured on open answers is a ratio of sums over items: verdicts that agree over verdicts compared, distances seen
over distances expected. Answers to one item resemble each other, so that the item is the unit of resampling. With G items
the percentiles are moved away from the estimate by sqrt(G / (G - 1)) t / z, t the point of Student's t with G - 1 degrees of
freedom: few items know little of how much items vary (the same correction as in `stats.bootstrap`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.intervals import stretch

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

CONFIDENCE = 0.95
# Under so many items nothing is said of how much items vary; the bootstrap of scores holds to the same number.
ENOUGH_ITEMS = 5
# A bootstrap where fewer of its draws give a number than this says nothing.
ENOUGH_DRAWS = 0.9


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; NaN where it is not defined. `n` is what it counts, `items` how many items they are of."""

    value: float
    low: float
    high: float
    n: int
    items: int


def numbered(items: Sequence[Any] | NDArray[Any]) -> Indices:
    """Return the number of each entry's item, 0..G-1, in sorted order of the items."""
    return np.unique(np.asarray(items), return_inverse=True)[1].astype(np.intp)


@lru_cache(maxsize=16)
def draws(items: int, bootstrap: int, seed: int) -> Floats:
    """Return how often each item is drawn in each resample, shape (bootstrap, items); not to be written to."""
    if items == 0 or bootstrap == 0:
        return np.zeros((0, items))
    drawn = np.random.default_rng(seed).multinomial(items, np.full(items, 1.0 / items), size=bootstrap).astype(np.float64)
    # One array serves every figure of a table.
    drawn.flags.writeable = False
    return drawn


def ends(estimate: float, replicates: Floats, items: int, low: float = -np.inf, high: float = np.inf) -> tuple[float, float]:
    """Return the ends of the 95 % interval of an estimate from its replicates, cut to the range `low` to `high`.

    NaN for both where there are under `ENOUGH_ITEMS` items, or where the replicates are mostly undefined.
    """
    known = replicates[np.isfinite(replicates)]
    if items < ENOUGH_ITEMS or not np.isfinite(estimate) or len(known) < max(ENOUGH_DRAWS * len(replicates), 1):
        return np.nan, np.nan
    wider = float(stretch(np.array([items - 1.0]), CONFIDENCE)[0]) * np.sqrt(items / (items - 1))
    tails = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    moved = estimate + wider * (tails - estimate)
    # The mean of resamples of a skewed figure is not the estimate; an interval holds its estimate all the same.
    return float(np.clip(min(moved[0], estimate), low, high)), float(np.clip(max(moved[1], estimate), low, high))


def mean(
    values: Floats, items: Sequence[Any] | NDArray[Any], *, bootstrap: int, seed: int, low: float = 0.0, high: float = 1.0
) -> Estimate:
    """Return the mean of `values` (one an answer, NaN left out) with an interval clustered by item.

    Args:
        values: shape (n,). items: whose item each is, shape (n,). bootstrap, seed: resamples. low, high: range of the mean.
    """
    keep = np.isfinite(values)
    kept = values[keep]
    if not len(kept):
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    cluster = numbered(np.asarray(items)[keep])
    number = int(cluster.max()) + 1
    sums, counts = np.bincount(cluster, kept), np.bincount(cluster).astype(np.float64)
    weights = draws(number, bootstrap, seed)
    return Estimate(
        float(kept.mean()), *ends(float(kept.mean()), (weights @ sums) / (weights @ counts), number, low, high), len(kept), number
    )
