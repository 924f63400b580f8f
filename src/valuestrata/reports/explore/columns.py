"""A compact form of tables for a page: typed columns and a JSON document, compressed into one block that browsers unpack."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.errors import printable
from valuestrata.stats.arrays import Floats

# Shares, probabilities and scores are whole numbers of 1 / STEPS, which has small divisors: shares of 1,000 redraws are exact.
STEPS = 60_000
# Stands for null in a column of shares; in other columns it is the largest number of the type.
NO_SHARE = 0xFFFF
# Element type -> name of the typed array that holds it in a browser.
_ARRAYS: Mapping[str, str] = {"uint8": "Uint8Array", "uint16": "Uint16Array", "uint32": "Uint32Array", "float32": "Float32Array"}


@dataclass(frozen=True)
class Block:
    """Columns of numbers, and a document for everything else.

    Attributes:
        document: values of JSON. columns: name -> array of one dimension, of an unsigned type or float32.
    """

    document: Mapping[str, Any]
    columns: Mapping[str, NDArray[Any]]


def pack(block: Block) -> bytes:
    """Return a block as compressed bytes: the length of a header, the header as JSON, and the columns one after the other.

    All numbers are little-endian, as typed arrays of browsers are on every machine that runs one.
    """
    columns = {name: (_ARRAYS[values.dtype.name], values.size) for name, values in block.columns.items()}
    header = json.dumps({"document": _printable(block.document), "columns": columns}, ensure_ascii=False, separators=(",", ":"))
    encoded = header.encode()
    body = [values.astype(values.dtype.newbyteorder("<")).tobytes() for values in block.columns.values()]
    return gzip.compress(b"".join([struct.pack("<I", len(encoded)), encoded, *body]), compresslevel=6, mtime=0)


def unpack(data: bytes) -> Block:
    """Return the block that `pack` made, as a browser reads it."""
    raw = gzip.decompress(data)
    start = 4 + struct.unpack("<I", raw[:4])[0]
    header = json.loads(raw[4:start])
    types = {array: np.dtype(name) for name, array in _ARRAYS.items()}
    columns: dict[str, NDArray[Any]] = {}
    for name, (array, size) in header["columns"].items():
        values = np.frombuffer(raw, dtype=types[array].newbyteorder("<"), count=size, offset=start)
        start += values.nbytes
        columns[name] = values.astype(types[array])
    return Block(header["document"], columns)


def shares(values: Iterable[float | None] | Floats) -> NDArray[np.uint16]:
    """Return numbers in 0..1 as whole numbers of 1 / STEPS; null and NaN as NO_SHARE."""
    given = np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64)
    known = ~np.isnan(given)
    return np.where(known, np.round(np.where(known, given, 0.0) * STEPS), NO_SHARE).astype(np.uint16)


def whole(values: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers from 0 in the smallest type that holds them and a null.

    Args:
        values: numbers; NaN or a negative number for null, which becomes the largest number of the type.
    """
    given = np.asarray(values, dtype=np.float64)
    known = given >= 0
    most = float(given.max(initial=0.0, where=known))
    dtype = next(kind for kind in (np.uint8, np.uint16, np.uint32) if most < np.iinfo(kind).max)
    return np.where(known, given, np.iinfo(dtype).max).astype(dtype)


def _printable(value: Any) -> Any:
    """Return a value of JSON whose texts hold no character that a page may not contain."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {str(key): _printable(inner) for key, inner in value.items()}
    return [_printable(inner) for inner in value] if isinstance(value, list | tuple) else value
