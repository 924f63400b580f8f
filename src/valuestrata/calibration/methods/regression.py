"""Multinomial regression of gold shares on features of the options, with a ridge penalty.

The shares of pair i are modelled as q_i = softmax(X_i theta), X_i of shape (K, F). Minimised is

    sum_i w_i sum_k s_ik (log s_ik - log q_ik) + 1/2 sum_d penalty_d theta_d^2

which is convex. Weights w_i = n_i / (1 + (n_i - 1) rho) allow for variation beyond sampling (Williams 1982): the more the shares of
pairs vary around the model (rho), the less an additional respondent adds.

The answers of subgroups to one item deviate from the model in the same direction, so pairs carry less information than their weights
say. The mean design effect phi (Rao and Scott 1981) divides the weights: tr(H^-1 M) / D, with H the Hessian matrix of the loss and
M the sum over items of the outer products of their gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import Floats, Indices, softmax
from valuestrata.stats.newton import newton

# Part of the total weight that a gradient may have at the minimum.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class ScaleBlock:
    """Pairs with the same number of options, whose features belong to the same parameters.

    Attributes:
        design: features, shape (n, K, F). columns: parameter of each feature, shape (F,).
        shares: gold shares, shape (n, K). answers: effective number of answers, shape (n,).
        item: number of the item of each pair, shape (n,), from 0; different blocks have different items.
    """

    design: Floats
    columns: Indices
    shares: Floats
    answers: Floats
    item: Indices

    def predicted(self, theta: Floats) -> Floats:
        """Return the predicted shares, shape (n, K)."""
        return softmax(self.design @ theta[self.columns])


@dataclass(frozen=True)
class Derivatives:
    """Gradient (D,) and Hessian matrix (D, D) of the loss without penalty."""

    gradient: Floats
    hessian: Floats


def weights(block: ScaleBlock, overdispersion: float) -> Floats:
    """Return the weight of each pair, shape (n,)."""
    return block.answers / (1.0 + np.maximum(block.answers - 1.0, 0.0) * overdispersion)


def overdispersion(blocks: Sequence[ScaleBlock], theta: Floats) -> float:
    """Return rho by the method of moments: squared residuals of shares against (1 - sum q^2) (1/n + (1 - 1/n) rho), 0 to 1."""
    squared = expected = extra = 0.0
    for block in blocks:
        q = block.predicted(theta)
        spread, sampling = 1.0 - (q**2).sum(axis=1), 1.0 / np.maximum(block.answers, 1.0)
        squared += float(((block.shares - q) ** 2).sum())
        expected += float((spread * sampling).sum())
        extra += float((spread * (1.0 - sampling)).sum())
    return float(np.clip((squared - expected) / extra, 0.0, 1.0)) if extra > 0 else 0.0


def loss(blocks: Sequence[ScaleBlock], theta: Floats, rho: float) -> float:
    """Return the loss without penalty."""
    return sum(float(weights(block, rho) @ divergence(block.shares, block.predicted(theta))) for block in blocks)


def derivatives(blocks: Sequence[ScaleBlock], theta: Floats, rho: float) -> Derivatives:
    """Return gradient and Hessian matrix of the loss without penalty."""
    found = Derivatives(np.zeros(len(theta)), np.zeros((len(theta), len(theta))))
    for block in blocks:
        w, q = weights(block, rho), block.predicted(theta)
        flat = block.design.reshape(-1, block.design.shape[2])
        found.gradient[block.columns] += flat.T @ (w[:, None] * (q - block.shares)).ravel()
        scaled = flat * np.sqrt(w[:, None] * q).reshape(-1, 1)
        mean = np.einsum("nk,nkf->nf", q, block.design) * np.sqrt(w)[:, None]
        found.hessian[np.ix_(block.columns, block.columns)] += scaled.T @ scaled - mean.T @ mean
    return found


def gradients_by_item(blocks: Sequence[ScaleBlock], theta: Floats, rho: float) -> Floats:
    """Return the gradient of the loss without penalty from each item, shape (items, D)."""
    found = np.zeros((1 + max((int(block.item.max()) for block in blocks), default=-1), len(theta)))
    for block in blocks:
        residual = weights(block, rho)[:, None] * (block.predicted(theta) - block.shares)
        own = np.einsum("nk,nkf->nf", residual, block.design)
        # The columns of a block are different, so each is added to once.
        for place, column in enumerate(block.columns):
            found[:, column] += np.bincount(block.item, weights=own[:, place], minlength=len(found))
    return found


def design_effect(blocks: Sequence[ScaleBlock], theta: Floats, penalty: Floats, rho: float) -> float:
    """Return phi, at least 1, with the correction J / (J - D) for J items; at most the mean weight of an item.

    Args:
        blocks, rho: as for `fitted`; few parameters, because each takes part of the deviations of items. theta: the fit with `penalty`.
    """
    by_item = gradients_by_item(blocks, theta, rho)
    items, size = by_item.shape
    most = max(sum(float(weights(block, rho).sum()) for block in blocks) / max(items, 1), 1.0)
    if items <= size:
        return most
    hessian = derivatives(blocks, theta, rho).hessian + np.diag(penalty)
    found = float(np.trace(np.linalg.solve(hessian, by_item.T @ by_item))) / size * items / (items - size)
    return float(np.clip(found, 1.0, most))


def fitted(blocks: Sequence[ScaleBlock], penalty: Floats, rho: float, start: Floats) -> Floats:
    """Return the minimum, shape (D,).

    Args:
        blocks: the pairs. penalty: of each parameter, shape (D,), positive. rho: see the module. start: starting point, shape (D,).
    """
    total = sum(float(weights(block, rho).sum()) for block in blocks)

    def evaluate(points: Floats, _: Indices) -> tuple[Floats, Floats, Floats]:
        theta = points[0]
        at = derivatives(blocks, theta, rho)
        value = loss(blocks, theta, rho) + 0.5 * float(penalty @ theta**2)
        return np.array([value]), (at.gradient + penalty * theta)[None], (at.hessian + np.diag(penalty))[None]

    return newton(evaluate, lambda hessian, _: hessian, lambda slope: slope, start[None], TOLERANCE * max(total, 1.0))[0]


def divergence(shares: Floats, predicted: Floats) -> Floats:
    """Return the Kullback-Leibler divergence along the last axis."""
    ratio = np.log(np.where(shares > 0, shares, 1.0)) - np.log(np.maximum(predicted, np.finfo(np.float64).tiny))
    return (shares * ratio).sum(axis=-1)
