"""Rectified coefficients of a linear regression: a human sample corrected by a model's answers.

With theta(x, y) the (weighted) least-squares coefficients, of people in the sample and of other people,

    theta(lambda) = lambda theta(other x, other f) + theta(x, y - lambda f),

and by the sandwich formula, with scores g = x (x' theta - y), h = x (x' theta - f) and the mean Hessian H = mean x x' of all people,

    Var theta = H^-1 [ Var_n(mean (g - lambda h)) + lambda^2 Var_N(mean h) ] H^-1.

lambda minimises the trace (PPI++, Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453, algorithm 2) and lies within 0 and 1. With
x = 1 this is the mean. Without weights and clusters the results are those of the package ppi-python.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.design_based.linearisation import variance_of_totals


@dataclass(frozen=True)
class RectifiedCoefficients:
    """Coefficients and their standard errors, both of shape (d,), and lambda."""

    value: Floats
    se: Floats
    weight: float


@dataclass(frozen=True)
class RegressionSample:
    """People behind a regression.

    Attributes:
        x: shape (n, d), predictors, with a column of ones for the intercept. f: shape (n,), value of the model.
        weight: shape (n,), positive; None if all count alike.
        unit, stratum: shape (n,) and (U,), sampling unit of each person and stratum of each unit; None if each person is a unit.
    """

    x: Floats
    f: Floats
    weight: Floats | None = None
    unit: Indices | None = None
    stratum: Indices | None = None

    @property
    def relative(self) -> Floats:
        """Weights with mean 1, shape (n,)."""
        return np.ones(len(self.f)) if self.weight is None else self.weight / self.weight.mean()

    def coefficients(self, y: Floats) -> Floats:
        """Return the least-squares coefficients of y on x."""
        root = np.sqrt(self.relative)
        return np.asarray(np.linalg.lstsq(self.x * root[:, None], y * root, rcond=None)[0], dtype=np.float64)

    def scores(self, y: Floats, value: Floats, inverse: Floats) -> Floats:
        """Return the influence of each person on the coefficients, shape (n, d)."""
        return (self.relative * (self.x @ value - y))[:, None] * self.x @ inverse / len(y)

    def hessian(self) -> Floats:
        """Return the mean of x x', shape (d, d)."""
        return (self.x * self.relative[:, None]).T @ self.x / len(self.f)

    def variance(self, scores: Floats, ddof: int) -> Floats:
        """Return the variance of the sum of scores under the design, shape (d,)."""
        unit = np.arange(len(scores)) if self.unit is None else self.unit
        stratum = np.zeros(unit.max() + 1, dtype=np.intp) if self.stratum is None else self.stratum
        factor = 1.0 if ddof else 1 - 1 / len(stratum)
        return variance_of_totals(scores, unit, stratum) * factor


def rectified_ols(
    sample: RegressionSample, y: Floats, others: RegressionSample, *, exact: bool = False, weight: float | None = None, ddof: int = 1
) -> RectifiedCoefficients:
    """Return least-squares coefficients of y on x.

    Args:
        sample: people who answered. y: shape (n,), their answers. others: people whom only the model answered for.
        exact: whether `others` with their weights are the whole population, whose coefficients have no sampling error.
        weight: lambda; None to tune it. ddof: 1 for variances with n - 1 (like `ppi_ols_ci`), 0 with n (like `ppi_mean_ci`).

    Raises:
        numpy.linalg.LinAlgError: the predictors are collinear.
    """
    n, other_n = len(y), len(others.f)

    def at(lam: float) -> Floats:
        return lam * others.coefficients(others.f) + sample.coefficients(y - lam * sample.f) if lam else sample.coefficients(y)

    def inverse_at(lam: float) -> Floats:
        own = sample.hessian()
        if lam:
            own = others.hessian() if exact else (n * own + other_n * others.hessian()) / (n + other_n)
        return np.asarray(np.linalg.inv(own), dtype=np.float64)

    if weight is None:
        value, inverse = at(1.0), inverse_at(1.0)
        g, h, other_h = sample.scores(y, value, inverse), sample.scores(sample.f, value, inverse), others.scores(others.f, value, inverse)
        shared = float((sample.variance(g + h, 0) - sample.variance(g - h, 0)).sum()) / 4
        if exact or sample.unit is not None:
            square = float(sample.variance(h, 0).sum()) + (0.0 if exact else float(others.variance(other_h, 0).sum()))
        else:
            pooled = np.concatenate([h * n, other_h * other_n]).var(axis=0, ddof=1).sum()
            square = float(pooled) * (1 / n + 1 / other_n)
        weight = float(np.clip(shared / square, 0.0, 1.0)) if square > 0 else 0.0
    value, inverse = at(weight), inverse_at(weight)
    residual = sample.scores(y, value, inverse) - weight * sample.scores(sample.f, value, inverse)
    variance = sample.variance(residual, ddof)
    if weight and not exact:
        variance = variance + weight**2 * others.variance(others.scores(others.f, value, inverse), ddof)
    return RectifiedCoefficients(value, np.sqrt(variance), weight)
