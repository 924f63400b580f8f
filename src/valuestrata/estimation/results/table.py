"""The long table of estimates: a row for each subgroup, item, estimator and option, and one for the mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.estimation.estimates import ESTIMATORS, Estimates
from valuestrata.estimation.inputs import EstimationInput
from valuestrata.frames import Column, Schema
from valuestrata.stats.arrays import Bools, Floats

# Fewer answers than this are flagged `few`: they identify people, and variances estimated from them are rough.
FEW_ANSWERS = 10
SYNTHETIC, FEW = "synthetic", "few"

ESTIMATES = Schema(
    "estimates.parquet",
    {
        "subgroup": Column(pl.String, "subgroup id; `all` for the population"),
        "stratum": Column(pl.String, "stratum of the subgroup"),
        "item": Column(pl.String, "item id"),
        "estimator": Column(pl.String, "human, model, rectified, multilevel or small-area"),
        "run": Column(pl.String, "run of the model; null without a model"),
        "code": Column(pl.Int32, "scale code whose share is estimated; null for the mean of the codes"),
        "value": Column(pl.Float64, "estimated share (0 to 1), or mean of the scale codes; null if undefined"),
        "low": Column(pl.Float64, "lower end of the 95 % interval; null without one"),
        "high": Column(pl.Float64, "its upper end"),
        "se": Column(pl.Float64, "standard error, or root of the estimated mean squared error"),
        "n": Column(pl.Int64, "people of the subgroup who answered the item"),
        "n_eff": Column(pl.Float64, "effective number of these answers after weighting (Kish)"),
        "weight": Column(pl.Float64, "weight of the model in `rectified`, 0 to 1; null for other estimators"),
        "flag": Column(pl.String, f"`synthetic`: nobody in the subgroup answered; `few`: under {FEW_ANSWERS} answers; else null"),
        "first": Column(pl.Float64, "the value in the first wave; null without one", optional=True),
        "change": Column(pl.Float64, "the value minus that of the first wave", optional=True),
        "change_low": Column(pl.Float64, "lower end of the 95 % interval of the change", optional=True),
        "change_high": Column(pl.Float64, "its upper end", optional=True),
        "p_change": Column(pl.Float64, "p-value of no change in the pair, adjusted over all pairs (Benjamini-Hochberg)", optional=True),
    },
)


def answers_of(data: EstimationInput) -> tuple[NDArray[np.int64], Floats]:
    """Return the number of answers of each subgroup to each item, and their effective number (Kish 1965), each of shape (G, I)."""
    valid, members = (data.sample.answers >= 0).astype(np.float64), data.members.astype(np.float64)
    weight = data.sample.weight[:, None]
    total, square = (members.T @ (valid * weight**power) for power in (1, 2))
    n = np.rint(members.T @ valid).astype(np.int64)
    return n, np.divide(total**2, square, out=np.zeros_like(total), where=square > 0)


def estimates_table(
    data: EstimationInput, found: Sequence[Estimates], subgroups: Bools | None = None, items: Bools | None = None
) -> pl.DataFrame:
    """Return the ESTIMATES table of several estimators.

    Args:
        data: what was estimated from. found: the estimates, in the order of the table. subgroups, items: shapes (G,) and (I,), which to
            keep; None for all.
    """
    n, effective = answers_of(data)
    used = data.items.used
    # Rows of a pair: its options, then its mean (option -1).
    pairs = np.argwhere(np.ones_like(n, dtype=bool) if subgroups is None and items is None else _kept(n.shape, subgroups, items))
    rows = [np.column_stack([pairs[used[pairs[:, 1], k]], np.full(int(used[pairs[:, 1], k].sum()), k)]) for k in range(used.shape[1])]
    means = pairs[data.items.ordered[pairs[:, 1]]]
    at = np.concatenate([*rows, np.column_stack([means, np.full(len(means), used.shape[1])])])
    at = at[np.lexsort((at[:, 2], at[:, 1], at[:, 0]))]
    group, item = (pl.Series(at[:, axis]) for axis in range(2))
    fixed = pl.DataFrame(
        {
            "subgroup": _named(data.population.subgroups, group),
            "stratum": _named(data.population.strata, group),
            "item": _named(data.items.ids, item),
            "code": np.column_stack([data.items.codes, np.full(len(used), np.nan)])[at[:, 1], at[:, 2]],
            "n": n[at[:, 0], at[:, 1]],
            "n_eff": effective[at[:, 0], at[:, 1]],
        }
    )
    parts = [_of(fixed, one, at) for one in found]
    table = pl.concat(parts) if parts else ESTIMATES.empty()
    return ESTIMATES.check(table.with_columns(pl.col(pl.Float64).fill_nan(None)), ESTIMATES.name).select(list(ESTIMATES.columns))


def _kept(shape: tuple[int, ...], subgroups: Bools | None, items: Bools | None) -> Bools:
    return np.ones(shape, dtype=bool) & (True if subgroups is None else subgroups[:, None]) & (True if items is None else items[None, :])


def _named(names: Sequence[str], at: pl.Series) -> pl.Series:
    return pl.Series(list(names), dtype=pl.String).gather(at)


def _of(fixed: pl.DataFrame, one: Estimates, at: NDArray[np.intp]) -> pl.DataFrame:
    """Return the rows of one estimator: `at` holds subgroup, item and option, or the number of options for the mean."""

    def both(shares: Floats, means: Floats) -> Floats:
        return np.concatenate([shares, means[..., None]], axis=2)[at[:, 0], at[:, 1], at[:, 2]]

    return fixed.with_columns(
        pl.lit(one.estimator).alias("estimator"),
        pl.lit(one.run, pl.String).alias("run"),
        pl.Series("value", both(one.shares, one.mean)),
        pl.Series("low", both(one.low, one.mean_low)),
        pl.Series("high", both(one.high, one.mean_high)),
        pl.Series("se", np.sqrt(both(one.mse, one.mean_mse))),
        pl.Series("weight", one.weight[at[:, 0], at[:, 1]]),
        flag=pl.when(pl.col("n") == 0).then(pl.lit(SYNTHETIC)).when(pl.col("n") < FEW_ANSWERS).then(pl.lit(FEW)),
    )


def half_widths(table: pl.DataFrame) -> pl.DataFrame:
    """Return the average half-width of the intervals of shares, without synthetic estimates.

    Returns:
        One row per subgroup, estimator and run: `half_width` (0 to 1) and the number of `pairs`.
    """
    shares = table.filter(pl.col("code").is_not_null(), pl.col("flag").ne_missing(SYNTHETIC), pl.col("low").is_not_null())
    return shares.group_by("subgroup", "estimator", "run", maintain_order=True).agg(
        half_width=((pl.col("high") - pl.col("low")) / 2).mean(), pairs=pl.col("item").n_unique()
    )


def estimators_in(table: pl.DataFrame) -> list[tuple[str, str | None]]:
    """Return the (estimator, run) pairs of a table, in the order of `ESTIMATORS`."""
    found = list(table.select("estimator", "run").unique(maintain_order=True).iter_rows())
    return sorted(found, key=lambda pair: ESTIMATORS.index(pair[0]))
