"""The parameters of a calibration as tables: of the only fold, or their mean and range over folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

# Long lists of `settings`, which have tables of their own or are in run.json only.
_LONG = ("scales", "levels")


def scale_table(settings: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return scale, training items, slope and offsets by scale; empty for a method without them.

    Args:
        settings: of each fold. Folds with a fallback are counted in a column of their own, if there are any.
    """
    rows: list[dict[str, object]] = []
    keys = dict.fromkeys((scale["options"], scale["level"]) for one in settings for scale in one.get("scales", ()))
    for options, level in keys:
        own = [scale for one in settings for scale in one.get("scales", ()) if (scale["options"], scale["level"]) == (options, level)]
        offsets = [f"{sum(scale['offsets'][k] for scale in own) / len(own):.2f}" for k in range(options)]
        rows.append(
            {
                "options": options,
                "level": level,
                "training items": _mean_and_range([scale["items"] for scale in own], 0),
                "slope": _mean_and_range([scale["slope"] for scale in own], 3),
                "offsets (mean)" if len(settings) > 1 else "offsets": ", ".join(offsets),
                "folds with a fallback": sum("fallback" in scale for scale in own),
            }
        )
    table = pl.DataFrame(rows)
    return table.drop("folds with a fallback") if rows and not table["folds with a fallback"].sum() else table


def parameter_table(settings: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the other numbers that a method fitted: parameter, mean, lowest, highest over the folds."""
    found: dict[str, list[float]] = {}
    for one in settings:
        for name, value in _numbers(one):
            found.setdefault(name, []).append(value)
    rows = [(name, sum(values) / len(values), min(values), max(values)) for name, values in found.items()]
    return pl.DataFrame(
        rows, schema={"parameter": pl.String, "mean": pl.Float64, "lowest": pl.Float64, "highest": pl.Float64}, orient="row"
    )


def _numbers(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in document.items():
        if key in _LONG:
            continue
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key} ")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}".replace("_", " "), float(value)


def _mean_and_range(values: Sequence[float], digits: int) -> str:
    mean = f"{sum(values) / len(values):.{digits}f}"
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return mean if low == high else f"{mean} ({low} to {high})"
