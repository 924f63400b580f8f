"""The baseline for unseen items: what an item's text, scale and topic say of its answers, learnt from the training items.

Shares are taken to the log scale, u = log(s + FLOOR), centred within the item, and regressed on the kernels of
`itemkernels` twice: the shares over everyone, and how each attribute level departs from them. A subgroup's departure is
the sum over its levels. How much each kernel counts is found by marginal likelihood over the training items, in which
topics and answer scales are random effects; no test gold is seen. An unseen item's shares are the mean of softmax(u) over
its predictive distribution: the less its text says, the flatter they are.

A handful of items can make a text look telling that is not. How far the text is trusted is therefore decided by leaving
topics out of the training items, as the split leaves out the test items: the predictive distribution is a mixture of the
regression's and of the items' average, with the weight that predicts left-out items best (stacking: Wolpert 1992).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.item_models.item_average import average_shares, fit_item_average
from valuestrata.respondents.baselines.item_models.kernel_regression import fit_variances, predict
from valuestrata.respondents.baselines.item_models.kernels import ItemKernels, item_kernels
from valuestrata.respondents.baselines.pooling import pooled
from valuestrata.respondents.baselines.predictor import Floats, Predictor, as_shares
from valuestrata.splits.schemes import ITEM_FOLDS, deal

__all__ = ["ItemText", "fit_item_average", "fit_item_text"]

# Added to a share before its logarithm: a share of 0 among some hundred answers is not a share of exactly 0.
FLOOR = 0.02
# A level's shares are shrunk toward everyone's, which count as this many respondents, before their departure is taken.
LEVEL_PRIOR = 20.0
NATIONAL = ("shape", "position", "label", "position-question", "label-question", "scale", "topic", "item")
DEPARTURES = ("shape", "label", "position-question", "label-question", "scale", "topic", "item")
# Weights of the text's mixture with the items' average, the most cautious first.
TRUST = (0.0, 0.25, 0.5, 0.75, 1.0)
# With fewer items than these there is nothing to learn from.
FEWEST_ITEMS = 2
# A handful of variances needs no more items than these, and their estimation takes the cube of the options.
ENOUGH_ITEMS = 120
DRAWS = 256
SEED = 0


@dataclass(frozen=True)
class ItemText:
    """A fitted predictor.

    Attributes:
        everyone: item -> draws of u over everyone, shape (draws, K); a single row for an item that trains.
        weights: item -> how much each draw counts, shape (draws,), sum 1.
        departures: item -> departure of each level, shape (K, levels).
        of_subgroup: subgroup -> which levels it has, shape (levels,).
        settings: what a run's identity must say: what embedded the texts, the draws and their seed.
        variances: of what -> the weight of each kernel and the noise, as estimated.
    """

    everyone: Mapping[str, Floats]
    weights: Mapping[str, Floats]
    departures: Mapping[str, Floats]
    of_subgroup: Mapping[str, Floats]
    settings: Mapping[str, object]
    variances: Mapping[str, Mapping[str, float]]

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the predicted shares of an item's codes in a subgroup, shape (K,), scale order, sum 1."""
        logits = self.everyone[item] + self.departures[item] @ self.of_subgroup[subgroup]
        likely = np.exp(logits - logits.max(axis=1, keepdims=True))
        return self.weights[item] @ (likely / likely.sum(axis=1, keepdims=True))


def fit_item_text(gold: TrainingGold) -> Predictor:
    """Regress answers on item texts; see the module.

    An item that trains keeps its own pooled shares over everyone; the regression then only smooths its departures. Where
    fewer than two items train, an unseen item gets the items' average.
    """
    national = {item: as_shares(counts) for item in gold.codes if (counts := pooled(gold, item)).sum() > 0}
    unseen = [item for item in gold.codes if item not in national]
    kernels = item_kernels(gold)
    trained = kernels.rows_of(list(national))
    everyone: dict[str, Floats] = {item: np.log(np.maximum(shares, 1e-9))[None] for item, shares in national.items()}
    variances: dict[str, Mapping[str, float]] = {}
    settings: dict[str, object] = {"embedding": kernels.method, "draws": DRAWS, "seed": SEED}
    levels, level_gold = _departures(gold, national)
    departures = {item: np.zeros((len(rows), len(levels))) for item, rows in kernels.rows.items()}
    weights = {item: np.ones(1) for item in gold.codes}
    if unseen:
        trust = settings["trust"] = _trust(gold, kernels, national)
        drawn: dict[str, Floats] = {}
        if trust > 0:
            variances["everyone"] = _predict_everyone(kernels, national, unseen, drawn)
        for item in unseen:
            of_text = drawn.get(item, np.zeros((0, len(gold.codes[item]))))
            everyone[item] = np.vstack([of_text, np.log(np.maximum(average_shares(gold, item, national), 1e-9))])
            weights[item] = np.append(np.full(len(of_text), trust / max(len(of_text), 1)), 1.0 - trust)
    if levels and len(national) >= FEWEST_ITEMS:
        variances["departures"] = _predict_departures(kernels, level_gold, trained, departures)
    column = {level: i for i, level in enumerate(levels)}
    of_subgroup = {s: np.zeros(len(levels)) for s in gold.levels}
    for subgroup, its_levels in gold.levels.items():
        of_subgroup[subgroup][[column[level] for level in its_levels.items() if level in column]] = 1.0
    return ItemText(everyone, weights, departures, of_subgroup, settings, variances)


