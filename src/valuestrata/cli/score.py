"""Commands that score runs and report on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.cli.inputs import load_data_and_runs, load_with_baselines
from valuestrata.cli.options import (
    Against,
    AllClaims,
    AsJson,
    BaselineClaims,
    Baselines,
    Bootstrap,
    BootstrapSeed,
    DatasetFolder,
    Fold,
    Part,
    RunFolders,
    Split,
    Track,
    TrackTo,
    TrainOn,
)
from valuestrata.cli.output import claim_documents, print_json, print_table, printer, say, show
from valuestrata.errors import UsageError
from valuestrata.frames import csv_text

if TYPE_CHECKING:
    import polars as pl

TableFile = Annotated[Path | None, typer.Option("-o", "--output", help="Also write the table to this file (.csv or .parquet).")]


def score_(
    dataset: DatasetFolder,
    runs: RunFolders,
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    baselines: Baselines = "all",
    train_on: TrainOn = None,
    against: Against = None,
    bootstrap: Bootstrap = 1000,
    seed: BootstrapSeed = 0,
    output: TableFile = None,
    track: Track = None,
    track_to: TrackTo = None,
    all_claims: AllClaims = False,
    baseline_claims: BaselineClaims = False,
    as_json: AsJson = False,
) -> None:
    """Score runs and baselines with every metric, overall and by stratum, attribute, level, subgroup, topic and item.

    Prints the headline table and the most important claims; docs/verdicts.md lists the rules. With --json, `scores` contains the
    rows of RUN..., `baselines` those of the baselines, `claims` the claims shown and `verdicts` a table of all claims.
    """
    from valuestrata.assessment import assess
    from valuestrata.reports import print_claims, print_headline
    from valuestrata.reports.closed.persons import print_persons
    from valuestrata.reports.export.tracking.track import check_tracker, log_scores
    from valuestrata.scores.train_test_overlap import warnings_about

    _check_table(output)
    tracker = check_tracker(track, track_to)
    data, all_runs = load_with_baselines(dataset, runs, split, part, fold, baselines, train_on)
    found = assess(data, all_runs, split=split, part=part, fold=fold, against=against, bootstrap=bootstrap, seed=seed)
    _write_table(found.scores, output)
    models = all_runs[: len(runs)]
    if tracker is not None:
        say(log_scores(models, found, tracker, to=track_to))
    if not as_json:
        print_headline(data, all_runs, found.scores, printer())
        if against is not None:
            _print_differences(found.comparisons, against)
        print_persons(found.persons, printer())
        print_claims(
            found.claims, printer(), runs=all_runs if baseline_claims else models, all_claims=all_claims, baseline_claims=baseline_claims
        )
        return
    names = {run.name for run in models}
    rows = found.scores.to_dicts()
    warnings = {"warnings": warnings_about(data, all_runs, found.scores)}
    scores = {"scores": [row for row in rows if row["run"] in names], "baselines": [row for row in rows if row["run"] not in names]}
    tables = {
        name: getattr(found, name).to_dicts()
        for name in ("relative", "comparisons", "structure", "calibration", "dont_know", "persons", "verdicts")
    }
    claims = [claim for claim in found.claims if baseline_claims or claim.run in names]
    print_json(warnings | scores | tables | {"claims": claim_documents(claims, all_claims=all_claims)})


def report(
    dataset: DatasetFolder,
    runs: RunFolders,
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file; tables are written next to it.")] = Path("report.html"),
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    baselines: Baselines = "all",
    train_on: TrainOn = None,
    against: Against = None,
    bootstrap: Bootstrap = 1000,
    seed: BootstrapSeed = 0,
    title: Annotated[str | None, typer.Option("--title", help="Title of the report.")] = None,
    explore: Annotated[
        bool, typer.Option("--explore/--no-explore", help="Include every pair with its answers, to filter and read.")
    ] = True,
) -> None:
    """Write report.html, one file that needs no network, with its tables as CSV in a folder next to it."""
    from valuestrata.assessment import assess
    from valuestrata.reports import write_report
    from valuestrata.reports.core.runs import check_number
    from valuestrata.scores.variance.by_model import variation

    # Checked before the runs are scored, which may take minutes.
    check_number(len(runs))
    data, all_runs = load_with_baselines(dataset, runs, split, part, fold, baselines, train_on)
    found = assess(data, all_runs, split=split, part=part, fold=fold, against=against, bootstrap=bootstrap, seed=seed)
    variance = variation(data, all_runs[: len(runs)], bootstrap=bootstrap, seed=seed)
    how: dict[str, Any] = {"title": title, "assessment": found, "variance": variance, "explore": explore}
    show(f"Report: {write_report(data, all_runs, found.scores, output, **how)}")


def variance_(
    dataset: DatasetFolder,
    runs: RunFolders,
    bootstrap: Bootstrap = 1000,
    seed: BootstrapSeed = 0,
    output: TableFile = None,
    all_claims: AllClaims = False,
    as_json: AsJson = False,
) -> None:
    """Estimate how much of the variance of answers comes from persona, order, template and sampling (see docs/variance.md).

    Runs of the same model with several templates or elicitations are combined.
    """
    import polars as pl

    from valuestrata.claims.variance import variance_lines
    from valuestrata.reports import print_variance
    from valuestrata.scores.variance.table import by_model, variance

    _check_table(output)
    data, loaded = load_data_and_runs(dataset, runs)
    table = pl.concat([variance(data, group, bootstrap=bootstrap, seed=seed) for group in by_model(loaded)])
    _write_table(table, output)
    if as_json:
        print_json({"variance": table.to_dicts(), "lines": variance_lines(table).to_dicts()})
    else:
        print_variance(table, printer(), all_claims=all_claims)


def _print_differences(comparisons: pl.DataFrame, against: str) -> None:
    """Print the differences of all runs from one run, over all pairs."""
    import polars as pl

    from valuestrata.formatting import metric_title

    rows = comparisons.filter((pl.col("by") == "all") & (pl.col("against") == against) & pl.col("difference").is_not_null())
    show(f"Paired differences: run minus {against}")
    titled = rows.with_columns(pl.col("metric").map_elements(metric_title, return_dtype=pl.String))
    print_table(titled.select("run", "metric", "difference", "ci_low", "ci_high", "p_adjusted", "pairs", "status"))


def _check_table(output: Path | None) -> None:
    if output is not None and output.suffix not in (".csv", ".parquet"):
        raise UsageError(f"-o {output}: unknown format. Give a file name that ends with .csv or .parquet.")


def _write_table(table: pl.DataFrame, output: Path | None) -> None:
    from valuestrata.files import write_parquet, write_text

    if output is None:
        return
    if output.suffix == ".parquet":
        write_parquet(output, table)
    else:
        write_text(output, csv_text(table))
