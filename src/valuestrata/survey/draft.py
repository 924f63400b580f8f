"""Drafts a codebook from the labels of an SPSS or Stata file.

Missing classes, scale order and demographic variables are guessed from labels and names. Comments in the draft mark each
guess for the user to check. Only the dictionary of the file is read, no answers.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyreadstat

from valuestrata.errors import InputDataError
from valuestrata.survey.codebook import Missing

FEWEST_CODES, MOST_CODES = 2, 11
# Variables with more labels are lists (occupations, parties), whose levels have too few respondents.
MOST_LEVELS = 40
# Two labels with codes at least this far apart are taken as the ends of a scale.
ENDS_APART = 5

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

_PREFIX = r"(?:what is )?(?:the )?(?:your |respondent.?s? |r.?s )?"
_SUFFIX = r"(?: of (?:the )?(?:respondent|r))?(?: in years)?(?::? respondent.*| ?[(\[-].*)?"


@dataclass(frozen=True)
class _Demographic:
    """Patterns that recognise an attribute: of the variable name without digits and underscores, or of the label."""

    name: str
    names: str
    labels: str
    default: bool = True

    @property
    def short(self) -> str:
        return "age" if self.name == "age_group" else self.name


_DEMOGRAPHICS = (
    _Demographic("sex", r"r?sex|r?gender|gndr|sexo", r"sex|gender"),
    _Demographic("age_group", r"r?age|agea|ager|agegroup|agegrp|agecat|ageband", r"age(?: group| band| category)?|exact age|age recoded"),
    _Demographic("ethnicity", r"race|racecat|raceth|ethnic(?:ity)?|ethngrp", r"race|ethnic group|ethnicity|race.{1,5}ethnicity"),
    _Demographic("religion", r"relig(?:ion)?|denom(?:ination)?", r"religion|religious (?:denominations?|preference)|denomination"),
    _Demographic("education", r"educ(?:ation)?|edulvl|eisced|degree", r"(?:highest )?(?:level of education|education(?:al level)?|degree)"),
    _Demographic("marital_status", r"marital|marstat|maritalb?|civstat", r"(?:marital|civil) status", default=False),
    _Demographic("region", r"region", r"region(?: of (?:interview|residence))?", default=False),
)

_WEIGHTS = ("w_weight", "wtssall", "wtss", "wtssps", "pspwght", "anweight", "weight", "weights", "wt", "wgt", "wght", "dweight", "pweight")
_WEIGHT_LIKE = re.compile(r"(?:^|_)(?:pp?|ps|psp|d|a)?(?:weight|wght|wgt)s?(?:_|\d|$)")
_IDS = ("respondent_id", "respid", "resp_id", "caseid", "case_id", "idno", "id")

_AGE_BANDS = ((18, 24), (25, 34), (35, 44), (45, 54), (55, 64))


@dataclass(frozen=True)
class _Variable:
    """A column: its label, and the codes of answers and of missing answers."""

    name: str
    label: str
    answers: Mapping[int, str]
    missing: Mapping[int, Missing] = field(default_factory=dict[int, Missing])
    missing_labels: Mapping[str, Missing] = field(default_factory=dict[str, Missing])

    @property
    def ends(self) -> tuple[int, int] | None:
        """Lowest and highest code if only the ends of the scale are labelled, else None."""
        if len(self.answers) != FEWEST_CODES:
            return None
        low, high = sorted(self.answers)
        words = {label.casefold() for label in self.answers.values()}
        return (low, high) if ENDS_APART <= high - low < MOST_CODES and not words & {"yes", "no"} else None


def draft_codebook(path: Path) -> str:
    """Return the YAML text of a codebook drafted from the labels of a .sav or .dta file. It can be loaded as it is.

    Raises:
        InputDataError: the file is not .sav or .dta, cannot be read, or has no variable with value labels.
    """
    title, variables = _read(path)
    attributes, second_choices = _pick_attributes(variables)
    taken = {variable.name for variable, _ in attributes} | {name for name, _ in second_choices}
    weight, other_weights = _pick_weight(variables)
    items = [v for v in variables if FEWEST_CODES <= len(v.answers) <= MOST_CODES and v.name not in taken and v.name != weight]
    if not items:
        raise InputDataError(
            f"{path.name}: no variable has labels for {FEWEST_CODES} to {MOST_CODES} answers, so no codebook can be drafted. "
            "Write the codebook by hand, or use a file with value labels."
        )
    long_lists = [v.name for v in variables if len(v.answers) > MOST_CODES and v.name not in taken]
    codes, labels, disputed = _pool_missing(variables)
    identifier = next((v.name for wanted in _IDS for v in variables if v.name.casefold() == wanted), None)

    notes = [
        f"Drafted from the labels of {path.name}. Check each part:",
        "- topics: every item has the topic Unsorted; assign your own topics",
        "- levels: items with two codes are binary, others ordinal; write `nominal` if answers have no order, and put codes in scale order",
        "- questions: derived from the variable labels; replace them by the wording asked, or your own",
        "- missing answers: derived from the labels and the missing values declared in the file",
        f"- weight: {weight or 'no variable name matches'}" + (f" (other candidates: {', '.join(other_weights)})" if other_weights else ""),
        f"- attributes: {', '.join(f'{kind.name} from {variable.name}' for variable, kind in attributes) or 'none found; add your own'}",
    ]
    notes += [f"- {name} may also hold {kind}; it is neither an item nor an attribute" for name, kind in second_choices]
    notes += [f"- left out because they have more than {MOST_CODES} labelled answers: {', '.join(long_lists)}"] if long_lists else []
    notes += [f"- code {code} means different classes of missing in different variables; the most frequent was used" for code in disputed]
    slug = re.sub(r"[^a-z0-9]+", "-", path.stem.casefold()).strip("-") or "survey"
    lines = [f"# {_clean(note)}" for note in notes]
    lines += [f"survey: {_quote(slug)}", f"title: {_quote(title or path.stem)}", 'version: "1"']
    lines += [f"weight: {_quote(weight)}"] if weight else []
    lines += [f"respondent_id: {_quote(identifier)}  # guessed from its name"] if identifier else []
    lines += ["", *_missing_lines(codes, labels), "", "items:"]
    for item in items:
        lines += _item_lines(item)
    lines += ["", "attributes:" if attributes else "attributes: []"]
    for variable, kind in attributes:
        lines += _attribute_lines(variable, kind)
    return "\n".join(lines) + "\n"


def _read(path: Path) -> tuple[str, list[_Variable]]:
    readers: dict[str, Any] = {".sav": pyreadstat.read_sav, ".zsav": pyreadstat.read_sav, ".dta": pyreadstat.read_dta}
    reader = readers.get(path.suffix.casefold())
    if reader is None:
        raise InputDataError(f"{path.name}: expected an SPSS (.sav) or Stata (.dta) file, found {path.suffix or 'no file ending'}.")
    if not path.is_file():
        raise InputDataError(f"{path.name}: the file does not exist.")
    try:
        # With `user_missing`, pyreadstat reports the declared missing ranges.
        _, meta = reader(path, metadataonly=True, user_missing=True, output_format="dict")
    except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, UnicodeDecodeError, ValueError) as error:
        raise InputDataError(
            f"{path.name}: not a readable {path.suffix} file ({error}). Check its ending, or get a complete copy."
        ) from error
    titles: Mapping[str, str | None] = meta.column_names_to_labels
    values: Mapping[str, Mapping[Any, str]] = meta.variable_value_labels
    ranges: Mapping[str, list[Mapping[str, Any]]] = meta.missing_ranges
    variables = [_variable(name, titles.get(name) or "", values.get(name, {}), ranges.get(name, [])) for name in meta.column_names]
    return _clean(meta.file_label or ""), variables


def _variable(name: str, label: str, values: Mapping[Any, str], ranges: list[Mapping[str, Any]]) -> _Variable:
    declared = [(r["lo"], r["hi"]) for r in ranges if isinstance(r["lo"], int | float) and isinstance(r["hi"], int | float)]
    answers: dict[int, str] = {}
    missing: dict[int, Missing] = {int(low): Missing.OTHER_MISSING for low, high in declared if low == high and float(low).is_integer()}
    missing_labels: dict[str, Missing] = {}
    for code, text in values.items():
        words = _clean(text)
        kind = _missing_kind(words)
        if not isinstance(code, int | float):
            # Stata's missing values .a to .z are known only by their labels.
            if kind is not None:
                missing_labels[words] = kind
        elif float(code).is_integer():
            if kind is None and any(low <= code <= high for low, high in declared):
                kind = Missing.OTHER_MISSING
            if kind is None:
                answers[int(code)] = words or str(int(code))
            else:
                missing[int(code)] = kind
    return _Variable(name, _clean(label), dict(sorted(answers.items())), missing, missing_labels)


def _missing_kind(label: str) -> Missing | None:
    text = label.casefold()
    return next((kind for kind, pattern in _MISSING_LABELS if pattern.match(text)), None)


def _pick_attributes(variables: list[_Variable]) -> tuple[list[tuple[_Variable, _Demographic]], list[tuple[str, str]]]:
    """Return (variable, attribute) pairs, and (name, attribute) of the other candidates."""
    chosen: list[tuple[_Variable, _Demographic]] = []
    second: list[tuple[str, str]] = []
    for kind in _DEMOGRAPHICS:
        named = [v for v in variables if re.fullmatch(kind.names, re.sub(r"[\d_]", "", v.name.casefold()))]
        titled = [
            v for v in variables if v not in named and re.fullmatch(_PREFIX + rf"(?:{kind.labels})" + _SUFFIX, _bare_label(v).casefold())
        ]
        usable = [v for v in named + titled if len(v.answers) in range(2, MOST_LEVELS + 1) or (kind.short == "age" and not v.answers)]
        if usable:
            chosen.append((usable[0], kind))
            second += [(v.name, kind.name) for v in usable[1:]]
    return chosen, second


def _pick_weight(variables: list[_Variable]) -> tuple[str | None, list[str]]:
    free = [v.name for v in variables if not v.answers]
    known = [name for wanted in _WEIGHTS for name in free if name.casefold() == wanted]
    known += [name for name in free if name not in known and _WEIGHT_LIKE.search(name.casefold())]
    return (known[0], known[1:]) if known else (None, [])


def _pool_missing(variables: list[_Variable]) -> tuple[dict[int, Missing], dict[str, Missing], list[int]]:
    """Return code -> class and label -> class over all variables, and the codes whose class differs between variables."""
    votes: dict[int, Counter[Missing]] = {}
    labels: dict[str, Missing] = {}
    for variable in variables:
        labels.update(variable.missing_labels)
        for code, kind in variable.missing.items():
            votes.setdefault(code, Counter())[kind] += 1
    codes = {code: counts.most_common(1)[0][0] for code, counts in sorted(votes.items())}
    return codes, labels, [code for code, counts in sorted(votes.items()) if len(counts) > 1]


def _missing_lines(codes: Mapping[int, Missing], labels: Mapping[str, Missing]) -> list[str]:
    lines = ["missing:" if codes or labels else "missing: {}"]
    for kind in Missing:
        found = [str(code) for code, found_kind in codes.items() if found_kind is kind]
        words = [_quote(label) for label, found_kind in labels.items() if found_kind is kind]
        if found or words:
            lines.append(f"  {kind.key}: {{codes: [{', '.join(found)}], labels: [{', '.join(words)}]}}")
    return lines


def _item_lines(variable: _Variable) -> list[str]:
    subject = _bare_label(variable) or variable.name
    lines = [f"  - id: {_quote(variable.name)}", "    topic: Unsorted", "    wording_source: drafted"]
    if variable.ends:
        low, high = variable.ends
        words = variable.answers[low], variable.answers[high]
        lines += ["    level: ordinal  # guessed: only two distant codes are labelled, which are taken as the ends of a scale"]
        lines += [f"    range: [{low}, {high}]", f"    ends: [{_quote(words[0])}, {_quote(words[1])}]"]
        question = f"{subject.rstrip('?')}: where do you stand between {low} ({words[0]}) and {high} ({words[1]})?"
    else:
        binary = len(variable.answers) == FEWEST_CODES
        lines += ["    level: binary" if binary else "    level: ordinal  # guessed: check that the codes are in scale order"]
        lines += [
            f"    codes: [{', '.join(map(str, variable.answers))}]",
            f"    labels: [{', '.join(map(_quote, variable.answers.values()))}]",
        ]
        question = subject if subject.endswith("?") else f"{subject.rstrip('.:')}: which answer is yours?"
    return [*lines, f"    question: {_quote(question)}"]


def _attribute_lines(variable: _Variable, kind: _Demographic) -> list[str]:
    lines = [
        f"  - name: {kind.name}",
        f"    short: {kind.short}",
        f"    column: {_quote(variable.name)}",
        f"    default: {str(kind.default).lower()}",
    ]
    if kind.short == "age" and not variable.answers:
        lines += ["    levels:  # guessed: the file holds age in years"]
        lines += [f"      - {{label: {a}-{b} years, band: [{a}, {b}], phrase: aged {a} to {b}}}" for a, b in _AGE_BANDS]
        return [*lines, "      - {label: 65 and over, band: [65, null], phrase: aged 65 or over}"]
    nouns = {"male": "man", "man": "man", "men": "man", "female": "woman", "woman": "woman", "women": "woman"} if kind.name == "sex" else {}
    lines += ["    levels:  # add `phrase` and `role` to change the wording in personas"]
    repeated = {label for label, n in Counter(variable.answers.values()).items() if n > 1}
    for code, label in variable.answers.items():
        noun = nouns.get(label.casefold())
        phrase = f", phrase: {noun}, role: noun" if noun else ""
        lines.append(f"      - {{label: {_quote(f'{label} ({code})' if label in repeated else label)}, code: {code}{phrase}}}")
    return lines


def _bare_label(variable: _Variable) -> str:
    """Return the label without a leading variable name or number (`Q1: ...`, `12a. ...`)."""
    return re.sub(rf"^(?:{re.escape(variable.name)}\b|[A-Za-z]?\d+[a-z]?(?=[.:)\s]))[.:)\s-]*", "", variable.label, flags=re.IGNORECASE)


def _clean(text: str) -> str:
    return " ".join("".join(ch if ch.isprintable() else " " for ch in text).split())


def _quote(text: str) -> str:
    """Return a double-quoted YAML scalar. JSON strings are valid YAML."""
    return json.dumps(text, ensure_ascii=False)
