"""Coverage, length and error of rectified intervals beside those of the people alone, on simulated populations with known shares.

    python bench/rectified_coverage.py [--samples 60] [--people 50 100 200 400]

Prints a table for models that are useless, good everywhere, good in two of five regions, too often at the item's most frequent option, and
known for pairs only; and for samples in clusters with weights that depend on answers. Figures are means over subgroups with at least 10
people in the sample; `expected` is the length that the correlation of answers and model promises, sqrt(1 - r^2).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tests.estimation.simulated import World, one_hot, world
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.estimators.rectified import rectified
from valuestrata.estimation.inputs import EstimationInput, HumanSample, ModelValues
from valuestrata.stats.arrays import Indices

Draw = Callable[[World, int, int], EstimationInput]
ENOUGH = 10


@dataclass(frozen=True)
class Outcome:
    """Means over samples and cells of enough people; ratios are those of rectified to human.

    Attributes:
        human, found: coverage of the intervals of shares. means: coverage of those of means.
        length, error: ratio of the mean lengths, and of the mean squared errors. weight: mean lambda.
    """

    human: float
    found: float
    means: float
    length: float
    error: float
    weight: float


def drawn(place: World, n: int, seed: int) -> EstimationInput:
    """Draw a simple random sample."""
    return place.draw(n, seed)


def by_pairs(place: World, n: int, seed: int) -> EstimationInput:
    """Draw a simple random sample, with a model that knows the shares of each joint cell."""
    data = place.draw(n, seed, model=False)
    values = one_hot(place.answers, place.items)
    cells = np.zeros((len(place.population.share), *values.shape[1:]))
    for cell in np.unique(place.cell):
        cells[cell] = values[place.cell == cell].mean(axis=0)
    model = ModelValues("model", place.truth, cells[data.sample.cell], place.truth, np.full(place.truth.shape[:2], np.inf))
    return replace(data, models={"model": model})


def clustered(place: World, n: int, seed: int) -> EstimationInput:
    """Draw clusters of five people who answer alike, with weights that depend on answers."""
    rng = np.random.default_rng(seed)
    order = np.argsort(place.answers[:, :3].sum(axis=1) + np.random.default_rng(5).normal(0, 2.5, len(place.cell)), kind="stable")
    clusters = np.array_split(order, len(order) // 10)
    chance = np.array([np.exp(0.1 * place.answers[one, 0].mean()) for one in clusters])
    picked = rng.choice(len(clusters), n // 5, p=chance / chance.sum())
    rows = np.concatenate([rng.choice(clusters[one], 5, replace=False) for one in picked])
    unit = np.repeat(np.arange(len(picked)), 5)
    stratum = np.zeros(len(picked), dtype=np.intp)
    sample = HumanSample(place.answers[rows], place.cell[rows], np.repeat(1 / chance[picked], 5), unit, stratum)
    return EstimationInput(place.items, place.population, sample, {"model": place.respondent_level(rows)})


def shuffled(place: World) -> World:
    """Return the world with the model's answers shuffled among items of as many options: a useless model."""
    simulated = place.simulated.copy()
    for number in np.unique(place.items.options):
        same = np.flatnonzero(place.items.options == number)
        simulated[:, same] = place.simulated[:, np.roll(same, 1)]
    return replace(place, simulated=simulated)


def one_sided(place: World) -> World:
    """Return the world with a model that gives the most frequent option to 60 % of people, and otherwise their own answer."""
    rng = np.random.default_rng(1)
    most = np.array([np.bincount(column).argmax() for column in place.answers.T])
    return replace(place, simulated=np.where(rng.random(place.answers.shape) < 0.6, most, place.answers).astype(np.int8))


def by_region(place: World) -> World:
    """Return the world with a model that knows 80 % of the people of the two large regions and nobody of the others."""
    rng = np.random.default_rng(2)
    known = rng.random(place.answers.shape) < np.array([0.8, 0.8, 0, 0, 0])[place.population.levels[place.cell, 2]][:, None]
    return replace(place, simulated=np.where(known, place.answers, rng.permuted(place.answers, axis=0)).astype(np.int8))


def outcome(place: World, n: int, samples: int, draw: Draw = drawn) -> Outcome:
    """Return means over samples of n people."""
    truth_of_means = (place.truth * np.nan_to_num(place.items.codes)).sum(axis=2)
    rows: list[list[float]] = []
    for seed in range(samples):
        data = draw(place, n, seed)
        human = human_only(data)
        found = rectified(data, "model", human)
        pairs: Indices = np.flatnonzero(data.members.sum(axis=0) >= ENOUGH)
        used = np.broadcast_to(place.items.used, place.truth.shape)[pairs]
        row = [float(found.weight[pairs].mean())]
        for one in (human, found):
            covered = (one.low <= place.truth + 1e-9) & (place.truth <= one.high + 1e-9)
            mean = (one.mean_low <= truth_of_means + 1e-9) & (truth_of_means <= one.mean_high + 1e-9)
            parts = (covered, one.high - one.low, (one.shares - place.truth) ** 2)
            row += [float(mean[pairs].mean()), *(float(part[pairs][used].mean()) for part in parts)]
        rows.append(row)
    weight, _, human, length, error, means, covered, new_length, new_error = np.mean(rows, axis=0).tolist()
    return Outcome(human, covered, means, new_length / length, new_error / error, weight)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--people", type=int, nargs="+", default=[50, 100, 200, 400])
    chosen = parser.parse_args()

    def of_skill(skill: float) -> World:
        return world(2, people=3000, items=9, skill=skill)

    good = of_skill(0.6)
    cases: list[tuple[str, World, Draw, float]] = [
        ("useless", shuffled(good), drawn, 1.0),
        *((f"skill {skill}", of_skill(skill), drawn, (1 - skill**2) ** 0.5) for skill in (0.3, 0.6, 0.8, 1.0)),
        ("good in two regions", by_region(good), drawn, np.nan),
        ("one-sided", one_sided(good), drawn, np.nan),
        ("shares of cells", good, by_pairs, np.nan),
        ("skill 0.6, clusters and weights", good, clustered, 0.8),
    ]
    print("| model | n | coverage human | rectified | means | length | expected | RMSE | lambda |\n|---|---|---|---|---|---|---|---|---|")
    for name, place, draw, expected in cases:
        for n in chosen.people:
            found = outcome(place, n, chosen.samples, draw)
            print(
                f"| {name} | {n} | {found.human:.3f} | {found.found:.3f} | {found.means:.3f} | {found.length:.3f} | {expected:.3f} "
                f"| {found.error**0.5:.3f} | {found.weight:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
