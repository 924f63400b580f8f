"""Groupings of rows: all, stratum, attribute, level, subgroup and topic, named as in the table of scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean

BY = ("all", "stratum", "attribute", "level", "subgroup", "topic")


def check_groupings(by: Sequence[str]) -> None:
    """Raise UsageError if `by` names an unknown grouping."""
    for name in by:
        if name not in BY:
            raise UsageError(f"by={name!r} is not a known grouping.{did_you_mean(name, BY)}")


def groups_of(dataset: Dataset, rows: pl.DataFrame, by: Sequence[str] = BY) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield (by, key, mask over `rows`) for every key with at least one row, in the order of `scores`.

    Args:
        dataset: describes subgroups and items. rows: a frame with `item` and `subgroup`. by: groupings.
    """
    described = rows.select("item", "subgroup").join(dataset.subgroups, on="subgroup", how="left", maintain_order="left")
    described = described.join(dataset.items.select("item", "topic"), on="item", how="left", maintain_order="left")
    if "all" in by:
        yield "all", "all", np.ones(rows.height, dtype=np.bool_)
    if "stratum" in by:
        yield from _by_value("stratum", described["stratum"])
    for name in dataset.attributes if "attribute" in by else ():
        used = described[name].is_not_null().to_numpy()
        if used.any():
            yield "attribute", name, used
    for name in dataset.attributes if "level" in by else ():
        yield from _by_value("level", described[name], f"{name}=")
    for grouping in ("subgroup", "topic"):
        if grouping in by:
            yield from _by_value(grouping, described[grouping])


def _by_value(by: str, values: pl.Series, prefix: str = "") -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    for value in values.drop_nulls().unique(maintain_order=True):
        yield by, f"{prefix}{value}", (values == value).fill_null(value=False).to_numpy()
