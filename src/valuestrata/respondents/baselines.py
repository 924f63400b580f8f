"""Respondent models that need no language model. They see training gold only, and answer like any other.

- `uniform`: every code equally likely. It answers each prompt once for every code, so that its scores are the exact
  expectation of a random guess and not one lucky draw.
- `midpoint`: the middle of the scale, whoever is asked.
- `item-mode`: the item's commonest answer in the training data, whoever is asked.
- `nearest-parent`: the answer of the smallest trained subgroup that contains the one asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset import Dataset
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.gold import is_mode
from valuestrata.respondents.base import Answer, Prompt

# Strength of the Dirichlet prior of `nearest-parent`: the parent's own parents count as this many respondents. Ten is
# a third of the smallest subgroup built, so a small cell leans on its parents and a large one hardly does.
PARENT_PRIOR = 10.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TrainingGold:
    """The gold of training pairs: all that a baseline may see.

    Attributes:
        codes: item -> scale codes in scale order.
        counts: (item, subgroup) -> weighted counts scaled to the effective number of answers.
        levels: subgroup -> {attribute: level}.
        singles: single-attribute subgroups, by stratum.
        fold: fold of the split, which is part of a baseline's identity.
    """

    codes: Mapping[str, tuple[int, ...]]
    counts: Mapping[tuple[str, str], Floats]
    levels: Mapping[str, Mapping[str, str]]
    singles: Mapping[str, Sequence[str]]
    scheme: str
    fold: int | None


def training_gold(dataset: Dataset, *, split: str = "paper", fold: int | None = None) -> TrainingGold:
    """Collect the training gold of a split (validation pairs are not part of it).

    Raises:
        InputDataError: the data set has no such split, or nothing trains in it.
    """
    train = dataset.part(split, "train", fold)
    if train.is_empty():
        raise InputDataError(
            f"{dataset.path or 'The data set'}: nothing trains in split {split!r}, and a baseline sees training gold only."
        )
    gold = dataset.gold.filter(pl.col("half") == "all").join(train.select("pair_id"), on="pair_id", how="semi")
    counts: dict[tuple[str, str], Floats] = {}
    for item, subgroup, shares, n_eff in gold.select("item", "subgroup", "shares", "n_eff").iter_rows():
        counts[item, subgroup] = np.array(shares) * n_eff
    names = dataset.attributes
    levels: dict[str, dict[str, str]] = {}
    singles: dict[str, list[str]] = {}
    for subgroup, stratum, *labels in dataset.subgroups.select("subgroup", "stratum", *names).iter_rows():
        levels[subgroup] = {name: label for name, label in zip(names, labels, strict=True) if label is not None}
        if len(levels[subgroup]) == 1:
            singles.setdefault(stratum, []).append(subgroup)
    return TrainingGold(dataset.codes_of, counts, levels, singles, split, fold)


def pooled(gold: TrainingGold, item: str) -> Floats:
    """Return the item's training counts pooled over the single-attribute stratum with most respondents.

    Where no single-attribute stratum trains on the item, all its training counts are pooled instead; without any, the
    counts are zeros.
    """
    best = np.zeros(len(gold.codes[item]))
    for subgroups in gold.singles.values():
        found = [gold.counts[item, s] for s in subgroups if (item, s) in gold.counts]
        if found and float(np.sum(found)) > best.sum():
            best = np.sum(found, axis=0)
    if best.sum() > 0:
        return best
    everything = [counts for (other, _), counts in gold.counts.items() if other == item]
    return np.sum(everything, axis=0) if everything else best


def nearest_parent(gold: TrainingGold, item: str, subgroup: str) -> Floats:
    """Return shares for a subgroup from its smallest trained parent, shrunk toward the parent's own parents.

    A parent is a trained subgroup, other than the one asked about, whose levels all belong to it. Parents of the parent
    that train are pooled (without any: the item's pooled counts) into the prior, which counts as `PARENT_PRIOR`
    respondents: (counts + m * prior) / (n + m).
    """
    everyone = _shares(pooled(gold, item))
    parents = _trained_parents(gold, item, subgroup)
    if not parents:
        return everyone
    nearest = min(parents, key=lambda parent: float(gold.counts[item, parent].sum()))
    above = [gold.counts[item, s] for s in _trained_parents(gold, item, nearest)]
    prior = _shares(np.sum(above, axis=0)) if above else everyone
    counts = gold.counts[item, nearest]
    return (counts + PARENT_PRIOR * prior) / (counts.sum() + PARENT_PRIOR)


def _trained_parents(gold: TrainingGold, item: str, subgroup: str) -> list[str]:
    mine = gold.levels[subgroup].items()
    return [s for s, levels in gold.levels.items() if s != subgroup and levels.items() < mine and (item, s) in gold.counts]


def _shares(counts: Floats) -> Floats:
    total = counts.sum()
    return counts / total if total > 0 else np.full(len(counts), 1.0 / len(counts))


def _midpoint(options: int) -> Floats:
    # An even number of options has two middles: each is answered half of the time.
    middle = np.zeros(options)
    middle[(options - 1) // 2] += 0.5
    middle[options // 2] += 0.5
    return middle


Predict = Callable[[TrainingGold, str, str], Floats]
BASELINES: Mapping[str, Predict] = {
    "uniform": lambda gold, item, _: np.full(len(gold.codes[item]), 1.0 / len(gold.codes[item])),
    "midpoint": lambda gold, item, _: _midpoint(len(gold.codes[item])),
    "item-mode": lambda gold, item, _: _shares(pooled(gold, item)),
    "nearest-parent": nearest_parent,
}
# These answer with every code their distribution holds, each as a sample; the others answer with its mode.
ANSWERS_EACH = ("uniform", "midpoint")


@dataclass(frozen=True)
class Baseline:
    """A baseline as a respondent model: predicts shares, answers with their mode."""

    kind: str
    gold: TrainingGold

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
        predict = BASELINES[self.kind]
        for prompt in prompts:
            shares = predict(self.gold, prompt.item, prompt.subgroup)
            codes = self.gold.codes[prompt.item]
            chosen = np.flatnonzero(shares > 0) if self.kind in ANSWERS_EACH else np.flatnonzero(is_mode(shares))[:1]
            share_of = dict(zip(codes, shares.tolist(), strict=True))
            shown = tuple(share_of[code] for code in prompt.shown)
            for sample, option in enumerate(chosen):
                yield Answer(replace(prompt, sample=sample), option_probs=shown, option_mass=1.0, choice=codes[option])


def make_baseline(kind: str, dataset: Dataset, *, split: str = "paper", fold: int | None = None) -> Baseline:
    """Return the baseline called `kind`, fitted to the training gold of a split.

    Raises:
        UsageError: there is no such baseline.
    """
    if kind not in BASELINES:
        raise UsageError(f"There is no baseline {kind!r}.{did_you_mean(kind, BASELINES)}")
    return Baseline(kind, training_gold(dataset, split=split, fold=fold))
