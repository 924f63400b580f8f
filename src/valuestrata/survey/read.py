"""Reads a survey file into a `Survey`.

The header is read first, and only the columns that the codebook needs are loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.files import sha256_of
from valuestrata.progress import progress
from valuestrata.survey.codebook import Attribute, Codebook, Item, Missing, builtin_codebooks, load_codebook
from valuestrata.survey.decode import Counts, Meanings, Value, decode_column, distinct, item_meanings, missing_codes, shown_value
from valuestrata.survey.detect import ColumnPlan, absent_text, detect_survey, plan_columns, reject_evs_rows
from valuestrata.survey.formats.columns import ValueLabels
from valuestrata.survey.formats.embedded import EMBEDDED, EMBEDDED_SURVEY, embedded_path, open_embedded
from valuestrata.survey.formats.source import RawFile, open_file
from valuestrata.survey.label_overrides import LabelOverrides, read_label_overrides
from valuestrata.survey.labels import ItemLabels, MissingLabels, number
from valuestrata.survey.levels import UNKNOWN_LEVEL, LevelLabels, attribute_meanings
from valuestrata.survey.sample.read import SampleRequest, read_sample
from valuestrata.survey.sample.weights import check_pooling
from valuestrata.survey.sample_selection import Selection, blank_rows, check_unique_ids, select_countries
from valuestrata.survey.survey import DroppedRespondents, Findings, LabelProblem, Source, Survey
from valuestrata.survey.wording import apply_wording

# Findings list at most this many unknown labels per column, the most frequent first.
SHOWN_LABELS = 50
_EMPTY = "empty cells"


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
    pooling: str | None = None,
    sheet: str | None = None,
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
        pooling: how several countries are combined: `equal-per-country`, `equal-per-respondent` or `weight` (the pooling weight
            of the codebook); None for the pooling weight if the file has one. Without one, `build` requires a choice.
        sheet: the sheet of an Excel workbook; None for the visible sheet with most columns.

    Raises:
        UsageError: an unknown item, attribute, survey or way of pooling, or a sheet of a file that is not a workbook.
        MissingExtraError: `embedded` without the extra `demo`.
        InputDataError: the file cannot be used; the message names the file, the column and the remedy.
    """
    check_pooling(pooling)
    own = isinstance(survey, str | Path) and str(survey) not in builtin_codebooks()
    embedded = str(file) == EMBEDDED
    if embedded and sheet is not None:
        raise UsageError(Option("sheet", sheet), " names a sheet, but the embedded survey is not an Excel workbook.")
    codebook = survey if isinstance(survey, Codebook) else None
    if survey is not None and not isinstance(survey, Codebook):
        codebook = load_codebook(survey)
    elif survey is None and embedded:
        codebook = load_codebook(EMBEDDED_SURVEY)
    # If the codebook is known, check the other files before opening a large survey file.
    if codebook is not None:
        _user_files(codebook, labels, wording)
    opened: AbstractContextManager[RawFile] = open_embedded() if embedded else open_file(Path(file), sheet)
    with opened as raw:
        if codebook is None:
            codebook = detect_survey(raw.header)
        if not weighted:
            codebook = replace(codebook, weight=None)
        overrides, shown = _user_files(codebook, labels, wording)
        plan = plan_columns(raw.header, codebook, items, attributes, own_codebook=own)
        sample = SampleRequest(countries, pooling, weighted)
        result = _read(raw, plan, codebook, shown, overrides, sample)
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


def _read(raw: RawFile, plan: ColumnPlan, codebook: Codebook, shown: Codebook, overrides: LabelOverrides, sample: SampleRequest) -> Survey:
    loaded = dict(zip(plan.positions, raw.read(plan.positions), strict=True))
    notes = raw.notes(plan.positions)
    if raw.format in ("csv", "excel") and (blank := blank_rows(list(loaded.values()))).any():
        rest = [place for place in range(len(raw.header.names)) if place not in loaded]
        if others := int(blank.sum() - (blank & blank_rows(raw.read(rest))).sum()) if rest else 0:
            notes.append(f"Rows left out because they are empty in all columns used: {others:,}.")
        kept = pl.Series(~blank)
        loaded = {place: series.filter(kept) for place, series in loaded.items()}
    total = len(next(iter(loaded.values())))
    if total == 0:
        raise InputDataError("the file holds column names but no rows.")
    if plan.absent_attributes and not plan.attributes:
        text = absent_text(codebook.attribute(plan.absent_attributes[0]), raw.header)
        raise InputDataError(f"no attribute of the {codebook.survey} codebook is in the file, so there are no subgroups: {text}")

    def column(place: int | None) -> pl.Series | None:
        return None if place is None else loaded[place]

    selection = select_countries(codebook, column(plan.country_code), column(plan.country_alpha), sample.countries)
    if selection.rows is not None:
        kept = pl.Series(selection.rows)
        loaded = {place: series.filter(kept) for place, series in loaded.items()}
    reject_evs_rows(column(plan.study), column(plan.wave))
    if (ids := column(plan.respondent_id)) is not None:
        check_unique_ids(ids)
    missing = MissingLabels(codebook.missing)
    drawn = read_sample(raw, plan, loaded, codebook, missing, selection, sample)
    kept_items, answers, findings = _answers(raw, plan, loaded, codebook, shown, overrides, missing)
    levels, found = _levels(raw, plan, loaded, codebook, overrides, missing, selection)
    notes = (*notes, *plan.notes, *selection.notes, *drawn.notes, *findings.notes, *found.notes)
    return Survey(
        codebook=shown,
        items=kept_items,
        attributes=tuple(attribute for attribute, _, _ in plan.attributes),
        answers=answers,
        levels=levels,
        weight=drawn.weight,
        countries=selection.countries,
        source=Source(raw.name, raw.format, "", total, answers.shape[0]),
        findings=replace(
            findings,
            absent_attributes=plan.absent_attributes,
            unknown_levels=found.unknown_levels,
            dropped=found.dropped,
            ignored_columns=_ignored(raw, plan, codebook),
            notes=notes,
        ),
        design=drawn.design,
        pooling=drawn.pooling,
        ids=ids,
    )


