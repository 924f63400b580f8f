"""Small-area estimates: a Fay-Herriot model of the human estimates, with multilevel regression and a model's answers as predictors.

The human estimate d of subgroup g and item i is one vector of shares over the options. With theta the true shares and V_k = p_k (1 - p_k),

    d = theta + e,   theta = L + b_1 h (C - M) + b_2 (L - M) + sum_m c_m (F_m - L[F_m]) + u,   Var e = V v,   Var u = V t.

- L: the multilevel prediction from the people outside g (`MultilevelFit.left_out`), M their plain mean.
- C: what the other blocks of items and the models say of the item's level (`item_levels`); h is the share of the error of M in the
  distance of C from M.
- F_m: the departure of g from the population in the answers of model m, L[F_m] what the multilevel prediction makes of the departures of
  the cells outside g. So c_m is the slope of people's departures on the model's, as if the model were a predictor within the multilevel
  regression. Shares of an earlier wave enter as the answers of one more model.
- v: the smoothed sampling variance of d (`direct`). Answers of a model as single people reduce it (regression estimation).
- t = s (r w_L + (1 - r) mean w_L) + 1 / N: w_L the variance of L as multilevel regression has it, less that of the N people of a finite
  population. s and r are estimated by restricted maximum likelihood, pooled over items and subgroups.

None of the predictors contains answers of people in g to item i. The slopes b and c are learned and shrunken toward 0
(`stats.small_area.slopes`). The predictors of an option sum to 0 over the options and one weight t / (t + v) serves all options, so shares
sum to 1. For the population itself, and where nobody outside g answered, L is replaced by C.

**Mean squared error** to second order (Prasad and Rao 1990): t v / (t + v) V, plus the error of the slopes, plus twice that of s. The
errors of slopes and of s allow for subgroups that share people and people who answer many items (two-way clustering). **Intervals** are
those of beta distributions with these means and variances; in a finite population their ends are shares that it can have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.estimation.benchmark import benchmarked
from valuestrata.estimation.estimates import SMALL_AREA, Estimates
from valuestrata.estimation.estimators.area_effects import AreaEffects, area_effects
from valuestrata.estimation.estimators.direct import DirectEstimates, direct_estimates
from valuestrata.estimation.estimators.item_levels import ItemLevels, item_levels
from valuestrata.estimation.estimators.left_out import predicted_from_outside
from valuestrata.estimation.estimators.model_effects import ModelEffects, model_effects
from valuestrata.estimation.estimators.multilevel import MultilevelFit
from valuestrata.estimation.inputs import EstimationInput, ModelValues
from valuestrata.stats.arrays import Bools, Floats
from valuestrata.stats.small_area.beta_intervals import NORMAL_QUANTILE, beta_interval

LEVEL, MULTILEVEL_DEPARTURE = "level", "multilevel"
# Smallest variance of an area effect.
LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class SmallAreaFit:
    """Small-area estimates and what was learned for them.

    Attributes:
        estimates: shares and means with intervals; `weight` is that of the predictors beside the human estimate.
        predictors: names of the Q predictors: `level`, `multilevel`, and the models. slopes, slopes_se: shape (Q,), b and c, and their
            standard errors before shrinkage.
        level_slopes: shape (M,), slopes of the item's level on that of each model.
        levels: C and its error.
        direct: the human estimates that were used.
        effects: the predictions and their errors.
    """

    estimates: Estimates
    predictors: tuple[str, ...]
    slopes: Floats
    slopes_se: Floats
    level_slopes: Floats
    levels: ItemLevels
    direct: DirectEstimates
    effects: AreaEffects


def small_area_estimates(
    data: EstimationInput, runs: Sequence[str], fit: MultilevelFit, human: Estimates, *, earlier: Sequence[ModelValues] = ()
) -> Estimates:
    """Return small-area estimates of all subgroups and items, benchmarked to their estimate for the population.

    Args:
        data: the sample and the models. runs: names of the models to use; empty for the same estimator without a model.
        fit: multilevel regression of the same data. human: estimates from the sample only.
        earlier: shares of earlier waves, or other predictions; they are used like models.

    Raises:
        KeyError: a run is not in `data.models`.
    """
    found = small_area_fit(data, runs, fit, human, earlier=earlier).estimates
    return benchmarked(found, data.population, found.shares[0], data.items)


def small_area_fit(
    data: EstimationInput, runs: Sequence[str], fit: MultilevelFit, human: Estimates, *, earlier: Sequence[ModelValues] = ()
) -> SmallAreaFit:
    """Return the estimates before benchmarking, with what was learned; see `small_area_estimates`."""
    models = [data.models[run] for run in runs] + list(earlier)
    said = [model_effects(one, data.population) for one in models]
    direct = direct_estimates(data, human, models, said)
    level = np.array([one.level for one in said]).reshape(len(models), *data.items.codes.shape)
    levels = item_levels(data.items, direct.shares[0], direct.variance[0], direct.spread, level)
    rows = _predictors(data, fit, direct, levels, said)
    found = area_effects(data, direct, rows.base, rows.predictors, rows.uncertainty, rows.usable)
    found = found.without_outside(_without_outside(data, fit, levels, rows.usable), direct)
    estimates = _estimates(data, "+".join(runs) or None, direct, found)
    names = (LEVEL, MULTILEVEL_DEPARTURE, *(one.name for one in models))
    return SmallAreaFit(estimates, names, found.slopes, found.slopes_se, levels.slopes, levels, direct, found)


@dataclass(frozen=True)
class _Predictors:
    """L (G, I, K), the other predictors (Q, G, I, K), the variance of L (G, I), and where there is L (G, I)."""

    base: Floats
    predictors: Floats
    uncertainty: Floats
    usable: Bools


def _predictors(
    data: EstimationInput, fit: MultilevelFit, direct: DirectEstimates, levels: ItemLevels, said: Sequence[ModelEffects]
) -> _Predictors:
    """Return the predictors; where nobody outside answered, C takes the place of L."""
    used, groups = data.items.used, len(fit.left_out)
    base = np.where(used, fit.left_out, 0.0)
    if said:
        base = base - predicted_from_outside(fit.outside, direct.moved, groups)
    usable = np.isfinite(base).all(axis=2) & np.isfinite(direct.outside).all(axis=2) & np.isfinite(fit.left_out_variance)
    base = np.where(usable[..., None], base, levels.shares)
    outside = np.where(usable[..., None], direct.outside, levels.shares)
    error = np.where(usable, direct.outside_variance, 0.0)
    part = error / (error + levels.variance)
    columns = [part[..., None] * (levels.shares - outside), base - outside]
    for one in said:
        seen = predicted_from_outside(fit.outside, one.cells.transpose(1, 0, 2), groups)
        columns.append(one.subgroups - np.where(usable[..., None], seen, 0.0))
    uncertainty = np.maximum(np.where(usable, fit.left_out_variance, 1.0) - 1 / direct.people, LEAST_VARIANCE)
    return _Predictors(base, np.array(columns) * used, uncertainty, usable)


def _without_outside(data: EstimationInput, fit: MultilevelFit, levels: ItemLevels, usable: Bools) -> Floats:
    """Return the variance of C as a prediction of each subgroup, shape (G, I); NaN where L is used.

    A part of the population differs from it by the effects of multilevel regression.
    """
    cells = float(fit.variances.sum())
    part = (data.population.sizes < 1 - LEAST_VARIANCE)[:, None] * cells / (1 + cells)
    return np.where(usable, np.nan, levels.variance + part)


def _estimates(data: EstimationInput, run: str | None, direct: DirectEstimates, found: AreaEffects) -> Estimates:
    """Return shares and means with intervals."""
    items = data.items
    used, shares = items.used, found.shares
    # The estimate is worth 1 / variance answers; one more has the pooled shares, so no variance is 0.
    worth = 1 / np.maximum(found.variance, LEAST_VARIANCE)[..., None]
    moderate = (worth * shares + direct.pooled) / (worth + 1)
    mse = found.variance[..., None] * moderate * (1 - moderate) + found.of_slopes
    low, high = beta_interval(moderate, mse, direct.people[..., None])
    codes = np.where(used & items.ordered[:, None], np.nan_to_num(items.codes), 0.0)
    mean = (shares * codes).sum(axis=2)
    away = codes - (moderate * codes).sum(axis=2)[..., None]
    mean_mse = found.mean_variance * (moderate * away**2).sum(axis=2) + np.where(used, found.of_slopes * away**2, 0.0).sum(axis=2)
    half = NORMAL_QUANTILE * np.sqrt(mean_mse)
    least, most = np.nanmin(items.codes, axis=1), np.nanmax(items.codes, axis=1)
    ordered = np.broadcast_to(items.ordered, mean.shape)
    return Estimates(
        estimator=SMALL_AREA,
        run=run,
        shares=np.where(used, shares, 0.0),
        low=np.where(used, np.minimum(low, shares), np.nan),
        high=np.where(used, np.maximum(high, shares), np.nan),
        mse=np.where(used, mse, np.nan),
        mean=np.where(ordered, mean, np.nan),
        mean_low=np.where(ordered, np.maximum(mean - half, least), np.nan),
        mean_high=np.where(ordered, np.minimum(mean + half, most), np.nan),
        mean_mse=np.where(ordered, mean_mse, np.nan),
        synthetic=~direct.seen,
        weight=1 - found.weight,
    )
