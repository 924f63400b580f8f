"""Estimates from the people who were interviewed alone: weighted shares and means of subgroups by the design of the sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.estimation.estimates import HUMAN, Estimates
from valuestrata.estimation.estimators.values import with_codes
from valuestrata.estimation.inputs import EstimationInput, HumanSample
from valuestrata.stats.arrays import NEGLIGIBLE, Floats, divided
from valuestrata.stats.design_based.intervals import design_effects, freedom_of_effects, quantile_of_t, wilson
from valuestrata.stats.design_based.linearisation import Domains, domain_means


def human_only(data: EstimationInput) -> Estimates:
    """Estimate shares and means from the sample by its design.

    `mse` and `mean_mse` are linearised variances with sampling units, strata and finite-population correction, as survey packages give
    them (see `stats.design_based.linearisation`). They are 0 where all answers are equal.

    Intervals of shares are Wilson's, with Kish's effective number of answers over a smoothed design effect, so equal answers have one too.
    Intervals of means use the spread of the subgroup's answers and Student's t; equal answers get the spread within all subgroups. In
    `bench/share_intervals.py` they cover in 94 to 96 % of subgroups with 10 to 50 people, with weights, clusters and as few as 10 units.

    Where nobody in a subgroup answered, everything is NaN and `synthetic` is True. Behind an item's last option, shares are 0 and the
    rest is NaN.
    """
    items, sample = data.items, data.sample
    most = items.codes.shape[1]
    found = _SampleMeans.of(data)
    left = 1 - sample.fraction
    unused = ~items.used
    with np.errstate(divide="ignore"):
        quantile = quantile_of_t(freedom_of_effects(found.domains, found.effects))
        low, high = wilson(found.shares, (found.effective / left)[..., None], quantile[..., None])
    low[:, unused] = high[:, unused] = np.nan
    half = _half_width(data, found) * np.sqrt(left)
    mean = np.where(items.ordered, found.estimate[..., most], np.nan)
    return Estimates(
        estimator=HUMAN,
        run=None,
        shares=found.shares,
        low=low,
        high=high,
        mse=np.where(unused, np.nan, left * found.variance[..., :most]),
        mean=mean,
        mean_low=np.maximum(mean - half, np.nanmin(items.codes, axis=1)),
        mean_high=np.minimum(mean + half, np.nanmax(items.codes, axis=1)),
        mean_mse=np.where(items.ordered, left * found.variance[..., most], np.nan),
        synthetic=found.domains.people == 0,
        weight=np.full(mean.shape, np.nan),
    )


def effective_answers(data: EstimationInput) -> Floats:
    """Return how many independent answers with equal weights would show the shares as precisely, shape (G, I); NaN without answers.

    This is Kish's effective number for the weights over a smoothed design effect (see `stats.design_based.intervals`). It has no
    finite-population correction.
    """
    return _SampleMeans.of(data).effective


@dataclass(frozen=True)
class _SampleMeans:
    """Means of options and codes in the sample.

    Attributes:
        domains: as estimated. estimate, variance: shape (G, I, K + 1), the last being the mean code; without finite-population
            correction. shares: shape (G, I, K). effects: shape (G, I), design effects of shares.
    """

    domains: Domains
    estimate: Floats
    variance: Floats
    shares: Floats
    effects: Floats

    @property
    def effective(self) -> Floats:
        """Effective number of answers for shares, shape (G, I)."""
        return self.domains.effective / self.effects

    @classmethod
    def of(cls, data: EstimationInput) -> _SampleMeans:
        """Estimate all subgroups and items."""
        items, sample = data.items, data.sample
        count, most = items.codes.shape
        answered = sample.answers >= 0
        values = with_codes((sample.answers[:, :, None] == np.arange(most)).astype(np.float64), items).reshape(sample.people, -1)
        item = np.repeat(np.arange(count), most + 1)
        found = domain_means(values, answered, item, data.members, sample.weight, sample.unit, sample.stratum)
        shape = (data.members.shape[1], count, most + 1)
        estimate, variance = found.mean.reshape(shape), found.variance.reshape(shape)
        known = found.people[..., None] > 0
        shares = np.where(~items.used & known, 0.0, np.clip(estimate[..., :most], 0.0, 1.0))
        spread = (shares * (1 - shares)).sum(axis=2)
        spread[spread < NEGLIGIBLE] = 0.0
        # A 0/1 variable has the excess kurtosis 1 / (p (1 - p)) - 6, which adds to the 2 of a normal one; 2 / spread is 1 / (p (1 - p)).
        pooled = divided((found.people * np.nan_to_num(spread)).sum(axis=0), found.people.sum(axis=0), 0.0)
        noise = 2 + np.maximum(divided(np.full(count, 2.0), pooled, 4.0) - 4, 0.0)
        total = variance[..., :most].sum(axis=2) * found.effective * _bias(sample)
        effect = design_effects(total, np.nan_to_num(spread), found, noise / np.maximum(items.options - 1, 1))
        return cls(found, estimate, variance, shares, effect)


def _half_width(data: EstimationInput, means: _SampleMeans) -> Floats:
    """Return half the width of the intervals of means without finite-population correction; infinite from one answer."""
    items, found, shares = data.items, means.domains, means.shares
    codes = np.nan_to_num(items.codes)
    within = np.maximum((shares * codes**2).sum(axis=2) - (shares * codes).sum(axis=2) ** 2, 0.0)
    within[within < NEGLIGIBLE] = 0.0
    total = means.variance[..., -1] * found.effective * _bias(data.sample)
    effect = design_effects(total, np.nan_to_num(within), found, np.full(len(codes), 2.0))
    # Equal answers do not show how people differ; the spread within all subgroups stands in.
    known = np.nan_to_num(found.people)
    pooled = divided((known * np.nan_to_num(within)).sum(axis=0), known.sum(axis=0))
    freedom = np.minimum(found.effective - 1, freedom_of_effects(found, effect))
    several = freedom > NEGLIGIBLE
    safe = np.where(several, freedom, 1.0)
    spread = np.where(within > 0, within * divided(found.effective, found.effective - 1, 0.0), pooled)
    half = quantile_of_t(safe) * np.sqrt(spread * effect / found.effective)
    return np.where(found.people == 0, np.nan, np.where(several, half, np.inf))


def _bias(sample: HumanSample) -> float:
    """Return the factor that takes n / (n - 1) out of a variance, so that independent answers with equal weights have the effect 1."""
    units, strata = len(sample.stratum), int(sample.stratum.max(initial=-1)) + 1
    return max(units - strata, 1) / max(units, 1)
