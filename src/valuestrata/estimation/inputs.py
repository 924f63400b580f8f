"""What estimators take: the population's cells, a sample of people with answers, and a model's answers.

Arrays have the axes G subgroups, I items, K options of the item with most options (0 or NaN behind an item's last option), J joint
cells (combinations of levels of all attributes) and P people in the sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Bools, Floats, Indices


@dataclass(frozen=True)
class ItemOptions:
    """The items and their options.

    Attributes:
        ids: ids of the I items. options: intp, shape (I,), number of options of each.
        codes: shape (I, K), scale codes in scale order, NaN behind the last option.
        ordered: shape (I,), True for ordinal and binary items, whose mean is defined.
        blocks: shape (I,), name of each item's block; an item without a block has a name of its own.
    """

    ids: tuple[str, ...]
    options: Indices
    codes: Floats
    ordered: Bools
    blocks: NDArray[np.str_]

    @cached_property
    def used(self) -> Bools:
        """Which options exist, shape (I, K)."""
        return np.arange(self.codes.shape[1])[None, :] < self.options[:, None]


@dataclass(frozen=True)
class PopulationCells:
    """The population's joint cells and subgroups.

    Attributes:
        attributes: names of the A attributes.
        levels: intp, shape (J, A), level of each attribute in each cell, -1 if unknown.
        share: shape (J,), share of the population in each cell, sum 1; 0 for cells that only the sample has.
        subgroups: ids of the G subgroups; the first is `all`. strata: shape (G,), the stratum of each.
        inside: shape (G, J), whether a cell belongs to a subgroup.
        labels: the labels of the levels of each attribute.
    """

    attributes: tuple[str, ...]
    levels: Indices
    share: Floats
    subgroups: tuple[str, ...]
    strata: tuple[str, ...]
    inside: Bools
    labels: tuple[tuple[str, ...], ...]

    @cached_property
    def weights(self) -> Floats:
        """Share of each subgroup's population in each cell, shape (G, J); rows sum to 1, or are 0 for a subgroup without population."""
        found = self.inside * self.share
        total = found.sum(axis=1, keepdims=True)
        return np.divide(found, total, out=np.zeros_like(found), where=total > 0)

    @cached_property
    def sizes(self) -> Floats:
        """Share of each subgroup in the population, shape (G,)."""
        return self.inside @ self.share


@dataclass(frozen=True)
class HumanSample:
    """People who were interviewed. It is held in memory only and never written.

    Attributes:
        answers: int8, shape (P, I): option index 0..K-1, negative if missing.
        cell: intp, shape (P,): joint cell of each person.
        weight: shape (P,), positive. Weights only matter relative to each other.
        unit: intp, shape (P,), sampling unit 0..U-1 of each person; each person is a unit of their own without clusters.
        stratum: intp, shape (U,), sampling stratum of each unit.
        fraction: share of the finite population that was sampled, for the finite-population correction 1 - fraction; 0 for none.
    """

    answers: NDArray[np.int8]
    cell: Indices
    weight: Floats
    unit: Indices
    stratum: Indices
    fraction: float = 0.0

    @property
    def people(self) -> int:
        """Number of people."""
        return len(self.cell)

    def of(self, rows: NDArray[np.intp], fraction: float | None = None) -> HumanSample:
        """Return the people at `rows`, with units and strata renumbered."""
        used, unit = np.unique(self.unit[rows], return_inverse=True)
        _, stratum = np.unique(self.stratum[used], return_inverse=True)
        return HumanSample(
            self.answers[rows],
            self.cell[rows],
            self.weight[rows],
            unit.astype(np.intp).reshape(-1),
            stratum.astype(np.intp).reshape(-1),
            self.fraction if fraction is None else fraction,
        )


@dataclass(frozen=True)
class ModelValues:
    """A model's answers, or another prediction such as the shares of an earlier wave.

    Attributes:
        name: name of the run.
        pairs: shape (G, I, K), shares for each subgroup as the model gave them; NaN without an answer.
        people: shape (P, I, K), shares for each person of the sample: their own simulated answers (0/1), or those of their cell;
            NaN without an answer.
        population: shape (G, I, K), mean of the values of `people` over the subgroup's population; NaN if unknown.
        simulated: shape (G, I), number of simulated people behind `population`, whose sampling error counts; infinite if the
            population's mean is exact.
        respondent_level: whether `people` holds a person's own simulated answers.
    """

    name: str
    pairs: Floats
    people: Floats
    population: Floats
    simulated: Floats
    respondent_level: bool = False

    def of(self, rows: NDArray[np.intp]) -> ModelValues:
        """Return the values for the people at `rows` of the sample."""
        return replace(self, people=self.people[rows])


@dataclass(frozen=True)
class EstimationInput:
    """Everything the estimators take.

    Attributes:
        items: the items. population: cells and subgroups. sample: the people.
        models: name of the run -> the model's values.
    """

    items: ItemOptions
    population: PopulationCells
    sample: HumanSample
    models: Mapping[str, ModelValues] = field(default_factory=dict[str, ModelValues])

    def of(self, rows: NDArray[np.intp], fraction: float | None = None) -> EstimationInput:
        """Return the same items, population and models for the people at `rows`; `fraction` as for `HumanSample`."""
        return replace(self, sample=self.sample.of(rows, fraction), models={name: model.of(rows) for name, model in self.models.items()})

    @cached_property
    def members(self) -> Bools:
        """Which people belong to which subgroup, shape (P, G)."""
        return self.population.inside[:, self.sample.cell].T
