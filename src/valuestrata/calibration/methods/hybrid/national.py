"""Population shares of unseen items from a model's answers and from texts.

Log shares log((s + FLOOR) / (1 + K FLOOR)), centred within the item, are a sum of polynomials of the position on the scale.
Each coefficient is regressed over items by a Gaussian process, so a degree has its own variances and items with other numbers of
options help. Inputs are the coefficients of the model's answers (linear, and a Gaussian kernel for curvature), those predicted by
`item-text`, the texts of question and labels, the topic and the number of options.

Predictions of held-out groups of items have a closed form (Rasmussen and Williams 2006, section 5.4.2, for groups instead of
single items). They choose the weight of this regression in a mixture with `item-text`. It has weight 0 unless the mixture is
better than `item-text` by more than one standard error over topics (the one-standard-error rule, Breiman et al. 1984), and the
regression better than the same regression without the model by more than two, because its variances were estimated on the same
items. Nominal items have no position: the log shares of an option
are a multiple of the model's plus a multiple of those of `item-text`, with a weight of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from valuestrata.calibration.methods.scales import orthogonal_polynomials
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.item_models.embeddings import embed_texts, tf_idf
from valuestrata.respondents.baselines.item_models.item_text import FLOOR, SEED, ItemText, score_error, trained_shares
from valuestrata.respondents.baselines.item_models.kernel_regression import Variances, fit_variances
from valuestrata.respondents.baselines.item_models.kernels import QUESTION_WIDTH, centred_directions
from valuestrata.respondents.baselines.pooling import item_folds
from valuestrata.respondents.baselines.predictor import as_shares
from valuestrata.splits.schemes import ITEM_FOLDS
from valuestrata.stats.arrays import Floats, Indices, softmax

# Polynomials of higher degree are averages over items with as many options.
DEGREES = 4
# Candidate weights of the regression in the mixture.
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Smallest number of training items that the model answered, for ordinal and binary items together, and for nominal items.
MIN_ITEMS = 10
# Largest number of items used to estimate variances.
VARIANCE_ITEMS = 300
DRAWS = 256
# Added to the model's shares before the logarithm: small, because a confident model differs in its smallest shares.
MODEL_FLOOR = 0.005
LEAST_SHARE = 1e-4
# Standard errors by which the regression must be better than without the model.
WITHOUT_ERRORS = 2.0
# Penalty of the regression of nominal items, in items.
NOMINAL_PENALTY = 1.0


@dataclass(frozen=True)
class NationalHybrid:
    """The regression of population shares on the model.

    Attributes:
        logits: unseen item -> draws of log shares, shape (draws, K); items that the model did not answer, and those of a kind with
            weight 0, are absent.
        weight: kind of item (`scale` for ordinal and binary items, `nominal`) -> weight of the regression in the mixture.
        remarks: kind -> why it has weight 0, if that was not chosen by held-out items.
        gain: kind -> part of the error of `item-text` in held-out items that the mixture saves.
    """

    logits: Mapping[str, Floats] = field(default_factory=dict[str, Floats])
    weight: Mapping[str, float] = field(default_factory=dict[str, float])
    remarks: Mapping[str, str] = field(default_factory=dict[str, str])
    gain: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Guess:
    """Predicted log shares of one item. held_out: of a training item. draws: shape (draws, K), equally likely."""

    held_out: bool
    draws: Floats

    @property
    def shares(self) -> Floats:
        """Mean shares, shape (K,)."""
        return softmax(self.draws).mean(axis=0)


@dataclass(frozen=True)
class Inputs:
    """What the regression of one kind of items uses.

    Attributes:
        gold, text: the training gold, and `item-text` fitted to it.
        national, model: item -> gold shares of the population, and those of the model, shape (K,).
        trained, asked: items with gold, and items to predict.
    """

    gold: TrainingGold
    text: ItemText
    national: Mapping[str, Floats]
    model: Mapping[str, Floats]
    trained: Sequence[str]
    asked: Sequence[str]

    @cached_property
    def of_text(self) -> dict[str, Floats]:
        """Item -> shares that `item-text` predicts, shape (K,); those of training items from the other folds."""
        return {item: self.text.held_out[item] for item in self.trained} | {item: _mean_shares(self.text, item) for item in self.asked}

    @cached_property
    def kernels_without_model(self) -> list[Floats]:
        """The kernels that do not depend on the model (see `_kernels`)."""
        return _kernels_without_model(self)


def fit_national(gold: TrainingGold, text: ItemText, model: Mapping[str, Floats]) -> NationalHybrid:
    """Fit the regression and choose its weight.

    Args:
        gold: the training gold. text: `item-text` fitted to it. model: item -> the model's population shares, shape (K,).
    """
    national = {item: shares for item, shares in trained_shares(gold).items() if item in model}
    logits: dict[str, Floats] = {}
    weight: dict[str, float] = {}
    remarks: dict[str, str] = {}
    gain: dict[str, float] = {}
    for kind in ("scale", "nominal"):
        nominal = kind == "nominal"
        trained = [item for item in national if (gold.level[item] == "nominal") == nominal and item in text.held_out]
        asked = [item for item in gold.codes if (gold.level[item] == "nominal") == nominal and item in model and item not in national]
        if not asked:
            continue
        weight[kind] = 0.0
        if len(trained) < MIN_ITEMS:
            remarks[kind] = f"{len(trained)} training items with answers of the model; a regression needs {MIN_ITEMS}."
            continue
        inputs = Inputs(gold, text, national, model, trained, asked)
        predict = _nominal if nominal else _scales
        with_model, without = (predict(inputs, used) for used in (True, False))
        losses = _losses(inputs, with_model, without)
        place = chosen(losses[:, :-1], losses[:, -1], _blocks(gold, trained))
        weight[kind] = WEIGHTS[place]
        if place > 0:
            before = float(losses[:, 0].sum())
            gain[kind] = round(1.0 - float(losses[:, place].sum()) / before, 4) if before > 0 else 0.0
            logits |= {item: with_model[item].draws for item in asked}
    return NationalHybrid(logits, weight, remarks, gain)


def mixed(text: ItemText, found: NationalHybrid, level: Mapping[str, str]) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return draws of log shares and their weights, as in `ItemText`, of the mixture of both."""
    draws, weights = dict(text.national), dict(text.weights)
    for item, own in found.logits.items():
        weight = found.weight["nominal" if level[item] == "nominal" else "scale"]
        draws[item] = np.vstack([text.national[item], own])
        weights[item] = np.concatenate([(1.0 - weight) * text.weights[item], np.full(len(own), weight / len(own))])
    return draws, weights


