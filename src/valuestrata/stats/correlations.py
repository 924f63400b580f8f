"""Correlations between columns across rows, and the agreement of two correlation matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import NEGLIGIBLE, Bools, Floats, Indices

# With two rows every correlation is 1 or -1.
MIN_ROWS = 3
# Numbers of 8 bytes processed at once: fits in a cache.
CHUNK_NUMBERS = 200_000
# Ranks whose product is below this many times the number of items are low: factors are then faster than permutations.
LOW_RANK = 16


def within_correlations(x: Floats, y: Floats, strata: NDArray[np.str_]) -> Floats:
    """Correlate every column of x with every column of y across rows, within strata, using the rows that have both.

        r_ij = sum_t S_t(x_i, y_j) / sqrt(sum_t S_t(x_i, x_i) sum_t S_t(y_j, y_j)),

    S_t the sum of products about the means in stratum t.

    Args:
        x, y: shape (G, I) and (G, J), NaN for unknown cells. strata: shape (G,).

    Returns:
        Shape (I, J); NaN where either column is constant or there are fewer than `MIN_ROWS` - 1 degrees of freedom.
    """
    shape = (x.shape[1], y.shape[1])
    products, squares_x, squares_y, freedom = (np.zeros(shape) for _ in range(4))
    for stratum in np.unique(strata):
        here = strata == stratum
        known_x, known_y = (~np.isnan(part[here]) for part in (x, y))
        mask_x, mask_y = known_x.astype(np.float64), known_y.astype(np.float64)
        # Centred first, because sums of squares of numbers far from 0 lose digits.
        left, right = (_centred(part[here], known) for part, known in ((x, known_x), (y, known_y)))
        number = mask_x.T @ mask_y
        sum_x, sum_y = left.T @ mask_y, mask_x.T @ right
        safe = np.maximum(number, 1.0)
        products += left.T @ right - sum_x * sum_y / safe
        squares_x += (left * left).T @ mask_y - sum_x * sum_x / safe
        squares_y += mask_x.T @ (right * right) - sum_y * sum_y / safe
        freedom += np.maximum(number - 1.0, 0.0)
    defined = (squares_x > NEGLIGIBLE) & (squares_y > NEGLIGIBLE) & (freedom >= MIN_ROWS - 1)
    result = np.full(shape, np.nan)
    np.divide(products, np.sqrt(np.where(defined, squares_x * squares_y, 1.0)), out=result, where=defined)
    return np.clip(result, -1.0, 1.0)


def usable_items(*matrices: Floats) -> Indices:
    """Return a set of items without NaN in any matrix (I, I), dropping the item with most NaN first."""
    unknown = np.any([np.isnan(matrix) for matrix in matrices], axis=0)
    kept = np.arange(len(unknown))
    while len(kept) and (bad := unknown[np.ix_(kept, kept)].sum(axis=0) + unknown[np.ix_(kept, kept)].sum(axis=1)).any():
        kept = np.delete(kept, int(np.argmax(bad)))
    return kept


@dataclass(frozen=True)
class MatrixAgreement:
    """Agreement of the off-diagonal entries of two symmetric matrices; each of shape (B,), NaN where undefined.

    Attributes:
        pearson: correlation of the entries; depends on the direction in which columns are coded.
        congruence: sum x y / sqrt(sum x^2 sum y^2) (Tucker 1951); independent of the coding direction.
        rmse: root mean square difference of the entries.
    """

    pearson: Floats
    congruence: Floats
    rmse: Floats


def agreement(x: Floats, y: Floats, weights: Floats, blocks: Indices | None = None) -> MatrixAgreement:
    """Compare the off-diagonal entries of two symmetric matrices under item weights.

    Args:
        x, y: shape (I, I). weights: shape (B, I); entry ij has weight w_i w_j.
        blocks: shape (I,), the block of each item; within a block, where all weights are equal, entry ij has weight w_i, because
            entries of an item with another copy of its own block are deleted. None where every item is a block of its own.
    """
    off = ~np.eye(len(x), dtype=np.bool_)
    within = off & (blocks[:, None] == blocks) if blocks is not None else np.zeros_like(off)
    between = off & ~within

    def total(entries: Floats) -> Floats:
        products = ((weights @ np.where(between, entries, 0.0)) * weights).sum(axis=1)
        return products if blocks is None else products + weights @ np.where(within, entries, 0.0).sum(axis=1)

    number = total(np.ones_like(x))
    safe = np.where(number > 0, number, 1.0)
    squares_x, squares_y, products, mean_x, mean_y = (total(entries) / safe for entries in (x * x, y * y, x * y, x, y))
    rmse = np.where(number > 0, np.sqrt(np.maximum(squares_x + squares_y - 2 * products, 0.0)), np.nan)
    pearson = _ratio(products - mean_x * mean_y, squares_x - mean_x**2, squares_y - mean_y**2)
    return MatrixAgreement(pearson, _ratio(products, squares_x, squares_y), rmse)


def shuffled_agreement(x: Floats, y: Floats, orders: Sequence[Indices]) -> tuple[Floats, Floats]:
    """Return pearson and congruence after permuting the items of x by each of `orders`.

    Args:
        x, y: symmetric, shape (I, I). orders: permutations of the items.
    """
    off = ~np.eye(len(x), dtype=np.bool_)
    left, right = np.where(off, x, 0.0), np.where(off, y, 0.0)
    number = float(off.sum())
    products = _shuffled_products(left, right, orders) / number
    # A permutation keeps means and squares.
    mean_x, mean_y = (float(part.sum()) / number for part in (left, right))
    square_x, square_y = (np.full(len(products), float((part * part).sum()) / number) for part in (left, right))
    return _ratio(products - mean_x * mean_y, square_x - mean_x**2, square_y - mean_y**2), _ratio(products, square_x, square_y)


def _shuffled_products(x: Floats, y: Floats, orders: Sequence[Indices]) -> Floats:
    """Return the sum of products of two symmetric matrices with 0 on the diagonal, x permuted by each of `orders`.

    With x + I = A diag(s) A' and y + I = B diag(t) B' the sum is that of s_k t_l (A[order]' B)_kl^2 minus I. Correlations across
    few rows have a low rank, and this is then many times faster than permuting x.
    """
    unit = np.eye(len(x))
    (sizes_x, of_x), (sizes_y, of_y) = _factors(x + unit), _factors(y + unit)
    if len(sizes_x) * len(sizes_y) > LOW_RANK * len(x):
        return np.array([float(np.vdot(x[np.ix_(order, order)], y)) for order in orders])
    chunk = max(1, CHUNK_NUMBERS // max(1, of_x.size))
    sums = [sizes_y @ np.square(of_y.T @ of_x[np.array(orders[at : at + chunk])]) @ sizes_x for at in range(0, len(orders), chunk)]
    return np.concatenate([*sums, np.empty(0)]) - len(x)


def _factors(matrix: Floats) -> tuple[Floats, Floats]:
    """Return the eigenvalues of a symmetric matrix, without rounding errors, and their vectors, shape (I, rank)."""
    values, vectors = np.linalg.eigh(matrix)
    kept = np.abs(values) > NEGLIGIBLE * np.abs(values).max(initial=0.0)
    return values[kept], vectors[:, kept]


def _ratio(products: Floats, squares_x: Floats, squares_y: Floats) -> Floats:
    """Return products / sqrt(squares_x squares_y), cut to -1..1; NaN where either is constant."""
    both = (squares_x > NEGLIGIBLE) & (squares_y > NEGLIGIBLE)
    result = np.full(len(products), np.nan)
    np.divide(products, np.sqrt(np.where(both, squares_x * squares_y, 1.0)), out=result, where=both)
    return np.clip(result, -1.0, 1.0)


def _centred(values: Floats, known: Bools) -> Floats:
    """Subtract each column's mean over its known cells; unknown cells become 0."""
    filled = np.where(known, values, 0.0)
    mean = filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, filled - mean, 0.0)
