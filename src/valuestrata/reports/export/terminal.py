"""Tables and claims on a terminal, or as plain text when the output is piped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from valuestrata.claims.claim import Claim
from valuestrata.claims.select import MOST_CLAIMS, select
from valuestrata.claims.table import from_frame
from valuestrata.claims.templates import NO_NAMES, word
from valuestrata.claims.wording import Names
from valuestrata.dataset.tables import Dataset
from valuestrata.fairness.assemble import Audit
from valuestrata.fairness.tables.rows import RATES
from valuestrata.formatting import count, metric_title, number, p_number, percent
from valuestrata.reports.closed.narrative import trained_elsewhere
from valuestrata.reports.core.names import (
    PLUG_IN_BOUNDS,
    blocks_note,
    has_design,
    has_reachable_bounds,
    minimum_cell,
    subgroup_titles,
    with_interval,
)
from valuestrata.reports.core.tables import FULL_COVERAGE, HEADLINE, headline_table
from valuestrata.reports.core.view import RunLike, cell_of
from valuestrata.reports.export.printer import Printer, printer_of
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.train_test_overlap import warnings_about

if TYPE_CHECKING:
    from rich.console import Console


# The note under tables of a data set without a sampling design.
NO_DESIGN = "Intervals treat respondents as independent: the data set has no sampling units or strata."


def print_headline(dataset: Dataset, runs: Sequence[RunLike], scores: pl.DataFrame, console: Console | Printer | None = None) -> None:
    """Print the headline table."""
    printer = printer_of(console)
    for line in warnings_about(dataset, runs, scores):
        print_line(line, printer)
    frame = headline_table(dataset, runs, scores)
    for (scheme, part, fold), rows in frame.group_by("scheme", "part", "fold", maintain_order=True):
        which = "" if fold is None else f", fold {fold}"
        shown = [metric for metric in HEADLINE if rows[metric].is_not_null().any()]
        # Columns of zeros are left out to save width.
        rates = [metric for metric in shown if metric in ("refusal_rate", "invalid_rate")]
        zero = [metric for metric in rates if not printer.is_complete and rows[metric].max() == 0]
        shown = [metric for metric in shown if metric not in zero]
        complete = not printer.is_complete and rows["coverage"].drop_nulls().min() == 1
        cells = [_terminal_row(row, shown, complete=complete) for row in rows.iter_rows(named=True)]
        headers = ["", *(metric_title(metric) for metric in shown), "Pairs", *([] if complete else ["Coverage"])]
        title = f"Split {scheme}, part {part}{which}. 95 % confidence intervals in brackets."
        # The first two metrics and the rates stay; pairs and coverage are left out first, then the distances.
        distances = [place for place in range(len(shown), 2, -1) if shown[place - 1] not in ("refusal_rate", "invalid_rate")]
        printer.table(headers, cells, title=title, minor=[*range(len(headers) - 1, len(shown), -1), *distances], frame=rows)
        for line in _reading(shown, bounds=not set(rows["kind"]).isdisjoint(("ceiling", "floor"))):
            print_line(line, printer)
        remarks = ["All pairs were answered."] if complete else []
        remarks += [f"{metric_title(metric)}: none." for metric in zero]
        scored = dataset.scored_gold(str(scheme), str(part), fold)
        remarks.append(f"Minimum cell: {minimum_cell(dataset, scored)}.")
        remarks.append(blocks_note(dataset))
        remarks += [] if has_design(dataset) else [NO_DESIGN]
        remarks += [] if has_reachable_bounds(dataset) else [PLUG_IN_BOUNDS]
        print_line(" ".join(remarks), printer)
        for row in rows.iter_rows(named=True):
            if row["coverage"] is not None and row["coverage"] < FULL_COVERAGE:
                print_line(f"{row['row']} answered only {percent(row['coverage'])} of the pairs; its scores cover only those.", printer)
        here = (pl.col("scheme") == scheme) & (pl.col("part") == part) & pl.col("fold").eq_missing(pl.lit(fold, dtype=pl.Int32))
        for line in _few_samples(scores.filter(here), runs):
            print_line(line, printer)
        for line in trained_elsewhere(dataset, runs, str(scheme), str(part), None if fold is None else int(str(fold))):
            print_line(f"Trained on {line}", printer)


def _few_samples(scores: pl.DataFrame, runs: Sequence[RunLike]) -> list[str]:
    """Return how much the W1 of runs with sampled answers can be too high."""
    rows = scores.filter((pl.col("by") == "all") & (pl.col("metric") == "w1_sampling") & pl.col("value").is_not_null())
    excess = dict(rows.select("run", "value").iter_rows())
    return [
        f"W1 of {run.name} is too high by up to {number(excess[run.name])}: its shares come from a limited number of answers to each "
        "pair, which scatter."
        for run in runs
        if run.name in excess
    ]


# Names of ceilings and floors, short enough for a terminal.
BOUNDS = {
    "ceiling_oracle": "Noise ceiling",
    "ceiling_human": "Another survey",
    "ceiling_halves": "Two halves",
    "floor": "Noise floor",
}


def _reading(shown: Sequence[str], *, bounds: bool) -> list[str]:
    """Return lines that explain the headline table."""
    lines = ["Accuracy: share of pairs answered with the most common answer of the subgroup; expected: of a fresh sample of the subgroup."]
    distances = [metric_title(metric) for metric in shown if metric in ("nmae", "w1")]
    if distances:
        lines.append(f"{' and '.join(distances)}: distance from the answers of the subgroup as a share of the scale; lower is better.")
    if bounds:
        lines.append(
            "Noise ceiling and floor: expected scores of someone who knows the population but not these respondents. Another survey: "
            "expected score of one of this size. Two halves: agreement of the halves of these respondents."
        )
    return lines


def _terminal_row(row: dict[str, Any], shown: Sequence[str], *, complete: bool) -> list[str]:
    cells = [BOUNDS.get(row["row"], str(row["row"]))]
    for metric in shown:
        cell = cell_of(row, metric, metric)
        cells.append("" if cell.value is None else with_interval(cell))
    covered = "" if row["coverage"] is None else number(row["coverage"])
    return [*cells, count(row["pairs"]), *([] if complete else [covered])]


def print_claims(
    claims: Iterable[Claim],
    console: Console | Printer | None = None,
    *,
    runs: Sequence[RunLike] = (),
    names: Names = NO_NAMES,
    all_claims: bool = False,
    baseline_claims: bool = False,
) -> None:
    """Print the claims of each run, most important first; those of baselines only if asked for, or if all runs are baselines.

    Args:
        claims: of any runs. console: where to print; standard output if left out.
        runs: the runs to print, in order; if empty, all that have claims.
        names: of runs and subgroups, as readers know them.
        all_claims: print all claims instead of five, each with its details.
    """
    models = [run.name for run in runs if not run_identity(run).is_baseline]
    baselines = baseline_claims or (bool(runs) and not models)
    wanted = [run.name for run in runs] if baselines else models
    found = {one.run: one for one in select(claims, most=None if all_claims else MOST_CLAIMS, baselines=baselines)}
    for run in wanted or list(found):
        shown, rest = (found[run].shown, found[run].rest) if run in found else ((), ())
        if not shown and rest:
            continue
        print_line(f"{names.run(run)}:" if shown else f"{names.run(run)}: no claims.", console)
        for place, claim in enumerate(shown, 1):
            worded = word(claim, names)
            print_line(f"  {place}. {worded.sentence}", console)
            for line in worded.details if all_claims else ():
                print_line(f"     {line}", console)
        if rest:
            alone = sum(not claim.on_first_screen for claim in rest)
            screened = f"; of these, {alone} hold within their own family of tests only" if alone else ""
            print_line(f"  {len(rest)} more with --all-claims{screened}.", console)


def print_audit(
    dataset: Dataset,
    runs: Sequence[RunLike],
    audit: Audit,
    verdicts: pl.DataFrame,
    console: Console | Printer | None = None,
    *,
    all_claims: bool = False,
    baseline_claims: bool = False,
) -> None:
    """Print the most important claims, then the spread between subgroups against noise.

    Args:
        verdicts: claims as `audit_verdicts` returns them. all_claims: print all claims with details. baseline_claims: also of baselines.
    """
    printer = printer_of(console)
    for line in warnings_about(dataset, runs, audit.groups):
        print_line(line, printer)
    names = Names(keys=subgroup_titles(dataset))
    print_claims(from_frame(verdicts), printer, runs=runs, names=names, all_claims=all_claims, baseline_claims=baseline_claims)
    whole = audit.disparity.filter((pl.col("by") == "all") & ~pl.col("metric").is_in(RATES))
    headers = ["", "Norm. range", "Noise alone", "CV", "Noise alone", "SD without noise", "Noise alone", "p", "Subgroups", "Pairs"]
    for (metric,), rows in whole.group_by("metric", maintain_order=True):
        found = {(row["run"], row["measure"]): row for row in rows.iter_rows(named=True)}
        lines = [_audit_row(run, found) for run in rows["run"].unique(maintain_order=True)]
        where = f"Split {rows['scheme'][0]}, part {rows['part'][0]}: {metric_title(str(metric))} over {rows['population'][0]}"
        print_line("", printer)
        # Pairs and subgroups are left out first, then the coefficient of variation.
        printer.table(headers, lines, title=where, minor=[9, 8, 4, 3], frame=rows)
    share = f"{100 * audit.confidence:g} %"
    scored = dataset.scored_gold(*audit.groups.select("scheme", "part", "fold").row(0)) if len(audit.groups) else None
    print_line(
        f"Noise alone: mean if all subgroups were served equally well, and [{share} quantile]. "
        f"Minimum cell: {minimum_cell(dataset, scored)}. {blocks_note(dataset)}" + ("" if has_design(dataset) else f" {NO_DESIGN}"),
        printer,
    )
    for note in audit.notes:
        print_line(note, printer)


def _audit_row(run: str, found: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    cells = [run]
    for measure in ("norm_range", "cv", "spread_corrected"):
        row = found[run, measure]
        cells.append(with_interval(cell_of(row)))
        cells.append(number(row["alike"]) + ("" if row["alike_high"] is None else f" [{number(row['alike_high'])}]"))
    last = found[run, "spread_corrected"]
    return [*cells, p_number(last["p"]), count(last["subgroups"]), count(last["pairs"])]


def print_power(frame: pl.DataFrame, console: Console | Printer | None = None) -> None:
    """Print which gaps an audit could detect: between levels, then of the subgroups with the smallest and largest detectable gap."""
    printer = printer_of(console)
    first = frame.row(0, named=True)
    effect, metric = number(first["effect"]), metric_title(first["metric"])
    where = f"split {first['scheme']}, part {first['part']}"
    print_line(f"Assumed {metric.lower()} {number(first['expected'])}; {where}. Computed from the survey; no model was asked.", printer)
    levels = frame.filter(pl.col("by") == "level")
    headers = ["Items", "Pairs", f"Power for {effect}", "Power if declared", "Detectable gap", "Noise alone"]
    numeric = [False] * 2 + [True] * 6
    # The numbers of items and pairs are left out first, then what noise alone would give.
    minor = [2, 3, 7]
    # Both directions of a pair have nearly the same chance: the lower one is printed.
    pairs: dict[tuple[str, frozenset[str]], dict[str, Any]] = {}
    for row in levels.iter_rows(named=True):
        key = (row["attribute"], frozenset((row["level"], row["against"])))
        if key not in pairs or (row["power"] or 0.0) < (pairs[key]["power"] or 0.0):
            pairs[key] = row
    if pairs:
        rows = [[row["attribute"], f"{row['level']}, {row['against']}", *_power_cells(row)] for row in pairs.values()]
        title = f"Gaps between levels, corrected for {count(levels['family'][0], 'test')} (Holm)"
        printer.table(["Attribute", "Levels", *headers], rows, title=title, numeric=numeric, minor=minor, frame=levels)
    groups = frame.filter(pl.col("by") == "subgroup")
    rows: list[list[str]] = []
    for (stratum,), part in groups.group_by("attribute", maintain_order=True):
        known = part.filter(pl.col("detectable").is_not_null()).sort("detectable", maintain_order=True)
        if known.is_empty():
            rows.append([str(stratum), f"none of {len(part)}", *[""] * 6])
            continue
        for place, which in ((0, "most detectable"), (-1, "least detectable"))[: len(known)]:
            row = known.row(place, named=True)
            rows.append([str(stratum), f"{row['level']} ({which} of {len(part)})", *_power_cells(row)])
    if rows:
        family = groups.select(pl.col("family").max()).item()
        title = f"Subgroups served worse than the rest of their stratum, corrected for {count(family, 'test')} (max-T)"
        printer.table(["Stratum", "Subgroup", *headers], rows, title=title, numeric=numeric, minor=minor, frame=groups)
    print_line(
        f"Power for {effect}: probability of detecting a gap of that size, with correction for all tests. Power if declared: the same if "
        "the comparison is the only one declared. Detectable gap: found with 80 % power. "
        "Noise alone: mean size of the gap when both are served equally well.",
        printer,
    )
    for note in frame["note"].drop_nulls().unique(maintain_order=True):
        print_line(f"{frame.filter(pl.col('note') == note).height} rows: {note}.", printer)


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


def print_frame(
    frame: pl.DataFrame, console: Console | Printer | None = None, minor: Sequence[str] = (), values: pl.DataFrame | None = None
) -> None:
    """Print any frame with rounded numbers, its columns as headings.

    Args:
        frame: the table.
        console: where to print; standard output if left out.
        minor: columns that are left out first where the table is too wide, least important first.
        values: what CSV has instead, if the frame holds texts of several figures.
    """
    numeric = [dtype.is_numeric() for dtype in frame.dtypes]
    rows = [[_plain_value(value) for value in row] for row in frame.iter_rows()]
    heads = [name.replace("_", " ") for name in frame.columns]
    places = [frame.columns.index(name) for name in minor] or None
    printer_of(console).table(heads, rows, numeric=numeric, minor=places, frame=frame if values is None else values)


def _plain_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return number(value)
    return count(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)


def print_line(line: str, console: Console | Printer | None = None) -> None:
    """Print one line without markup and without wrapping."""
    printer_of(console).line(line)
