"""The interface of readers of survey files, and the readers of SPSS, Stata, Parquet and R files.

Columns are numbers or text, with null for empty cells. They are requested by position, because names may repeat.
Errors of the parsers are raised as InputDataError.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyreadstat
from pyarrow import ArrowException
from pyarrow.parquet import ParquetFile

from valuestrata.errors import InputDataError, one_line
from valuestrata.survey.formats.sav_dictionary import check_dictionary

ValueLabels = Mapping[float | str, str]

# Cells read at most, so a damaged or hostile file cannot fill the memory. The largest surveys have 100 million.
MOST_CELLS = 10**9


@dataclass(frozen=True)
class MissingRange:
    """Values that a file declares as missing, from `low` to `high` inclusive; equal for a single value."""

    low: float | str
    high: float | str


def is_declared_missing(value: float | str, declared: Sequence[MissingRange]) -> bool:
    """Whether a value lies in one of the ranges."""
    for entry in declared:
        if isinstance(value, str) or isinstance(entry.low, str) or isinstance(entry.high, str):
            if str(value).strip() == str(entry.low).strip():
                return True
        elif entry.low <= value <= entry.high:
            return True
    return False


class Reader(ABC):
    """An open survey file.

    Attributes:
        columns: the names of its columns.
        notes: messages for the user about the file as a whole.
    """

    columns: tuple[str, ...]
    notes: Sequence[str] = ()

    @abstractmethod
    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns at these positions, as numbers or text."""

    def value_labels(self, position: int) -> ValueLabels:
        """Return code -> label of a column; empty if the format has no value labels."""
        del position
        return {}

    def declared_missing(self, position: int) -> Sequence[MissingRange]:
        """Return the values that the file declares as missing in a column; empty if the format has no such declarations."""
        del position
        return ()

    def cell_notes(self, positions: Sequence[int]) -> Sequence[str]:
        """Return messages about single cells of these columns; InputDataError if a column cannot be used because of them."""
        del positions
        return ()

    def _within_limit(self, rows: int, columns: int) -> None:
        """Raise InputDataError if so many rows and columns do not fit the memory."""
        if rows * columns > MOST_CELLS:
            raise InputDataError(f"it declares {rows:,} rows, which is more than a survey holds. Get a sound copy.")


class StatReader(Reader):
    """SPSS and Stata files, read as codes, including declared missing codes. `meta` is what pyreadstat returns."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._read = pyreadstat.read_dta if kind == "dta" else pyreadstat.read_sav
        self._name = "Stata" if kind == "dta" else "SPSS"
        self._encoding: str | None = None
        if kind == "sav":
            check_dictionary(path)
        _, self.meta = self._call(metadataonly=True)
        # pyreadstat returns None for a name that is not UTF-8.
        self.columns = tuple(name or "" for name in self.meta.column_names)
        if len(set(self.columns)) < len(self.columns):
            repeated = next(name for name in self.columns if self.columns.count(name) > 1)
            raise InputDataError(f"the column {one_line(repeated)!r} appears more than once, so the file is damaged. Get a complete copy.")
        self._labels: dict[str, ValueLabels] = self.meta.variable_value_labels
        self._missing: Mapping[str, Sequence[Mapping[str, Any]]] = self.meta.missing_ranges
        self._rows: int | None = self.meta.number_rows

    def _call(self, **options: Any) -> tuple[Any, Any]:
        try:
            return self._read(
                str(self._path),
                user_missing=True,
                output_format="pandas",
                disable_datetime_conversion=True,
                encoding=self._encoding,
                **options,
            )
        except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, ValueError, OverflowError, MemoryError, SystemError) as error:
            # Old files may use Windows-1252 without declaring it.
            if self._encoding is None and (isinstance(error, UnicodeDecodeError) or "encoding" in str(error).lower()):
                self._encoding = "WINDOWS-1252"
                return self._call(**options)
            raise InputDataError(f"not a readable {self._name} file, or one cut short ({first_line(error)}).") from error

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as numbers, or as text if they hold text or tagged missing values."""
        names = [self.columns[position] for position in positions]
        self._within_limit(self._rows or 0, len(names))
        data, _ = self._call(usecols=list(dict.fromkeys(names)))
        if self._rows is not None and len(data) < self._rows:
            raise InputDataError(f"it holds {len(data)} of the {self._rows} rows in its header; it was cut short. Get a complete copy.")
        return [_series(name, data[name], self._labels.get(name, {})) for name in names]

    def value_labels(self, position: int) -> ValueLabels:
        """Return the column's value labels."""
        return self._labels.get(self.columns[position], {})

    def declared_missing(self, position: int) -> Sequence[MissingRange]:
        """Return the column's user-missing values."""
        return [MissingRange(found["lo"], found["hi"]) for found in self._missing.get(self.columns[position], ())]


