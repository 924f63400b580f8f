"""Helpers shared by the rows of all audit tables: key columns, notes on a run, adjusted p-values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from valuestrata.fairness.context import AuditContext
from valuestrata.formatting import LOWER_IS_BETTER, percent
from valuestrata.frames import Schema
from valuestrata.responses.run.identity import Identified
from valuestrata.scores.layout import RunGrid
from valuestrata.stats.arrays import Floats
from valuestrata.stats.multiple_testing import holm

# Shares of missing answers, and of pairs never asked, above which every row has a note.
MANY_MISSING = 0.1
FEW_ASKED = 0.05
# Rates of missing answers.
RATES = ("refusal_rate", "invalid_rate")
Row = dict[str, Any]


def better_sign(metric: str) -> int:
    """Return +1 where a high metric is better, -1 where a low one is."""
    return -1 if metric in LOWER_IS_BETTER else 1


def part_columns(context: AuditContext) -> Row:
    """Return the columns that name the audited part."""
    return {"scheme": context.of.split, "fold": context.of.fold, "part": context.of.part}


def run_note(context: AuditContext, run: RunGrid) -> str | None:
    """Return a note where a run has many missing answers or many pairs never asked; None otherwise."""
    asked = int(run.asked.sum())
    notes: list[str] = []
    if asked:
        refused, invalid = (float(np.nansum(run.metrics[name].gold)) / asked for name in RATES)
        if refused + invalid > MANY_MISSING:
            how = f"{percent(refused)} refused, {percent(invalid)} invalid"
            notes.append(f"{percent(refused + invalid)} of the answers missing ({how}), counted as wrong")
    share = asked / max(int(context.layout.present.sum()), 1)
    if 1 - share > FEW_ASKED:
        notes.append(f"only {percent(share)} of the part's pairs were asked")
    return joined(*notes)


def reading_note(run: Identified) -> str | None:
    """Return a note on a run of stances, whose answers are a judge's readings; None for other runs."""
    judge = run.meta.get("read_by")
    return None if judge is None else f"read from open answers by {judge}; errors of the judge may differ between subgroups"


def joined(*notes: str | None) -> str | None:
    """Join notes, leaving out None; None if there are none."""
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
    """Return rows as a frame of a schema; NaN becomes null."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float | np.floating) and not np.isfinite(value) else value

    return schema.frame([{key: plain(value) for key, value in row.items()} for row in rows])
