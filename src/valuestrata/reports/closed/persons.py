"""Scores by person, as a section of the page and on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from valuestrata.formatting import capital, count
from valuestrata.reports.core.cells import Grid, Td, Tr, scored
from valuestrata.reports.core.names import interval, with_interval
from valuestrata.reports.core.section import Section
from valuestrata.reports.core.view import cell_of
from valuestrata.reports.export.terminal import print_frame, print_line

if TYPE_CHECKING:
    from rich.console import Console

    from valuestrata.reports.export.printer import Printer

TITLES: Mapping[str, str] = {
    "agreement": "Agreement",
    "agreement_mode": "Agreement of the item's mode",
    "agreement_lookup": "Agreement of a lookup",
    "agreement_over_mode": "Agreement minus that of the mode",
    "agreement_over_lookup": "Agreement minus that of the lookup",
    "correlation": "Correlation",
    "spread": "Spread",
}
_READING = (
    "Agreement: share of persons' answers that the model gives too, mean over items. Item's mode and lookup by demographics: the same for "
    "predictions from other persons. Correlation: over persons, within items. Spread: standard deviation of the model's answers over that "
    "of the persons'; below 1, its persons are too alike. Intervals are for other persons and other questions of this kind (blocks are "
    "resampled); those on these questions are for other persons only."
)


def persons_section(table: pl.DataFrame) -> Section | None:
    """Return the section; None if no run has scores by person.

    Args:
        table: `run` and PERSON_SCORES (`load_person_scores`).
    """
    if table.is_empty():
        return None
    section = Section("persons", "Does it answer as each person did?", nav="Persons", method=[_READING])
    section.folded.append(("Over all items", _grid(table.filter(pl.col("by") == "all"), "")))
    for by in ("topic", "item"):
        rows = table.filter(pl.col("by") == by)
        section.folded.append((f"By {by}", _grid(rows, capital(by))))
    return section


def _grid(rows: pl.DataFrame, by: str) -> Grid:
    headers = ("Run", *([by] if by else []), "Figure", "Value", "On these questions", "Items", "Persons")
    made: list[Tr] = []
    for row in rows.iter_rows(named=True):
        first = row["metric"] == next(iter(TITLES))
        keys = [Td(row["run"] if first else "", css="text"), *([Td(row["key"] if first else "", css="text")] if by else [])]
        cells = (Td(TITLES[row["metric"]], css="text"), scored(cell_of(row)), Td(_interval(row)), Td(count(row["items"])))
        made.append(Tr((*keys, *cells, Td(count(row["persons"]))), "first" if first else ""))
    return Grid(headers, tuple(made))


def _interval(row: Mapping[str, Any]) -> str:
    return interval(cell_of(row, ends="these"), 3)


def print_persons(table: pl.DataFrame, console: Console | Printer | None = None) -> None:
    """Print the scores by person over all items; nothing without any.

    Args:
        table: `run` and PERSON_SCORES. console: where to print; standard output if left out.
    """
    rows = table.filter(pl.col("by") == "all").to_dicts()
    if not rows:
        return
    printed = [
        {
            "": row["run"],
            "Person by person": TITLES[row["metric"]],
            "Value": with_interval(cell_of(row)),
            "On these questions": _interval(row),
            "Items": count(row["items"]),
            "Persons": count(row["persons"]),
        }
        for row in rows
    ]
    print_frame(pl.DataFrame(printed), console, values=table.filter(pl.col("by") == "all"))
    print_line(_READING, console)
