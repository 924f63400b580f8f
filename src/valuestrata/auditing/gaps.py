"""Levels of an attribute against one another: the gap, that of a baseline on the same pairs, and what remains.

The gap of two levels is the mean, over the items for which both have pairs, of the difference of their means over their cells: the
same items on both sides. It stands beside two explanations that need no bias. The *baseline* answers as the nation or a parent
does: a gap that it shows too lies in the survey, and `excess` = gap - gap of the baseline is what the model adds. The *adjusted*
gap compares cells of equal difficulty (`difficulty`). Noise alone gives a mean absolute gap of sqrt(2 / pi) se.

Families: the gaps of one run and metric, over all attributes, by Holm; the excesses and the adjusted gaps likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from valuestrata.auditing.contrasts import Weights, item_means
from valuestrata.scores.pairs import Floats


@dataclass(frozen=True)
class LevelPairs:
    """The pairs of levels of every attribute, K of them.

    Attributes:
        names: (attribute, level, against_level) of each. first, second: shape (K,), rows of `members`.
        members: shape (L, G), 1 where a subgroup has the level.
    """

    names: Sequence[tuple[str, str, str]]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    members: Floats


def level_pairs(levels: Mapping[str, Mapping[str, NDArray[np.bool_]]], groups: int) -> LevelPairs:
    """Pair the levels of each attribute: attribute -> level -> which of the G = `groups` subgroups have it, shape (G,)."""
    rows: list[NDArray[np.bool_]] = []
    names: list[tuple[str, str, str]] = []
    places: list[tuple[int, int]] = []
    for attribute, members in levels.items():
        start = len(rows)
        rows += list(members.values())
        for (a, one), (b, two) in combinations(enumerate(members), 2):
            names.append((attribute, one, two))
            places.append((start + a, start + b))
    ends = np.array(places, dtype=np.intp).reshape(-1, 2)
    return LevelPairs(names, ends[:, 0], ends[:, 1], np.array(rows, dtype=np.float64).reshape(len(rows), groups))


def gap_weights(pairs: LevelPairs, mask: NDArray[np.bool_]) -> Weights:
    """Return the gap of every pair of levels as a contrast, on the items that both have: mask (G, I)."""
    number = pairs.members @ mask
    common = (number[pairs.first] > 0) & (number[pairs.second] > 0)
    means = item_means(pairs.members, mask)
    apart = (means[pairs.first] - means[pairs.second]) * common[:, None, :]
    return Weights(apart.astype(np.float32), common.astype(np.float64))


def common_pairs(pairs: LevelPairs, mask: NDArray[np.bool_]) -> Floats:
    """Return the pairs of both levels on the items that both have, shape (K,)."""
    number = pairs.members @ mask
    first, second = number[pairs.first], number[pairs.second]
    return ((first + second) * ((first > 0) & (second > 0))).sum(axis=1)


def expected_alike(se: Floats) -> Floats:
    """Return the mean absolute gap of levels that are alike: that of a normal variable with the gap's standard error."""
    return np.sqrt(2.0 / np.pi) * se


def remains(
    names: tuple[str, str],
    sign: int,
    alpha: float,
    gap: tuple[float, float],
    excess: tuple[float, float],
    adjusted: tuple[float, float],
) -> str:
    """Say what remains of `better for X`.

    Args:
        names: level and against_level. sign: +1 where a high value is better. alpha: level of the claims.
        gap, excess, adjusted: estimate and p within the family, NaN where not known.
    """
    if np.isnan(gap[0]):
        return "no common items: nothing can be said"
    if np.isnan(gap[1]):
        return "no interval: nothing can be said"
    if gap[1] > alpha:
        return "no gap beyond noise"
    better, worse = names if sign * gap[0] > 0 else names[::-1]
    side = np.sign(gap[0])
    claim = f"better for {better} than for {worse}"
    why: list[str] = []
    left: list[str] = []
    for (value, p), called, reason in (
        (excess, "the baseline's gap", "it is not shown beside the baseline's gap"),
        (adjusted, "what makes cells hard", "it is not shown between cells of equal difficulty"),
    ):
        if np.isnan(p):
            left.append(f"{called} is not known")
        elif p > alpha:
            why.append(reason)
        elif np.sign(value) != side:
            why.append(f"turned round beside {called}")
        else:
            left.append(f"it goes beyond {called}")
    if not why:
        return f"{claim}: {' and '.join(left)}"
    return f"{claim}, but {' and '.join(why)}" + (f" ({' and '.join(left)})" if left else "")
