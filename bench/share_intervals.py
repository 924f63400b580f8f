"""Coverage and length of 95 % intervals of shares in small subgroups, by several methods, in simulated surveys.

    python bench/share_intervals.py --surveys 300

Each survey has 400 people, 12 items with two options (the rarer one has a share of .02 to .5) and subgroups of about 10, 15, 20, 30 and 50
people that people belong to at random, so the share of every subgroup is known. Samples are simple, weighted (gamma weights, Kish's
effective number .8 n), clustered (40 units of 10, intraclass correlation .05, beta shares), both, or of 10 units. Seeds are the numbers
of the surveys.

Methods: `wilson` is that of `human_only` (smoothed design effects); `kish` ignores clusters; `own` takes each share's own variance and
Student's t; `korn-graubard` is the exact interval of the effective number, adjusted by t (Korn and Graubard 1998, Survey Methodology
24:193-201); `logit` is symmetric on the log odds, with t. The last three use Kish's number where the variance is 0, and `logit` then has
the exact interval. `mean` is the interval of the mean of `human_only`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import betaincinv, expit, logit

from valuestrata.estimation.estimators.human import effective_answers, human_only
from valuestrata.estimation.inputs import EstimationInput, HumanSample, ItemOptions, PopulationCells
from valuestrata.stats.design_based.intervals import quantile_of_t, wilson

SIZES = (10, 15, 20, 30, 50)
SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5) * 2
PEOPLE = 400


@dataclass(frozen=True)
class Kind:
    """A kind of sample: whether it has weights, the intraclass correlation (0 without clusters), and the number of units."""

    weights: bool
    correlation: float
    units: int = 40


KINDS = {
    "simple": Kind(False, 0.0),
    "weighted": Kind(True, 0.0),
    "clustered": Kind(False, 0.05),
    "both": Kind(True, 0.05),
    "few units": Kind(False, 0.05, 10),
}


def draw(kind: Kind, seed: int) -> EstimationInput:
    """Draw a survey from an infinite population."""
    rng = np.random.default_rng([seed, 3])
    clustered = kind.correlation > 0
    unit = np.repeat(np.arange(kind.units), PEOPLE // kind.units) if clustered else np.arange(PEOPLE)
    shares = np.array(SHARES)
    if clustered:
        more = 1 / kind.correlation - 1
        shares = rng.beta(shares * more, (1 - shares) * more, (kind.units, len(SHARES)))[unit]
    answers = (rng.random((PEOPLE, len(SHARES))) < shares).astype(np.int8)
    weight = rng.gamma(4.0, 0.25, PEOPLE) if kind.weights else np.ones(PEOPLE)
    inside = np.array([np.ones(PEOPLE), *(rng.random(PEOPLE) < size / PEOPLE for size in SIZES for _ in range(4))], dtype=bool)
    names = ("all", *(f"size {size}, {k}" for size in SIZES for k in range(4)))
    count = len(SHARES)
    items = ItemOptions(
        tuple(f"Q{i}" for i in range(count)),
        np.full(count, 2),
        np.tile([0.0, 1.0], (count, 1)),
        np.ones(count, dtype=bool),
        np.array([f"Q{i}" for i in range(count)]),
    )
    cells = np.arange(PEOPLE)
    population = PopulationCells((), np.zeros((PEOPLE, 0), dtype=np.intp), np.full(PEOPLE, 1 / PEOPLE), names, names, inside, ())
    sample = HumanSample(answers, cells, weight, unit, np.zeros(unit.max() + 1, dtype=np.intp))
    return EstimationInput(items, population, sample)


def compare(kind: Kind, seed: int) -> pl.DataFrame:
    """Return, for every subgroup, item and method, the interval of the second option, and that of the mean."""
    data = draw(kind, seed)
    human = human_only(data)
    p, variance = human.shares[..., 1], human.mse[..., 1]
    people = np.broadcast_to(data.members.sum(axis=0)[:, None], p.shape).astype(float)
    weight = data.members.T * data.sample.weight
    kish = np.broadcast_to((weight.sum(axis=1) ** 2 / np.maximum((weight**2).sum(axis=1), 1e-12))[:, None], p.shape)
    units = np.array([len(np.unique(data.sample.unit[inside])) for inside in data.members.T])
    freedom = np.broadcast_to(np.maximum(units - 1.0, 1.0)[:, None], p.shape)
    t = quantile_of_t(freedom)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(variance > 1e-15, np.minimum(p * (1 - p) / variance, 2 * people), kish)
        exact = own * (quantile_of_t(np.maximum(people - 1, 1.0)) / t) ** 2
        hits, misses = p * exact, (1 - p) * exact
        low = np.where(p > 0, betaincinv(np.maximum(hits, 1e-9), misses + 1, 0.025), 0.0)
        high = np.where(p < 1, betaincinv(hits + 1, np.maximum(misses, 1e-9), 0.975), 1.0)
        inner = (p > 0) & (p < 1)
        odds, half = logit(np.where(inner, p, 0.5)), t * np.sqrt(1 / (own * np.where(inner, p * (1 - p), 0.25)))
    methods = {
        "wilson": (human.low[..., 1], human.high[..., 1]),
        "kish": wilson(p, kish, 1.959964),
        "own": wilson(p, own, t),
        "korn-graubard": (low, high),
        "logit": (np.where(inner, expit(odds - half), low), np.where(inner, expit(odds + half), high)),
        "mean": (human.mean_low, human.mean_high),
    }
    true = np.broadcast_to(np.array(SHARES), p.shape)
    size = np.repeat([PEOPLE, *np.repeat(SIZES, 4)], len(SHARES))
    effective = effective_answers(data)
    frames = [
        pl.DataFrame(
            {
                "size": size,
                "share": true.ravel(),
                "n": people.ravel(),
                "covered": ((ends[0] <= true) & (true <= ends[1])).ravel(),
                "length": (ends[1] - ends[0]).ravel(),
                "effect": (people / effective).ravel(),
                "method": [name] * p.size,
            }
        )
        for name, ends in methods.items()
    ]
    return pl.concat(frames).filter(pl.col("n") >= 10)


def main() -> None:
    """Print coverage by method, and of `human_only` by share and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surveys", type=int, default=300)
    options = parser.parse_args()
    summary = {"covered": pl.col("covered").mean(), "length": pl.col("length").mean(), "effect": pl.col("effect").mean(), "pairs": pl.len()}
    with pl.Config(tbl_rows=60, float_precision=3):
        for name, kind in KINDS.items():
            rows = pl.concat([compare(kind, seed) for seed in range(options.surveys)])
            print(name)
            print(rows.group_by("method", maintain_order=True).agg(**summary))
            ours = rows.filter(method="wilson")
            print(ours.pivot("size", index="share", values="covered", aggregate_function="mean", sort_columns=True).sort("share"))


if __name__ == "__main__":
    main()
