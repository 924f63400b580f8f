"""Under which keys a pair counts: everyone, its stratum, attributes, levels, subgroup and topic, named as in the table of scores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset

BY = ("all", "stratum", "attribute", "level", "subgroup", "topic")


def keys_of_rows(dataset: Dataset, rows: pl.DataFrame, by: tuple[str, ...] = BY) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield (by, key, mask over `rows`) for every key that has a row, in the order of `scores`.

    Args:
        dataset: says what subgroups and items are. rows: a frame with `item` and `subgroup`. by: groupings wanted.
    """
    described = rows.select("item", "subgroup").join(dataset.subgroups, on="subgroup", how="left", maintain_order="left")
    described = described.join(dataset.items.select("item", "topic"), on="item", how="left", maintain_order="left")
    if "all" in by:
        yield "all", "all", np.ones(rows.height, dtype=np.bool_)
    columns = {"stratum": described["stratum"], "subgroup": described["subgroup"], "topic": described["topic"]}
    if "stratum" in by:
        yield from _by_value("stratum", columns["stratum"])
    for name in dataset.attributes if "attribute" in by else ():
        used = described[name].is_not_null().to_numpy()
        if used.any():
            yield "attribute", name, used
    for name in dataset.attributes if "level" in by else ():
        yield from _by_value("level", described[name], f"{name}=")
    for grouping in ("subgroup", "topic"):
        if grouping in by:
            yield from _by_value(grouping, columns[grouping])


def _by_value(by: str, values: pl.Series, prefix: str = "") -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    for value in values.drop_nulls().unique(maintain_order=True):
        yield by, f"{prefix}{value}", (values == value).fill_null(value=False).to_numpy()
