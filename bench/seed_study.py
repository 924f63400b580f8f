"""Does the interval of a recipe's gain cover the true mean gain over training seeds? A simulation with known truth.

    python bench/seed_study.py [REPETITIONS] [SEED]

Every training seed adds a normal effect with a known standard deviation to the accuracy of the tuned model; items differ in how much
they gain. Runs are placed and compared as in a tuning study. `before` is the interval of one seed's run, `items` that of the mean over
the seeds with items and respondents only, and `after` the interval that includes the seeds. A claim says that tuning gained or lost:
before from one seed's interval, after from the corrected p-value with at least two seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl

from valuestrata.building import BuildSettings, build
from valuestrata.claims.claim import Strength
from valuestrata.claims.tuning import tuning_claims
from valuestrata.dataset.tables import Dataset
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.aggregate import PlacedRuns
from valuestrata.scores.compare import compare_placed
from valuestrata.scores.variance.seeds import SeededRecipe, SeededRuns, mean_of
from valuestrata.stats.intervals import interval
from valuestrata.tuning.evaluate.generalisation import GENERALISATION, TunedVariant, corrected_gains, gains_of

sys.path.insert(0, str(Path(__file__).resolve().parent))

from population import synthetic_survey

METRIC = "accuracy"
ITEM_SD = 0.06
SEED_SDS = (0.0, 0.01, 0.03)
SEEDS = (1, 2, 3, 5)


@dataclass(frozen=True)
class Row:
    """Results of one condition: coverage, mean width and rate of claims of the three intervals."""

    sd: float
    seeds: int
    gain: float
    covered: Mapping[str, float]
    width: Mapping[str, float]
    claims: Mapping[str, float]


def small_dataset(items: int = 40, respondents: int = 600) -> Dataset:
    """Return a data set with 18 test subgroups."""
    survey = synthetic_survey(respondents, items)
    return build(
        survey,
        BuildSettings(
            strata=("sex", "age_group", "ethnicity", "age_x_ethnicity"), draws=100, weighted=False, min_respondents=10, min_valid=10
        ),
    )


def pairs_of(dataset: Dataset) -> pl.DataFrame:
    """Return the test pairs with the codes and gold mode."""
    gold = dataset.gold.filter(pl.col("half") == "all").select("pair_id", "mode")
    return dataset.part("paper", "test").join(gold, on="pair_id").join(dataset.items.select("item", "codes"), on="item").sort("pair_id")


def run_of(pairs: pl.DataFrame, name: str, right: np.ndarray) -> SimpleNamespace:
    """Return a run that answers with the mode where `right`, shape (P,), and with the next code elsewhere."""
    answers = [
        mode if hit else codes[(codes.index(mode) + 1) % len(codes)]
        for hit, mode, codes in zip(right, pairs["mode"].to_list(), pairs["codes"].to_list(), strict=True)
    ]
    rows = pairs.select("pair_id", "item", "subgroup").with_columns(pl.Series("answer", answers, dtype=pl.Int32))
    plain = {"elicitation": "text", "template": "default", "template_version": "1", "order": "scale", "status": "answered"}
    rows = rows.with_columns(**{key: pl.lit(value) for key, value in plain.items()}, paraphrase=pl.lit(0), sample=pl.lit(0))
    absent = [pl.lit(None, dtype=column.dtype).alias(key) for key, column in RESPONSES.columns.items() if key not in rows.columns]
    return SimpleNamespace(name=name, responses=rows.with_columns(absent), meta={})


def repetitions(
    dataset: Dataset, sd: float, gain: float, number: int, seed: int
) -> Iterator[dict[int, dict[str, tuple[float, float, bool]]]]:
    """Yield, for each repetition and number of seeds: method -> ends of the interval and whether a gain or loss is claimed."""
    pairs = pairs_of(dataset)
    names = dataset.items["item"].to_list()
    place = pairs["item"].replace_strict({name: at for at, name in enumerate(names)}, return_dtype=pl.Int64).to_numpy()
    for repetition in range(number):
        rng = np.random.default_rng([seed, repetition, round(1000 * sd), round(1000 * gain)])
        chance = rng.uniform(0.3, 0.6, len(names))
        gains = rng.normal(gain, ITEM_SD, len(names))
        base = run_of(pairs, "base", rng.random(len(pairs)) < chance[place])
        tuned = [
            run_of(pairs, f"seed-{at}", rng.random(len(pairs)) < (chance + gains + rng.normal(0, sd))[place]) for at in range(max(SEEDS))
        ]
        placed = PlacedRuns(dataset, [base, *tuned], split="paper", part="test", fold=None, by=("all",), bootstrap=300, seed=repetition)
        [single] = compare_placed(placed, [("seed-0", "base")], [METRIC], 0.95).iter_rows(named=True)
        found: dict[int, dict[str, tuple[float, float, bool]]] = {}
        for count in SEEDS:
            recipe = SeededRecipe("recipe", {at: f"seed-{at}" for at in range(count)})
            rows = SeededRuns(placed, [recipe]).rows([("recipe", "base")], [METRIC], 0.95)
            fixed = _items_only(placed, count)
            variants = [TunedVariant("base", "base"), TunedVariant("recipe", "base", "recipe")]
            [own] = corrected_gains([gains_of(rows, variants, {})])
            [claim] = tuning_claims(GENERALISATION.frame([{"run": name, "metric": METRIC} for name in ("base", "recipe")]), own, METRIC)
            found[count] = {
                "before": _of(single, single["ci_low"] > 0 or single["ci_high"] < 0),
                "items": _of(fixed, fixed["ci_low"] > 0 or fixed["ci_high"] < 0),
                "after": _of(rows.row(0, named=True), claim.strength == Strength.SHOWN),
            }
        yield found


def _items_only(placed: PlacedRuns, count: int) -> dict[str, float]:
    """Return the interval of the mean over the first seeds without the variation between seeds."""
    differences = [placed.grid(f"seed-{at}").metrics[METRIC].minus(placed.grid("base").metrics[METRIC]) for at in range(count)]
    found = interval(placed.resampler.replicates(mean_of(differences)), 0.95, -1.0, 1.0)
    return {"ci_low": float(found.low[0]), "ci_high": float(found.high[0])}


def _of(row: Mapping[str, float], claimed: bool) -> tuple[float, float, bool]:
    return row["ci_low"], row["ci_high"], claimed


def study(number: int, seed: int, sds: Sequence[float] = SEED_SDS, gains: Sequence[float] = (0.0, 0.05)) -> list[Row]:
    """Return the results of every condition."""
    dataset, rows = small_dataset(), list[Row]()
    for sd in sds:
        for gain in gains:
            found = list(repetitions(dataset, sd, gain, number, seed))
            for count in SEEDS:
                of = {name: np.array([one[count][name] for one in found]) for name in ("before", "items", "after")}
                rows.append(
                    Row(
                        sd,
                        count,
                        gain,
                        {name: float(np.mean((ends[:, 0] <= gain) & (gain <= ends[:, 1]))) for name, ends in of.items()},
                        {name: float(np.mean(ends[:, 1] - ends[:, 0])) for name, ends in of.items()},
                        {name: float(np.mean(ends[:, 2])) for name, ends in of.items()},
                    )
                )
    return rows


def main() -> None:
    """Print the results as a table."""
    number, seed = (int(word) for word in (*sys.argv[1:], *("200", "1")[len(sys.argv) - 1 :]))
    print(f"{number} repetitions, seed {seed}; before / items / after")
    print("sd between seeds  seeds  true gain  coverage           mean width         claims of a gain or loss")
    for row in study(number, seed):
        cells = [" ".join(f"{of[name]:.3f}" for name in ("before", "items", "after")) for of in (row.covered, row.width, row.claims)]
        print(f"{row.sd:16.2f}  {row.seeds:5d}  {row.gain:9.2f}  {cells[0]}  {cells[1]}  {cells[2]}")


if __name__ == "__main__":
    main()
