"""A model's answers as single people, matched to the people who were interviewed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from valuestrata.errors import InputDataError, Option, OptionText
from valuestrata.estimation.inputs import EstimationInput, ModelValues
from valuestrata.estimation.model_values import SimulatedPeople, respondent_values
from valuestrata.estimation.people.interviewed import FileFormat, read_answers_file
from valuestrata.estimation.population import place_people
from valuestrata.responses.import_files import ITEM, RESPONDENT
from valuestrata.responses.per_respondent.answers import EMPTY, RespondentAnswers
from valuestrata.responses.per_respondent.people import People
from valuestrata.stats.arrays import Indices


@dataclass(frozen=True)
class SampleIds:
    """The ids of the people of a sample, in its order, and the file that they come from."""

    ids: Sequence[str]
    file: Path


@dataclass(frozen=True)
class SimulatedModels:
    """Values of models that answered as single people.

    Attributes:
        data: the input with the values among its models, and with cells for the people as whom the models answered.
        remarks: messages for the user.
    """

    data: EstimationInput
    remarks: tuple[OptionText, ...]


def with_simulated(
    how: FileFormat, files: Mapping[str, Path], data: EstimationInput, sample: SampleIds, who: People | None, people_file: Path
) -> SimulatedModels:
    """Read the answers of models as single people.

    Args:
        how: how files are read. files: name of a model -> file of its answers. data: the people who were interviewed.
        sample: their ids. who: all people as whom the models answered, with their levels and weights, from `people_file`; None if there
            are no subgroups and all people of a file of answers count alike.

    Raises:
        InputDataError: a file cannot be read, or has no answer for anyone in the sample.
    """
    if who is not None:
        data = replace(data, population=place_people(how.dataset, data.population, who.levels).population)
    models: dict[str, ModelValues] = {}
    remarks: list[OptionText] = []
    for name, file in files.items():
        answers = read_answers_file(how, file, _ids(how, file))
        people = People.alike(answers.persons, how.dataset) if who is None else who
        own, rows = _rows(answers, sample.ids), _rows(answers, people.ids)
        if not (own >= 0).any():
            raise InputDataError(
                f"{file}: none of its {len(answers.persons):,} people is in {sample.file} (the first is {answers.persons[0]!r}, there "
                f"{sample.ids[0]!r}). Give the column that both files share with ",
                Option("ids"),
                ".",
            )
        known = rows >= 0
        codes = answers.codes[:, np.isin(list(how.dataset.codes_of), data.items.ids)]
        fraction, number = data.sample.fraction, int(known.sum())
        everyone = fraction > 0 and number == round(data.sample.people / fraction)
        weight = None if people.weight is None else people.weight[known]
        cell = place_people(how.dataset, data.population, people.levels).cell[known]
        simulated = SimulatedPeople(codes[rows[known]], cell, weight, everyone)
        models[name] = respondent_values(name, data, np.where((own >= 0)[:, None], codes[own], EMPTY).astype(np.int8), simulated)
        remarks += _remarks(name, answers, sample, own, number, people_file)
    return SimulatedModels(replace(data, models={**data.models, **models}), tuple(remarks))


def _ids(how: FileFormat, file: Path) -> Sequence[str]:
    person = how.codebook.respondent_id if how.codebook is not None else None
    return how.ids or how.ids_in(file) or (person or RESPONDENT, ITEM)


def _rows(answers: RespondentAnswers, ids: Sequence[str]) -> Indices:
    """Return the row of each person in the answers, -1 for those without."""
    place = {person: row for row, person in enumerate(answers.persons)}
    return np.array([place.get(person, -1) for person in ids], dtype=np.intp)


def _remarks(name: str, answers: RespondentAnswers, sample: SampleIds, own: Indices, number: int, people_file: Path) -> list[OptionText]:
    """Return what the user should know about the people as whom a model answered; `number` of them are known."""
    found: list[OptionText] = []
    if lost := int((own < 0).sum()):
        found.append(OptionText(f"{answers.file} has no answers for {lost:,} of {len(own):,} people of the sample."))
    if strangers := len(answers.persons) - number:
        among = f"{strangers:,} of its {len(answers.persons):,} people are not in {people_file}"
        give = (" Give a table or survey file of all people as whom the model answered with ", Option("simulated"), ".")
        unknown = f"{answers.file}: {among}, so their levels are not known and their answers are not used."
        found.append(OptionText(unknown, *(give if people_file == sample.file else ())))
    if number == len(own) - lost:
        found.append(
            OptionText(
                f"{name} answered only as people of the sample. To make estimates better it must also answer as people who were not "
                "interviewed, whose levels come from ",
                Option("simulated"),
                ".",
            )
        )
    if answers.unread is not None:
        found.append(OptionText(f"{answers.file}: answers that could not be read count as missing, for example {answers.unread}."))
    return found
