"""The method `probe`: a linear readout of a local model's hidden states, added to the answers of the method `shares`.

    logits of a pair = logits of `shares` + sum over j of (readout_j of the hidden state) * basis_j of the options

The readouts are ridge regressions of what `shares` leaves unexplained: the difference of the smoothed log shares of people and of
`shares`, projected on the basis (see `readout`). Weights are those of `regression`. Layer and penalty have the least loss in held-out
groups of items (topics) inside training; `shares` is refitted without the group. An infinite penalty is `shares` itself. It is chosen
unless the best readout is better by more than one standard error over items (the rule of Breiman et al. 1984), so a model whose states
say nothing more is not made worse.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from valuestrata.calibration.hidden_states import PairStates
from valuestrata.calibration.methods.pairs import AnsweredPairs, answered_pairs, scale_of
from valuestrata.calibration.methods.readout import COEFFICIENTS, degrees_of, option_basis, principal_components, ridge
from valuestrata.calibration.methods.regression import ScaleBlock, divergence, fitted, weights
from valuestrata.calibration.methods.scales import ItemScale
from valuestrata.calibration.methods.shares import CalibratedShares, blocks_of, fit_shares
from valuestrata.calibration.model_answers import ModelAnswers, Pair
from valuestrata.errors import OptionText
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.stats.arrays import Bools, Floats, Indices, softmax

# Penalties relative to the trace of the weighted Gram matrix of the components, from strong to weak.
PENALTIES = (np.inf, 10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4)
# Added to the number of answers for each option before shares become logarithms (Haldane 1956).
HALF = 0.5
# Fewest training items for a readout: its penalty is chosen on items that are held out.
MIN_ITEMS = 5
SMALLEST = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Probe:
    """A fitted predictor.

    Attributes:
        base: the method `shares`. rows: pair -> row of `components`. components: of the chosen layer, shape (pairs, q).
        readouts: shape (q, COEFFICIENTS).
        settings: those of `shares`, and `probe`: layer, penalty (None for infinite), gain and its standard error in held-out loss
            relative to that of `shares`, or why there is no readout.
    """

    base: CalibratedShares
    rows: Mapping[Pair, int]
    components: Floats
    readouts: Floats
    settings: Mapping[str, object]

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the predicted shares of a pair, shape (K,), scale order, sum 1; those of `shares` if its state was not read."""
        of_base = self.base.shares(item, subgroup)
        row = self.rows.get((item, subgroup))
        if row is None or not self.readouts.any():
            return of_base
        scale = scale_of(self.base.gold, item)
        logits = np.log(np.maximum(of_base, SMALLEST))[None]
        coefficients = (self.components[row] @ self.readouts)[degrees_of(scale)]
        return softmax(logits + option_basis(scale, logits) @ coefficients)[0]


@dataclass(frozen=True)
class StateComponents:
    """Principal components of the hidden states of pairs.

    Attributes:
        row: (item, subgroup) -> row of the components. numbers: of the layers. layers: components of each, shape (pairs, q).
    """

    row: Mapping[Pair, int]
    numbers: tuple[int, ...]
    layers: tuple[Floats, ...]

    @classmethod
    def of(cls, states: PairStates) -> StateComponents:
        """Return the components of hidden states."""
        layers = (principal_components(states.states[:, place].astype(np.float32)) for place in range(len(states.layers)))
        return cls(states.row, states.layers, tuple(layers))

    def of_items(self, source: Mapping[str, str]) -> StateComponents:
        """Return the components for a control: an item has those of the item `source[item]`, or none if it is absent."""
        pairs = ((item, subgroup) for item, subgroup in self.row if item in source)
        found = {(item, subgroup): self.row.get((source[item], subgroup)) for item, subgroup in pairs}
        return replace(self, row={pair: row for pair, row in found.items() if row is not None})


