"""Units of pairwise judging, and diagnostics of a judge from its own verdicts."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from valuestrata.openended.schema import COUNTED, ORDERS, WINS

CONTEST = ("run", "reference", "judge", "criterion")
UNIT = (*CONTEST, "pair_id", "item", "subgroup", "sample")


def units_of(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return one row per unit: the columns `UNIT`, `win`, `ruled` and `consistent`.

    A unit is one pair and sample under one criterion, judged in both orders. `win` is the mean of both orders, null unless both have a
    verdict. `ruled` says that it was decided by rule. `consistent` is 1 if the judge gave the same verdict in both orders, else 0,
    null unless it gave both.

    Args:
        verdicts: a frame of VERDICTS; if one unit and order has several rows the first counts.
    """
    rows = verdicts.unique([*UNIT, "order"], keep="first", maintain_order=True)
    counted = pl.col("status").is_in(COUNTED) & pl.col("verdict").is_not_null()
    win = pl.when(counted).then(pl.col("verdict").replace_strict(WINS, default=None, return_dtype=pl.Float64)).alias("_win")
    units = (
        rows.with_columns(win)
        .group_by(UNIT, maintain_order=True)
        .agg(
            pl.col("_win").mean().alias("win"),
            pl.col("_win").count().alias("_orders"),
            (pl.col("status") == "by_rule").any().alias("ruled"),
            (pl.col("_win").n_unique() == 1).cast(pl.Float64).alias("_same"),
        )
    )
    both = pl.col("_orders") == len(ORDERS)
    judged = both & ~pl.col("ruled")
    return units.select(*UNIT, pl.when(both).then("win").alias("win"), "ruled", pl.when(judged).then("_same").alias("consistent"))


def diagnostics(verdicts: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each diagnostic with the rows it is the mean of: the columns of `verdicts` or `UNIT`, and `value`.

    - invalid: calls without a verdict (refused, unreadable or failed) among all calls.
    - refused: calls that the judge refused, or whose reply the service withheld, among all calls.
    - consistency: units with the same verdict in both orders among units with a verdict in both.
    - position_bias: decided verdicts (no ties) of such units for the answer shown first, minus .5.
    - ties: ties among the verdicts of such units.

    Verdicts given by rule are left out: the judge was not asked.
    """
    asked = verdicts.filter(pl.col("status") != "by_rule").unique([*UNIT, "order"], keep="first", maintain_order=True)
    yield "invalid", _valued(asked, pl.col("status") != "answered")
    yield "refused", _valued(asked, pl.col("status") == "refused")
    units = units_of(asked).drop_nulls("consistent")
    yield "consistency", units.with_columns(pl.col("consistent").alias("value"))
    both = asked.join(units, on=UNIT, how="semi", maintain_order="left")
    first = pl.when(pl.col("order") == ORDERS[0]).then(pl.lit("run")).otherwise(pl.lit("reference"))
    decided = _valued(both.filter(pl.col("verdict") != "tie"), pl.col("verdict") == first)
    yield "position_bias", decided.with_columns(pl.col("value") - 0.5)
    yield "ties", _valued(both, pl.col("verdict") == "tie")


def _valued(rows: pl.DataFrame, condition: pl.Expr) -> pl.DataFrame:
    return rows.with_columns(condition.cast(pl.Float64).alias("value"))
