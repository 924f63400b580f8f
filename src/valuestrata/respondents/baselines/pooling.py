"""Training counts of an item pooled over subgroups, and groups of items that are held out together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Floats
from valuestrata.splits.schemes import ITEM_FOLDS, deal

SEED = 0


def pooled(gold: TrainingGold, item: str) -> Floats:
    """Return the weighted training counts of an item, pooled over the single-attribute stratum with most respondents.

    Without a single-attribute stratum in training, all training counts are pooled; without training pairs, counts are zero.
    """
    pairs = pooled_pairs(gold, item)
    return np.sum([gold.counts[pair] for pair in pairs], axis=0) if pairs else np.zeros(len(gold.codes[item]))


def pooled_pairs(gold: TrainingGold, item: str) -> list[tuple[str, str]]:
    """Return the training pairs that `pooled` uses."""
    trained = [[(item, s) for s in subgroups if (item, s) in gold.counts] for subgroups in gold.singles.values()]
    largest = max(trained, key=lambda pairs: sum(gold.n[pair] for pair in pairs), default=[])
    return largest or [(item, s) for s in gold.subgroups_of.get(item, ())]


def item_folds(gold: TrainingGold, items: Sequence[str]) -> list[list[str]]:
    """Assign items to folds as the split `unseen-item` does: by topic, or individually if there are too few topics."""
    topics = Counter(gold.topic[item] for item in items)
    by_topic = len(topics) >= ITEM_FOLDS
    groups = deal(topics if by_topic else dict.fromkeys(items, 1), ITEM_FOLDS, seed=SEED)
    return [[item for item in items if (gold.topic[item] if by_topic else item) in group] for group in groups]
