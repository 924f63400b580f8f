"""Gold of every pair: weighted counts, shares, the mode and its uncertainty.

`count_answers` counts each respondent once per item into joint cells and sums joint cells to subgroups. `redraw`
bootstraps all respondents jointly with their weights, so overlapping subgroups keep their covariance. p_mode and
floors of distances come from these draws. They follow the survey's design where it is known (`design.resample`); otherwise
respondents count as independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.dataset.design import resample
from valuestrata.survey.codebook import Missing
from valuestrata.survey.survey import SampleDesign

# Relative difference below which counts are tied. It covers rounding of weighted sums; sums of real weights do not agree
# to nine digits by chance.
TIE_TOLERANCE = 1e-9
# A variance below this part of the squared mean is the rounding error of their difference.
CANCELLATION = 1e-12
MISSING_CLASSES = len(Missing)
# A redrawn share is stored in eight bits, in steps of 1/32 standard error from the gold share, up to 4 standard errors.
SHARE_STEPS = 32
LARGEST_STEP = 127
# Redrawn counts processed at once, of 8 bytes each: fits in a cache.
BLOCK_NUMBERS = 50_000

Floats = NDArray[np.float64]


def count_answers(
    answers: NDArray[np.int8],
    joint_of_respondent: NDArray[np.intp],
    joint_cells: int,
    members: Sequence[NDArray[np.intp]],
    options: int,
    weight: Floats | None = None,
) -> Floats:
    """Count weighted answers by item, subgroup and option, and missing answers by class.

    Args:
        answers: int8, shape (respondents, items): option index, or -1 .. -5 for a missing class.
        joint_of_respondent: joint cell of each respondent.
        joint_cells: number of joint cells.
        members: for each subgroup the joint cells it consists of.
        options: the largest number of options of any item.
        weight: shape (respondents,), or None for unweighted counts.

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
    """Results of redraws for the items with K options.

    The first axis is the whole survey, half A and half B. A draw uses the same bootstrap sample in all three. Published counts have
    no halves.

    Attributes:
        items: indices of the items, shape (I,).
        p_mode: shape (halves, I, subgroups, K): share of draws in which each option is the mode, ties shared equally.
        floor_w1, floor_rps: shape (halves, I, subgroups): mean distance of redrawn shares to the gold shares.
        share_se: shape (halves, I, subgroups, K): standard deviation of each share over the draws.
        modes: int8, shape (halves, I, subgroups, draws): option index of the mode, the lowest among ties.
        share_draws: int8, shape (halves, I, subgroups, S, K): shares of the first S draws, packed (`unpack_share_draws`).
    """

    items: NDArray[np.intp]
    p_mode: Floats
    floor_w1: Floats
    floor_rps: Floats
    share_se: Floats
    modes: NDArray[np.int8]
    share_draws: NDArray[np.int8]


def redraw(
    answers: NDArray[np.int8],
    options: NDArray[np.intp],
    respondents_of: Sequence[NDArray[np.intp]],
    half: NDArray[np.bool_],
    gold_counts: Floats,
    *,
    draws: int,
    share_draws: int,
    rng: np.random.Generator,
    weight: Floats | None = None,
    design: SampleDesign | None = None,
    advance: Callable[[int], None] = lambda _steps: None,
    chunk: int = 250,
) -> list[Redraws]:
    """Bootstrap the respondents `draws` times and compute the mode of every pair in every draw.

    Args:
        answers: int8, shape (respondents, items).
        options: number of options of each item.
        respondents_of: for each subgroup the indices of its respondents.
        half: True for respondents in half A. Results are ordered all, A, B.
        gold_counts: weighted counts that draws are compared with, shape (3, items, subgroups, largest K).
        draws: number of redraws. share_draws: number of redraws whose shares are kept.
        rng: random number generator.
        weight: weight of each respondent; None for unweighted counts.
        design: the survey's design; None for independent respondents.
        advance: progress callback, called once per subgroup and chunk.
        chunk: draws held in memory at once.

    Returns:
        One `Redraws` per number of options, in increasing K. A draw in which a pair has no answers is left out of
        `p_mode` and `share_se`; its mode and shares repeat the gold.
    """
    people = answers.shape[0]
    groups = [np.flatnonzero(options == k) for k in np.unique(options)]
    sizes = [int(k) for k in np.unique(options)]
    kept = min(share_draws, draws)
    tallies = [_Tally.empty(items, k, len(respondents_of), draws, kept, gold_counts) for items, k in zip(groups, sizes, strict=True)]
    # Counts of respondents are whole numbers, which single precision holds exactly.
    precision = np.float32 if weight is None and design is None else np.float64
    one_hot = np.hstack([indicators(answers[:, items], k) for items, k in zip(groups, sizes, strict=True)], dtype=precision)
    ends = np.cumsum([len(items) * k for items, k in zip(groups, sizes, strict=True)])[:-1]
    # Only replicate weights can give a draw a negative count, of an option with very few answers.
    signed = design is not None and design.replicates is not None
    starts = range(0, draws, chunk)
    chunks = [min(chunk, draws - start) for start in starts]
    for start, size, multipliers in zip(starts, chunks, resample(people, chunks, rng, design), strict=True):
        drawn = multipliers.astype(precision)
        if weight is not None:
            drawn *= weight[:, None]
        for subgroup, people_in in enumerate(respondents_of):
            in_a = half[people_in]
            of_a, of_b = (np.split(one_hot[inside].T @ drawn[inside], ends) for inside in (people_in[in_a], people_in[~in_a]))
            for tally, counts_a, counts_b in zip(tallies, of_a, of_b, strict=True):
                shape = (tally.options, len(tally.items), size)
                if signed:
                    counts_a, counts_b = np.maximum(counts_a, 0.0), np.maximum(counts_b, 0.0)
                tally.add(subgroup, start, (counts_a.reshape(shape), counts_b.reshape(shape)))
            advance(1)
    return [tally.result() for tally in tallies]


