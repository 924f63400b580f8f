"""The report's tables on a terminal, or as plain text where the output is piped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from valuestrata.dataset import Dataset
from valuestrata.report.tables import FULL_COVERAGE, HEADLINE, headline_table
from valuestrata.report.view import Cell, RunLike
from valuestrata.report.words import count, interval, metric_title, minimum_cell, number
from valuestrata.responses.kinds import kind_of

if TYPE_CHECKING:
    from rich.console import Console


def print_headline(dataset: Dataset, runs: Sequence[RunLike], scores: pl.DataFrame, console: Console | None = None) -> None:
    """Print the headline table; plain text without colours or frames when the output is piped."""
    from rich.console import Console as Screen

    console = console or Screen()
    frame = headline_table(dataset, runs, scores)
    for (scheme, part), rows in frame.group_by("scheme", "part", maintain_order=True):
        shown = [metric for metric in HEADLINE if rows[metric].is_not_null().any()]
        # Columns in which nothing happened are said in a line, so that the others fit a terminal; a pipe gets them all.
        rates = [metric for metric in shown if metric in ("refusal_rate", "invalid_rate")]
        quiet = [metric for metric in rates if console.is_terminal and rows[metric].max() == 0]
        shown = [metric for metric in shown if metric not in quiet]
        complete = console.is_terminal and rows["coverage"].drop_nulls().min() == 1
        cells = [_terminal_row(row, shown, complete=complete) for row in rows.iter_rows(named=True)]
        headers = ["", *(metric_title(metric) for metric in shown), "Pairs", *([] if complete else ["Coverage"])]
        _print(headers, cells, console, f"Split {scheme}, part {part}; 95 % intervals in brackets")
        remarks = ["Every pair was answered."] if complete else []
        remarks += [f"{metric_title(metric)}: none." for metric in quiet]
        _say(" ".join([*remarks, f"Minimum cell: {minimum_cell(dataset)}."]), console)
        for row in rows.iter_rows(named=True):
            if row["coverage"] is not None and row["coverage"] < FULL_COVERAGE:
                _say(f"{row['row']} answered {row['coverage']:.1%} of the pairs only; its scores are of those pairs.", console)


def _terminal_row(row: dict[str, Any], shown: Sequence[str], *, complete: bool) -> list[str]:
    cells = [row["row"]]
    for metric in shown:
        ends = interval(Cell(row[metric], row[f"{metric}_low"], row[f"{metric}_high"]))
        cells.append("" if row[metric] is None else number(row[metric]) + (f" [{ends}]" if ends else ""))
    covered = "" if row["coverage"] is None else number(row["coverage"])
    return [*cells, count(row["pairs"]), *([] if complete else [covered])]


def print_verdicts(runs: Sequence[RunLike], verdicts: pl.DataFrame, console: Console | None = None) -> None:
    """Print the verdict lines of models and controls among `runs`; of all of `runs` where there is neither."""
    judged = [run.name for run in runs if kind_of(run)[0] != "baseline"] or [run.name for run in runs]
    for name in judged:
        rows = verdicts.filter(pl.col("run") == name)
        _say(f"{name}:" if len(rows) else f"{name}: no rule applies.", console)
        for row in rows.iter_rows(named=True):
            _say(f"  - {row['verdict']}" + (f" [{row['status']}]" if row["status"] else ""), console)


def print_frame(frame: pl.DataFrame, console: Console | None = None) -> None:
    """Print any frame with the report's numbers; plain when the output is piped."""
    numeric = [dtype.is_numeric() for dtype in frame.dtypes]
    rows = [[_plain_value(value) for value in row] for row in frame.iter_rows()]
    _print([name.replace("_", " ") for name in frame.columns], rows, console, None, numeric)


def _plain_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return number(value)
    return count(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _say(line: str, console: Console | None) -> None:
    from rich.console import Console as Screen

    (console or Screen()).print(line, markup=False, highlight=False, soft_wrap=True)


def _print(
    headers: list[str], rows: list[list[str]], console: Console | None, title: str | None, numeric: list[bool] | None = None
) -> None:
    from rich import box
    from rich.console import Console as Screen
    from rich.table import Table
    from rich.text import Text

    screen = console or Screen()
    numeric = numeric or [False] + [True] * (len(headers) - 1)
    if title:
        _say(title, screen)
    if not screen.is_terminal:
        # A pipe has no width to fit into: columns are padded, nothing is wrapped or cut.
        widths = [max(len(line[i]) for line in [headers, *rows]) for i in range(len(headers))]
        for line in [headers, *rows]:
            padded = (t.rjust(w) if right else t.ljust(w) for t, w, right in zip(line, widths, numeric, strict=True))
            _say("  ".join(padded).rstrip(), screen)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header, right in zip(headers, numeric, strict=True):
        table.add_column(Text(header), justify="right" if right else "left", overflow="fold")
    wide = sum(max(len(line[i]) for line in [headers, *rows]) + 2 for i in range(len(headers))) <= screen.width
    for row in rows:
        # In a narrow terminal an interval stands under its value instead of breaking in the middle.
        table.add_row(*(Text(cell if wide else cell.replace(" [", "\n[")) for cell in row))
    screen.print(table)
