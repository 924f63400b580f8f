"""Pull of wrong answers toward the national answer.

`pull` is the share of a subgroup's valid wrong answers that are the national mode; where both modes agree no wrong answer is the nation's.
`pull_expected` is the same share for a person drawn from the subgroup's own shares who does not give its mode, over the same pairs, each
weighted by how often the run errs there: s_nation / (1 - s_mode).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import Dataset
from valuestrata.scores.distances import padded
from valuestrata.scores.layout import Layout, RunGrid
from valuestrata.stats.arrays import Floats, Indices

# Shares of people outside the mode below this are rounding errors.
NOTHING = 1e-12


@dataclass(frozen=True)
class Nation:
    """The national answer to every pair of a layout, each of shape (G * I,).

    Attributes:
        mode: option index of the national mode, -1 where unknown.
        toward: share of people outside the pair's mode who give the national one; 0 where both modes agree, NaN where nobody is outside or
            the national mode is unknown.
    """

    mode: Indices
    toward: Floats


def nation_of(dataset: Dataset, layout: Layout) -> Nation:
    """Return the national modes of the same half of the respondents."""
    national = dataset.gold.filter(pl.col("subgroup") == EVERYONE).select("item", "half", pl.col("mode").alias("nation"))
    gold = layout.gold.join(national, on=("item", "half"), how="left", maintain_order="left")
    place = np.array(
        [-1 if code is None else codes.index(code) for codes, code in gold.select("codes", "nation").iter_rows()], dtype=np.intp
    )
    cells, rows = gold["cell"].to_numpy(), np.arange(len(gold))
    mode, shares = layout.mode[cells], padded(gold["shares"], int(layout.options.max(initial=2)))
    outside = 1.0 - shares[rows, mode]
    theirs = np.where(place == mode, 0.0, shares[rows, np.maximum(place, 0)])
    toward = np.divide(theirs, outside, out=np.full(len(gold), np.nan), where=outside > NOTHING)
    found = np.full(layout.present.size, -1, dtype=np.intp)
    found[cells] = place
    return Nation(found, layout.grid(cells, np.where(place < 0, np.nan, toward)))


def pull(layout: Layout, run: RunGrid, nation: Nation) -> tuple[Floats, Floats]:
    """Return pull and pull_expected of every subgroup, each of shape (G,); NaN without errors or national answers."""
    shape = layout.present.shape
    table = run.metrics["accuracy"].by_mode
    if table is None:
        return np.full(shape[0], np.nan), np.full(shape[0], np.nan)
    # Accuracy if option m were the mode is the share of answers m, so the table holds the answers.
    share, rows = np.nan_to_num(table), np.arange(len(table))
    known = (nation.mode >= 0) & ~np.isnan(table[:, 0]) & ~np.isnan(nation.toward)
    wrong = np.where(known, np.maximum(share.sum(axis=1) - share[rows, layout.mode], 0.0), 0.0)
    to_nation = np.where(known & (nation.mode != layout.mode), share[rows, np.maximum(nation.mode, 0)], 0.0)
    expected = wrong * np.nan_to_num(nation.toward)
    errors, found, awaited = (each.reshape(shape).sum(axis=1) for each in (wrong, to_nation, expected))

    def part(top: Floats) -> Floats:
        return np.divide(top, errors, out=np.full(len(errors), np.nan), where=errors > NOTHING)

    return part(found), part(awaited)


def row_means(values: Floats) -> Floats:
    """Return the mean of each row (G, I) over what is not NaN; NaN for a row without any."""
    mask = ~np.isnan(values)
    number = mask.sum(axis=1)
    return np.divide(np.where(mask, values, 0.0).sum(axis=1), number, out=np.full(len(values), np.nan), where=number > 0)
