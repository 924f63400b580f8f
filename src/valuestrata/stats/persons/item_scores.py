"""Agreement, correlation and spread of two sets of answers by the same persons, by item.

With weights w_i over the persons who have both answers to an item, x_i the person's and y_i the model's position on the scale:

- agreement: sum w_i 1[x_i = y_i] / sum w_i;
- correlation: Pearson's, over persons within the item;
- spread: SD(y) / SD(x), standard deviations with the weights.

Every function takes R sets of weights at once, so redrawn persons need no loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import NEGLIGIBLE, Bools, Floats


def weighted_means(values: Floats, known: Bools, weights: Floats) -> Floats:
    """Return the mean over persons of each item, under R sets of weights.

    Args:
        values: shape (P, I). known: shape (P, I), which values count. weights: shape (R, P), at least 0.

    Returns:
        Shape (R, I); NaN where no weight is left.
    """
    total = weights @ known.astype(np.float64)
    return np.divide(weights @ np.where(known, values, 0.0), total, out=np.full(total.shape, np.nan), where=total > 0)


@dataclass(frozen=True)
class Moments:
    """Second moments of two variables by item, under R sets of weights; each of shape (R, I), NaN where no weight is left.

    Attributes:
        var_x, var_y: variances. cov: covariance.
    """

    var_x: Floats
    var_y: Floats
    cov: Floats

    @classmethod
    def of(cls, x: Floats, y: Floats, known: Bools, weights: Floats) -> Moments:
        """Compute the moments; arguments as for `weighted_means`, x and y of shape (P, I)."""
        # Centred first, because sums of squares of numbers far from 0 lose digits.
        count = np.maximum(known.sum(axis=0), 1)
        x, y = (np.where(known, part - np.where(known, part, 0.0).sum(axis=0) / count, 0.0) for part in (x, y))
        mean_x, mean_y = weighted_means(x, known, weights), weighted_means(y, known, weights)
        return cls(
            weighted_means(x * x, known, weights) - mean_x**2,
            weighted_means(y * y, known, weights) - mean_y**2,
            weighted_means(x * y, known, weights) - mean_x * mean_y,
        )

    @property
    def correlation(self) -> Floats:
        """Pearson's correlation, NaN where a variable is constant."""
        product = self.var_x * self.var_y
        defined = (self.var_x > NEGLIGIBLE) & (self.var_y > NEGLIGIBLE)
        result = np.full(product.shape, np.nan)
        np.divide(self.cov, np.sqrt(np.where(defined, product, 1.0)), out=result, where=defined)
        return np.clip(result, -1.0, 1.0)

    @property
    def spread(self) -> Floats:
        """SD of y over SD of x, NaN where x is constant."""
        defined = self.var_x > NEGLIGIBLE
        ratio = np.full(defined.shape, np.nan)
        np.divide(np.maximum(self.var_y, 0.0), np.where(defined, self.var_x, 1.0), out=ratio, where=defined)
        return np.sqrt(ratio)


def redrawn_weights(weight: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Return the weights in the data (row 0) and in `draws` bootstrap samples of the persons, shape (1 + draws, P)."""
    persons = len(weight)
    drawn = rng.multinomial(persons, np.full(persons, 1.0 / max(persons, 1)), size=draws)
    return np.concatenate([np.ones((1, persons)), drawn.astype(np.float64)]) * weight
