"""Coverage of the 90 % intervals of `predict` on held-out questions of a survey, by number of answers.

    python bench/prediction_coverage.py DATASET RUN [--method shares] [--nested]

Each topic is left out; its intervals are fitted to the scores of the other topics. With `--nested`, these scores also come from fits
that never saw the left-out topic, which takes as many backtests as there are topics. Prints one Markdown row per class of sizes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import polars as pl

from valuestrata.calibration.methods import METHODS
from valuestrata.calibration.model_answers import ModelAnswers, model_answers
from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import Dataset, load_dataset
from valuestrata.prediction.backtest import Backtest, run_backtest
from valuestrata.prediction.intervals import covered
from valuestrata.responses.run.folder import load_run


def main() -> None:
    """Print the coverage of a data set and a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--method", default="hybrid", choices=list(METHODS))
    parser.add_argument("--nested", action="store_true")
    chosen = parser.parse_args()
    dataset = load_dataset(chosen.dataset)
    answers = model_answers(dataset, load_run(chosen.run).responses)
    backtest = backtest_of(dataset, answers, chosen.method)
    print(f"{chosen.dataset.name}, {chosen.method}: {len(backtest.held.folds)} folds by {backtest.held.unit}, {backtest.units} units")
    print(backtest.errors.select("predictor", "metric", pl.col("value", "ci_low", "ci_high", "difference", "difference_low").round(4)))
    for row in backtest.coverage.iter_rows(named=True):
        print(f"| {row['title']} | {row['pairs']:,} | {row['coverage']:.3f} | {row['position_coverage'] or float('nan'):.3f} |")
    if chosen.nested:
        found = nested_coverage(dataset, answers, chosen.method, backtest)
        for title, pairs, share in found:
            print(f"| {title}, nested | {pairs:,} | {share:.3f} | |")


def backtest_of(dataset: Dataset, answers: ModelAnswers, method: str) -> Backtest:
    """Return the backtest, with the cheapest baseline only."""
    return run_backtest(dataset, answers, method, METHODS[method], baselines=("item-average",), bootstrap=200)


def nested_coverage(dataset: Dataset, answers: ModelAnswers, method: str, whole: Backtest) -> list[tuple[str, int, float]]:
    """Return (class, pairs, coverage) with intervals from backtests that never saw the left-out topic."""
    population = (pl.col("subgroup") == EVERYONE) & pl.lit(not dataset.has_only_everyone)
    ordered = dataset.items.select("item", (pl.col("level") != "nominal").alias("ordered"))
    pairs = whole.pairs.filter(predictor=method).drop("low", "high", "probability", "covered")
    pairs = pairs.with_columns(population=population).join(ordered, on="item", maintain_order="left")
    made: list[pl.DataFrame] = []
    for fold, items in enumerate(whole.held.folds):
        others = replace(dataset, gold=dataset.gold.filter(~pl.col("item").is_in(items)))
        inner = backtest_of(others, answers, method)
        out = inner.intervals.add_to(pairs.filter(fold=fold))
        inside = covered(out["low"].to_list(), out["high"].to_list(), out["found"].to_list())
        made.append(out.select("target", "size", covered=pl.Series(inside)))
    found = pl.concat(made)
    rows = found.filter("target")
    classes = sorted(found["size"].unique())
    parts = [("all subgroups", rows), *((f"class {size}", found.filter(size=size)) for size in classes)]
    return [(title, part.height, float(part["covered"].to_numpy().mean())) for title, part in parts]


if __name__ == "__main__":
    main()
