"""What is known of the population's answer to an item from the other items and a model.

The shares mu_i of an item in the whole population are predicted by

    C_i = a_T + sum_m b_m (x_im - mean of x_m over the items of type T),

T the items with as many options, x_im the answer of model m for the population. The means a_T are shrunken toward equal shares, and the
slopes toward 0 (`stats.small_area.slopes`). Everything is learned without the item's own block of items, so that the squared distance of C
from the human answers, less their sampling variance, is an honest variance of its error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.estimation.inputs import ItemOptions
from valuestrata.stats.arrays import Bools, Floats, Indices
from valuestrata.stats.blocks import block_numbers
from valuestrata.stats.small_area.slopes import shrunken

# Pseudo-items with the variance of shares that are equally likely to be anything.
PSEUDO_ITEMS = 1.0
# With fewer blocks, single items are left out.
ENOUGH_BLOCKS = 4


@dataclass(frozen=True)
class ItemLevels:
    """Predictions of the population's shares.

    Attributes:
        shares: C, shape (I, K), 0 behind the last option. variance: shape (I,), mean squared error of share k over p_k (1 - p_k).
        slopes: shape (M,), slope of each model, from all items.
    """

    shares: Floats
    variance: Floats
    slopes: Floats


def item_levels(items: ItemOptions, direct: Floats, variance: Floats, spread: Floats, models: Floats) -> ItemLevels:
    """Predict the shares of every item from the other blocks of items.

    Args:
        items: I items with at most K options. direct: human shares, shape (I, K), NaN without answers. variance: shape (I,), their sampling
            variance over p (1 - p). spread: shape (I,), sum over options of p (1 - p), positive.
        models: answers of M models for the population, shape (M, I, K); NaN without an answer.
    """
    used = items.used
    flat = used / items.options[:, None]
    away = np.where(used, direct - flat, 0.0)
    known = np.asarray(np.isfinite(away).all(axis=1), dtype=np.bool_)
    away[~known] = 0.0
    blocks = _blocks(items)
    kind = _kinds(items)
    between, of_kinds = _variances(away, variance, spread, kind, known, items.options)
    precision = np.where(known, 1 / (between + np.where(known, variance, 1.0)), 0.0)
    same = (kind[:, None] == kind[None, :]) & (blocks[:, None] != blocks[None, :])
    weight = same * precision
    doubt = 1 / (weight.sum(axis=1) + 1 / of_kinds)
    centre = (weight @ away) * doubt[:, None]
    expected = between + doubt
    rest = np.where(known[:, None], away - centre, 0.0)
    answered = np.asarray(np.isfinite(np.where(used, models, 0.0)).all(axis=2), dtype=np.bool_)
    features = np.where(answered[..., None] & used, models - flat, 0.0)
    others = same[None] * answered[:, None, :]
    mean = np.einsum("mij,mjk->mik", others, features) / np.maximum(others.sum(axis=2), 1)[..., None]
    features = np.where(answered[..., None], features - mean, 0.0)
    scaled = np.where(known, 1 / (expected + np.where(known, variance, 1.0)), 0.0) / spread
    products = np.einsum("mik,nik,i->imn", features, features, scaled)
    moments = np.einsum("mik,ik,i->im", features, rest, scaled)
    shares = centre.copy()
    for block in np.unique(blocks):
        own = blocks == block
        shares[own] += np.einsum("mik,m->ik", features[:, own], _slopes(products[~own], moments[~own], blocks[~own]))
    shares = np.where(used, np.maximum(shares + flat, 0.0), 0.0)
    shares /= shares.sum(axis=1, keepdims=True)
    away = np.where(known[:, None] & used, direct - shares, 0.0)
    error = _error(away, variance, spread, known, _groups(kind, np.asarray(answered.any(axis=0), dtype=np.bool_)), expected)
    return ItemLevels(shares, error, _slopes(products, moments, blocks))


def _blocks(items: ItemOptions) -> Indices:
    """Return the block of each item; each item is one where there are few blocks."""
    found = block_numbers(items.blocks.tolist())
    return found if len(np.unique(found)) >= ENOUGH_BLOCKS else np.arange(len(found))


def _kinds(items: ItemOptions) -> Indices:
    """Return the type of each item: number of options, and whether they are ordered."""
    return items.options * 2 + items.ordered


def _variances(away: Floats, variance: Floats, spread: Floats, kind: Indices, known: Bools, options: Indices) -> tuple[float, float]:
    """Return the variances of items within types and of types, over p (1 - p), by moments with pseudo-items."""
    expected = float((1 / (options + 1.0)).mean()) if len(options) else 0.2
    within, freedom, types, means = expected * PSEUDO_ITEMS, PSEUDO_ITEMS, 0.0, 0.0
    totals: list[tuple[float, float]] = []
    for one in np.unique(kind):
        rows = np.flatnonzero((kind == one) & known)
        if not len(rows):
            continue
        mean = away[rows].mean(axis=0)
        left = 1 - 1 / len(rows)
        if len(rows) > 1:
            within += float((((away[rows] - mean) ** 2).sum(axis=1) / spread[rows] - left * variance[rows]).sum())
            freedom += len(rows) - 1
        totals.append((float((mean**2).sum() / spread[rows].mean()), float(variance[rows].mean() / len(rows) + 0.0) + 1e-12))
    between = max(within / freedom, 1e-4)
    for (square, noise), one in zip(totals, [k for k in np.unique(kind) if ((kind == k) & known).any()], strict=True):
        means += square - noise - between / ((kind == one) & known).sum()
        types += 1
    of_kinds = max((means + expected * PSEUDO_ITEMS) / (types + PSEUDO_ITEMS), 1e-4)
    return between, of_kinds


def _slopes(products: Floats, moments: Floats, blocks: Indices) -> Floats:
    """Return the shrunken slopes, shape (M,).

    Args:
        products: shape (I, M, M), moments: shape (I, M), of each item. blocks: shape (I,).
    """
    total, models = products.sum(axis=0), moments.shape[1]
    usable = np.diag(total) > 1e-9
    found = np.zeros(models)
    units = np.unique(blocks)
    if not usable.any() or len(units) <= usable.sum() + 1:
        return found
    total = total[np.ix_(usable, usable)]
    inverse = np.linalg.inv(total + 1e-9 * np.diag(np.diag(total)))
    estimate = inverse @ moments[:, usable].sum(axis=0)
    scores = np.zeros((int(blocks.max()) + 1, int(usable.sum())))
    np.add.at(scores, blocks, moments[:, usable] - products[:, usable][:, :, usable] @ estimate)
    correction = len(units) / (len(units) - usable.sum())
    covariance = correction * inverse @ (scores.T @ scores) @ inverse
    covariance += 1e-9 * np.eye(len(estimate)) * max(float(np.trace(covariance)), 1e-12)
    found[usable] = shrunken(estimate, covariance, np.zeros(len(estimate), dtype=np.intp)).mean
    return found


def _groups(kind: Indices, answered: Bools) -> Indices:
    """Number the items by type and by whether a model answered them."""
    return np.unique(kind * 2 + answered, return_inverse=True)[1].reshape(-1)


def _error(away: Floats, variance: Floats, spread: Floats, known: Bools, group: Indices, expected: Floats) -> Floats:
    """Return the variance of the predictions over p (1 - p), a multiple of what is expected for each group of items."""
    v = np.where(known, variance, 1.0)
    weight = np.where(known, expected / (expected + v) ** 2, 0.0)
    excess = weight * ((away**2).sum(axis=1) / spread - v)
    size = weight * expected
    every = (excess.sum() + PSEUDO_ITEMS * size.mean()) / max(size.sum() + PSEUDO_ITEMS * size.mean(), 1e-300)
    every = max(every, 0.01)
    number = int(group.max(initial=-1)) + 1
    typical = np.bincount(group, size, number) / np.maximum(np.bincount(group, minlength=number), 1)
    factor = (np.bincount(group, excess, number) + PSEUDO_ITEMS * typical * every) / np.maximum(
        np.bincount(group, size, number) + PSEUDO_ITEMS * typical, 1e-300
    )
    return np.maximum(np.maximum(factor, 0.01)[group] * expected, 1e-4)
