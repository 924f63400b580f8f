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
        counts: (item, subgroup) -> weighted counts: what may be added up over subgroups.
        n, n_eff: (item, subgroup) -> answers, and effective answers: how much a subgroup's shares are to be trusted.
        levels: subgroup -> {attribute: level}.
        singles: single-attribute subgroups, by stratum.
        fold: fold of the split, which is part of a baseline's identity.
    """

    codes: Mapping[str, tuple[int, ...]]
    counts: Mapping[tuple[str, str], Floats]
    n: Mapping[tuple[str, str], int]
    n_eff: Mapping[tuple[str, str], float]
    levels: Mapping[str, Mapping[str, str]]
    singles: Mapping[str, Sequence[str]]
    scheme: str
    fold: int | None


def training_gold(dataset: Dataset, *, split: str = "paper", fold: int | None = None) -> TrainingGold:
    """Collect the training gold of a split (validation pairs are not part of it); of half A where the halves are disjoint.

    Raises:
        InputDataError: the data set has no such split, or nothing trains in it.
        UsageError: the split has several folds and none is named: what trains in one is tested in another.
    """
    train = dataset.part(split, "train", fold)
    if (folds := train["fold"].n_unique()) > 1:
        raise UsageError(f"Split {split!r} has {folds} folds, and a baseline is fitted to the training gold of one: say which fold.")
    if train.is_empty():
        raise InputDataError(
            f"{dataset.path or 'The data set'}: nothing trains in split {split!r}, and a baseline sees training gold only."
        )
    half = "A" if split.endswith("+disjoint") else "all"
    gold = dataset.gold.filter(pl.col("half") == half).join(train.select("pair_id"), on="pair_id", how="semi")
    pairs = list(gold.select("item", "subgroup").iter_rows())
    counts = dict(zip(pairs, (np.array(row) for row in gold["counts_weighted"]), strict=True))
    n = dict(zip(pairs, gold["n"], strict=True))
    n_eff = dict(zip(pairs, gold["n_eff"], strict=True))
    names = dataset.attributes
    levels: dict[str, dict[str, str]] = {}
    singles: dict[str, list[str]] = {}
    for subgroup, stratum, *labels in dataset.subgroups.select("subgroup", "stratum", *names).iter_rows():
        levels[subgroup] = {name: label for name, label in zip(names, labels, strict=True) if label is not None}
        if len(levels[subgroup]) == 1:
            singles.setdefault(stratum, []).append(subgroup)
    return TrainingGold(dataset.codes_of, counts, n, n_eff, levels, singles, split, fold)


def pooled(gold: TrainingGold, item: str) -> Floats:
    """Return the item's (weighted) training counts pooled over the single-attribute stratum with most respondents.

    Where no single-attribute stratum trains on the item, all its training counts are pooled instead; without any, the
    counts are zeros.
    """
    trained = [[(item, s) for s in subgroups if (item, s) in gold.counts] for subgroups in gold.singles.values()]
    largest = max(trained, key=lambda pairs: sum(gold.n[pair] for pair in pairs), default=[])
    if largest:
        return np.sum([gold.counts[pair] for pair in largest], axis=0)
    everything = [counts for (other, _), counts in gold.counts.items() if other == item]
    return np.sum(everything, axis=0) if everything else np.zeros(len(gold.codes[item]))


def nearest_parent(gold: TrainingGold, item: str, subgroup: str) -> Floats:
    """Return shares for a subgroup from its smallest trained parent, shrunk toward the parent's own parents.

    A parent is a trained subgroup, other than the one asked about, whose levels all belong to it. Parents of the parent
    that train are pooled (without any: the item's pooled counts) into the prior, which counts as `PARENT_PRIOR`
    respondents: (n * shares + m * prior) / (n + m), n the parent's effective answers.
    """
    everyone = _shares(pooled(gold, item))
    parents = _trained_parents(gold, item, subgroup)
    if not parents:
        return everyone
    nearest = min(parents, key=lambda parent: gold.n[item, parent])
    above = [gold.counts[item, s] for s in _trained_parents(gold, item, nearest)]
    prior = _shares(np.sum(above, axis=0)) if above else everyone
    n_eff = gold.n_eff[item, nearest]
    return (n_eff * _shares(gold.counts[item, nearest]) + PARENT_PRIOR * prior) / (n_eff + PARENT_PRIOR)


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
