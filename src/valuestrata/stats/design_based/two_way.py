"""Variances of sums over sampling units and items when both are samples.

People who answer many items make errors of items dependent, and items (or blocks of items) make errors of people dependent. With R_ui what
unit u contributes to item i (Cameron, Gelbach and Miller 2011, Journal of Business and Economic Statistics 29:238-249),

    Var sum_ui R_ui = U / (U - 1) sum_u (sum_i R_ui)^2 + B / (B - 1) sum_b (sum_{u, i in b} R_ui)^2 - sum_ub (sum_{i in b} R_ui)^2,

and at least the larger of the first two terms. Degrees of freedom are those of the smaller dimension.
"""

from __future__ import annotations

import numpy as np

from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.blocks import sum_blocks, units_of


def two_way(contributions: Floats, blocks: Indices) -> tuple[float, float]:
    """Return the variance of the sum of all contributions, and its degrees of freedom; NaN and 0 with one unit.

    With one item, or one block that contains nearly all of them, only units, or units and items, vary.

    Args:
        contributions: shape (U, I). blocks: shape (I,), numbers of the blocks of items.
    """
    units = len(contributions)
    if units < 2:
        return np.nan, 0.0
    of_units = units / (units - 1) * float(np.square(contributions.sum(axis=1)).sum())
    if contributions.shape[1] < 2:
        return of_units, units - 1.0
    found = units_of(np.ones((1, len(blocks))), np.unique(blocks, return_inverse=True)[1].astype(np.intp))
    both = sum_blocks(contributions, found.blocks) if found.by_block[0] else contributions
    number = float(found.number[0])
    of_items = number / (number - 1) * float(np.square(both.sum(axis=0)).sum())
    return max(of_units + of_items - float(np.square(both).sum()), of_units, of_items), min(units, number) - 1.0
