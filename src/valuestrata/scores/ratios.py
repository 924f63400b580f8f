"""Ratios of two resampled sums or means: the spread ratios, and how far a score has come from baseline to ceiling.

Numerator and denominator move together: replicate_b = (n + N_b + k n_d) / (m + M_b + k m_d), with N_b, M_b the deviations by items
and n_d, m_d those by redraws. k takes out what both ways count (see `bootstrap`), for the ratio itself: by its linearisation
u = n - rho m at the estimate rho = n / m (as in Fieller's theorem).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.scores.bootstrap import NOTHING, Noise, Replicates, Sampled, scale_of, shared_variance, shrink, variance
from valuestrata.scores.pairs import Floats


@dataclass(frozen=True)
class Part:
    """A numerator or a denominator.

    Attributes:
        estimate: shape (N,). by_items: shape (B, A + T), deviations under resampled items, NaN where nothing was drawn.
        people: deviations of its sums under redraws, or None. unit: shape (N,), what the sums are divided by.
        rows: shape (A + T, I), the sums by item.
    """

    estimate: Floats
    by_items: Floats
    people: Noise | None
    unit: Floats
    rows: Floats

    @classmethod
    def of(cls, sampled: Sampled) -> Part:
        """Take a mean over pairs."""
        return cls(sampled.estimate, sampled.by_items, sampled.people, np.maximum(sampled.pairs, 1.0), sampled.rows)

    def redraws(self, draws: int) -> Floats:
        """Return the deviations under redraws in the unit of the estimate, shape (draws, N)."""
        return np.zeros((draws, len(self.estimate))) if self.people is None else self.people.sums / self.unit


def ratio(above: Part, below: Part, items: Floats, pairs: Floats) -> Replicates:
    """Return a ratio and its replicates; infinite where the denominator is not above 0, NaN where it is NaN.

    Args:
        above, below: numerator and denominator over the same pairs.
        items: shape (N,), items behind each key. pairs: shape (N,).
    """
    number, count = below.by_items.shape[1], len(below.by_items)
    usable = below.estimate > NOTHING
    rho = np.divide(above.estimate, below.estimate, out=np.full(len(usable), np.nan), where=usable)
    order = next((part.people.order for part in (below, above) if part.people is not None), None)
    draws = next((len(part.people.sums) for part in (below, above) if part.people is not None), 1)
    up, down = above.redraws(draws), below.redraws(draws)
    slope = np.nan_to_num(rho)
    between = np.zeros(len(rho))
    between[:number] = variance(above.by_items - slope[:number] * below.by_items)
    k = shrink(between, variance(up - slope * down), _shared(above, below, slope, items))
    n, m = np.broadcast_to(above.estimate, (count, len(rho))).copy(), np.broadcast_to(below.estimate, (count, len(rho))).copy()
    if order is not None:
        n += (up * k)[order]
        m += (down * k)[order]
    n[:, :number] += above.by_items
    m[:, :number] += below.by_items
    values = np.full(n.shape, np.inf)
    np.divide(n, m, out=values, where=m > NOTHING)
    values[np.isnan(n) | np.isnan(m)] = np.nan
    return Replicates(rho, values, pairs, (items > 1) | (order is not None))


def _shared(above: Part, below: Part, slope: Floats, items: Floats) -> Floats:
    """Return what both ways of resampling count of u = n - rho m, shape (N,); 0 for single items."""
    number = below.by_items.shape[1]
    total, rho = np.zeros(len(slope)), slope[:number]
    if below.people is not None:
        total[:number] += rho**2 * shared_variance(below.people.by_item, below.people.by_item, below.rows)
    if above.people is not None:
        total[:number] += shared_variance(above.people.by_item, above.people.by_item, below.rows)
    if above.people is not None and below.people is not None:
        total[:number] -= 2 * rho * shared_variance(above.people.by_item, below.people.by_item, below.rows)
    total[:number] *= scale_of(items[:number]) ** 2
    return total / below.unit**2
