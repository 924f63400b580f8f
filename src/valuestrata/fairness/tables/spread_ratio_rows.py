"""Rows of ERRS: spread ratios of answers over labels, by attribute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from valuestrata.fairness.context import AuditContext
from valuestrata.fairness.tables.rows import part_columns, table
from valuestrata.fairness.tables.schema import ERRS
from valuestrata.scores.aggregate import RANGES
from valuestrata.scores.layout import RunGrid
from valuestrata.scores.schema import SCORES
from valuestrata.scores.spread import Spread, spread_by_attribute
from valuestrata.stats.intervals import interval


def err_rows(context: AuditContext, runs: Sequence[RunGrid]) -> pl.DataFrame:
    """Return ERRS: the spread ratios of every attribute, with the same intervals as in the table of scores."""
    spread = Spread(context.resampler)
    rows: list[dict[str, Any]] = []
    for run in runs:
        for metric, found in spread.replicates(run.position).items():
            ends = interval(found, context.confidence, *RANGES[metric])
            for k, (by, key) in enumerate(context.layout.keys.names):
                value = {"value": ends.estimate[k], "ci_low": ends.low[k], "ci_high": ends.high[k], "pairs": int(ends.pairs[k])}
                rows.append({"run": run.name, **part_columns(context), "by": by, "key": key, "metric": metric, **value})
    return ERRS.check(spread_by_attribute(table(SCORES, rows)), "errs")
