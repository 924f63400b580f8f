"""Linearised intervals of means and shares, clustered by item.

With y the value of a pair, m the mean, N pairs and I items,

    Var m = I / (I - 1) sum_i (sum_{pairs of item i} (y - m))^2 / N^2,

the linearised variance of a ratio. A mean has the interval m -+ t(I - 1) sqrt(Var m). A share has the exact binomial interval of
n_eff = m (1 - m) / Var m answers, at most N, scaled by (t(N - 1) / t(I - 1))^2 (Korn and Graubard 1998, Survey Methodology 24:193-201).
If all pairs are equal, Var m is 0 and n_eff is N (Parker et al. 2017, Vital and Health Statistics 2:175); this interval ignores
differences between items that were not asked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Floats
from valuestrata.stats.cluster_bootstrap import CONFIDENCE


def clustered_intervals(value: Floats, squares: Floats, pairs: Floats, items: Floats, share: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the 95 % intervals of means and shares; NaN with one item.

    Args:
        value: m. squares: sum over items of the squared sums of y - m. pairs, items: N and I. share: whether a value is a share.
            All of shape (K,).
    """
    from scipy.special import betaincinv, stdtrit

    upper = (1 + CONFIDENCE) / 2
    several = items > 1
    freedom = np.where(several, items - 1, 1.0)
    variance = items / freedom * squares / pairs**2
    margin = stdtrit(freedom, upper) * np.sqrt(variance)
    spread = value * (1 - value)
    with np.errstate(divide="ignore", invalid="ignore"):
        known = (variance > 1e-15) & (spread > 1e-15)
        effective = np.where(share, np.where(known, np.minimum(spread / variance, pairs), pairs), 1.0)
    effective = effective * (stdtrit(np.maximum(pairs - 1, 1.0), upper) / stdtrit(freedom, upper)) ** 2
    hits = np.clip(np.where(share, value, 0.5), 0.0, 1.0) * effective
    misses = effective - hits
    low = np.where(hits > 1e-12, betaincinv(np.maximum(hits, 1e-12), misses + 1, 1 - upper), 0.0)
    high = np.where(misses > 1e-12, betaincinv(hits + 1, np.maximum(misses, 1e-12), upper), 1.0)
    ends = np.where(share, low, value - margin), np.where(share, high, value + margin)
    return np.where(several, ends[0], np.nan), np.where(several, ends[1], np.nan)
