"""Formulas of metrics, on arrays.

The last axis of a distribution holds the shares of K options in scale order and sums to 1. Positions are 0..K-1. Results
are float64. Distances on the scale are divided by K-1, so 1 is the distance between its two ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
# Positions closer than this are tied.
TIED_POSITIONS = 1e-9


def nmae(answer: ArrayLike, mode: ArrayLike, options: ArrayLike) -> Floats:
    """Normalised absolute error of a position, |answer - mode| / (K - 1), in [0, 1]. Shapes broadcast."""
    difference = np.abs(np.asarray(answer, dtype=np.float64) - np.asarray(mode, dtype=np.float64))
    return difference / (np.asarray(options, dtype=np.float64) - 1.0)


def w1(p: ArrayLike, q: ArrayLike) -> Floats:
    """Wasserstein-1 distance over positions, sum_k |F_k - G_k| / (K - 1), in [0, 1].

    F and G are cumulative shares. [.9, .1] against [.1, .9] is .8.
    """
    gap = _cumulative_gap(p, q)
    return np.abs(gap).sum(axis=-1) / gap.shape[-1]


def rps(p: ArrayLike, q: ArrayLike) -> Floats:
    """Ranked probability score, sum_k (F_k - G_k)^2 / (K - 1), in [0, 1] (Epstein 1969, normalised)."""
    gap = _cumulative_gap(p, q)
    return (gap * gap).sum(axis=-1) / gap.shape[-1]


def tv(p: ArrayLike, q: ArrayLike) -> Floats:
    """Total variation distance, sum_k |p_k - q_k| / 2, in [0, 1]."""
    return 0.5 * np.abs(np.asarray(p, dtype=np.float64) - np.asarray(q, dtype=np.float64)).sum(axis=-1)


def jsd(p: ArrayLike, q: ArrayLike) -> Floats:
    """Jensen-Shannon divergence in bits, H((p + q) / 2) - (H(p) + H(q)) / 2, in [0, 1] (Lin 1991)."""
    left, right = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    value = entropy((left + right) / 2) - (entropy(left) + entropy(right)) / 2
    return np.clip(value, 0.0, 1.0)


def entropy(p: ArrayLike) -> Floats:
    """Shannon entropy in bits, -sum_k p_k log2 p_k with 0 log 0 = 0, in [0, log2 K]."""
    shares = np.asarray(p, dtype=np.float64)
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(0.0 - (shares * logs).sum(axis=-1), dtype=np.float64)


def segment_gaps(positions: ArrayLike) -> Floats:
    """Distance between the highest and the lowest segment of each item, shape (I,).

    Args:
        positions: mean position of each segment, shape (G, I), NaN where unknown.

    Returns:
        Largest minus smallest position of an item, in the unit of the positions; NaN with fewer than two known segments.
    """
    values = np.asarray(positions, dtype=np.float64)
    known = ~np.isnan(values)
    high, low = np.where(known, values, -np.inf).max(axis=0), np.where(known, values, np.inf).min(axis=0)
    several = known.sum(axis=0) > 1
    return np.subtract(high, low, out=np.full(values.shape[1], np.nan), where=several)


def highest_segments(positions: ArrayLike) -> NDArray[np.bool_]:
    """Which segments of each item have the highest position, several for ties (to 1e-9); positions (G, I), NaN where unknown."""
    values = np.asarray(positions, dtype=np.float64)
    filled = np.where(np.isnan(values), -np.inf, values)
    return np.isfinite(filled) & (filled >= filled.max(axis=0) - TIED_POSITIONS)


def wrong_segments(answers: NDArray[np.bool_], gold: NDArray[np.bool_]) -> Floats:
    """Probability that the segment named highest is not the highest in the gold, shape (...,).

    A segment is picked at random among those that tie for the highest, and is right if it is one of the gold's highest. Answers that
    do not differ between S segments are therefore wrong with probability 1 - 1/S.

    Args:
        answers, gold: from `highest_segments`, shape (G, ...), broadcast against each other.
    """
    right, named = (answers & gold).sum(axis=0), answers.sum(axis=0)
    return 1.0 - np.divide(right, named, out=np.full(right.shape, np.nan), where=named > 0)


def kish_n_eff(weights: ArrayLike) -> float:
    """Effective sample size of non-negative weights, (sum w)^2 / sum w^2 (Kish 1965); 0 if all weights are zero."""
    w = np.asarray(weights, dtype=np.float64)
    squares = float(np.square(w).sum())
    return float(w.sum()) ** 2 / squares if squares > 0 else 0.0


def modal_diversity(modes: ArrayLike, options: int) -> float | None:
    """Modal Diversity Score of one item in one stratum (arXiv 2604.12851).

    -sum_m p(m) log2 p(m) / log2(min(S, C)), with S subgroups, C answer options, and p(m) the share of subgroups whose
    mode is m. 0: all subgroups agree; 1: the maximum for S and C. None if min(S, C) < 2.

    Args:
        modes: shape (S,), any labels.
        options: C.
    """
    chosen = np.asarray(modes)
    most = min(int(chosen.size), options)
    if most < 2:
        return None
    _, counts = np.unique(chosen, return_counts=True)
    return float(entropy(counts / chosen.size) / np.log2(most))


def mean_pairwise_w1(shares: ArrayLike) -> float | None:
    """Mean W1 over all pairs of S distributions, an array of shape (S, K); None if S < 2.

    Uses sum_{i<j} |x_i - x_j| = sum_i (2i - S + 1) x_(i) on each cumulative share, at a cost of S log S.
    """
    p = np.asarray(shares, dtype=np.float64)
    count, options = p.shape
    if count < 2:
        return None
    ordered = np.sort(np.cumsum(p, axis=-1)[:, :-1], axis=0)
    rank_weights = 2.0 * np.arange(count) - count + 1.0
    total = float((rank_weights[:, None] * ordered).sum()) / (options - 1)
    return total / (count * (count - 1) / 2)


def _cumulative_gap(p: ArrayLike, q: ArrayLike) -> Floats:
    difference = np.asarray(p, dtype=np.float64) - np.asarray(q, dtype=np.float64)
    return np.cumsum(difference, axis=-1)[..., :-1]
