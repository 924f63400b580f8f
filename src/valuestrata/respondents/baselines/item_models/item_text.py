"""The baseline for unseen items: shares predicted from text, scale and topic by Gaussian process regression.

Log shares u = log(s + FLOOR), centred within the item, are regressed on the kernels of `kernels` twice: the national shares,
and the deviations of each attribute level from them. The deviation of a subgroup is the sum over its levels. Kernel weights
maximise the marginal likelihood of the training items. The shares of an unseen item are the mean of softmax(u) over its
predictive distribution.

The prediction is a mixture of the regression and the average of the items. Its weight is the one that predicts held-out
training topics best (stacking, Wolpert 1992).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.item_models.item_average import average_shares, fit_item_average
from valuestrata.respondents.baselines.item_models.kernel_regression import fit_variances, predict
from valuestrata.respondents.baselines.item_models.kernels import ItemKernels, item_kernels
from valuestrata.respondents.baselines.pooling import item_folds, pooled
from valuestrata.respondents.baselines.predictor import Floats, as_shares
from valuestrata.stats.arrays import softmax

__all__ = ["ItemText", "fit_item_average", "fit_item_text"]

# Added to a share before taking its logarithm.
FLOOR = 0.02
# Number of respondents that the national shares count as when the shares of a level are shrunk toward them.
LEVEL_PRIOR = 20.0
NATIONAL = ("shape", "position", "label", "position-question", "label-question", "scale", "topic", "item")
DEVIATIONS = ("shape", "label", "position-question", "label-question", "scale", "topic", "item")
# Candidate weights of the text regression in the mixture.
TRUST = (0.0, 0.25, 0.5, 0.75, 1.0)
# Smallest number of training items for a regression.
MIN_ITEMS = 2
# Largest number of items used to estimate variances, which takes time cubic in the number of options.
VARIANCE_ITEMS = 120
DRAWS = 256
SEED = 0


@dataclass(frozen=True)
class ItemText:
    """A fitted predictor.

    Attributes:
        national: item -> draws of national u, shape (draws, K); a single row for a training item.
        weights: item -> weight of each draw, shape (draws,), sum 1.
        deviations: item -> deviation of each level, shape (K, levels).
        of_subgroup: subgroup -> indicators of its levels, shape (levels,).
        settings: embedding method, draws, seed and mixture weight, part of the identity of a run.
        variances: regression -> estimated weight of each kernel and noise variance.
        held_out: training item -> shares predicted while its fold was held out, shape (K,). Empty where no item is unseen, or
            training has too few items.
    """

    national: Mapping[str, Floats]
    weights: Mapping[str, Floats]
    deviations: Mapping[str, Floats]
    of_subgroup: Mapping[str, Floats]
    settings: Mapping[str, object]
    variances: Mapping[str, Mapping[str, float]]
    held_out: Mapping[str, Floats]

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the predicted shares of an item in a subgroup, shape (K,), scale order, sum 1."""
        return self.shifted(item, subgroup, 0.0)

    def shifted(self, item: str, subgroup: str, shift: Floats | float) -> Floats:
        """Return the shares with `shift`, shape (K,), added to the logits of a subgroup."""
        logits = self.national[item] + self.deviations[item] @ self.of_subgroup[subgroup] + shift
        return self.weights[item] @ softmax(logits)


