"""Several judges of the same stances: their pairwise agreement, and the reading of the majority.

====== ========================================================================== ========================
metric definition                                                                 null
====== ========================================================================== ========================
same   share of answers with the same reading; `no stance` is one reading
kappa  quadratically weighted kappa of the answers that both place on the scale   nominal items; no spread
====== ========================================================================== ========================

Agreement does not show that the judges are right: they may make the same errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.frames import Column, Schema
from valuestrata.openended.groupings import BY, groups_of
from valuestrata.openended.schema import STANCES, estimate_columns
from valuestrata.openended.stance.closed_vs_open import agreement_columns, positions

METRICS = ("same", "kappa")
JUDGES_COMPARED = Schema(
    "judges_compared",
    {
        "run": Column(pl.String, "run whose answers were read"),
        "judge": Column(pl.String, "first judge"),
        "other": Column(pl.String, "second judge"),
        **estimate_columns(" or ".join(METRICS), "answers that both read"),
    },
)
_READ = ("answered", "no_stance")
_ANSWER = ("pair_id", "item", "subgroup", "sample")


def majority(stances: pl.DataFrame) -> pl.DataFrame:
    """Return the readings that more than half of a run's judges gave (STANCES), with the judge `majority of N judges`.

    Answers without a majority are `unparsed`. The frame is empty if each run has one judge.

    Args:
        stances: a frame of STANCES. A missing reading counts as a judge without a reading.
    """
    made: list[pl.DataFrame] = [STANCES.empty()]
    for (run,), part in stances.group_by("run", maintain_order=True):
        number = part["judge"].n_unique()
        if number > 1:
            made.append(_majority(part, str(run), number))
    return pl.concat(made)


def _majority(part: pl.DataFrame, run: str, number: int) -> pl.DataFrame:
    read = part.filter(pl.col("status").is_in(_READ)).group_by(*_ANSWER, "answer").len("_judges")
    most = read.filter(pl.col("_judges") * 2 > number).select("pair_id", "sample", "answer", pl.lit(value=True).alias("_most"))
    asked = (pl.col("attempts").fill_null(1) > 0).any().alias("_asked")
    answers = part.group_by(_ANSWER, maintain_order=True).agg(asked).join(most, on=["pair_id", "sample"], how="left", maintain_order="left")
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
    made = answers.with_columns(
        pl.lit(run).alias("run"),
        pl.lit(f"majority of {number} judges").alias("judge"),
        status.alias("status"),
        pl.when(without).then(pl.lit("no reading has a majority of the judges")).alias("error"),
        pl.when("_asked").then(number).otherwise(0).cast(pl.Int32).alias("attempts"),
    )
    missing = [pl.lit(None).cast(column.dtype).alias(name) for name, column in STANCES.columns.items() if name not in made.columns]
    return STANCES.check(made.with_columns(missing).select(list(STANCES.columns)), "stances")


def judges_compared(
    dataset: Dataset, stances: pl.DataFrame, *, by: Sequence[str] = BY, bootstrap: int = 1000, seed: int = 0
) -> pl.DataFrame:
    """Return the agreement of every two judges of a run by key, a frame of JUDGES_COMPARED.

    Args:
        dataset: describes the scales. stances: a frame of STANCES. by: groupings. bootstrap, seed: number of replicates and their seed.
    """
    rows: list[dict[str, object]] = []
    for (run,), part in stances.group_by("run", maintain_order=True):
        for judge, other in combinations(part["judge"].unique(maintain_order=True), 2):
            both = _read_by_both(dataset, part, judge, other)
            blocks = dataset.blocks_of(both["item"].to_numpy())
            for grouping, key, mask in groups_of(dataset, both, by):
                for metric in METRICS:
                    where = {"run": run, "judge": judge, "other": other, "by": grouping, "key": key, "metric": metric}
                    rows.append({**where, **agreement_columns(both, blocks, mask, metric, bootstrap, seed)})
    return JUDGES_COMPARED.frame(rows)


def _read_by_both(dataset: Dataset, part: pl.DataFrame, judge: str, other: str) -> pl.DataFrame:
    """Return the answers that both judges read, with the columns that `agreement_columns` needs."""
    one, two = (
        positions(dataset, part.filter(pl.col("judge") == name, pl.col("status").is_in(_READ))).unique(
            ["pair_id", "sample"], keep="first", maintain_order=True
        )
        for name in (judge, other)
    )
    read = one.join(two.drop("item", "subgroup"), on=["pair_id", "sample"], how="inner", suffix="_other", maintain_order="left")
    x, y = pl.col("position"), pl.col("position_other")
    # Answers that only one judge places have no distance; all moments leave them out.
    placed = pl.when(x.is_not_null() & y.is_not_null())
    moments = {"apart": (x - y) ** 2, "x": x, "y": y, "xx": x**2, "yy": y**2}
    return read.with_columns(
        pl.col("code").eq_missing(pl.col("code_other")).cast(pl.Float64).alias("same"),
        **{name: placed.then(moment) for name, moment in moments.items()},
    )
