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

# Prior variances of effects on the logit scale (C in scikit-learn), in order of decreasing shrinkage.
VARIANCES = (0.01, 0.03, 0.1, 0.3, 1.0)
# Threshold columns have this value, so the penalty hardly affects thresholds.
THRESHOLD_SCALE = 30.0
# Largest gradient of the mean loss at convergence. With the default of scikit-learn, 1e-4, shares are wrong by up to .001.
TOLERANCE = 1e-6
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
    return tabulated(gold, fitted(TrainingCells.of(gold), variance), variance=variance)


def _tables(cells: TrainingCells, variance: float, *, ordered: bool) -> Tables:
    gold = cells.gold
    asked = cells.centred(gold.joint)
    trained = cells.centred(gold.trained_joint)
    covariates = {subgroup: weights @ trained for subgroup, weights in cells.mixture.items()}

    def shares_of(item: str) -> Floats:
        seen = cells.observed[item]
        of_cells = np.array([covariates[s] for s in seen.subgroups])
        by_odds = ordered and gold.level[item] != "nominal"
        return (proportional_odds if by_odds else multinomial)(of_cells, seen, asked, variance)

    from sklearn import config_context

    # Checking the input of thousands of small fits would take longer than fitting.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return cells.poststratify(shares_of)


def proportional_odds(covariates: Floats, seen: Observed, asked: Floats, variance: float) -> Floats:
    """Return the shares predicted by the proportional-odds model, shape (rows, K).

    Args:
        covariates: shape (subgroups, effects). seen: the observed shares of the subgroups.
        asked: covariates of the rows to predict, shape (rows, effects). variance: prior variance of an effect.
    """
    from sklearn.linear_model import LogisticRegression

    shares, n_eff = _smoothed(seen)
    ends = shares.shape[1] - 1
    at_most = np.cumsum(shares, axis=1)[:, :-1].T.ravel()
    answers = np.tile(n_eff, ends)
    design = _with_thresholds(covariates, ends)
    model = LogisticRegression(C=variance, solver="newton-cholesky", tol=TOLERANCE, fit_intercept=False)
    truth = np.repeat([1, 0], len(design))
    model.fit(np.vstack([design, design]), truth, sample_weight=np.concatenate([answers * at_most, answers * (1.0 - at_most)]))
    below = model.predict_proba(_with_thresholds(asked, ends))[:, 1].reshape(ends, -1).T
    edges = np.hstack([np.zeros((len(below), 1)), below, np.ones((len(below), 1))])
    return np.asarray(np.maximum(np.diff(edges, axis=1), 0.0), dtype=np.float64)


def _with_thresholds(covariates: Floats, ends: int) -> Floats:
    thresholds = np.kron(np.eye(ends), np.ones((len(covariates), 1))) * THRESHOLD_SCALE
    return np.asarray(np.hstack([np.tile(covariates, (ends, 1)), thresholds]), dtype=np.float64)


def multinomial(covariates: Floats, seen: Observed, asked: Floats, variance: float) -> Floats:
    """Return the shares predicted by the multinomial logit model, shape (rows, K); arguments as in `proportional_odds`."""
    from sklearn.linear_model import LogisticRegression

    shares, n_eff = _smoothed(seen)
    options = shares.shape[1]
    model = LogisticRegression(C=variance, solver="newton-cholesky", tol=TOLERANCE)
    codes = np.repeat(np.arange(options), len(covariates))
    model.fit(np.tile(covariates, (options, 1)), codes, sample_weight=(shares * n_eff[:, None]).T.ravel())
    return np.asarray(model.predict_proba(asked), dtype=np.float64)


def _smoothed(seen: Observed) -> tuple[Floats, Floats]:
    n_eff = seen.n_eff[:, None] + PSEUDO_ANSWERS
    return (seen.shares * seen.n_eff[:, None] + PSEUDO_ANSWERS * seen.pooled) / n_eff, n_eff[:, 0]
