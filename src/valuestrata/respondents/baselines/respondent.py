"""A fitted baseline as a respondent model: predicts shares, answers with their mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from valuestrata.dataset import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.gold import is_mode
from valuestrata.respondents.base import Answer, Prompt
from valuestrata.respondents.baselines.gold import TrainingGold, training_gold
from valuestrata.respondents.baselines.kinds import ANSWERS_EACH, BASELINES
from valuestrata.respondents.baselines.predictor import Predictor
from valuestrata.respondents.baselines.simple import PARENT_PRIOR


@dataclass(frozen=True)
class Baseline:
    """A baseline as a respondent model."""

    kind: str
    gold: TrainingGold
    predictor: Predictor

    @property
    def name(self) -> str:
        """`baseline:` and the kind."""
        return f"baseline:{self.kind}"

    def identity(self) -> dict[str, Any]:
        """What makes the answers: the kind, the training split and the prior."""
        return {
            "provider": "baseline",
            "model": self.kind,
            "trained_on": {"split": self.gold.scheme, "fold": self.gold.fold, "pairs": len(self.gold.counts)},
            "parent_prior": PARENT_PRIOR,
        }

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield the predicted shares and one chosen code for each prompt (`uniform`, `midpoint`: one for each code)."""
        for prompt in prompts:
            shares = self.predictor.shares(prompt.item, prompt.subgroup)
            codes = self.gold.codes[prompt.item]
            chosen = np.flatnonzero(shares > 0) if self.kind in ANSWERS_EACH else np.flatnonzero(is_mode(shares))[:1]
            share_of = dict(zip(codes, shares.tolist(), strict=True))
            shown = tuple(share_of[code] for code in prompt.shown)
            for sample, option in enumerate(chosen):
                yield Answer(replace(prompt, sample=sample), option_probs=shown, option_mass=1.0, choice=codes[option])


def make_baseline(
    kind: str, dataset: Dataset, *, split: str = "paper", fold: int | None = None, train_on: Dataset | None = None
) -> Baseline:
    """Return the baseline called `kind`, fitted to the training gold of a split.

    Raises:
        UsageError: there is no such baseline.
    """
    if kind not in BASELINES:
        raise UsageError(f"There is no baseline {kind!r}.{did_you_mean(kind, BASELINES)}")
    gold = training_gold(dataset, split=split, fold=fold, train_on=train_on)
    return Baseline(kind, gold, BASELINES[kind](gold))
