"""What is known of every pair: weighted counts, shares, the mode and how sure it is.

Two engines, both on plain arrays. `count_answers` counts each respondent once per item into joint cells and adds
those up to subgroups. `redraw` resamples all respondents jointly, weights carried, so that overlapping subgroups keep
their covariance; the chance of each code to be the mode, the ceilings and the floors come from these draws. What the
bootstrap cannot see: clustering of interviews (public files seldom carry usable sampling points).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.survey.codebook import Missing

# Counts that differ by less than this share of the largest are a tie: weighted sums carry rounding, real weights do not
# agree to nine digits by chance.
TIE_TOLERANCE = 1e-9
MISSING_CLASSES = len(Missing)

Floats = NDArray[np.float64]


def count_answers(
    answers: NDArray[np.int8],
    joint_of_respondent: NDArray[np.intp],
    joint_cells: int,
    members: Sequence[NDArray[np.intp]],
    options: int,
    weight: Floats | None = None,
) -> Floats:
    """Count (weighted) answers by item, subgroup and option; missing classes are counted beside them.

    Args:
        answers: int8, shape (respondents, items): option index, or -1 .. -5 for a missing class.
        joint_of_respondent: joint cell of each respondent.
        joint_cells: number of joint cells.
        members: for each subgroup the joint cells it consists of.
        options: the largest number of options of any item.
        weight: shape (respondents,), or None to count heads.

    Returns:
        Shape (items, subgroups, 5 + options). Entry [.., 5 + k] is option k; [.., 4] is class -1, ..., [.., 0] class -5.
    """
    bins = MISSING_CLASSES + options
    base = joint_of_respondent * bins + MISSING_CLASSES
    gather = np.concatenate(members) if members else np.empty(0, dtype=np.intp)
    sizes = np.array([len(cells) for cells in members])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
    counts = np.empty((answers.shape[1], len(members), bins))
    index = np.empty_like(base)
    for item in range(answers.shape[1]):
        np.add(base, answers[:, item], out=index)
        joint = np.bincount(index, weights=weight, minlength=joint_cells * bins).reshape(joint_cells, bins)
        counts[item] = np.add.reduceat(joint[gather], starts, axis=0)
    return counts


@dataclass(frozen=True)
class Redraws:
    """What joint redraws of all respondents say of the items that share a number of options K.

    Attributes:
        items: indices of the items, shape (I,).
        p_mode: shape (halves, I, subgroups, K): chance of each option to be the mode, ties shared equally.
        floor_w1, floor_rps: shape (halves, I, subgroups): mean distance of redrawn shares to the gold shares.
        share_se: shape (I, subgroups, K), whole survey.
        modes: int8, shape (I, subgroups, draws), whole survey: option index of the mode, the lowest among ties.
    """

    items: NDArray[np.intp]
    p_mode: Floats
    floor_w1: Floats
    floor_rps: Floats
    share_se: Floats
    modes: NDArray[np.int8]


def redraw(
    answers: NDArray[np.int8],
    options: NDArray[np.intp],
    respondents_of: Sequence[NDArray[np.intp]],
    half: NDArray[np.bool_],
    gold_counts: Floats,
    *,
    draws: int,
    rng: np.random.Generator,
    weight: Floats | None = None,
    advance: Callable[[int], None] = lambda _steps: None,
    chunk: int = 250,
) -> list[Redraws]:
    """Resample the respondents `draws` times and read the mode of every pair in every draw.

    Args:
        answers: int8, shape (respondents, items).
        options: number of options of each item.
        respondents_of: for each subgroup the indices of its respondents.
        half: which half each respondent is in; halves are ordered (all, A = True, B = False) in the results.
        gold_counts: shape (3 halves, items, subgroups, largest K): the weighted counts the draws are compared with.
        draws: number of redraws.
        rng: source of the resampling.
        weight: carried along with each respondent; None counts heads.
        advance: told of each subgroup done in each chunk.
        chunk: draws held in memory at once.

    Returns:
        One `Redraws` for each number of options that occurs, in increasing K. A draw in which a pair has no answer
        counts for nothing in `p_mode` and repeats the gold mode in `modes`.
    """
    people = answers.shape[0]
    groups = [np.flatnonzero(options == k) for k in np.unique(options)]
    sizes = [int(k) for k in np.unique(options)]
    tallies = [_Tally.empty(items, k, len(respondents_of), draws, gold_counts) for items, k in zip(groups, sizes, strict=True)]
    one_hot = [_one_hot(answers[:, items], k) for items, k in zip(groups, sizes, strict=True)]
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        resample = rng.multinomial(people, np.full(people, 1.0 / people), size=size).astype(np.float64)
        if weight is not None:
            resample *= weight
        for subgroup, people_in in enumerate(respondents_of):
            in_a = people_in[half[people_in]]
            in_b = people_in[~half[people_in]]
            for tally, indicators in zip(tallies, one_hot, strict=True):
                shape = (size, tally.options, len(tally.items))
                of_a = (resample[:, in_a] @ indicators[in_a]).reshape(shape)
                of_b = (resample[:, in_b] @ indicators[in_b]).reshape(shape)
                tally.add(subgroup, start, of_a, of_b)
            advance(1)
    return [tally.result() for tally in tallies]


def _one_hot(answers: NDArray[np.int8], options: int) -> Floats:
    # Options before items, so that the tallies below work along long contiguous rows of items.
    hot = answers[:, None, :] == np.arange(options, dtype=np.int8)[:, None]
    return hot.reshape(len(answers), -1).astype(np.float64)


@dataclass
class _Tally:
    """Running sums over chunks of draws, for the items with one number of options."""

    items: NDArray[np.intp]
    options: int
    gold: Floats
    wins: Floats
    valid: Floats
    sum_w1: Floats
    sum_rps: Floats
    share_sum: Floats
    share_squares: Floats
    modes: NDArray[np.int8]

    @classmethod
    def empty(cls, items: NDArray[np.intp], options: int, subgroups: int, draws: int, gold_counts: Floats) -> _Tally:
        shape = (3, len(items), subgroups)
        return cls(
            items=items,
            options=options,
            gold=gold_counts[:, items][..., :options],
            wins=np.zeros((*shape, options)),
            valid=np.zeros(shape),
            sum_w1=np.zeros(shape),
            sum_rps=np.zeros(shape),
            share_sum=np.zeros((*shape[1:], options)),
            share_squares=np.zeros((*shape[1:], options)),
            modes=np.zeros((len(items), subgroups, draws), dtype=np.int8),
        )

    def add(self, subgroup: int, start: int, of_a: Floats, of_b: Floats) -> None:
        """Take in the counts of a chunk, shape (draws, options, items), for both halves of a subgroup."""
        for half, counts in enumerate((of_a + of_b, of_a, of_b)):
            total = counts.sum(axis=1)
            answered = total > 0
            tied = counts >= counts.max(axis=1, keepdims=True) * (1.0 - TIE_TOLERANCE)
            tied &= answered[:, None]
            per_tie = 1.0 / np.maximum(tied.sum(axis=1), 1)
            self.valid[half, :, subgroup] += answered.sum(axis=0)
            self.wins[half, :, subgroup] += np.einsum("dki,di->ik", tied, per_tie)
            gold = self.gold[half, :, subgroup]
            if half == 0:
                modes = np.where(answered, tied.argmax(axis=1), is_mode(gold).argmax(axis=-1))
                self.modes[:, subgroup, start : start + len(modes)] = modes.T
            shares = np.divide(counts, np.where(answered, total, 1.0)[:, None], out=counts)
            if half == 0:
                self.share_sum[:, subgroup] += shares.sum(axis=0).T
                self.share_squares[:, subgroup] += np.einsum("dki,dki->ik", shares, shares)
            self._add_distances(half, subgroup, shares, shares_of(gold).T, answered)

    def _add_distances(self, half: int, subgroup: int, shares: Floats, gold: Floats, answered: NDArray[np.bool_]) -> None:
        """Add W1 and RPS of redrawn to gold shares, summed over draws (`measures.w1` and `rps`, options along axis 1)."""
        shares -= gold
        gap = np.cumsum(shares, axis=1, out=shares)[:, :-1]
        gap *= answered[:, None]
        ends = self.options - 1
        self.sum_w1[half, :, subgroup] += np.abs(gap).sum(axis=(0, 1)) / ends
        self.sum_rps[half, :, subgroup] += np.einsum("dki,dki->i", gap, gap) / ends

    def result(self) -> Redraws:
        valid = np.maximum(self.valid, 1)
        mean = self.share_sum / valid[0][..., None]
        variance = np.maximum(self.share_squares / valid[0][..., None] - mean * mean, 0.0)
        return Redraws(
            items=self.items,
            p_mode=self.wins / valid[..., None],
            floor_w1=self.sum_w1 / valid,
            floor_rps=self.sum_rps / valid,
            share_se=np.sqrt(variance),
            modes=self.modes,
        )


def is_mode(counts: Floats) -> NDArray[np.bool_]:
    """Return which options share the largest count, along the last axis."""
    largest = counts.max(axis=-1, keepdims=True)
    return counts >= largest - TIE_TOLERANCE * np.abs(largest)


def shares_of(counts: Floats) -> Floats:
    """Return counts divided by their sum along the last axis; zeros where the sum is zero."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)


def floor_nmae(p_mode: Floats, mode: NDArray[np.intp]) -> Floats:
    """Expected NMAE of the gold mode against a redrawn mode: sum_k p_mode(k) |k - mode| / (K - 1).

    Args:
        p_mode: shape (..., K). mode: shape (...), option index.
    """
    options = p_mode.shape[-1]
    distance = np.abs(np.arange(options) - mode[..., None]) / (options - 1)
    return (p_mode * distance).sum(axis=-1)
