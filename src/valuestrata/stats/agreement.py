"""Agreement beyond chance: Cohen's kappa and Krippendorff's alpha.

All measures start from counts that add up over items, so a bootstrap over items is one matrix product: a *confusion* table (how often
rater one gave category c and rater two category k) or Krippendorff's *coincidences*. With disagreement d(c, k):

- kappa = 1 - sum d O / sum d E, with O the observed shares and E the product of the margins (Cohen 1960; weighted: Cohen 1968).
  d is 1 if c and k differ (nominal), |x_c - x_k| (linear) or (x_c - x_k)^2 (quadratic), with x the positions of the categories.
- alpha = 1 - (n - 1) sum o d / sum n_c n_k d, with o the coincidences, n_c their margins and n their sum (Krippendorff 2004,
  Content Analysis, ch. 11). Any number of raters; values may be missing. Ordinal d counts the values between c and k,
  interval d is (x_c - x_k)^2.

If the expected disagreement is 0, because all raters always give the same category, kappa and alpha are NaN.
"""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np

from valuestrata.stats.arrays import NEGLIGIBLE, Floats, Indices

Weighting = Literal["nominal", "linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval"]
MISSING = -1


def confusions(first: Indices, second: Indices, clusters: Indices, categories: int, items: int) -> Floats:
    """Return the confusion table of two raters for each item, shape (items, categories, categories).

    Args:
        first, second: category of each unit, `MISSING` if not rated; shape (units,).
        clusters: number of each unit's item, 0..items-1.
    """
    both = (first != MISSING) & (second != MISSING)
    cell = (clusters[both] * categories + first[both]) * categories + second[both]
    return np.bincount(cell, minlength=items * categories * categories).astype(np.float64).reshape(items, categories, categories)


def coincidences(ratings: Indices, clusters: Indices, categories: int, items: int) -> Floats:
    """Return Krippendorff's coincidences for each item, shape (items, categories, categories).

    Args:
        ratings: category that each rater gave each unit, `MISSING` if not rated; shape (units, raters).
        clusters: number of each unit's item, 0..items-1.
    """
    counts = np.stack([(ratings == c).sum(axis=1) for c in range(categories)], axis=1).astype(np.float64)
    values = counts.sum(axis=1)
    paired = values >= 2
    weight = 1.0 / (values[paired] - 1.0)
    tables = counts[paired, :, None] * counts[paired, None, :] * weight[:, None, None]
    diagonal = np.arange(categories)
    tables[:, diagonal, diagonal] -= counts[paired] * weight[:, None]
    found = np.zeros((items, categories, categories))
    np.add.at(found, clusters[paired], tables)
    return found


def distances(positions: Floats, weighting: Weighting) -> Floats:
    """Return the disagreement of all pairs of categories, shape (K, K), for their positions on the scale, shape (K,)."""
    gaps = np.abs(positions[:, None] - positions[None, :])
    if weighting == "nominal":
        return (gaps > NEGLIGIBLE).astype(np.float64)
    return gaps if weighting == "linear" else gaps**2


def agreement(tables: Floats) -> Floats:
    """Return the share of equal ratings in one or more confusion tables, shape (..., K, K)."""
    return _ratio(np.trace(tables, axis1=-2, axis2=-1), tables.sum(axis=(-2, -1)))


def kappa(tables: Floats, disagreement: Floats) -> Floats:
    """Return Cohen's kappa of one or more confusion tables, shape (..., K, K).

    Args:
        disagreement: shape (K, K), from `distances`.
    """
    observed = (tables * disagreement).sum(axis=(-2, -1)) * tables.sum(axis=(-2, -1))
    expected = np.einsum("...i,...j,ij->...", tables.sum(axis=-1), tables.sum(axis=-2), disagreement)
    return 1.0 - _ratio(observed, expected)


def kappa_from_moments(moments: Floats) -> Floats:
    """Return quadratically weighted kappa from means over pairs of positions x and y.

    With quadratic weights the expected disagreement depends on the moments of the margins only, so positions may come from scales
    with different categories. On one scale with evenly spaced categories it equals `kappa`.

    Args:
        moments: means of (x - y)^2, x, y, x^2 and y^2; shape (5, ...).
    """
    squared, x, y, xx, yy = moments
    return 1.0 - _ratio(squared, xx + yy - 2 * x * y)


def alpha(tables: Floats, positions: Floats, level: Level) -> Floats:
    """Return Krippendorff's alpha of one or more tables of coincidences, shape (..., K, K).

    Args:
        positions: positions of the categories, shape (K,). level: level of measurement.
    """
    margins = tables.sum(axis=-1)
    total = margins.sum(axis=-1)
    if level == "ordinal":
        ranks = np.cumsum(margins, axis=-1) - margins / 2
        disagreement = (ranks[..., :, None] - ranks[..., None, :]) ** 2
    else:
        disagreement = distances(positions, "nominal" if level == "nominal" else "quadratic")
    observed = (tables * disagreement).sum(axis=(-2, -1))
    expected = (margins[..., :, None] * margins[..., None, :] * disagreement).sum(axis=(-2, -1))
    return 1.0 - _ratio(observed * (total - 1.0), expected)


def rater_pairs(raters: int) -> list[tuple[int, int]]:
    """Return all pairs of raters, the lower number first."""
    return list(combinations(range(raters), 2))


def mean_over_pairs(values: Floats, units: Floats) -> Floats:
    """Return the mean over pairs of raters (last axis), weighted by their number of common units; undefined pairs are left out.

    The mean of pairwise kappas is that of Light (1971, Psychological Bulletin 76:365-377).
    """
    known = np.isfinite(values)
    weights = np.where(known, units, 0.0)
    return _ratio((np.where(known, values, 0.0) * weights).sum(axis=-1), weights.sum(axis=-1))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide; NaN where the denominator is 0."""
    above, below = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=np.abs(below) > NEGLIGIBLE)
