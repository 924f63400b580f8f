"""Paired comparisons of runs: differences with intervals, p-values and their adjustment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.progress import Advance, no_progress
from valuestrata.responses.reference_baselines import check_training
from valuestrata.responses.run.identity import Identified
from valuestrata.scores.aggregate import RANGES, PlacedRuns, RunLike, check_call, long_rows
from valuestrata.scores.layout import BY, RunGrid
from valuestrata.scores.pairs import OF_GOLD
from valuestrata.scores.plan import DeclaredComparison
from valuestrata.scores.resampling import Resampler
from valuestrata.scores.schema import COMPARISONS, METRICS, OF_ALL_PAIRS
from valuestrata.scores.spread import Spread
from valuestrata.stats.bootstrap import Replicates
from valuestrata.stats.intervals import Interval, interval
from valuestrata.stats.multiple_testing import benjamini_hochberg, holm

# Column of COMPARISONS -> field of Interval.
FIELDS = {"difference": "estimate", "ci_low": "low", "ci_high": "high", "se": "se", "p": "p", "blocks": "blocks"}
SPREADS = ("spread_ratio", "spread_ratio_corrected")
COMPARED = tuple(metric for metric in METRICS if metric not in (*OF_GOLD, "w1_sampling", *OF_ALL_PAIRS))


def compare(
    dataset: Dataset,
    runs: Sequence[RunLike],
    pairs: Sequence[tuple[str, str]],
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    by: Sequence[str] = BY,
    metrics: Sequence[str] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return the differences run - against of every metric, on the pairs that both have a value for.

    All comparisons share the resampled blocks of items and redrawn respondents, so noise common to both runs cancels. Pairs that only one
    run has a value for are left out, metric by metric. p-values: see `stats.intervals`.

    Args:
        dataset: the ground truth.
        runs: all runs named in `pairs`.
        pairs: (run, against) by name, in the order of the rows.
        metrics: any of `COMPARED`, None for all. Ceilings and floors do not depend on the run and are not compared.
        split: split scheme, such as `paper` or `unseen-item`.
        part: `train`, `validation`, `test` or `all`.
        fold: only this fold of the split; None for all folds, each pair once.
        by: groupings, as for `score`.
        bootstrap: number of replicates, 0 for no intervals.
        seed: seed of the resamples.
        confidence: confidence of the intervals, between 0 and 1.

    Returns:
        COMPARISONS schema, every row exploratory and without p_adjusted (see `adjust`). `coverage` is the share of the key's pairs
        that both runs were asked. Without a common pair a row has nulls and `pairs` 0.

    Raises:
        UsageError: as for `score`; an unknown run or metric, a run against itself, or a repeated comparison.
        InputDataError: as for `score`.
    """
    check_call(runs, bootstrap, confidence)
    checked_metrics(runs, pairs, metrics)
    # Runs without metadata can be scored too.
    check_training(dataset, [run for run in runs if isinstance(run, Identified)], split, fold)
    placed = PlacedRuns(dataset, runs, split=split, part=part, fold=fold, by=by, bootstrap=bootstrap, seed=seed)
    return compare_placed(placed, pairs, metrics, confidence)


def compare_placed(
    placed: PlacedRuns,
    pairs: Sequence[tuple[str, str]],
    metrics: Sequence[str] | None,
    confidence: float,
    advance: Advance = no_progress,
) -> pl.DataFrame:
    """Return `compare` of placed runs. `advance` is called with the names of each comparison, and when it is done."""
    wanted = checked_metrics(placed.runs, pairs, metrics)
    layout = placed.layout
    frames: list[pl.DataFrame] = []
    for names in pairs:
        advance(0, " against ".join(names))
        run, against = (placed.grid(name) for name in names)
        columns = _differences(placed.resampler, placed.spread, run, against, wanted, confidence)
        labels: dict[str, Any] = {
            "run": run.name,
            "against": against.name,
            "scheme": placed.split,
            "fold": placed.fold,
            "part": placed.part,
        }
        labels |= {"adjustment": None, "status": "exploratory"}
        labels["note"] = "; ".join(f"{name}: {placed.notes[name]}" for name in names if name in placed.notes) or None
        frame = long_rows(layout, columns, FIELDS, run.asked & against.asked, labels)
        frame = frame.with_columns(pl.lit(None, dtype=pl.Float64).alias("p_adjusted"))
        frames.append(COMPARISONS.check(frame, "comparisons").select(list(COMPARISONS.columns)))
        advance(1)
    return pl.concat(frames) if frames else COMPARISONS.empty()


