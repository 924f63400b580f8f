"""Reads a survey file into a `Survey`.

The header is read first, and only the columns that the codebook needs are loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.errors import InputDataError, Option, did_you_mean
from valuestrata.files import sha256_of
from valuestrata.progress import progress
from valuestrata.survey.codebook import Attribute, Codebook, Item, Missing, builtin_codebooks, load_codebook
from valuestrata.survey.decode import (
    UNKNOWN_LEVEL,
    LevelLabels,
    Meanings,
    attribute_meanings,
    decode_column,
    distinct,
    item_meanings,
    missing_codes,
)
from valuestrata.survey.detect import column_names, detect_survey, reject_evs_rows, reject_other_wvs_files
from valuestrata.survey.formats.embedded import EMBEDDED, EMBEDDED_SURVEY, embedded_path, open_embedded
from valuestrata.survey.formats.source import RawFile, open_file
from valuestrata.survey.label_overrides import LabelOverrides, read_label_overrides
from valuestrata.survey.labels import ItemLabels, MissingLabels
from valuestrata.survey.sample_selection import Selection, check_unique_ids, drop_blank_rows, read_weight, select_countries
from valuestrata.survey.survey import Findings, LabelProblem, Source, Survey
from valuestrata.survey.wording import apply_wording

# Findings list at most this many unknown labels per column, the most frequent first.
SHOWN_LABELS = 50


@dataclass(frozen=True)
class _Plan:
    """Positions of the columns to load. Each attribute has the positions of its column and its fallback."""

    items: tuple[tuple[Item, int], ...]
    attributes: tuple[tuple[Attribute, int | None, int | None], ...]
    absent_items: tuple[str, ...]
    absent_attributes: tuple[str, ...]
    weight: int | None
    respondent_id: int | None
    country_code: int | None
    country_alpha: int | None
    study: int | None
    wave: int | None

    @property
    def positions(self) -> list[int]:
        rest = (self.weight, self.respondent_id, self.country_code, self.country_alpha, self.study, self.wave)
        both = [place for _, main, fallback in self.attributes for place in (main, fallback)]
        return list(dict.fromkeys(p for p in (*(p for _, p in self.items), *both, *rest) if p is not None))


def read_survey(
    file: str | Path,
    survey: str | Path | Codebook | None = None,
    *,
    countries: Sequence[str | int] = (),
    items: Sequence[str] = (),
    attributes: Sequence[str] = (),
    labels: str | Path | None = None,
    wording: str | Path | None = None,
    strict: bool = False,
    weighted: bool = True,
) -> Survey:
    """Read a survey file of any supported format.

    Args:
        file: path of a .csv, .tsv, .xlsx, .sav, .dta, .rds, .rdata, .parquet or .zip file, or `embedded`.
        survey: name of a built-in codebook, path of a codebook file, or a codebook; None to detect the survey.
        countries: countries to keep, by numeric code, alpha-3 code or name; empty for all.
        items: items to read; empty for the default items of the codebook that the file has.
        attributes: attributes to read; empty for the default attributes of the codebook that the file has.
        labels: YAML file that assigns labels which match nothing (see `label_overrides`).
        wording: YAML file with questions and option labels that replace those of the codebook (see `wording`).
        strict: raise an error if labels of an item match nothing, instead of leaving the item out.
        weighted: whether to read the weight.

    Raises:
        UsageError: an unknown item, attribute or survey.
        MissingExtraError: `embedded` without the extra `demo`.
        InputDataError: the file cannot be used; the message names the file, the column and the remedy.
    """
    own = isinstance(survey, str | Path) and str(survey) not in builtin_codebooks()
    embedded = str(file) == EMBEDDED
    codebook = survey if isinstance(survey, Codebook) else None
    if survey is not None and not isinstance(survey, Codebook):
        codebook = load_codebook(survey)
    elif survey is None and embedded:
        codebook = load_codebook(EMBEDDED_SURVEY)
    # If the codebook is known, check the other files before opening a large survey file.
    if codebook is not None:
        _user_files(codebook, labels, wording)
    opened: AbstractContextManager[RawFile] = open_embedded() if embedded else open_file(Path(file))
    with opened as raw:
        if codebook is None:
            codebook = detect_survey(raw.header)
        if not weighted:
            codebook = replace(codebook, weight=None)
        overrides, shown = _user_files(codebook, labels, wording)
        plan = _plan(raw, codebook, items, attributes, own_codebook=own)
        result = _read(raw, plan, codebook, shown, overrides, countries)
    hashed = sha256_of(embedded_path() if embedded else Path(file))
    if strict and result.findings.label_problems:
        problems = "; ".join(problem_text(problem) for problem in result.findings.label_problems[:10])
        raise InputDataError(f"{result.source.file}: labels that match nothing: {problems}. Assign them with ", Option("labels"), ".")
    return replace(result, source=replace(result.source, sha256=hashed))


def problem_text(problem: LabelProblem) -> str:
    """Return text such as `Q106: 'Incomes should be made more equal' (12), 'Who knows' (3)`."""
    shown = ", ".join(f"{label!r} ({count})" for label, count in problem.labels[:6])
    column = "" if problem.column == problem.item else f" (column {problem.column!r})"
    return f"{problem.item}{column}: {shown}{', ...' if len(problem.labels) > 6 else ''}"


def _user_files(codebook: Codebook, labels: str | Path | None, wording: str | Path | None) -> tuple[LabelOverrides, Codebook]:
    return read_label_overrides(labels, codebook), codebook if wording is None else apply_wording(codebook, wording)


def _plan(raw: RawFile, codebook: Codebook, items: Sequence[str], attributes: Sequence[str], *, own_codebook: bool) -> _Plan:
    """Find the columns. With the user's own codebook, every column it names must be in the file."""
    header = raw.header
    wanted = {codebook.item(name).id for name in items} or {item.id for item in codebook.default_items}
    wanted_attributes = {codebook.attribute(name).name for name in attributes} or {a.name for a in codebook.default_attributes}
    found_items: list[tuple[Item, int]] = []
    absent_items: list[Item] = []
    for item in (item for item in codebook.items if item.id in wanted):
        where = header.find(item.column)
        if where is None:
            absent_items.append(item)
        else:
            found_items.append((item, where))
    if len(found_items) < 0.2 * len(wanted) and codebook.survey.startswith("wvs"):
        reject_other_wvs_files(header)
    if not found_items:
        example = absent_items[0].column if absent_items else "none"
        raise InputDataError(
            f"none of the {len(wanted)} item columns of the {codebook.survey} codebook ({example!r}, ...) is in the file."
            f"{did_you_mean(example, column_names(header))}"
        )
    found: list[tuple[Attribute, int | None, int | None]] = []
    absent_attributes: list[Attribute] = []
    for attribute in (a for a in codebook.attributes if a.name in wanted_attributes):
        main, fallback = header.find(attribute.column), None if attribute.fallback is None else header.find(attribute.fallback)
        if main is None and fallback is None:
            absent_attributes.append(attribute)
        else:
            found.append((attribute, main, fallback))
    for named, absent in ((bool(items), absent_items), (bool(attributes), absent_attributes)):
        if absent and (named or own_codebook):
            first = absent[0]
            name = first.id if isinstance(first, Item) else first.name
            raise InputDataError(
                f"the column {first.column!r} of {name} in the codebook is not in the file."
                f"{did_you_mean(first.column, column_names(header))}"
            )

    def place(column: str | None) -> int | None:
        return None if column is None else header.find(column)

    weight = place(codebook.weight)
    if own_codebook and codebook.weight is not None and weight is None:
        raise InputDataError(
            f"the weight column {codebook.weight!r} of the codebook is not in the file."
            f"{did_you_mean(codebook.weight, column_names(header))}"
        )
    joint = codebook.survey == "wvs7"
    return _Plan(
        items=tuple(found_items),
        attributes=tuple(found),
        absent_items=tuple(item.id for item in absent_items),
        absent_attributes=tuple(attribute.name for attribute in absent_attributes),
        weight=weight,
        respondent_id=place(codebook.respondent_id),
        country_code=place(codebook.country_code_column),
        country_alpha=place(codebook.country_alpha_column),
        study=place("A_STUDY") if joint else None,
        wave=place("A_WAVE") if joint else None,
    )


