"""The linear predictors of subgroups from the people outside them, for other values than the human answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import Floats, Indices, Singles


@dataclass(frozen=True)
class OutsidePredictor:
    """Weights that predict each subgroup from the cells outside it.

    Attributes:
        item: number of the item. cells: shape (S,), the cells with answers. weights: shape (G, S), NaN where nobody outside answered.
    """

    item: int
    cells: Indices
    weights: Singles


def predicted_from_outside(predictors: Sequence[OutsidePredictor], values: Floats, subgroups: int) -> Floats:
    """Return what the predictors make of other values of the cells, shape (G, I, K); NaN for items without a predictor.

    Args:
        values: mean of the people of each cell who answered an item, shape (I, J, K). subgroups: G.
    """
    items, _, options = values.shape
    found = np.full((subgroups, items, options), np.nan)
    for one in predictors:
        found[:, one.item] = one.weights @ values[one.item, one.cells]
    return found