class ParquetReader(Reader):
    """Parquet files. Categories become text and booleans 0/1."""

    def __init__(self, path: Path) -> None:
        # Arrow raises errors for damaged files; the reader of Polars panics.
        self._file: Any = _parquet(lambda: ParquetFile(path))
        self.columns = tuple(cast("list[str]", _parquet(lambda: self._file.schema_arrow.names)))

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as numbers or text; InputDataError for columns of lists, durations and other kinds."""
        names = [self.columns[position] for position in positions]
        self._within_limit(int(self._file.metadata.num_rows), len(names))
        wanted = list(dict.fromkeys(names))
        if repeated := [name for name in wanted if self.columns.count(name) > 1]:
            raise InputDataError(f"the column {one_line(repeated[0])!r} appears more than once in the header. Keep one of them.")
        frame = cast("pl.DataFrame", _parquet(lambda: pl.from_arrow(self._file.read(columns=wanted))))
        return [_plain(frame[name]) for name in names]


class RReader(Reader):
    """The data frame of an .rds, .rda or .rdata file. Factors become labels and labelled vectors codes."""

    def __init__(self, path: Path) -> None:
        from valuestrata.survey.formats.rdata_files import read_r

        self._columns = read_r(path)
        self.columns = tuple(self._columns)

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as numbers or text."""
        return [_plain(self._columns[self.columns[position]].series) for position in positions]

    def value_labels(self, position: int) -> ValueLabels:
        """Return the column's value labels."""
        return self._columns[self.columns[position]].value_labels

    def declared_missing(self, position: int) -> Sequence[MissingRange]:
        """Return the values in `na_values` and `na_range` of a column labelled by haven."""
        found = self._columns[self.columns[position]]
        return [MissingRange(low, high) for low, high in found.missing]


def _series(name: str, column: Any, labels: ValueLabels) -> pl.Series:
    """Convert a pandas column of floats or objects."""
    values = column.to_numpy()
    if values.dtype.kind in "iuf":
        return pl.Series(name, values).cast(pl.Float64).fill_nan(None)
    cells = values.tolist()
    # Letters among numbers are Stata's missing values `.a` to `.z`; without a label they are empty cells.
    tags = (
        set("abcdefghijklmnopqrstuvwxyz") - set(labels)
        if any(isinstance(cell, int | float) and cell == cell for cell in cells)
        else set[str]()
    )
    texts = [None if cell is None or cell != cell or cell in tags else str(cell) for cell in cells]
    return pl.Series(name, texts, dtype=pl.String)


def _parquet(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (ArrowException, OSError, UnicodeDecodeError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputDataError(f"not a readable Parquet file, or one cut short ({first_line(error)}).") from error


def _plain(series: pl.Series) -> pl.Series:
    """Return numbers unchanged, with NaN as null, and everything else as text.

    Raises:
        InputDataError: lists, records, durations, bytes or another kind that is neither a number nor a text.
    """
    kind = series.dtype
    if kind == pl.Boolean:
        return series.cast(pl.Int8)
    if kind.is_decimal():
        return series.cast(pl.Float64)
    if kind.is_float():
        return series.fill_nan(None)
    if kind == pl.Binary:  # text without a mark that it is text, as some programs write it
        with contextlib.suppress(pl.exceptions.PolarsError):
            return series.cast(pl.String)
    if kind.is_nested() or any(kind == other for other in (pl.Duration, pl.Binary, pl.Object)):
        raise InputDataError(
            f"column {one_line(series.name)!r} holds values of the kind {kind}; expected numbers or text. Convert or omit it."
        )
    return series if kind.is_integer() or kind == pl.String else series.cast(pl.String)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message without a full stop, else the name of its class."""
    return one_line((str(error).strip().splitlines() or [type(error).__name__])[0].rstrip("."))
