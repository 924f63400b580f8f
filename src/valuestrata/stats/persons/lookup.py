"""Prediction of a person's answer by the answers of other persons: the item's mode, and the mode of the person's demographic cell.

Persons are divided into F folds at random, and those of a fold are predicted from the others, so no answer predicts itself. For a set
of attributes, the prediction in a cell is the option with the largest weighted count plus m times the share among all others: small
cells lean on the whole sample. Which attributes are used and m are chosen for each item and fold by the agreement in the other folds,
each of which is predicted from the rest. No attribute is used, and the prediction is the mode, unless the gain over the mode exceeds
its standard error, the root of the number of answers that one of both predictions hits (McNemar 1947, Psychometrika 12:153-157; one
standard error as in Breiman et al. 1984, Classification and Regression Trees). Ties go to fewer attributes and the larger m; tied
options to the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Floats, Indices

FOLDS = 5
# Persons that the share among all others counts as, from strong to weak.
PRIORS = (50.0, 10.0, 2.0)
# More attributes than this are not all crossed: only sets of up to three.
_MOST_CROSSED = 5
_NONE = np.int8(-1)
# Numbers of 8 bytes held at once: persons x items x options.
_NUMBERS = 20_000_000


@dataclass(frozen=True)
class PersonPredictions:
    """Predicted option indices, int8, shape (P, I); -1 where nobody else answered the item.

    Attributes:
        mode: the most frequent answer of the others. lookup: the prediction from the person's cell.
    """

    mode: NDArray[np.int8]
    lookup: NDArray[np.int8]


def attribute_sets(attributes: int) -> Iterator[tuple[int, ...]]:
    """Yield the sets of attributes that may form cells, the smallest first."""
    for size in range(1, min(attributes, attributes if attributes <= _MOST_CROSSED else 3) + 1):
        yield from itertools.combinations(range(attributes), size)


def predict_from_others(
    answers: NDArray[np.int8],
    options: Sequence[int],
    levels: NDArray[np.int16],
    weight: Floats,
    rng: np.random.Generator,
    folds: int = FOLDS,
) -> PersonPredictions:
    """Predict each person's answers from those of the persons in the other folds.

    Args:
        answers: shape (P, I), option index; negative where there is none.
        options: number of options of each item. levels: shape (P, A), level of each attribute; -1, unknown, is a level too.
        weight: shape (P,). rng: divides the persons. folds: number of folds; fewer if there are fewer persons.
    """
    persons, items = answers.shape
    folds = min(folds, persons)
    none = np.full(answers.shape, _NONE, dtype=np.int8)
    if folds < 2 or not items:
        return PersonPredictions(none, none)
    fold = rng.permutation(np.arange(persons) % folds)
    widest = int(max(options, default=1))
    weight = weight / weight.mean()
    step = max(1, _NUMBERS // (persons * widest))
    parts = [_predicted(answers[:, at : at + step], widest, levels, weight, fold) for at in range(0, items, step)]
    return PersonPredictions(*(np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("mode", "lookup")))


def _predicted(answers: NDArray[np.int8], widest: int, levels: NDArray[np.int16], weight: Floats, fold: Indices) -> PersonPredictions:
    """Predict some items; `widest` is the largest number of options, and `fold` the fold of each person."""
    items, folds = answers.shape[1], int(fold.max()) + 1
    hot = (answers[:, :, None] == np.arange(widest, dtype=np.int8)) * weight[:, None, None]
    total = _by_cell(hot, fold, folds)
    # Row f: everyone but fold f.
    rest = total.sum(axis=0) - total
    shares = _shares(rest)
    best = np.zeros((folds, items))
    mode = shares.argmax(axis=-1).astype(np.int8)[fold]
    lookup = mode.copy()
    for attributes in attribute_sets(levels.shape[1]):
        cell = np.unique(levels[:, attributes], axis=0, return_inverse=True)[1].reshape(-1)
        cells = int(cell.max()) + 1
        counts = _by_cell(hot, fold * cells + cell, folds * cells).reshape(folds, cells, items, widest)
        whole = counts.sum(axis=0)
        for prior in PRIORS:
            gain = _gain(counts, whole, total, prior)
            better = gain > best + 1e-9
            best = np.where(better, gain, best)
            for f in np.flatnonzero(better.any(axis=1)):
                inside = np.flatnonzero(fold == f)
                found = (whole - counts[f] + prior * shares[f]).argmax(axis=-1).astype(np.int8)[cell[inside]]
                lookup[inside] = np.where(better[f], found, lookup[inside])
    unanswered = (rest.sum(axis=-1) <= 0)[fold]
    return PersonPredictions(np.where(unanswered, _NONE, mode), np.where(unanswered, _NONE, lookup))


def _by_cell(hot: NDArray[np.float64], cell: Indices, cells: int) -> NDArray[np.float64]:
    """Sum rows of shape (P, I, K) by cell, shape (cells, I, K)."""
    order = np.argsort(cell, kind="stable")
    present, starts = np.unique(cell[order], return_index=True)
    found = np.zeros((cells, *hot.shape[1:]))
    found[present] = np.add.reduceat(hot[order], starts, axis=0)
    return found


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)


def _gain(counts: NDArray[np.float64], whole: NDArray[np.float64], total: NDArray[np.float64], prior: float) -> NDArray[np.float64]:
    """Return, for each outer fold and item, how many answers in the other folds the cells predict beyond the mode, shape (F, I).

    0 where this is not more than its standard error.

    Args:
        counts: shape (F, cells, I, K). whole: their sum. total: shape (F, I, K). prior: m.
    """
    folds = len(counts)
    gain, either = (np.zeros((folds, counts.shape[2])) for _ in range(2))
    everyone = total.sum(axis=0)
    for outer, inner in itertools.permutations(range(folds), 2):
        rest = _shares(everyone - total[outer] - total[inner])
        chosen = (whole - counts[outer] - counts[inner] + prior * rest).argmax(axis=-1)[..., None]
        mode = np.broadcast_to(rest.argmax(axis=-1)[..., None], chosen.shape)
        ours, theirs = (np.take_along_axis(counts[inner], option, axis=-1) for option in (chosen, mode))
        gain[outer] += (ours - theirs)[..., 0].sum(axis=0)
        either[outer] += np.where(chosen != mode, ours + theirs, 0.0)[..., 0].sum(axis=0)
    return np.where(gain > np.sqrt(either), gain, 0.0)
