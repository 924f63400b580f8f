"""One class a file format: what the columns are called, and the columns asked for as polars series.

A column arrives as numbers or as text, with null where a cell is empty; nothing is interpreted here. Columns are
asked for by position, since headers may repeat. Every failure of a parser leaves as an InputDataError: a file that
cannot be read is the user's news, not a traceback.
"""

from __future__ import annotations

import csv
import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fastexcel
import polars as pl
import pyreadstat

from valuestrata.errors import InputDataError

ValueLabels = Mapping[float | str, str]


class Reader(ABC):
    """An open survey file: `columns` is its header as written."""

    columns: tuple[str, ...]

    @abstractmethod
    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns at these positions, in this order, as numbers or text."""

    def value_labels(self, position: int) -> ValueLabels:
        """Return code -> label of a column, where the format keeps them beside the codes."""
        del position
        return {}


class CsvReader(Reader):
    """Separated text: comma, semicolon, tab or bar; UTF-8 with or without its mark, UTF-16, else Windows Latin."""

    def __init__(self, path: Path) -> None:
        self._path = path
        data = path.read_bytes()
        if not data.strip(b"\x00 \t\r\n\xef\xbb\xbf"):
            raise InputDataError("the file is empty.")
        text, self._data = _decoded(data)
        start = text[:200].lstrip().lower()
        if start.startswith(("<!doctype", "<html", "<?xml", "<head")):
            raise InputDataError("this is a web page, not a table: the download seems to have failed. Download the file again.")
        self._separator, header = _header(text)
        self.columns = tuple(header)
        self._refuse_cut_off(text)

    def _refuse_cut_off(self, text: str) -> None:
        """The parser fills a short last line with nulls; here it is the sign of an interrupted download."""
        last = text.rstrip("\r\n")
        last = last[last.rfind("\n") + 1 :]
        fields = next(csv.reader([last], delimiter=self._separator), [])
        if last.count('"') % 2 == 0 and len(fields) < len(self.columns) and "\n" in text.strip():
            raise InputDataError(
                f"the last line holds {len(fields)} of {len(self.columns)} fields, so the file seems truncated. Get a complete copy."
            )

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as text."""
        wanted = sorted(set(positions))
        try:
            frame = pl.read_csv(self._data, separator=self._separator, columns=wanted, infer_schema=False)
        except pl.exceptions.NoDataError as error:
            raise InputDataError("the file holds a header and no rows.") from error
        except pl.exceptions.PolarsError as error:
            raise InputDataError(f"not a readable CSV file ({_first_line(error)}).") from error
        columns = dict(zip(wanted, frame.get_columns(), strict=True))
        return [columns[position] for position in positions]


class ExcelReader(Reader):
    """The sheet with most columns; all cells as text, since one column may hold labels and numbers."""

    def __init__(self, path: Path) -> None:
        self._book = _excel(lambda: fastexcel.read_excel(path))
        self.columns = ()
        for name in self._book.sheet_names:
            first: pl.DataFrame = _excel(lambda n=name: self._book.load_sheet(n, header_row=None, n_rows=1, dtypes="string").to_polars())
            if first.height and first.width > max(1, len(self.columns)):
                self._sheet = name
                self.columns = tuple("" if cell is None else str(cell) for cell in first.row(0))
        if not self.columns:
            raise InputDataError("no sheet of this workbook starts with a row of column names.")

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as text."""
        wanted = sorted(set(positions))
        frame: pl.DataFrame = _excel(
            lambda: self._book.load_sheet(self._sheet, header_row=0, use_columns=wanted, dtypes="string").to_polars()
        )
        columns = dict(zip(wanted, frame.get_columns(), strict=True))
        return [columns[position] for position in positions]


class StatReader(Reader):
    """SPSS and Stata files: codes, with declared user-missing codes kept."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._read = pyreadstat.read_dta if kind == "dta" else pyreadstat.read_sav
        self._name = "Stata" if kind == "dta" else "SPSS"
        self._encoding: str | None = None
        _, meta = self._call(metadataonly=True)
        self.columns = tuple(meta.column_names)
        self._labels: dict[str, ValueLabels] = meta.variable_value_labels
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
            # Old files hold Windows text without saying so; a second try costs little and only they get it.
            if self._encoding is None and (isinstance(error, UnicodeDecodeError) or "encoding" in str(error).lower()):
                self._encoding = "WINDOWS-1252"
                return self._call(**options)
            raise InputDataError(f"not a readable {self._name} file, or one cut short ({_first_line(error)}).") from error

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as numbers, or as text where the file holds text or tagged missings."""
        names = [self.columns[position] for position in positions]
        data, _ = self._call(usecols=list(dict.fromkeys(names)))
        if self._rows is not None and len(data) < self._rows:
            raise InputDataError(f"it holds {len(data)} of the {self._rows} rows it announces: it was cut short. Get a complete copy.")
        return [_series(name, data[name], self._labels.get(name, {})) for name in names]

    def value_labels(self, position: int) -> ValueLabels:
        """Return the column's value labels."""
        return self._labels.get(self.columns[position], {})


