"""Array types, the rounding threshold, the softmax and the random numbers that the estimators share."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from valuestrata.errors import check_seed

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Indices = NDArray[np.intp]
Bools = NDArray[np.bool_]
Array = TypeVar("Array", NDArray[np.float64], NDArray[np.float32])

# A difference or a variance below this is a rounding error.
NEGLIGIBLE = 1e-12


def generator(seed: int, *more: int) -> np.random.Generator:
    """Return a generator of random numbers; `more` gives independent generators of one seed.

    Raises:
        UsageError: the seed is negative or no whole number.
    """
    return np.random.default_rng([check_seed(seed), *more] if more else check_seed(seed))


def softmax(logits: Floats) -> Floats:
    """Return the softmax along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def divided(above: Floats, below: Floats, otherwise: float = np.nan) -> Floats:
    """Return above / below, and `otherwise` where `below` is not above 0."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, otherwise), where=below > 0)
