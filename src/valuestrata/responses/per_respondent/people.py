"""The people behind respondent-level answers: levels of the data set's attributes, and weights.

They come from a table with the labels of levels, or from a survey file that is read with the data set's codebook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.subgroups import merge_levels
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.responses.import_files import as_text, check_column, read_table
from valuestrata.responses.per_respondent.answers import EMPTY, RespondentAnswers
from valuestrata.responses.per_respondent.layout import ROW, ids_of, with_ids
from valuestrata.stats.arrays import Floats
from valuestrata.survey.codebook import Codebook, builtin_codebooks, load_codebook
from valuestrata.survey.read import read_survey
from valuestrata.survey.sample.weights import MOST_WEIGHT
from valuestrata.survey.survey import Survey

_NAMED = 5


@dataclass(frozen=True)
class People:
    """P people.

    Attributes:
        ids: their ids, all different.
        levels: int16, shape (P, attributes): level of each attribute of the data set, -1 if unknown or not a level of it.
        weight: shape (P,), or None if they count alike. known: names of the attributes that were found.
    """

    ids: tuple[str, ...]
    levels: NDArray[np.int16]
    weight: Floats | None
    known: tuple[str, ...]

    @classmethod
    def alike(cls, ids: Sequence[str], dataset: Dataset) -> People:
        """Return people of whom only their ids are known."""
        return cls(tuple(ids), np.full((len(ids), len(dataset.attributes)), -1, dtype=np.int16), None, ())

    def of(self, rows: NDArray[np.intp]) -> People:
        """Return the people at `rows`."""
        weight = None if self.weight is None else self.weight[rows]
        return People(tuple(self.ids[row] for row in rows), self.levels[rows], weight, self.known)


def level_labels(dataset: Dataset) -> list[list[str]]:
    """Return the labels of the levels of each attribute, in the data set's order."""
    return [[level["label"] for level in attribute["levels"]] for attribute in dataset.meta["attributes"]]


def people_of_table(dataset: Dataset, file: Path, person: str | None, weight: str | None = None, *, repeated: bool = False) -> People:
    """Read a table with a row per person, and columns named like attributes with labels of their levels.

    Args:
        dataset: the data set. file: the table. weight: the column of the weights.
        person: the column of the ids; None if there is none, and people have the numbers of their rows from 1.
        repeated: whether a person may have several rows, which must agree.

    Raises:
        InputDataError: a column is absent, a person occurs twice, no label is a level, or a weight is not a number of at least 0.
    """
    table = with_ids(file, read_table(file), person)
    if table.is_empty():
        raise InputDataError(f"{file}: it has no rows.")
    person = person or ROW
    known = [name for name in dataset.attributes if name in table.columns]
    if not known and dataset.attributes:
        raise InputDataError(
            f"{file}: it has no column named like an attribute ({', '.join(dataset.attributes)}); found {table.columns}. To read a survey "
            "file, name its codebook with ",
            Option("survey"),
            ".",
        )
    if weight is not None:
        check_column(file, weight, table.columns)
    if repeated:
        table = table.unique([person, *known, *(() if weight is None else (weight,))], maintain_order=True)
    texts = as_text(table, [person, *known], str(file)).with_columns(ids_of(pl.col(person)))
    if (twice := texts.filter(pl.col(person).is_duplicated())[person]).len():
        why = ", with different levels or weights" if repeated else "; give one row for each person"
        raise InputDataError(f"{file}: {person} {twice[0]!r} is in several rows{why}.")
    levels = np.full((len(texts), len(dataset.attributes)), -1, dtype=np.int16)
    for place, (name, labels) in enumerate(zip(dataset.attributes, level_labels(dataset), strict=True)):
        if name in known:
            numbers = {label: number for number, label in enumerate(labels)}
            levels[:, place] = [numbers.get((label or "").strip(), -1) for label in texts[name]]
    if known and (levels < 0).all():
        name = known[0]
        labels = level_labels(dataset)[dataset.attributes.index(name)]
        values = texts[name].drop_nulls().unique(maintain_order=True).head(_NAMED).to_list()
        raise InputDataError(
            f"{file}: no person is in a subgroup of the data set. Levels of {name} in the data set: {', '.join(labels)}; "
            f"found: {', '.join(values)}. Write the labels of the data set, or name the codebook that reads this file with ",
            Option("survey"),
            ".",
        )
    return People(tuple(texts[person]), levels, None if weight is None else _weights(file, table, weight), tuple(known))


def _weights(file: Path, table: pl.DataFrame, column: str) -> Floats:
    values = table[column].cast(pl.Float64, strict=False).to_numpy()
    if (wrong := np.flatnonzero(~((values >= 0) & (values <= MOST_WEIGHT)))).size:
        found = table[column][int(wrong[0])]
        raise InputDataError(
            f"{file}: the weights in {column!r} must be numbers of at least 0 and at most {MOST_WEIGHT:g}; found {found!r} "
            f"({len(wrong):,} of {len(values):,} people)."
        )
    if not values.any():
        raise InputDataError(f"{file}: the weights in {column!r} are all 0. Correct the column, or leave it out.")
    return values.astype(np.float64)


