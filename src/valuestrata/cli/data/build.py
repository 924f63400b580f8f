"""The command `build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestrata.cli.data.surveys import read
from valuestrata.cli.inputs import split_list
from valuestrata.cli.options import (
    AsJson,
    Attributes,
    Countries,
    Items,
    Labels,
    Levels,
    OptionalSurveyFile,
    Pooling,
    Sheet,
    Strata,
    Strict,
    SurveyName,
    Wording,
)
from valuestrata.cli.output import print_json, print_table, say, show
from valuestrata.errors import MOST_SEED, Option, UsageError

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.building import BuildSettings
    from valuestrata.dataset.tables import Dataset
    from valuestrata.survey.survey import Survey


def build(
    context: typer.Context,
    file: OptionalSurveyFile = None,
    counts: Annotated[
        Path | None,
        typer.Option("--counts", metavar="FILE", help="Published counts instead of a survey file (docs/surveys.md)."),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option("--questions", metavar="FILE", help="Texts and options of the questions of --counts (YAML, JSON or table)."),
    ] = None,
    answers_per_cell: Annotated[
        float | None, typer.Option("--answers-per-cell", min=1, help="Number of answers behind the shares of --counts, if not published.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the data set.")] = None,
    survey: SurveyName = None,
    country: Countries = None,
    pooling: Pooling = None,
    preset: Annotated[str | None, typer.Option("--preset", help="`paper`: unweighted, 30 respondents, 1 valid answer.")] = None,
    items: Items = None,
    attributes: Attributes = None,
    strata: Strata = None,
    order: Annotated[int, typer.Option("--order", min=1, max=3, help="Largest number of attributes crossed, 1 to 3.")] = 2,
    levels: Levels = None,
    min_respondents: Annotated[int, typer.Option("--min-respondents", min=1, help="Minimum respondents of a subgroup.")] = 30,
    min_valid: Annotated[float, typer.Option("--min-valid", min=1, help="Minimum (effective) valid answers of a pair.")] = 30,
    unweighted: Annotated[bool, typer.Option("--unweighted", help="Do not use the survey's weight.")] = False,
    draws: Annotated[int, typer.Option("--draws", min=10, help="Bootstrap draws of the respondents.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of halves and bootstrap draws.")] = 0,
    split_seed: Annotated[int, typer.Option("--split-seed", min=0, max=MOST_SEED, help="Seed of folds and validation pairs.")] = 42,
    item_folds: Annotated[
        int, typer.Option("--item-folds", min=2, help="Folds of unseen-item; as many as topics leaves one topic out at a time.")
    ] = 5,
    wording: Wording = None,
    labels: Labels = None,
    sheet: Sheet = None,
    strict: Strict = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the subgroups kept and dropped by stratum; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build a data set, the answers of subgroups as ground truth, from a survey file or from published counts."""
    from valuestrata.building import BuildSettings, build_counts, paper_preset
    from valuestrata.building import build as build_dataset
    from valuestrata.dataset.subgroups import merge_levels
    from valuestrata.dataset.tables import refuse_other_survey
    from valuestrata.survey.counts.read import read_counts
    from valuestrata.survey.describe import notices

    if preset not in (None, "paper"):
        raise UsageError(f"--preset {preset}: unknown preset. The only preset is 'paper'.")
    if output is None and not dry_run:
        raise UsageError("Give the folder of the data set with -o FOLDER, or use --dry-run.")
    if (file is None) == (counts is None):
        raise UsageError("Give either a survey FILE or published counts with --counts FILE.")
    weighted = not unweighted and preset != "paper"
    settings = BuildSettings(
        strata=tuple(split_list(strata)),
        order=order,
        min_respondents=min_respondents,
        min_valid=min_valid,
        weighted=weighted,
        draws=draws,
        half_seed=seed,
        redraw_seed=seed,
        split_seed=split_seed,
        item_folds=item_folds,
    )
    if counts is not None and output is not None:
        _refuse_for_counts(context)
        published = read_counts(counts, questions, survey=survey, answers_per_cell=answers_per_cell, sheet=sheet)
        for line in notices(published.survey):
            say(line)
        refuse_other_survey(output, published.survey.codebook.survey)
        _write(build_counts(published, settings), output, as_json)
        return
    if counts is not None:
        raise UsageError("--dry-run needs a survey file with respondents; it does not apply to --counts. Leave it out.")
    if questions is not None or answers_per_cell is not None:
        raise UsageError("--questions and --answers-per-cell describe published counts; give these with --counts FILE.")
    found = read(
        str(file), survey, country, items, attributes, labels, sheet, wording=wording, strict=strict, weighted=weighted, pooling=pooling
    )
    for line in notices(found):
        say(line)
    if levels:
        found = merge_levels(found, levels)
    settings = paper_preset(settings) if preset == "paper" else settings
    if dry_run or output is None:
        _preview(found, settings, as_json)
        return
    refuse_other_survey(output, found.codebook.survey)
    dataset = build_dataset(found, settings)
    _write(dataset, output, as_json)
    if preset == "paper" and not as_json:
        from valuestrata.reports.closed.published import beside_published_counts, is_published_setting

        _print_published(beside_published_counts(dataset), same=is_published_setting(dataset))