def _answers(
    raw: RawFile,
    plan: ColumnPlan,
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
    lost: dict[Missing, Counter[str]] = {kind: Counter() for kind in Missing}
    with progress(f"Reading {raw.name}", len(plan.items)) as advance:
        for item, place in plan.items:
            series = loaded[place]
            labels = ItemLabels(item, missing, seen[item.id] if seen[item.id] is not item else None, overrides.of(item.id))
            values = distinct(series)
            found = item_meanings(item, labels, codes, values, raw.value_labels(place), raw.declared_missing(place))
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
            for value, count in _dropped(series, values, found):
                kind = Missing.OTHER_MISSING if value is None else Missing(found.table[value])
                lost[kind][_EMPTY if value is None else shown_value(value)] += count
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
    if unanswered:
        notes.append(f"Items left out because no respondent answered: {', '.join(unanswered)}.")
    answers = np.empty((len(columns[0]), len(columns)), dtype=np.int8, order="F")
    for place, values in enumerate(columns):
        answers[:, place] = values
    findings = Findings(
        absent_items=plan.absent_items,
        unanswered_items=tuple(unanswered),
        label_problems=tuple(problems),
        missing_values=tuple((kind.key, tuple(counts.most_common(SHOWN_LABELS))) for kind, counts in lost.items() if counts),
        notes=tuple(notes),
    )
    return tuple(kept), answers, findings


def _levels(
    raw: RawFile,
    plan: ColumnPlan,
    loaded: dict[int, pl.Series],
    codebook: Codebook,
    overrides: LabelOverrides,
    missing: MissingLabels,
    selection: Selection,
) -> tuple[NDArray[np.int16], Findings]:
    codes = missing_codes(codebook)
    here = {country.code for country in selection.countries}
    rows = len(next(iter(loaded.values())))
    levels = np.full((rows, len(plan.attributes)), UNKNOWN_LEVEL, dtype=np.int16, order="F")
    unknown: list[tuple[str, tuple[tuple[str, int], ...]]] = []
    dropped: list[DroppedRespondents] = []
    notes: list[str] = []
    for j, (attribute, main, fallback) in enumerate(plan.attributes):
        # Country-specific WVS codes start with the country code: 702001 belongs to Singapore.
        among = {i for i, level in enumerate(attribute.levels) if any(code // 1000 in here for code in level.codes)}
        labels = LevelLabels(attribute, missing, overrides.of(attribute.name), among)

        def meanings(
            place: int, values: Counts, *, is_fallback: bool, attribute: Attribute = attribute, labels: LevelLabels = labels
        ) -> Meanings:
            metadata = raw.value_labels(place), raw.declared_missing(place)
            return attribute_meanings(attribute, labels, codes, values, *metadata, is_fallback=is_fallback)

        place, is_fallback = (main, False) if main is not None else (fallback, True)
        if place is None:
            continue
        values = distinct(loaded[place])
        found = meanings(place, values, is_fallback=is_fallback)
        empty = not any(meaning >= 0 for meaning in found.table.values())
        if main is not None and fallback is not None and empty and not found.unknown:
            place, is_fallback, values = fallback, True, distinct(loaded[fallback])
            found = meanings(fallback, values, is_fallback=True)
        if is_fallback:
            notes.append(f"{attribute.name} was read from column {raw.header.names[place]!r}: {attribute.column!r} is absent or empty.")
        levels[:, j] = decode_column(loaded[place], found, UNKNOWN_LEVEL, np.int16)
        if found.unknown:
            unknown.append((attribute.name, tuple(found.unknown[:SHOWN_LABELS])))
        if without := _dropped(loaded[place], values, found):
            shown = tuple((_with_label(value, raw.value_labels(place)), count) for value, count in without[:SHOWN_LABELS])
            dropped.append(DroppedRespondents(attribute.name, sum(count for _, count in without), rows, shown))
        notes += found.notes
    return levels, Findings(unknown_levels=tuple(unknown), dropped=tuple(dropped), notes=tuple(notes))


def _dropped(series: pl.Series, values: Counts, found: Meanings) -> list[tuple[Value | None, int]]:
    """Return the values without an option or level, with their counts, most frequent first; None for empty cells."""
    without: list[tuple[Value | None, int]] = [(value, count) for value, count in values if found.table.get(value, UNKNOWN_LEVEL) < 0]
    blank = [count for value, count in without if isinstance(value, str) and not value.strip()]
    if empty := series.null_count() + sum(blank):
        without = [pair for pair in without if not isinstance(pair[0], str) or pair[0].strip()] + [(None, empty)]
    return sorted(without, key=lambda pair: -pair[1])


def _with_label(value: Value | None, labels: ValueLabels) -> str:
    if value is None:
        return _EMPTY
    shown = shown_value(value)
    code = number(value) if isinstance(value, str) else value
    label = labels.get(value.strip() if code is None and isinstance(value, str) else code or 0)
    return f"{shown} {label}" if label and label.strip() != shown else shown


def _ignored(raw: RawFile, plan: ColumnPlan, codebook: Codebook) -> tuple[str, ...]:
    """Return the columns of the file that the codebook does not name."""
    named = [*(item.column for item in codebook.items), *codebook.other_columns]
    known = {*plan.replicates, *(place for column in named for place in raw.header.find_all(column))}
    return tuple(name for place, name in enumerate(raw.header.names) if place not in known)
