"""Differences between subgroups by item and stratum: Modal Diversity Score and mean pairwise W1."""

from __future__ import annotations

import numpy as np
import polars as pl

from valuestrata.dataset.tables import LANDSCAPE
from valuestrata.measures import mean_pairwise_w1, modal_diversity


def measure_landscape(gold: pl.DataFrame, subgroups: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Return the landscape, one row per item and stratum (LANDSCAPE schema).

    Args:
        gold: GOLD schema; only rows with half `all` are used. subgroups: SUBGROUPS schema. items: ITEMS schema.
    """
    level_of = dict(items.select("item", "level").iter_rows())
    options_of = {item: len(codes) for item, codes in items.select("item", "codes").iter_rows()}
    pairs = (
        gold.filter(pl.col("half") == "all")
        .join(subgroups.select("subgroup", "stratum"), on="subgroup", how="left", maintain_order="left")
        .filter(pl.col("stratum") != "all")
    )
    grouped = pairs.group_by("item", "stratum", maintain_order=True).agg("mode", "shares")
    rows = [
        {
            "item": item,
            "stratum": stratum,
            "subgroups": len(modes),
            "mds": modal_diversity(modes, options_of[item]),
            "wasserstein": None if level_of[item] == "nominal" else mean_pairwise_w1(np.array(shares)),
        }
        for item, stratum, modes, shares in grouped.iter_rows()
    ]
    return LANDSCAPE.frame(rows)


def by_topic(landscape: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Average the landscape by topic: over the items of a topic within a stratum, then over strata.

    Returns:
        Columns topic, items, mds, wasserstein, in descending order of mds.
    """
    within = (
        landscape.join(items.select("item", "topic"), on="item", how="left")
        .group_by("topic", "stratum")
        .agg(pl.col("mds").mean(), pl.col("wasserstein").mean(), pl.col("item").n_unique().alias("items"))
    )
    means = within.group_by("topic").agg(pl.col("items").max(), pl.col("mds").mean(), pl.col("wasserstein").mean())
    return means.sort("mds", "topic", descending=[True, False], nulls_last=True)
