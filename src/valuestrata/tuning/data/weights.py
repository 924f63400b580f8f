"""Weights of training pairs: by departure from the nation, or equal for every group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from valuestrata.measures import tv

Floats = NDArray[np.float64]


def departure(shares: ArrayLike, nation: ArrayLike, n_eff: float) -> float:
    """Return the distance of a subgroup's shares from the nation's, corrected for sampling noise, in [0, 1].

    Total variation distance minus its mean under no difference, sum_k sqrt(2 q_k (1 - q_k) / (pi n)) / 2 (from the mean of
    |X| of a normal variable), at least 0. Without the correction, noise would give the smallest subgroups the largest weights.

    Args:
        shares, nation: distributions over the same K options. n_eff: effective sample size of `shares`.
    """
    q = np.asarray(nation, dtype=np.float64)
    noise = float(np.sqrt(2 * q * (1 - q) / (np.pi * n_eff)).sum()) / 2
    return max(0.0, float(tv(shares, q)) - noise)


def shift_weights(departures: ArrayLike, strength: float) -> Floats:
    """Return 1 - strength + strength x departure / mean departure for each pair, with mean 1; all 1 if no pair departs."""
    far = np.asarray(departures, dtype=np.float64)
    largest = float(far.max())
    if largest <= 0:
        return np.ones_like(far)
    # Scale by the largest first: the mean of numbers close to zero may underflow.
    far = far / largest
    return 1 - strength + strength * (far / far.mean())


def balanced_weights(groups: Sequence[Hashable]) -> Floats:
    """Return N / (G x pairs of its group) for each pair, so the G groups have equal total weight; the mean is 1."""
    sizes = Counter(groups)
    return np.array([len(groups) / (len(sizes) * sizes[group]) for group in groups], dtype=np.float64)
