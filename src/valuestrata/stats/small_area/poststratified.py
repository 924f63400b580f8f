"""Best linear unbiased predictors of subgroups from shares in joint cells, also from the cells outside each subgroup.

With the model of `random_effects`, the predictor of a subgroup with weights a_j on cells is L y, with (Henderson 1975, Biometrics
31:423-447)

    L = H N^-1 + (a 1 - H N^-1 1) 1' N^-1 / (1' N^-1 1),   H = a K.

Its error has variance V (t between + within) / (1 + sum of q d) where the effects' variances are t K, whatever t gave L.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import NEGLIGIBLE, Bools, Floats, Indices
from valuestrata.stats.small_area.random_effects import Projection

# A truncated normal distribution with less of its mass inside has its mean at the end.
LEAST_MASS = 1e-9
# With fewer cells, the number of calls takes longer than the padding of the systems.
FEW_CELLS = 150


@dataclass(frozen=True)
class LinearPredictor:
    """Predictors of G subgroups from S observed cells.

    Attributes:
        weights: L, shape (G, S). between: shape (G,), error from the effects at t = 1. within: shape (G,), error from sampling.
    """

    weights: Floats
    between: Floats
    within: Floats

    @classmethod
    def of(cls, weights: Floats, target: TargetCovariance, kernel: Floats, noise: Floats) -> LinearPredictor:
        """Return the predictor with given weights and its errors; kernel (S, S) is K and noise (S, S) the sampling covariance."""
        between = target.own - 2 * (target.seen * weights).sum(axis=1) + ((weights @ kernel) * weights).sum(axis=1)
        return cls(weights, np.maximum(between, 0.0), ((weights @ noise) * weights).sum(axis=1))


@dataclass(frozen=True)
class TargetCovariance:
    """Covariance of G targets with S observed cells.

    Attributes:
        total: shape (G,), sum of the weights on cells. own: shape (G,), a K a'. seen: shape (G, S), a K.
    """

    total: Floats
    own: Floats
    seen: Floats

    def of(self, cells: Indices) -> TargetCovariance:
        """Return the covariance with some of the observed cells only."""
        return TargetCovariance(self.total, self.own, self.seen[:, cells])

    def without(self, known: Floats, kernel: Floats) -> TargetCovariance:
        """Return the targets less `known` (G, S) times the observed cells, which have the covariance K = `kernel` (S, S)."""
        if not known.any():
            return self
        moved = known @ kernel
        own = self.own - 2 * (self.seen * known).sum(axis=1) + (moved * known).sum(axis=1)
        return TargetCovariance(self.total - known.sum(axis=1), own, self.seen - moved)


def best_predictor(found: Projection, target: TargetCovariance, multiple: float) -> Floats:
    """Return L, shape (G, S), where effects have the covariance `multiple` K."""
    base = multiple * target.seen @ found.inverse
    return base + np.outer(target.total - base.sum(axis=1), found.ones / found.ones.sum())


def outside_predictor(found: Projection, target: TargetCovariance, multiple: float, inside: Bools) -> Floats:
    """Return L of each subgroup from the cells outside it, shape (G, S); NaN where there are none.

    N^-1 without the cells D is N^-1 - N^-1_D (N^-1_DD)^-1 N^-1_D', so the cells are left out without a new factorisation.
    Subgroups with about the same number of cells are solved together.

    Args:
        inside: shape (G, S), which observed cells belong to each subgroup.
    """
    cells = len(found.ones)
    base = multiple * target.seen @ found.inverse
    result = np.full(base.shape, np.nan)
    number = inside.sum(axis=1)
    # The cell at position `cells` stands for none: an identity row and column.
    padded = np.zeros((cells + 1, cells + 1))
    padded[:cells, :cells] = found.inverse
    right = np.zeros((len(base), cells + 1, 2))
    right[:, :cells, 0], right[:, :cells, 1] = base, found.ones
    order = np.argsort(~inside, axis=1, kind="stable")
    for rows in _similar(number, cells):
        width = int(number[rows].max())
        places = np.where(np.arange(width) < number[rows, None], order[rows, :width], cells)
        blocks = padded[places[:, :, None], places[:, None, :]]
        blocks[:, np.arange(width), np.arange(width)] += places == cells
        solved = np.linalg.solve(blocks, np.take_along_axis(right[rows], places[:, :, None], axis=1))
        spread = np.zeros((2, len(rows), cells + 1))
        np.put_along_axis(spread, places[None], np.moveaxis(solved, 2, 0), axis=2)
        moved = spread[:, :, :cells] @ found.inverse
        outside = ~inside[rows]
        kept = (base[rows] - moved[0]) * outside
        ones = (found.ones - moved[1]) * outside
        rest = target.total[rows] - kept.sum(axis=1)
        result[rows] = kept + (rest / ones.sum(axis=1))[:, None] * ones
    return result


def _similar(number: Indices, cells: int) -> list[Indices]:
    """Return rows with about the same number of cells; rows with all cells are left out."""
    steps = 1 if cells < FEW_CELLS else 2
    size = np.ceil(steps * np.log2(np.maximum(number, 1)))
    usable = number < cells
    return [np.flatnonzero(usable & (size == one)) for one in np.unique(size[usable])]


def within_zero_and_one(predicted: Floats, variance: Floats) -> Floats:
    """Return the means of normal distributions truncated to [0, 1], scaled to sum 1 along the last axis.

    A linear prediction can be negative. Given that a share is not, its mean is that of the truncated normal distribution.

    Args:
        predicted: shape (..., K), shares before truncation. variance: shape (..., K), their variances.
    """
    from scipy.special import ndtr

    se = np.sqrt(variance)
    varies = se > NEGLIGIBLE
    low, high = (np.divide(end - predicted, se, out=np.zeros_like(se), where=varies) for end in (0.0, 1.0))
    mass = ndtr(high) - ndtr(low)
    moved = se * (np.exp(-0.5 * low**2) - np.exp(-0.5 * high**2)) / np.sqrt(2 * np.pi)
    inside = predicted + np.divide(moved, mass, out=np.zeros_like(mass), where=varies & (mass > LEAST_MASS))
    found = np.clip(inside, 0.0, 1.0)
    return found / found.sum(axis=-1, keepdims=True)
