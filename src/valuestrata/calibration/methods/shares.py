"""The method `shares`: one slope, and one offset per option, for each number of options and scale type.

    logit of option k = slope * log(share of the model) + offset_k

Slopes and offsets are fitted to the gold shares of training pairs. See `scales` for what scales have in common, `regression` for the
weights of pairs, and `penalties` for the choice of the penalties. Other methods use the same regression with more features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from valuestrata.calibration.methods.pairs import (
    PSEUDO_COUNTS,
    AnswerArrays,
    AnsweredPairs,
    answered_pairs,
    items_by_scale,
    population_answers,
    scale_of,
)
from valuestrata.calibration.methods.penalties import ChosenPenalties, choose_penalties
from valuestrata.calibration.methods.regression import ScaleBlock, design_effect, fitted, loss, overdispersion
from valuestrata.calibration.methods.scales import ItemScale, ScaleParameters, needed, position_terms
from valuestrata.calibration.model_answers import ModelAnswers
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.stats.arrays import Floats, softmax

Features = Callable[[AnswerArrays, float], Floats]
"""Answers of the model and pseudo-count -> features with a slope, shape (n, K, F)."""


@dataclass(frozen=True)
class CalibratedShares:
    """A fitted regression as a predictor; it predicts pairs that the model answered.

    Attributes:
        gold, answers, population: what it was fitted to. features: of the answers.
        pairs: the training pairs. blocks: the same as blocks of the regression.
        parameters, theta: the regression. pseudo_count: see `pairs.log_shares`.
        penalty: of each parameter, shape (D,). overdispersion, design_effect: rho and phi of `regression`.
        settings: see `settings_of`.
        effects: subgroup -> deviations of its slopes, shape (F,), and position terms, shape (2,), joined.
    """

    gold: TrainingGold
    answers: ModelAnswers
    population: ModelAnswers
    features: Features
    pairs: Mapping[ItemScale, AnsweredPairs]
    blocks: tuple[ScaleBlock, ...]
    parameters: ScaleParameters
    theta: Floats
    pseudo_count: float
    penalty: Floats
    overdispersion: float
    design_effect: float
    settings: Mapping[str, object]
    effects: Mapping[str, Floats] = field(default_factory=dict[str, Floats])

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the calibrated shares of a pair, shape (K,), scale order, sum 1; KeyError if the model did not answer it."""
        scale = scale_of(self.gold, item)
        values = self.features(AnswerArrays.of([(item, subgroup)], self.answers, self.population), self.pseudo_count)[0]
        slopes, offsets = self.parameters.slopes(scale, self.theta), self.parameters.offsets(scale, self.theta)
        if (effect := self.effects.get(subgroup)) is not None:
            size = self.parameters.features
            # The factor of a departure is at least 0.
            slopes = np.concatenate([slopes[:1] + effect[:1], np.maximum(slopes[1:] + effect[1:size], 0.0)])
            offsets = offsets + position_terms(scale) @ effect[size:]
        return softmax(values @ slopes + offsets)


def fit_shares(gold: TrainingGold, answers: ModelAnswers) -> CalibratedShares:
    """Fit slopes and offsets to the training pairs that the model answered."""
    return fit_regression(gold, answers, AnswerArrays.logs, 1)


def fit_regression(gold: TrainingGold, answers: ModelAnswers, features: Features, size: int) -> CalibratedShares:
    """Fit the regression with F = `size` features to the training pairs that the model answered."""
    population = population_answers(gold, answers)
    pairs = answered_pairs(gold, answers, population)
    count, rho, phi = pseudo_count_of(pairs)
    parameters = ScaleParameters.of(items_by_scale(pairs), size)
    blocks = blocks_of(pairs, parameters, count, features)
    chosen = choose_penalties(parameters, blocks, rho, phi, np.zeros(parameters.size))
    settings = settings_of(gold, pairs, parameters, chosen) | {"pseudo_count": count, "overdispersion": rho, "design_effect": phi}
    penalty = parameters.penalty(chosen.slopes, chosen.offsets) * phi
    fit = (parameters, chosen.theta, count, penalty, rho, phi, settings)
    return CalibratedShares(gold, answers, population, features, pairs, tuple(blocks), *fit)


def blocks_of(
    pairs: Mapping[ItemScale, AnsweredPairs], parameters: ScaleParameters, pseudo_count: float, features: Features = AnswerArrays.logs
) -> list[ScaleBlock]:
    """Return the blocks of the regression, one for each scale."""
    return [
        ScaleBlock(
            parameters.design(scale, features(own.model, pseudo_count)), parameters.columns(scale), own.shares, own.answers, own.item
        )
        for scale, own in pairs.items()
    ]


def pseudo_count_of(pairs: Mapping[ItemScale, AnsweredPairs]) -> tuple[float, float, float]:
    """Return the pseudo-count that fits training best, with one slope for all scales; overdispersion and design effect with it."""
    common = ScaleParameters.of({}, 1)
    penalty, theta = common.penalty(1.0, 1.0), np.zeros(common.size)
    rho, least, best, at = 0.0, np.inf, PSEUDO_COUNTS[0], theta
    for place, count in enumerate(PSEUDO_COUNTS):
        blocks = blocks_of(pairs, common, count)
        theta = fitted(blocks, penalty, rho, theta)
        if place == 0:
            rho = overdispersion(blocks, theta)
            theta = fitted(blocks, penalty, rho, theta)
        if (found := loss(blocks, theta, rho)) < least:
            least, best, at = found, count, theta
    return best, rho, design_effect(blocks_of(pairs, common, best), at, penalty, rho)


def settings_of(
    gold: TrainingGold, pairs: Mapping[ItemScale, AnsweredPairs], parameters: ScaleParameters, chosen: ChosenPenalties
) -> dict[str, object]:
    """Return what was fitted, for the identity of a run.

    Returns:
        `scales`: of each scale of the data set, training items and pairs, slope, offsets in scale order, and `fallback` where the
        training items are too few for deviations of their own; `penalty_slopes` and `penalty_offsets`.
    """
    scales: list[dict[str, object]] = []
    for scale in sorted({scale_of(gold, item) for item in gold.codes}):
        own = pairs.get(scale)
        same = sum(other.items for of, other in pairs.items() if of.options == scale.options)
        found: dict[str, object] = {
            "options": scale.options,
            "level": scale.level,
            "items": 0 if own is None else own.items,
            "pairs": 0 if own is None else len(own.pairs),
            "slope": round(float(parameters.slopes(scale, chosen.theta)[0]), 6),
            "offsets": [round(float(one), 6) for one in parameters.offsets(scale, chosen.theta)],
        }
        if scale.options not in parameters.of_options:
            found["fallback"] = {"items": same, "needed": needed(scale.options)}
        scales.append(found)
    return {"scales": scales, "penalty_slopes": chosen.slopes, "penalty_offsets": chosen.offsets}
