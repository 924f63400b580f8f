"""Unseen items where training has too few items for a regression: the method `shares`, or `item-text`.

Groups of items are held out in turn, and `shares` is used if its error in them is lower by more than one standard error over items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.calibration.methods.hybrid.national import exceeds_error
from valuestrata.calibration.methods.shares import CalibratedShares, fit_shares
from valuestrata.calibration.model_answers import ModelAnswers, Pair
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.item_models.item_text import ItemText, fit_item_text, score_error
from valuestrata.respondents.baselines.pooling import item_folds
from valuestrata.respondents.baselines.predictor import as_shares

# With fewer training items, no choice can be made.
LEAST_ITEMS = 3


@dataclass(frozen=True)
class FewItems:
    """`shares` for unseen items of some kinds.

    Attributes:
        shares: the fitted method, or None if no kind uses it. items: the unseen items that it predicts.
        pairs: the pairs that the model answered.
    """

    shares: CalibratedShares | None = None
    items: frozenset[str] = frozenset()
    pairs: frozenset[Pair] = frozenset()


def fit_few(gold: TrainingGold, answers: ModelAnswers, kinds: Mapping[str, Sequence[str]]) -> FewItems:
    """Return `shares` for the unseen items of the kinds in which it is better than `item-text`.

    Args:
        gold: the training gold. answers: the model's answers. kinds: kind with too few items -> its training and unseen items.
    """
    trained = [
        item for item in gold.codes if item in gold.subgroups_of and any((item, s) in answers.shares for s in gold.subgroups_of[item])
    ]
    used = {kind: [item for item in items if item in trained] for kind, items in kinds.items()}
    if not any(len(items) >= LEAST_ITEMS for items in used.values()):
        return FewItems()
    gain = dict.fromkeys(trained, 0.0)
    for fold in item_folds(gold, trained):
        kept = gold.of_items([item for item in gold.subgroups_of if item not in fold])
        if not fold or not any(pair in answers.shares for pair in kept.counts):
            continue
        calibrated, text = fit_shares(kept, answers), _text(kept)
        for pair in (pair for pair in gold.counts if pair[0] in fold and pair in answers.shares):
            truth, nominal = as_shares(gold.counts[pair]), gold.level[pair[0]] == "nominal"
            errors = [score_error(one.shares(*pair) - truth, nominal=nominal) for one in (text, calibrated)]
            gain[pair[0]] += errors[0] - errors[1]
    chosen: list[str] = []
    for kind, items in used.items():
        if len(items) >= LEAST_ITEMS and exceeds_error(np.array([gain[item] for item in items]), np.arange(len(items))):
            chosen += [item for item in kinds[kind] if item not in gold.subgroups_of]
    return FewItems(fit_shares(gold, answers), frozenset(chosen), frozenset(answers.shares)) if chosen else FewItems()


def _text(gold: TrainingGold) -> ItemText:
    return gold.once(fit_item_text)
