"""New questions: a YAML file, checked against the questions of a data set.

    - id: climate_tax
      question: Would you support or oppose a higher tax on petrol to slow climate change?
      options: [Support, Neither support nor oppose, Oppose]
      scale: ordinal
      topic: Science and environment

Options are given in scale order, the order of the same scale in the survey.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field, RootModel, field_validator, model_validator

from valuestrata.dataset.tables import ITEMS, Dataset
from valuestrata.errors import InputDataError
from valuestrata.files import canonical_hash, name_problem
from valuestrata.yaml_files import StrictModel, Text, read_yaml, refused

Scale = Literal["ordinal", "nominal", "binary"]
# Topic of a question that names none.
NO_TOPIC = "New questions"
CONFIRM = "scale_checked"
_NUMBER = re.compile(r"\s*([-\u2212]?\d+)(?![\d.,]*\d)")


class _Entry(StrictModel):
    """One question of the file."""

    id: Text
    question: Text
    options: list[Text] = Field(default_factory=list[Text])
    scale: Scale | None = None
    topic: Text | None = None
    block: Text | None = None
    scale_checked: bool = False

    @model_validator(mode="before")
    @classmethod
    def _text_is_question(cls, given: Any) -> Any:
        """Accept `text` for `question`."""
        if not isinstance(given, Mapping) or "text" not in given:
            return given
        if "question" in given:
            raise refused("found both 'text' and 'question', which mean the same. Keep one of them", "text")
        return {("question" if key == "text" else key): value for key, value in given.items()}

    @field_validator("id")
    @classmethod
    def _id_names_a_folder(cls, given: str) -> str:
        if problem := name_problem(given):
            raise refused(f"the id {given!r} cannot be used: {problem}")
        return given

    @model_validator(mode="after")
    def _options_make_a_scale(self) -> _Entry:
        number = len(self.options)
        if number < 2:
            raise refused(
                f"question {self.id!r} has {number or 'no'} option{'s'[: number != 1]}; list at least two, in scale order", "options"
            )
        folded = [_plain(option) for option in self.options]
        for place, option in enumerate(folded):
            if folded.index(option) != place:
                raise refused(f"question {self.id!r} has the option {self.options[place]!r} twice. Remove one of them", "options", place)
        if self.scale == "binary" and number != 2:
            raise refused(f"question {self.id!r} is binary and has {number} options; expected 2, or the scale ordinal or nominal", "scale")
        if self.scale is None and number > 2:
            raise refused(
                f"question {self.id!r} has {number} options and no scale. Add `scale: ordinal` if they have an order, else `scale: nominal`"
            )
        return self


class _Questions(RootModel[list[_Entry]]):
    """The file: a list of questions."""


@dataclass(frozen=True)
class NewQuestion:
    """A question that the survey did not ask.

    Attributes:
        id: its id. text: the closed question. options: labels in scale order. codes: of the options, 1..K, or the numbers on a numbered
            scale.
        scale: ordinal, nominal or binary. topic, block: as in the data set; block None for a question on its own.
    """

    id: str
    text: str
    options: tuple[str, ...]
    codes: tuple[int, ...]
    scale: Scale
    topic: str = NO_TOPIC
    block: str | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The question for JSON."""
        keys = ("id", "text", "scale", "topic", "block")
        return {key: getattr(self, key) for key in keys} | {"options": list(self.options), "codes": list(self.codes)}


