"""Schemas of the frames that packages exchange and store: each column with its type and meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.errors import InputDataError, printable

# Spreadsheets read cells that start like this as formulas (OWASP, CSV injection); the wide forms come from some keyboards.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


class Column(NamedTuple):
    """Type and meaning of a column. Files of older versions may lack an `optional` column; it is then null."""

    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    optional: bool = False


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
            if name not in frame.columns and not column.optional:
                raise InputDataError(f"{where}: the column {name!r} ({column.meaning}) is missing from {self.name}; found {frame.columns}.")
        try:
            known = frame.select(
                (pl.col(name).cast(column.dtype) if name in frame.columns else pl.lit(None, column.dtype)).alias(name)
                for name, column in self.columns.items()
            )
        except pl.exceptions.PolarsError as error:
            raise InputDataError(f"{where}: {self.name} holds a column of the wrong type: {str(error).splitlines()[0]}") from error
        return known.hstack([frame[name] for name in frame.columns if name not in self.columns])

    def frame(self, rows: list[dict[str, Any]]) -> pl.DataFrame:
        """Return `rows` as a frame of this schema; missing keys become null."""
        return pl.DataFrame(rows, schema={name: column.dtype for name, column in self.columns.items()}, orient="row")

    def empty(self) -> pl.DataFrame:
        """Return a frame of this schema without rows."""
        return self.frame([])


def escaped(text: str) -> str:
    """Return text that no spreadsheet reads as a formula: text that looks like one gets another `'` in front."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescaped(text: str) -> str:
    """Undo `escaped`."""
    return text[1:] if _ESCAPED.match(text) else text


def csv_text(frame: pl.DataFrame) -> str:
    """Return a frame as CSV that is safe to open in a spreadsheet: text and column names are `escaped`, numbers are not."""
    texts = frame.select(pl.col(pl.String, pl.Categorical, pl.Enum)).columns
    cells = [pl.col(name).cast(pl.String).map_elements(_cell, return_dtype=pl.String, skip_nulls=True) for name in texts]
    return frame.with_columns(cells).rename({name: _cell(name) for name in frame.columns}).write_csv()


def _cell(text: str) -> str:
    return text if _NUMBER.fullmatch(text) else escaped(printable(text))


def list_column(values: NDArray[Any], dtype: pl.DataType | None = None) -> pl.Series:
    """Return the rows of an array (n, K) as a column of n lists, of floats unless `dtype` says otherwise."""
    return pl.Series(np.ascontiguousarray(values), dtype=pl.Array(dtype or pl.Float64(), values.shape[-1])).arr.to_list()
