"""Slopes of predictors with an honest covariance, shrunken toward 0 by empirical Bayes.

Errors of neighbouring rows are correlated: subgroups share respondents, and the answers of a respondent to several items resemble each
other. The covariance of the slopes therefore sums over clusters, items and respondents at once (two-way clustering; Cameron, Gelbach
and Miller 2011, Journal of Business and Economic Statistics 29:238-249).

Slopes b of one family have the prior N(0, t^2), with t^2 the largest marginal likelihood of the estimates (MacKay 1992). For one slope the
posterior mean is b max(0, 1 - se^2 / b^2): a slope within one standard error of 0 becomes 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import Floats, Indices

# Steps of the fixed-point iteration, and the part of the variance of an estimate at which a prior variance counts as 0.
STEPS, NONE = 100, 1e-3
# A column with a smaller part of its own is linear in the others.
DEPENDENT = 1e-6


@dataclass(frozen=True)
class Slopes:
    """Shrunken slopes.

    Attributes:
        mean: posterior means of Q slopes, shape (Q,). covariance: posterior covariance, shape (Q, Q).
        gain: matrix that gives the means from the estimates, shape (Q, Q).
    """

    mean: Floats
    covariance: Floats
    gain: Floats


def shrunken(estimate: Floats, covariance: Floats, family: Indices) -> Slopes:
    """Shrink slopes toward 0.

    Args:
        estimate: shape (Q,). covariance: of the estimate, shape (Q, Q), positive definite. family: shape (Q,), slopes with the same
            number have the same prior.
    """
    size = len(estimate)
    if not size:
        return Slopes(estimate, covariance, covariance)
    own = np.maximum(np.diag(covariance), np.finfo(float).tiny)
    number = int(family.max()) + 1
    members = np.arange(number)[:, None] == family
    typical = (members @ own) / members.sum(axis=1)
    prior = np.maximum((members @ estimate**2) / members.sum(axis=1) - typical, typical)
    for _ in range(STEPS):
        # Newton-like update of MacKay: t^2 = sum of squares over the effective number of slopes.
        inner = np.linalg.pinv(covariance + np.diag(prior[family]), hermitian=True)
        spread = prior[family]
        mean = spread * (inner @ estimate)
        settled = spread * np.diag(inner)
        new = np.maximum((members @ mean**2) / np.maximum(members @ settled, 1e-12), 0.0)
        if np.all(np.abs(new - prior) <= 1e-6 * np.maximum(prior, NONE * typical)):
            prior = new
            break
        prior = new
    spread = np.where(prior < NONE * typical, 0.0, prior)[family]
    inner = np.linalg.pinv(covariance + np.diag(spread), hermitian=True)
    gain = np.asarray(spread[:, None] * inner, dtype=np.float64)
    return Slopes(gain @ estimate, np.asarray(np.diag(spread) - gain * spread[None, :], dtype=np.float64), gain)


def contrasts(options: Indices, most: int) -> Floats:
    """Return orthonormal contrasts of the options of I items, shape (I, most, most - 1), 0 behind the last one (Helmert).

    A vector of shares that sums to 0 has the same length in the contrasts.
    """
    found = np.zeros((len(options), most, most - 1))
    for c in range(1, most):
        column = np.zeros(most)
        column[:c], column[c] = 1.0, -c
        found[options > c, :, c - 1] = column / np.sqrt(c * (c + 1))
    return found


def independent_columns(predictors: Floats, scale: Floats) -> Indices:
    """Return the columns that are not (nearly) linear in the columns before them.

    Args:
        predictors: shape (M, Q). scale: shape (M,), rows are divided by it.
    """
    gram = (predictors / scale[:, None]).T @ (predictors / scale[:, None])
    kept: list[int] = []
    for column, size in enumerate(np.diag(gram)):
        if size <= np.finfo(float).tiny:
            continue
        rest = size
        if kept:
            cross = gram[kept, column]
            rest = size - cross @ np.linalg.solve(gram[np.ix_(kept, kept)], cross)
        if rest > DEPENDENT * size:
            kept.append(column)
    return np.array(kept, dtype=np.intp)


def truncated_mean(estimate: float, variance: float) -> float:
    """Return the mean of a normal distribution with this mean and variance, given that it is positive.

    It is the posterior mean of a variance with a flat prior, and never 0: an estimate of 0 would make predictions certain (Morris 1983,
    Journal of the American Statistical Association 78:47-55).
    """
    if variance <= 0:
        return max(estimate, 0.0)
    from scipy.special import log_ndtr

    error = float(np.sqrt(variance))
    at = estimate / error
    return estimate + error * float(np.exp(-0.5 * at**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(at)))
