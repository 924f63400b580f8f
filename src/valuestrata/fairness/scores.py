"""Scores of one metric of one run, with every contrast and null distribution that the tables need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from valuestrata.fairness.context import AuditContext, AuditPopulation
from valuestrata.fairness.estimate.contrasts import (
    Contrast,
    ContrastSums,
    ContrastWeights,
    contrast,
    contrast_sums,
    item_means,
    redraw_pairs,
    unit_grid,
    unit_weights,
)
from valuestrata.fairness.estimate.disparity import CorrectedVariance, corrected_variance
from valuestrata.fairness.estimate.gaps import gap_weights
from valuestrata.fairness.estimate.groups import residual_weights
from valuestrata.fairness.estimate.intersections import excess_weights
from valuestrata.fairness.estimate.null_spread import SpreadNulls, null_measures
from valuestrata.fairness.estimate.nulls import CentredGrid, PermutedSums, centre, distinct_permutations, permute, unit_scores
from valuestrata.scores.layout import Values
from valuestrata.stats.arrays import Floats, Singles

# Families of contrasts: unit means, residuals within strata, gaps between levels, intersections against their levels.
FAMILIES = ("units", "residuals", "gaps", "excess")
# Redraws kept for the model of difficulty.
MODEL_DRAWS = 100

Mask = NDArray[np.bool_]
WeightsOf = Callable[[str, Mask], ContrastWeights]


def family_weights(context: AuditContext, family: str, mask: Mask) -> ContrastWeights:
    """Return the contrasts of one of FAMILIES for the pairs of a mask (G, I)."""
    if family == "units":
        return unit_weights(context.units, mask)
    if family == "residuals":
        return residual_weights(mask, context.strata)
    if family == "gaps":
        return gap_weights(context.pairs, mask)
    return excess_weights(mask, context.strata, context.levels)


@dataclass(frozen=True)
class PermutedScores:
    """Permuted residuals of one grid: of the subgroups' cells, and of the levels' item means."""

    cells: PermutedSums
    levels: PermutedSums


def permute_scores(context: AuditContext, grids: Sequence[Floats], permutations: int, seed: int) -> list[PermutedScores]:
    """Permute grids (G, I); grids with the same pairs share each permutation."""
    cells = permute([centre(grid, context.strata, context.blocks) for grid in grids], context.strata, permutations, seed)
    means = [centre(unit_grid(context.pairs.members, grid), context.attribute_of, context.blocks) for grid in grids]
    levels = permute(means, context.attribute_of, permutations, seed)
    return [PermutedScores(*both) for both in zip(cells, levels, strict=True)]


@dataclass(frozen=True)
class PopulationSpread:
    """The corrected variance of a population's scores, and the null distributions of its spread.

    Attributes:
        distinct: how many permutations of it differ (`nulls.distinct_permutations`).
    """

    population: AuditPopulation
    corrected: CorrectedVariance
    nulls: SpreadNulls
    distinct: float


@dataclass(frozen=True)
class MetricScores:
    """One metric of one run, or of the difference of two runs. Derived values are computed on first use.

    Attributes:
        values: the pairs. sums: family -> sums behind its contrasts.
        excess_mask: shape (G, I), pairs that count for the intersections. permuted: permutations of the pairs, or None.
        model_draws: the metric in the first redraws, deviations of shape (MODEL_DRAWS, G, I), or None.
    """

    context: AuditContext
    values: Values
    sums: Mapping[str, ContrastSums]
    excess_mask: Mask | None = None
    permuted: PermutedScores | None = None
    model_draws: Singles | None = None

    @cached_property
    def mask(self) -> Mask:
        """Pairs with a value, shape (G, I)."""
        return ~np.isnan(self.values.gold)

    @cached_property
    def centred(self) -> CentredGrid:
        """The pairs minus the means of item and stratum."""
        return centre(self.values.gold, self.context.strata, self.context.blocks)

    @cached_property
    def units(self) -> Contrast:
        """Mean over the pairs of each unit, (U,)."""
        return contrast(self.context.resampler, self.sums["units"])

    @cached_property
    def residuals(self) -> Contrast:
        """Mean residual of each subgroup, (G,)."""
        return contrast(self.context.resampler, self.sums["residuals"])

    @cached_property
    def gaps(self) -> Contrast:
        """Gap of each pair of levels, (K,)."""
        return contrast(self.context.resampler, self.sums["gaps"])

    @cached_property
    def excess(self) -> Contrast:
        """Score of each subgroup minus what its levels explain, (G,)."""
        return contrast(self.context.resampler, self.sums["excess"])

    @cached_property
    def everyone(self) -> Contrast:
        """Mean over all pairs, (1,)."""
        return contrast(self.context.resampler, self.sums["units"].total(len(self.context.stratum)))

    @cached_property
    def redrawn(self) -> Floats:
        """Deviations of each subgroup's sum over items in each redraw, shape (D, G); D = 0 without noise of respondents."""
        groups = len(self.context.stratum)
        sums = self.sums["units"].sums
        return np.empty((0, groups)) if sums is None else sums[:, :groups]

    @cached_property
    def grid(self) -> Floats:
        """Mean of each unit's pairs of an item, shape (U, I); NaN without a pair."""
        return unit_grid(self.context.units, self.values.gold)

    @cached_property
    def pairs(self) -> Floats:
        """Pairs of each unit, shape (U,)."""
        return self.context.units @ self.mask.sum(axis=1)

    @cached_property
    def spreads(self) -> Sequence[PopulationSpread]:
        """Corrected variance and nulls of each of the context's populations; needs permutations."""
        return [self._spread(population) for population in self.context.populations]

    def _spread(self, population: AuditPopulation) -> PopulationSpread:
        context, units, permuted = self.context, population.units, self.permuted
        assert permuted is not None, "the spread of a population needs permutations"
        groups = len(context.stratum)
        members = context.units[units]
        corrected = corrected_variance(self.grid[units], context.blocks)
        # Weight of a subgroup's pair in its unit's item mean, on average over the subgroup's items.
        share = item_means(members, self.mask).sum(axis=2) / np.maximum(self.centred.pairs, 1.0)
        by_redraw = (unit_scores(members, self.centred, self.redrawn), self.redrawn @ share.T)
        strata = context.strata if population.by == "all" else context.attribute_of[units - groups]
        distinct = distinct_permutations(~np.isnan(self.grid[units]), strata, context.blocks)
        if population.by == "all":
            by_permutation = (unit_scores(members, self.centred, permuted.cells.sums), permuted.cells.sums)
        else:
            sums = permuted.levels.sums[:, units - groups]
            base = unit_scores(members, self.centred, np.zeros((1, groups)))
            by_permutation = (base + sums / np.maximum((~np.isnan(self.grid[units])).sum(axis=1), 1), sums)
        known = ~np.isnan(corrected.effects)
        alike = unit_grid(members, self.values.gold - self.centred.residual)
        base = corrected_variance(alike).effects[known] if known.any() else None
        permuted_null, redrawn_null = (null_measures(corrected, base, *null) for null in (by_permutation, by_redraw))
        return PopulationSpread(population, corrected, SpreadNulls(permuted_null, redrawn_null, context.confidence), distinct)


