"""Halves A and B of the respondents: training gold of `+disjoint` splits comes from one, test gold from the other.

Respondents are divided within joint cells, so that both halves hold nearly the same number of people of every subgroup, and of
similar weight. Where the survey names its primary sampling units, whole units are divided instead: people of one unit answer
alike, so halves that share a unit have correlated sampling errors, and a model trained on one would have an advantage on the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Divisions of the sampling units that are drawn; the one with the most equal subgroups is used (Morgan & Rubin 2012, Ann. Stat.).
TRIED = 1000


def halve(
    joint_of_respondent: NDArray[np.intp],
    members: Sequence[NDArray[np.intp]],
    *,
    seed: int,
    weight: NDArray[np.float64] | None = None,
    unit: NDArray[np.intp] | None = None,
    stratum: NDArray[np.intp] | None = None,
) -> NDArray[np.bool_]:
    """Divide the respondents into two halves.

    Args:
        joint_of_respondent: joint cell of each respondent, shape (respondents,).
        members: for each subgroup the joint cells it consists of; only used with `unit`.
        seed: of the division.
        weight: weight of each respondent; neighbours in weight go to different halves.
        unit: primary sampling unit 0..P-1 of each respondent; None without units.
        stratum: sampling stratum of each unit, shape (P,); units of a stratum are divided as equally as possible. None for one.

    Returns:
        True for respondents in half A, shape (respondents,). Without units, the halves of a joint cell differ by at most one
        person, and the halves of the survey too.
    """
    rng = np.random.default_rng(seed)
    if unit is not None and 1 < int(unit.max(initial=0)) + 1 < len(unit):
        return _by_unit(joint_of_respondent, members, unit, stratum, rng)
    people = len(joint_of_respondent)
    order = np.lexsort((rng.random(people), np.zeros(people) if weight is None else weight, joint_of_respondent))
    return _alternate(joint_of_respondent[order], rng)[np.argsort(order)]


def _alternate(cell: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Pair neighbours of the same cell (sorted) and send one of each pair, drawn at random, to half A.

    The last of a cell with an odd number is paired with the last of the next such cell.
    """
    starts = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]]) if len(cell) else np.empty(0, dtype=np.intp)
    sizes = np.diff(np.r_[starts, len(cell)])
    rank = np.arange(len(cell)) - np.repeat(starts, sizes)
    single = (rank == np.repeat(sizes, sizes) - 1) & (rank % 2 == 0)
    half = np.empty(len(cell), dtype=np.bool_)
    for chosen in (~single, single):
        number = int(chosen.sum())
        first = np.repeat(rng.random((number + 1) // 2) < 0.5, 2)[:number]
        half[chosen] = first ^ (np.arange(number) % 2 == 1)
    return half


def _by_unit(
    joint: NDArray[np.intp],
    members: Sequence[NDArray[np.intp]],
    unit: NDArray[np.intp],
    stratum: NDArray[np.intp] | None,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Divide whole units, within strata where there are any; of `TRIED` divisions take the one with the most equal subgroups."""
    units = int(unit.max()) + 1
    of_unit = np.zeros(units, dtype=np.intp) if stratum is None else stratum
    by_cell = np.zeros((units, int(joint.max()) + 1))
    np.add.at(by_cell, (unit, joint), 1.0)
    people = np.stack([by_cell[:, cells].sum(axis=1) for cells in members], axis=1)
    total = np.maximum(people.sum(axis=0), 1.0)
    tried = np.empty((TRIED, units), dtype=np.bool_)
    for draw in tried:
        order = np.lexsort((rng.random(units), of_unit))
        draw[order] = _alternate(of_unit[order], rng)
    difference = np.where(tried, 1.0, -1.0) @ people
    return tried[(difference**2 / total).sum(axis=1).argmin()][unit]
