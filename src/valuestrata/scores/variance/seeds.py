"""Scores and comparisons of recipes: means over training seeds, with the variation between seeds in the interval.

A recipe is trained with several seeds, each giving a run. Its value is the mean of these runs. Its gain over another run is the
mean of their paired differences; over another recipe (a control), the mean of the differences of runs with the same seed.
Items and respondents are resampled as for single runs. The seed is a further random factor, and so are option orders, wordings and
templates if several were asked: `stats.variance_components.sources_of_mean` estimates what each adds to the variance of the mean
beyond the items, and `stats.intervals.widened` adds it with its few degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import polars as pl

from valuestrata.frames import Column, Schema
from valuestrata.responses.run.halves import scored_responses
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.aggregate import RANGES, PlacedRuns, long_rows
from valuestrata.scores.compare import FIELDS
from valuestrata.scores.layout import RunGrid, Values, place
from valuestrata.scores.schema import COMPARISONS
from valuestrata.stats.arrays import Bools, Floats, Indices
from valuestrata.stats.blocks import sum_blocks
from valuestrata.stats.intervals import Interval, interval, widened
from valuestrata.stats.variance_components import FACTORS, PRESENTATION, SourceOfMean, sources_of_mean

# What `included` calls the factors; the seed takes the place that personas have in `FACTORS`.
_NAMES = dict(zip(FACTORS, ("seed", *PRESENTATION), strict=True))

SEED_COMPARISONS = Schema(
    "comparisons of recipes",
    {
        **COMPARISONS.columns,
        "seeds": Column(pl.Int64, "training seeds"),
        "seed_sd": Column(pl.Float64, "standard deviation of the difference between seeds, null with one seed"),
        "seed_low": Column(pl.Float64, "smallest difference of a single seed"),
        "seed_high": Column(pl.Float64, "largest difference of a single seed"),
        "included": Column(pl.String, "factors in the interval besides items and respondents, joined by +; empty without any"),
    },
)
_OF_SEEDS = ("seed_sd", "seed_low", "seed_high")

# A run and the run it is compared with, None for its own value.
RunPair = tuple[str, str | None]


@dataclass(frozen=True)
class SeededRecipe:
    """A recipe trained with several seeds, which comparisons name like a run.

    Attributes:
        name: its name; no run has it. runs: seed -> name of its run. meta: empty, where runs have the document of `run.json`.
    """

    name: str
    runs: Mapping[int, str]
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class _Compared:
    """Differences of one metric: their interval, and by key the spread between seeds and the factors included."""

    interval: Interval
    seed_sd: Floats
    seed_low: Floats
    seed_high: Floats
    included: Sequence[str]


class SeededRuns:
    """Runs and recipes of one part of a split, placed together."""

    def __init__(self, placed: PlacedRuns, recipes: Sequence[SeededRecipe], *, vary: Sequence[str] = PRESENTATION) -> None:
        """Take placed runs (no key of a single item), the recipes, and which of `PRESENTATION` intervals include besides the seed."""
        self.placed = placed
        self._responses = {run.name: RESPONSES.check(scored_responses(run, placed.split, placed.fold), run.name) for run in placed.runs}
        self._recipes = {recipe.name: recipe for recipe in recipes}
        self._vary = [name for name in PRESENTATION if name in vary]
        self._cells: dict[tuple[str, tuple[str, ...]], RunGrid] = {}

    def rows(self, names: Sequence[RunPair], metrics: Sequence[str], confidence: float) -> pl.DataFrame:
        """Return values (against None) and differences of recipes.

        Args:
            names: (recipe or run, recipe, run or None). metrics: metrics that are means over pairs. confidence: of the intervals.

        Returns:
            SEED_COMPARISONS schema, unadjusted. Two recipes are compared on the seeds that both have.
        """
        placed, frames = self.placed, list[pl.DataFrame]()
        for run, against in names:
            pairs = self._by_seed(run, against)
            found = {metric: self._compared(pairs, metric, confidence) for metric in metrics}
            asked: Bools = reduce(np.logical_and, [placed.grid(name).asked for pair in pairs for name in pair if name is not None])
            labels = {"run": run, "against": against, "scheme": placed.split, "fold": placed.fold, "part": placed.part}
            untested = dict.fromkeys(name for pair in pairs for name in pair if name in placed.notes)
            note = "; ".join(f"{name}: {placed.notes[name]}" for name in untested if name is not None) or None
            labels |= {"adjustment": None, "status": "exploratory", "note": note}
            frame = long_rows(placed.layout, {metric: of.interval for metric, of in found.items()}, FIELDS, asked, labels)
            if against is None:
                frame = frame.with_columns(pl.lit(None, dtype=pl.Float64).alias("p"))
            columns = {name: np.stack([getattr(of, name) for of in found.values()], axis=1).ravel() for name in _OF_SEEDS}
            frames.append(
                frame.with_columns(
                    *(pl.Series(name, values, nan_to_null=True) for name, values in columns.items()),
                    pl.Series(
                        "included", [name for by_key in zip(*(of.included for of in found.values()), strict=True) for name in by_key]
                    ),
                    pl.lit(None, dtype=pl.Float64).alias("p_adjusted"),
                    pl.lit(len(pairs), dtype=pl.Int64).alias("seeds"),
                ).select(list(SEED_COMPARISONS.columns))
            )
        return SEED_COMPARISONS.check(pl.concat(frames), "comparisons of recipes") if frames else SEED_COMPARISONS.empty()

    def _by_seed(self, run: str, against: str | None) -> list[RunPair]:
        """Return the runs to compare, one pair for each seed."""
        mine, theirs = (self._recipes[name].runs if name in self._recipes else None for name in (run, against))
        if mine is None:
            return [(run, against)] if theirs is None else [(run, other) for other in theirs.values()]
        return [(own, against if theirs is None else theirs[seed]) for seed, own in mine.items() if theirs is None or seed in theirs]

    def _compared(self, pairs: Sequence[RunPair], metric: str, confidence: float) -> _Compared:
        low, high = RANGES.get(metric, (0.0, 1.0))
        if pairs[0][1] is not None:
            low, high = low - high, high - low
        values = [self._values(pair, (), metric) for pair in pairs]
        replicates = self.placed.resampler.replicates(mean_of(values))
        found = interval(replicates, confidence, low, high)
        common: Bools = ~np.isnan(sum(value.gold for value in values))
        factors, golds, complete = self._crossed(pairs, metric, common)
        sources = [sources_of_mean(factors, parts, weights) for parts, weights in self._parts(golds, complete)]
        of_seeds = np.array([parts.sum(axis=1) for parts, _ in self._parts([value.gold for value in values], common)]).T
        of_seeds = np.where(np.isnan(found.estimate), np.nan, of_seeds)
        freedom = np.full_like(found.estimate, np.inf) if replicates.freedom is None else replicates.freedom
        return _Compared(
            interval=widened(found, freedom, _stacked(sources), confidence, low, high),
            seed_sd=of_seeds.std(axis=0, ddof=1) if len(pairs) > 1 else np.full_like(found.estimate, np.nan),
            seed_low=of_seeds.min(axis=0),
            seed_high=of_seeds.max(axis=0),
            included=["+".join(_NAMES[name] for name in FACTORS if any(name in one.block for one in of or ())) for of in sources],
        )

    def _crossed(self, pairs: Sequence[RunPair], metric: str, common: Bools) -> tuple[Indices, list[Floats], Bools]:
        """Cross the seeds with the presentations asked.

        Returns:
            Levels of `FACTORS` of the N cells, shape (N, 4); their values, each (G, I); the pairs with a value in all, (G, I).
            Cells are the seeds alone if no pair has a value in all presentations (too few samples for a distribution).
        """
        asked = [sorted(set(self._presentations(run).iter_rows()), key=str) for run, _ in pairs]
        cells = [(place_, cell) for place_, own in enumerate(asked) for cell in own]
        if len({cell for _, cell in cells}) > 1:
            golds = [self._values(pairs[place_], cell, metric).gold for place_, cell in cells]
            complete: Bools = common & ~np.isnan(sum(golds))
            if complete.any():
                return self._numbered(cells), golds, complete
        return (
            self._numbered([(place_, ()) for place_ in range(len(pairs))]),
            [self._values(pair, (), metric).gold for pair in pairs],
            common,
        )

    def _numbered(self, cells: Sequence[tuple[int, tuple[Any, ...]]]) -> Indices:
        columns = [[seed for seed, _ in cells]]
        for name in PRESENTATION:
            levels = [cell[self._vary.index(name)] if cell and name in self._vary else None for _, cell in cells]
            columns.append([sorted(set(levels), key=str).index(level) for level in levels])
        return np.array(columns, dtype=np.intp).T

    def _presentations(self, run: str) -> pl.DataFrame:
        return self._responses[run].select(self._vary)

    def _values(self, pair: RunPair, cell: tuple[Any, ...], metric: str) -> Values:
        run, against = pair
        mine = self._grid(run, cell).metrics[metric]
        if against is None:
            return mine
        # A baseline was not asked in several presentations; it answers the same in all.
        asked = not cell or cell in set(self._presentations(against).iter_rows())
        return mine.minus(self._grid(against, cell if asked else ()).metrics[metric])

    def _grid(self, run: str, cell: tuple[Any, ...]) -> RunGrid:
        """Return a run's place in the layout, or that of its answers in one presentation."""
        if not cell:
            return self.placed.grid(run)
        if (run, cell) not in self._cells:
            here = pl.all_horizontal(pl.col(name).eq_missing(level) for name, level in zip(self._vary, cell, strict=True))
            self._cells[run, cell] = place(self.placed.layout, run, self._responses[run].filter(here))
        return self._cells[run, cell]

    def _parts(self, golds: Sequence[Floats], common: Bools) -> list[tuple[Floats, Floats]]:
        """Return, by key, the parts of each cell's mean that come from each unit resampled, (N, U), and the units' shares, (U,)."""
        keys, resampler = self.placed.layout.keys, self.placed.resampler
        counts = keys.rows(common.astype(np.float64))
        units = resampler.units(counts)
        sums = np.stack([keys.rows(np.where(common, gold, 0.0)) for gold in golds])
        pairs = np.maximum(counts.sum(axis=1), 1.0)
        found: list[tuple[Floats, Floats]] = []
        for key, by_block in enumerate(units.by_block):
            unit = units.blocks if by_block else self.placed.layout.questions
            found.append((sum_blocks(sums[:, key] / pairs[key], unit), sum_blocks(counts[key] / pairs[key], unit)))
        return found


