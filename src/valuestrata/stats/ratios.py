"""Bootstrap replicates of a ratio of two sums or means that move together."""

from __future__ import annotations

import numpy as np

from valuestrata.stats.arrays import NEGLIGIBLE, Floats
from valuestrata.stats.blocks import Units
from valuestrata.stats.bootstrap import Replicates, ResampledSum, freedom_of, scale_of, shared_variance, shrink, variance


def ratio(above: ResampledSum, below: ResampledSum, items: Floats, pairs: Floats, units: Units | None = None) -> Replicates:
    """Return a ratio and its replicates (n + N_b + k n_d) / (m + M_b + k m_d).

    N_b and M_b are the deviations by items, n_d and m_d those by redraws. k removes what both count (see `bootstrap`) from the
    linearised ratio u = n - rho m, with rho = n / m the estimate (as in Fieller's theorem). A replicate is infinite where its
    denominator is not above 0, and NaN where numerator or denominator is. Where blocks are resampled, `freedom` is that of u.

    Args:
        above, below: numerator and denominator over the same pairs.
        items: shape (N,), items behind each key, or the effective number of their blocks. pairs: shape (N,).
        units: what is resampled for the keys that are no single items; None for items.
    """
    number, count = below.by_items.shape[1], len(below.by_items)
    usable = below.estimate > NEGLIGIBLE
    rho = np.divide(above.estimate, below.estimate, out=np.full(len(usable), np.nan), where=usable)
    people = below.people or above.people
    draws = 1 if people is None else len(people.sums)
    up, down = above.redraws(draws), below.redraws(draws)
    slope = np.nan_to_num(rho)
    between = np.zeros(len(rho))
    between[:number] = variance(above.by_items - slope[:number] * below.by_items)
    of_people = variance(up - slope * down)
    k = shrink(between, of_people, _shared(above, below, slope, items, units))
    n, m = np.broadcast_to(above.estimate, (count, len(rho))).copy(), np.broadcast_to(below.estimate, (count, len(rho))).copy()
    if people is not None:
        n += (up * k)[people.order]
        m += (down * k)[people.order]
    n[:, :number] += above.by_items
    m[:, :number] += below.by_items
    values = np.full(n.shape, np.inf)
    np.divide(n, m, out=values, where=m > NEGLIGIBLE)
    values[np.isnan(n) | np.isnan(m)] = np.nan
    blocks = None if units is None else units.behind(len(rho))
    # Where items are resampled, percentiles are used as they are.
    freedom = None if blocks is None else np.where(np.isnan(blocks), np.inf, freedom_of(items, between, k**2 * of_people, blocks))
    return Replicates(rho, values, pairs, (items > 1) | (people is not None), freedom, blocks)


def _shared(above: ResampledSum, below: ResampledSum, slope: Floats, items: Floats, units: Units | None) -> Floats:
    """Return the variance of u = n - rho m that both ways of resampling contain, shape (N,); 0 for single items."""
    number = below.by_items.shape[1]
    total, rho = np.zeros(len(slope)), slope[:number]
    parts = [(part.people.by_item, factor) for part, factor in ((above, np.ones(number)), (below, -rho)) if part.people is not None]
    for place, (left, factor) in enumerate(parts):
        for right, other in parts[place:]:
            times = 1.0 if left is right else 2.0
            total[:number] += times * factor * other * shared_variance(left, right, below.rows, units)
    total[:number] *= scale_of(items[:number]) ** 2
    return total / below.unit**2
