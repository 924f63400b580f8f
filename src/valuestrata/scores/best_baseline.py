"""The rule that chooses the best baseline."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from valuestrata.formatting import LOWER_IS_BETTER
from valuestrata.scores.layout import RunGrid

# A baseline is a candidate if it has a value for at least this share of the pairs of the most complete baseline.
FULL_ENOUGH = 0.95


def best_of(metric: str, values: Mapping[str, float]) -> str | None:
    """Return the name with the best value of a metric, the first of equals; None without values."""
    sign = -1 if metric in LOWER_IS_BETTER else 1
    return max(values, key=lambda name: sign * values[name], default=None)


def best_baseline(metric: str, baselines: Mapping[str, RunGrid]) -> str | None:
    """Return the name of the best baseline by a metric, the first of equals; None where no baseline has a value.

    Baselines are compared on the pairs that all candidates have a value for. If there is no such pair, the most complete is chosen.
    """
    known = {name: ~np.isnan(grid.metrics[metric].gold) for name, grid in baselines.items()}
    most = max((int(mask.sum()) for mask in known.values()), default=0)
    if most == 0:
        return None
    candidates = [name for name, mask in known.items() if mask.sum() >= FULL_ENOUGH * most]
    common = np.logical_and.reduce([known[name] for name in candidates])
    if not common.any():
        return max(candidates, key=lambda name: int(known[name].sum()))
    return best_of(metric, {name: float(baselines[name].metrics[metric].gold[common].mean()) for name in candidates})
