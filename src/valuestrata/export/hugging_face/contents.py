"""The files of an export: what they hold, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from valuestrata.files import sha256_of, write_text, written_beside

PARQUET = "application/x-parquet"
JSON_LINES = "application/jsonlines"
_WORDS: Mapping[Any, str] = {pl.String: "text", pl.Boolean: "yes or no", pl.Float64: "number"}


@dataclass(frozen=True)
class ExportedFile:
    """A data file.

    Attributes:
        config, split: its configuration and split; `config` is None for a copy in another format, because a folder for
            `load_dataset` has one format. path: relative to the folder.
        rows: number of rows. size: bytes. sha256: of the file. encoding: media type.
    """

    config: str | None
    split: str
    path: str
    rows: int
    size: int
    sha256: str
    encoding: str


def write_table(folder: Path, config: str, split: str, frame: pl.DataFrame) -> ExportedFile:
    """Write a table as Parquet, with Arrow's ordinary types for texts and lists."""
    path = f"{config}/{split}.parquet"
    table = frame.to_arrow()
    plain = pa.schema([(field.name, _ordinary(field.type)) for field in table.schema])
    with written_beside(folder / path) as temporary:
        pq.write_table(table.cast(plain), temporary, compression="zstd")
    return _written(folder, config, split, path, frame.height, PARQUET)


def write_lines(folder: Path, config: str, split: str, rows: Sequence[Mapping[str, Any]]) -> ExportedFile:
    """Write a copy of a table as JSON Lines, for trainers that read them.

    Letters beyond ASCII are escaped: some readers take a few of them for the end of a line.
    """
    path = f"{config}/{split}.jsonl"
    write_text(folder / path, "".join(json.dumps(row) + "\n" for row in rows))
    return _written(folder, None, split, path, len(rows), JSON_LINES)


def _written(folder: Path, config: str | None, split: str, path: str, rows: int, encoding: str) -> ExportedFile:
    file = folder / path
    return ExportedFile(config, split, path, rows, file.stat().st_size, sha256_of(file), encoding)


def _ordinary(kind: Any) -> Any:
    """Return `string` and `list` for the types with 64-bit offsets that polars uses: other tables then have the same types."""
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_list(kind):
        return pa.list_(_ordinary(kind.value_type))
    return pa.struct([(field.name, _ordinary(field.type)) for field in kind]) if pa.types.is_struct(kind) else kind


def type_name(dtype: Any) -> str:
    """Return a column's type in words: `list of numbers`."""
    if isinstance(dtype, pl.List):
        inner = type_name(dtype.inner).partition(" ")
        return f"list of {inner[0]}s{inner[1]}{inner[2]}"
    if isinstance(dtype, pl.Struct):
        return f"structure of {' and '.join(field.name for field in dtype.fields)}"
    return _WORDS.get(dtype, "integer")
