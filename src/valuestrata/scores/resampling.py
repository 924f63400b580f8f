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

from hashlib import blake2b
from typing import Any

import numpy as np

from valuestrata.scores.layout import Layout, Values
from valuestrata.stats.arrays import Bools, Floats, Indices, Singles
from valuestrata.stats.bootstrap import SHARED_DRAWS, Noise, Replicates, ResampledMean, centred, scale_of

# Numbers of 8 bytes processed at once for a chunk of draws: fits in a cache.
CHUNK_NUMBERS = 200_000
# Tables of redrawn sums kept in memory: metrics share that of accuracy, and runs without refusals have equal ones.
KEPT_TABLES = 6


class Resampler:
    """Resamples of one layout, shared by all keys, metrics and runs."""

    def __init__(self, layout: Layout, bootstrap: int, seed: int) -> None:
        """Draw `bootstrap` resamples of items and pair them with the redraws of respondents."""
        rng = np.random.default_rng(seed)
        items = len(layout.items)
        self.layout = layout
        self.count = bootstrap
        self.weights: Floats = rng.multinomial(items, np.full(items, 1.0 / items), size=bootstrap).astype(np.float64)
        # More redraws than replicates would not be used.
        self.modes = layout.draws[:bootstrap]
        self.mode_order = _paired(rng, bootstrap, len(self.modes))
        shares = layout.share_draws[0].shares.shape[2] if layout.share_draws else 0
        self.share_order = _paired(rng, bootstrap, min(shares, bootstrap))
        self._counts: dict[bytes, tuple[Floats, Floats, Floats]] = {}
        self._redrawn: dict[bytes, Noise] = {}

    def replicates(self, values: Values) -> Replicates:
        """Return the mean over pairs of a metric with its two-way replicates."""
        return self.sample(values).replicates()

    def sample(self, values: Values) -> ResampledMean:
        """Resample the mean over pairs of a metric."""
        keys = self.layout.keys
        mask = ~np.isnan(values.gold)
        filled = np.where(mask, values.gold, 0.0)
        counts, drawn, items = self._counted(mask)
        rows = keys.rows(filled)
        pairs = keys.totals(mask.astype(np.float64))
        estimate = np.divide(keys.totals(filled), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
        by_items = self.weights @ rows.T
        by_items = np.divide(by_items, drawn, out=np.full(by_items.shape, np.nan), where=drawn > 0)
        return ResampledMean(
            estimate=estimate,
            unit=np.maximum(pairs, 1.0),
            by_items=centred(by_items) * scale_of(items[: len(counts)]),
            people=self._noise(values, mask) if self.count else None,
            rows=rows,
            pairs=pairs,
            items=items,
            counts=counts,
            exact=values.exact,
        )

    def _counted(self, mask: Bools) -> tuple[Floats, Floats, Floats]:
        """Return pairs by key and item (M, I), pairs of each resample (B, M), and items of each key (N,)."""
        digest = np.packbits(mask).tobytes()
        if digest not in self._counts:
            keys = self.layout.keys
            counts = keys.rows(mask.astype(np.float64))
            items = np.concatenate([(counts > 0).sum(axis=1), (mask.sum(axis=0) > 0)[keys.items]]).astype(np.float64)
            _make_space(self._counts)
            self._counts[digest] = (counts, self.weights @ counts.T, items)
        return self._counts[digest]

    def _noise(self, values: Values, mask: Bools) -> Noise | None:
        keys = self.layout.keys
        if values.by_share is not None:
            drawn: Singles = np.where(mask, values.by_share[: self.count], np.float32(0))
            sums = keys.totals(drawn.astype(np.float64))
            return Noise(sums - sums.mean(axis=0), centred(keys.rows(drawn[:SHARED_DRAWS])), self.share_order)
        if values.by_mode is None or len(self.modes) == 0:
            return None
        table = np.where(mask.ravel()[:, None] & ~np.isnan(values.by_mode), values.by_mode, 0.0)
        digest = blake2b(table.tobytes(), digest_size=16).digest()
        if digest not in self._redrawn:
            _make_space(self._redrawn)
            self._redrawn[digest] = self._redraw(table)
        return self._redrawn[digest]

    def _redraw(self, table: Floats) -> Noise:
        """Look up a table (G * I, largest K) at every redrawn mode."""
        keys, shape = self.layout.keys, self.layout.present.shape
        flat, starts = table.ravel(), np.arange(len(table)) * table.shape[1]
        size = max(1, CHUNK_NUMBERS // len(table))
        sums = np.empty((len(self.modes), len(keys.names)))
        for start in range(0, len(self.modes), size):
            values = np.take(flat, self.modes[start : start + size] + starts).reshape(-1, *shape)
            sums[start : start + size] = keys.totals(values)
        first: Singles = np.take(flat.astype(np.float32), self.modes[:SHARED_DRAWS] + starts).reshape(-1, *shape)
        return Noise(sums - sums.mean(axis=0), centred(keys.rows(first)), self.mode_order)


def _make_space(kept: dict[bytes, Any]) -> None:
    if len(kept) >= KEPT_TABLES:
        kept.pop(next(iter(kept)))


def _paired(rng: np.random.Generator, replicates: int, draws: int) -> Indices:
    return rng.permutation(np.arange(replicates) % max(draws, 1)).astype(np.intp)
