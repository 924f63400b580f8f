"""Linear contrasts of a grid of subgroups x items, with two-way bootstrap intervals.

A subgroup's score, a gap between levels, a change between runs and the excess of an intersection are all ratios of sums over items,

    estimate_k = sum_i x_ki / sum_i c_ki,    x_ki = sum_g w_kgi v_gi,

linear in the pair values v. Replicates come from `stats.bootstrap`: resampled blocks of items (`stats.blocks`) plus redrawn respondents.
All contrasts of all runs use the same weights and redraws, so they are paired, and a subgroup's score has the same interval as in the
table of scores.

Because contrasts are linear, one matrix product gives all redraws, and the contrast of a difference of two runs on the same pairs is the
difference of their contrasts.
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

# Weights have single precision: a contrast smaller than this in every replicate is 0.
ROUNDING = 1e-6


@dataclass(frozen=True)
class PairRedraws:
    """Deviations of every pair's metric when respondents are redrawn. The largest array of an audit: do not keep it.

    Attributes:
        values: shape (D, G, I), deviations from the mean over the D redraws; 0 where there is no pair.
        order: shape (B,), the redraw of each bootstrap replicate.
    """

    values: Singles
    order: Indices

    @cached_property
    def first(self) -> Singles:
        """The first SHARED_DRAWS redraws, centred on their own mean, items first: shape (I, G, D')."""
        return np.ascontiguousarray(centred(self.values[:SHARED_DRAWS]).transpose(2, 1, 0))


def redraw_pairs(resampler: Resampler, values: Values) -> PairRedraws | None:
    """Return the deviations of a metric in each redraw; None where redraws do not change it or there are none."""
    mask = ~np.isnan(values.gold)
    if values.by_share is not None:
        drawn: Singles = np.where(mask, values.by_share[: resampler.count], np.float32(0))
        return PairRedraws(centred(drawn), resampler.share_order) if len(drawn) else None
    if values.by_mode is None or len(resampler.modes) == 0 or resampler.count == 0:
        return None
    table = np.where(mask.ravel()[:, None] & ~np.isnan(values.by_mode), values.by_mode, 0.0).astype(np.float32)
    starts = np.arange(len(table)) * table.shape[1]
    found = np.empty((len(resampler.modes), *mask.shape), dtype=np.float32)
    flat = table.ravel()
    for draw, modes in enumerate(resampler.modes):
        found[draw] = np.take(flat, modes + starts).reshape(mask.shape)
    found -= found.mean(axis=0)
    return PairRedraws(found, resampler.mode_order)


@dataclass(frozen=True)
class ContrastWeights:
    """K contrasts for one mask of pairs.

    Attributes:
        pairs: shape (K, G, I), w of the module docstring; 0 where there is no pair.
        counts: shape (K, I), c; items with 0 do not count.
    """

    pairs: Singles
    counts: Floats

    @cached_property
    def by_item(self) -> Singles:
        """The weights, items first: shape (I, K, G)."""
        return np.ascontiguousarray(self.pairs.transpose(2, 0, 1))


@dataclass(frozen=True)
class ContrastSums:
    """Weighted sums of one metric from which contrasts are computed.

    Attributes:
        rows: shape (K, I), x. counts: shape (K, I), c.
        sums: shape (D, K), deviations of sum_i x_ki over redraws; None without noise of respondents.
        first: shape (D', K, I), deviations of x in the first redraws, or None. order: as in `PairRedraws`.
        exact: respondents do not enter the metric, so missing redraws are not a gap in knowledge.
    """

    rows: Floats
    counts: Floats
    sums: Floats | None
    first: Singles | None
    order: Indices
    exact: bool

    def total(self, number: int) -> ContrastSums:
        """Return the sum of the first `number` contrasts as one contrast."""
        return ContrastSums(
            rows=self.rows[:number].sum(axis=0, keepdims=True),
            counts=self.counts[:number].sum(axis=0, keepdims=True),
            sums=None if self.sums is None else self.sums[:, :number].sum(axis=1, keepdims=True),
            first=None if self.first is None else self.first[:, :number].sum(axis=1, keepdims=True),
            order=self.order,
            exact=self.exact,
        )

    def minus(self, other: ContrastSums) -> ContrastSums:
        """Return the sums of the difference; both must be on the same pairs."""
        return ContrastSums(
            rows=self.rows - other.rows,
            counts=self.counts,
            sums=None if self.sums is None or other.sums is None else self.sums - other.sums,
            first=None if self.first is None or other.first is None else self.first - other.first,
            order=self.order,
            exact=self.exact and other.exact,
        )


def contrast_sums(weights: ContrastWeights, values: Values, redraws: PairRedraws | None) -> ContrastSums:
    """Apply contrasts to a metric (G, I) and its redraws; values must be NaN exactly where the weights have no pair."""
    rows = np.einsum("kgi,gi->ki", weights.pairs, np.nan_to_num(values.gold))
    if redraws is None:
        return ContrastSums(rows, weights.counts, None, None, np.zeros(0, dtype=np.intp), values.exact)
    sums = redraws.values.reshape(len(redraws.values), -1) @ weights.pairs.reshape(len(weights.pairs), -1).T
    first = np.matmul(weights.by_item, redraws.first).transpose(2, 1, 0)
    return ContrastSums(rows, weights.counts, sums.astype(np.float64), np.ascontiguousarray(first), redraws.order, values.exact)


@dataclass(frozen=True)
class Contrast:
    """K contrasts with their bootstrap replicates.

    Attributes:
        replicates: as in `stats.bootstrap`; `pairs` holds sum_i c_ki. items: shape (K,), items behind each.
        units: shape (K,), what is resampled: the effective number of blocks, or the number of items.
        by_items: shape (K,), variance from resampling these. extra: shape (K,), variance that redrawn respondents add.
    """

    replicates: Replicates
    items: Floats
    units: Floats
    by_items: Floats
    extra: Floats

    @property
    def estimate(self) -> Floats:
        """Shape (K,), NaN without an item."""
        return self.replicates.estimate

    @property
    def variance(self) -> Floats:
        """Two-way variance of the estimate, shape (K,); NaN with fewer than two items."""
        return np.where(self.items > 1, self.by_items + self.extra, np.nan)


def contrast(resampler: Resampler, made: ContrastSums) -> Contrast:
    """Bootstrap contrasts over blocks of items and redrawn respondents, as in `stats.bootstrap`."""
    counts = made.counts
    units = resampler.units(counts)
    total = counts.sum(axis=1)
    items = (counts > 0).sum(axis=1).astype(np.float64)
    estimate = np.divide(made.rows.sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)
    drawn = resampler.sums(units, counts)
    by_items = np.divide(resampler.sums(units, made.rows), drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    by_items = centred(by_items) * scale_of(units.number)
    between = variance(by_items) if len(by_items) else np.zeros(len(total))
    values = estimate + by_items
    extra = np.zeros(len(total))
    if made.sums is not None and made.first is not None:
        size = np.where(total > 0, total, np.inf)
        redraws = made.sums / size
        redraws -= redraws.mean(axis=0)
        shared = shared_variance(made.first, made.first, counts, units) / size**2 * scale_of(units.number) ** 2
        spread = variance(redraws)
        part = shrink(between, spread, shared)
        extra = part**2 * spread
        values = values + (redraws * part)[made.order]
    known = (items > 1) | (made.sums is not None) | made.exact
    nothing = (np.abs(np.nan_to_num(estimate)) < ROUNDING) & (between + extra < ROUNDING**2) & ~np.isnan(estimate)
    estimate, values = np.where(nothing, 0.0, estimate), np.where(nothing, 0.0, values)
    blocks = units.behind(len(total))
    freedom = freedom_of(units.number, between, extra, blocks)
    return Contrast(Replicates(estimate, values, total, known, freedom, blocks), items, units.number, between, extra)


def unit_weights(members: Floats, mask: NDArray[np.bool_]) -> ContrastWeights:
    """Return weights of the mean over all pairs of each unit: members (U, G), mask (G, I)."""
    return ContrastWeights((members[:, :, None] * mask).astype(np.float32), members @ mask)


def item_means(members: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Return weights (U, G, I) of the mean of each unit's pairs of an item; zeros where it has none."""
    there = members[:, :, None] * mask
    return there / np.maximum(there.sum(axis=1, keepdims=True), 1.0)


def unit_grid(members: Floats, values: Floats) -> Floats:
    """Return the mean of each unit's pairs of an item, shape (U, I), NaN without one; members (U, G), values (G, I)."""
    mask = ~np.isnan(values)
    number = members @ mask
    total = members @ np.where(mask, values, 0.0)
    return np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)


def interval_and_p(found: Contrast, confidence: float, low: float, high: float) -> Interval:
    """Return intervals clipped to [low, high], with p-values that also hold for few blocks or items.

    p is the larger of the normal tail and Student's t tail with n - 1 degrees of freedom, n the number of items or the effective number
    of blocks. Claims among many need small p-values, and with few resampled units the normal tail is too small there: with 20 items, a
    third of what it should be at p = .005. With a single item p is unknown, because nothing shows how answers to other items would differ.
    """
    from scipy import special

    ends = interval(found.replicates, confidence, low, high)
    known = (ends.se > 0) & (found.items > 1) & ~np.isnan(ends.p)
    away = np.abs(np.divide(ends.estimate, ends.se, out=np.zeros_like(ends.estimate), where=known))
    tail = 2.0 * np.asarray(special.stdtr(np.maximum(found.units - 1.0, 1.0), -away), dtype=np.float64)
    p = np.where(known, np.maximum(ends.p, np.minimum(tail, 1.0)), ends.p)
    return replace(ends, p=np.where(found.items > 1, p, np.nan))
