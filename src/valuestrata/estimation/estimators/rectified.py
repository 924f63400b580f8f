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
combined with `PRIOR_PEOPLE` people of the item's pooled sums before the ratio to the human variance is taken. The pooled gain counts in
proportion to the variance of the model's values in the subgroup: values that do not vary explain nothing. Intervals use a ratio that is
a little larger (`PRIOR_EVENTS`), because errors of a good model are rare and a small sample may show none.

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
from valuestrata.stats.design_based.rectified import PairedDomains, on_simplex, paired_domains, part_of_gain, tuned_weight

# Pooled people who are added to a subgroup when the gain of its variance is estimated.
PRIOR_PEOPLE = 10.0
# People for whom the model helps nothing who are added to the whole sample for intervals: without them, a few people whom the model fits
# perfectly would leave an interval of length 0.
PRIOR_EVENTS = 0.5


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
    ratio, careful = 1 - fit.gain, 1 - fit.careful
    low, high = _moved(human, shares, careful[..., :most])
    mean = np.where(data.items.ordered, np.where(fit.weight > 0, with_codes(shares, data.items)[..., -1], human.mean), np.nan)
    mean_low, mean_high = _moved_means(data, human, mean, careful[..., most])
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
    ratio = np.where(used, 1 - fit.use * fit.total, 1.0)
    variance = fit.domains.log_ratio_variance(fit.weight, 1 - fit.total, more)
    # The gain is `use` times that of an exact mean over the population.
    scale = divided(fit.use * (1 - fit.total), ratio, 0.0)
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
        careful: shape (G, I, K + 1), the smaller reduction that intervals count on.
        total: shape (G, I), gain of the sum over options if the model's mean over the population were exact.
    """

    domains: PairedDomains
    weight: Floats
    correction: Floats
    use: Floats
    gain: Floats
    careful: Floats
    total: Floats

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
        varies = _relative(_spread(model, data, domains), domains.people)
        more = PRIOR_PEOPLE * _pooled(change, domains.people) * varies, PRIOR_PEOPLE * _pooled(domains.yy, domains.people)
        above, below = change + more[0], domains.yy + more[1]
        chance = divided(domains.people + PRIOR_PEOPLE, domains.people.max(axis=0), 0.0)
        careful = below + PRIOR_EVENTS * chance[..., None] * _units(more[1])
        before = divided(above[..., :-1].sum(axis=2), below[..., :-1].sum(axis=2), 0.0)
        helps = known & ((before > 0) if weight is None else True)

        def gain_over(sums: Floats) -> Floats:
            gain = helps[..., None] * use[..., None] * divided(above, sums, 0.0)
            return gain if weight is not None else np.clip(gain, 0.0, 1.0)

        return cls(domains, np.where(helps, lambdas, 0.0), np.nan_to_num(correction), use, gain_over(below), gain_over(careful), before)


def _pooled(sums: Floats, people: Floats) -> Floats:
    """Return the sums (G, I, V) of one person, pooled over subgroups; shape (I, V)."""
    return divided(sums.sum(axis=0), people.sum(axis=0)[:, None], 0.0)


def _spread(model: ModelValues, data: EstimationInput, domains: PairedDomains) -> Floats:
    """Return the variance of f within each subgroup, shape (G, I, K + 1): of 0/1 values from their mean, else that of the sample."""
    if not model.respondent_level:
        return divided(domains.ff, domains.people[..., None], 0.0)
    shares = np.where(data.items.used, np.nan_to_num(model.population), 0.0)
    codes = np.nan_to_num(data.items.codes)
    of_mean = (shares * codes**2).sum(axis=2) - (shares * codes).sum(axis=2) ** 2
    return np.concatenate([shares * (1 - shares), of_mean[..., None]], axis=2)


def _relative(spread: Floats, people: Floats) -> Floats:
    """Return the variances of f (G, I, V) over their mean, weighted by people: the model can gain only where its values vary."""
    return divided(spread, divided((spread * people[..., None]).sum(axis=0), people.sum(axis=0)[:, None], 0.0), 0.0)


def _units(pooled: Floats) -> Floats:
    """Return what one person's change of option adds to each sum of squares, shape (I, V): 1 for shares, in proportion for means."""
    units = np.ones_like(pooled)
    units[:, -1] = 2 * divided(pooled[:, -1], pooled[:, :-1].sum(axis=1), 0.0)
    return units


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
