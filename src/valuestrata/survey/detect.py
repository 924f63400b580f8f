"""Finds the survey and its columns in the header of a file, and rejects files that are often mistaken for WVS wave 7."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import polars as pl

from valuestrata.errors import InputDataError, Option, did_you_mean
from valuestrata.survey.codebook import Attribute, Codebook, Item, builtin_codebooks, load_codebook
from valuestrata.survey.decode import distinct
from valuestrata.survey.formats.source import Header

# A file matches a survey if it has half of its items, or a small share of them and enough other columns of the codebook:
# columns named `Q1` to `Q20` are not specific.
MIN_ITEM_SHARE = 0.5
MIN_EXTRACT_SHARE = 0.05
MIN_EXTRACT_MARKERS = 2

_USE_INSTEAD = "Use the wave 7 file (WVS Cross-National Wave 7, or one country's wave 7 file) from www.worldvaluessurvey.org."


@dataclass(frozen=True)
class ColumnPlan:
    """Positions of the columns to load, and what the file lacks. Each attribute has the positions of its column and its fallback."""

    items: tuple[tuple[Item, int], ...]
    attributes: tuple[tuple[Attribute, int | None, int | None], ...]
    absent_items: tuple[str, ...]
    absent_attributes: tuple[str, ...]
    notes: tuple[str, ...]
    weight: int | None
    respondent_id: int | None
    country_code: int | None
    country_alpha: int | None
    study: int | None
    wave: int | None
    psu: tuple[int, ...] = ()
    strata: tuple[int, ...] = ()
    pooling: int | None = None
    replicates: tuple[int, ...] = ()

    @property
    def positions(self) -> list[int]:
        """The positions, each once."""
        rest = (self.weight, self.respondent_id, self.country_code, self.country_alpha, self.study, self.wave, self.pooling)
        rest = (*rest, *self.psu, *self.strata, *self.replicates)
        both = [place for _, main, fallback in self.attributes for place in (main, fallback)]
        return list(dict.fromkeys(p for p in (*(p for _, p in self.items), *both, *rest) if p is not None))


def detect_survey(header: Header) -> Codebook:
    """Return the built-in codebook that has most item columns in the file.

    Raises:
        InputDataError: no codebook matches, or the file is of a known kind that cannot be used.
    """
    fits = sorted((_fit(load_codebook(name), header) for name in builtin_codebooks()), key=lambda fit: fit[:2], reverse=True)
    if fits:
        items, share, markers, codebook = fits[0]
        if items >= 3 and (share >= MIN_ITEM_SHARE or (share >= MIN_EXTRACT_SHARE and markers >= MIN_EXTRACT_MARKERS)):
            return codebook
    reject_other_wvs_files(header)
    best = f" The closest is {fits[0][3].survey}, with {fits[0][0]} of its items." if fits else ""
    raise InputDataError(
        f"the survey was not recognised from the columns ({', '.join(header.names[:8])}, ...).{best} "
        "Name the survey or a codebook file with ",
        Option("survey"),
        ".",
    )


def _fit(codebook: Codebook, header: Header) -> tuple[int, float, int, Codebook]:
    """Return the number of item columns found, their share of the default items, and the number of other columns found."""
    items = sum(header.has(item.column) for item in codebook.items)
    others = set(codebook.other_columns)
    return items, items / max(len(codebook.default_items), 1), sum(header.has(column) for column in others), codebook


def plan_columns(header: Header, codebook: Codebook, items: Sequence[str], attributes: Sequence[str], *, own_codebook: bool) -> ColumnPlan:
    """Find the columns of a codebook. Items and attributes whose column is absent are left out.

    Args:
        header: of the file. codebook: its codebook.
        items, attributes: names to read; empty for the default ones.
        own_codebook: whether the user wrote the codebook, so that a weight column that is absent is an error.

    Raises:
        InputDataError: no item column, a column of a named item or attribute, or the weight column is in the file.
        UsageError: an unknown item or attribute.
    """
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
        if absent and named:
            raise InputDataError(absent_text(absent[0], header))

    def place(column: str | None) -> int | None:
        return None if column is None else header.find(column)

    weight = place(codebook.weight)
    design = codebook.design
    groups = {"psu": design.psu, "strata": design.strata, "pooling_weight": design.pooling_weight}
    for key, columns in {"weight": [codebook.weight] if codebook.weight else [], **groups}.items():
        if own_codebook and columns and not any(header.has(column) for column in columns):
            raise InputDataError(
                f"the {key.replace('_', ' ')} column {columns[0]!r} of the codebook is not in the file."
                f"{did_you_mean(columns[0], column_names(header))} To read the file without it, remove the key `{key}`."
            )
    places = {key: tuple(at for column in columns if (at := header.find(column)) is not None) for key, columns in groups.items()}
    notes = [
        f"The file has no column {column!r}, the `{key}` of the codebook: {without}."
        for key, column, without in (
            ("respondent_id", codebook.respondent_id, "respondents that occur twice cannot be found"),
            ("country_code_column", codebook.country_code_column, "countries cannot be told apart by it"),
            ("country_alpha_column", codebook.country_alpha_column, "countries cannot be told apart by it"),
        )
        if own_codebook and column is not None and not header.has(column)
    ]
    joint = codebook.survey == "wvs7"
    return ColumnPlan(
        items=tuple(found_items),
        attributes=tuple(found),
        absent_items=tuple(item.id for item in absent_items),
        absent_attributes=tuple(attribute.name for attribute in absent_attributes),
        notes=tuple(notes),
        weight=weight,
        respondent_id=place(codebook.respondent_id),
        country_code=place(codebook.country_code_column),
        country_alpha=place(codebook.country_alpha_column),
        study=place("A_STUDY") if joint else None,
        wave=place("A_WAVE") if joint else None,
        psu=places["psu"],
        strata=places["strata"],
        pooling=next(iter(places["pooling_weight"]), None),
        replicates=_replicate_places(header, codebook, own_codebook=own_codebook),
    )


def _replicate_places(header: Header, codebook: Codebook, *, own_codebook: bool) -> tuple[int, ...]:
    """Return the positions of the replicate weights; none if the file of a built-in codebook lacks one of them."""
    entry = codebook.design.replicate_weights
    if entry is None:
        return ()
    found: list[int] = []
    for column in entry.columns:
        if "*" in column:
            pattern = column.casefold()
            places = [at for at, name in enumerate(column_names(header)) if fnmatchcase(name.casefold(), pattern)]
        else:
            places = [at for at in (header.find(column),) if at is not None]
        if not places and own_codebook:
            close = did_you_mean(column, column_names(header))
            raise InputDataError(
                f"the replicate weights {column!r} of the codebook are not in the file.{close} To read the file without them, remove "
                "the key `replicate_weights`."
            )
        if not places:
            return ()
        found += places
    if len(set(found)) < 2:
        raise InputDataError(f"the replicate weights {entry.columns[0]!r} match one column of the file; at least two are needed.")
    return tuple(dict.fromkeys(found))


def absent_text(absent: Item | Attribute, header: Header) -> str:
    """Return the message on a column that is not in the file."""
    name = absent.id if isinstance(absent, Item) else absent.name
    return f"the column {absent.column!r} of {name} in the codebook is not in the file.{did_you_mean(absent.column, column_names(header))}"


def reject_other_wvs_files(header: Header) -> None:
    """Raise InputDataError if the file is a time-series file, an EVS/WVS joint file or a file of an earlier wave.

    Time-series and joint files name questions A001, E018, ...; joint files also have their own country and weight columns.
    Earlier waves use V1, V2, ...
    """
    has = header.has
    if has("cntry_AN") or (has("cntry") and (has("gwght") or has("pwght") or has("study"))) or has("stdyno_w"):
        raise InputDataError(
            f"this is the EVS/WVS joint file (it has the column {'cntry_AN' if has('cntry_AN') else 'cntry'!r}), which names "
            f"questions differently and holds only those common to both surveys. {_USE_INSTEAD}"
        )
    if has("S002EVS") or (has("S002VS") or (has("S003") and has("A001"))):
        raise InputDataError(
            f"this is the WVS (or EVS) time-series file (it has the column {'S002VS' if has('S002VS') else 'S003'!r}), which "
            f"names questions differently. {_USE_INSTEAD}"
        )
    if sum(has(f"V{place}") for place in (4, 5, 6, 7, 8, 9, 10, 11, 23, 55, 59)) >= 8:
        european = has("c_abrv") or has("studyno")
        kind = "the European Values Study file" if european else "a WVS file of an earlier wave"
        raise InputDataError(f"this looks like {kind} (questions named {'v1, v2' if european else 'V4, V5'}, ...). {_USE_INSTEAD}")


def reject_evs_rows(study: pl.Series | None, wave: pl.Series | None) -> None:
    """Raise InputDataError if some rows are from the European Values Study (A_STUDY 1, A_WAVE 5)."""
    for series, code in ((study, "1"), (wave, "5")):
        if series is None:
            continue
        for value, count in distinct(series):
            text = str(value).strip().casefold().removesuffix(".0")
            if text.startswith("evs") or text == code:
                raise InputDataError(
                    f"this is the EVS/WVS joint file: {count} of its rows are from the European Values Study "
                    f"(column {series.name!r}). {_USE_INSTEAD}"
                )


def column_names(header: Header) -> Sequence[str]:
    """Return the column names without the label after a colon, for suggestions."""
    return [name.split(":", 1)[0].strip() for name in header.names]
