"""The Fay-Herriot model: estimates of areas from noisy direct estimates and predictors.

    y_d = theta_d + e_d,   theta_d = x_d' b + u_d,   Var e_d = D_d known,   Var u_d = s b_d + k_d

s is estimated; b_d (1 by default) and k_d (0 by default) are known. The estimate (empirical best linear unbiased prediction) is

    x_d' b + g_d (y_d - x_d' b),   g_d = Var u_d / (Var u_d + D_d),

with b by generalised least squares (Fay and Herriot 1979, Journal of the American Statistical Association 74:269-277).

**Variance s** by restricted maximum likelihood (`reml`), maximum likelihood (`ml`), or the moment equation of Fay and Herriot (`fh`),
sum (y_d - x_d' b)^2 / Var y_d = areas - predictors. It is at least 0.

**Mean squared error** to second order, g1 + g2 + 2 g3: of an estimate with known parameters, of the coefficients, and of s, counted
twice because g1 at the estimated s is too small (Prasad and Rao 1990, JASA 85:163-171; Datta and Lahiri 2000, Statistica Sinica
10:613-627). `ml` and `fh` estimate s with a bias, which is subtracted (Datta, Rao and Smith 2005, Biometrika 92:183-196).
`bootstrap_mse` is an alternative that uses no expansion (Gonzalez-Manteiga, Lombardia, Molina, Morales and Santamaria 2008,
Computational Statistics and Data Analysis 52:5242-5252).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from valuestrata.stats.arrays import Floats

Method = Literal["reml", "ml", "fh"]

# Smallest variance.
TINY = 1e-300
MOST_STEPS = 200
MOST_HALVINGS = 40
TOLERANCE = 1e-13
# Relative accuracy of the moment estimate that the iteration starts from.
START = 0.1
# Part of the spread of direct estimates that counts as no variance.
TINY_SHARE = 1e-9


@dataclass(frozen=True)
class Areas:
    """Direct estimates and predictors of M areas.

    Attributes:
        direct: y, shape (M,); ignored where the variance is infinite. predictors: x, shape (M, Q).
        variance: D, shape (M,), at least 0; infinite without a direct estimate, which leaves the synthetic estimate x' b.
        scale: b_d, shape (M,). known: k_d, shape (M,).
    """

    direct: Floats
    predictors: Floats
    variance: Floats
    scale: Floats
    known: Floats

    @classmethod
    def of(cls, direct: Floats, predictors: Floats, variance: Floats, *, scale: Floats | None = None, known: Floats | None = None) -> Areas:
        """Return the areas; `scale` is 1 and `known` 0 if not given.

        Raises:
            ValueError: shapes differ, a variance is negative or NaN, or there are no more direct estimates than predictors.
        """
        size = len(direct)
        scale = np.ones(size) if scale is None else scale
        known = np.zeros(size) if known is None else known
        if predictors.shape[0] != size or not all(one.shape == (size,) for one in (variance, scale, known)):
            raise ValueError(f"direct has {size} areas; predictors, variance, scale and known must have as many rows")
        if not ((variance >= 0).all() and (scale >= 0).all() and (known >= 0).all()):
            raise ValueError("variance, scale and known must not be negative or NaN")
        used = np.isfinite(variance)
        if not (np.isfinite(direct[used]).all() and np.isfinite(predictors).all()):
            raise ValueError("direct estimates with a finite variance and predictors must be finite")
        if used.sum() <= predictors.shape[1]:
            raise ValueError(f"{predictors.shape[1]} predictors need more than {int(used.sum())} direct estimates")
        return cls(direct, predictors, variance, scale, known)

    def with_direct(self, direct: Floats) -> Areas:
        """Return the areas with other direct estimates."""
        return Areas(direct, self.predictors, self.variance, self.scale, self.known)

    def observed(self) -> Areas:
        """Return the areas with a direct estimate."""
        used = np.isfinite(self.variance)
        if used.all():
            return self
        return Areas(*(one[used] for one in (self.direct, self.predictors, self.variance, self.scale, self.known)))


@dataclass(frozen=True)
class FayHerriotFit:
    """A fitted model and the estimates of its areas.

    Attributes:
        method: how s was estimated. sigma2: s. sigma2_variance: asymptotic variance of s.
        coefficients: b, shape (Q,). covariance: of b, shape (Q, Q).
        estimate, mse: shape (M,). synthetic: x' b, shape (M,). weight: g_d, the weight of the direct estimate, shape (M,).
    """

    method: Method
    sigma2: float
    sigma2_variance: float
    coefficients: Floats
    covariance: Floats
    estimate: Floats
    mse: Floats
    synthetic: Floats
    weight: Floats


def fay_herriot(areas: Areas, method: Method = "reml", *, tolerance: float = TOLERANCE) -> FayHerriotFit:
    """Fit the model and estimate all areas.

    Args:
        areas: the areas; without predictors, x' b is 0. method: how s is estimated. tolerance: relative accuracy of s.

    Raises:
        numpy.linalg.LinAlgError: predictors are linearly dependent.
    """
    seen = areas.observed()
    sigma2 = _sigma2(seen, method, tolerance)
    solved = _Solved.of(seen, sigma2)
    inverse, ratio = 1 / solved.total, seen.scale / solved.total
    squares = float((ratio**2).sum())
    spread = 2.0 / squares if squares > 0 else 0.0
    bias = 0.0
    if method == "ml" and squares > 0:
        inner = (seen.predictors * (ratio * inverse)[:, None]).T @ seen.predictors
        bias = -float(np.trace(solved.covariance @ inner)) / squares
    elif method == "fh" and squares > 0:
        size, total = len(seen.direct), float(ratio.sum())
        spread = 2.0 * size / total**2
        bias = 2.0 * (size * squares - total**2) / total**3
    prior, used = sigma2 * areas.scale + areas.known, np.isfinite(areas.variance)
    total = np.maximum(prior + np.where(used, areas.variance, 0.0), TINY)
    weight = np.where(areas.variance == 0, 1.0, np.where(used, prior / total, 0.0))
    synthetic = areas.predictors @ solved.coefficients
    estimate = synthetic + weight * np.where(used, areas.direct - synthetic, 0.0)
    known_parameters = (1 - weight) * prior
    of_coefficients = (1 - weight) ** 2 * np.einsum("mq,qr,mr->m", areas.predictors, solved.covariance, areas.predictors)
    of_sigma2 = np.where(used, (1 - weight) ** 2 * areas.scale**2 / total * spread, 0.0)
    correction = np.where(used, (1 - weight) ** 2 * areas.scale * bias, 0.0)
    mse = np.maximum(known_parameters + of_coefficients + 2 * of_sigma2 - correction, 0.0)
    return FayHerriotFit(method, sigma2, spread, solved.coefficients, solved.covariance, estimate, mse, synthetic, weight)


def bootstrap_mse(areas: Areas, fit: FayHerriotFit, draws: int, seed: int) -> Floats:
    """Return the mean squared error of each area by the parametric bootstrap, shape (M,).

    Each draw simulates true values and direct estimates from the fit, fits the model to them, and compares its estimates with the
    true values.

    Args:
        draws: number of draws, at least 1. seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    prior, used = fit.sigma2 * areas.scale + areas.known, np.isfinite(areas.variance)
    noise = np.sqrt(np.where(used, areas.variance, 0.0))
    squares = np.zeros(len(areas.direct))
    for _ in range(draws):
        truth = fit.synthetic + rng.normal(size=len(prior)) * np.sqrt(prior)
        again = fay_herriot(areas.with_direct(truth + rng.normal(size=len(prior)) * noise), fit.method)
        squares += (again.estimate - truth) ** 2
    return squares / draws


