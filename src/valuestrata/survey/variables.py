"""The variables of a survey file: names, questions, and the codes of answers and of missing answers.

They come from the labels of an SPSS or Stata file, or from a variable list, which many archives publish beside a CSV file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import polars as pl

from valuestrata.errors import InputDataError, Option
from valuestrata.survey.codebook import Missing
from valuestrata.survey.decode import distinct, shown_value
from valuestrata.survey.formats.columns import StatReader
from valuestrata.survey.formats.source import open_file
from valuestrata.survey.labels import NULL_WORDS, normalise, number, numbered

FEWEST_CODES, MOST_CODES = 2, 11
# Variables with more labels are lists (occupations, parties), whose levels have too few respondents.
MOST_LEVELS = 40
# Two labels with codes at least this far apart are taken as the ends of a scale.
ENDS_APART = 5
# A declared range of missing codes up to this wide is listed code by code.
WIDEST_RANGE = 20
LARGEST_CODE = 999_999_999

# Not followed by a colon or a dash: `DK: Denmark` and `DK-01 Hovedstaden` are places.
_VOLUNTEERED = r"^[\W\d_]*(?:vol(?:unteered|\.)?\W+)?"
_MISSING_LABELS: tuple[tuple[Missing, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(_VOLUNTEERED + rf"(?:{words})\b(?!\s*[:-]\s*\w)"))
    for kind, words in (
        (Missing.DONT_KNOW, r"don.?t know|do not know|does not know|d\.?k|can.?t (?:choose|say)|cannot (?:choose|say)|no opinion"),
        (Missing.NOT_APPLICABLE, r"not applicable|inapplicable|inap|iap|n/a|does not apply"),
        (Missing.NOT_ASKED, r"not asked|not administered|not in (?:the )?(?:ballot|version|questionnaire)"),
        (Missing.NO_ANSWER, r"no answer|no response|not answered|not ascertained|refus(?:ed|al)|declined to (?:answer|say)|prefer not|na"),
        (Missing.OTHER_MISSING, r"missing|sysmis|not available|unclassifiable"),
    )
)


# Names of the columns of a variable list, without case, spaces and punctuation, the clearest first.
_LIST_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "variable": ("variable", "variablename", "variablefieldname", "var", "itemname", "column", "field", "name"),
    "question": ("question", "questiontext", "wording", "variablelabel", "fieldlabel", "text", "description", "item"),
    "code": ("code", "valuecode", "optioncode", "value"),
    "label": ("valuelabel", "codelabel", "category", "answer", "option", "label"),
    "values": (
        "values",
        "valuelabels",
        "levels",
        "options",
        "choices",
        "categories",
        "responseoptions",
        "choicescalculationsorsliderlabels",
    ),
    "missing": ("missing", "missingclass"),
    "topic": ("topic", "section", "theme", "block", "module"),
}
_SEPARATORS = (r"\s*\n\s*", r"\s*\|\s*", r"\s*;\s*", r",\s*(?=[\[({]?\s*-?\d+\s*[=:.)\]])")
_COMMA = re.compile(r"^\s*([+-]?\d+)\s*,\s*(\S.*)$")


@dataclass(frozen=True)
class Variable:
    """A column of a survey file.

    Attributes:
        label: its question or title. topic: its topic in the list.
        answers: code -> label. missing: code -> class of missing. missing_labels: label -> class of missing.
        synonyms: code -> what the file holds instead of the code (`M` for 1, Male).
        described: whether the file or the list describes it, and it may be an item.
        lowest: smallest number in the column, if it was read.
        remark: a guess to check, or None.
    """

    name: str
    label: str
    answers: Mapping[int, str] = field(default_factory=dict[int, str])
    missing: Mapping[int, Missing] = field(default_factory=dict[int, Missing])
    missing_labels: Mapping[str, Missing] = field(default_factory=dict[str, Missing])
    synonyms: Mapping[int, str] = field(default_factory=dict[int, str])
    topic: str = "Unsorted"
    described: bool = True
    lowest: float | None = None
    remark: str | None = None

    @property
    def ends(self) -> tuple[int, int] | None:
        """Lowest and highest code if only the ends of the scale are labelled, else None."""
        if len(self.answers) != FEWEST_CODES:
            return None
        low, high = sorted(self.answers)
        words = {label.casefold() for label in self.answers.values()}
        return (low, high) if ENDS_APART <= high - low < MOST_CODES and not words & {"yes", "no"} else None

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers: it has no labels, or only labels that repeat the code (`89: 89 or older`)."""
        return all(re.findall(r"\d+", label) == [str(code)] for code, label in self.answers.items())


