"""Does a model tell subgroups apart as much as people do? Flattened below 1, exaggerated above.

    spread_ratio = sum_i var_g(answer position of pair (g, i)) / sum_i var_g(position of the gold mode of (g, i))

over the items i of a key and, within an item, its subgroups g with a valid answer (at least two). Positions are divided
by K - 1, variances are sample variances (S - 1 in the denominator), and nominal items take no part. A pair asked several
times enters with its mean position.

Modes carry the noise of small cells, which spreads them further than people differ. `spread_ratio_corrected` takes
that noise out of the denominator:

    noise_i = mean_b var_g(m_b(g, i)) - var_g(mean_b m_b(g, i)),   m_b the mode in redraw b.

Where subgroups are disjoint this is, in expectation, the mean over g of the variance of redrawn modes within a pair;
where they share respondents it leaves out the noise that they have in common, which does not set them apart. The ratio
is null where the gold does not vary (after correction: not more than its noise).

How to read the two: noise in a mode is not added to it, it also pulls the expected mode of a near tie toward the middle.
The corrected denominator is the spread of *expected* modes, so that a model that answers what such surveys would find on
average scores 1 (1.0 to 1.05 in simulated cells of 15 to 200 people). A model that answers the mode of the whole population
lies between: below 1 raw and above 1 corrected (.83 and 1.26 at 15 people, .94 and 1.14 at 80). Flattening is certain
where the corrected ratio is below 1, exaggeration where the raw one is above. Noise in a model's own answers (one sample
at a high temperature) stays in the numerator.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from valuestrata.scores.resampling import CHUNK_NUMBERS, Resampler
from valuestrata.stats.arrays import Bools, Floats
from valuestrata.stats.bootstrap import SHARED_DRAWS, Noise, Replicates, ResampledSum, centred, scale_of
from valuestrata.stats.ratios import ratio


class Spread:
    """Spread ratios of runs over one layout; the gold's side is worked out once for all runs with the same valid pairs."""

    def __init__(self, resampler: Resampler) -> None:
        self._resampler = resampler
        layout = resampler.layout
        # One more group in front, of all subgroups: topics and single items compare all of them.
        groups = np.concatenate([np.ones((1, len(layout.subgroups))), layout.keys.groups])
        # A group of a single subgroup has no spread; its ratios stay NaN without being worked out.
        self._kept = np.flatnonzero(groups.sum(axis=1) > 1)
        self._groups = groups[self._kept]
        self._of_gold: dict[bytes, tuple[ResampledSum, ResampledSum]] = {}

    def replicates(self, position: Floats) -> dict[str, Replicates]:
        """Return spread_ratio and spread_ratio_corrected.

        Args:
            position: shape (G, I), mean answer position on 0..1, NaN for pairs left out.
        """
        mask = ~np.isnan(position)
        key = np.packbits(mask).tobytes()
        if key not in self._of_gold:
            self._of_gold[key] = self._gold(mask)
        number = self._number(mask)
        used = np.where(number >= 2, number, 0.0)
        answers = self._part(self._between(np.nan_to_num(position)[None], mask)[0], used, None)
        pairs = np.nan_to_num(self._totals(used))
        items = np.nan_to_num(self._totals((used > 0).astype(np.float64)))
        raw, corrected = (ratio(answers, below, items, pairs) for below in self._of_gold[key])
        return {"spread_ratio": raw, "spread_ratio_corrected": corrected}

    def _gold(self, mask: Bools) -> tuple[ResampledSum, ResampledSum]:
        """Return the denominators, raw and corrected: sums over items of the variance between modes.

        Redrawn modes vary more than the gold modes, by the noise of the redraw; only deviations from their mean enter, so that
        replicates scatter around the estimate and not above it.
        """
        layout, modes = self._resampler.layout, self._resampler.modes
        number = self._number(mask)
        used = np.where(number >= 2, number, 0.0)
        gold = self._between(self._positions(layout.mode[None]), mask)[0]
        if len(layout.draws) == 0:
            nothing = np.full_like(gold, np.nan)
            return self._part(gold, used, None), self._part(nothing, used, None)
        # One pass over all draws of the data set: the correction uses each of them, so that it does not depend on the number of
        # replicates, and the replicates the first ones.
        sums = np.empty((len(modes), len(layout.keys.names)))
        few: list[Floats] = []
        total, place = np.zeros_like(gold), np.zeros(layout.present.shape)
        size = max(1, CHUNK_NUMBERS // layout.present.size)
        for start in range(0, len(layout.draws), size):
            positions = self._positions(layout.draws[start : start + size])
            between = self._between(positions, mask)
            total += between.sum(axis=0)
            place += positions.sum(axis=0)
            sums[start : start + size] = self._totals(between[: max(len(modes) - start, 0)])
            if start < min(SHARED_DRAWS, len(modes)):
                few.append(self._rows(between[: min(SHARED_DRAWS, len(modes)) - start]))
        number = len(layout.draws)
        excess = total / number - self._between((place / number)[None], mask)[0]
        noise: Noise | None = None
        if len(modes):
            by_item = centred(np.nan_to_num(np.concatenate(few)).astype(np.float32))
            noise = Noise(sums - sums.mean(axis=0), by_item, self._resampler.mode_order)
        return self._part(gold, used, noise), self._part(gold - excess, used, noise)

    def _part(self, between: Floats, used: Floats, people: Noise | None) -> ResampledSum:
        """Sum the variances of each group and item, shape (kept groups, I), up to keys. `used`: pairs behind them."""
        weights = self._resampler.weights
        rows, estimate = self._rows(between), self._totals(between)
        pairs = np.nan_to_num(self._rows(used))
        by_items = weights @ rows.T - np.nan_to_num(estimate[: len(rows)])
        by_items[weights @ pairs.T == 0] = np.nan
        scale = scale_of((pairs > 0).sum(axis=1).astype(np.float64))
        return ResampledSum(estimate, np.ones(len(estimate)), centred(by_items) * scale, people, np.nan_to_num(rows))

    def _positions(self, modes: NDArray[np.integer]) -> Floats:
        """Turn option indices (B, G * I) into positions on 0..1, (B, G, I); nominal items are masked by the caller."""
        layout = self._resampler.layout
        return modes.reshape(-1, *layout.present.shape) / (layout.options - 1.0)

    def _number(self, mask: Bools) -> Floats:
        """Return the subgroups with a valid answer in each group, shape (kept groups, I)."""
        return self._groups @ mask.astype(np.float64)

    def _between(self, positions: Floats, mask: Bools) -> Floats:
        """Return the variance over the subgroups of each group, (B, G, I) -> (B, kept groups, I); 0 below two subgroups."""
        number = self._number(mask)
        masked = positions * mask
        first = np.matmul(self._groups, masked)
        second = np.matmul(self._groups, masked * masked)
        within = second - first * first / np.maximum(number, 1.0)
        return np.where(number >= 2, np.maximum(within, 0.0) / np.maximum(number - 1.0, 1.0), 0.0)

    def _rows(self, between: Floats) -> Floats:
        """Lay (..., kept groups, I) out as the keys' rows, (..., A + T, I); NaN for lone subgroups."""
        keys = self._resampler.layout.keys
        by_group = np.full((*between.shape[:-2], len(keys.groups), between.shape[-1]), np.nan)
        kept = self._kept > 0
        by_group[..., self._kept[kept] - 1, :] = between[..., kept, :]
        return np.concatenate([by_group, self._everyone(between)[..., None, :] * keys.topics], axis=-2)

    def _totals(self, between: Floats) -> Floats:
        """Sum (..., kept groups, I) over the items of each key, (..., N); NaN for lone subgroups."""
        keys = self._resampler.layout.keys
        by_group = np.full((*between.shape[:-2], len(keys.groups)), np.nan)
        kept = self._kept > 0
        by_group[..., self._kept[kept] - 1] = between[..., kept, :].sum(axis=-1)
        everyone = self._everyone(between)
        return np.concatenate([by_group, everyone @ keys.topics.T, everyone[..., keys.items]], axis=-1)

    def _everyone(self, between: Floats) -> Floats:
        """Return the variances between all subgroups, shape (..., I); NaN where there is only one."""
        lone = len(self._kept) == 0 or self._kept[0] != 0
        return np.full((*between.shape[:-2], between.shape[-1]), np.nan) if lone else between[..., 0, :]
