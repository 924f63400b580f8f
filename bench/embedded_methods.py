"""The embedded model before and after calibration, a probe, survey answers in the prompt, and tuning, on one fold of unseen questions.

    python bench/embedded_methods.py DATASET RUN -o FOLDER [--fold 4] [--seeds 1 2 3] [--steps 32] [--strata sex age_group]

DATASET is a data set, RUN a run of `embedded` with `--part all --orders scale,reversed`. Every other run is made in FOLDER, unless it is
there. The answers of all runs are averaged over option orders before they are scored, and scored on the test pairs of the fold in some
strata. Prints a Markdown table: W1 and expected accuracy, with 95 % intervals if the fold has enough items; of the tuned adapters the
mean over seeds, and the least and the largest value of a seed. Training on a CPU takes minutes: `--steps` says how many updates.
`--fold all` pools all folds, and leaves out the adapters, which need one training per fold.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

import valuestrata as vs
from valuestrata.calibration.model_answers import model_answers
from valuestrata.respondents.models import make_respondent
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.tuning.recipe import Recipe, recipe_of

SPLIT = "unseen-item"
Found = tuple[float, float | None, float | None, int]
"""Estimate, interval (None where the fold has too few topics) and number of pairs."""
METRICS = ("w1", "accuracy_expected")
ORDERS = "scale,reversed"
METHODS = ("shares", "hybrid", "probe")
BASELINES = ("item-average", "item-text")


def averaged(dataset: vs.Dataset, run: vs.Run) -> vs.Run:
    """Return a run with one response per pair: the mean distribution over option orders, and its mode."""
    shares = model_answers(dataset, run.responses).shares
    first = run.responses.filter(pl.col("status") == "answered").unique("pair_id", keep="first", maintain_order=True)
    found = [shares[pair] for pair in first.select("item", "subgroup").iter_rows()]
    codes = [dataset.codes_of[item][int(np.argmax(own))] for item, own in zip(first["item"], found, strict=True)]
    shown = pl.Series([list(dataset.codes_of[item]) for item in first["item"]], dtype=pl.List(pl.Int32))
    probabilities = pl.Series([own.tolist() for own in found], dtype=pl.List(pl.Float64))
    columns = {"option_probs": probabilities, "answer": pl.Series(codes, dtype=pl.Int32), "order": pl.lit("scale"), "shown": shown}
    return dataclasses.replace(run, responses=first.with_columns(**columns))


def asked(dataset: vs.Dataset, model: str, folder: Path, fold: int | None, strata: Sequence[str], **how: str) -> vs.Run:
    """Ask a model the test pairs of a fold, and return the run."""
    vs.ask(dataset, make_respondent(model, dataset), folder, split=SPLIT, fold=fold, strata=strata, orders=ORDERS, **how)
    return vs.load_run(folder)


def recipe(steps: int) -> Recipe:
    """Return `distribution` with a learning rate for a small model, both option orders, and without validation."""
    changes = {"learning_rate": 1e-3, "max_steps": steps, "epochs": 1.0, "together": 8, "orders": ORDERS, "early_stopping": None}
    validation = recipe_of("distribution").validation.model_copy(update={"samples": 0})
    return recipe_of("distribution").model_copy(update={**changes, "name": "distribution-short", "validation": validation})


def scores_of(dataset: vs.Dataset, run: vs.Run, fold: int | None, strata: Sequence[str]) -> dict[str, Found]:
    """Return metric -> estimate and interval on the test pairs of some strata."""
    kept = dataset.subgroups.filter(pl.col("stratum").is_in(list(strata))) if strata else dataset.subgroups
    chosen = dataclasses.replace(run, responses=run.responses.join(kept.select("subgroup"), on="subgroup", how="semi"))
    rows = vs.score(dataset, [chosen], split=SPLIT, part="test", fold=fold, by=["all"])
    found = rows.filter(pl.col("metric").is_in(METRICS)).select("metric", "value", "ci_low", "ci_high", "pairs")
    return {metric: tuple(values) for metric, *values in found.iter_rows()}


def line(name: str, found: dict[str, Found], what: str = "") -> str:
    """Return a row of the table."""
    cells: list[str] = []
    for value, low, high, _ in (found[metric] for metric in METRICS):
        cells.append(f"{value:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]"))
    return f"| {name} | {' | '.join(cells)} | {what} |".replace("0.", ".")


def main() -> None:
    """Make the runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", dest="out", type=Path, required=True)
    parser.add_argument("--fold", default="4")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--context", type=int, default=8, help="survey answers in the prompt; 0 leaves the row out")
    parser.add_argument("--strata", nargs="*", default=["sex", "age_group", "ethnicity", "education"])
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    given = parser.parse_args()
    dataset, strata = vs.load_dataset(given.dataset), given.strata
    fold = None if given.fold == "all" else int(given.fold)
    model = vs.load_run(given.run)

    def row(name: str, make: Callable[[], vs.Run]) -> dict[str, Found]:
        started = time.monotonic()
        found = scores_of(dataset, averaged(dataset, make()), fold, strata)
        print(line(name, found, f"{found['w1'][3]} pairs, {time.monotonic() - started:.0f} s"), flush=True)
        return found

    print("| method | W1 | expected accuracy | |\n| --- | --- | --- | --- |")
    for run in reference_baselines(dataset, [model], kinds=BASELINES, split=SPLIT, part="test", fold=fold):
        row(run.name, lambda run=run: run)
    row("embedded", lambda: model)
    for method in given.methods:
        out = given.out / f"{method}-{given.fold}"
        row(f"`{method}`", lambda method=method, out=out: vs.calibrate(dataset, model, out, split=SPLIT, fold=fold, method=method).run)
    if given.context:
        place, how = given.out / f"gold-{given.context}-{given.fold}", f"gold:{given.context}"
        row(f"`--context {how}`", lambda: asked(dataset, "embedded", place, fold, strata, context=how))
    tuned: list[dict[str, Found]] = []
    for seed in given.seeds if fold is not None else ():
        adapter = given.out / f"adapter-{seed}"
        vs.tune(dataset, "embedded", adapter, recipe=recipe(given.steps), split=SPLIT, fold=fold, seed=seed)
        place = given.out / f"tuned-{seed}"
        tuned.append(row(f"tuned, seed {seed}", lambda a=adapter, p=place: asked(dataset, f"embedded+{a}", p, fold, strata)))
    if tuned:
        cells = []
        for metric in METRICS:
            values = [one[metric][0] for one in tuned]
            cells.append(f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        print(f"| tuned, mean of {len(tuned)} seeds (least to largest) | {' | '.join(cells)} | |".replace("0.", "."))


if __name__ == "__main__":
    main()
