"""Drafts a codebook from the labels of an SPSS or Stata file, or from a data file and the list of its variables.

Missing classes, scale order and demographic variables are guessed from labels and names. Comments in the draft mark each
guess for the user to check. Of an SPSS or Stata file, only the dictionary and the column of ages are read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from valuestrata.errors import InputDataError
from valuestrata.survey.codebook import Missing
from valuestrata.survey.codebook_schema import as_compared
from valuestrata.survey.variables import (
    FEWEST_CODES,
    MOST_CODES,
    MOST_LEVELS,
    Variable,
    bare_label,
    clean,
    variables_of_file,
    variables_of_list,
    with_lowest_of,
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

_COUNTRIES = ("b_country", "b_country_alpha", "cntry", "country", "country_code", "cntry_an", "iso3", "iso2")

_AGE_BANDS = ((18, 24), (25, 34), (35, 44), (45, 54), (55, 64))


def draft_codebook(path: Path, listed: Path | None = None, *, sheet: str | None = None, variables_sheet: str | None = None) -> str:
    """Return the YAML text of a drafted codebook. It can be loaded as it is.

    Args:
        path: the survey file. listed: the list of its variables; None for the labels of a .sav or .dta file.
        sheet, variables_sheet: the sheets of the file and of the list, if they are Excel workbooks with several.

    Raises:
        InputDataError: a file cannot be read, or no variable has labels.
    """
    title, remarks = "", list[str]()
    if listed is None:
        title, variables = variables_of_file(path)
    else:
        variables, remarks = variables_of_list(path, listed, sheet, variables_sheet)
    attributes, second_choices = _pick_attributes(variables)
    if listed is None:
        attributes = [(with_lowest_of(path, v) if kind.short == "age" and v.is_number else v, kind) for v, kind in attributes]
    taken = {variable.name for variable, _ in attributes} | {name for name, _ in second_choices}
    weight, other_weights = _pick_weight(variables)
    country = _first_named(variables, _COUNTRIES)
    taken |= {country} if country else set()
    items = [
        v for v in variables if v.described and FEWEST_CODES <= len(v.answers) <= MOST_CODES and v.name not in taken and v.name != weight
    ]
    if not items:
        raise InputDataError(
            f"{(listed or path).name}: no variable has labels for {FEWEST_CODES} to {MOST_CODES} answers, so no codebook can be drafted. "
            "Write the codebook by hand, or use a file with value labels."
        )
    long_lists = [v.name for v in variables if v.described and len(v.answers) > MOST_CODES and v.name not in taken]
    codes, labels = _pool_missing(variables, items)
    identifier = _first_named(variables, _IDS)

    notes = [
        f"Drafted from {f'the labels of {path.name}' if listed is None else f'{path.name} and its variable list {listed.name}'}. "
        "Check each part:",
        "- topics: items without a topic have the topic Unsorted; assign your own topics",
        "- blocks: give items of one battery the same `block`; intervals then do not take them as independent",
        "- levels: items with two codes are binary, others ordinal; write `nominal` if answers have no order, and put codes in scale order",
        "- questions: derived from the variable labels; replace them by the wording asked, or your own",
        "- missing answers: derived from the labels and the missing values declared; codes of one variable are listed there",
        f"- weight: {weight or 'no variable name matches'}" + (f" (other candidates: {', '.join(other_weights)})" if other_weights else ""),
        f"- attributes: {', '.join(f'{kind.name} from {variable.name}' for variable, kind in attributes) or 'none found; add your own'}",
    ]
    notes += [f"- {name} may also hold {kind}; it is neither an item nor an attribute" for name, kind in second_choices]
    notes += [f"- left out because they have more than {MOST_CODES} labelled answers: {', '.join(long_lists)}"] if long_lists else []
    notes += remarks
    slug = re.sub(r"[^a-z0-9]+", "-", path.stem.casefold()).strip("-") or "survey"
    lines = [f"# {clean(note)}" for note in notes]
    lines += [f"survey: {_quote(slug)}", f"title: {_quote(title or path.stem)}", 'version: "1"']
    lines += [f"weight: {_quote(weight)}"] if weight else []
    lines += [f"respondent_id: {_quote(identifier)}  # guessed from its name"] if identifier else []
    lines += [f"country_code_column: {_quote(country)}  # guessed from its name"] if country else []
    lines += ["", *_missing_lines(codes, labels), "", "items:"]
    for item in items:
        lines += _item_lines(item, codes)
    lines += ["", "attributes:" if attributes else "attributes: []"]
    for variable, kind in attributes:
        lines += _attribute_lines(variable, kind)
    return "\n".join(lines) + "\n"


def _pick_attributes(variables: list[Variable]) -> tuple[list[tuple[Variable, _Demographic]], list[tuple[str, str]]]:
    """Return (variable, attribute) pairs, and (name, attribute) of the other candidates."""
    chosen: list[tuple[Variable, _Demographic]] = []
    second: list[tuple[str, str]] = []
    for kind in _DEMOGRAPHICS:
        named = [v for v in variables if re.fullmatch(kind.names, re.sub(r"[\d_]", "", v.name.casefold()))]
        titled = [
            v for v in variables if v not in named and re.fullmatch(_PREFIX + rf"(?:{kind.labels})" + _SUFFIX, bare_label(v).casefold())
        ]
        usable = [v for v in named + titled if len(v.answers) in range(2, MOST_LEVELS + 1) or (kind.short == "age" and v.is_number)]
        if usable:
            chosen.append((usable[0], kind))
            second += [(v.name, kind.name) for v in usable[1:]]
    return chosen, second


def _first_named(variables: list[Variable], names: Sequence[str]) -> str | None:
    """Return the variable with the first of the names that occurs, in any case; or None."""
    return next((v.name for wanted in names for v in variables if v.name.casefold() == wanted), None)


def _pick_weight(variables: list[Variable]) -> tuple[str | None, list[str]]:
    free = [v.name for v in variables if not v.answers]
    known = [name for wanted in _WEIGHTS for name in free if name.casefold() == wanted]
    known += [name for name in free if name not in known and _WEIGHT_LIKE.search(name.casefold())]
    return (known[0], known[1:]) if known else (None, [])


def _pool_missing(variables: Sequence[Variable], items: Sequence[Variable]) -> tuple[dict[int, Missing], dict[str, Missing]]:
    """Return code -> most frequent class over the items, and label -> class over all variables.

    Codes of attributes do not count: 66 may be a missing answer to an item and an age. A code that is an answer of another item is
    left to the items where it is missing.
    """
    answers = {code for item in items for code in (range(item.ends[0], item.ends[1] + 1) if item.ends else item.answers)}
    votes: dict[int, Counter[Missing]] = {}
    for item in items:
        for code, kind in item.missing.items():
            if code in answers:
                continue
            votes.setdefault(code, Counter())[kind] += 1
    labels = {label: kind for variable in variables for label, kind in variable.missing_labels.items()}
    return {code: counts.most_common(1)[0][0] for code, counts in sorted(votes.items())}, labels


def _missing_lines(codes: Mapping[int, Missing], labels: Mapping[str, Missing]) -> list[str]:
    lines = ["missing:" if codes or labels else "missing: {}"]
    for kind in Missing:
        found = [str(code) for code, found_kind in codes.items() if found_kind is kind]
        words = [_quote(label) for label, found_kind in labels.items() if found_kind is kind]
        if found or words:
            lines.append(f"  {kind.key}: {{codes: [{', '.join(found)}], labels: [{', '.join(words)}]}}")
    return lines


def _item_lines(variable: Variable, pooled: Mapping[int, Missing]) -> list[str]:
    subject = bare_label(variable) or variable.name
    topic = variable.topic if variable.topic == "Unsorted" else _quote(variable.topic)
    lines = [f"  - id: {_quote(variable.name)}", f"    topic: {topic}", "    wording_source: drafted"]
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
            f"    labels: [{', '.join(map(_quote, _distinct_labels(variable).values()))}]",
        ]
        if variable.synonyms:
            lines.append(f"    synonyms: {{{', '.join(f'{code}: [{_quote(text)}]' for code, text in variable.synonyms.items())}}}")
        question = subject if subject.endswith("?") else f"{subject.rstrip('.:')}: which answer is yours?"
    own = {code: kind for code, kind in variable.missing.items() if pooled.get(code) is not kind}
    if own:
        classes = {kind.key: [code for code, found in own.items() if found is kind] for kind in Missing if kind in own.values()}
        lines.append(f"    missing: {{{', '.join(f'{key}: {found}' for key, found in classes.items())}}}")
    lines += [f"    # guessed: {variable.remark}"] if variable.remark else []
    return [*lines, f"    question: {_quote(question)}"]


def _distinct_labels(variable: Variable) -> dict[int, str]:
    """Return code -> label, with the code after a label that other codes have too."""
    times = Counter(map(as_compared, variable.answers.values()))
    return {code: label if times[as_compared(label)] == 1 else f"{label} ({code})" for code, label in variable.answers.items()}


def _attribute_lines(variable: Variable, kind: _Demographic) -> list[str]:
    lines = [
        f"  - name: {kind.name}",
        f"    short: {kind.short}",
        f"    column: {_quote(variable.name)}",
        f"    default: {str(kind.default).lower()}",
    ]
    if variable.missing:
        lines.append(f"    missing: [{', '.join(map(str, sorted(variable.missing)))}]")
    if kind.short == "age" and variable.is_number:
        lines += ["    levels:  # guessed: the file holds age in years"]
        (low, high), *others = _AGE_BANDS
        youngest = int(variable.lowest) if variable.lowest is not None and 10 <= variable.lowest < low else low
        bands = [(youngest, high), *others]
        lines += [f"      - {{label: {a}-{b} years, band: [{a}, {b}], phrase: aged {a} to {b}}}" for a, b in bands]
        return [*lines, "      - {label: 65 and over, band: [65, null], phrase: aged 65 or over}"]
    nouns = {"male": "man", "man": "man", "men": "man", "female": "woman", "woman": "woman", "women": "woman"} if kind.name == "sex" else {}
    lines += [f"    # guessed: {variable.remark}"] if variable.remark else []
    lines += ["    levels:  # add `phrase` and `role` to change the wording in personas"]
    for code, label in _distinct_labels(variable).items():
        noun = nouns.get(label.casefold())
        phrase = f", phrase: {noun}, role: noun" if noun else ""
        synonyms = f", synonyms: [{_quote(variable.synonyms[code])}]" if code in variable.synonyms else ""
        lines.append(f"      - {{label: {_quote(label)}, code: {code}{synonyms}{phrase}}}")
    return lines


def _quote(text: str) -> str:
    """Return a double-quoted YAML scalar. JSON strings are valid YAML."""
    return json.dumps(text, ensure_ascii=False)
