"""Blocks of items: how they are drawn, and how many independent ones are behind a number.

Questions of one battery resemble each other: they share a format, a topic and a place in the questionnaire. A bootstrap therefore
draws blocks with all their items. An item without a block is a block of its own, so without blocks this is a bootstrap of items.

**Effective number.** Blocks of n_b items vary as much as n = (sum n_b)^2 / sum n_b^2 blocks of equal size (Kish 1965, Survey
Sampling). `bootstrap` uses n where it corrects for few units, and n - 1 degrees of freedom. The plain number of blocks is too large:
with blocks of 18, 10, 6, 4, 3, 2, 1 and 1 items, intervals with 7 degrees of freedom cover 87 % where only blocks differ; those with
n - 1 = 3.1 cover 95 %.

**Keys of one block.** A topic is often exactly one battery, which cannot be resampled over blocks. Where n is below `ENOUGH_BLOCKS`
(one block, or one that contains nearly all items) items are resampled instead. Such an interval is about other questions of the same
battery, not about other batteries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from valuestrata.stats.arrays import Array, Bools, Floats, Indices

# Below this effective number of blocks, items are resampled.
ENOUGH_BLOCKS = 2.0


def block_numbers(names: Sequence[str | None]) -> Indices:
    """Return the block of each item, 0..B-1 in the order of first appearance, shape (I,); an item without a name is a block of its own."""
    known: dict[tuple[str | None, int], int] = {}
    keys = [(name, place if name is None else -1) for place, name in enumerate(names)]
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.intp)


def is_single(blocks: Indices, items: Indices | None = None) -> bool:
    """Return whether every item is a block of its own.

    Args:
        blocks: shape (I,), the block of each column. items: shape (I,), its item; None where each column is an item of its own.
    """
    return int(blocks.max(initial=-1)) + 1 == (len(blocks) if items is None else int(items.max(initial=-1)) + 1)


def draw_blocks(rng: np.random.Generator, blocks: Indices, bootstrap: int) -> Floats:
    """Return how often each item is drawn in each replicate, blocks being drawn with replacement; shape (bootstrap, I)."""
    number = int(blocks.max(initial=-1)) + 1
    return rng.multinomial(number, np.full(number, 1.0 / number), size=bootstrap).astype(np.float64)[:, blocks]


def sum_blocks(values: Array, blocks: Indices) -> Array:
    """Sum values (..., I) over the items of each block, (..., B); every number 0..B-1 must occur in `blocks`, shape (I,)."""
    if (np.diff(blocks) < 0).any():
        order = np.argsort(blocks, kind="stable")
        values, blocks = cast(Array, values[..., order]), blocks[order]
    starts = np.flatnonzero(np.diff(blocks, prepend=-1))
    return cast(Array, np.add.reduceat(values, starts, axis=-1))


def effective_blocks(counts: Floats, blocks: Indices) -> Floats:
    """Return the effective number of blocks behind each of K keys, shape (K,); 0 for a key without items.

    Args:
        counts: shape (K, I), pairs by item; items with 0 do not count. blocks: shape (I,).
    """
    sizes = sum_blocks((counts > 0).astype(np.float64), blocks) if counts.shape[-1] else np.zeros((len(counts), 1))
    squares = np.square(sizes).sum(axis=-1)
    return np.divide(np.square(sizes.sum(axis=-1)), squares, out=np.zeros(len(counts)), where=squares > 0)


@dataclass(frozen=True)
class Units:
    """What is resampled for each of K keys.

    Attributes:
        blocks: shape (I,), the block of each column.
        by_block: shape (K,): True where blocks are resampled, False where items are.
        number: shape (K,), units behind each key: the effective number of blocks, or the number of items.
        items: shape (I,), the item of each column; None where each column is an item of its own.
    """

    blocks: Indices
    by_block: Bools
    number: Floats
    items: Indices | None = None

    def behind(self, keys: int) -> Floats | None:
        """Return the effective number of blocks behind each of `keys` >= K keys, NaN where items are resampled.

        None where every item is a block of its own.
        """
        if is_single(self.blocks, self.items):
            return None
        found = np.full(keys, np.nan)
        found[: len(self.number)] = np.where(self.by_block, self.number, np.nan)
        return found

    def sums(self, of_blocks: Floats, of_items: Floats, rows: Floats) -> Floats:
        """Return the sums of rows (K, I) in each replicate, (B, K).

        Args:
            of_blocks, of_items: shape (B, I), how often each item is drawn with blocks and with items drawn.
            rows: shape (K, I).
        """
        if self.by_block.all():
            return of_blocks @ rows.T
        if not self.by_block.any():
            return of_items @ rows.T
        return np.where(self.by_block, of_blocks @ rows.T, of_items @ rows.T)


def units_of(counts: Floats, blocks: Indices, items: Indices | None = None) -> Units:
    """Decide what to resample for K keys: blocks where there are at least `ENOUGH_BLOCKS`, else items.

    Where every block is a single item, `by_block` is False.

    Args:
        counts: shape (K, I), pairs by column; columns with 0 do not count. blocks: shape (I,).
        items: shape (I,), the item of each column, 0, 1, ...; None where each column is an item of its own.
    """
    used = counts > 0
    number = (used if items is None else sum_blocks(used.astype(np.float64), items) > 0).sum(axis=1).astype(np.float64)
    if is_single(blocks, items):
        return Units(blocks, np.zeros(len(number), dtype=np.bool_), number, items)
    effective = effective_blocks(counts, blocks)
    by_block = effective >= ENOUGH_BLOCKS
    return Units(blocks, by_block, np.where(by_block, effective, number), items)
