"""Files with questions, in YAML, JSON or as a table, and with the counts of their answers.

    survey: my-survey
    title: My survey 2024
    place: Norway
    attributes:
      - name: sex
        levels: [Female, Male]
    questions:
      - item: TRUST
        question: Can most people be trusted?
        options: ["Yes", "Depends", "No"]
        topic: Trust
        counts: [310, 120, 570]
        cells:
          - {levels: {sex: Female}, counts: [150, 60, 300]}
          - {levels: {sex: Male}, counts: [160, 60, 270]}

The counts of a question are those of the whole population; `cells` have those of subgroups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, RootModel, field_validator, model_validator

from valuestrata.errors import InputDataError
from valuestrata.files import read_json
from valuestrata.survey.codebook import Attribute, AttributeLevel, Codebook, Item, Missing
from valuestrata.survey.codebook_schema import MOST_CODES, MeasurementLevel, MissingClass, PhraseRole, as_compared, repeated
from valuestrata.survey.counts.published import PublishedCell, attribute
from valuestrata.survey.formats.source import open_file
from valuestrata.yaml_files import StrictModel, Text, checked, read_yaml, refused

DOCUMENTS = (".json", ".yaml", ".yml")
NO_TOPIC = "All questions"
WORDING = "published"
# Separates the options of a question in a table.
SEPARATOR = "|"
_WAVE = re.compile(r"_(W\d+)$")


def as_text(value: object) -> object:
    """Return a number as text, for labels that are numbers."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Label = Annotated[Text, BeforeValidator(as_text)]


class PublishedLevel(StrictModel):
    """A level of an attribute, and how a persona names it."""

    label: Label
    phrase: Text | None = None
    role: PhraseRole | None = None


class PublishedAttribute(StrictModel):
    """An attribute whose levels have counts."""

    name: Text
    short: Text | None = None
    title: Text | None = None
    role: PhraseRole = "clause"
    levels: list[PublishedLevel] = Field(min_length=1)

    @field_validator("levels", mode="before")
    @classmethod
    def _labels_are_levels(cls, value: Any) -> Any:
        return [entry if isinstance(entry, Mapping) else {"label": entry} for entry in value] if isinstance(value, list) else value


class CellEntry(StrictModel):
    """The answers of one subgroup; without levels, those of the whole population."""

    levels: dict[Text, Label] = Field(default_factory=dict[str, str])
    counts: list[float]
    n: float | None = None
    n_eff: float | None = None
    missing: dict[MissingClass, float] = Field(default_factory=dict[MissingClass, float])


class QuestionEntry(StrictModel):
    """A question, its options in the order they are shown, and counts of its answers."""

    item: Text
    question: Text
    options: list[Label]
    level: MeasurementLevel = "ordinal"
    topic: Text = NO_TOPIC
    block: Text | None = None
    direction: Literal["ascending", "descending"] = "ascending"
    open_question: Text | None = None
    counts: list[float] | None = None
    cells: list[CellEntry] = Field(default_factory=list[CellEntry])

    @model_validator(mode="after")
    def _options_are_distinct(self) -> Self:
        if not 2 <= len(self.options) <= MOST_CODES:
            raise refused(f"the question {self.item!r} has {len(self.options)} options; expected 2 to {MOST_CODES}.", "options")
        if (at := repeated([as_compared(label) for label in self.options])) is not None:
            raise refused(f"two options have the label {self.options[at]!r}. Give each option a label of its own.", "options", at)
        if self.level == "binary" and len(self.options) != 2:
            raise refused(f"a binary question has 2 options, found {len(self.options)}.", "level")
        return self

    def in_order(self, values: Sequence[Any]) -> list[Any]:
        """Return a value of each option in scale order."""
        return list(values) if self.direction == "ascending" else list(values)[::-1]

    def by_option(self, counts: Sequence[float], where: str) -> dict[str, float]:
        """Return option -> count; InputDataError unless each option has one count."""
        if len(counts) != len(self.options):
            raise InputDataError(
                f"{where}: found {len(counts)} counts for the {len(self.options)} options of {self.item!r}. Give one for each, 0 if nobody "
                "chose it."
            )
        return dict(zip(self.options, counts, strict=True))

    def as_item(self) -> Item:
        """Return the question as an item; its codes are 1..K in the order in which the options are listed."""
        return Item(
            id=self.item,
            topic=self.topic,
            level="binary" if len(self.options) == 2 and self.level == "ordinal" else self.level,
            codes=tuple(self.in_order(range(1, len(self.options) + 1))),
            labels=tuple(self.in_order(self.options)),
            question=self.question,
            column=self.item,
            block=self.block,
            open_question=self.open_question,
            wording_source=WORDING,
        )


