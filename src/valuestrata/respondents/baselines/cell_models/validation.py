"""Chooses a penalty by cross-validation within training: strata are held out and predicted from the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from valuestrata.respondents.baselines.cell_models.cells import TrainingCells
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Floats, as_shares

SEED = 0
FOLDS = 4
# Largest number of items used to choose a penalty.
VALIDATION_ITEMS = 40
Candidate = TypeVar("Candidate")
# item -> shares, shape (subgroups of `gold.levels`, K)
Tables = Mapping[str, Floats]


def choose(
    gold: TrainingGold, candidates: Sequence[Candidate], fit: Callable[[TrainingCells, Candidate], Tables], *, items: int = VALIDATION_ITEMS
) -> Candidate:
    """Return the candidate with the least squared error of shares in held-out training cells, weighted by n_eff.

    Strata of two or more attributes are held out as a whole, because a single cell could be computed from its parent and the
    other cells. Without such strata, single subgroups are held out in `FOLDS` folds.

    Args:
        gold: the training gold. candidates: in order of decreasing shrinkage; the first wins a tie.
        fit: training cells, candidate -> shares. items: largest number of items used, drawn by seed.
    """
    subset = gold.of_items(sample_items(list(gold.subgroups_of), items))
    row = {subgroup: i for i, subgroup in enumerate(gold.levels)}
    loss = np.zeros(len(candidates))
    for held_out in held_out_strata(subset):
        pairs = {pair for pair in subset.counts if pair[1] in held_out}
        training = subset.without(pairs)
        cells = TrainingCells.of(training)
        # In the order of the gold: sums in the order of a set would differ between processes.
        asked = [pair for pair in subset.counts if pair in pairs and pair[0] in cells.observed]
        if not asked:
            continue
        for c, candidate in enumerate(candidates):
            tables = fit(cells, candidate)
            for item, subgroup in asked:
                error = tables[item][row[subgroup]] - as_shares(subset.counts[item, subgroup])
                loss[c] += subset.n_eff[item, subgroup] * float(error @ error)
    return candidates[int(loss.argmin())]


def sample_items(items: Sequence[str], limit: int) -> list[str]:
    """Return `items`, or `limit` of them drawn by seed, in their order."""
    if len(items) <= limit:
        return list(items)
    return [items[int(i)] for i in np.sort(np.random.default_rng(SEED).choice(len(items), limit, replace=False))]


def held_out_strata(gold: TrainingGold) -> list[set[str]]:
    """Return sets of subgroups to hold out in turn: strata of two or more attributes; single subgroups where there are none."""
    trained = list(dict.fromkeys(subgroup for _, subgroup in gold.counts))
    strata: dict[tuple[str, ...], list[str]] = {}
    for subgroup in trained:
        strata.setdefault(tuple(gold.levels[subgroup]), []).append(subgroup)
    groups = [subgroups for names, subgroups in strata.items() if len(names) > 1] or [[subgroup] for subgroup in trained]
    order = np.random.default_rng(SEED).permutation(len(groups))
    return [{s for g in order[f::FOLDS] for s in groups[g]} for f in range(min(FOLDS, len(groups)))]
