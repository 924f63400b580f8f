"""Choosing a penalty inside the training pairs: strata are left out in turn and predicted from the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from valuestrata.respondents.baselines.cell_models.cells import Cells
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Floats, as_shares

SEED = 0
FOLDS = 4
# A penalty that all items share needs no more of them than these.
ENOUGH_ITEMS = 40
Candidate = TypeVar("Candidate")
# item -> shares, shape (subgroups of `gold.levels`, K)
Tables = Mapping[str, Floats]


def choose(
    gold: TrainingGold, candidates: Sequence[Candidate], fit: Callable[[Cells, Candidate], Tables], *, items: int = ENOUGH_ITEMS
) -> Candidate:
    """Return the candidate that predicts left-out training cells best: least squared error of shares, weighted by n_eff.

    Strata of two or more attributes are left out whole. (One cell alone could be told from its sisters and their parent
    by subtraction, which no test cell can.) Where there are none, single subgroups are left out in `FOLDS` folds.

    Args:
        gold: the training gold. candidates: from most to least cautious, the first wins a tie.
        fit: training cells, candidate -> shares. items: how many items at most to decide on, chosen by seed.
    """
    among = gold.of_items(some(list(gold.subgroups_of), items))
    row = {subgroup: i for i, subgroup in enumerate(gold.levels)}
    loss = np.zeros(len(candidates))
    for left_out in _folds(among):
        pairs = {pair for pair in among.counts if pair[1] in left_out}
        training = among.without(pairs)
        cells = Cells.of(training)
        asked = [pair for pair in pairs if pair[0] in cells.observed]
        if not asked:
            continue
        for c, candidate in enumerate(candidates):
            tables = fit(cells, candidate)
            for item, subgroup in asked:
                gap = tables[item][row[subgroup]] - as_shares(among.counts[item, subgroup])
                loss[c] += among.n_eff[item, subgroup] * float(gap @ gap)
    return candidates[int(loss.argmin())]


def some(words: Sequence[str], most: int) -> list[str]:
    """Return `words`, or `most` of them by seed, in their order."""
    if len(words) <= most:
        return list(words)
    return [words[int(i)] for i in np.sort(np.random.default_rng(SEED).choice(len(words), most, replace=False))]


def _folds(gold: TrainingGold) -> list[set[str]]:
    trained = list(dict.fromkeys(subgroup for _, subgroup in gold.counts))
    strata: dict[tuple[str, ...], list[str]] = {}
    for subgroup in trained:
        strata.setdefault(tuple(gold.levels[subgroup]), []).append(subgroup)
    groups = [subgroups for names, subgroups in strata.items() if len(names) > 1] or [[subgroup] for subgroup in trained]
    order = np.random.default_rng(SEED).permutation(len(groups))
    return [{s for g in order[f::FOLDS] for s in groups[g]} for f in range(min(FOLDS, len(groups)))]
