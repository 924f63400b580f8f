"""Null distributions of scores if all subgroups were served alike: permutation and redrawn respondents.

**Permuted.** Within each block of items and each stratum, the cells are permuted, independently for each block and jointly for all its
items: a model that misreads a subgroup on one question of a battery often does so on the others, and this must stay in the null. Under
equal service all such permutations are equally likely, so this null is exact for any statistic of a complete grid. Where the items of a
block lack different cells, an item skips the cells that it lacks: with pi the block's permutation, a cell gets the value of the first of
pi(g), pi(pi(g)), ... that the item has. Each item is then permuted uniformly, and its cells move with those of the other items wherever
they exist. An item without a block is a block of its own. The null ignores that one respondent answers several blocks. Levels of an
attribute are permuted as wholes: the level means are permuted, not the cells behind them. Cells of one level hold the same people in
several strata and err on the same items; treated as unrelated they would make level gaps look too large for chance.

**Few permutations.** Naming the cells in another way does not change a measure of spread, so B blocks and n cells have (n!)^(B - 1)
permutations that matter, and p cannot be smaller than the inverse of that number (`distinct_permutations`).

**Redrawn.** Each redraw of the respondents moves all labels of a subgroup jointly. The null gives all subgroups of a stratum the same
expected score and adds each subgroup's deviation from its own mean over the redraws. It respects that labels of overlapping subgroups
and of different items move together; it ignores the choice of items.

Strata are not made equal under either null: a subgroup keeps the difficulty of its items. Permutations are the same for all runs and
metrics with the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, lgamma, log

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Floats, Indices, generator
from valuestrata.stats.blocks import sum_blocks


@dataclass(frozen=True)
class CentredGrid:
    """A grid minus the mean of each item within each stratum.

    Attributes:
        mask: shape (G, I), pairs with a value.
        residual: shape (G, I), value minus the item's mean over the stratum; 0 without a value.
        base: shape (G,), expected score if the whole stratum were served alike; NaN without a pair.
        pairs: shape (G,), number of pairs.
        rest: shape (G, I), factor n / (n - 1) that turns a residual into the difference to the rest of the stratum, n being the
            stratum's cells of the item; 0 where there is no rest.
        blocks: shape (I,), the block of each item, 0..B-1.
    """

    mask: NDArray[np.bool_]
    residual: Floats
    base: Floats
    pairs: Floats
    rest: Floats
    blocks: Indices

    @cached_property
    def sizes(self) -> Floats:
        """Pairs of each subgroup in each block, shape (G, B)."""
        return sum_blocks(self.mask.astype(np.float64), self.blocks)

    @cached_property
    def block_sums(self) -> Floats:
        """Sum of the residuals of each subgroup in each block, shape (G, B)."""
        return sum_blocks(self.residual, self.blocks)


def centre(values: Floats, strata: Indices, blocks: Indices | None = None) -> CentredGrid:
    """Centre values (G, I), NaN for missing pairs, within strata (G,) numbered from 0.

    Args:
        values, strata: see above. blocks: shape (I,), the block of each item, 0..B-1; each item by itself if None.
    """
    mask = ~np.isnan(values)
    filled = np.where(mask, values, 0.0)
    groups = strata[:, None] == np.arange(int(strata.max(initial=-1)) + 1)
    number = groups.T.astype(np.float64) @ mask
    mean = np.divide(groups.T @ filled, number, out=np.zeros(number.shape), where=number > 0)[strata]
    pairs = mask.sum(axis=1).astype(np.float64)
    of_own = number[strata]
    base = np.divide((mean * mask).sum(axis=1), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    rest = np.where(mask & (of_own > 1), of_own / np.maximum(of_own - 1.0, 1.0), 0.0)
    blocks = np.arange(values.shape[1]) if blocks is None else blocks
    return CentredGrid(mask, np.where(mask, filled - mean, 0.0), base, pairs, rest, blocks)


@dataclass(frozen=True)
class PermutedSums:
    """Sums of permuted residuals, each of shape (B, G) for B permutations.

    Attributes:
        sums: over all items. squares: of the squared sums of blocks. sized: of the sums of blocks, each times the subgroup's pairs in it.
    """

    sums: Floats
    squares: Floats
    sized: Floats


def permute(grids: Sequence[CentredGrid], strata: Indices, permutations: int, seed: int) -> list[PermutedSums]:
    """Permute the residuals of grids within block and stratum; grids with the same pairs share each permutation.

    Args:
        grids: all of the same shape (G, I), with the same blocks. strata: shape (G,). permutations: B.
        seed: a cell gets the same random numbers in every grid, so grids with other pairs get permutations as similar as possible.
    """
    alike: dict[bytes, list[int]] = {}
    for place, grid in enumerate(grids):
        alike.setdefault(np.packbits(grid.mask).tobytes(), []).append(place)
    found: dict[int, PermutedSums] = {}
    for places in alike.values():
        stacked = np.stack([grids[place].residual for place in places], axis=-1)
        made = _permuted(stacked, grids[places[0]], strata, permutations, generator(seed))
        found |= {place: PermutedSums(*(each[..., at] for each in made)) for at, place in enumerate(places)}
    return [found[place] for place in range(len(grids))]


def _permuted(
    stacked: Floats, grid: CentredGrid, strata: Indices, permutations: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Permute residuals (G, I, R) of R grids with the pairs of `grid`; return the arrays of `PermutedSums`, each (B, G, R)."""
    subgroups, _, runs = stacked.shape
    number = int(grid.blocks.max(initial=-1)) + 1
    single = number == len(grid.blocks)
    sums, squares = (np.zeros((permutations, subgroups, runs)) for _ in range(2))
    # With a pair in every block the two sums are the same.
    sized = sums if single else np.zeros_like(sums)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        # Items of a block with the same cells move together: one piece, with its cells along the last axis of `there`.
        there, block, values = _pieces(stacked[rows], grid.mask[rows], grid.blocks)
        starts = np.flatnonzero(np.diff(block, prepend=-1))
        sizes = None if single else grid.sizes[rows][:, block[starts]].T
        complete = bool(there.all())
        first = np.arange(len(there))[:, None] * len(rows)
        values = values.reshape(-1, runs)
        absent = np.where(there, np.float32(0), np.float32(2 if single else 0))
        # Cells without a value get the largest keys and come last in both orders.
        rank = np.argsort(np.argsort(~there, axis=1, kind="stable"), axis=1)
        for at in range(permutations):
            # Every block gets keys, so grids that lack some items share the permutations of the others.
            source = np.argsort(rng.random((number, len(rows)), dtype=np.float32)[block] + absent, axis=1)
            if not complete:
                source = np.take_along_axis(source, rank, axis=1) if single else _skipping(source, there)
            drawn = values[source + first]
            if len(starts) < len(block):
                drawn = np.add.reduceat(drawn, starts, axis=0)
            sums[at, rows] = drawn.sum(axis=0)
            squares[at, rows] = np.einsum("igr,igr->gr", drawn, drawn)
            if sizes is not None:
                sized[at, rows] = np.einsum("ig,igr->gr", sizes, drawn)
    return sums, squares, sized


