"""Reads Excel workbooks: chooses the sheet, and reports cells that have no usable value.

The library fastexcel reads error values as empty cells and formulas without a stored value as empty text, so the XML of the
sheet is searched for them.
"""

from __future__ import annotations

import html
import posixpath
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import fastexcel
import polars as pl

from valuestrata.errors import InputDataError, Option, did_you_mean, one_line
from valuestrata.survey.formats.archives import check_workbook
from valuestrata.survey.formats.columns import Reader, first_line

Result = TypeVar("Result")

# A cell far from the others makes fastexcel reserve memory for all cells between them.
_MOST_CELLS = 2**27
_SHOWN = 5

_SHEET = re.compile(r"<(?:\w+:)?sheet\b([^>]*)>")
_RELATION = re.compile(r"<(?:\w+:)?Relationship\b([^>]*)>")
_ATTRIBUTE = re.compile(r"""([\w:]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_FAR = re.compile(rb""" r=["'](?:[A-Za-z]{3,}\d|[A-Za-z]+\d{5})""")
_PLACE = re.compile(rb""" r=["']([A-Za-z]+)(\d+)["']""")
_CELL = re.compile(rb"<(?:\w+:)?c\b([^>]*[^>/])>(.*?)</(?:\w+:)?c>", re.DOTALL)
_VALUE = re.compile(rb"<(?:\w+:)?v\b[^>]*>([^<]+)</")
_FORMULA = re.compile(rb"<(?:\w+:)?f\b")
_MERGED = re.compile(rb"""<(?:\w+:)?mergeCell\b[^>]*\bref=["']([A-Z]+)(\d+):([A-Z]+)(\d+)["']""")


@dataclass(frozen=True)
class _Table:
    """A sheet that starts with a row of column names. `first_column` is 0 for A; `rows` counts the rows below the names."""

    name: str
    header: tuple[str, ...]
    first_column: int
    rows: int
    visible: bool

    @property
    def names(self) -> set[str]:
        return {name.strip().casefold() for name in self.header if name.strip()}


class ExcelReader(Reader):
    """A sheet of a workbook. Cells are text, because a column may hold labels and numbers.

    Args:
        path: the workbook.
        sheet: the name of the sheet; None for the visible sheet with most columns.
        option: the option that chooses the sheet, for messages.

    Raises:
        InputDataError: damaged, no sheet with column names, or several sheets that could be the data.
    """

    def __init__(self, path: Path, sheet: str | None, option: Option) -> None:
        self._xml: dict[str, bytes] = {}
        if zipfile.is_zipfile(path):
            check_workbook(path)
            self._xml = _sheets_xml(path)
        self._book = _excel(lambda: fastexcel.read_excel(path))
        tables = [table for name in self._book.sheet_names if (table := self._table(name)) is not None]
        chosen = _named(sheet, tables, self._book.sheet_names) if sheet is not None else _only(tables, option)
        self._sheet, self.columns, self._first = chosen.name, chosen.header, chosen.first_column
        self._xml = {self._sheet: self._xml.get(self._sheet, b"")}
        others = [f"{one_line(t.name)!r}{'' if t.visible else ' (hidden)'}" for t in tables if t is not chosen]
        self.notes = (f"The sheet {one_line(chosen.name)!r} was read; not {', '.join(others)}.",) if others else ()

    def _table(self, name: str) -> _Table | None:
        _check_extent(name, self._xml.get(name, b""))
        try:
            sheet = self._book.load_sheet(name, header_row=None, n_rows=1, dtypes="string")
        except fastexcel.FastExcelError as error:
            if "not a valid worksheet" in str(error):  # a chart
                return None
            raise InputDataError(f"not a readable Excel workbook, or one cut short ({first_line(error)}).") from error
        first = _excel(sheet.to_polars)
        header = tuple("" if cell is None else str(cell) for cell in first.row(0)) if first.height else ()
        if len(header) < 2:
            return None
        return _Table(name, header, sheet.selected_columns[0].absolute_index, sheet.total_height - 1, sheet.visible == "visible")

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as text."""
        wanted = sorted(set(positions))
        frame: pl.DataFrame = _excel(
            lambda: self._book.load_sheet(self._sheet, header_row=0, use_columns=wanted, dtypes="string").to_polars()
        )
        columns = dict(zip(wanted, frame.get_columns(), strict=True))
        return [columns[position] for position in positions]

    def cell_notes(self, positions: Sequence[int]) -> list[str]:
        """Return messages about error values and merged cells; InputDataError if a formula has no stored result."""
        xml = self._xml[self._sheet]
        sheet = one_line(self._sheet)
        columns = {self._first + position for position in positions}
        errors: list[str] = []
        unsaved: list[str] = []
        if any(mark in xml for mark in (b't="e"', b"t='e'", b"<f", b":f")):
            for attributes, content in _CELL.findall(xml):
                place = _PLACE.search(b" " + attributes)
                if place is None or _index(place[1]) not in columns:
                    continue
                value = _VALUE.search(content)
                kind = _attributes(attributes.decode(errors="replace")).get("t")
                at = f"{sheet}!{(place[1] + place[2]).decode()}"
                if kind == "e":
                    errors.append(f"{at} {one_line(value[1].decode(errors='replace'))}" if value else at)
                elif value is None and kind != "str" and kind != "inlineStr" and _FORMULA.search(content):
                    unsaved.append(at)
        if unsaved:
            raise InputDataError(
                f"{_some(unsaved)}: a formula has no stored result. Open the workbook in a spreadsheet program, save it, and try again."
            )
        notes = [f"Cells with an error were read as empty: {_some(errors)}."] if errors else []
        merged = [
            f"{sheet}!{(a + b).decode()}:{(c + d).decode()}"
            for a, b, c, d in (_MERGED.findall(xml) if b"mergeCell" in xml else ())
            if int(d) > 1 and columns.intersection(range(_index(a), _index(c) + 1))
        ]
        return [
            *notes,
            *([f"Of merged cells only the first has a value; the others were read as empty: {_some(merged)}."] if merged else []),
        ]


def _only(tables: Sequence[_Table], option: Option) -> _Table:
    """Return the visible table with most columns, unless another one could be the data as well."""
    visible = [table for table in tables if table.visible]
    candidates = [table for table in visible if table.rows > 0] or visible
    if not candidates:
        if tables:
            hidden = ", ".join(repr(one_line(table.name)) for table in tables)
            raise InputDataError(f"only hidden sheets hold a table ({hidden}). To read one, name it with ", option, ".")
        raise InputDataError("no sheet of the workbook starts with a row of column names.")
    widest = max(candidates, key=lambda table: len(table.header))
    rivals = [
        table for table in candidates if len(table.header) == len(widest.header) or 2 * len(table.names & widest.names) >= len(widest.names)
    ]
    if len(rivals) > 1:
        shown = "; ".join(f"{one_line(t.name)!r} ({len(t.header)} columns, {t.rows:,} rows)" for t in rivals[:_SHOWN])
        raise InputDataError(f"{len(rivals)} sheets could be the data: {shown}. Name one with ", option, ".")
    return widest


def _named(wanted: str, tables: Sequence[_Table], names: Sequence[str]) -> _Table:
    same = [name for name in names if name == wanted] or [name for name in names if name.strip().casefold() == wanted.strip().casefold()]
    if not same:
        raise InputDataError(f"there is no sheet {one_line(wanted)!r}.{did_you_mean(wanted, [one_line(name) for name in names])}")
    for table in tables:
        if table.name == same[0]:
            return table
    raise InputDataError(f"the sheet {one_line(wanted)!r} does not start with a row of column names.")


def _excel(call: Callable[[], Result]) -> Result:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    except (fastexcel.FastExcelError, OSError, ValueError) as error:
        raise InputDataError(f"not a readable Excel workbook, or one cut short ({first_line(error)}).") from error


def _sheets_xml(path: Path) -> dict[str, bytes]:
    """Return sheet name -> XML. Parts that are absent or unreadable are left to fastexcel, which reports them."""
    with zipfile.ZipFile(path) as archive:
        parts = set(archive.namelist())

        def text(part: str) -> str:
            return archive.read(part).decode(errors="replace") if part in parts else ""

        targets = {
            found.get("Id"): found.get("Target", "") for found in map(_attributes, _RELATION.findall(text("xl/_rels/workbook.xml.rels")))
        }
        sheets: dict[str, bytes] = {}
        for found in map(_attributes, _SHEET.findall(text("xl/workbook.xml"))):
            relation = next((value for name, value in found.items() if name.endswith(":id")), None)
            part = posixpath.normpath(posixpath.join("xl", targets.get(relation, "-").lstrip("/").removeprefix("xl/")))
            if part in parts:
                sheets[found.get("name", "")] = archive.read(part)
        return sheets


def _check_extent(sheet: str, xml: bytes) -> None:
    """Raise InputDataError if the rectangle around the cells of a sheet does not fit the memory."""
    if _FAR.search(xml):
        rows = columns = 0
        for column, row in _PLACE.findall(xml):
            rows, columns = max(rows, int(row[:12])), max(columns, _index(column[:6]) + 1)
        if rows * columns > _MOST_CELLS:
            raise InputDataError(
                f"the cells of the sheet {one_line(sheet)!r} span {rows:,} rows and {columns:,} columns. Delete those far from the table."
            )


def _attributes(text: str) -> dict[str, str]:
    return {name: html.unescape(double or single) for name, double, single in _ATTRIBUTE.findall(text)}


def _index(letters: bytes) -> int:
    """Return the position of a column: 0 for A, 26 for AA."""
    place = 0
    for letter in letters.upper():
        place = place * 26 + letter - 64
    return place - 1


def _some(places: Sequence[str]) -> str:
    more = f" and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else ""
    return ", ".join(places[:_SHOWN]) + more
