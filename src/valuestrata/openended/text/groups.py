"""Groups of subgroups: blocks for comparisons by one attribute, and keys for rates."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def blocks_of(subgroups: pl.DataFrame, attributes: Sequence[str], attribute: str) -> pl.DataFrame:
    """Return the subgroups that have a level of an attribute: subgroup, stratum, level, block.

    Subgroups of one block belong to one stratum and have equal levels of all other attributes, for example Female x 16-24 and
    Male x 16-24 for sex. They differ in the attribute only.

    Args:
        subgroups: SUBGROUPS with one column per attribute. attributes: all attributes. attribute: the one to compare.
    """
    rest = [name for name in attributes if name != attribute and name in subgroups.columns]
    block = pl.concat_str([pl.col("stratum"), *(pl.col(name).fill_null("") for name in rest)], separator="\x1f")
    return subgroups.filter(pl.col(attribute).is_not_null()).select(
        "subgroup", "stratum", pl.col(attribute).alias("level"), block.alias("block")
    )


def keys_of(subgroups: pl.DataFrame, attributes: Sequence[str]) -> pl.DataFrame:
    """Return the keys of each subgroup: subgroup, by (all, stratum, level, subgroup), key."""
    keys = [("all", pl.lit("all")), ("stratum", pl.col("stratum"))]
    keys += [("level", pl.format("{}={}", pl.lit(name), pl.col(name))) for name in attributes]
    keys += [("subgroup", pl.col("subgroup"))]
    frames = [subgroups.select("subgroup", pl.lit(by).alias("by"), key.alias("key")) for by, key in keys]
    return pl.concat(frames).drop_nulls("key")
