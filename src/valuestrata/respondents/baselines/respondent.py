"""A fitted baseline as a respondent model: it predicts shares and answers with their mode.

In a split with several folds, the baseline is fitted once per fold, and a pair is answered by the folds that test it. If
several folds test a pair, each gives one sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.gold import is_mode
from valuestrata.dataset.tables import Dataset
from valuestrata.dataset.training_source import source_of
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.respondents.base import OPEN, Answer, Elicitation, Prompt
from valuestrata.respondents.baselines.gold import GoldByFold, TrainingGold
from valuestrata.respondents.baselines.kinds import ANSWERS_EACH, BASELINES, TRAINS_ON_NOTHING
from valuestrata.respondents.baselines.predictor import Floats, Predictor
from valuestrata.respondents.baselines.simple import PARENT_PRIOR

Pair = tuple[str, str]


@dataclass(frozen=True)
class Fitted:
    """A baseline fitted to the training gold of one fold."""

    gold: TrainingGold
    predictor: Predictor


@dataclass(frozen=True)
class Baseline:
    """A baseline as a respondent model.

    Attributes:
        kind: name of the baseline.
        fits: one per fold, in the order of the folds.
        answered_by: (item, subgroup) -> indices of the fits that answer the pair: those that test it, or else those that
            validate on it. Absent pairs are answered by all fits.
    """

    kind: str
    fits: tuple[Fitted, ...]
    answered_by: Mapping[Pair, tuple[int, ...]]

    @property
    def name(self) -> str:
        """`baseline:` followed by the kind."""
        return f"baseline:{self.kind}"

    @property
    def predictor(self) -> Predictor:
        """The predictor of the only fold.

        Raises:
            UsageError: there are several folds.
        """
        if len(self.fits) == 1:
            return self.fits[0].predictor
        raise UsageError(f"{self.name} was fitted to {len(self.fits)} folds, each with its own predictor; choose one with fold=.")

    def identity(self) -> dict[str, Any]:
        """Return the kind, the training split, the settings chosen in fitting and, under transfer, what has no match."""
        first, single = self.fits[0].gold, len(self.fits) == 1
        pairs = [len(fit.gold.counts) for fit in self.fits]
        trained_on: dict[str, Any] = {
            "split": first.scheme,
            "fold": first.fold if single else None,
            "pairs": pairs[0] if single else pairs,
        }
        if (origin := first.trained_on) is not None and self.kind not in TRAINS_ON_NOTHING:
            # Every run of the data set can find the pairs of its splits, so only their hash is kept.
            listed = pl.DataFrame(list(first.counts), schema={"item": pl.String, "subgroup": pl.String}, orient="row") if single else pairs
            halves = [fit.gold.trained_on.half for fit in self.fits if fit.gold.trained_on is not None]
            where: dict[str, Any] = {"split": first.scheme, "fold": trained_on["fold"], "halves": halves, "method": self.name}
            trained_on = source_of(origin.dataset, listed, **where)
            trained_on.pop("pair_ids", None)
        if first.source is not None:
            trained_on["data_set"] = first.source
            trained_on["unmatched"] = {key: list(names) for key, names in first.unmatched.items()}
        identity: dict[str, Any] = {"provider": "baseline", "model": self.kind, "trained_on": trained_on, "parent_prior": PARENT_PRIOR}
        settings = [dict(fit.predictor.settings) for fit in self.fits]
        if any(settings):
            identity["settings"] = settings[0] if single else settings
        return identity

    def training_data(self) -> Mapping[str, str] | None:
        """Return fingerprint and survey of the other data set that it was fitted to under transfer; None otherwise."""
        gold = self.fits[0].gold
        if gold.source is None or self.kind in TRAINS_ON_NOTHING:
            return None
        return {"fingerprint": gold.source, "survey": gold.source_survey or "an unnamed survey"}

    def check(self, elicitation: Elicitation) -> None:
        """Raise an error for open questions, which baselines cannot answer.

        Raises:
            UsageError: the question is open.
        """
        if elicitation == OPEN:
            raise UsageError(f"MODEL {self.name!r} chooses options only; open questions need a language model.")

    def shares(self, item: str, subgroup: str) -> tuple[Floats, ...]:
        """Return the predicted shares of a pair, shape (K,), from each fold that answers it."""
        all_fits = tuple(range(len(self.fits)))
        return tuple(self.fits[i].predictor.shares(item, subgroup) for i in self.answered_by.get((item, subgroup), all_fits))

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield the answers of `table` to each prompt."""
        for place, sample, code, shares in self.table([(prompt.item, prompt.subgroup) for prompt in prompts]).iter_rows():
            prompt = prompts[place]
            share_of = dict(zip(self.fits[0].gold.codes[prompt.item], shares, strict=True))
            shown = tuple(share_of[code] for code in prompt.shown)
            yield Answer(replace(prompt, sample=sample), option_probs=shown, option_mass=1.0, choice=code)

    def table(self, pairs: Sequence[Pair]) -> pl.DataFrame:
        """Return predicted shares and a chosen code for each pair and fold that answers it.

        `uniform` and `midpoint` give one answer for each code of positive share.

        Returns:
            pair (index of the pair), sample (0, 1, ... within a pair), answer (scale code), option_probs (scale order), by pair.
        """
        codes = self.fits[0].gold.codes
        rows: dict[int, list[tuple[int, tuple[int, ...], Floats]]] = {}
        for place, (item, subgroup) in enumerate(pairs):
            for shares in self.shares(item, subgroup):
                rows.setdefault(len(shares), []).append((place, codes[item], shares))
        frames = [_answers(*zip(*found, strict=True), each=self.kind in ANSWERS_EACH) for found in rows.values()]
        table = pl.concat([ANSWERS, *frames]).sort("pair", maintain_order=True)
        return table.select("pair", pl.int_range(pl.len()).over("pair").alias("sample"), "answer", "option_probs")


