"""Writes a simulated survey as an SPSS file with the columns of WVS wave 7, and its true values.

NAME.sav             codes, value labels and declared missing codes, as the wvs7 codebook reads them
NAME.truth.parquet   true shares of every item in every subgroup (`truth.TRUTH`)
NAME.truth.json      settings, seeds and parameters: joint distribution, base shares, effects, loadings
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.errors import UsageError
from valuestrata.files import sha256_of, write_json, write_parquet, written_beside
from valuestrata.stats.arrays import generator
from valuestrata.survey.codebook import Attribute, Codebook, Item
from valuestrata.survey.simulation.population import WVS, Population, draw_survey
from valuestrata.survey.simulation.truth import TRUTH, truth
from valuestrata.survey.survey import Survey

FORMAT = "valuestrata-simulation-1"
# SPSS file labels have at most 64 bytes.
FILE_LABEL = "Simulated by valuestrata: these respondents are not people"
# Highest age in a band without an upper end.
OLDEST = 92


@dataclass(frozen=True)
class SimulatedFiles:
    """Paths of the survey file, the table of true shares and the JSON file of parameters."""

    sav: Path
    truth: Path
    planted: Path


def write_simulated(population: Population, seed: int, path: str | Path, *, order: int = 2) -> SimulatedFiles:
    """Draw a sample and write it as a .sav file for `read_survey(path, "wvs7")`, with its true values.

    Args:
        population: a population with `survey="wvs7"`.
        seed: seed of the sample.
        path: path of the .sav file; the other files have the same name with other endings.
        order: largest number of attributes crossed in the table of true shares.

    Raises:
        UsageError: a generic population, or a path that does not end in .sav.
    """
    file = Path(path)
    if population.settings.survey != WVS:
        raise UsageError(f"only a {WVS} population can be written as a file; this one has survey={population.settings.survey!r}.")
    if file.suffix.lower() != ".sav":
        raise UsageError(f"{file}: a simulated survey is written as an SPSS file; use a name that ends in .sav.")
    import pyreadstat

    survey = draw_survey(population, seed)
    columns, labels, titles = _columns(survey, population.codebook, generator(seed, 3))
    with written_beside(file) as temporary:
        pyreadstat.write_sav(
            columns,
            temporary,
            file_label=FILE_LABEL,
            column_labels=titles,
            variable_value_labels=labels,
            missing_ranges={name: [{"lo": -9, "hi": -1}] for name in labels},
        )
    made = SimulatedFiles(file, file.with_suffix(".truth.parquet"), file.with_suffix(".truth.json"))
    table = truth(population, order=order)
    write_parquet(made.truth, TRUTH.check(table, str(made.truth)))
    write_json(made.planted, {"format": FORMAT, "file": file.name, "sha256": sha256_of(file), "sample_seed": seed, **planted(population)})
    return made


def planted(population: Population) -> dict[str, Any]:
    """Return the settings and all parameters of a population as a JSON-serialisable dictionary."""
    levels = {a.name: [level.label for level in a.levels] for a in population.attributes}
    used = {a.name: sorted({int(level) for level in population.cells[:, i]}) for i, a in enumerate(population.attributes)}
    cells = [
        {a.name: levels[a.name][level] for a, level in zip(population.attributes, row, strict=True)}
        | {"population_share": float(joint), "sample_share": float(sampling), "weight": float(weight)}
        for row, joint, sampling, weight in zip(population.cells, population.joint, population.sampling, population.weight, strict=True)
    ]
    ids = [item.id for item in population.items]
    main = {
        name: {levels[name][level]: dict(zip(ids, effect[level].tolist(), strict=True)) for level in used[name]}
        for name, effect in population.main.items()
    }
    interactions = [
        {a: levels[a][i], b: levels[b][j], "effects": dict(zip(ids, effect[i, j].tolist(), strict=True))}
        for (a, b), effect in population.interactions.items()
        for i in used[a]
        for j in used[b]
    ]
    items = [
        {
            "item": item.id,
            "level": item.level,
            "codes": list(item.codes),
            "base_shares": base[: len(item.codes)].tolist(),
            "direction": direction[: len(item.codes)].tolist() if item.level == "nominal" else None,
            "loadings": loadings.tolist(),
        }
        for item, base, direction, loadings in zip(
            population.items, population.base, population.direction, population.loadings, strict=True
        )
    ]
    return {
        "settings": asdict(population.settings),
        "countries": [country.alpha for country in population.countries],
        "cells": cells,
        "items": items,
        "main_effects": main,
        "interactions": interactions,
    }


def _columns(
    survey: Survey, codebook: Codebook, rng: np.random.Generator
) -> tuple[Any, dict[str, dict[int | float, str]], dict[str, str | None]]:
    """Return columns of codes, value labels and variable labels, in the order of a wave 7 file."""
    (country,) = survey.countries
    n = survey.respondents
    absent: dict[int | float, str] = {rule.codes[0]: rule.labels[0] for rule in codebook.missing}
    columns: dict[str, NDArray[Any]] = {
        "A_WAVE": np.full(n, 7.0),
        "A_STUDY": np.full(n, 2.0),
        "B_COUNTRY": np.full(n, float(country.code)),
        "B_COUNTRY_ALPHA": np.full(n, country.alpha),
        "D_INTERVIEW": country.code * 100_000.0 + np.arange(n) + 1,
        "W_WEIGHT": np.ones(n) if survey.weight is None else survey.weight,
    }
    labels: dict[str, dict[int | float, str]] = {"B_COUNTRY": {country.code: country.name}}
    titles: dict[str, str | None] = {}
    for place, item in enumerate(survey.items):
        columns[item.column] = _raw_answers(survey.answers[:, place], item, codebook)
        labels[item.column] = _value_labels(item) | absent
        titles[item.column] = item.question
    for place, attribute in enumerate(survey.attributes):
        level = survey.levels[:, place].astype(np.intp)
        titles[attribute.column] = attribute.title
        if attribute.banded:
            columns[attribute.column] = _numbers_within(attribute, level, rng)
        # A wave 7 file holds a banded attribute twice: as a number and as categories.
        categorical = attribute.fallback if attribute.banded else attribute.column
        if categorical:
            columns[categorical] = np.array([float(one.codes[0]) for one in attribute.levels])[level]
            labels[categorical] = {attribute.levels[i].codes[0]: attribute.levels[i].label for i in np.unique(level)} | absent
    return pl.DataFrame(columns), labels, titles


def _raw_of(item: Item) -> dict[int, int]:
    """Return option index -> code. If several codes mean the same option (0 and 1 on Q241), return that of the scale."""
    return {index: raw for raw, index in sorted(item.index_of_raw().items(), key=lambda found: found[0] == item.codes[found[1]])}


def _raw_answers(answers: NDArray[np.int8], item: Item, codebook: Codebook) -> NDArray[np.float64]:
    absent = {int(rule.kind): rule.codes[0] for rule in codebook.missing}
    return pl.Series(answers).replace_strict(_raw_of(item) | absent, return_dtype=pl.Float64).to_numpy()


def _value_labels(item: Item) -> dict[int | float, str]:
    return {**{raw: item.labels[index] for index, raw in _raw_of(item).items()}, **item.off_scale}


def _numbers_within(attribute: Attribute, level: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random integer from the band of each respondent."""
    low = np.array([one.low or 0 for one in attribute.levels])[level]
    high = np.array([OLDEST if one.high is None else one.high for one in attribute.levels])[level]
    return rng.integers(low, high, endpoint=True).astype(np.float64)
