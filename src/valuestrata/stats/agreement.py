"""How far two or more people, or a person and a judge, agree beyond chance. Arrays in, numbers out.

Everything starts from counts that add up over items: a *confusion* (how often one rater said c where the other said k) or
Krippendorff's *coincidences* (the same over all pairs of raters of a unit, each unit weighing as many values as it has).
A measure is a formula on such a table, so that a thousand resamples of items are one matrix product.

With disagreement d(c, k) of two categories, O the table over its sum and E the table that the margins alone would give:

- **agreement** sum_c O(c, c).
- **kappa** 1 - sum d O / sum d E, E the product of the two raters' margins (Cohen 1960; weighted: Cohen 1968). `nominal` d is 1
  where c and k differ, `linear` |x_c - x_k|, `quadratic` (x_c - x_k)^2, x the categories' places on the scale.
- **alpha** 1 - (n - 1) sum o d / sum n_c n_k d, o the coincidences, n_c their margins, n their sum (Krippendorff 2004, Content
  Analysis, ch. 11): any number of raters, values may be missing. `ordinal` d is (n_c / 2 + n_k / 2 + what lies between)^2,
  `interval` (x_c - x_k)^2.

Where everyone always says the same the expected disagreement is 0 and kappa and alpha are NaN: such raters could not disagree.
"""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np

from valuestrata.stats.cluster_bootstrap import Floats, Indices

Weighting = Literal["nominal", "linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval"]
MISSING = -1
# Disagreement below this is rounding.
NOTHING = 1e-12


def confusions(first: Indices, second: Indices, clusters: Indices, categories: int, items: int) -> Floats:
    """Count what two raters said of the same units, item by item: shape (items, categories, categories).

    Args:
        first, second: category of each unit, `MISSING` where that rater said nothing; shape (units,).
        clusters: number of each unit's item, 0..items-1.
    """
    both = (first != MISSING) & (second != MISSING)
    place = (clusters[both] * categories + first[both]) * categories + second[both]
    return np.bincount(place, minlength=items * categories * categories).astype(np.float64).reshape(items, categories, categories)


def coincidences(ratings: Indices, clusters: Indices, categories: int, items: int) -> Floats:
    """Count Krippendorff's coincidences, item by item: shape (items, categories, categories).

    Args:
        ratings: category each rater gave each unit, `MISSING` where none; shape (units, raters).
        clusters: number of each unit's item, 0..items-1.
    """
    counts = np.stack([(ratings == c).sum(axis=1) for c in range(categories)], axis=1).astype(np.float64)
    values = counts.sum(axis=1)
    paired = values >= 2
    weight = 1.0 / (values[paired] - 1.0)
    found = np.zeros((items, categories, categories))
    tables = counts[paired, :, None] * counts[paired, None, :] * weight[:, None, None]
    diagonal = np.arange(categories)
    tables[:, diagonal, diagonal] -= counts[paired] * weight[:, None]
    np.add.at(found, clusters[paired], tables)
    return found


def distances(places: Floats, weighting: Weighting) -> Floats:
    """Return the disagreement of every two categories, shape (K, K).

    Args:
        places: the categories' places on the scale, shape (K,). weighting: nominal, linear or quadratic.
    """
    apart = np.abs(places[:, None] - places[None, :])
    if weighting == "nominal":
        return (apart > NOTHING).astype(np.float64)
    return apart if weighting == "linear" else apart**2


def agreement(tables: Floats) -> Floats:
    """Return the share on which both say the same; `tables` is one confusion or many, shape (..., K, K)."""
    return _over(np.trace(tables, axis1=-2, axis2=-1), tables.sum(axis=(-2, -1)))


def kappa(tables: Floats, apart: Floats) -> Floats:
    """Return Cohen's kappa of confusions.

    Args:
        tables: one confusion or many, shape (..., K, K). apart: disagreement of categories, from `distances`.
    """
    total = tables.sum(axis=(-2, -1))
    seen = (tables * apart).sum(axis=(-2, -1))
    chance = np.einsum("...i,...j,ij->...", tables.sum(axis=-1), tables.sum(axis=-2), apart)
    return 1.0 - _over(seen * total, chance)


def alpha(tables: Floats, places: Floats, level: Level) -> Floats:
    """Return Krippendorff's alpha of coincidences.

    Args:
        tables: one table of coincidences or many, shape (..., K, K). places: as in `distances`. level: nominal, ordinal, interval.
    """
    margins = tables.sum(axis=-1)
    total = margins.sum(axis=-1)
    if level == "ordinal":
        below = np.cumsum(margins, axis=-1) - margins / 2
        apart = (below[..., :, None] - below[..., None, :]) ** 2
    else:
        apart = distances(places, "nominal" if level == "nominal" else "quadratic")
    seen = (tables * apart).sum(axis=(-2, -1))
    chance = (margins[..., :, None] * margins[..., None, :] * apart).sum(axis=(-2, -1))
    return 1.0 - _over(seen * (total - 1.0), chance)


def alpha_of(ratings: Indices, places: Floats, level: Level) -> float:
    """Return Krippendorff's alpha of raw ratings, shape (units, raters), `MISSING` where a rater said nothing."""
    everything = coincidences(ratings, np.zeros(len(ratings), dtype=np.intp), len(places), 1)
    return float(alpha(everything[0], places, level))


def kappa_of(first: Indices, second: Indices, places: Floats, weighting: Weighting) -> float:
    """Return Cohen's kappa of two raters' categories, shape (units,), `MISSING` where one said nothing."""
    table = confusions(first, second, np.zeros(len(first), dtype=np.intp), len(places), 1)
    return float(kappa(table[0], distances(places, weighting)))


def rater_pairs(raters: int) -> list[tuple[int, int]]:
    """Return all pairs of raters, the first before the second."""
    return list(combinations(range(raters), 2))


def pooled(values: Floats, weights: Floats) -> Floats:
    """Return the mean over pairs of raters (last axis), each as heavy as the units it has; undefined pairs left out.

    The mean of pairwise kappas is Light's (1971, Psychological Bulletin 76:365-377); units as weights keep a coder of three
    answers from counting as much as one of two hundred.
    """
    heavy = np.where(np.isfinite(values), weights, 0.0)
    return _over((np.where(np.isfinite(values), values, 0.0) * heavy).sum(axis=-1), heavy.sum(axis=-1))


def _over(above: Floats, below: Floats) -> Floats:
    """Divide, NaN where the divisor is nothing."""
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=np.abs(below) > NOTHING)
