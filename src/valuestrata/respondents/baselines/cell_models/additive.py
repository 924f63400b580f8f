"""Additive logit models with main effects of the attributes, fitted per item to training cells and poststratified.

The composite likelihood treats cells as independent, although respondents belong to several, and weights them by effective
answers. The covariates of a cell are the means over its respondents: an attribute that the cell does not use enters as its
distribution in the cell.

- `additive`: proportional odds for ordinal and binary items (McCullagh 1980), fitted as one logistic regression on the
  K - 1 indicators "at most code k" with common effects and separate thresholds; multinomial logit for nominal items.
- `additive-multinomial`: multinomial logit for all items.
"""

from __future__ import annotations

import numpy as np

from valuestrata.respondents.baselines.cell_models.cells import Observed, TrainingCells, tabulated
from valuestrata.respondents.baselines.cell_models.validation import Tables, choose
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Floats, Predictor
from valuestrata.stats.arrays import Indices
from valuestrata.stats.newton import newton

# Prior variances of effects on the logit scale (C in scikit-learn), in order of decreasing shrinkage.
VARIANCES = (0.01, 0.03, 0.1, 0.3, 1.0)
# Threshold columns have this value, so the penalty hardly affects thresholds.
THRESHOLD_SCALE = 30.0
# Largest gradient of the mean loss at convergence. With 1e-4, the default of scikit-learn, shares are wrong by up to .001.
TOLERANCE = 1e-6
# Singular values below this part of the largest are rounding errors.
SMALLEST_SIZE = 1e-10
# Answers with the pooled shares added to each cell. A code without answers would be left out of the model.
PSEUDO_ANSWERS = 0.5


def fit_additive(gold: TrainingGold) -> Predictor:
    """Proportional odds for ordinal and binary items, multinomial logit for nominal ones."""
    return _fit(gold, ordered=True)


def fit_additive_multinomial(gold: TrainingGold) -> Predictor:
    """Multinomial logit for every item."""
    return _fit(gold, ordered=False)


def _fit(gold: TrainingGold, *, ordered: bool) -> Predictor:
    def fitted(cells: TrainingCells, variance: float) -> Tables:
        return _tables(cells, variance, ordered=ordered)

    variance = choose(gold, VARIANCES, fitted)
    return tabulated(gold, fitted(gold.once(TrainingCells.of), variance), variance=variance)


def _tables(cells: TrainingCells, variance: float, *, ordered: bool) -> Tables:
    found = joint_shares(cells, variance, ordered=ordered)
    return cells.poststratify(lambda item: found[item])


def joint_shares(cells: TrainingCells, variance: float, *, ordered: bool) -> dict[str, Floats]:
    """Return item -> shares in the joint cells to predict, shape (cells, K). Items with as many codes are fitted together.

    Args:
        cells: the training cells. variance: prior variance of an effect.
        ordered: proportional odds for ordinal and binary items.
    """
    gold = cells.gold
    asked = cells.centred(gold.joint)
    trained = cells.centred(gold.trained_joint)
    covariates = np.array([weights @ trained for weights in cells.mixture.values()])
    row = {subgroup: place for place, subgroup in enumerate(cells.mixture)}
    alike: dict[tuple[int, bool], list[str]] = {}
    for item in cells.items:
        by_odds = ordered and gold.level[item] != "nominal"
        alike.setdefault((len(gold.codes[item]), by_odds), []).append(item)
    found: dict[str, Floats] = {}
    for (options, by_odds), items in alike.items():
        # A subgroup without answers to an item has no weight in its fit.
        shares, answers = np.full((len(items), len(row), options), 1.0 / options), np.zeros((len(items), len(row)))
        for place, item in enumerate(items):
            seen = cells.observed[item]
            rows = [row[subgroup] for subgroup in seen.subgroups]
            shares[place, rows], answers[place, rows] = smoothed(seen)
        fit = proportional_odds if by_odds else multinomial
        found |= zip(items, fit(covariates, shares, answers, asked, variance), strict=True)
    return found


