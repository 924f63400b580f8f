"""Commands that judge runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestrata.cli.options import Against, AsJson, Baselines, Bootstrap, DatasetFolder, Fold, Part, RunFolders, Split, TrainOn
from valuestrata.cli.output import headline, print_json, verdict_lines

if TYPE_CHECKING:
    from valuestrata.dataset import Dataset
    from valuestrata.responses.run import Run
    from valuestrata.scores.assess import Assessment


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
    as_json: AsJson = False,
) -> None:
    """Score runs beside baselines: every metric by split part, stratum, attribute, level, subgroup, topic and item.

    Verdict lines say what the scores are worth; docs/verdicts.md has their rules. Under --json `scores` holds the rows of RUN...,
    `baselines` those of the baselines beside them.
    """
    data, judged, found = _assessed(dataset, runs, split, part, fold, baselines, train_on, against, bootstrap, seed)
    if output is not None:
        from valuestrata.files import write_parquet, write_text

        if output.suffix == ".parquet":
            write_parquet(output, found.scores)
        else:
            write_text(output, found.scores.write_csv())
    if as_json:
        given = [run.name for run in judged[: len(runs)]]
        rows = found.scores.to_dicts()
        scores = {"scores": [row for row in rows if row["run"] in given], "baselines": [row for row in rows if row["run"] not in given]}
        print_json(scores | {name: getattr(found, name).to_dicts() for name in ("relative", "comparisons", "structure", "verdicts")})
    else:
        headline(data, judged, found.scores)
        verdict_lines(judged[: len(runs)], found)


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

    data, judged, found = _assessed(dataset, runs, split, part, fold, baselines, train_on, against, bootstrap, seed)
    print(f"Report: {write_report(data, judged, found.scores, output, title=title, assessment=found)}")


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
    from valuestrata.dataset import load_dataset
    from valuestrata.responses.beside import baselines_beside, kinds_of
    from valuestrata.responses.run import check_same_dataset, load_run
    from valuestrata.scores.assess import assess

    kinds = kinds_of(baselines)
    data = load_dataset(dataset)
    loaded = [load_run(run) for run in runs]
    for one in loaded:
        check_same_dataset(one, data)
    other = load_dataset(train_on) if train_on else None
    loaded += baselines_beside(data, loaded, kinds=kinds, split=split, part=part, fold=fold, train_on=other)
    found = assess(data, loaded, split=split, part=part, fold=fold, against=against, bootstrap=bootstrap, seed=seed)
    return data, loaded, found
