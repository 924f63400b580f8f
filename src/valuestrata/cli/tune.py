"""Commands that teach a model on this machine, and say what it learned and lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.cli.options import AsJson, Bootstrap, DatasetFolder, Fold, Part, Split
from valuestrata.cli.output import print_json, print_table
from valuestrata.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

Recipe = Annotated[str, typer.Option("--recipe", help="modal, distribution, ordinal, shift, fair, dpo, paper or a YAML file.")]
Control = Annotated[str | None, typer.Option("--control", help="Tune on other personas: no-persona, country-only or shuffled-persona.")]
Seed = Annotated[int | None, typer.Option("--seed", help="In place of the recipe's seeds.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; chosen if left out.")]


def tune_(
    dataset: DatasetFolder,
    model: Annotated[str, typer.Option("--model", help="embedded, hf:ORG/NAME or gguf:FILE: what is taught.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the adapter.")],
    recipe: Recipe = "modal",
    control: Control = None,
    split: Split = "paper",
    fold: Fold = None,
    device: Device = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", min=1, help="Updates at most, in place of the recipe's.")] = None,
    seed: Seed = None,
    merge: Annotated[bool, typer.Option("--merge", help="Write base and adapter as one model, too.")] = False,
    forgetting: Annotated[
        bool, typer.Option("--forgetting", help="Check what was forgotten, too: a fixed text and twenty questions, before and after.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Teach a model the training gold of a split; an adapter that stopped goes on where it was. See docs/tuning.md."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.tuning.train.processes import is_main
    from valuestrata.tuning.tune import tune

    result = tune(
        load_dataset(dataset),
        model,
        output,
        recipe=recipe,
        control=control,
        split=split,
        fold=fold,
        device=device,
        max_steps=max_steps,
        seed=seed,
        merge=merge,
    )
    if not is_main():
        # Of several processes that train together one writes and speaks.
        return
    lost = _carded(result.adapter, model, device, check=forgetting)
    if as_json:
        more = {} if lost is None else {"forgetting": lost.to_dicts()}
        print_json({"adapter": str(result.adapter), "before": result.before, "after": result.after, **more})
        return
    for measure, after in (result.after or {}).items():
        before = (result.before or {}).get(measure)
        print(f"{measure}: {after:.4f}" + ("" if before is None else f" (before {before:.4f})"))
    if lost is not None:
        _print_lost(lost)
    print(f"Adapter: {result.adapter}. Ask it with: --model {model}+{result.adapter}")


def _carded(adapter: Path, model: str, device: str | None, *, check: bool) -> pl.DataFrame | None:
    """Write an adapter's card, unless one is there and nothing new to say; return what was forgotten where that is asked for."""
    from valuestrata.tuning.evaluate.forgetting import forgetting, read_forgetting, write_forgetting
    from valuestrata.tuning.model_card import CARD, write_card

    lost = read_forgetting(adapter) if check else None
    if check and lost is None:
        lost = forgetting(model, f"{model}+{adapter}", device=device)
        write_forgetting(adapter, lost)
        write_card(adapter)
    elif not (adapter / CARD).is_file():
        # One that is there may hold scores by now.
        write_card(adapter)
    return lost


def forgetting_(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="embedded+ADAPTER, hf:ORG/NAME+ADAPTER or another model of this machine.")],
    against: Annotated[str | None, typer.Option("--against", metavar="BASE", help="The model before; MODEL without its adapter.")] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Say what tuning cost elsewhere: perplexity of a fixed text and off-topic questions, before and after."""
    from valuestrata.respondents.local.load import parse_spec
    from valuestrata.tuning.evaluate.forgetting import forgetting

    spec = parse_spec(model)
    if against is None:
        if spec.adapter is None:
            raise UsageError(f"{model} has no adapter to leave out; say with --against which model it was before.")
        against = model.partition("+")[0]
    found = forgetting(against, model, device=device)
    if as_json:
        print_json({"model": model, "against": against, "forgetting": found.to_dicts()})
        return
    print(f"After: {model}; before: {against}")
    _print_lost(found)


def card_(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="Folder of an adapter that `tune` made.")],
    dataset: DatasetFolder,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs of the tuned model, and of others beside it.")],
    split: Annotated[str | None, typer.Option("--split", help="Split to score; the one it was tuned on if left out.")] = None,
    part: Part = "test",
    fold: Fold = None,
    bootstrap: Bootstrap = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
) -> None:
    """Write an adapter's card anew with the scores of runs: all, by attribute and level, with intervals."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.files import read_json
    from valuestrata.responses.run.folder import check_same_dataset, load_run
    from valuestrata.scores import score
    from valuestrata.tuning.adapters import TRAINING
    from valuestrata.tuning.model_card import write_card

    if not (adapter / TRAINING).is_file():
        raise UsageError(f"{adapter}: no adapter made by `tune` is here ({TRAINING} is missing).")
    request: dict[str, Any] = read_json(adapter / TRAINING)["request"]
    data = load_dataset(dataset)
    loaded = [load_run(run) for run in runs]
    for one in loaded:
        check_same_dataset(one, data)
    if split is None and fold is None:
        fold = request["fold"]
    scheme: str = split or request["split"]
    scores = score(data, loaded, split=scheme, part=part, fold=fold, by=("all", "attribute", "level"), bootstrap=bootstrap, seed=seed)
    print(f"Card: {write_card(adapter, scores=scores)}")


def _print_lost(found: pl.DataFrame) -> None:
    import polars as pl

    print_table(found.select("measure", pl.col("before", "after", "difference").round(4), "better", "count"))
