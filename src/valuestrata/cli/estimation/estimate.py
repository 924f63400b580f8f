"""The command `estimate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.cli.inputs import load_data_and_runs, split_list
from valuestrata.cli.options import AsJson, DatasetFolder, Items, Levels, Strata
from valuestrata.cli.output import print_json, print_table, say, show

if TYPE_CHECKING:
    from valuestrata.estimation.estimate import EstimateResult


def estimate_(
    dataset: DatasetFolder,
    people: Annotated[
        Path,
        typer.Option(
            "--people",
            metavar="FILE",
            help="People who were interviewed: a survey file, or a table with the labels of attributes and items.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the estimates and their page.")],
    runs: Annotated[
        list[Path] | None,
        typer.Option("--runs", metavar="RUN...", help="Run folders of models made by `ask` or `import`; without, the sample alone counts."),
    ] = None,
    survey: Annotated[str | None, typer.Option("--survey", help="Codebook that reads --people: a name or a YAML file.")] = None,
    ids: Annotated[
        str | None,
        typer.Option(
            "--id", "--ids", metavar="COLUMNS", help="Column of the ids of people; of rows by person and item also that of the items."
        ),
    ] = None,
    weight: Annotated[str | None, typer.Option("--weight", metavar="COLUMN", help="Column of the weights in a table of people.")] = None,
    psu: Annotated[str | None, typer.Option("--psu", metavar="COLUMN", help="Column of the sampling units in a table of people.")] = None,
    sampling_strata: Annotated[
        str | None, typer.Option("--sampling-strata", metavar="COLUMN", help="Column of the sampling strata in a table of people.")
    ] = None,
    levels: Levels = None,
    population: Annotated[
        Path | None,
        typer.Option("--population", metavar="FILE", help="Sizes of the combinations of attributes; by default those of the data set."),
    ] = None,
    population_size: Annotated[
        int | None, typer.Option("--population-size", min=1, metavar="N", help="People in the population; intervals shrink with it.")
    ] = None,
    sampling_fraction: Annotated[
        float | None, typer.Option("--sampling-fraction", metavar="F", help="Share of the population that was interviewed, instead of N.")
    ] = None,
    answers: Annotated[
        list[Path] | None,
        typer.Option("--answers", metavar="FILE...", help="A model's answers as each person, as `import --per-respondent` reads them."),
    ] = None,
    simulated: Annotated[
        Path | None,
        typer.Option("--answers-people", "--simulated", metavar="FILE", help="The people in --answers, if they are not those of --people."),
    ] = None,
    numbers: Annotated[
        str, typer.Option("--numbers", help="Meaning of a number in tables of answers: scale code, or position in the list (from 1).")
    ] = "code",
    missing: Annotated[
        str | None, typer.Option("--missing", metavar="VALUES", help="Answers that stand for a refusal, separated by commas.")
    ] = None,
    first_wave: Annotated[
        Path | None, typer.Option("--first-wave", metavar="DATASET", help="Data set of an earlier wave: also estimate the change since.")
    ] = None,
    items: Items = None,
    strata: Strata = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other estimates in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Estimate the answers of every subgroup from a few interviews and models, and how many interviews a model saves.

    Five estimators stand side by side: the sample alone, the model alone, the sample corrected with the model (rectified), multilevel
    regression, and small-area estimates. docs/fewer-interviews.md says when to use which.
    """
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.estimation.estimate import estimate, request_of
    from valuestrata.estimation.results.files import kept_estimates
    from valuestrata.reports.estimation.page import write_estimates

    data, loaded = load_data_and_runs(dataset, runs or [])
    options: dict[str, Any] = {
        "survey": survey,
        "ids": split_list(ids),
        "weight": weight,
        "psu": psu,
        "sampling_strata": sampling_strata,
        "levels": levels,
        "population": population,
        "population_size": population_size,
        "sampling_fraction": sampling_fraction,
        "answers": answers or [],
        "simulated": simulated,
        "numbers": numbers,
        "missing": split_list(missing),
        "first_wave": None if first_wave is None else load_dataset(first_wave),
        "items": split_list(items),
        "strata": split_list(strata),
    }
    found = kept_estimates(output, data, request_of(data, people, loaded, **options), overwrite=overwrite)
    if found is None:
        found = estimate(data, people, loaded, **options)
        write_estimates(found, output)
        for remark in found.remarks:
            say(remark)
    else:
        say(f"{output}: these estimates are there already; nothing was computed. Messages about the files are in estimate.json.")
    _print(found, output, as_json=as_json)


def _print(found: EstimateResult, folder: Path, *, as_json: bool) -> None:
    from valuestrata.estimation.results.files import json_document
    from valuestrata.estimation.results.sentences import opening, width_table

    if as_json:
        print_json({**json_document(found), "report": str(folder / "report.html")})
        return
    for sentence in opening(found):
        show(sentence)
    show("\nAverage half-width of the 95 % intervals of shares, in points.")
    print_table(width_table(found))
    show(f"Page: {folder / 'report.html'}. Table: {folder / 'estimates.csv'}.")
