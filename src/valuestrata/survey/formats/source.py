"""Opens survey files of all supported formats.

The format follows from the file ending and is checked against the first bytes. Columns are loaded on request.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from valuestrata.errors import InputDataError, Option, UsageError, one_line
from valuestrata.files import check_file, temporary_folder
from valuestrata.survey.formats.archives import unpack
from valuestrata.survey.formats.columns import MissingRange, ParquetReader, Reader, RReader, StatReader, ValueLabels
from valuestrata.survey.formats.text_files import CsvReader
from valuestrata.survey.formats.workbooks import ExcelReader

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xls": "excel",
    ".sav": "sav",
    ".zsav": "sav",
    ".dta": "dta",
    ".rds": "r",
    ".rda": "r",
    ".rdata": "r",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".zip": "zip",
}
_NAMES = {
    "csv": "a text file",
    "excel": "an Excel workbook (.xlsx)",
    "sav": "an SPSS file (.sav)",
    "dta": "a Stata file (.dta)",
    "r": "an R data file (.rds or .rdata)",
    "parquet": "a Parquet file (.parquet)",
    "zip": "a ZIP archive (.zip)",
    "page": "a web page; the download failed",
    "pdf": "a PDF document",
    "gzip": "a gzip archive",
}
_NAME_BEFORE_LABEL = re.compile(r"^\W*(\w+)\s*(?::|[.–—|=-]\s)")


@dataclass(frozen=True)
class RawFile:
    """An open survey file: name without folders, format, header and reader."""

    name: str
    format: str
    header: Header
    reader: Reader

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns at `positions` as numbers or text; InputDataError if the file cannot be read."""
        return self.reader.read(positions)

    def value_labels(self, position: int) -> ValueLabels:
        """Return code -> label of a column, without control characters; empty if the file has none."""
        return {code: one_line(label) for code, label in self.reader.value_labels(position).items()}

    def notes(self, positions: Sequence[int]) -> list[str]:
        """Return messages about the file and the cells of these columns; InputDataError if some cannot be used."""
        return [*self.reader.notes, *self.reader.cell_notes(positions)]

    def declared_missing(self, position: int) -> Sequence[MissingRange]:
        """Return the values that the file declares as missing in a column; empty if it declares none."""
        return self.reader.declared_missing(position)


class Header:
    """Finds columns by exact name, by name in any case, or by the name before a label (`Q1: Important in life`).

    Names are kept without control characters.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(map(one_line, names))
        self._tiers: tuple[dict[str, list[int]], ...] = ({}, {}, {})
        for position, name in enumerate(self.names):
            prefix = _NAME_BEFORE_LABEL.match(name)
            forms = (name, name.strip().casefold(), prefix[1].casefold() if prefix else None)
            for tier, form in zip(self._tiers, forms, strict=True):
                if form:
                    tier.setdefault(form, []).append(position)

    def find(self, wanted: str) -> int | None:
        """Return the position of the column called `wanted`, or None.

        Raises:
            InputDataError: several columns match equally well.
        """
        places = self.find_all(wanted)
        if len(places) > 1:
            shown = ", ".join(repr(self.names[place]) for place in places[:5])
            raise InputDataError(f"the column {wanted!r} appears {len(places)} times in the header ({shown}). Keep one of them.")
        return places[0] if places else None

    def find_all(self, wanted: str) -> list[int]:
        """Return the positions of all columns that match best."""
        wanted = one_line(wanted)
        form = wanted.strip().casefold()
        return self._tiers[0].get(wanted) or self._tiers[1].get(form) or self._tiers[2].get(form) or []

    def has(self, wanted: str) -> bool:
        """Whether at least one column matches."""
        return bool(self.find_all(wanted))


@contextmanager
def open_file(path: Path, sheet: str | None = None, sheet_option: str = "sheet") -> Generator[RawFile]:
    """Open a survey file of any supported format, or a .zip that holds exactly one.

    Args:
        path: the file.
        sheet: the sheet of an Excel workbook; None for the visible sheet with most columns.
        sheet_option: the name of the option that messages refer to.

    Raises:
        InputDataError: the file is absent, of an unknown or wrong format, truncated or empty. The message of every
            InputDataError raised while the file is open starts with its name.
        UsageError: a sheet of a file that is not a workbook.
    """
    check_file(path)
    name = one_line(path.name)
    with temporary_folder() as folder, _name_in_errors(name):
        inner, kind = path, _kind(path)
        if kind == "zip":
            inner = unpack(path, folder, FORMATS)
            kind = _kind(inner)
        if sheet is not None and kind != "excel":
            raise UsageError(f"{name}: ", Option(sheet_option, sheet), " names a sheet, but the file is not an Excel workbook.")
        reader = _reader(inner, kind, sheet, Option(sheet_option))
        yield RawFile(name, kind, Header(reader.columns), reader)


@contextmanager
def _name_in_errors(name: str) -> Generator[None]:
    """Put the name of the file before the message of an InputDataError, if it is not there."""
    try:
        yield
    except InputDataError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise InputDataError(f"{name}: ", error.message) from error


def _kind(path: Path) -> str:
    """Return the format; InputDataError if the ending is unknown or does not match the content."""
    named = FORMATS.get(path.suffix.lower())
    detected = sniff(path)
    if named is None:
        hint = f" It seems to be {_NAMES[detected]}." if detected not in (None, "csv") else ""
        raise InputDataError(f"the ending {path.suffix!r} is not one of {', '.join(FORMATS)}.{hint}")
    if path.stat().st_size == 0:
        raise InputDataError("the file is empty.")
    if detected is not None and detected != named and not (named == "csv" and detected == "page"):
        advice = " Download the file again." if detected in ("page", "pdf") else " Correct the file ending, or get the file again."
        raise InputDataError(f"this is not {_NAMES[named]}: it seems to be {_NAMES[detected]}.{advice}")
    return named


def sniff(path: Path) -> str | None:
    """Return the format that the first bytes of a file indicate, or None."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK"):
        return "excel" if _is_workbook(path) else "zip"
    magic = {
        b"\xd0\xcf\x11\xe0": "excel",
        b"$FL2": "sav",
        b"$FL3": "sav",
        b"<stata_dta>": "dta",
        b"PAR1": "parquet",
        b"RDX": "r",
        b"RDA": "r",
        b"X\n": "r",
        b"BZh": "r",
        b"\xfd7zXZ": "r",
        b"%PDF": "pdf",
    }
    for start, kind in magic.items():
        if head.startswith(start):
            return kind
    if (
        head[:1] in {b"\x69", b"\x6c", b"\x6e", b"\x6f", b"\x71", b"\x72", b"\x73"}
        and head[1:2] in {b"\x01", b"\x02"}
        and head[2:3] == b"\x01"
    ):
        return "dta"
    if head.startswith(b"\x1f\x8b"):
        return "r"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head")):
        return "page"
    return "csv" if (head and b"\x00" not in head) or head.startswith((b"\xff\xfe", b"\xfe\xff")) else None


def _is_workbook(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.startswith("xl/") or name == "[Content_Types].xml" for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return path.suffix.lower() in (".xlsx", ".xlsm")  # truncated: the reader of its format reports it


def _reader(path: Path, kind: str, sheet: str | None, sheet_option: Option) -> Reader:
    if kind == "csv":
        return CsvReader(path)
    if kind == "excel":
        return ExcelReader(path, sheet, sheet_option)
    if kind == "parquet":
        return ParquetReader(path)
    return RReader(path) if kind == "r" else StatReader(path, kind)
