"""The method `shrunken-persona`: the calibrated answer of the population, plus a part of the persona's departure from it.

    logit of option k = slope * log(P_k) + offset_k + factor * (log(p_k) - log(P_k))

with p the model's shares for the persona and P those for the whole population. The factor is at least 0. It is fitted with slopes and
offsets, and then shrunk by 1 - se^2 / factor^2 (the positive-part estimator of James and Stein 1961 for one value), with the
standard error se clustered by item (Liang and Zeger 1986).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from valuestrata.calibration.methods.pairs import AnswerArrays
from valuestrata.calibration.methods.regression import derivatives, gradients_by_item
from valuestrata.calibration.methods.shares import CalibratedShares, fit_regression
from valuestrata.calibration.model_answers import ModelAnswers
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Predictor

# Place of the factor among the parameters.
FACTOR = 1


def fit_shrunken_persona(gold: TrainingGold, answers: ModelAnswers) -> Predictor:
    """Fit slopes, offsets and the factor to the training pairs that the model answered."""
    return with_factor(gold, answers)


def with_factor(gold: TrainingGold, answers: ModelAnswers) -> CalibratedShares:
    """Return the fit, whose settings have `factor`, `factor_unshrunk` and `factor_se`."""
    fit = fit_regression(gold, answers, AnswerArrays.logs_and_departures, 2)
    raw, error = float(fit.theta[FACTOR]), factor_error(fit)
    factor = max(raw, 0.0) * max(1.0 - (error / raw) ** 2, 0.0) if raw else 0.0
    theta = fit.theta.copy()
    theta[FACTOR] = factor
    settings = {"factor": round(factor, 6), "factor_unshrunk": round(raw, 6), "factor_se": round(error, 6)}
    return replace(fit, theta=theta, settings={**fit.settings, **settings})


def factor_error(fit: CalibratedShares) -> float:
    """Return the standard error of the factor, clustered by item; at least that of independent pairs.

    With J items the variance has the factor J / (J - 1). With a single item, all of its pairs count as one (the design effect).
    """
    hessian = derivatives(fit.blocks, fit.theta, fit.overdispersion).hessian + np.diag(fit.penalty)
    row = np.linalg.inv(hessian)[FACTOR]
    influence = gradients_by_item(fit.blocks, fit.theta, fit.overdispersion) @ row
    items = len(influence)
    if items < 2:
        return float(np.sqrt(row[FACTOR] * fit.design_effect))
    return float(np.sqrt(max(float(influence @ influence) * items / (items - 1), float(row[FACTOR]))))
