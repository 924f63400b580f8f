"""Adjusted p-values for multiple tests: Holm, Benjamini-Hochberg, and tests in the order of a tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from valuestrata.errors import UsageError
from valuestrata.stats.arrays import Floats


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values to control the family-wise error rate under any dependence (Holm 1979).

    Args:
        p: values in 0..1, in any order; None for a test without one, which stays None and does not count.

    Raises:
        UsageError: a p outside 0..1.
    """
    return _adjusted(p, _holm)


def benjamini_hochberg(p: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values to control the false discovery rate under positive dependence (Benjamini and Hochberg 1995).

    Args:
        p: as for `holm`.

    Raises:
        UsageError: a p outside 0..1.
    """
    return _adjusted(p, _benjamini_hochberg)


def gated(p: Sequence[float | None], parent: Sequence[int | None], share: Sequence[float]) -> list[float | None]:
    """Adjust p-values of hypotheses in a tree, to control the family-wise error rate under any dependence.

    A hypothesis is tested only if its parent is rejected, at share * alpha. Its adjusted p-value is p / share, or the parent's if that is
    larger, at most 1. The first true hypotheses on all paths from the roots have shares that sum to at most 1, and a false rejection
    requires the rejection of one of them, so its probability is at most alpha. This is the sequentially rejective graphical procedure of
    Bretz et al. (2009, Statistics in Medicine) without edges back to parents; Meinshausen (2008, Biometrika) has the case of nested
    hypotheses. A hypothesis may stand for a family whose p-values are adjusted within it: give its smallest.

    Args:
        p: as for `holm`; a hypothesis without p is never rejected, and nor are those below it.
        parent: position of each parent, before its children; None for a root.
        share: of alpha, above 0; those of roots sum to at most 1, those of children to at most that of their parent.

    Raises:
        UsageError: a p outside 0..1, a parent that is not before its child, or shares that are not positive or sum to too much.
    """
    total: dict[int | None, float] = {}
    adjusted: list[float | None] = []
    for at, (value, above, part) in enumerate(zip(p, parent, share, strict=True)):
        if above is not None and not 0 <= above < at:
            raise UsageError(f"parent={above} of hypothesis {at} must be the position of an earlier hypothesis.")
        total[above] = total.get(above, 0.0) + part
        limit = 1.0 if above is None else share[above]
        if part <= 0 or total[above] > limit + 1e-9:
            where = "the roots" if above is None else f"the children of hypothesis {above}"
            raise UsageError(f"share={part} of hypothesis {at}: shares must be above 0, and those of {where} sum to at most {limit:g}.")
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"p={value} is not between 0 and 1.")
        gate = 0.0 if above is None else adjusted[above]
        adjusted.append(None if value is None or gate is None else min(1.0, max(value / part, gate)))
    return adjusted


def _holm(p: Floats) -> Floats:
    """Return min(1, max_{j <= i} (m - j + 1) p_(j)) for the i-th smallest p.

    statsmodels has Holm as well, but its `multipletests` runs the garbage collector on every call; audits make thousands of calls.
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]), 1.0)
    return adjusted


def _benjamini_hochberg(p: Floats) -> Floats:
    """Return min(1, min_{j >= i} m / j p_(j)) for the i-th smallest p. Importing scipy.stats for it would take over a second."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def _adjusted(p: Sequence[float | None], method: Callable[[Floats], Floats]) -> list[float | None]:
    for value in p:
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"p={value} is not between 0 and 1.")
    known = [value for value in p if value is not None]
    found = iter(method(np.array(known)).tolist() if known else [])
    return [None if value is None else next(found) for value in p]