def read_questions(path: str | Path, dataset: Dataset) -> list[NewQuestion]:
    """Read new questions and check them against the questions of a data set.

    Args:
        path: a YAML file with a list of entries: id, question (or text), options in scale order, scale (may be left out with two
            options), and optionally topic, block and scale_checked (see Raises).
        dataset: the survey that calibrates the predictions.

    Raises:
        InputDataError: not a list of questions, an unknown or missing key, fewer than two options, an option or an id given twice, an id
            of the survey, or options in the opposite order of the survey's scale or of their numbers. The last is accepted with
            `scale_checked: true`.
    """
    file = read_yaml(path, "text")
    if not isinstance(file.document, list) or not file.document:
        raise InputDataError(
            f"{path}: expected a list of questions, each with id, question, options and scale, found "
            f"{'nothing' if not file.document else 'a ' + type(file.document).__name__}. Begin each question with `- id:`."
        )
    entries = file.checked(_Questions).root
    seen: dict[str, int] = {}
    for place, entry in enumerate(entries):
        at = file.place(place, "id")
        if entry.id in dataset.codes_of:
            raise InputDataError(f"{at}: {entry.id!r} is the id of a question of {dataset.path or 'the data set'}. Choose another id.")
        if entry.id in seen:
            raise InputDataError(f"{at}: the id {entry.id!r} is given twice, first in entry {seen[entry.id] + 1}. Choose another id.")
        seen[entry.id] = place
        if entry.scale != "nominal" and not entry.scale_checked:
            _check_direction(entry, dataset, file.place(place, "options"))
    topics = {_plain(topic): topic for topic in dataset.items["topic"].to_list()}
    return [
        NewQuestion(
            entry.id,
            entry.question.strip(),
            tuple(option.strip() for option in entry.options),
            _codes(entry.options),
            entry.scale or "binary",
            NO_TOPIC if entry.topic is None else topics.get(_plain(entry.topic), entry.topic.strip()),
            entry.block,
        )
        for entry in entries
    ]


def with_questions(dataset: Dataset, questions: Sequence[NewQuestion]) -> Dataset:
    """Return the data set with new questions, which have no gold, behind its own items.

    The fingerprint is another one: it also covers the questions.

    Raises:
        InputDataError: the id of a question and a subgroup give the pair id of another pair.
    """
    rows = [
        {
            "item": one.id,
            "topic": one.topic,
            "block": one.block,
            "level": one.scale,
            "codes": list(one.codes),
            "labels": list(one.options),
            "question": one.text,
            "wording_source": "questions",
        }
        for one in questions
    ]
    own = dataset.items.select(list(ITEMS.columns))
    taken = set(dataset.gold["pair_id"].to_list())
    for one in questions:
        if clash := next((pair for subgroup in dataset.subgroups["subgroup"] if (pair := f"{one.id}_{subgroup}") in taken), None):
            raise InputDataError(f"The question id {one.id!r} gives the pair id {clash!r}, which another pair has. Choose another id.")
    fingerprint = canonical_hash([dataset.fingerprint, [one.document for one in questions]])
    return replace(dataset, items=pl.concat([own, ITEMS.frame(rows)]), meta={**dataset.meta, "fingerprint": fingerprint})


def _codes(options: Sequence[str]) -> tuple[int, ...]:
    """Return 1..K, or the numbers of a scale whose inner points have only a number."""
    inner = [option.strip() for option in options[1:-1]]
    if len(inner) > 1 and all(label.isascii() and label.isdigit() and len(label) < 4 for label in inner):
        first = int(inner[0]) - 1
        if [int(label) for label in inner] == list(range(first + 1, first + 1 + len(inner))):
            return tuple(range(first, first + len(options)))
    return tuple(range(1, len(options) + 1))


def _check_direction(entry: _Entry, dataset: Dataset, at: str) -> None:
    """Refuse options in the opposite order of the same scale in the survey, or numbered downwards."""
    confirm = f"List the options in that order, or add `{CONFIRM}: true` if the order is intended."
    numbers = [int(found[1].replace("\u2212", "-")) for option in entry.options if (found := _NUMBER.match(option))]
    if len(numbers) >= max(2, len(entry.options) - 2) and all(one > other for one, other in pairwise(numbers)):
        expected = ", ".join(repr(option) for option in reversed(entry.options))
        raise InputDataError(f"{at}: the scale of question {entry.id!r} runs downwards. Expected from low to high: {expected}. {confirm}")
    mine = {_plain(option): place for place, option in enumerate(entry.options)}
    opposite: tuple[str, Sequence[str]] | None = None
    for item, level, labels in dataset.items.select("item", "level", "labels").iter_rows():
        shared = [mine[_plain(label)] for label in labels if _plain(label) in mine]
        if level == "nominal" or len(shared) < 2 or 2 * len(shared) <= max(len(mine), len(labels)):
            continue
        if shared == sorted(shared):
            return  # the survey also has this order
        if shared == sorted(shared, reverse=True) and opposite is None:
            opposite = (item, labels)
    if opposite is not None:
        expected = ", ".join(repr(label) for label in opposite[1])
        raise InputDataError(
            f"{at}: the options of question {entry.id!r} are in the opposite order of the scale of item {opposite[0]!r}, which is "
            f"{expected}. {confirm}"
        )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")
