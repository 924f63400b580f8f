"""Adjusted p-values for multiple tests: Holm and Benjamini-Hochberg."""

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
