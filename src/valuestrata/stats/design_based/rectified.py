"""Rectified means: a human sample corrected by a model's answers, and how far that reduces the variance.

With y the answer of a person, f the model's value for this person, mean_s a weighted mean over the sample and mean_U one over the
population (or over M simulated people),

    theta(lambda) = mean_s y + lambda (mean_U f - mean_s f).

The second part has expectation 0, so theta is as unbiased as the sample's mean for any model and any lambda. Survey sampling calls it the
difference or regression estimator (Särndal, Swensson and Wretman 1992, Model Assisted Survey Sampling, chapter 6), machine learning
prediction-powered inference (Angelopoulos, Bates, Fannjiang, Jordan and Zrnic 2023, Science 382:669-674; with lambda tuned: PPI++,
Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453).

**Variance.** u_p and v_p are the linearised scores of mean_s y and mean_s f (see `linearisation`), D(.) the variance of their sums under
the design without finite-population correction, and C the covariance. With an exact mean_U f and a share `fraction` of the population
in the sample,

    Var theta = (1 - fraction) D(u - lambda v).

If mean_U f is the mean of M simulated people, among them the n people of the sample, this is two-phase sampling: M people of the
population, then n of the M;

    Var theta = (1 - n / M) D(u - lambda v) + (n / M - fraction) D(u).

It equals the variance of PPI with n labelled and M - n other people, whose lambda is ours times (M - n) / M. Both cases are

    Var theta / Var mean_s y = 1 - use (2 lambda C - lambda^2 D(v)) / D(u),    use = (1 - n / M) / (1 - fraction) or 1,

and lambda = C / D(v) is best in both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import Bools, Floats, Indices, divided
from valuestrata.stats.design_based.linearisation import factors_of_strata


@dataclass(frozen=True)
class PairedDomains:
    """Linearised variances and covariances of means of answers y and model values f in D domains, for I items with V variables each.

    Sums of squares are those of n people: variances of means times n_eff^2. They are 0 for domains without answers.

    Attributes:
        mean: shape (D, I, V), weighted mean of f over the people who answered and have a value; NaN without any.
        yy, yf, ff: shape (D, I, V), sums of squares and products of the scores.
        people: shape (D, I), Kish's effective number of people who answered. paired: shape (D, I), number of those with a value of f.
    """

    mean: Floats
    yy: Floats
    yf: Floats
    ff: Floats
    people: Floats
    paired: Floats


def paired_domains(y: Floats, f: Floats, answered: Bools, members: Bools, weight: Floats, unit: Indices, stratum: Indices) -> PairedDomains:
    """Return the variances and covariances of means of y and f in all domains.

    People without an answer are left out of both means, people without a value of f out of the mean of f.

    Args:
        y, f: shape (P, I, V); f is NaN for all variables of an item where the person has no value. answered: shape (P, I).
        members: shape (P, D), who belongs to a domain. weight: shape (P,), positive.
        unit: shape (P,), sampling unit 0..U-1. stratum: shape (U,), stratum of each unit.
    """
    count, variables = y.shape[1:]
    weight = weight / weight.mean()
    paired = answered & ~np.isnan(f[..., 0])
    y, f = (np.where(known[..., None], values, 0.0) for known, values in ((answered, y), (paired, f)))
    of_squares, of_sums = factors_of_strata(stratum)
    # Units of one stratum, and people of one unit, stand next to each other.
    order = np.lexsort((unit, stratum[unit]))
    domains = members.shape[1]
    mean = np.full((domains, count, variables), np.nan)
    squares = np.zeros((3, domains, count, variables))
    people, pairs = np.zeros((2, domains, count))
    for d in range(domains):
        rows = order[members[order, d]]
        if not len(rows):
            continue
        heavy = weight[rows, None] * answered[rows]
        with_f = weight[rows, None] * paired[rows]
        total, total_f = heavy.sum(axis=0), with_f.sum(axis=0)
        people[d] = divided(total**2, (heavy**2).sum(axis=0), 0.0)
        pairs[d] = paired[rows].sum(axis=0)
        mean[d] = divided(np.einsum("pi,piv->iv", with_f, f[rows]), total_f[:, None])
        mean_y = divided(np.einsum("pi,piv->iv", heavy, y[rows]), total[:, None], 0.0)
        u = heavy[..., None] * (y[rows] - mean_y)
        v = (with_f * divided(total, total_f, 0.0))[..., None] * (f[rows] - np.nan_to_num(mean[d]))
        starts = np.flatnonzero(np.diff(unit[rows], prepend=-1))
        if len(starts) < len(rows):
            u, v = np.add.reduceat(u, starts), np.add.reduceat(v, starts)
        found = stratum[unit[rows[starts]]]
        first = np.flatnonzero(np.diff(found, prepend=-1))
        scale = np.square(divided(people[d], total, 0.0))
        for m, (a, b) in enumerate(((u, u), (u, v), (v, v))):
            of_stratum = np.add.reduceat(a, first) * np.add.reduceat(b, first)
            sums = np.einsum("u,uiv,uiv->iv", of_squares[found], a, b) - np.einsum("h,hiv->iv", of_sums[found[first]], of_stratum)
            squares[m, d] = sums * scale[:, None]
    return PairedDomains(mean, squares[0], squares[1], squares[2], people, pairs)


def tuned_weight(yf: Floats, ff: Floats) -> Floats:
    """Return lambda = sum yf / sum ff over the first axis, within 0..1, and 0 where f does not vary; shape of one entry."""
    return np.clip(divided(yf.sum(axis=0), ff.sum(axis=0), 0.0), 0.0, 1.0)


def part_of_gain(paired: Floats, simulated: Floats, fraction: float) -> Floats:
    """Return `use`, the share of the gain of an exact population mean: (1 - n / M) / (1 - fraction), within 0..1.

    Args:
        paired: n, people of the sample with a value of f. simulated: M, simulated people; infinite for an exact mean (1 is returned).
        fraction: share of the population that was sampled.
    """
    left = 1 - divided(paired, simulated, 1.0)
    return np.where(np.isinf(simulated), 1.0, np.clip(left / max(1 - fraction, np.finfo(np.float64).tiny), 0.0, 1.0))


def on_simplex(shares: Floats) -> Floats:
    """Return the shares nearest to `shares` that are at least 0, with the same sum (1), along the last axis.

    Euclidean projection (Held, Wolfe and Crowder 1974, Mathematical Programming 6:62-88). NaN stay NaN.
    """
    ordered = -np.sort(-shares, axis=-1)
    number = np.arange(1, shares.shape[-1] + 1)
    excess = (np.cumsum(ordered, axis=-1) - 1) / number
    last = np.maximum((ordered > excess).sum(axis=-1, keepdims=True) - 1, 0)
    return np.where(np.isnan(shares), np.nan, np.maximum(shares - np.take_along_axis(excess, last, axis=-1), 0.0))
