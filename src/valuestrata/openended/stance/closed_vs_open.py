"""Closed against open: does a model choose on the scale what it says in its own words?

For every pair that a model answered closed, and whose open answer a judge placed on the same scale, with x and y the positions of
the two on 0..1 (index / (K - 1)):

========== ==================================================================================================== ==================
metric     what it is                                                                                           null where
========== ==================================================================================================== ==================
same       share of pairs with the same code
distance   mean of abs(x - y)                                                                                   nominal items
kappa      quadratically weighted: 1 - sum (x - y)^2 / sum expected (x - y)^2, the expectation that of x and y   nominal; no spread
           drawn apart from all pairs of the key (Cohen 1968, Psychological Bulletin 70:213-220)
both       share of pairs asked both ways with an answer and a stance
========== ==================================================================================================== ==================

Of several responses to a pair each is held against each stance, and the pair is the mean. Intervals are clustered by item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.frames import Column, Schema
from valuestrata.openended.files import Stances
from valuestrata.openended.score_keys import BY, keys_of_rows
from valuestrata.responses.run.identity import Answered, RunIdentity, run_identity
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.stats.cluster_bootstrap import Floats, draws, ends, numbered

AGREEMENT = Schema(
    "agreement",
    {
        "run": Column(pl.String, "run of open answers"),
        "closed": Column(pl.String, "run of closed answers by the same model"),
        "judge": Column(pl.String, "who read the open answers"),
        "by": Column(pl.String, "all, stratum, attribute, level, subgroup or topic"),
        "key": Column(pl.String, "which one of them"),
        "metric": Column(pl.String, "same, distance, kappa or both"),
        "value": Column(pl.Float64, "the metric, null where undefined"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by item; null under 5 items"),
        "ci_high": Column(pl.Float64, "upper end"),
        "pairs": Column(pl.Int64, "pairs it is of"),
        "items": Column(pl.Int64, "items they belong to"),
    },
)
METRICS = ("same", "distance", "kappa", "both")
# Squares of positions on 0..1 that differ by less are rounding.
_NOTHING = 1e-12


def closed_runs_of(stances: Stances, closed: Sequence[Answered]) -> list[tuple[str, Answered]]:
    """Return (open run, closed run) where the same model answered, however it was made to write.

    A control is not the model inside it: it was asked as somebody else, so that only an open run of the same control belongs to it.

    Raises:
        InputDataError: no closed run is of a model that wrote the open answers.
    """
    documents: Mapping[str, Any] = stances.meta.get("contestants", {})
    found = [
        (name, run) for name, meta in documents.items() for run in closed if _same(RunIdentity.from_document(meta, name), run_identity(run))
    ]
    if not found:
        raise InputDataError(
            f"{stances.path}: none of the closed runs ({', '.join(run.name for run in closed) or 'none given'}) is by a model that wrote "
            f"these open answers ({', '.join(documents)}). Ask the same model closed: valuestrata ask DATASET --model MODEL -o RUN"
        )
    return found


def _same(one: RunIdentity, other: RunIdentity) -> bool:
    return one.control == other.control and one.same_weights(other)


def closed_against_open(
    dataset: Dataset,
    stances: pl.DataFrame,
    runs: Sequence[tuple[str, Answered]],
    *,
    by: Sequence[str] = BY,
    bootstrap: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Return how far closed answers and stances agree, per run, judge and key (AGREEMENT).

    Args:
        dataset: says what the scales are. stances: a frame of STANCES.
        runs: (name of the open run, closed run of the same model), as `closed_runs_of` finds them.
        by: groupings. bootstrap, seed: of the intervals.
    """
    rows: list[dict[str, object]] = []
    for name, closed in runs:
        chosen = positions(dataset, RESPONSES.check(closed.responses, closed.name))
        for (judge,), part in stances.filter(pl.col("run") == name).group_by("judge", maintain_order=True):
            said = positions(dataset, part)
            head: dict[str, object] = {"run": name, "closed": closed.name, "judge": judge}
            rows += [{**head, **row} for row in _rows(dataset, chosen, said, tuple(by), bootstrap, seed)]
    return AGREEMENT.frame(rows)