def fit_item_text(gold: TrainingGold) -> ItemText:
    """Regress answers on item texts, as described in the module docstring.

    A training item keeps its pooled shares, and only its deviations are smoothed. With fewer than two training items, unseen
    items get the average of the items.
    """
    national = trained_shares(gold)
    unseen = [item for item in gold.codes if item not in national]
    kernels = gold.once(item_kernels)
    trained = kernels.rows_of(list(national))
    draws: dict[str, Floats] = {item: np.log(np.maximum(shares, 1e-9))[None] for item, shares in national.items()}
    variances: dict[str, Mapping[str, float]] = {}
    settings: dict[str, object] = {"embedding": kernels.method, "draws": DRAWS, "seed": SEED}
    levels, level_gold = _deviations(gold, national)
    deviations = {item: np.zeros((len(rows), len(levels))) for item, rows in kernels.rows.items()}
    weights = {item: np.ones(1) for item in gold.codes}
    held_out: dict[str, Floats] = {}
    if unseen:
        trust = settings["trust"] = _trust(gold, kernels, national, held_out)
        drawn: dict[str, Floats] = {}
        if trust > 0:
            variances["national"] = _predict_national(kernels, national, unseen, drawn)
        for item in unseen:
            of_text = drawn.get(item, np.zeros((0, len(gold.codes[item]))))
            draws[item] = np.vstack([of_text, np.log(np.maximum(average_shares(gold, item, national), 1e-9))])
            weights[item] = np.append(np.full(len(of_text), trust / max(len(of_text), 1)), 1.0 - trust)
    if levels and len(national) >= MIN_ITEMS:
        variances["deviations"] = _predict_deviations(kernels, level_gold, trained, deviations)
    column = {level: i for i, level in enumerate(levels)}
    of_subgroup = {s: np.zeros(len(levels)) for s in gold.levels}
    for subgroup, own_levels in gold.levels.items():
        of_subgroup[subgroup][[column[level] for level in own_levels.items() if level in column]] = 1.0
    return ItemText(draws, weights, deviations, of_subgroup, settings, variances, held_out)


def trained_shares(gold: TrainingGold) -> dict[str, Floats]:
    """Return training item -> pooled shares, in the order of the data set."""
    return {item: as_shares(counts) for item in gold.codes if (counts := pooled(gold, item)).sum() > 0}


def with_departures(gold: TrainingGold, fitted: ItemText, departures: Mapping[tuple[str, str], Floats]) -> ItemText:
    """Return a fit whose deviations are what is left of those in the gold after `departures` are subtracted.

    Args:
        gold: the training gold. fitted: its fit. departures: (item, subgroup) -> known part of the deviation, shape (K,).
    """
    national, kernels = trained_shares(gold), gold.once(item_kernels)
    levels, level_gold = _deviations(gold, national, departures)
    if not levels or len(national) < MIN_ITEMS:
        return fitted
    deviations: dict[str, Floats] = {}
    found = _predict_deviations(kernels, level_gold, kernels.rows_of(list(national)), deviations)
    return replace(fitted, deviations=deviations, variances={**fitted.variances, "deviations": found})


def _deviations(
    gold: TrainingGold, national: Mapping[str, Floats], known: Mapping[tuple[str, str], Floats] | None = None
) -> tuple[list[tuple[str, str]], Floats]:
    """Return the training levels and their deviations: rows of the training items in order, one column per level.

    `known` deviations of pairs are subtracted.
    """
    of_level = {next(iter(gold.levels[s].items())): s for subgroups in gold.singles.values() for s in subgroups}
    levels = {level: s for level, s in of_level.items() if any((item, s) in gold.counts for item in national)}
    columns: list[Floats] = []
    for subgroup in levels.values():
        parts: list[Floats] = []
        for item, pooled_shares in national.items():
            deviation = np.zeros(len(pooled_shares))
            counts = gold.counts.get((item, subgroup))
            if counts is not None and counts.sum() > 0:
                n = gold.n_eff[item, subgroup]
                shrunk = (n * as_shares(counts) + LEVEL_PRIOR * pooled_shares) / (n + LEVEL_PRIOR)
                deviation = np.log(shrunk + FLOOR) - np.log(pooled_shares + FLOOR)
                if known is not None:
                    deviation -= known.get((item, subgroup), 0.0)
            parts.append(deviation - deviation.mean())
        columns.append(np.concatenate(parts))
    return list(levels), np.stack(columns, axis=1) if columns else np.zeros((0, 0))


