"""All estimators on one input, benchmarked to the population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from valuestrata.estimation.benchmark import benchmarked
from valuestrata.estimation.estimates import Estimates
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.estimators.model_only import model_only
from valuestrata.estimation.estimators.multilevel import multilevel
from valuestrata.estimation.estimators.rectified import rectified
from valuestrata.estimation.estimators.small_area import small_area_fit
from valuestrata.estimation.inputs import EstimationInput, ModelValues, PopulationCells
from valuestrata.frames import Column, Schema
from valuestrata.progress import Advance, no_progress
from valuestrata.stats.arrays import Floats

BENCHMARK = Schema(
    "benchmark.csv",
    {
        "estimator": Column(pl.String, "name of the estimator"),
        "run": Column(pl.String, "run of the model; null without a model"),
        "stratum": Column(pl.String, "stratum whose subgroups were benchmarked"),
        "mean_moved": Column(pl.Float64, "mean absolute change of a share, 0 to 1"),
        "most_moved": Column(pl.Float64, "largest absolute change of a share"),
    },
)


@dataclass(frozen=True)
class AllEstimates:
    """Results of all estimators.

    Attributes:
        human: of the sample alone. model, rectified, small_area: by run; `small_area[None]` is the estimate without a model.
        multilevel: of the multilevel regression. benchmark: BENCHMARK, how far benchmarking moved the shares.
    """

    human: Estimates
    model: dict[str, Estimates]
    rectified: dict[str, Estimates]
    multilevel: Estimates
    small_area: dict[str | None, Estimates]
    benchmark: pl.DataFrame

    @property
    def listed(self) -> list[Estimates]:
        """All estimates, in the order of the table."""
        return [self.human, *self.model.values(), *self.rectified.values(), self.multilevel, *self.small_area.values()]


def steps(runs: int, earlier: bool) -> int:
    """Return how often `all_estimates` advances the bar, with `runs` models and perhaps an earlier wave."""
    return 3 + 2 * runs + earlier


def all_estimates(
    data: EstimationInput, runs: Sequence[str], *, earlier: Sequence[ModelValues] = (), advance: Advance = no_progress
) -> AllEstimates:
    """Run every estimator, and benchmark the estimates of subgroups to the population.

    Multilevel estimates agree with the sample's estimate of the population, rectified and small-area estimates with their own.

    Args:
        data: the people and the models, with the values of `earlier` among them. runs: names of models to use.
        earlier: values of earlier waves: predictors of the small-area estimates, and rectified like a model. advance: of a progress bar.
    """
    advance(0, "sample alone")
    human = human_only(data)
    advance(1, "multilevel")
    fit = multilevel(data)
    advance(1)
    moved: list[dict[str, object]] = []

    def agreeing(found: Estimates, total: Estimates) -> Estimates:
        made = benchmarked(found, data.population, total.shares[0], data.items)
        moved.extend(_moved(found, made, data.population))
        return made

    of_model: dict[str, Estimates] = {}
    corrected: dict[str, Estimates] = {}
    small: dict[str | None, Estimates] = {}
    for run in (*runs, *(one.name for one in earlier)):
        advance(0, f"rectified, {run}")
        found = rectified(data, run, human)
        corrected[run] = _no_longer(agreeing(found, found), human)
        advance(1)
    for run in (*runs, None):
        advance(0, "small-area" if run is None else f"small-area, {run}")
        found = small_area_fit(data, () if run is None else (run,), fit, human, earlier=earlier).estimates
        small[run] = agreeing(found, found)
        if run is not None:
            of_model[run] = model_only(data, run)
        advance(1)
    together = agreeing(fit.estimates, human)
    return AllEstimates(human, of_model, corrected, together, small, BENCHMARK.frame(moved))


def _no_longer(found: Estimates, human: Estimates) -> Estimates:
    """Return estimates with intervals that are no longer than the human ones. One that moved away from the end of the range may be."""

    def cut(value: Floats, low: Floats, high: Floats, length: Floats) -> tuple[Floats, Floats]:
        factor = np.divide(length, high - low, out=np.ones_like(length), where=high - low > length)
        return value - factor * (value - low), value + factor * (high - value)

    low, high = cut(found.shares, found.low, found.high, human.high - human.low)
    mean_low, mean_high = cut(found.mean, found.mean_low, found.mean_high, human.mean_high - human.mean_low)
    return replace(found, low=low, high=high, mean_low=mean_low, mean_high=mean_high)


def _moved(before: Estimates, after: Estimates, population: PopulationCells) -> list[dict[str, object]]:
    """Return the rows of BENCHMARK for one estimator."""
    strata = np.array(population.strata)
    distance = np.abs(after.shares - before.shares)
    rows: list[dict[str, object]] = []
    for stratum in dict.fromkeys(population.strata[1:]):
        found = distance[strata == stratum]
        found = found[np.isfinite(found)]
        if len(found):
            most = float(found.max())
            rows.append(
                {"estimator": after.estimator, "run": after.run, "stratum": stratum, "mean_moved": float(found.mean()), "most_moved": most}
            )
    return rows
