"""Intervals of shares and means from few answers with weights and clusters."""

from __future__ import annotations

import numpy as np

from valuestrata.stats.arrays import NEGLIGIBLE, Floats, divided
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


def design_effects(variance: Floats, simple: Floats, domains: Domains, noise: Floats) -> Floats:
    """Return smoothed design effects: the variance of an estimate over that of independent answers with the same weights, shape (D, I).

    Ratios of few units vary much. They are smoothed in three steps, with degrees of freedom as weights:

    1. A line in the mean number of members per unit, 1 + a + b (m - 1), is fitted to all ratios; b is the intraclass correlation (Kish
       1965, Survey Sampling, section 5.4). Ratios are weighted by `simple` too, because a small one comes with a small ratio.
    2. The line is multiplied by a factor for each item,
    3. and then by one for each domain and item.

    A factor is the ratio of both variances, shrunken toward 1 by t^2 / (t^2 + noise / freedom), with t^2 the variance of true factors,
    estimated by moments.

    Args:
        variance: shape (D, I), estimated variances. simple: those of independent answers with Kish's effective number; 0 where unknown.
        domains: people, units and degrees of freedom. noise: shape (I,), variance of a ratio times its degrees of freedom; 2 for normal
            answers.
    """
    known = np.isfinite(variance) & (simple > 0)
    # A few people with large weights do not show a variance.
    freedom = np.where(known, np.clip(domains.freedom, 0.0, np.maximum(domains.effective - 1, 0.0)), 0.0)
    above, below = np.where(known, variance, 0.0), np.where(known, simple, 0.0)
    weight = freedom * divided(below, below.sum(axis=0), 0.0)
    more = np.nan_to_num(domains.per_unit - 1)
    root = np.sqrt(weight).ravel()
    design = np.stack([root, root * more.ravel()], axis=1)
    ratio = divided(above, below, 1.0)
    fitted = np.linalg.lstsq(design, root * (ratio - 1).ravel(), rcond=1e-9)[0]
    line = np.maximum(1 + fitted[0] + fitted[1] * more, SMALLEST_EFFECT)
    of_items = divided((freedom * above).sum(axis=0), (freedom * below * line).sum(axis=0), 1.0)
    line = line * _shrunken(of_items, freedom.max(axis=0, initial=0.0), noise)
    return np.maximum(line * _shrunken(ratio / line, freedom, noise), SMALLEST_EFFECT)


def freedom_of_effects(domains: Domains, effects: Floats) -> Floats:
    """Return degrees of freedom of variances with smoothed design effects e, shape (D, I).

    Of the variance, 1 / e is that of independent answers, which is known. The rest has the degrees of freedom d of the largest domain,
    as the line is shared, so Satterthwaite's number is d / (1 - 1 / e)^2; it is at least d.
    """
    largest = np.maximum(domains.freedom.max(axis=0, initial=0.0), 1.0)
    unknown = np.minimum(np.square(1 - 1 / effects), 1.0)
    return divided(largest, np.where(unknown > NEGLIGIBLE, unknown, 0.0), np.inf)


def _shrunken(factor: Floats, freedom: Floats, noise: Floats) -> Floats:
    """Shrink factors toward 1."""
    chance = noise / np.maximum(freedom, 1.0)
    weight = np.where(freedom >= ENOUGH_FREEDOM, freedom, 0.0)
    total = float(weight.sum())
    between = max(float((weight * (np.square(factor - 1) - chance)).sum()) / total, 0.0) if total > 0 else 0.0
    return 1 + (factor - 1) * np.where(freedom > 0, between / (between + chance), 0.0)


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