ANSWERS = pl.DataFrame(schema={"pair": pl.Int64, "answer": pl.Int64, "option_probs": pl.List(pl.Float64)})


def _answers(places: Sequence[int], codes: Sequence[tuple[int, ...]], shares: Sequence[Floats], *, each: bool) -> pl.DataFrame:
    """Return the answers to pairs with as many options: the lowest mode, or each code of positive share."""
    probs = np.array(shares)
    chosen = probs > 0 if each else np.eye(probs.shape[1], dtype=np.bool_)[is_mode(probs).argmax(axis=1)]
    row, option = np.nonzero(chosen)
    listed = pl.Series(probs, dtype=pl.Array(pl.Float64, probs.shape[1])).arr.to_list()
    columns = {"pair": np.array(places, dtype=np.int64)[row], "answer": np.array(codes, dtype=np.int64)[row, option]}
    return pl.DataFrame({**columns, "option_probs": listed.gather(row)})


def make_baseline(
    kind: str,
    dataset: Dataset,
    *,
    split: str = "paper",
    fold: int | None = None,
    train_on: Dataset | None = None,
    gold: GoldByFold | None = None,
) -> Baseline:
    """Return a baseline fitted to the training gold of a split, in one fold or in each.

    Args:
        kind: one of BASELINES. dataset: the data set to predict.
        split, fold: split and fold of the training gold; fold None for all folds. train_on: training data set of `transfer`.
        gold: the training gold of the same data set, split and `train_on`, if several baselines share it.

    Raises:
        UsageError: an unknown baseline or fold, or an invalid `train_on` (see `training_gold`).
        InputDataError: the data set has no such split, or it has no training pairs (which `uniform` and `midpoint` do not need).
    """
    if kind not in BASELINES:
        raise UsageError(f"There is no baseline {kind!r}.{did_you_mean(kind, BASELINES)}")
    every = dataset.part(split, "all", fold)
    folds = every["fold"].unique().sort().to_list()
    # Without training, all folds give the same answers.
    untrained = kind in TRAINS_ON_NOTHING
    wanted = folds[:1] if untrained else folds
    by_fold = gold or GoldByFold(dataset, split, train_on)
    fits: list[Fitted] = []
    for one in wanted:
        own = by_fold.of(one, may_be_empty=untrained)
        fits.append(Fitted(own if fold is not None or len(folds) > 1 else replace(own, fold=None), BASELINES[kind](own)))
    place = {one: i for i, one in enumerate(wanted)}
    answered_by = {**_folds_of(every, "validation", place), **_folds_of(every, "test", place)} if len(fits) > 1 else {}
    return Baseline(kind, tuple(fits), answered_by)


def _folds_of(rows: pl.DataFrame, part: str, place: Mapping[int, int]) -> dict[Pair, tuple[int, ...]]:
    """Return (item, subgroup) -> indices of the fits of the folds in which the pair belongs to `part`."""
    found: dict[Pair, tuple[int, ...]] = {}
    for item, subgroup, fold in rows.filter(pl.col("part") == part).select("item", "subgroup", "fold").sort("fold").iter_rows():
        found[item, subgroup] = (*found.get((item, subgroup), ()), place[fold])
    return found
