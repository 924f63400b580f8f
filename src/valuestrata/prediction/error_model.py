"""How large the errors of predictions are: a variance learned from held-out questions.

The difference between a share found by a survey and its prediction has the variance

    v / n + exp(b_0 + b_1 log v + b_2 log K + b_3 log n),

the sampling variance of n effective answers plus that of the method's error, with v = p (1 - p) for a share and the variance of the
positions for a mean position, K options. The coefficients maximise the normal likelihood of held-out differences (a pseudo-likelihood:
Gourieroux, Monfort and Trognon 1984, Econometrica 52:681-700). Each exchangeable unit (block of questions) counts as one observation,
and b_1 to b_3 have normal priors of standard deviation 1 around 1, 0 and 0 in units of standardised features, which decide only where
units are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Floats

# A share nearer to 0 or 1 counts as this far away in the variance of its answers.
LEAST_SHARE = 0.01
_PRIOR = np.array([0.0, 1.0, 0.0, 0.0])
# Coefficients are kept in this range, which no survey reaches.
_BOUNDS = ((-20.0, 4.0), (-3.0, 5.0), (-5.0, 5.0), (-5.0, 5.0))


@dataclass(frozen=True)
class Predicted:
    """Predicted numbers, in rows.

    Attributes:
        value: predicted share, or mean position in [0, 1]. unit: variance v of one answer. options: number of options.
        n: effective number of answers of the survey that is predicted. All of shape (rows,).
    """

    value: Floats
    unit: Floats
    options: Floats
    n: Floats

    def rows(self, chosen: NDArray[Any]) -> Predicted:
        """Return some rows, by mask or index."""
        return Predicted(self.value[chosen], self.unit[chosen], self.options[chosen], self.n[chosen])


@dataclass(frozen=True)
class ErrorModel:
    """Fitted coefficients.

    Attributes:
        coefficients: b_0 to b_3 for the standardised features. centre, spread: of the three features, shape (3,).
    """

    coefficients: Floats
    centre: Floats
    spread: Floats

    def scale(self, predicted: Predicted) -> Floats:
        """Return the standard deviation of the difference from the prediction, shape (rows,)."""
        features = (_features(predicted) - self.centre) / self.spread
        return np.sqrt(predicted.unit / predicted.n + np.exp(self.coefficients[0] + features @ self.coefficients[1:]))


def of_shares(shares: Floats, n: Floats) -> Predicted:
    """Return the rows of predicted shares (pairs, K), pair by pair; n is of shape (pairs,)."""
    options = shares.shape[1]
    value = np.asarray(shares, dtype=np.float64).ravel()
    kept = np.clip(value, LEAST_SHARE, 1 - LEAST_SHARE)
    return Predicted(value, kept * (1 - kept), np.full(value.shape, float(options)), np.repeat(np.maximum(n, 1.0), options))


def of_positions(shares: Floats, n: Floats) -> Predicted:
    """Return the mean positions of predicted shares (pairs, K), from 0 for the first to 1 for the last option, shape (pairs,)."""
    options = shares.shape[1]
    place = np.linspace(0.0, 1.0, options)
    mean = shares @ place
    variance = np.maximum(shares @ place**2 - mean**2, LEAST_SHARE * (1 - LEAST_SHARE) / (options - 1))
    return Predicted(mean, variance, np.full(mean.shape, float(options)), np.maximum(n, 1.0))


def together(parts: list[Predicted]) -> Predicted:
    """Return the rows of several tables, one after the other."""
    return Predicted(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("value", "unit", "options", "n")))


def fit_error_model(predicted: Predicted, difference: Floats, weight: Floats) -> ErrorModel:
    """Return the error model of held-out differences.

    Args:
        predicted: the predictions. difference: found minus predicted, shape (rows,).
        weight: of each row, shape (rows,); the weights of an exchangeable unit sum to 1.
    """
    from scipy.optimize import minimize

    features = _features(predicted)
    total = weight.sum()
    centre = weight @ features / total
    spread = np.sqrt(np.maximum(weight @ (features - centre) ** 2 / total, 0.0))
    # A feature that does not vary has no effect.
    spread = np.where(spread > 1e-6, spread, np.inf)
    design = np.column_stack([np.ones(len(features)), (features - centre) / spread])
    sampling, squares = predicted.unit / predicted.n, np.square(difference)
    prior = _PRIOR * np.append(1.0, np.where(np.isfinite(spread), spread, 0.0))

    def loss(beta: Floats) -> tuple[float, Floats]:
        error = np.exp(design @ beta)
        variance = sampling + error
        value = 0.5 * float(weight @ (np.log(variance) + squares / variance))
        slope = design.T @ (0.5 * weight * (1 / variance - squares / variance**2) * error)
        away = np.append(0.0, (beta - prior)[1:])
        return value + 0.5 * float(away @ away), slope + away

    beyond = max(float(weight @ (squares - sampling)) / total, 1e-6)
    start = np.append(np.log(beyond), prior[1:])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=_BOUNDS)
    return ErrorModel(np.asarray(found.x, dtype=np.float64), centre, spread)


def _features(predicted: Predicted) -> Floats:
    return np.column_stack([np.log(predicted.unit), np.log(predicted.options), np.log(predicted.n)])
