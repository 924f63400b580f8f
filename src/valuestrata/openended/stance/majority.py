"""Several judges of the same stances: how far they agree with each other, and what most of them read.

Judges that read the same answer differently cannot all be right, so that their agreement bounds what any of them is worth; it is no
proof, for judges may err alike. `judges_compared` gives it for every two judges:

====== ========================================================================== ===================
metric what it is                                                                 null where
====== ========================================================================== ===================
same   share of answers that both read in the same way, `no stance` being one way
kappa  quadratically weighted, of the answers that both place on the scale        nominal; no spread
====== ========================================================================== ===================

`majority` is one judge more: the reading that more than half of the judges of a run gave. Without one it is `unparsed`, and counts as
an answer that is missing, as any reading that failed does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.frames import Column, Schema
from valuestrata.openended.schema import STANCES
from valuestrata.openended.score_keys import BY, keys_of_rows
from valuestrata.openended.stance.closed_vs_open import figure, positions

METRICS = ("same", "kappa")
JUDGES_COMPARED = Schema(
    "judges_compared",
    {
        "run": Column(pl.String, "run whose answers were read"),
        "judge": Column(pl.String, "one judge"),
        "other": Column(pl.String, "another"),
        "by": Column(pl.String, "all, stratum, attribute, level, subgroup or topic"),
        "key": Column(pl.String, "which one of them"),
        "metric": Column(pl.String, "same or kappa"),
        "value": Column(pl.Float64, "the metric, null where undefined"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by item; null under 5 items"),
        "ci_high": Column(pl.Float64, "upper end"),
        "pairs": Column(pl.Int64, "answers that both read"),
        "items": Column(pl.Int64, "items they belong to"),
    },
)
_READ = ("answered", "no_stance")
_ANSWER = ("pair_id", "item", "subgroup", "sample")


def majority(stances: pl.DataFrame) -> pl.DataFrame:
    """Return what most judges of each run read (STANCES), with `majority of N judges` for the judge; empty where each run has one judge.

    Args:
        stances: a frame of STANCES, of any number of judges. An answer that some of them have not read counts as read by these in no way.
    """
    made: list[pl.DataFrame] = [STANCES.empty()]
    for (run,), part in stances.group_by("run", maintain_order=True):
        number = part["judge"].n_unique()
        if number > 1:
            made.append(_majority(part, str(run), number))
    return pl.concat(made)


def _majority(part: pl.DataFrame, run: str, number: int) -> pl.DataFrame:
    asked = pl.col("attempts").fill_null(1) > 0
    read = part.filter(pl.col("status").is_in(_READ)).group_by(*_ANSWER, "answer").len("_judges")
    most = read.filter(pl.col("_judges") * 2 > number).select("pair_id", "sample", "answer", pl.lit(value=True).alias("_most"))
    answers = part.group_by(_ANSWER, maintain_order=True).agg(asked.any().alias("_asked"))
    told = answers.join(most, on=["pair_id", "sample"], how="left", maintain_order="left")
    status = (
        pl.when(~pl.col("_asked"))
        .then(pl.lit("refused"))
        .when(pl.col("_most").is_null())
        .then(pl.lit("unparsed"))
        .when(pl.col("answer").is_null())
        .then(pl.lit("no_stance"))
        .otherwise(pl.lit("answered"))
    )
    without = pl.col("_asked") & pl.col("_most").is_null()
    made = told.with_columns(
        pl.lit(run).alias("run"),
        pl.lit(f"majority of {number} judges").alias("judge"),
        status.alias("status"),
        pl.when(without).then(pl.lit("no reading is that of more than half of the judges")).alias("error"),
        pl.when("_asked").then(number).otherwise(0).cast(pl.Int32).alias("attempts"),
    )
    lacking = [pl.lit(None).cast(column.dtype).alias(name) for name, column in STANCES.columns.items() if name not in made.columns]
    return STANCES.check(made.with_columns(lacking).select(list(STANCES.columns)), "stances")


def judges_compared(
    dataset: Dataset, stances: pl.DataFrame, *, by: Sequence[str] = BY, bootstrap: int = 1000, seed: int = 0
) -> pl.DataFrame:
    """Return how far every two judges of a run agree, under every key (JUDGES_COMPARED).

    Args:
        dataset: says what the scales are. stances: a frame of STANCES. by: groupings. bootstrap, seed: of the intervals.
    """
    rows: list[dict[str, object]] = []
    for (run,), part in stances.group_by("run", maintain_order=True):
        for judge, other in combinations(part["judge"].unique(maintain_order=True), 2):
            both = _both(dataset, part, judge, other)
            for grouping, key, mask in keys_of_rows(dataset, both, tuple(by)):
                for metric in METRICS:
                    found = figure(both, mask, metric, bootstrap, seed)
                    rows.append({"run": run, "judge": judge, "other": other, "by": grouping, "key": key, "metric": metric, **found})
    return JUDGES_COMPARED.frame(rows)


def _both(dataset: Dataset, part: pl.DataFrame, judge: str, other: str) -> pl.DataFrame:
    """Return the answers that both judges read, with what `figure` takes."""
    one, two = (
        positions(dataset, part.filter(pl.col("judge") == name, pl.col("status").is_in(_READ))).unique(
            ["pair_id", "sample"], keep="first", maintain_order=True
        )
        for name in (judge, other)
    )
    read = one.join(two.drop("item", "subgroup"), on=["pair_id", "sample"], how="inner", suffix="_other", maintain_order="left")
    x, y = pl.col("position"), pl.col("position_other")
    # Of an answer that only one of them places there is no distance, so that all sums leave it out.
    placed = x.is_not_null() & y.is_not_null()
    return read.with_columns(
        pl.col("code").eq_missing(pl.col("code_other")).cast(pl.Float64).alias("same"),
        ((x - y) ** 2).alias("apart"),
        pl.when(placed).then(x).alias("x"),
        pl.when(placed).then(y).alias("y"),
        pl.when(placed).then(x**2).alias("xx"),
        pl.when(placed).then(y**2).alias("yy"),
    )