def variables_of_file(path: Path) -> tuple[str, list[Variable]]:
    """Return the title and the variables of a .sav or .dta file. Only its dictionary is read, no answers.

    Raises:
        InputDataError: the file is not .sav or .dta, or cannot be read.
    """
    if path.suffix.casefold() not in (".sav", ".zsav", ".dta"):
        raise InputDataError(
            f"{path.name}: expected an SPSS (.sav) or Stata (.dta) file, found {path.suffix or 'no file ending'}. "
            "For another file, give the list of its variables with ",
            Option("variables"),
            ".",
        )
    with open_file(path) as raw:
        reader = cast(StatReader, raw.reader)
    meta = reader.meta
    titles: Mapping[str, str | None] = meta.column_names_to_labels
    values: Mapping[str, Mapping[Any, str]] = meta.variable_value_labels
    ranges: Mapping[str, list[Mapping[str, Any]]] = meta.missing_ranges
    variables = [_variable(name, titles.get(name) or "", values.get(name, {}), ranges.get(name, [])) for name in reader.columns]
    return clean(meta.file_label or ""), variables


def _variable(name: str, label: str, values: Mapping[Any, str], ranges: list[Mapping[str, Any]]) -> Variable:
    declared = [(r["lo"], r["hi"]) for r in ranges if isinstance(r["lo"], int | float) and isinstance(r["hi"], int | float)]
    answers: dict[int, str] = {}
    missing: dict[int, Missing] = {int(low): Missing.OTHER_MISSING for low, high in declared if low == high and float(low).is_integer()}
    missing_labels: dict[str, Missing] = {}
    for code, text in values.items():
        words = clean(text)
        kind = missing_kind(words)
        if not isinstance(code, int | float):
            # Stata's missing values .a to .z are known only by their labels.
            if kind is not None:
                missing_labels[words] = kind
        elif float(code).is_integer() and abs(code) <= LARGEST_CODE:
            if kind is None and any(low <= code <= high for low, high in declared):
                kind = Missing.OTHER_MISSING
            if kind is None:
                answers[int(code)] = words or str(int(code))
            else:
                missing[int(code)] = kind
    if not answers:
        spread = [range(int(low), int(high) + 1) for low, high in declared if 0 < high - low <= WIDEST_RANGE]
        missing |= {code: Missing.OTHER_MISSING for codes in spread for code in codes if code not in missing}
    return Variable(name, clean(label), dict(sorted(answers.items())), missing, missing_labels)


def missing_kind(label: str) -> Missing | None:
    """Return the class of missing that a label names, or None."""
    text = label.casefold()
    return next((kind for kind, pattern in _MISSING_LABELS if pattern.match(text)), None)


def variables_of_list(
    path: Path, listed: Path, sheet: str | None = None, listed_sheet: str | None = None
) -> tuple[list[Variable], list[str]]:
    """Return the variables of a data file as a variable list describes them, and remarks.

    The list is a table (CSV, Excel, ...) with the columns `variable`, `question`, `code` and `label` and one row per answer,
    or with the columns `variable`, `question` and `values` (`1 = Yes; 2 = No`) and one row per variable.

    Args:
        path: the data file, in any format of survey files. listed: the variable list.
        sheet, listed_sheet: their sheets, if they are Excel workbooks with several.

    Raises:
        InputDataError: a file cannot be read, the list lacks a column, repeats a code, or describes no column of the data file.
    """
    described = _read_list(listed, listed_sheet)
    with open_file(path, sheet) as raw:
        place_of = {name: place for name in described if (place := raw.header.find(name)) is not None}
        if not place_of:
            raise InputDataError(
                f"none of the {len(described)} variables of {listed.name} ({', '.join(list(described)[:5])}, ...) is a column of the file."
            )
        names = {place: name for name, place in place_of.items()}
        columns = raw.read(list(range(len(raw.header.names))))
    variables: list[Variable] = []
    for place, (name, series) in enumerate(zip(raw.header.names, columns, strict=True)):
        known = described.get(names.get(place, ""), Variable(name, "", described=False))
        variables.append(_with_data(replace(known, name=names.get(place, name)), series))
    absent = [name for name in described if name not in place_of]
    return variables, [f"- in {listed.name} but not in the file: {', '.join(absent)}"] if absent else []


