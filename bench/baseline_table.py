"""Runs all baselines on two surveys under every split and writes docs/baselines.md.

    python bench/baseline_table.py -o docs/baselines.md

gss2018 is the embedded survey; gss2012 is read from `--gss2012 FILE`. Only aggregates are written. `--rows FILE` stores
finished figures, so an interrupted run can be continued.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import baseline_page
import polars as pl

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import DISJOINT, Dataset, load_dataset, write_dataset
from valuestrata.errors import InputDataError
from valuestrata.respondents.baselines import CHEAP
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.scores import compare, relative, score
from valuestrata.splits import SCHEMES, make_splits
from valuestrata.survey.read import read_survey

GSS2012 = Path(__file__).resolve().parents[2] / "shared" / "data" / "gss2012.rda"
# The baseline of the hypothesis, as in bench/simulation_study.py.
STRONGEST = "ensemble"
METRICS = ("accuracy", "accuracy_expected", "nmae", "w1")
BOUNDS = ("ceiling_oracle", "ceiling_human", "floor_nmae", "floor_w1")
# For comparison with `unseen-item`, where no item of the topic is in training.
BY_ITEM = "unseen-item, dealt by item"
SPLITS = (*(scheme + suffix for scheme in SCHEMES for suffix in ("", DISJOINT)), BY_ITEM)
FITTED = ("additive", "additive-multinomial", "multilevel", "low-rank", "ensemble", "item-text")

Task = tuple[str, str, dict[str, str], int]


def comparisons(split: str) -> list[tuple[str, str]]:
    """Return (baseline, reference) pairs: fitted baselines and nearest parent, or for unseen items item-text and simple baselines."""
    if split.startswith(("unseen-item", "unseen-both")):
        return [("item-text", other) for other in ("midpoint", "item-average", "uniform")]
    return [*((kind, "nearest-parent") for kind in FITTED), (STRONGEST, "item-mode")]


def figures(task: Task) -> dict[str, Any]:
    """Return scores, relative scores and paired differences for a data set and split, or the reason why there are none."""
    name, split, places, bootstrap = task
    started = time.monotonic()
    dataset = replace(load_dataset(places[name]), path=None)
    found: dict[str, Any] = {"dataset": name, "split": split}
    scheme = split
    if split == BY_ITEM:
        scheme, dataset = "unseen-item", dealt_by_item(dataset)
    others = [other for other in places if other != name]
    train_on = replace(load_dataset(places[others[0]]), path=None) if split.startswith("transfer") and others else None
    if split.startswith("transfer") and train_on is None:
        return {**found, "refused": "there is no second data set for training."}
    try:
        test = dataset.part(scheme, "test")
        runs = reference_baselines(dataset, [], split=scheme, train_on=train_on)
    except InputDataError as error:
        return {**found, "refused": str(error)}
    scores = score(dataset, runs, split=scheme, by=("all",), bootstrap=bootstrap)
    cheap = [f"baseline-{kind}" for kind in CHEAP]
    against = relative(dataset, runs, baselines=cheap, split=scheme, by=("all",), bootstrap=bootstrap)
    named = [(f"baseline-{run}", f"baseline-{other}") for run, other in comparisons(split)]
    differences = compare(dataset, runs, named, split=scheme, by=("all",), metrics=METRICS, bootstrap=bootstrap)
    kept = scores.filter(pl.col("metric").is_in([*METRICS, *BOUNDS]))
    return {
        **found,
        "trained_on": None if train_on is None else others[0],
        "unmatched": runs[-1].meta["respondent"]["trained_on"].get("unmatched"),
        "folds": test["fold"].n_unique(),
        "pairs": test["pair_id"].n_unique(),
        "items": test["item"].n_unique(),
        "settings": {run.name: run.meta["respondent"].get("settings") for run in runs},
        "scores": kept.select("run", "metric", "value", "ci_low", "ci_high").to_dicts(),
        "relative": against.select("run", "metric", "baseline", "relative", "relative_low", "relative_high", "state").to_dicts(),
        "differences": differences.select("run", "against", "metric", "difference", "ci_low", "ci_high").to_dicts(),
        "seconds": time.monotonic() - started,
    }


def dealt_by_item(dataset: Dataset) -> Dataset:
    """Return the data set with items assigned to the folds of `unseen-item` individually, regardless of topic."""
    pairs = dataset.part("transfer", "all").select("pair_id", "item", "subgroup")
    rows, _ = make_splits(
        pairs, dataset.subgroups, dataset.items.with_columns(pl.lit("one").alias("topic")), [], seed=BuildSettings().split_seed
    )
    return replace(dataset, splits=rows)


def built(folder: Path, gss2012: Path) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Build the available data sets; return their paths and descriptions."""
    sources = {"gss2018": "embedded"}
    if gss2012.is_file():
        sources["gss2012"] = str(gss2012)
    else:
        print(f"{gss2012}: the file does not exist; gss2012 is left out.", file=sys.stderr)
    places: dict[str, str] = {}
    about: dict[str, dict[str, Any]] = {}
    for name, file in sources.items():
        dataset = build(read_survey(file), BuildSettings())
        write_dataset(dataset, folder / name)
        places[name] = str(folder / name)
        counts = dataset.meta["counts"]
        about[name] = {
            "items": counts["items"],
            "subgroups": counts["subgroups"],
            "pairs": counts["pairs"],
            "attributes": dataset.attributes,
            "fingerprint": dataset.fingerprint,
        }
    return places, about


def collected(todo: Sequence[Task], kept: Path | None, about: dict[str, dict[str, Any]], processes: int) -> list[dict[str, Any]]:
    """Return the figures of all tasks; those in the file `kept` for the same data set and bootstrap are reused."""
    there: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept is not None and kept.is_file() else {}
    keys = {_key(about[name], split, bootstrap): (name, split, places, bootstrap) for name, split, places, bootstrap in todo}
    # Long tasks come last, so an interrupted run has finished as many as possible.
    left = sorted((task for key, task in keys.items() if key not in there), key=lambda task: task[1].startswith("unseen-level"))
    with get_context("spawn").Pool(processes) as pool:
        for found in pool.imap_unordered(figures, left):
            there[_key(about[found["dataset"]], found["split"], todo[0][3])] = found
            print(f"{found['dataset']} {found['split']}: {found.get('seconds', 0):.0f} s", file=sys.stderr, flush=True)
            if kept is not None:
                kept.write_text(json.dumps(there, indent=1) + "\n")
    return [there[key] for key in keys]


def _key(about: dict[str, Any], split: str, bootstrap: int) -> str:
    return "|".join([about["fingerprint"], split, str(bootstrap)])


def main() -> int:
    """Compute the figures and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gss2012", type=Path, default=GSS2012, help="the 2012 survey file")
    parser.add_argument("--bootstrap", type=int, default=2000, help="bootstrap replicates")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS, help="splits; default all")
    parser.add_argument("--rows", type=Path, help="JSON file that stores finished figures")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    # One thread per process.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        places, about = built(Path(folder), given.gss2012)
        todo: list[Task] = [(name, split, places, given.bootstrap) for split in SPLITS if split in given.splits for name in places]
        found = collected(todo, given.rows, about, given.processes)
    missing = [split for split in SPLITS if split not in given.splits]
    page = baseline_page.document(found, about, STRONGEST, BY_ITEM, given.bootstrap, missing)
    given.output.write_text(page, encoding="utf-8")
    print(f"{given.output}: {len(found)} tables in {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