@dataclass(frozen=True)
class _Solved:
    """Generalised least squares for a given s: Var y (M,), coefficients (Q,), their covariance (Q, Q) and residuals (M,)."""

    total: Floats
    coefficients: Floats
    covariance: Floats
    residual: Floats

    @classmethod
    def of(cls, areas: Areas, sigma2: float) -> _Solved:
        total = np.maximum(sigma2 * areas.scale + areas.known + areas.variance, TINY)
        weighted = areas.predictors / total[:, None]
        covariance = np.asarray(np.linalg.inv(weighted.T @ areas.predictors), dtype=np.float64)
        coefficients = covariance @ (weighted.T @ areas.direct)
        return cls(total, coefficients, covariance, areas.direct - areas.predictors @ coefficients)

    def loss(self, method: Method) -> float:
        """Return twice the negative (restricted) log likelihood without constants."""
        found = float(np.log(self.total).sum() + (self.residual**2 / self.total).sum())
        return found - float(np.linalg.slogdet(self.covariance)[1]) if method == "reml" else found


def _sigma2(areas: Areas, method: Method, tolerance: float) -> float:
    """Return the estimate of s, at least 0."""
    if not areas.scale.any():
        return 0.0
    return _moment_root(areas, tolerance) if method == "fh" else _likelihood_root(areas, method, tolerance)


