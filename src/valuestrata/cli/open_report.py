"""Command that reports open answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from valuestrata.cli.options import Bootstrap, DatasetFolder, Fold, Part, Permutations, Split

Runs = Annotated[
    list[Path], typer.Option("--runs", metavar="RUN", help="Run folder made by `open ask`, including the reference; repeatable.")
]
JudgementFolders = Annotated[
    list[Path] | None, typer.Option("--judgements", metavar="FOLDER", help="Folder made by `open judge`; repeatable.")
]
StanceFolders = Annotated[list[Path] | None, typer.Option("--stances", metavar="FOLDER", help="Folder made by `open stance`; repeatable.")]
ClosedRuns = Annotated[
    list[Path] | None,
    typer.Option("--closed", metavar="RUN", help="Run folder made by `ask`, by a model with open answers; repeatable."),
]


def open_report_(
    dataset: DatasetFolder,
    runs: Runs,
    judgements: JudgementFolders = None,
    stances: StanceFolders = None,
    closed: ClosedRuns = None,
    sample: Annotated[Path | None, typer.Option("--sample", metavar="SAMPLE", help="Sample with codings of the same answers.")] = None,
    example: Annotated[
        tuple[str, str, str] | None,
        typer.Option("--example", metavar="ITEM SUBGROUP SUBGROUP", help="Answers to show side by side; chosen by rule by default."),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file; tables are written next to it.")] = Path("open.html"),
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    baselines: Annotated[
        str,
        typer.Option("--baselines", help="Baselines in the table of scores: all, cheap, none or kinds; kept in DATASET/ladder."),
    ] = "cheap",
    bootstrap: Bootstrap = 1000,
    permutations: Permutations = 500,
    seed: Annotated[int, typer.Option("--seed", help="Seed of intervals and shuffles.")] = 0,
    title: Annotated[str | None, typer.Option("--title", help="Title of the page.")] = None,
) -> None:
    """Write a report on open answers: judges, win rates, stances, closed against open, text checks, examples.

    One HTML file that needs no network, with its tables as CSV in a folder next to it.
    """
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.openended.files import load_stances
    from valuestrata.openended.open_runs import load_open_run
    from valuestrata.openended.sources import load_sources
    from valuestrata.openended.validity.judge_validity import load_codings
    from valuestrata.report.open.page import write_open_report
    from valuestrata.responses.reference_baselines import kinds_of
    from valuestrata.responses.run.folder import check_same_dataset, load_run

    data = load_dataset(dataset)
    kinds = kinds_of(baselines)
    folders = [*(judgements or []), *(stances or [])]
    answered = [load_run(one) for one in closed or []]
    for one in answered:
        check_same_dataset(one, data)
    page = write_open_report(
        data,
        [load_open_run(run) for run in runs],
        output,
        sources=load_sources(data, [*folders, *runs]) if folders else None,
        stances=[load_stances(folder) for folder in stances or []],
        closed=answered,
        codings=None if sample is None else load_codings(sample, data),
        example=example or (),
        title=title,
        baselines=kinds,
        split=split,
        part=part,
        fold=fold,
        bootstrap=bootstrap,
        permutations=permutations,
        seed=seed,
    )
    print(f"Report: {page}")
