"""Bootstrap of metrics on a layout of subgroups and items; `stats.bootstrap` has the method.

Respondents were redrawn when the data set was built: `mode_draws` holds the mode of each pair in each joint redraw, and for the
first redraws the shares. Item weights, redraws and their pairing are the same for every key, metric and run, so comparisons are
paired.

- accuracy, nmae, bias, their `_valid` forms and the spread: redrawn modes.
- w1, rps, tv, jsd: redrawn shares.
- accuracy_set, accuracy_expected: the redraws of accuracy. They bound the noise of accuracy_expected from above, because p_mode
  smooths what a single redraw decides.
- ceilings, floors: items only. Refusals and option mass have no noise of respondents.
- Without redraws in the data set: items only, too narrow where items share respondents.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.scores.layout import Layout, Values
from valuestrata.stats.arrays import Bools, Floats, Indices, Singles, generator
from valuestrata.stats.blocks import Units, draw_blocks, is_single, units_of
from valuestrata.stats.bootstrap import SHARED_DRAWS, Noise, Replicates, ResampledMean, centred, scale_of

# Numbers of 8 bytes processed at once for a chunk of draws: fits in a cache.
CHUNK_NUMBERS = 200_000
# Tables of redrawn sums kept in memory: metrics share that of accuracy, and runs without refusals have equal ones.
KEPT_TABLES = 6


class Resampler:
    """Resamples of one layout, shared by all keys, metrics and runs."""

    def __init__(self, layout: Layout, bootstrap: int, seed: int) -> None:
        """Draw `bootstrap` resamples of items, and of blocks of items, and pair them with the redraws of respondents.

        `weights` and `item_weights`, shape (bootstrap, I), say how often each item is drawn where blocks and where items are drawn;
        both are the same array where every item is a block of its own. Use them through `units` and `sums`.
        """
        rng = generator(seed)
        self.layout = layout
        self.count = bootstrap
        self.item_weights = draw_blocks(rng, layout.questions, bootstrap)
        # Blocks have random numbers of their own, so they do not change the numbers of keys whose items are drawn.
        single = is_single(layout.blocks, layout.questions)
        self.weights = self.item_weights if single else draw_blocks(generator(seed, 1), layout.blocks, bootstrap)
        # More redraws than replicates would not be used.
        self.modes = layout.draws[:bootstrap]
        self.mode_order = _paired(rng, bootstrap, len(self.modes))
        shares = layout.share_draws[0].shares.shape[2] if layout.share_draws else 0
        self.share_order = _paired(rng, bootstrap, min(shares, bootstrap))
        self._kept = _Kept()

    def without_items(self) -> Resampler:
        """Return the same resamples for the keys without single items; what is computed for one is kept for both."""
        found = copy(self)
        found.layout = self.layout.without_items()
        return found

    def units(self, counts: Floats) -> Units:
        """Return what is resampled for keys with `counts` pairs by item, shape (K, I)."""
        return units_of(counts, self.layout.blocks, self.layout.questions)

    def sums(self, units: Units, rows: Floats) -> Floats:
        """Return the sums of rows (K, I) in each resample, shape (bootstrap, K)."""
        return units.sums(self.weights, self.item_weights, rows)

    def replicates(self, values: Values) -> Replicates:
        """Return the mean over pairs of a metric with its two-way replicates."""
        return self.sample(values).replicates()

    def sample(self, values: Values) -> ResampledMean:
        """Resample the mean over pairs of a metric."""
        keys = self.layout.keys
        mask = ~np.isnan(values.gold)
        filled = np.where(mask, values.gold, 0.0)
        counts, drawn, units = self._counted(mask)
        items = np.concatenate([units.number, (mask.sum(axis=0) > 0)[keys.items].any(axis=-1)])
        rows = keys.rows(filled)
        pairs = keys.totals(mask.astype(np.float64))
        estimate = np.divide(keys.totals(filled), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
        by_items = self.sums(units, rows)
        by_items = np.divide(by_items, drawn, out=np.full(by_items.shape, np.nan), where=drawn > 0)
        return ResampledMean(
            estimate=estimate,
            unit=np.maximum(pairs, 1.0),
            by_items=centred(by_items) * scale_of(units.number),
            people=self._noise(values, mask) if self.count else None,
            rows=rows,
            pairs=pairs,
            items=items,
            counts=counts,
            exact=values.exact,
            units=units,
        )

    def _counted(self, mask: Bools) -> tuple[Floats, Floats, Units]:
        """Return pairs by key and item (M, I), pairs of each resample (B, M), and what is resampled for each of the M keys."""
        digest, keys, kept = np.packbits(mask).tobytes(), self.layout.keys, self._kept.counts
        if digest not in kept:
            counts = keys.rows(mask.astype(np.float64))
            _make_space(kept)
            units = self.units(counts)
            kept[digest] = (counts, self.sums(units, counts), units)
        return kept[digest]

    def _noise(self, values: Values, mask: Bools) -> Noise | None:
        keys = self.layout.keys
        if values.by_share is not None:
            drawn: Singles = np.where(mask, values.by_share[: self.count], np.float32(0))
            sums = keys.totals(drawn.astype(np.float64))
            return Noise(sums - sums.mean(axis=0), centred(keys.rows(drawn[:SHARED_DRAWS])), self.share_order)
        if values.by_mode is None or len(self.modes) == 0:
            return None
        table = np.where(mask.ravel()[:, None] & ~np.isnan(values.by_mode), values.by_mode, 0.0)
        digest, kept = blake2b(table.tobytes(), digest_size=16).digest(), self._kept.redrawn
        if digest not in kept:
            _make_space(kept)
            kept[digest] = self._redraw(table)
        by_group, by_item, rows = kept[digest]
        sums = keys.totals_of(by_group, by_item)
        return Noise(sums - sums.mean(axis=0), rows, self.mode_order)

    def _redraw(self, table: Floats) -> tuple[Floats, Floats, Singles]:
        """Look up a table (G * I, largest K) at every redrawn mode.

        Returns:
            Sums by subgroup, (D, G), and by item, (D, I); the first redraws by key and item, (D', A + T, I), centred.
        """
        layout = self.layout
        if self._kept.changes is None:
            self._kept.changes = ChangedModes.of(self.modes, layout.mode.astype(np.int8), layout.present.shape, table.shape[1])
        places = self.modes[:SHARED_DRAWS] + np.arange(len(table)) * table.shape[1]
        first: Singles = np.take(table.ravel().astype(np.float32), places).reshape(-1, *layout.present.shape)
        return *self._kept.changes.sums(table), centred(layout.keys.rows(first))


@dataclass(frozen=True)
class ChangedModes:
    """The pairs whose mode differs from the gold mode, in each redraw: most do not, which makes sums over redraws fast.

    Attributes:
        by_group, by_item: sparse, shape (D * G, G * I * K) and (D * I, G * I * K): 1 for a changed mode.
        mode: shape (G * I,), the gold mode. shape: G and I.
    """

    by_group: Any
    by_item: Any
    mode: NDArray[np.int8]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, modes: NDArray[np.int8], mode: NDArray[np.int8], shape: tuple[int, ...], options: int) -> ChangedModes:
        """Compare redrawn modes, shape (D, G * I), with the gold mode; `options` is the largest K."""
        from scipy.sparse import csr_array

        columns: tuple[list[NDArray[np.int32]], ...] = ([], [])
        ends: tuple[list[Indices], ...] = ([], [])
        size = max(1, CHUNK_NUMBERS // len(mode))
        for start in range(0, len(modes), size):
            drawn = modes[start : start + size]
            changed = (drawn != mode).reshape(-1, *shape)
            column = (np.arange(len(mode), dtype=np.int32) * options + drawn).reshape(changed.shape)
            for along, axes in enumerate(((0, 1, 2), (0, 2, 1))):
                here = changed.transpose(axes)
                columns[along].append(column.transpose(axes)[here])
                ends[along].append(here.sum(axis=2).ravel())
        made: list[Any] = []
        for found, count in zip(columns, ends, strict=True):
            index, pointer = np.concatenate(found), np.concatenate([[0], np.cumsum(np.concatenate(count))])
            made.append(csr_array((np.ones(len(index)), index, pointer), shape=(len(pointer) - 1, len(mode) * options)))
        return cls(made[0], made[1], mode, shape)

    def sums(self, table: Floats) -> tuple[Floats, Floats]:
        """Return the sums of a table (G * I, K) at the redrawn modes, by subgroup, (D, G), and by item, (D, I)."""
        gold = table[np.arange(len(table)), self.mode]
        change = (table - gold[:, None]).ravel()
        groups, items = self.shape
        grid = gold.reshape(self.shape)
        by_group = (self.by_group @ change).reshape(-1, groups) + grid.sum(axis=1)
        return by_group, (self.by_item @ change).reshape(-1, items) + grid.sum(axis=0)


@dataclass
class _Kept:
    """What resamples of one layout have computed: sums by mask and by table, and the changed modes."""

    counts: dict[bytes, tuple[Floats, Floats, Units]] = field(default_factory=dict[bytes, tuple[Floats, Floats, Units]])
    redrawn: dict[bytes, tuple[Floats, Floats, Singles]] = field(default_factory=dict[bytes, tuple[Floats, Floats, Singles]])
    changes: ChangedModes | None = None


def _make_space(kept: dict[bytes, Any]) -> None:
    if len(kept) >= KEPT_TABLES:
        kept.pop(next(iter(kept)))


def _paired(rng: np.random.Generator, replicates: int, draws: int) -> Indices:
    return rng.permutation(np.arange(replicates) % max(draws, 1)).astype(np.intp)
