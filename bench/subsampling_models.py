"""Models for the study of repeated samples: a useless one and a perfect one, made from a model's values and from the full file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from valuestrata.estimation.inputs import EstimationInput, ModelValues
from valuestrata.stats.arrays import Bools

# Share of people whose own answer the perfect respondent-level model gives.
SKILL = 0.9


def exchanged(data: EstimationInput, seed: int) -> NDArray[np.intp]:
    """Return, for each item, another item with as many options and the same scale type; -1 without one."""
    rng = np.random.default_rng([seed, 1])
    kinds = np.stack([data.items.options, data.items.ordered], axis=1)
    out = np.full(len(kinds), -1, dtype=np.intp)
    for kind in np.unique(kinds, axis=0):
        own = rng.permutation(np.flatnonzero((kinds == kind).all(axis=1)))
        if len(own) > 1:
            out[own] = np.roll(own, 1)
    return out


def shuffled(data: EstimationInput, model: ModelValues, seed: int) -> ModelValues:
    """Return the model with its answers exchanged among items; NaN for items without another of their kind."""
    source = exchanged(data, seed)
    lost = source < 0
    pairs, people, population = model.pairs[:, source].copy(), model.people[:, source].copy(), model.population[:, source].copy()
    for values in (pairs, people, population):
        values[:, lost] = np.nan
    return replace(model, name="shuffled", pairs=pairs, people=people, population=population, simulated=model.simulated[:, source])


def perfect_people(data: EstimationInput, seed: int, skill: float = SKILL) -> ModelValues:
    """Return a model that answered as everyone in the full file: a share `skill` gives the person's own answer, others draw one.

    Others draw from the item's answers. The correlation with the own answer is `skill`, so the variance that is left is 1 - skill^2.
    People without an answer to an item draw one too, so everyone has one.
    """
    rng = np.random.default_rng([seed, 2])
    own = data.sample.answers
    simulated = np.empty_like(own)
    for i in range(own.shape[1]):
        given = own[own[:, i] >= 0, i]
        drawn = rng.choice(given, size=len(own))
        simulated[:, i] = np.where((rng.random(len(own)) < skill) & (own[:, i] >= 0), own[:, i], drawn)
    people = (simulated[..., None] == np.arange(data.items.codes.shape[1])).astype(np.float64)
    population = weighted_means(data, people)
    everyone = np.full(population.shape[:2], np.inf)
    return ModelValues("perfect", population, people, population, everyone, respondent_level=True)


def weighted_means(data: EstimationInput, people: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted mean of values of everyone in the full file over each subgroup, shape (G, I, K); NaN values are left out."""
    weights = data.members.T * data.sample.weight
    valid: Bools = np.isfinite(people).any(axis=2)
    totals = weights @ np.where(valid[..., None], people, 0.0).reshape(len(people), -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return totals.reshape(len(weights), *people.shape[1:]) / (weights @ valid)[..., None]
