"""What the training items say on average: the answer to an item of which nothing is known but its scale."""

from __future__ import annotations

import numpy as np

from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.pooling import pooled
from valuestrata.respondents.baselines.predictor import Floats, PerPair, Predictor, as_shares


def fit_item_average(gold: TrainingGold) -> Predictor:
    """The average distribution of the other training items with as many codes, whoever is asked.

    An item's own counts never enter, even where it trains: the baseline means the same in every split. Subgroups are
    pooled, since an average over other items says little of how a subgroup departs on this one (on the 2012 General
    Social Survey the average within the subgroup is no nearer to the gold).
    """
    national = {item: as_shares(counts) for item in gold.codes if (counts := pooled(gold, item)).sum() > 0}
    of_item = {item: average_shares(gold, item, national) for item in gold.codes}
    return PerPair(lambda item, _: of_item[item])


def national_shares(gold: TrainingGold) -> dict[str, Floats]:
    """Return item -> pooled training shares; those of `item-average` for an item that nothing trained on."""
    known = {item: as_shares(counts) for item in gold.codes if (counts := pooled(gold, item)).sum() > 0}
    return {item: known[item] if item in known else average_shares(gold, item, known) for item in gold.codes}


def average_shares(gold: TrainingGold, item: str, national: dict[str, Floats]) -> Floats:
    """Return the mean shares of the other items of `national`, on an item's scale: shape (K,), scale order, sum 1.

    Items with as many codes are averaged, ordered ones (ordinal and binary) apart from nominal ones. Where an ordered
    item has none, all ordered items are averaged by relative position: the share of code k of K is spread evenly over
    [k/K, (k+1)/K]. Codes of nominal items have no position: without any such item every code is equally likely.

    Args:
        gold: levels of measurement and codes. item: the item asked about.
        national: item -> its shares over everyone, of the items that train.
    """
    options = len(gold.codes[item])
    nominal = gold.level[item] == "nominal"
    alike = [shares for other, shares in national.items() if other != item and (gold.level[other] == "nominal") == nominal]
    as_long = [shares for shares in alike if len(shares) == options]
    if as_long:
        return np.mean(as_long, axis=0)
    if nominal or not alike:
        return np.full(options, 1.0 / options)
    return np.mean([rescaled(shares, options) for shares in alike], axis=0)


def rescaled(shares: Floats, options: int) -> Floats:
    """Return shares on a scale of another length, the share of code k of K spread evenly over [k/K, (k+1)/K]."""
    reached = np.concatenate([[0.0], np.cumsum(shares)])
    at = np.arange(options + 1) / options
    return np.diff(np.interp(at, np.arange(len(shares) + 1) / len(shares), reached))
