"""Every measure of spread under `all alike`, for each population of an audit: the two nulls of `nulls` applied to its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from valuestrata.fairness.context import Population, Scored, Setting
from valuestrata.fairness.estimate.contrasts import unit_grid
from valuestrata.fairness.estimate.disparity import Corrected, corrected_variance, measures
from valuestrata.fairness.estimate.nulls import Permuted, centre, permute, unit_scores
from valuestrata.stats.arrays import Floats


@dataclass(frozen=True)
class Exchanged:
    """Permuted residuals of one grid: of its subgroups' cells, and of the levels' means of items.

    Attributes:
        known: what came of them for a population, so that a run that others are compared with is worked out once.
    """

    cells: Permuted
    levels: Permuted
    known: dict[tuple[str, str], Nulls] = field(default_factory=lambda: {}, compare=False, repr=False)


@dataclass(frozen=True)
class Alike:
    """How `all alike` is made: B = `permutations` with a seed; redraws of respondents come with the scores."""

    setting: Setting
    permutations: int
    seed: int

    def exchanged(self, grids: Sequence[Floats]) -> list[Exchanged]:
        """Permute grids (G, I); those with the same pairs share each permutation."""
        setting = self.setting
        cells = permute([centre(grid, setting.strata) for grid in grids], setting.strata, self.permutations, self.seed)
        means = [centre(unit_grid(setting.pairs.members, grid), setting.attribute_of) for grid in grids]
        levels = permute(means, setting.attribute_of, self.permutations, self.seed)
        return [Exchanged(*both) for both in zip(cells, levels, strict=True)]


@dataclass(frozen=True)
class Null:
    """A measure under the null that reaches further.

    Attributes:
        values: shape (B,), without those where it is undefined; empty where there is no null.
        mean: what noise alone gives. high: its point `share`. NaN where there is no null.
    """

    values: Floats
    mean: float
    high: float


@dataclass(frozen=True)
class Nulls:
    """Every measure of one population under both nulls, each of shape (B,) or (D,); a null that is not there holds none.

    Attributes:
        permuted, redrawn: measure -> values. share: the point by which the wider one is chosen.
    """

    permuted: Mapping[str, Floats]
    redrawn: Mapping[str, Floats]
    share: float

    def wider(self, measure: str) -> Null:
        """Return a measure under the null whose point `share` is the larger."""
        known = [values[~np.isnan(values)] for values in (null.get(measure, np.empty(0)) for null in (self.permuted, self.redrawn))]
        found = [Null(values, float(values.mean()), float(np.quantile(values, self.share))) for values in known if len(values)]
        return max(found, key=lambda null: null.high, default=Null(np.empty(0), np.nan, np.nan))

    def means(self, measure: str) -> tuple[float, float]:
        """Return the mean of a measure under either null, NaN where it is not known."""
        permuted, redrawn = (
            float(np.nanmean(values)) if np.isfinite(values).any() else np.nan
            for values in (null.get(measure, np.empty(0)) for null in (self.permuted, self.redrawn))
        )
        return permuted, redrawn


def nulls_of(setting: Setting, found: Scored, population: Population, corrected: Corrected, exchanged: Exchanged) -> Nulls:
    """Return every measure of a population if all were alike.

    Args:
        setting: shared. found: the scores. population: whose. corrected: the corrected variance of the same units.
        exchanged: permutations of the same grid.
    """
    known = exchanged.known.get((population.by, population.key))
    if known is not None:
        return known
    groups = len(setting.stratum)
    units = population.units
    members = setting.units[units]
    by_redraw = (unit_scores(members, found.centred, found.redrawn), found.redrawn @ found.share[units].T)
    if population.by == "all":
        by_exchange = (unit_scores(members, found.centred, exchanged.cells.sums), exchanged.cells.sums)
    else:
        sums = exchanged.levels.sums[:, units - groups]
        base = unit_scores(members, found.centred, np.zeros((1, groups)))
        by_exchange = (base + sums / np.maximum((~np.isnan(found.grid[units])).sum(axis=1), 1), sums)
    told = ~np.isnan(corrected.effects)
    base = corrected_variance(found.base_grid[units]).effects[told] if told.any() else None
    permuted, redrawn = (_measures(corrected, base, *null) for null in (by_exchange, by_redraw))
    exchanged.known[population.by, population.key] = Nulls(permuted, redrawn, setting.confidence)
    return exchanged.known[population.by, population.key]


def _measures(corrected: Corrected, base: Floats | None, scores: Floats, sums: Floats) -> dict[str, Floats]:
    """Return every measure under a null, each of shape (B,); none without a null.

    Of the corrected variance: the effects that the base alone has, since strata are not made alike, plus what the null adds to them;
    the variance of the sum less the mean of what noise adds to it.

    Args:
        corrected: of the same units. base: effects that the base alone has, of those whose effect is known; None where none is.
        scores: shape (B, U), under the null. sums: shape (B, U), over items, of what the null adds to the base.
    """
    if len(sums) == 0:
        return {}
    measured = measures(np.clip(scores, 0.0, 1.0))
    if base is None:
        unknown = np.full(len(sums), np.nan)
        return {**measured, "variance_corrected": unknown, "spread_corrected": unknown}
    variance = (base + (sums @ corrected.inverse)[:, ~np.isnan(corrected.effects)]).var(axis=1, ddof=1)
    centred = variance - variance.mean() + base.var(ddof=1)
    return {**measured, "variance_corrected": centred, "spread_corrected": np.sqrt(np.maximum(centred, 0.0))}
