"""A model's answers as values for the people of a sample and for the population's cells.

Answers come by pair (a run), or for single people. A predicted value of a person must not depend on who was interviewed, so that its mean
over the population can be known: for pairs it is the value of the person's cell, and otherwise the model's own answer as this person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.calibration.model_answers import model_answers
from valuestrata.dataset.tables import Dataset
from valuestrata.estimation.inputs import EstimationInput, ItemOptions, ModelValues, PopulationCells
from valuestrata.responses.run.identity import Answered
from valuestrata.stats.arrays import Floats, Indices


def pair_values(dataset: Dataset, run: Answered, data: EstimationInput) -> ModelValues:
    """Return the values of a run with answers by pair.

    Args:
        dataset: the data set of the run. run: the run. data: items, population and people; its `models` are not used.
    """
    found = model_answers(dataset, run.responses).shares
    place = {item: number for number, item in enumerate(data.items.ids)}
    group = {name: number for number, name in enumerate(data.population.subgroups)}
    pairs = np.full((len(group), *data.items.codes.shape), np.nan)
    for (item, subgroup), shares in found.items():
        if item in place and subgroup in group:
            pairs[group[subgroup], place[item]] = 0.0
            pairs[group[subgroup], place[item], : len(shares)] = shares
    return values_of_pairs(run.name, pairs, data)


def values_of_pairs(name: str, pairs: Floats, data: EstimationInput) -> ModelValues:
    """Return the values that follow from shares of pairs: a person has the value of their cell, whose population mean is exact.

    The value of a cell is the mean over the answered subgroups that contain it, of those with most attributes; `all` comes last. A cell
    without an answered subgroup has the mean of the other cells.

    Args:
        name: of the run. pairs: shape (G, I, K), NaN without an answer, 0 behind the last option. data: items, population and people.
    """
    population = data.population
    cells = _cell_values(pairs, population)
    return ModelValues(
        name,
        pairs,
        cells[data.sample.cell],
        _population_means(cells, population),
        np.full(pairs.shape[:2], np.inf),
    )


def _cell_values(pairs: Floats, population: PopulationCells) -> Floats:
    """Return the value of each joint cell, shape (J, I, K); NaN for items without any answer."""
    groups, items, options = pairs.shape
    answered = ~np.isnan(pairs[..., 0])
    flat = np.where(answered[..., None], pairs, 0.0).reshape(groups, -1)
    found = np.full((population.inside.shape[1], items, options), np.nan)
    number = _attributes_of(population)
    for depth in sorted(set(number.tolist()), reverse=True):
        inside = population.inside[number == depth].T.astype(np.float64)
        count = inside @ answered[number == depth]
        new = np.isnan(found[..., 0]) & (count > 0)
        total = (inside @ flat[number == depth]).reshape(found.shape)
        found[new] = total[new] / count[new][:, None]
    return np.where(np.isnan(found), _mean_of_known(found, population.share), found)


def _attributes_of(population: PopulationCells) -> Indices:
    """Return how many attributes the strata of the subgroups cross, shape (G,): those whose level is fixed in every subgroup."""
    found = np.zeros(len(population.subgroups), dtype=np.intp)
    for group, inside in enumerate(population.inside):
        own = population.levels[inside]
        found[group] = ((own == own[:1]) & (own >= 0)).all(axis=0).sum() if group and len(own) else len(population.attributes)
    strata = np.array(population.strata)
    least = {stratum: found[strata == stratum].min() for stratum in population.strata} | {population.strata[0]: 0}
    return np.array([least[stratum] for stratum in population.strata], dtype=np.intp)


def _mean_of_known(cells: Floats, share: Floats) -> Floats:
    """Return the mean over the cells with a value, shape (I, K); NaN where no cell of the population has one."""
    known = ~np.isnan(cells[..., 0])
    total = share @ known
    sums = np.tensordot(share, np.nan_to_num(cells), axes=1)
    return np.divide(sums, total[:, None], out=np.full(sums.shape, np.nan), where=total[:, None] > 0)


def _population_means(cells: Floats, population: PopulationCells) -> Floats:
    """Return the mean of the cells' values over each subgroup, shape (G, I, K); NaN for a subgroup without population."""
    shape = (len(population.subgroups), *cells.shape[1:])
    means = (population.weights @ np.nan_to_num(cells).reshape(len(cells), -1)).reshape(shape)
    known = (population.sizes > 0)[:, None] & ((~np.isnan(cells[..., 0])).sum(axis=0) > 0)[None, :]
    return np.where(known[..., None], means, np.nan)


