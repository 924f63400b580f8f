"""The command `calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.cli.options import AsJson, DatasetFolder, Fold, RunOutput, Split
from valuestrata.cli.output import print_json, print_table, say, show
from valuestrata.errors import MOST_SEED
from valuestrata.formatting import number

if TYPE_CHECKING:
    from valuestrata.calibration.calibrated import CalibrateResult


def calibrate_(
    dataset: DatasetFolder,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a model that answered training and test pairs.")],
    output: RunOutput,
    split: Split = "unseen-item",
    fold: Fold = None,
    method: Annotated[
        str, typer.Option("--method", help="shares, shrunken-persona, by-subgroup, hybrid or probe; see docs/calibration.md.")
    ] = "shares",
    control: Annotated[
        str | None,
        typer.Option("--control", help="Replace the model's answers: shuffled-answers (among items) or no-model (equal shares)."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the control.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another calibrated run in the folder.")] = False,
    device: Annotated[str | None, typer.Option("--device", help="Device of the local model, for probe: cpu, cuda or mps.")] = None,
    template: Annotated[str | None, typer.Option("--template", help="File of the run's template, for probe, if it is your own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Correct the answers of a run by what the training pairs of a split show about the model. The result is an ordinary run.

    Ask the run with `ask --part all`, and with several option orders, which are averaged first. Test gold is never used.
    """
    import polars as pl

    from valuestrata.calibration.calibrated import calibrate
    from valuestrata.calibration.parameters import parameter_table, scale_table
    from valuestrata.calibration.reliability import reliability, reliability_table
    from valuestrata.cli.inputs import load_data_and_runs

    data, (source,) = load_data_and_runs(dataset, [run])
    result = calibrate(
        data,
        source,
        output,
        split=split,
        fold=fold,
        method=method,
        control=control,
        seed=seed,
        overwrite=overwrite,
        device=device,
        template=template,
    )
    for remark in result.remarks:
        say(remark)
    found = reliability(data, result)
    if as_json:
        print_json({**_document(result), "reliability": found.to_dicts()})
        return
    show(f"{output}: {result.pairs:,} pairs answered{', as before' if result.kept else ''}.")
    if result.absent:
        show(f"{result.absent:,} pairs have no answer, because the run {source.name!r} did not answer them.")
    over = "" if len(result.settings) == 1 else f": mean (range) over {len(result.settings)} folds"
    if len(scales := scale_table(result.settings)):
        show(f"\nSlope and offsets by scale{over}.")
        print_table(scales)
    if len(others := parameter_table(result.settings)):
        show(f"\nOther parameters{over}.")
        print_table(others.rename({"mean": "value"}).select("parameter", "value") if len(result.settings) == 1 else others)
    show("\nReliability on the test pairs, which were not used to fit: mean stated probability, and mean share of people.")
    print_table(reliability_table(found))
    before, after = (found.filter(pl.col("bin").is_null(), run=side, measure="ece")["error"].item() for side in ("before", "after"))
    show(f"Calibration error: {number(before, 3)} before, {number(after, 3)} after.")


def _document(result: CalibrateResult) -> dict[str, Any]:
    return {
        "run": str(result.run.path),
        "method": result.method,
        "pairs": result.pairs,
        "absent": result.absent,
        "folds": [{"fold": fold, **settings} for fold, settings in zip(result.folds, result.settings, strict=True)],
        "remarks": [remark.render("cli") for remark in result.remarks],
    }