def _moment_root(areas: Areas, tolerance: float) -> float:
    """Return the root of Fay and Herriot's equation by Newton's method from 0: the left side is convex and decreases with s."""
    freedom = len(areas.direct) - areas.predictors.shape[1]
    # Without sampling variance the left side is infinite at 0.
    sigma2 = 0.0 if (areas.variance + areas.known).min() > 0 else TINY_SHARE * _spread(areas)
    for _ in range(MOST_STEPS):
        solved = _Solved.of(areas, sigma2)
        squares = solved.residual**2 / solved.total
        excess = float(squares.sum()) - freedom
        slope = float((areas.scale * squares / solved.total).sum())
        if slope <= 0 or excess <= tolerance * freedom * np.finfo(np.float64).eps ** 0.5:
            break
        step = excess / slope
        sigma2 += step
        if step <= tolerance * sigma2:
            break
    return sigma2


def _likelihood_root(areas: Areas, method: Method, tolerance: float) -> float:
    """Maximise the (restricted) likelihood by Fisher scoring; a step that does not increase it is halved."""
    sigma2 = _moment_root(areas, START) or 0.01 * _spread(areas)
    solved = _Solved.of(areas, sigma2)
    loss = solved.loss(method)
    for _ in range(MOST_STEPS):
        slope, information = _score(areas, solved, method)
        step = slope / information
        for _ in range(MOST_HALVINGS):
            new = max(sigma2 + step, 0.0)
            at_new = _Solved.of(areas, new)
            if at_new.loss(method) <= loss:
                break
            step /= 2
        else:
            return sigma2
        change = abs(new - sigma2)
        sigma2, solved, loss = new, at_new, at_new.loss(method)
        if change <= tolerance * max(sigma2, tolerance):
            break
    return sigma2


def _score(areas: Areas, solved: _Solved, method: Method) -> tuple[float, float]:
    """Return derivative and expected information of the (restricted) log likelihood."""
    ratio = areas.scale / solved.total
    slope = -0.5 * float(ratio.sum()) + 0.5 * float((ratio * solved.residual**2 / solved.total).sum())
    information = 0.5 * float((ratio**2).sum())
    if method == "reml":
        # trace of P B and of P B P B, with P the projection of restricted likelihood and B = diag(b).
        first = solved.covariance @ ((areas.predictors * (ratio / solved.total)[:, None]).T @ areas.predictors)
        second = solved.covariance @ ((areas.predictors * (ratio**2 / solved.total)[:, None]).T @ areas.predictors)
        slope += 0.5 * float(np.trace(first))
        information += 0.5 * float((first * first.T).sum()) - float(np.trace(second))
    return slope, information


def _spread(areas: Areas) -> float:
    """Return a positive size of s to start from."""
    residual = _Solved.of(areas, float(areas.variance.mean()) + 1.0).residual
    found = float((residual**2).mean()) / max(float(areas.scale.mean()), TINY)
    return found if found > 0 else float(areas.variance.mean()) + TINY
