"""Null distributions of every measure of spread: what each would be if all subgroups were served alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from valuestrata.fairness.estimate.disparity import CorrectedVariance, measures
from valuestrata.stats.arrays import Floats


@dataclass(frozen=True)
class NullDistribution:
    """A measure under one null.

    Attributes:
        values: shape (B,), finite values only; empty without a null. mean, high: mean and upper quantile; NaN without a null.
    """

    values: Floats
    mean: float
    high: float


@dataclass(frozen=True)
class SpreadNulls:
    """Every measure of one population under both nulls of `nulls`; empty for a null that is not available.

    Attributes:
        permuted, redrawn: measure -> values, shape (B,) or (D,). share: quantile that decides which null is wider.
    """

    permuted: Mapping[str, Floats]
    redrawn: Mapping[str, Floats]
    share: float

    def wider(self, measure: str) -> NullDistribution:
        """Return a measure under the null whose `share` quantile is larger."""
        known = [values[~np.isnan(values)] for values in (null.get(measure, np.empty(0)) for null in (self.permuted, self.redrawn))]
        found = [NullDistribution(values, float(values.mean()), float(np.quantile(values, self.share))) for values in known if len(values)]
        return max(found, key=lambda null: null.high, default=NullDistribution(np.empty(0), np.nan, np.nan))

    def means(self, measure: str) -> tuple[float, float]:
        """Return the mean of a measure under the permuted and the redrawn null; NaN where unknown."""
        permuted, redrawn = (
            float(np.nanmean(values)) if np.isfinite(values).any() else np.nan
            for values in (null.get(measure, np.empty(0)) for null in (self.permuted, self.redrawn))
        )
        return permuted, redrawn


def null_measures(corrected: CorrectedVariance, base: Floats | None, scores: Floats, sums: Floats) -> dict[str, Floats]:
    """Return every measure under one null, each of shape (B,); empty without a null.

    For the corrected variance: the effects that strata alone give (strata are not made equal) plus what the null adds to them; the
    variance of the sum, less the mean of what noise adds to it.

    Args:
        corrected: of the same units. base: effects that strata alone give, for units with a known effect; None where there is none.
        scores: shape (B, U), scores under the null. sums: shape (B, U), sums over items of what the null adds to the base.
    """
    if len(sums) == 0:
        return {}
    measured = measures(np.clip(scores, 0.0, 1.0))
    if base is None:
        unknown = np.full(len(sums), np.nan)
        return {**measured, "variance_corrected": unknown, "spread_corrected": unknown}
    variance = (base + (sums @ corrected.inverse)[:, ~np.isnan(corrected.effects)]).var(axis=1, ddof=1)
    centred = variance - variance.mean() + base.var(ddof=1)
    return {**measured, "variance_corrected": centred, "spread_corrected": np.sqrt(np.maximum(centred, 0.0))}
