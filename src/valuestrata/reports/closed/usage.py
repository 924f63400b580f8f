"""Calls, tokens, cost and time of runs with a called model, as a section of the page."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from valuestrata.formatting import NONE, count
from valuestrata.reports.core.cells import Grid, Td, Tr
from valuestrata.reports.core.section import Absent, Section
from valuestrata.reports.core.tables import usage_table
from valuestrata.reports.core.view import RunLike

_TITLE = "Calls, tokens and cost"


def usage_section(runs: Sequence[RunLike]) -> Section | Absent:
    """Return the section, or the reason without a called model."""
    table = usage_table(runs)
    if table.is_empty():
        return _TITLE, "no language model was called here"
    section = Section("usage", "What did it cost?", nav="Cost", folded=[(_TITLE, _grid(table))])
    section.intro = (
        "Over all responses of each run. An answer copied from another pair costs nothing. Seconds are summed over responses, so "
        "parallel calls count separately."
    )
    if (paid := table["cost"].sum()) and paid > 0:
        section.sentences.append(f"Total cost: ${paid:,.2f}." if paid >= 1 else f"Total cost: ${paid:.2g}.")
    return section


def _grid(table: pl.DataFrame) -> Grid:
    rows = [
        Tr(
            (
                Td(row["run"], css="text"),
                *(Td(count(row[name])) for name in ("responses", "calls", "prompt_tokens", "completion_tokens")),
                Td(NONE if row["cost"] is None else f"{row['cost']:,.4f}"),
                Td(NONE if row["seconds"] is None else f"{row['seconds']:,.0f}"),
                Td(count(row["failed"]), row["failures"]),
            )
        )
        for row in table.iter_rows(named=True)
    ]
    headers = ("Run", "Responses", "Calls", "Input tokens", "Output tokens", "US dollars", "Seconds", "Failed")
    return Grid(headers, tuple(rows))
