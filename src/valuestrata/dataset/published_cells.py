"""Subgroups and gold of published counts.

Published counts do not say who answered, so three things are assumed:

- A redraw of a pair is multinomial: as many answers as the effective number, with the published shares. Redraws of different pairs are
  independent, also where cells overlap or the same people answered several questions.
- There are no halves of the respondents. Halves drawn for each cell would share people between a cell and those that contain it, so
  `+disjoint` and `+crossfit` would not keep training and test people apart.
- Sizes of joint cells (combinations of all attributes) are raked to the sizes of the published cells (iterative proportional fitting,
  Deming and Stephan 1940) unless they were published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.gold import redraw_counts, shares_of
from valuestrata.dataset.gold_tables import CountedPairs, draws_frame, gold_frames
from valuestrata.dataset.population import estimate_shares
from valuestrata.dataset.subgroups import EVERYONE, Cells, Stratum, Subgroup, make_strata, refuse_collisions, subgroup_id
from valuestrata.errors import InputDataError
from valuestrata.survey.counts.published import PublishedCounts

Floats = NDArray[np.float64]
# More combinations of levels than this are not laid out.
MOST_JOINT_CELLS = 100_000
RAKING_ROUNDS = 200
# Part of the population from which published cells of all attributes are taken as all joint cells; small cells may be left out.
COMPLETE = 0.999
# Largest relative difference from a published size at which raking ends.
RAKED = 1e-9


@dataclass(frozen=True)
class PublishedCells:
    """Subgroups of published counts, and the counts of the kept ones.

    Attributes:
        strata: `all` and the strata that were published.
        cells: the subgroups and joint cells; without respondents.
        counted: counts of the kept subgroups.
        joint: where the sizes of joint cells come from: `published`, `raked` or `none` (the population only).
        everyone: `published`, or `summed` over the stratum with most answers.
    """

    strata: list[Stratum]
    cells: Cells
    counted: CountedPairs
    joint: str
    everyone: str


def make_published_cells(counts: PublishedCounts, names: Sequence[str], *, min_respondents: int) -> PublishedCells:
    """Return the subgroups of published counts.

    Without counts of the whole population, it is the sum of the stratum with most answers to each question.

    Args:
        counts: the counts. names: keep only these strata; empty for all. min_respondents: fewest answers of a subgroup to one question,
            with missing ones.

    Raises:
        InputDataError: too many combinations of levels, or two subgroups with the same id. UsageError: an unknown stratum.
    """
    attributes = counts.survey.attributes
    used = [tuple(np.flatnonzero(row >= 0).tolist()) for row in counts.cells]
    order = max(map(len, used))
    found = make_strata(attributes, order=order, names=names)
    strata = [stratum for stratum in found if not stratum.attributes or stratum.attributes in used]
    of_cell = [next((s for s, stratum in enumerate(strata) if stratum.attributes == which), None) for which in used]
    size = (counts.n + counts.missing.sum(axis=-1)).max(axis=0)
    effective = counts.n_eff.max(axis=0)
    everyone = [c for c, which in enumerate(used) if not which]
    columns: list[int] = []
    kept: list[Subgroup] = []
    dropped: list[Subgroup] = []
    for s, stratum in enumerate(strata):
        if not stratum.attributes:
            continue
        rows = sorted((c for c, where in enumerate(of_cell) if where == s), key=lambda c: counts.cells[c].tolist())
        for c in rows:
            levels = tuple(int(counts.cells[c, a]) for a in stratum.attributes)
            subgroup = Subgroup(subgroup_id(attributes, stratum, levels), stratum, levels, int(size[c]), float(effective[c]))
            if size[c] >= min_respondents:
                kept.append(subgroup)
                columns.append(c)
            else:
                dropped.append(subgroup)
    counted = _counted(counts, columns, everyone, used)
    n = int((counted.n[:, 0] + counted.missing[:, 0].sum(axis=-1)).max())
    population = Subgroup(EVERYONE, strata[0], (), n, float(counted.n_eff[:, 0].max()))
    refuse_collisions([population, *kept, *dropped])
    joint_levels, joint_size, joint = _joint(counts, size, n)
    members = [np.flatnonzero(_inside(joint_levels, one)) for one in [population, *kept]]
    cells = Cells(
        kept=(population, *kept),
        dropped=tuple(dropped),
        joint_levels=joint_levels,
        joint_of_respondent=np.empty(0, dtype=np.intp),
        joint_n=np.rint(joint_size).astype(np.int64),
        joint_weight=joint_size,
        members=tuple(members),
    )
    return PublishedCells(strata, cells, counted, joint, "published" if everyone else "summed")


def _counted(counts: PublishedCounts, cells: Sequence[int], everyone: Sequence[int], used: Sequence[tuple[int, ...]]) -> CountedPairs:
    """Return the counts of the population, then those of each of `cells`."""
    whole = [_population(counts, item, everyone, used) for item in range(len(counts.counts))]

    def put(values: Floats) -> Floats:
        of_all = np.stack([values[item, which].sum(axis=0) for item, which in enumerate(whole)])
        return np.concatenate([of_all[:, None], values[:, list(cells)]], axis=1)

    weighted, n, missing = put(counts.counts), put(counts.n), put(counts.missing)
    return CountedPairs(_whole_numbers(weighted, n), weighted, missing, n, put(counts.n_eff))


def _population(counts: PublishedCounts, item: int, everyone: Sequence[int], used: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the cells whose sum is the whole population for an item."""
    if everyone and counts.n[item, everyone[0]] > 0:
        return list(everyone)
    strata: dict[tuple[int, ...], list[int]] = {}
    for c, which in enumerate(used):
        strata.setdefault(which, []).append(c)
    return max(strata.values(), key=lambda cells: counts.n[item, cells].sum())


