"""Measures of spread between subgroups, plain and corrected for noise.

For scores P_u of U subgroups (or levels); all are null where fewer than two scores are known:

norm_range          (max P - min P) / max P, as in the paper               null where max P = 0
cv                  sigma / mu, sigma with U in the denominator, as in the paper   null where mu = 0
max_min             max P - min P
theil               mean of (P / mu) ln (P / mu), 0 ln 0 = 0 (Theil 1967)  null where mu = 0
gini                sum_uv |P_u - P_v| / (2 U^2 mu)                       null where mu = 0
variance_corrected  see below; may be negative
spread_corrected    its root; 0 where it is negative

All but the corrected ones grow with noise: sixty equal subgroups with 90 items each show a range of .24. Their intervals describe other
items and respondents (centred replicates) and include noise.

**Corrected variance.** The value of unit u on item i is mu + a_u + b_i + e_ui. The least-squares effects a_u have the variance S^2 (U - 1
in the denominator) and E S^2 = var(a) + sigma_e^2 tr(A^+) / (U - 1), A = Z'M Z being the units' design with items projected out. The
estimate subtracts the second term, with the residual mean square for sigma_e^2. It is unbiased and not floored. On a complete grid it is
the variance of the means minus (residual mean square) / items; missing cells do not bias it. It assumes independent residuals of a unit on
different items: noise that respondents bring to all items of a unit remains in it and widens its interval.

**Its interval.** F = S^2 / noise is, for normal means, non-central F with (U - 1, residual) degrees of freedom and
lambda = (U - 1) var(a) / noise; the interval inverts that distribution in lambda (Steiger 2004, Psychological Methods 9:164-182). It
starts at 0 where the spread could be noise. The variance that redrawn respondents add to the units is added to the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Floats

# A mean or a range below this is rounding.
NOTHING = 1e-12
PLUG_IN = ("norm_range", "cv", "max_min", "theil", "gini")


@dataclass(frozen=True)
class CorrectedVariance:
    """The corrected variance of one grid.

    Attributes:
        value: not floored; NaN where it cannot be estimated (see `reason`).
        effects: shape (U,), effects of the units, mean 0; NaN for units without a value.
        inverse: shape (U, U), A^+, from sums over items to effects; zeros for units without a value.
        raw: variance of the effects. noise: what noise adds to it. residual: residual mean square.
        units, freedom: number of units, residual degrees of freedom.
        reason: `one subgroup`, `no common items`, `no residual`, or None.
    """

    value: float
    effects: Floats
    inverse: Floats
    raw: float
    noise: float
    residual: float
    units: int
    freedom: int
    reason: str | None = None


def measures(scores: Floats) -> dict[str, Floats]:
    """Return every plug-in measure of scores (..., U), each of shape (...); NaN where undefined.

    Units whose score is NaN are left out; they must be the same along the leading axes.
    """
    known = ~np.isnan(scores.reshape(-1, scores.shape[-1])).any(axis=0)
    kept = scores[..., known]
    number = kept.shape[-1]
    shape = scores.shape[:-1]
    if number < 2:
        return {name: np.full(shape, np.nan) for name in (*PLUG_IN, "sd")}
    high, low, mean = kept.max(axis=-1), kept.min(axis=-1), kept.mean(axis=-1)
    sigma = kept.std(axis=-1)
    ordered = np.sort(kept, axis=-1)
    # sum_uv |P_u - P_v| = 2 sum_k (2 k - U + 1) P_(k), k = 0 .. U - 1.
    apart = ordered @ (2.0 * np.arange(number) - number + 1.0)
    share = np.divide(kept, mean[..., None], out=np.ones_like(kept), where=mean[..., None] > NOTHING)
    entropy = (share * np.log(np.where(share > 0, share, 1.0))).mean(axis=-1)

    def over(top: Floats, bottom: Floats) -> Floats:
        return np.divide(top, bottom, out=np.full(shape, np.nan), where=bottom > NOTHING)

    return {
        "norm_range": over(high - low, high),
        "cv": over(sigma, mean),
        "max_min": np.asarray(high - low),
        "theil": np.where(mean > NOTHING, np.maximum(entropy, 0.0), np.nan),
        "gini": over(np.maximum(apart, 0.0), number**2 * mean),
        "sd": np.asarray(sigma),
    }


def corrected_variance(grid: Floats) -> CorrectedVariance:
    """Return the variance between units that noise does not explain; see the module docstring.

    Args:
        grid: shape (U, I), NaN for missing values.
    """
    mask = ~np.isnan(grid)
    effects = np.full(len(grid), np.nan)
    units, items = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    there = mask[np.ix_(units, items)]
    nothing, whole = np.nan, np.zeros((len(grid), len(grid)))

    def refused(reason: str) -> CorrectedVariance:
        return CorrectedVariance(nothing, effects, whole, nothing, nothing, nothing, len(units), 0, reason)

    if len(units) < 2:
        return refused("one subgroup")
    values = np.where(there, grid[np.ix_(units, items)], 0.0)
    number = there.sum(axis=0)
    from_item = np.where(there, values - values.sum(axis=0) / number, 0.0)
    design = np.diag(there.sum(axis=1).astype(np.float64)) - (there / number) @ there.T
    roots, vectors = np.linalg.eigh(design)
    usable = roots > 1e-9 * max(1.0, float(roots[-1]))
    if int(usable.sum()) < len(units) - 1:
        return refused("no common items")
    inverse = (vectors[:, usable] / roots[usable]) @ vectors[:, usable].T
    left = from_item.sum(axis=1)
    found = inverse @ left
    freedom = int(there.sum()) - len(items) - (len(units) - 1)
    if freedom < 1:
        return refused("no residual")
    residual = max(float((from_item**2).sum() - left @ found), 0.0) / freedom
    noise = residual * float(np.trace(inverse)) / (len(units) - 1)
    effects[units] = found - found.mean()
    whole[np.ix_(units, units)] = inverse
    raw = float(effects[units].var(ddof=1))
    return CorrectedVariance(raw - noise, effects, whole, raw, noise, residual, len(units), freedom)


def corrected_interval(found: CorrectedVariance, confidence: float, extra: float = 0.0) -> tuple[float, float]:
    """Return the interval of the corrected variance, both ends at least 0; (nan, nan) where unknown.

    Args:
        extra: variance that redrawn respondents add to a unit's effect beyond the residual.
    """
    noise = found.noise + max(extra, 0.0)
    if not np.isfinite(found.value) or noise <= NOTHING:
        return (np.nan, np.nan) if not np.isfinite(found.value) or found.raw > NOTHING else (0.0, 0.0)
    first, second = found.units - 1, found.freedom
    ends = [_strength(first, second, found.raw / noise, share) for share in ((1 + confidence) / 2, (1 - confidence) / 2)]
    return ends[0] * noise / first, ends[1] * noise / first


def _strength(first: int, second: int, ratio: float, share: float) -> float:
    """Return the non-centrality at which P(F < ratio) = share; 0 where that probability is at most `share` already at 0."""
    from scipy import special

    def below(strength: float) -> float:
        return float(special.ncfdtr(first, second, strength, ratio))

    if special.fdtr(first, second, ratio) <= share:
        return 0.0
    low, high = 0.0, max(1.0, 2.0 * first * ratio)
    while below(high) > share:
        high *= 2.0
    # The probability falls with the non-centrality: bisection to ten digits.
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) > share else (low, middle)
    return (low + high) / 2


def why_null(scores: Floats, metric: str) -> str | None:
    """Return why measures of scores (U,) are null or partly null; None where they are not."""
    known = scores[~np.isnan(scores)]
    if len(known) == 0:
        return "no pair scored"
    if len(known) == 1:
        return "one subgroup"
    if float(np.abs(known).max()) <= NOTHING:
        return f"all zero: every {metric} is 0, and relative measures are undefined"
    return None


def tail(null: NDArray[np.floating], value: float) -> float:
    """Return the p-value (count + 1) / (B + 1) of a value under a null (B,), large is extreme; NaN without a null."""
    known = null[~np.isnan(null)]
    if len(known) == 0 or not np.isfinite(value):
        return np.nan
    return float((1 + (known >= value - NOTHING).sum()) / (len(known) + 1))