def chosen(losses: Floats, without: Floats, block: Indices) -> int:
    """Return the column with the least loss, or 0 if it is not better by more than one and two standard errors (see the module).

    Args:
        losses: losses of items, shape (items, weights), from weight 0 to weight 1. without: losses of the same regression without
            the model, shape (items,). block: block of each item, shape (items,).
    """
    best = int(losses.sum(axis=0).argmin())
    better = exceeds_error(losses[:, 0] - losses[:, best], block) and exceeds_error(without - losses[:, -1], block, WITHOUT_ERRORS)
    return best if best > 0 and better else 0


def exceeds_error(gain: Floats, block: Indices, errors: float = 1.0) -> bool:
    """Return whether the sum of gains, shape (n,), is positive and above a number of standard errors over blocks."""
    sums = np.bincount(block, gain)
    if len(sums) < 2:
        return False
    return float(sums.sum()) > max(errors * float(sums.std(ddof=1)) * np.sqrt(len(sums)), 1e-9)


def _blocks(gold: TrainingGold, items: Sequence[str]) -> Indices:
    """Return the topic of each item as a number; the number of the item where topics are fewer than the folds."""
    numbers = {topic: i for i, topic in enumerate(dict.fromkeys(gold.topic[item] for item in items))}
    return np.array([numbers[gold.topic[item]] for item in items]) if len(numbers) >= ITEM_FOLDS else np.arange(len(items))


def _losses(inputs: Inputs, with_model: Mapping[str, Guess], without: Mapping[str, Guess]) -> Floats:
    rows: list[list[float]] = []
    for item in inputs.trained:
        nominal, truth = inputs.gold.level[item] == "nominal", inputs.national[item]
        own, base = with_model[item].shares, inputs.of_text[item]
        mixtures = [weight * own + (1.0 - weight) * base for weight in WEIGHTS]
        rows.append([score_error(shares - truth, nominal=nominal) for shares in (*mixtures, without[item].shares)])
    return np.array(rows)


