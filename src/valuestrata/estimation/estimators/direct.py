"""Human estimates as the small-area estimator takes them: with smoothed variances, adjusted by a model's answers as single people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.estimation.estimates import Estimates
from valuestrata.estimation.estimators.model_effects import ModelEffects, personal_answers
from valuestrata.estimation.inputs import EstimationInput, ModelValues
from valuestrata.stats.arrays import NEGLIGIBLE, Bools, Floats, divided

# Range of the spread within subgroups relative to that of the sample.
WITHIN = (0.1, 1.0)


@dataclass(frozen=True)
class DirectEstimates:
    """Estimates of G subgroups and I items from the answers inside, and from those outside.

    Variances are divided by p_k (1 - p_k), so that one number holds for all options of an item. They do not depend on the answers of the
    subgroup, of which few may be equal by chance: they are 1 / n_eff, times the design effect of clusters and the spread within subgroups,
    both pooled over items.

    Attributes:
        shares: shape (G, I, K), NaN without answers. variance: shape (G, I), sampling variance; infinite without answers.
        pooled: shape (I, K), shares in the sample, with one more answer spread over all options. spread: shape (I,), sum over options of
            p (1 - p) in the population, positive.
        outside, outside_variance: shape (G, I, K) and (G, I), mean of the people outside the subgroup, NaN and infinite without them.
        total: shape (G, I), sum of the weights of the people inside who answered, relative to the mean weight.
        moved: shape (I, J, K), what the adjustment takes from the mean of each joint cell.
        people: shape (G, I), number of people of the population who would answer; infinite if unknown.
    """

    shares: Floats
    variance: Floats
    pooled: Floats
    spread: Floats
    outside: Floats
    outside_variance: Floats
    total: Floats
    moved: Floats
    people: Floats

    @property
    def seen(self) -> Bools:
        """Where anybody answered, shape (G, I)."""
        return self.total > 0


def direct_estimates(
    data: EstimationInput, human: Estimates, models: Sequence[ModelValues], effects: Sequence[ModelEffects]
) -> DirectEstimates:
    """Return the estimates.

    Args:
        human: the estimates from the sample only. models, effects: the models, and what they say of cells.
    """
    items, sample = data.items, data.sample
    answered = sample.answers >= 0
    options = items.codes.shape[1]
    answers = ((sample.answers[..., None] == np.arange(options)) & answered[..., None]).astype(np.float64)
    weight = sample.weight / sample.weight.mean()
    known = answered * weight[:, None]
    members = data.members.astype(np.float64)
    total, squares = members.T @ known, members.T @ (known * weight[:, None])
    every, heavy = known.sum(axis=0), (known * weight[:, None]).sum(axis=0)
    effective, overall = divided(total**2, squares, 0.0), divided(every**2, heavy, 0.0)
    counts = divided(np.einsum("pi,pik->ik", known, answers), every[:, None], 0.0) * overall[:, None]
    pooled = np.where(items.used, (counts + 1 / items.options[:, None]) / (overall[:, None] + 1), 0.0)
    several = np.maximum(overall, 2.0)
    spread = (pooled * (1 - pooled)).sum(axis=1) * several / (several - 1)
    factor = _within(data, human, effective, spread) * _design_effects(data, human, effective)
    moved, rest_of_cells = np.zeros_like(answers), np.zeros((len(total), *answers.shape[1:]))
    for values, own in zip(models, effects, strict=True):
        if values.respondent_level and np.isfinite(values.people).any():
            found = personal_answers(data, values, own, np.where(answered[..., None], answers - moved, np.nan))
            moved += found.people
            # The mean of the adjustment over a subgroup is 0 in the population.
            rest_of_cells += found.weight[:, None] * own.rest
            factor = factor * found.variance
    weighted = ((answers - moved) * known[..., None]).reshape(len(answers), -1)
    sums = (members.T @ weighted).reshape(len(total), -1, options)
    rest = every - total
    rest[rest < NEGLIGIBLE] = 0.0
    of_rest = weighted.sum(axis=0).reshape(-1, options) - sums
    cells = np.zeros((len(data.population.share), *answers.shape[1:]))
    number = np.zeros((len(cells), answers.shape[1]))
    if models:
        np.add.at(cells, sample.cell, moved * known[..., None])
        np.add.at(number, sample.cell, known)
    return DirectEstimates(
        shares=divided(sums, total[..., None]) + rest_of_cells,
        variance=(1 - sample.fraction) * factor * divided(np.ones_like(effective), effective, np.inf),
        pooled=pooled,
        spread=spread,
        outside=divided(of_rest, rest[..., None]),
        outside_variance=factor * divided(heavy - squares, rest**2, np.inf),
        total=total,
        moved=divided(cells, number[..., None], 0.0).transpose(1, 0, 2),
        people=_people(data),
    )


def _within(data: EstimationInput, human: Estimates, effective: Floats, spread: Floats) -> Floats:
    """Return the spread of answers within a subgroup over that in the population, shape (G, 1), pooled over items and its stratum."""
    freedom = np.where(human.synthetic, 0.0, np.maximum(effective - 1, 0.0))
    spreads = np.where(human.synthetic, 0.0, (human.shares * (1 - human.shares)).sum(axis=2)) * effective
    within, expected = np.where(freedom > NEGLIGIBLE, spreads, 0.0).sum(axis=1), freedom @ spread
    stratum = np.unique(np.array(data.population.strata), return_inverse=True)[1].reshape(-1)
    of_stratum = [np.bincount(stratum, sums).astype(np.float64) for sums in (within, expected)]
    return np.clip(divided(of_stratum[0], of_stratum[1], 1.0), *WITHIN)[stratum][:, None]


def _design_effects(data: EstimationInput, human: Estimates, effective: Floats) -> Floats:
    """Return the design effect of clusters beyond that of weights, shape (G, 1), pooled over items and at least 1."""
    sample = data.sample
    if len(sample.stratum) == sample.people:
        return np.ones((len(effective), 1))
    spread = (human.shares * (1 - human.shares)).sum(axis=2)
    variance = np.where(data.items.used, human.mse, 0.0).sum(axis=2) / max(1 - sample.fraction, NEGLIGIBLE)
    use = np.isfinite(spread) & np.isfinite(variance) & (effective > 1)
    above, below = np.where(use, variance * effective, 0.0), np.where(use, spread, 0.0)
    overall = max(float(divided(above.sum(), below.sum(), 1.0)), 1.0)
    return np.maximum((above.sum(axis=1) + overall) / (below.sum(axis=1) + 1), 1.0)[:, None]


def _people(data: EstimationInput) -> Floats:
    """Return the number of people of the population in each subgroup who would answer each item."""
    sample = data.sample
    if sample.fraction <= 0:
        return np.full((len(data.population.subgroups), len(data.items.ids)), np.inf)
    answering = sample.weight @ (sample.answers >= 0) / sample.weight.sum()
    return np.maximum(np.outer(data.population.sizes * sample.people / sample.fraction, answering), 1.0)
