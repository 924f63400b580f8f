"""Detects the survey from the columns of a file, and rejects files that are often mistaken for WVS wave 7."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from valuestrata.errors import InputDataError, Option
from valuestrata.survey.codebook import Codebook, builtin_codebooks, load_codebook
from valuestrata.survey.decode import distinct
from valuestrata.survey.formats.source import Header

# A file matches a survey if it has half of its items, or a small share of them and enough other columns of the codebook:
# columns named `Q1` to `Q20` are not specific.
MIN_ITEM_SHARE = 0.5
MIN_EXTRACT_SHARE = 0.05
MIN_EXTRACT_MARKERS = 2

_USE_INSTEAD = "Use the wave 7 file (WVS Cross-National Wave 7, or one country's wave 7 file) from www.worldvaluessurvey.org."


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
