"""The method `shares`: one slope, and one offset per option, for each number of options and scale type.

    logit of option k = slope * log(share of the model) + offset_k

Slopes and offsets are fitted to the gold shares of training pairs. See `scales` for what scales have in common, `regression` for the
weights of pairs, and `penalties` for the choice of the penalties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from valuestrata.calibration.methods.pairs import (
    PSEUDO_COUNTS,
    AnsweredPairs,
    answered_pairs,
    items_by_scale,
    log_shares,
    scale_of,
)
from valuestrata.calibration.methods.penalties import ChosenPenalties, choose_penalties
from valuestrata.calibration.methods.regression import ScaleBlock, fitted, loss, overdispersion, softmax
from valuestrata.calibration.methods.scales import ItemScale, ScaleParameters, needed
from valuestrata.calibration.model_answers import ModelAnswers
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.stats.arrays import Floats


@dataclass(frozen=True)
class CalibratedShares:
    """A fitted predictor; it predicts pairs that the model answered.

    Attributes:
        gold, answers: what it was fitted to. parameters, theta: the regression. pseudo_count: see `pairs.log_shares`.
        penalty: of each parameter. overdispersion: see `regression`. settings: see `settings_of`.
    """

    gold: TrainingGold
    answers: ModelAnswers
    parameters: ScaleParameters
    theta: Floats
    pseudo_count: float
    penalty: Floats
    overdispersion: float
    settings: Mapping[str, object]

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the calibrated shares of a pair, shape (K,), scale order, sum 1; KeyError if the model did not answer it."""
        scale, pair = scale_of(self.gold, item), (item, subgroup)
        logs = log_shares(self.answers.shares[pair], self.answers.n[pair], self.pseudo_count)
        return softmax(self.parameters.slopes(scale, self.theta)[0] * logs + self.parameters.offsets(scale, self.theta))


def fit_shares(gold: TrainingGold, answers: ModelAnswers) -> CalibratedShares:
    """Fit slopes and offsets to the training pairs that the model answered."""
    pairs = answered_pairs(gold, answers)
    count, rho = pseudo_count_of(pairs)
    parameters = ScaleParameters.of(items_by_scale(pairs), 1)
    chosen = choose_penalties(parameters, blocks_of(pairs, parameters, count), rho, np.zeros(parameters.size))
    settings = settings_of(gold, pairs, parameters, chosen) | {"pseudo_count": count, "overdispersion": rho}
    penalty = parameters.penalty(chosen.slopes, chosen.offsets)
    return CalibratedShares(gold, answers, parameters, chosen.theta, count, penalty, rho, settings)


def blocks_of(pairs: Mapping[ItemScale, AnsweredPairs], parameters: ScaleParameters, pseudo_count: float) -> list[ScaleBlock]:
    """Return the blocks of the regression, one for each scale."""
    return [
        ScaleBlock(
            parameters.design(scale, log_shares(own.model, own.responses, pseudo_count)[:, :, None]),
            parameters.columns(scale),
            own.shares,
            own.answers,
            own.group,
        )
        for scale, own in pairs.items()
    ]


def pseudo_count_of(pairs: Mapping[ItemScale, AnsweredPairs]) -> tuple[float, float]:
    """Return the pseudo-count that fits training best, with one slope for all scales, and the overdispersion with it."""
    common = ScaleParameters.of({}, 1)
    penalty, theta = common.penalty(1.0, 1.0), np.zeros(common.size)
    rho, least, best = 0.0, np.inf, PSEUDO_COUNTS[0]
    for place, count in enumerate(PSEUDO_COUNTS):
        blocks = blocks_of(pairs, common, count)
        theta = fitted(blocks, penalty, rho, theta)
        if place == 0:
            rho = overdispersion(blocks, theta)
            theta = fitted(blocks, penalty, rho, theta)
        if (found := loss(blocks, theta, rho)) < least:
            least, best = found, count
    return best, rho


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
