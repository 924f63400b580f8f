"""Repeated samples from a survey: how far five estimates of subgroups are from the full file, with and without a model.

    python bench/subsampling.py gss2018 embedded=RUN --n 50,100,200,400 --repetitions 500 --seed 0 -o TABLE.csv
    python bench/subsampling.py gss2012 embedded=RUN -o TABLE.csv
    python bench/subsampling.py twin2k -o TABLE.csv
    python bench/subsampling.py simulated -o TABLE.csv

Each repetition draws a simple random sample without replacement, which depends on the seed, n and the number of the repetition only.
The full file is the population: its weighted shares are the truth, in subgroups and items with at least 10 people and answers. Models are
runs of `ask` (NAME=FOLDER); twin2k has its own three. Two are added: `shuffled`, the first model with its answers exchanged among items
with as many options, and `perfect`, the truth of each subgroup or, of a model that answers as single people, the person's own answer for
9 of 10 people. Results are summed in files beside the table every few repetitions; the same command continues there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.subsampling_scores import Sums, Truth, table
from bench.subsampling_surveys import FEWEST_PEOPLE, SURVEYS, full_data, shares_of
from valuestrata.estimation.estimates import Estimates
from valuestrata.estimation.inputs import EstimationInput
from valuestrata.estimation.results.together import all_estimates
from valuestrata.progress import progress

SIZES = (50, 100, 200, 400)
EVERY = 5
Estimator = Callable[[EstimationInput], Mapping[str, Estimates]]


@dataclass(frozen=True)
class FullFile:
    """A survey of which everyone is in the sample, with the models' values for everyone.

    Attributes:
        data: all people. truth: shares and means of the full file.
    """

    data: EstimationInput
    truth: Truth

    def draw(self, n: int, seed: int, repetition: int) -> EstimationInput:
        """Return a simple random sample of n people without replacement."""
        people = self.data.sample.people
        rows = np.sort(np.random.default_rng([seed, n, repetition]).choice(people, size=n, replace=False))
        return self.data.of(rows, n / people)


def answers_in(data: EstimationInput) -> NDArray[np.intp]:
    """Return the number of valid answers of each subgroup and item, shape (G, I)."""
    return (data.members.T.astype(np.float32) @ (data.sample.answers >= 0).astype(np.float32)).astype(np.intp)


def truth_of(data: EstimationInput) -> Truth:
    """Return weighted shares and means of the full file; cells with few people or answers are not studied."""
    shares = shares_of(data)
    mean = np.where(data.items.ordered, np.nansum(shares * data.items.codes, axis=2), np.nan)
    enough = (data.members.sum(axis=0) >= FEWEST_PEOPLE)[:, None] & (answers_in(data) >= FEWEST_PEOPLE)
    return Truth(shares, mean, enough, data.items)


def full_file(data: EstimationInput) -> FullFile:
    """Return the full file of data whose sample is everyone."""
    return FullFile(data, truth_of(data))


def five_estimates(data: EstimationInput) -> dict[str, Estimates]:
    """Return the estimates of a sample, as `vs.estimate` makes them: `ESTIMATOR`, or `ESTIMATOR:RUN` of those with a model."""
    found = all_estimates(data, list(data.models)).listed
    return {one.estimator if one.run is None else f"{one.estimator}:{one.run}": one for one in found}


def repeat(full: FullFile, n: int, seed: int, repetitions: int, file: Path, estimate: Estimator = five_estimates) -> Sums:
    """Return the sums over repetitions; those in the file are not repeated."""
    first = estimate(full.draw(n, seed, 0))
    sums = Sums(tuple(first), full.truth)
    if file.exists():
        sums.load(file)
    with progress(f"samples of {n}", repetitions) as advance:
        advance(min(sums.done, repetitions))
        while sums.done < repetitions:
            data = full.draw(n, seed, sums.done)
            sums.add(full.truth, answers_in(data), estimate(data))
            if sums.done % EVERY == 0 or sums.done == repetitions:
                sums.save(file)
            advance(1)
    return sums


def main() -> None:
    """Draw the samples and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("survey", choices=SURVEYS)
    parser.add_argument("models", nargs="*", metavar="NAME=RUN", help="folders of runs; twin2k has its own models")
    parser.add_argument("--n", default=",".join(map(str, SIZES)), help="sizes of samples")
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strata", default="", help="strata to study, with commas; all without it")
    parser.add_argument("--items", default="", help="items to study, with commas; all without it")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="TABLE.csv")
    given = parser.parse_args()
    strata, items = (tuple(filter(None, one.split(","))) for one in (given.strata, given.items))
    runs = dict(one.split("=", 1) for one in given.models)
    full = full_file(full_data(given.survey, runs, strata, items, given.seed))
    subgroups, studied_items = full.truth.kept.shape
    print(f"{full.data.sample.people} people, {subgroups} subgroups, {studied_items} items, {full.truth.kept.sum()} cells", flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    tables: list[pl.DataFrame] = []
    for n in map(int, given.n.split(",")):
        file = given.out.with_name(f"{given.out.stem}-{n}.npz")
        tables.append(table(repeat(full, n, given.seed, given.repetitions, file), n).with_columns(survey=pl.lit(given.survey)))
        pl.concat(tables, how="diagonal").write_csv(given.out)
        print(tables[-1].filter(quantity="share", answers="1-49"), flush=True)


if __name__ == "__main__":
    main()
