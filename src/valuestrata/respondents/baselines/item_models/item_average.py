"""Average shares of training items, as prediction for an item of which only the scale is known."""

from __future__ import annotations

import numpy as np

from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.pooling import pooled
from valuestrata.respondents.baselines.predictor import Floats, PerPair, Predictor, as_shares


def fit_item_average(gold: TrainingGold) -> Predictor:
    """Return the average pooled shares of the other training items with as many codes, for every subgroup.

    The counts of the item itself are never used, so the baseline is the same in every split.
    """
    national = {item: as_shares(counts) for item in gold.codes if (counts := pooled(gold, item)).sum() > 0}
    of_item = {item: average_shares(gold, item, national) for item in gold.codes}
    return PerPair(lambda item, _: of_item[item])


def national_shares(gold: TrainingGold) -> dict[str, Floats]:
    """Return item -> pooled training shares, or those of `item-average` for an item without training pairs."""
    known = {item: as_shares(counts) for item in gold.codes if (counts := pooled(gold, item)).sum() > 0}
    return {item: known[item] if item in known else average_shares(gold, item, known) for item in gold.codes}


def average_shares(gold: TrainingGold, item: str, national: dict[str, Floats]) -> Floats:
    """Return the mean shares of the other items of `national` on the scale of an item: shape (K,), scale order, sum 1.

    Ordinal and binary items, and nominal items, are averaged separately over items with as many codes. Without such an item,
    the mean of an ordinal or binary item is over all scales (`rescaled`), and a nominal item has equal shares.

    Args:
        gold: the training gold. item: the item to predict. national: training item -> pooled shares.
    """
    options = len(gold.codes[item])
    nominal = gold.level[item] == "nominal"
    same_kind = [shares for other, shares in national.items() if other != item and (gold.level[other] == "nominal") == nominal]
    same_length = [shares for shares in same_kind if len(shares) == options]
    if same_length:
        return np.mean(same_length, axis=0)
    if nominal or not same_kind:
        return np.full(options, 1.0 / options)
    return np.mean([rescaled(shares, options) for shares in same_kind], axis=0)


def rescaled(shares: Floats, options: int) -> Floats:
    """Return shares on a scale of another length: the share of code k of K is spread evenly over [k/K, (k+1)/K]."""
    cumulative = np.concatenate([[0.0], np.cumsum(shares)])
    edges = np.arange(options + 1) / options
    return np.diff(np.interp(edges, np.arange(len(shares) + 1) / len(shares), cumulative))
