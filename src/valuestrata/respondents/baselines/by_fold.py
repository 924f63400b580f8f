"""Predictors fitted to the training gold of each fold of a split; a pair is answered by the folds that test it.

If several folds test a pair, each gives one sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.gold import is_mode
from valuestrata.dataset.tables import Dataset
from valuestrata.dataset.training_source import source_of
from valuestrata.respondents.baselines.gold import GoldByFold, TrainingGold
from valuestrata.respondents.baselines.predictor import Fit, Floats, Predictor

Pair = tuple[str, str]


@dataclass(frozen=True)
class Fitted:
    """A predictor fitted to the training gold of one fold."""

    gold: TrainingGold
    predictor: Predictor


@dataclass(frozen=True)
class FittedByFold:
    """Predictors of the folds of a split.

    Attributes:
        fits: one per fold, in the order of the folds.
        answered_by: (item, subgroup) -> indices of the fits that answer the pair: those that test it, or else those that
            validate on it. Absent pairs are answered by all fits.
    """

    fits: tuple[Fitted, ...]
    answered_by: Mapping[Pair, tuple[int, ...]]

    def shares(self, item: str, subgroup: str) -> tuple[Floats, ...]:
        """Return the predicted shares of a pair, shape (K,), from each fold that answers it."""
        all_fits = tuple(range(len(self.fits)))
        return tuple(self.fits[i].predictor.shares(item, subgroup) for i in self.answered_by.get((item, subgroup), all_fits))

    def table(self, pairs: Sequence[Pair], *, each: bool = False) -> pl.DataFrame:
        """Return predicted shares and a chosen code for each pair and fold that answers it.

        Args:
            pairs: the pairs. each: give one answer for each code of positive share, not the lowest mode only.

        Returns:
            pair (index of the pair), sample (0, 1, ... within a pair), answer (scale code), option_probs (scale order), by pair.
        """
        return answer_table(pairs, self.fits[0].gold.codes, self.shares, each=each)

    def source(self, method: str) -> dict[str, Any]:
        """Return the record of the training pairs for `run.json` (see `training_source`); `method` says what was fitted."""
        first, single = self.fits[0].gold, len(self.fits) == 1
        pairs = [len(fit.gold.counts) for fit in self.fits]
        if (origin := first.trained_on) is None:
            return {"split": first.scheme, "fold": first.fold if single else None, "pairs": pairs[0] if single else pairs}
        # Every run of the data set can find the pairs of its splits, so only their hash is kept.
        listed = pl.DataFrame(list(first.counts), schema={"item": pl.String, "subgroup": pl.String}, orient="row") if single else pairs
        halves = [fit.gold.trained_on.half for fit in self.fits if fit.gold.trained_on is not None]
        where: dict[str, Any] = {"split": first.scheme, "fold": first.fold if single else None, "halves": halves, "method": method}
        record = source_of(origin.dataset, listed, **where)
        record.pop("pair_ids", None)
        return record


ANSWERS = pl.DataFrame(schema={"pair": pl.Int64, "answer": pl.Int64, "option_probs": pl.List(pl.Float64)})


def answer_table(
    pairs: Sequence[Pair],
    codes: Mapping[str, tuple[int, ...]],
    shares_of: Callable[[str, str], Sequence[Floats]],
    *,
    each: bool = False,
) -> pl.DataFrame:
    """Return distributions of pairs with a chosen code, as `FittedByFold.table` does.

    Args:
        pairs: the pairs. codes: item -> scale codes. shares_of: item, subgroup -> one or more distributions, shape (K,).
        each: give one answer for each code of positive share, not the lowest mode only.
    """
    rows: dict[int, list[tuple[int, tuple[int, ...], Floats]]] = {}
    for place, (item, subgroup) in enumerate(pairs):
        for shares in shares_of(item, subgroup):
            rows.setdefault(len(shares), []).append((place, codes[item], shares))
    frames = [_answers(*zip(*found, strict=True), each=each) for found in rows.values()]
    table = pl.concat([ANSWERS, *frames]).sort("pair", maintain_order=True)
    return table.select("pair", pl.int_range(pl.len()).over("pair").alias("sample"), "answer", "option_probs")


def _answers(places: Sequence[int], codes: Sequence[tuple[int, ...]], shares: Sequence[Floats], *, each: bool) -> pl.DataFrame:
    """Return the answers to pairs with as many options: the lowest mode, or each code of positive share."""
    probs = np.array(shares)
    chosen = probs > 0 if each else np.eye(probs.shape[1], dtype=np.bool_)[is_mode(probs).argmax(axis=1)]
    row, option = np.nonzero(chosen)
    listed = pl.Series(probs, dtype=pl.Array(pl.Float64, probs.shape[1])).arr.to_list()
    columns = {"pair": np.array(places, dtype=np.int64)[row], "answer": np.array(codes, dtype=np.int64)[row, option]}
    return pl.DataFrame({**columns, "option_probs": listed.gather(row)})


def fit_by_fold(
    fit: Fit,
    dataset: Dataset,
    split: str,
    fold: int | None,
    gold: GoldByFold,
    *,
    trains: bool = True,
    now: Callable[[int], None] | None = None,
) -> FittedByFold:
    """Fit a predictor to the training gold of a fold, or of each fold of a split.

    Args:
        fit: training gold -> predictor. dataset: the data set to predict. split, fold: fold None for all folds.
        gold: the training gold of the folds. trains: False for what needs no gold; all folds then give the same answers.
        now: called with the number of a fold before it is fitted.

    Raises:
        UsageError, InputDataError: as for `training_gold`.
    """
    every = dataset.part(split, "all", fold)
    folds = every["fold"].unique().sort().to_list()
    wanted = folds if trains else folds[:1]
    fits: list[Fitted] = []
    for one in wanted:
        if now is not None:
            now(one)
        own = gold.of(one, may_be_empty=not trains)
        fits.append(Fitted(own if fold is not None or len(folds) > 1 else replace(own, fold=None), fit(own)))
    place = {one: i for i, one in enumerate(wanted)}
    answered_by = {**_folds_of(every, "validation", place), **_folds_of(every, "test", place)} if len(fits) > 1 else {}
    return FittedByFold(tuple(fits), answered_by)


def _folds_of(rows: pl.DataFrame, part: str, place: Mapping[int, int]) -> dict[Pair, tuple[int, ...]]:
    """Return (item, subgroup) -> indices of the fits of the folds in which the pair belongs to `part`."""
    found: dict[Pair, tuple[int, ...]] = {}
    for item, subgroup, fold in rows.filter(pl.col("part") == part).select("item", "subgroup", "fold").sort("fold").iter_rows():
        found[item, subgroup] = (*found.get((item, subgroup), ()), place[fold])
    return found
