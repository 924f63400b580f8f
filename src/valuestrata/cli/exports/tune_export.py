"""Commands to export training files and to run a tuning job at Together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestrata.cli.options import AsJson, DatasetFolder, Fold, Split
from valuestrata.cli.output import print_json, show
from valuestrata.cli.tune import Control, Recipe, Seed, Settings

if TYPE_CHECKING:
    from valuestrata.tuning.export.jobs import TuningJob

_PROVIDER = "together/"
ExportFolder = Annotated[Path, typer.Argument(metavar="EXPORT", help="Folder made by `tune-export --to together`.")]
Base = Annotated[str, typer.Option("--model", help="Base model at Together: ORG/NAME or together/ORG/NAME.")]
MaxCost = Annotated[float | None, typer.Option("--max-cost", min=0, help="Limit in US dollars; a more expensive job is not started.")]
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="Overrides Together's address.")]
Every = Annotated[float, typer.Option("--every", min=0.01, help="Seconds between requests.")]


def tune_export(
    dataset: DatasetFolder,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the training files.")],
    to: Annotated[str, typer.Option("--to", help="Format: chat, together, tinker, llama-factory or axolotl.")] = "chat",
    model: Annotated[str | None, typer.Option("--model", help="Base model hf:ORG/NAME; required for llama-factory and axolotl.")] = None,
    recipe: Recipe = "modal",
    settings: Settings = None,
    control: Control = None,
    split: Split = "paper",
    fold: Fold = None,
    seed: Seed = None,
    answers: Annotated[int, typer.Option("--answers", min=1, help="Rows per pair for recipes on shares.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Export the training gold of a split for another trainer. See docs/tuning-elsewhere.md."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.tuning.export.files import export_training
    from valuestrata.tuning.recipe import recipe_with

    made = export_training(
        load_dataset(dataset),
        output,
        recipe=recipe_with(recipe, settings or ()),
        format=to,
        model=model,
        split=split,
        fold=fold,
        control=control,
        seed=seed,
        answers=answers,
    )
    if as_json:
        print_json({"export": str(made.folder), **made.document})
        return
    show(f"Export: {made.folder}, {made.rows['train']:,} rows to train on and {made.rows['validation']:,} to validate.")
    for remark in made.remarks:
        show(f"Different from `tune`: {remark}")


def submit(
    folder: ExportFolder,
    model: Base,
    max_cost: MaxCost = None,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Upload exported files to Together and start one job. The key is read from TOGETHER_API_KEY."""
    from valuestrata.tuning.export.jobs import submit_job

    _print_job(submit_job(folder, model.removeprefix(_PROVIDER), base_url=base_url, max_cost=max_cost), as_json)


def status(folder: ExportFolder, as_json: AsJson = False) -> None:
    """Show the status of a job."""
    from valuestrata.tuning.export.jobs import look_at_job

    _print_job(look_at_job(folder), as_json)


def wait(folder: ExportFolder, every: Every = 30.0, as_json: AsJson = False) -> None:
    """Wait until a job has ended and print its MODEL."""
    from valuestrata.tuning.export.jobs import poll_job

    _print_job(poll_job(folder, every=every), as_json)


def job_app() -> typer.Typer:
    """Return the commands of `tune-job`."""
    app = typer.Typer(help="Run a tuning job at Together.", no_args_is_help=True)
    app.command(short_help="Upload exported files and start a job.")(submit)
    app.command(short_help="Show its status.")(status)
    app.command(short_help="Wait until it has ended.")(wait)
    return app


def _print_job(job: TuningJob, as_json: bool) -> None:
    document = job.document
    if as_json:
        print_json({"export": str(job.folder), **document, "tuned_model": job.tuned_model})
        return
    price = (document.get("estimate") or {}).get("estimated_total_price")
    expected = "" if price is None else f", expected to cost ${price:,.2f}"
    why = f" ({document['said']})" if document.get("said") and not job.tuned_model else ""
    show(f"Job {job.id or 'not started'} at {document['provider']}: {document.get('status') or document['stage']}{expected}.{why}")
    if job.tuned_model:
        show(f"Ask it with: --model {job.tuned_model}")
    elif document["stage"] == "running":
        show(f"To wait for its model: valuestrata tune-job wait {job.folder}")