def _departures(gold: TrainingGold, national: Mapping[str, Floats]) -> tuple[list[tuple[str, str]], Floats]:
    """Return the levels that train, and each one's departures: rows of the trained items in order, a column a level."""
    of_level = {next(iter(gold.levels[s].items())): s for subgroups in gold.singles.values() for s in subgroups}
    levels = {level: s for level, s in of_level.items() if any((item, s) in gold.counts for item in national)}
    columns: list[Floats] = []
    for subgroup in levels.values():
        parts: list[Floats] = []
        for item, everyone in national.items():
            apart = np.zeros(len(everyone))
            counts = gold.counts.get((item, subgroup))
            if counts is not None and counts.sum() > 0:
                n = gold.n_eff[item, subgroup]
                shrunk = (n * as_shares(counts) + LEVEL_PRIOR * everyone) / (n + LEVEL_PRIOR)
                apart = np.log(shrunk + FLOOR) - np.log(everyone + FLOOR)
            parts.append(apart - apart.mean())
        columns.append(np.concatenate(parts))
    return list(levels), np.stack(columns, axis=1) if columns else np.zeros((0, 0))


def _trust(gold: TrainingGold, kernels: ItemKernels, national: Mapping[str, Floats]) -> float:
    """Return the weight of the text, of `TRUST`, that predicts the shares over everyone of left-out items best; ties to the least."""
    loss = np.zeros(len(TRUST))
    for left_out in _folds(gold, list(national)):
        kept = {item: shares for item, shares in national.items() if item not in left_out}
        if len(kept) < FEWEST_ITEMS:
            return TRUST[0]
        drawn: dict[str, Floats] = {}
        _predict_everyone(kernels, kept, left_out, drawn)
        for item in left_out:
            likely = np.exp(drawn[item] - drawn[item].max(axis=1, keepdims=True))
            of_text = (likely / likely.sum(axis=1, keepdims=True)).mean(axis=0)
            average = average_shares(gold, item, kept)
            for i, trust in enumerate(TRUST):
                gap = trust * of_text + (1.0 - trust) * average - national[item]
                # Squared distance between cumulative shares (RPS); codes without an order are compared one by one (Brier).
                loss[i] += gap @ gap if gold.level[item] == "nominal" else np.square(np.cumsum(gap)).sum() / (len(gap) - 1)
    return TRUST[int(loss.argmin())]


def _folds(gold: TrainingGold, items: Sequence[str]) -> list[list[str]]:
    """Deal items to folds as the split `unseen-item` does: by topic, or one by one where there are too few topics."""
    topics = Counter(gold.topic[item] for item in items)
    by_topic = len(topics) >= ITEM_FOLDS
    hands = deal(topics if by_topic else dict.fromkeys(items, 1), ITEM_FOLDS, seed=SEED)
    return [[item for item in items if (gold.topic[item] if by_topic else item) in hand] for hand in hands]


def _predict_everyone(
    kernels: ItemKernels, national: Mapping[str, Floats], unseen: Sequence[str], everyone: dict[str, Floats]
) -> dict[str, float]:
    """Put draws of u over everyone of `unseen` items, shape (DRAWS, K), into `everyone`; return the variances."""
    trained = kernels.rows_of(list(national))
    logs = [np.log(shares + FLOOR) for shares in national.values()]
    targets = np.concatenate([log - log.mean() for log in logs])[:, None]
    asked = kernels.rows_of(unseen)
    (mean, covariance), variances = _regress(kernels, NATIONAL, targets, trained, asked)
    row = np.cumsum(asked) - 1
    for item in unseen:
        mine = row[kernels.rows[item]]
        values, directions = np.linalg.eigh(covariance[np.ix_(mine, mine)])
        root = directions * np.sqrt(np.clip(values, 0.0, None))
        # One stream an item, so that its draws do not hang on which others are asked; each draw has its mirror image.
        drawn = np.random.default_rng([SEED, len(mine)]).standard_normal((DRAWS // 2, len(mine))) @ root.T
        everyone[item] = mean[mine, 0] + np.concatenate([drawn, -drawn])
    return variances


def _predict_departures(
    kernels: ItemKernels, targets: Floats, trained: NDArray[np.bool_], departures: dict[str, Floats]
) -> dict[str, float]:
    everything = np.ones(len(trained), dtype=bool)
    (mean, _), variances = _regress(kernels, DEPARTURES, targets, trained, everything)
    for item, rows in kernels.rows.items():
        departures[item] = mean[rows]
    return variances


def _regress(
    kernels: ItemKernels, names: tuple[str, ...], targets: Floats, trained: NDArray[np.bool_], asked: NDArray[np.bool_]
) -> tuple[tuple[Floats, Floats], dict[str, float]]:
    used = [name for name in names if name in kernels.of]
    chosen = _some_items(kernels, trained)
    among = [kernels.of[name][np.ix_(chosen, chosen)] for name in used]
    found = fit_variances(among, targets[chosen[trained]])
    said = {name: round(float(value), 6) for name, value in zip(used, found.kernels, strict=True)} | {"noise": round(found.noise, 6)}
    return predict([kernels.of[name] for name in used], found, targets, trained, asked), said


def _some_items(kernels: ItemKernels, trained: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the rows that variances are estimated on: all trained ones, or those of ENOUGH_ITEMS trained items by seed."""
    items = [item for item, rows in kernels.rows.items() if trained[rows[0]]]
    if len(items) <= ENOUGH_ITEMS:
        return trained
    return kernels.rows_of([items[i] for i in np.random.default_rng(SEED).choice(len(items), ENOUGH_ITEMS, replace=False)])