class ParquetReader(Reader):
    """Parquet columns; categories and booleans become text and 0/1."""

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
    """The one data frame of an .rds, .rda or .rdata file: numbers, text, factors (as their labels), labelled vectors (as codes)."""

    def __init__(self, path: Path) -> None:
        from valuestrata.survey.formats.rdata_files import read_r

        self._columns = read_r(path)
        self.columns = tuple(self._columns)

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as numbers or text."""
        return [_plain(self._columns[self.columns[position]].series) for position in positions]

    def value_labels(self, position: int) -> ValueLabels:
        """Return the labels that haven attached to the column."""
        return self._columns[self.columns[position]].value_labels


def _decoded(data: bytes) -> tuple[str, bytes]:
    """Return the text and its UTF-8 bytes, which for a file already in UTF-8 are the file's own."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
        return text, text.encode()
    try:
        return data.decode("utf-8-sig"), data.removeprefix(b"\xef\xbb\xbf")
    except UnicodeDecodeError:
        # Neither mark nor valid UTF-8: what remains in practice is Windows Latin (a superset of printable Latin-1).
        text = data.decode("cp1252", errors="replace")
        return text, text.encode()


def _header(text: str) -> tuple[str, list[str]]:
    """Return the separator under which header and first row agree on most fields, and the header."""
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
        raise InputDataError("no table: the first line is not a row of column names separated by comma, semicolon or tab.")
    return best[1], best[2]


def _excel(call: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    except fastexcel.FastExcelError as error:
        raise InputDataError(f"not a readable Excel workbook, or one cut short ({_first_line(error)}).") from error


def _series(name: str, column: Any, labels: ValueLabels) -> pl.Series:
    """A pandas column, which pyreadstat fills fastest: floats, or objects where there is text."""
    values = column.to_numpy()
    if values.dtype.kind in "iuf":
        return pl.Series(name, values).cast(pl.Float64).fill_nan(None)
    cells = values.tolist()
    # Letters among numbers are Stata's tagged missings `.a` to `.z`: without a label they are empty cells.
    tags = (
        set("abcdefghijklmnopqrstuvwxyz") - set(labels) if any(isinstance(cell, float) and cell == cell for cell in cells) else set[str]()
    )
    texts = [None if cell is None or cell != cell or cell in tags else str(cell) for cell in cells]
    return pl.Series(name, texts, dtype=pl.String)


def _plain(series: pl.Series) -> pl.Series:
    """Numbers stay, everything else becomes text; NaN is null."""
    if series.dtype == pl.Boolean:
        return series.cast(pl.Int8)
    if series.dtype.is_float():
        return series.fill_nan(None)
    return series if series.dtype.is_integer() or series.dtype == pl.String else series.cast(pl.String)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
