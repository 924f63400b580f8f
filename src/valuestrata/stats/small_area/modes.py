"""What estimated shares say about the mode: of the population, and of a fresh sample."""

from __future__ import annotations

import numpy as np

from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.small_area.shares import NOTHING

# Points of the integral over the largest of several gamma variables, and its range in standard deviations.
POINTS, BELOW, ABOVE = 32, 3.0, 4.5
# Points for one draw of many.
FEW_POINTS = 16
# Beyond this many standard errors between the two largest shares the mode is certain.
CERTAIN = 4.5
# Smallest parameter of a gamma variable: the approximation needs a positive one.
LEAST_GAMMA = 1e-4
# Draws of the true shares for the median mode. It can differ from the mode only if a third option has some chance, and none a large one.
MEDIAN_DRAWS, THIRD, FIRST = 4, 0.03, 0.7


def mode_chances(shares: Floats, variance: Floats, points: int = POINTS) -> Floats:
    """Return the probability of each option to be the mode of shares that are known with an error, shape (N, K).

    The shares are Dirichlet with these means and mean squared errors `variance` p (1 - p): independent gamma variables over their sum.
    The largest share is the largest gamma variable. Its cube root is nearly normal (Wilson and Hilferty 1931, Proceedings of the National
    Academy of Sciences 17:684-688), which leaves an integral over one variable.

    Args:
        shares: shape (N, K), sum 1. variance: shape (N,), 0..1. points: of the integral.
    """
    found = np.zeros_like(shares)
    rows, best = np.arange(len(shares)), shares.argmax(axis=1)
    found[rows, best] = 1.0
    top = np.sort(shares, axis=1)[:, -2:]
    gap = top[:, 1] - top[:, 0]
    error = np.sqrt(np.maximum(variance * (top.sum(axis=1) - gap * gap), 0.0))
    open_rows = np.flatnonzero(gap < CERTAIN * error)
    if len(open_rows):
        found[open_rows] = _largest(*_cube_roots(shares[open_rows], variance[open_rows]), points)
    return found


def _cube_roots(shares: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Return means and standard deviations of the cube roots of the gamma variables of Dirichlet shares, each (N, K)."""
    total = np.maximum(1 / np.maximum(variance, NOTHING) - 1, 0.5)[:, None]
    gamma = np.maximum(shares * total, LEAST_GAMMA)
    root = np.cbrt(gamma)
    return root * (1 - 1 / (9 * gamma)), root / (3 * np.sqrt(gamma))


def _largest(mean: Floats, deviation: Floats, points: int) -> Floats:
    """Return the probability that each of K independent normal variables is the largest, shape (N, K)."""
    from scipy.special import ndtr

    low = (mean - BELOW * deviation).max(axis=1, keepdims=True)
    high = (mean + ABOVE * deviation).max(axis=1, keepdims=True)
    at = low + (high - low) * np.linspace(0, 1, points)
    options = mean.shape[1]
    below: list[Floats] = [ndtr((at - mean[:, [k]]) / deviation[:, [k]]) for k in range(options)]
    # Product of the others: of those before and those after.
    before, after = [np.ones_like(at)], [np.ones_like(at)]
    for k in range(options - 1):
        before.append(before[-1] * below[k])
        after.append(after[-1] * below[options - 1 - k])
    found = np.empty_like(mean)
    for k in range(options):
        others = before[k] * after[options - 1 - k]
        found[:, k] = (np.diff(below[k], axis=1) * (others[:, 1:] + others[:, :-1])).sum(axis=1)
    return found / found.sum(axis=1, keepdims=True)


def fresh_mode(shares: Floats, variance: Floats, number: Floats) -> Floats:
    """Return the probability of each option to be the mode of a fresh sample of `number` effective answers, shape (N, K)."""
    return mode_chances(shares, np.minimum(variance + 1 / np.maximum(number, 1.0), 1.0))


def median_mode(shares: Floats, variance: Floats, number: Floats, chances: Floats, fresh: Floats) -> Floats:
    """Return the probability of each position to be the median mode of a fresh sample, shape (N, K).

    Whoever knows the true shares expects the mode of a sample to be k with a probability q_k. The answer with the least expected
    distance to that mode is the median of q. It is the true mode except where the modes of samples lie on both sides of it.

    Args:
        shares, variance, chances: as in `mode_chances`, options in scale order. number: shape (N,), effective answers of the sample.
        fresh: `fresh_mode` of the same pairs.
    """
    found = chances.copy()
    options = shares.shape[1]
    if options < 3 or not len(shares):
        return found
    rows = np.flatnonzero((np.sort(fresh, axis=1)[:, -3] > THIRD) & (fresh.max(axis=1) < FIRST))
    if not len(rows):
        return found
    mean, deviation = _cube_roots(shares[rows], variance[rows])
    normal = np.random.default_rng(0).standard_normal((MEDIAN_DRAWS // 2, *mean.shape))
    found[rows] = 0.0
    for draw in np.concatenate([normal, -normal]):
        true = np.maximum(mean + deviation * draw, np.cbrt(LEAST_GAMMA)) ** 3
        sampled = mode_chances(true / true.sum(axis=1, keepdims=True), 1 / (number[rows] + 1), FEW_POINTS)
        found[rows, median_of(sampled)] += 1 / MEDIAN_DRAWS
    return found


def median_of(chances: Floats) -> Indices:
    """Return the median position of distributions (N, K), the lowest of several: the least expected distance to a draw from them."""
    return np.asarray((np.cumsum(chances, axis=-1) >= 0.5 - NOTHING).argmax(axis=-1), dtype=np.intp)