def _read(
    raw: RawFile, plan: _Plan, codebook: Codebook, shown: Codebook, overrides: LabelOverrides, countries: Sequence[str | int]
) -> Survey:
    loaded = dict(zip(plan.positions, raw.read(plan.positions), strict=True))
    if raw.format in ("csv", "excel"):
        loaded = drop_blank_rows(loaded)
    total = len(next(iter(loaded.values())))
    if total == 0:
        raise InputDataError("the file holds column names but no rows.")

    def column(place: int | None) -> pl.Series | None:
        return None if place is None else loaded[place]

    selection = select_countries(codebook, column(plan.country_code), column(plan.country_alpha), countries)
    if selection.rows is not None:
        kept = pl.Series(selection.rows)
        loaded = {place: series.filter(kept) for place, series in loaded.items()}
    reject_evs_rows(column(plan.study), column(plan.wave))
    if (ids := column(plan.respondent_id)) is not None:
        check_unique_ids(ids)
    weight, weight_note = None, None
    if (weights := column(plan.weight)) is not None:
        weight, weight_note = read_weight(weights)
    elif codebook.weight is not None:
        weight_note = f"The file has no weight column {codebook.weight!r}, so the answers are unweighted."
    missing = MissingLabels(codebook.missing)
    kept_items, answers, findings = _answers(raw, plan, loaded, codebook, shown, overrides, missing)
    levels, unknown, level_notes = _levels(raw, plan, loaded, codebook, overrides, missing, selection)
    notes = (*selection.notes, *((weight_note,) if weight_note else ()), *findings.notes, *level_notes)
    return Survey(
        codebook=shown,
        items=kept_items,
        attributes=tuple(attribute for attribute, _, _ in plan.attributes),
        answers=answers,
        levels=levels,
        weight=weight,
        countries=selection.countries,
        source=Source(raw.name, raw.format, "", total, answers.shape[0]),
        findings=replace(
            findings,
            absent_attributes=plan.absent_attributes,
            unknown_levels=unknown,
            ignored_columns=_ignored(raw, codebook),
            notes=notes,
        ),
    )


