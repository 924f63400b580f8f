"""Import of answers per respondent as a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, OptionText, UsageError
from valuestrata.prompts.question import Numbers
from valuestrata.responses.import_files import ANSWER, ITEM, RESPONDENT
from valuestrata.responses.import_runs import check_import_folder, write_imported
from valuestrata.responses.per_respondent.answers import EMPTY, REFUSED, UNREAD, RespondentAnswers, read_answers
from valuestrata.responses.per_respondent.pairs import ELICITATION, RespondentPairs, aggregate
from valuestrata.responses.per_respondent.people import People, SurveyPeople, codebook_for, people_of_table, read_people
from valuestrata.responses.per_respondent.person_scores import FEWEST_PERSONS, FILE, PERSON_SCORES, person_scores
from valuestrata.survey.codebook import Codebook

# Endings of tables that may hold labels of levels; other files are survey files.
TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class RespondentImport:
    """Result of an import of answers per respondent.

    Attributes:
        run_dir: the run's folder.
        pairs: pairs with a response. below: pairs with fewer answers than the data set's minimum. without: pairs without an answer.
        respondents: respondents that were used. strangers: respondents that are not among the people.
        answers: valid answers of those used. refused, unread, empty: their other answers.
        other_rows: rows of items that the data set does not have.
        persons: scores by person (PERSON_SCORES), empty without the persons' own answers.
        remarks: messages for the user.
    """

    run_dir: Path
    pairs: int
    below: int
    without: int
    respondents: int
    strangers: int
    answers: int
    refused: int
    unread: int
    empty: int
    other_rows: int
    persons: pl.DataFrame
    remarks: tuple[OptionText, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """The numbers, as `run.json` records them."""
        names = ("respondents", "strangers", "answers", "refused", "unread", "empty", "other_rows", "pairs", "below", "without")
        return {name: getattr(self, name) for name in names}


def import_respondents(
    dataset: Dataset,
    file: str | Path,
    out: str | Path,
    *,
    ids: Sequence[str] = (RESPONDENT, ITEM),
    answer: str = ANSWER,
    people: str | Path | None = None,
    survey: str | Path | None = None,
    levels: str | Path | None = None,
    weight: str | None = None,
    truth: str | Path | None = None,
    numbers: Numbers = "code",
    missing: Sequence[str] = (),
    name: str | None = None,
    overwrite: bool = False,
    trained_on: str | Path | Mapping[str, Any] | None = None,
    seed: int = 0,
) -> RespondentImport:
    """Import a model's answers as single respondents, aggregated to pairs like the data set's own respondents.

    No answer of a respondent is stored.

    Args:
        dataset: the data set.
        file: the answers: a row per respondent and item, a row per respondent with a column per item, or a row per item with a
            column per respondent.
        out: folder of the run.
        ids: the column of the respondents and that of the items; only the one that the file has is needed in the other layouts.
        answer: the column of the answers, in the first layout. Answers are codes, labels or texts that name one.
        people: the people: a table with the column of the respondents and columns named like attributes of the data set, with the
            labels of their levels; or a survey file. Not needed if the data set only has the whole population.
        survey: codebook that reads `people` and `truth` as survey files: name of a built-in codebook, or a file. None for the one
            of the data set, if it is built in and the file is not a table of text.
        levels: merged levels, as for `build`.
        weight: column of the weights in a table of people.
        truth: the same persons' own answers: the survey file, or a table like `file`. Adds scores by person.
        numbers: meaning of a number: the scale `code`, or the `position` in the list of options from 1.
        missing: values that stand for a refusal or no answer.
        name: name of the run; None for the name of its folder.
        overwrite: replace an imported run in the folder. A run that was asked is never replaced.
        trained_on: what the model was trained on, as for `import_run`; None if not known.
        seed: seed of the scores by person.

    Raises:
        InputDataError: a file cannot be read, a respondent answers an item twice, an answer is outside the codes, the respondents match
            nobody, or no pair has the minimum.
        UsageError: a wrong call, or the people are needed and not given.
    """
    source, folder = Path(file), Path(out)
    check_import_folder(folder, overwrite=overwrite)
    if people is None and truth is None and not dataset.has_only_everyone:
        raise UsageError(
            f"{source}: the subgroups of its respondents are not known. Give a table of the people, or the survey file, with ",
            Option("people"),
            ".",
        )
    codebook = codebook_for(dataset, survey)
    columns = {item.column: item.id for item in codebook.items} if codebook is not None else {}
    found = read_answers(dataset, source, ids, answer, numbers=numbers, missing=missing, columns=columns)
    readers = _Files(dataset, codebook if survey is not None else None, codebook, found, Path(levels) if levels else None, weight)
    who = _people(readers, people, truth)
    rows, of_people = _matched(found, who, people or truth)
    answers, used = found.of(rows), who.of(of_people)
    pairs = aggregate(dataset, used, answers.codes)
    if pairs.responses.is_empty():
        raise InputDataError(*_no_pair(source, pairs))
    scores = PERSON_SCORES.empty()
    if truth is not None:
        scores = _person_scores(dataset, readers.answers(Path(truth), numbers, missing), answers, used, Path(truth), seed)
    result = RespondentImport(
        run_dir=folder,
        pairs=len(pairs.responses),
        below=pairs.below,
        without=pairs.without,
        respondents=len(rows),
        strangers=len(found.persons) - len(rows),
        answers=answers.answered,
        refused=answers.number(REFUSED),
        unread=answers.number(UNREAD),
        empty=answers.number(EMPTY),
        other_rows=found.other_rows,
        persons=scores,
        remarks=tuple(_remarks(dataset, answers, used)),
    )
    write_imported(
        dataset,
        pairs.responses,
        source,
        folder,
        name=name,
        trained_on=trained_on,
        elicitation=ELICITATION,
        tables={} if truth is None else {FILE: scores},
        numbers=numbers,
        repeats="people",
        per_respondent=result.counts | {"min_respondents": pairs.min_respondents, "min_valid": pairs.min_valid},
    )
    return result


@dataclass
class _Files:
    """Reads the people and their own answers; a survey file that has both is read once.

    Attributes:
        named: the codebook that the caller named, or None. codebook: the same, or the data set's if it is built in.
        answered: the answers, whose column of respondents the files share. levels, weight: as for `import_respondents`.
        read, read_from: the survey file that was read last.
    """

    dataset: Dataset
    named: Codebook | None
    codebook: Codebook | None
    answered: RespondentAnswers
    levels: Path | None
    weight: str | None
    read: SurveyPeople | None = None
    read_from: Path | None = None

    def column(self, file: Path) -> str:
        if self.answered.column is None:
            raise UsageError(
                f"{self.answered.file}: its respondents are columns. Name the column of their ids in {file} as well: ",
                Option("ids", "ITEM,RESPONDENT"),
                ".",
            )
        return self.answered.column

    def survey(self, file: Path) -> SurveyPeople | None:
        """Return what a survey file has; None if the file is a table to be read without a codebook."""
        codebook = self.named or (self.codebook if file.suffix.lower() not in TABLES else None)
        if codebook is None:
            return None
        if self.read is None or self.read_from != file:
            self.read, self.read_from = read_people(self.dataset, file, codebook, self.column(file), self.levels), file
        return self.read

    def people(self, file: Path) -> People:
        found = self.survey(file)
        return people_of_table(self.dataset, file, self.column(file), self.weight) if found is None else found.people

    def answers(self, file: Path, numbers: Numbers, missing: Sequence[str]) -> RespondentAnswers:
        if (found := self.survey(file)) is not None:
            return found.answers
        return read_answers(self.dataset, file, (self.column(file),), ANSWER, numbers=numbers, missing=missing)


def _people(readers: _Files, people: str | Path | None, truth: str | Path | None) -> People:
    if people is not None:
        return readers.people(Path(people))
    if truth is not None and not readers.dataset.has_only_everyone:
        return readers.people(Path(truth))
    return People.alike(readers.answered.persons, readers.dataset)


def _matched(answers: RespondentAnswers, people: People, file: str | Path | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of the respondents who are among the people, and the people's rows."""
    place = {person: row for row, person in enumerate(people.ids)}
    both = [(row, place[person]) for row, person in enumerate(answers.persons) if person in place]
    if not both:
        raise InputDataError(
            f"{answers.file}: none of its {len(answers.persons):,} respondents is in {file} (the first is {answers.persons[0]!r}, there "
            f"{people.ids[0]!r}). Give the column that both files share with ",
            Option("ids"),
            ".",
        )
    found = np.array(both, dtype=np.intp)
    return found[:, 0], found[:, 1]


