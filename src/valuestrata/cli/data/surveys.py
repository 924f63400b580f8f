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
    Pooling,
    Sheet,
    SurveyFile,
    SurveyName,
)
from valuestrata.cli.output import print_json, print_table, say, show
from valuestrata.errors import MOST_SEED, InputDataError

if TYPE_CHECKING:
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

    found = read(file, survey, country, items, attributes, labels, sheet, pooling=pooling)
    if as_json:
        print_json({**describe_dict(found), "design": design_document(found.design), "design_effect": national_effect(found)})
    else:
        show(describe_text(found))
        show(f"Design: {design_text(design_document(found.design), national_effect(found))}")


def landscape(dataset: DatasetFolder, as_json: AsJson = False) -> None:
    """Print how much subgroups differ, by topic, and how much they would differ by chance.

    Modal Diversity Score and mean pairwise Wasserstein distance, each next to its value with respondents permuted among subgroups.
    """
    import polars as pl

    from valuestrata.dataset.landscape import by_topic, has_null, no_null, without_draws
    from valuestrata.dataset.tables import NO_SUBGROUPS, load_dataset
    from valuestrata.formatting import number

    data = load_dataset(dataset)
    if data.has_only_everyone:
        raise InputDataError(f"{dataset}: the data set has no subgroups, so there are no differences between them. {NO_SUBGROUPS}")
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
    print_table(topics.select(columns), values=topics)
    if known:
        show(
            "By chance: mean and 95 % range with respondents permuted among the subgroups of each stratum. A value within the range is no "
            "evidence that subgroups differ. Topics are in order of the Modal Diversity Score minus its value by chance."
        )
    else:
        show(no_null(data))


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


def read(
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
    """Read a survey file with the options of a command, and report labels that match nothing."""
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
