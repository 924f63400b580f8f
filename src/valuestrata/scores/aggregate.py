"""Scores of runs on a part of a split: every metric for every key, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.layout import BY, Layout, RunGrid, Values, count_pairs, lay_out, place
from valuestrata.scores.resampling import Resampler
from valuestrata.scores.schema import METRICS, SCORES
from valuestrata.scores.spread import Spread
from valuestrata.stats.intervals import Interval, interval

# The other metrics are in 0..1.
RANGES: Mapping[str, tuple[float, float]] = {
    "bias": (-1.0, 1.0),
    "spread_ratio": (0.0, np.inf),
    "spread_ratio_corrected": (0.0, np.inf),
}


class RunLike(Protocol):
    """A named table of responses."""

    @property
    def name(self) -> str:
        """Name of the run."""
        ...

    @property
    def responses(self) -> pl.DataFrame:
        """RESPONSES schema."""
        ...


def score(
    dataset: Dataset,
    runs: Sequence[RunLike],
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    by: Sequence[str] = BY,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Score runs on the pairs of a part.

    A metric is the mean over its pairs (see `pairs`); the spread ratios are ratios of sums (see `spread`). Pairs that were not asked
    are not scored; `coverage` is the share that was. A key without a scored pair has null values.

    Args:
        dataset: the ground truth.
        runs: what to score, in the order of the rows. All runs share the resamples.
        split, part, fold: which pairs. `part` may be `all`; without `fold` all folds are pooled, each pair once.
        by: groupings, any of `layout.BY`.
        bootstrap: number of replicates, 0 for no intervals. seed: of the resamples. confidence: of the intervals.

    Returns:
        SCORES schema. Intervals: see `resampling`.

    Raises:
        UsageError: an unknown grouping, two runs with the same name, or a confidence outside 0..1.
        InputDataError: no such pairs in the data set, or responses that do not fit it.
    """
    check_call(runs, bootstrap, confidence)
    layout = lay_out(dataset, split, part, fold, by)
    resampler = Resampler(layout, bootstrap, seed)
    spread = Spread(resampler)
    seen: dict[bytes, Interval] = {}
    frames: list[pl.DataFrame] = []
    for run in runs:
        grid = place(layout, run.name, RESPONSES.check(run.responses, run.name))
        columns = {metric: _interval(resampler, metric, values, confidence, seen) for metric, values in grid.metrics.items()}
        for metric, found in spread.replicates(grid.position).items():
            columns[metric] = interval(found, confidence, *RANGES[metric])
        frames.append(_rows_of(layout, grid, columns, scheme=split, part=part, fold=fold))
    return pl.concat(frames) if frames else SCORES.empty()


def _interval(resampler: Resampler, metric: str, values: Values, confidence: float, seen: dict[bytes, Interval]) -> Interval:
    """Return the interval of a metric; `seen` caches intervals of equal values, such as ceilings and rates of 0."""
    low, high = RANGES.get(metric, (0.0, 1.0))
    if values.by_share is not None:
        return interval(resampler.replicates(values), confidence, low, high)
    of_modes = b"" if values.by_mode is None else values.by_mode.tobytes()
    key = blake2b(values.gold.tobytes() + of_modes + bytes([values.exact, low < 0]), digest_size=16).digest()
    if key not in seen:
        seen[key] = interval(resampler.replicates(values), confidence, low, high)
    return seen[key]


def _rows_of(layout: Layout, grid: RunGrid, columns: Mapping[str, Interval], *, scheme: str, part: str, fold: int | None) -> pl.DataFrame:
    """Return SCORES rows, ordered by the layout's keys, then by `METRICS`."""
    frame = key_rows(layout, {m: columns[m] for m in METRICS if m in columns}, {"value": "estimate", "ci_low": "low", "ci_high": "high"})
    coverage = count_pairs(layout.keys, grid.asked) / np.maximum(layout.expected, 1)
    frame = frame.with_columns(
        pl.Series("coverage", np.repeat(coverage, len(frame) // len(coverage))),
        pl.lit(grid.name).alias("run"),
        pl.lit(scheme).alias("scheme"),
        pl.lit(fold, dtype=pl.Int32).alias("fold"),
        pl.lit(part).alias("part"),
        pl.lit(grid.elicitation).alias("elicitation"),
        pl.lit(grid.template).alias("template"),
        pl.lit(None, dtype=pl.String).alias("against"),
    )
    return SCORES.check(frame, "scores").select(list(SCORES.columns))


def key_rows(layout: Layout, columns: Mapping[str, Interval], names: Mapping[str, str]) -> pl.DataFrame:
    """Return a row for each key and metric: by, key, metric, pairs, and the columns of `names` (name -> field of Interval)."""
    keys, count = layout.keys.names, len(columns)

    def long(field: str) -> np.ndarray:
        return np.stack([getattr(found, field) for found in columns.values()], axis=1).ravel()

    return pl.DataFrame(
        {
            "by": np.repeat(np.array([by for by, _ in keys], dtype=object), count),
            "key": np.repeat(np.array([key for _, key in keys], dtype=object), count),
            "metric": list(columns) * len(keys),
            "pairs": long("pairs").round().astype(np.int64),
            **{name: pl.Series(long(field), nan_to_null=True) for name, field in names.items()},
        },
        schema_overrides={"by": pl.String, "key": pl.String, "metric": pl.String},
    )


def check_call(runs: Sequence[RunLike], bootstrap: int, confidence: float) -> None:
    """Check the arguments that all tables share; UsageError if one is invalid."""
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Two runs are named {name!r}. Run names must be unique; rename one of them.")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence={confidence} is not between 0 and 1.")
    if bootstrap < 0:
        raise UsageError(f"bootstrap={bootstrap} is negative. Give the number of replicates, or 0 for no intervals.")
