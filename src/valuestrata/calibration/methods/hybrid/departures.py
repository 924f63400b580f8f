"""How a model's answers of subgroups differ from its answers of the population, and by which factor gold departures differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from valuestrata.calibration.methods.hybrid.national import exceeds_error, logs
from valuestrata.calibration.methods.pairs import population_answers
from valuestrata.calibration.model_answers import ModelAnswers, Pair
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.item_models.item_text import FLOOR, trained_shares
from valuestrata.respondents.baselines.pooling import item_folds
from valuestrata.respondents.baselines.predictor import as_shares
from valuestrata.splits.schemes import ITEM_FOLDS
from valuestrata.stats.arrays import Floats, Indices

# Effective answers beyond which more answers add little to the weight of a pair.
WEIGHT_PRIOR = 100.0
Stratum = tuple[str, ...]


@dataclass(frozen=True)
class Factors:
    """Factors of the model's departures.

    Attributes:
        of: attributes of a stratum -> factor; empty if departures are not used. common: factor of other strata.
        gain: part of the squared gold departures in held-out items that the factor saves; 0 if departures are not used.
    """

    of: Mapping[Stratum, float] = field(default_factory=dict[Stratum, float])
    common: float = 0.0
    gain: float = 0.0

    def factor(self, stratum: Stratum) -> float:
        """Return the factor of a stratum."""
        return self.of.get(stratum, self.common)


def population_shares(gold: TrainingGold, answers: ModelAnswers) -> dict[str, Floats]:
    """Return item -> the model's shares for the population, shape (K,); see `population_answers`."""
    return {item: shares for (item, _), shares in population_answers(gold, answers).shares.items()}


def model_departures(gold: TrainingGold, answers: ModelAnswers, population: Mapping[str, Floats]) -> dict[Pair, Floats]:
    """Return (item, subgroup) -> log shares of the model minus those for the population, shape (K,), sum 0."""
    base = {item: logs(shares, FLOOR) for item, shares in population.items()}
    return {
        (item, s): logs(shares, FLOOR) - base[item] for (item, s), shares in answers.shares.items() if item in base and gold.levels.get(s)
    }


def fit_factors(gold: TrainingGold, departures: Mapping[Pair, Floats]) -> Factors:
    """Regress gold departures on those of the model, with a factor for each stratum, and use them only if they help.

    Factors are least squares with weights n / (n + WEIGHT_PRIOR), n effective answers. Those of strata are shrunk toward the common
    factor by their standard errors over groups of items (DerSimonian and Laird 1986). They are 0 unless the error in held-out
    groups of items falls by more than one standard error over the groups.
    """
    national = {item: logs(shares, FLOOR) for item, shares in trained_shares(gold).items()}
    pairs = [pair for pair in gold.counts if pair in departures and pair[0] in national]
    if not pairs:
        return Factors()
    items = list(dict.fromkeys(item for item, _ in pairs))
    block_of = _block_of(gold, items)
    block = np.array([block_of[item] for item, _ in pairs])
    strata = {stratum: i for i, stratum in enumerate(dict.fromkeys(tuple(gold.levels[s]) for _, s in pairs))}
    stratum = np.array([strata[tuple(gold.levels[s])] for _, s in pairs])
    sums = np.zeros((int(block.max()) + 1, len(strata), 3))
    for pair, b, s in zip(pairs, block, stratum, strict=True):
        own, observed = departures[pair], logs(as_shares(gold.counts[pair]), FLOOR) - national[pair[0]]
        weight = gold.n_eff[pair] / (gold.n_eff[pair] + WEIGHT_PRIOR)
        sums[b, s] += weight * np.array([observed @ own, own @ own, observed @ observed])
    if len(sums) < 2 or float(sums[..., 1].sum()) <= 0:
        return Factors()
    gains: list[float] = []
    for one in range(len(sums)):
        factors, _ = _pooled(np.delete(sums, one, axis=0))
        gains.append(float((2.0 * factors * sums[one, :, 0] - factors**2 * sums[one, :, 1]).sum()))
    if not exceeds_error(np.array(gains), np.arange(len(gains))):
        return Factors()
    factors, common = _pooled(sums)
    total = float(sums[..., 2].sum())
    return Factors(dict(zip(strata, factors.tolist(), strict=True)), common, round(sum(gains) / total, 4) if total > 0 else 0.0)


def _block_of(gold: TrainingGold, items: list[str]) -> dict[str, int]:
    topics = {topic: i for i, topic in enumerate(dict.fromkeys(gold.topic[item] for item in items))}
    if len(topics) >= ITEM_FOLDS:
        return {item: topics[gold.topic[item]] for item in items}
    folds = [fold for fold in item_folds(gold, items) if fold]
    return {item: f for f, fold in enumerate(folds) for item in fold}


def _pooled(sums: Floats) -> tuple[Floats, float]:
    """Return the factor of each stratum, shape (strata,), none negative, and the common factor, from sums by block and stratum."""
    total = sums.sum(axis=0)
    common = max(float(total[:, 0].sum()) / max(float(total[:, 1].sum()), 1e-300), 0.0)
    known: Indices = np.flatnonzero(total[:, 1] > 0)
    own = total[known, 0] / total[known, 1]
    blocks = len(sums)
    residual = sums[:, known, 0] - own * sums[:, known, 1]
    error = (residual**2).sum(axis=0) / total[known, 1] ** 2 * blocks / max(blocks - 1, 1) + 1e-12
    between = 0.0
    if len(known) > 1:
        weight = 1.0 / error
        mean = float(weight @ own / weight.sum())
        spread = float(weight @ (own - mean) ** 2) - (len(known) - 1)
        between = max(spread / float(weight.sum() - (weight**2).sum() / weight.sum()), 0.0)
    factors = np.full(len(total), common)
    factors[known] = np.maximum((between * own + error * common) / (between + error), 0.0)
    return factors, common
