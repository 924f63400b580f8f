"""Scores of runs on a part of a split: every metric for every key, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError
from valuestrata.progress import Advance, no_progress
from valuestrata.responses.reference_baselines import check_training
from valuestrata.responses.run.halves import scored_responses
from valuestrata.responses.run.identity import Identified
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.calibration.error import CALIBRATION, Calibration, calibration_of, calibration_rows
from valuestrata.scores.layout import BY, Layout, RunGrid, Values, count_pairs, lay_out, place
from valuestrata.scores.resampling import Resampler
from valuestrata.scores.schema import METRICS, OF_ALL_PAIRS, SCORES
from valuestrata.scores.spread import Spread
from valuestrata.scores.train_test_overlap import training_notes, training_overlap
from valuestrata.stats.arrays import Bools
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


# Cells of the grids of placed runs kept in memory, of about 2 kB each.
KEPT_CELLS = 250_000


class PlacedRuns:
    """Runs placed in one layout and resampled together. `score`, `compare` and `relative` of the same runs share it."""

    def __init__(
        self,
        dataset: Dataset,
        runs: Sequence[RunLike],
        *,
        split: str,
        part: str,
        fold: int | None,
        by: Sequence[str],
        bootstrap: int,
        seed: int,
    ) -> None:
        """Lay out the pairs; arguments and errors as for `score`. Runs are placed when they are needed."""
        check_call(runs, bootstrap)
        self.dataset, self.split, self.part, self.fold = dataset, split, part, fold
        self.runs = tuple(runs)
        self.layout = lay_out(dataset, split, part, fold, by)
        self.resampler = Resampler(self.layout, bootstrap, seed)
        self.spread = Spread(self.resampler)
        self._by_name = {run.name: run for run in runs}
        self._grids: dict[str, RunGrid] = {}
        self._calibrations: dict[tuple[str, float], dict[str, Calibration]] = {}

    @cached_property
    def notes(self) -> Mapping[str, str]:
        """Name of a run -> why its scores are not a test, for runs where they are not."""
        return training_notes(training_overlap(self.dataset, self.runs, split=self.split, part=self.part, fold=self.fold))

    def grid(self, name: str) -> RunGrid:
        """Return a run's place in the layout. Those used last are kept."""
        found = self._grids.pop(name, None)
        if found is None:
            found = place(self.layout, name, RESPONSES.check(scored_responses(self._by_name[name], self.split, self.fold), name))
        self._grids[name] = found
        if len(self._grids) > max(2, KEPT_CELLS // self.layout.present.size):
            del self._grids[next(iter(self._grids))]
        return found

    def calibration(self, name: str, confidence: float) -> dict[str, Calibration]:
        """Return the calibration of a run's option probabilities over all pairs; empty for a run without any."""
        if (name, confidence) not in self._calibrations:
            self._calibrations[name, confidence] = calibration_of(self.resampler, self.grid(name), confidence)
        return self._calibrations[name, confidence]

    def without_items(self) -> PlacedRuns:
        """Return the same runs and resamples for the keys without single items."""
        found = copy(self)
        found.resampler = self.resampler.without_items()
        found.layout = found.resampler.layout
        found.spread = Spread(found.resampler)
        return found


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

    A metric is the mean over its pairs (see `pairs`); the spread ratios are ratios of sums (see `spread`), and the calibration errors
    are of all pairs together (see `calibration.error`). Pairs that were not asked
    are not scored; `coverage` is the share that was. A key without a scored pair has null values.

    Args:
        dataset: the ground truth.
        runs: what to score, in the order of the rows. All runs share the resamples.
        split: split scheme, such as `paper` or `unseen-item`.
        part: `train`, `validation`, `test` or `all`.
        fold: only this fold of the split; None for all folds, each pair once.
        by: groupings, any of `layout.BY`.
        bootstrap: number of replicates, 0 for no intervals.
        seed: seed of the resamples.
        confidence: of the intervals.

    Returns:
        SCORES schema. Intervals: see `resampling`.

    Raises:
        UsageError: an unknown grouping, two runs with the same name, a baseline that was fitted to another split, or a confidence
            outside 0..1.
        InputDataError: no such pairs in the data set, or responses that do not fit it.
    """
    check_call(runs, bootstrap, confidence)
    # Runs without metadata can be scored too.
    check_training(dataset, [run for run in runs if isinstance(run, Identified)], split, fold)
    placed = PlacedRuns(dataset, runs, split=split, part=part, fold=fold, by=by, bootstrap=bootstrap, seed=seed)
    return score_placed(placed, confidence)


def score_placed(placed: PlacedRuns, confidence: float, advance: Advance = no_progress) -> pl.DataFrame:
    """Return `score` of placed runs. `advance` is called with the name of each run, and when it is done."""
    layout, resampler = placed.layout, placed.resampler
    seen: dict[bytes, Interval] = {}
    frames: list[pl.DataFrame] = []
    for run in placed.runs:
        advance(0, run.name)
        grid = placed.grid(run.name)
        columns = {metric: _interval(resampler, metric, values, confidence, seen) for metric, values in grid.metrics.items()}
        for metric, found in placed.spread.replicates(grid.position).items():
            columns[metric] = interval(found, confidence, *RANGES[metric])
        columns = {metric: columns[metric] for metric in METRICS if metric in columns}
        labels = {"run": grid.name, "scheme": placed.split, "fold": placed.fold, "part": placed.part, "against": None}
        labels |= {"elicitation": grid.elicitation, "template": grid.template, "note": placed.notes.get(run.name)}
        frame = long_rows(
            layout, columns, {"value": "estimate", "ci_low": "low", "ci_high": "high", "blocks": "blocks"}, grid.asked, labels
        )
        frames.append(SCORES.check(frame, "scores").select(list(SCORES.columns)))
        if ("all", "all") in layout.keys.names:
            frames.append(_calibration_scores(placed.calibration(run.name, confidence), frames[-1]))
        advance(1)
    return pl.concat(frames) if frames else SCORES.empty()


def calibration_placed(placed: PlacedRuns, confidence: float) -> pl.DataFrame:
    """Return the frame of CALIBRATION of placed runs, for tables and reliability plots."""
    frames = [
        calibration_rows(
            placed.calibration(run.name, confidence),
            {"run": run.name, "scheme": placed.split, "fold": placed.fold, "part": placed.part},
        )
        for run in placed.runs
    ]
    return pl.concat([CALIBRATION.empty(), *frames])


def _calibration_scores(found: Mapping[str, Calibration], scores: pl.DataFrame) -> pl.DataFrame:
    """Return the calibration errors of a run as rows of SCORES, given its other rows; they are of all pairs only."""
    alike = scores.filter((pl.col("by") == "all") & (pl.col("metric") == "accuracy")).row(0, named=True)
    rows: list[dict[str, Any]] = []
    for measure in OF_ALL_PAIRS:
        one = found.get(measure)
        ends = [None, None, None] if one is None else [float(of[0]) for of in (one.whole.estimate, one.whole.low, one.whole.high)]
        pairs, blocks = (0, None) if one is None else (round(float(one.whole.pairs[0])), float(one.whole.blocks[0]))
        figures = dict(zip(("value", "ci_low", "ci_high"), ends, strict=True))
        rows.append({**alike, "metric": measure, **figures, "pairs": pairs, "blocks": blocks})
    return SCORES.frame(rows).with_columns(pl.col(pl.Float64).fill_nan(None))


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


def long_rows(
    layout: Layout, columns: Mapping[str, Interval], names: Mapping[str, str], asked: Bools, labels: Mapping[str, Any]
) -> pl.DataFrame:
    """Return a row for each key and metric, ordered by the layout's keys, then by the metrics of `columns`.

    Args:
        layout: the layout. columns: metric -> its intervals.
        names: column -> field of Interval. asked: shape (G, I), pairs that count for `coverage`.
        labels: column -> constant value; None for a null string.
    """
    keys, count = layout.keys.names, len(columns)

    def long(field: str) -> np.ndarray:
        return np.stack([getattr(found, field) for found in columns.values()], axis=1).ravel()

    coverage = count_pairs(layout.keys, asked) / np.maximum(layout.expected, 1)
    return pl.DataFrame(
        {
            "by": np.repeat(np.array([by for by, _ in keys], dtype=object), count),
            "key": np.repeat(np.array([key for _, key in keys], dtype=object), count),
            "metric": list(columns) * len(keys),
            "pairs": (long("pairs") / layout.halves).round().astype(np.int64),
            "coverage": np.repeat(coverage, count),
            **{name: pl.Series(long(field), nan_to_null=True) for name, field in names.items()},
        },
        schema_overrides={"by": pl.String, "key": pl.String, "metric": pl.String},
    ).with_columns(pl.lit(value, dtype=pl.Int32 if name == "fold" else pl.String).alias(name) for name, value in labels.items())


def check_call(runs: Sequence[RunLike], bootstrap: int, confidence: float = 0.95) -> None:
    """Check the arguments that all tables share; UsageError if one is invalid."""
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Two runs are named {name!r}. Run names must be unique; rename one of them.")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence={confidence} is not between 0 and 1.")
    if bootstrap < 0:
        raise UsageError(f"bootstrap={bootstrap} is negative. Give the number of replicates, or 0 for no intervals.")
