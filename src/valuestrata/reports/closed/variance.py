"""Variance components as a section of the page and on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from valuestrata.claims.variance import variance_claims
from valuestrata.formatting import NONE, capital, count, number, percent
from valuestrata.reports.core.cells import Grid, Td, Tr, scored
from valuestrata.reports.core.names import with_interval
from valuestrata.reports.core.section import Absent, Section, claim_lists
from valuestrata.reports.core.view import cell_of
from valuestrata.reports.export.terminal import print_claims, print_frame, print_line
from valuestrata.scores.variance.table import GOLD, TOTAL, VARIANCE

if TYPE_CHECKING:
    from rich.console import Console

    from valuestrata.reports.export.printer import Printer

# Variances of answers on 0 to 1 need more digits than scores.
DIGITS = 4
TITLES: Mapping[str, str] = {
    "persona": "Persona",
    "order": "Order of the options",
    "paraphrase": "Paraphrase",
    "template": "Template",
    "combination": "Combination of these",
    "persona x presentation": "Persona × presentation",
    "sample": "Sampling, same prompt",
    "repeat": "Repeated answers, same pair",
    "person": "People of a subgroup",
    "total": "All",
    "gold": "Respondents: mean answers",
    "gold modes": "Respondents: most common answers",
}
_UNIT = (
    "Variance of positions on a scale of 0 to 1, within items, mean over items; of nominal items, half the sum over codes. Variances may "
    "be negative, shares may not."
)


def variance_section(table: pl.DataFrame, confidence: float = 0.95) -> Section | Absent:
    """Return the section: claims, then the components of each elicitation; those by topic and item folded away.

    Args:
        table: VARIANCE rows, of one or several models. confidence: of their intervals.
    """
    title = "Sources of variance in the answers"
    table = VARIANCE.check(table, "variance")
    if not _has_comparison(table):
        return title, "needs runs with several orders, templates or samples"
    section = Section("variance", "What do its answers depend on besides the persona?", nav="Variance")
    section.intro = (
        "How much of the variance between answers of the same model to the same question comes from the persona, the order of the options, "
        "the template or wording, and repetition; and how much real subgroups differ. Sources that the runs cannot separate are joined."
    )
    for run, elicitation, rows in _tables(table):
        name = f"{run}, {elicitation}"
        claims = variance_claims(rows, confidence)
        section.claims += [replace(one, heading=name) for one in claim_lists(claims)]
        section.folded.append((f"Components: {name}", components_grid(rows.filter(pl.col("by") == "all"), confidence)))
        for by in ("topic", "item"):
            if (grid := shares_grid(rows.filter(pl.col("by") == by), by)) is not None:
                section.folded.append((f"Shares by {by}: {name}", grid))
    return section


def _tables(table: pl.DataFrame) -> list[tuple[str, str, pl.DataFrame]]:
    """Return (run, elicitation, rows) of each run and elicitation."""
    return [(str(run), str(readout), rows) for (run, readout), rows in table.group_by("run", "elicitation", maintain_order=True)]


def _has_comparison(table: pl.DataFrame) -> bool:
    """Whether some table has two components, or one and a comparison with respondents."""
    whole = table.filter((pl.col("by") == "all") & pl.col("variance").is_not_null())
    parts = whole.filter(pl.col("against").is_null() & ~pl.col("component").is_in([TOTAL, *GOLD]))
    several = parts.group_by("run", "elicitation").len().filter(pl.col("len") > 1)
    return not several.is_empty() or whole["against"].is_not_null().any()


def components_grid(rows: pl.DataFrame, confidence: float) -> Grid:
    """Return the components of one table, one row each: single and joint components, the total, and the respondents."""
    plain = rows.filter(pl.col("against").is_null()).to_dicts()
    made = [
        Tr(
            (
                Td(title_of(row["component"]), css="text"),
                scored(cell_of(row, "variance"), DIGITS),
                scored(cell_of(row, "share", "share")),
                Td(levels(row["levels"])),
                Td(row["note"] or "", css="long"),
            ),
            "first" if row["component"] in ("total", "gold") else "",
        )
        for row in plain
    ]
    unit = f"{_UNIT} {percent(confidence)} intervals, from a bootstrap of blocks of items."
    return Grid(("Source", "Variance", "Share", "Levels", "Note"), tuple(made), (), (unit, sample_of(plain)))


def shares_grid(rows: pl.DataFrame, by: str) -> Grid | None:
    """Return the shares of each key, one column per component; None without a share."""
    known = rows.filter(pl.col("against").is_null() & pl.col("share").is_not_null() & (pl.col("component") != "total"))
    if known.is_empty():
        return None
    names = known["component"].unique(maintain_order=True).to_list()
    names = [name for name in TITLES if name in names] + [name for name in names if name not in TITLES]
    shares = {(row["key"], row["component"]): row for row in known.to_dicts()}
    totals = {row["key"]: row for row in rows.filter((pl.col("component") == "total") & pl.col("against").is_null()).to_dicts()}
    made: list[Tr] = []
    for key, total in totals.items():
        cells = [Td(key, css="text"), Td(count(total["items"])), Td(number(total["variance"], DIGITS))]
        for name in names:
            row = shares.get((key, name), {})
            cells.append(scored(cell_of(row, "share", "share")))
        made.append(Tr(tuple(cells)))
    return Grid((capital(by), "Items", "Variance", *(title_of(name) for name in names)), tuple(made))


def print_variance(
    table: pl.DataFrame, console: Console | Printer | None = None, *, confidence: float = 0.95, all_claims: bool = False
) -> None:
    """Print the components of each elicitation over all items, then the claims.

    Args:
        table: VARIANCE rows. console: where to print; standard output if left out. confidence: of the intervals.
        all_claims: whether to print all claims, or the five most important ones.
    """
    table = VARIANCE.check(table, "variance")
    for run, elicitation, rows in _tables(table):
        plain = rows.filter((pl.col("by") == "all") & pl.col("against").is_null()).to_dicts()
        print_line(f"{run}, {elicitation}. {sample_of(plain)}", console)
        print_frame(pl.DataFrame([_printed(row) for row in plain]), console, values=pl.DataFrame(plain, schema=rows.schema))
        for row in plain:
            if row["note"]:
                print_line(f"{title_of(row['component'])}: {row['note']}.", console)
        print_claims(variance_claims(rows, confidence), console, all_claims=all_claims)


def _printed(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "source": title_of(row["component"]),
        "variance": with_interval(cell_of(row, "variance"), DIGITS),
        "share": with_interval(cell_of(row, "share", "share")),
        "levels": levels(row["levels"]),
    }


def sample_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the sample of a table: items, answers, and the responses without an answer that were left out."""
    row = next((row for row in rows if row["component"] == "total"), rows[0])
    missing = row["missing"] or 0
    left_out = f"; {count(missing)} responses without an answer are left out" if missing else ""
    return f"{count(row['items'])} items, {count(row['responses'])} answers{left_out}."


def title_of(component: str) -> str:
    """Return the heading of a component, or of a joint one: those of its members."""
    names = component.split(" + ")
    return " + ".join(TITLES.get(name, name) for name in names)


def levels(value: float | None) -> str:
    """Write a mean number of levels: `2`, `21.2`."""
    return NONE if value is None else count(value) if value == int(value) else f"{value:,.1f}"
