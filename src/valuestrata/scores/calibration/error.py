"""Calibration of option probabilities: does an option to which a run gives .3 have a share of .3 among people?

Each option of each pair is a case with a stated probability p and a gold share s. Cases are sorted into ten bins of p of equal width.
With w the weight of a case (1 / K for each of the K options of a pair, so that pairs count equally), the expected calibration error is

    ece = sum_b |sum_{cases in b} w (p - s)| / sum w                  (Guo et al. 2017, with shares in place of hits)

`ece_top` is the same for the likeliest option of each pair only (tied ones share its weight). A pair asked several times contributes
each distribution it was given, with the same weight in total. Pairs without a distribution are left out: a single text answer has
none (see `pairs`), and one that was refused states nothing.

**Intervals.** Blocks of items are resampled and shares redrawn, as for other scores, which gives the noise e_b of each bin's sum. The
absolute value makes the estimate too large, because noise in a bin adds to it and never cancels. The upper end is therefore that of
the basic bootstrap (replicates reflected at the estimate), and the lower end is at most the estimate less the quantile of
sum_b |e_b|, by which it exceeds the truth at most. `expected` is the mean of sum_b |e_b|: the error that noise alone would give a
calibrated run. Shares of few samples are noisy probabilities, which look overconfident.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from valuestrata.frames import Column, Schema
from valuestrata.scores.distances import padded
from valuestrata.scores.layout import RunGrid
from valuestrata.scores.resampling import Resampler
from valuestrata.scores.schema import PLACE
from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.bootstrap import SHARED_DRAWS, Noise, Replicates, ResampledMean, ResampledSum, centred, scale_of
from valuestrata.stats.intervals import Interval, interval
from valuestrata.stats.ratios import ratio

BINS = 10
MEASURES = ("ece", "ece_top")

CALIBRATION = Schema(
    "calibration",
    {name: column for name, column in PLACE.items() if name not in ("by", "key")}
    | {
        "measure": Column(pl.String, "ece (all options) or ece_top (the likeliest option)"),
        "bin": Column(pl.Int32, "bin of the stated probability, from 0; null for the whole"),
        "stated": Column(pl.Float64, "mean stated probability of the cases"),
        "share": Column(pl.Float64, "mean gold share of the cases"),
        "share_low": Column(pl.Float64, "lower end of its interval"),
        "share_high": Column(pl.Float64, "upper end"),
        "cases": Column(pl.Int64, "options of pairs in the bin"),
        "weight": Column(pl.Float64, "their share of the total weight"),
        "error": Column(pl.Float64, "of the whole: the calibration error; of a bin: its part in it"),
        "error_low": Column(pl.Float64, "lower end of the interval of the whole"),
        "error_high": Column(pl.Float64, "upper end"),
        "expected": Column(pl.Float64, "of the whole: the mean error of a calibrated run, from noise alone"),
    },
)


@dataclass(frozen=True)
class _Cases:
    """The options of a run's pairs: pair's cell (C,), option (C,), stated probability (C,), weight (C,) and bin (C,)."""

    cell: Indices
    option: Indices
    stated: Floats
    weight: Floats

    @property
    def bin(self) -> Indices:
        """The bin of each case; a probability at the border of two belongs to the upper one, 1 to the last."""
        # A probability such as .3 may be stored as .29999999999999993.
        return np.minimum(np.floor(self.stated * BINS + 1e-9), BINS - 1).astype(np.intp)


@dataclass(frozen=True)
class Calibration:
    """Calibration of one run by one measure, over all pairs.

    Attributes:
        whole: the error, N = 1. expected: the mean error from noise alone, NaN without replicates.
        stated, share, low, high, cases, weight, error: as in CALIBRATION, shape (BINS,); NaN in empty bins.
    """

    whole: Interval
    expected: float
    stated: Floats
    share: Floats
    low: Floats
    high: Floats
    cases: Indices
    weight: Floats
    error: Floats


def calibration_of(resampler: Resampler, grid: RunGrid, confidence: float) -> dict[str, Calibration]:
    """Return the calibration of a run by each of `MEASURES`; empty for a run without distributions."""
    if not len(grid.given.pair):
        return {}
    cases = _cases(resampler, grid)
    return {name: _calibration(resampler, of, confidence) for name, of in zip(MEASURES, (cases, _top(cases)), strict=True)}


def calibration_rows(found: Mapping[str, Calibration], labels: Mapping[str, Any]) -> pl.DataFrame:
    """Return the rows of CALIBRATION of one run: for each measure the whole, then the bins that have cases."""
    rows: list[dict[str, Any]] = []
    for measure, one in found.items():
        whole = {"cases": int(one.cases.sum()), "weight": 1.0, "error": float(one.whole.estimate[0]), "expected": one.expected}
        rows.append({**labels, "measure": measure, **whole, "error_low": float(one.whole.low[0]), "error_high": float(one.whole.high[0])})
        for place in np.flatnonzero(one.cases):
            of_bin = {name: float(getattr(one, name)[place]) for name in ("stated", "share", "weight", "error")}
            ends = {"share_low": float(one.low[place]), "share_high": float(one.high[place])}
            rows.append({**labels, "measure": measure, "bin": int(place), "cases": int(one.cases[place]), **of_bin, **ends})
    return CALIBRATION.frame(rows).with_columns(pl.col(pl.Float64).fill_nan(None))


def _cases(resampler: Resampler, grid: RunGrid) -> _Cases:
    """Return all options of all distributions."""
    given, layout = grid.given, resampler.layout
    cell = grid.cells[given.pair]
    options = layout.options[cell % len(layout.items)]
    # Missing answers state nothing: the distributions of a pair share its weight.
    total = np.bincount(given.pair, weights=given.weight, minlength=len(grid.cells))
    weight = given.weight / total[given.pair] / options
    row, option = np.nonzero(np.arange(given.probs.shape[1]) < options[:, None])
    return _Cases(cell[row], option, given.probs[row, option], weight[row])


def _top(cases: _Cases) -> _Cases:
    """Return the likeliest option of each distribution."""
    start = np.flatnonzero(cases.option == 0)
    size = np.diff(np.append(start, len(cases.option)))
    highest = np.repeat(np.maximum.reduceat(cases.stated, start), size)
    top = cases.stated >= highest - 1e-12
    tied = np.repeat(np.add.reduceat(top.astype(np.float64), start), size)
    weight = cases.weight * np.repeat(size, size) / tied
    return _Cases(cases.cell[top], cases.option[top], cases.stated[top], weight[top])


def _calibration(resampler: Resampler, cases: _Cases, confidence: float) -> Calibration:
    layout, bins = resampler.layout, cases.bin
    place = np.zeros(layout.present.size, dtype=np.intp)
    place[layout.gold["cell"].to_numpy()] = np.arange(len(layout.gold))
    shares = padded(layout.gold["shares"], int(layout.options.max()))[place[cases.cell], cases.option]
    unit = bins * len(layout.items) + cases.cell % len(layout.items)

    def summed(values: Floats) -> Floats:
        return np.bincount(unit, weights=values, minlength=BINS * len(layout.items)).reshape(BINS, -1).astype(np.float64)

    weight, stated, share = summed(cases.weight), summed(cases.weight * cases.stated), summed(cases.weight * shares)
    people = _noise(resampler, cases, unit)
    replicates = _gaps(resampler, stated - share, weight, people)
    gaps = replicates.estimate
    number = np.bincount(bins, minlength=BINS)
    in_bin = weight.sum(axis=1)
    used = in_bin > 0
    mean_stated, mean_share = (np.divide(of.sum(axis=1), in_bin, out=np.full(BINS, np.nan), where=used) for of in (stated, share))
    apart = interval(_ratios(resampler, stated - share, weight, people, number), confidence, -1.0, 1.0)
    estimate, noise = np.array([np.abs(gaps).sum()]), np.abs(replicates.values - gaps).sum(axis=1)
    whole = replace(
        replicates,
        estimate=estimate,
        values=(2 * estimate - np.abs(replicates.values).sum(axis=1))[:, None],
        pairs=replicates.pairs[:1],
        known=replicates.known[used].any(keepdims=True),
        freedom=None if replicates.freedom is None else replicates.freedom[used].min(keepdims=True),
        blocks=None if replicates.blocks is None else replicates.blocks[:1],
    )
    found = interval(whole, confidence, 0.0, 1.0)
    lowest = interval(replace(whole, values=(estimate - noise)[:, None]), confidence, 0.0, 1.0)
    return Calibration(
        whole=replace(found, low=np.minimum(found.low, lowest.low)),
        expected=float(noise.mean()) if len(noise) else float("nan"),
        stated=mean_stated,
        share=mean_share,
        low=np.clip(mean_stated - apart.high, 0.0, 1.0),
        high=np.clip(mean_stated - apart.low, 0.0, 1.0),
        cases=number,
        weight=in_bin / in_bin.sum(),
        error=np.where(used, np.abs(gaps), np.nan),
    )


def _gaps(resampler: Resampler, gaps: Floats, weight: Floats, people: Noise | None) -> Replicates:
    """Return sum w (p - s) of each bin over the weight of all, shape (BINS,), with two-way replicates."""
    counts = np.broadcast_to(weight.sum(axis=0), gaps.shape)
    units = resampler.units(counts)
    drawn, total = resampler.sums(units, counts), counts.sum(axis=1)
    by_items = np.divide(resampler.sums(units, gaps), drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    return ResampledMean(
        estimate=gaps.sum(axis=1) / total,
        unit=total,
        by_items=centred(by_items) * scale_of(units.number),
        people=people,
        rows=gaps,
        pairs=total,
        items=units.number,
        counts=counts,
        exact=False,
        units=units,
    ).replicates()


def _ratios(resampler: Resampler, gaps: Floats, weight: Floats, people: Noise | None, cases: Indices) -> Replicates:
    """Return sum w (p - s) of each bin over its own weight."""
    units = resampler.units(weight)
    above, below = (
        ResampledSum(rows.sum(axis=1), np.ones(BINS), centred(resampler.sums(units, rows)) * scale_of(units.number), noise, rows)
        for rows, noise in ((gaps, people), (weight, None))
    )
    return ratio(above, below, units.number, cases.astype(np.float64), units)


def _noise(resampler: Resampler, cases: _Cases, unit: Indices) -> Noise | None:
    """Return how the sums of w (p - s) of each bin move with redrawn shares; None without redraws."""
    from scipy.sparse import csr_array

    layout, count = resampler.layout, resampler.count
    if not count or not layout.share_draws:
        return None
    number = min(layout.share_draws[0].shares.shape[2], count)
    total = np.zeros((BINS * len(layout.items), number))
    for group in layout.share_draws:
        place = np.full(layout.present.size, -1, dtype=np.intp)
        place[group.cells] = np.arange(len(group.cells))
        for option, drawn in enumerate(group.shares):
            mine = np.flatnonzero((cases.option == option) & (place[cases.cell] >= 0))
            shape = (len(total), len(group.cells))
            total -= csr_array((cases.weight[mine], (unit[mine], place[cases.cell[mine]])), shape=shape) @ drawn[:, :number]
    by_item = total.reshape(BINS, -1, number).transpose(2, 0, 1)
    sums = by_item.sum(axis=2)
    return Noise(sums - sums.mean(axis=0), centred(by_item[:SHARED_DRAWS].astype(np.float32)), resampler.share_order)
