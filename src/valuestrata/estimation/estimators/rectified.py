"""Estimates from people, corrected by what a model says about them and about everybody else (prediction-powered inference).

    share = human share + lambda (model's share in the population - model's share in the sample).

Any model and any lambda leave the estimate as unbiased as the human one; a good model reduces its variance. Formulas and sources:
`stats.design_based.rectified`.

- **Respondent-level runs**: f is a person's own simulated answer, and the population's share that of all simulated people.
- **Pair-level runs**: f is the model's answer for the joint cell of the person, and the population's share follows from the sizes of
  the cells. Such a model can only explain differences between cells.

**Weight.** One lambda per item, for all subgroups and options, so shares still sum to 1. It minimises the estimated variance, summed over
options and subgroups (each subgroup counts by its number of people), and lies within 0 and 1. A subgroup where the correction would
increase the variance gets lambda = 0.

**Variance.** Few people do not show how much a model helps in their subgroup. Sums of squares of each subgroup, option and mean are
combined with `PRIOR_PEOPLE` people of the item's pooled sums before the ratio to the human variance is taken.

**Intervals** are those of the human estimate, as if there were 1 / ratio times as many answers, placed at the new estimate. They are never
longer than the human ones.

**Missing values.** People who did not answer an item are out of both means. This assumes what the human estimate assumes: in a
subgroup, people with and without an answer are alike. A person whose simulated answer is missing stays in the human mean and is out of
the model's; the model's population share must leave out such people too, as `ModelValues.population` does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from valuestrata.estimation.estimates import RECTIFIED, Estimates
from valuestrata.estimation.estimators.values import with_codes
from valuestrata.estimation.inputs import EstimationInput, ModelValues
from valuestrata.stats.arrays import Floats, divided
from valuestrata.stats.design_based.intervals import wilson
from valuestrata.stats.design_based.rectified import PairedDomains, on_simplex, paired_domains, tuned_weight

# Pooled people who are added to a subgroup when the gain of its variance is estimated.
PRIOR_PEOPLE = 20.0


@dataclass(frozen=True)
class VarianceRatio:
    """Variance of the rectified shares over that of the human shares, both summed over options.

    Attributes:
        ratio: shape (G, I), 0..1; 1 where the model is not used, NaN where nobody answered.
        log_se: shape (G, I), standard error of log(ratio) by the delta method; 0 where the model is not used.
    """

    ratio: Floats
    log_se: Floats


def rectified(data: EstimationInput, run: str, human: Estimates, *, weight: float | None = None) -> Estimates:
    """Return the human estimates corrected by a model.

    Args:
        data: the input. run: name of a run in `data.models`. human: estimates of `human_only` from the same input.
        weight: lambda of all items and subgroups; None to tune it. With a fixed weight intervals may be longer than human ones.

    Raises:
        KeyError: `data` has no run of this name.
    """
    fit = _Correction.of(data, data.models[run], weight)
    most = data.items.codes.shape[1]
    moved = with_codes(human.shares, data.items) + fit.weight[..., None] * fit.correction
    shares = on_simplex(np.where(data.items.used, moved[..., :most], 0.0))
    shares = np.where(fit.weight[..., None] > 0, np.where(data.items.used, shares, 0.0), human.shares)
    ratio = 1 - fit.gain
    low, high = _moved(human, shares, ratio[..., :most])
    mean = np.where(data.items.ordered, np.where(fit.weight > 0, with_codes(shares, data.items)[..., -1], human.mean), np.nan)
    mean_low, mean_high = _moved_means(data, human, mean, ratio[..., most])
    return replace(
        human,
        estimator=RECTIFIED,
        run=run,
        shares=shares,
        low=low,
        high=high,
        mse=human.mse * ratio[..., :most],
        mean=mean,
        mean_low=mean_low,
        mean_high=mean_high,
        mean_mse=human.mean_mse * ratio[..., most],
        weight=np.where(human.synthetic, np.nan, fit.weight),
    )


def variance_ratio(data: EstimationInput, run: str, *, weight: float | None = None) -> VarianceRatio:
    """Return how far a model reduces the variance of the shares of each subgroup and item; arguments as in `rectified`."""
    fit = _Correction.of(data, data.models[run], weight)
    used = fit.weight > 0
    more = PRIOR_PEOPLE * _pooled(fit.domains.yy, fit.domains.people)[..., :-1].sum(axis=-1)
    ratio = np.where(used, 1 - fit.total, 1.0)
    variance = fit.domains.log_ratio_variance(fit.weight, 1 - fit.total_before_use, more)
    # The gain is `use` times that of an exact population mean.
    scale = divided(fit.use * (1 - fit.total_before_use), ratio, 0.0)
    log_se = np.where(used, np.sqrt(variance) * scale, 0.0)
    unknown = fit.domains.people == 0
    return VarianceRatio(np.where(unknown, np.nan, ratio), np.where(unknown, np.nan, log_se))


@dataclass(frozen=True)
class _Correction:
    """The weights of a model and what they gain.

    Attributes:
        weight: shape (G, I), lambda. correction: shape (G, I, K + 1), model in the population minus in the sample; 0 where unknown.
        use: shape (G, I), share of the best possible gain that the number of simulated people leaves.
        gain: shape (G, I, K + 1), relative reduction of the variance of each share, and of the mean of the codes.
        total, total_before_use: shape (G, I), the same for the sum over options, and as if the population's share were exact.
    """

    domains: PairedDomains
    weight: Floats
    correction: Floats
    use: Floats
    gain: Floats
    total: Floats
    total_before_use: Floats

    @classmethod
    def of(cls, data: EstimationInput, model: ModelValues, weight: float | None) -> _Correction:
        """Tune the weights, or take the one given."""
        items, sample = data.items, data.sample
        answered = sample.answers >= 0
        y = with_codes((sample.answers[:, :, None] == np.arange(items.codes.shape[1])).astype(np.float64), items)
        f = with_codes(np.where(items.used, model.people, 0.0), items)
        domains = paired_domains(y, f, answered, data.members, sample.weight, sample.unit, sample.stratum)
        correction = with_codes(np.where(items.used, model.population, 0.0), items) - domains.mean
        known = np.asarray(~np.isnan(correction).any(axis=2))
        use = known * part_of_gain(domains.paired, model.simulated, sample.fraction)
        # The variance of a mean is the sum of squares over people^2, so these sums weight a subgroup by its people.
        yf, ff = ((sums[..., :-1].sum(axis=2) * use) for sums in (domains.yf, domains.ff))
        lambdas = tuned_weight(yf, ff) if weight is None else np.full(len(items.ids), weight)
        change = 2 * lambdas[:, None] * domains.yf - lambdas[:, None] ** 2 * domains.ff
        more = PRIOR_PEOPLE * _pooled(change, domains.people), PRIOR_PEOPLE * _pooled(domains.yy, domains.people)
        above, below = change + more[0], domains.yy + more[1]
        gain = divided(above, below, 0.0) * use[..., None]
        before = divided(above[..., :-1].sum(axis=2), below[..., :-1].sum(axis=2), 0.0)
        total = before * use
        helps = known & ((total > 0) if weight is None else True)
        gain = np.where(helps[..., None], gain if weight is not None else np.clip(gain, 0.0, 1.0), 0.0)
        return cls(domains, np.where(helps, lambdas, 0.0), np.nan_to_num(correction), use, gain, total, before)


def _pooled(sums: Floats, people: Floats) -> Floats:
    """Return the sums (G, I, V) of one person, pooled over subgroups; shape (I, V)."""
    return divided(sums.sum(axis=0), people.sum(axis=0)[:, None], 0.0)


def part_of_gain(paired: Floats, simulated: Floats, fraction: float) -> Floats:
    """Return (1 - n / M) / (1 - fraction), within 0..1, and 1 where M is infinite; shape (G, I)."""
    left = 1 - divided(paired, simulated, 1.0)
    return np.where(np.isinf(simulated), 1.0, np.clip(left / max(1 - fraction, np.finfo(np.float64).tiny), 0.0, 1.0))


def _moved(human: Estimates, shares: Floats, ratio: Floats) -> tuple[Floats, Floats]:
    """Return intervals at `shares` from `ratio` times the variance of the human ones, never longer than these.

    An end x of the human (Wilson) interval of p has (x - p)^2 = s x (1 - x), with s the squared quantile over the number of answers.
    """
    ends = np.stack([human.high, human.low])
    s = divided(np.square(ends - human.shares), ends * (1 - ends), 0.0).max(axis=0)
    low, high = wilson(shares, divided(np.ones_like(s), s * ratio, np.inf), 1.0)
    longest = human.high - human.low
    if (ratio <= 1).all():
        cut = np.minimum(divided(longest, high - low, 1.0), 1.0)
        low, high = shares - (shares - low) * cut, shares + (high - shares) * cut
    old = np.isnan(human.low) | ((shares == human.shares) & (ratio == 1))
    return np.where(old, human.low, low), np.where(old, human.high, high)


def _moved_means(data: EstimationInput, human: Estimates, mean: Floats, ratio: Floats) -> tuple[Floats, Floats]:
    """Return intervals of means with half-widths sqrt(ratio) times the human ones, within the range of the codes."""
    half = np.maximum(human.mean - human.mean_low, human.mean_high - human.mean) * np.sqrt(ratio)
    first, last = np.nanmin(data.items.codes, axis=1), np.nanmax(data.items.codes, axis=1)
    return np.clip(mean - half, first, last), np.clip(mean + half, first, last)
