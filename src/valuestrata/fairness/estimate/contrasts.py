"""Means over items of whatever is made of a grid of subgroups x items, with two-way intervals.

A score of a subgroup, a gap between levels, a change between runs, the excess of a crossing: each is a ratio of sums over items,

    estimate_k = sum_i x_ki / sum_i c_ki,    x_ki = sum_g w_kgi v_gi,

linear in the values v of the pairs. Replicates are those of `stats.bootstrap`, additive over items and redrawn respondents and
corrected for what both count; the weights of items and the pairing with redraws are the layout's, so that all contrasts of all runs
are paired, and a subgroup's score has here the interval that it has in the table of scores.

Because contrasts are linear, how they move under all redraws is one matrix product, and the contrasts of a difference of two runs
with the same pairs are the differences of their contrasts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from valuestrata.scores.layout import Values
from valuestrata.scores.resampling import Resampler
from valuestrata.stats.arrays import Floats, Indices, Singles
from valuestrata.stats.bootstrap import (
    SHARED_DRAWS,
    Replicates,
    centred,
    freedom_of,
    scale_of,
    shared_variance,
    shrink,
    variance,
)
from valuestrata.stats.intervals import Interval, interval

# Weights are in single precision: a contrast that is smaller than this in every replicate is 0.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Moved:
    """How every pair's metric moves when respondents are redrawn.

    Attributes:
        values: shape (D, G, I), deviations from the mean over the D redraws; 0 where the pair is left out.
        order: shape (B,): which redraw goes with which replicate.
    """

    values: Singles
    order: Indices

    @cached_property
    def first(self) -> Singles:
        """The first draws item by item, centred anew because their own mean is not that of all: shape (I, G, D')."""
        return np.ascontiguousarray(centred(self.values[:SHARED_DRAWS]).transpose(2, 1, 0))


def moved(resampler: Resampler, values: Values) -> Moved | None:
    """Return how a metric moves in each redraw; None where redraws do not touch it or there are none."""
    mask = ~np.isnan(values.gold)
    if values.by_share is not None:
        drawn: Singles = np.where(mask, values.by_share[: resampler.count], np.float32(0))
        return Moved(centred(drawn), resampler.share_order) if len(drawn) else None
    if values.by_mode is None or len(resampler.modes) == 0 or resampler.count == 0:
        return None
    table = np.where(mask.ravel()[:, None] & ~np.isnan(values.by_mode), values.by_mode, 0.0).astype(np.float32)
    starts = np.arange(len(table)) * table.shape[1]
    found = np.empty((len(resampler.modes), *mask.shape), dtype=np.float32)
    flat = table.ravel()
    for place, modes in enumerate(resampler.modes):
        found[place] = np.take(flat, modes + starts).reshape(mask.shape)
    found -= found.mean(axis=0)
    return Moved(found, resampler.mode_order)


@dataclass(frozen=True)
class Weights:
    """K contrasts of one mask of pairs.

    Attributes:
        pairs: shape (K, G, I), w of the module's docstring; 0 where there is no pair.
        counts: shape (K, I), c; an item takes no part where it is 0.
    """

    pairs: Singles
    counts: Floats

    @cached_property
    def by_item(self) -> Singles:
        """The weights item by item, shape (I, K, G)."""
        return np.ascontiguousarray(self.pairs.transpose(2, 0, 1))


@dataclass(frozen=True)
class Parts:
    """What contrasts of one metric are made of.

    Attributes:
        rows: shape (K, I), x. counts: shape (K, I), c.
        sums: shape (D, K), deviations of sum_i x_ki over redraws; None without noise of respondents.
        first: shape (D', K, I), deviations of x in the first redraws, None likewise. order: as in `Moved`.
        exact: nothing of respondents enters, so that None is no lack.
    """

    rows: Floats
    counts: Floats
    sums: Floats | None
    first: Singles | None
    order: Indices
    exact: bool

    def total(self, number: int) -> Parts:
        """Return the sum of the first `number` contrasts as one."""
        return Parts(
            rows=self.rows[:number].sum(axis=0, keepdims=True),
            counts=self.counts[:number].sum(axis=0, keepdims=True),
            sums=None if self.sums is None else self.sums[:, :number].sum(axis=1, keepdims=True),
            first=None if self.first is None else self.first[:, :number].sum(axis=1, keepdims=True),
            order=self.order,
            exact=self.exact,
        )

    def minus(self, other: Parts) -> Parts:
        """Return the parts of the difference; both must be of the same pairs."""
        noise = self.sums is not None and other.sums is not None and self.first is not None and other.first is not None
        return Parts(
            rows=self.rows - other.rows,
            counts=self.counts,
            sums=self.sums - other.sums if noise and self.sums is not None and other.sums is not None else None,
            first=self.first - other.first if noise and self.first is not None and other.first is not None else None,
            order=self.order,
            exact=self.exact and other.exact,
        )


def parts(weights: Weights, values: Values, people: Moved | None) -> Parts:
    """Apply contrasts to a metric: `values` (G, I) with how they move, NaN exactly where the weights know of no pair."""
    filled = np.nan_to_num(values.gold)
    rows = np.einsum("kgi,gi->ki", weights.pairs, filled)
    if people is None:
        return Parts(rows, weights.counts, None, None, np.zeros(0, dtype=np.intp), values.exact)
    flat = weights.pairs.reshape(len(weights.pairs), -1)
    sums = people.values.reshape(len(people.values), -1) @ flat.T
    first = np.matmul(weights.by_item, people.first).transpose(2, 1, 0)
    return Parts(rows, weights.counts, sums.astype(np.float64), np.ascontiguousarray(first), people.order, values.exact)


@dataclass(frozen=True)
class Contrast:
    """K contrasts with their replicates.

    Attributes:
        replicates: as `stats.bootstrap` makes them; `pairs` holds sum_i c_ki. items: shape (K,), items behind each.
        by_items: shape (K,), variance from items alone. extra: shape (K,), what redrawn respondents add to it.
    """

    replicates: Replicates
    items: Floats
    by_items: Floats
    extra: Floats

    @property
    def estimate(self) -> Floats:
        """Shape (K,), NaN without an item."""
        return self.replicates.estimate

    @property
    def variance(self) -> Floats:
        """Shape (K,), two-way variance of the estimate; NaN with fewer than two items."""
        return np.where(self.items > 1, self.by_items + self.extra, np.nan)


def contrast(resampler: Resampler, made: Parts) -> Contrast:
    """Resample contrasts: see `stats.bootstrap` for the two ways and how they are put together."""
    counts = made.counts
    total = counts.sum(axis=1)
    items = (counts > 0).sum(axis=1).astype(np.float64)
    estimate = np.divide(made.rows.sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)
    drawn = resampler.weights @ counts.T
    by_items = np.divide(resampler.weights @ made.rows.T, drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    by_items = centred(by_items) * scale_of(items)
    between = variance(by_items) if len(by_items) else np.zeros(len(total))
    values = estimate + by_items
    extra = np.zeros(len(total))
    if made.sums is not None and made.first is not None:
        size = np.where(total > 0, total, np.inf)
        redraws = made.sums / size
        redraws -= redraws.mean(axis=0)
        shared = shared_variance(made.first, made.first, counts) / size**2 * scale_of(items) ** 2
        spread = variance(redraws)
        part = shrink(between, spread, shared)
        extra = part**2 * spread
        values = values + (redraws * part)[made.order]
    known = (items > 1) | (made.sums is not None) | made.exact
    nothing = (np.abs(np.nan_to_num(estimate)) < ROUNDING) & (between + extra < ROUNDING**2) & ~np.isnan(estimate)
    estimate, values = np.where(nothing, 0.0, estimate), np.where(nothing, 0.0, values)
    return Contrast(Replicates(estimate, values, total, known, freedom_of(items, between, extra)), items, between, extra)


def unit_weights(members: Floats, mask: NDArray[np.bool_]) -> Weights:
    """Return the mean over all pairs of each unit: members (U, G), mask (G, I)."""
    return Weights((members[:, :, None] * mask).astype(np.float32), members @ mask)


def item_means(members: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Return weights (U, G, I) that take the mean of each unit's pairs of an item; zeros where it has none."""
    there = members[:, :, None] * mask
    return there / np.maximum(there.sum(axis=1, keepdims=True), 1.0)


def unit_grid(members: Floats, values: Floats) -> Floats:
    """Return the mean of each unit's pairs of an item, shape (U, I), NaN without one; members (U, G), values (G, I)."""
    mask = ~np.isnan(values)
    number = members @ mask
    total = members @ np.where(mask, values, 0.0)
    return np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)


def judged(found: Contrast, confidence: float, low: float, high: float) -> Interval:
    """Return intervals as `stats.intervals.interval` does, cut to low and high, with p-values that hold for few items.

    p is the tail of Student's t with items - 1 degrees of freedom where that is larger. Claims among many need a tail far out,
    and the spread of few resampled items is known too badly for the normal tail to hold there: with 20 items it is a third
    of what it should be at p = .005. Within a single item p is not known: redrawn respondents say how labels move, and nothing says
    how the answers of other items would differ.
    """
    from scipy import special

    ends = interval(found.replicates, confidence, low, high)
    known = (ends.se > 0) & (found.items > 1) & ~np.isnan(ends.p)
    away = np.abs(np.divide(ends.estimate, ends.se, out=np.zeros_like(ends.estimate), where=known))
    tail = 2.0 * np.asarray(special.stdtr(np.maximum(found.items - 1.0, 1.0), -away), dtype=np.float64)
    p = np.where(known, np.maximum(ends.p, np.minimum(tail, 1.0)), ends.p)
    return replace(ends, p=np.where(found.items > 1, p, np.nan))
