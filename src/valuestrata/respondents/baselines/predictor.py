"""The interface of a baseline: a function from training gold to a predictor of shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from valuestrata.respondents.baselines.gold import TrainingGold

Floats = NDArray[np.float64]


class Predictor(Protocol):
    """A fitted baseline."""

    @property
    def settings(self) -> Mapping[str, object]:
        """Values chosen in fitting, stored in the identity of a run; empty if there are none."""
        ...

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the predicted shares of an item in a subgroup: shape (K,), scale order, nonnegative, sum 1.

        All items and subgroups of the data set can be predicted, with or without training pairs.
        """
        ...


Fit = Callable[[TrainingGold], Predictor]


@dataclass(frozen=True)
class PerPair:
    """A predictor given by a function of item and subgroup."""

    of: Callable[[str, str], Floats]
    settings: Mapping[str, object] = field(default_factory=dict[str, object])

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the value of the function."""
        return self.of(item, subgroup)


def as_shares(counts: Floats) -> Floats:
    """Return counts divided by their sum along the last axis; equal shares if the sum is not positive."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, 1.0 / counts.shape[-1]), where=total > 0)
