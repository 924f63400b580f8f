"""Newton's method for many convex problems at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from valuestrata.stats.arrays import Floats, Indices

MOST_STEPS = 100
# Backtracking: a step is halved until it has this part of the decrease that the gradient predicts (Armijo).
SUFFICIENT = 2.0**-11
MOST_HALVINGS = 20
# A difference of losses below this part of the loss is a rounding error.
ROUNDING = 16 * np.finfo(np.float64).eps

Evaluate = Callable[[Floats, Indices], tuple[Floats, Floats, Floats]]


def newton(
    evaluate: Evaluate,
    curvature: Callable[[Floats, Indices], Floats],
    original: Callable[[Floats], Floats],
    start: Floats,
    tolerance: float,
) -> Floats:
    """Minimise P convex functions of N parameters by Newton's method, each until its gradient is small.

    A problem ends when its largest gradient and half the squared Newton decrement are at most `tolerance`, or when no step
    decreases its loss.

    Args:
        evaluate: points (p, N) and numbers of their problems (p,) -> losses (p,), gradients (p, N), and what `curvature` needs.
        curvature: the latter and the numbers of the problems -> Hessian matrices (p, N, N).
        original: gradients -> gradients in the parameters that `tolerance` refers to.
        start: starting points, shape (P, N).

    Returns:
        The minima, shape (P, N).
    """
    found = start.copy()
    open_ = np.arange(len(start))
    loss, slope, inner = evaluate(found, open_)
    for _ in range(MOST_STEPS):
        if not len(open_):
            break
        hessian = curvature(inner, open_)
        step = np.linalg.solve(hessian, -slope[..., None])[..., 0]
        decrement = -(slope * step).sum(axis=1)
        size, waiting = np.ones(len(open_)), np.arange(len(open_))
        before, before_slope = loss.copy(), np.abs(slope).sum(axis=1)
        at = found[open_]
        new_slope, new_inner = slope.copy(), inner.copy()
        for _ in range(MOST_HALVINGS + 1):
            here = at[waiting] + size[waiting, None] * step[waiting]
            loss[waiting], new_slope[waiting], new_inner[waiting] = evaluate(here, open_[waiting])
            gain = loss[waiting] - before[waiting]
            enough = gain <= -SUFFICIENT * size[waiting] * decrement[waiting]
            tiny = np.abs(gain) <= np.abs(before[waiting]) * ROUNDING
            done = enough | (tiny & (np.abs(new_slope[waiting]).sum(axis=1) < before_slope[waiting]))
            waiting = waiting[~done]
            if not len(waiting):
                break
            size[waiting] *= 0.5
        size[waiting] = 0.0
        found[open_] = at + size[:, None] * step
        small = (np.abs(original(new_slope)).max(axis=1) <= tolerance) & (0.5 * decrement <= tolerance)
        kept = ~small & (size > 0)
        open_, loss, slope, inner = open_[kept], loss[kept], new_slope[kept], new_inner[kept]
    return found
