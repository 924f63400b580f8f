"""Fitting a table into a number of columns: which columns are shown, and where cells are broken into lines."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

# Columns that are left out first where a table is too wide and its printer names none, least important first.
MINOR = ("folds", "fold", "seeds", "items", "coverage", "status", "pairs", "n eff")
# Least width of a column of text, and of one in a table that is still too wide.
_TEXT, _NARROWEST = 24, 12


@dataclass(frozen=True)
class FittedTable:
    """A table as it is printed.

    Attributes:
        headers, rows: cells with line breaks. widths: of the columns, in letters. numeric: which columns are set flush right.
        gap: letters between columns. left_out: headers of the columns that are not shown.
    """

    headers: list[str]
    rows: list[list[str]]
    widths: list[int]
    numeric: list[bool]
    gap: int
    left_out: list[str]

    def header_lines(self) -> list[str]:
        """Return the lines of the header."""
        return self._lines(self.headers)

    def body_lines(self) -> list[str]:
        """Return the lines of the rows."""
        return [line for row in self.rows for line in self._lines(row)]

    def _lines(self, row: Sequence[str]) -> list[str]:
        cells = [cell.split("\n") for cell in row]
        return [
            (" " * self.gap)
            .join(
                _padded(cell[place] if place < len(cell) else "", width, right=right)
                for cell, width, right in zip(cells, self.widths, self.numeric, strict=True)
            )
            .rstrip()
            for place in range(max(map(len, cells)))
        ]


def below(cell: str) -> str:
    """Put an interval under its value."""
    return cell.replace(" [", "\n[")


def _halved(cell: str) -> str:
    """Put an interval under its value, each end on its own line."""
    return re.sub(r"(\n\[[^\]]*?)(?: (?=to )|(?<=–))", r"\1\n", below(cell))


@dataclass(frozen=True)
class _Form:
    """How cells are written: numbers, whether headers stay on one line, space between columns, least width of text, names whole."""

    cell: Callable[[str], str]
    long_headers: bool
    gap: int = 2
    text: int = _TEXT
    whole_names: bool = True


# From wide to narrow.
_EASY = (
    _Form(str, long_headers=True),
    _Form(str, long_headers=False),
    _Form(below, long_headers=False),
    _Form(_halved, long_headers=False),
)
_TIGHT = (
    _Form(_halved, long_headers=False, gap=1, text=_NARROWEST),
    _Form(_halved, long_headers=False, gap=1, text=_NARROWEST, whole_names=False),
)


def fitted(
    headers: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool], width: int | None, minor: Sequence[int] | None = None
) -> FittedTable:
    """Fit a table into `width` letters.

    First headers and intervals get lines of their own, then the least important columns are left out, then columns move together and names
    are broken, and at last further columns are left out from the right. The first two columns always stay.

    Args:
        headers, rows: cells without line breaks. numeric: which columns have numbers, which are never broken.
        width: letters of a line; None for no limit.
        minor: columns that may be left out, least important first; by default those that `MINOR` names.
    """
    if width is None:
        return _as_it_is(headers, rows, numeric)
    if minor is None:
        minor = [place for name in MINOR for place, header in enumerate(headers) if header.lower() == name and place > 1]
    kept = list(range(len(headers)))
    least = [place for place in minor if place in kept]
    rest = [place for place in reversed(kept[2:]) if place not in least]
    without_minor = [place for place in kept if place not in least]
    choices = [(_without(kept, least[:number]), _EASY) for number in range(len(least) + 1)]
    choices += [(without_minor, _TIGHT)]
    choices += [(_without(without_minor, rest[:number]), (*_EASY[1:], *_TIGHT)) for number in range(1, len(rest) + 1)]
    for columns, forms in choices:
        for form in forms:
            if (found := _tried(headers, rows, numeric, columns, form, width)) is not None:
                return found
    return _as_it_is(headers, rows, numeric)


def _without(columns: Sequence[int], dropped: Sequence[int]) -> list[int]:
    return [place for place in columns if place not in dropped]


def _as_it_is(headers: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> FittedTable:
    widths = [max(cell_len(row[place]) for row in [headers, *rows]) for place in range(len(headers))]
    return FittedTable(list(headers), [list(row) for row in rows], widths, list(numeric), 2, [])


def _tried(
    headers: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool], columns: Sequence[int], form: _Form, width: int
) -> FittedTable | None:
    """Return the table in one form, None if it is too wide."""
    cells = [[form.cell(row[place]) for row in rows] for place in columns]
    least: list[int] = []
    natural: list[int] = []
    for place, column in zip(columns, cells, strict=True):
        header = headers[place]
        head = cell_len(header) if form.long_headers else _longest(header.split())
        longest = max(head, _longest(line for cell in column for line in cell.split("\n")))
        whole = numeric[place] or (place == 0 and form.whole_names)
        least.append(longest if whole else max(head, min(longest, form.text)))
        natural.append(max(longest, cell_len(header)))
    spare = width - form.gap * (len(columns) - 1) - sum(least)
    if spare < 0:
        return None
    widths = _widened(least, natural, spare)
    return FittedTable(
        [_wrapped(headers[place], wide) for place, wide in zip(columns, widths, strict=True)],
        [list(row) for row in zip(*(_lines_of(column, wide) for column, wide in zip(cells, widths, strict=True)), strict=True)],
        widths,
        [numeric[place] for place in columns],
        form.gap,
        [header for place, header in enumerate(headers) if place not in columns],
    )


def _widened(least: Sequence[int], natural: Sequence[int], spare: int) -> list[int]:
    """Share `spare` letters among the columns that need more than their least width, the same part to each."""
    wanted = sum(natural) - sum(least)
    share = min(1.0, spare / wanted) if wanted else 0.0
    return [low + int((high - low) * share) for low, high in zip(least, natural, strict=True)]


def _lines_of(column: Sequence[str], width: int) -> list[str]:
    """Return the cells of a column with lines of at most `width`."""
    return ["\n".join(_in_parts(line, width) if cell_len(line) > width else line for line in cell.split("\n")) for cell in column]


def _wrapped(header: str, width: int) -> str:
    return textwrap.fill(header, max(width, 1), break_long_words=False)


def _in_parts(name: str, width: int) -> str:
    """Break a text into lines of at most `width`, after spaces, hyphens, slashes, underscores and plus signs, else anywhere."""
    lines = [""]
    between = r"[^ ]*[ ]|[^ ]+" if " " in name else r"[^-/_+]*[-/_+]|[^-/_+]+"
    for part in re.findall(between, name):
        if len((lines[-1] + part).rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += part
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return "\n".join(line.rstrip() for line in lines)


def _longest(texts: Iterable[str]) -> int:
    return max((cell_len(text) for text in texts), default=0)


def _padded(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - cell_len(cell))
    return space + cell if right else cell + space
