"""What a pair counts: by how far its subgroup departs from the nation, or so that every group counts the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from valuestrata.measures import tv

Floats = NDArray[np.float64]


def departure(shares: ArrayLike, nation: ArrayLike, n_eff: float) -> float:
    """How far a subgroup's shares lie from the nation's, beyond what a sample of its size does by chance, in [0, 1].

    The total variation distance less its mean under no difference, sum_k sqrt(2 q_k (1 - q_k) / (pi n)) / 2, from the mean
    of |X| of a normal share; not below 0. Without that, the smallest subgroups would weigh most, for their noise.

    Args:
        shares, nation: distributions over the same K options. n_eff: effective answers behind `shares`.
    """
    q = np.asarray(nation, dtype=np.float64)
    noise = float(np.sqrt(2 * q * (1 - q) / (np.pi * n_eff)).sum()) / 2
    return max(0.0, float(tv(shares, q)) - noise)


def shift_weights(departures: ArrayLike, strength: float) -> Floats:
    """Return 1 - strength + strength x departure / mean departure for each pair; 1 where no pair departs. The mean is 1."""
    far = np.asarray(departures, dtype=np.float64)
    largest = float(far.max())
    if largest <= 0:
        return np.ones_like(far)
    # Against the largest first: numbers next to zero have no mean to divide by.
    far = far / largest
    return 1 - strength + strength * (far / far.mean())


def balanced_weights(groups: Sequence[Hashable]) -> Floats:
    """Return N / (G x pairs of its group) for each pair, so that the G groups count the same. The mean is 1."""
    sizes = Counter(groups)
    return np.array([len(groups) / (len(sizes) * sizes[group]) for group in groups], dtype=np.float64)