# Options of `build` that published counts can use.
_FOR_COUNTS = {
    *("counts", "questions", "answers_per_cell", "output", "survey", "strata", "min_respondents", "min_valid", "draws", "seed"),
    *("split_seed", "item_folds", "sheet", "as_json", "context", "file"),
}


def _refuse_for_counts(context: typer.Context) -> None:
    """Raise UsageError for an option that needs respondents."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if wrong := [name for name in given if name not in _FOR_COUNTS]:
        raise UsageError(
            Option(wrong[0]), " needs a survey file with respondents; it does not apply to ", Option("counts"), ". Leave it out."
        )


def _write(dataset: Dataset, output: Path, as_json: bool) -> None:
    """Write a data set and print what it holds."""
    from valuestrata.dataset.design import design_text
    from valuestrata.dataset.tables import write_dataset
    from valuestrata.survey.describe import blocks_text

    write_dataset(dataset, output)
    if as_json:
        print_json(dict(dataset.meta))
        return
    counts = dataset.meta["counts"]
    parts = ", ".join(f"{number:,} {part}" for part, number in counts["parts"].items())
    groups = "the whole population" if dataset.has_only_everyone else f"{counts['subgroups']} subgroups"
    show(f"{output}: {counts['items']} items x {groups}, {counts['pairs']:,} pairs ({parts}).")
    why = "below the minimum or without counts" if "published" in dataset.meta else "below the minimum"
    show(f"Left out: {counts['subgroups_dropped']} subgroups and {counts['pairs_dropped']:,} pairs {why}.")
    show(_minimum(dataset))
    show(blocks_text(dataset.items["block"].to_list()))
    if "published" not in dataset.meta:
        show(design_text(dataset.meta["design"], dataset.meta["design_effect"]))
    for remark in dataset.remarks:
        show(remark)


def _minimum(dataset: Dataset) -> str:
    """Return the fewest answers behind any pair, and how many pairs splits with halves of the respondents can use."""
    from valuestrata.dataset.tables import fewest_answers

    counts, least = dataset.meta["counts"], dataset.meta["settings"]["min_valid"]
    smallest = f"The smallest pair has {fewest_answers(dataset.target_gold)} valid answers."
    if "published" in dataset.meta:
        return smallest
    return (
        f"{smallest} {counts['pairs_in_both_halves']:,} pairs have at least {least:g} in "
        "each half of the respondents; splits with +disjoint or +crossfit use only these."
    )


def _preview(survey: Survey, settings: BuildSettings, as_json: bool) -> None:
    from valuestrata.building import preview
    from valuestrata.dataset.design import design_document, design_text, national_effect

    frame = preview(survey, settings)
    if as_json:
        print_json({"strata": frame.to_dicts()})
        return
    print_table(frame)
    weighted = "effective (weighted)" if survey.weight is not None and settings.weighted else "effective" if survey.design else "unweighted"
    show(
        f"Kept: at least {settings.min_respondents} respondents per subgroup and {settings.min_valid:g} {weighted} valid answers per pair."
    )
    show(design_text(design_document(survey.design), national_effect(survey)))
    show("pairs_in_both_halves: pairs with that many answers in each half of the respondents, which +disjoint and +crossfit use.")
    if settings.preset == "paper":
        from valuestrata.reports.closed.published import beside_published_preview, is_published_survey

        _print_published(beside_published_preview(frame, survey), same=is_published_survey(survey))


def _print_published(counts: pl.DataFrame, *, same: bool) -> None:
    from valuestrata.reports.closed.published import counts_beside_published

    sentence, table = counts_beside_published(counts, same=same)
    show(sentence)
    print_table(table)
