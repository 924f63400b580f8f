"""A multilevel model with random effects of levels and pairs of levels, and poststratification (MRP).

In a joint cell, the shares of an item are its mean plus random effects of the levels and pairs of levels. A training cell
observes the mean of its respondents. The sampling errors of cells s and t have covariance sum_j m_sj m_tj / n_j times that of
one answer, with m_s the weights of cell s over joint cells of n_j respondents. Predictions are best linear unbiased
(Henderson 1975; with poststratification, Gelman and Little 1997). The model is linear in shares, so cells are exact mixtures.

The variance of the effects of each attribute is estimated by restricted maximum likelihood, pooled over items. The variances
of an item may be a multiple of these; predictions are averaged over the multiples by posterior probability.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from valuestrata.respondents.baselines.cell_models.cells import TrainingCells, tabulated
from valuestrata.respondents.baselines.cell_models.validation import sample_items
from valuestrata.respondents.baselines.gold import JointCells, TrainingGold
from valuestrata.respondents.baselines.predictor import Floats, Predictor

# Multiples of the effect variances that an item may have, and their prior probabilities.
MULTIPLES = (0.1, 0.3, 1.0, 3.0, 9.0)
PRIOR = (0.1, 0.2, 0.4, 0.2, 0.1)
# Largest number of items used to estimate variances, drawn by seed.
VARIANCE_ITEMS = 60
# Starting values and bounds: effect variances relative to that of one answer, cell noise relative to sampling noise.
START_MAIN, START_PAIR, START_NOISE = 0.02, 0.004, 0.1
EFFECT_BOUNDS = (1e-5, 8.0)
NOISE_BOUNDS = (2.5e-3, 8.0)
# Items whose log effective answers differ by less than this use the same factorisation.
SIZE_STEP = 0.1


@dataclass(frozen=True)
class ItemGroup:
    """Items with the same training subgroups and about the same number of answers.

    Attributes:
        items: the items.
        parts: for each kind of effect, the covariance between training cells at variance 1, shape (S, S).
        noise: covariance of sampling noise, shape (S, S). own: variance of independent cell noise, shape (S,).
        scaled: shares divided by the square root of the pooled shares, shape (S, codes). columns: item -> its columns.
        contrasts: number of independent columns: codes minus one, summed over items.
        subgroups: the S training subgroups.
    """

    items: tuple[str, ...]
    parts: tuple[Floats, ...]
    noise: Floats
    own: Floats
    scaled: Floats
    columns: Mapping[str, slice]
    contrasts: int
    subgroups: tuple[str, ...]

    def covariance(self, variances: Floats, multiple: float = 1.0) -> Floats:
        """Return the covariance between training cells, shape (S, S); the last variance is that of cell noise."""
        total = self.noise + np.diag(variances[-1] * self.own)
        for variance, part in zip(variances[:-1], self.parts, strict=True):
            total = total + multiple * variance * part
        return total

    def projected(self, variances: Floats, multiple: float = 1.0) -> tuple[Floats, float]:
        """Return P = C^-1 - C^-1 1 (1' C^-1 1)^-1 1' C^-1 and log|C| + log(1' C^-1 1)."""
        covariance = self.covariance(variances, multiple)
        inverse = np.linalg.inv(covariance)
        ones = inverse.sum(axis=1)
        precision = ones.sum()
        projection = inverse - np.outer(ones, ones) / precision
        return projection, float(np.linalg.slogdet(covariance)[1] + np.log(precision))


def fit_multilevel(gold: TrainingGold) -> Predictor:
    """Estimate variances, predict effects and poststratify."""
    return tabulated(gold, gold.once(TrainingCells.of).poststratify(gold.once(of_gold)))


def of_gold(gold: TrainingGold) -> Callable[[str], Floats]:
    """Return `joint_shares` of a training gold."""
    return joint_shares(gold.once(TrainingCells.of))


def joint_shares(cells: TrainingCells) -> Callable[[str], Floats]:
    """Return item -> shares in the joint cells to predict, shape (cells, K), possibly negative."""
    trained = _effects(cells, cells.gold.trained_joint)
    asked = _effects(cells, cells.gold.joint)
    designs = {s: [weights @ part for part in trained] for s, weights in cells.mixture.items()}
    variances = restricted_maximum_likelihood(_groups(cells, designs, sample_items(cells.items, VARIANCE_ITEMS)), len(asked))
    predicted: dict[str, Floats] = {}
    for group in _groups(cells, designs, cells.items):
        _predict(cells, group, designs, asked, variances, predicted)
    return lambda item: predicted[item]


def _effects(cells: TrainingCells, joint: JointCells) -> list[Floats]:
    """Return the design matrix of each kind of effect in joint cells: main effects by attribute, then pairs of levels."""
    levels = cells.one_hot(joint)
    names = list(dict.fromkeys(name for name, _ in cells.levels))
    of_attribute = [np.flatnonzero([name == other for other, _ in cells.levels]) for name in names]
    pairs = [levels[:, i] * levels[:, j] for one, other in combinations(of_attribute, 2) for i in one for j in other]
    return [*(levels[:, columns] for columns in of_attribute), np.stack(pairs, axis=1) if pairs else np.zeros((len(levels), 1))]


def _groups(cells: TrainingCells, designs: Mapping[str, Sequence[Floats]], items: Sequence[str]) -> list[ItemGroup]:
    joint = cells.gold.trained_joint
    per_answer = 1.0 / np.maximum(joint.n, 1.0)
    groups: dict[tuple[tuple[str, ...], int], list[str]] = {}
    overlaps: dict[tuple[str, ...], Floats] = {}
    for item in items:
        seen = cells.observed[item]
        if seen.subgroups not in overlaps:
            mixture = np.array([cells.mixture[s] for s in seen.subgroups])
            overlaps[seen.subgroups] = (mixture * per_answer) @ mixture.T
        size = float(np.median(seen.n_eff * np.diag(overlaps[seen.subgroups])))
        groups.setdefault((seen.subgroups, round(np.log(size) / SIZE_STEP)), []).append(item)
    return [_group(cells, designs, overlaps[subgroups], subgroups, same) for (subgroups, _), same in groups.items()]


def _group(
    cells: TrainingCells, designs: Mapping[str, Sequence[Floats]], overlap: Floats, subgroups: tuple[str, ...], items: Sequence[str]
) -> ItemGroup:
    seen = [cells.observed[item] for item in items]
    own = np.mean([1.0 / one.n_eff for one in seen], axis=0)
    size = float(np.mean([np.median(one.n_eff * np.diag(overlap)) for one in seen]))
    kinds = zip(*(designs[s] for s in subgroups), strict=True)
    parts = tuple(rows @ rows.T for rows in (np.array(kind) for kind in kinds))
    ends = np.cumsum([0, *(len(one.pooled) for one in seen)])
    columns = {item: slice(start, end) for item, start, end in zip(items, ends[:-1].tolist(), ends[1:].tolist(), strict=True)}
    scaled = np.hstack([one.shares / np.sqrt(one.pooled) for one in seen])
    return ItemGroup(tuple(items), parts, overlap / size, own, scaled, columns, int(ends[-1]) - len(seen), subgroups)


def restricted_maximum_likelihood(groups: Sequence[ItemGroup], kinds: int) -> Floats:
    """Return the variance of each kind of effect and, last, that of cell noise: shape (kinds + 1,).

    An answer has covariance diag(p) - p p'. Divided by sqrt(p), it has variance 1 in K - 1 directions. The likelihood is the
    restricted Gaussian likelihood of these directions (Patterson and Thompson 1971).
    """
    from scipy.optimize import minimize

    start = np.array([*[START_MAIN] * (kinds - 1), START_PAIR, START_NOISE])

    def negative(logs: Floats) -> tuple[float, Floats]:
        variances = np.exp(logs)
        value, slope = 0.0, np.zeros(len(logs))
        for group in groups:
            projection, log_determinant = group.projected(variances)
            solved = projection @ group.scaled
            value += 0.5 * (group.contrasts * log_determinant + float((solved * group.scaled).sum()))
            gradient = 0.5 * (group.contrasts * projection - solved @ solved.T)
            slope += [*(float(np.vdot(gradient, part)) for part in group.parts), float(np.diag(gradient) @ group.own)]
        return value, slope * variances

    bounds = [np.log(EFFECT_BOUNDS)] * kinds + [np.log(NOISE_BOUNDS)]
    found: Any = minimize(negative, np.log(start), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.exp(found.x)


def _predict(
    cells: TrainingCells,
    group: ItemGroup,
    designs: Mapping[str, Sequence[Floats]],
    asked: Sequence[Floats],
    variances: Floats,
    predicted: dict[str, Floats],
) -> None:
    """Add the shares of a group's items in joint cells to `predicted`."""
    maps: list[Floats] = []
    log_posterior: list[Floats] = []
    kinds = list(zip(*(designs[s] for s in group.subgroups), strict=True))
    covariance = sum(v * part @ np.array(kind).T for v, part, kind in zip(variances[:-1], asked, kinds, strict=True))
    for multiple, prior in zip(MULTIPLES, PRIOR, strict=True):
        projection, log_determinant = group.projected(variances, multiple)
        inverse_ones = np.linalg.solve(group.covariance(variances, multiple), np.ones(len(group.subgroups)))
        # Prediction: GLS mean + covariance with training cells x P x shares.
        maps.append(multiple * covariance @ projection + inverse_ones / inverse_ones.sum())
        squares = (group.scaled * (projection @ group.scaled)).sum(axis=0)
        of_item = np.array([squares[where].sum() for where in group.columns.values()])
        contrasts = np.array([where.stop - where.start - 1 for where in group.columns.values()])
        log_posterior.append(np.log(prior) - 0.5 * (contrasts * log_determinant + of_item))
    weights = np.exp(np.array(log_posterior) - np.max(log_posterior, axis=0))
    weights /= weights.sum(axis=0)
    for i, item in enumerate(group.items):
        predicted[item] = np.tensordot(weights[:, i], np.array(maps), axes=1) @ cells.observed[item].shares
