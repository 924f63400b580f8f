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
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.respondents.base import OPEN, Answer, Elicitation, Prompt
from valuestrata.respondents.baselines.gold import TrainingGold, training_gold, training_gold_if_any
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
        if first.source is not None:
            trained_on["data_set"] = first.source
            trained_on["unmatched"] = {key: list(names) for key, names in first.unmatched.items()}
        identity: dict[str, Any] = {"provider": "baseline", "model": self.kind, "trained_on": trained_on, "parent_prior": PARENT_PRIOR}
        settings = [dict(fit.predictor.settings) for fit in self.fits]
        if any(settings):
            identity["settings"] = settings[0] if single else settings
        return identity

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
        """Yield predicted shares and a chosen code for each prompt and fold that answers it.

        `uniform` and `midpoint` give one answer for each code of positive share.
        """
        for prompt in prompts:
            codes = self.fits[0].gold.codes[prompt.item]
            sample = 0
            for shares in self.shares(prompt.item, prompt.subgroup):
                chosen = np.flatnonzero(shares > 0) if self.kind in ANSWERS_EACH else np.flatnonzero(is_mode(shares))[:1]
                share_of = dict(zip(codes, shares.tolist(), strict=True))
                shown = tuple(share_of[code] for code in prompt.shown)
                for option in chosen:
                    yield Answer(replace(prompt, sample=sample), option_probs=shown, option_mass=1.0, choice=codes[option])
                    sample += 1


def make_baseline(
    kind: str, dataset: Dataset, *, split: str = "paper", fold: int | None = None, train_on: Dataset | None = None
) -> Baseline:
    """Return a baseline fitted to the training gold of a split, in one fold or in each.

    Args:
        kind: one of BASELINES. dataset: the data set to predict.
        split, fold: split and fold of the training gold; fold None for all folds. train_on: training data set of `transfer`.

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
    collect = training_gold_if_any if untrained else training_gold
    fits: list[Fitted] = []
    for one in wanted:
        gold = collect(dataset, split=split, fold=one, train_on=train_on)
        fits.append(Fitted(gold if fold is not None or len(folds) > 1 else replace(gold, fold=None), BASELINES[kind](gold)))
    place = {one: i for i, one in enumerate(wanted)}
    answered_by = {**_folds_of(every, "validation", place), **_folds_of(every, "test", place)} if len(fits) > 1 else {}
    return Baseline(kind, tuple(fits), answered_by)


def _folds_of(rows: pl.DataFrame, part: str, place: Mapping[int, int]) -> dict[Pair, tuple[int, ...]]:
    """Return (item, subgroup) -> indices of the fits of the folds in which the pair belongs to `part`."""
    found: dict[Pair, tuple[int, ...]] = {}
    for item, subgroup, fold in rows.filter(pl.col("part") == part).select("item", "subgroup", "fold").sort("fold").iter_rows():
        found[item, subgroup] = (*found.get((item, subgroup), ()), place[fold])
    return found
