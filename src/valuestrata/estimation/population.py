"""The population's joint cells and subgroups: from a data set, or from a table of sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, OptionText, did_you_mean
from valuestrata.estimation.inputs import HumanSample, PopulationCells
from valuestrata.formatting import percent
from valuestrata.responses.import_files import as_text, read_table
from valuestrata.responses.per_respondent.people import level_labels
from valuestrata.stats.arrays import Bools, Floats, Indices

# Weighted sample shares and population shares of an attribute's levels differ a lot above this total variation distance.
DIFFERENT = 0.05
_SIZES = ("weight", "n")
_NAMED = 3


def dataset_population(dataset: Dataset) -> PopulationCells:
    """Return the population that the respondents of a data set represent: their weights, or their number if it is unweighted."""
    levels = _levels_of(dataset, dataset.joint, "the data set")
    size = dataset.joint["weight" if dataset.meta.get("weighted") else "n"].to_numpy().astype(np.float64)
    return _population(dataset, levels, size)


def population_of_table(dataset: Dataset, file: str | Path) -> PopulationCells:
    """Read sizes of combinations of levels: columns named like the attributes, with labels, and a column `weight` or `n`.

    Rows of the same combination are added. A blank level is unknown.

    Raises:
        InputDataError: an attribute or the sizes are missing, only single attributes have sizes, a label is no level of the data set, or
            a size is not a number of at least 0.
    """
    source = Path(file)
    table = read_table(source)
    names = dataset.attributes
    if absent := [name for name in names if name not in table.columns]:
        raise InputDataError(
            f"{source}: the column {absent[0]!r} is missing; found {', '.join(table.columns)}. A population needs the size of each "
            f"combination of {', '.join(names)}; sizes of single attributes (margins) are not enough. Take them from a census or a larger "
            "survey, or leave out ",
            Option("population"),
            " to use the weights of the data set.",
        )
    column = next((name for name in _SIZES if name in table.columns), None)
    if column is None:
        raise InputDataError(f"{source}: it has no column 'weight' or 'n' with the sizes; found {', '.join(table.columns)}.")
    texts = as_text(table, names, str(source)) if names else pl.DataFrame()
    known = [pl.col(name).str.strip_chars().fill_null("") != "" for name in names]
    if len(names) > 1 and (texts.select(pl.sum_horizontal(known)).to_series() <= 1).all():
        raise InputDataError(
            f"{source}: each row has the level of at most one attribute. Sizes of single attributes (margins) are not enough; give the "
            f"size of each combination of {', '.join(names)}."
        )
    size = table[column].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    if (wrong := np.flatnonzero(~(np.isfinite(size) & (size >= 0)))).size:
        found = table[column][int(wrong[0])]
        raise InputDataError(f"{source}: row {int(wrong[0]) + 1}: {column} is {found!r}; sizes are numbers of at least 0.")
    if not size.sum() > 0:
        raise InputDataError(f"{source}: the sizes in {column!r} are all 0.")
    return _population(dataset, _levels_of(dataset, texts, str(source)), size)


def _levels_of(dataset: Dataset, table: pl.DataFrame, where: str) -> Indices:
    """Return the levels of each row, shape (rows, A); -1 where blank."""
    levels = np.full((len(table), len(dataset.attributes)), -1, dtype=np.intp)
    for place, (name, labels) in enumerate(zip(dataset.attributes, level_labels(dataset), strict=True)):
        number = {label: level for level, label in enumerate(labels)} | {"": -1}
        for row, text in enumerate(table[name]):
            label = (text or "").strip()
            if label not in number:
                raise InputDataError(f"{where}: row {row + 1}: {label!r} is no level of {name}.{did_you_mean(label, labels)}")
            levels[row, place] = number[label]
    return levels


def _population(dataset: Dataset, levels: Indices, size: Floats) -> PopulationCells:
    found = _distinct(levels)
    share = np.bincount(found.of_row, weights=size, minlength=len(found.cells))
    return PopulationCells(
        attributes=tuple(dataset.attributes),
        levels=found.cells,
        share=share / share.sum(),
        subgroups=tuple(_subgroups(dataset)["subgroup"]),
        strata=tuple(_subgroups(dataset)["stratum"]),
        inside=_inside(dataset, found.cells),
        labels=tuple(tuple(labels) for labels in level_labels(dataset)),
    )


@dataclass(frozen=True)
class _Distinct:
    """Different combinations of levels, in order of their first row, and the combination of each row."""

    cells: Indices
    of_row: Indices


def _distinct(levels: Indices) -> _Distinct:
    if not levels.shape[1]:
        return _Distinct(levels[:1], np.zeros(len(levels), dtype=np.intp))
    _, first, of_row = np.unique(levels, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(first), dtype=np.intp)
    place[order] = np.arange(len(first))
    return _Distinct(levels[first[order]], place[of_row.reshape(-1)])


def _subgroups(dataset: Dataset) -> pl.DataFrame:
    """Return the subgroups of a data set, `all` first."""
    return dataset.subgroups.sort(pl.col("subgroup") != EVERYONE, maintain_order=True)


def _inside(dataset: Dataset, cells: Indices) -> Bools:
    """Return which cells belong to which subgroups, shape (G, J). An unknown level belongs to no subgroup of its attribute."""
    rows = _subgroups(dataset)
    found = np.ones((len(rows), len(cells)), dtype=np.bool_)
    for place, (name, labels) in enumerate(zip(dataset.attributes, level_labels(dataset), strict=True)):
        wanted = np.array([-1 if label is None else labels.index(label) for label in rows[name]], dtype=np.intp)[:, None]
        found &= (wanted < 0) | (wanted == cells[None, :, place])
    return found


@dataclass(frozen=True)
class PlacedPeople:
    """People in the cells of a population.

    Attributes:
        population: the population, with a cell of share 0 for each combination that only these people have.
        cell: intp, shape (P,): the cell of each person.
    """

    population: PopulationCells
    cell: Indices


def place_people(dataset: Dataset, population: PopulationCells, levels: NDArray[np.integer]) -> PlacedPeople:
    """Find the cell of each person. Cells of the population keep their place, and those that it lacks follow with share 0.

    Args:
        dataset: the data set of the population. population: its cells. levels: shape (P, A), -1 if unknown.
    """
    old = len(population.levels)
    found = _distinct(np.concatenate([population.levels, levels.astype(np.intp)]))
    share = np.concatenate([population.share, np.zeros(len(found.cells) - old)])
    placed = replace(population, levels=found.cells, share=share, inside=_inside(dataset, found.cells))
    return PlacedPeople(placed, found.of_row[old:])


def population_remarks(population: PopulationCells, sample: HumanSample) -> list[OptionText]:
    """Compare the people with the population: attributes whose shares of levels differ, unknown levels, and cells without population.

    Shares of levels differ if their total variation distance is above `DIFFERENT` and above twice what a simple random sample of the
    same effective size (Kish 1965) would have on average.
    """
    found: list[OptionText] = []
    effective = sample.weight.sum() ** 2 / (sample.weight**2).sum()
    for place, (name, labels) in enumerate(zip(population.attributes, population.labels, strict=True)):
        of_cell = population.levels[:, place]
        unknown = of_cell[sample.cell] < 0
        if unknown.any():
            found.append(
                OptionText(
                    f"The {name} of {unknown.sum():,} of {sample.people:,} people is not known, or is no level of the data set; they are "
                    f"in no subgroup of {name}."
                )
            )
        if unknown.all():
            continue
        there = _level_shares(of_cell, population.share, len(labels))
        here = _level_shares(of_cell[sample.cell], sample.weight, len(labels))
        expected = np.sqrt(2 * there * (1 - there) / (np.pi * effective)).sum() / 2
        if np.abs(there - here).sum() / 2 > max(DIFFERENT, 2 * expected):
            order = np.sort(np.argsort(-np.abs(there - here), kind="stable")[:_NAMED])
            levels = "; ".join(
                f"{labels[k]}: {percent(float(here[k]))} of the sample, {percent(float(there[k]))} of the population" for k in order
            )
            found.append(
                OptionText(
                    f"{name}: the weighted sample and the population differ ({levels}). Check the weights, or give the sizes of the "
                    "population that the people were drawn from with ",
                    Option("population"),
                    ".",
                )
            )
    outside = (population.share[sample.cell] == 0).sum()
    if outside:
        found.append(
            OptionText(
                f"{outside:,} of {sample.people:,} people have a combination of levels that nobody in the population has. They count in "
                "estimates from the sample; their combinations have no share of the population."
            )
        )
    return found


def _level_shares(levels: Indices, size: Floats, number: int) -> Floats:
    """Return the share of each level among the known ones; 0 for all if none is known."""
    known = levels >= 0
    total = np.bincount(levels[known], weights=size[known], minlength=number)
    return total / max(total.sum(), np.finfo(np.float64).tiny)
