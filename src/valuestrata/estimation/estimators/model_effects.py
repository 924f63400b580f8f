"""What a model says about subgroups and people, apart from the level of each item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.estimation.inputs import EstimationInput, ModelValues, PopulationCells
from valuestrata.stats.arrays import Floats
from valuestrata.stats.small_area.slopes import shrunken

# Ridge penalty of the effects of subgroups, relative to their size.
RIDGE = 0.05
TINY = 1e-300


@dataclass(frozen=True)
class ModelEffects:
    """A model's answers for subgroups and joint cells.

    Attributes:
        level: shape (I, K), answer for the population; NaN without any answer to the item.
        subgroups: shape (G, I, K), answer for each subgroup minus the level; 0 without any answer to the item.
        cells: shape (J, I, K), the same for joint cells. rest: shape (G, I, K), `subgroups` minus the mean of their cells.
    """

    level: Floats
    subgroups: Floats
    cells: Floats
    rest: Floats


def model_effects(values: ModelValues, population: PopulationCells) -> ModelEffects:
    """Return what a model says of subgroups and cells.

    A cell has the sum of effects of the subgroups that contain it. The effects reproduce the subgroups' answers, and are the smallest that
    do (ridge regression).
    """
    answers = values.population if values.respondent_level else values.pairs
    items, options = answers.shape[1:]
    sizes = population.sizes
    asked = ~np.isnan(answers[..., 0]) & (sizes > 0)[:, None]
    level = np.full((items, options), np.nan)
    cells = np.zeros((population.inside.shape[1], items, options))
    overlap = (population.inside * population.share) @ population.inside.T
    with np.errstate(divide="ignore", invalid="ignore"):
        gram = overlap / np.outer(sizes, sizes)
    patterns: dict[bytes, list[int]] = {}
    for item in range(items):
        patterns.setdefault(asked[:, item].tobytes(), []).append(item)
    for some in patterns.values():
        rows = np.flatnonzero(asked[:, some[0]])
        if not len(rows):
            continue
        given = answers[np.ix_(rows, np.array(some))]
        whole = given[0] if rows[0] == 0 else np.tensordot(sizes[rows], given, axes=1) / sizes[rows].sum()
        level[some] = whole
        matrix = gram[np.ix_(rows, rows)] + RIDGE * np.diag(1 / sizes[rows])
        effects = np.linalg.solve(matrix, (given - whole).reshape(len(rows), -1))
        cells[:, some] = ((population.inside[rows] / sizes[rows, None]).T @ effects).reshape(len(cells), len(some), options)
    fitted = (population.weights @ cells.reshape(len(cells), -1)).reshape(answers.shape)
    found = np.where(asked[..., None] & ~np.isnan(level[..., :1]), answers - level, fitted)
    found[0] = 0.0
    found = np.nan_to_num(found)
    return ModelEffects(level, found, cells, found - fitted)


@dataclass(frozen=True)
class PersonalAnswers:
    """What a model's answers as single people change in the human estimates (regression estimation).

    The answers y of people are replaced by y - lambda (f - f of their cell), whose mean over the population is the same and whose
    variance is smaller. lambda of an item is between that of all items and the item's own, by empirical Bayes.

    Attributes:
        weight: lambda, shape (I,). variance: shape (I,), factor of the variance of an answer, at most 1.
        people: shape (P, I, K): lambda (f - f of the cell), 0 without an answer of the person or the model.
    """

    weight: Floats
    variance: Floats
    people: Floats


def personal_answers(data: EstimationInput, values: ModelValues, effects: ModelEffects, human: Floats) -> PersonalAnswers:
    """Learn lambda from the people of the sample.

    Args:
        human: shape (P, I, K), human answers 0/1; NaN if missing.
    """
    away = values.people - np.nan_to_num(effects.level) - effects.cells[data.sample.cell]
    both = np.isfinite(away[..., 0]) & np.isfinite(human[..., 0]) & np.isfinite(effects.level[None, :, 0])
    weight = data.sample.weight[:, None] * both
    away = np.where(both[..., None], away, 0.0)
    total = np.maximum(weight.sum(axis=0), 1e-12)
    rest = np.where(both[..., None], human, 0.0)
    rest = np.where(both[..., None], rest - np.einsum("pi,pik->ik", weight, rest) / total[:, None], 0.0)
    scale = np.maximum(np.einsum("pi,pik,pik->i", weight, rest, rest) / total, 1e-12)
    product = np.einsum("pik,pik->pi", away, rest) * weight / scale
    square = np.einsum("pik,pik->pi", away, away) * weight / scale
    moment, size = product.sum(axis=0), square.sum(axis=0)
    usable = size > 1e-9
    found = np.zeros(len(scale))
    if usable.sum() < 1:
        return PersonalAnswers(found, np.ones(len(scale)), away * 0.0)
    pooled = float(moment.sum() / size.sum())
    residual = product - pooled * square
    by_item, by_person = float((residual.sum(axis=0) ** 2).sum()), float((residual.sum(axis=1) ** 2).sum())
    error = max(by_item + by_person - float((residual**2).sum()), float((residual**2).sum())) / size.sum() ** 2
    common = float(shrunken(np.array([pooled]), np.array([[max(error, 1e-12)]]), np.zeros(1, dtype=np.intp)).mean[0])
    own = np.divide(moment, size, out=np.zeros_like(size), where=usable)
    noise = np.divide((residual**2).sum(axis=0), size**2, out=np.full_like(size, np.inf), where=usable)
    spread = ((own - pooled) ** 2 - noise)[usable]
    between = max(float((size[usable] * spread).sum() / size[usable].sum()), 0.0)
    found = np.clip(np.where(usable, common + between / np.maximum(between + noise, TINY) * (own - common), 0.0), 0.0, 1.0)
    kept = 1 - (2 * found * moment - found**2 * size) / total
    return PersonalAnswers(found, np.clip(kept, 0.1, 1.0), found[:, None] * away)
