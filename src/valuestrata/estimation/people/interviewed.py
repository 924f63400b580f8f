"""Files of people who were interviewed: survey files read with a codebook, and tables with labels of levels.

A table has columns named like attributes, with labels of the data set's levels, and the answers: a column per item (a row per person), or
a row per person and item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, OptionText
from valuestrata.files import sha256_of
from valuestrata.prompts.question import Numbers
from valuestrata.responses.import_files import ANSWER, ITEM, RESPONDENT, check_column, read_table
from valuestrata.responses.per_respondent.answers import EMPTY, RespondentAnswers, read_answers
from valuestrata.responses.per_respondent.importing import TABLES
from valuestrata.responses.per_respondent.layout import ids_of
from valuestrata.responses.per_respondent.people import (
    People,
    answers_in,
    codebook_for,
    levels_in,
    people_of_table,
    read_survey_for,
    survey_ids,
)
from valuestrata.stats.arrays import Floats
from valuestrata.survey.codebook import Codebook
from valuestrata.survey.read import problem_text
from valuestrata.survey.sample.design import DesignColumns, read_design
from valuestrata.survey.sample.read import no_weight_column
from valuestrata.survey.survey import SampleDesign, Survey


@dataclass(frozen=True)
class InterviewedPeople:
    """People of a file, as the items and levels of a data set. Nothing of it is written.

    Attributes:
        source: the file, for messages. levels: int16, shape (N, A), -1 if unknown.
        answers: int8, shape (N, items of the data set): option index, negative if missing.
        weight: shape (N,), at least 0, or None. design: sampling units and strata, or None. ids: of the people, or None.
        sha256: of the file.
    """

    source: str
    levels: NDArray[np.int16]
    answers: NDArray[np.int8]
    weight: Floats | None
    design: SampleDesign | None
    ids: tuple[str, ...] | None
    sha256: str = ""


def people_of_survey(dataset: Dataset, survey: Survey) -> InterviewedPeople:
    """Return the respondents of a survey in the terms of a data set: items matched by id and codes, levels by label.

    Raises:
        InputDataError: an item has other codes than in the data set.
    """
    return InterviewedPeople(
        survey.source.file,
        levels_in(dataset, survey),
        answers_in(dataset, survey),
        survey.weight,
        survey.design,
        survey_ids(survey),
        survey.source.sha256,
    )


@dataclass(frozen=True)
class FileFormat:
    """How the files of people and of their answers are read.

    Attributes:
        dataset: the data set. survey: codebook that reads survey files: a name, a file, or None for that of the data set.
        ids: the column of the people, and for rows by person and item that of the items; empty for the id of the codebook, for
            `respondent` and `item` where a table has them, or else for people without ids.
        weight: column of the weights; None for that of the codebook. psu, strata: columns of the design in a table.
        levels: merged levels, as for `build`. numbers, missing: as for `import_respondents`.
    """

    dataset: Dataset
    survey: str | Path | None = None
    ids: Sequence[str] = ()
    weight: str | None = None
    psu: str | None = None
    strata: str | None = None
    levels: Path | None = None
    numbers: Numbers = "code"
    missing: Sequence[str] = ()

    @cached_property
    def codebook(self) -> Codebook | None:
        """The codebook named, or else that of the data set if it is built in."""
        return codebook_for(self.dataset, self.survey)

    def is_survey(self, file: Path) -> bool:
        """Whether a file is read with the codebook: if one is named, or the file is no table of text."""
        return self.survey is not None or (self.codebook is not None and file.suffix.lower() not in TABLES)

    def ids_in(self, file: Path) -> tuple[str, ...]:
        """Return the columns of ids of a table."""
        if self.ids:
            return tuple(self.ids)
        columns = read_table(file).columns if file.suffix.lower() in TABLES else []
        own = self.codebook.respondent_id if self.codebook is not None else None
        person = next((name for name in (RESPONDENT, own) if name in columns), None)
        if person is None:
            return ()
        return (person, ITEM) if {ITEM, ANSWER} <= {*columns} else (person,)

    def read_survey(self, file: Path) -> Survey:
        """Read a survey file.

        Raises:
            InputDataError: as for `valuestrata.read_survey`; or the named column of the weights is missing.
        """
        codebook = self.codebook
        if codebook is None:
            raise InputDataError(f"{file}: the codebook of this survey file is not known. Name it with ", Option("survey"), ".")
        wanted = replace(
            codebook,
            respondent_id=self.ids[0] if self.ids else codebook.respondent_id,
            weight=self.weight or codebook.weight,
            design=codebook.design.model_copy(update={key: [name] for key in ("psu", "strata") if (name := getattr(self, key))}),
        )
        unweighted = (self.dataset.meta.get("settings") or {}).get("weighted") is False
        found = read_survey_for(self.dataset, file, wanted, self.levels, weighted=self.weight is not None or not unweighted)
        if self.weight is not None and no_weight_column(self.weight) in found.findings.notes:
            raise InputDataError(f"{file}: the column {self.weight!r} of the weights is missing.")
        if self.ids and found.ids is None:
            raise InputDataError(f"{file}: the column {self.ids[0]!r} of the respondents is missing. Name it with ", Option("ids"), ".")
        self.check_design(file, found.design)
        return found

    def check_design(self, file: Path, design: SampleDesign | None) -> None:
        """Raise InputDataError if a named column of sampling units or strata was not used."""
        for key, name in (("psu", self.psu), ("strata", self.strata)):
            used = () if design is None else design.columns.get(key, ())
            if name is not None and name.casefold() not in [column.casefold() for column in used]:
                raise InputDataError(
                    f"{file}: the column {name!r} is missing or has fewer than two different values, so it does not describe the sample. "
                    "Name another one with ",
                    Option("psu" if key == "psu" else "sampling_strata"),
                    ", or leave it out.",
                )


@dataclass(frozen=True)
class PeopleFile:
    """People of a file, and messages for the user."""

    people: InterviewedPeople
    remarks: tuple[OptionText, ...]


def read_people_file(how: FileFormat, file: Path) -> PeopleFile:
    """Read people with their answers.

    Raises:
        InputDataError: the file cannot be read, or its people, weights or answers cannot be used; names the column and the remedy.
    """
    if how.is_survey(file):
        survey = how.read_survey(file)
        people = replace(people_of_survey(how.dataset, survey), source=str(file))
        notes = [OptionText(note) for note in survey.findings.notes]
        notes += [
            OptionText(f"Left out, because labels match nothing: {problem_text(problem)}.") for problem in survey.findings.label_problems
        ]
        absent = [name for name in how.dataset.attributes if name not in {attribute.name for attribute in survey.attributes}]
    else:
        table = _table(how, file)
        people, notes = table.people, [OptionText(note) for note in table.notes]
        absent = [name for name in how.dataset.attributes if name not in table.known]
    if absent:
        notes.append(OptionText(f"{file} does not have {', '.join(absent)}, so its people are in no subgroup of it."))
    if how.dataset.meta.get("weighted") and people.weight is None:
        notes.append(
            OptionText(
                f"The data set is weighted, and the people of {file} count alike. Name the column of their weights with ",
                Option("weight"),
                ".",
            )
        )
    return PeopleFile(people, tuple(notes))


@dataclass(frozen=True)
class _PeopleTable:
    """People of a table, the attributes that it has, and notes on the design."""

    people: InterviewedPeople
    known: Sequence[str]
    notes: Sequence[str]


def _table(how: FileFormat, file: Path) -> _PeopleTable:
    if file.suffix.lower() not in TABLES:
        raise InputDataError(
            f"{file}: people are read from a survey file with its codebook, or from a table ({', '.join(TABLES)}). Name the codebook with ",
            Option("survey"),
            ", or convert the file to a table.",
        )
    ids = how.ids_in(file)
    person = ids[0] if ids else None
    table = read_table(file)
    who = people_of_table(how.dataset, file, person, how.weight, repeated=len(ids) == 2 and {*ids} <= {*table.columns})
    answers = read_answers_file(how, file, ids)
    place = {name: row for row, name in enumerate(answers.persons)}
    rows = np.array([place.get(name, -1) for name in who.ids], dtype=np.intp)
    codes = np.where((rows >= 0)[:, None], answers.codes[rows], EMPTY).astype(np.int8)
    design: SampleDesign | None = None
    notes: tuple[str, ...] = ()
    if columns := {key: name for key in ("psu", "strata") if (name := getattr(how, key)) is not None}:
        for name in columns.values():
            check_column(file, name, table.columns)
        if person is not None:
            table = table.unique(ids_of(pl.col(person)), keep="first", maintain_order=True)
        found = DesignColumns(**{key: [table[name].cast(pl.String)] for key, name in columns.items()})
        design, notes = read_design(found, None, len(who.ids), who.weight, None)
        how.check_design(file, design)
    people = InterviewedPeople(str(file), who.levels, codes, who.weight, design, who.ids if ids else None, sha256_of(file))
    return _PeopleTable(people, who.known, notes)


def read_answers_file(how: FileFormat, file: Path, ids: Sequence[str]) -> RespondentAnswers:
    """Read answers of single people in any layout of `responses.per_respondent.layout`.

    Raises:
        InputDataError, UsageError: as for `read_answers`.
    """
    columns = {item.column: item.id for item in how.codebook.items} if how.codebook is not None else {}
    return read_answers(how.dataset, file, ids, ANSWER, numbers=how.numbers, missing=how.missing, columns=columns)


def read_levels_file(how: FileFormat, file: Path) -> People:
    """Read people with their levels and weights, without answers.

    Raises:
        InputDataError: the file cannot be read, or has no ids.
    """
    if not how.is_survey(file):
        ids = how.ids_in(file)
        if not ids:
            raise InputDataError(f"{file}: the column of the people's ids is not known. Name it with ", Option("ids"), ".")
        return people_of_table(how.dataset, file, ids[0], how.weight)
    survey = how.read_survey(file)
    if (found := survey_ids(survey)) is None:
        raise InputDataError(f"{file}: the column of the respondents' ids is not known. Name it with ", Option("ids"), ".")
    return People(found, levels_in(how.dataset, survey), survey.weight, tuple(attribute.name for attribute in survey.attributes))
