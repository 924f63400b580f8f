"""Strength of the penalties of a calibration, chosen by cross-validation over items inside training.

Groups of items (topics, as in the split `unseen-item`) are held out in turn. Each candidate is fitted to the other groups by one
Newton step from a common starting point, at which the loss is close to quadratic, and judged by the loss of the held-out group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.calibration.methods.regression import ScaleBlock, fitted, loss, sums
from valuestrata.calibration.methods.scales import ScaleParameters
from valuestrata.stats.arrays import Floats

# Candidate penalties (precisions, relative to the weights of pairs), from weak to strong.
CANDIDATES = tuple(float(10.0 ** (power / 2)) for power in range(-2, 11))
# Penalties of the common starting point, and where training has too few groups of items to hold one out.
START, STRONGEST = 10.0, CANDIDATES[-1]


@dataclass(frozen=True)
class ChosenPenalties:
    """ChosenPenalties penalties of deviations, and the parameters fitted with them, shape (D,)."""

    slopes: float
    offsets: float
    theta: Floats


def choose_penalties(parameters: ScaleParameters, blocks: Sequence[ScaleBlock], rho: float, start: Floats) -> ChosenPenalties:
    """Return the penalties with the least loss in held-out groups of items, and the fit to all items.

    Args:
        parameters, blocks, rho: the regression. start: starting point, shape (D,).
    """
    groups = 1 + max((int(block.group.max()) for block in blocks), default=0)
    if groups < 2:
        return ChosenPenalties(STRONGEST, STRONGEST, fitted(blocks, parameters.penalty(STRONGEST, STRONGEST), rho, start))
    at = fitted(blocks, parameters.penalty(START, START), rho, start)
    own = sums(blocks, at, rho, groups)
    gradient, hessian = (np.sum([getattr(one, name) for one in own], axis=0) for name in ("gradient", "hessian"))

    def held_out(slopes: float, offsets: float) -> float:
        penalty, total = parameters.penalty(slopes, offsets), 0.0
        for group, one in enumerate(own):
            slope = gradient - one.gradient + penalty * at
            theta = at - np.linalg.solve(hessian - one.hessian + np.diag(penalty), slope)
            total += loss(blocks, theta, rho, group)
        return total

    # From strong to weak, so that the stronger penalty wins a tie. First one penalty for both, then that of the slopes alone.
    ordered = CANDIDATES[::-1]
    offsets = min(ordered, key=lambda one: held_out(one, one))
    slopes = min(ordered, key=lambda one: held_out(one, offsets))
    return ChosenPenalties(slopes, offsets, fitted(blocks, parameters.penalty(slopes, offsets), rho, at))
