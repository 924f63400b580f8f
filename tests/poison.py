"""A small simulated data set, and copies of it with wrong gold wherever training must not look."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import Dataset
from valuestrata.survey.simulation.population import SimulationSettings, draw_survey, plant

SETTINGS = SimulationSettings(
    respondents=260, items=7, nominal=0.3, options=(2, 3, 5), levels=(2, 2, 2), main_effects=0.5, weighted=True, seed=4
)


@cache
def data(sample: int = 1) -> Dataset:
    return build(draw_survey(plant(SETTINGS), sample), BuildSettings(min_respondents=5, min_valid=5, draws=20))


def poisoned(dataset: Dataset, spared: pl.DataFrame, half: str) -> Dataset:
    """Return the data set with all gold replaced by NaN or extreme values, except that of `spared` in one half."""
    keys = spared.select("pair_id", pl.lit(half).alias("half"))
    true = dataset.gold.join(keys, on=("pair_id", "half"), how="semi")
    false = dataset.gold.join(keys, on=("pair_id", "half"), how="anti").with_row_index("row")
    rng = np.random.default_rng(0)
    widths = false["counts_raw"].list.len().to_list()
    extreme = [rng.permutation([10**7, *[0] * (width - 1)]).tolist() for width in widths]
    nan = pl.col("row") % 2 == 0
    false = false.with_columns(
        pl.Series("counts_raw", extreme, dtype=pl.List(pl.Int64)),
        pl.when(nan)
        .then(pl.Series([[float("nan")] * width for width in widths]))
        .otherwise(pl.Series([[float(x) for x in row] for row in extreme]))
        .alias("counts_weighted"),
        pl.Series("shares", [[-1.0] * width for width in widths]),
        pl.Series("p_mode", [[float("inf")] * width for width in widths]),
        pl.lit(10**7).alias("n"),
        pl.when(nan).then(float("nan")).otherwise(1e7).alias("n_eff"),
        *(pl.lit(float("nan")).alias(c) for c in ("mode_share", "margin", "entropy", "ceiling_oracle", "ceiling_human")),
        pl.lit(-99, dtype=pl.Int32).alias("mode"),
    )
    gold = pl.concat([true, false.select(true.columns).cast(dict(true.schema))])
    # Redraws, landscape and leakage are computed from all gold, so training must not use them.
    return replace(
        dataset, gold=gold, mode_draws=dataset.mode_draws.clear(), landscape=dataset.landscape.clear(), leakage=dataset.leakage.clear()
    )
