"""Reads R data files with the library rdata and custom constructors.

The constructors of the library lose value labels and can fill missing values of factors; these keep both.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from valuestrata.errors import InputDataError, one_line
from valuestrata.survey.formats.archives import decompressed

_MOST_COMPACT = 10**8


@dataclass(frozen=True)
class RColumn:
    """The values of a column, and the value labels and missing values (lowest, highest) attached by the R package haven."""

    series: pl.Series
    value_labels: Mapping[float | str, str] = field(default_factory=dict[float | str, str])
    missing: Sequence[tuple[float | str, float | str]] = ()


@dataclass(frozen=True)
class _RDataFrame:
    columns: Mapping[str, Any]


def read_r(path: Path) -> dict[str, RColumn]:
    """Return the columns of the only data frame in a file.

    Raises:
        InputDataError: not an R data file, truncated, or not exactly one data frame.
    """
    import rdata
    from rdata.conversion import DEFAULT_CLASS_MAP
    from rdata.parser import DEFAULT_ALTREP_MAP

    constructors = {
        **DEFAULT_CLASS_MAP,
        **dict.fromkeys(("data.frame", "tbl_df", "tbl", "data.table", "grouped_df"), _data_frame),
        **dict.fromkeys(("factor", "ordered"), _factor),
        **dict.fromkeys(("haven_labelled", "haven_labelled_spss", "labelled", "labelled_spss"), _labelled),
        **dict.fromkeys(("Date", "POSIXct", "difftime", "hms", "AsIs"), _without_class),
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compact = _CompactVectors()
            parsed = rdata.parser.parse_data(
                decompressed(path),
                extension=path.suffix.lower(),
                altrep_constructor_dict={
                    name: compact.bounded(make) if name.startswith(b"compact") else make for name, make in DEFAULT_ALTREP_MAP.items()
                },
            )
            content = rdata.conversion.convert(parsed, constructors)
    except InputDataError:
        raise
    # The parser has no exception class of its own, and raises many kinds for damaged files.
    except Exception as error:
        detail = one_line((str(error).splitlines() or [type(error).__name__])[0])
        raise InputDataError(f"not a readable R data file, or one cut short ({detail}).") from error
    if isinstance(content, _RDataFrame):
        return {name: _column(name, values) for name, values in content.columns.items()}
    frames: dict[str, _RDataFrame] = {}
    if isinstance(content, Mapping):
        frames = {str(name): value for name, value in content.items() if isinstance(value, _RDataFrame)}
    if len(frames) != 1:
        found = "no data frame" if not frames else f"{len(frames)} data frames ({', '.join(frames)})"
        raise InputDataError(f"the R file holds {found}; it must hold exactly one. Save the data frame with saveRDS().")
    return {name: _column(name, values) for name, values in next(iter(frames.values())).columns.items()}


class _CompactVectors:
    """Expands compact vectors up to a total length: R stores 1:1000000000 in a few bytes."""

    def __init__(self) -> None:
        self._length = 0

    def bounded(self, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return the constructor `make` of the library, which counts what it makes."""

        def counted(state: Any) -> Any:
            self._length += int(state.value[0])
            if self._length > _MOST_COMPACT:
                raise InputDataError(f"its compact vectors hold more than {_MOST_COMPACT:,} numbers. Get a sound copy.")
            return make(state)

        return counted


def _data_frame(value: Any, attributes: Mapping[str, Any]) -> Any:
    del attributes
    return _RDataFrame(value) if isinstance(value, Mapping) else _RDataFrame({f"V{i + 1}": column for i, column in enumerate(value)})


def _without_class(value: Any, attributes: Mapping[str, Any]) -> Any:
    del attributes
    return value


def _factor(value: Any, attributes: Mapping[str, Any]) -> RColumn:
    levels = [str(level) for level in attributes["levels"]]
    codes = np.ma.filled(value, 0).astype(np.int64) - 1
    known = (codes >= 0) & (codes < len(levels))
    texts = np.array([*levels, ""], dtype=object)[np.where(known, codes, len(levels))]
    texts[~known] = None
    return RColumn(pl.Series(texts.tolist(), dtype=pl.String))


def _labelled(value: Any, attributes: Mapping[str, Any]) -> RColumn:
    labels = attributes.get("labels")
    pairs: dict[float | str, str] = {}
    if labels is not None and hasattr(labels, "coords"):  # a named vector is a DataArray with the names as coordinate
        names = labels.coords[labels.dims[0]].values
        pairs = {_scalar(code): str(name) for code, name in zip(labels.values, names, strict=True)}
    missing = [(_scalar(code), _scalar(code)) for code in np.atleast_1d(attributes.get("na_values", ())).tolist()]
    if len(spread := np.atleast_1d(attributes.get("na_range", ()))) == 2:
        missing.append((_scalar(spread[0]), _scalar(spread[1])))
    return RColumn(_series(value), pairs, missing)


def _scalar(value: Any) -> float | str:
    return value if isinstance(value, str) else float(value)


def _column(name: str, values: Any) -> RColumn:
    column = values if isinstance(values, RColumn) else RColumn(_series(values))
    return RColumn(column.series.alias(name), column.value_labels, column.missing)


def _series(values: Any) -> pl.Series:
    if hasattr(values, "coords"):
        values = values.values
    if isinstance(values, np.ma.MaskedArray):  # integers and logicals, with NA masked
        numbers = np.ma.filled(values.astype(np.float64), np.nan)
        return pl.Series(numbers).fill_nan(None)
    array = np.asarray(values)
    if array.dtype.kind in "iufb":
        return pl.Series(array.astype(np.float64)).fill_nan(None)
    return pl.Series([None if value is None or value is np.ma.masked else str(value) for value in array.tolist()], dtype=pl.String)
