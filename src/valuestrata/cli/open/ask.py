"""The command `open ask`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from valuestrata.cli.inputs import split_list
from valuestrata.cli.model_options import ask_or_estimate, calls_a_model, given, print_prompts, settings_of
from valuestrata.cli.options import (
    MODEL_HELP,
    AsJson,
    DatasetFolder,
    Fold,
    Items,
    OptionalRunOutput,
    Part,
    Samples,
    ShowPrompt,
    Split,
    Strata,
    TemplateName,
)
from valuestrata.cli.output import say
from valuestrata.errors import MOST_SEED


@calls_a_model()
def open_ask_(
    dataset: DatasetFolder,
    model: Annotated[str, typer.Option("--model", help=MODEL_HELP)],
    output: OptionalRunOutput = None,
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    items: Items = None,
    topics: Annotated[str | None, typer.Option("--topics", help="Only items of these topics, separated by commas.")] = None,
    most_divided: Annotated[
        int | None, typer.Option("--most-divided", min=1, metavar="N", help="Only the N items on which subgroups differ most.")
    ] = None,
    strata: Strata = None,
    pairs_per_item: Annotated[
        int | None, typer.Option("--pairs-per-item", min=1, metavar="N", help="A random sample of N pairs per item, spread over strata.")
    ] = None,
    pairs_seed: Annotated[int, typer.Option("--pairs-seed", min=0, max=MOST_SEED, help="Seed of that sample.")] = 0,
    template: TemplateName = "default",
    samples: Samples = 1,
    show_prompt: ShowPrompt = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Ask a model open questions in persona, without options or numbers. Run the command again to continue an interrupted run."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.openended.ask import plan_open
    from valuestrata.respondents.base import OPEN_TOKENS
    from valuestrata.respondents.models import make_respondent

    data = load_dataset(dataset)
    plan = plan_open(
        data,
        split=split,
        part=part,
        fold=fold,
        items=split_list(items),
        topics=split_list(topics),
        most_divided=most_divided,
        strata=split_list(strata),
        pairs_per_item=pairs_per_item,
        seed=pairs_seed,
        template=template,
        samples=samples,
    )
    for note in plan.notes:
        say(note)
    # Set explicitly so the run records the maximum length.
    settings = settings_of(options, max_new_tokens=OPEN_TOKENS)
    if show_prompt is not None:
        print_prompts(plan.dataset, model, plan.asking, show_prompt, settings, as_json=as_json)
        return
    respondent = make_respondent(model, data, split=split, fold=fold, settings=settings, calls=not options["dry_run"])
    ask_or_estimate(plan.dataset, respondent, given(output), plan.asking, options, as_json=as_json)
