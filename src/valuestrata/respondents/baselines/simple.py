"""Baselines without fitting: uniform, midpoint, item mode and nearest parent."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.item_models.item_average import national_shares
from valuestrata.respondents.baselines.predictor import Floats, PerPair, Predictor, as_shares

# Number of respondents that the prior of `nearest-parent` counts as: a third of the smallest subgroup by default.
PARENT_PRIOR = 10.0


def fit_uniform(gold: TrainingGold) -> Predictor:
    """Return equal shares."""
    return PerPair(lambda item, _: np.full(len(gold.codes[item]), 1.0 / len(gold.codes[item])))


def fit_midpoint(gold: TrainingGold) -> Predictor:
    """Return the middle of the scale; the two middle codes have share 1/2 if the number of codes is even."""
    return PerPair(lambda item, _: _midpoint(len(gold.codes[item])))


def _midpoint(options: int) -> Floats:
    middle = np.zeros(options)
    middle[(options - 1) // 2] += 0.5
    middle[options // 2] += 0.5
    return middle


def fit_item_mode(gold: TrainingGold) -> Predictor:
    """Return the national shares of the item for every subgroup."""
    of_item = gold.once(national_shares)
    return PerPair(lambda item, _: of_item[item])


def fit_nearest_parent(gold: TrainingGold) -> Predictor:
    """Return the shares of `nearest_parent`."""
    national = gold.once(national_shares)
    return PerPair(lambda item, subgroup: _from_nearest(gold, item, subgroup, national[item]))


def nearest_parent(gold: TrainingGold, item: str, subgroup: str) -> Floats:
    """Return the shares of the smallest training parent of a subgroup, shrunk toward the parents of that parent.

    A parent is another training subgroup whose levels are a subset of those of the subgroup. The result is
    (n * shares + m * prior) / (n + m), with n the effective answers of the parent, m = `PARENT_PRIOR`, and the prior the
    pooled shares of the training parents of the parent, or else the national shares. Without a training parent, the
    national shares are returned. Under transfer, the training subgroup with the same levels is also a parent.
    """
    return _from_nearest(gold, item, subgroup, gold.once(national_shares)[item])


def _from_nearest(gold: TrainingGold, item: str, subgroup: str, national: Floats) -> Floats:
    parents = _trained_parents(gold, item, subgroup, include_same=gold.source is not None)
    if not parents:
        return national
    nearest = min(parents, key=lambda parent: gold.n[item, parent])
    above = [gold.counts[item, s] for s in _trained_parents(gold, item, nearest)]
    prior = as_shares(np.sum(above, axis=0)) if above else national
    n_eff = gold.n_eff[item, nearest]
    return (n_eff * as_shares(gold.counts[item, nearest]) + PARENT_PRIOR * prior) / (n_eff + PARENT_PRIOR)


def _trained_parents(gold: TrainingGold, item: str, subgroup: str, *, include_same: bool = False) -> list[str]:
    own = list(gold.levels[subgroup].items())
    subsets = (subset for size in range(1, len(own) + include_same) for subset in combinations(own, size))
    found = (gold.subgroup_with.get(frozenset(subset)) for subset in subsets)
    return [parent for parent in found if parent is not None and (item, parent) in gold.counts]