def _answers(
    raw: RawFile,
    plan: _Plan,
    loaded: dict[int, pl.Series],
    codebook: Codebook,
    shown: Codebook,
    overrides: LabelOverrides,
    missing: MissingLabels,
) -> tuple[tuple[Item, ...], NDArray[np.int8], Findings]:
    codes = missing_codes(codebook)
    seen = {item.id: item for item in shown.items}
    kept: list[Item] = []
    columns: list[NDArray[np.int8]] = []
    unanswered: list[str] = []
    problems: list[LabelProblem] = []
    notes: list[str] = []
    negative: dict[int, list[tuple[str, int]]] = {}
    with progress(f"Reading {raw.name}", len(plan.items)) as advance:
        for item, place in plan.items:
            series = loaded[place]
            labels = ItemLabels(item, missing, seen[item.id] if seen[item.id] is not item else None, overrides.of(item.id))
            found = item_meanings(item, labels, codes, distinct(series), raw.value_labels(place))
            advance(1)
            if found.unknown:
                problems.append(LabelProblem(item.id, raw.header.names[place], tuple(found.unknown[:SHOWN_LABELS])))
                continue
            if not any(meaning >= 0 for meaning in found.table.values()):
                unanswered.append(item.id)
                continue
            for code, count in found.negative_codes.items():
                negative.setdefault(code, []).append((item.id, count))
            notes += found.notes
            kept.append(seen[item.id])
            columns.append(decode_column(series, found, Missing.OTHER_MISSING, np.int8).astype(np.int8))
    for code, places in sorted(negative.items()):
        names = ", ".join(name for name, _ in places[:4]) + (", ..." if len(places) > 4 else "")
        cells = sum(count for _, count in places)
        notes.append(f"Code {code} is not in the codebook: {cells} cells ({names}) were counted as other missing.")
    if not kept:
        if problems:
            listed = "; ".join(problem_text(problem) for problem in problems[:5])
            raise InputDataError(f"no item can be used. Labels that match nothing: {listed}. Assign them with ", Option("labels"), ".")
        raise InputDataError("no item can be used: no selected row has an answer.")
    answers = np.empty((len(columns[0]), len(columns)), dtype=np.int8, order="F")
    for place, values in enumerate(columns):
        answers[:, place] = values
    findings = Findings(
        absent_items=plan.absent_items, unanswered_items=tuple(unanswered), label_problems=tuple(problems), notes=tuple(notes)
    )
    return tuple(kept), answers, findings


def _levels(
    raw: RawFile,
    plan: _Plan,
    loaded: dict[int, pl.Series],
    codebook: Codebook,
    overrides: LabelOverrides,
    missing: MissingLabels,
    selection: Selection,
) -> tuple[NDArray[np.int16], tuple[tuple[str, tuple[tuple[str, int], ...]], ...], list[str]]:
    codes = missing_codes(codebook)
    here = {country.code for country in selection.countries}
    rows = len(next(iter(loaded.values())))
    levels = np.full((rows, len(plan.attributes)), UNKNOWN_LEVEL, dtype=np.int16, order="F")
    unknown: list[tuple[str, tuple[tuple[str, int], ...]]] = []
    notes: list[str] = []
    for j, (attribute, main, fallback) in enumerate(plan.attributes):
        # Country-specific WVS codes start with the country code: 702001 belongs to Singapore.
        among = {i for i, level in enumerate(attribute.levels) if any(code // 1000 in here for code in level.codes)}
        labels = LevelLabels(attribute, missing, overrides.of(attribute.name), among)

        def meanings(place: int, *, is_fallback: bool, attribute: Attribute = attribute, labels: LevelLabels = labels) -> Meanings:
            return attribute_meanings(attribute, labels, codes, distinct(loaded[place]), raw.value_labels(place), is_fallback=is_fallback)

        place, is_fallback = (main, False) if main is not None else (fallback, True)
        if place is None:
            continue
        found = meanings(place, is_fallback=is_fallback)
        empty = not any(meaning >= 0 for meaning in found.table.values())
        if main is not None and fallback is not None and empty and not found.unknown:
            place, is_fallback, found = fallback, True, meanings(fallback, is_fallback=True)
        if is_fallback:
            notes.append(f"{attribute.name} was read from column {raw.header.names[place]!r}: {attribute.column!r} is absent or empty.")
        levels[:, j] = decode_column(loaded[place], found, UNKNOWN_LEVEL, np.int16)
        if found.unknown:
            unknown.append((attribute.name, tuple(found.unknown[:SHOWN_LABELS])))
        notes += found.notes
    return levels, tuple(unknown), notes


def _ignored(raw: RawFile, codebook: Codebook) -> tuple[str, ...]:
    """Return the columns of the file that the codebook does not name."""
    named = [*(item.column for item in codebook.items), *codebook.other_columns]
    known = {place for column in named for place in raw.header.find_all(column)}
    return tuple(name for place, name in enumerate(raw.header.names) if place not in known)
