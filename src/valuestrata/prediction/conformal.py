"""Intervals that hold over questions: conformal prediction with blocks of questions as exchangeable units.

Questions of one battery resemble each other, so a new question is exchangeable with those of another block, not with each answer to
them. The nonconformity score of a number is |found - predicted| / scale, with the scale of `error_model`. The quantile is that of the
pooled distribution of scores in which every block has the same weight, and every question within a block (Dunn, Wasserman and Ramdas
2023, Distribution-free prediction sets for two-layer hierarchical models, JASA 118:2491-2502).

**Level.** With B blocks, the quantile at (1 - alpha)(B + 1) / B of the pooled distribution covers a question of a new block with
probability at least 1 - alpha (Lee, Barber and Willett 2023, Distribution-free inference with hierarchical data, arXiv 2306.06342). It
is exact where the scores of a block are all the same, and too wide where blocks differ little. The level used is the smallest one from
1 - alpha up to this limit at which questions of a left-out group are covered 1 - alpha of the time on average, by the quantile of the
other groups. Groups are the folds of the backtest.

**Sizes of subgroups.** Each class of sizes has a quantile of its own, if it occurs in at least half of the units; others have that of all
classes.

**Few blocks.** Below (1 - alpha) / alpha blocks the limit is infinite: no number of questions of so few blocks shows how far another
block may be. Items are the units then, and the intervals hold for questions that resemble those of the survey's blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.prediction.error_model import ErrorModel, Predicted, fit_error_model
from valuestrata.stats.arrays import Bools, Floats, Indices

# Share of numbers that an interval covers.
CONFIDENCE = 0.9
_LEVELS = 60


@dataclass(frozen=True)
class HeldOutRows:
    """Held-out predictions, in rows, with what was found.

    Attributes:
        predicted: the predictions. found: what the survey found, shape (rows,).
        unit: exchangeable unit of each row, 0..B-1. item: item of each row. group: fold in which it was held out. size: class of
            subgroup sizes. All of shape (rows,).
    """

    predicted: Predicted
    found: Floats
    unit: Indices
    item: Indices
    group: Indices
    size: Indices

    @property
    def weight(self) -> Floats:
        """Weight of each row, shape (rows,): units sum to 1, items of a unit are equal, and rows of an item."""
        return weights_within(self.unit, self.item)

    def rows(self, chosen: Bools) -> HeldOutRows:
        """Return some rows."""
        unit, item, group, size = (part[chosen] for part in (self.unit, self.item, self.group, self.size))
        return HeldOutRows(self.predicted.rows(chosen), self.found[chosen], unit, item, group, size)


@dataclass(frozen=True)
class Conformal:
    """A fitted error model and the quantiles of its scores.

    Attributes:
        error: the error model. quantile: class of subgroup sizes -> quantile, shape (classes,); infinite with too few units.
        level: class -> level of that quantile, shape (classes,).
        units: number of exchangeable units.
    """

    error: ErrorModel
    quantile: Floats
    level: Floats
    units: int

    def ends(self, predicted: Predicted, size: Indices) -> tuple[Floats, Floats]:
        """Return the ends of the intervals within [0, 1], shape (rows,); `size` is the class of each row."""
        reach = self.quantile[size] * self.error.scale(predicted)
        return np.clip(predicted.value - reach, 0.0, 1.0), np.clip(predicted.value + reach, 0.0, 1.0)


def fit_conformal(held_out: HeldOutRows, classes: int, confidence: float = CONFIDENCE) -> Conformal:
    """Return the conformal intervals that held-out predictions support.

    Args:
        held_out: the predictions. classes: number of classes of subgroup sizes. confidence: share of numbers to cover.
    """
    difference = held_out.found - held_out.predicted.value
    error = fit_error_model(held_out.predicted, difference, held_out.weight)
    score = np.abs(difference) / error.scale(held_out.predicted)
    units = len(np.unique(held_out.unit))
    everything = np.ones(len(score), dtype=np.bool_)
    masks = [everything, *(held_out.size == one for one in range(classes))]
    found: list[tuple[float, float]] = []
    for mask in masks:
        # A class that is missing in most units has the quantile of all classes.
        enough = 2 * len(np.unique(held_out.unit[mask])) >= units
        parts = [column[mask] for column in (held_out.unit, held_out.item, held_out.group)]
        own = hierarchical_quantile(score[mask], parts[0], parts[1], parts[2], confidence) if enough else found[0]
        found.append(own if np.isfinite(own[0]) else found[0] if found else own)
    quantile, level = np.array(found[1:]).T
    return Conformal(error, quantile, level, units)


def hierarchical_quantile(score: Floats, unit: Indices, item: Indices, group: Indices, confidence: float) -> tuple[float, float]:
    """Return the quantile of scores that covers a question of a new unit, and its level; infinite with too few units.

    Args:
        score: shape (rows,). unit, item: of each row; units have equal weights. group: left out together. confidence: 1 - alpha.
    """
    weight = weights_within(unit, item)
    number = len(np.unique(unit))
    most = confidence * (number + 1) / number
    if most > 1 + 1e-12:
        return np.inf, 1.0
    level = _adapted_level(score, weight, group, np.linspace(confidence, min(most, 1.0), _LEVELS), confidence)
    return float(weighted_quantile(score, weight, np.array([level]))[0]), level


def _adapted_level(score: Floats, weight: Floats, group: Indices, levels: Floats, confidence: float) -> float:
    """Return the smallest of the levels that covers left-out groups; the last if none does, or there is only one group."""
    groups = np.unique(group)
    if len(groups) < 2:
        return float(levels[-1])
    order = np.argsort(score, kind="stable")
    sorted_score, sorted_weight, sorted_group = score[order], weight[order], group[order]
    covered = np.zeros(len(levels))
    for one in groups:
        out = sorted_group == one
        bounds = _quantile_of_sorted(sorted_score[~out], sorted_weight[~out], levels)
        below = np.concatenate([[0.0], np.cumsum(sorted_weight[out])])
        covered += below[np.searchsorted(sorted_score[out], bounds, side="right")]
    enough = covered / weight.sum() >= confidence - 1e-9
    return float(levels[enough.argmax()] if enough.any() else levels[-1])


def weighted_quantile(values: Floats, weight: Floats, levels: Floats) -> Floats:
    """Return the smallest values below or at which at least `levels` of the weight lies, shape (levels,)."""
    order = np.argsort(values, kind="stable")
    return _quantile_of_sorted(values[order], weight[order], levels)


def _quantile_of_sorted(values: Floats, weight: Floats, levels: Floats) -> Floats:
    cumulative = np.cumsum(weight)
    place = np.searchsorted(cumulative, np.minimum(levels, 1.0) * cumulative[-1] * (1 - 1e-12), side="left")
    return values[np.minimum(place, len(values) - 1)]


def weights_within(unit: Indices, item: Indices) -> Floats:
    """Return weights of rows: units sum to 1, items of a unit have equal weights, and so have rows of an item."""
    items, of_item, rows = np.unique(item, return_inverse=True, return_counts=True)
    unit_of = np.zeros(len(items), dtype=np.intp)
    unit_of[of_item] = unit
    _, number = np.unique(unit_of, return_inverse=True)
    inside = np.bincount(number)
    return 1.0 / (rows[of_item] * inside[number[of_item]])


def units_of_items(blocks: list[str], confidence: float = CONFIDENCE) -> tuple[Indices, bool]:
    """Return the exchangeable unit of each item, and whether the units are blocks rather than items.

    Args:
        blocks: name of the block of each item. confidence: blocks are the units if they are enough for an interval at this level.
    """
    _, block = np.unique(np.array(blocks), return_inverse=True)
    number = int(block.max(initial=-1)) + 1
    by_block = number >= confidence / (1 - confidence) - 1e-9
    return (block.astype(np.intp), True) if by_block else (np.arange(len(blocks), dtype=np.intp), False)