def positions(dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
    """Return pair_id, item, subgroup, sample, code (null without an answer), position on 0..1 (null of nominal items).

    Args:
        dataset: says what the scales are. rows: a frame with pair_id, item, subgroup, sample, answer, status (RESPONSES, STANCES).
    """
    scale = dataset.items.select(
        "item",
        pl.col("codes").alias("code"),
        pl.int_ranges(0, pl.col("codes").list.len()).alias("_place"),
        (pl.col("codes").list.len() - 1).alias("_last"),
        (pl.col("level") != "nominal").alias("_ordered"),
    ).explode("code", "_place")
    answered = pl.when(pl.col("status") == "answered").then("answer").alias("code")
    placed = rows.select("pair_id", "item", "subgroup", "sample", answered).join(
        scale, on=("item", "code"), how="left", maintain_order="left"
    )
    position = pl.when("_ordered").then(pl.col("_place") / pl.col("_last").clip(1)).alias("position")
    return placed.select("pair_id", "item", "subgroup", "sample", "code", position)


def _rows(
    dataset: Dataset, chosen: pl.DataFrame, said: pl.DataFrame, by: tuple[str, ...], bootstrap: int, seed: int
) -> list[dict[str, object]]:
    asked = said.select("pair_id", "item", "subgroup").unique("pair_id", maintain_order=True)
    asked = asked.join(chosen.select("pair_id").unique(), on="pair_id", how="semi", maintain_order="left")
    other = said.select("pair_id", pl.col("code").alias("_said"), pl.col("position").alias("_y")).drop_nulls("_said")
    each = chosen.drop_nulls("code").join(other, on="pair_id", how="inner", maintain_order="left")
    x, y = pl.col("position"), pl.col("_y")
    pairs = each.group_by("pair_id", "item", "subgroup", maintain_order=True).agg(
        (pl.col("code") == pl.col("_said")).mean().alias("same"),
        (x - y).abs().mean().alias("distance"),
        ((x - y) ** 2).mean().alias("apart"),
        x.mean().alias("x"),
        y.mean().alias("y"),
        (x**2).mean().alias("xx"),
        (y**2).mean().alias("yy"),
    )
    asked = asked.join(pairs.drop("item", "subgroup"), on="pair_id", how="left", maintain_order="left")
    asked = asked.with_columns(pl.col("same").is_not_null().cast(pl.Float64).alias("both"))
    found: list[dict[str, object]] = []
    for grouping, key, mask in keys_of_rows(dataset, asked, by):
        for metric in METRICS:
            found.append({"by": grouping, "key": key, "metric": metric, **figure(asked, mask, metric, bootstrap, seed)})
    return found


def figure(pairs: pl.DataFrame, mask: NDArray[np.bool_], metric: str, bootstrap: int, seed: int) -> dict[str, object]:
    """Return value, ci_low, ci_high, pairs and items of one metric over the rows of a mask.

    Args:
        pairs: item, the metric's own column, and for `kappa` apart ((x - y)^2), x, y, xx, yy, null where either has no position.
    """
    column = "apart" if metric == "kappa" else metric
    rows = pairs.filter(pl.Series(mask)).drop_nulls(column)
    if rows.is_empty():
        return {"value": None, "ci_low": None, "ci_high": None, "pairs": 0, "items": 0}
    cluster = numbered(rows["item"].to_numpy())
    number = int(cluster.max()) + 1
    names = ("apart", "x", "y", "xx", "yy") if metric == "kappa" else (column,)
    sums = np.stack([np.bincount(cluster, rows[name].to_numpy(), minlength=number) for name in names])
    counts = np.bincount(cluster, minlength=number).astype(np.float64)
    of = weighted_kappa if metric == "kappa" else _ratio
    weights = draws(number, bootstrap, seed)
    value = float(of(sums.sum(axis=1), counts.sum()))
    reach = (-1.0, 1.0) if metric == "kappa" else (0.0, 1.0)
    low, high = ends(value, of(sums @ weights.T, weights @ counts), number, *reach)
    known = {name: None if np.isnan(number_) else number_ for name, number_ in (("value", value), ("ci_low", low), ("ci_high", high))}
    return {**known, "pairs": rows.height, "items": number}


def weighted_kappa(sums: Floats, count: Floats) -> Floats:
    """Return quadratically weighted kappa from sums over pairs, shape (5, ...): (x - y)^2, x, y, x^2, y^2; NaN without spread.

    With categories evenly spaced it is the kappa of a cross table with weights (i - j)^2, whose expectation needs the moments of
    the margins alone.
    """
    apart, x, y, xx, yy = sums / count
    expected = xx + yy - 2 * x * y
    spread = expected > _NOTHING
    return np.where(spread, 1 - apart / np.where(spread, expected, 1.0), np.nan)


def _ratio(sums: Floats, count: Floats) -> Floats:
    return sums[0] / count
