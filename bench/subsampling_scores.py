"""Sums of errors, coverage and lengths over repeated samples, and the table made from them. Nothing keeps single estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from valuestrata.estimation.estimates import HUMAN, Estimates
from valuestrata.estimation.inputs import ItemOptions

Floats = NDArray[np.float64]
# Answers of a cell in the sample: the first number of each class, and its name.
CLASSES = {0: "0", 1: "1-9", 10: "10-29", 30: "30-49", 50: "50+"}
# Classes whose results are shown together.
TOGETHER = {"1-49": ("1-9", "10-29", "30-49"), "all": ("1-9", "10-29", "30-49", "50+")}
# Of shares (averaged over an item's options) and of means (in units of the length of the scale).
FIGURES = ("squared_error", "covered", "length")
QUANTITIES = ("share", "mean")
WORST = 0.1
# A cell must occur in so many repetitions to be among the worst.
FEWEST = 20


@dataclass(frozen=True)
class Truth:
    """What is true of the full file.

    Attributes:
        shares: shape (G, I, K). mean: shape (G, I), NaN for nominal items. kept: shape (G, I), the cells that are studied.
        items: the items. block: shape (I,), number of each item's block.
    """

    shares: Floats
    mean: Floats
    kept: NDArray[np.bool_]
    items: ItemOptions

    @property
    def block(self) -> NDArray[np.intp]:
        """Number of the block of each item."""
        return np.unique(self.items.blocks, return_inverse=True)[1].astype(np.intp).reshape(-1)


def measured(truth: Truth, found: Estimates) -> Floats:
    """Return squared error, coverage and length of shares and means, shape (G, I, 2, 3); NaN where undefined."""
    used = np.broadcast_to(truth.items.used, truth.shares.shape)
    count = truth.items.options[None, :]

    def over_options(values: Floats) -> Floats:
        return np.where(used, values, 0.0).sum(axis=2) / count

    scale = np.nanmax(truth.items.codes, axis=1) - np.nanmin(truth.items.codes, axis=1)
    out = np.empty((*truth.mean.shape, len(QUANTITIES), len(FIGURES)))
    undefined = np.isnan(found.low) | np.isnan(found.high)
    inside = np.where(undefined, np.nan, (found.low <= truth.shares + 1e-9) & (truth.shares <= found.high + 1e-9))
    out[..., 0, 0] = over_options((found.shares - truth.shares) ** 2)
    out[..., 0, 1] = over_options(inside)
    out[..., 0, 2] = over_options(found.high - found.low)
    undefined = np.isnan(found.mean_low) | np.isnan(found.mean_high) | np.isnan(truth.mean)
    inside = np.where(undefined, np.nan, (found.mean_low <= truth.mean + 1e-9) & (truth.mean <= found.mean_high + 1e-9))
    out[..., 1, 0] = ((found.mean - truth.mean) / scale) ** 2
    out[..., 1, 1] = inside
    out[..., 1, 2] = (found.mean_high - found.mean_low) / scale
    return out


class Sums:
    """Sums over repetitions, for one size of sample. V methods, C classes, B blocks; two quantities and three figures.

    Attributes:
        methods: names of the methods. done: number of repetitions.
        by_repetition, by_block: sums over cells, shapes (R, V, C, 2, 3) and (B, V, C, 2, 3); `counts_...` the numbers of cells.
        cells: sums of the shares' figures, shape (2, V, G, I, 3), of even and odd repetitions; cells with answers only.
        cell_counts: shape (2, V, G, I, 3).
    """

    def __init__(self, methods: Sequence[str], truth: Truth) -> None:
        shape = (len(methods), len(CLASSES), len(QUANTITIES), len(FIGURES))
        blocks, cells = int(truth.block.max()) + 1, (2, len(methods), *truth.mean.shape, len(FIGURES))
        self.methods, self.done = tuple(methods), 0
        self.by_repetition, self.counts_by_repetition = np.zeros((0, *shape)), np.zeros((0, *shape))
        self.by_block, self.counts_by_block = np.zeros((blocks, *shape)), np.zeros((blocks, *shape))
        self.cells, self.cell_counts = np.zeros(cells), np.zeros(cells)

    def add(self, truth: Truth, answers: NDArray[np.intp], found: Mapping[str, Estimates]) -> None:
        """Add a repetition. `answers`: shape (G, I), answers of each cell in the sample."""
        starts = np.array(list(CLASSES))
        which = np.where(truth.kept, np.searchsorted(starts, answers, side="right") - 1, -1)
        one_hot = (which[..., None] == np.arange(len(CLASSES))).astype(np.float64)
        blocks = np.eye(len(self.by_block))[truth.block]
        sums, counts = np.zeros_like(self.by_block), np.zeros_like(self.by_block)
        half, answered = self.done % 2, truth.kept & (answers > 0)
        for v, name in enumerate(self.methods):
            values = measured(truth, found[name])
            valid = np.isfinite(values)
            filled = np.where(valid, values, 0.0)
            sums[:, v] = np.einsum("gicqf,ib->bcqf", one_hot[..., None, None] * filled[:, :, None], blocks, optimize=True)
            counts[:, v] = np.einsum("gicqf,ib->bcqf", one_hot[..., None, None] * valid[:, :, None], blocks, optimize=True)
            self.cells[half, v] += np.where(answered[..., None], filled[:, :, 0], 0.0)
            self.cell_counts[half, v] += answered[..., None] & valid[:, :, 0]
        self.by_block += sums
        self.counts_by_block += counts
        self.by_repetition = np.concatenate([self.by_repetition, sums.sum(axis=0)[None]])
        self.counts_by_repetition = np.concatenate([self.counts_by_repetition, counts.sum(axis=0)[None]])
        self.done += 1

    def save(self, file: Path) -> None:
        """Write the sums; an interrupted writing leaves the file as it was."""
        beside = file.with_suffix(".new.npz")
        arrays: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        np.savez_compressed(beside, methods=np.array(self.methods), **arrays)
        beside.replace(file)

    def load(self, file: Path) -> None:
        """Read the sums of a file that `save` wrote.

        Raises:
            SystemExit: the file has other methods, subgroups or items.
        """
        with np.load(file) as stored:
            if tuple(stored["methods"].tolist()) != self.methods or stored["cells"].shape != self.cells.shape:
                raise SystemExit(f"{file} has other methods, subgroups or items; delete it, or write to another table with -o.")
            for name in ("by_repetition", "counts_by_repetition", "by_block", "counts_by_block", "cells", "cell_counts"):
                setattr(self, name, stored[name])
        self.done = len(self.by_repetition)


def jackknife(sums: Floats, counts: Floats, one: int, other: int) -> tuple[float, float, float]:
    """Return the relative difference of two methods' RMSE, with a 95 % interval from leaving out each row.

    Args:
        sums: squared errors, shape (rows, V). counts: their numbers. one, other: positions of the methods.
    """

    def relative(total: Floats, number: Floats) -> Floats:
        rmse = np.sqrt(total / number)
        return rmse[..., one] / rmse[..., other] - 1.0

    whole = float(relative(sums.sum(axis=0), counts.sum(axis=0)))
    rows = counts[:, one] > 0
    if (number := int(rows.sum())) < 2:
        return whole, np.nan, np.nan
    left_out = relative(sums.sum(axis=0) - sums[rows], counts.sum(axis=0) - counts[rows])
    error = np.sqrt((number - 1) / number * ((left_out - left_out.mean()) ** 2).sum())
    half = float(stats.t.ppf(0.975, number - 1) * error)
    return whole, whole - half, whole + half


def worst_tenth(sums: Sums, method: int) -> float:
    """Return the mean coverage of the tenth of cells with the lowest coverage.

    The cells are chosen by half of the repetitions and evaluated on the other half, both ways, so chance does not lower the figure.
    """
    found: list[float] = []
    for half in (0, 1):
        counts, covered = sums.cell_counts[:, method, ..., 1], sums.cells[:, method, ..., 1]
        usable = (counts >= FEWEST / 2).all(axis=0)
        if usable.sum() < 10:
            return np.nan
        own, other = (covered[h][usable] / counts[h][usable] for h in (half, 1 - half))
        order = np.argsort(own, kind="stable")[: max(1, round(WORST * len(own)))]
        found.append(float(other[order].mean()))
    return float(np.mean(found))


def table(sums: Sums, n: int) -> pl.DataFrame:
    """Return the results of one size of sample: a row per method, quantity and class of cells.

    Columns: `coverage` of the 95 % interval with its simulation error `coverage_se` (over repetitions), `coverage_worst_tenth` (class
    `all`, shares), `rmse`, `rmse_ratio` to human-only, `length`, `length_ratio`, and for estimates with a model the relative difference
    of RMSE to the same estimator without it, with intervals over repetitions and over blocks of items.
    """
    names = list(CLASSES.values())
    human = sums.methods.index(HUMAN)
    rows: list[dict[str, Any]] = []
    for shown, members in {**{name: (name,) for name in names}, **TOGETHER}.items():
        classes = [names.index(one) for one in members]
        by_repetition, counts = (one[:, :, classes].sum(axis=2) for one in (sums.by_repetition, sums.counts_by_repetition))
        by_block, counts_by_block = (one[:, :, classes].sum(axis=2) for one in (sums.by_block, sums.counts_by_block))
        with np.errstate(invalid="ignore", divide="ignore"):
            means = by_repetition.sum(axis=0) / counts.sum(axis=0)
            each = by_repetition[..., 1] / counts[..., 1]
            for v, name in enumerate(sums.methods):
                estimator, _, run = name.partition(":")
                for q, quantity in enumerate(QUANTITIES):
                    covered = each[:, v, q][np.isfinite(each[:, v, q])]
                    row = {"n": n, "repetitions": sums.done, "estimator": estimator, "run": run or None, "quantity": quantity}
                    row |= {"answers": shown, "cells": float(counts[:, v, q, 0].sum() / sums.done)}
                    row |= {
                        "coverage": means[v, q, 1],
                        "coverage_se": covered.std() / max(len(covered), 1) ** 0.5 if len(covered) else None,
                    }
                    row |= {"coverage_worst_tenth": worst_tenth(sums, v) if shown == "all" and q == 0 else None}
                    row |= {"rmse": means[v, q, 0] ** 0.5, "rmse_ratio": (means[v, q, 0] / means[human, q, 0]) ** 0.5}
                    row |= {"length": means[v, q, 2], "length_ratio": means[v, q, 2] / means[human, q, 2]}
                    if run and estimator in sums.methods:
                        without = sums.methods.index(estimator)
                        row["length_against_without"] = means[v, q, 2] / means[without, q, 2] - 1.0
                        for what, total, number in (("repetitions", by_repetition, counts), ("blocks", by_block, counts_by_block)):
                            found = jackknife(total[:, :, q, 0], number[:, :, q, 0], v, without)
                            row |= {"against_without": found[0], f"{what}_low": found[1], f"{what}_high": found[2]}
                    rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None).fill_nan(None)