@dataclass(frozen=True)
class SurveyPeople:
    """People of a survey file and their answers, as the data set's items and levels; row i is the same person in both."""

    people: People
    answers: RespondentAnswers


def codebook_for(dataset: Dataset, survey: str | Path | None) -> Codebook | None:
    """Return the codebook that reads a survey file for a data set, None if it is not named and not built in.

    Raises:
        UsageError: the codebook is of another survey.
    """
    name = str((dataset.meta.get("survey") or {}).get("name"))
    if survey is None:
        return load_codebook(name) if name in builtin_codebooks() else None
    found = load_codebook(survey)
    if found.survey != name:
        raise UsageError(Option("survey", str(survey)), f" is the codebook of {found.survey!r}, but the data set is of {name!r}.")
    return found


def read_people(dataset: Dataset, file: Path, codebook: Codebook, person: str, levels: Path | None = None) -> SurveyPeople:
    """Read a survey file as the data set was built: its bands, labels, missing codes, countries and weight.

    Args:
        dataset: the data set. file: the survey file. codebook: its codebook. person: the column of the ids.
        levels: merged levels, as for `build`.

    Raises:
        InputDataError: the file cannot be read, lacks the column of the ids or has an id twice, or its items have other codes.
    """
    weighted = bool(dataset.meta.get("weighted"))
    found = read_survey_for(dataset, file, replace(codebook, respondent_id=person), levels, weighted=weighted)
    ids = survey_ids(found)
    if ids is None:
        raise InputDataError(f"{file}: the column {person!r} of the respondents is missing. Name it with ", Option("ids"), ".")
    known = tuple(attribute.name for attribute in found.attributes)
    people = People(ids, levels_in(dataset, found), found.weight, known)
    return SurveyPeople(people, RespondentAnswers(file, person, ids, answers_in(dataset, found)))


def read_survey_for(dataset: Dataset, file: str | Path, codebook: Codebook, levels: Path | None, *, weighted: bool) -> Survey:
    """Read the items and attributes of a data set from a survey file, for its countries and with its pooling.

    Args:
        dataset: the data set. file: the survey file. codebook: its codebook. levels: merged levels. weighted: whether to read weights.

    Raises:
        InputDataError: as for `read_survey`.
    """
    wanted = replace(
        codebook,
        items=tuple(replace(item, default=True) for item in codebook.items if item.id in dataset.codes_of),
        attributes=tuple(replace(one, default=True) for one in codebook.attributes if one.name in dataset.attributes),
    )
    countries = [country["code"] for country in dataset.meta.get("countries") or ()]
    found = read_survey(file, wanted, countries=countries, weighted=weighted, pooling=dataset.meta.get("pooling"))
    return found if levels is None else merge_levels(found, levels)


def survey_ids(survey: Survey) -> tuple[str, ...] | None:
    """Return the ids of a survey's respondents, None if it has none."""
    return None if survey.ids is None else tuple(survey.ids.to_frame("id").select(ids_of(pl.col("id"))).to_series())


def levels_in(dataset: Dataset, survey: Survey) -> NDArray[np.int16]:
    """Return the levels of a survey's respondents as levels of the data set, shape (respondents, attributes of the data set).

    Levels are matched by label; -1 if unknown or no level of the data set.
    """
    found = np.full((survey.respondents, len(dataset.attributes)), -1, dtype=np.int16)
    of_name = dict(zip(dataset.attributes, level_labels(dataset), strict=True))
    for column, attribute in enumerate(survey.attributes):
        if (labels := of_name.get(attribute.name)) is None:
            continue
        # The last entry is for the unknown level, -1.
        table = [labels.index(level.label) if level.label in labels else -1 for level in attribute.levels] + [-1]
        found[:, dataset.attributes.index(attribute.name)] = np.array(table, dtype=np.int16)[survey.levels[:, column]]
    return found


def answers_in(dataset: Dataset, survey: Survey) -> NDArray[np.int8]:
    """Return the answers of a survey's respondents, shape (respondents, items of the data set); `EMPTY` for items it does not have.

    Raises:
        InputDataError: an item has other codes than in the data set.
    """
    codes = np.full((survey.respondents, len(dataset.codes_of)), EMPTY, dtype=np.int8)
    places = {item: place for place, item in enumerate(dataset.codes_of)}
    for column, item in enumerate(survey.items):
        if item.id not in places:
            continue
        if item.codes != dataset.codes_of[item.id]:
            raise InputDataError(
                f"{survey.source.file}: the codebook gives {item.id} the codes {item.codes}, and the data set has "
                f"{dataset.codes_of[item.id]}. Use the codebook that the data set was built with."
            )
        codes[:, places[item.id]] = survey.answers[:, column]
    return codes