class QuestionsFile(StrictModel):
    """The whole file."""

    survey: Text | None = None
    title: Text | None = None
    citation: str = ""
    place: Text | None = None
    attributes: list[PublishedAttribute] = Field(default_factory=list[PublishedAttribute])
    questions: list[QuestionEntry] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for key, names in (("questions", [one.item for one in self.questions]), ("attributes", [one.name for one in self.attributes])):
            if (at := repeated(names)) is not None:
                raise refused(f"{names[at]!r} appears {names.count(names[at])} times; names must be unique.", key, at)
        return self

    def codebook(self, name: str) -> Codebook:
        """Return the questions and attributes as a codebook; `name` is used if the file does not name the survey."""
        survey = self.survey or name
        return Codebook(
            survey=survey,
            title=self.title or survey,
            version="1",
            citation=self.citation,
            place=self.place,
            items=tuple(entry.as_item() for entry in self.questions),
            attributes=tuple(map(_described, self.attributes)),
            missing=(),
        )

    def published(self, file: str) -> list[PublishedCell]:
        """Return the counts in the file."""
        found: list[PublishedCell] = []
        for place, question in enumerate(self.questions):
            where = f"{file}, questions.{place}"
            if question.counts is not None:
                at = f"{where}.counts"
                found.append(PublishedCell(question.item, {}, question.by_option(question.counts, at), at))
            for number, cell in enumerate(question.cells):
                missing = {Missing[kind.upper()]: count for kind, count in cell.missing.items()}
                at = f"{where}.cells.{number}.counts"
                found.append(
                    PublishedCell(question.item, cell.levels, question.by_option(cell.counts, at), at, cell.n, cell.n_eff, missing)
                )
        return found


def _described(entry: PublishedAttribute) -> Attribute:
    plain = attribute(entry.name, [AttributeLevel(one.label, phrase=one.phrase, role=one.role) for one in entry.levels])
    return replace(plain, short=entry.short or plain.short, title=entry.title or plain.title, role=entry.role)


class WaveEntry(StrictModel):
    """A question of opinionqa: options, counts of the whole population, and refusals."""

    question: Text
    options: list[Label]
    human_counts: list[float]
    refused: float = 0


class WavesFile(RootModel[dict[Text, WaveEntry]]):
    """The format of opinionqa: name -> question. The name ends in the wave of the panel, `_W26`."""


@dataclass(frozen=True)
class QuestionsRead:
    """Questions with their counts, if the file has any, and notes for the user."""

    file: QuestionsFile
    cells: list[PublishedCell]
    notes: tuple[str, ...] = ()


def read_questions(path: Path, sheet: str | None = None) -> QuestionsRead:
    """Read questions, with counts if there are any, from a YAML, JSON or opinionqa file, or a table.

    Raises:
        InputDataError: the file cannot be read, or a question is not complete.
    """
    name = path.name
    if path.suffix.lower() not in DOCUMENTS:
        return QuestionsRead(_questions_of_table(path, sheet), [])
    if path.suffix.lower() != ".json":
        file = read_yaml(path).checked(QuestionsFile)
        return QuestionsRead(file, file.published(name))
    document = read_json(path)
    if isinstance(document, dict) and any(isinstance(entry, dict) and "human_counts" in entry for entry in document.values()):
        return _waves(checked(WavesFile, document, str(path)), name)
    file = checked(QuestionsFile, document, str(path))
    return QuestionsRead(file, file.published(name))


def _waves(file: WavesFile, name: str) -> QuestionsRead:
    questions: list[dict[str, Any]] = []
    cells: list[PublishedCell] = []
    for item, entry in file.root.items():
        found = _WAVE.search(item)
        topic = found[1] if found else NO_TOPIC
        questions.append({"item": item, "question": entry.question, "options": entry.options, "topic": topic, "block": found and topic})
    made = checked(QuestionsFile, {"survey": "opinionqa", "title": "OpinionQA", "place": "the United States", "questions": questions}, name)
    for question, entry in zip(made.questions, file.root.values(), strict=True):
        where = f"{name}, {question.item}.human_counts"
        missing = {Missing.NO_ANSWER: entry.refused}
        cells.append(PublishedCell(question.item, {}, question.by_option(entry.human_counts, where), where, missing=missing))
    note = (
        "The file does not say which questions are ordinal: all are taken as ordinal, in the order of their options. The wave (the end of "
        "a question's name) is its topic and its block. Other values can be given in a file of questions."
    )
    return QuestionsRead(made, cells, (note,))


def _questions_of_table(path: Path, sheet: str | None) -> QuestionsFile:
    """Read the questions of a table: item, question, options (separated by `|`), and optionally level, topic, block and direction."""
    known = [name for name in QuestionEntry.model_fields if name not in ("counts", "cells")]
    with open_file(path, sheet) as raw:
        names = [name.strip() for name in raw.header.names]
        if lacking := [name for name in ("item", "question", "options") if name not in names]:
            raise InputDataError(f"the column {lacking[0]!r} is missing; found {', '.join(names)}. A table of questions needs it.")
        if unknown := [name for name in names if name not in known]:
            raise InputDataError(f"the column {unknown[0]!r} is not known; expected {', '.join(known)}.")
        columns = [series.to_list() for series in raw.read(range(len(names)))]
    questions: list[QuestionEntry] = []
    for row, values in enumerate(zip(*columns, strict=True), start=1):
        entry = {name: value for name, value in zip(names, values, strict=True) if value is not None and str(value).strip()}
        entry = {name: str(as_text(value)).strip() for name, value in entry.items()}
        if "options" in entry:
            entry["options"] = [label.strip() for label in entry["options"].split(SEPARATOR)]
        questions.append(checked(QuestionEntry, entry, f"{path.name}, row {row}"))
    return checked(QuestionsFile, {"questions": questions}, path.name)
