"""The method `by-subgroup`: `shrunken-persona` with slope, factor and position terms that differ between subgroups, partially pooled.

The deviation of subgroup s is the sum of deviations of its attribute levels and one of its own,

    theta_s = sum over levels l of delta_l + u_s,    delta_l ~ N(0, T_level),    u_s ~ N(0, T_subgroup)

with diagonal variances T, estimated by maximum marginal likelihood with the EM algorithm (Dempster, Laird and Rubin 1977). A subgroup
without training pairs has the deviations of its levels only, so unseen combinations can be predicted.

The likelihood is quadratic around the common fit: g_s is the gradient of a subgroup and H_s its Hessian matrix. What the subgroups of
an item have in common is subtracted from the residuals first, because it says nothing about differences between subgroups. Both are
divided by a design effect: how much the deviations of a subgroup vary between topics (or items, where there is a single topic),
relative to H_s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from valuestrata.calibration.methods.regression import weights
from valuestrata.calibration.methods.scales import POSITION_TERMS, position_terms
from valuestrata.calibration.methods.shares import CalibratedShares
from valuestrata.calibration.methods.shrunken_persona import with_factor
from valuestrata.calibration.model_answers import ModelAnswers
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Predictor
from valuestrata.stats.arrays import NEGLIGIBLE, Floats, Indices

NAMES = ("slope", "factor", "position", "extremity")
MOST_ROUNDS = 100
# A change of all variances below this part of the largest ends the EM algorithm.
CONVERGED = 1e-3
# Variances at the start. A variance that cannot be estimated with this standard error is 0.
START_VARIANCE = 0.01


@dataclass(frozen=True)
class SubgroupEffects:
    """Deviations of subgroups.

    Attributes:
        own: deviations u of the subgroups, shape (S, D). levels: those of the levels, shape (L, D).
        sd_levels, sd_own: their standard deviations, shape (D,).
    """

    own: Floats
    levels: Floats
    sd_levels: Floats
    sd_own: Floats


def fit_by_subgroup(gold: TrainingGold, answers: ModelAnswers) -> Predictor:
    """Fit `shrunken-persona`, then the deviations of subgroups."""
    fit = with_factor(gold, answers)
    trained = list(dict.fromkeys(subgroup for pairs in fit.pairs.values() for subgroup in pairs.subgroups))
    levels = list(dict.fromkeys(level for subgroup in trained for level in gold.levels[subgroup].items()))
    member = membership([gold.levels[subgroup] for subgroup in trained], levels)
    gradient, hessian = quadratic(fit, trained)
    found = random_effects(gradient, hessian, member)
    place = {subgroup: row for row, subgroup in enumerate(trained)}
    effects: dict[str, Floats] = {}
    for subgroup, own in gold.levels.items():
        effect = (membership([own], levels) @ found.levels)[0]
        effects[subgroup] = effect + found.own[place[subgroup]] if subgroup in place else effect
    settings = {
        **fit.settings,
        "sd_levels": _named(found.sd_levels),
        "sd_subgroups": _named(found.sd_own),
        "levels": {f"{name}={label}": _named(found.levels[row]) for row, (name, label) in enumerate(levels)},
    }
    return replace(fit, effects=effects, settings=settings)


def membership(subgroups: Sequence[Mapping[str, str]], levels: Sequence[tuple[str, str]]) -> Floats:
    """Return whether each subgroup has each level, shape (S, L)."""
    return np.array([[float(own.get(name) == label) for name, label in levels] for own in subgroups]).reshape(len(subgroups), len(levels))


def quadratic(fit: CalibratedShares, subgroups: Sequence[str]) -> tuple[Floats, Floats]:
    """Return the quadratic likelihood of the deviations around the fit, divided by the design effect.

    Returns:
        gradients of the log-likelihood, shape (S, D), and negative Hessian matrices, shape (S, D, D), with D = F + 2.
    """
    size = fit.parameters.features + POSITION_TERMS
    place = {subgroup: row for row, subgroup in enumerate(subgroups)}
    topics = max((int(pairs.topic.max()) + 1 for pairs in fit.pairs.values()), default=0)
    if topics < 2:
        topics = max((int(pairs.item.max()) + 1 for pairs in fit.pairs.values()), default=0)
        cluster_of = {scale: pairs.item for scale, pairs in fit.pairs.items()}
    else:
        cluster_of = {scale: pairs.topic for scale, pairs in fit.pairs.items()}
    gradient, hessian = np.zeros((len(subgroups), topics, size)), np.zeros((len(subgroups), topics, size, size))
    for (scale, pairs), block in zip(fit.pairs.items(), fit.blocks, strict=True):
        w, q = weights(block, fit.overdispersion), block.predicted(fit.theta)
        values = block.design[:, :, : fit.parameters.features]
        terms = np.broadcast_to(position_terms(scale), (len(q), scale.options, POSITION_TERMS))
        design = np.concatenate([values, terms], axis=2)
        score = np.einsum("nk,nkd->nd", w[:, None] * _without_item_means(block.shares - q, w, block.item), design)
        mean = np.einsum("nk,nkd->nd", q, design)
        weighted = design * (w[:, None] * q)[:, :, None]
        curvature = design.transpose(0, 2, 1) @ weighted - (w[:, None] * mean)[:, :, None] * mean[:, None, :]
        rows = np.array([place[subgroup] for subgroup in pairs.subgroups], dtype=np.intp)
        np.add.at(gradient, (rows, cluster_of[scale]), score)
        np.add.at(hessian, (rows, cluster_of[scale]), curvature)
    total, whole = gradient.sum(axis=1), hessian.sum(axis=1)
    # Answers vary at least as much as samples of respondents do.
    sampling = sum(float(weights(block, fit.overdispersion).sum()) for block in fit.blocks) / sum(
        float(np.maximum(block.answers, 1.0).sum()) for block in fit.blocks
    )
    phi = max(_between_clusters(gradient, hessian, total, whole), sampling)
    return total / phi, whole / phi


def _without_item_means(residual: Floats, weight: Floats, item: Indices) -> Floats:
    """Return residuals, shape (n, K), minus their weighted mean over the subgroups of the item."""
    numbers, row = np.unique(item, return_inverse=True)
    total = np.bincount(row, weights=weight, minlength=len(numbers))
    sums = np.stack([np.bincount(row, weights=weight * column, minlength=len(numbers)) for column in residual.T], axis=1)
    return residual - (sums / total[:, None])[row]


def _between_clusters(gradient: Floats, hessian: Floats, total: Floats, whole: Floats) -> float:
    """Return the mean design effect of clusters: their gradients around the fit of the subgroup, relative to the Hessian matrices.

    Args:
        gradient, hessian: shapes (S, T, D) and (S, T, D, D) for T clusters. total, whole: their sums over clusters.
    """
    inverse = np.linalg.pinv(whole, hermitian=True)
    moved = hessian @ inverse[:, None]
    residual = gradient - np.einsum("stde,se->std", moved, total)
    found = float(np.einsum("std,sde,ste->", residual, inverse, residual, optimize=True))
    rank = float(np.trace(whole @ inverse, axis1=1, axis2=2).sum())
    freedom = rank - float(np.einsum("stde,sted->", moved, moved))
    return found / freedom if freedom > NEGLIGIBLE * max(rank, 1.0) and found > 0 else 1.0


def random_effects(gradient: Floats, hessian: Floats, member: Floats) -> SubgroupEffects:
    """Estimate the variances by EM, and return the means of the deviations given them.

    Args:
        gradient, hessian: the quadratic likelihood, as `quadratic` returns it. member: which subgroup has which level, shape (S, L).
    """
    (subgroups, size), levels = gradient.shape, member.shape[1]
    # Rounding errors can make the information of a term that a subgroup does not have negative.
    values, vectors = np.linalg.eigh(hessian)
    hessian = (vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.transpose(0, 2, 1)
    information = np.einsum("sdd->sd", hessian)
    own_variance = _start(information)
    level_variance = _start(member.T @ information)
    own, delta = np.zeros((subgroups, size)), np.zeros((levels, size))
    # Z: deviations of levels -> those of subgroups, shape (S, D, L * D).
    spread = (member[:, None, :, None] * np.eye(size)[None, :, None, :]).reshape(subgroups, size, levels * size)
    flat = spread.reshape(subgroups * size, levels * size)
    for _ in range(MOST_ROUNDS):
        root, level_root = np.sqrt(own_variance), np.tile(np.sqrt(level_variance), levels)
        # Covariance of u given delta: (H + T^-1)^-1, in a form that allows variances of 0.
        covariance = root[:, None] * np.linalg.inv(np.eye(size) + root[:, None] * hessian * root) * root
        rest = np.eye(size) - hessian @ covariance
        normal = flat.T @ (rest @ hessian @ spread).reshape(flat.shape)
        linear = np.einsum("sdx,sde,se->x", spread, rest, gradient, optimize=True)
        posterior = np.linalg.inv(np.eye(levels * size) + level_root[:, None] * normal * level_root)
        posterior = level_root[:, None] * posterior * level_root
        delta = (posterior @ linear).reshape(levels, size)
        own = np.einsum("sde,se->sd", covariance, gradient - np.einsum("sde,se->sd", hessian, member @ delta))
        moved = (covariance @ hessian @ spread).reshape(flat.shape)
        uncertain = ((moved @ posterior) * moved).sum(axis=1).reshape(subgroups, size)
        after = np.maximum((np.einsum("sdd->sd", covariance) + uncertain + own**2).mean(axis=0), 0.0)
        level_after = np.maximum((np.diag(posterior).reshape(levels, size) + delta**2).mean(axis=0), 0.0) if levels else level_variance
        change = max(np.abs(after - own_variance).max(), np.abs(level_after - level_variance).max())
        own_variance, level_variance = after, level_after
        if change <= CONVERGED * max(own_variance.max(), level_variance.max()):
            break
    return SubgroupEffects(own, delta, np.sqrt(level_variance), np.sqrt(own_variance))


def _start(information: Floats) -> Floats:
    """Return starting variances, shape (D,): 0 where the information of the groups, shape (G, D), is too small to estimate one."""
    error = 1.0 / np.sqrt(np.maximum(0.5 * (information**2).sum(axis=0), np.finfo(np.float64).tiny))
    return np.where(error <= START_VARIANCE, START_VARIANCE, 0.0)


def _named(values: Floats) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in zip(NAMES, values, strict=True)}
