"""Multinomial regression of gold shares on features of the options, with a ridge penalty.

The shares of pair i are modelled as q_i = softmax(X_i theta), X_i of shape (K, F). Minimised is

    sum_i w_i sum_k s_ik (log s_ik - log q_ik) + 1/2 sum_d penalty_d theta_d^2

which is convex. Weights w_i = n_i / (1 + (n_i - 1) rho) allow for variation beyond sampling (Williams 1982): the more the shares of
pairs vary around the model (rho), the less an additional respondent adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.newton import newton

# Part of the total weight that a gradient may have at the minimum.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class ScaleBlock:
    """Pairs with the same number of options, whose features belong to the same parameters.

    Attributes:
        design: features, shape (n, K, F). columns: parameter of each feature, shape (F,).
        shares: gold shares, shape (n, K). answers: effective number of answers, shape (n,).
        group: number of the group of items that is held out together, shape (n,).
    """

    design: Floats
    columns: Indices
    shares: Floats
    answers: Floats
    group: Indices

    def predicted(self, theta: Floats) -> Floats:
        """Return the predicted shares, shape (n, K)."""
        return softmax(self.design @ theta[self.columns])


@dataclass(frozen=True)
class Sums:
    """Gradient (D,) and Hessian matrix (D, D) of the loss without penalty, summed over pairs."""

    gradient: Floats
    hessian: Floats


def softmax(logits: Floats) -> Floats:
    """Return the softmax along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


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


def loss(blocks: Sequence[ScaleBlock], theta: Floats, rho: float, group: int | None = None) -> float:
    """Return the loss without penalty, of one group of items or of all."""
    total = 0.0
    for block in blocks:
        kept = slice(None) if group is None else np.flatnonzero(block.group == group)
        s, q = block.shares[kept], softmax(block.design[kept] @ theta[block.columns])
        total += float(weights(block, rho)[kept] @ divergence(s, q))
    return total


def sums(blocks: Sequence[ScaleBlock], theta: Floats, rho: float, groups: int) -> list[Sums]:
    """Return the sums of each group of items at a point."""
    found = [Sums(np.zeros(len(theta)), np.zeros((len(theta), len(theta)))) for _ in range(groups)]
    for block in blocks:
        w = weights(block, rho)
        for group, one in enumerate(found):
            kept = np.flatnonzero(block.group == group)
            if len(kept):
                gradient, hessian = _derivatives(block.design[kept], block.shares[kept], w[kept], theta[block.columns])
                one.gradient[block.columns] += gradient
                one.hessian[np.ix_(block.columns, block.columns)] += hessian
    return found


def fitted(blocks: Sequence[ScaleBlock], penalty: Floats, rho: float, start: Floats) -> Floats:
    """Return the minimum, shape (D,).

    Args:
        blocks: the pairs. penalty: of each parameter, shape (D,), positive. rho: see the module. start: starting point, shape (D,).
    """
    total = sum(float(weights(block, rho).sum()) for block in blocks)

    def evaluate(points: Floats, _: Indices) -> tuple[Floats, Floats, Floats]:
        theta = points[0]
        (one,) = sums([_together(block) for block in blocks], theta, rho, 1)
        value = loss(blocks, theta, rho) + 0.5 * float(penalty @ theta**2)
        return np.array([value]), (one.gradient + penalty * theta)[None], (one.hessian + np.diag(penalty))[None]

    return newton(evaluate, lambda hessian, _: hessian, lambda slope: slope, start[None], TOLERANCE * max(total, 1.0))[0]


def _together(block: ScaleBlock) -> ScaleBlock:
    return ScaleBlock(block.design, block.columns, block.shares, block.answers, np.zeros(len(block.group), dtype=np.intp))


def _derivatives(design: Floats, shares: Floats, weight: Floats, theta: Floats) -> tuple[Floats, Floats]:
    """Return gradient (F,) and Hessian matrix (F, F) of the loss of pairs."""
    features = design.shape[2]
    q = softmax(design @ theta)
    flat = design.reshape(-1, features)
    gradient = flat.T @ (weight[:, None] * (q - shares)).ravel()
    scaled = flat * np.sqrt(weight[:, None] * q).reshape(-1, 1)
    mean = np.einsum("nk,nkf->nf", q, design) * np.sqrt(weight)[:, None]
    return gradient, scaled.T @ scaled - mean.T @ mean


def divergence(shares: Floats, predicted: Floats) -> Floats:
    """Return the Kullback-Leibler divergence along the last axis."""
    ratio = np.log(np.where(shares > 0, shares, 1.0)) - np.log(np.maximum(predicted, np.finfo(np.float64).tiny))
    return (shares * ratio).sum(axis=-1)