def _read_list(path: Path, sheet: str | None) -> dict[str, Variable]:
    """Return name -> variable, in the order of the list."""
    with open_file(path, sheet, "variables_sheet") as raw:
        plain = {normalise(name).replace(" ", ""): place for place, name in reversed(list(enumerate(raw.header.names)))}
        found = {key: plain[name] for key, names in _LIST_COLUMNS.items() if (name := next(filter(plain.__contains__, names), ""))}
        # `label` is the label of an answer only beside a code, and only if no clearer name is.
        title = plain.get("label")
        if title is not None and "question" not in found and ("code" not in found or found.get("label") != title):
            found["question"] = title
            if found.get("label") == title:
                del found["label"]
        if "variable" not in found or not ({"code", "label"} <= set(found) or "values" in found):
            raise InputDataError(
                f"a variable list needs the columns `variable`, `question`, `code` and `label`, or `variable`, `question` and `values`; "
                f"found {', '.join(raw.header.names[:10])}."
            )
        cells = dict(zip(found, raw.read(list(found.values())), strict=True))
        texts = {key: [_cell(value) for value in series.to_list()] for key, series in cells.items()}
        variables: dict[str, Variable] = {}
        current = ""
        for row in range(len(texts["variable"])):
            of_row = {key: column[row] for key, column in texts.items()}
            # Only the first row of a variable may hold its name.
            current = of_row["variable"] or current
            if current:
                variables[current] = _extended(variables.get(current, Variable(current, "")), of_row, row + 2)
    if not variables:
        raise InputDataError(f"{path.name}: the list holds no variable.")
    return variables


def _extended(variable: Variable, row: Mapping[str, str], line: int) -> Variable:
    """Return the variable with the question and the answers of a row of the list."""
    pairs = _split_values(row["values"]) if row.get("values") else []
    if row.get("code") or row.get("label"):
        pairs.append((row.get("code", ""), row.get("label", "")))
    answers, missing = dict(variable.answers), dict(variable.missing)
    missing_labels, synonyms = dict(variable.missing_labels), dict(variable.synonyms)
    remark = variable.remark
    for code_text, label_text in pairs:
        parsed = number(code_text)
        words = clean(label_text) or code_text
        kind = _listed_class(row.get("missing", "") if "code" in row else "", line) or missing_kind(words)
        if parsed is None or not parsed.is_integer():
            if kind is not None:
                missing_labels |= {text: kind for text in (words, code_text) if text}
                continue
            code = max(answers, default=0) + 1
            remark = "the list has no numbers; codes follow its order"
            if code_text and code_text != words:
                synonyms[code] = code_text
        else:
            code = int(parsed)
        if abs(code) > LARGEST_CODE:
            raise InputDataError(f"row {line}: the code {code_text[:40]} of {variable.name!r} has more than nine digits; correct it.")
        if code in answers or code in missing:
            raise InputDataError(f"row {line}: the variable {variable.name!r} has the code {code} twice.")
        if kind is None:
            answers[code] = words
        else:
            missing[code] = kind
    label = variable.label or clean(row.get("question", ""))
    topic = clean(row.get("topic", "")) or variable.topic
    return Variable(variable.name, label, answers, missing, missing_labels, synonyms, topic, remark=remark)


def _listed_class(text: str, line: int) -> Missing | None:
    word = text.casefold().replace(" ", "_")
    classes = {kind.key: kind for kind in Missing} | dict.fromkeys(("yes", "y", "true", "1", "x"), Missing.OTHER_MISSING)
    if word in ("", "no", "n", "false", "0"):
        return None
    if word not in classes:
        known = ", ".join(kind.key for kind in Missing)
        raise InputDataError(f"row {line}: the column `missing` holds {text!r}; expected a class of missing ({known}), yes or no.")
    return classes[word]


