"""What moves the answer (persona, order, template, chance) as a section of the page and on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from valuestrata.claims.variance import variance_lines
from valuestrata.report.core.cells import Grid, Td, Tr
from valuestrata.report.core.names import NONE, capital, count, number, percent
from valuestrata.report.core.section import Absent, Section
from valuestrata.report.export.terminal import print_frame
from valuestrata.scores.variance.table import GOLD, TOTAL, VARIANCE

if TYPE_CHECKING:
    from rich.console import Console

# Variances of answers on 0..1 need a digit more than scores do.
DIGITS = 4
TITLES: Mapping[str, str] = {
    "persona": "Persona",
    "order": "Order of the options",
    "paraphrase": "Paraphrase",
    "template": "Template",
    "combination": "Combination of these",
    "persona x presentation": "Persona × presentation",
    "sample": "Sampling, same prompt",
    "total": "All",
    "gold": "People: mean answers",
    "gold modes": "People: commonest answers",
}
_UNIT = (
    "Variance: of positions on a scale of 0 to 1, within items, mean over items; of nominal items half the sum over codes. It is not cut "
    "at 0, shares are."
)


def variance_section(table: pl.DataFrame, confidence: float = 0.95) -> Section | Absent:
    """Return the section: what may be said, then the components of each readout; by topic and by item folded away.

    Args:
        table: VARIANCE rows, of one or several models. confidence: of their intervals.
    """
    title = "What moves the answer"
    table = VARIANCE.check(table, "variance")
    if not _tells_anything(table):
        return title, "runs of several orders, templates or samples are needed to tell what moves the answer"
    section = Section("variance", title)
    section.intro = (
        "The same question, answered by the same model: how much of the difference between its answers is owed to the persona it was "
        "given, how much to the order of the options, the template or the wording, and how much to chance? What people of the same "
        "subgroups differ by stands below. What the design of the runs cannot tell apart has no figure of its own."
    )
    section.tables.append(("What may be said", lines_grid(variance_lines(table, confidence))))
    for (run, readout), rows in table.group_by("run", "elicitation", maintain_order=True):
        name = f"{run}, {readout}"
        section.tables.append((f"Components: {name}", components_grid(rows.filter(pl.col("by") == "all"), confidence)))
        for by in ("topic", "item"):
            if (grid := shares_grid(rows.filter(pl.col("by") == by), by)) is not None:
                section.folded.append((f"Shares by {by}: {name}", grid))
    return section


def _tells_anything(table: pl.DataFrame) -> bool:
    """Whether some table has two components, or one and people to hold it against."""
    whole = table.filter((pl.col("by") == "all") & pl.col("variance").is_not_null())
    parts = whole.filter(pl.col("against").is_null() & ~pl.col("component").is_in([TOTAL, *GOLD]))
    several = parts.group_by("run", "elicitation").len().filter(pl.col("len") > 1)
    return not several.is_empty() or whole["against"].is_not_null().any()


def lines_grid(lines: pl.DataFrame) -> Grid:
    """Return the lines, a row each, under the runs and readout they are of."""
    rows: list[Tr] = []
    last: tuple[str, str] | None = None
    for row in lines.iter_rows(named=True):
        here = (row["run"], row["elicitation"])
        claim, _, figures = str(row["line"]).partition(": ")
        first = here != last
        cells = (Td(row["run"] if first else "", row["elicitation"] if first else "", "text"), Td(claim, figures, "long"))
        rows.append(Tr(cells, "first" if first and last else ""))
        last = here
    return Grid(("Respondent model", "What may be said"), tuple(rows))


def components_grid(rows: pl.DataFrame, confidence: float) -> Grid:
    """Return the components of one table, a row each; joint ones, the whole and people's differences under them."""
    plain = rows.filter(pl.col("against").is_null()).to_dicts()
    made = [
        Tr(
            (
                Td(title_of(row["component"]), css="text"),
                Td(number(row["variance"], DIGITS), _ends(row["ci_low"], row["ci_high"], DIGITS)),
                Td(number(row["share"]), _ends(row["share_low"], row["share_high"])),
                Td(levels(row["levels"])),
                Td(row["note"] or "", css="long"),
            ),
            "first" if row["component"] in ("total", "gold") else "",
        )
        for row in plain
    ]
    unit = f"{_UNIT} {percent(confidence)} intervals, by resampling items."
    return Grid(("Owed to", "Variance", "Share", "Levels", "Note"), tuple(made), (), (unit, behind(plain)))


def shares_grid(rows: pl.DataFrame, by: str) -> Grid | None:
    """Return the shares of each key, a column a component that some key has; None where there is none."""
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
            cells.append(Td(number(row.get("share")), _ends(row.get("share_low"), row.get("share_high"))))
        made.append(Tr(tuple(cells)))
    return Grid((capital(by), "Items", "Variance", *(title_of(name) for name in names)), tuple(made))


def print_variance(table: pl.DataFrame, console: Console | None = None, *, confidence: float = 0.95) -> None:
    """Print the components of each readout over all items, then what may be said of them.

    Args:
        table: VARIANCE rows. console: where to; plain text where that is no terminal. confidence: of the intervals.
    """
    from rich.console import Console as Screen

    console = console or Screen()
    rows = VARIANCE.check(table, "variance").filter((pl.col("by") == "all") & pl.col("against").is_null())
    lines = variance_lines(table, confidence)
    for (run, readout), part in rows.group_by("run", "elicitation", maintain_order=True):
        plain = part.to_dicts()
        _say(f"{run}, {readout}. {behind(plain)}", console)
        print_frame(pl.DataFrame([_printed(row) for row in plain]), console)
        for row in plain:
            if row["note"]:
                _say(f"{title_of(row['component'])}: {row['note']}.", console)
        for line in lines.filter((pl.col("run") == run) & (pl.col("elicitation") == readout))["line"]:
            _say(f"  - {line}", console)


def _printed(row: Mapping[str, Any]) -> dict[str, str]:
    variance, share = number(row["variance"], DIGITS), number(row["share"])
    return {
        "owed to": title_of(row["component"]),
        "variance": _with_ends(variance, _ends(row["ci_low"], row["ci_high"], DIGITS)),
        "share": _with_ends(share, _ends(row["share_low"], row["share_high"])),
        "levels": levels(row["levels"]),
    }


def _with_ends(value: str, ends: str) -> str:
    return f"{value} [{ends}]" if ends else value


def behind(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say what stands behind a table: items, answers, and how many responses without an answer were left out."""
    row = next((row for row in rows if row["component"] == "total"), rows[0])
    missing = row["missing"] or 0
    left_out = f"; {count(missing)} responses without an answer are left out" if missing else ""
    return f"{count(row['items'])} items, {count(row['responses'])} answers{left_out}."


def title_of(component: str) -> str:
    """Return a component's heading; a joint one is called by its members."""
    names = component.split(" + ")
    return " + ".join(TITLES.get(name, name) for name in names)


def levels(value: float | None) -> str:
    """Write a mean number of levels: `2`, `21.2`."""
    return NONE if value is None else count(value) if value == int(value) else f"{value:,.1f}"


def _ends(low: float | None, high: float | None, digits: int = 3) -> str:
    if low is None or high is None:
        return ""
    # As `words.interval`, with as many digits as are wanted.
    return f"{number(low, digits)} to {number(high, digits)}" if low < 0 else f"{number(low, digits)}–{number(high, digits)}"


def _say(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
