"""Shares and means over answers, by subgroup and what subgroups belong to, with intervals clustered by item.

Answers to one question resemble each other, so that items are what was drawn and answers are not. With y the value of a pair
(its samples averaged), N pairs and I items,

    m = sum y / N,   Var m = I/(I-1) sum_i (sum_{pairs of i} (y - m))^2 / N^2,

the linearised variance of a ratio. A mean has m -+ t(I-1) sd. A share lies near 0 or 1, where that fails: it has the exact
binomial interval of n_eff = m (1 - m) / Var m answers, at most N, scaled by (t(N-1) / t(I-1))^2 (Korn and Graubard 1998, Confidence
intervals for proportions with small expected number of positive counts, Survey Methodology 24:193-201). Where all pairs agree there
is no variance to learn n_eff from, and it is N, as in published health statistics (Parker et al. 2017, Vital and Health Statistics
2:175): right where nothing is peculiar to an item, too narrow where a question that was not asked would be answered otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.openended.text.groups import keys_of
from valuestrata.openended.text.persona_leakage import KINDS
from valuestrata.openended.text.schema import TEXT_RATES
from valuestrata.stats.cluster_bootstrap import ENOUGH_ITEMS

Floats = NDArray[np.float64]
# Of everything the model gave back; the others are of what it wrote.
OF_ALL = ("refused", "empty", "cut")
SHARES = (*OF_ALL, "leak", *(f"leak_{kind}" for kind in KINDS))
MEANS = ("words", "sentences", "flesch", "lix")
MEASURES = (*SHARES, *MEANS)
_CONFIDENCE = 0.95


def text_rates(texts: pl.DataFrame, items: pl.DataFrame, subgroups: pl.DataFrame, attributes: Sequence[str]) -> pl.DataFrame:
    """Return the rates of answers by all, stratum, level, subgroup and topic.

    Args:
        texts: TEXTS schema. items: with item and topic. subgroups: with subgroup, stratum and a column an attribute.
        attributes: their names.

    Returns:
        TEXT_RATES schema; runs, keys and measures in the order in which they come. No interval under `ENOUGH_ITEMS` items, as
        everywhere in this room.
    """
    pairs = _pairs(texts)
    topics = items.filter(pl.col("topic").is_not_null()).select("item", pl.lit("topic").alias("by"), pl.col("topic").alias("key"))
    keyed = pl.concat(
        [
            pairs.join(keys_of(subgroups, attributes), on="subgroup"),
            pairs.join(topics, on="item").select(*pairs.columns, "by", "key"),
        ]
    )
    group = ["run", "by", "key", "measure"]
    by_item = keyed.group_by(*group, "item").agg(pl.col("y").sum(), pl.len().alias("n"), pl.col("answers").sum())
    whole = (
        by_item.with_columns((pl.col("y").sum() / pl.col("n").sum()).over(group).alias("value"))
        .group_by(group)
        .agg(
            pl.col("value").first(),
            ((pl.col("y") - pl.col("value") * pl.col("n")) ** 2).sum().alias("squares"),
            pl.col("n").sum().alias("pairs"),
            pl.col("answers").sum(),
            pl.len().alias("items"),
        )
    )
    value, squares, count, clusters = (whole[name].cast(pl.Float64).to_numpy() for name in ("value", "squares", "pairs", "items"))
    low, high = intervals(value, squares, count, clusters, whole["measure"].is_in(SHARES).to_numpy())
    known = pl.col("items") >= ENOUGH_ITEMS
    made = whole.with_columns(
        pl.when(known).then(pl.Series("ci_low", low).fill_nan(None)).alias("ci_low"),
        pl.when(known).then(pl.Series("ci_high", high).fill_nan(None)).alias("ci_high"),
    )
    return _ordered(TEXT_RATES.check(made, "text rates").select(TEXT_RATES.columns.keys()), texts, keyed)


def intervals(value: Floats, squares: Floats, pairs: Floats, items: Floats, share: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the ends of the intervals of means and shares; NaN with one item.

    Args:
        value: m. squares: sum over items of the squared sums of y - m. pairs, items: N and I. share: whether a value is a share.
            All of shape (K,).
    """
    from scipy.special import betaincinv, stdtrit

    upper = (1 + _CONFIDENCE) / 2
    several = items > 1
    freedom = np.where(several, items - 1, 1.0)
    variance = items / freedom * squares / pairs**2
    reach = stdtrit(freedom, upper) * np.sqrt(variance)
    spread = value * (1 - value)
    with np.errstate(divide="ignore", invalid="ignore"):
        known = (variance > 1e-15) & (spread > 1e-15)
        effective = np.where(share, np.where(known, np.minimum(spread / variance, pairs), pairs), 1.0)
    effective = effective * (stdtrit(np.maximum(pairs - 1, 1.0), upper) / stdtrit(freedom, upper)) ** 2
    hits = np.clip(np.where(share, value, 0.5), 0.0, 1.0) * effective
    misses = effective - hits
    low = np.where(hits > 1e-12, betaincinv(np.maximum(hits, 1e-12), misses + 1, 1 - upper), 0.0)
    high = np.where(misses > 1e-12, betaincinv(hits + 1, np.maximum(misses, 1e-12), upper), 1.0)
    ends = np.where(share, low, value - reach), np.where(share, high, value + reach)
    return np.where(several, ends[0], np.nan), np.where(several, ends[1], np.nan)


def _pairs(texts: pl.DataFrame) -> pl.DataFrame:
    """Return a row a run, pair and measure that is known of it: y, the mean over its samples."""
    columns = [
        *(pl.col(name).cast(pl.Float64) for name in OF_ALL),
        *(_written(pl.col("leak").is_not_null(), "leak"), *(_written(pl.col("leak").eq_missing(kind), f"leak_{kind}") for kind in KINDS)),
        *(_written(pl.col(name), name) for name in MEANS),
    ]
    long = texts.select("run", "item", "subgroup", *columns).unpivot(
        on=list(MEASURES), index=["run", "item", "subgroup"], variable_name="measure", value_name="y"
    )
    return (
        long.filter(pl.col("y").is_not_null())
        .group_by("run", "item", "subgroup", "measure", maintain_order=True)
        .agg(pl.col("y").mean(), pl.len().alias("answers"))
    )


def _written(value: pl.Expr, name: str) -> pl.Expr:
    return pl.when(pl.col("written")).then(value.cast(pl.Float64)).alias(name)


def _ordered(rates: pl.DataFrame, texts: pl.DataFrame, keyed: pl.DataFrame) -> pl.DataFrame:
    bys = ("all", "stratum", "level", "subgroup", "topic")
    keys = keyed.select("by", "key").unique(maintain_order=True).with_row_index("key_at")
    places = {
        "run": {name: place for place, name in enumerate(texts["run"].unique(maintain_order=True))},
        "by": {name: place for place, name in enumerate(bys)},
        "measure": {name: place for place, name in enumerate(MEASURES)},
    }
    return (
        rates.join(keys, on=("by", "key"), how="left")
        .sort(
            *(pl.col(name).replace_strict(places[name], return_dtype=pl.Int64) for name in ("run", "by")),
            "key_at",
            pl.col("measure").replace_strict(places["measure"], return_dtype=pl.Int64),
        )
        .drop("key_at")
    )
