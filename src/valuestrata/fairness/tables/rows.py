"""What rows of all tables have in common: their place, notes on the run, p-values within a family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from valuestrata.fairness.context import Setting
from valuestrata.formatting import LOWER_IS_BETTER, percent
from valuestrata.frames import Schema
from valuestrata.scores.layout import RunGrid
from valuestrata.stats.arrays import Floats
from valuestrata.stats.multiple_testing import holm

# Shares of answers missing, and of pairs never asked, above which every row says so.
MANY_MISSING = 0.1
FEW_ASKED = 0.05
# Metrics that say how often an answer is missing.
RATES = ("refusal_rate", "invalid_rate")
Row = dict[str, Any]


def better_sign(metric: str) -> int:
    """Return +1 for a metric that is better high, -1 for one that is better low."""
    return -1 if metric in LOWER_IS_BETTER else 1


def place(setting: Setting) -> Row:
    """Return the columns that say which part a row is about."""
    return {"scheme": setting.split, "fold": setting.fold, "part": setting.part}


def about_run(setting: Setting, run: RunGrid) -> str | None:
    """Say what a reader of any figure of the run must know: many answers missing, many pairs never asked; None if neither."""
    refused, invalid = (run.metrics[name].gold for name in ("refusal_rate", "invalid_rate"))
    asked = int(run.asked.sum())
    words: list[str] = []
    if asked:
        rates = [float(np.nansum(values)) / asked for values in (refused, invalid)]
        if sum(rates) > MANY_MISSING:
            how = f"{percent(rates[0])} refused, {percent(rates[1])} invalid"
            words.append(f"{percent(sum(rates))} of the answers missing ({how}), counted as wrong")
    share = asked / max(int(setting.layout.present.sum()), 1)
    if 1 - share > FEW_ASKED:
        words.append(f"only {percent(share)} of the part's pairs were asked")
    return "; ".join(words) or None


def joined(*notes: str | None) -> str | None:
    """Join the notes that are there."""
    return "; ".join(note for note in notes if note) or None


def adjusted_holm(p: Floats) -> Floats:
    """Adjust p-values by Holm; NaN for null."""
    return with_nan(holm(nulls(p)))


def nulls(p: Floats) -> list[float | None]:
    """Return p-values with None for NaN."""
    return [None if np.isnan(one) else float(one) for one in p]


def with_nan(p: Sequence[float | None]) -> Floats:
    """Return p-values with NaN for None."""
    return np.array([np.nan if one is None else one for one in p], dtype=np.float64)


def table(schema: Schema, rows: Sequence[Row]) -> pl.DataFrame:
    """Return rows as a frame of a schema, NaN as null."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float | np.floating) and not np.isfinite(value) else value

    return schema.frame([{key: plain(value) for key, value in row.items()} for row in rows])
