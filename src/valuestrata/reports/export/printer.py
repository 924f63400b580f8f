"""Where tables and lines are printed, and how: as text that fits, or as Markdown, CSV or LaTeX for another document."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import polars as pl

from valuestrata.errors import Option, printable
from valuestrata.frames import csv_text
from valuestrata.markdown import escaped_markdown, markdown_table
from valuestrata.reports.export.latex import latex_table
from valuestrata.reports.export.layout import below, fitted

if TYPE_CHECKING:
    from rich.console import Console

TableFormat = Literal["text", "markdown", "csv", "latex"]
TABLE_FORMATS: tuple[TableFormat, ...] = get_args(TableFormat)
# Width of text that is not printed on a terminal.
PIPED = 100


@dataclass
class Printer:
    """Prints the output of commands.

    Attributes:
        console: where text goes. form: of tables; lines between them are Markdown paragraphs, LaTeX comments, or, with CSV, on stderr.
        wide: print every column on one line, whatever the width.
        tables: how many tables were printed.
    """

    console: Console
    form: TableFormat = "text"
    wide: bool = False
    tables: int = 0

    @property
    def width(self) -> int | None:
        """Letters of a line of a table; None for no limit."""
        return None if self.wide else self.console.width if self.console.is_terminal else PIPED

    @property
    def is_complete(self) -> bool:
        """Whether every column is printed, also those without information."""
        return self.wide or self.form != "text"

    def line(self, line: str = "") -> None:
        """Print one line without markup and without wrapping."""
        text = printable(line)
        if self.form == "csv":
            print(text, file=sys.stderr)
        elif self.form == "markdown":
            self._plain(f"{escaped_markdown(text)}\n" if text.strip() else "")
        elif self.form == "latex":
            self._plain("\n".join(f"% {part}" for part in text.splitlines() if part.strip()))
        else:
            self._plain(text)

    def table(
        self,
        headers: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        title: str | None = None,
        numeric: Sequence[bool] | None = None,
        minor: Sequence[int] | None = None,
        frame: pl.DataFrame | None = None,
    ) -> None:
        """Print a table.

        Args:
            headers: of the columns.
            rows: cells.
            title: printed above it.
            numeric: which columns hold numbers; by default all but the first.
            minor: columns that are left out first, as for `fitted`.
            frame: the unrounded values, which CSV has instead of the cells.
        """
        # In a table a line end is a layout of its own, so it may not come from a name.
        heads, *cells = [[printable(cell).replace("\n", " ") for cell in line] for line in [headers, *rows]]
        self.tables += 1
        right = list(numeric) if numeric is not None else [False] + [True] * (len(heads) - 1)
        if self.form == "latex":
            stacked = [[below(cell) if is_right else cell for cell, is_right in zip(row, right, strict=True)] for row in cells]
            aligned = "".join("r" if is_right else "l" for is_right in right)
            self._plain(latex_table(heads, stacked, caption=title, align=aligned))
            return
        if title:
            self.line(title)
        if self.form == "csv":
            values = pl.DataFrame(dict(zip(_unique(heads), map(list, zip(*cells, strict=True)), strict=True))) if frame is None else frame
            # An empty line separates tables; a single one is a plain CSV file.
            self._plain(("\n" if self.tables > 1 else "") + csv_text(_without_lists(values)).removesuffix("\n"))
        elif self.form == "markdown":
            self._plain(f"{markdown_table([escaped_markdown(head) for head in heads], cells)}\n")
        else:
            self._text(heads, cells, right, minor)

    def _text(self, heads: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool], minor: Sequence[int] | None) -> None:
        found = fitted(heads, cells, right, self.width, minor)
        header, body = found.header_lines(), found.body_lines()
        if self.console.is_terminal:
            body = ["-" * max(map(len, [*header, *body]), default=0), *body]
        for line in [*header, *body]:
            self._plain(line)
        if found.left_out:
            names = ", ".join(dict.fromkeys(found.left_out))
            self._plain(f"Left out to fit {self.width} columns: {names}. {Option('wide').render('cli')} shows everything.")

    def _plain(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def printer_of(where: Console | Printer | None) -> Printer:
    """Return a printer for a console; standard output if there is none."""
    if isinstance(where, Printer):
        return where
    if where is None:
        from rich.console import Console

        where = Console()
    return Printer(where)


def _unique(names: Sequence[str]) -> list[str]:
    """Return names for the columns of a frame: repeated ones are numbered."""
    return [name if names.index(name) == place else f"{name} {names[:place].count(name) + 1}" for place, name in enumerate(names)]


def _without_lists(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose lists are texts, which CSV can hold."""
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    return frame.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join("; ") for name in lists)
