"""Confidence intervals, standard errors and p-values from bootstrap replicates; tests against a margin from intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from valuestrata.stats.arrays import NEGLIGIBLE, Bools, Floats, Indices
from valuestrata.stats.bootstrap import Replicates, variance

# Halvings of the range of p in `widened`: more than a double resolves.
HALVINGS = 60
# With fewer replicates than this beyond 0 their share is too coarse; the tail of Student's t is used where it is smaller.
ENOUGH_BEYOND = 10


@dataclass(frozen=True)
class Interval:
    """Estimates with intervals, each of shape (N,), NaN where undefined.

    Attributes:
        estimate, low, high: the statistic and its confidence interval.
        se: standard deviation of the replicates. p: two-sided p-value of the statistic being 0.
        pairs: pairs behind the estimate.
        blocks: effective number of blocks that were resampled, NaN where items were.
    """

    estimate: Floats
    low: Floats
    high: Floats
    se: Floats
    p: Floats
    pairs: Floats
    blocks: Floats


def interval(replicates: Replicates, confidence: float, low: float, high: float) -> Interval:
    """Return percentile intervals, cut to the range of the statistic, with standard errors and p-values.

    Percentiles are moved t / z times as far from the estimate (t and z: quantiles of Student's t with the replicates' degrees of
    freedom and of the normal). `se` is that of the unmoved replicates. `stats.bootstrap` defines NaN and infinite replicates.

    p inverts the interval: twice the share of moved replicates beyond 0, with 1 added to both counts. Where fewer than
    `ENOUGH_BEYOND` are beyond 0, p is the tail of Student's t at estimate / se if that is smaller, so the number of replicates
    does not limit adjusted p-values. Where blocks are resampled, p is at least that tail, because of three equal
    blocks all replicates are beyond 0 in 5 % of studies without a difference. Constant replicates give p = 1 at 0, otherwise NaN.

    Args:
        replicates: of one statistic. confidence: in 0..1. low, high: range of the statistic.
    """
    estimate, values = replicates.estimate, replicates.values
    unknown = np.full_like(estimate, np.nan)
    blocks = unknown if replicates.blocks is None else replicates.blocks
    if len(values) == 0:
        return Interval(estimate, unknown, unknown, unknown, unknown, replicates.pairs, blocks)
    ordered = np.sort(np.ascontiguousarray(values.T), axis=1)
    known = len(values) - np.isnan(ordered).sum(axis=1)
    freedom = np.full_like(estimate, np.inf) if replicates.freedom is None else replicates.freedom
    wider = stretch(freedom, confidence)
    ends = [_stretched(_quantile(ordered, known, share), estimate, wider) for share in ((1 - confidence) / 2, (1 + confidence) / 2)]
    defined = np.isfinite(ends[0]) & np.isfinite(ends[1]) & np.isfinite(estimate) & replicates.known
    finite = defined & ~np.isinf(ordered).any(axis=1)
    se = np.where(finite, np.sqrt(variance(np.where(finite, values, 0.0))), np.nan)
    return Interval(
        estimate=estimate,
        # Percentiles of a skewed statistic may miss the estimate; the interval always contains it.
        low=np.where(defined, np.clip(np.minimum(ends[0], estimate), low, high), np.nan),
        high=np.where(defined, np.clip(np.maximum(ends[1], estimate), low, high), np.nan),
        se=se,
        p=np.where(finite, _p(estimate, _stretched(ordered.T, estimate, wider).T, known, se, freedom, ~np.isnan(blocks)), np.nan),
        pairs=replicates.pairs,
        blocks=blocks,
    )


def widened(
    found: Interval, freedom: Floats, sources: Sequence[tuple[Floats, Floats]], confidence: float, low: float, high: float
) -> Interval:
    """Return intervals of means that vary from further sources, each a variance with few degrees of freedom (training seeds).

    Half lengths h become sqrt(h^2 + sum_k t_k^2 V_k), t_k the quantile of Student's t with the source's degrees of freedom. For
    independent normal sources this covers at least the confidence, also with one degree of freedom (Banerjee 1960, Sankhya
    22:357-358); a single t with Satterthwaite's degrees of freedom covers too little if a source with one or two dominates.
    p inverts these intervals: it is below 1 - confidence exactly where 0 is outside. Keys without a further variance are unchanged.

    Args:
        found: intervals at `confidence`, N keys. freedom: shape (N,), degrees of freedom behind them; may be infinite.
        sources: (variance of the estimate, degrees of freedom), each of shape (N,); a NaN variance is unknown: no interval.
        confidence: in 0..1. low, high: range of the statistic.
    """
    if not sources:
        return found
    variances, freedoms = (np.array([source[place] for source in sources]) for place in (0, 1))
    total = variances.sum(axis=0)
    added = (_quantile_of_t(freedoms, (1 + confidence) / 2) ** 2 * variances).sum(axis=0)
    lower, upper = found.estimate - found.low, found.high - found.estimate
    # The side towards 0, as a standard error.
    own = np.where(found.estimate > 0, lower, upper) / _quantile_of_t(freedom, (1 + confidence) / 2)
    certain, likely = np.zeros_like(total), np.ones_like(total)
    for _ in range(HALVINGS):
        p = (certain + likely) / 2
        reach = (_quantile_of_t(freedom, 1 - p / 2) * own) ** 2 + (_quantile_of_t(freedoms, 1 - p / 2) ** 2 * variances).sum(axis=0)
        beyond = reach < found.estimate**2
        certain, likely = np.where(beyond, certain, p), np.where(beyond, p, likely)
    moved = total > NEGLIGIBLE**2
    p = np.where(np.isnan(total) | np.isnan(own), np.nan, likely)
    return replace(
        found,
        low=np.where(moved | np.isnan(total), np.clip(found.estimate - np.sqrt(lower**2 + added), low, high), found.low),
        high=np.where(moved | np.isnan(total), np.clip(found.estimate + np.sqrt(upper**2 + added), low, high), found.high),
        se=np.sqrt(found.se**2 + total),
        p=np.where(moved | np.isnan(total), p, found.p),
    )


def percentile_ends(estimate: float, replicates: Floats, wider: float, confidence: float) -> tuple[float, float]:
    """Return the interval of one number: percentiles of its finite replicates, moved `wider` times as far from the estimate."""
    moved = estimate + wider * (np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2]) - estimate)
    return float(min(moved[0], estimate)), float(max(moved[1], estimate))


def stretch(freedom: Floats, confidence: float) -> Floats:
    """Return the quantile of Student's t over that of the normal, at a two-sided confidence; 1 where `freedom` is infinite."""
    from scipy.special import ndtri

    share = (1 + confidence) / 2
    return np.where(np.isinf(freedom), 1.0, _quantile_of_t(freedom, share) / ndtri(share))


