"""The command `plan-sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from valuestrata.cli.inputs import load_data_and_runs, split_list
from valuestrata.cli.options import AsJson, DatasetFolder, Levels
from valuestrata.cli.output import print_json, print_table, say, show
from valuestrata.errors import MOST_SEED


def plan_sample_(
    dataset: DatasetFolder,
    budget: Annotated[int, typer.Option("--budget", metavar="N", help="Number of interviews.")],
    goal: Annotated[
        str,
        typer.Option("--goal", metavar="TEXT", help='For example "half-width .05 in every level of ethnicity"; join several with `and`.'),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the plan.")] = Path("plan"),
    run: Annotated[Path | None, typer.Option("--runs", metavar="RUN", help="Run of the model whose savings count.")] = None,
    people: Annotated[
        Path | None, typer.Option("--people", metavar="FILE", help="People of a pilot; by default the data set's gold is the earlier wave.")
    ] = None,
    estimator: Annotated[
        str | None,
        typer.Option(
            "--estimator",
            help="Estimates that must reach the goal: human, rectified (default with a run), small-area or small-area-model.",
        ),
    ] = None,
    questions_per_person: Annotated[
        int | None, typer.Option("--questions-per-person", metavar="Q", help="Most questions that a person answers; default all.")
    ] = None,
    population_size: Annotated[
        int | None, typer.Option("--population-size", metavar="N", help="People in the population, the most that can be interviewed.")
    ] = None,
    design_effect: Annotated[
        float | None, typer.Option("--design-effect", metavar="D", help="Design effect of weights and clusters; estimated by default.")
    ] = None,
    survey: Annotated[str | None, typer.Option("--survey", help="Codebook that reads --people: a name or a YAML file.")] = None,
    ids: Annotated[str | None, typer.Option("--id", metavar="COLUMNS", help="Column of the ids of people.")] = None,
    weight: Annotated[str | None, typer.Option("--weight", metavar="COLUMN", help="Column of the weights in a table of people.")] = None,
    levels: Levels = None,
    population: Annotated[
        Path | None, typer.Option("--population", metavar="FILE", help="Sizes of the combinations of attributes, with --people.")
    ] = None,
    answers: Annotated[
        list[Path] | None, typer.Option("--answers", metavar="FILE", help="A model's answers as each person of the pilot.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of held-out parts and of the order of forms.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Plan how many people to interview in each subgroup and which questions to ask whom, and say what a model saves.

    Half-widths are half the 95 % interval of the share of an item's most uncertain option, averaged over items.
    """
    from valuestrata.estimation.plan.files import plan_document, write_sample_plan
    from valuestrata.estimation.plan.plan_sample import plan_sample
    from valuestrata.estimation.plan.sentences import opening
    from valuestrata.estimation.plan.tables import printed_table

    data, loaded = load_data_and_runs(dataset, [] if run is None else [run])
    reading = {
        "survey": survey,
        "ids": split_list(ids),
        "weight": weight,
        "levels": levels,
        "population": population,
        "answers": answers or [],
    }
    found = plan_sample(
        data,
        goal,
        budget,
        run=loaded[0] if loaded else None,
        people=people,
        estimator=estimator,
        questions_per_person=questions_per_person,
        population_size=population_size,
        design_effect=design_effect,
        seed=seed,
        **reading,
    )
    write_sample_plan(found, data, output)
    for remark in found.remarks:
        say(remark)
    if as_json:
        print_json(plan_document(found, data))
        return
    for sentence in opening(found):
        show(sentence)
    show(f"Files: {output}/plan.csv, forms.csv, expected.csv, plan.json")
    print_table(printed_table(found))
