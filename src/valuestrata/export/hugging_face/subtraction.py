"""Which small groups can be worked out by subtracting published subgroups from one that contains them.

A subgroup below the minimum is not published. But if all other levels of its stratum are, its answers are those of the containing
subgroup minus those of the others: exactly in a survey without weights, roughly in a weighted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from valuestrata.dataset.sharing import SHAREABLE_FROM


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


def small_remainders(rows: pl.DataFrame, attributes: Sequence[str]) -> Remainders:
    """Return the rests that are too small, over all items and the strata that divide another stratum or the whole population.

    Only one stratum is subtracted at a time. Combinations of several strata can isolate further groups.

    Args:
        rows: exported gold: item, subgroup, stratum, half, n and a column for each attribute. Rows of different halves of the
            respondents are not subtracted from each other.
        attributes: names of the attributes.
    """
    used = {
        stratum: frozenset(name for name in attributes if of_stratum[name].null_count() < of_stratum.height)
        for (stratum,), of_stratum in rows.group_by(["stratum"], maintain_order=True)
    }
    found: list[pl.DataFrame] = []
    for outer, of_outer in used.items():
        for inner, of_inner in used.items():
            if not of_outer < of_inner:
                continue
            keys = ["item", "half", *sorted(of_outer)]
            parts = rows.filter(pl.col("stratum") == inner).group_by(keys).agg(pl.col("n").sum().alias("parts"))
            whole = rows.filter(pl.col("stratum") == outer).join(parts, on=keys, how="inner")
            left = whole.select("subgroup", pl.lit(inner).alias("divided_by"), (pl.col("n") - pl.col("parts")).alias("left"))
            found.append(left.filter(pl.col("left").is_between(1, SHAREABLE_FROM - 1)))
    small = pl.concat(found) if found else pl.DataFrame(schema={"subgroup": pl.String, "divided_by": pl.String, "left": pl.Int64})
    if small.is_empty():
        return Remainders(0, 0, None)
    least = small.sort("left", "subgroup", "divided_by").row(0, named=True)
    rests = small.select("subgroup", "divided_by").unique().height
    return Remainders(rests, small.height, (least["subgroup"], least["divided_by"], least["left"]))
