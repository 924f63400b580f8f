"""A fitted baseline as a respondent model: it predicts shares and answers with their mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.respondents.base import OPEN, Answer, Elicitation, Prompt
from valuestrata.respondents.baselines.by_fold import FittedByFold, Pair, fit_by_fold
from valuestrata.respondents.baselines.gold import GoldByFold
from valuestrata.respondents.baselines.kinds import ANSWERS_EACH, BASELINES, TRAINS_ON_NOTHING
from valuestrata.respondents.baselines.predictor import Floats, Predictor
from valuestrata.respondents.baselines.simple import PARENT_PRIOR


@dataclass(frozen=True)
class Baseline:
    """A baseline as a respondent model.

    Attributes:
        kind: name of the baseline.
        fitted: its predictors, one per fold.
    """

    kind: str
    fitted: FittedByFold

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
        fits = self.fitted.fits
        if len(fits) == 1:
            return fits[0].predictor
        raise UsageError(f"{self.name} was fitted to {len(fits)} folds, each with its own predictor; choose one with fold=.")

    def identity(self) -> dict[str, Any]:
        """Return the kind, the training split, the settings chosen in fitting and, under transfer, what has no match."""
        fits = self.fitted.fits
        first, single = fits[0].gold, len(fits) == 1
        if self.kind in TRAINS_ON_NOTHING:
            trained_on: dict[str, Any] = {"split": first.scheme, "fold": first.fold, "pairs": len(first.counts)}
        else:
            trained_on = self.fitted.source(self.name)
        if first.source is not None:
            trained_on["data_set"] = first.source
            trained_on["unmatched"] = {key: list(names) for key, names in first.unmatched.items()}
        identity: dict[str, Any] = {"provider": "baseline", "model": self.kind, "trained_on": trained_on, "parent_prior": PARENT_PRIOR}
        settings = [dict(fit.predictor.settings) for fit in fits]
        if any(settings):
            identity["settings"] = settings[0] if single else settings
        return identity

    def training_data(self) -> Mapping[str, str] | None:
        """Return fingerprint and survey of the other data set that it was fitted to under transfer; None otherwise."""
        gold = self.fitted.fits[0].gold
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
        return self.fitted.shares(item, subgroup)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield the answers of `table` to each prompt."""
        codes = self.fitted.fits[0].gold.codes
        for place, sample, code, shares in self.table([(prompt.item, prompt.subgroup) for prompt in prompts]).iter_rows():
            prompt = prompts[place]
            share_of = dict(zip(codes[prompt.item], shares, strict=True))
            shown = tuple(share_of[code] for code in prompt.shown)
            yield Answer(replace(prompt, sample=sample), option_probs=shown, option_mass=1.0, choice=code)

    def table(self, pairs: Sequence[Pair]) -> pl.DataFrame:
        """Return `FittedByFold.table`; `uniform` and `midpoint` give one answer for each code of positive share."""
        return self.fitted.table(pairs, each=self.kind in ANSWERS_EACH)


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
    by_fold = gold or GoldByFold(dataset, split, train_on)
    return Baseline(kind, fit_by_fold(BASELINES[kind], dataset, split, fold, by_fold, trains=kind not in TRAINS_ON_NOTHING))