def _trust(gold: TrainingGold, kernels: ItemKernels, national: Mapping[str, Floats], predicted: dict[str, Floats]) -> float:
    """Return the weight in `TRUST` that predicts the national shares of held-out items best; the smallest wins a tie.

    The shares predicted with this weight are added to `predicted`.
    """
    loss = np.zeros(len(TRUST))
    mixed: dict[str, list[Floats]] = {}
    for held_out in item_folds(gold, list(national)):
        kept = {item: shares for item, shares in national.items() if item not in held_out}
        if len(kept) < MIN_ITEMS:
            return TRUST[0]
        drawn: dict[str, Floats] = {}
        _predict_national(kernels, kept, held_out, drawn)
        for item in held_out:
            likely = np.exp(drawn[item] - drawn[item].max(axis=1, keepdims=True))
            of_text = (likely / likely.sum(axis=1, keepdims=True)).mean(axis=0)
            average = average_shares(gold, item, kept)
            mixed[item] = [trust * of_text + (1.0 - trust) * average for trust in TRUST]
            loss += [score_error(shares - national[item], nominal=gold.level[item] == "nominal") for shares in mixed[item]]
    best = int(loss.argmin())
    predicted |= {item: shares[best] for item, shares in mixed.items()}
    return TRUST[best]


def score_error(error: Floats, *, nominal: bool) -> float:
    """Return the ranked probability score of an error of shares, shape (K,); the Brier score if the item is nominal."""
    return float(error @ error) if nominal else float(np.square(np.cumsum(error)).sum() / (len(error) - 1))


def _predict_national(
    kernels: ItemKernels, national: Mapping[str, Floats], unseen: Sequence[str], draws: dict[str, Floats]
) -> dict[str, float]:
    """Add draws of national u of `unseen` items, shape (DRAWS, K), to `draws`; return the variances."""
    trained = kernels.rows_of(list(national))
    logs = [np.log(shares + FLOOR) for shares in national.values()]
    targets = np.concatenate([log - log.mean() for log in logs])[:, None]
    asked = kernels.rows_of(unseen)
    (mean, covariance), variances = _regress(kernels, NATIONAL, targets, trained, asked)
    row = np.cumsum(asked) - 1
    for item in unseen:
        own = row[kernels.rows[item]]
        values, directions = np.linalg.eigh(covariance[np.ix_(own, own)])
        root = directions * np.sqrt(np.clip(values, 0.0, None))
        # One random stream per item, so draws do not depend on the other items; draws are antithetic.
        drawn = np.random.default_rng([SEED, len(own)]).standard_normal((DRAWS // 2, len(own))) @ root.T
        draws[item] = mean[own, 0] + np.concatenate([drawn, -drawn])
    return variances


def _predict_deviations(
    kernels: ItemKernels, targets: Floats, trained: NDArray[np.bool_], deviations: dict[str, Floats]
) -> dict[str, float]:
    all_rows = np.ones(len(trained), dtype=bool)
    (mean, _), variances = _regress(kernels, DEVIATIONS, targets, trained, all_rows)
    for item, rows in kernels.rows.items():
        deviations[item] = mean[rows]
    return variances


def _regress(
    kernels: ItemKernels, names: tuple[str, ...], targets: Floats, trained: NDArray[np.bool_], asked: NDArray[np.bool_]
) -> tuple[tuple[Floats, Floats], dict[str, float]]:
    used = [name for name in names if name in kernels.of]
    chosen = _sample_rows(kernels, trained)
    among = [kernels.of[name][np.ix_(chosen, chosen)] for name in used]
    found = fit_variances(among, targets[chosen[trained]])
    rounded = {name: round(float(value), 6) for name, value in zip(used, found.kernels, strict=True)} | {"noise": round(found.noise, 6)}
    return predict([kernels.of[name] for name in used], found, targets, trained, asked), rounded


def _sample_rows(kernels: ItemKernels, trained: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask of the rows used to estimate variances: those of at most VARIANCE_ITEMS training items, drawn by seed."""
    items = [item for item, rows in kernels.rows.items() if trained[rows[0]]]
    if len(items) <= VARIANCE_ITEMS:
        return trained
    return kernels.rows_of([items[i] for i in np.random.default_rng(SEED).choice(len(items), VARIANCE_ITEMS, replace=False)])
