"""Answers and model values with the scale's code as one more variable, so that means are estimated like shares."""

from __future__ import annotations

import numpy as np

from valuestrata.estimation.inputs import ItemOptions
from valuestrata.stats.arrays import Floats


def with_codes(shares: Floats, items: ItemOptions) -> Floats:
    """Return the shares (..., I, K) with the mean code behind them, (..., I, K + 1)."""
    mean = (shares * np.nan_to_num(items.codes)).sum(axis=-1, keepdims=True)
    return np.concatenate([shares, mean], axis=-1)
