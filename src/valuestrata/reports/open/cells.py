"""Table cells of the report on open answers: shares, intervals and keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.formatting import NONE, number, points
from valuestrata.reports.core.cells import Td
from valuestrata.reports.core.names import attribute_titles, subgroup_titles

# Cells of unusable judges are grey and in brackets, which does not rely on colour.
GREYED = "quiet"


def share(row: Mapping[str, Any] | None, *, greyed: bool = False, shift: float = 0.0) -> Td:
    """Return a share in percent, its interval in small: `31.2`, `28.0–34.4`; `shift` is added to all three."""
    css = f"num {GREYED}" if greyed else "num"
    if row is None or row["value"] is None:
        return Td(NONE, css=css)
    text = points(row["value"] + shift)
    return Td(f"({text})" if greyed else text, ends(row, shift), css)


def texts(*names: str) -> tuple[Td, ...]:
    """Return cells of text."""
    return tuple(Td(name, css="text") for name in names)


def plain(row: Mapping[str, Any] | None, digits: int = 3) -> Td:
    """Return a number with its interval."""
    if row is None or row["value"] is None:
        return Td(NONE)
    known = row["ci_low"] is not None and row["ci_high"] is not None
    return Td(number(row["value"], digits), f"{number(row['ci_low'], digits)} to {number(row['ci_high'], digits)}" if known else "")


def ends(row: Mapping[str, Any], shift: float = 0.0) -> str:
    """Write an interval of a share in percent, empty if unknown."""
    if row["ci_low"] is None or row["ci_high"] is None:
        return ""
    low, high = points(row["ci_low"] + shift), points(row["ci_high"] + shift)
    return f"{low} to {high}" if row["ci_low"] + shift < 0 else f"{low}–{high}"


def first(frame: pl.DataFrame, **where: str) -> Mapping[str, Any] | None:
    """Return the first row with these values, or None."""
    rows = frame.filter(*(pl.col(name) == value for name, value in where.items()))
    return None if rows.is_empty() else rows.row(0, named=True)


def key_title(dataset: Dataset, by: str, key: str) -> str:
    """Name a key: `Sex: Female`, `Female, 16-24 years`, or a topic."""
    if by == "level":
        name, _, level = key.partition("=")
        return f"{attribute_titles(dataset).get(name, name)}: {level}"
    return subgroup_titles(dataset).get(key, key) if by == "subgroup" else key


def level_parts(dataset: Dataset, key: str) -> tuple[str, str]:
    """Return (attribute's title, level) of a key of levels."""
    name, _, level = key.partition("=")
    return attribute_titles(dataset).get(name, name), level
