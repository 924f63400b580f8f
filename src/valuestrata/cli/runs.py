"""Commands that make runs of what was answered elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from valuestrata.cli.options import AsJson, DatasetFolder
from valuestrata.cli.output import collected, exit_if_failed, print_json, say
from valuestrata.errors import RunFailedError, UsageError


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
    """Take published or foreign outputs as a run, or what a provider gave back for the batch files of one."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.responses.batch.folder import is_batch_run
    from valuestrata.responses.import_runs import import_run

    if is_batch_run(output):
        if numbers != "code" or name is not None:
            raise UsageError(f"{output} has batch files, whose answers say what they mean: leave --numbers and --name out.")
        from valuestrata.responses.batch.requests import collect_batch

        found = collect_batch(load_dataset(dataset), output, [file])
        for remark in found.remarks:
            say(remark)
        collected(found, as_json)
        exit_if_failed(found.counts["failed"], found.failures)
        if not any(found.counts.values()):
            raise RunFailedError(f"{output}: nothing of the batch was answered; ask or batch it again.")
        return
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
    if result.counts["failed"] == sum(result.counts.values()):
        raise RunFailedError(f"{file}: all of its {result.counts['failed']:,} outputs are of calls that failed.")


def collect(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder given to `ask --shard I/N -o RUN`.")],
    as_json: AsJson = False,
) -> None:
    """Join the shards of a run, once all are there and finished."""
    from valuestrata.responses.distributed.collect import collect as join_shards

    found = join_shards(run)
    collected(found, as_json)
    if not as_json:
        print(f"{found.shards:,} shards, {found.pairs:,} pairs.")
    exit_if_failed(found.failed, found.failures)
