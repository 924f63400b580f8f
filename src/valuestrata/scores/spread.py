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

from valuestrata.scores.bootstrap import CHUNK_NUMBERS, Replicates, Resamples
from valuestrata.scores.pairs import Floats

# A sum of variances below this is rounding.
NOTHING = 1e-12


class Spread:
    """Spread ratios of runs over one layout; the gold's side is worked out once for all runs with the same valid pairs."""

    def __init__(self, resamples: Resamples) -> None:
        self._resamples = resamples
        layout = resamples.layout
        # One more group in front, of all subgroups: topics and single items compare all of them.
        groups = np.concatenate([np.ones((1, len(layout.subgroups))), layout.keys.groups])
        # A group of a single subgroup has no spread; its ratios stay NaN without being worked out.
        self._kept = np.flatnonzero(groups.sum(axis=1) > 1)
        self._groups = groups[self._kept]
        self._of_gold: dict[bytes, tuple[Floats, Floats]] = {}

    def replicates(self, position: Floats) -> dict[str, Replicates]:
        """Return spread_ratio and spread_ratio_corrected.

        Args:
            position: shape (G, I), mean answer position on 0..1, NaN for pairs left out.
        """
        mask = ~np.isnan(position)
        key = np.packbits(mask).tobytes()
        if key not in self._of_gold:
            self._of_gold[key] = self._gold(mask)
        raw, corrected = self._of_gold[key]
        keys, weights = self._resamples.layout.keys, self._resamples.weights
        answers = self._up(self._between(np.nan_to_num(position)[None], mask), weights)
        number = self._number(mask)
        usable = self._up(np.where(number >= 2, number, 0.0)[None], weights)
        pairs = np.nan_to_num(usable[0])

        def ratio(gold: Floats) -> Floats:
            values = np.full(gold.shape, np.nan)
            # Nothing drawn: NaN, left out. Drawn, but the labels do not differ: no upper bound.
            values[usable > 0] = np.inf
            np.divide(answers, gold, out=values, where=(usable > 0) & (gold > NOTHING))
            values[0, np.isinf(values[0])] = np.nan
            return values

        assert answers.shape[1] == len(keys.names)
        return {
            "spread_ratio": Replicates(ratio(raw), pairs, centred=True),
            "spread_ratio_corrected": Replicates(ratio(corrected), pairs, centred=True),
        }

    def _gold(self, mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return the resampled denominators, raw and corrected, each of shape (1 + B, N).

        A redraw's modes vary more than the gold modes, by the noise of the redraw; the mean excess is taken off item by
        item, so that replicates scatter around the estimate and not above it.
        """
        resamples, layout = self._resamples, self._resamples.layout
        sums = np.empty((len(resamples.weights), len(layout.keys.names)))
        for rows, modes in resamples.chunks():
            sums[rows] = self._up(self._between(self._positions(modes), mask), resamples.weights[rows])
        if len(layout.draws) == 0:
            return sums, np.full_like(sums, np.nan)
        excess, noise = self._noise(mask)
        raw = sums - self._up(excess[None], resamples.weights)
        raw[0] = sums[0]
        return raw, raw - self._up(noise[None], resamples.weights)

    def _noise(self, mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return, of shape (kept groups, I), how much more redrawn modes vary than gold modes, and the noise in them.

        All draws of the data set are used, so that the corrected ratio does not depend on the number of replicates.
        """
        layout = self._resamples.layout
        total, place = np.zeros((len(self._kept), layout.present.shape[1])), np.zeros(layout.present.shape)
        size = max(1, CHUNK_NUMBERS // layout.present.size)
        for start in range(0, len(layout.draws), size):
            positions = self._positions(layout.draws[start : start + size])
            total += self._between(positions, mask).sum(axis=0)
            place += positions.sum(axis=0)
        mean = total / len(layout.draws)
        excess = mean - self._between(self._positions(layout.mode[None]), mask)[0]
        return excess, mean - self._between((place / len(layout.draws))[None], mask)[0]

    def _positions(self, modes: NDArray[np.integer]) -> Floats:
        """Turn option indices (B, G * I) into positions on 0..1, (B, G, I); nominal items are masked by the caller."""
        layout = self._resamples.layout
        return modes.reshape(-1, *layout.present.shape) / (layout.options - 1.0)

    def _number(self, mask: NDArray[np.bool_]) -> Floats:
        """Return the subgroups with a valid answer in each group, shape (kept groups, I)."""
        return self._groups @ mask.astype(np.float64)

    def _between(self, positions: Floats, mask: NDArray[np.bool_]) -> Floats:
        """Return the variance over the subgroups of each group, (B, G, I) -> (B, kept groups, I); 0 below two subgroups."""
        number = self._number(mask)
        masked = positions * mask
        first = np.matmul(self._groups, masked)
        second = np.matmul(self._groups, masked * masked)
        within = second - first * first / np.maximum(number, 1.0)
        return np.where(number >= 2, np.maximum(within, 0.0) / np.maximum(number - 1.0, 1.0), 0.0)

    def _up(self, between: Floats, weights: Floats) -> Floats:
        """Sum (B or 1, kept groups, I) over items with their weights (B, I) up to the keys, (B, N); NaN for lone subgroups."""
        keys = self._resamples.layout.keys
        by_group = np.full((len(weights), len(keys.groups)), np.nan)
        groups = np.matmul(between, weights[:, :, None])[:, :, 0] if len(between) > 1 else weights @ between[0].T
        kept = self._kept > 0
        by_group[:, self._kept[kept] - 1] = groups[:, kept]
        everyone = between[:, 0] if len(self._kept) and self._kept[0] == 0 else np.full((len(between), weights.shape[1]), np.nan)
        return keys.combine(by_group, everyone, everyone * weights)
