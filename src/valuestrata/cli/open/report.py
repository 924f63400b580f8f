"""Commands that check the texts of open answers and report on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestrata.cli.inputs import load_data_and_runs
from valuestrata.cli.options import AsJson, Bootstrap, DatasetFolder, Fold, OpenRuns, Part, Permutations, Split
from valuestrata.cli.output import print_json, print_table, say, show
from valuestrata.errors import MOST_SEED

if TYPE_CHECKING:
    from valuestrata.openended.text.checks import TextChecks

_MOST_WORDS = 8
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
        typer.Option("--baselines", help="Baselines in the table of scores: all, cheap, none or kinds, separated by commas."),
    ] = "cheap",
    bootstrap: Bootstrap = 1000,
    permutations: Permutations = 500,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of intervals and shuffles.")] = 0,
    title: Annotated[str | None, typer.Option("--title", help="Title of the page.")] = None,
) -> None:
    """Write a report on open answers: judges, win rates, stances, closed against open, text checks, examples.

    One HTML file that needs no network, with its tables as CSV in a folder next to it.
    """
    from valuestrata.openended.files import load_stances
    from valuestrata.openended.open_runs import load_open_run
    from valuestrata.openended.sources import load_sources
    from valuestrata.openended.validity.judge_validity import load_codings
    from valuestrata.reports.open.page import write_open_report
    from valuestrata.responses.reference_baselines import kinds_of

    kinds = kinds_of(baselines)
    data, closed_runs = load_data_and_runs(dataset, closed or [])
    folders = [*(judgements or []), *(stances or [])]
    page = write_open_report(
        data,
        [load_open_run(run) for run in runs],
        output,
        sources=load_sources(data, [*folders, *runs]) if folders else None,
        stances=[load_stances(folder) for folder in stances or []],
        closed=closed_runs,
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
    show(f"Report: {page}")


def texts_(
    dataset: DatasetFolder,
    runs: OpenRuns,
    permutations: Permutations = 500,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the shuffles.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the tables into this folder, as CSV and Parquet.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check open answers without a judge: refusals, persona leakage, stereotype markers, similarity, length and readability.

    docs/open-text-checks.md explains the checks. --json prints all tables except the rows of single answers.
    """
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.openended.open_runs import load_open_run
    from valuestrata.openended.text.checks import text_checks, write_text_checks
    from valuestrata.responses.run.folder import check_same_dataset

    data = load_dataset(dataset)
    loaded = [load_open_run(run) for run in runs]
    for one in loaded:
        check_same_dataset(one, data)
    found = text_checks(data, loaded, permutations=permutations, seed=seed)
    if output is not None:
        write_text_checks(found, output)
        say(f"Tables: {output}")
    if as_json:
        print_json({name: frame.to_dicts() for name, frame in found.tables().items() if name != "texts"})
    else:
        _print_checks(found)
        if output is None:
            show("Rates by stratum, level, subgroup and topic: write them with -o FOLDER or print them with --json.")


def _print_checks(found: TextChecks) -> None:
    import polars as pl

    from valuestrata.openended.text.markers import MIN_USES

    show("Over all answers (shares; words, sentences, Flesch reading ease and LIX are means)")
    whole = found.rates.filter(pl.col("by") == "all")
    print_table(whole.select("run", "measure", "value", "ci_low", "ci_high", "pairs", "items"))
    show("Similarity across levels, compared with levels shuffled within item (gap 0: the persona makes no difference to the wording)")
    print_table(
        found.similarity.select("run", "key", "across", "shuffled", "gap", "gap_low", "gap_high", "p", "same", "elsewhere", "items")
    )
    if not found.similarity.is_empty():
        show(f"Vectors: {', '.join(found.similarity['method'].unique(maintain_order=True))}.")
    marked = found.markers.filter("marker").group_by("run", "attribute", "level", maintain_order=True).agg(pl.col("word").head(_MOST_WORDS))
    if found.markers.is_empty():
        show(f"Stereotype markers: too few answers; no word occurs in {MIN_USES} of the answers that can be compared.")
        return
    if marked.is_empty():
        show("Stereotype markers: none detected.")
        return
    show("Stereotype markers: words that are more frequent in a level's answers to the same items")
    print_table(marked.with_columns(pl.col("word").list.join(", ").alias("words")).drop("word"))
