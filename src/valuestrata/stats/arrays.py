"""Array types and the rounding threshold that the estimators share."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Indices = NDArray[np.intp]
Bools = NDArray[np.bool_]
Array = TypeVar("Array", NDArray[np.float64], NDArray[np.float32])

# A difference or a variance below this is a rounding error.
NEGLIGIBLE = 1e-12
