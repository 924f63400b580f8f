"""Training pairs that a model answered, as arrays, and the groups of items that are held out together inside training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from valuestrata.calibration.methods.scales import ItemScale
from valuestrata.calibration.model_answers import ModelAnswers, Pair
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.pooling import item_folds
from valuestrata.respondents.baselines.predictor import as_shares
from valuestrata.stats.arrays import Floats, Indices

# Added to the number of answers for an option, before shares become logarithms; one of them is chosen inside training.
PSEUDO_COUNTS = (0.5, 2.0, 0.1, 0.01, 1e-4, 1e-6)


@dataclass(frozen=True)
class AnsweredPairs:
    """Training pairs of one scale that the model answered.

    Attributes:
        scale: their scale. pairs: item and subgroup of each.
        model: shares of the model, shape (n, K). responses: number of responses behind them, shape (n,).
        shares: gold shares, shape (n, K). answers: effective number of answers, shape (n,).
        group: number of the group of items that is held out together, shape (n,).
    """

    scale: ItemScale
    pairs: tuple[Pair, ...]
    model: Floats
    responses: Floats
    shares: Floats
    answers: Floats
    group: Indices

    @property
    def items(self) -> int:
        """Number of items."""
        return len({item for item, _ in self.pairs})


def scale_of(gold: TrainingGold, item: str) -> ItemScale:
    """Return the scale of an item."""
    return ItemScale(len(gold.codes[item]), gold.level[item])


def answered_pairs(gold: TrainingGold, answers: ModelAnswers) -> dict[ItemScale, AnsweredPairs]:
    """Return the training pairs with an answer, by scale, and in the order of the gold."""
    by_scale: dict[ItemScale, list[Pair]] = {}
    for pair in gold.counts:
        if pair in answers.shares:
            by_scale.setdefault(scale_of(gold, pair[0]), []).append(pair)
    items = list(dict.fromkeys(item for pairs in by_scale.values() for item, _ in pairs))
    group = {item: number for number, fold in enumerate(item_folds(gold, items)) for item in fold}
    return {
        scale: AnsweredPairs(
            scale,
            tuple(pairs),
            np.array([answers.shares[pair] for pair in pairs]),
            np.array([answers.n[pair] for pair in pairs], dtype=np.float64),
            as_shares(np.array([gold.counts[pair] for pair in pairs])),
            np.array([gold.n_eff[pair] for pair in pairs]),
            np.array([group[item] for item, _ in pairs], dtype=np.intp),
        )
        for scale, pairs in sorted(by_scale.items())
    }


def log_shares(shares: Floats, responses: Floats | float, pseudo_count: float) -> Floats:
    """Return the logarithms of shares with a pseudo-count per option, centred: log((n p + c) / (n + K c)).

    Args:
        shares: shape (..., K). responses: number n behind them, shape (...). pseudo_count: c, positive.
    """
    n = np.asarray(responses)[..., None]
    logs = np.log((n * shares + pseudo_count) / (n + shares.shape[-1] * pseudo_count))
    return logs - logs.mean(axis=-1, keepdims=True)


def items_by_scale(pairs: Mapping[ItemScale, AnsweredPairs]) -> dict[ItemScale, int]:
    """Return scale -> number of training items."""
    return {scale: own.items for scale, own in pairs.items()}
