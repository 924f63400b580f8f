"""What a pilot or an earlier wave shows about the answers of subgroups: shares, effective answers and design effects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.inputs import EstimationInput, ItemOptions, PopulationCells
from valuestrata.estimation.population import dataset_population
from valuestrata.estimation.reading import item_options
from valuestrata.scores.distances import padded
from valuestrata.stats.arrays import NEGLIGIBLE, Floats, Indices
from valuestrata.stats.small_area.shares import columns_of, small_area

PILOT, WAVE = "pilot", "earlier wave"
# Subgroups with fewer answers do not show a design effect.
FEW_ANSWERS = 10
# Range of a design effect.
EFFECTS = (1.0, 20.0)


@dataclass(frozen=True)
class Evidence:
    """Shares of subgroups with their sampling errors.

    Attributes:
        source: `PILOT` or `WAVE`. items, population: as in `EstimationInput`. people: number of people.
        shares: shape (G, I, K), direct estimates; 0 behind the last option and without answers.
        number: shape (G, I), effective answers, 0 without answers. rate: shape (I,), share of the people with a valid answer.
        joint: shape (J,), people in each joint cell.
        design_effect: variance of an estimate over that of a simple random sample of the same answers, within small subgroups.
    """

    source: str
    items: ItemOptions
    population: PopulationCells
    people: int
    shares: Floats
    number: Floats
    rate: Floats
    joint: Floats
    design_effect: float

    @cached_property
    def noise(self) -> Floats:
        """Covariance of the sampling errors of deviations from the population, over V, shape (G, G), averaged over items."""
        inside = self.population.inside.astype(np.float64)
        shared = (inside * self.joint) @ inside.T
        size = np.maximum(shared.diagonal(), 1.0)
        # Subgroups are larger than their effective number of answers by this factor.
        answers = np.maximum(self.number.mean(axis=1), NEGLIGIBLE)
        own = np.where(self.number.max(axis=1) > 0, size / answers, 0.0)
        covariance = shared / np.outer(size, size) * np.sqrt(np.outer(own, own))
        return covariance - covariance[[0]] - covariance[:, [0]] + covariance[0, 0]

    @cached_property
    def deviation(self) -> Floats:
        """Direct shares minus those of the population, shape (G, I, K); 0 without answers."""
        return np.where((self.number > 0)[..., None], self.shares - self.shares[0], 0.0)

    @cached_property
    def spread_of_items(self) -> Floats:
        """Sum over options of p (1 - p) in the population, shape (I,)."""
        return (self.shares[0] * (1 - self.shares[0])).sum(axis=1)

    @cached_property
    def smoothed(self) -> Floats:
        """Small-area estimates of the shares, shape (G, I, K); those of the population where nobody answered."""
        population = self.population
        labels = [
            [_only_level(population.levels[inside, a]) if g else None for g, inside in enumerate(population.inside)]
            for a in range(len(population.attributes))
        ]
        levels = columns_of(labels)[0] if labels else np.zeros((0, len(population.subgroups)))
        inside = population.inside.astype(np.float64)
        shared = (inside * self.joint) @ inside.T
        root = np.sqrt(np.outer(shared.diagonal(), shared.diagonal()))
        overlap = np.divide(shared, root, out=np.eye(len(shared)), where=root > 0)
        found = small_area(self.shares, self.number, levels, overlap, self.items.ordered).shares
        return np.where(np.isnan(found), self.shares[0], found)

    @cached_property
    def uncertainty(self) -> Floats:
        """Variance p (1 - p) of the most uncertain option, shape (G, I)."""
        # Without any answer, the largest one.
        return np.where(self.number[0] > 0, (self.smoothed * (1 - self.smoothed)).max(axis=2), 0.25)


def _only_level(levels: Indices) -> str | None:
    found = np.unique(levels)
    return str(found[0]) if len(found) == 1 and found[0] >= 0 else None


def evidence_of_wave(dataset: Dataset, items: ItemOptions | None = None, population: PopulationCells | None = None) -> Evidence:
    """Return what the gold of a data set shows about items (None for all) in a population (None for that of the data set)."""
    items, population = items or item_options(dataset), population or dataset_population(dataset)
    group = {name: g for g, name in enumerate(population.subgroups)}
    place = {name: i for i, name in enumerate(items.ids)}
    gold = dataset.gold.filter((pl.col("half") == "all") & (pl.col("n") > 0) & pl.col("item").is_in(list(place)))
    rows = np.array([group[name] for name in gold["subgroup"]], dtype=np.intp)
    columns = np.array([place[name] for name in gold["item"]], dtype=np.intp)
    shares = np.zeros((len(group), *items.codes.shape), dtype=np.float64)
    number, answers = np.zeros((len(group), len(items.ids))), np.zeros((len(group), len(items.ids)))
    shares[rows, columns] = padded(gold["shares"], items.codes.shape[1])
    number[rows, columns], answers[rows, columns] = gold["n_eff"].to_numpy(), gold["n"].to_numpy()
    people = int(dataset.joint["n"].sum())
    return Evidence(
        WAVE,
        items,
        population,
        people,
        shares,
        number,
        np.where(answers[0] > 0, np.clip(answers[0] / max(people, 1), NEGLIGIBLE, 1.0), 1.0),
        population.share * people,
        _wave_effect(population, number, answers),
    )


def _wave_effect(population: PopulationCells, number: Floats, answers: Floats) -> float:
    """Return answers over effective answers in the subgroups of most attributes, where weights differ least by design."""
    for stratum in reversed(list(dict.fromkeys(population.strata))):
        rows = np.array(population.strata) == stratum
        enough = (answers[rows] >= FEW_ANSWERS) & (number[rows] > 0)
        if enough.any():
            return float(np.clip(answers[rows][enough].sum() / number[rows][enough].sum(), *EFFECTS))
    return 1.0


def evidence_of_pilot(data: EstimationInput) -> Evidence:
    """Return what the people of a pilot show: their weighted shares with design-based variances."""
    sample, population = data.sample, data.population
    found = human_only(data)
    answered = sample.answers >= 0
    members = data.members.astype(np.float64)
    weight = members * sample.weight[:, None]
    total, squares = weight.T @ answered, (weight * sample.weight[:, None]).T @ answered
    kish = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    answers = members.T @ answered
    shares = np.where(answers[..., None] > 0, np.nan_to_num(found.shares), 0.0)
    variance = np.nan_to_num(found.mse).sum(axis=2) / max(1 - sample.fraction, NEGLIGIBLE)
    clustered = len(sample.stratum) < sample.people
    clusters, whole = _pilot_effects(population, shares, variance if clustered else None, kish, answers)
    return Evidence(
        PILOT,
        data.items,
        population,
        sample.people,
        shares,
        kish / clusters,
        np.clip(answered.mean(axis=0), NEGLIGIBLE, 1.0),
        np.bincount(sample.cell, minlength=len(population.share)).astype(np.float64),
        whole,
    )


def _pilot_effects(
    population: PopulationCells, shares: Floats, variance: Floats | None, kish: Floats, answers: Floats
) -> tuple[float, float]:
    """Return the design effects of clusters, and of clusters and weights, pooled over items in the subgroups of most attributes.

    Args:
        variance: shape (G, I), sum of the variances of an item's shares; None without clusters.
    """
    spread = (shares * (1 - shares)).sum(axis=2)
    for stratum in reversed(list(dict.fromkeys(population.strata))):
        rows = np.array(population.strata) == stratum
        enough = (answers[rows] >= FEW_ANSWERS) & (spread[rows] > NEGLIGIBLE)
        if enough.any():
            of_weights = answers[rows][enough].sum() / kish[rows][enough].sum()
            expected = (spread[rows][enough] / kish[rows][enough]).sum()
            clusters = 1.0 if variance is None else float(np.clip(variance[rows][enough].sum() / expected, *EFFECTS))
            return clusters, float(np.clip(clusters * of_weights, *EFFECTS))
    return 1.0, 1.0
