"""Reliability tables of a calibration: stated probabilities against the shares of people, before and after.

Test gold is used here to show what the calibration achieved, after the run was written. Nothing is fitted to it.
"""

from __future__ import annotations

import polars as pl

from valuestrata.calibration.calibrated import CalibrateResult
from valuestrata.dataset.tables import Dataset
from valuestrata.scores.aggregate import PlacedRuns, calibration_placed

BEFORE, AFTER = "before", "after"


def reliability(dataset: Dataset, result: CalibrateResult, *, bootstrap: int = 0, confidence: float = 0.95) -> pl.DataFrame:
    """Return the reliability of the averaged answers and of the calibrated ones on the test pairs.

    Args:
        dataset: the data set. result: of `calibrate`. bootstrap: replicates for intervals. confidence: of the intervals.

    Returns:
        CALIBRATION schema, with the runs `before` and `after`; rows without a bin have the calibration error of all options (`ece`)
        and of the likeliest option (`ece_top`).
    """
    runs = [result.before, result.run]
    split, fold = result.run.meta["plan"]["split"], result.run.meta["plan"]["fold"]
    placed = PlacedRuns(dataset, runs, split=split, part="test", fold=fold, by=("all",), bootstrap=bootstrap, seed=0)
    names = dict(zip((run.name for run in runs), (BEFORE, AFTER), strict=True))
    return calibration_placed(placed, confidence).with_columns(pl.col("run").replace(names))


def reliability_table(found: pl.DataFrame) -> pl.DataFrame:
    """Return the bins of all options as a table to print: stated probability, and the mean share of people before and after."""
    bins = found.filter(pl.col("bin").is_not_null() & (pl.col("measure") == "ece"))
    columns = {"stated": "stated", "share": "share", "cases": "options"}
    sides = [
        bins.filter(run=side).select("bin", *(pl.col(name).round(3).alias(f"{title}, {side}") for name, title in columns.items()))
        for side in (BEFORE, AFTER)
    ]
    table = sides[0].join(sides[1], on="bin", how="full", coalesce=True).sort("bin")
    low = pl.col("bin") / 10
    probability = pl.format("{} to {}", low.round(1), (low + 0.1).round(1)).alias("probability")
    return table.select(probability, pl.exclude("bin"))
