"""Commands on the validity of judges: draw a sample, code it, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestrata.cli.options import AsJson, Bootstrap, DatasetFolder
from valuestrata.cli.output import print_json, print_table, say, show
from valuestrata.errors import MOST_SEED

if TYPE_CHECKING:
    from valuestrata.openended.annotation.files import Sample
    from valuestrata.openended.validity.judge_validity import Validity

Folders = Annotated[
    list[Path],
    typer.Argument(
        metavar="FOLDER...", help="Folders made by `open judge` and `open stance`, and judged runs that are not in the same directory."
    ),
]
SampleFolder = Annotated[Path, typer.Argument(metavar="SAMPLE", help="Folder made by `open sample`.")]
_SHOWN = ("judge", "criterion", "check", "value", "ci_low", "ci_high", "n", "threshold", "passed", "source")


def sample_(
    dataset: DatasetFolder,
    folders: Folders,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the sample; it must not exist.")],
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Number of answers to code.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Random seed.")] = 0,
    criteria: Annotated[Path | None, typer.Option("--criteria", metavar="FILE", help="File given to `open judge --criteria`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a random sample of judged answers for people to code, blind to models, runs and verdicts."""
    import polars as pl

    from valuestrata.dataset.tables import load_dataset
    from valuestrata.errors import InputDataError
    from valuestrata.openended.annotation.sample import pairwise_units, stance_units, write_sample
    from valuestrata.openended.sources import instructions_of, load_sources

    data = load_dataset(dataset)
    sources = load_sources(data, folders)
    if sources.missing_runs:
        raise InputDataError(
            f"The answers of {', '.join(sources.missing_runs)} were not found next to the folders. Add their run folders: "
            "valuestrata open sample DATASET FOLDER... RUN... -o SAMPLE"
        )
    units = pl.concat([pairwise_units(sources.verdicts), stance_units(sources.stances)])
    found = write_sample(
        data,
        units,
        sources.answers,
        output,
        n=number,
        seed=seed,
        instructions=instructions_of(sources.criteria, criteria),
        sources=[str(folder) for folder in folders],
    )
    if as_json:
        print_json({"sample": str(output), **{key: found.meta[key] for key in ("tasks", "drawn_from", "by_criterion")}, "seed": seed})
        return
    listed = ", ".join(f"{count:,} {criterion}" for criterion, count in found.meta["by_criterion"].items())
    show(f"{output}: {found.meta['tasks']:,} of {found.meta['drawn_from']:,} answers ({listed}).")
    show(f"Code them in a browser: valuestrata open code {output} --coder NAME")
    show(f"or in a spreadsheet: fill in a copy of {output / 'items.csv'}, then add --import COPY.csv.")
    show("Keep key.parquet and key.json from coders.")


def code_(
    sample: SampleFolder,
    coder: Annotated[str, typer.Option("--coder", metavar="NAME", help="Name of the coder; each coder has a file.")],
    from_file: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Import a filled copy of items.csv instead of opening a page.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the page; any free one by default.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    as_json: AsJson = False,
) -> None:
    """Code a sample on a local web page, one task at a time. Every coding is saved at once; run the command again to continue."""
    from valuestrata.openended.annotation.files import load_sample

    loaded = load_sample(sample)
    if from_file is not None:
        _import(loaded, from_file, coder, as_json)
    else:
        _serve(loaded, coder, port, browser, as_json)


def _import(sample: Sample, file: Path, coder: str, as_json: bool) -> None:
    from dataclasses import asdict

    from valuestrata.openended.annotation.import_codes import import_codings

    found = import_codings(sample, file, coder)
    if as_json:
        print_json({**asdict(found), "file": str(found.file), "tasks": len(sample.tasks)})
        return
    show(
        f"{found.file}: {found.taken:,} codings imported ({found.replaced:,} replaced), {found.unchanged:,} unchanged; "
        f"{found.missing:,} of {len(sample.tasks):,} tasks are not coded."
    )


