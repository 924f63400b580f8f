"""Benchmarking: subgroup estimates of a stratum, weighted by size, agree with the estimate for the population.

The shares e_g (over options) of the subgroups of a stratum, with sizes N_g (sum 1), become

    e*_gk = e_gk exp(c_g b_k) / sum_l e_gl exp(c_g b_l),   with b such that sum_g N_g e*_g = total.

This minimises sum_g N_g / c_g KL(e*_g, e_g), so shares stay in 0..1 with sum 1, zeros stay 0, and estimates that agree already do not
change. With equal c_g it is raking (Deming and Stephan 1940, Annals of Mathematical Statistics 11:427-444). Here c_g = N_g / n_g, with
n_g = sum_k e_gk (1 - e_gk) / sum_k mse_gk the effective number of answers. To first order, the change is then N_g Cov(e_g) b, the
adjustment with the smallest mean squared error (Wang, Fuller and Qu 2008, Survey Methodology 34:29-36; Rao and Molina 2015, Small Area
Estimation, section 6.4.6): uncertain estimates move most. Without mean squared errors c_g is 1.

**What is left alone.** Strata whose estimated subgroups hold less than `COVERED` of the population: small cells were dropped there, and
what the others should add up to is unknown. Subgroups without population or estimate. Items without a total.

**Intervals** move with the estimate and keep their length; an end at 0 or 1 stays there. Mean squared errors do not change. Benchmarking
protects against a wrong model of subgroups; the noise of the total is its price, which is small where the total is that of the whole
sample: of the order of N_g times the variance of the total.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from valuestrata.estimation.estimates import Estimates
from valuestrata.estimation.inputs import ItemOptions, PopulationCells
from valuestrata.stats.arrays import NEGLIGIBLE, Bools, Floats, Indices
from valuestrata.stats.newton import newton

# Strata with at least this share of the population in estimated subgroups are benchmarked.
COVERED = 0.95
# Weighted estimates are made to agree with the total up to the first; they count as agreeing up to the second.
AGREES, ROUNDING = 1e-11, 1e-9
# Where no change of the estimates agrees with the total (an option is 0, or 1, in too many subgroups), these shares of each are
# replaced by the total first, until it does.
MIXED = (0.0, 0.01, 0.1, 1.0)


def benchmarked(estimates: Estimates, population: PopulationCells, total: Floats, items: ItemOptions) -> Estimates:
    """Return estimates that agree with the population's in every stratum.

    Args:
        estimates: of G subgroups and I items. population: sizes and strata. total: shape (I, K), shares of the population, usually of
            the whole sample; NaN if unknown. items: codes of the options, for means.
    """
    strata = np.array(population.strata)
    shares = estimates.shares.copy()
    for stratum in dict.fromkeys(population.strata):
        rows = np.flatnonzero(np.isin(strata, stratum) & (population.sizes > 0))
        if len(rows):
            shares[rows] = _of_stratum(shares[rows], estimates.mse[rows], population.sizes[rows], total, items.used)
    move = shares - estimates.shares
    codes = np.nan_to_num(items.codes)
    move_mean = np.where(items.used, move * codes, 0.0).sum(axis=2)
    least, most = (np.broadcast_to(end(items.codes, axis=1), move_mean.shape) for end in (np.nanmin, np.nanmax))
    low, high = _moved(estimates.low, estimates.high, shares, move, np.zeros_like(shares), np.ones_like(shares))
    mean = estimates.mean + move_mean
    mean_low, mean_high = _moved(estimates.mean_low, estimates.mean_high, mean, move_mean, least, most)
    return replace(estimates, shares=shares, low=low, high=high, mean=mean, mean_low=mean_low, mean_high=mean_high)


def _moved(low: Floats, high: Floats, estimate: Floats, move: Floats, least: Floats, most: Floats) -> tuple[Floats, Floats]:
    """Move both ends; those at the end of the range stay, and the interval contains the estimate."""
    lower = np.where((low <= least) | (move == 0), low, np.clip(low + move, least, estimate))
    upper = np.where((high >= most) | (move == 0), high, np.clip(high + move, estimate, most))
    return lower, upper


def _of_stratum(shares: Floats, mse: Floats, sizes: Floats, total: Floats, used: Bools) -> Floats:
    """Return the shares (G, I, K) of the G subgroups of a stratum, benchmarked where they cover the population."""
    before = np.where(used, shares, 0.0)
    target = np.where(used, total, 0.0)
    sums = target.sum(axis=1, keepdims=True)
    known = np.asarray(~np.isnan(before).any(axis=2))
    size = np.where(known, sizes[:, None], 0.0)
    covered: Floats = size.sum(axis=0)
    enough = np.where(np.nan_to_num(sums[:, 0]) > 0, covered, 0.0)
    chosen = np.flatnonzero(enough >= COVERED)
    if not len(chosen):
        return shares
    known, size = known[:, chosen], size[:, chosen] / covered[chosen]
    start, target = np.where(known[..., None], before[:, chosen], 0.0), target[chosen] / sums[chosen]
    start = _without_unchosen(start, known, target)
    speed = _speeds(start, np.where(used, mse, 0.0)[:, chosen], size, known)
    after, open_items = start.copy(), np.arange(len(chosen))
    for part in MIXED:
        mixed = np.where(known[..., None], (1 - part) * start + part * target, 0.0)[:, open_items]
        of_items = (size[:, open_items], speed[:, open_items] if part == 0 else known[:, open_items].astype(np.float64))
        after[:, open_items], agrees = _tilted(mixed, *of_items, target[open_items])
        open_items = open_items[~agrees]
        if not len(open_items):
            break
    found = shares.copy()
    found[:, chosen] = np.where(known[..., None] & used[chosen], after, shares[:, chosen])
    return found


def _without_unchosen(shares: Floats, known: Bools, target: Floats) -> Floats:
    """Remove options of which the target is 0; who has no other option takes the target."""
    kept = np.where(target > 0, shares, 0.0)
    rest = kept.sum(axis=2, keepdims=True)
    found = np.where(rest > NEGLIGIBLE, kept / np.maximum(rest, NEGLIGIBLE), target)
    unchanged = np.isclose(rest, 1.0, rtol=0, atol=NEGLIGIBLE)
    return np.where(known[..., None], np.where(unchanged, kept, found), 0.0)


def _speeds(shares: Floats, mse: Floats, size: Floats, known: Bools) -> Floats:
    """Return c, shape (G, I), with mean 1 over the subgroups of an item; 0 for an estimate that is exact, or unknown."""
    spread = (shares * (1 - shares)).sum(axis=2)
    error = np.where(known, mse.sum(axis=2), 0.0)
    found = np.divide(size * error, spread, out=np.zeros_like(spread), where=spread > NEGLIGIBLE)
    number = np.maximum(known.sum(axis=0), 1)
    mean = found.sum(axis=0) / number
    equal = known.astype(np.float64)
    return np.where(np.isfinite(mean) & (mean > 0), found / np.where(mean > 0, mean, 1.0), equal)


def _tilted(start: Floats, size: Floats, speed: Floats, target: Floats) -> tuple[Floats, Bools]:
    """Solve for b; return shares (G, I, K) and whether they agree with the target (I,)."""
    least, most = (np.einsum("gi,gik->ik", size, part) for part in (start >= 1, start > 0))
    chosen = target > 0
    differs = (np.abs(np.einsum("gi,gik->ik", size, start) - target) > AGREES).any(axis=1)
    possible = np.flatnonzero(((least <= target + ROUNDING) & (target <= most + ROUNDING)).all(axis=1) & differs)
    with np.errstate(divide="ignore"):
        logs = np.log(start)
    inverse = np.divide(size, speed, out=np.zeros_like(size), where=speed > 0)
    fixed = np.where(speed[..., None] > 0, 0.0, size[..., None] * start).sum(axis=0)
    diagonal = np.arange(target.shape[1])

    def shares_at(b: Floats, items: Indices) -> tuple[Floats, Floats]:
        """Return the shares and the logarithm of their common denominator."""
        logits = logs[:, items] + speed[:, items, None] * b
        top = np.max(logits, axis=2, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        odds = np.exp(logits - top)
        sums = odds.sum(axis=2, keepdims=True)
        found = np.divide(odds, sums, out=np.zeros_like(odds), where=sums > 0)
        return found, np.where(sums > 0, np.log(np.where(sums > 0, sums, 1.0)) + top, 0.0)[..., 0]

    def evaluate(b: Floats, items: Indices) -> tuple[Floats, Floats, Floats]:
        found, height = shares_at(b, items)
        miss = (size[:, items, None] * found).sum(axis=0) - target[items]
        loss = (inverse[:, items] * height).sum(axis=0) + ((fixed[items] - target[items]) * b).sum(axis=1)
        # Losses are near 0 where little changes; `newton` compares rounding errors with the loss, so it gets one near 1.
        return 1.0 + loss, np.where(chosen[items], miss, 0.0), np.moveaxis(found, 0, 1)

    def curvature(found: Floats, items: Indices) -> Floats:
        heavy = (size * speed)[:, items].T[..., None] * found
        level = np.maximum(heavy.sum(axis=1), NEGLIGIBLE)
        matrix = -np.einsum("igk,igl->ikl", heavy, found)
        matrix[:, diagonal, diagonal] += np.where(chosen[items], level * (1 + NEGLIGIBLE), 1.0)
        # Shares do not change if b grows by a constant; this fixes it.
        return matrix + (chosen[items, :, None] & chosen[items, None, :]) * level.max(axis=1)[:, None, None]

    b = np.zeros_like(target)
    b[possible] = newton(
        lambda at, items: evaluate(at, possible[items]),
        lambda inner, items: curvature(inner, possible[items]),
        lambda slope: slope,
        b[possible],
        AGREES,
    )
    found, _ = shares_at(b, np.arange(len(target)))
    miss = np.where(chosen, (size[..., None] * found).sum(axis=0) - target, 0.0)
    return found, np.abs(miss).max(axis=1) <= ROUNDING