def _pieces(values: Floats, mask: NDArray[np.bool_], blocks: Indices) -> tuple[NDArray[np.bool_], Indices, NDArray[np.float32]]:
    """Sum residuals (n, I, R) over items of one block that have the same cells; items without any are left out.

    Returns:
        Cells (Q, n) and block (Q,) of each of Q pieces, sorted by block, and their sums (Q, n, R).
    """
    used = np.flatnonzero(mask.any(axis=0))
    used = used[np.argsort(blocks[used], kind="stable")]
    keys = np.concatenate([blocks[used][:, None], mask[:, used].T], axis=1)
    pieces, which = np.unique(keys, axis=0, return_inverse=True)
    which = which.ravel()
    order = np.argsort(which, kind="stable")
    moved = np.ascontiguousarray(values[:, used[order]].transpose(1, 0, 2), dtype=np.float32)
    if len(pieces) < len(used):
        moved = np.add.reduceat(moved, np.flatnonzero(np.diff(which[order], prepend=-1)), axis=0)
    return pieces[:, 1:].astype(np.bool_), pieces[:, 0].astype(np.intp), moved


def _skipping(source: Indices, there: NDArray[np.bool_]) -> Indices:
    """Return where each cell's value comes from if a permutation skips missing cells: source and result of shape (Q, n).

    Leaving elements out of the cycles of a random permutation gives a random permutation of the others.
    """
    found = np.where(there, source, np.arange(source.shape[1]))
    flat, cells = there.ravel(), source.shape[1]
    starts = np.repeat(np.arange(len(source)) * cells, cells)
    # Places of cells whose source is missing: their source's source is next.
    places = np.flatnonzero(~flat[starts + found.ravel()] & flat)
    steps, ends = source.ravel(), found.ravel()
    while len(places):
        following = steps[starts[places] + ends[places]]
        ends[places] = following
        places = places[~flat[starts[places] + following]]
    return ends.reshape(source.shape)


def distinct_permutations(mask: NDArray[np.bool_], strata: Indices, blocks: Indices) -> float:
    """Return how many permutations within block and stratum differ by more than the names of the cells; infinite above 1e300.

    Args:
        mask: shape (G, I), pairs with a value. strata: shape (G,). blocks: shape (I,).
    """
    there = sum_blocks(mask.astype(np.float64), blocks) > 0
    total = 0.0
    for stratum in np.unique(strata):
        cells = np.sort(there[strata == stratum].sum(axis=0))[::-1]
        # The block with the most cells is the one that the others are compared with.
        total += sum(lgamma(number + 1.0) for number in cells[1:])
    return exp(total) if total < log(1e300) else float("inf")


def unit_scores(members: Floats, centred: CentredGrid, deviations: Floats) -> Floats:
    """Return scores of units under a null, shape (B, U); NaN for a unit without a pair.

    Args:
        members: shape (U, G), 1 where a subgroup belongs to a unit; a unit's score is the mean over its pairs.
        deviations: shape (B, G), sums over items of what the null adds to the base.
    """
    pairs = members @ centred.pairs
    expected = members @ (np.nan_to_num(centred.base) * centred.pairs)
    return np.divide(expected + deviations @ members.T, pairs, out=np.full((len(deviations), len(pairs)), np.nan), where=pairs > 0)
