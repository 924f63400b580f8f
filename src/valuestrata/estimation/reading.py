"""Reads the people who were interviewed, the population they represent and what models answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, OptionText
from valuestrata.estimation.inputs import EstimationInput, HumanSample, ItemOptions, ModelValues, PopulationCells
from valuestrata.estimation.population import dataset_population, place_people, population_remarks
from valuestrata.responses.per_respondent.people import answers_in, level_labels, levels_in, survey_ids
from valuestrata.stats.arrays import Floats
from valuestrata.survey.survey import SampleDesign, Survey

_NAMED = 5


@dataclass(frozen=True)
class InterviewedPeople:
    """People of a file, as the items and levels of a data set. Nothing of it is written.

    Attributes:
        source: the file, for messages. levels: int16, shape (N, A), -1 if unknown.
        answers: int8, shape (N, items of the data set): option index, negative if missing.
        weight: shape (N,), at least 0, or None. design: sampling units and strata, or None. ids: of the people, or None.
    """

    source: str
    levels: NDArray[np.int16]
    answers: NDArray[np.int8]
    weight: Floats | None
    design: SampleDesign | None
    ids: tuple[str, ...] | None


@dataclass(frozen=True)
class SampleInput:
    """What was read.

    Attributes:
        data: the input of the estimators. kept: bool, shape (N,): the people of the file that are in the sample.
        remarks: messages for the user.
    """

    data: EstimationInput
    kept: NDArray[np.bool_]
    remarks: tuple[OptionText, ...]


def people_of_survey(dataset: Dataset, survey: Survey) -> InterviewedPeople:
    """Return the respondents of a survey in the terms of a data set: items matched by id and codes, levels by label.

    Raises:
        InputDataError: an item has other codes than in the data set.
    """
    return InterviewedPeople(
        survey.source.file, levels_in(dataset, survey), answers_in(dataset, survey), survey.weight, survey.design, survey_ids(survey)
    )


def input_of_survey(
    dataset: Dataset,
    survey: Survey,
    *,
    rows: NDArray[np.intp] | None = None,
    fraction: float = 0.0,
    models: Mapping[str, ModelValues] | None = None,
    population: PopulationCells | None = None,
) -> EstimationInput:
    """Return respondents in memory as a sample. For many subsamples, build it once and use `EstimationInput.of`.

    Args:
        dataset: the data set, with items and subgroups. survey: the microdata.
        rows: respondents that are in the sample; None for all. Those with weight 0 are left out.
        fraction: share of a finite population that was sampled, see `HumanSample`.
        models: name -> values of a model for all respondents of the survey.
        population: the population; None for that of the data set.

    Raises:
        InputDataError: an item has other codes, no item is in common, or nobody is in a subgroup.
    """
    found = sample_input(dataset, people_of_survey(dataset, survey), population or dataset_population(dataset), fraction)
    place = np.cumsum(found.kept) - 1
    kept = np.flatnonzero(found.kept)
    data = replace(found.data, models={name: values.of(kept) for name, values in (models or {}).items()})
    return data if rows is None else data.of(place[rows[found.kept[rows]]].astype(np.intp))


def sample_input(dataset: Dataset, people: InterviewedPeople, population: PopulationCells, fraction: float = 0.0) -> SampleInput:
    """Return people as the sample of an estimation, without models.

    Items that nobody answered are left out, as are people with weight 0.

    Raises:
        InputDataError: nobody answered an item of the data set, or nobody is in a subgroup.
    """
    kept = np.ones(len(people.levels), dtype=np.bool_) if people.weight is None else people.weight > 0
    answered = (people.answers[kept] >= 0).sum(axis=0) > 0
    if not answered.any():
        named = ", ".join(list(dataset.codes_of)[:_NAMED])
        raise InputDataError(f"{people.source}: nobody answered an item of the data set ({named}, ...).")
    placed = place_people(dataset, population, people.levels)
    if len(population.subgroups) > 1 and not placed.population.inside[1:, placed.cell[kept]].any():
        name, labels = dataset.attributes[0], level_labels(dataset)[0]
        raise InputDataError(
            f"{people.source}: no person is in a subgroup of the data set. Levels of {name} in the data set: {', '.join(labels)}. Use the "
            "codebook and merged levels that the data set was built with."
        )
    items = item_options(dataset, answered)
    design = people.design
    number = len(people.levels)
    sample = HumanSample(
        np.ascontiguousarray(people.answers[:, answered]),
        placed.cell,
        np.ones(number) if people.weight is None else people.weight.astype(np.float64),
        np.arange(number) if design is None else design.unit,
        np.zeros(number, dtype=np.intp) if design is None else design.stratum,
        fraction,
    ).of(np.flatnonzero(kept))
    remarks: list[OptionText] = []
    if lost := int((~kept).sum()):
        remarks.append(OptionText(f"{lost:,} of {number:,} people have the weight 0 and are left out."))
    if absent := [item for item, found in zip(dataset.codes_of, answered, strict=True) if not found]:
        named = ", ".join(absent[:_NAMED]) + (", ..." if len(absent) > _NAMED else "")
        remarks.append(OptionText(f"{len(absent):,} items of the data set were not answered by anyone and are left out: {named}."))
    if design is not None and design.replicates is not None:
        units = "the sampling units and strata" if design.clustered or sample.stratum.any() else "independent people"
        remarks.append(OptionText(f"The replicate weights of {people.source} are not used; standard errors are those of {units}."))
    remarks += population_remarks(placed.population, sample)
    return SampleInput(EstimationInput(items, placed.population, sample), kept, tuple(remarks))


def item_options(dataset: Dataset, used: NDArray[np.bool_] | None = None) -> ItemOptions:
    """Return the items of a data set at `used` (None for all) and their options."""
    items = dataset.items if used is None else dataset.items.filter(used)
    ids = items["item"].to_list()
    options = items["codes"].list.len().to_numpy().astype(np.intp)
    codes = np.full((len(ids), int(options.max())), np.nan)
    for place, own in enumerate(items["codes"]):
        codes[place, : len(own)] = own
    return ItemOptions(tuple(ids), options, codes, (items["level"] != "nominal").to_numpy(), dataset.blocks_of(ids))
