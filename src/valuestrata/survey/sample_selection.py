"""Selects respondents: countries and duplicate respondent ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.errors import InputDataError, did_you_mean, one_line
from valuestrata.survey.codebook import Codebook, Country
from valuestrata.survey.decode import distinct
from valuestrata.survey.labels import NULL_WORDS, LabelTable, number


@dataclass(frozen=True)
class Selection:
    """The rows kept (None for all), their countries, and messages for the user.

    `country` is the index of the country of each row kept, -1 if it is not known; None if the file has no country column.
    """

    rows: NDArray[np.bool_] | None
    countries: tuple[Country, ...]
    notes: tuple[str, ...] = ()
    country: NDArray[np.int32] | None = None


def blank_rows(columns: Sequence[pl.Series]) -> NDArray[np.bool_]:
    """Return whether all of these columns are empty, for each row."""
    blank = np.ones(len(columns[0]), dtype=np.bool_)
    for series in columns:
        cells = series.str.strip_chars().replace("", None) if series.dtype == pl.String else series
        blank &= cells.is_null().to_numpy()
        if not blank.any():
            break
    return blank


def find_country(wanted: str | int, countries: Sequence[Country]) -> Country | None:
    """Return the country with this numeric code, alpha-3 code or name, or None."""
    text = str(wanted).strip()
    code = number(text)
    if code is not None:
        return next((country for country in countries if country.code == code), None)
    if alpha := next((country for country in countries if country.alpha.casefold() == text.casefold()), None):
        return alpha
    names = LabelTable((name, index) for index, country in enumerate(countries) for name in (country.name, country.phrase))
    index = names.find(text)
    return None if index is None else countries[index]


def select_countries(codebook: Codebook, by_code: pl.Series | None, by_alpha: pl.Series | None, wanted: Sequence[str | int]) -> Selection:
    """Select the rows of countries, or all rows.

    Args:
        codebook: lists the countries of the survey. Without a list, the values in the file are the countries.
        by_code: column of numeric codes or names, or None.
        by_alpha: column of alpha-3 codes, or None.
        wanted: countries by numeric code, alpha-3 code or name; empty for all.

    Raises:
        InputDataError: an unknown country, a country that is not in the file, or no country column.
    """
    columns = [series for series in (by_code, by_alpha) if series is not None]
    known = codebook.countries or _countries_of(columns)
    if not columns:
        if wanted:
            expected = [name for name in (codebook.country_code_column, codebook.country_alpha_column) if name]
            needed = (
                f"the column {' or '.join(map(repr, expected))}"
                if expected
                else "the key `country_code_column` or `country_alpha_column` in the codebook"
            )
            raise InputDataError(f"selecting a country needs {needed}. Omit the country to use all rows.")
        return Selection(None, ())
    index = np.full(len(columns[0]), -1, dtype=np.int32)
    for series in columns:
        index = np.where(index >= 0, index, _country_index(series, known))
    here = [known[i] for i in np.unique(index[index >= 0])]
    held = (
        "The file holds: "
        + (", ".join(f"{c.alpha} ({c.name})" for c in here[:12]) or "no known country")
        + (", ..." if len(here) > 12 else ".")
    )
    notes: list[str] = []
    if unknown := int((index < 0).sum()):
        names = ", ".join(f"{_plain(value)} ({count})" for value, count in distinct(columns[0].filter(pl.Series(index < 0)))[:5])
        named = f": {names}" if names else ""
        notes.append(f"{unknown} rows are from a country that is not in the {codebook.survey} codebook{named}.")
    if not wanted:
        if len(here) > 1:
            notes.append(f"The file holds {len(here)} countries and none was selected; all are used.")
        return Selection(None, tuple(here), tuple(notes), index)
    chosen = [_known_country(name, known, held) for name in wanted]
    for country in chosen:
        if country not in here:
            raise InputDataError(f"there are no rows from {country.name} ({country.alpha}) in this file. {held}")
    kept = [i for i, country in enumerate(known) if country in chosen]
    rows = np.isin(index, kept)
    return Selection(rows, tuple(dict.fromkeys(chosen)), country=index[rows])


def _known_country(wanted: str | int, known: Sequence[Country], held: str) -> Country:
    if country := find_country(wanted, known):
        return country
    text = str(wanted).strip()
    # Alpha-3 codes are too short for a useful suggestion.
    close = did_you_mean(text, (country.name for country in known)) if len(text) > 3 else ""
    raise InputDataError(f"there is no country {text!r} in this survey.{close if 'Did you' in close else ''} {held}")


def _countries_of(columns: Sequence[pl.Series]) -> tuple[Country, ...]:
    """Return the values of the first country column as countries."""
    values = sorted({_plain(value) for series in columns[:1] for value, _ in distinct(series)})
    return tuple(
        Country(code=int(value) if value.isdecimal() and len(value) < 10 else -1 - place, alpha=value, name=value, phrase=value)
        for place, value in enumerate(values)
        if value not in NULL_WORDS
    )


def _country_index(series: pl.Series, known: Sequence[Country]) -> NDArray[np.int32]:
    table: dict[float | str, int] = {}
    for value, _ in distinct(series):
        if country := find_country(_plain(value), known):
            table[value] = known.index(country)
    if not table:
        return np.full(len(series), -1, dtype=np.int32)
    new = pl.Series(list(table.values()), dtype=pl.Int32)
    return (
        series.replace_strict(pl.Series(list(table), dtype=series.dtype), new, default=-1, return_dtype=pl.Int32).fill_null(-1).to_numpy()
    )


def _plain(value: float | str) -> str:
    if isinstance(value, str):
        return one_line(value).strip()
    return str(int(value)) if float(value).is_integer() else str(value)


def check_unique_ids(series: pl.Series) -> None:
    """Raise InputDataError if a respondent id occurs more than once."""
    repeated = [(value, count) for value, count in distinct(series) if count > 1 and str(value).strip() not in NULL_WORDS]
    if repeated:
        shown = ", ".join(f"{_plain(value)} ({count} times)" for value, count in repeated[:5])
        more = f" and {len(repeated) - 5} more" if len(repeated) > 5 else ""
        raise InputDataError(
            f"column {series.name!r}: {len(repeated)} respondent ids occur more than once: {shown}{more}. Remove the repeated rows."
        )
