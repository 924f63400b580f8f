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

**Blocks.** Where items form blocks, the residuals of a unit may be correlated within a block, and only blocks are taken as independent.
With Z_b the sum of centred values over block b, A_b its part of A, w_b = tr(A_b A^+) / (U - 1) its share of the information and
q_b = |A^+ (Z_b - A_b a)|^2 / (U - 1) the square of what it adds to the effects, E q_b = (1 - 2 w_b) v_b + w_b^2 V for the noise v_b of
block b and V = sum v_b, so that

    V = sum_b q_b / (1 - 2 w_b) / (1 + sum_b w_b^2 / (1 - 2 w_b))

is unbiased on a complete grid however much the blocks differ; it needs no variance to be equal. With missing cells it is multiplied by
what makes it exact for independent values. With single items it estimates the noise above. With a block that holds more than
`LARGEST_SHARE` of the information 1 - 2 w_b is too close to 0; the noise is then that of the jackknife,
(1 - sum w_b^2) sum_b q_b / (1 - w_b)^2, which is too large where blocks do not differ (Efron and Stein 1981, Annals of Statistics
9:586-596). It has (U - 1) (k - 1) degrees of freedom, k = 1 / sum w_b^2 the effective number of blocks.

**Its interval.** F = S^2 / noise is, for normal means, non-central F with (U - 1, residual) degrees of freedom and
lambda = (U - 1) var(a) / noise; the interval inverts that distribution in lambda (Steiger 2004, Psychological Methods 9:164-182). It
starts at 0 where the spread could be noise. The variance that redrawn respondents add to the units is added to the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.blocks import sum_blocks

# A mean or a range below this is rounding.
NOTHING = 1e-12
PLUG_IN = ("norm_range", "cv", "max_min", "theil", "gini")
# Largest share of a block in the information for which its noise is estimated without bias.
LARGEST_SHARE = 1 / 3


@dataclass(frozen=True)
class CorrectedVariance:
    """The corrected variance of one grid.

    Attributes:
        value: not floored; NaN where it cannot be estimated (see `reason`).
        effects: shape (U,), effects of the units, mean 0; NaN for units without a value.
        inverse: shape (U, U), A^+, from sums over items to effects; zeros for units without a value.
        raw: variance of the effects. noise: what noise adds to it. residual: residual mean square of single items.
        units: number of units. freedom: degrees of freedom of the noise.
        reason: `one subgroup`, `no common items`, `no residual`, `one block`, or None.
    """

    value: float
    effects: Floats
    inverse: Floats
    raw: float
    noise: float
    residual: float
    units: int
    freedom: float
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


def corrected_variance(grid: Floats, blocks: Indices | None = None) -> CorrectedVariance:
    """Return the variance between units that noise does not explain; see the module docstring.

    Args:
        grid: shape (U, I), NaN for missing values. blocks: shape (I,), the block of each item; each item by itself if None.
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
    block = np.arange(len(items)) if blocks is None else np.unique(blocks[items], return_inverse=True)[1].ravel()
    if int(block.max()) + 1 < len(items):
        noise, freedom = _noise_of_blocks(from_item, there, block, inverse, found)
        if freedom <= 0:
            return refused("one block")
    effects[units] = found - found.mean()
    whole[np.ix_(units, units)] = inverse
    raw = float(effects[units].var(ddof=1))
    return CorrectedVariance(raw - noise, effects, whole, raw, noise, residual, len(units), freedom)


def _noise_of_blocks(from_item: Floats, there: NDArray[np.bool_], block: Indices, inverse: Floats, effects: Floats) -> tuple[float, float]:
    """Return what noise adds to the variance of the effects where only blocks are independent, and its degrees of freedom.

    Args:
        from_item: shape (U, I), values minus the mean of their item, 0 without a value. there: shape (U, I). block: shape (I,), 0..B-1.
        inverse: A^+. effects: shape (U,), A^+ times the sums of `from_item`.
    """
    units = len(there) - 1
    of_item = there / there.sum(axis=0)
    # A_b a: each item's pairs times (effect - mean effect of the item's units).
    fitted = there * (effects[:, None] - (effects @ of_item))
    left = inverse @ sum_blocks(from_item - fitted, block)
    added = (left**2).sum(axis=0) / units
    # tr(A^+ A_b), summed over the items of a block.
    information = there.T @ np.diag(inverse) - np.einsum("ui,uv,vi->i", of_item, inverse, there.astype(np.float64), optimize=True)
    share = sum_blocks(information, block) / units
    effective = 1.0 / float((share**2).sum())
    if float(share.max()) <= LARGEST_SHARE:
        factor = 1.0 / (1.0 - 2.0 * share)
        noise = float(added @ factor) / (1.0 + float(share**2 @ factor))
        if not there.all():
            noise *= _of_missing_cells(there, block, inverse, factor / (1.0 + float(share**2 @ factor)))
    else:
        apart = np.maximum(1.0 - share, 0.0)
        noise = (1.0 - 1.0 / effective) * float(np.divide(added, apart**2, out=np.zeros(len(added)), where=apart > NOTHING).sum())
    return noise, units * (effective - 1.0) if effective > 1.0 + NOTHING else 0.0


def _of_missing_cells(there: NDArray[np.bool_], block: Indices, inverse: Floats, factor: Floats) -> float:
    """Return what makes the noise of blocks, weighted by `factor`, exact where all values are independent; 1 on a complete grid.

    For independent values of variance 1, (U - 1) E q_b = tr(A^+ A_b A^+) - tr(A^+ A_b A^+ A_b A^+), and the noise is tr(A^+) / (U - 1).
    """
    expected = 0.0
    for number, times in enumerate(factor):
        here = there[:, block == number].astype(np.float64)
        part = inverse @ (np.diag(here.sum(axis=1)) - (here / here.sum(axis=0)) @ here.T)
        once = part @ inverse
        expected += float(times) * float(np.trace(once) - np.einsum("uv,vu->", part, once))
    return float(np.trace(inverse)) / expected if expected > NOTHING else 1.0


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


def _strength(first: int, second: float, ratio: float, share: float) -> float:
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
