"""Many comparisons: what was declared before the run, and what is merely screened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from valuestrata.errors import UsageError
from valuestrata.scores.schema import COMPARISONS


class Declared(NamedTuple):
    """One comparison that a plan named before the run; its fields are columns of COMPARISONS."""

    run: str
    against: str
    metric: str
    by: str = "all"
    key: str = "all"


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values so that the chance of any false rejection stays below the level (Holm 1979).

    With p_(1) <= ... <= p_(m): adjusted p_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)). Holds under any dependence.

    Args:
        p: in 0..1, any order; null for comparisons without one, which count for nothing and stay null.

    Raises:
        UsageError: a p outside 0..1.
    """

    def adjusted(ordered: np.ndarray) -> np.ndarray:
        left = len(ordered) - np.arange(len(ordered))
        return np.maximum.accumulate(left * ordered)

    return _adjusted(p, adjusted)


def benjamini_hochberg(p: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values so that the expected share of false rejections stays below the level (Benjamini and Hochberg 1995).

    With p_(1) <= ... <= p_(m): adjusted p_(i) = min_{j >= i} min(1, m p_(j) / j). Holds for independent p-values and for those
    that depend positively, as means over overlapping pairs do.

    Args:
        p: as for `holm`.

    Raises:
        UsageError: a p outside 0..1.
    """

    def adjusted(ordered: np.ndarray) -> np.ndarray:
        scaled = ordered * len(ordered) / (np.arange(len(ordered)) + 1)
        return np.minimum.accumulate(scaled[::-1])[::-1]

    return _adjusted(p, adjusted)


def adjust(comparisons: pl.DataFrame, declared: Sequence[Declared | tuple[str, ...]] = ()) -> pl.DataFrame:
    """Set p_adjusted, adjustment and status of comparisons.

    The declared rows are one family, adjusted by Holm, whatever their metrics. All other rows are screened: families of one metric
    and one grouping (`by`) over all their runs and keys, adjusted by Benjamini-Hochberg, and stay exploratory. A declared row
    takes no part in the screening. A row without p (null) belongs to its family by name but counts for nothing in it.

    Args:
        comparisons: COMPARISONS schema, of one split and part.
        declared: (run, against, metric, by, key); by and key are `all` where left out.

    Returns:
        The same rows in the same order.

    Raises:
        UsageError: a declared comparison that is not among the rows, or is declared twice or met twice.
    """
    frame = COMPARISONS.check(comparisons, "comparisons")
    family = [Declared(*one) for one in declared]
    index: dict[Declared, list[int]] = {}
    for place, row in enumerate(frame.select(Declared._fields).iter_rows()):
        index.setdefault(Declared(*row), []).append(place)
    for one in family:
        found = len(index.get(one, ()))
        named = f"{one.metric} of {one.run!r} against {one.against!r} ({one.by} {one.key!r})"
        if family.count(one) > 1:
            raise UsageError(f"The comparison {named} is declared twice; declare it once.")
        if found != 1:
            raise UsageError(
                f"The declared comparison {named} is {'not' if found == 0 else f'{found} times'} among the comparisons made; "
                "compare these runs, by this grouping, on one split and part, or correct the plan."
            )
    rows = [index[one][0] for one in family]
    is_declared = np.zeros(len(frame), dtype=np.bool_)
    is_declared[rows] = True
    p: list[float | None] = frame["p"].to_list()
    adjusted: list[float | None] = [None] * len(frame)
    families: dict[tuple[str, str] | None, list[int]] = {None: rows}
    for place, name in enumerate(frame.select("metric", "by").iter_rows()):
        if not is_declared[place]:
            families.setdefault((str(name[0]), str(name[1])), []).append(place)
    for name, members in families.items():
        method = holm if name is None else benjamini_hochberg
        for place, value in zip(members, method([p[member] for member in members]), strict=True):
            adjusted[place] = value
    mask = pl.Series(is_declared, dtype=pl.Boolean)
    return frame.with_columns(
        pl.Series("p_adjusted", adjusted, dtype=pl.Float64),
        pl.when(pl.col("p").is_null())
        .then(pl.lit(None, dtype=pl.String))
        .otherwise(pl.when(mask).then(pl.lit("holm")).otherwise(pl.lit("benjamini-hochberg")))
        .alias("adjustment"),
        pl.when(mask).then(pl.lit("declared")).otherwise(pl.lit("exploratory")).alias("status"),
    )


def _adjusted(p: Sequence[float | None], method: Callable[[np.ndarray], np.ndarray]) -> list[float | None]:
    for value in p:
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"p={value} is not between 0 and 1.")
    known = [place for place, value in enumerate(p) if value is not None]
    values = np.array([p[place] for place in known], dtype=np.float64)
    order = np.argsort(values, kind="stable")
    found = np.empty(len(known))
    found[order] = np.minimum(method(values[order]), 1.0) if len(known) else values
    result: list[float | None] = [None] * len(p)
    for place, value in zip(known, found.tolist(), strict=True):
        result[place] = value
    return result
