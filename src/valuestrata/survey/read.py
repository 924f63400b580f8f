"""A survey file in, a `Survey` out: which columns are needed, what their values mean, what was not recognised.

The header is read first and says which columns are loaded; of a cross-national file of 600 columns nothing else is
touched. Values become option indices through `meanings`; everything left out or decided on the way is a finding.
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
    decoded,
    distinct,
    item_meanings,
    missing_codes,
)
from valuestrata.survey.detect import detect_survey, refuse_foreign, refuse_joint_rows, suggestion_names
from valuestrata.survey.formats.embedded import EMBEDDED, EMBEDDED_SURVEY, embedded_path, open_embedded
from valuestrata.survey.formats.source import RawFile, open_file
from valuestrata.survey.label_overrides import Settled, read_settled
from valuestrata.survey.labels import ItemLabels, MissingLabels
from valuestrata.survey.sample_selection import Selection, read_weight, refuse_repeated_ids, select_countries, without_blank_rows
from valuestrata.survey.survey import Findings, LabelProblem, Source, Survey
from valuestrata.survey.wording import apply_wording

# Of a column full of unknown labels the commonest are enough to see what is wrong.
SHOWN_LABELS = 50


@dataclass(frozen=True)
class _Plan:
    """The columns to load: position of each item, of each attribute's column and fallback, and of the rest by name."""

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
        file: path of a .csv, .tsv, .xlsx, .sav, .dta, .rds, .rdata, .parquet or .zip file, or the word `embedded`.
        survey: a built-in codebook's name, a codebook file of one's own, or a codebook; None: told by the columns.
        countries: countries to keep, by numeric code, alpha-3 code or name; empty: all that the file holds.
        items: items to read; empty: the codebook's default items that the file has.
        attributes: attributes to read; empty: the codebook's default attributes that the file has.
        labels: YAML file that settles labels which match nothing (see `settled`).
        wording: YAML file with questions and option labels to show instead of the codebook's (see `wording`).
        strict: refuse the file if any item has labels that match nothing, instead of leaving the item out.
        weighted: read the weight; False leaves the column aside, whatever it holds.

    Raises:
        UsageError: an item, attribute or survey that does not exist.
        MissingExtraError: `embedded` without the library that holds it.
        InputDataError: a file that cannot be used as it is; the message names the file, the column and what to do.
    """
    own = isinstance(survey, str | Path) and str(survey) not in builtin_codebooks()
    embedded = str(file) == EMBEDDED
    codebook = survey if isinstance(survey, Codebook) else None
    if survey is not None and not isinstance(survey, Codebook):
        codebook = load_codebook(survey)
    elif survey is None and embedded:
        codebook = load_codebook(EMBEDDED_SURVEY)
    # Overlays that do not fit are refused before a large file is opened, where the codebook is known.
    if codebook is not None:
        _overlays(codebook, labels, wording)
    opened: AbstractContextManager[RawFile] = open_embedded() if embedded else open_file(Path(file))
    with opened as raw:
        if codebook is None:
            codebook = detect_survey(raw.header)
        if not weighted:
            codebook = replace(codebook, weight=None)
        settled, shown = _overlays(codebook, labels, wording)
        plan = _plan(raw, codebook, items, attributes, demanding=own)
        result = _read(raw, plan, codebook, shown, settled, countries)
    hashed = sha256_of(embedded_path() if embedded else Path(file))
    if strict and result.findings.label_problems:
        told = "; ".join(problem_text(problem) for problem in result.findings.label_problems[:10])
        raise InputDataError(f"{result.source.file}: labels that match nothing: {told}. Map them with ", Option("labels"), ".")
    return replace(result, source=replace(result.source, sha256=hashed))


def problem_text(problem: LabelProblem) -> str:
    """Return `Q106: 'Incomes should be made more equal' (12), 'Who knows' (3)`."""
    shown = ", ".join(f"{label!r} ({count})" for label, count in problem.labels[:6])
    column = "" if problem.column == problem.item else f" (column {problem.column!r})"
    return f"{problem.item}{column}: {shown}{', ...' if len(problem.labels) > 6 else ''}"


def _overlays(codebook: Codebook, labels: str | Path | None, wording: str | Path | None) -> tuple[Settled, Codebook]:
    return read_settled(labels, codebook), codebook if wording is None else apply_wording(codebook, wording)


def _plan(raw: RawFile, codebook: Codebook, items: Sequence[str], attributes: Sequence[str], *, demanding: bool) -> _Plan:
    """Find the columns. `demanding`: the codebook is the user's own, so every column it names should be there."""
    header = raw.header
    wanted = {codebook.item(name).id for name in items} or {item.id for item in codebook.default_items}
    asked = {codebook.attribute(name).name for name in attributes} or {a.name for a in codebook.default_attributes}
    found_items: list[tuple[Item, int]] = []
    absent_items: list[Item] = []
    for item in (item for item in codebook.items if item.id in wanted):
        where = header.find(item.column)
        if where is None:
            absent_items.append(item)
        else:
            found_items.append((item, where))
    if len(found_items) < 0.2 * len(wanted) and codebook.survey.startswith("wvs"):
        refuse_foreign(header)
    if not found_items:
        example = absent_items[0].column if absent_items else "none"
        raise InputDataError(
            f"none of the {len(wanted)} item columns of the {codebook.survey} codebook is in the file ({example!r}, ...)."
            f"{did_you_mean(example, suggestion_names(header))}"
        )
    found: list[tuple[Attribute, int | None, int | None]] = []
    absent_attributes: list[Attribute] = []
    for attribute in (a for a in codebook.attributes if a.name in asked):
        main, fallback = header.find(attribute.column), None if attribute.fallback is None else header.find(attribute.fallback)
        if main is None and fallback is None:
            absent_attributes.append(attribute)
        else:
            found.append((attribute, main, fallback))
    for named, absent in ((bool(items), absent_items), (bool(attributes), absent_attributes)):
        if absent and (named or demanding):
            first = absent[0]
            name = first.id if isinstance(first, Item) else first.name
            raise InputDataError(
                f"the column {first.column!r} that the codebook names for {name} is not in the file."
                f"{did_you_mean(first.column, suggestion_names(header))}"
            )

    def place(column: str | None) -> int | None:
        return None if column is None else header.find(column)

    weight = place(codebook.weight)
    if demanding and codebook.weight is not None and weight is None:
        raise InputDataError(
            f"the weight column {codebook.weight!r} that the codebook names is not in the file."
            f"{did_you_mean(codebook.weight, suggestion_names(header))}"
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


def _read(raw: RawFile, plan: _Plan, codebook: Codebook, shown: Codebook, settled: Settled, countries: Sequence[str | int]) -> Survey:
    loaded = dict(zip(plan.positions, raw.read(plan.positions), strict=True))
    if raw.format in ("csv", "excel"):
        loaded = without_blank_rows(loaded)
    total = len(next(iter(loaded.values())))
    if total == 0:
        raise InputDataError("the file holds column names and no rows.")

    def column(place: int | None) -> pl.Series | None:
        return None if place is None else loaded[place]

    selection = select_countries(codebook, column(plan.country_code), column(plan.country_alpha), countries)
    if selection.rows is not None:
        kept = pl.Series(selection.rows)
        loaded = {place: series.filter(kept) for place, series in loaded.items()}
    refuse_joint_rows(column(plan.study), column(plan.wave))
    if (ids := column(plan.respondent_id)) is not None:
        refuse_repeated_ids(ids)
    weight, weight_note = None, None
    if (weights := column(plan.weight)) is not None:
        weight, weight_note = read_weight(weights)
    elif codebook.weight is not None:
        weight_note = f"The file has no weight column {codebook.weight!r}, so the answers are unweighted."
    missing = MissingLabels(codebook.missing)
    kept_items, answers, findings = _answers(raw, plan, loaded, codebook, shown, settled, missing)
    levels, unknown, level_notes = _levels(raw, plan, loaded, codebook, settled, missing, selection)
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
    settled: Settled,
    missing: MissingLabels,
) -> tuple[tuple[Item, ...], NDArray[np.int8], Findings]:
    codes = missing_codes(codebook)
    seen = {item.id: item for item in shown.items}
    kept: list[Item] = []
    columns: list[NDArray[np.int8]] = []
    unanswered: list[str] = []
    problems: list[LabelProblem] = []
    notes: list[str] = []
    odd: dict[int, list[tuple[str, int]]] = {}
    with progress(f"Reading {raw.name}", len(plan.items)) as advance:
        for item, place in plan.items:
            series = loaded[place]
            labels = ItemLabels(item, missing, seen[item.id] if seen[item.id] is not item else None, settled.of(item.id))
            found = item_meanings(item, labels, codes, distinct(series), raw.value_labels(place))
            advance(1)
            if found.unknown:
                problems.append(LabelProblem(item.id, raw.header.names[place], tuple(found.unknown[:SHOWN_LABELS])))
                continue
            if not any(meaning >= 0 for meaning in found.table.values()):
                unanswered.append(item.id)
                continue
            for code, count in found.odd_codes.items():
                odd.setdefault(code, []).append((item.id, count))
            notes += found.notes
            kept.append(seen[item.id])
            columns.append(decoded(series, found, Missing.OTHER_MISSING, np.int8).astype(np.int8))
    for code, places in sorted(odd.items()):
        names = ", ".join(name for name, _ in places[:4]) + (", ..." if len(places) > 4 else "")
        cells = sum(count for _, count in places)
        notes.append(f"Code {code} is not in the codebook: {cells} cells ({names}) were counted as other missing.")
    if not kept:
        told = "; ".join(problem_text(problem) for problem in problems[:5])
        if problems:
            raise InputDataError(f"no item is left to use. Labels that match nothing: {told}. Map them with ", Option("labels"), ".")
        raise InputDataError("no item is left to use. No selected row has an answer.")
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
    settled: Settled,
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
        # Country-specific codes of the WVS start with the country's number: 702001 is Singapore's.
        among = {i for i, level in enumerate(attribute.levels) if any(code // 1000 in here for code in level.codes)}
        labels = LevelLabels(attribute, missing, settled.of(attribute.name), among)

        def meanings(place: int, *, cut: bool, attribute: Attribute = attribute, labels: LevelLabels = labels) -> Meanings:
            return attribute_meanings(attribute, labels, codes, distinct(loaded[place]), raw.value_labels(place), cut=cut)

        place, cut = (main, False) if main is not None else (fallback, True)
        if place is None:
            continue
        found = meanings(place, cut=cut)
        empty = not any(meaning >= 0 for meaning in found.table.values())
        if main is not None and fallback is not None and empty and not found.unknown:
            place, cut, found = fallback, True, meanings(fallback, cut=True)
        if cut:
            notes.append(f"{attribute.name} was taken from column {raw.header.names[place]!r}: {attribute.column!r} is absent or empty.")
        levels[:, j] = decoded(loaded[place], found, UNKNOWN_LEVEL, np.int16)
        if found.unknown:
            unknown.append((attribute.name, tuple(found.unknown[:SHOWN_LABELS])))
        notes += found.notes
    return levels, tuple(unknown), notes


def _ignored(raw: RawFile, codebook: Codebook) -> tuple[str, ...]:
    """The file's columns that the codebook does not name."""
    named = [item.column for item in codebook.items]
    named += [column for attribute in codebook.attributes for column in (attribute.column, attribute.fallback) if column]
    rest = (codebook.weight, codebook.respondent_id, codebook.country_code_column, codebook.country_alpha_column)
    known = {place for column in (*named, *(c for c in rest if c)) for place in raw.header.all(column)}
    return tuple(name for place, name in enumerate(raw.header.names) if place not in known)