def fit_probe(gold: TrainingGold, answers: ModelAnswers, states: StateComponents) -> Probe:
    """Fit the readout to the training pairs with an answer and a hidden state."""
    base = fit_shares(gold, answers)
    known = ModelAnswers({pair: shares for pair, shares in answers.shares.items() if pair in states.row}, answers.n)
    training = _Training.of(answered_pairs(gold, known), base, states.row)
    if training.groups < 2 or training.items < MIN_ITEMS:
        why: dict[str, object] = {"layer": None, "penalty": None, "items": training.items, "needed": MIN_ITEMS}
        return Probe(base, states.row, np.zeros((0, 0)), np.zeros((0, COEFFICIENTS)), {**base.settings, "probe": why})
    without = training.parameters_without_each_group()
    candidates = [_Layer.of(training, components) for components in states.layers]
    losses = np.stack([layer.held_out(without) for layer in candidates])
    place, strength = (int(one) for one in np.unravel_index(losses.sum(axis=2).argmin(), losses.shape[:2]))
    gains = losses[0, 0] - losses[place, strength]
    gain, error = float(gains.sum()), float(gains.std(ddof=1) * np.sqrt(len(gains)))
    if gain <= error:
        strength = 0
    total = max(float(losses[0, 0].sum()), SMALLEST)
    chosen: dict[str, object] = {
        "layer": states.numbers[place] if strength else None,
        "penalty": PENALTIES[strength] if strength else None,
        "gain": round(gain / total, 6),
        "error": round(error / total, 6),
    }
    readouts = candidates[place].readouts(base.theta)[strength]
    return Probe(base, states.row, states.layers[place], readouts, {**base.settings, "probe": chosen})


def probe_remarks(settings: Sequence[Mapping[str, Any]]) -> list[OptionText]:
    """Return a message if there is no readout in some folds, given the settings of each fold."""
    found = [one["probe"] for one in settings]
    few = [one["items"] for one in found if "items" in one]
    useless = sum(one["layer"] is None for one in found) - len(few)
    remarks: list[OptionText] = []
    if few:
        remarks.append(
            OptionText(
                f"Hidden states of {min(few)} training items are known, in fewer than two groups or fewer than {MIN_ITEMS} items. The "
                "answers are those of the method `shares`."
            )
        )
    if useless:
        remarks.append(
            OptionText(
                f"In {useless} of {len(found)} folds no readout of the hidden states predicts held-out training items better than the "
                "method `shares` by more than one standard error. The answers are those of `shares` there."
            )
        )
    return remarks


@dataclass(frozen=True)
class _Training:
    """Training pairs of all scales, in one sequence of N pairs.

    Attributes:
        base: the method `shares`. pairs, blocks: the pairs of each scale. parts: of each scale, its place in the sequence.
        rows: row of each pair's state, shape (N,). group: number of the group that is held out together, shape (N,).
        item: number of the item, shape (N,). weight: shape (N,).
        pattern: of each pair, which coefficients it has, as a row of `patterns`, shape (N,). patterns: shape (patterns, COEFFICIENTS).
    """

    base: CalibratedShares
    pairs: tuple[AnsweredPairs, ...]
    blocks: tuple[ScaleBlock, ...]
    parts: tuple[slice, ...]
    rows: Indices
    group: Indices
    item: Indices
    weight: Floats
    pattern: Indices
    patterns: Bools

    @classmethod
    def of(cls, pairs: Mapping[ItemScale, AnsweredPairs], base: CalibratedShares, row: Mapping[Pair, int]) -> _Training:
        """Return the training pairs of a fit; `row`: of the pairs' states."""
        blocks = tuple(blocks_of(pairs, base.parameters, base.pseudo_count))
        ends = np.cumsum([0, *(len(one.pairs) for one in pairs.values())]).tolist()
        listed = [pair for one in pairs.values() for pair in one.pairs]
        number = {item: place for place, item in enumerate(dict.fromkeys(item for item, _ in listed))}
        patterns = np.zeros((len(pairs), COEFFICIENTS), dtype=np.bool_)
        for own, scale in zip(patterns, pairs, strict=True):
            own[degrees_of(scale)] = True
        groups = np.concatenate([np.zeros(0, dtype=np.intp), *(one.group for one in pairs.values())])
        return cls(
            base,
            tuple(pairs.values()),
            blocks,
            tuple(slice(begin, end) for begin, end in itertools.pairwise(ends)),
            np.array([row[pair] for pair in listed], dtype=np.intp),
            np.unique(groups, return_inverse=True)[1],
            np.array([number[item] for item, _ in listed], dtype=np.intp),
            np.concatenate([np.zeros(0), *(weights(block, base.overdispersion) for block in blocks)]),
            np.repeat(np.arange(len(pairs)), np.diff(ends)),
            patterns,
        )

    @property
    def groups(self) -> int:
        """Number of groups."""
        return 1 + int(self.group.max(initial=-1))

    @property
    def items(self) -> int:
        """Number of items."""
        return 1 + int(self.item.max(initial=-1))

    def parameters_without_each_group(self) -> list[Floats]:
        """Return the parameters of `shares` fitted without each group of items."""
        found: list[Floats] = []
        for group in range(self.groups):
            parts = [(block, np.flatnonzero(self.group[part] != group)) for block, part in zip(self.blocks, self.parts, strict=True)]
            kept = [ScaleBlock(b.design[own], b.columns, b.shares[own], b.answers[own], b.item[own]) for b, own in parts if len(own)]
            found.append(fitted(kept, self.base.penalty, self.base.overdispersion, self.base.theta))
        return found

    def targets(self, theta: Floats) -> Floats:
        """Return what `shares` leaves unexplained, as coefficients in the basis, shape (N, COEFFICIENTS)."""
        found = np.zeros((len(self.group), COEFFICIENTS))
        for one, block, part in zip(self.pairs, self.blocks, self.parts, strict=True):
            logits = block.design @ theta[block.columns]
            n, options = block.answers[:, None], one.scale.options
            people, model = (np.log((n * shares + HALF) / (n + options * HALF)) for shares in (block.shares, softmax(logits)))
            found[part, degrees_of(one.scale)] = np.einsum("nkj,nk->nj", option_basis(one.scale, logits), people - model) / options
        return found


