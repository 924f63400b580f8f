"""The report's tables on a terminal, or as plain text where the output is piped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from valuestrata.audit.answer_sentences import RATES
from valuestrata.audit.assemble import Audit
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


def print_audit(dataset: Dataset, runs: Sequence[RunLike], audit: Audit, verdicts: pl.DataFrame, console: Console | None = None) -> None:
    """Print how far apart the subgroups of each run are, beside what noise alone gives, then the verdict lines of models and controls."""
    from rich.console import Console as Screen

    console = console or Screen()
    whole = audit.disparity.filter((pl.col("by") == "all") & ~pl.col("metric").is_in(RATES))
    headers = ["", "Norm. range", "Noise alone", "CV", "Noise alone", "Spread, noise out", "Noise alone", "p", "Subgroups", "Pairs"]
    for (metric,), rows in whole.group_by("metric", maintain_order=True):
        found = {(row["run"], row["measure"]): row for row in rows.iter_rows(named=True)}
        lines = [_audit_row(run, found) for run in rows["run"].unique(maintain_order=True)]
        where = f"Split {rows['scheme'][0]}, part {rows['part'][0]}: {metric_title(str(metric))} over {rows['population'][0]}"
        _print(headers, lines, console, where)
    _say(
        f"Noise alone: mean if all were served alike, in brackets what it exceeds once in 20. Minimum cell: {minimum_cell(dataset)}.",
        console,
    )
    print_verdicts(runs, verdicts.with_columns(status=pl.lit(None, pl.String)), console)


def _audit_row(run: str, found: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    cells = [run]
    for measure in ("norm_range", "cv", "spread_corrected"):
        row = found[run, measure]
        ends = interval(Cell(row["value"], row["ci_low"], row["ci_high"]))
        cells.append(number(row["value"]) + (f" [{ends}]" if ends else ""))
        cells.append(number(row["alike"]) + ("" if row["alike_high"] is None else f" [{number(row['alike_high'])}]"))
    last = found[run, "spread_corrected"]
    p = "<.001" if last["p"] is not None and last["p"] < 0.001 else number(last["p"])
    return [*cells, p, count(last["subgroups"]), count(last["pairs"])]


def print_power(frame: pl.DataFrame, console: Console | None = None) -> None:
    """Print which gaps could be seen: levels by attribute, then the best and worst seen subgroups of each stratum."""
    from rich.console import Console as Screen

    console = console or Screen()
    first = frame.row(0, named=True)
    effect, metric = number(first["effect"]), metric_title(first["metric"])
    where = f"split {first['scheme']}, part {first['part']}"
    _say(f"{metric} about {number(first['expected'])}; {where}. From the gold alone: no model was asked.", console)
    levels = frame.filter(pl.col("by") == "level")
    headers = ["Items", "Pairs", f"Chance to see {effect}", "If declared alone", "Smallest seen", "Noise alone"]
    numeric = [False] * 2 + [True] * 6
    # Both directions of a pair have nearly the same chance: the lower one is printed.
    pairs: dict[tuple[str, frozenset[str]], dict[str, Any]] = {}
    for row in levels.iter_rows(named=True):
        key = (row["attribute"], frozenset((row["level"], row["against"])))
        if key not in pairs or (row["power"] or 0.0) < (pairs[key]["power"] or 0.0):
            pairs[key] = row
    if pairs:
        rows = [[row["attribute"], f"{row['level']}, {row['against']}", *_power_cells(row)] for row in pairs.values()]
        _print(["Attribute", "Levels", *headers], rows, console, f"Gaps between levels, Holm over {levels['family'][0]}", numeric)
    groups = frame.filter(pl.col("by") == "subgroup")
    rows: list[list[str]] = []
    for (stratum,), part in groups.group_by("attribute", maintain_order=True):
        known = part.filter(pl.col("detectable").is_not_null()).sort("detectable", maintain_order=True)
        if known.is_empty():
            rows.append([str(stratum), f"none of {len(part)}", *[""] * 6])
            continue
        for place, which in ((0, "best seen"), (-1, "worst seen"))[: len(known)]:
            row = known.row(place, named=True)
            rows.append([str(stratum), f"{row['level']} ({which} of {len(part)})", *_power_cells(row)])
    if rows:
        family = groups["family"].max()
        title = f"A subgroup served worse than the rest of its stratum, max-T over {family}"
        _print(["Stratum", "Subgroup", *headers], rows, console, title, numeric)
    _say(
        "Chance to see: among all gaps that an audit looks at. Smallest seen: found four times in five. "
        "Noise alone: mean size of a gap if both are served alike.",
        console,
    )
    for note in frame["note"].drop_nulls().unique(maintain_order=True):
        _say(f"{frame.filter(pl.col('note') == note).height} rows: {note}.", console)


def _power_cells(row: Mapping[str, Any]) -> list[str]:
    # No gap is larger than 1: what would have to be cannot be seen at all.
    smallest = "none" if (row["detectable"] or 0.0) > 1 else number(row["detectable"])
    return [
        count(row["items"]),
        count(row["pairs"]),
        number(row["power"]),
        number(row["power_alone"]),
        smallest,
        number(row["expected_alike"]),
    ]


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