def _person_scores(
    dataset: Dataset, truth: RespondentAnswers, answers: RespondentAnswers, people: People, file: Path, seed: int
) -> pl.DataFrame:
    place = {person: row for row, person in enumerate(truth.persons)}
    rows = np.array([place.get(person, -1) for person in people.ids], dtype=np.intp)
    known = rows >= 0
    if not known.any():
        raise InputDataError(
            f"{file}: none of its {len(truth.persons):,} people is a respondent of {answers.file} whose subgroups are known (the first is "
            f"{truth.persons[0]!r}, there {answers.persons[0]!r})."
        )
    there = np.flatnonzero(known)
    found = person_scores(dataset, people.of(there), truth.codes[rows[there]], answers.codes[there], seed=seed)
    if found.is_empty():
        raise InputDataError(f"{file}: no item has {FEWEST_PERSONS} persons with an answer both here and in {answers.file}.")
    return found


def _no_pair(file: Path, pairs: RespondentPairs) -> tuple[str, ...]:
    if pairs.below:
        return (
            f"{file}: no pair has the data set's minimum of {pairs.min_respondents} respondents and {pairs.min_valid:g} (effective) valid "
            f"answers; {pairs.below:,} pairs have fewer.",
        )
    return (f"{file}: no respondent in a subgroup of the data set has a valid answer.",)


def _remarks(dataset: Dataset, answers: RespondentAnswers, people: People) -> list[OptionText]:
    found: list[OptionText] = []
    if answers.unread is not None:
        example = f"{answers.number(UNREAD):,} answers could not be read, for example {answers.unread}"
        found.append(OptionText(f"{example}. They count as missing."))
    if dataset.meta.get("weighted") and people.weight is None:
        found.append(
            OptionText(
                "The data set is weighted, and the respondents count alike. Give the survey file as ",
                Option("people"),
                ", or name the column of the weights with ",
                Option("weight"),
                ".",
            )
        )
    if absent := [name for name in dataset.attributes if people.known and name not in people.known]:
        found.append(OptionText(f"The people's {', '.join(absent)} is not known, so subgroups of it have no answer."))
    return found
