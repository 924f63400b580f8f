"""Scores relative to the best cheap baseline and to the ceiling.

    relative = (score - baseline) / (bound - baseline)

The bound of expected accuracy is ceiling_oracle, of NMAE floor_nmae, of W1 floor_w1 and of RPS floor_rps, on the pairs that run
and baseline both have a value for. 0 is the baseline; 1 is the expected score of someone who knows the population but not these
respondents (`dataset.population`). Gains are positive where the run is better, for distances too.

**Noise of the bound.** In a redraw, a bound has the expected score of the population's mode, each option as likely as its `p_true`
(ceiling_oracle, floor_nmae). It therefore shares items and redraws with run and baseline. floor_w1 and floor_rps depend on the size
of the sample and not on who was drawn, so they share only items. Data sets of older versions have no `p_true`: the likeliest mode of
the redraws takes its place, and their ceilings are higher than anyone can reach.

**Saturated.** Where the interval of bound - baseline is not above 0, the remaining gap is within sampling noise. A ratio with that
denominator has no bounded interval (Fieller 1954), so `relative` is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.progress import Advance, no_progress
from valuestrata.scores.aggregate import PlacedRuns, RunLike, check_call
from valuestrata.scores.best_baseline import best_baseline
from valuestrata.scores.distances import padded
from valuestrata.scores.layout import BY, Layout, RunGrid, Values
from valuestrata.scores.resampling import Resampler
from valuestrata.scores.schema import RELATIVE
from valuestrata.stats.arrays import Floats
from valuestrata.stats.bootstrap import ResampledMean
from valuestrata.stats.intervals import Interval, interval
from valuestrata.stats.ratios import ratio

# Metric -> its bound, and +1 where higher is better.
BOUNDS: Mapping[str, tuple[str, int]] = {
    "accuracy_expected": ("ceiling_oracle", 1),
    "nmae": ("floor_nmae", -1),
    "w1": ("floor_w1", -1),
    "rps": ("floor_rps", -1),
}


def relative(
    dataset: Dataset,
    runs: Sequence[RunLike],
    *,
    baselines: Sequence[str],
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    by: Sequence[str] = BY,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return gains over the best cheap baseline and relative scores of every run.

    For each metric one baseline is used for all keys: the best over all pairs of the part (see `best_baseline`).

    Args:
        dataset: the ground truth. runs: what to score, including the baselines; the best baseline has gain 0.
        baselines: names of the cheap baselines among `runs`; may be empty.
        split, part, fold, by, bootstrap, seed, confidence: as for `score`.

    Returns:
        RELATIVE schema, ordered by run, key (as in `score`) and metric (as in `BOUNDS`). `state` says why numbers are missing:
        `no baseline`, `saturated`, `no common pairs`, or `no interval` (nothing could be resampled, so saturation cannot be ruled
        out). Without bootstrap, the estimate of bound - baseline decides about saturation.

    Raises:
        UsageError: as for `score`, or a baseline that is not among `runs`.
        InputDataError: as for `score`.
    """
    check_call(runs, bootstrap, confidence)
    names = [run.name for run in runs]
    for name in baselines:
        if name not in names:
            raise UsageError(f"baselines={name!r}: no run has this name.{did_you_mean(name, names)} Add the baseline to the runs.")
    placed = PlacedRuns(dataset, runs, split=split, part=part, fold=fold, by=by, bootstrap=bootstrap, seed=seed)
    return relative_placed(placed, baselines, confidence)


def relative_placed(placed: PlacedRuns, baselines: Sequence[str], confidence: float, advance: Advance = no_progress) -> pl.DataFrame:
    """Return `relative` of placed runs. `advance` is called with the name of each run, and when it is done."""
    layout = placed.layout
    cheap = {run.name: placed.grid(run.name) for run in placed.runs if run.name in baselines}
    best = {metric: best_baseline(metric, cheap) for metric in BOUNDS}
    # The others are not needed any more, and a placed run holds large arrays of redrawn distances.
    cheap = {name: grid for name, grid in cheap.items() if name in best.values()}
    bounds = _bounds(layout)
    gaps: dict[tuple[str, bytes], tuple[ResampledMean, Interval]] = {}
    frames: list[pl.DataFrame] = []
    for run in placed.runs:
        advance(0, run.name)
        grid = placed.grid(run.name)
        found: list[pl.DataFrame] = []
        for metric in BOUNDS:
            one = _relative_score(placed.resampler, metric, grid.metrics[metric], best[metric], cheap, bounds[metric], confidence, gaps)
            found.append(one.rows(layout, metric))
        order = pl.concat([frame.with_columns(pl.lit(m).alias("_m")).with_row_index("_k") for m, frame in enumerate(found)])
        labels = [pl.lit(run.name).alias("run"), pl.lit(placed.notes.get(run.name), dtype=pl.String).alias("note")]
        frames.append(order.sort("_k", "_m", maintain_order=True).with_columns(labels))
        advance(1)
    if not frames:
        return RELATIVE.empty()
    table = pl.concat(frames).with_columns(
        pl.lit(placed.split).alias("scheme"), pl.lit(placed.fold, dtype=pl.Int32).alias("fold"), pl.lit(placed.part).alias("part")
    )
    return RELATIVE.check(table.drop("_m", "_k"), "relative").select(list(RELATIVE.columns))


