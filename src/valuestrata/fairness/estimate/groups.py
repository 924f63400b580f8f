"""Subgroups served worse than the rest of their stratum, tested together.

The difference of subgroup g to the rest is the mean over its items of (its value - mean of the other cells of its stratum and item). Strata
partition the same people in different ways, so the rest is that of one stratum; the family is all subgroups of the run.

**Max-T.** T_g = (mean residual of g) / (its standard error), signed so that large is worse. Permutations within block and stratum
(`nulls`) give the distribution of max_g T_g under equal service; p_worst is the share of permutations that reach T_g (Westfall and Young
1993, single step). It controls the family-wise error under any dependence. The standard error is that of a ratio of sums over blocks: with
S_b the sum of g's residuals in block b, n_b its pairs there, n = sum n_b and m its mean residual,

    se^2 = sum_b (S_b - n_b m)^2 / n^2 * k / (k - 1),    k = n^2 / sum n_b^2, the effective number of blocks,

the variance of a mean where every item is a block of its own. In permutations it is that of the permuted blocks; T_g also includes the
variance that redrawn respondents add (`contrasts`), so correlated label errors can only make a claim harder.

**Shrinkage.** With b_g the expected score if the whole stratum were served alike, v_g the variance of (P_g - b_g) and
tau^2 = max(0, sum_g (P_g - b_g)^2 / sum_s (G_s - 1) - mean v), G_s subgroups of stratum s, the empirical Bayes score is
b_g + tau^2 / (tau^2 + v_g) (P_g - b_g) (Efron and Morris 1975).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.fairness.estimate.contrasts import Contrast, ContrastWeights
from valuestrata.fairness.estimate.nulls import CentredGrid, PermutedSums
from valuestrata.stats.arrays import Floats, Indices

NOTHING = 1e-12

# Subgroups with fewer pairs, or pairs in fewer (effective) blocks, are not tested: their variance may be nearly 0 by chance, and their T
# would then dominate the maximum. Sums over a block vary more evenly than single answers, so fewer of them are enough.
FEW_PAIRS = 10
FEW_BLOCKS = 4


@dataclass(frozen=True)
class Worst:
    """Every subgroup against the rest of its stratum; each of shape (G,), NaN where there is no rest.

    Attributes:
        rest: difference to the rest. t: studentised, large is worse. p: adjusted by max-T; NaN without permutations.
    """

    rest: Floats
    t: Floats
    p: Floats


def residual_weights(mask: NDArray[np.bool_], strata: Indices) -> ContrastWeights:
    """Return the mean residual of every subgroup as a contrast: mask (G, I), strata (G,)."""
    alike = (strata[:, None] == strata[None, :]).astype(np.float64)
    number = alike @ mask
    mean = np.divide(mask, number, out=np.zeros(mask.shape), where=number > 0)
    pairs = np.eye(len(mask))[:, :, None] * mask - alike[:, :, None] * (mask[:, None, :] * np.where(mask, mean, 0.0)[None])
    return ContrastWeights(pairs.astype(np.float32), mask.astype(np.float64))


def worst(grid: CentredGrid, residuals: Contrast, permuted: PermutedSums, sign: int) -> Worst:
    """Test every subgroup against the rest.

    Args:
        grid: the centred values. residuals: contrasts of `residual_weights`. permuted: of the same grid.
        sign: +1 where a high value is worse, -1 where a low one is.
    """
    lone = (grid.rest > 0).sum(axis=1) == 0
    number, squared = grid.pairs, (grid.sizes**2).sum(axis=1)
    rest = np.divide((grid.residual * grid.rest).sum(axis=1), (grid.rest > 0).sum(axis=1), out=np.full(len(lone), np.nan), where=~lone)
    mean = np.divide(grid.residual.sum(axis=1), number, out=np.full(len(lone), np.nan), where=number > 0)
    squares, sized = (grid.block_sums**2).sum(axis=1), (grid.block_sums * grid.sizes).sum(axis=1)
    seen = _t(sign * mean, _variance(mean, squares, sized, number, squared) + residuals.extra)
    seen[lone] = np.nan
    p = np.full(len(lone), np.nan)
    if len(permuted.sums):
        drawn = permuted.sums / np.maximum(number, 1.0)
        t = _t(sign * drawn, _variance(drawn, permuted.squares, permuted.sized, number, squared))
        t[:, lone | np.isnan(mean)] = np.nan
        largest = np.sort(np.max(np.where(np.isnan(t), -np.inf, t), axis=1))
        below = np.searchsorted(largest, seen - NOTHING, side="left")
        p = np.where(np.isnan(seen), np.nan, (len(largest) - below + 1) / (len(largest) + 1))
    return Worst(rest, seen, p)


def shrunken(scores: Floats, base: Floats, variances: Floats, strata: Indices) -> Floats:
    """Return empirical Bayes scores (G,), see the module docstring; NaN where score or variance is unknown.

    Args:
        scores, base: shape (G,). variances: of score - base. strata: shape (G,).
    """
    off = scores - base
    known = ~np.isnan(off) & ~np.isnan(variances)
    freedom = sum(max(int((known & (strata == stratum)).sum()) - 1, 0) for stratum in np.unique(strata))
    if freedom == 0:
        return np.where(known, scores, np.nan)
    between = max(float((off[known] ** 2).sum()) / freedom - float(variances[known].mean()), 0.0)
    spread = between + variances
    weight = np.divide(between, spread, out=np.ones(len(off)), where=spread > NOTHING)
    return np.where(known, base + weight * off, np.nan)


def _variance(mean: Floats, squares: Floats, sized: Floats, number: Floats, squared: Floats) -> Floats:
    """Return the variance of a mean over blocks; NaN for fewer than `FEW_PAIRS` pairs or `FEW_BLOCKS` effective blocks.

    Args:
        mean: shape (..., G). squares, sized: as in `PermutedSums`. number, squared: shape (G,), sum and sum of squares of the pairs of
            a subgroup in each block.
    """
    within = np.maximum((squares - 2 * mean * sized + mean**2 * squared) / np.maximum(number, 1.0), 0.0)
    within = np.where(within > NOTHING, within, 0.0)
    blocks = number**2 / np.maximum(squared, 1.0)
    # blocks / (blocks - 1) / number, which is 1 / (number - 1) where every item is a block.
    scale = blocks / (np.maximum(blocks - 1.0, 1.0) * np.maximum(number, 1.0))
    return np.where((number >= FEW_PAIRS) & (blocks >= FEW_BLOCKS), within * scale, np.nan)


def _t(mean: Floats, variance: Floats) -> Floats:
    """Return mean / sqrt(variance): infinite without variance, 0 where the mean is 0 as well."""
    still = np.where(mean > NOTHING, np.inf, np.where(mean < -NOTHING, -np.inf, 0.0))
    found = np.divide(mean, np.sqrt(np.maximum(variance, 0.0)), out=np.where(np.isnan(mean), np.nan, still), where=variance > NOTHING**2)
    return np.where(np.isnan(variance), np.nan, found)
