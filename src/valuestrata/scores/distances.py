"""Distances between the distributions of a run and the gold shares, observed or redrawn.

A pair's distance is `constant + sum_r weight_r * d(probs_r, shares)` over the rows r of the pair. Each response with
`option_probs` is a row; missing responses add distance 1 to the constant; the samples of a pair asked often enough are one row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from valuestrata import measures
from valuestrata.stats.arrays import Bools, Floats, Indices, Singles

DISTANCES: Mapping[str, Callable[[ArrayLike, ArrayLike], Floats]] = {
    "w1": measures.w1,
    "rps": measures.rps,
    "tv": measures.tv,
    "jsd": measures.jsd,
}
ORDERED_DISTANCES = ("w1", "rps")
# Rows x draws x options processed at once, several arrays of 4 bytes each: fits in a cache.
CHUNK_NUMBERS = 400_000
# Shares are cut at this value before the logarithm, so x log x is 0 for a share of 0.
SMALLEST_SHARE = np.float32(1e-30)


@dataclass(frozen=True)
class GivenDistributions:
    """The distributions a run gave for P pairs, in R rows.

    Attributes:
        pair: shape (R,), index of the pair. probs: shape (R, largest K), zeros after an item's last option.
        weight: shape (R,). constant: shape (P,), NaN for a pair without a distribution.
        sampled: indices of the pairs whose distribution is that of their samples.
    """

    pair: Indices
    probs: Floats
    weight: Floats
    constant: Floats
    sampled: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.intp))

    def against(self, shares: Floats, options: Indices, ordered: Bools) -> dict[str, Floats]:
        """Return w1, rps, tv and jsd to `shares`, each of shape (P,); NaN without a distribution.

        Args:
            shares: shape (P, largest K). options: shape (P,). ordered: shape (P,), False for nominal items.
        """
        result: dict[str, Floats] = {}
        for name, distance in DISTANCES.items():
            each = np.zeros(len(self.pair))
            for k in np.unique(options[self.pair]):
                rows = np.flatnonzero(options[self.pair] == k)
                each[rows] = distance(self.probs[rows, :k], shares[self.pair[rows], :k])
            value = self.constant + np.bincount(self.pair, weights=self.weight * each, minlength=len(self.constant))
            value[~ordered & (name in ORDERED_DISTANCES)] = np.nan
            result[name] = value
        return result


@dataclass(frozen=True)
class ShareDraws:
    """Redrawn shares of the n pairs with K options.

    Attributes:
        cells: shape (n,), indices of the pairs in the grid of subgroups x items. shares: shape (K, n, S), S draws.
    """

    cells: Indices
    shares: Singles

    @cached_property
    def entropy(self) -> Singles:
        """Entropy of each draw in bits, shape (n, S)."""
        total = np.zeros(self.shares.shape[1:], dtype=np.float32)
        for share in self.shares:
            total -= share * np.log2(np.maximum(share, SMALLEST_SHARE))
        return total


def redrawn(given: GivenDistributions, cells: Indices, draws: Sequence[ShareDraws], size: int) -> dict[str, Singles]:
    """Return w1, rps, tv and jsd to each redraw of the shares, each of shape (S, size); 0 where there is no pair.

    Single precision is enough: redraws are stored in steps of 1/32 of a standard error.

    Args:
        given: distributions for P pairs. cells: shape (P,), their indices in the grid. draws: one for each K.
        size: number of cells of the grid.
    """
    number = draws[0].shares.shape[2]
    result = {name: np.zeros((size, number), dtype=np.float32) for name in DISTANCES}
    cell_of = cells[given.pair]
    turn = _occurrence(given.pair)
    for group in draws:
        options = len(group.shares)
        place = np.full(size, -1, dtype=np.intp)
        place[group.cells] = np.arange(len(group.cells))
        mine = place[cell_of] >= 0
        chunk = max(1, CHUNK_NUMBERS // (number * options))
        # The rows of a pair are added one by one: an indexed addition must not contain a cell twice.
        for t in range(int(turn[mine].max(initial=-1)) + 1):
            rows = np.flatnonzero(mine & (turn == t))
            for start in range(0, len(rows), chunk):
                here = rows[start : start + chunk]
                at = place[cell_of[here]]
                found = _distances(given.probs[here, :options].T.astype(np.float32), group.shares[:, at], group.entropy[at])
                for name, value in found.items():
                    value *= given.weight[here, None].astype(np.float32)
                    result[name][cell_of[here]] += value
    known = ~np.isnan(given.constant)
    for value in result.values():
        value[cells[known]] += given.constant[known, None].astype(np.float32)
    return {name: np.ascontiguousarray(value.T) for name, value in result.items()}


def _distances(probs: Singles, shares: Singles, entropy: Singles) -> dict[str, Singles]:
    """Compute the formulas of `measures` with options first: probs (K, R), shares (K, R, S), entropy (R, S) -> (R, S)."""
    steps = len(probs) - 1
    w1, rps, tv, mixed = (np.zeros_like(entropy) for _ in range(4))
    gap = np.zeros_like(entropy)
    own = np.zeros((len(entropy), 1), dtype=np.float32)
    for k, (prob, share) in enumerate(zip(probs[..., None], shares, strict=True)):
        difference = share - prob
        tv += np.abs(difference)
        own -= prob * np.log2(np.maximum(prob, SMALLEST_SHARE))
        middle = share + prob
        middle *= 0.5
        mixed -= middle * np.log2(np.maximum(middle, SMALLEST_SHARE))
        if k < steps:
            gap += difference
            w1 += np.abs(gap)
            rps += gap * gap
    mixed -= (own + entropy) / 2
    np.clip(mixed, 0.0, 1.0, out=mixed)
    for total, parts in ((w1, steps), (rps, steps), (tv, 2)):
        total /= np.float32(parts)
    return {"w1": w1, "rps": rps, "tv": tv, "jsd": mixed}


def _occurrence(pair: Indices) -> Indices:
    """Return for each row the number of earlier rows of the same pair."""
    order = np.argsort(pair, kind="stable")
    ordered = pair[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(pair) else np.empty(0, dtype=np.intp)
    counted = np.empty(len(pair), dtype=np.intp)
    counted[order] = np.arange(len(pair)) - np.repeat(first, np.diff(np.append(first, len(pair))))
    return counted


def padded(lists: pl.Series, width: int) -> Floats:
    """Return a column of lists as an array of shape (rows, width), zeros after the end of each list."""
    lengths = lists.list.len().fill_null(0).to_numpy()
    array = np.zeros((len(lists), width))
    array[np.arange(width) < lengths[:, None]] = lists.filter(lists.list.len() > 0).explode().to_numpy()
    return array
