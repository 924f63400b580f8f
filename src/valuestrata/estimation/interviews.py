"""The value of a model in interviews: how many more people a sample without it would need.

An estimate with mean squared error M is worth

    n_eff V / M

interviews, with V the variance of the human estimate from n_eff effective answers (both sums over options). The interviews that a model
saves are those of the estimate with it minus those of the same estimator without it: of the sample alone for `rectified`, of the
small-area estimate without a model for `small-area`, which borrows strength among people too. Saved interviews can be negative.

**Intervals** come from gains that a useless model does not have (`estimation.gains`), with sampling units and blocks of items both
resampled (`stats.design_based.two_way`), and contain the estimate.

- Subgroup, all items, `rectified`: the gain of the subgroup's people, summed over items after division by the spread of their answers.
- Everything else: few people do not show a gain. The logarithm of the error ratio that the estimator claims is multiplied by the interval
  of (estimated gain / claimed gain): over all pairs of the item for `rectified`, which has one weight for each item, and over all pairs for
  other estimators, which have a few slopes for all. Where a subgroup's own gain has an interval below this one, that is taken.

**Shown.** A saving is shown if the interval's lower end is above 0, for `rectified` after adjustment: Holm over subgroups (the population
is not adjusted), Benjamini-Hochberg over pairs. Otherwise `saved` is 0, the usual result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from valuestrata.estimation.estimates import RECTIFIED, Estimates
from valuestrata.estimation.estimators.human import effective_answers
from valuestrata.estimation.gains import UnitGains, gains_of_estimates, gains_of_rectified
from valuestrata.estimation.inputs import EstimationInput
from valuestrata.frames import Column, Schema
from valuestrata.stats.arrays import Bools, Floats, Indices, divided
from valuestrata.stats.blocks import block_numbers
from valuestrata.stats.design_based.intervals import CONFIDENCE, quantile_of_t
from valuestrata.stats.design_based.two_way import two_way
from valuestrata.stats.multiple_testing import benjamini_hochberg, holm

INTERVIEWS = Schema(
    "interviews.csv",
    {
        "subgroup": Column(pl.String, "subgroup id; `all` for the population"),
        "stratum": Column(pl.String, "stratum of the subgroup"),
        "item": Column(pl.String, "item id; null for all items together"),
        "estimator": Column(pl.String, "rectified or small-area"),
        "run": Column(pl.String, "run of the model"),
        "n": Column(pl.Float64, "people of the subgroup who answered; mean over items"),
        "n_eff": Column(pl.Float64, "effective number of their answers after weighting and clustering; mean over items"),
        "interviews": Column(pl.Float64, "effective answers that the sample alone would need to be as precise"),
        "saved": Column(pl.Float64, "interviews that the model saves beside the same estimator without it; 0 unless `shown`"),
        "low": Column(pl.Float64, "lower end of the 95 % interval of the saved interviews; below 0 if the model may cost some"),
        "high": Column(pl.Float64, "its upper end"),
        "estimated": Column(pl.Float64, "estimate of the saved interviews, shown or not"),
        "p": Column(pl.Float64, "adjusted p-value of no saving; null if unknown"),
        "shown": Column(pl.Boolean, "whether the model is shown to save interviews"),
    },
)
# A model is worth at most this many times the interviews without it; a perfect one would be worth infinitely many.
MOST = 1000.0
# Of fewer units, or units times items, all may agree with a useless model by chance: no interval.
FEWEST_UNITS, FEWEST_ANSWERS = 5, 50
# Bounds the logarithm of a ratio of errors.
MOST_LOG = 50.0


def interviews(data: EstimationInput, human: Estimates, estimates: Estimates, without: Estimates | None = None) -> pl.DataFrame:
    """Return INTERVIEWS for one estimator: a row for each subgroup over all items, then one for each subgroup and item.

    Args:
        data: the input of the estimates. human: estimates of `human_only`. estimates: those to value, with a model.
        without: the same estimator without the model; None for the human estimates.
    """
    without = human if without is None else without
    effective = np.nan_to_num(effective_answers(data))
    error, other = (np.where(data.items.used, one.mse, 0.0).sum(axis=2) for one in (estimates, without))
    corrected = estimates.estimator == RECTIFIED and estimates.run is not None
    shares = np.where(data.items.used, estimates.shares, 0.0)
    worth = effective * other if corrected else (1 - data.sample.fraction) * (shares * (1 - shares)).sum(axis=2)
    scale = _scale(data, human)
    known = np.isfinite(worth) & np.isfinite(other) & np.isfinite(error)
    whole = [np.where(known, part, 0.0) @ scale for part in (worth, other, error)]
    if corrected and estimates.run is not None:
        gains = list(gains_of_rectified(data, estimates.run, human))
        together = np.arange(len(data.items.ids))
        pairs = _Savings.multiplied(_ratios(data, gains, other - error, effective**2, together), other - error, other, together)
        groups = _Savings.of_subgroups(data, gains, other - error, other, scale)
        of_pairs, of_groups = _by_pairs(pairs), _by_subgroups(groups)
    else:
        gains = list(gains_of_estimates(data, human, estimates, without))
        together = np.zeros(len(data.items.ids), dtype=np.intp)
        ratio = _ratios(data, gains, other - error, effective, together)
        pairs = _Savings.multiplied(ratio, other - error, other, together)
        shared = _Savings.multiplied(ratio, whole[1] - whole[2], whole[1], np.zeros(len(error), dtype=np.intp))
        groups = shared.unless_below(_Savings.of_subgroups(data, gains, other - error, other, scale))
        # One test for all.
        of_pairs, of_groups = pairs.p, groups.p
    n = data.members.astype(np.float64).T @ (data.sample.answers >= 0)
    each = _rows(pairs, worth, other, error, n, effective, adjusted=of_pairs)
    all_items = _rows(groups, whole[0], whole[1], whole[2], n.mean(axis=1), effective.mean(axis=1), adjusted=of_groups)
    subgroups, strata = (np.array(names, dtype=object) for names in (data.population.subgroups, data.population.strata))
    count = len(data.items.ids)
    frames = [
        all_items.with_columns(subgroup=pl.Series(subgroups), stratum=pl.Series(strata), item=pl.lit(None, pl.String)),
        each.with_columns(
            subgroup=pl.Series(np.repeat(subgroups, count)),
            stratum=pl.Series(np.repeat(strata, count)),
            item=pl.Series(list(data.items.ids) * len(subgroups), dtype=pl.String),
        ),
    ]
    named = pl.concat(frames).with_columns(estimator=pl.lit(estimates.estimator), run=pl.lit(estimates.run, pl.String))
    return INTERVIEWS.check(named, INTERVIEWS.name).select(list(INTERVIEWS.columns))


@dataclass(frozen=True)
class _Savings:
    """Gains in mean squared error, with intervals; NaN where unknown. All of shape (G,) or (G, I).

    Attributes:
        gain: what the estimator claims. low, high: 95 % interval of the gain. p: two-sided p-value of no gain, 1 for a loss.
    """

    gain: Floats
    low: Floats
    high: Floats
    p: Floats

    @classmethod
    def of(cls, claimed: Floats, gain: Floats, variance: Floats, freedom: Floats, other: Floats | None = None) -> _Savings:
        """Make intervals around `gain` that contain the claimed one, symmetric for log(other - gain) if `other` is given."""
        from scipy.special import stdtr

        known = (freedom > 0) & (variance >= 0) & np.isfinite(gain)
        safe = np.where(known, freedom, 1.0)
        se = np.sqrt(np.where(known, variance, np.nan))
        reach = quantile_of_t(safe) * se
        # Contributions of a model that is never used, or always right, have no variance.
        place = divided(np.abs(gain), se, np.inf)
        p = np.where((gain > 0) & (claimed > 0), 2 * stdtr(safe, -place), 1.0)
        low, high = gain - reach, gain + reach
        if other is not None:
            rest = np.maximum(other - np.minimum(gain, claimed), 0.0)
            factor = np.exp(np.minimum(divided(reach, rest, 0.0), MOST_LOG))
            low, high = other - rest * factor, other - rest / factor
        low, high = np.fmin(low, claimed), np.fmax(high, claimed)
        return cls(claimed, np.where(known, low, np.nan), np.where(known, high, np.nan), np.where(known, p, np.nan))

    @classmethod
    def of_subgroups(cls, data: EstimationInput, gains: list[UnitGains], claimed: Floats, other: Floats, scale: Floats) -> _Savings:
        """All items of a subgroup together, times `scale`; each subgroup by its own units. `claimed` and `other` have the shape (G, I)."""
        blocks = block_numbers(data.items.blocks.tolist())
        found = np.full((5, len(gains)), np.nan)
        found[3] = 0.0
        for g, one in enumerate(gains):
            items = np.flatnonzero(one.known & (scale > 0) & np.isfinite(claimed[g]))
            if len(items):
                found[[0, 4], g] = [float(part[g, items] @ scale[items]) for part in (claimed, other)]
            if len(one.units) < FEWEST_UNITS or len(one.units) * len(items) < FEWEST_ANSWERS:
                continue
            gain, error = (part[:, items] * scale[items] for part in (one.gain, one.error))
            found[1, g] = gain.sum()
            found[2:4, g] = two_way(gain - gain.sum() / error.sum() * error if error.sum() > 0 else gain, blocks[items])
        return cls.of(found[0], found[1], found[2], found[3], found[4])

    @classmethod
    def multiplied(cls, ratio: _Savings, claimed: Floats, other: Floats, together: Indices) -> _Savings:
        """Multiply the logarithm of the claimed gain by the intervals of ratios (see `_ratios`).

        Args:
            ratio: estimated over claimed gain. claimed, other: shape (..., I). together: shape (I,), the ratio of each.
        """
        base = np.clip(divided(other - claimed, other, 1.0), 1 / MOST, MOST)
        ends = np.stack([other * (1 - base ** end[together]) for end in (ratio.low, ratio.high)])
        p = np.where(np.isfinite(claimed), np.where(claimed > 0, ratio.p[together], 1.0), np.nan)
        return cls(claimed, np.minimum(ends.min(axis=0), claimed), np.maximum(ends.max(axis=0), claimed), p)

    def unless_below(self, own: _Savings) -> _Savings:
        """Take `own` where its interval is below this one."""
        below = own.high < self.low
        low, high, p = (np.where(below, getattr(own, name), getattr(self, name)) for name in ("low", "high", "p"))
        return _Savings(self.gain, low, np.maximum(high, self.gain), p)


def _ratios(data: EstimationInput, gains: list[UnitGains], claimed: Floats, weight: Floats, together: Indices) -> _Savings:
    """Return the estimated over the claimed gain of several pairs, with intervals that contain 1; 0 where nothing is claimed.

    Args:
        data: the input. gains: of the subgroups. claimed: shape (G, I). weight: shape (G, I), of each pair in the two sums.
        together: shape (I,), items with the same number share one ratio, over all subgroups.
    """
    blocks = block_numbers(data.items.blocks.tolist())
    known = np.array([one.known for one in gains]) & np.isfinite(claimed)
    said = np.where(known, claimed * weight, 0.0)
    seen = np.array([one.gain.sum(axis=0) for one in gains]) * np.where(known, weight, 0.0)
    groups = int(together.max()) + 1
    above, below = (np.bincount(together, part.sum(axis=0), groups).astype(np.float64) for part in (seen, said))
    ratio = divided(above, below)
    rest = np.zeros((len(data.sample.stratum), len(together)))
    for g, one in enumerate(gains):
        mean = np.nan_to_num(ratio)[together] * said[g] / max(len(one.units), 1)
        rest[one.units] += np.where(known[g], weight[g] * one.gain - mean, 0.0)
    enough = len(rest) * np.bincount(together, known.any(axis=0)) >= FEWEST_ANSWERS
    spread = [two_way(rest[:, together == k], blocks[together == k]) for k in range(groups)]
    variance, freedom = (np.array(part) for part in zip(*spread, strict=True))
    found = _Savings.of(np.ones(groups), ratio, divided(variance, below**2), np.where(enough, freedom, 0.0))
    nothing = (below <= 0) & enough
    low, high = (np.where(nothing, 0.0, end) for end in (found.low, found.high))
    return _Savings(found.gain, low, high, np.where(nothing, 1.0, found.p))


def _scale(data: EstimationInput, human: Estimates) -> Floats:
    """Return 1 / spread of each item's answers, shape (I,), so that items count alike; 0 where everybody gives one answer."""
    shares = np.where(data.items.used, human.shares[0], 0.0)
    return divided(np.ones(len(shares)), np.nan_to_num((shares * (1 - shares)).sum(axis=1)), 0.0)


