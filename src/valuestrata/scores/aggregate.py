"""Scores of runs on a part of a split: the mean over pairs of every metric, for every key, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import polars as pl

from valuestrata.dataset import Dataset
from valuestrata.errors import UsageError
from valuestrata.responses.schema import RESPONSES
from valuestrata.scores.bootstrap import Replicates, Resamples, fixed_means, interval, redrawn_means, resample
from valuestrata.scores.layout import BY, Layout, RunGrid, count_pairs, lay_out, place
from valuestrata.scores.schema import METRICS, SCORES
from valuestrata.scores.spread import Spread

# Every other metric lies in 0..1.
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

    A metric is the mean over its pairs, each the mean over its responses (`pairs`); the spread ratios are ratios of sums
    (`spread`). A pair never asked is not scored, and `coverage` says what share of the key's pairs was. `pairs` counts
    the pairs that a metric could be computed for. A key of which no pair was asked is there with null values.

    Args:
        dataset: the ground truth.
        runs: what to score; each is a row group, in this order. All share the resamples.
        split, part, fold: which pairs; `part` may be `all`; no fold pools all folds, each pair once.
        by: groupings, any of `layout.BY`.
        bootstrap: replicates; 0 for no intervals.
        seed: of the resampled items.
        confidence: of the intervals.

    Returns:
        SCORES schema. Intervals: see `bootstrap`.

    Raises:
        UsageError: an unknown grouping, two runs of one name, or a confidence outside 0..1.
        InputDataError: no such pairs in the data set, or responses that contradict it.
    """
    check_call(runs, bootstrap, confidence)
    layout = lay_out(dataset, split, part, fold, by)
    resamples = resample(layout, bootstrap, seed)
    spread = Spread(resamples)
    frames: list[pl.DataFrame] = []
    for run in runs:
        grid = place(layout, run.name, RESPONSES.check(run.responses, run.name))
        columns = {
            metric: (*interval(found, confidence, *RANGES.get(metric, (0.0, 1.0))), found.pairs)
            for metric, found in replicate(resamples, grid, spread).items()
        }
        frames.append(rows_of(layout, grid, columns, scheme=split, part=part, fold=fold, against=None))
    return pl.concat(frames) if frames else SCORES.empty()


def replicate(resamples: Resamples, grid: RunGrid, spread: Spread) -> dict[str, Replicates]:
    """Return every metric of a run, resampled."""
    fixed = {metric: fixed_means(resamples, values) for metric, values in grid.fixed.items()}
    return {**fixed, **redrawn_means(resamples, grid.by_mode), **spread.replicates(grid.position)}


def rows_of(
    layout: Layout,
    grid: RunGrid,
    columns: Mapping[str, tuple[np.ndarray, ...]],
    *,
    scheme: str,
    part: str,
    fold: int | None,
    against: str | None,
) -> pl.DataFrame:
    """Return SCORES rows, keys in the layout's order and metrics in that of `METRICS` within a key.

    Args:
        layout, grid: the pairs and the run.
        columns: metric -> estimate, lower end, upper end, pairs; each of shape (N,), NaN for null.
        scheme, part, fold, against: as they stand in the table.
    """
    metrics = [metric for metric in METRICS if metric in columns]
    names = layout.keys.names
    asked = count_pairs(layout.keys, grid.asked)
    coverage = asked / np.maximum(layout.expected, 1)
    numbers = [np.stack([columns[metric][i] for metric in metrics], axis=1).ravel() for i in range(4)]
    value, low, high = (pl.Series(part_, nan_to_null=True) for part_ in numbers[:3])
    frame = pl.DataFrame(
        {
            "by": np.repeat(np.array([by for by, _ in names], dtype=object), len(metrics)),
            "key": np.repeat(np.array([key for _, key in names], dtype=object), len(metrics)),
            "metric": metrics * len(names),
            "value": value,
            "ci_low": low,
            "ci_high": high,
            "pairs": numbers[3].round().astype(np.int64),
            "coverage": np.repeat(coverage, len(metrics)),
        },
        schema_overrides={"by": pl.String, "key": pl.String, "metric": pl.String},
    ).with_columns(
        pl.lit(grid.name).alias("run"),
        pl.lit(scheme).alias("scheme"),
        pl.lit(fold, dtype=pl.Int32).alias("fold"),
        pl.lit(part).alias("part"),
        pl.lit(grid.elicitation).alias("elicitation"),
        pl.lit(grid.template).alias("template"),
        pl.lit(against, dtype=pl.String).alias("against"),
    )
    return SCORES.check(frame, "scores").select(list(SCORES.columns))


def check_call(runs: Sequence[RunLike], bootstrap: int, confidence: float) -> None:
    """Refuse a call that cannot be meant, with what to do instead."""
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Two runs are named {name!r}; scores are told apart by the run's name. Rename one of them.")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence={confidence} is not between 0 and 1.")
    if bootstrap < 0:
        raise UsageError(f"bootstrap={bootstrap} is negative; give the number of replicates, or 0 for no intervals.")
