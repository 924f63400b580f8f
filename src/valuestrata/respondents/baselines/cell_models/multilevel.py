"""A multilevel model: effects of attribute levels and of their pairs, partially pooled, poststratified (MRP).

In joint cell j the shares of an item are everyone's plus effects of the cell's levels and pairs of levels, all of them
random; a training cell observes the mean of its people. Two cells share noise as far as they share people: with m_s the
weights of cell s over joint cells of n_j people, the noise has covariance sum_j m_sj m_tj / n_j times that of one
answer. The effects' best linear unbiased predictions are what is returned (Henderson 1975; as poststratified regression,
Gelman and Little 1997). On shares and not on logits, because cells are then exact mixtures.

How large effects are, attribute by attribute, is found by restricted maximum likelihood pooled over items (which, unlike
leaving cells out, knows that a parent holds the very people of the cell left out); an item may have effects of a
multiple of that size, and predictions are averaged over the multiples by how likely each makes the item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from valuestrata.respondents.baselines.cell_models.cells import Cells, tabled
from valuestrata.respondents.baselines.cell_models.validation import some
from valuestrata.respondents.baselines.gold import JointCells, TrainingGold
from valuestrata.respondents.baselines.predictor import Floats, Predictor

# How much larger or smaller (in variance) an item's effects may be than items' on the whole, and how likely that is.
MULTIPLES = (0.1, 0.3, 1.0, 3.0, 9.0)
PRIOR = (0.1, 0.2, 0.4, 0.2, 0.1)
# Items on which the variances are estimated, at most; by seed.
ENOUGH_ITEMS = 60
# Starting values and bounds: variances in units of one answer's, the noise of unlike nonresponse in units of sampling's.
START_MAIN, START_PAIR, START_NOISE = 0.02, 0.004, 0.1
EFFECT_BOUNDS = (1e-5, 8.0)
NOISE_BOUNDS = (2.5e-3, 8.0)
# Items whose effective answers differ by less than this share one factorisation.
SAME_SIZE = 0.1


@dataclass(frozen=True)
class Group:
    """Items that train on the same subgroups with about as many answers.

    Attributes:
        items: the items, whose codes follow one another in the columns below.
        parts: for each kind of effect its covariance between training cells, shape (S, S), at variance 1.
        noise: covariance of sampling noise, shape (S, S). own: each cell's own noise, shape (S,).
        scaled: shares over the root of everyone's, shape (S, codes); columns[item] are an item's.
        contrasts: codes less one an item, summed: how many independent columns there are.
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
        """Return the covariance between training cells, shape (S, S); the last variance is that of own noise."""
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
    """Estimate the variances, predict the effects, poststratify."""
    cells = Cells.of(gold)
    return tabled(gold, cells.poststratify(joint_shares(cells)))


def joint_shares(cells: Cells) -> Callable[[str], Floats]:
    """Return item -> shares in the joint cells asked about, shape (cells, K); they may be negative."""
    trained = _effects(cells, cells.gold.trained_joint)
    asked = _effects(cells, cells.gold.joint)
    designs = {s: [weights @ part for part in trained] for s, weights in cells.mixture.items()}
    variances = restricted_maximum_likelihood(_groups(cells, designs, some(cells.items, ENOUGH_ITEMS)), len(asked))
    predicted: dict[str, Floats] = {}
    for group in _groups(cells, designs, cells.items):
        _predict(cells, group, designs, asked, variances, predicted)
    return lambda item: predicted[item]


def _effects(cells: Cells, joint: JointCells) -> list[Floats]:
    """Return the design of each kind of effect in joint cells: main effects by attribute, then all pairs of levels."""
    levels = cells.one_hot(joint)
    names = list(dict.fromkeys(name for name, _ in cells.levels))
    of_attribute = [np.flatnonzero([name == other for other, _ in cells.levels]) for name in names]
    pairs = [levels[:, i] * levels[:, j] for one, other in combinations(of_attribute, 2) for i in one for j in other]
    return [*(levels[:, columns] for columns in of_attribute), np.stack(pairs, axis=1) if pairs else np.zeros((len(levels), 1))]