def score_metric(
    context: AuditContext,
    values: Values,
    *,
    families: Sequence[str] = FAMILIES,
    weights: WeightsOf | None = None,
    permuted: PermutedScores | None = None,
) -> MetricScores:
    """Compute the contrasts of a metric. Redraws of single pairs exist only while this runs.

    Args:
        values: the pairs. families: which contrasts. weights: returns the contrasts of a family and mask; `family_weights` if None.
        permuted: permutations of the same pairs.
    """
    mask = ~np.isnan(values.gold)
    redraws = redraw_pairs(context.resampler, values)
    sums: dict[str, ContrastSums] = {}
    excess_mask: Mask | None = None
    for family in families:
        if family == "gaps" and not context.pairs.names:
            continue
        made = family_weights(context, family, mask) if weights is None else weights(family, mask)
        sums[family] = contrast_sums(made, values, redraws)
        excess_mask = made.counts > 0 if family == "excess" else excess_mask
    draws = None if redraws is None else redraws.values[:MODEL_DRAWS].copy()
    return MetricScores(context, values, sums, excess_mask, permuted, draws)


def subtract(run: MetricScores, other: MetricScores, families: Sequence[str], weights: WeightsOf | None = None) -> MetricScores:
    """Return the contrasts of run - other on the pairs that both have."""
    values = run.values.minus(other.values)
    if bool((run.mask == other.mask).all()):
        return MetricScores(run.context, values, {family: run.sums[family].minus(other.sums[family]) for family in families})
    return score_metric(run.context, values, families=families, weights=weights)


class ScoreCache:
    """Scores of the runs of one audit. The only object that keeps them, for as long as the audit runs.

    Kept: permuted sums of every run and metric, weights of the last KEPT_WEIGHTS masks, and the scores of runs that others are compared
    with (a baseline, a run before). Scores of other runs are computed when asked for and not kept. Redraws of single pairs are never kept.
    """

    # Four families of three masks.
    KEPT_WEIGHTS = 12

    def __init__(
        self,
        context: AuditContext,
        values: Mapping[tuple[int, str], Values],
        reused: set[tuple[int, str]],
        permutations: int,
        seed: int,
    ) -> None:
        """Permute all runs.

        Args:
            values: (position of the run, metric) -> pairs. reused: those asked for more than once.
            permutations, seed: of the permuted null.
        """
        self.context = context
        self._values, self._reused = values, reused
        self._permutations, self._seed = permutations, seed
        permuted = permute_scores(context, [one.gold for one in values.values()], permutations, seed)
        self._permuted = dict(zip(values, permuted, strict=True))
        self._scores: dict[tuple[int, str], MetricScores] = {}
        self._weights: dict[tuple[str, bytes], ContrastWeights] = {}

    def scores(self, run: int, metric: str) -> MetricScores:
        """Return the scores of a run by a metric."""
        key = (run, metric)
        if key in self._scores:
            return self._scores[key]
        made = score_metric(self.context, self._values[key], weights=self.weights, permuted=self._permuted[key])
        if key in self._reused:
            self._scores[key] = made
        return made

    def on_common_pairs(self, before: MetricScores, after: MetricScores) -> tuple[MetricScores, MetricScores]:
        """Restrict two runs to the pairs that both have; returns them unchanged where they have the same pairs."""
        if bool((before.mask == after.mask).all()):
            return before, after
        both = before.mask & after.mask
        values = [one.values.on(both) for one in (before, after)]
        permuted = permute_scores(self.context, [one.gold for one in values], self._permutations, self._seed)
        made = [
            score_metric(self.context, one, families=("units",), weights=self.weights, permuted=exchanged)
            for one, exchanged in zip(values, permuted, strict=True)
        ]
        return made[0], made[1]

    def weights(self, family: str, mask: Mask) -> ContrastWeights:
        """Return the contrasts of a family for a mask; the oldest are dropped beyond KEPT_WEIGHTS."""
        key = (family, np.packbits(mask).tobytes())
        if key not in self._weights:
            if len(self._weights) >= self.KEPT_WEIGHTS:
                self._weights.pop(next(iter(self._weights)))
            self._weights[key] = family_weights(self.context, family, mask)
        return self._weights[key]