@dataclass(frozen=True)
class _RelativeScore:
    """A run's metric on the pairs common with the baseline; arrays of shape (N,)."""

    value: Floats
    baseline: str | None
    baseline_value: Floats
    gain: Interval | None
    bound_value: Floats
    relative: Interval | None
    state: NDArray[np.object_]
    pairs: Floats

    def rows(self, layout: Layout, metric: str) -> pl.DataFrame:
        """Return RELATIVE rows without run, scheme, fold and part."""
        nothing = np.full(len(self.value), np.nan)

        def three(name: str, found: Interval | None, known: NDArray[np.bool_]) -> dict[str, Floats]:
            ends = (nothing,) * 3 if found is None else (found.estimate, found.low, found.high)
            return {f"{name}{end}": np.where(known, values, np.nan) for end, values in zip(("", "_low", "_high"), ends, strict=True)}

        numbers = {
            "value": self.value,
            "baseline_value": self.baseline_value,
            **three("gain", self.gain, np.ones(len(nothing), dtype=np.bool_)),
            "bound_value": self.bound_value,
            **three("relative", self.relative, self.state == "ok"),
        }
        return pl.DataFrame(
            {
                "by": [by for by, _ in layout.keys.names],
                "key": [key for _, key in layout.keys.names],
                "metric": [metric] * len(self.value),
                "baseline": pl.Series([self.baseline] * len(self.value), dtype=pl.String),
                "bound": [BOUNDS[metric][0]] * len(self.value),
                "state": self.state.tolist(),
                "pairs": (self.pairs / layout.halves).round().astype(np.int64),
                **{name: pl.Series(values, nan_to_null=True) for name, values in numbers.items()},
            },
            schema_overrides={"by": pl.String, "key": pl.String, "metric": pl.String, "bound": pl.String, "state": pl.String},
        )


def _relative_score(
    resampler: Resampler,
    metric: str,
    run: Values,
    best: str | None,
    cheap: Mapping[str, RunGrid],
    bound: Values,
    confidence: float,
    gaps: dict[tuple[str, bytes], tuple[ResampledMean, Interval]],
) -> _RelativeScore:
    """Compare a run with the baseline and the bound; `gaps` keeps bound minus baseline by metric and pairs."""
    keys, sign = resampler.layout.keys, BOUNDS[metric][1]
    baseline = None if best is None else cheap[best].metrics[metric]
    mask = ~np.isnan(run.gold) & ~np.isnan(bound.gold)
    if baseline is not None:
        mask &= ~np.isnan(baseline.gold)
    pairs = keys.totals(mask.astype(np.float64))

    def mean(values: Values) -> Floats:
        total = keys.totals(np.where(mask, values.gold, 0.0))
        return np.divide(total, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)

    def state_of(known: str | NDArray[np.str_]) -> NDArray[np.object_]:
        return np.where(pairs > 0, known, "no common pairs").astype(object)

    if baseline is None:
        return _RelativeScore(mean(run), None, np.full(len(pairs), np.nan), None, mean(bound), None, state_of("no baseline"), pairs)

    def above_baseline(one: Values) -> tuple[ResampledMean, Interval]:
        sampled = resampler.sample((one.minus(baseline) if sign > 0 else baseline.minus(one)).on(mask))
        return sampled, interval(sampled.replicates(), confidence, -1.0, 1.0)

    gained, gain = above_baseline(run)
    key = (metric, np.packbits(mask).tobytes())
    if key not in gaps:
        gaps[key] = above_baseline(bound)
    left, remaining = gaps[key]
    found = interval(ratio(gained, left, left.items, pairs, left.units), confidence, -np.inf, np.inf)
    lowest = remaining.low if resampler.count else remaining.estimate
    state = np.where(np.isnan(lowest), "no interval", np.where(lowest > 0, "ok", "saturated"))
    return _RelativeScore(mean(run), best, mean(baseline), gain, mean(bound), found, state_of(state), pairs)


def _bounds(layout: Layout) -> dict[str, Values]:
    """Return the bound of each metric, with its values under redrawn respondents."""
    shape = layout.present.shape
    gold = layout.gold
    cells = gold["cell"].to_numpy().astype(np.intp)
    options = gold["options"].to_numpy().astype(np.intp)
    widest = int(options.max())

    def in_gold(name: str) -> Floats:
        return layout.grid(cells, gold[name].cast(pl.Float64).to_numpy().astype(np.float64)).reshape(shape)

    steps = np.arange(widest)
    known = gold["p_true"].is_not_null().to_numpy()

    def estimated(name: str, otherwise: Floats) -> Floats:
        return np.where(known[:, None], padded(gold[name], widest), otherwise)

    likeliest = padded(gold["p_mode"], widest).argmax(axis=1)
    hit = estimated("p_true", (steps == likeliest[:, None]).astype(np.float64))
    answer = estimated("p_true", (steps == layout.mode[cells][:, None]).astype(np.float64))
    apart = answer @ np.abs(steps[:, None] - steps) / (options[:, None] - 1.0)
    number = layout.share_draws[0].shares.shape[2] if layout.share_draws else 0

    def constant(name: str) -> Values:
        floor = in_gold(name)
        return Values(floor, by_share=np.broadcast_to(floor.astype(np.float32), (number, *shape)) if number else None)

    return {
        "accuracy_expected": Values(in_gold("ceiling_oracle"), by_mode=layout.grid(cells, hit)),
        "nmae": Values(in_gold("floor_nmae"), by_mode=layout.grid(cells, apart)),
        "w1": constant("floor_w1"),
        "rps": constant("floor_rps"),
    }