def _quantile_of_t(freedom: Floats, share: float | Floats) -> Floats:
    """Return the quantile of Student's t, of the normal where `freedom` is infinite."""
    from scipy.special import ndtri, stdtrit

    known = np.where(np.isinf(freedom), 1.0, freedom)
    return np.where(np.isinf(freedom), ndtri(share), stdtrit(known, share))


def _stretched(values: Floats, estimate: Floats, wider: Floats) -> Floats:
    """Move values `wider` times as far from the estimate; unchanged where that is 1 or where they are infinite."""
    moved = np.where(wider == 1, 0.0, (wider - 1) * np.where(np.isfinite(values), values - estimate, 0.0))
    return values + moved


def _p(estimate: Floats, ordered: Floats, known: Indices, se: Floats, freedom: Floats, at_least_tail: Bools) -> Floats:
    from scipy.special import ndtr, stdtr

    below, above = ((side & ~np.isnan(ordered)).sum(axis=1) for side in (ordered <= NEGLIGIBLE, ordered >= -NEGLIGIBLE))
    beyond = np.minimum(below, above)
    counted = np.minimum(2.0 * (beyond + 1) / (known + 1), 1.0)
    constant = ~(se > NEGLIGIBLE)
    z = np.nan_to_num(np.abs(estimate) / np.where(constant, np.inf, se))
    tail = 2.0 * np.where(np.isinf(freedom), ndtr(-z), stdtr(np.where(np.isinf(freedom), 1.0, freedom), -z))
    p = np.where(beyond < ENOUGH_BEYOND, np.minimum(counted, tail), counted)
    p = np.where(at_least_tail, np.maximum(p, tail), p)
    return np.where(constant, np.where(np.abs(estimate) <= NEGLIGIBLE, 1.0, np.nan), p)


