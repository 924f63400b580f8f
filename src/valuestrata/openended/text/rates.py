"""Shares and means over answers by grouping, with intervals clustered by block of items (`stats.cluster_intervals`).

Where the items of a key are mostly of one block (`stats.blocks`), the clusters are items.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from valuestrata.openended.text.groups import keys_of
from valuestrata.openended.text.persona_leakage import KINDS
from valuestrata.openended.text.schema import TEXT_RATES
from valuestrata.stats.blocks import ENOUGH_BLOCKS
from valuestrata.stats.cluster_bootstrap import MIN_ITEMS
from valuestrata.stats.cluster_intervals import clustered_intervals

# Shares of all answers; the other measures are over written answers.
OF_ALL = ("refused", "empty", "cut")
SHARES = (*OF_ALL, "leak", *(f"leak_{kind}" for kind in KINDS))
MEANS = ("words", "sentences", "flesch", "lix")
MEASURES = (*SHARES, *MEANS)
_BY = ("all", "stratum", "level", "subgroup", "topic")


def text_rates(texts: pl.DataFrame, items: pl.DataFrame, subgroups: pl.DataFrame, attributes: Sequence[str]) -> pl.DataFrame:
    """Return the rates of answers by all, stratum, level, subgroup and topic, a frame of TEXT_RATES.

    Args:
        texts: a frame of TEXTS. items: with item, topic and block. subgroups: with subgroup, stratum and one column per attribute.
    """
    pairs = _pairs(texts)
    topics = items.filter(pl.col("topic").is_not_null()).select("item", pl.lit("topic").alias("by"), pl.col("topic").alias("key"))
    keyed = pl.concat(
        [pairs.join(keys_of(subgroups, attributes), on="subgroup"), pairs.join(topics, on="item").select(*pairs.columns, "by", "key")]
    )
    group = ["run", "by", "key", "measure"]
    by_item = keyed.group_by(*group, "item").agg(pl.col("y").sum(), pl.len().alias("n"), pl.col("answers").sum())
    by_item = by_item.with_columns((pl.col("y").sum() / pl.col("n").sum()).over(group).alias("value"))
    own = pl.concat_str(pl.lit("item "), "item")
    names = items.select("item", pl.coalesce(pl.concat_str(pl.lit("block "), "block"), own).alias("block"))
    rest = pl.col("y") - pl.col("value") * pl.col("n")
    by_block = by_item.join(names, on="item", how="left").group_by(*group, "block").agg(rest.sum().alias("rest"), pl.len().alias("items"))
    effective = (pl.col("items").sum() ** 2 / (pl.col("items") ** 2).sum()).alias("blocks")
    blocks = by_block.group_by(group).agg((pl.col("rest") ** 2).sum().alias("block_squares"), effective)
    whole = (
        by_item.group_by(group)
        .agg(
            pl.col("value").first(),
            (rest**2).sum().alias("squares"),
            pl.col("n").sum().alias("pairs"),
            pl.col("answers").sum(),
            pl.len().alias("items"),
        )
        .join(blocks, on=group, how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("blocks") >= ENOUGH_BLOCKS).then(columns[0]).otherwise(columns[1]).alias(name)
            for name, columns in {"squares": ("block_squares", "squares"), "clusters": ("blocks", "items")}.items()
        )
    )
    value, squares, count, clusters = (whole[name].cast(pl.Float64).to_numpy() for name in ("value", "squares", "pairs", "clusters"))
    ends = clustered_intervals(value, squares, count, clusters, whole["measure"].is_in(SHARES).to_numpy())
    known = pl.col("items") >= MIN_ITEMS
    made = whole.with_columns(
        pl.when(known).then(pl.Series(name, end).fill_nan(None)).alias(name) for name, end in zip(("ci_low", "ci_high"), ends, strict=True)
    )
    return _ordered(TEXT_RATES.check(made, "text rates").select(TEXT_RATES.columns.keys()), texts, keyed)


def _pairs(texts: pl.DataFrame) -> pl.DataFrame:
    """Return one row per run, pair and known measure: y, the mean over samples."""
    written = {
        "leak": pl.col("leak").is_not_null(),
        **{f"leak_{kind}": pl.col("leak").eq_missing(kind) for kind in KINDS},
        **{name: pl.col(name) for name in MEANS},
    }
    columns = [pl.col(name).cast(pl.Float64) for name in OF_ALL]
    columns += [pl.when(pl.col("written")).then(value.cast(pl.Float64)).alias(name) for name, value in written.items()]
    long = texts.select("run", "item", "subgroup", *columns).unpivot(
        on=list(MEASURES), index=["run", "item", "subgroup"], variable_name="measure", value_name="y"
    )
    return (
        long.filter(pl.col("y").is_not_null())
        .group_by("run", "item", "subgroup", "measure", maintain_order=True)
        .agg(pl.col("y").mean(), pl.len().alias("answers"))
    )


def _ordered(rates: pl.DataFrame, texts: pl.DataFrame, keyed: pl.DataFrame) -> pl.DataFrame:
    """Sort by run, grouping, key and measure, each in order of first appearance."""
    keys = keyed.select("by", "key").unique(maintain_order=True).with_row_index("_key")

    def rank(column: str, values: Sequence[str]) -> pl.Expr:
        return pl.col(column).replace_strict({name: place for place, name in enumerate(values)}, return_dtype=pl.Int64)

    order = [rank("run", texts["run"].unique(maintain_order=True).to_list()), rank("by", _BY), pl.col("_key"), rank("measure", MEASURES)]
    return rates.join(keys, on=("by", "key"), how="left").sort(*order).drop("_key")