def _serve(sample: Sample, coder: str, port: int, browser: bool, as_json: bool) -> None:
    import webbrowser

    from valuestrata.openended.annotation.server import CoderSession, CodingServer

    session = CoderSession(sample, coder)
    with CodingServer(session, port) as server:
        say(f"Coding page of {coder}: {server.url}")
        say("It is available on this machine only. Finish on the page, or press Ctrl-C here; every coding is saved at once.")
        if browser and not webbrowser.open(server.url):
            say("No browser could be opened. Open the address above.")
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            say("Stopped.")
    if as_json:
        print_json({"coder": coder, "coded": session.coded, "left": session.left})
    else:
        show(f"{coder}: {session.coded:,} coded, {session.left:,} left.")


def validity_(
    dataset: DatasetFolder,
    folders: Folders,
    sample: Annotated[Path | None, typer.Option("--sample", metavar="SAMPLE", help="Sample with codings of the same answers.")] = None,
    bootstrap: Bootstrap = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the bootstrap.")] = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Also write the tables (CSV, Parquet) into this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Assess whether a judge may be used, by criterion: its consistency, its agreement with people, and corrected estimates.

    docs/judge-validity.md explains the rule.
    """
    from valuestrata.claims.judges import corrected_claims, corrected_difference_claims, judge_claims
    from valuestrata.claims.select import select
    from valuestrata.claims.templates import as_json as claim_as_json
    from valuestrata.claims.templates import word
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.openended.sources import load_sources
    from valuestrata.openended.validity.judge_validity import judge_validity, load_codings, write_validity

    data = load_dataset(dataset)
    sources = load_sources(data, folders)
    codings = None if sample is None else load_codings(sample, data)
    answers = None if sources.missing_runs else sources.answers
    found = judge_validity(data, sources.verdicts, sources.stances, answers=answers, codings=codings, bootstrap=bootstrap, seed=seed)
    claims = [*judge_claims(found), *corrected_claims(found.corrected), *corrected_difference_claims(found.corrected_differences)]
    selections = select(claims)
    lines = [*(word(claim).text for one in selections for claim in one.shown), *found.notes]
    rest = [claim for one in selections for claim in one.rest]
    if output is not None:
        write_validity(found, output, lines)
        say(f"Tables: {output}")
    if as_json:
        tables = {"checks": found.checks, "usable": found.usable, "agreement": found.agreed, "corrected": found.corrected}
        tables["corrected_differences"] = found.corrected_differences
        documents = [claim_as_json(claim) for one in selections for claim in (*one.shown, *one.rest)]
        print_json({name: table.to_dicts() for name, table in tables.items()} | {"lines": lines, "claims": documents})
    else:
        _print(found, lines)
        if rest:
            show(f"{len(rest)} more findings: --json prints all.")


def _print(found: Validity, lines: list[str]) -> None:
    import polars as pl

    for line in lines:
        show(line)
    show("\nChecks")
    print_table(found.checks.filter(pl.col("by") == "all", pl.col("check") != "usable").select(_SHOWN))
    if not found.agreed.is_empty():
        show("Agreement")
        print_table(found.agreed.filter(pl.col("by") == "all").drop("by", "key"))
    if not found.corrected.is_empty():
        show("Corrected for the judge's errors")
        columns = (
            "judge",
            "criterion",
            "run",
            "reference",
            "metric",
            "judge_value",
            "people_value",
            "value",
            "ci_low",
            "ci_high",
            "coded",
            "coders",
        )
        print_table(found.corrected.filter(pl.col("by") == "all").select(columns))
    if not found.corrected_differences.is_empty():
        show("Differences of win rates, corrected for the judge's errors")
        columns = (
            "judge",
            "criterion",
            "run",
            "against",
            "judge_value",
            "people_value",
            "value",
            "ci_low",
            "ci_high",
            "p_adjusted",
            "coded",
            "coders",
        )
        print_table(found.corrected_differences.filter(pl.col("by") == "all").select(columns))
