"""Estimates from the people who were interviewed alone: weighted shares and means of subgroups by the design of the sample."""

from __future__ import annotations

import numpy as np

from valuestrata.estimation.estimates import HUMAN, Estimates
from valuestrata.estimation.inputs import EstimationInput, HumanSample, ItemOptions
from valuestrata.stats.arrays import NEGLIGIBLE, Floats
from valuestrata.stats.design_based.intervals import design_effects, quantile_of_t, wilson
from valuestrata.stats.design_based.linearisation import Domains, domain_means


def human_only(data: EstimationInput) -> Estimates:
    """Estimate shares and means from the sample by its design.

    `mse` and `mean_mse` are linearised variances with sampling units, strata and finite-population correction, as survey packages give
    them (see `stats.design_based.linearisation`). They are 0 where all answers are equal.

    Where nobody in a subgroup answered, everything is NaN and `synthetic` is True. Behind an item's last option, shares are 0 and the
    rest is NaN.
    """
    items, sample = data.items, data.sample
    count, most = items.codes.shape
    answered = sample.answers >= 0
    values = np.zeros((sample.people, count, most + 1))
    values[:, :, :most] = sample.answers[:, :, None] == np.arange(most)
    values[:, :, most] = np.where(answered, np.nan_to_num(items.codes)[np.arange(count), np.maximum(sample.answers, 0)], 0.0)
    item = np.repeat(np.arange(count), most + 1)
    found = domain_means(values.reshape(sample.people, -1), answered, item, data.members, sample.weight, sample.unit, sample.stratum)
    shape = (data.members.shape[1], count, most + 1)
    estimate, variance = found.mean.reshape(shape), found.variance.reshape(shape)
    left = 1 - sample.fraction
    none = found.people == 0
    unused = ~items.used
    shares = np.where(unused & ~none[..., None], 0.0, np.clip(estimate[..., :most], 0.0, 1.0))
    spread = (shares * (1 - shares)).sum(axis=2)
    effect = design_effects(_ratio(variance[..., :most].sum(axis=2) * found.effective, spread) * _bias(sample), found, items.options - 1)
    with np.errstate(divide="ignore"):
        low, high = wilson(shares, (found.effective / effect / left)[..., None], float(quantile_of_t(np.inf)))
    low[:, unused] = high[:, unused] = np.nan
    mean = np.where(items.ordered, estimate[..., most], np.nan)
    half = _half_width(items, found, shares, mean, variance[..., most] * _bias(sample)) * np.sqrt(left)
    return Estimates(
        estimator=HUMAN,
        run=None,
        shares=shares,
        low=low,
        high=high,
        mse=np.where(unused, np.nan, left * variance[..., :most]),
        mean=mean,
        mean_low=np.maximum(mean - half, np.nanmin(items.codes, axis=1)),
        mean_high=np.minimum(mean + half, np.nanmax(items.codes, axis=1)),
        mean_mse=np.where(items.ordered, left * variance[..., most], np.nan),
        synthetic=none,
        weight=np.full(none.shape, np.nan),
    )


def _half_width(items: ItemOptions, found: Domains, shares: Floats, mean: Floats, variance: Floats) -> Floats:
    """Return half the width of the intervals of means without finite-population correction; infinite from one answer."""
    codes = np.nan_to_num(items.codes)
    within = np.maximum((shares * codes**2).sum(axis=2) - (shares * codes).sum(axis=2) ** 2, 0.0)
    within[within < NEGLIGIBLE] = 0.0
    effect = design_effects(_ratio(variance * found.effective, within), found, np.ones_like(items.options))
    # Equal answers do not show how people differ; the spread within all subgroups stands in.
    known = np.nan_to_num(found.people)
    pooled = _ratio((known * np.nan_to_num(within)).sum(axis=0), known.sum(axis=0))
    freedom = found.effective - 1
    several = freedom > NEGLIGIBLE
    safe = np.where(several, freedom, 1.0)
    spread = np.where(within > 0, within * found.effective / safe, pooled)
    half = quantile_of_t(safe) * np.sqrt(spread * effect / found.effective)
    return np.where(np.isnan(mean), np.nan, np.where(several, half, np.inf))


def _bias(sample: HumanSample) -> float:
    """Return the factor that takes n / (n - 1) out of a variance, so that independent answers with equal weights have the effect 1."""
    units, strata = len(sample.stratum), int(sample.stratum.max(initial=-1)) + 1
    return max(units - strata, 1) / max(units, 1)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Return above / below, NaN where `below` is 0."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > NEGLIGIBLE)