def _groups(cells: Cells, designs: Mapping[str, Sequence[Floats]], items: Sequence[str]) -> list[Group]:
    joint = cells.gold.trained_joint
    per_answer = 1.0 / np.maximum(joint.n, 1.0)
    alike: dict[tuple[tuple[str, ...], int], list[str]] = {}
    overlaps: dict[tuple[str, ...], Floats] = {}
    for item in items:
        seen = cells.observed[item]
        if seen.subgroups not in overlaps:
            mixture = np.array([cells.mixture[s] for s in seen.subgroups])
            overlaps[seen.subgroups] = (mixture * per_answer) @ mixture.T
        size = float(np.median(seen.n_eff * np.diag(overlaps[seen.subgroups])))
        alike.setdefault((seen.subgroups, round(np.log(size) / SAME_SIZE)), []).append(item)
    return [_group(cells, designs, overlaps[subgroups], subgroups, same) for (subgroups, _), same in alike.items()]


def _group(
    cells: Cells, designs: Mapping[str, Sequence[Floats]], overlap: Floats, subgroups: tuple[str, ...], items: Sequence[str]
) -> Group:
    seen = [cells.observed[item] for item in items]
    own = np.mean([1.0 / one.n_eff for one in seen], axis=0)
    size = float(np.mean([np.median(one.n_eff * np.diag(overlap)) for one in seen]))
    kinds = zip(*(designs[s] for s in subgroups), strict=True)
    parts = tuple(rows @ rows.T for rows in (np.array(kind) for kind in kinds))
    ends = np.cumsum([0, *(len(one.everyone) for one in seen)])
    columns = {item: slice(start, end) for item, start, end in zip(items, ends[:-1].tolist(), ends[1:].tolist(), strict=True)}
    scaled = np.hstack([one.shares / np.sqrt(one.everyone) for one in seen])
    return Group(tuple(items), parts, overlap / size, own, scaled, columns, int(ends[-1]) - len(seen), subgroups)


def restricted_maximum_likelihood(groups: Sequence[Group], kinds: int) -> Floats:
    """Return the variance of each kind of effect and, last, that of own noise: shape (kinds + 1,).

    One answer of a code with share p has variance p (1 - p) and covariance -p q with others: over sqrt(p) and in the
    K - 1 directions that shares can move in, variance 1. The likelihood is the Gaussian one of these directions, freed
    of the mean (Patterson and Thompson 1971).
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
    cells: Cells,
    group: Group,
    designs: Mapping[str, Sequence[Floats]],
    asked: Sequence[Floats],
    variances: Floats,
    predicted: dict[str, Floats],
) -> None:
    """Put the shares in joint cells of a group's items into `predicted`."""
    maps: list[Floats] = []
    likely: list[Floats] = []
    kinds = list(zip(*(designs[s] for s in group.subgroups), strict=True))
    towards = sum(v * part @ np.array(kind).T for v, part, kind in zip(variances[:-1], asked, kinds, strict=True))
    for multiple, prior in zip(MULTIPLES, PRIOR, strict=True):
        projection, log_determinant = group.projected(variances, multiple)
        inverse_ones = np.linalg.solve(group.covariance(variances, multiple), np.ones(len(group.subgroups)))
        # Predictions are mean + covariance with training cells x P x shares, the mean by generalised least squares.
        maps.append(multiple * towards @ projection + inverse_ones / inverse_ones.sum())
        squares = (group.scaled * (projection @ group.scaled)).sum(axis=0)
        of_item = np.array([squares[where].sum() for where in group.columns.values()])
        contrasts = np.array([where.stop - where.start - 1 for where in group.columns.values()])
        likely.append(np.log(prior) - 0.5 * (contrasts * log_determinant + of_item))
    weights = np.exp(np.array(likely) - np.max(likely, axis=0))
    weights /= weights.sum(axis=0)
    for i, item in enumerate(group.items):
        predicted[item] = np.tensordot(weights[:, i], np.array(maps), axes=1) @ cells.observed[item].shares
