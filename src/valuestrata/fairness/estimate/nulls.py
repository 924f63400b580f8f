"""Null distributions of scores if all subgroups were served alike: permutation and redrawn respondents.

**Permuted.** Within each item and stratum, the values of the cells are permuted, independently for each item. Under equal service all
such permutations are equally likely, so this null is exact for any statistic of the grid. It ignores that one respondent answers
several items. Levels of an attribute are permuted as wholes: per item, the level means are permuted, not the cells behind them. Cells
of one level hold the same people in several strata and err on the same items; treated as unrelated they would make level gaps look too
large for chance.

**Redrawn.** Each redraw of the respondents moves all labels of a subgroup jointly. The null gives all subgroups of a stratum the same
expected score and adds each subgroup's deviation from its own mean over the redraws. It respects that labels of overlapping subgroups
and of different items move together; it ignores the choice of items.

Strata are not made equal under either null: a subgroup keeps the difficulty of its items. Permutations are the same for all runs and
metrics with the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Floats, Indices, generator


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
    """

    mask: NDArray[np.bool_]
    residual: Floats
    base: Floats
    pairs: Floats
    rest: Floats


def centre(values: Floats, strata: Indices) -> CentredGrid:
    """Centre values (G, I), NaN for missing pairs, within strata (G,) numbered from 0."""
    mask = ~np.isnan(values)
    filled = np.where(mask, values, 0.0)
    groups = strata[:, None] == np.arange(int(strata.max(initial=-1)) + 1)
    number = groups.T.astype(np.float64) @ mask
    mean = np.divide(groups.T @ filled, number, out=np.zeros(number.shape), where=number > 0)[strata]
    pairs = mask.sum(axis=1).astype(np.float64)
    of_own = number[strata]
    base = np.divide((mean * mask).sum(axis=1), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    rest = np.where(mask & (of_own > 1), of_own / np.maximum(of_own - 1.0, 1.0), 0.0)
    return CentredGrid(mask, np.where(mask, filled - mean, 0.0), base, pairs, rest)


@dataclass(frozen=True)
class PermutedSums:
    """Sums over items of permuted residuals and of their squares, each of shape (B, G)."""

    sums: Floats
    squares: Floats


def permute(grids: Sequence[CentredGrid], strata: Indices, permutations: int, seed: int) -> list[PermutedSums]:
    """Permute the residuals of grids within item and stratum; grids with the same pairs share each permutation.

    Args:
        grids: all of the same shape (G, I). strata: shape (G,). permutations: B.
        seed: a cell gets the same random numbers in every grid, so grids with other pairs get permutations as similar as possible.
    """
    alike: dict[bytes, list[int]] = {}
    for place, grid in enumerate(grids):
        alike.setdefault(np.packbits(grid.mask).tobytes(), []).append(place)
    found: dict[int, PermutedSums] = {}
    for places in alike.values():
        stacked = np.stack([grids[place].residual for place in places], axis=-1)
        sums, squares = _permuted(stacked, grids[places[0]].mask, strata, permutations, generator(seed))
        found |= {place: PermutedSums(sums[..., at], squares[..., at]) for at, place in enumerate(places)}
    return [found[place] for place in range(len(grids))]


def _permuted(
    stacked: Floats, mask: NDArray[np.bool_], strata: Indices, permutations: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Permute residuals (G, I, R) of R grids with one mask; return sums and sums of squares, each (B, G, R)."""
    subgroups, items, runs = stacked.shape
    sums, squares = (np.zeros((permutations, subgroups, runs)) for _ in range(2))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        # Items first: an item's cells are contiguous and sorted along the last axis.
        values = np.ascontiguousarray(stacked[rows].transpose(1, 0, 2), dtype=np.float32)
        there = np.ascontiguousarray(mask[rows].T)
        complete = bool(there.all())
        used = np.flatnonzero(there.any(axis=1))
        values, there = values[used].reshape(-1, runs), there[used]
        starts = np.arange(len(used))[:, None] * len(rows)
        # Cells without a value get the largest keys and come last in both orders.
        absent = np.where(there, np.float32(0), np.float32(2))
        rank = np.argsort(np.argsort(~there, axis=1, kind="stable"), axis=1)
        for at in range(permutations):
            # Every item gets keys, so grids that lack some items share the permutations of the others.
            keys = rng.random((items, len(rows)), dtype=np.float32)[used] + absent
            order = np.argsort(keys, axis=1)
            source = order if complete else np.take_along_axis(order, rank, axis=1)
            drawn = values[source + starts]
            sums[at, rows] = drawn.sum(axis=0)
            squares[at, rows] = np.einsum("igr,igr->gr", drawn, drawn)
    return sums, squares


def unit_scores(members: Floats, centred: CentredGrid, deviations: Floats) -> Floats:
    """Return scores of units under a null, shape (B, U); NaN for a unit without a pair.

    Args:
        members: shape (U, G), 1 where a subgroup belongs to a unit; a unit's score is the mean over its pairs.
        deviations: shape (B, G), sums over items of what the null adds to the base.
    """
    pairs = members @ centred.pairs
    expected = members @ (np.nan_to_num(centred.base) * centred.pairs)
    return np.divide(expected + deviations @ members.T, pairs, out=np.full((len(deviations), len(pairs)), np.nan), where=pairs > 0)
