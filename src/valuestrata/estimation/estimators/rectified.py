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
combined with `PRIOR_PEOPLE` people of the item's pooled sums before the ratio to the human variance is taken. In pair-level runs the
pooled gain counts in proportion to the variance of the model's values in the subgroup: values that do not vary explain nothing.
Intervals use a ratio that is a little larger (`PRIOR_EVENTS`), because errors of a good model are rare and a small sample may show none.

In simulations (`bench/rectified_coverage.py`) 94 to 97 % of the intervals contain the truth, in subgroups with at least 10 people, in
samples of 50 to 400 people, with and without clusters and weights, and with models that are useless or fail in some subgroups. Of a perfect
model all do.

**Intervals** are those of the human estimate, as if there were 1 / ratio times as many answers, placed at the new estimate. They are never
longer than the human ones.

**Missing values.** People who did not answer an item are out of both means. This assumes what the human estimate assumes: in a
subgroup, people with and without an answer are alike. A person whose simulated answer is missing has the value of their cell
(see `model_values`); if there is none, they stay in the human mean and are out of the model's, as such people are out of
`ModelValues.population`.
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


@dataclass(frozen=True)
class _Correction:
    """The weights of a model and what they gain.

    Attributes:
        weight: shape (G, I), lambda. correction: shape (G, I, K + 1), model in the population minus in the sample; 0 where unknown.
        gain: shape (G, I, K + 1), relative reduction of the variance of each share, and of the mean of the codes.
        careful: shape (G, I, K + 1), the smaller reduction that intervals count on.
    """

    weight: Floats
    correction: Floats
    gain: Floats
    careful: Floats

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
        varies = np.ones_like(change) if model.respondent_level else _relative_spread(domains)
        more = PRIOR_PEOPLE * _pooled(change, domains.people) * varies, PRIOR_PEOPLE * _pooled(domains.yy, domains.people)
        above, below = change + more[0], domains.yy + more[1]
        chance = divided(domains.people + PRIOR_PEOPLE, domains.people.max(axis=0), 0.0)
        careful = below + PRIOR_EVENTS * chance[..., None] * _units(more[1])
        helps = known & ((use * above[..., :-1].sum(axis=2) > 0) if weight is None else True)

        def gain_over(sums: Floats) -> Floats:
            gain = divided(above, sums, 0.0)
            return helps[..., None] * use[..., None] * (gain if weight is not None else np.clip(gain, 0.0, 1.0))

        return cls(np.where(helps, lambdas, 0.0), np.nan_to_num(correction), gain_over(below), gain_over(careful))


def _pooled(sums: Floats, people: Floats) -> Floats:
    """Return the sums (G, I, V) of one person, pooled over subgroups; shape (I, V)."""
    return divided(sums.sum(axis=0), people.sum(axis=0)[:, None], 0.0)


def _relative_spread(domains: PairedDomains) -> Floats:
    """Return the variance of f within each subgroup over its mean over subgroups, weighted by people; shape (G, I, V)."""
    return divided(divided(domains.ff, domains.people[..., None], 0.0), _pooled(domains.ff, domains.people), 0.0)


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
