"""Multilevel regression of the human answers on levels and pairs of levels, with poststratification to the population's cells (MRP).

The model is in `stats.small_area.random_effects`: one linear predictor for all options of an item, from the shares in joint cells.
It is best linear unbiased (Henderson 1975; with poststratification, Gelman and Little 1997, Survey Methodology 23:127-135).

- **Variances** of effects are pooled over items. Those of an item are a multiple of them, with the prior `PRIOR` on `MULTIPLES`. The
  predictor uses the posterior mean of the multiple. Its error is averaged over the multiples, so it includes their uncertainty. The
  prediction from outside a subgroup uses the multiple 1, because a multiple depends on the answers inside.
- **Means of codes** are the codes times the shares. What makes subgroups differ often moves answers along the scale, so the
  multiple in the error of a mean comes from the mean codes of the cells.
- **Weights** of people give the shares in a cell and its effective number of answers, (sum w)^2 / sum w^2 (Kish 1965). Sampling units
  have an effect of their own, which is noise.
- **Finite populations**: with a sampled fraction, the answers of sampled people are known and only the rest is predicted (Royall
  1970, Biometrika 57:377-387).
- **Shares** are means of normal distributions truncated to [0, 1]: a linear prediction can be negative.
- **Mean squared errors** are the variance of the model times the average of p (1 - p) of the subgroup and of the item.
- **Intervals** are 1.96 standard errors on both sides, cut at 0 and 1 or at the ends of the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from valuestrata.estimation.estimates import MULTILEVEL, Estimates
from valuestrata.estimation.estimators.cell_shares import CellShares, SamePeople
from valuestrata.estimation.estimators.left_out import OutsidePredictor
from valuestrata.estimation.inputs import EstimationInput
from valuestrata.stats.arrays import Floats
from valuestrata.stats.small_area.poststratified import (
    LinearPredictor,
    TargetCovariance,
    best_predictor,
    outside_predictor,
    within_zero_and_one,
)
from valuestrata.stats.small_area.random_effects import (
    UNIT,
    EffectKernels,
    LikelihoodColumns,
    ObservedCells,
    Projection,
    restricted_variances,
)

# Multiples of the variances of effects that an item may have, and their prior probabilities.
MULTIPLES = np.array([0.1, 0.3, 1.0, 3.0, 9.0, 27.0])
PRIOR = np.array([0.1, 0.2, 0.4, 0.2, 0.08, 0.02])
# Variances are estimated from at most this many items, and from fewer where items times squared cells would exceed the second number.
MOST_ITEMS, MOST_ELEMENTS, FEWEST_ITEMS = 40, 1_500_000, 12
SEED = 0
# Largest part of the variance of answers that subgroups explain.
MOST_EXPLAINED = 0.8
# A variance below this is rounding.
TINY = 1e-12
# Normal quantile of 95 % intervals.
QUANTILE = 1.959964


@dataclass(frozen=True)
class MultilevelFit:
    """Estimates of multilevel regression and poststratification.

    Attributes:
        estimates: shares and means with intervals.
        left_out: shape (G, I, K), the prediction of each subgroup from the people outside it; NaN where nobody outside answered,
            as for `all`.
        left_out_variance: shape (G, I), variance of the subgroup's true share minus `left_out`, divided by p_k (1 - p_k).
        effects: names of the E effects: attributes, `pairs` of levels, `cell`, and the sampling `unit`.
        variances: shape (E,), their variances relative to that within cells, pooled over items.
        multiple: shape (I,), multiple of the variances that is estimated for each item.
        outside: the predictors that gave `left_out`, one for each item with answers.
    """

    estimates: Estimates
    left_out: Floats
    left_out_variance: Floats
    effects: tuple[str, ...]
    variances: Floats
    multiple: Floats
    outside: tuple[OutsidePredictor, ...] = ()


def multilevel(data: EstimationInput) -> MultilevelFit:
    """Estimate shares and means of subgroups from the human answers alone.

    Items that nobody answered, and subgroups without population and without people, are NaN.
    """
    answers = CellShares.of(data)
    groups = SamePeople.all_of(data, answers)
    effects = EffectKernels.of(data.population.levels, data.population.attributes, data.population.share)
    clustered = bool(groups) and groups[0].units is not None
    kinds = effects.kinds + ((UNIT,) if clustered else ())
    spread = np.append(effects.spread, [1.0] * clustered)
    variances = restricted_variances([_observed(answers, effects, group) for group in _chosen(groups)], kinds, spread)
    q, unit = (variances[:-1], float(variances[-1])) if clustered else (variances, 0.0)
    model = _Model(data, answers, np.tensordot(q, effects.correlation, axes=1), float(q @ effects.spread), unit)
    shape = (len(data.population.subgroups), len(data.items.ids))
    predicted = _Predicted.empty(*shape, data.items.codes.shape[1])
    multiple = np.full(shape[1], np.nan)
    for group in groups:
        model.predict(group, predicted, multiple)
    names = effects.names + ((UNIT,) if clustered else ())
    return MultilevelFit(*model.result(predicted), names, variances, multiple, tuple(predicted.outside))


@dataclass(frozen=True)
class _Predicted:
    """Arrays to be filled.

    Attributes:
        shares, left_out: shape (G, I, K), linear predictions. variance, left_out_variance: shape (G, I), their variances over p (1 - p).
        explained: shape (G, I), variance of the predicted departure from the population's share over p (1 - p).
        mean_variance: shape (G, I), variance of the mean code over that of an answer's code.
    """

    shares: Floats
    left_out: Floats
    variance: Floats
    left_out_variance: Floats
    mean_variance: Floats
    explained: Floats
    outside: list[OutsidePredictor]

    @classmethod
    def empty(cls, subgroups: int, items: int, options: int) -> _Predicted:
        shares, pairs = np.full((subgroups, items, options), np.nan), np.full((subgroups, items), np.nan)
        return cls(shares, shares.copy(), pairs, pairs.copy(), pairs.copy(), pairs.copy(), [])


@dataclass(frozen=True)
class _Model:
    """The model with given variances: K (J, J), the sum of the effects' q d, and q of sampling units."""

    data: EstimationInput
    answers: CellShares
    kernel: Floats
    total: float
    unit: float

    @cached_property
    def weights(self) -> Floats:
        """Weights of joint cells in each subgroup, (G, J). A subgroup without population has those of its people."""
        population, sample = self.data.population, self.data.sample
        people = population.inside * np.bincount(sample.cell, sample.weight, len(population.share))
        total = people.sum(axis=1, keepdims=True)
        own = np.divide(people, total, out=np.zeros_like(people), where=total > 0)
        return np.where(population.sizes[:, None] > 0, population.weights, own)

    @cached_property
    def target(self) -> TargetCovariance:
        """Covariance of the subgroups with all cells."""
        seen = self.weights @ self.kernel
        return TargetCovariance(self.weights.sum(axis=1), (seen * self.weights).sum(axis=1), seen)

    @cached_property
    def departure(self) -> Floats:
        """Variance of each subgroup's departure from the population, (G,)."""
        apart = self.weights - self.data.population.share
        return ((apart @ self.kernel) * apart).sum(axis=1)

    def predict(self, group: SamePeople, predicted: _Predicted, multiple: Floats) -> None:
        """Fill the arrays for the items of a group."""
        cells = group.cells
        kernel = self.kernel[np.ix_(cells, cells)]
        noise = np.diag(group.noise) + (self.unit * group.units if group.units is not None else 0.0)
        scales = 1 / (1 + MULTIPLES * self.total + self.unit)
        of_shares, of_means = self._posteriors(group, kernel, noise, scales)
        inside = self.data.population.inside[:, cells]
        known, unknown, all_unknown = self._finite(group)
        target = self.target.of(cells)
        rest = target.without(known, kernel)
        # One multiple for all items: that of an item would depend on the answers that are to be predicted.
        outside = LinearPredictor.of(outside_predictor(Projection.of(kernel + noise), target, 1.0, inside), target, kernel, noise)
        outside_weights = outside.weights.astype(np.float32)
        for item, posterior, mean_posterior in zip(group.items.tolist(), of_shares, of_means, strict=True):
            times = float(np.exp(posterior @ np.log(MULTIPLES)))
            multiple[item] = times
            projection = Projection.of(times * kernel + noise)
            shares = self.answers.shares[item, cells]
            best = LinearPredictor.of(best_predictor(projection, rest, times), rest, kernel, noise)
            predicted.shares[:, item] = (best.weights + known) @ shares
            predicted.left_out[:, item] = outside.weights @ shares
            predicted.outside.append(OutsidePredictor(item, cells, outside_weights))
            errors = scales * (np.outer(best.between, MULTIPLES) + (best.within + unknown)[:, None])
            predicted.variance[:, item], predicted.mean_variance[:, item] = errors @ posterior, errors @ mean_posterior
            departure = np.outer(self.departure, MULTIPLES * scales) @ posterior
            predicted.explained[:, item] = np.clip(departure - predicted.variance[:, item], 0.0, MOST_EXPLAINED)
            errors = scales * (np.outer(outside.between, MULTIPLES) + (outside.within + all_unknown)[:, None])
            predicted.left_out_variance[:, item] = errors @ posterior

    def result(self, predicted: _Predicted) -> tuple[Estimates, Floats, Floats]:
        """Return the estimates with intervals, `left_out` and its variance."""
        items, sample, pooled = self.data.items, self.data.sample, self.answers.pooled
        of_item = pooled * (1 - pooled)
        # The mean of p (1 - p) over subgroups is below that of the population by the variance between them.
        correction = (1 / (1 - predicted.explained))[..., None]
        known = (self.weights.sum(axis=1) > 0)[:, None]
        variance = np.where(known, predicted.variance, np.nan)[..., None]

        def mse(shares: Floats) -> Floats:
            return variance * (of_item + correction * shares * (1 - shares)) / 2

        linear = np.where(known[..., None], predicted.shares, np.nan)
        shares = within_zero_and_one(linear, mse(np.clip(predicted.shares, 0.0, 1.0)))
        left_out_variance = np.where(known, predicted.left_out_variance, np.nan)
        left_out = within_zero_and_one(np.where(known[..., None], predicted.left_out, np.nan), left_out_variance[..., None] * of_item)
        squares = mse(shares)
        reach = np.where(items.used, QUANTILE * np.sqrt(squares), 0.0)
        codes = np.where(items.used & items.ordered[:, None], items.codes, 0.0)
        mean = np.where(items.ordered & known, (shares * codes).sum(axis=2), np.nan)
        spread = (pooled * codes**2).sum(axis=1) - (pooled * codes).sum(axis=1) ** 2
        own = correction[..., 0] * ((shares * codes**2).sum(axis=2) - (shares * codes).sum(axis=2) ** 2)
        mean_mse = np.where(items.ordered & known, predicted.mean_variance * (spread + own) / 2, np.nan)
        mean_reach = QUANTILE * np.sqrt(mean_mse)
        least = np.min(np.where(items.used, items.codes, np.inf), axis=1)
        most = np.max(np.where(items.used, items.codes, -np.inf), axis=1)
        answered = (sample.answers >= 0).T.astype(np.float64) @ self.data.members
        found = Estimates(
            MULTILEVEL,
            None,
            shares,
            np.maximum(shares - reach, 0.0),
            np.minimum(shares + reach, 1.0),
            squares,
            mean,
            np.maximum(mean - mean_reach, least),
            np.minimum(mean + mean_reach, most),
            mean_mse,
            answered.T == 0,
            np.full(mean.shape, np.nan),
        )
        return found, left_out, left_out_variance

    def _posteriors(self, group: SamePeople, kernel: Floats, noise: Floats, scales: Floats) -> tuple[Floats, Floats]:
        """Return the posterior probabilities of the multiples for shares, and for mean codes, each (items, multiples)."""
        items, options = len(group.items), self.answers.shares.shape[2]
        shares = self.answers.values(group.items, group.cells).reshape(len(group.cells), -1)
        means = np.einsum("isk,ik->si", self.answers.shares[np.ix_(group.items, group.cells)], self.answers.centred[group.items])
        owner = np.concatenate([np.repeat(np.arange(items), options), items + np.arange(items)])
        directions = np.concatenate([self.answers.directions[group.items], np.where(self.data.items.ordered[group.items], 1.0, 0.0)])
        columns = LikelihoodColumns(np.hstack([shares, means]), owner, directions)
        pairs = zip(MULTIPLES.tolist(), scales.tolist(), strict=True)
        logs = np.log(PRIOR)[:, None] + np.array([columns.log_likelihood(t * kernel + noise, scale) for t, scale in pairs])
        chance = np.exp(logs - logs.max(axis=0))
        chance /= chance.sum(axis=0)
        return chance[:, :items].T, chance[:, items:].T

    def _finite(self, group: SamePeople) -> tuple[Floats, Floats, Floats]:
        """Return the weights of the known shares, (G, S), and the variance of the mean of the people who were not asked, (G,).

        The last value is that variance if nobody of the subgroup had been asked.
        """
        population = self.data.population
        share = population.share * group.answered / max(self.data.sample.fraction, TINY)
        each = np.divide(self.weights**2, share, out=np.zeros_like(self.weights), where=share > 0)
        if self.data.sample.fraction <= 0:
            nothing = np.zeros(len(self.weights))
            return np.zeros((len(nothing), len(group.cells))), nothing, nothing
        cells = share[group.cells]
        part = np.minimum(np.divide(1 / group.noise, cells, out=np.zeros(len(cells)), where=cells > 0), 1.0)
        total = each.sum(axis=1)
        return self.weights[:, group.cells] * part, np.maximum(total - each[:, group.cells] @ part, 0.0), total


def _observed(answers: CellShares, effects: EffectKernels, group: SamePeople) -> ObservedCells:
    parts = effects.correlation[:, group.cells[:, None], group.cells[None, :]]
    if group.units is not None:
        parts = np.concatenate([parts, group.units[None]])
    values = answers.values(group.items, group.cells)
    return ObservedCells(group.cells, group.noise, parts, values.reshape(len(values), -1), float(answers.directions[group.items].sum()))


def _chosen(groups: Sequence[SamePeople]) -> list[SamePeople]:
    """Return the groups, or a part of them drawn by seed where they have many cells."""
    if not groups:
        return []
    cells = max(len(group.cells) for group in groups)
    limit = min(max(MOST_ELEMENTS // cells**2, FEWEST_ITEMS), MOST_ITEMS)
    rows = np.sort(np.random.default_rng(SEED).permutation(len(groups))[:limit])
    return [groups[row] for row in rows]
