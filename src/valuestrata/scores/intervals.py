"""From replicates to numbers: ends of intervals, standard errors and p-values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.scores.bootstrap import NOTHING, Replicates, variance
from valuestrata.scores.pairs import Floats

# Fewer replicates than this beyond 0 say little of how rare they are: the normal tail then decides where it is smaller.
ENOUGH_BEYOND = 10


@dataclass(frozen=True)
class Interval:
    """What a table shows of a metric, each of shape (N,), NaN for null.

    Attributes:
        estimate, low, high: the metric and the ends of its interval.
        se: standard deviation of the replicates. p: two-sided, that the metric is 0.
        pairs: pairs behind it.
    """

    estimate: Floats
    low: Floats
    high: Floats
    se: Floats
    p: Floats
    pairs: Floats


def interval(replicates: Replicates, confidence: float, low: float, high: float) -> Interval:
    """Return percentiles of the replicates, cut to the metric's range, with standard error and p.

    Percentiles stand t / z times as far from the estimate as the replicates put them, t and z the points of Student's t with the
    replicates' degrees of freedom and of the normal at that confidence; se is that of the replicates as they are.

    Replicates that say nothing (none of a key's items was drawn) are left out. An infinite one (a spread ratio over labels that
    do not differ) counts; where the interval reaches it, neither end is given, nor are se and p.

    p inverts the interval: twice the share of stretched replicates on the far side of 0, 1 added to both counts. Where fewer than
    `ENOUGH_BEYOND` lie there it is the tail of Student's t (the normal's without degrees of freedom) at estimate / se if that is
    smaller, so that adjustments for many comparisons are not stopped by the number of replicates. Replicates that do not move at
    all give p = 1 at 0, else null.

    Args:
        replicates: of one metric. confidence: between 0 and 1. low, high: range of the metric.
    """
    estimate, values = replicates.estimate, replicates.values
    unknown = np.full_like(estimate, np.nan)
    if len(values) == 0:
        return Interval(estimate, unknown, unknown, unknown, unknown, replicates.pairs)
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
        # The mean of resamples of a skewed metric is not the estimate; an interval holds its estimate all the same.
        low=np.where(defined, np.clip(np.minimum(ends[0], estimate), low, high), np.nan),
        high=np.where(defined, np.clip(np.maximum(ends[1], estimate), low, high), np.nan),
        se=se,
        p=np.where(finite, _p(estimate, _stretched(ordered.T, estimate, wider).T, known, se, freedom), np.nan),
        pairs=replicates.pairs,
    )


def stretch(freedom: Floats, confidence: float) -> Floats:
    """Return t / z: the point of Student's t over the normal's at a confidence; 1 where `freedom` is infinite."""
    from scipy.special import ndtri, stdtrit

    share = (1 + confidence) / 2
    return np.where(np.isinf(freedom), 1.0, stdtrit(np.where(np.isinf(freedom), 1.0, freedom), share) / ndtri(share))


def _stretched(values: Floats, estimate: Floats, wider: Floats) -> Floats:
    """Move values `wider` times as far from the estimate; exactly as they are where that is 1, infinite ones stay so."""
    moved = np.where(wider == 1, 0.0, (wider - 1) * np.where(np.isfinite(values), values - estimate, 0.0))
    return values + moved


def _p(estimate: Floats, ordered: Floats, known: NDArray[np.intp], se: Floats, freedom: Floats) -> Floats:
    from scipy.special import stdtr

    below, above = ((side & ~np.isnan(ordered)).sum(axis=1) for side in (ordered <= NOTHING, ordered >= -NOTHING))
    beyond = np.minimum(below, above)
    counted = np.minimum(2.0 * (beyond + 1) / (known + 1), 1.0)
    still = ~(se > NOTHING)
    away = np.abs(estimate) / np.where(still, np.inf, se)
    normal = np.array([math.erfc(z / math.sqrt(2)) for z in np.nan_to_num(away)])
    tail = np.where(np.isinf(freedom), normal, 2.0 * stdtr(np.where(np.isinf(freedom), 1.0, freedom), -np.nan_to_num(away)))
    p = np.where(beyond < ENOUGH_BEYOND, np.minimum(counted, tail), counted)
    return np.where(still, np.where(np.abs(estimate) <= NOTHING, 1.0, np.nan), p)


def _quantile(ordered: Floats, known: NDArray[np.intp], share: float) -> Floats:
    """Return a quantile of each row, linear between neighbours, of rows sorted with NaN behind their `known` values."""
    place = share * np.maximum(known - 1, 0)
    below = np.floor(place).astype(np.intp)
    above = np.minimum(below + 1, np.maximum(known - 1, 0))
    rows = np.arange(len(ordered))
    left, right = ordered[rows, below], ordered[rows, above]
    part = place - below
    # Neighbours that are both infinite, or a part of 0, must not become inf * 0.
    with np.errstate(invalid="ignore"):
        return np.where((part == 0) | (left == right), left, left + (right - left) * part)
