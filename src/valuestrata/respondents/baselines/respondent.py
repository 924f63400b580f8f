"""A fitted baseline as a respondent model: predicts shares, answers with their mode.

Where a split has several folds the baseline is fitted once a fold, and a pair is answered by the fold that tests it: never by
one that has seen its gold. A pair that several folds test is answered by each of them, as samples of one another.
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
        kind: its name among the baselines.
        fits: one a fold, in the order of the folds; at least one.
        answered_by: (item, subgroup) -> which of `fits` answer for it, where there are several: those that test it, or
            else those that keep it for validation. Pairs that are not there are answered by all of them.
    """

    kind: str
    fits: tuple[Fitted, ...]
    answered_by: Mapping[Pair, tuple[int, ...]]

    @property
    def name(self) -> str:
        """`baseline:` and the kind."""
        return f"baseline:{self.kind}"

    @property
    def predictor(self) -> Predictor:
        """What was fitted to the only fold.

        Raises:
            UsageError: there are several folds.
        """
        if len(self.fits) == 1:
            return self.fits[0].predictor
        raise UsageError(f"{self.name} was fitted to {len(self.fits)} folds and has a predictor for each; name one with fold=.")

    def identity(self) -> dict[str, Any]:
        """What makes the answers: the kind, the training split, what was chosen in fitting, what another data set lacks."""
        first, alone = self.fits[0].gold, len(self.fits) == 1
        pairs = [len(one.gold.counts) for one in self.fits]
        trained_on: dict[str, Any] = {
            "split": first.scheme,
            "fold": first.fold if alone else None,
            "pairs": pairs[0] if alone else pairs,
        }
        if first.source is not None:
            trained_on["data_set"] = first.source
            trained_on["unmatched"] = {key: list(names) for key, names in first.unmatched.items()}
        said: dict[str, Any] = {"provider": "baseline", "model": self.kind, "trained_on": trained_on, "parent_prior": PARENT_PRIOR}
        settings = [dict(one.predictor.settings) for one in self.fits]
        if any(settings):
            said["settings"] = settings[0] if alone else settings
        return said

    def check(self, elicitation: Elicitation) -> None:
        """Refuse an open question: a baseline chooses codes and writes nothing.

        Raises:
            UsageError: the question is open.
        """
        if elicitation == OPEN:
            raise UsageError(f"MODEL {self.name!r} chooses options and writes nothing; an open question needs a language model.")

    def shares(self, item: str, subgroup: str) -> tuple[Floats, ...]:
        """Return the predicted shares of a pair, shape (K,), one for each fold that answers it."""
        everyone = tuple(range(len(self.fits)))
        return tuple(self.fits[i].predictor.shares(item, subgroup) for i in self.answered_by.get((item, subgroup), everyone))

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield the predicted shares and one chosen code for each prompt and fold that answers it.

        `uniform` and `midpoint` choose each code that their shares hold, one answer a code.
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
    """Return the baseline called `kind`, fitted to the training gold of a split; of each of its folds where none is named.

    Args:
        kind: one of BASELINES. dataset: what is asked about.
        split, fold: whose training gold is seen. train_on: the data set that trains under `transfer`.

    Raises:
        UsageError: there is no such baseline; `train_on` as in `training_gold`.
        InputDataError: the data set has no such split, or nothing trains in it (`uniform` and `midpoint` need nothing).
    """
    if kind not in BASELINES:
        raise UsageError(f"There is no baseline {kind!r}.{did_you_mean(kind, BASELINES)}")
    every = dataset.part(split, "all", fold)
    folds = every["fold"].unique().sort().to_list()
    if not folds:
        known = ", ".join(map(str, dataset.part(split, "all")["fold"].unique().sort()))
        raise UsageError(f"Split {split!r} has no fold {fold}; its folds: {known}.")
    # What trains on nothing says the same in every fold.
    alike = kind in TRAINS_ON_NOTHING
    wanted = folds[:1] if alike else folds
    collect = training_gold_if_any if alike else training_gold
    fits: list[Fitted] = []
    for one in wanted:
        gold = collect(dataset, split=split, fold=one, train_on=train_on)
        fits.append(Fitted(gold if fold is not None or len(folds) > 1 else replace(gold, fold=None), BASELINES[kind](gold)))
    place = {one: i for i, one in enumerate(wanted)}
    answered_by = {**_folds_of(every, "validation", place), **_folds_of(every, "test", place)} if len(fits) > 1 else {}
    return Baseline(kind, tuple(fits), answered_by)


def _folds_of(rows: pl.DataFrame, part: str, place: Mapping[int, int]) -> dict[Pair, tuple[int, ...]]:
    """Return (item, subgroup) -> the places of the folds in which the pair belongs to `part`, in their order."""
    found: dict[Pair, tuple[int, ...]] = {}
    for item, subgroup, fold in rows.filter(pl.col("part") == part).select("item", "subgroup", "fold").sort("fold").iter_rows():
        found[item, subgroup] = (*found.get((item, subgroup), ()), place[fold])
    return found
