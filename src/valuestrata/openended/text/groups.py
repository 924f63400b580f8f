"""Who is compared with whom: subgroups of different levels of one attribute that are alike in all others."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def blocks_of(subgroups: pl.DataFrame, attributes: Sequence[str], attribute: str) -> pl.DataFrame:
    """Return the subgroups that have a level of an attribute: subgroup, stratum, level, block.

    Subgroups of one block belong to one stratum and have the same levels of all other attributes: Female x 16-24 and Male x 16-24
    are a block of sex. What differs within a block is owed to the attribute, or to chance.

    Args:
        subgroups: SUBGROUPS with a column an attribute. attributes: all of them. attribute: the one compared.
    """
    rest = [name for name in attributes if name != attribute and name in subgroups.columns]
    block = pl.concat_str([pl.col("stratum"), *(pl.col(name).fill_null("") for name in rest)], separator="\x1f")
    return subgroups.filter(pl.col(attribute).is_not_null()).select(
        "subgroup", "stratum", pl.col(attribute).alias("level"), block.alias("block")
    )


def keys_of(subgroups: pl.DataFrame, attributes: Sequence[str]) -> pl.DataFrame:
    """Return the keys a subgroup counts under: subgroup, by (all, stratum, level, subgroup), key."""
    frames = [
        subgroups.select("subgroup", pl.lit("all").alias("by"), pl.lit("all").alias("key")),
        subgroups.select("subgroup", pl.lit("stratum").alias("by"), pl.col("stratum").alias("key")),
        *(
            subgroups.filter(pl.col(name).is_not_null()).select(
                "subgroup", pl.lit("level").alias("by"), pl.format("{}={}", pl.lit(name), pl.col(name)).alias("key")
            )
            for name in attributes
        ),
        subgroups.select("subgroup", pl.lit("subgroup").alias("by"), pl.col("subgroup").alias("key")),
    ]
    return pl.concat(frames)
