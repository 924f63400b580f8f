"""True shares and modes of a simulated population in every subgroup."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.frames import Column, Schema
from valuestrata.survey.simulation.population import Population

# Followed by one column per attribute: label of the level, or null if the subgroup does not use it, as in subgroups.parquet.
TRUTH = Schema(
    "truth.parquet",
    {
        "item": Column(pl.String, "item id"),
        "population_share": Column(pl.Float64, "population share of the subgroup"),
        "shares": Column(pl.List(pl.Float64), "true share of each code, scale order, sum 1"),
        "mode": Column(pl.Int32, "code of the largest true share"),
        "margin": Column(pl.Float64, "largest true share minus second largest"),
    },
)


def truth(population: Population, *, order: int = 2) -> pl.DataFrame:
    """Return the true shares and mode of every item, nationally and in every subgroup.

    The shares of a subgroup are the means over its joint cells, weighted by population share.

    Args:
        population: the population.
        order: largest number of attributes crossed.

    Returns:
        TRUTH schema with one column per attribute. Join it with the subgroups of a data set on the attribute columns
        (`nulls_equal=True`), and with its gold on these and `item`.
    """
    names = [attribute.name for attribute in population.attributes]
    schema = {name: column.dtype for name, column in TRUTH.columns.items()} | dict.fromkeys(names, pl.String)
    frames: list[pl.DataFrame] = []
    for used, levels, inside in _subgroups(population, order):
        share = float(population.joint[inside].sum())
        shares = np.tensordot(population.joint[inside] / share, population.shares[inside], axes=1)
        mode = shares.argmax(axis=-1)
        top = np.sort(shares, axis=-1)[:, -2:]
        labels = {names[a]: population.attributes[a].levels[level].label for a, level in zip(used, levels, strict=True)}
        rows = [
            {
                "item": item.id,
                "population_share": share,
                "shares": shares[i, : len(item.codes)].tolist(),
                "mode": item.codes[mode[i]],
                "margin": float(top[i, 1] - top[i, 0]),
                **labels,
            }
            for i, item in enumerate(population.items)
        ]
        frames.append(pl.DataFrame(rows, schema=schema))
    return pl.concat(frames)


def _subgroups(population: Population, order: int) -> list[tuple[tuple[int, ...], tuple[int, ...], NDArray[np.intp]]]:
    """Return the attributes, levels and joint cells of the whole population and of every subgroup."""
    found: list[tuple[tuple[int, ...], tuple[int, ...], NDArray[np.intp]]] = []
    for size in range(order + 1):
        for used in itertools.combinations(range(len(population.attributes)), size):
            columns = population.cells[:, list(used)]
            for row in np.unique(columns, axis=0):
                inside = np.flatnonzero((columns == row).all(axis=1))
                found.append((used, tuple(int(level) for level in row), inside))
    return found
