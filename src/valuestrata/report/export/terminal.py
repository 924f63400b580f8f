"""Tables and claims on a terminal, or as plain text when the output is piped."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from valuestrata.claims.claim import Claim
from valuestrata.claims.select import MOST_CLAIMS, select
from valuestrata.claims.table import from_frame
from valuestrata.claims.templates import NO_NAMES, word
from valuestrata.claims.wording import Names
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import printable
from valuestrata.fairness.assemble import Audit
from valuestrata.fairness.tables.rows import RATES
from valuestrata.formatting import count, metric_title, number, p_number, percent
from valuestrata.report.closed.narrative import trained_elsewhere
from valuestrata.report.core.names import (
    PLUG_IN_BOUNDS,
    blocks_note,
    has_design,
    has_reachable_bounds,
    minimum_cell,
    subgroup_titles,
    with_interval,
)
from valuestrata.report.core.tables import FULL_COVERAGE, HEADLINE, headline_table
from valuestrata.report.core.view import RunLike, cell_of
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.train_test_overlap import warnings_about

if TYPE_CHECKING:
    from rich.console import Console


# The note under tables of a data set without a sampling design.
NO_DESIGN = "Intervals treat respondents as independent: the data set has no sampling units or strata."


def _stdout() -> Console:
    from rich.console import Console

    return Console()


def print_headline(dataset: Dataset, runs: Sequence[RunLike], scores: pl.DataFrame, console: Console | None = None) -> None:
    """Print the headline table; plain text without colours or frames when the output is piped."""
    console = console or _stdout()
    for line in warnings_about(dataset, runs, scores):
        print_line(line, console)
    frame = headline_table(dataset, runs, scores)
    for (scheme, part, fold), rows in frame.group_by("scheme", "part", "fold", maintain_order=True):
        which = "" if fold is None else f", fold {fold}"
        shown = [metric for metric in HEADLINE if rows[metric].is_not_null().any()]
        # On a terminal, columns of zeros are left out to save width; a pipe gets all columns.
        rates = [metric for metric in shown if metric in ("refusal_rate", "invalid_rate")]
        zero = [metric for metric in rates if console.is_terminal and rows[metric].max() == 0]
        shown = [metric for metric in shown if metric not in zero]
        complete = console.is_terminal and rows["coverage"].drop_nulls().min() == 1
        cells = [_terminal_row(row, shown, complete=complete) for row in rows.iter_rows(named=True)]
        headers = ["", *(metric_title(metric) for metric in shown), "Pairs", *([] if complete else ["Coverage"])]
        _print(headers, cells, console, f"Split {scheme}, part {part}{which}. 95 % confidence intervals in brackets.")
        for line in _reading(shown, bounds=not set(rows["kind"]).isdisjoint(("ceiling", "floor"))):
            print_line(line, console)
        remarks = ["All pairs were answered."] if complete else []
        remarks += [f"{metric_title(metric)}: none." for metric in zero]
        scored = dataset.scored_gold(str(scheme), str(part), fold)
        remarks.append(f"Minimum cell: {minimum_cell(dataset, scored)}.")
        remarks.append(blocks_note(dataset))
        remarks += [] if has_design(dataset) else [NO_DESIGN]
        remarks += [] if has_reachable_bounds(dataset) else [PLUG_IN_BOUNDS]
        print_line(" ".join(remarks), console)
        for row in rows.iter_rows(named=True):
            if row["coverage"] is not None and row["coverage"] < FULL_COVERAGE:
                print_line(f"{row['row']} answered only {percent(row['coverage'])} of the pairs; its scores cover only those.", console)
        here = (pl.col("scheme") == scheme) & (pl.col("part") == part) & pl.col("fold").eq_missing(pl.lit(fold, dtype=pl.Int32))
        for line in _few_samples(scores.filter(here), runs):
            print_line(line, console)
        for line in trained_elsewhere(dataset, runs, str(scheme), str(part), None if fold is None else int(str(fold))):
            print_line(f"Trained on {line}", console)


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
    console: Console | None = None,
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
    console: Console | None = None,
    *,
    all_claims: bool = False,
    baseline_claims: bool = False,
) -> None:
    """Print the most important claims, then the spread between subgroups against noise.

    Args:
        verdicts: claims as `audit_verdicts` returns them. all_claims: print all claims with details. baseline_claims: also of baselines.
    """
    console = console or _stdout()
    for line in warnings_about(dataset, runs, audit.groups):
        print_line(line, console)
    names = Names(keys=subgroup_titles(dataset))
    print_claims(from_frame(verdicts), console, runs=runs, names=names, all_claims=all_claims, baseline_claims=baseline_claims)
    whole = audit.disparity.filter((pl.col("by") == "all") & ~pl.col("metric").is_in(RATES))
    headers = ["", "Norm. range", "Noise alone", "CV", "Noise alone", "SD without noise", "Noise alone", "p", "Subgroups", "Pairs"]
    for (metric,), rows in whole.group_by("metric", maintain_order=True):
        found = {(row["run"], row["measure"]): row for row in rows.iter_rows(named=True)}
        lines = [_audit_row(run, found) for run in rows["run"].unique(maintain_order=True)]
        where = f"Split {rows['scheme'][0]}, part {rows['part'][0]}: {metric_title(str(metric))} over {rows['population'][0]}"
        print_line("", console)
        _print(headers, lines, console, where)
    share = f"{100 * audit.confidence:g} %"
    scored = dataset.scored_gold(*audit.groups.select("scheme", "part", "fold").row(0)) if len(audit.groups) else None
    print_line(
        f"Noise alone: mean if all subgroups were served equally well, and [{share} quantile]. "
        f"Minimum cell: {minimum_cell(dataset, scored)}. {blocks_note(dataset)}" + ("" if has_design(dataset) else f" {NO_DESIGN}"),
        console,
    )
    for note in audit.notes:
        print_line(note, console)


def _audit_row(run: str, found: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    cells = [run]
    for measure in ("norm_range", "cv", "spread_corrected"):
        row = found[run, measure]
        cells.append(with_interval(cell_of(row)))
        cells.append(number(row["alike"]) + ("" if row["alike_high"] is None else f" [{number(row['alike_high'])}]"))
    last = found[run, "spread_corrected"]
    return [*cells, p_number(last["p"]), count(last["subgroups"]), count(last["pairs"])]


def print_power(frame: pl.DataFrame, console: Console | None = None) -> None:
    """Print which gaps an audit could detect: between levels, then of the subgroups with the smallest and largest detectable gap."""
    console = console or _stdout()
    first = frame.row(0, named=True)
    effect, metric = number(first["effect"]), metric_title(first["metric"])
    where = f"split {first['scheme']}, part {first['part']}"
    print_line(f"Assumed {metric.lower()} {number(first['expected'])}; {where}. Computed from the survey; no model was asked.", console)
    levels = frame.filter(pl.col("by") == "level")
    headers = ["Items", "Pairs", f"Power for {effect}", "Power if declared", "Detectable gap", "Noise alone"]
    numeric = [False] * 2 + [True] * 6
    # Both directions of a pair have nearly the same chance: the lower one is printed.
    pairs: dict[tuple[str, frozenset[str]], dict[str, Any]] = {}
    for row in levels.iter_rows(named=True):
        key = (row["attribute"], frozenset((row["level"], row["against"])))
        if key not in pairs or (row["power"] or 0.0) < (pairs[key]["power"] or 0.0):
            pairs[key] = row
    if pairs:
        rows = [[row["attribute"], f"{row['level']}, {row['against']}", *_power_cells(row)] for row in pairs.values()]
        _print(
            ["Attribute", "Levels", *headers],
            rows,
            console,
            f"Gaps between levels, corrected for {count(levels['family'][0], 'test')} (Holm)",
            numeric,
        )
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
        _print(["Stratum", "Subgroup", *headers], rows, console, title, numeric)
    print_line(
        f"Power for {effect}: probability of detecting a gap of that size, with correction for all tests. Power if declared: the same if "
        "the comparison is the only one declared. Detectable gap: found with 80 % power. "
        "Noise alone: mean size of the gap when both are served equally well.",
        console,
    )
    for note in frame["note"].drop_nulls().unique(maintain_order=True):
        print_line(f"{frame.filter(pl.col('note') == note).height} rows: {note}.", console)


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
    """Print any frame with rounded numbers, its columns as headings; plain text when the output is piped."""
    numeric = [dtype.is_numeric() for dtype in frame.dtypes]
    rows = [[_plain_value(value) for value in row] for row in frame.iter_rows()]
    _print([name.replace("_", " ") for name in frame.columns], rows, console, None, numeric)


def _plain_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return number(value)
    return count(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)


def print_line(line: str, console: Console | None = None) -> None:
    """Print one line without markup and without wrapping."""
    (console or _stdout()).print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _print(
    headers: list[str], rows: list[list[str]], console: Console | None, title: str | None, numeric: list[bool] | None = None
) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    screen = console or _stdout()
    # In a table a line end is a layout of its own, so it may not come from a name.
    headers, *rows = [[printable(cell).replace("\n", " ") for cell in line] for line in [headers, *rows]]
    numeric = numeric or [False] + [True] * (len(headers) - 1)
    if title:
        print_line(title, screen)
    if not screen.is_terminal:
        # A pipe has no width: columns are padded and nothing is wrapped.
        widths = [max(len(line[i]) for line in [headers, *rows]) for i in range(len(headers))]
        for line in [headers, *rows]:
            padded = (t.rjust(w) if right else t.ljust(w) for t, w, right in zip(line, widths, numeric, strict=True))
            print_line("  ".join(padded).rstrip(), screen)
        return
    laid = _laid_out(headers, rows, numeric, screen.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1 if laid.spaced else 0))
    for place, (header, right) in enumerate(zip(laid.headers, numeric, strict=True)):
        # Names and numbers are not wrapped; other texts get the remaining width.
        whole = laid.fits and (right or place == 0)
        table.add_column(Text(header), justify="right" if right else "left", overflow="fold", no_wrap=whole)
    for row in laid.rows:
        table.add_row(*(Text(cell) for cell in row))
    screen.print(table)


class _Layout(NamedTuple):
    """Headers and cells with line breaks, whether columns are spaced, and whether the table fits the terminal."""

    headers: list[str]
    rows: list[list[str]]
    spaced: bool
    fits: bool


def _below(cell: str) -> str:
    """Put an interval under its value."""
    return cell.replace(" [", "\n[")


def _halved(cell: str) -> str:
    """Put an interval under its value, each end on its own line."""
    return re.sub(r"(\n\[[^\]]*?)(?: (?=to )|(?<=–))", r"\1\n", _below(cell))


# From wide to narrow: how cells are written, whether headers stay on one line, whether columns are spaced.
_FORMS: tuple[tuple[Callable[[str], str], bool, bool], ...] = (
    (str, True, True),
    (str, False, True),
    (_below, False, True),
    (_halved, False, True),
    (_halved, False, False),
)
# Least width of a column of names.
_NARROWEST = 12


def _laid_out(headers: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool], width: int) -> _Layout:
    """Lay out a table for a terminal of `width`, with the first form of `_FORMS` that breaks no name and no number."""
    spare = 0
    heads: list[str] = []
    made: list[list[str]] = []
    for form, long_headers, spaced in _FORMS:
        made = [[form(cell) for cell in row] for row in rows]
        whole = [right or place == 0 for place, right in enumerate(numeric)]
        needs = [
            max(_need([row[place] for row in made], whole=w), _need([header], whole=long_headers))
            for place, (header, w) in enumerate(zip(headers, whole, strict=True))
        ]
        heads = [textwrap.fill(h, max(n, 1), break_long_words=False) if w else h for h, n, w in zip(headers, needs, whole, strict=True)]
        # One space at either end, one between columns, and two more if spaced.
        spare = width - sum(needs) - (3 if spaced else 1) * (len(needs) - 1) - 2
        if spare >= 0:
            return _Layout(heads, made, spaced, fits=True)
    # The narrowest form is too wide: names are broken between their parts.
    names = max((len(row[0]) for row in made), default=0) + spare
    if names >= _NARROWEST:
        return _Layout(heads, [[_in_parts(row[0], names), *row[1:]] for row in made], spaced=False, fits=True)
    return _Layout(list(headers), [[_below(cell) for cell in row] for row in rows], spaced=True, fits=False)


def _in_parts(name: str, width: int) -> str:
    """Break a name into lines of at most `width`, after spaces, hyphens, slashes, underscores and plus signs, else anywhere."""
    lines = [""]
    for part in re.findall(r"[^-/_+ ]*[-/_+ ]|[^-/_+ ]+", name):
        if len((lines[-1] + part).rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += part
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return "\n".join(line.rstrip() for line in lines)


def _need(cells: Sequence[str], *, whole: bool) -> int:
    """Return the width of the longest line (`whole`) or of the longest word."""
    return max((len(part) for cell in cells for part in (cell.split("\n") if whole else cell.split())), default=0)
