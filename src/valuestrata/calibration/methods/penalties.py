"""Strength of the penalties of a calibration, chosen inside training by the marginal likelihood (empirical Bayes, MacKay 1992).

A penalty is the precision of a normal prior with mean 0. Around the fit theta with loss L and Hessian matrix H, both divided by the
design effect, the marginal likelihood of penalties Lambda is (Laplace's approximation)

    -L(theta) - 1/2 theta' Lambda theta + 1/2 log det Lambda - 1/2 log det (H + Lambda)

Fits with other penalties are one Newton step from a common starting point, at which the loss is close to quadratic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.calibration.methods.regression import ScaleBlock, derivatives, fitted
from valuestrata.calibration.methods.scales import ScaleParameters
from valuestrata.stats.arrays import Floats

# Candidates, from strong to weak: standard deviations from .003 to 10.
CANDIDATES = tuple(float(10.0 ** (power / 2)) for power in range(10, -5, -1))
START = 1.0


@dataclass(frozen=True)
class ChosenPenalties:
    """Penalties of the deviations of slopes and of offsets, and the parameters fitted with them, shape (D,)."""

    slopes: float
    offsets: float
    theta: Floats


def choose_penalties(parameters: ScaleParameters, blocks: Sequence[ScaleBlock], rho: float, phi: float, start: Floats) -> ChosenPenalties:
    """Return the penalties with the largest marginal likelihood, and the fit with them. The stronger penalty wins a tie.

    Args:
        parameters, blocks, rho: the regression. phi: design effect. start: starting point, shape (D,).
    """
    at = fitted(blocks, parameters.penalty(START, START) * phi, rho, start)
    here = derivatives(blocks, at, rho)
    gradient, hessian = here.gradient / phi, here.hessian / phi

    def evidence(slopes: float, offsets: float) -> float:
        penalty = parameters.penalty(slopes, offsets)
        precision = hessian + np.diag(penalty)
        step = np.linalg.solve(precision, -(gradient + penalty * at))
        theta = at + step
        # The loss at the starting point is the same for all.
        fit = float(gradient @ step + 0.5 * step @ hessian @ step + 0.5 * penalty @ theta**2)
        return -fit + 0.5 * float(np.log(penalty).sum()) - 0.5 * float(np.linalg.slogdet(precision)[1])

    slopes, offsets = max(((s, o) for s in CANDIDATES for o in CANDIDATES), key=lambda pair: evidence(*pair))
    return ChosenPenalties(slopes, offsets, fitted(blocks, parameters.penalty(slopes, offsets) * phi, rho, at))
