"""Spread ratios: how much a model's answers differ between subgroups, relative to the gold.

    spread_ratio = sum_i var_g(answer position of pair (g, i)) / sum_i var_g(position of the gold mode of (g, i))

over the items i of a key and the subgroups g of an item with a valid answer (at least two). Positions are divided by K - 1,
variances are sample variances, and nominal items are left out. A pair asked several times has its mean position. Below 1 the
model flattens differences, above 1 it exaggerates them.

The modes of small cells are noisy, which increases the denominator. `spread_ratio_corrected` subtracts that noise:

    noise_i = mean_b var_g(m_b(g, i)) - var_g(mean_b m_b(g, i)),   m_b the mode in redraw b.

For disjoint subgroups this is, in expectation, the mean variance of a redrawn mode; for overlapping ones it leaves out the noise
they share. The ratio is null where the gold does not vary (after correction: not more than its noise).

**Interpretation.** Noise also pulls the expected mode of a near tie toward the middle. The corrected denominator is the spread of
expected modes: a model that gives the average result of such surveys scores 1 (1.0 to 1.05 in simulated cells of 15 to 200
people). A model that gives the population mode is below 1 raw and above 1 corrected (.83 and 1.26 at 15 people, .94 and 1.14 at
80). So a corrected ratio below 1 shows flattening, and a raw ratio above 1 shows exaggeration. Noise in a model's own answers (one
sample at a high temperature) stays in the numerator.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.scores.resampling import CHUNK_NUMBERS, Resampler
from valuestrata.scores.schema import SCORES
from valuestrata.stats.arrays import Bools, Floats
from valuestrata.stats.bootstrap import SHARED_DRAWS, Noise, Replicates, ResampledSum, centred, scale_of
from valuestrata.stats.ratios import ratio


class Spread:
    """Spread ratios over one layout; denominators are cached by the set of valid pairs."""

    def __init__(self, resampler: Resampler) -> None:
        self._resampler = resampler
        layout = resampler.layout
        # The first group contains all subgroups; topics and single items use it.
        groups = np.concatenate([np.ones((1, len(layout.subgroups))), layout.keys.groups])
        # A group of one subgroup has no spread; its ratios are NaN.
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
        units = self._resampler.units(np.nan_to_num(self._rows(used)))
        items[: len(units.number)] = units.number
        raw, corrected = (ratio(answers, below, items, pairs, units) for below in self._of_gold[key])
        return {"spread_ratio": raw, "spread_ratio_corrected": corrected}

    def _gold(self, mask: Bools) -> tuple[ResampledSum, ResampledSum]:
        """Return the denominators, raw and corrected: sums over items of the variance between modes."""
        layout, modes = self._resampler.layout, self._resampler.modes
        number = self._number(mask)
        used = np.where(number >= 2, number, 0.0)
        gold = self._between(self._positions(layout.mode[None]), mask)[0]
        if len(layout.draws) == 0:
            nothing = np.full_like(gold, np.nan)
            return self._part(gold, used, None), self._part(nothing, used, None)
        # The correction uses all redraws, so it does not depend on the number of replicates; the replicates use the first ones.
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
        """Sum variances of groups and items, shape (kept groups, I), to keys; `used` counts their pairs."""
        rows, estimate = self._rows(between), self._totals(between)
        pairs = np.nan_to_num(self._rows(used))
        resampler, units = self._resampler, self._resampler.units(pairs)
        by_items = resampler.sums(units, rows) - np.nan_to_num(estimate[: len(rows)])
        by_items[resampler.sums(units, pairs) == 0] = np.nan
        return ResampledSum(estimate, np.ones(len(estimate)), centred(by_items) * scale_of(units.number), people, np.nan_to_num(rows))

    def _positions(self, modes: NDArray[np.integer]) -> Floats:
        """Return option indices (B, G * I) as positions on 0..1, (B, G, I); the caller masks nominal items."""
        layout = self._resampler.layout
        return modes.reshape(-1, *layout.present.shape) / (layout.options - 1.0)

    def _number(self, mask: Bools) -> Floats:
        """Return the number of subgroups with a valid answer, shape (kept groups, I)."""
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
        """Return (..., kept groups, I) as rows of the keys, (..., A + T, I); NaN for single subgroups."""
        keys = self._resampler.layout.keys
        by_group = np.full((*between.shape[:-2], len(keys.groups), between.shape[-1]), np.nan)
        kept = self._kept > 0
        by_group[..., self._kept[kept] - 1, :] = between[..., kept, :]
        return np.concatenate([by_group, self._everyone(between)[..., None, :] * keys.topics], axis=-2)

    def _totals(self, between: Floats) -> Floats:
        """Sum (..., kept groups, I) over the items of each key, (..., N); NaN for single subgroups."""
        keys = self._resampler.layout.keys
        by_group = np.full((*between.shape[:-2], len(keys.groups)), np.nan)
        kept = self._kept > 0
        by_group[..., self._kept[kept] - 1] = between[..., kept, :].sum(axis=-1)
        everyone = self._everyone(between)
        return np.concatenate([by_group, everyone @ keys.topics.T, everyone[..., keys.items].sum(axis=-1)], axis=-1)

    def _everyone(self, between: Floats) -> Floats:
        """Return the variances between all subgroups, shape (..., I); NaN with only one subgroup."""
        single = len(self._kept) == 0 or self._kept[0] != 0
        return np.full((*between.shape[:-2], between.shape[-1]), np.nan) if single else between[..., 0, :]


def spread_by_attribute(scores: pl.DataFrame) -> pl.DataFrame:
    """Return each run's spread ratios by attribute with their interpretation (`word`).

    `flattened` if the interval of the corrected ratio is below 1, `exaggerated` if that of the raw ratio is above 1 (see above),
    `indistinguishable from 1` if both intervals are known and neither holds, else `not known`.

    Args:
        scores: SCORES rows.

    Returns:
        run, scheme, fold, part, attribute; raw, raw_low, raw_high; corrected, corrected_low, corrected_high; pairs; word.
    """
    rows = SCORES.check(scores, "scores").filter((pl.col("by") == "attribute") & pl.col("against").is_null())
    place = ["run", "scheme", "fold", "part", "key"]

    def of(metric: str, name: str, *more: str) -> pl.DataFrame:
        named = {"value": name, "ci_low": f"{name}_low", "ci_high": f"{name}_high"}
        return rows.filter(pl.col("metric") == metric).select(*place, *more, *named).rename(named)

    raw, corrected = of("spread_ratio", "raw", "pairs"), of("spread_ratio_corrected", "corrected")
    joined = raw.join(corrected, on=place, how="left", nulls_equal=True, maintain_order="left").rename({"key": "attribute"})
    known = pl.col("raw_low").is_not_null() & pl.col("corrected_high").is_not_null()
    word = (
        pl.when(pl.col("corrected_high") < 1)
        .then(pl.lit("flattened"))
        .when(pl.col("raw_low") > 1)
        .then(pl.lit("exaggerated"))
        .when(known)
        .then(pl.lit("indistinguishable from 1"))
        .otherwise(pl.lit("not known"))
    )
    order = ["run", "scheme", "fold", "part", "attribute", "raw", "raw_low", "raw_high", "corrected", "corrected_low", "corrected_high"]
    return joined.with_columns(word.alias("word")).select(*order, "pairs", "word")
