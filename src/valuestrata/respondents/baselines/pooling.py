"""What a nation answers, from the cells that train."""

from __future__ import annotations

import numpy as np

from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Floats


def pooled(gold: TrainingGold, item: str) -> Floats:
    """Return the item's (weighted) training counts pooled over the single-attribute stratum with most respondents.

    Where no single-attribute stratum trains on the item, all its training counts are pooled instead; without any, the
    counts are zeros.
    """
    pairs = pooled_pairs(gold, item)
    return np.sum([gold.counts[pair] for pair in pairs], axis=0) if pairs else np.zeros(len(gold.codes[item]))


def pooled_pairs(gold: TrainingGold, item: str) -> list[tuple[str, str]]:
    """Return the training pairs that `pooled` adds up."""
    trained = [[(item, s) for s in subgroups if (item, s) in gold.counts] for subgroups in gold.singles.values()]
    largest = max(trained, key=lambda pairs: sum(gold.n[pair] for pair in pairs), default=[])
    return largest or [(item, s) for s in gold.subgroups_of.get(item, ())]
