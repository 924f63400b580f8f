"""Reads the people who were interviewed, the population they represent and what models answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, OptionText, UsageError
from valuestrata.estimation.inputs import EstimationInput, HumanSample, ItemOptions, ModelValues, PopulationCells
from valuestrata.estimation.model_values import pair_values
from valuestrata.estimation.people.interviewed import (
    FileFormat,
    InterviewedPeople,
    people_of_survey,
    read_levels_file,
    read_people_file,
)
from valuestrata.estimation.people.simulated import SampleIds, with_simulated
from valuestrata.estimation.people.taught import check_taught
from valuestrata.estimation.population import dataset_population, place_people, population_of_table, population_remarks
from valuestrata.files import sha256_of
from valuestrata.prompts.question import Numbers
from valuestrata.responses.per_respondent.people import People, level_labels
from valuestrata.responses.run.folder import Run, check_same_dataset, load_run
from valuestrata.survey.survey import Survey

_NAMED = 5


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
        remarks.append(OptionText(f"Items of the data set that nobody answered are left out: {named} ({len(absent):,})."))
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


@dataclass(frozen=True)
class ReadEstimation:
    """The input of the estimators, and messages for the user."""

    data: EstimationInput
    remarks: tuple[OptionText, ...]


def estimation_input(
    dataset: Dataset,
    people_file: str | Path,
    *,
    runs: Sequence[Run | str | Path] = (),
    answers: Sequence[str | Path] | Mapping[str, str | Path] = (),
    simulated: str | Path | None = None,
    survey: str | Path | None = None,
    ids: str | Sequence[str] | None = None,
    weight: str | None = None,
    psu: str | None = None,
    strata: str | None = None,
    levels: str | Path | None = None,
    population: str | Path | None = None,
    fraction: float = 0.0,
    population_size: int | None = None,
    numbers: Numbers = "code",
    missing: Sequence[str] = (),
) -> ReadEstimation:
    """Read the people who were interviewed, the population and what models answered. Nothing of a person is written.

    Args:
        dataset: the data set, with items and subgroups.
        people_file: the people: a survey file, which is read with a codebook that brings weights and design; or a table with columns
            named like attributes (labels of levels) and the answers, by column or as rows of person and item.
        runs: runs of the data set, with answers by pair.
        answers: files of a model's answers as single people, as for `import_respondents`; or name -> file. Their ids are those of the
            people. A file from which one of `runs` was imported gives that run's answers by person.
        simulated: the people as whom the models of `answers` answered, with ids, levels and weights; None for those of `people_file`, or
            for all people of each file if the data set has no subgroups.
        survey: codebook of survey files: a name or a file; None for that of the data set, if it is built in and the file is no table.
        ids: column of the ids of people; for rows by person and item also that of the items.
        weight: column of the weights. psu, strata: columns of sampling units and strata, if the codebook does not name them.
        levels: merged levels, as for `build`. population: table of the population's sizes, see `population_of_table`; None for the
            weights of the data set.
        fraction: share of a finite population that was sampled, from 0 to below 1. If there are as many simulated people as this
            population has, they count as the population itself. population_size: number of its people, which gives the fraction.
        numbers, missing: as for `import_respondents`.

    Raises:
        InputDataError: a file cannot be read or used; names the file, the column and the remedy.
        UsageError: a wrong call, or a run was taught on answers of these people (see `taught.check_taught`).
    """
    if not 0 <= fraction < 1:
        raise UsageError(Option("fraction", fraction), ": the share of the population that was sampled is from 0 to below 1.")
    columns = (ids,) if isinstance(ids, str) else tuple(ids or ())
    how = FileFormat(dataset, survey, columns, weight, psu, strata, Path(levels) if levels else None, numbers, tuple(missing))
    source = Path(people_file)
    read = read_people_file(how, source)
    found = sample_input(
        dataset, read.people, dataset_population(dataset) if population is None else population_of_table(dataset, population), fraction
    )
    sampled = found.data
    if population_size is not None:
        if sampled.sample.people > population_size:
            raise UsageError(Option("population_size", population_size), f": {source} has more people, {sampled.sample.people:,}.")
        # A census has no sampling error; the fraction stays below 1, for which variances are defined.
        part = min(sampled.sample.people / population_size, 1 - 1e-9)
        sampled = replace(sampled, sample=replace(sampled.sample, fraction=part))
    loaded = [run if isinstance(run, Run) else load_run(run) for run in runs]
    for place, run in enumerate(loaded):
        check_same_dataset(run, dataset)
        if run.name in [other.name for other in loaded[:place]]:
            raise UsageError(f"Two runs have the name {run.name!r}. Give one of them, or make one again with another name.")
    remarks = [*read.remarks, *found.remarks, *check_taught(dataset, loaded, read.people)]
    files = _named_answers(answers, loaded)
    data = sampled
    if files:
        who = _people_of(dataset, read.people, source) if simulated is None else read_levels_file(how, Path(simulated))
        kept = [person for person, is_kept in zip(read.people.ids or (), found.kept, strict=False) if is_kept]
        made = with_simulated(how, files, data, SampleIds(kept, source), who, source if simulated is None else Path(simulated))
        data = made.data
        remarks += [*made.remarks, *(_untold(files[name]) for name in files if name not in [run.name for run in loaded])]
    pairs = {run.name: pair_values(dataset, run, data) for run in loaded if run.name not in files}
    # In the order of the runs.
    models = {run.name: pairs.get(run.name) or data.models[run.name] for run in loaded} | dict(data.models)
    return ReadEstimation(replace(data, models=models), tuple(remarks))


def _untold(file: Path) -> OptionText:
    return OptionText(
        f"It is not recorded what the model of {file} was taught on. If it was taught on the answers of these people, its estimates are "
        "too good and their intervals too short. To record it, import the file as a run with ",
        Option("trained_on"),
        ", and give the run as well.",
    )


def _named_answers(answers: Sequence[str | Path] | Mapping[str, str | Path], runs: Sequence[Run]) -> dict[str, Path]:
    """Return name -> file: of the run that was imported from the file, or else the file's name without its ending."""
    if isinstance(answers, Mapping):
        return {name: Path(file) for name, file in answers.items()}
    imported = {str((run.meta.get("source") or {}).get("sha256")): run.name for run in runs}
    named: dict[str, Path] = {}
    for file in map(Path, answers):
        name = imported.get(sha256_of(file), file.stem)
        if name in named:
            raise UsageError(f"{named[name]} and {file} would have the same name {name!r}; rename one of the files.")
        named[name] = file
    return named


def _people_of(dataset: Dataset, people: InterviewedPeople, file: Path) -> People | None:
    """Return the people of the sample as those as whom a model answered; None if there are no subgroups, and all its people count."""
    if people.ids is None:
        raise InputDataError(
            f"{file}: its people have no ids, so the model's answers cannot be matched to them. Name the column with ", Option("ids"), "."
        )
    return None if dataset.has_only_everyone else People(people.ids, people.levels, people.weight, ())