@dataclass(frozen=True)
class _Layer:
    """The components of a layer for the training pairs.

    Attributes:
        training: the pairs. features: shape (N, q). grams: weighted Gram matrices, by pattern and group, shape (patterns, groups, q, q).
    """

    training: _Training
    features: Floats
    grams: Floats

    @classmethod
    def of(cls, training: _Training, components: Floats) -> _Layer:
        """Return a layer, given its components for all pairs."""
        features = components[training.rows]
        q = features.shape[1]
        grams = np.zeros((len(training.patterns), training.groups, q, q))
        for pattern, group in itertools.product(range(len(training.patterns)), range(training.groups)):
            own = np.flatnonzero((training.pattern == pattern) & (training.group == group))
            grams[pattern, group] = (features[own] * training.weight[own, None]).T @ features[own]
        return cls(training, features, grams)

    def held_out(self, without: Sequence[Floats]) -> Floats:
        """Return the loss of each item when its group is held out, for each penalty, shape (penalties, items).

        Args:
            without: parameters of `shares` without each group.
        """
        training = self.training
        found = np.zeros((training.items, len(PENALTIES)))
        for group, theta in enumerate(without):
            own = training.group == group
            readouts = self.readouts(theta, group)
            for one, block, part in zip(training.pairs, training.blocks, training.parts, strict=True):
                kept = np.flatnonzero(own[part])
                at = part.start + kept
                coefficients = np.einsum("nq,pqj->npj", self.features[at], readouts[:, :, degrees_of(one.scale)], optimize=True)
                logits = block.design[kept] @ theta[block.columns]
                moved = np.einsum("nkj,npj->npk", option_basis(one.scale, logits), coefficients, optimize=True)
                loss = divergence(block.shares[kept][:, None], softmax(logits[:, None] + moved))
                np.add.at(found, training.item[at], training.weight[at, None] * loss)
        return found.T

    def readouts(self, theta: Floats, without: int | None = None) -> Floats:
        """Return the readouts for each penalty, shape (penalties, q, COEFFICIENTS).

        Args:
            theta: parameters of `shares`. without: group of items that is left out.
        """
        training = self.training
        weight = training.weight * (training.group != without)
        moments = self.features.T @ (weight[:, None] * training.targets(theta))
        groups = [group for group in range(training.groups) if group != without]
        found = np.zeros((len(PENALTIES), self.features.shape[1], COEFFICIENTS))
        # Coefficients that the same pairs have share a decomposition.
        for having in np.unique(training.patterns.T, axis=0):
            if having.any():
                degrees = np.flatnonzero(np.equal(training.patterns.T, having).all(axis=1))
                gram = self.grams[having][:, groups].sum(axis=(0, 1))
                found[:, :, degrees] = ridge(
                    gram, moments[:, degrees], [penalty * max(float(np.trace(gram)), SMALLEST) for penalty in PENALTIES]
                )
        return found