def _whole_numbers(weighted: Floats, n: Floats) -> Floats:
    """Return whole numbers with the sum n and the shares of weighted counts: the largest remainders are rounded up."""
    exact = shares_of(weighted) * n[..., None]
    # Sums of whole numbers are exact; a product of their shares may lie just below.
    floor = np.floor(exact + 1e-9)
    lacking = np.rint(n - floor.sum(axis=-1)).astype(int)
    rank = np.argsort(np.argsort(-(exact - floor), axis=-1, kind="stable"), axis=-1, kind="stable")
    return floor + (rank < lacking[..., None])


def _joint(counts: PublishedCounts, size: Floats, everyone: int) -> tuple[NDArray[np.int16], Floats, str]:
    """Return the levels and sizes of the joint cells, and where the sizes come from."""
    attributes = len(counts.survey.attributes)
    if not attributes:
        return np.empty((1, 0), dtype=np.int16), np.array([float(everyone)]), "none"
    full = (counts.cells >= 0).all(axis=1)
    if size[full].sum() >= COMPLETE * everyone:
        return counts.cells[full], size[full].astype(float), "published"
    levels = [np.unique(column[column >= 0]) for column in counts.cells.T]
    number = math.prod(map(len, levels))
    if number > MOST_JOINT_CELLS:
        raise InputDataError(
            f"{counts.survey.source.file}: the attributes have {number:,} combinations of levels; at most {MOST_JOINT_CELLS:,} are used. "
            "Leave out an attribute."
        )
    joint = np.stack(np.meshgrid(*levels, indexing="ij"), axis=-1).reshape(-1, attributes).astype(np.int16)
    return joint, rake_sizes(joint, counts.cells, size.astype(float), float(everyone)), "raked"


def rake_sizes(joint: NDArray[np.int16], cells: NDArray[np.int16], size: Floats, total: float) -> Floats:
    """Return sizes of joint cells that agree with the sizes of published cells, and are otherwise as independent as possible.

    Args:
        joint: levels of each joint cell, shape (J, attributes). cells: levels of the published cells, -1 where not used, shape (C,
            attributes). size: their sizes, shape (C,). total: size of the population.

    Returns:
        Shape (J,), with sum `total`. Cells that do not use an attribute at all are ignored. If published sizes contradict each other,
        those of the last stratum hold.
    """
    found = np.full(len(joint), total / len(joint))
    used = cells >= 0
    strata = [np.flatnonzero((used == pattern).all(axis=1)) for pattern in np.unique(used[used.any(axis=1)], axis=0)]
    margins: list[tuple[NDArray[np.intp], Floats]] = []
    for rows in sorted(strata, key=lambda rows: int(used[rows[0]].sum())):
        which = np.full(len(joint), -1, dtype=np.intp)
        for place, c in enumerate(rows):
            which[(joint[:, used[c]] == cells[c, used[c]]).all(axis=1)] = place
        # Published levels of one attribute are the whole population, though some people may lack it.
        target = size[rows] * (total / size[rows].sum() if used[rows[0]].sum() == 1 else 1.0)
        margins.append((which, target))
    for _ in range(RAKING_ROUNDS):
        before = found
        for which, target in margins:
            inside = which >= 0
            current = np.bincount(which[inside], weights=found[inside], minlength=len(target))
            factor = np.divide(target, current, out=np.ones_like(target), where=current > 0)
            found = np.where(inside, found * factor[np.maximum(which, 0)], found)
        found = found * (total / found.sum())
        if np.abs(found - before).max() <= RAKED * total:
            break
    return found


def _inside(joint: NDArray[np.int16], subgroup: Subgroup) -> NDArray[np.bool_]:
    return (joint[:, list(subgroup.stratum.attributes)] == np.array(subgroup.levels, dtype=np.int16)).all(axis=1)


def tabulate_published(
    counts: PublishedCounts, found: PublishedCells, *, min_valid: float, draws: int, share_draws: int, redraw_seed: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, NDArray[np.int64]]:
    """Return what `tabulate` does, for published counts and without halves.

    The population is kept from one answer on unless it is the target.
    """
    survey, cells, counted = counts.survey, found.cells, found.counted
    redraws = redraw_counts(
        shares_of(counted.weighted),
        counted.n_eff,
        np.array([len(item.codes) for item in survey.items], dtype=np.intp),
        draws=draws,
        share_draws=share_draws,
        rng=np.random.default_rng(redraw_seed),
    )
    keep = counted.n_eff >= min_valid
    if len(cells.kept) > 1:
        keep[:, 0] |= counted.n_eff[:, 0] > 0
    estimates = [estimate_shares(survey, cells, cells.joint_weight, counted.weighted, counted.n_eff)]
    gold, small_area = gold_frames(survey, cells, [counted], estimates, redraws, keep)
    in_joint = np.repeat(cells.joint_n[:, None], len(survey.items), axis=1)
    return gold, small_area, draws_frame(survey, cells, [counted], redraws, keep), in_joint
