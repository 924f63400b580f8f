"""The Fay-Herriot model of all pairs of subgroup and item, with slopes and variances that are learned from all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from valuestrata.estimation.estimators.direct import DirectEstimates
from valuestrata.estimation.inputs import EstimationInput
from valuestrata.stats.arrays import Bools, Floats, Indices
from valuestrata.stats.blocks import block_numbers
from valuestrata.stats.small_area.fay_herriot import Areas, FayHerriotFit, fay_herriot
from valuestrata.stats.small_area.slopes import contrasts, independent_columns, shrunken, truncated_mean

# Candidates of r: how much of the variance of area effects is proportional to that of the multilevel prediction.
MIXES = (0.0, 0.5, 1.0)
# Relative accuracy of s.
TOLERANCE = 1e-4
# Smallest ratio of the variance of mean codes to that of shares.
LEAST_ALONG = 0.25
TINY = 1e-300


@dataclass(frozen=True)
class AreaEffects:
    """Predictions of G subgroups and I items, combined with the human estimates. Variances are divided by p_k (1 - p_k).

    Attributes:
        shares: shape (G, I, K), at least 0 with sum 1. synthetic: shape (G, I, K), the prediction alone.
        weight: shape (G, I), weight of the human estimate.
        prior: shape (G, I), t: variance of the prediction.
        variance: shape (G, I), mean squared error without that of the slopes; of_slopes: shape (G, I, K), that of the slopes.
        mean_variance: shape (G, I), the same as `variance` for the mean of the codes.
        slopes, slopes_se: shape (Q,). sigma2: s. mix: r.
        along: variance of the prediction of mean codes over that of shares.
    """

    shares: Floats
    synthetic: Floats
    weight: Floats
    prior: Floats
    variance: Floats
    of_slopes: Floats
    mean_variance: Floats
    slopes: Floats
    slopes_se: Floats
    sigma2: float
    mix: float
    along: float

    def without_outside(self, variance: Floats, direct: DirectEstimates) -> AreaEffects:
        """Return the estimates with another variance of predictions where `variance`, shape (G, I), is not NaN."""
        chosen = np.isfinite(variance)
        prior = np.where(chosen, variance, self.prior)
        weight = np.where(chosen, _weight(prior, direct), self.weight)
        own = (1 - weight) * prior
        mean = own * np.where(direct.seen, 1.0, self.along)
        return replace(
            self,
            shares=np.where(chosen[..., None], _combined(self.synthetic, weight, direct), self.shares),
            weight=weight,
            prior=prior,
            variance=np.where(chosen, own, self.variance),
            mean_variance=np.where(chosen, mean, self.mean_variance),
        )


def area_effects(
    data: EstimationInput, direct: DirectEstimates, base: Floats, predictors: Floats, uncertainty: Floats, usable: Bools
) -> AreaEffects:
    """Fit the model and combine its predictions with the human estimates.

    Args:
        base: shape (G, I, K), the predictor with slope 1. predictors: shape (Q, G, I, K), sum 0 over options; the first two have priors of
            their own, the others a common one. uncertainty: shape (G, I), variance of area effects up to a factor.
        usable: shape (G, I), the pairs to learn from.
    """
    rows = _PairRows.of(data, direct, base, predictors, usable)
    finite = np.where(np.isfinite(direct.people), 1 / direct.people, 0.0)
    average = float(uncertainty[rows.group, rows.item].mean()) if len(rows.group) else 1.0
    scales = {mix: mix * uncertainty + (1 - mix) * average for mix in MIXES}
    size = len(predictors)
    if len(rows.group) <= size + 1:
        none = np.zeros(size)
        return _combine(data, direct, base, predictors, scales[1.0] + finite, 1.0, _Learned(none, np.zeros((size, size)), none, 1.0, 0.0))
    kept = independent_columns(rows.predictors, np.sqrt(rows.variance + average))
    mix, found = _best(rows, kept, scales, finite)
    learned = _learned(data, direct, rows, kept, found, scales[mix], finite, base, predictors)
    return _combine(data, direct, base, predictors, learned.sigma2 * scales[mix] + finite, mix, learned, scales[mix])


@dataclass(frozen=True)
class _PairRows:
    """Orthonormal contrasts of the pairs to learn from, scaled to variance `variance` (M,); predictors (M, Q), turn (I, K, K - 1)."""

    group: Indices
    item: Indices
    contrast: Indices
    direct: Floats
    predictors: Floats
    variance: Floats

    @classmethod
    def of(cls, data: EstimationInput, direct: DirectEstimates, base: Floats, predictors: Floats, usable: Bools) -> _PairRows:
        items = data.items
        free = items.options - 1
        turn = contrasts(items.options, items.codes.shape[1]) * np.sqrt(np.maximum(free, 1) / direct.spread)[:, None, None]
        seen = usable & direct.seen
        rest = np.where(seen[..., None], np.nan_to_num(direct.shares) - base, 0.0)
        group, item, contrast = np.nonzero(seen[..., None] & (np.arange(turn.shape[2]) < free[:, None]))
        y = np.einsum("gik,ikc->gic", rest, turn)[group, item, contrast]
        x = np.einsum("qgik,ikc->gicq", predictors, turn)[group, item, contrast]
        return cls(group, item, contrast, y, x, direct.variance[group, item])

    def areas(self, predictors: Floats, scale: Floats, known: Floats, direct: Floats | None = None) -> Areas:
        """Return the rows as areas of a Fay-Herriot model."""
        at = (self.group, self.item)
        return Areas.of(self.direct if direct is None else direct, predictors, self.variance, scale=scale[at], known=known[at])


@dataclass(frozen=True)
class _Learned:
    """Shrunken slopes (Q,), their covariance (Q, Q), standard errors before shrinkage (Q,), s and the variance of its estimate."""

    slopes: Floats
    covariance: Floats
    se: Floats
    sigma2: float
    sigma2_variance: float


def _best(rows: _PairRows, kept: Indices, scales: dict[float, Floats], known: Floats) -> tuple[float, FayHerriotFit]:
    """Return r with the largest likelihood, and the fit with it."""
    best: tuple[float, float, FayHerriotFit] | None = None
    for mix, scale in scales.items():
        areas = rows.areas(rows.predictors[:, kept], scale, known)
        fit = fay_herriot(areas, tolerance=TOLERANCE)
        total = fit.sigma2 * areas.scale + areas.known + areas.variance
        loss = float(np.log(total).sum() + ((areas.direct - fit.synthetic) ** 2 / total).sum())
        if best is None or loss < best[0]:
            best = (loss, mix, fit)
    assert best is not None
    return best[1], best[2]


def _learned(
    data: EstimationInput,
    direct: DirectEstimates,
    rows: _PairRows,
    kept: Indices,
    fit: FayHerriotFit,
    scale: Floats,
    known: Floats,
    base: Floats,
    predictors: Floats,
) -> _Learned:
    """Shrink the slopes, and estimate s again with them."""
    size = len(predictors)
    at = (rows.group, rows.item)
    total = fit.sigma2 * scale[at] + known[at] + rows.variance
    rest = rows.direct - fit.synthetic
    # The last score is that of s, which is the slope of half the squared residual.
    scores = np.column_stack([rows.predictors[:, kept] * (rest / total)[:, None], 0.5 * scale[at] * (rest**2 - total) / total**2])
    slopes = np.zeros(size)
    slopes[kept] = fit.coefficients
    synthetic = base + np.tensordot(slopes, predictors, axes=1)
    residual = np.where(direct.seen[..., None], np.nan_to_num(direct.shares) - synthetic, 0.0)
    pair = np.zeros(direct.seen.shape)
    pair[at] = 1 / total
    loads = np.concatenate([predictors[kept] * pair[..., None], residual[None] * (scale * pair**2)[..., None]])
    meat = _by_blocks(data, rows.item, scores) + _by_people(data, direct, loads, synthetic)
    information = 0.5 * float(((scale[at] / total) ** 2).sum())
    covariance = fit.covariance @ meat[:-1, :-1] @ fit.covariance
    family = np.minimum(kept, 2)
    posterior = shrunken(fit.coefficients, covariance, np.unique(family, return_inverse=True)[1].reshape(-1))
    found, se, spread = np.zeros(size), np.zeros(size), np.zeros((size, size))
    found[kept], se[kept], spread[np.ix_(kept, kept)] = posterior.mean, np.sqrt(np.diag(covariance)), posterior.covariance
    # The fitted slopes follow errors that people share, which takes more from the residuals than independent errors would.
    taken = posterior.gain @ covariance
    taken = 2 * taken - taken @ posterior.gain.T
    x = rows.predictors[:, kept]
    left = np.sqrt((rows.direct - rows.predictors @ found) ** 2 + np.maximum(np.einsum("mq,qr,mr->m", x, taken, x), 0.0))
    again = fay_herriot(rows.areas(np.zeros((len(left), 0)), scale, known, left), tolerance=TOLERANCE)
    variance = float(meat[-1, -1]) / max(information, TINY) ** 2
    return _Learned(found, spread, se, truncated_mean(again.sigma2, variance), variance)


def _by_blocks(data: EstimationInput, item: Indices, scores: Floats) -> Floats:
    """Return the sum over blocks of items of the outer products of their scores."""
    blocks = block_numbers(data.items.blocks.tolist())[item]
    sums = np.zeros((int(blocks.max()) + 1, scores.shape[1]))
    np.add.at(sums, blocks, scores)
    number = len(np.unique(blocks))
    return sums.T @ sums * number / max(number - 1, 1)


def _by_people(data: EstimationInput, direct: DirectEstimates, loads: Floats, centre: Floats) -> Floats:
    """Return the sum over people of the outer products of their scores, less what the blocks of items of each alone have; at least 0.

    Args:
        loads: shape (S, G, I, K), what the mean answer of a subgroup adds to each score. centre: shape (G, I, K), expected answers.
    """
    items, sample = data.items, data.sample
    members = data.members.astype(np.float64)
    answered = sample.answers >= 0
    options = items.codes.shape[1]
    weight = sample.weight / sample.weight.mean()
    answers = (sample.answers[..., None] == np.arange(options)) * (answered * weight[:, None])[..., None]
    factor = np.where(direct.seen, (items.options - 1) / direct.spread / np.maximum(direct.total, TINY), 0.0)
    scores = np.zeros((len(loads), sample.people, len(items.ids)))
    for row, load in zip(scores, loads, strict=True):
        load = load * factor[..., None]
        row += np.einsum("pik,pik->pi", (members @ load.reshape(len(load), -1)).reshape(answers.shape), answers)
        row -= members @ (load * centre).sum(axis=2) * (answered * weight[:, None])
    whole = scores.sum(axis=2)
    blocks = block_numbers(items.blocks.tolist())
    own = np.stack([scores[:, :, blocks == one].sum(axis=2) for one in np.unique(blocks)])
    values, vectors = np.linalg.eigh(whole @ whole.T - np.einsum("bsp,btp->st", own, own))
    return (vectors * np.maximum(values, 0.0)) @ vectors.T


def _combine(
    data: EstimationInput,
    direct: DirectEstimates,
    base: Floats,
    predictors: Floats,
    prior: Floats,
    mix: float,
    learned: _Learned,
    scale: Floats | None = None,
) -> AreaEffects:
    """Combine predictions and human estimates."""
    synthetic = base + np.tensordot(learned.slopes, predictors, axes=1)
    weight = _weight(prior, direct)
    noise = np.where(direct.seen, direct.variance, 0.0)
    of_sigma2 = 0.0 if scale is None else (1 - weight) ** 2 * scale**2 * learned.sigma2_variance / np.maximum(prior + noise, TINY)
    of_sigma2 = np.where(direct.seen, of_sigma2, 0.0)
    of_slopes = (1 - weight)[..., None] ** 2 * np.einsum("qgik,qr,rgik->gik", predictors, learned.covariance, predictors)
    along = _along(data, direct, synthetic, prior, noise)
    return AreaEffects(
        shares=_combined(synthetic, weight, direct),
        synthetic=synthetic,
        weight=weight,
        prior=prior,
        variance=(1 - weight) * prior + 2 * of_sigma2,
        of_slopes=np.maximum(of_slopes, 0.0),
        mean_variance=weight**2 * noise + (1 - weight) ** 2 * prior * along + 2 * of_sigma2,
        slopes=learned.slopes,
        slopes_se=learned.se,
        sigma2=learned.sigma2,
        mix=mix,
        along=along,
    )


def _weight(prior: Floats, direct: DirectEstimates) -> Floats:
    """Return t / (t + v), 0 without answers."""
    noise = np.where(direct.seen, direct.variance, 0.0)
    return np.where(direct.seen, np.where(prior + noise > 0, prior / np.maximum(prior + noise, TINY), 1.0), 0.0)


def _combined(synthetic: Floats, weight: Floats, direct: DirectEstimates) -> Floats:
    """Return shares between the predictions and the human estimates, at least 0 with sum 1."""
    gap = np.where(direct.seen[..., None], np.nan_to_num(direct.shares) - synthetic, 0.0)
    shares = np.maximum(synthetic + weight[..., None] * gap, 0.0)
    return shares / shares.sum(axis=2, keepdims=True)


def _along(data: EstimationInput, direct: DirectEstimates, synthetic: Floats, prior: Floats, noise: Floats) -> float:
    """Return the variance of the prediction of mean codes over that of shares, by moments pooled over pairs.

    What makes subgroups differ moves answers along a scale, so means can be predicted worse than shares.
    """
    items = data.items
    codes = np.where(items.used & items.ordered[:, None], np.nan_to_num(items.codes), 0.0)
    codes = codes - (direct.pooled * codes).sum(axis=1, keepdims=True)
    spread = (direct.pooled * codes**2).sum(axis=1)
    away = (np.where(direct.seen[..., None] & items.used, np.nan_to_num(direct.shares) - synthetic, 0.0) * codes).sum(axis=2)
    use = direct.seen & items.ordered & (spread > 0)
    use[0] = False
    weight = np.where(use, prior / np.maximum(prior + noise, TINY) ** 2, 0.0)
    excess = away**2 / np.maximum(spread, TINY) - noise
    size = float((weight * prior).sum())
    return max(float((weight * excess).sum()) / size, LEAST_ALONG) if size > 0 else 1.0