def _by_subgroups(found: _Savings) -> Floats:
    """Return p-values adjusted over subgroups but the first, which is the population."""
    known = _without_nan(found.p)
    return np.array([known[0], *holm(known[1:])], dtype=np.float64)


def _by_pairs(found: _Savings) -> Floats:
    return np.array(benjamini_hochberg(_without_nan(found.p)), dtype=np.float64).reshape(found.p.shape)


def _without_nan(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values.ravel()]


def _rows(found: _Savings, worth: Floats, other: Floats, error: Floats, n: Floats, effective: Floats, *, adjusted: Floats) -> pl.DataFrame:
    """Return the columns with numbers, a row for each entry."""
    base = divided(worth, other)

    def saved(gain: Floats) -> Floats:
        """Interviews worth M' - gain, minus those worth M'."""
        return base * (divided(other, np.maximum(other - gain, other / MOST)) - 1)

    estimated = np.where(np.isnan(found.gain), np.nan, saved(found.gain))
    # Where all answers are equal the sample shows no variance, and no saving.
    nothing = (other == 0) & (effective > 0)
    base = np.where(nothing, effective, base)
    estimated = np.where(nothing, 0.0, estimated)
    shown: Bools = (adjusted < 1 - CONFIDENCE) & (found.low > 0) & (estimated > 0)
    columns = {
        "n": n,
        "n_eff": effective,
        "interviews": base + estimated,
        "saved": np.where(shown, estimated, np.where(np.isnan(estimated), np.nan, 0.0)),
        "low": np.where(nothing, np.nan, saved(found.low)),
        "high": np.where(nothing, np.nan, saved(found.high)),
        "estimated": estimated,
        "p": adjusted,
    }
    frame = pl.DataFrame({name: values.ravel() for name, values in columns.items()}).with_columns(pl.all().fill_nan(None))
    return frame.with_columns(shown=pl.Series(shown.ravel()))
