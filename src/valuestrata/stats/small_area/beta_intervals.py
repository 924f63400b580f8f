"""Intervals of shares that are known with an error."""

from __future__ import annotations

import numpy as np

from valuestrata.stats.arrays import Floats

NORMAL_QUANTILE = 1.959963984540054
TAIL = 0.025
# A beta distribution that is worth fewer answers has most of its mass at both ends.
LEAST_WORTH = 1.0


def beta_interval(shares: Floats, mse: Floats, people: Floats) -> tuple[Floats, Floats]:
    """Return 95 % intervals: quantiles of beta distributions with the given means and variances.

    Near 0 and 1 the error of an estimate that borrows strength is skew. A share of N people is a multiple of 1 / N, so the ends are rounded
    to multiples: an interval for 20 people that ends below half a person contains 0.

    Args:
        shares: in 0..1. mse: mean squared error of each share, broadcast to the same shape. people: N, infinite for a continuous share.
    """
    from scipy.special import betaincinv

    shares, mse, people = np.broadcast_arrays(shares, mse, people)
    spread = shares * (1 - shares)
    inner = (spread > 0) & (mse > 0)
    worth = np.maximum(np.divide(spread, mse, out=np.ones_like(spread), where=inner) - 1, LEAST_WORTH)
    ends: list[Floats] = []
    for tail in (TAIL, 1 - TAIL):
        end = shares.copy()
        end[inner] = betaincinv((shares * worth)[inner], ((1 - shares) * worth)[inner], tail)
        ends.append(end)
    finite = np.isfinite(people)
    number = np.where(finite, people, 1.0)
    low, high = (np.where(finite, np.clip(np.floor(number * end + 0.5) / number, 0.0, 1.0), end) for end in ends)
    return np.minimum(low, shares), np.maximum(high, shares)
