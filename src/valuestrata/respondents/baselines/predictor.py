"""What a baseline is: a function from training gold to a predictor, and a predictor gives shares for a pair."""

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
        """What was chosen in fitting and makes the answers what they are; empty where nothing was. Goes into a run's identity."""
        ...

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the predicted shares of an item's codes in a subgroup: shape (K,), scale order, none negative, sum 1.

        Every item and subgroup of the data set asked about is answered, trained or not.
        """
        ...


Fit = Callable[[TrainingGold], Predictor]


@dataclass(frozen=True)
class PerPair:
    """A predictor that is a plain function of item and subgroup."""

    of: Callable[[str, str], Floats]
    settings: Mapping[str, object] = field(default_factory=dict[str, object])

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return what the function says."""
        return self.of(item, subgroup)


def as_shares(counts: Floats) -> Floats:
    """Return counts divided by their sum along the last axis; equal shares where the sum is not positive."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, 1.0 / counts.shape[-1]), where=total > 0)
