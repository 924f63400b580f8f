"""The commands `import` and `collect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestrata.cli.inputs import split_list
from valuestrata.cli.model_options import report_batch
from valuestrata.cli.options import AsJson, DatasetFolder, Levels, RunOutput
from valuestrata.cli.output import counts_text, exit_if_failed, print_collected, print_json, say, show
from valuestrata.errors import RunFailedError, UsageError

if TYPE_CHECKING:
    from valuestrata.responses.per_respondent.importing import RespondentImport


def import_(
    dataset: DatasetFolder,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Outputs with custom_id and response, or columns named by --id and --answer (CSV, JSONL, JSON, Parquet); or a log of an "
            "exported data set: of Inspect (.eval, .json) or lm-evaluation-harness (its output folder, results or samples file).",
        ),
    ],
    output: RunOutput,
    numbers: Annotated[
        str,
        typer.Option(
            "--numbers",
            help="Meaning of a number in a response: scale code, or position in the list of options (from 1). "
            "Items with negative codes always use the position, except with --per-respondent and --shares.",
        ),
    ] = "code",
    name: Annotated[str | None, typer.Option("--name", help="Name of the run; default the folder name.")] = None,
    ids: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="COLUMNS",
            help="Column of the pair_id, or of the item and the subgroup, separated by commas; with --per-respondent of the respondent "
            "and the item. Default custom_id, or respondent,item.",
        ),
    ] = None,
    answer: Annotated[str | None, typer.Option("--answer", metavar="COLUMN", help="Column of the answers. Default response.")] = None,
    per_respondent: Annotated[
        bool, typer.Option("--per-respondent", help="FILE has an answer per respondent and item: as rows, or a table of both.")
    ] = False,
    people: Annotated[
        Path | None,
        typer.Option("--people", metavar="FILE", help="The respondents' attributes: a table of labels, or a survey file (--survey)."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option("--truth", metavar="FILE", help="The same respondents' own answers (survey file or table), for scores by person."),
    ] = None,
    survey: Annotated[
        str | None, typer.Option("--survey", help="Codebook that reads --people and --truth as survey files: a name or a YAML file.")
    ] = None,
    levels: Levels = None,
    weight: Annotated[str | None, typer.Option("--weight", metavar="COLUMN", help="Column of the weights in a table of people.")] = None,
    missing: Annotated[
        str | None, typer.Option("--missing", metavar="VALUES", help="Answers that stand for a refusal, separated by commas.")
    ] = None,
    log_format: Annotated[str | None, typer.Option("--format", help="FILE is a log of inspect or lm-eval; recognised by default.")] = None,
    shares: Annotated[
        bool, typer.Option("--shares", help="FILE has shares of options: columns option and share, or a column per option.")
    ] = False,
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
    from valuestrata.export.harness.harness_log import import_log, log_format_of
    from valuestrata.responses.batch.folder import is_batch_run
    from valuestrata.responses.import_files import ANSWER, ID, ITEM, RESPONDENT, RESPONSE
    from valuestrata.responses.import_runs import import_run
    from valuestrata.responses.import_shares import import_shares
    from valuestrata.responses.per_respondent.importing import import_respondents

    by_person = {"people": people, "truth": truth, "survey": survey, "levels": levels, "weight": weight, "missing": missing}
    if is_batch_run(output):
        given = (numbers, name, overwrite, ids, answer, repeats, trained_on, log_format, per_respondent, shares, *by_person.values())
        if any(value not in (None, False, "code") for value in given):
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
    per_respondent = per_respondent or people is not None or truth is not None
    if not per_respondent and (unused := [option for option, value in by_person.items() if value is not None]):
        raise UsageError(f"--{unused[0]} describes answers per respondent; add --per-respondent.")
    if shares and per_respondent:
        raise UsageError("--shares: FILE has shares of options or answers per respondent, not both.")
    if shares and (answer is not None or repeats is not None):
        raise UsageError("--shares does not use --answer and --repeats.")
    if per_respondent and repeats == "samples":
        raise UsageError("--repeats samples: with answers per respondent, give one answer for each respondent and item.")
    as_table = numbers != "code" or per_respondent or shares or any(value is not None for value in (ids, answer, repeats))
    if log_format is not None and as_table:
        raise UsageError("--format: a log states its pairs and options; leave out the other options that describe FILE.")
    data = load_dataset(dataset)
    if per_respondent:
        columns = split_list(ids) or (RESPONDENT, ITEM)
        result = import_respondents(
            data,
            file,
            output,
            ids=columns,
            answer=answer or ANSWER,
            people=people,
            survey=survey,
            levels=levels,
            weight=weight,
            truth=truth,
            numbers=numbers,
            missing=split_list(missing),
            name=name,
            overwrite=overwrite,
            trained_on=trained_on,
        )
        _say_trained_on(trained_on)
        _report_respondents(result, as_json=as_json)
        return
    columns = split_list(ids) or (ID,)
    if log_format is not None or (not as_table and log_format_of(file) is not None):
        result = import_log(data, file, output, format=log_format, name=name, overwrite=overwrite, trained_on=trained_on)
    elif shares:
        result = import_shares(data, file, output, ids=columns, numbers=numbers, name=name, overwrite=overwrite, trained_on=trained_on)
    else:
        result = import_run(
            data,
            file,
            output,
            numbers=numbers,
            name=name,
            overwrite=overwrite,
            ids=columns,
            answer=answer or RESPONSE,
            repeats=repeats,
            trained_on=trained_on,
        )
    _say_trained_on(trained_on)
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
            named = "a custom_id" if ids is None else f"a value of {ids}"
            show(f"{result.unknown:,} rows have {named} that is not in this data set ({'; '.join(result.unknown_ids)}).")
    if result.counts["failed"] == sum(result.counts.values()):
        raise RunFailedError(f"{file}: all {result.counts['failed']:,} outputs come from failed calls.")


def _say_trained_on(trained_on: str | None) -> None:
    if trained_on is None:
        say(
            "What the model was trained on is not recorded, so `score` cannot tell whether it saw the test. State it with --trained-on: "
            "none, a split, or a file (docs/files.md)."
        )


def _report_respondents(result: RespondentImport, *, as_json: bool) -> None:
    """Print what an import of answers per respondent found."""
    from valuestrata.reports.closed.persons import print_persons
    from valuestrata.responses.per_respondent.person_scores import with_run

    for remark in result.remarks:
        say(remark)
    if as_json:
        print_json({"run": str(result.run_dir), **result.counts, "persons": result.persons.to_dicts()})
        return
    show(
        f"{result.run_dir}: {result.pairs:,} pairs from {result.answers:,} answers of {result.respondents:,} respondents (refused "
        f"{result.refused:,}, not read {result.unread:,}, empty {result.empty:,})."
    )
    if result.below or result.without:
        show(f"Left out: {result.below:,} pairs below the data set's minimum and {result.without:,} without an answer.")
    if result.strangers:
        show(f"{result.strangers:,} respondents are not among the people and were left out.")
    if result.other_rows:
        show(f"{result.other_rows:,} answers are to items that are not in this data set.")
    print_persons(with_run(result.run_dir.name, result.persons))


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
