"""Simulated surveys with known shares, for tests of estimators."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from valuestrata.estimation.inputs import EstimationInput, HumanSample, ItemOptions, ModelValues, PopulationCells


@dataclass(frozen=True)
class World:
    """A finite population with answers, from which samples are drawn.

    Attributes:
        items, population: as in `EstimationInput`. answers: int8, shape (N, I). cell: shape (N,).
        truth: shape (G, I, K), shares of the finite population in each subgroup.
        simulated: int8, shape (N, I), what a model answered as each person.
    """

    items: ItemOptions
    population: PopulationCells
    answers: NDArray[np.int8]
    cell: NDArray[np.intp]
    truth: NDArray[np.float64]
    simulated: NDArray[np.int8]

    def draw(self, n: int, seed: int, *, model: bool = True) -> EstimationInput:
        """Return a simple random sample of n people without replacement."""
        rng = np.random.default_rng([seed, 17])
        rows = np.sort(rng.choice(len(self.cell), size=n, replace=False))
        units = np.arange(n)
        sample = HumanSample(self.answers[rows], self.cell[rows], np.ones(n), units, np.zeros(n, dtype=np.intp), n / len(self.cell))
        models = {"model": self.respondent_level(rows)} if model else {}
        return EstimationInput(self.items, self.population, sample, models)

    def respondent_level(self, rows: NDArray[np.intp]) -> ModelValues:
        """Return the model's own answer of each sampled person, with its exact mean over the population."""
        values = one_hot(self.simulated, self.items)
        mean = np.stack([values[inside].mean(axis=0) for inside in self.population.inside[:, self.cell]])
        return ModelValues("model", mean, values[rows], mean, np.full(mean.shape[:2], np.inf), respondent_level=True)


def one_hot(answers: NDArray[np.int8], scale: ItemOptions) -> NDArray[np.float64]:
    """Return 0/1 values of each option, shape (N, I, K); NaN for missing answers, 0 behind the last option."""
    found = (answers[..., None] == np.arange(scale.codes.shape[1])).astype(np.float64)
    found[answers < 0] = np.nan
    return found


SEX, AGE, REGION = (0.5, 0.5), (0.3, 0.3, 0.25, 0.15), (0.5, 0.25, 0.15, 0.07, 0.03)


def world(
    seed: int,
    *,
    people: int = 2000,
    items: int = 12,
    options: tuple[int, ...] = (2, 4, 5),
    spread: float = 0.5,
    skill: float = 0.6,
    more: tuple[tuple[float, ...], ...] = (),
) -> World:
    """Simulate a population with attributes `sex` (2), `age` (4) and `region` (5, of unequal size), all singles and pairs.

    Args:
        seed: of the population. people: N. items: I, with the numbers of `options` in turn.
        spread: standard deviation of the level effects on the log odds; effects of pairs have half of it, cells a quarter.
        skill: share of people for whom the model gives their own answer; otherwise it draws one from the item's shares.
        more: sizes of the levels of further attributes.
    """
    rng = np.random.default_rng([seed, 5])
    sizes = tuple(np.array(one) for one in (SEX, AGE, REGION, *more))
    pairs = list(combinations(range(len(sizes)), 2))
    levels = np.array(list(product(*(range(len(size)) for size in sizes))), dtype=np.intp)
    chance = np.prod([size[levels[:, a]] for a, size in enumerate(sizes)], axis=0)
    cell = rng.choice(len(levels), size=people, p=chance / chance.sum())
    names = ("sex", "age", "region", *(f"attribute{a}" for a in range(3, len(sizes))))
    inside, ids, strata = [np.ones(len(levels), dtype=bool)], ["all"], ["all"]
    for a, b in [*((a, None) for a in range(len(sizes))), *pairs]:
        for first in range(len(sizes[a])):
            for second in range(len(sizes[b])) if b is not None else (None,):
                stratum = names[a] if b is None else f"{names[a]}_x_{names[b]}"
                mask = levels[:, a] == first
                inside.append(mask if b is None else mask & (levels[:, b] == second))
                ids.append(f"{stratum}_{first}" if b is None else f"{stratum}_{first}_{second}")
                strata.append(stratum)
    number = np.array([options[i % len(options)] for i in range(items)], dtype=np.intp)
    most = int(number.max())
    codes = np.where(np.arange(most) < number[:, None], np.arange(1.0, most + 1), np.nan)
    scale = ItemOptions(
        tuple(f"Q{i + 1}" for i in range(items)), number, codes, np.ones(items, dtype=bool), np.array([f"item {i}" for i in range(items)])
    )
    share = np.bincount(cell, minlength=len(levels)) / people
    labels = tuple(tuple(str(level) for level in range(len(size))) for size in sizes)
    population = PopulationCells(names, levels, share, tuple(ids), tuple(strata), np.array(inside), labels)
    answers, simulated = np.empty((people, items), dtype=np.int8), np.empty((people, items), dtype=np.int8)
    for i, k in enumerate(number):
        logits = np.tile(rng.normal(0, 0.8, k), (len(levels), 1))
        for a, size in enumerate(sizes):
            logits += rng.normal(0, spread, (len(size), k))[levels[:, a]]
        for a, b in pairs:
            logits += rng.normal(0, spread / 2, (len(sizes[a]), len(sizes[b]), k))[levels[:, a], levels[:, b]]
        logits += rng.normal(0, spread / 4, logits.shape)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        answers[:, i] = [rng.choice(k, p=shares[j]) for j in cell]
        guess = rng.choice(k, size=people, p=np.bincount(answers[:, i], minlength=k) / people)
        simulated[:, i] = np.where(rng.random(people) < skill, answers[:, i], guess)
    truth = np.stack([one_hot(answers, scale)[mask[cell]].mean(axis=0) for mask in population.inside])
    return World(scale, population, answers, cell, truth, simulated)