def _split_values(text: str) -> list[tuple[str, str]]:
    """Return (code, label) of each value in `1 = Yes; 2 = No`, `[1] Yes | [2] No` or `1, Yes | 2, No`.

    Codes are empty if not all values have one, apart from those of missing answers. One value alone is a type (`numeric`).
    """
    parts = next((parts for separator in _SEPARATORS if len(parts := [p for p in re.split(separator, text.strip()) if p]) > 1), [])
    pairs = [_code_and_label(part) for part in parts]
    if any(not code and missing_kind(label) is None for code, label in pairs):
        return [("", part) for part in parts]
    return pairs


def _code_and_label(part: str) -> tuple[str, str]:
    found = numbered(part)
    if found is not None and found.style >= 0:
        return str(found.number), found.text.strip("\"' ")
    if by_comma := _COMMA.match(part):
        return by_comma[1], by_comma[2].strip()
    code, equals, label = part.partition("=")
    return (code.strip(), label.strip("\"' ")) if equals else ("", part)


def _with_data(variable: Variable, series: pl.Series) -> Variable:
    """Return the variable with what its column adds: codes from 0 where the list has none, levels of text, and the lowest number."""
    values = [value for value, _ in distinct(series) if not (isinstance(value, str) and value.strip() in NULL_WORDS)]
    parsed = [number(value) if isinstance(value, str) else float(value) for value in values]
    numbers = sorted({value for value in parsed if value is not None})
    texts = sorted({shown_value(value) for value, found in zip(values, parsed, strict=True) if found is None})
    if variable.remark and not texts and numbers and numbers[0] == 0 and numbers[-1] < len(variable.answers):
        shifted = {code - 1: label for code, label in variable.answers.items()}
        variable = replace(variable, answers=shifted, synonyms={code - 1: text for code, text in variable.synonyms.items()})
    if not variable.answers and not numbers and len(texts) <= MOST_LEVELS:
        answers = [text for text in texts if missing_kind(text) is None]
        lost = {text: kind for text in texts if (kind := missing_kind(text)) is not None}
        remark = "answers are those of the file, in alphabetical order, as the list has none"
        variable = replace(variable, answers=dict(enumerate(answers, start=1)), missing_labels=lost, remark=remark)
    known = {*variable.answers, *variable.missing}
    if unknown := [value for value in numbers if value not in known] if variable.answers and not variable.ends else []:
        shown = ", ".join(f"{value:g}" for value in unknown[:5])
        variable = replace(variable, remark="; ".join(filter(None, (variable.remark, f"the file also holds {shown}"))))
    return with_lowest(variable, series)


def with_lowest(variable: Variable, series: pl.Series) -> Variable:
    """Return the variable with the smallest number of its column that is neither negative nor a labelled or missing code."""
    parsed = (number(value) if isinstance(value, str) else float(value) for value, _ in distinct(series))
    known = {*variable.answers, *variable.missing}
    return replace(
        variable, lowest=min((value for value in parsed if value is not None and value >= 0 and value not in known), default=None)
    )


def with_lowest_of(path: Path, variable: Variable) -> Variable:
    """Return the variable with the smallest number of its column in a file (see `with_lowest`)."""
    with open_file(path) as raw:
        place = raw.header.find(variable.name)
        return variable if place is None else with_lowest(variable, raw.read([place])[0])


def _cell(value: float | str | None) -> str:
    """Return a cell of the list as text; line breaks may separate values."""
    if isinstance(value, str):
        return "\n".join(line for line in map(clean, value.splitlines()) if line)
    return "" if value is None else shown_value(value)


def clean(text: str) -> str:
    """Return a text in one line, without characters that cannot be printed."""
    return " ".join("".join(ch if ch.isprintable() else " " for ch in text).split())


def bare_label(variable: Variable) -> str:
    """Return the label without a leading variable name or number (`Q1: ...`, `12a. ...`)."""
    return re.sub(rf"^(?:{re.escape(variable.name)}\b|[A-Za-z]?\d+[a-z]?(?=[.:)\s]))[.:)\s-]*", "", variable.label, flags=re.IGNORECASE)
