"""Schemas of the frames that packages exchange and store: each column with its type and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from valuestrata.errors import InputDataError


class Column(NamedTuple):
    """Type and meaning of a column."""

    dtype: pl.DataType | type[pl.DataType]
    meaning: str


@dataclass(frozen=True)
class Schema:
    """A named set of columns. Call `check` once on input; code behind it can rely on types."""

    name: str
    columns: Mapping[str, Column]

    def check(self, frame: pl.DataFrame, where: str) -> pl.DataFrame:
        """Return the schema's columns of `frame`, in its order, cast to its types; other columns follow.

        Raises:
            InputDataError: a column is missing or cannot be cast; names the file, the column and both types.
        """
        for name, column in self.columns.items():
            if name not in frame.columns:
                raise InputDataError(f"{where}: the column {name!r} ({column.meaning}) is missing from {self.name}; found {frame.columns}.")
        try:
            known = frame.select(pl.col(name).cast(column.dtype) for name, column in self.columns.items())
        except pl.exceptions.PolarsError as error:
            raise InputDataError(f"{where}: {self.name} holds a column of the wrong type: {str(error).splitlines()[0]}") from error
        return known.hstack([frame[name] for name in frame.columns if name not in self.columns])

    def frame(self, rows: list[dict[str, Any]]) -> pl.DataFrame:
        """Return `rows` as a frame of this schema; missing keys become null."""
        return pl.DataFrame(rows, schema={name: column.dtype for name, column in self.columns.items()}, orient="row")

    def empty(self) -> pl.DataFrame:
        """Return a frame of this schema without rows."""
        return self.frame([])
