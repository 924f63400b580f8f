"""Readers of CSV, Excel, SPSS, Stata, Parquet and R files.

Columns are numbers or text, with null for empty cells. They are requested by position, because names may repeat.
Errors of the parsers are raised as InputDataError.
"""

from __future__ import annotations

import csv
import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastexcel
import polars as pl
import pyreadstat

from valuestrata.errors import InputDataError

ValueLabels = Mapping[float | str, str]


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
    """An open survey file. `columns` is its header."""

    columns: tuple[str, ...]

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


class CsvReader(Reader):
    """Text separated by comma, semicolon, tab or bar, in UTF-8, UTF-16 or Windows-1252."""

    def __init__(self, path: Path) -> None:
        self._path = path
        data = path.read_bytes()
        if not data.strip(b"\x00 \t\r\n\xef\xbb\xbf"):
            raise InputDataError("the file is empty.")
        text, self._data = _decode_text(data)
        start = text[:200].lstrip().lower()
        if start.startswith(("<!doctype", "<html", "<?xml", "<head")):
            raise InputDataError("this is a web page, not a table; the download failed. Download the file again.")
        self._separator, header = _header(text)
        self.columns = tuple(header)
        self._check_last_line(text)

    def _check_last_line(self, text: str) -> None:
        """Raise InputDataError if the last line has too few fields, which the parser would fill with nulls."""
        last = text.rstrip("\r\n")
        last = last[last.rfind("\n") + 1 :]
        fields = next(csv.reader([last], delimiter=self._separator), [])
        if last.count('"') % 2 == 0 and len(fields) < len(self.columns) and "\n" in text.strip():
            raise InputDataError(
                f"the last line holds {len(fields)} of {len(self.columns)} fields, so the file is truncated. Get a complete copy."
            )

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as text."""
        wanted = sorted(set(positions))
        try:
            frame = pl.read_csv(self._data, separator=self._separator, columns=wanted, infer_schema=False)
        except pl.exceptions.NoDataError as error:
            raise InputDataError("the file holds column names but no rows.") from error
        except pl.exceptions.PolarsError as error:
            raise InputDataError(f"not a readable CSV file ({_first_line(error)}).") from error
        columns = dict(zip(wanted, frame.get_columns(), strict=True))
        return [columns[position] for position in positions]


class ExcelReader(Reader):
    """The sheet with most columns of a workbook. Cells are text, because a column may hold labels and numbers."""

    def __init__(self, path: Path) -> None:
        self._book = _excel(lambda: fastexcel.read_excel(path))
        self.columns = ()
        for name in self._book.sheet_names:
            first: pl.DataFrame = _excel(lambda n=name: self._book.load_sheet(n, header_row=None, n_rows=1, dtypes="string").to_polars())
            if first.height and first.width > max(1, len(self.columns)):
                self._sheet = name
                self.columns = tuple("" if cell is None else str(cell) for cell in first.row(0))
        if not self.columns:
            raise InputDataError("no sheet of the workbook starts with a row of column names.")

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as text."""
        wanted = sorted(set(positions))
        frame: pl.DataFrame = _excel(
            lambda: self._book.load_sheet(self._sheet, header_row=0, use_columns=wanted, dtypes="string").to_polars()
        )
        columns = dict(zip(wanted, frame.get_columns(), strict=True))
        return [columns[position] for position in positions]


class StatReader(Reader):
    """SPSS and Stata files, read as codes, including declared missing codes."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._read = pyreadstat.read_dta if kind == "dta" else pyreadstat.read_sav
        self._name = "Stata" if kind == "dta" else "SPSS"
        self._encoding: str | None = None
        _, meta = self._call(metadataonly=True)
        self.columns = tuple(meta.column_names)
        self._labels: dict[str, ValueLabels] = meta.variable_value_labels
        self._missing: Mapping[str, Sequence[Mapping[str, Any]]] = meta.missing_ranges
        self._rows: int | None = meta.number_rows

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
        except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, UnicodeDecodeError) as error:
            # Old files may use Windows-1252 without declaring it.
            if self._encoding is None and (isinstance(error, UnicodeDecodeError) or "encoding" in str(error).lower()):
                self._encoding = "WINDOWS-1252"
                return self._call(**options)
            raise InputDataError(f"not a readable {self._name} file, or one cut short ({_first_line(error)}).") from error

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as numbers, or as text if they hold text or tagged missing values."""
        names = [self.columns[position] for position in positions]
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
        self._path = path
        try:
            self.columns = tuple(pl.read_parquet_schema(path))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputDataError(f"not a readable Parquet file, or one cut short ({_first_line(error)}).") from error

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as numbers or text."""
        names = [self.columns[position] for position in positions]
        try:
            frame = pl.read_parquet(self._path, columns=list(dict.fromkeys(names)))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputDataError(f"not a readable Parquet file, or one cut short ({_first_line(error)}).") from error
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


def _decode_text(data: bytes) -> tuple[str, bytes]:
    """Return the text and its UTF-8 bytes."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
        return text, text.encode()
    try:
        return data.decode("utf-8-sig"), data.removeprefix(b"\xef\xbb\xbf")
    except UnicodeDecodeError:
        # Windows-1252 includes the printable characters of Latin-1.
        text = data.decode("cp1252", errors="replace")
        return text, text.encode()


def _header(text: str) -> tuple[str, list[str]]:
    """Return the separator that gives header and first row the same, largest number of fields, and the header."""
    best: tuple[tuple[bool, int], str, list[str]] = ((False, 0), "", [])
    for separator in (",", ";", "\t", "|"):
        try:
            rows = csv.reader(io.StringIO(text[:2_000_000]), delimiter=separator)
            header, first = next(rows), next(rows, None)
        except (csv.Error, StopIteration):
            continue
        score = (first is not None and len(first) == len(header) and len(header) > 1, len(header))
        if score > best[0]:
            best = (score, separator, header)
    if best[0][1] < 2:
        raise InputDataError("not a table: the first line is not a row of column names separated by comma, semicolon or tab.")
    return best[1], best[2]


def _excel(call: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    except fastexcel.FastExcelError as error:
        raise InputDataError(f"not a readable Excel workbook, or one cut short ({_first_line(error)}).") from error


def _series(name: str, column: Any, labels: ValueLabels) -> pl.Series:
    """Convert a pandas column of floats or objects."""
    values = column.to_numpy()
    if values.dtype.kind in "iuf":
        return pl.Series(name, values).cast(pl.Float64).fill_nan(None)
    cells = values.tolist()
    # Letters among numbers are Stata's missing values `.a` to `.z`; without a label they are empty cells.
    tags = (
        set("abcdefghijklmnopqrstuvwxyz") - set(labels) if any(isinstance(cell, float) and cell == cell for cell in cells) else set[str]()
    )
    texts = [None if cell is None or cell != cell or cell in tags else str(cell) for cell in cells]
    return pl.Series(name, texts, dtype=pl.String)


def _plain(series: pl.Series) -> pl.Series:
    """Return numbers unchanged, with NaN as null, and everything else as text."""
    if series.dtype == pl.Boolean:
        return series.cast(pl.Int8)
    if series.dtype.is_float():
        return series.fill_nan(None)
    return series if series.dtype.is_integer() or series.dtype == pl.String else series.cast(pl.String)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
