"""By how much a model reduces mean squared errors, estimated so that a useless model has no gain on average.

Estimators choose how much of a model they use by the same answers that then show its gain, so their own mean squared errors favour the
model. Two estimates here do not.

**Rectified.** With scores u of the answers and v of the model in each sampling unit (see `stats.design_based.rectified`),

    gain = sum_u (2 l_u yf_u - l_u^2 ff_u),   yf_u = u v, ff_u = v^2,

where l_u is the weight that all other units give (leave one out). A weight that fits noise makes new people worse.

**Any other estimator.** With e its estimate, e' the one without the model, y the human estimate and M, M' the mean squared errors,

    gain = sum_k (e - e')(2 y - e - e') + 2 (M' - M).

The first term is the gain in squared distance to y. It is biased, because e and e' contain y in different proportions g = M / Var y; the
second term, 2 (g' - g) Var y, removes this (Stein 1981, Annals of Statistics 9:1135-1151).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from valuestrata.estimation.estimates import Estimates
from valuestrata.estimation.estimators.rectified import part_of_gain
from valuestrata.estimation.inputs import EstimationInput
from valuestrata.stats.arrays import Bools, Floats, Indices, divided


@dataclass(frozen=True)
class UnitGains:
    """What the sampling units of one subgroup contribute.

    Attributes:
        units: shape (U,), numbers of the units with members. known: shape (I,), items with a gain.
        gain: shape (U, I), sums over units are the gain in mean squared error of each item, summed over options.
        error: shape (U, I), sums over units are the mean squared error without the model.
    """

    units: Indices
    known: Bools
    gain: Floats
    error: Floats


def gains_of_rectified(data: EstimationInput, run: str, human: Estimates) -> Iterator[UnitGains]:
    """Yield the gains of `rectified` over the human estimates, for each subgroup in turn."""
    sample, model = data.sample, data.models[run]
    options = np.arange(data.items.codes.shape[1])
    answered = sample.answers >= 0
    paired = answered & ~np.isnan(model.people[..., 0])
    y = np.where(answered[..., None], sample.answers[..., None] == options, 0.0)
    f = np.where(paired[..., None] & data.items.used, np.nan_to_num(model.people), 0.0)
    pairs = data.members.astype(np.float64).T @ paired
    exact = ~np.isnan(np.where(data.items.used, model.population, 0.0)).any(axis=2)
    use = exact * part_of_gain(pairs, model.simulated, sample.fraction)
    error = _summed(human.mse)
    scores: list[_Scores] = []
    above, below = np.zeros((len(sample.stratum), len(data.items.ids))), np.zeros((len(sample.stratum), len(data.items.ids)))
    for g in range(len(use)):
        one = _Scores.of(data, g, y, f, answered, paired)
        scores.append(one)
        above[one.units] += use[g] * one.yf
        below[one.units] += use[g] * one.ff
    # The weight that all other units give, as `rectified` tunes it.
    weight = np.clip(divided(above.sum(axis=0) - above, below.sum(axis=0) - below, 0.0), 0.0, 1.0)
    for g, one in enumerate(scores):
        left = weight[one.units]
        scale = divided(error[g], one.yy.sum(axis=0), 0.0)
        yield UnitGains(one.units, scale > 0, scale * use[g] * (2 * left * one.yf - left**2 * one.ff), scale * one.yy)


def gains_of_estimates(data: EstimationInput, human: Estimates, estimates: Estimates, without: Estimates) -> Iterator[UnitGains]:
    """Yield the gains of any estimates over others, for each subgroup in turn."""
    sample = data.sample
    options = np.arange(data.items.codes.shape[1])
    answered = sample.answers >= 0
    used = data.items.used
    moved = np.where(used, estimates.shares - without.shares, 0.0)
    y = np.where(used, human.shares, 0.0)
    error, other = _summed(estimates.mse), _summed(without.mse)
    both = np.where(used, estimates.shares + without.shares, 0.0)
    gain = (moved * (2 * y - both)).sum(axis=2) + 2 * (other - error)
    for g in range(len(gain)):
        rows = np.flatnonzero(data.members[:, g])
        units, unit = np.unique(sample.unit[rows], return_inverse=True)
        known = np.isfinite(gain[g]) & np.isfinite(other[g])
        weight = sample.weight[rows, None] * answered[rows]
        part = divided(weight, weight.sum(axis=0), 0.0)
        residual = np.where(answered[rows, :, None], (sample.answers[rows, :, None] == options) - np.nan_to_num(y[g]), 0.0)
        own = 2 * np.sqrt(1 - sample.fraction) * part * np.einsum("ik,pik->pi", np.nan_to_num(moved[g]), residual)
        noise = np.zeros((len(units), len(known)))
        np.add.at(noise, unit, own)
        share = np.where(known, 1.0, 0.0) / max(len(units), 1)
        yield UnitGains(units, known, known * noise + share * np.nan_to_num(gain[g]), share * np.nan_to_num(other[g]) + 0.0 * noise)


@dataclass(frozen=True)
class _Scores:
    """Products of the scores of answers and model values of the units of a subgroup, summed over options, each of shape (U, I)."""

    units: Indices
    yy: Floats
    yf: Floats
    ff: Floats

    @classmethod
    def of(cls, data: EstimationInput, g: int, y: Floats, f: Floats, answered: Bools, paired: Bools) -> _Scores:
        """Compute the scores of subgroup g; scaled as in `rectified`, where a subgroup counts by its people."""
        rows = np.flatnonzero(data.members[:, g])
        units, unit = np.unique(data.sample.unit[rows], return_inverse=True)
        weight = data.sample.weight[rows, None] * answered[rows]
        with_f = data.sample.weight[rows, None] * paired[rows]
        total, total_f = weight.sum(axis=0), with_f.sum(axis=0)
        scale = divided(total, (weight**2).sum(axis=0), 0.0)
        u = (weight * scale)[..., None] * (y[rows] - divided(np.einsum("pi,pik->ik", weight, y[rows]), total[:, None], 0.0))
        mean = divided(np.einsum("pi,pik->ik", with_f, f[rows]), total_f[:, None], 0.0)
        v = (with_f * divided(total, total_f, 0.0) * scale)[..., None] * (f[rows] - mean)
        if len(units) < len(rows):
            sums = np.zeros((2, len(units), *u.shape[1:]))
            np.add.at(sums[0], unit, u)
            np.add.at(sums[1], unit, v)
            u, v = sums
        return cls(units, *(np.einsum("uik,uik->ui", a, b) for a, b in ((u, u), (u, v), (v, v))))


def _summed(mse: Floats) -> Floats:
    """Sum over options; NaN where no option has one."""
    return np.where(np.isnan(mse).all(axis=2), np.nan, np.nansum(mse, axis=2))
