"""The table of GlobalOpinionQA (Durmus et al. 2023, arXiv:2306.16388): shares of the answers to each question by country.

Its columns hold Python literals as text, `defaultdict(<class 'list'>, {'Norway': [0.2, 0.8]})`, which are parsed and never executed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

from valuestrata.errors import InputDataError
from valuestrata.survey.codebook import Missing, load_codebook
from valuestrata.survey.codebook_schema import as_compared
from valuestrata.survey.counts.documents import NO_TOPIC, QuestionEntry, QuestionsFile, QuestionsRead
from valuestrata.survey.counts.published import PublishedCell
from valuestrata.yaml_files import checked

COUNTRY = "country"
_COLUMNS = ("question", "selections", "options")
_WRAPPED = re.compile(r"\A\s*defaultdict\(\s*<class 'list'>\s*,\s*(\{.*\})\s*\)\s*\Z", re.DOTALL)
_REMARK = re.compile(r"\s*\([^()]*\)\s*\Z")
_NOT_ANSWERS = {
    Missing.DONT_KNOW: ("dk/refused", "don't know/refused", "don't know", "dk", "don\u2019t know", "don't know / refused"),
    Missing.NO_ANSWER: ("refused", "no answer", "no answer/refused"),
    Missing.NOT_APPLICABLE: ("not applicable",),
    Missing.NOT_ASKED: ("not asked", "not asked in survey"),
    Missing.OTHER_MISSING: ("missing; unknown", "missing", "missing; not available", "other missing; multiple answers mail (evs)"),
}
_CLASS_OF = {label: kind for kind, labels in _NOT_ANSWERS.items() for label in labels}


def is_global_opinions(names: Sequence[str]) -> bool:
    """Whether a table has the columns of GlobalOpinionQA."""
    return set(_COLUMNS) <= set(names)


def read_global_opinions(columns: Mapping[str, Sequence[Any]], file: str) -> QuestionsRead:
    """Return the questions and shares of GlobalOpinionQA. Countries are the levels of the attribute `country`.

    Options that are no answers (`DK/Refused`, `Not asked`) count as missing. Items are named by source and row, `GAS_12`.

    Raises:
        InputDataError: a cell is no list or mapping, or a country has another number of shares than there are options.
    """
    questions: list[dict[str, Any]] = []
    cells: list[PublishedCell] = []
    sources = columns.get("source") or [None] * len(columns["question"])
    left_out, empty = 0, 0
    for row, (question, selections, options, source) in enumerate(
        zip(columns["question"], columns["selections"], columns["options"], sources, strict=True), start=1
    ):
        where = f"{file}, row {row}"
        labels = [str(label).strip() for label in _parsed(options, list, f"{where}, column 'options'")]
        answers = [label for label in labels if as_compared(label) not in _CLASS_OF]
        if len(answers) < 2:
            left_out += 1
            continue
        topic = str(source).strip() if source else NO_TOPIC
        item = f"{topic if source else 'Q'}_{row}"
        questions.append({"item": item, "question": str(question).strip(), "options": answers, "level": "nominal", "topic": topic})
        checked(QuestionEntry, questions[-1], where)
        for country, shares in _parsed(selections, dict, f"{where}, column 'selections'").items():
            cell = _cell(item, str(country).strip(), labels, shares, where)
            if sum(cell.counts.values()) > 0:
                cells.append(cell)
            else:
                empty += 1
    if not questions:
        raise InputDataError(f"{file}: no question has two options. Check the column 'options'.")
    notes = ["All questions are taken as nominal, because the file does not say which options have an order; a file of questions can."]
    if left_out:
        notes.append(f"Questions left out because they have fewer than two options that are answers: {left_out:,}.")
    if empty:
        notes.append(f"Cells left out because all their shares are 0: {empty:,}.")
    countries = list(dict.fromkeys(cell.levels[COUNTRY] for cell in cells))
    levels = [{"label": country, "phrase": _phrase(country)} for country in countries]
    described = [{"name": COUNTRY, "title": "Country", "levels": levels}] if levels else []
    document = {"survey": "global-opinions", "title": "GlobalOpinionQA", "attributes": described, "questions": questions}
    return QuestionsRead(checked(QuestionsFile, document, file), cells, tuple(notes))


def _cell(item: str, country: str, labels: Sequence[str], shares: Any, where: str) -> PublishedCell:
    at = f"{where}, column 'selections', {country}"
    if not isinstance(shares, list | tuple) or not all(isinstance(share, int | float) for share in cast("list[Any]", shares)):
        raise InputDataError(f"{at}: expected a list of shares, found {shares!r:.60}.")
    numbers = [float(share) for share in cast("list[float]", shares)]
    if len(numbers) != len(labels):
        raise InputDataError(f"{at}: found {len(numbers)} shares for {len(labels)} options. Give one for each.")
    missing: dict[Missing, float] = {}
    counts: dict[str, float] = {}
    for label, share in zip(labels, numbers, strict=True):
        kind = _CLASS_OF.get(as_compared(label))
        if kind is None:
            counts[label] = share
        else:
            missing[kind] = missing.get(kind, 0.0) + share
    return PublishedCell(item, {COUNTRY: country}, counts, at, missing=missing, is_share=True)


def _parsed(text: Any, kind: type[Any], where: str) -> Any:
    """Return a list or mapping written as a Python literal; it is not executed."""
    if isinstance(text, kind):
        return text
    found = _WRAPPED.match(str(text))
    try:
        value = ast.literal_eval(found[1] if found else str(text).strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise InputDataError(f"{where}: expected a {kind.__name__} as text, found {text!r:.60}.") from error
    if not isinstance(value, kind):
        raise InputDataError(f"{where}: expected a {kind.__name__} as text, found {text!r:.60}.")
    return value


def _phrase(country: str) -> str:
    """Return the phrase of a country in a persona: `living in the United States`."""
    name = _REMARK.sub("", country)
    return f"living in {_phrases().get(as_compared(name), name)}"


@cache
def _phrases() -> Mapping[str, str]:
    return {as_compared(country.name): country.phrase for country in load_codebook("wvs7").countries}