def mean_of(values: Sequence[Values]) -> Values:
    """Return the mean of a metric over runs, pair by pair and redraw by redraw; NaN where a run has no value."""
    by_mode = [value.by_mode for value in values if value.by_mode is not None]
    by_share = [value.by_share for value in values if value.by_share is not None]
    count = len(values)
    return Values(
        gold=np.mean([value.gold for value in values], axis=0),
        by_mode=np.stack(by_mode).mean(axis=0) if len(by_mode) == count else None,
        by_share=np.stack(by_share).mean(axis=0) if len(by_share) == count else None,
        exact=all(value.exact for value in values),
    )


def _stacked(found: Sequence[Sequence[SourceOfMean] | None]) -> list[tuple[Floats, Floats]]:
    """Return (variance, degrees of freedom) of each source, over the keys; NaN variances where the factors cannot be told apart."""
    count = max((len(of) for of in found if of is not None), default=0)
    if any(of is None for of in found):
        count = max(count, 1)
    variance, freedom = np.zeros((count, len(found))), np.ones((count, len(found)))
    for key, of in enumerate(found):
        if of is None:
            variance[:, key] = np.nan
        for place_, source in enumerate(of or ()):
            variance[place_, key], freedom[place_, key] = source.variance, source.freedom
    return list(zip(variance, freedom, strict=True))
