"""Baselines that fit nothing: uniform, midpoint, item mode, nearest parent."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.item_models.item_average import national_shares
from valuestrata.respondents.baselines.predictor import Floats, PerPair, Predictor, as_shares

# Strength of the Dirichlet prior of `nearest-parent`: the parent's own parents count as this many respondents. Ten is
# a third of the smallest subgroup built, so a small cell leans on its parents and a large one hardly does.
PARENT_PRIOR = 10.0


def fit_uniform(gold: TrainingGold) -> Predictor:
    """Every code equally likely."""
    return PerPair(lambda item, _: np.full(len(gold.codes[item]), 1.0 / len(gold.codes[item])))


def fit_midpoint(gold: TrainingGold) -> Predictor:
    """The middle of the scale; an even number of codes has two middles, each answered half of the time."""
    return PerPair(lambda item, _: _midpoint(len(gold.codes[item])))


def _midpoint(options: int) -> Floats:
    middle = np.zeros(options)
    middle[(options - 1) // 2] += 0.5
    middle[options // 2] += 0.5
    return middle


def fit_item_mode(gold: TrainingGold) -> Predictor:
    """The item's pooled training shares, whoever is asked; for an item that nothing trained on, `national_shares`."""
    of_item = national_shares(gold)
    return PerPair(lambda item, _: of_item[item])


def fit_nearest_parent(gold: TrainingGold) -> Predictor:
    """See `nearest_parent`."""
    everyone = national_shares(gold)
    return PerPair(lambda item, subgroup: _from_nearest(gold, item, subgroup, everyone[item]))


def nearest_parent(gold: TrainingGold, item: str, subgroup: str) -> Floats:
    """Return shares for a subgroup from its smallest trained parent, shrunk toward the parent's own parents.

    A parent is a trained subgroup, other than the one asked about, whose levels all belong to it. Parents of the parent
    that train are pooled (without any: `national_shares`) into the prior, which counts as `PARENT_PRIOR` respondents:
    (n * shares + m * prior) / (n + m), n the parent's effective answers. Without a trained parent everyone's shares
    answer. Where another data set trains, its people are others, and its subgroup of the same levels counts as a parent too.
    """
    return _from_nearest(gold, item, subgroup, national_shares(gold)[item])


def _from_nearest(gold: TrainingGold, item: str, subgroup: str, everyone: Floats) -> Floats:
    parents = _trained_parents(gold, item, subgroup, itself=gold.source is not None)
    if not parents:
        return everyone
    nearest = min(parents, key=lambda parent: gold.n[item, parent])
    above = [gold.counts[item, s] for s in _trained_parents(gold, item, nearest)]
    prior = as_shares(np.sum(above, axis=0)) if above else everyone
    n_eff = gold.n_eff[item, nearest]
    return (n_eff * as_shares(gold.counts[item, nearest]) + PARENT_PRIOR * prior) / (n_eff + PARENT_PRIOR)


def _trained_parents(gold: TrainingGold, item: str, subgroup: str, *, itself: bool = False) -> list[str]:
    mine = list(gold.levels[subgroup].items())
    subsets = (subset for size in range(1, len(mine) + itself) for subset in combinations(mine, size))
    found = (gold.subgroup_with.get(frozenset(subset)) for subset in subsets)
    return [parent for parent in found if parent is not None and (item, parent) in gold.counts]
