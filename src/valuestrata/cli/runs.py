"""The commands `import` and `collect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from valuestrata.cli.model_options import report_batch
from valuestrata.cli.options import AsJson, DatasetFolder, RunOutput
from valuestrata.cli.output import counts_text, exit_if_failed, print_collected, print_json, say, show
from valuestrata.errors import RunFailedError, UsageError


def import_(
    dataset: DatasetFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Outputs with custom_id and response (CSV, JSONL, JSON, Parquet).")],
    output: RunOutput,
    numbers: Annotated[
        str,
        typer.Option(
            "--numbers",
            help="Meaning of a number in a response: scale code, or position in the list of options (from 1). "
            "Items with negative codes always use the position.",
        ),
    ] = "code",
    name: Annotated[str | None, typer.Option("--name", help="Name of the run; default the folder name.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an imported run in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import published or external outputs as a run, or a provider's outputs for the batch files of a run."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.responses.batch.folder import is_batch_run
    from valuestrata.responses.import_runs import import_run

    if is_batch_run(output):
        if numbers != "code" or name is not None or overwrite:
            raise UsageError(
                f"{output} has batch files, which record what a number means, and keeps its answers; leave out --numbers, --name and "
                "--overwrite."
            )
        from valuestrata.responses.batch.requests import collect_batch

        found = collect_batch(load_dataset(dataset), output, [file])
        report_batch(found, as_json=as_json)
        if not any(found.counts.values()):
            raise RunFailedError(f"{output}: the batch contains no answer; ask again or write a new batch.")
        return
    if numbers not in ("code", "position"):
        raise UsageError(f"--numbers is 'code' or 'position', not {numbers!r}.")
    result = import_run(load_dataset(dataset), file, output, numbers=numbers, name=name, overwrite=overwrite)
    if result.remark:
        say(result.remark)
    if as_json:
        print_json({"run": str(output), "counts": dict(result.counts), "unknown_ids": result.unknown})
    else:
        show(f"{output}: {counts_text(result.counts)}.")
        if result.unknown:
            show(f"{result.unknown:,} rows have a custom_id that is not in this data set.")
    if result.counts["failed"] == sum(result.counts.values()):
        raise RunFailedError(f"{file}: all {result.counts['failed']:,} outputs come from failed calls.")


def collect(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder given to `ask --shard I/N -o RUN`.")],
    as_json: AsJson = False,
) -> None:
    """Join the shards of a run once all have finished."""
    from valuestrata.responses.distributed.collect import collect as join_shards

    found = join_shards(run)
    print_collected(found, as_json=as_json)
    if not as_json:
        show(f"{found.shards:,} shards, {found.pairs:,} pairs.")
    exit_if_failed(found.failed, found.failures)