@dataclass(frozen=True)
class SimulatedPeople:
    """People as whom a model answered.

    Attributes:
        answers: int8, shape (S, I): option index, negative if missing. cell: intp, shape (S,): cell of the population.
        weight: shape (S,), or None if they count alike.
        everyone: whether they are the whole population, so that their mean has no sampling error.
    """

    answers: NDArray[np.int8]
    cell: Indices
    weight: Floats | None = None
    everyone: bool = False


def respondent_values(name: str, data: EstimationInput, own: NDArray[np.int8], simulated: SimulatedPeople) -> ModelValues:
    """Return the values of a model that answered as single people.

    The mean over the population is poststratified: simulated people stand for their cell, which has its share of the population. Cells
    without a simulated person who answers an item are left out of its mean, and the other cells of the subgroup stand for them.
    `simulated` of the result is the effective number of simulated people: the number of a simple random sample of a subgroup whose mean
    has the same variance, if answers vary equally in all cells, 1 / sum_j (w_j^2 / n_j) with w_j the share of cell j in the subgroup and
    n_j its (effective) number of answers (Kish 1965). A person whose simulated answer is missing has the value of their cell, whose mean
    over the population is the same.

    Args:
        name: of the model. data: items, population and people; its `models` are not used.
        own: int8, shape (P, I): what the model answered as each person of the sample; negative if missing.
        simulated: all people as whom the model answered, in or outside the sample.
    """
    population, options = data.population, data.items.codes.shape[1]
    weight = np.ones(len(simulated.cell)) if simulated.weight is None else simulated.weight
    counts = _counts(simulated, weight, len(population.levels), options)
    total = counts.sum(axis=2)
    squares = _counts(simulated, weight**2, len(population.levels), options).sum(axis=2)
    number = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    cells = np.divide(counts, total[..., None], out=np.full(counts.shape, np.nan), where=total[..., None] > 0)
    inside = population.inside.astype(np.float64)
    in_group = (inside @ counts.reshape(len(counts), -1)).reshape(len(inside), *counts.shape[1:])
    answers = in_group.sum(axis=2, keepdims=True)
    pairs = np.divide(in_group, answers, out=np.full(in_group.shape, np.nan), where=answers > 0)
    known = number > 0
    covered = population.weights @ known
    sums = (population.weights @ np.where(known[..., None], cells, 0.0).reshape(len(cells), -1)).reshape(in_group.shape)
    means = np.divide(sums, covered[..., None], out=np.full(sums.shape, np.nan), where=covered[..., None] > 0)
    variance = population.weights**2 @ np.divide(1.0, number, out=np.zeros_like(number), where=known)
    effective = np.divide(covered**2, variance, out=np.zeros_like(variance), where=variance > 0)
    return ModelValues(
        name,
        pairs,
        np.where(own[..., None] < 0, cells[data.sample.cell], one_hot(own, data.items)),
        means,
        np.where(effective > 0, np.inf, 0.0) if simulated.everyone else effective,
        respondent_level=True,
    )


def _counts(simulated: SimulatedPeople, weight: Floats, cells: int, options: int) -> Floats:
    """Return the sum of the weights by cell, item and option, shape (J, I, K)."""
    items = simulated.answers.shape[1]
    people, item = np.nonzero(simulated.answers >= 0)
    index = (simulated.cell[people] * items + item) * options + simulated.answers[people, item]
    found = np.bincount(index, weights=weight[people], minlength=cells * items * options).astype(np.float64)
    return found.reshape(cells, items, options)


def one_hot(answers: NDArray[np.int8], items: ItemOptions) -> Floats:
    """Return answers as shares of the options, shape (P, I, K): 1 for the option chosen, else 0; NaN for missing answers."""
    found = (answers[..., None] == np.arange(items.codes.shape[1])).astype(np.float64)
    found[answers < 0] = np.nan
    return found
