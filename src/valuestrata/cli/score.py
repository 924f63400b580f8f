"""Commands that score runs and report on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestrata.cli.options import (
    Against,
    AllClaims,
    AsJson,
    BaselineClaims,
    Baselines,
    Bootstrap,
    DatasetFolder,
    Fold,
    Part,
    RunFolders,
    Split,
    TrainOn,
)
from valuestrata.cli.output import claim_documents, claims, differences, headline, print_json, say, say_unmatched
from valuestrata.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.assessment import Assessment
    from valuestrata.dataset.tables import Dataset
    from valuestrata.responses.run.folder import Run


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
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Also write the long table here (.csv or .parquet).")] = None,
    all_claims: AllClaims = False,
    baseline_claims: BaselineClaims = False,
    as_json: AsJson = False,
) -> None:
    """Score runs and baselines with every metric, overall and by stratum, attribute, level, subgroup, topic and item.

    Prints the headline table and the most important claims; docs/verdicts.md lists the rules. With --json, `scores` contains the
    rows of RUN..., `baselines` those of the baselines, `claims` the claims shown and `verdicts` a table of all claims.
    """
    _check_table(output)
    data, judged, found = _assessed(dataset, runs, split, part, fold, baselines, train_on, against, bootstrap, seed)
    _write_table(found.scores, output)
    if as_json:
        given = [run.name for run in judged[: len(runs)]]
        rows = found.scores.to_dicts()
        scores = {"scores": [row for row in rows if row["run"] in given], "baselines": [row for row in rows if row["run"] not in given]}
        tables = {name: getattr(found, name).to_dicts() for name in ("relative", "comparisons", "structure", "verdicts")}
        wanted = [claim for claim in found.claims if baseline_claims or claim.run in given]
        print_json(scores | tables | {"claims": claim_documents(wanted, all_claims=all_claims)})
    else:
        headline(data, judged, found.scores)
        if against is not None:
            differences(found, against)
        claims(judged if baseline_claims else judged[: len(runs)], found, all_claims=all_claims, baseline_claims=baseline_claims)


def report(
    dataset: DatasetFolder,
    runs: RunFolders,
    output: Annotated[Path, typer.Option("-o", "--output", help="The report; tables go beside it.")] = Path("report.html"),
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    baselines: Baselines = "all",
    train_on: TrainOn = None,
    against: Against = None,
    bootstrap: Bootstrap = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
    title: Annotated[str | None, typer.Option("--title", help="Title of the report.")] = None,
) -> None:
    """Write report.html, one file that opens without a network, and its tables as CSV."""
    from valuestrata.report import write_report
    from valuestrata.scores.variance.by_model import variation

    data, judged, found = _assessed(dataset, runs, split, part, fold, baselines, train_on, against, bootstrap, seed)
    varied = variation(data, judged[: len(runs)], bootstrap=bootstrap, seed=seed)
    print(f"Report: {write_report(data, judged, found.scores, output, title=title, assessment=found, variance=varied)}")


def variance_(
    dataset: DatasetFolder,
    runs: RunFolders,
    bootstrap: Bootstrap = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Also write the table here (.csv or .parquet).")] = None,
    all_claims: AllClaims = False,
    as_json: AsJson = False,
) -> None:
    """Estimate how much of the variance of answers comes from persona, order, template and sampling (see docs/variance.md).

    Runs of the same model with several templates or elicitations are combined.
    """
    import polars as pl

    from valuestrata.claims.variance import variance_lines
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.report import print_variance
    from valuestrata.responses.run.folder import check_same_dataset, load_run
    from valuestrata.scores.variance.table import by_model, variance

    _check_table(output)
    data = load_dataset(dataset)
    loaded = [load_run(run) for run in runs]
    for one in loaded:
        check_same_dataset(one, data)
    table = pl.concat([variance(data, group, bootstrap=bootstrap, seed=seed) for group in by_model(loaded)])
    _write_table(table, output)
    if as_json:
        print_json({"variance": table.to_dicts(), "lines": variance_lines(table).to_dicts()})
        return
    from rich.console import Console

    print_variance(table, Console(), all_claims=all_claims)


def _check_table(output: Path | None) -> None:
    if output is not None and output.suffix not in (".csv", ".parquet"):
        raise UsageError(f"-o {output}: the table is written as .csv or .parquet; give one of these endings.")


def _write_table(table: pl.DataFrame, output: Path | None) -> None:
    from valuestrata.files import write_parquet, write_text

    if output is None:
        return
    if output.suffix == ".parquet":
        write_parquet(output, table)
    else:
        write_text(output, table.write_csv())


def with_baselines(
    dataset: Path, runs: list[Path], split: str, part: str, fold: int | None, baselines: str, train_on: Path | None
) -> tuple[Dataset, list[Run]]:
    """Load runs and add the reference baselines; the runs come first, in the given order."""
    from valuestrata.dataset.tables import DISJOINT, load_dataset
    from valuestrata.responses.reference_baselines import check_training, kinds_of, reference_baselines
    from valuestrata.responses.run.folder import check_same_dataset, load_run
    from valuestrata.responses.run.identity import run_identity

    kinds = kinds_of(baselines)
    data = load_dataset(dataset)
    loaded = [load_run(run) for run in runs]
    for one in loaded:
        check_same_dataset(one, data)
    # Before the ladder is fitted, which may take a minute, and not only after it.
    check_training(data, loaded, split, fold)
    other = load_dataset(train_on) if train_on else None
    if kinds and other is None and split.removesuffix(DISJOINT) == "transfer":
        say("transfer: without --train-on DATASET nothing trains; of the baselines only uniform and midpoint can answer.")
    beside = reference_baselines(data, loaded, kinds=kinds, split=split, part=part, fold=fold, train_on=other)
    for trained_on in (run_identity(run).respondent.trained_on for run in beside):
        if trained_on is not None and "data_set" in trained_on.document:
            say_unmatched(trained_on.unmatched)
            break
    return data, loaded + beside


def _assessed(
    dataset: Path,
    runs: list[Path],
    split: str,
    part: str,
    fold: int | None,
    baselines: str,
    train_on: Path | None,
    against: str | None,
    bootstrap: int,
    seed: int,
) -> tuple[Dataset, list[Run], Assessment]:
    """Load runs, put the baselines beside them and assess all; the runs come first, in the order given."""
    from valuestrata.assessment import assess

    data, loaded = with_baselines(dataset, runs, split, part, fold, baselines, train_on)
    found = assess(data, loaded, split=split, part=part, fold=fold, against=against, bootstrap=bootstrap, seed=seed)
    return data, loaded, found
