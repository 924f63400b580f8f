"""Answers of respondents as option indices, checked against the codes and labels of the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.prompts import printed_numbers, questions_of
from valuestrata.prompts.question import Numbers, Question
from valuestrata.responses.parse.choice import parse_answer
from valuestrata.responses.per_respondent.layout import ItemNames, read_long
from valuestrata.survey.codebook import Missing
from valuestrata.survey.codebook_schema import as_compared
from valuestrata.survey.labels import NULL_WORDS

REFUSED = int(Missing.NO_ANSWER)
UNREAD = int(Missing.OTHER_MISSING)
EMPTY = int(Missing.NOT_ASKED)
_WRONG = -99
# At most this many wrong values are named in an error.
_NAMED = 5


@dataclass(frozen=True)
class RespondentAnswers:
    """Answers of P respondents to the I items of a data set.

    Attributes:
        file: where they are from. column: the column of the respondents, None if it has no name.
        persons: ids of the respondents, all different.
        codes: int8, shape (P, I), items in the order of the data set: option index 0..K-1, or `REFUSED`, `UNREAD` (a text without
            an answer, or a failed call) or `EMPTY` (no text).
        other_rows: rows of items that the data set does not have. unread: an example of a text without an answer, or None.
    """

    file: Path
    column: str | None
    persons: tuple[str, ...]
    codes: NDArray[np.int8]
    other_rows: int = 0
    unread: str | None = None

    def number(self, code: int) -> int:
        """Return how many answers are of a class of missing."""
        return int((self.codes == code).sum())

    @property
    def answered(self) -> int:
        """Number of valid answers."""
        return int((self.codes >= 0).sum())

    def of(self, rows: NDArray[np.intp]) -> RespondentAnswers:
        """Return the respondents at `rows`."""
        return RespondentAnswers(
            self.file, self.column, tuple(self.persons[row] for row in rows), self.codes[rows], self.other_rows, self.unread
        )


def read_answers(
    dataset: Dataset,
    file: Path,
    ids: Sequence[str],
    answer: str,
    *,
    numbers: Numbers = "code",
    missing: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
) -> RespondentAnswers:
    """Read and check a file with one answer per respondent and item.

    Args:
        dataset: the data set. file: in a layout of `layout`. ids, answer: its columns.
        numbers: meaning of a number: the scale `code`, or the `position` in the list of options from 1.
        missing: values that stand for a refusal. columns: column -> item, where columns are not named like items.

    Raises:
        InputDataError: the file cannot be read, a respondent answers an item twice, or an answer is not a code of its item.
        UsageError: the named columns do not describe a layout, or a value of `missing` is an answer of an item.
    """
    rows, column = read_long(file, ids, answer, ItemNames(dataset.codes_of, columns or {}))
    known = rows.filter(pl.col("item").is_not_null())
    _refuse_twice(file, known)
    read = _decoded(dataset, file, known, numbers, {value.strip() for value in missing})
    persons, items = read["person"].unique(maintain_order=True), pl.Series(list(dataset.codes_of))
    codes = np.full((len(persons), len(items)), EMPTY, dtype=np.int8)
    codes[_places(read["person"], persons), _places(read["item"], items)] = read["code"].to_numpy()
    without = read.filter(pl.col("code") == UNREAD).head(1)
    example = f"{without['item'][0]}: {without['text'][0] or without['error'][0]!r}" if len(without) else None
    return RespondentAnswers(file, column, tuple(persons), codes, len(rows) - len(known), example)


def _places(values: pl.Series, among: pl.Series) -> NDArray[np.intp]:
    """Return the place of each value in a series of different values."""
    return values.replace_strict(among, np.arange(len(among)), return_dtype=pl.Int64).to_numpy().astype(np.intp)


def _refuse_twice(file: Path, rows: pl.DataFrame) -> None:
    twice = rows.filter(pl.struct("person", "item").is_duplicated())
    if not twice.is_empty():
        first, pairs = twice.row(0, named=True), twice.select("person", "item").n_unique()
        number = twice.filter((pl.col("person") == first["person"]) & (pl.col("item") == first["item"])).height
        raise InputDataError(
            f"{file}: respondent {first['person']!r} answers {first['item']!r} {number} times ({pairs:,} such cases in the file). Keep "
            "one answer for each respondent and item."
        )


def _decoded(dataset: Dataset, file: Path, rows: pl.DataFrame, numbers: Numbers, missing: set[str]) -> pl.DataFrame:
    """Add `code`, the option index or class of missing. Each different answer to an item is read once."""
    questions = questions_of(dataset)
    readers = {item: _Reader(question, numbers, missing) for item, question in questions.items()}
    different = rows.select("item", "text", "error").unique(maintain_order=True)
    for item in different["item"].unique(maintain_order=True):
        for value in sorted(missing):
            if readers[item].has(value):
                raise UsageError(
                    Option("missing", value), f": {value!r} is an answer of {item} in {file}, not only a refusal. Recode it there."
                )
    codes = [readers[item].code(text, error) for item, text, error in different.iter_rows()]
    found = different.with_columns(pl.Series("code", codes, dtype=pl.Int8))
    read = rows.join(found, on=["item", "text", "error"], how="left", maintain_order="left", nulls_equal=True)
    wrong = read.filter(pl.col("code") == _WRONG)
    if not wrong.is_empty():
        raise InputDataError(*_outside(file, wrong, questions, numbers))
    return read


class _Reader:
    """Reads the answers to one item."""

    def __init__(self, question: Question, numbers: Numbers, missing: set[str]) -> None:
        self._codes, self._labels, self._missing = question.codes, question.label_of, missing
        printed = [str(code) for code in question.codes] if numbers == "code" else printed_numbers(question.codes, "scale", numbers)
        self._printed = tuple(printed)
        self._exact = {as_compared(label): code for code, label in self._labels.items()} | dict(zip(printed, question.codes, strict=True))

    def has(self, value: str) -> bool:
        """Whether a value is a number or label of an option."""
        return as_compared(value) in self._exact

    def code(self, text: str | None, error: str | None) -> int:
        """Return the option index, a class of missing, or `_WRONG`."""
        if error is not None:
            return UNREAD
        shown = (text or "").strip()
        whole = shown.removesuffix(".0")
        if shown in self._missing or whole in self._missing:
            return REFUSED
        if shown in NULL_WORDS:
            return EMPTY
        found = self._exact.get(as_compared(whole))
        if found is None:
            parsed = parse_answer(shown, self._printed, self._codes, self._labels)
            if parsed.status == "invalid_code" or (parsed.status != "answered" and _is_number(shown)):
                return _WRONG
            if parsed.answer is None:
                return REFUSED if parsed.status == "refused" else UNREAD
            found = parsed.answer
        return self._codes.index(found)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _outside(file: Path, wrong: pl.DataFrame, questions: Mapping[str, Question], numbers: Numbers) -> tuple[str | Option, ...]:
    """Return the message about answers that are not codes."""
    found = wrong.group_by("item", "text", maintain_order=True).len()
    named = ", ".join(f"{item}: {text!r} ({count:,} rows)" for item, text, count in found.head(_NAMED).iter_rows())
    more = f" and {len(found) - _NAMED} more values" if len(found) > _NAMED else ""
    item = found["item"][0]
    codes = questions[item].codes
    printed = printed_numbers(codes, "scale", numbers) if numbers == "position" else codes
    other = "position" if numbers == "code" else "code"
    return (
        f"{file}: {len(wrong):,} answers are outside the codes of their item: {named}{more}. The {numbers}s of {item} are "
        f"{', '.join(map(str, printed))}. Correct the file; name values that stand for a refusal with ",
        Option("missing", wrong["text"][0]),
        f"; or, if numbers are {'places in the list of options' if other == 'position' else 'codes'}, use ",
        Option("numbers", other),
        ".",
    )
