"""Gaussian process regression with a weighted sum of kernels and weights by marginal likelihood.

Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, sections 2.2 and 5.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Bounds of the weights relative to an equal share of the variance of the targets, which keep the covariance well conditioned.
LEAST, MOST = 1e-3, 50.0
STEPS = 40


@dataclass(frozen=True)
class Variances:
    """Variance components.

    Attributes:
        kernels: weight of each kernel, shape (kernels,). noise: variance of independent noise.
        log_likelihood: log marginal likelihood of the targets, summed over their columns.
    """

    kernels: Floats
    noise: float
    log_likelihood: float


def fit_variances(kernels: Sequence[Floats], targets: Floats) -> Variances:
    """Return the variance components that maximise the marginal likelihood.

    Args:
        kernels: positive semidefinite, each of shape (n, n).
        targets: shape (n, columns), with independent columns of prior mean 0.
    """
    from scipy.optimize import minimize

    start = max(float(np.mean(targets * targets)), 1e-6) / (len(kernels) + 1)
    origin = np.full(len(kernels) + 1, np.log(start))
    bounds = [(np.log(start * LEAST), np.log(start * MOST))] * len(origin)
    stacked = [np.ascontiguousarray(kernel) for kernel in kernels]
    found: Any = minimize(
        negative_log_likelihood, origin, (stacked, targets), "L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": STEPS}
    )
    weights = np.exp(found.x)
    return Variances(weights[:-1], float(weights[-1]), -float(found.fun))


def negative_log_likelihood(logs: Floats, kernels: Sequence[Floats], targets: Floats) -> tuple[float, Floats]:
    """Return the negative log marginal likelihood and its gradient in `logs`, the logs of the weights and the noise."""
    from scipy.linalg import cho_factor, cho_solve

    weights = np.exp(logs)
    n, columns = targets.shape
    total = _total(kernels, weights[:-1]) + weights[-1] * np.eye(n)
    factor = cho_factor(total, lower=True, check_finite=False)
    inverse = cho_solve(factor, np.eye(n), check_finite=False)
    solved = inverse @ targets
    log_determinant = 2.0 * float(np.log(np.diag(factor[0])).sum())
    value = 0.5 * (float((targets * solved).sum()) + columns * (log_determinant + n * np.log(2.0 * np.pi)))
    # The derivative in a weight is tr(M kernel) / 2 with M = columns * inverse - solved solved'.
    slope = columns * inverse - solved @ solved.T
    slopes = [float(np.vdot(slope, kernel)) for kernel in kernels] + [float(np.trace(slope))]
    return value, 0.5 * weights * np.array(slopes)


def predict(
    kernels: Sequence[Floats], variances: Variances, targets: Floats, trained: NDArray[np.bool_], asked: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return mean (asked rows, columns) and covariance (asked rows, asked rows; noise included) of new observations.

    Args:
        kernels: over all rows, shape (n, n). variances: variance components. targets: targets of the training rows.
        trained, asked: masks of the training rows and the rows to predict, shape (n,).
    """
    from scipy.linalg import cho_factor, cho_solve

    total = _total(kernels, variances.kernels)
    within = total[np.ix_(trained, trained)] + variances.noise * np.eye(int(trained.sum()))
    across = total[np.ix_(asked, trained)]
    factor = cho_factor(within, lower=True, check_finite=False)
    mean = across @ cho_solve(factor, targets, check_finite=False)
    unexplained = total[np.ix_(asked, asked)] - across @ cho_solve(factor, across.T, check_finite=False)
    return mean, unexplained + variances.noise * np.eye(int(asked.sum()))


def _total(kernels: Sequence[Floats], weights: Floats) -> Floats:
    total = weights[0] * kernels[0]
    for weight, kernel in zip(weights[1:], kernels[1:], strict=True):
        total += weight * kernel
    return total
