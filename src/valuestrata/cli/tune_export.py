"""Commands that have others teach a model: files for their trainers, and a job at a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestrata.cli.options import AsJson, DatasetFolder, Fold, Split
from valuestrata.cli.output import print_json
from valuestrata.cli.tune import Control, Recipe, Seed

if TYPE_CHECKING:
    from valuestrata.tuning.export.jobs import Job

_PROVIDER = "together/"
ExportFolder = Annotated[Path, typer.Argument(metavar="EXPORT", help="Folder made by `tune-export --to together`.")]
Base = Annotated[str, typer.Option("--model", help="The base model as Together calls it: ORG/NAME or together/ORG/NAME.")]
MaxCost = Annotated[float | None, typer.Option("--max-cost", min=0, help="US dollars; a job expected to cost more is not started.")]
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="In place of Together's address.")]
Every = Annotated[float, typer.Option("--every", min=0.01, help="Seconds from one look to the next.")]


def tune_export(
    dataset: DatasetFolder,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the training files.")],
    to: Annotated[str, typer.Option("--to", help="Who reads them: chat, together, tinker, llama-factory or axolotl.")] = "chat",
    model: Annotated[str | None, typer.Option("--model", help="hf:ORG/NAME, which settings for llama-factory and axolotl name.")] = None,
    recipe: Recipe = "modal",
    control: Control = None,
    split: Split = "paper",
    fold: Fold = None,
    seed: Seed = None,
    answers: Annotated[int, typer.Option("--answers", min=1, help="Rows a pair where the recipe teaches shares.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Write the training gold of a split as files for another trainer, checked against its limits. See docs/tuning-elsewhere.md."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.tuning.export.files import export_training

    made = export_training(
        load_dataset(dataset),
        output,
        recipe=recipe,
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
    print(f"Export: {made.folder}, {made.rows['train']:,} rows to train on and {made.rows['validation']:,} to validate.")
    for remark in made.remarks:
        print(f"Not as `tune` does it: {remark}")


def submit(
    folder: ExportFolder,
    model: Base,
    max_cost: MaxCost = None,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Hand in exported files at Together and start a job; called again it starts no second one. The key is TOGETHER_API_KEY."""
    from valuestrata.tuning.export.jobs import submit_job

    _tell(submit_job(folder, model.removeprefix(_PROVIDER), base_url=base_url, max_cost=max_cost), as_json)


def status(folder: ExportFolder, as_json: AsJson = False) -> None:
    """Look once how a job is."""
    from valuestrata.tuning.export.jobs import look_at_job

    _tell(look_at_job(folder), as_json)


def wait(folder: ExportFolder, every: Every = 30.0, as_json: AsJson = False) -> None:
    """Wait until a job has ended, and say which MODEL came of it."""
    from valuestrata.tuning.export.jobs import poll_job

    _tell(poll_job(folder, every=every), as_json)


def job_app() -> typer.Typer:
    """Return the commands of `tune-job`."""
    app = typer.Typer(help="A tuning job at Together: started once, watched, its model a MODEL.", no_args_is_help=True)
    app.command(short_help="Hand in exported files and start it, once.")(submit)
    app.command(short_help="How it is.")(status)
    app.command(short_help="Wait for its model.")(wait)
    return app


def _tell(job: Job, as_json: bool) -> None:
    document = job.document
    if as_json:
        print_json({"export": str(job.folder), **document, "tuned_model": job.word})
        return
    price = (document.get("estimate") or {}).get("estimated_total_price")
    expected = "" if price is None else f", expected to cost ${price:,.2f}"
    why = f" ({document['said']})" if document.get("said") and not job.word else ""
    print(f"Job {job.id or 'not started'} at {document['provider']}: {document.get('status') or document['stage']}{expected}.{why}")
    if job.word:
        print(f"Ask it with: --model {job.word}")
    elif document["stage"] == "running":
        print(f"Its model is told by: valuestrata tune-job wait {job.folder}")
