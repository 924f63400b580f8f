"""Training counts of an item pooled over subgroups."""

from __future__ import annotations

import numpy as np

from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Floats


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