def _quantile(ordered: Floats, known: Indices, share: float) -> Floats:
    """Return a quantile of each row, with linear interpolation; rows are sorted, their `known` values before any NaN.

    Unlike numpy's nanquantile it interpolates between equal infinities.
    """
    place = share * np.maximum(known - 1, 0)
    below = np.floor(place).astype(np.intp)
    above = np.minimum(below + 1, np.maximum(known - 1, 0))
    rows = np.arange(len(ordered))
    left, right = ordered[rows, below], ordered[rows, above]
    part = place - below
    with np.errstate(invalid="ignore"):
        return np.where((part == 0) | (left == right), left, left + (right - left) * part)


@dataclass(frozen=True)
class MarginTest:
    """Tests of one difference against a margin.

    Attributes:
        above, below: p-values of the difference being at most -margin, and at least +margin. `above` tests non-inferiority.
        low, high: ends of the interval at confidence 1 - 2 alpha: within the margins where equivalence is shown at alpha.
    """

    above: float
    below: float
    low: float
    high: float

    @property
    def within(self) -> float:
        """p-value of the difference being outside of the margins: the larger of both (Schuirmann 1987, J. Pharmacokinet. Biopharm.)."""
        return max(self.above, self.below)


def margin_test(
    estimate: float, low: float, high: float, confidence: float, margin: float, n: int, level: float | None = None
) -> MarginTest:
    """Test a difference against -margin and +margin.

    The ends of the interval may lie at different distances from the estimate; each side is tested with its own standard error, its
    distance divided by the normal quantile of the interval. For an interval with Student's t, which is wider, this is conservative.

    Where all n observations have the same difference, the interval has no width and shows nothing about other observations. p is then
    the chance to see no other value in n, if enough of them differed by 1 to reach the margin: (1 - (margin - |estimate|))^n, the exact
    binomial bound ("rule of three", Hanley and Lippman-Hand 1983, JAMA).

    Args:
        estimate, low, high: difference and its interval at `confidence`, low <= estimate <= high.
        confidence: of that interval. margin: above 0. n: observations behind the difference.
        level: alpha of the ends returned; 1 - confidence if None.
    """
    level = 1 - confidence if level is None else level
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    below_se, above_se = (estimate - low) / z, (high - estimate) / z
    return MarginTest(
        above=_beyond(estimate + margin, below_se, n),
        below=_beyond(margin - estimate, above_se, n),
        low=estimate - _reach(below_se, n, level),
        high=estimate + _reach(above_se, n, level),
    )


def _reach(se: float, n: int, level: float) -> float:
    """Return how far the true value may be from an estimate on one side, at a one-sided level: the inverse of `_beyond`."""
    return -NormalDist().inv_cdf(level) * se if se > 1e-12 else 1 - level ** (1 / n) if n > 0 else 1.0


def _beyond(distance: float, se: float, n: int) -> float:
    """Return the one-sided p-value of an estimate that is `distance` on the right side of a margin."""
    if se > 1e-12:
        return NormalDist().cdf(-distance / se)
    return (1 - min(distance, 1.0)) ** max(n, 0) if distance > 0 else 1.0