def logs(shares: Floats, floor: float) -> Floats:
    """Return centred log((s + floor) / (1 + K floor)), shape (..., K)."""
    found = np.log(shares + floor)
    return found - found.mean(axis=-1, keepdims=True)


def unfloored(values: Floats) -> Floats:
    """Return logarithms of the shares whose `logs` with `FLOOR` are `values`, shape (..., K)."""
    options = values.shape[-1]
    return np.log(as_shares(np.maximum(softmax(values) * (1.0 + options * FLOOR) - FLOOR, LEAST_SHARE)))


def coefficients(shares: Sequence[Floats], floor: float) -> Floats:
    """Return the coefficients of the polynomials in the log shares of items, shape (items, DEGREES); 0 for missing degrees."""
    found = np.zeros((len(shares), DEGREES))
    for row, own in zip(found, shares, strict=True):
        basis = orthogonal_polynomials(len(own), DEGREES)
        row[: len(basis)] = basis @ logs(own, floor) / len(own)
    return found


def _scales(inputs: Inputs, use_model: bool) -> dict[str, Guess]:
    """Return the predictions for ordinal and binary items: those of training items from the other folds."""
    gold, national, trained = inputs.gold, inputs.national, inputs.trained
    items = [*trained, *inputs.asked]
    n, options = len(trained), np.array([len(gold.codes[item]) for item in items])
    kernels = _kernels(inputs, use_model)
    targets = coefficients([national[item] for item in trained], FLOOR)
    fold_of = {item: f for f, fold in enumerate(item_folds(gold, trained)) for item in fold}
    fold = np.array([fold_of[item] for item in trained])
    mean, variance = np.zeros((len(items), DEGREES)), np.zeros((len(items), DEGREES))
    for degree in range(min(DEGREES, int(options.max()) - 1)):
        has = np.flatnonzero(options > degree + 1)
        mean[has, degree], variance[has, degree] = _regressed(
            kernels[:, has[:, None], has], targets[has[has < n], degree], fold[has[has < n]]
        )
    details = [_detail(national[item]) for item in trained]
    half = np.random.default_rng(SEED).standard_normal((DRAWS // 2, DEGREES))
    z = np.concatenate([half, -half])
    found: dict[str, Guess] = {}
    for row, item in enumerate(items):
        others = [details[i] for i in range(n) if len(details[i]) == options[row] and (row >= n or fold[i] != fold[row])]
        detail = np.sum(others, axis=0) / (len(others) + 1) if others and options[row] > DEGREES + 1 else 0.0
        basis = orthogonal_polynomials(int(options[row]), DEGREES)
        drawn = (mean[row] + np.sqrt(variance[row]) * z)[:, : len(basis)] @ basis
        found[item] = Guess(row < n, unfloored(drawn + detail))
    return found


def _detail(shares: Floats) -> Floats:
    """Return the part of the log shares that polynomials up to `DEGREES` leave, shape (K,)."""
    values, basis = logs(shares, FLOOR), orthogonal_polynomials(len(shares), DEGREES)
    return values - (basis @ values / len(shares)) @ basis


def _mean_shares(text: ItemText, item: str) -> Floats:
    return text.weights[item] @ softmax(text.national[item])


def _kernels(inputs: Inputs, use_model: bool) -> Floats:
    """Return the kernels over items, shape (kernels, items, items), each of mean diagonal 1 over the training items or left out."""
    n, kernels = len(inputs.trained), list(inputs.kernels_without_model)
    if use_model:
        of_model = coefficients([inputs.model[item] for item in (*inputs.trained, *inputs.asked)], MODEL_FLOOR)
        model = of_model - of_model[:n].mean(axis=0)
        inner = model @ model.T
        size = np.diag(inner)
        distance = np.maximum(size[:, None] + size[None, :] - 2.0 * inner, 0.0)
        typical = float(np.median(distance[:n, :n][~np.eye(n, dtype=bool)]))
        kernels += [inner, np.exp(-distance / (2.0 * typical)) if typical > 0 else np.zeros_like(inner)]
    sizes = [float(np.trace(kernel[:n, :n])) / n for kernel in kernels]
    return np.array([kernel / size for kernel, size in zip(kernels, sizes, strict=True) if size > 1e-9])


def _kernels_without_model(inputs: Inputs) -> list[Floats]:
    """Return the kernels over items from scales, topics, texts and the predictions of `item-text`."""

    def same(groups: Sequence[object]) -> Floats:
        numbers = {group: i for i, group in enumerate(dict.fromkeys(groups))}
        of = np.array([numbers[group] for group in groups])
        return np.equal.outer(of, of).astype(np.float64)

    gold, items = inputs.gold, [*inputs.trained, *inputs.asked]
    labels = [" | ".join(gold.labels[item]) for item in items]
    embedded = embed_texts([*(gold.question[item] for item in items), *labels]).vectors
    asked, meant, words = (centred_directions(v) for v in (embedded[: len(items)], embedded[len(items) :], tf_idf(labels)))
    of_text = coefficients([inputs.of_text[item] for item in items], FLOOR)
    text = of_text - of_text[: len(inputs.trained)].mean(axis=0)
    return [
        np.ones((len(items), len(items))),
        same([len(gold.codes[item]) for item in items]),
        same([gold.labels[item] for item in items]),
        same([gold.topic[item] for item in items]),
        np.exp((asked @ asked.T - 1.0) / QUESTION_WIDTH),
        np.exp((meant @ meant.T - 1.0) / QUESTION_WIDTH),
        words @ words.T,
        text @ text.T,
    ]


def _regressed(kernels: Floats, targets: Floats, fold: Indices) -> tuple[Floats, Floats]:
    """Return mean and variance of all items; those of the first, with targets, from the other folds.

    Args:
        kernels: shape (kernels, items, items). targets, fold: of the first items.
    """
    n = len(targets)
    if n < MIN_ITEMS:
        middle = float(targets.mean()) if n else 0.0
        return np.full(kernels.shape[1], middle), np.full(kernels.shape[1], float(targets.var()) if n else 0.0)
    some = np.arange(n) if n <= VARIANCE_ITEMS else np.sort(np.random.default_rng(SEED).choice(n, VARIANCE_ITEMS, replace=False))
    found: Variances = fit_variances(list(kernels[:, some[:, None], some]), targets[some, None])
    total = np.tensordot(found.kernels, kernels, axes=1)
    inverse = np.linalg.inv(total[:n, :n] + found.noise * np.eye(n))
    solved, across = inverse @ targets, total[n:, :n]
    mean = np.concatenate([np.zeros(n), across @ solved])
    variance = np.concatenate([np.zeros(n), np.diag(total)[n:] - np.einsum("ij,jk,ik->i", across, inverse, across, optimize=True)])
    variance[n:] += found.noise
    for one in np.unique(fold):
        own = np.flatnonzero(fold == one)
        block = np.linalg.inv(inverse[np.ix_(own, own)])
        mean[own] = targets[own] - block @ solved[own]
        variance[own] = np.diag(block)
    return mean, np.maximum(variance, 0.0)


def _nominal(inputs: Inputs, use_model: bool) -> dict[str, Guess]:
    """Return the predictions for nominal items: those of training items from the other folds."""

    def features(item: str) -> Floats:
        return np.stack([logs(inputs.of_text[item], FLOOR), *([logs(inputs.model[item], FLOOR)] if use_model else [])], axis=1)

    products: dict[str, tuple[Floats, Floats]] = {}
    for item in inputs.trained:
        x, y = features(item), logs(inputs.national[item], FLOOR)
        products[item] = (x.T @ x / len(y), x.T @ y / len(y))

    def slopes(kept: Sequence[str]) -> Floats:
        squares = np.sum([products[item][0] for item in kept], axis=0)
        penalty = NOMINAL_PENALTY * max(float(np.trace(squares)) / len(squares) / max(len(kept), 1), 1e-9)
        return np.linalg.solve(squares + penalty * np.eye(len(squares)), np.sum([products[item][1] for item in kept], axis=0))

    found: dict[str, Guess] = {}
    for fold in item_folds(inputs.gold, inputs.trained):
        kept = [item for item in inputs.trained if item not in fold]
        found |= {item: Guess(True, unfloored((features(item) @ slopes(kept))[None])) for item in fold if kept}
    slope = slopes(inputs.trained)
    found |= {item: Guess(False, unfloored((features(item) @ slope)[None])) for item in inputs.asked}
    return found
