"""Parameters of a calibration by scale: slopes and offsets that scales with the same number of options share in part.

The logits of an item with K options are

    sum_f (slope_f + d_K + d_K,level) x_kf + position_1 u_k + position_2 u_k^2 + offset_K,k + offset_K,level,k

with x_kf a feature of option k (d applies to the first feature), and u_k the position of the option from -1 to 1, 0 for nominal
items. Slopes and position terms are common to all scales; the other terms are deviations for the number of options, and for the
number of options and level, each with a ridge penalty. A number of options with too few training items has no deviations, so it
uses the common terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import Floats, Indices

# Penalty of the common terms, a prior with standard deviation 1. It matters with few items only.
COMMON = 1.0
POSITION_TERMS = 2


@dataclass(frozen=True, order=True)
class ItemScale:
    """A number of options and a level: ordinal, nominal or binary."""

    options: int
    level: str

    def __str__(self) -> str:
        return f"{self.options} options, {self.level}"


@dataclass(frozen=True)
class ScaleParameters:
    """Places of the parameters.

    Attributes:
        features: number F of features with a slope.
        of_options: number of options -> place of its deviations. of_scale: scale -> place of its deviations.
        size: number D of parameters.
    """

    features: int
    of_options: Mapping[int, int]
    of_scale: Mapping[ItemScale, int]
    size: int

    @classmethod
    def of(cls, items: Mapping[ItemScale, int], features: int) -> ScaleParameters:
        """Return the parameters for training items.

        Args:
            items: scale -> number of training items. features: number of features with a slope.
        """
        size = features + POSITION_TERMS
        of_options: dict[int, int] = {}
        of_scale: dict[ItemScale, int] = {}
        for options in sorted({scale.options for scale in items}):
            own = sorted(scale for scale in items if scale.options == options)
            if sum(items[scale] for scale in own) < needed(options):
                continue
            of_options[options] = size
            size += 1 + options
            for scale in own if len(own) > 1 else ():
                if items[scale] >= needed(options):
                    of_scale[scale] = size
                    size += 1 + options
        return cls(features, of_options, of_scale, size)

    def columns(self, scale: ItemScale) -> Indices:
        """Return the parameters that a scale uses, shape (F,)."""
        own = [self.of_options.get(scale.options), self.of_scale.get(scale)]
        common = np.arange(self.features + POSITION_TERMS)
        return np.concatenate([common, *(start + np.arange(1 + scale.options) for start in own if start is not None)])

    def design(self, scale: ItemScale, values: Floats) -> Floats:
        """Return the features of pairs, shape (n, K, F); `values` are those with a slope, shape (n, K, features)."""
        n, options = values.shape[:2]
        parts = [values, np.broadcast_to(position_terms(scale), (n, options, POSITION_TERMS))]
        for own in (self.of_options.get(scale.options), self.of_scale.get(scale)):
            if own is not None:
                parts += [values[:, :, :1], np.broadcast_to(np.eye(options), (n, options, options))]
        return np.concatenate(parts, axis=2)

    def penalty(self, slopes: float, offsets: float) -> Floats:
        """Return the penalty of each parameter, shape (D,), given those of deviations of slopes and of offsets."""
        found = np.full(self.size, offsets)
        found[: self.features + POSITION_TERMS] = COMMON
        found[[*self.of_options.values(), *self.of_scale.values()]] = slopes
        return found

    def slopes(self, scale: ItemScale, theta: Floats) -> Floats:
        """Return the slopes of a scale, shape (features,)."""
        found = theta[: self.features].copy()
        found[0] += sum(theta[start] for start in self._deviations(scale))
        return found

    def offsets(self, scale: ItemScale, theta: Floats) -> Floats:
        """Return the offsets of a scale, shape (K,), with mean 0."""
        found = position_terms(scale) @ theta[self.features : self.features + POSITION_TERMS]
        for start in self._deviations(scale):
            found = found + theta[start + 1 : start + 1 + scale.options]
        return found - found.mean()

    def _deviations(self, scale: ItemScale) -> Sequence[int]:
        return [start for start in (self.of_options.get(scale.options), self.of_scale.get(scale)) if start is not None]


def needed(options: int) -> int:
    """Return the least number of training items for deviations: as many as a slope and the offsets have free parameters."""
    return options


def orthogonal_polynomials(options: int, degrees: int) -> Floats:
    """Return polynomials of the position that are orthogonal to each other and to a constant, of mean square 1.

    Returns:
        Shape (min(degrees, options - 1), options), the lowest degree first.
    """
    powers = np.linspace(-1.0, 1.0, options)[:, None] ** np.arange(min(options - 1, degrees) + 1)
    basis, triangle = np.linalg.qr(powers)
    return (basis * np.sign(np.diag(triangle))).T[1:] * np.sqrt(options)


def position_terms(scale: ItemScale) -> Floats:
    """Return u and u^2 of each option, centred, shape (K, 2); 0 for nominal items."""
    if scale.level == "nominal" or scale.options < 2:
        return np.zeros((scale.options, POSITION_TERMS))
    u = np.linspace(-1.0, 1.0, scale.options)
    return np.stack([u, u**2 - (u**2).mean()], axis=1)
