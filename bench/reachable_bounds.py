"""Whether someone who knows a simulated population reaches the ceilings and floors of its data sets.

    python bench/reachable_bounds.py [surveys] [first seed] [bootstrap replicates]

Each survey is built, and an oracle answers every test pair with the true mode and the true shares (NMAE: with the median of the modes of
fresh samples, its best answer). The interval of bound - score should contain 0, and that of the relative score 1, in 95 % of surveys.
The baseline is item-mode: without planted effects it is nearly an oracle, and `saturated` is the right answer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.planted import CONDITIONS, ITEM_MODE, ORACLE, SCHEMES, SETTINGS, answered, levels_of, true_shares
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import Dataset
from valuestrata.respondents.baselines import make_baseline
from valuestrata.scores.aggregate import PlacedRuns
from valuestrata.scores.relative import BOUNDS, _bounds, relative_placed
from valuestrata.stats.intervals import interval
from valuestrata.survey.simulation.population import draw_survey, plant

MEDIAN = "median oracle"
# Fresh samples drawn for the best answer under NMAE.
FRESH = 400


@dataclass(frozen=True)
class Reached:
    """One survey, scheme and metric: the oracle's score, the bound, the interval of their difference, and the relative score."""

    condition: str
    scheme: str
    seed: int
    metric: str
    score: float
    bound: float
    low: float
    high: float
    state: str
    relative_low: float | None
    relative_high: float | None


def reached(condition: str, seed: int, bootstrap: int = 400, draws: int = 200) -> list[Reached]:
    """Build one survey and compare its oracles with the bounds."""
    population = plant(replace(SETTINGS, **CONDITIONS[condition], seed=seed))
    dataset = build(draw_survey(population, seed), BuildSettings(draws=draws, half_seed=seed, redraw_seed=seed))
    true, levels = true_shares(population), levels_of(dataset)
    oracle = answered(dataset, ORACLE, lambda item, subgroup: true[item, levels[subgroup]])
    found: list[Reached] = []
    for scheme in SCHEMES:
        cheap = answered(dataset, ITEM_MODE, make_baseline(ITEM_MODE, dataset, split=scheme).predictor.shares)
        runs = [oracle, _median_oracle(dataset, scheme, oracle), cheap]
        placed = PlacedRuns(dataset, runs, split=scheme, part="test", fold=None, by=("all",), bootstrap=bootstrap, seed=seed)
        table = relative_placed(placed, [ITEM_MODE], 0.95)
        bounds = _bounds(placed.layout)
        for metric in BOUNDS:
            name = MEDIAN if metric == "nmae" else ORACLE
            row = table.filter(pl.col("run") == name, pl.col("metric") == metric).row(0, named=True)
            values = placed.grid(name).metrics[metric]
            mask = ~np.isnan(bounds[metric].gold) & ~np.isnan(values.gold)
            gap = interval(placed.resampler.replicates(bounds[metric].minus(values).on(mask)), 0.95, -1, 1)
            ends = float(gap.low[0]), float(gap.high[0])
            about = condition, scheme, seed, metric, row["value"], row["bound_value"]
            found.append(Reached(*about, *ends, row["state"], row["relative_low"], row["relative_high"]))
    return found


def _median_oracle(dataset: Dataset, scheme: str, oracle):
    """Return the oracle with the median of the modes of fresh samples as its answers."""
    half = "B" if scheme.endswith("+disjoint") else "all"
    number = dict(dataset.gold.filter(pl.col("half") == half).select("pair_id", "n_eff").iter_rows())
    rng = np.random.default_rng(0)
    answers: list[int] = []
    for pair, item, shares in oracle.responses.select("pair_id", "item", "option_probs").iter_rows():
        fresh = rng.multinomial(max(round(number.get(pair, 1)), 1), shares, size=FRESH)
        answers.append(dataset.codes_of[item][int(np.median(fresh.argmax(axis=1)))])
    responses = oracle.responses.with_columns(pl.Series("answer", answers, dtype=oracle.responses["answer"].dtype))
    return type(oracle)(name=MEDIAN, responses=responses)


def summary(rows: Sequence[Reached]) -> pl.DataFrame:
    """Return means by condition, scheme and metric, with the shares of surveys whose intervals contain 0 and 1."""
    table = pl.DataFrame([vars(row) for row in rows], infer_schema_length=None)
    placed = pl.col("state") == "ok"
    return table.group_by("condition", "scheme", "metric", maintain_order=True).agg(
        pl.len().alias("surveys"),
        pl.col("score", "bound").mean(),
        ((pl.col("low") <= 0) & (pl.col("high") >= 0)).mean().alias("contains 0"),
        ((pl.col("relative_low") <= 1) & (pl.col("relative_high") >= 1)).filter(placed).mean().alias("contains 1"),
        (pl.col("relative_low") > 1).filter(placed).sum().alias("beyond"),
        (pl.col("state") == "saturated").mean().alias("saturated"),
    )


if __name__ == "__main__":
    arguments = [int(text) for text in sys.argv[1:]]
    surveys, first, replicates = [*arguments, *(60, 0, 400)[len(arguments) :]]
    found = [row for condition in CONDITIONS for seed in range(first, first + surveys) for row in reached(condition, seed, replicates)]
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=3):
        print(summary(found))
