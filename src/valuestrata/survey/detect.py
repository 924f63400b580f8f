"""Which survey a file is from, told by its columns, and which files look like one but are another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import polars as pl

from valuestrata.errors import InputDataError, Option
from valuestrata.survey.codebook import Codebook, builtin_codebooks, load_codebook
from valuestrata.survey.decode import distinct
from valuestrata.survey.formats.source import Header

# A file is taken for a survey if it has half of the survey's items, or an extract of them beside enough columns
# that only its own kind of file has: `Q1` to `Q20` alone are anybody's.
ENOUGH_ITEMS = 0.5
EXTRACT_ITEMS = 0.05
EXTRACT_SIGNS = 2

_USE_INSTEAD = "Use the wave 7 file (WVS Cross-National Wave 7, or one country's wave 7 file) from www.worldvaluessurvey.org."


@cache
def _builtin(name: str) -> Codebook:
    return load_codebook(name)


def detect_survey(header: Header) -> Codebook:
    """Return the built-in codebook whose item columns the file has most of.

    Raises:
        InputDataError: none fits, or the file is a kind that is known and cannot be used.
    """
    fits = sorted((_fit(_builtin(name), header) for name in builtin_codebooks()), key=lambda fit: fit[:2], reverse=True)
    if fits:
        items, share, signs, codebook = fits[0]
        if items >= 3 and (share >= ENOUGH_ITEMS or (share >= EXTRACT_ITEMS and signs >= EXTRACT_SIGNS)):
            return codebook
    refuse_foreign(header)
    best = f" The nearest is {fits[0][3].survey}, with {fits[0][0]} of its items." if fits else ""
    raise InputDataError(
        f"the columns ({', '.join(header.names[:8])}, ...) are those of no survey that valuestrata knows.{best} "
        "Name the survey, or a codebook of your own, with ",
        Option("survey"),
        ".",
    )


def _fit(codebook: Codebook, header: Header) -> tuple[int, float, int, Codebook]:
    items = sum(header.has(item.column) for item in codebook.items)
    marks = [codebook.weight, codebook.respondent_id, codebook.country_code_column, codebook.country_alpha_column]
    marks += [column for attribute in codebook.attributes for column in (attribute.column, attribute.fallback)]
    signs = sum(header.has(mark) for mark in set(marks) if mark)
    return items, items / max(len(codebook.default_items), 1), signs, codebook


def refuse_foreign(header: Header) -> None:
    """Raise InputDataError if the columns are those of a file that is often taken for wave 7 and is not.

    The time-series and trend files name their questions A001, E018, ...; so does the joint file of the European
    and the World Values Survey, which has its own country and weight columns; earlier waves use V1, V2, ...
    """
    has = header.has
    if has("cntry_AN") or (has("cntry") and (has("gwght") or has("pwght") or has("study"))) or has("stdyno_w"):
        raise InputDataError(
            f"this is the EVS/WVS joint file (it has the column {'cntry_AN' if has('cntry_AN') else 'cntry'!r}), in which the "
            f"questions carry other names and only those common to both surveys are kept. {_USE_INSTEAD}"
        )
    if has("S002EVS") or (has("S002VS") or (has("S003") and has("A001"))):
        raise InputDataError(
            f"this is the WVS (or EVS) time-series file (it has the column {'S002VS' if has('S002VS') else 'S003'!r}), in which "
            f"the questions of all waves carry other names. {_USE_INSTEAD}"
        )
    if sum(has(f"V{place}") for place in (4, 5, 6, 7, 8, 9, 10, 11, 23, 55, 59)) >= 8:
        european = has("c_abrv") or has("studyno")
        told = "the European Values Study file" if european else "a WVS file of an earlier wave"
        raise InputDataError(f"this looks like {told} (questions named {'v1, v2' if european else 'V4, V5'}, ...). {_USE_INSTEAD}")


def refuse_joint_rows(study: pl.Series | None, wave: pl.Series | None) -> None:
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


def suggestion_names(header: Header) -> Sequence[str]:
    """Return the file's columns for a "did you mean": what stands before a colon is the name."""
    return [name.split(":", 1)[0].strip() for name in header.names]
