"""Intersections: cells compared with what their levels predict.

Within a stratum of two or more attributes, levels predict a cell additively: for `Malay, 65 and over`, from the other Malays and the other
people of 65 and over, each against the rest. Per item, the stratum's cells are fitted by least squares to a constant and their levels. The
excess of a cell is its value minus the fit *without that cell* (the deleted residual r / (1 - h), h the cell's leverage), averaged over the
items where it exists. The levels come from the stratum itself: the parents' own pairs are often not in the part, and their labels contain
the cell's people.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from valuestrata.fairness.estimate.contrasts import ContrastWeights
from valuestrata.stats.arrays import Floats, Indices

# Cells with leverage above this determine their own levels' effects.
ALONE = 1.0 - 1e-9


def deleted_residuals(design: Floats) -> Floats:
    """Return the matrix (n, n) from n values to their deleted residuals under a design (n, q) of any rank.

    Rows of cells that alone determine one of their levels' effects are NaN.
    """
    left, sizes, _ = np.linalg.svd(design, full_matrices=False)
    basis = left[:, sizes > 1e-9 * max(float(sizes.max(initial=0.0)), 1e-300)]
    hat = basis @ basis.T
    leverage = np.diag(hat).copy()
    rest = np.eye(len(hat)) - hat
    return np.divide(rest, (1.0 - leverage)[:, None], out=np.full_like(rest, np.nan), where=(leverage < ALONE)[:, None])


def design_of(levels: NDArray[np.integer]) -> Floats:
    """Return a constant and the indicators of every level of every attribute; levels (n, attributes), -1 where not used."""
    columns = [np.ones(len(levels))]
    for attribute in levels.T:
        columns += [(attribute == level).astype(np.float64) for level in np.unique(attribute[attribute >= 0])]
    return np.stack(columns, axis=1)


def excess_weights(mask: NDArray[np.bool_], strata: Indices, levels: NDArray[np.integer]) -> ContrastWeights:
    """Return the excess of every subgroup as a contrast; items where it does not exist do not count.

    Args:
        mask: shape (G, I). strata: shape (G,). levels: shape (G, attributes), number of the level, -1 where the stratum has no
            such attribute.
    """
    groups, items = mask.shape
    pairs = np.zeros((groups, groups, items), dtype=np.float32)
    counts = np.zeros(mask.shape)
    for stratum in np.unique(strata):
        cells = np.flatnonzero(strata == stratum)
        if (levels[cells[0]] >= 0).sum() < 2:
            continue
        # Items with the same cells share their weights.
        patterns, which = np.unique(mask[cells], axis=1, return_inverse=True)
        for number, pattern in enumerate(patterns.T):
            here, columns = cells[pattern], np.flatnonzero(which.ravel() == number)
            if len(here) < 2:
                continue
            weights = deleted_residuals(design_of(levels[here]))
            formed = ~np.isnan(weights).any(axis=1)
            pairs[np.ix_(here[formed], here, columns)] = weights[formed][:, :, None]
            counts[np.ix_(here[formed], columns)] = 1.0
    return ContrastWeights(pairs, counts)
