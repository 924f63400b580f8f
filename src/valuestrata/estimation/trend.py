"""Trends of an item's mean over the ordered levels of an attribute, such as age groups, from people and a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.errors import UsageError
from valuestrata.estimation.estimators.values import with_codes
from valuestrata.estimation.inputs import EstimationInput, PopulationCells
from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.design_based.intervals import quantile_of_t
from valuestrata.stats.design_based.rectified import part_of_gain
from valuestrata.stats.design_based.rectified_ols import RegressionSample, rectified_ols


@dataclass(frozen=True)
class Trend:
    """Slopes of the I items: change of the mean code from one level to the next; NaN for nominal items and where undefined.

    Attributes:
        slope, low, high, se: shape (I,), rectified slope, its 95 % interval and its standard error.
        human, human_se: shape (I,), the slope of the people alone and its standard error.
        weight: shape (I,), lambda.
    """

    slope: Floats
    low: Floats
    high: Floats
    se: Floats
    human: Floats
    human_se: Floats
    weight: Floats


def trend(data: EstimationInput, run: str, attribute: str, *, weight: float | None = None) -> Trend:
    """Estimate how the mean of each item changes over the levels of an attribute, in the order of its levels.

    The slope is that of a least-squares line through the answers of the population, corrected by a model as in `rectified`. It leaves
    out levels whose subgroup the model did not answer for.

    Args:
        data: the input. run: name of a run. attribute: its name. weight: lambda; None to tune it for each item.

    Raises:
        UsageError: the input has no such attribute. KeyError: it has no such run.
    """
    population, items, model = data.population, data.items, data.models[run]
    if attribute not in population.attributes:
        raise UsageError(f"no attribute {attribute!r}; the data have {', '.join(population.attributes)}")
    column = population.attributes.index(attribute)
    groups = _groups_of_levels(population, column)
    size = np.array([population.share[population.levels[:, column] == level].sum() for level in range(len(groups))])
    f, means = (with_codes(np.where(items.used, shares, 0.0), items)[..., -1] for shares in (model.people, model.population))
    level = population.levels[data.sample.cell, column]
    found = np.full((7, len(items.ids)), np.nan)
    for i in np.flatnonzero(items.ordered):
        known = (groups >= 0) & (size > 0) & ~np.isnan(means[groups, i])
        rows = np.flatnonzero((data.sample.answers[:, i] >= 0) & (level >= 0) & known[level] & ~np.isnan(f[:, i]))
        if len(np.unique(level[rows])) < 2:
            continue
        sample = data.sample
        people = RegressionSample(_design(level[rows]), f[rows, i], sample.weight[rows], sample.unit[rows], sample.stratum)
        others = RegressionSample(_design(np.flatnonzero(known)), means[groups[known], i], size[known])
        use = float(part_of_gain(np.array(len(rows)), model.simulated[0, i], sample.fraction))
        codes = items.codes[i, sample.answers[rows, i]]
        found[:, i] = _slope(people, codes, others, use, sample.fraction, weight)
    return Trend(*found)


def _slope(
    sample: RegressionSample, codes: Floats, others: RegressionSample, use: float, fraction: float, weight: float | None
) -> list[float]:
    """Return the values of a `Trend` for one item."""
    human = rectified_ols(sample, codes, others, exact=True, weight=0.0)
    corrected = rectified_ols(sample, codes, others, exact=True, weight=weight)
    before, after = ((1 - fraction) * float(one.se[1]) ** 2 for one in (human, corrected))
    if weight is None and after > before:
        corrected, after = human, before
    se = float(np.sqrt(before - use * (before - after)))
    units = np.arange(len(codes)) if sample.unit is None else np.unique(sample.unit)
    strata = 1 if sample.stratum is None else len(np.unique(sample.stratum[units]))
    freedom = len(units) - strata - 1
    half = float(quantile_of_t(float(freedom))) * se if freedom > 0 else np.inf
    slope = float(corrected.value[1])
    return [slope, slope - half, slope + half, se, float(human.value[1]), float(np.sqrt(before)), corrected.weight]


def _design(level: Indices) -> Floats:
    """Return a column of ones and the number of the level, shape (n, 2)."""
    return np.stack([np.ones(len(level)), level], axis=1).astype(np.float64)


def _groups_of_levels(population: PopulationCells, column: int) -> Indices:
    """Return the subgroup that is exactly one level of an attribute, for each level; -1 if there is none."""
    found = np.full(len(population.labels[column]), -1, dtype=np.intp)
    for level in range(len(found)):
        same = (population.inside == (population.levels[:, column] == level)).all(axis=1)
        if same.any():
            found[level] = int(np.flatnonzero(same)[0])
    return found
