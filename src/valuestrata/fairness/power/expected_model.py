"""The model assumed by a power analysis, and the covariances of its scores.

It gives the gold mode with probability q, the same everywhere, and any other option otherwise, independently for each pair. q is set so
that the mean score is the expected one. Covariances of contrasts sum_gi w_gi y_gi have three parts:

items        other items: the variance over items of the model's score on each
answers      q is a probability: the variance of y given the label
labels       other respondents give other modes: redraws, with the dependence of cells that share respondents, within an item (decreases
             with the items) and over all items (does not)
blocks       the model serves a subgroup better on one block of items and worse on another: its expected score differs by subgroup and block
             with an assumed standard deviation. The variance of a single score stays the same, scores of a block become correlated
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.errors import UsageError
from valuestrata.scores.layout import Layout
from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.blocks import sum_blocks

# Redraws behind the labels' covariances.
LABEL_DRAWS = 500
# Numbers held at once for a chunk of items, 8 bytes each.
CHUNK_NUMBERS = 8_000_000


@dataclass(frozen=True)
class Expectation:
    """Scores of the assumed model. G subgroups, I items, D redraws of the labels.

    Attributes:
        mean: shape (G, I), expected score over answers and labels, NaN without a pair.
        answers: shape (G, I), variance of the score given the label, averaged over labels; 0 without a pair.
        labels: shape (D, G, I), expected score given each redrawn label, minus its mean over the redraws.
        cumulants: shape (2, G, I), second and fourth cumulant of the score over answers and labels; 0 without a pair.
        range: lowest and highest mean score that such a model can have.
    """

    mean: Floats
    answers: Floats
    labels: NDArray[np.float32]
    cumulants: Floats
    range: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class BlockEffects:
    """Blocks of items: `blocks`, shape (I,), and the standard deviation of a subgroup's expected score between them."""

    blocks: Indices
    sd: float

    def units(self, weights: Floats, share: float) -> Floats:
        """Return the effective number of blocks of K contrasts (K, G, I) if a share of the items is asked at random, shape (K,)."""
        sizes = sum_blocks((weights != 0).any(axis=1).astype(np.float64), self.blocks)
        items = sizes.sum(axis=1)
        return items**2 / np.maximum(items / share + np.square(sizes).sum(axis=1) - items, 1.0)


@dataclass(frozen=True)
class Covariances:
    """Covariances of K contrasts, each of shape (K, K): the part that decreases with the items, and the rest."""

    by_item: Floats
    shared: Floats

    def with_items(self, part: float) -> Floats:
        """Return the covariance where a share `part` of the items is asked."""
        return self.by_item / part + self.shared


def expectation_of(layout: Layout, present: NDArray[np.bool_], metric: str, expected: float) -> Expectation:
    """Return the scores of the assumed model with mean score `expected`.

    Raises:
        UsageError: no probability q gives that mean.
    """
    shape, widest = present.shape, int(layout.options.max())
    options = np.broadcast_to(layout.options, shape).ravel()
    flat, place = present.ravel(), np.arange(present.size)
    tables = np.zeros((8, present.size, widest))
    for k in np.unique(options):
        steps = np.arange(k)
        apart = np.abs(steps[:, None] - steps) / (k - 1)
        by_answer = (apart == 0).astype(np.float64) if metric == "accuracy" else apart
        rows = np.flatnonzero(options == k)
        own = np.stack([by_answer**power for power in (1, 2, 3, 4)])
        others = (own.sum(axis=1, keepdims=True) - own) / (k - 1)
        tables[:4, rows, :k], tables[4:, rows, :k] = own[:, layout.mode[rows]], others[:, layout.mode[rows]]
    draws = layout.draws[:LABEL_DRAWS] if len(layout.draws) > 1 else layout.mode[None].astype(np.int8)
    chances = np.stack([(draws == option).mean(axis=0) for option in range(widest)], axis=1)
    right, wrong = (float((tables[at] * chances).sum(axis=1)[flat].mean()) for at in (0, 4))
    q = (expected - wrong) / (right - wrong) if right != wrong else np.nan
    low, high = sorted((right, wrong))
    # The ends are allowed.
    q = min(max(q, 0.0), 1.0) if low <= expected <= high else q
    if not 0 <= q <= 1:
        raise UsageError(f"expected={expected}; with the labels of this part the mean {metric} is between {low:.3f} and {high:.3f}.")
    moments = q * tables[:4] + (1 - q) * tables[4:]
    mean = moments[0]
    labels = np.empty((len(draws), present.size), dtype=np.float32)
    for at, modes in enumerate(draws):
        labels[at] = mean[place, modes]
    m1, m2, m3, m4 = (moments * chances).sum(axis=2)
    answers = ((moments[1] - mean**2) * chances).sum(axis=1)
    fourth = m4 - 4 * m3 * m1 - 3 * m2**2 + 12 * m2 * m1**2 - 6 * m1**4
    labels -= labels.mean(axis=0)
    labels[:, ~flat] = 0
    return Expectation(
        np.where(flat, m1, np.nan).reshape(shape),
        np.where(flat, answers, 0.0).reshape(shape),
        labels.reshape(-1, *shape),
        np.where(flat, np.stack([m2 - m1**2, fourth]), 0.0).reshape(2, *shape),
        (low, high),
    )


