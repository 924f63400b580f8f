"""Commands to tune a local model, check forgetting and write model cards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.cli.inputs import load_data_and_runs
from valuestrata.cli.options import AsJson, Bootstrap, BootstrapSeed, DatasetFolder, Fold, Part, Split, Track, TrackTo
from valuestrata.cli.output import print_json, print_table, say, show
from valuestrata.errors import Option, UsageError

if TYPE_CHECKING:
    import polars as pl

Recipe = Annotated[str, typer.Option("--recipe", help="modal, distribution, ordinal, shift, fair, dpo, paper or a YAML file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe, such as learning_rate=1e-3 or lora.r=16; repeatable."),
]
Control = Annotated[str | None, typer.Option("--control", help="Train with other personas: no-persona, country-only or shuffled-persona.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Overrides the seeds of the recipe.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; by default the best available.")]


def tune_(
    dataset: DatasetFolder,
    model: Annotated[str, typer.Option("--model", help="Model to tune: embedded, hf:ORG/NAME or gguf:FILE.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the adapter.")],
    recipe: Recipe = "modal",
    settings: Settings = None,
    control: Control = None,
    split: Split = "paper",
    fold: Fold = None,
    device: Device = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", min=1, help="Maximum number of updates; overrides the recipe.")] = None,
    seed: Seed = None,
    merge: Annotated[bool, typer.Option("--merge", help="Also write base and adapter as one model.")] = False,
    forgetting: Annotated[
        bool, typer.Option("--forgetting", help="Also check forgetting: a fixed text and twenty questions, before and after.")
    ] = False,
    track: Track = None,
    track_to: TrackTo = None,
    as_json: AsJson = False,
) -> None:
    """Train an adapter on the training gold of a split, or continue an interrupted training. See docs/tuning.md."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.reports.export.tracking.track import check_tracker, log_training
    from valuestrata.tuning.recipe import recipe_with
    from valuestrata.tuning.train.processes import is_main
    from valuestrata.tuning.tune import tune

    tracker = check_tracker(track, track_to)
    result = tune(
        load_dataset(dataset),
        model,
        output,
        recipe=recipe_with(recipe, settings or ()),
        control=control,
        split=split,
        fold=fold,
        device=device,
        max_steps=max_steps,
        seed=seed,
        merge=merge,
    )
    if not is_main():
        # Only one of several processes writes and prints.
        return
    lost = _write_card(result.adapter, model, device, check=forgetting)
    if tracker is not None:
        say(log_training(result, tracker, to=track_to))
    if as_json:
        more = {} if lost is None else {"forgetting": lost.to_dicts()}
        print_json({"adapter": str(result.adapter), "before": result.before, "after": result.after, **more})
        return
    for measure, after in (result.after or {}).items():
        before = (result.before or {}).get(measure)
        show(f"{measure}: {after:.4f}" + ("" if before is None else f" (before {before:.4f})"))
    if lost is not None:
        _print_forgetting(lost)
    show(f"Adapter: {result.adapter}. Ask it with: --model {model}+{result.adapter}")


def _write_card(adapter: Path, model: str, device: str | None, *, check: bool) -> pl.DataFrame | None:
    """Write an adapter's card if it is missing or gets new content; return the frame of FORGETTING if `check`."""
    from valuestrata.tuning.evaluate.forgetting import forgetting, read_forgetting, write_forgetting
    from valuestrata.tuning.model_card import CARD, write_card

    lost = read_forgetting(adapter) if check else None
    if check and lost is None:
        lost = forgetting(model, f"{model}+{adapter}", device=device)
        write_forgetting(adapter, lost)
        write_card(adapter)
    elif not (adapter / CARD).is_file():
        # An existing card may contain scores.
        write_card(adapter)
    return lost


def forgetting_(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="embedded+ADAPTER, hf:ORG/NAME+ADAPTER or another local model.")],
    against: Annotated[
        str | None, typer.Option("--against", metavar="BASE", help="Model before tuning; by default MODEL without its adapter.")
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Compare perplexity on a fixed text and answers to off-topic questions before and after tuning."""
    from valuestrata.respondents.local.load import parse_spec
    from valuestrata.tuning.evaluate.forgetting import forgetting

    spec = parse_spec(model)
    if against is None:
        if spec.adapter is None:
            raise UsageError(f"{model} has no adapter; name the model before tuning with ", Option("against"), ".")
        against = model.partition("+")[0]
    found = forgetting(against, model, device=device)
    if as_json:
        print_json({"model": model, "against": against, "forgetting": found.to_dicts()})
        return
    show(f"After: {model}; before: {against}")
    _print_forgetting(found)


def card_(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="Folder of an adapter made by `tune`.")],
    dataset: DatasetFolder,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs of the tuned model, and of other models to show.")],
    split: Annotated[str | None, typer.Option("--split", help="Split to score; by default the one it was tuned on.")] = None,
    part: Part = "test",
    fold: Fold = None,
    bootstrap: Bootstrap = 1000,
    seed: BootstrapSeed = 0,
) -> None:
    """Rewrite an adapter's card with the scores of runs (overall, by attribute and by level) and their intervals."""
    from valuestrata.scores import score
    from valuestrata.tuning.model_card import write_card
    from valuestrata.tuning.record import TRAINING, read_training

    if not (adapter / TRAINING).is_file():
        raise UsageError(f"{adapter} is not an adapter made by `tune` ({TRAINING} is missing).")
    request: dict[str, Any] = read_training(adapter)["request"]
    data, loaded = load_data_and_runs(dataset, runs)
    if split is None and fold is None:
        fold = request["fold"]
    scheme: str = split or request["split"]
    scores = score(data, loaded, split=scheme, part=part, fold=fold, by=("all", "attribute", "level"), bootstrap=bootstrap, seed=seed)
    show(f"Card: {write_card(adapter, scores=scores)}")


def _print_forgetting(found: pl.DataFrame) -> None:
    import polars as pl

    print_table(found.select("measure", pl.col("before", "after", "difference").round(4), "better", "count"))