def adjust(comparisons: pl.DataFrame, declared: Sequence[DeclaredComparison] = ()) -> pl.DataFrame:
    """Set p_adjusted, adjustment and status of comparisons.

    The declared rows are one family, adjusted by Holm. The others are exploratory: each metric and grouping (`by`) is a family over
    all runs and keys, adjusted by Benjamini-Hochberg. A row without p does not count in its family.

    Args:
        comparisons: COMPARISONS schema, of one split and part. declared: the declared family.

    Returns:
        The same rows in the same order.

    Raises:
        UsageError: a declared comparison that is not among the rows exactly once, or is declared twice.
    """
    frame = COMPARISONS.check(comparisons, "comparisons")
    index: dict[DeclaredComparison, list[int]] = {}
    for place_, row in enumerate(frame.select("run", "against", "metric", "by", "key").iter_rows()):
        index.setdefault(DeclaredComparison(*row), []).append(place_)
    for one in declared:
        if declared.count(one) > 1:
            raise UsageError(f"The comparison {one} is declared twice; declare it once.")
        if (found := len(index.get(one, ()))) != 1:
            raise UsageError(
                f"The declared comparison {one} is {'not' if found == 0 else f'{found} times'} among the comparisons made. "
                "Compare these runs, by this grouping, on one split and part, or correct the plan."
            )
    is_declared = np.zeros(len(frame), dtype=np.bool_)
    is_declared[[index[one][0] for one in declared]] = True
    families: dict[tuple[str, ...], list[int]] = {}
    for place_, name in enumerate(frame.select("metric", "by").iter_rows()):
        families.setdefault(() if is_declared[place_] else name, []).append(place_)
    p = frame["p"].to_list()
    adjusted: list[float | None] = [None] * len(frame)
    for name, members in families.items():
        method = benjamini_hochberg if name else holm
        for place_, value in zip(members, method([p[member] for member in members]), strict=True):
            adjusted[place_] = value
    mask = pl.Series(is_declared, dtype=pl.Boolean)
    return frame.with_columns(
        pl.Series("p_adjusted", adjusted, dtype=pl.Float64),
        pl.when(pl.col("p").is_not_null())
        .then(pl.when(mask).then(pl.lit("holm")).otherwise(pl.lit("benjamini-hochberg")))
        .alias("adjustment"),
        pl.when(mask).then(pl.lit("declared")).otherwise(pl.lit("exploratory")).alias("status"),
    )


def _differences(
    resampler: Resampler, spread: Spread, run: RunGrid, against: RunGrid, metrics: Sequence[str], confidence: float
) -> dict[str, Interval]:
    columns: dict[str, Interval] = {}
    ratios: list[dict[str, Replicates]] = []
    if set(SPREADS) & set(metrics):
        apart = np.isnan(run.position) | np.isnan(against.position)
        ratios = [spread.replicates(np.where(apart, np.nan, grid.position)) for grid in (run, against)]
    for metric in metrics:
        low, high = RANGES.get(metric, (0.0, 1.0))
        if metric in SPREADS:
            replicates = ratios[0][metric].minus(ratios[1][metric])
        else:
            replicates = resampler.replicates(run.metrics[metric].minus(against.metrics[metric]))
        columns[metric] = interval(replicates, confidence, low - high, high - low)
    return columns


def checked_metrics(runs: Sequence[RunLike], pairs: Sequence[tuple[str, str]], metrics: Sequence[str] | None) -> list[str]:
    """Check the arguments; return the metrics in the order of the table."""
    known = [run.name for run in runs]
    for place_, (run, against) in enumerate(pairs):
        for name in (run, against):
            if name not in known:
                raise UsageError(f"Comparison {run!r} with {against!r}: no run is named {name!r}.{did_you_mean(name, known)}")
        if run == against:
            raise UsageError(f"The run {run!r} is compared with itself; name another run.")
        if (run, against) in pairs[:place_]:
            raise UsageError(f"The comparison of {run!r} with {against!r} is named twice; leave one out.")
    for metric in metrics or ():
        if metric not in COMPARED:
            raise UsageError(f"metrics={metric!r} cannot be compared.{did_you_mean(metric, COMPARED)}")
    return [metric for metric in COMPARED if metrics is None or metric in metrics]