def covariances(weights: Floats, expectation: Expectation, effects: BlockEffects | None = None) -> Covariances:
    """Return the covariances of the contrasts sum_gi weights_kgi y_gi.

    Args:
        weights: shape (K, G, I), 0 where there is no pair.
        expectation: of the assumed model.
        effects: blocks of items; None where every item is a block of its own.
    """
    number, _, items = weights.shape
    mean = np.nan_to_num(expectation.mean)
    by_item = np.einsum("kgi,gi->ki", weights, mean)
    # A contrast over n items is a mean of n: the spread of its items' parts about that mean.
    there = (weights != 0).any(axis=1)
    centred = np.where(there, by_item - (by_item.sum(axis=1) / np.maximum(there.sum(axis=1), 1))[:, None], 0.0)
    lost = np.maximum(there.sum(axis=1), 2)
    scale = np.sqrt(lost / (lost - 1.0))
    own = (centred * scale[:, None]) @ (centred * scale[:, None]).T
    of_blocks = np.zeros_like(own)
    if effects is not None:
        units = np.maximum(effects.units(weights, 1.0), 2.0)
        together = sum_blocks(centred, effects.blocks) * np.sqrt(units / (units - 1.0))[:, None]
        flat = sum_blocks(weights, effects.blocks).reshape(number, -1)
        pairs = weights.reshape(number, -1)
        of_blocks = together @ together.T - own + effects.sd**2 * (flat @ flat.T - pairs @ pairs.T)
    scaled = (weights * np.sqrt(expectation.answers)).reshape(number, -1)
    own += scaled @ scaled.T
    draws = len(expectation.labels)
    if draws < 2:
        return Covariances(own, of_blocks)
    together, single = np.zeros((number, draws)), np.zeros((number, number))
    step = max(1, CHUNK_NUMBERS // max(number * draws, 1))
    for start in range(0, items, step):
        these = slice(start, start + step)
        moved = np.matmul(weights[:, :, these].transpose(2, 0, 1), expectation.labels[:, :, these].transpose(2, 1, 0).astype(np.float64))
        together += moved.sum(axis=0)
        single += np.einsum("ikd,ild->kl", moved, moved, optimize=True)
    single /= draws - 1
    return Covariances(own + single, together @ together.T / (draws - 1) - single + of_blocks)


def freedom(weights: Floats, expectation: Expectation, share: float, effects: BlockEffects | None = None) -> Floats:
    """Return the degrees of freedom of the contrasts' standard errors as estimated from items or blocks, shape (K,).

    A variance estimated from n parts has the squared relative error g / n + 2 / (n - 1), g the excess kurtosis of a part; one with f
    degrees of freedom has 2 / f. Parts are sums of few scores: single answers near .5 are almost always equally far from their mean, so
    their variance is known much better than that of a normal variable. Unequal blocks of variance v_b count as n = (sum v_b)^2 / sum v_b^2.

    Args:
        weights: shape (K, G, I). expectation: of the assumed model. share: of the items that is asked. effects: as for `covariances`.
    """
    if effects is not None:
        parts = [np.einsum("kgi,gi->ki", weights**power, expectation.cumulants[at]) for at, power in ((0, 2), (1, 4))]
        second, fourth = (sum_blocks(part, effects.blocks) for part in parts)
        second = second / share + effects.sd**2 * (
            np.square(sum_blocks(weights, effects.blocks)) - sum_blocks(weights**2, effects.blocks)
        ).sum(axis=1)
        total = np.maximum(second.sum(axis=1), 1e-300)
        number = np.maximum(total**2 / np.maximum(np.square(second).sum(axis=1), 1e-300), 2.0)
        return 2.0 / np.maximum(fourth.sum(axis=1) / share**3 / total**2 + 2.0 / (number - 1.0), 1e-6)
    items = (weights != 0).any(axis=1).sum(axis=1)
    second, fourth = (np.einsum("kgi,gi->k", weights**power, expectation.cumulants[at]) for at, power in ((0, 2), (1, 4)))
    excess = np.divide(fourth * items, second**2, out=np.zeros(len(weights)), where=second > 0)
    number = np.maximum(items * share, 2.0)
    return 2.0 / np.maximum(excess / number + 2.0 / (number - 1.0), 1e-6)
