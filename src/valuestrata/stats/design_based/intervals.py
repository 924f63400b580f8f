"""Intervals of shares and means from few answers with weights and clusters."""

from __future__ import annotations

import numpy as np

from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.design_based.linearisation import Domains

CONFIDENCE = 0.95
# Fitted design effects are at least this.
SMALLEST_EFFECT = 0.25
# Ratios of domains with fewer degrees of freedom do not say how much true ratios vary.
ENOUGH_FREEDOM = 10


def quantile_of_t(freedom: Floats | float) -> Floats:
    """Return the quantile of Student's t for a two-sided 95 % interval, of the normal where `freedom` is infinite."""
    from scipy.special import ndtri, stdtrit

    freedom = np.asarray(freedom, dtype=np.float64)
    infinite = np.isinf(freedom)
    return np.where(infinite, ndtri((1 + CONFIDENCE) / 2), stdtrit(np.where(infinite, 1.0, freedom), (1 + CONFIDENCE) / 2))


def design_effects(ratio: Floats, domains: Domains, degrees: Indices) -> Floats:
    """Return smoothed design effects: the variance of an estimate over that of independent answers with the same weights.

    Ratios of few units vary much. They are smoothed in two steps. For each item, a line in the mean number of members per unit,
    r = 1 + a + b (m - 1), is fitted to the ratios of all domains, weighted by degrees of freedom; b is the intraclass correlation (Kish
    1965, Survey Sampling, section 5.4). Then each ratio is combined with the line, in proportion to degrees of freedom and the
    2 / (degrees * tau^2) that the variance tau^2 of true ratios around their line is worth, estimated by moments over all items.

    Args:
        ratio: shape (D, I), estimated variance over the variance of `domains.effective` independent answers; NaN where unknown.
        domains: people, units and degrees of freedom. degrees: shape (I,), free shares of an item, over which `ratio` pools.
    """
    # A few people with large weights do not show a variance either.
    freedom = np.where(np.isfinite(ratio), np.clip(domains.freedom, 0.0, np.maximum(domains.effective - 1, 0.0)), 0.0)
    more = np.nan_to_num(domains.per_unit - 1)
    line = np.ones_like(ratio)
    excess = np.nan_to_num(ratio - 1)
    for i in range(ratio.shape[1]):
        design = np.stack([np.ones(len(ratio)), more[:, i]], axis=1)
        root = np.sqrt(freedom[:, i, None])
        line[:, i] += design @ np.linalg.lstsq(design * root, excess[:, i] * root[:, 0], rcond=1e-9)[0]
    line = np.maximum(line, SMALLEST_EFFECT)
    chance = 2 / np.maximum(freedom * np.maximum(degrees, 1), 1.0)
    weight = freedom * (freedom >= ENOUGH_FREEDOM)
    away = weight * (np.square(np.nan_to_num(ratio) / line - 1) - chance)
    between = max(float(away.sum() / weight.sum()), 0.0) if weight.any() else 0.0
    own = freedom * np.maximum(degrees, 1) * between / 2
    return (own * np.nan_to_num(ratio) + line) / (own + 1)


def wilson(share: Floats, effective: Floats, quantile: Floats | float) -> tuple[Floats, Floats]:
    """Return the score interval of a share (Wilson 1927, Journal of the American Statistical Association 22:209-212).

    Args:
        share: in 0..1, NaN if unknown. effective: the number of independent answers with the same variance, above 0; infinite if the
            share is exact. quantile: of the standard normal, or of Student's t.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.square(quantile) / effective
        centre = (share + ratio / 2) / (1 + ratio)
        half = np.sqrt(ratio * share * (1 - share) + ratio**2 / 4) / (1 + ratio)
    # An infinite ratio (no answers) leaves the whole range.
    low, high = np.where(np.isinf(ratio), 0.0, centre - half), np.where(np.isinf(ratio), 1.0, centre + half)
    return np.clip(np.where(np.isnan(share), np.nan, low), 0.0, share), np.clip(np.where(np.isnan(share), np.nan, high), share, 1.0)
