"""Commands that make runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from valuestrata.cli.options import MODEL_HELP, AsJson, DatasetFolder, Fold, Items, Part, Split, Strata, TrainOn
from valuestrata.cli.output import exit_if_failed, print_json, say, say_unmatched, words
from valuestrata.errors import UsageError


def ask(
    dataset: DatasetFolder,
    model: Annotated[str, typer.Option("--model", help=MODEL_HELP)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")],
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    train_on: TrainOn = None,
    items: Items = None,
    strata: Strata = None,
    template: Annotated[str, typer.Option("--template", help="default, second-person, third-person or a YAML file.")] = "default",
    elicitation: Annotated[str, typer.Option("--elicitation", help="text, logprob or first-token.")] = "logprob",
    orders: Annotated[str, typer.Option("--orders", help="scale, reversed or shuffled:N, separated by commas.")] = "scale",
    samples: Annotated[int, typer.Option("--samples", min=1, help="Answers to each prompt.")] = 1,
    max_calls: Annotated[int | None, typer.Option("--max-calls", min=1, help="Stop after so many prompts.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; chosen if left out.")] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="Of written text; 0 takes the likeliest token.")] = 0.0,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Tokens written at most.")] = 32,
    seed: Annotated[int, typer.Option("--seed", help="Seed of sampling.")] = 0,
    persona_seed: Annotated[int, typer.Option("--persona-seed", help="Seed of shuffled personas and of the wrong country.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Ask a model every pair of a split in persona; a run that stopped goes on where it was."""
    from valuestrata.dataset import load_dataset
    from valuestrata.respondents.base import elicitation_of
    from valuestrata.respondents.controls import AskedAsOthers
    from valuestrata.respondents.models import make_respondent
    from valuestrata.responses.ask import ask as ask_model
    from valuestrata.responses.planning import select_pairs

    readout = elicitation_of(elicitation)
    data = load_dataset(dataset)
    # A misspelt word is refused before a model is loaded, which may take a minute.
    select_pairs(data, split, part, fold, items=words(items), strata=words(strata))
    respondent = make_respondent(
        model,
        data,
        split=split,
        fold=fold,
        train_on=load_dataset(train_on) if train_on else None,
        device=device,
        seed=seed,
        persona_seed=persona_seed,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
    )
    if isinstance(respondent, AskedAsOthers) and respondent.note:
        say(f"{respondent.name}: {respondent.note}")
    say_unmatched(respondent.identity())
    result = ask_model(
        data,
        respondent,
        output,
        split=split,
        part=part,
        fold=fold,
        items=words(items),
        strata=words(strata),
        template=template,
        elicitation=readout,
        orders=orders,
        samples=samples,
        max_calls=max_calls,
    )
    if as_json:
        print_json({"run": str(output), "asked": result.asked, "answered": result.answered, "left": result.left, **dict(result.counts)})
    else:
        print(f"{output}: " + ", ".join(f"{number:,} {status}" for status, number in result.counts.items()) + f"; {result.left:,} left.")
    exit_if_failed(result.failed)


def import_(
    dataset: DatasetFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Outputs with custom_id and response (CSV, JSONL, JSON, Parquet).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")],
    numbers: Annotated[
        str,
        typer.Option(
            "--numbers",
            help="What a number in a response is: code, or position on the list of options from 1 up. "
            "With code, too, it is the position for an item some of whose codes are negative.",
        ),
    ] = "code",
    name: Annotated[str | None, typer.Option("--name", help="Name of the run; the folder's if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take published or foreign outputs as a run."""
    from valuestrata.dataset import load_dataset
    from valuestrata.responses.importing import import_run

    if numbers not in ("code", "position"):
        raise UsageError(f"--numbers is 'code' or 'position', not {numbers!r}.")
    result = import_run(load_dataset(dataset), file, output, numbers=numbers, name=name)
    if result.remark:
        say(result.remark)
    if as_json:
        print_json({"run": str(output), "counts": dict(result.counts), "unknown_ids": result.unknown})
    else:
        print(f"{output}: " + ", ".join(f"{number:,} {status}" for status, number in result.counts.items()) + ".")
        if result.unknown:
            print(f"{result.unknown:,} rows have a custom_id that this data set does not know.")
