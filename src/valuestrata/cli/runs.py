"""The commands `import` and `collect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from valuestrata.cli.inputs import split_list
from valuestrata.cli.model_options import report_batch
from valuestrata.cli.options import AsJson, DatasetFolder, RunOutput
from valuestrata.cli.output import counts_text, exit_if_failed, print_collected, print_json, say, show
from valuestrata.errors import RunFailedError, UsageError


def import_(
    dataset: DatasetFolder,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Outputs with custom_id and response, or columns named by --id and --answer (CSV, JSONL, JSON, Parquet)."
        ),
    ],
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
    ids: Annotated[
        str,
        typer.Option("--id", metavar="COLUMNS", help="Column of the pair_id, or of the item and the subgroup, separated by commas."),
    ] = "custom_id",
    answer: Annotated[str, typer.Option("--answer", metavar="COLUMN", help="Column of the answers.")] = "response",
    people: Annotated[
        Path | None,
        typer.Option("--people", metavar="FILE", help="Table of the people in a column of --id: that column, and one for each attribute."),
    ] = None,
    repeats: Annotated[
        str | None, typer.Option("--repeats", help="Meaning of several rows of a pair: samples of one prompt, or answers for people.")
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option(
            "--trained-on",
            metavar="WHAT",
            help="What the model was trained on: none, SPLIT or SPLIT:FOLD of this data set, or a JSON or YAML file that describes it.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an imported run in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import published or external outputs as a run, or a provider's outputs for the batch files of a run."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.responses.batch.folder import is_batch_run
    from valuestrata.responses.import_runs import import_run

    if is_batch_run(output):
        given = (numbers, name, overwrite, ids, answer, people, repeats, trained_on)
        if given != ("code", None, False, "custom_id", "response", None, None, None):
            raise UsageError(f"{output} has batch files, which record what each output is; give only DATASET, FILE and -o.")
        from valuestrata.responses.batch.requests import collect_batch

        found = collect_batch(load_dataset(dataset), output, [file])
        report_batch(found, as_json=as_json)
        if not any(found.counts.values()):
            raise RunFailedError(f"{output}: the batch contains no answer; ask again or write a new batch.")
        return
    if numbers not in ("code", "position"):
        raise UsageError(f"--numbers is 'code' or 'position', not {numbers!r}.")
    if repeats is not None and repeats not in ("samples", "people"):
        raise UsageError(f"--repeats is 'samples' or 'people', not {repeats!r}.")
    result = import_run(
        load_dataset(dataset),
        file,
        output,
        numbers=numbers,
        name=name,
        overwrite=overwrite,
        ids=split_list(ids),
        answer=answer,
        people=people,
        repeats=repeats,
        trained_on=trained_on,
    )
    if trained_on is None:
        say(
            "What the model was trained on is not recorded, so `score` cannot tell whether it saw the test. State it with --trained-on: "
            "none, a split, or a file (docs/files.md)."
        )
    if result.repeated:
        say(
            f"{result.repeated:,} pairs have several rows. Say with --repeats whether these are samples of one prompt or answers for "
            "different people; `variance` calls them repeated answers otherwise."
        )
    if result.remark:
        say(result.remark)
    if as_json:
        print_json({"run": str(output), "counts": dict(result.counts), "unknown_ids": result.unknown})
    else:
        show(f"{output}: {counts_text(result.counts)}.")
        if result.unknown:
            named = "a custom_id" if ids == "custom_id" else f"a value of {ids}"
            show(f"{result.unknown:,} rows have {named} that is not in this data set ({'; '.join(result.unknown_ids)}).")
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