def redraw_counts(
    shares: Floats, n_eff: Floats, options: NDArray[np.intp], *, draws: int, share_draws: int, rng: np.random.Generator, chunk: int = 100
) -> list[Redraws]:
    """Draw multinomial answers `draws` times for every pair of published counts, independently of other pairs.

    Args:
        shares: shape (items, subgroups, largest K), the gold shares; 0 without answers.
        n_eff: effective answers, shape (items, subgroups). A draw rounds a broken number up with the probability of its fraction, so
            the mean is kept.
        options: number of options of each item. draws, share_draws, rng, chunk: as for `redraw`.

    Returns:
        As for `redraw`, without halves.
    """
    found: list[Redraws] = []
    for k in np.unique(options):
        items = np.flatnonzero(options == k)
        tally = _Tally.empty(items, int(k), shares.shape[1], draws, min(share_draws, draws), shares[None])
        for subgroup in range(shares.shape[1]):
            number, chances = n_eff[items, subgroup, None], shares[items, subgroup, None, :k]
            # The last chance is what is left, whatever rounding does to their sum.
            chances = np.where(number[..., None] > 0, chances, 1.0 / k)
            for start in range(0, draws, chunk):
                size = (len(items), min(chunk, draws - start))
                answers = np.floor(number + rng.random(size)).astype(np.int64)
                counts = rng.multinomial(answers, chances, size=size)
                tally.add(subgroup, start, (np.moveaxis(counts, -1, 0),))
        found.append(tally.result())
    return found


def indicators(answers: NDArray[np.int8], options: int) -> NDArray[np.bool_]:
    """Return indicators of the answers, shape (respondents, options * items)."""
    hot = answers[:, None, :] == np.arange(options, dtype=np.int8)[:, None]
    return hot.reshape(len(answers), -1)


