"""The command that tunes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from valuestrata.cli.options import AsJson, DatasetFolder, Fold, Split
from valuestrata.cli.output import print_json


def tune_(
    dataset: DatasetFolder,
    model: Annotated[str, typer.Option("--model", help="embedded, hf:ORG/NAME or gguf:FILE: what is taught.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the adapter.")],
    recipe: Annotated[
        str, typer.Option("--recipe", help="modal, distribution, ordinal, shift, fair, dpo, paper or a YAML file.")
    ] = "modal",
    control: Annotated[
        str | None, typer.Option("--control", help="Tune on other personas: no-persona, country-only or shuffled-persona.")
    ] = None,
    split: Split = "paper",
    fold: Fold = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; chosen if left out.")] = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", min=1, help="Updates at most, in place of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="In place of the recipe's seeds.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Write base and adapter as one model, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Teach a model the training gold of a split; an adapter that stopped goes on where it was. See docs/tuning.md."""
    from valuestrata.dataset import load_dataset
    from valuestrata.tuning.card import write_card
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
    write_card(result.adapter)
    if as_json:
        print_json({"adapter": str(result.adapter), "before": result.before, "after": result.after})
        return
    for measure, after in (result.after or {}).items():
        before = (result.before or {}).get(measure)
        print(f"{measure}: {after:.4f}" + ("" if before is None else f" (before {before:.4f})"))
    print(f"Adapter: {result.adapter}. Ask it with: --model {model}+{result.adapter}")
