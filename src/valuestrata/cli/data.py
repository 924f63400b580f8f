"""Commands on survey files and data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestrata.cli.inputs import split_list
from valuestrata.cli.options import (
    AsJson,
    Attributes,
    Countries,
    DatasetFolder,
    Items,
    Labels,
    Levels,
    Pooling,
    Sheet,
    Strata,
    Strict,
    SurveyFile,
    SurveyName,
    Wording,
)
from valuestrata.cli.output import print_json, print_table, say, show
from valuestrata.errors import MOST_SEED, UsageError

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.building import BuildSettings
    from valuestrata.dataset.tables import Dataset
    from valuestrata.survey.survey import Survey


def describe(
    file: SurveyFile,
    survey: SurveyName = None,
    country: Countries = None,
    pooling: Pooling = None,
    items: Items = None,
    attributes: Attributes = None,
    labels: Labels = None,
    sheet: Sheet = None,
    as_json: AsJson = False,
) -> None:
    """Print what was recognised in a survey file (items, attributes, missing answers, weight, design) and what was not."""
    from valuestrata.dataset.design import design_document, design_text, national_effect
    from valuestrata.survey.describe import describe as describe_text
    from valuestrata.survey.describe import describe_dict

    found = _read(file, survey, country, items, attributes, labels, sheet, pooling=pooling)
    if as_json:
        print_json({**describe_dict(found), "design": design_document(found.design), "design_effect": national_effect(found)})
    else:
        show(describe_text(found))
        show(f"Design: {design_text(design_document(found.design), national_effect(found))}")


def build(
    file: SurveyFile,
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
    wording: Wording = None,
    labels: Labels = None,
    sheet: Sheet = None,
    strict: Strict = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the subgroups kept and dropped by stratum; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build a data set, the answers of subgroups as ground truth, from a survey file."""
    from valuestrata.building import BuildSettings, paper_preset
    from valuestrata.building import build as build_dataset
    from valuestrata.dataset.design import design_text
    from valuestrata.dataset.subgroups import merge_levels
    from valuestrata.dataset.tables import refuse_other_survey, write_dataset
    from valuestrata.survey.describe import blocks_text, notices

    if preset not in (None, "paper"):
        raise UsageError(f"--preset {preset}: unknown preset. The only preset is 'paper'.")
    if output is None and not dry_run:
        raise UsageError("Give the folder of the data set with -o FOLDER, or use --dry-run.")
    weighted = not unweighted and preset != "paper"
    found = _read(
        file, survey, country, items, attributes, labels, sheet, wording=wording, strict=strict, weighted=weighted, pooling=pooling
    )
    for line in notices(found):
        say(line)
    if levels:
        found = merge_levels(found, levels)
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
    )
    settings = paper_preset(settings) if preset == "paper" else settings
    if dry_run or output is None:
        _preview(found, settings, as_json)
        return
    refuse_other_survey(output, found.codebook.survey)
    dataset = build_dataset(found, settings)
    write_dataset(dataset, output)
    if as_json:
        print_json(dict(dataset.meta))
        return
    counts = dataset.meta["counts"]
    parts = ", ".join(f"{number:,} {part}" for part, number in counts["parts"].items())
    show(f"{output}: {counts['items']} items x {counts['subgroups']} subgroups, {counts['pairs']:,} pairs ({parts}).")
    show(f"Left out: {counts['subgroups_dropped']} subgroups and {counts['pairs_dropped']:,} pairs below the minimum.")
    show(_minimum(dataset))
    show(blocks_text(dataset.items["block"].to_list()))
    show(design_text(dataset.meta["design"], dataset.meta["design_effect"]))
    for remark in dataset.remarks:
        show(remark)
    if preset == "paper":
        from valuestrata.report.closed.published import beside_published_counts, is_published_setting

        _print_published(beside_published_counts(dataset), same=is_published_setting(dataset))