def _count(mask: NDArray[np.bool_]) -> Floats:
    """Count True along the last axis. Sums of bytes are many times faster than sums of truth values."""
    fits = mask.shape[-1] <= np.iinfo(np.uint8).max
    return np.add.reduce(mask.view(np.uint8), axis=-1, dtype=np.uint8 if fits else np.int64).astype(np.float64)


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
    sum_shift: Floats
    sum_squares: Floats
    modes: NDArray[np.int8]
    # Options before items before draws, as the counts come: shape (halves, subgroups, K, I, S).
    shifts: NDArray[np.float32]

    @classmethod
    def empty(cls, items: NDArray[np.intp], options: int, subgroups: int, draws: int, kept: int, gold_counts: Floats) -> _Tally:
        halves = len(gold_counts)
        shape = (halves, len(items), subgroups)
        return cls(
            items=items,
            options=options,
            gold=gold_counts[:, items][..., :options],
            wins=np.zeros((*shape, options)),
            valid=np.zeros(shape),
            sum_w1=np.zeros(shape),
            sum_rps=np.zeros(shape),
            sum_shift=np.zeros((*shape, options)),
            sum_squares=np.zeros((*shape, options)),
            modes=np.zeros((*shape, draws), dtype=np.int8),
            shifts=np.zeros((halves, subgroups, options, len(items), kept), dtype=np.float32),
        )

    def add(self, subgroup: int, start: int, parts: Sequence[NDArray[Any]]) -> None:
        """Add the counts of a chunk for a subgroup: those of both halves, or of all its respondents; shape (options, items, draws)."""
        block = max(1, BLOCK_NUMBERS // (self.options * parts[0].shape[-1]))
        for first in range(0, len(self.items), block):
            items = slice(first, first + block)
            counted = [counts[:, items].astype(np.float64) for counts in parts]
            for half, counts in enumerate(counted if len(counted) == 1 else [sum(counted[1:], counted[0]), *counted]):
                self._add(half, items, subgroup, start, counts)

    def _add(self, half: int, items: slice, subgroup: int, start: int, counts: Floats) -> None:
        total = counts.sum(axis=0)
        answered = total > 0
        every = bool(answered.all())
        tied = counts >= counts.max(axis=0) * (1.0 - TIE_TOLERANCE)
        if not every:
            tied &= answered
        number = np.add.reduce(tied.view(np.int8), axis=0, dtype=np.int8)
        for modes in range(1, int(number.max(initial=0)) + 1):
            # A draw with several modes counts a part for each.
            self.wins[half, items, subgroup] += _count(tied & (number == modes)).T / modes
        self.valid[half, items, subgroup] += _count(answered)
        gold = self.gold[half, items, subgroup]
        # The lowest mode is preceded by options that are none.
        before = ~tied[0]
        lowest = before.astype(np.int8)
        for option in tied[1:]:
            before &= ~option
            lowest += before
        if not every:
            lowest = np.where(answered, lowest, is_mode(gold).argmax(axis=-1)[:, None])
        self.modes[half, items, subgroup, start : start + counts.shape[-1]] = lowest
        shift = np.divide(counts, total if every else np.where(answered, total, 1.0), out=counts)
        shift -= shares_of(gold).T[..., None]
        if not every:
            shift *= answered
        self._add_shifts(half, items, subgroup, start, shift)

    def _add_shifts(self, half: int, items: slice, subgroup: int, start: int, shift: Floats) -> None:
        """Add redrawn minus gold shares: their sums, and W1 and RPS (`measures.w1` and `rps`, options along the first axis)."""
        ones = np.ones(shift.shape[-1])
        self.sum_shift[half, items, subgroup] += (shift @ ones).T
        self.sum_squares[half, items, subgroup] += np.einsum("kid,kid->ik", shift, shift)
        kept = self.shifts[half, subgroup, :, items, start : start + shift.shape[-1]]
        kept[:] = shift[..., : kept.shape[-1]]
        ends = self.options - 1
        gap, size = np.zeros_like(shift[0]), np.empty_like(shift[0])
        for option in range(ends):
            gap += shift[option]
            self.sum_w1[half, items, subgroup] += np.abs(gap, out=size) @ ones / ends
            self.sum_rps[half, items, subgroup] += np.einsum("id,id->i", gap, gap) / ends

    def result(self) -> Redraws:
        valid = np.maximum(self.valid, 1)
        mean = self.sum_shift / valid[..., None]
        variance = np.maximum(self.sum_squares / valid[..., None] - mean * mean, 0.0)
        # Rounding leaves a trace of variance where every draw has the same share.
        share_se = np.where(variance > TIE_TOLERANCE**2 + CANCELLATION * mean * mean, np.sqrt(variance), 0.0)
        return Redraws(
            items=self.items,
            p_mode=self.wins / valid[..., None],
            floor_w1=self.sum_w1 / valid,
            floor_rps=self.sum_rps / valid,
            share_se=share_se,
            modes=self.modes,
            share_draws=np.stack([_pack(shifts, se) for shifts, se in zip(self.shifts, share_se, strict=True)]),
        )


def _pack(shifts: NDArray[np.float32], share_se: Floats) -> NDArray[np.int8]:
    """Return shifts (subgroups, K, I, S) as steps of 1/32 standard error (I, subgroups, K), shape (I, subgroups, S, K)."""
    step = np.transpose(share_se, (1, 2, 0))[..., None].astype(np.float32) / SHARE_STEPS
    steps = np.divide(shifts, step, out=np.zeros_like(shifts), where=step > 0)
    packed = np.clip(np.rint(steps, out=steps), -LARGEST_STEP, LARGEST_STEP, out=steps).astype(np.int8)
    return np.transpose(packed, (2, 0, 3, 1))


def unpack_share_draws(packed: NDArray[np.int8], shares: Floats, share_se: Floats) -> Floats:
    """Return the redrawn shares stored in the column `share_draws` of `mode_draws.parquet`.

    A step is 1/32 standard error, so a share is within 1/64 standard error of the drawn value before the shares are
    normalised again. Deviations are clipped at 3.97 standard errors.

    Args:
        packed: int8, shape (..., S * K): S draws of K codes, draw by draw.
        shares: gold shares, shape (..., K), summing to 1. share_se: their standard errors, same shape.

    Returns:
        Shape (..., S, K): shares in 0..1 that sum to 1.
    """
    options = shares.shape[-1]
    steps = packed.reshape(*packed.shape[:-1], packed.shape[-1] // options, options)
    drawn = shares[..., None, :] + steps * (share_se / SHARE_STEPS)[..., None, :]
    np.maximum(drawn, 0.0, out=drawn)
    return drawn / drawn.sum(axis=-1, keepdims=True)


def is_mode(counts: Floats) -> NDArray[np.bool_]:
    """Return which options have the largest count along the last axis; several for ties."""
    largest = counts.max(axis=-1, keepdims=True)
    return counts >= largest - TIE_TOLERANCE * np.abs(largest)


def shares_of(counts: Floats) -> Floats:
    """Return counts divided by their sum along the last axis; zeros where the sum is zero."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
