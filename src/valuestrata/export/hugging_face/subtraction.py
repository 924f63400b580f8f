"""Which small groups can be worked out by subtracting published subgroups from one that contains them.

A subgroup below the minimum is not published. But if all other levels of its stratum are, its answers are those of the containing
subgroup minus those of the others: exactly in a survey without weights, roughly in a weighted one.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from valuestrata.dataset.sharing import SHAREABLE_FROM
from valuestrata.dataset.tables import Dataset


@dataclass(frozen=True)
class Remainders:
    """Rests of published subgroups with fewer than `SHAREABLE_FROM` answers.

    Attributes:
        rests: number of rests: a containing subgroup and a stratum that divides it.
        pairs: number of rests and items.
        example: (containing subgroup, stratum that divides it, answers that are left) of the smallest rest; None without any.
    """

    rests: int
    pairs: int
    example: tuple[str, str, int] | None


def small_remainders(dataset: Dataset) -> Remainders:
    """Return the rests that are too small, over all items and the strata that divide another stratum or the whole population.

    Only one stratum is subtracted at a time. Combinations of several strata can isolate further groups.
    """
    names = dataset.attributes
    gold = dataset.gold.filter(pl.col("half") == "all").select("item", "subgroup", "n")
    cells = gold.join(dataset.subgroups.select("subgroup", "stratum", *names), on="subgroup")
    used = {
        stratum: frozenset(name for name in names if rows[name].null_count() < rows.height)
        for (stratum,), rows in cells.group_by(["stratum"], maintain_order=True)
    }
    found: list[pl.DataFrame] = []
    for outer, of_outer in used.items():
        for inner, of_inner in used.items():
            if not of_outer < of_inner:
                continue
            keys = ["item", *sorted(of_outer)]
            parts = cells.filter(pl.col("stratum") == inner).group_by(keys).agg(pl.col("n").sum().alias("parts"))
            whole = cells.filter(pl.col("stratum") == outer).join(parts, on=keys, how="inner")
            left = whole.select("item", "subgroup", pl.lit(inner).alias("divided_by"), (pl.col("n") - pl.col("parts")).alias("left"))
            found.append(left.filter(pl.col("left").is_between(1, SHAREABLE_FROM - 1)))
    small = pl.concat(found) if found else pl.DataFrame(schema={"subgroup": pl.String, "divided_by": pl.String, "left": pl.Int64})
    if small.is_empty():
        return Remainders(0, 0, None)
    least = small.sort("left", "subgroup", "divided_by").row(0, named=True)
    rests = small.select("subgroup", "divided_by").unique().height
    return Remainders(rests, small.height, (least["subgroup"], least["divided_by"], least["left"]))
