"""Unseen combinations and levels: the ensemble baseline with the model's departures as a covariate.

The covariate of a subgroup is its log shares in the model minus the population's and minus the departures of those of its levels
that are in training: what the subgroups in training do not show. The log shares of the baseline plus a coefficient times the
covariate give the prediction. One coefficient is for combinations of trained levels, one for subgroups with an untrained level.
They are chosen inside training, on the multilevel baseline, by holding out strata or levels. A coefficient of 0 gives the baseline
unchanged, and a model that is not better by more than one standard error over items gets 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.calibration.methods.hybrid.national import exceeds_error
from valuestrata.calibration.model_answers import Pair
from valuestrata.respondents.baselines.cell_models.cells import TrainingCells
from valuestrata.respondents.baselines.cell_models.ensemble import fit_ensemble
from valuestrata.respondents.baselines.cell_models.multilevel import fit_multilevel
from valuestrata.respondents.baselines.cell_models.validation import SEED, VALIDATION_ITEMS, held_out_strata, sample_items
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Predictor, as_shares
from valuestrata.stats.arrays import Floats, softmax

COEFFICIENTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
# Largest number of levels held out in turn.
LEVEL_FOLDS = 6
Level = tuple[str, str]


@dataclass(frozen=True)
class CellHybrid:
    """The baseline with a covariate.

    Attributes:
        baseline: predictor of the baseline. departures: (item, subgroup) -> departure of the model, shape (K,), sum 0.
        levels: subgroup -> its levels. subgroups: set of levels -> subgroup. trained: levels in training.
        combination, level: coefficients for combinations of trained levels, and for subgroups with an untrained level.
        trained_pairs: pairs in training, which the baseline answers.
    """

    baseline: Predictor
    departures: Mapping[Pair, Floats]
    levels: Mapping[str, Mapping[str, str]]
    subgroups: Mapping[frozenset[Level], str]
    trained: frozenset[Level]
    combination: float
    level: float
    trained_pairs: frozenset[Pair]

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the predicted shares, shape (K,), scale order, sum 1."""
        base = self.baseline.shares(item, subgroup)
        own = self.levels[subgroup]
        coefficient = self.combination if set(own.items()) <= self.trained else self.level
        if coefficient == 0 or (item, subgroup) in self.trained_pairs:
            return base
        extra = covariate(self.departures, item, subgroup, own, self.subgroups, self.trained)
        return base if extra is None else tilted(base, coefficient * extra)


def fit_cells(gold: TrainingGold, departures: Mapping[Pair, Floats]) -> CellHybrid:
    """Fit the baseline and choose both coefficients."""
    trained = trained_levels(gold)
    present = {level for own in gold.levels.values() for level in own.items()}
    combination = _coefficient(gold, departures, held_out_strata(gold)) if departures else 0.0
    level = _coefficient(gold, departures, _level_folds(gold, trained)) if departures and present - trained else 0.0
    return CellHybrid(fit_ensemble(gold), departures, gold.levels, gold.subgroup_with, trained, combination, level, frozenset(gold.counts))


def trained_levels(gold: TrainingGold) -> frozenset[Level]:
    """Return the levels of the training subgroups."""
    return frozenset(level for s in {s for _, s in gold.counts} for level in gold.levels[s].items())


def covariate(
    departures: Mapping[Pair, Floats],
    item: str,
    subgroup: str,
    own: Mapping[str, str],
    subgroups: Mapping[frozenset[Level], str],
    trained: frozenset[Level],
) -> Floats | None:
    """Return the departure of a pair minus those of its trained levels, shape (K,); None where the model did not answer one of them."""
    found = departures.get((item, subgroup))
    if found is None:
        return None
    known = [level for level in own.items() if level in trained]
    if len(own) == 1 and known:
        return np.zeros_like(found)
    for level in known:
        margin = departures.get((item, subgroups.get(frozenset([level]), "")))
        if margin is None:
            return None
        found = found - margin
    return found


def tilted(shares: Floats, shift: Floats) -> Floats:
    """Return shares with `shift` added to their log shares, shape (..., K); both are of sum 1."""
    return softmax(np.log(np.maximum(shares, 1e-12)) + shift)


def _level_folds(gold: TrainingGold, trained: frozenset[Level]) -> list[set[str]]:
    """Return subgroups to hold out: those with a level, for some levels of attributes with another trained level."""
    several = [level for level in sorted(trained) if sum(name == level[0] for name, _ in trained) > 2]
    order = np.random.default_rng(SEED).permutation(len(several))[:LEVEL_FOLDS]
    levels = [several[i] for i in np.sort(order)]
    return [{s for s, own in gold.levels.items() if own.get(name) == label} for name, label in levels]


def _coefficient(gold: TrainingGold, departures: Mapping[Pair, Floats], folds: Sequence[set[str]]) -> float:
    """Return the coefficient with the least squared error of shares in held-out training cells, weighted by n_eff.

    It is 0 unless the error is lower than without the model by more than one standard error over items.
    """
    answered = {item for item, _ in departures}
    subset = gold.of_items(sample_items([item for item in gold.subgroups_of if item in answered], VALIDATION_ITEMS))
    items = {item: i for i, item in enumerate(subset.subgroups_of)}
    loss = np.zeros((len(items), len(COEFFICIENTS)))
    factors = np.array(COEFFICIENTS)[:, None]
    for fold in folds:
        held_out = [pair for pair in subset.counts if pair[1] in fold]
        training = subset.without(set(held_out))
        if not training.counts:
            continue
        trained, known = trained_levels(training), TrainingCells.of(training).observed
        baseline = fit_multilevel(training)
        for item, subgroup in held_out:
            extra = covariate(departures, item, subgroup, gold.levels[subgroup], gold.subgroup_with, trained)
            if extra is None or item not in known:
                continue
            predicted = tilted(baseline.shares(item, subgroup), factors * extra)
            error = predicted - as_shares(subset.counts[item, subgroup])
            loss[items[item]] += subset.n_eff[item, subgroup] * np.square(error).sum(axis=1)
    best = int(loss.sum(axis=0).argmin())
    better = best > 0 and exceeds_error(loss[:, 0] - loss[:, best], np.arange(len(loss)))
    return COEFFICIENTS[best] if better else 0.0
