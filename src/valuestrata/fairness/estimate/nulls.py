"""What noise alone would show: two ways to make all subgroups alike.

**Permuted.** Within each item and stratum, the values of the cells change places at random, item by item. If all subgroups of a
stratum were served alike, every such exchange would be as likely as what was seen. It holds exactly for whatever is computed from the
grid; it knows nothing of respondents who answer several items. Levels of an attribute change places as wholes: per item, the means
of the levels are permuted and not the cells behind them, because cells of one level hold the same people in several strata and
err on the same items; taken as unrelated they would make any gap of levels look too large for chance.

**Redrawn.** Each redraw of the respondents moves all labels of a subgroup jointly. A subgroup's score moves by its deviation from
its own mean over the redraws; `all alike` gives all subgroups of a stratum the same expected score and adds these deviations. It knows
that the labels of overlapping subgroups and of different items move together; it knows nothing of the choice of items.

Under both a subgroup's expected score is the mean, over its own items, of the items' means over its stratum: strata are not made
alike, and who was asked hard items keeps them. The permutations are the same for all runs and metrics with the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Floats, Indices


@dataclass(frozen=True)
class Centred:
    """A grid less the means of its items within strata.

    Attributes:
        mask: shape (G, I), where there is a value.
        residual: shape (G, I), value less the mean of the item over the stratum; 0 where there is none.
        base: shape (G,), expected score if all of the stratum were alike; NaN without a pair.
        pairs: shape (G,).
        rest: shape (G, I): factor n / (n - 1) that turns a residual into the difference to the rest, n the stratum's cells of the
            item; 0 where there is no rest.
    """

    mask: NDArray[np.bool_]
    residual: Floats
    base: Floats
    pairs: Floats
    rest: Floats


def centre(values: Floats, strata: Indices) -> Centred:
    """Centre values (G, I), NaN where there is none, within the strata (G,) numbered from 0."""
    mask = ~np.isnan(values)
    filled = np.where(mask, values, 0.0)
    groups = strata[:, None] == np.arange(int(strata.max(initial=-1)) + 1)
    number = groups.T.astype(np.float64) @ mask
    mean = np.divide(groups.T @ filled, number, out=np.zeros(number.shape), where=number > 0)[strata]
    pairs = mask.sum(axis=1).astype(np.float64)
    of_own = number[strata]
    base = np.divide((mean * mask).sum(axis=1), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    rest = np.where(mask & (of_own > 1), of_own / np.maximum(of_own - 1.0, 1.0), 0.0)
    return Centred(mask, np.where(mask, filled - mean, 0.0), base, pairs, rest)


@dataclass(frozen=True)
class Permuted:
    """Sums over items of permuted residuals, each of shape (B, G): of the values and of their squares."""

    sums: Floats
    squares: Floats


def permute(grids: Sequence[Centred], strata: Indices, permutations: int, seed: int) -> list[Permuted]:
    """Permute the residuals of grids within item and stratum; grids with the same pairs share each permutation.

    Args:
        grids: of the same shape (G, I). strata: shape (G,). permutations: B. seed: the random numbers of a cell are the same
            whatever the grid, so that grids with other pairs are permuted as alike as they can be.
    """
    alike: dict[bytes, list[int]] = {}
    for place, grid in enumerate(grids):
        alike.setdefault(np.packbits(grid.mask).tobytes(), []).append(place)
    found: dict[int, Permuted] = {}
    for places in alike.values():
        stacked = np.stack([grids[place].residual for place in places], axis=-1)
        sums, squares = _permuted(stacked, grids[places[0]].mask, strata, permutations, np.random.default_rng(seed))
        found |= {place: Permuted(sums[..., at], squares[..., at]) for at, place in enumerate(places)}
    return [found[place] for place in range(len(grids))]


def _permuted(
    stacked: Floats, mask: NDArray[np.bool_], strata: Indices, permutations: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Permute residuals (G, I, R) of R grids with one mask; return sums and sums of squares, (B, G, R)."""
    subgroups, items, runs = stacked.shape
    sums, squares = (np.zeros((permutations, subgroups, runs)) for _ in range(2))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        # Items lead: the cells of an item lie together, and are sorted along the last axis.
        values = np.ascontiguousarray(stacked[rows].transpose(1, 0, 2), dtype=np.float32)
        there = np.ascontiguousarray(mask[rows].T)
        complete = bool(there.all())
        used = np.flatnonzero(there.any(axis=1))
        values, there = values[used].reshape(-1, runs), there[used]
        starts = np.arange(len(used))[:, None] * len(rows)
        # Cells without a value have the largest keys; sorted, they stand behind the others, in both orders alike.
        absent = np.where(there, np.float32(0), np.float32(2))
        rank = np.argsort(np.argsort(~there, axis=1, kind="stable"), axis=1)
        for at in range(permutations):
            # All items get their keys, so that grids that lack some of them share the permutation of the others.
            keys = rng.random((items, len(rows)), dtype=np.float32)[used] + absent
            order = np.argsort(keys, axis=1)
            source = order if complete else np.take_along_axis(order, rank, axis=1)
            drawn = values[source + starts]
            sums[at, rows] = drawn.sum(axis=0)
            squares[at, rows] = np.einsum("igr,igr->gr", drawn, drawn)
    return sums, squares


def unit_scores(members: Floats, centred: Centred, deviations: Floats) -> Floats:
    """Return scores of units under a null, shape (B, U), NaN for a unit without a pair.

    Args:
        members: shape (U, G), 1 where a subgroup belongs to a unit; a unit's score is the mean over its pairs.
        centred: the grid. deviations: shape (B, G), sums over items of what the null adds to the base.
    """
    pairs = members @ centred.pairs
    expected = members @ (np.nan_to_num(centred.base) * centred.pairs)
    return np.divide(expected + deviations @ members.T, pairs, out=np.full((len(deviations), len(pairs)), np.nan), where=pairs > 0)
