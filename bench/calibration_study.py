"""Compare calibrated runs with the raw model and with baselines without a model, with paired intervals.

    python bench/calibration_study.py twin2k WORK
    python bench/calibration_study.py runs WORK DATASET RUN... --split unseen-item

`twin2k` builds its data set and runs from the shared files in WORK (see `shared_surveys`). `runs` takes a data set and runs that answered
both sides of the split. WORK keeps baselines and calibrated runs. Each table ends with the method hybrid minus each other row. `flat` is
hybrid with the model's population answer given for every subgroup: hybrid minus flat is what the personas add.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl
from shared_surveys import twin2k

import valuestrata as vs
from valuestrata.calibration.methods.hybrid.departures import population_shares
from valuestrata.calibration.model_answers import ModelAnswers, model_answers
from valuestrata.dataset.tables import Dataset
from valuestrata.files import write_json
from valuestrata.respondents.baselines import GoldByFold
from valuestrata.responses.run.folder import RUN, Run, load_run, with_hash, write_table

BASELINES = {"unseen-item": ("midpoint", "item-average", "item-text"), "unseen-both": ("midpoint", "item-average", "item-text")}
CELL_BASELINES = ("nearest-parent", "multilevel", "ensemble")
METRICS = ("w1", "accuracy", "accuracy_expected")


def flat(dataset: Dataset, run: Run, folder: Path, split: str) -> Run:
    """Return a copy of a run in which every subgroup has the model's population answer."""
    if not folder.exists():
        answers: ModelAnswers = model_answers(dataset, run.responses)
        fold = int(dataset.part(split, "train", None)["fold"].min())  # pyright: ignore[reportArgumentType]
        population = population_shares(GoldByFold(dataset, split).of(fold), answers)
        one = run.responses.unique(["item", "subgroup"], keep="first", maintain_order=True)
        codes = dataset.codes_of
        given = [population[item].tolist() for item in one["item"]]
        modes = [codes[item][int(np.argmax(population[item]))] for item in one["item"]]
        table = one.with_columns(
            pl.Series("option_probs", given, dtype=one.schema["option_probs"]), pl.Series("answer", modes, dtype=one.schema["answer"])
        )
        folder.mkdir(parents=True)
        write_table(folder, table, None)
        write_json(folder / RUN, with_hash(folder, {**run.meta, "name": folder.name}))
    return load_run(folder)


def study(dataset: Dataset, run: Run, work: Path, split: str, methods: Sequence[str], bootstrap: int) -> None:
    """Print the table of one run on one split."""
    runs = [run]
    for baseline in BASELINES.get(split.partition("+")[0], CELL_BASELINES):
        out = work / f"{split}-{baseline}"
        if not out.exists():
            vs.ask(dataset, vs.make_respondent(f"baseline:{baseline}", dataset, split=split), out, split=split)
        runs.append(load_run(out))
    for method in methods:
        found = vs.calibrate(dataset, run, work / f"{split}-{method}-{run.name}", split=split, method=method)
        runs.append(found.run)
        for fold, settings in zip(found.folds, found.settings, strict=True):
            if method == "hybrid":
                print(f"fold {fold}: { ({k: v for k, v in settings.items() if k not in ('item_text', 'baseline')}) }")
    source = flat(dataset, run, work / f"flat-{split}-{run.name}", split)
    runs.append(vs.calibrate(dataset, source, work / f"{split}-flat-{run.name}", split=split, method="hybrid").run)
    scores = vs.score(dataset, runs, split=split, part="test", bootstrap=bootstrap)
    wide = scores.filter((pl.col("by") == "all") & pl.col("metric").is_in(METRICS))
    print(f"\n{run.name}, {split}\n| run | metric | value | low | high | pairs |\n| --- | --- | --- | --- | --- | --- |")
    for name, metric, value, low, high, pairs in wide.select("run", "metric", "value", "ci_low", "ci_high", "pairs").iter_rows():
        interval = " | ".join("" if end is None else f"{end:.4f}" for end in (low, high))
        print(f"| {name} | {metric} | {value:.4f} | {interval} | {pairs} |")
    hybrid = f"{split}-hybrid-{run.name}"
    against = [(hybrid, other.name) for other in runs if other.name != hybrid]
    compared = vs.compare(dataset, runs, against, split=split, part="test", metrics=METRICS, bootstrap=bootstrap)
    print("\n| hybrid minus | metric | difference | low | high |\n| --- | --- | --- | --- | --- |")
    shown = compared.filter(pl.col("by") == "all").select("against", "metric", "difference", "ci_low", "ci_high")
    for other, metric, *values in shown.iter_rows():
        print(f"| {other} | {metric} | {' | '.join('' if one is None else f'{one:+.4f}' for one in values)} |")


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("twin2k", "runs"))
    parser.add_argument("work", type=Path)
    parser.add_argument("paths", type=Path, nargs="*", help="data set and runs, for the part `runs`")
    parser.add_argument("--split", default="unseen-item")
    parser.add_argument("--methods", default="shares,hybrid")
    parser.add_argument("--bootstrap", type=int, default=300)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.part == "twin2k":
        made = twin2k(given.work / "data")
        dataset, runs = made.dataset, made.runs
    else:
        dataset, runs = vs.load_dataset(given.paths[0]), [load_run(path) for path in given.paths[1:]]
    for run in runs:
        study(dataset, run, given.work, given.split, given.methods.split(","), given.bootstrap)


if __name__ == "__main__":
    main()
