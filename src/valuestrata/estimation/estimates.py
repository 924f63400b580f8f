"""What estimators return: shares and means with intervals, and the table of all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import Bools, Floats

HUMAN, MODEL, RECTIFIED, MULTILEVEL, SMALL_AREA = "human", "model", "rectified", "multilevel", "small-area"
ESTIMATORS = (HUMAN, MODEL, RECTIFIED, MULTILEVEL, SMALL_AREA)


@dataclass(frozen=True)
class Estimates:
    """Estimates of one estimator, with 95 % intervals; NaN where undefined.

    Attributes:
        estimator: one of `ESTIMATORS`. run: name of the run, None for estimators without a model.
        shares, low, high: shape (G, I, K): shares of the options, sum 1 over an item's options, and the ends of their intervals.
        mse: shape (G, I, K), estimated variance or mean squared error of each share.
        mean, mean_low, mean_high, mean_mse: shape (G, I): mean of the scale codes, its interval, and the square of its standard
            error; NaN for nominal items.
        synthetic: shape (G, I), True where nobody in the subgroup answered, and the estimate rests on others or on the model.
        weight: shape (G, I), weight of the model (lambda of `rectified`); NaN where it has no meaning.
    """

    estimator: str
    run: str | None
    shares: Floats
    low: Floats
    high: Floats
    mse: Floats
    mean: Floats
    mean_low: Floats
    mean_high: Floats
    mean_mse: Floats
    synthetic: Bools
    weight: Floats

    @property
    def se(self) -> Floats:
        """Standard error of each share, shape (G, I, K)."""
        return np.sqrt(self.mse)