def _minimum(dataset: Dataset) -> str:
    """Return the fewest answers behind any pair, and how many pairs splits with halves of the respondents can use."""
    import polars as pl

    from valuestrata.dataset.subgroups import EVERYONE
    from valuestrata.dataset.tables import fewest_answers

    counts, least = dataset.meta["counts"], dataset.meta["settings"]["min_valid"]
    pairs = dataset.gold.filter((pl.col("half") == "all") & (pl.col("subgroup") != EVERYONE))
    return (
        f"The smallest pair has {fewest_answers(pairs)} valid answers. {counts['pairs_in_both_halves']:,} pairs have at least {least:g} in "
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
        from valuestrata.report.closed.published import beside_published_preview, is_published_survey

        _print_published(beside_published_preview(frame, survey), same=is_published_survey(survey))


def _print_published(counts: pl.DataFrame, *, same: bool) -> None:
    from valuestrata.report.closed.published import counts_beside_published

    sentence, table = counts_beside_published(counts, same=same)
    show(sentence)
    print_table(table)


def landscape(dataset: DatasetFolder, as_json: AsJson = False) -> None:
    """Print how much subgroups differ, by topic, and how much they would differ by chance.

    Modal Diversity Score and mean pairwise Wasserstein distance, each next to its value with respondents permuted among subgroups.
    """
    import polars as pl

    from valuestrata.dataset.landscape import NO_NULL, by_topic, has_null, without_draws
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.formatting import number

    data = load_dataset(dataset)
    topics = by_topic(data.landscape, data.items)
    if as_json:
        print_json({"topics": topics.to_dicts(), "items": without_draws(data.landscape).to_dicts()})
        return
    show("0: all subgroups answer alike; Modal Diversity Score up to 1, Wasserstein distance as a share of the scale.")
    columns: list[pl.Expr | pl.Series] = [pl.col("topic", "items")]
    known = has_null(data.landscape)
    for measure, title, digits in (("mds", "Modal Diversity Score", 2), ("wasserstein", "Wasserstein distance", 3)):
        columns.append(pl.Series(title, [number(value, digits) for value in topics[measure]]))
        if known:
            ends = topics.select(f"{measure}_null", f"{measure}_null_low", f"{measure}_null_high").iter_rows()
            by_chance = [f"{number(mean, digits)} [{number(low, digits)}–{number(high, digits)}]" for mean, low, high in ends]
            columns.append(pl.Series(f"{title} by chance", by_chance))
    print_table(topics.select(columns))
    if known:
        show(
            "By chance: mean and 95 % range with respondents permuted among the subgroups of each stratum. A value within the range is no "
            "evidence that subgroups differ. Topics are in order of the Modal Diversity Score minus its value by chance."
        )
    else:
        show(NO_NULL)


def leakage(dataset: DatasetFolder, as_json: AsJson = False) -> None:
    """Print the size of each split, and the share of a test pair's respondents that are also in training pairs."""
    from valuestrata.dataset.tables import PARTS, load_dataset
    from valuestrata.splits import leakage_report

    found = leakage_report(load_dataset(dataset))
    if as_json:
        print_json({"leakage": found.to_dicts()})
    else:
        titles = {part: f"{part}_per_fold" for part in PARTS} | {"shared_mean": "shared_respondents", "shared_max": "at_most"}
        print_table(found.rename(titles))
        show("With trained parents: share of test pairs whose subgroup is part of a training subgroup.")
        show("Shared respondents: mean share of a test pair's respondents who also count in training pairs of its item; then the maximum.")


def simulate(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.sav", help="Survey file; true values go next to it.")],
    respondents: Annotated[int, typer.Option("--respondents", help="Sample size.")] = 1200,
    items: Annotated[int | None, typer.Option("--items", help="Number of wvs7 items, drawn at random; default all.")] = None,
    main_effects: Annotated[float, typer.Option("--main-effects", metavar="SD", help="Size of the effects of attribute levels.")] = 0.3,
    interactions: Annotated[float, typer.Option("--interactions", metavar="SD", help="Size of the effects of pairs of levels.")] = 0.15,
    country: Annotated[str, typer.Option("--country", help="Country by code, alpha-3 or name.")] = "SGP",
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the planted effects.")] = 0,
    sample_seed: Annotated[int, typer.Option("--sample-seed", min=0, max=MOST_SEED, help="Seed of respondents and answers.")] = 0,
    missing: Annotated[float, typer.Option("--missing", help="Share of missing answers.")] = 0.05,
    weighted: Annotated[bool, typer.Option("--weighted", help="Oversample some cells, and add a weight that corrects it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write an SPSS file like the WVS, simulated with planted subgroup effects, and the true values next to it.

    Effects are on a latent scale with standard deviation 1.
    """
    from dataclasses import asdict

    from valuestrata.survey.simulation.population import WVS, SimulationSettings, plant
    from valuestrata.survey.simulation.sav_file import write_simulated

    settings = SimulationSettings(
        survey=WVS,
        country=country,
        respondents=respondents,
        items=items,
        main_effects=main_effects,
        interactions=interactions,
        missing=missing,
        weighted=weighted,
        structure_seed=seed,
        seed=seed,
    )
    population = plant(settings)
    made = write_simulated(population, sample_seed, output)
    if as_json:
        files = {"file": str(made.sav), "truth": str(made.truth), "planted": str(made.planted)}
        print_json({**files, "sample_seed": sample_seed, "settings": asdict(settings), "cells": len(population.cells)})
        return
    names = ", ".join(attribute.name for attribute in population.attributes)
    show(f"{made.sav}: {respondents:,} simulated respondents, {len(population.items)} items, {population.countries[0].name}.")
    show(
        f"Planted over {len(population.cells)} joint cells of {names}: main effects of SD {main_effects:g}, interactions {interactions:g}."
    )
    show(f"Missing: {missing:.1%} of answers. Weight: {'corrects the oversampling of cells' if weighted else '1 for all'}.")
    show(f"True shares and modes: {made.truth}; planted effects: {made.planted}.")


def codebook_draft(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A survey file; without --variables, a labelled .sav or .dta file.")],
    variables: Annotated[
        Path | None,
        typer.Option("--variables", metavar="LIST", help="Table of the variables, with their questions, codes and labels."),
    ] = None,
    sheet: Sheet = None,
    variables_sheet: Annotated[str | None, typer.Option("--variables-sheet", help="Sheet of LIST, if it is an Excel workbook.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File for the YAML; stdout by default.")] = None,
) -> None:
    """Draft a codebook from the labels of a .sav or .dta file, or from any survey file and a list of its variables.

    The list is a CSV or Excel file with the columns `variable`, `question`, `code` and `label` (one row per answer) or
    `variable`, `question` and `values` (`1 = Yes; 2 = No`).
    """
    from valuestrata.files import write_text
    from valuestrata.survey.draft import draft_codebook

    text = draft_codebook(file, variables, sheet=sheet, variables_sheet=variables_sheet)
    if output is None:
        show(text, end="")
    else:
        write_text(output, text)
        show(f"{output}: check the codebook before use; guesses are marked.")


def _read(
    file: str,
    survey: str | None,
    country: list[str] | None,
    items: str | None,
    attributes: str | None,
    labels: Path | None,
    sheet: str | None,
    *,
    wording: Path | None = None,
    strict: bool = False,
    weighted: bool = True,
    pooling: str | None = None,
) -> Survey:
    from valuestrata.survey.read import problem_text, read_survey

    countries = [name for entry in country or [] for name in split_list(entry)]
    found = read_survey(
        file,
        survey,
        countries=countries,
        items=split_list(items),
        attributes=split_list(attributes),
        labels=labels,
        wording=wording,
        strict=strict,
        weighted=weighted,
        pooling=pooling,
        sheet=sheet,
    )
    for problem in found.findings.label_problems:
        say(f"left out, because labels are not in the codebook: {problem_text(problem)}. Assign them with --labels FILE.")
    return found