def proportional_odds(covariates: Floats, shares: Floats, answers: Floats, asked: Floats, variance: float) -> Floats:
    """Return the shares predicted by the proportional-odds model of each item, shape (items, rows, K).

    Args:
        covariates: shape (subgroups, effects). shares: observed shares, shape (items, subgroups, K).
        answers: weights of the subgroups, shape (items, subgroups); 0 without answers.
        asked: covariates of the rows to predict, shape (rows, effects). variance: prior variance of an effect.
    """
    from scipy.special import expit

    at_most = np.cumsum(shares, axis=2)[..., :-1]
    space, design = _row_space(covariates)
    effects, ends = design.shape[1], at_most.shape[2]
    weight = answers[..., None] / (answers.sum(axis=1) * ends)[:, None, None]
    penalty = 1.0 / (variance * answers.sum(axis=1) * ends)

    def evaluated(at: Floats, of: Indices) -> tuple[Floats, Floats, Floats]:
        logits = (at[:, :effects] @ design.T)[..., None] + THRESHOLD_SCALE * at[:, None, effects:]
        loss = (weight[of] * (np.logaddexp(0.0, logits) - at_most[of] * logits)).sum(axis=(1, 2))
        wrong = weight[of] * (expit(logits) - at_most[of])
        slope = np.concatenate([wrong.sum(axis=2) @ design, THRESHOLD_SCALE * wrong.sum(axis=1)], axis=1)
        return loss + 0.5 * penalty[of] * np.square(at).sum(axis=1), slope + penalty[of, None] * at, logits

    def curved(logits: Floats, of: Indices) -> Floats:
        below = expit(logits)
        curve = weight[of] * below * (1.0 - below)
        matrix = np.empty((len(of), effects + ends, effects + ends))
        matrix[:, :effects, :effects] = (curve.sum(axis=2) @ _squares(design)).reshape(len(of), effects, effects)
        across = THRESHOLD_SCALE * (design.T @ curve)
        matrix[:, :effects, effects:], matrix[:, effects:, :effects] = across, across.transpose(0, 2, 1)
        matrix[:, effects:, effects:] = THRESHOLD_SCALE**2 * curve.sum(axis=1)[:, None] * np.eye(ends)
        return matrix + penalty[of, None, None] * np.eye(effects + ends)

    def original(slope: Floats) -> Floats:
        return np.concatenate([slope[:, :effects] @ space.T, slope[:, effects:]], axis=1)

    at = newton(evaluated, curved, original, np.zeros((len(shares), effects + ends)), TOLERANCE)
    below = expit((at[:, :effects] @ (asked @ space).T)[..., None] + THRESHOLD_SCALE * at[:, None, effects:])
    edges = np.concatenate([np.zeros_like(below[..., :1]), below, np.ones_like(below[..., :1])], axis=2)
    return np.maximum(np.diff(edges, axis=2), 0.0)


def multinomial(covariates: Floats, shares: Floats, answers: Floats, asked: Floats, variance: float) -> Floats:
    """Return the shares predicted by the multinomial logit model of each item; arguments and result as in `proportional_odds`.

    Effects are those of each code minus their mean over codes; with two codes, those of the second.
    """
    from scipy.special import softmax

    items, _, options = shares.shape
    contrasts = np.array([[0.0], [1.0]]) if options == 2 else np.linalg.svd(np.ones((1, options)))[2][1:].T
    space, effects = _row_space(covariates)
    design = np.concatenate([effects, np.ones((len(effects), 1))], axis=1)
    width, free = design.shape[1], options - 1
    weight = answers / answers.sum(axis=1, keepdims=True)
    penalised = np.append(np.ones(width - 1), 0.0)
    penalty = penalised / (variance * answers.sum(axis=1))[:, None, None]
    both = _squares(design)

    def evaluated(at: Floats, of: Indices) -> tuple[Floats, Floats, Floats]:
        effect = at.reshape(-1, free, width)
        logits = design @ effect.transpose(0, 2, 1) @ contrasts.T
        logits = logits - logits.max(axis=2, keepdims=True)
        log_shares = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
        loss = -(weight[of][..., None] * shares[of] * log_shares).sum(axis=(1, 2))
        likely = np.exp(log_shares)
        wrong = weight[of][..., None] * (likely - shares[of]) @ contrasts
        slope = wrong.transpose(0, 2, 1) @ design + penalty[of] * effect
        return loss + 0.5 * (penalty[of] * np.square(effect)).sum(axis=(1, 2)), slope.reshape(len(at), -1), likely

    def curved(likely: Floats, of: Indices) -> Floats:
        projected = likely @ contrasts
        inner = np.einsum("isk,ka,kb->iabs", likely, contrasts, contrasts, optimize=True)
        inner -= np.einsum("isa,isb->iabs", projected, projected)
        matrix = ((inner * weight[of][:, None, None]) @ both).reshape(-1, free, free, width, width).transpose(0, 1, 3, 2, 4)
        matrix = matrix.reshape(len(of), free * width, free * width)
        matrix[:, np.arange(free * width), np.arange(free * width)] += np.tile(penalty[of][:, 0], free)
        return matrix

    def original(slope: Floats) -> Floats:
        by_code = contrasts @ slope.reshape(-1, free, width)
        return np.concatenate([by_code[..., :-1] @ space.T, by_code[..., -1:]], axis=2).reshape(len(slope), -1)

    at = newton(evaluated, curved, original, np.zeros((items, free * width)), TOLERANCE).reshape(items, free, width)
    rows = np.concatenate([asked @ space, np.ones((len(asked), 1))], axis=1)
    return np.asarray(softmax(rows @ at.transpose(0, 2, 1) @ contrasts.T, axis=2), dtype=np.float64)


def smoothed(seen: Observed) -> tuple[Floats, Floats]:
    """Return the shares, shape (subgroups, K), and the number of answers, shape (subgroups,), with `PSEUDO_ANSWERS` added."""
    n_eff = seen.n_eff[:, None] + PSEUDO_ANSWERS
    return (seen.shares * seen.n_eff[:, None] + PSEUDO_ANSWERS * seen.pooled) / n_eff, n_eff[:, 0]


def _row_space(covariates: Floats) -> tuple[Floats, Floats]:
    """Return an orthonormal basis of the rows, shape (effects, rank), and the covariates in it, shape (subgroups, rank).

    Under a quadratic penalty, effects outside of this space are 0.
    """
    _, sizes, basis = np.linalg.svd(covariates, full_matrices=False)
    space = basis[sizes > SMALLEST_SIZE * max(sizes, default=0.0)].T
    return space, covariates @ space


def _squares(design: Floats) -> Floats:
    """Return the products of all pairs of columns, shape (rows, columns * columns)."""
    return (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
