"""Reads tables of text: values separated by comma, semicolon, tab or bar.

Every row must hold as many fields as the header. The parser of Polars fills short rows and guesses at unbalanced quotation
marks, so rows are checked before it runs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import polars as pl

from valuestrata.errors import InputDataError
from valuestrata.survey.formats.columns import Reader

# Blank lines are skipped, but a file of blank lines only would fill the memory.
_MOST_BLANK_LINES = 1_000_000
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


class CsvReader(Reader):
    """Text separated by comma, semicolon, tab or bar, in UTF-8, UTF-16 or Windows-1252."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        if not data.strip(b"\x00 \t\r\n\xef\xbb\xbf"):
            raise InputDataError("the file is empty.")
        text, self.notes = _decode(data)
        start = text[:200].lstrip().lower()
        if start.startswith(("<!doctype", "<html", "<?xml", "<head")):
            raise InputDataError("this is a web page, not a table; the download failed. Download the file again.")
        if (zero := text.find("\x00")) >= 0:
            raise InputDataError(f"line {_line_at(text, zero)} holds a NUL character, so the file is damaged. Get a complete copy.")
        self._text = text
        self._separator, header = _header(text)
        self.columns = tuple(header)
        self._rows = self._check_rows()

    def _check_rows(self) -> int:
        """Return the number of rows below the header, with blank ones; InputDataError if a row has too few or too many fields."""
        width = len(self.columns)
        first: tuple[int, int] | None = None
        wrong = rows = blank = last = 0
        for line, fields in _field_counts(self._text, self._separator):
            rows += 1
            last = line
            if fields == 0:
                blank += 1
                if blank > _MOST_BLANK_LINES:
                    raise InputDataError(f"more than {_MOST_BLANK_LINES:,} lines are blank. Remove them, or get a complete copy.")
            elif fields != width:
                wrong += 1
                first = first or (line, fields)
        if first is None:
            return rows - 1
        line, found = first
        if line == last and found < width:
            raise InputDataError(
                f"the last line (line {line}) holds {found} of {width} fields, so the file is truncated. Get a complete copy."
            )
        more = f" {wrong - 1:,} other lines also differ." if wrong > 1 else ""
        raise InputDataError(
            f"line {line} holds {found} fields, but the header has {width} (separated by {_SEPARATORS[self._separator]}).{more} "
            "Correct these lines, or get a complete copy."
        )

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as text."""
        wanted = sorted(set(positions))
        if self._rows < 1:
            raise InputDataError("the file holds column names but no rows.")
        self._within_limit(self._rows, len(wanted))
        try:
            frame = pl.read_csv(self._text.encode(), separator=self._separator, columns=wanted, infer_schema=False)
        except pl.exceptions.PolarsError:
            frame = None
        # Polars also takes quotation marks inside a field, such as 5" pipe, for the start of a quoted field.
        columns = frame.get_columns() if frame is not None and frame.height == self._rows else self._parsed(wanted)
        found = dict(zip(wanted, columns, strict=True))
        return [found[position] for position in positions]

    def _parsed(self, wanted: Sequence[int]) -> list[pl.Series]:
        rows = _rows(self._text, self._separator)
        next(rows)
        kept = [fields for _, fields in rows if len(fields) == len(self.columns)]
        return [pl.Series(self.columns[place], [fields[place] or None for fields in kept], dtype=pl.String) for place in wanted]


def _decode(data: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the text with its line ends as single newlines, and messages for the user."""
    notes: tuple[str, ...] = ()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    elif len(data) > 3 and data[1::2].count(0) > 0.4 * len(data):  # UTF-16 without a byte order mark
        text = data.decode("utf-16-le", errors="replace")
    elif len(data) > 3 and data[::2].count(0) > 0.4 * len(data):
        text = data.decode("utf-16-be", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            text = data.decode("utf-8-sig", errors="surrogateescape")
            wrong = sum("\udc80" <= letter <= "\udcff" for letter in text)
            right = sum(letter > "\x7f" for letter in text) - wrong
            if right > wrong:
                line = data.count(b"\n", 0, error.start) + 1
                notes = (
                    f"{wrong} bytes are not UTF-8, unlike the rest of the file; they were replaced by \ufffd (the first in line {line}).",
                )
                text = data.decode("utf-8-sig", errors="replace")
            else:
                # Windows-1252 includes the one_line characters of Latin-1.
                text = data.decode("cp1252", errors="replace")
    return text.rstrip("\x00\x1a").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n", notes


def _header(text: str) -> tuple[str, list[str]]:
    """Return the separator that gives header and first row the same, largest number of fields, and the header."""
    best: tuple[tuple[bool, int], str, list[str]] = ((False, 0), "", [])
    for separator in _SEPARATORS:
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


def _field_counts(text: str, separator: str) -> Iterator[tuple[int, int]]:
    """Yield the line on which each row starts and its number of fields, which is 0 for a blank row."""
    if '"' in text:
        for line, fields in _rows(text, separator):
            yield line, len(fields) if any(field.strip() for field in fields) else 0
    else:
        blank = separator + " \t"
        for line, row in enumerate(_lines(text), start=1):
            yield line, row.count(separator) + 1 if row.strip(blank + "\n") else 0


def _rows(text: str, separator: str) -> Generator[tuple[int, list[str]]]:
    """Yield the line on which each row starts and its fields.

    Raises:
        InputDataError: a quoted field that does not end at a separator, or is longer than 131,072 characters.
    """
    reader = csv.reader(_lines(text), delimiter=separator, strict=True)
    line = 1
    try:
        for fields in reader:
            yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        problem = "its last quotation mark is not closed" if "end of data" in str(error) else str(error)
        raise InputDataError(
            f"the row that starts on line {line} cannot be read ({problem}). Check its quotation marks, or get a complete copy."
        ) from error


def _lines(text: str) -> Iterator[str]:
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start : end + 1]
        start = end + 1
    if start < len(text):
        yield text[start:]


def _line_at(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
