"""Training pairs that a model answered, as arrays, and features of the model's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.calibration.methods.scales import ItemScale
from valuestrata.calibration.model_answers import ModelAnswers, Pair
from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.pooling import item_folds
from valuestrata.respondents.baselines.predictor import as_shares
from valuestrata.stats.arrays import Floats, Indices

# Added to the number of answers for an option, before shares become logarithms; one of them is chosen inside training.
PSEUDO_COUNTS = (0.5, 2.0, 0.1, 0.01, 1e-4, 1e-6)


@dataclass(frozen=True)
class AnswerArrays:
    """Answers of a model to pairs with the same number of options.

    Attributes:
        shares: shape (n, K). responses: number of responses behind them, shape (n,).
        population: shares of the model's answer for the whole population, shape (n, K). population_responses: shape (n,).
    """

    shares: Floats
    responses: Floats
    population: Floats
    population_responses: Floats

    @classmethod
    def of(cls, pairs: Sequence[Pair], answers: ModelAnswers, population: ModelAnswers) -> AnswerArrays:
        """Return the answers to pairs; `population` has the answer to each item under `all`."""
        nation = [(item, EVERYONE) for item, _ in pairs]
        found = (np.array([of.shares[pair] for pair in listed]) for of, listed in ((answers, pairs), (population, nation)))
        counts = (np.array([float(of.n[pair]) for pair in listed]) for of, listed in ((answers, pairs), (population, nation)))
        (own, whole), (own_n, whole_n) = found, counts
        return cls(own, own_n, whole, whole_n)

    def logs(self, pseudo_count: float) -> Floats:
        """Return log shares, shape (n, K, 1)."""
        return log_shares(self.shares, self.responses, pseudo_count)[:, :, None]

    def logs_and_departures(self, pseudo_count: float) -> Floats:
        """Return log shares of the population and the persona's departure from them, shape (n, K, 2).

        The departure has the same pseudo-count in both terms, so it is 0 where the shares are equal.
        """
        nation = log_shares(self.population, self.population_responses, pseudo_count)
        departure = self.logs(pseudo_count)[:, :, 0] - log_shares(self.population, self.responses, pseudo_count)
        return np.stack([nation, departure], axis=2)


@dataclass(frozen=True)
class AnsweredPairs:
    """Training pairs of one scale that the model answered.

    Attributes:
        scale: their scale. pairs: item and subgroup of each. model: the model's answers.
        shares: gold shares, shape (n, K). answers: effective number of answers, shape (n,).
        item, topic: numbers of the item and the topic of each, over all scales, shape (n,).
        group: number of the group of items that is held out together inside training, shape (n,).
    """

    scale: ItemScale
    pairs: tuple[Pair, ...]
    model: AnswerArrays
    shares: Floats
    answers: Floats
    item: Indices
    topic: Indices
    group: Indices

    @property
    def subgroups(self) -> list[str]:
        """The subgroup of each pair."""
        return [subgroup for _, subgroup in self.pairs]

    @property
    def items(self) -> int:
        """Number of items."""
        return len(np.unique(self.item))


def scale_of(gold: TrainingGold, item: str) -> ItemScale:
    """Return the scale of an item."""
    return ItemScale(len(gold.codes[item]), gold.level[item])


def answered_pairs(gold: TrainingGold, answers: ModelAnswers, population: ModelAnswers | None = None) -> dict[ItemScale, AnsweredPairs]:
    """Return the training pairs with an answer, by scale, and in the order of the gold.

    Args:
        gold: the training gold. answers: of the model. population: what `population_answers` returns for them, if it is known.
    """
    nation = population or population_answers(gold, answers)
    by_scale: dict[ItemScale, list[Pair]] = {}
    for pair in gold.counts:
        if pair in answers.shares:
            by_scale.setdefault(scale_of(gold, pair[0]), []).append(pair)
    items = dict.fromkeys(item for pairs in by_scale.values() for item, _ in pairs)
    number = {item: place for place, item in enumerate(items)}
    group = {item: place for place, fold in enumerate(item_folds(gold, list(items))) for item in fold}
    topics = {topic: place for place, topic in enumerate(dict.fromkeys(gold.topic[item] for item in items))}
    return {
        scale: AnsweredPairs(
            scale,
            tuple(pairs),
            AnswerArrays.of(pairs, answers, nation),
            as_shares(np.array([gold.counts[pair] for pair in pairs])),
            np.array([gold.n_eff[pair] for pair in pairs]),
            np.array([number[item] for item, _ in pairs], dtype=np.intp),
            np.array([topics[gold.topic[item]] for item, _ in pairs], dtype=np.intp),
            np.array([group[item] for item, _ in pairs], dtype=np.intp),
        )
        for scale, pairs in sorted(by_scale.items())
    }


def population_answers(gold: TrainingGold, answers: ModelAnswers) -> ModelAnswers:
    """Return the model's answer to each item of the data set for the whole population, under `all`.

    Without an answer for all respondents, it is the mean over the subgroups of the single-attribute stratum with most answered
    subgroups, weighted by their size in the population; else the mean over all answered subgroups. Items without an answer are absent.
    """
    whole = gold.subgroup_with.get(frozenset(), EVERYONE)
    singles = [[s for s in own if s in gold.levels] for own in gold.singles.values()]
    size = {s: float(gold.joint.weight @ gold.joint.within(gold.levels[s])) for own in singles for s in own}
    of_item: dict[str, list[str]] = {}
    for item, subgroup in answers.shares:
        of_item.setdefault(item, []).append(subgroup)
    shares: dict[Pair, Floats] = {}
    n: dict[Pair, int] = {}
    for item in gold.codes:
        answered = of_item.get(item, [])
        if not answered:
            continue
        there = [[s for s in own if (item, s) in answers.shares and size[s] > 0] for own in singles]
        stratum = max(there, key=len, default=[])
        used = [whole] if whole in answered else stratum or answered
        weight = np.array([size[s] for s in used]) if used is stratum else np.ones(len(used))
        shares[item, EVERYONE] = as_shares(weight @ np.array([answers.shares[item, s] for s in used]))
        n[item, EVERYONE] = sum(answers.n[item, s] for s in used)
    return ModelAnswers(shares, n)


def log_shares(shares: Floats, responses: Floats | float, pseudo_count: float) -> Floats:
    """Return the logarithms of shares with a pseudo-count per option, centred: log((n p + c) / (n + K c)).

    Args:
        shares: shape (..., K). responses: number n behind them, shape (...). pseudo_count: c, positive.
    """
    n = np.asarray(responses)[..., None]
    logs = np.log((n * shares + pseudo_count) / (n + shares.shape[-1] * pseudo_count))
    return logs - logs.mean(axis=-1, keepdims=True)


def items_by_scale(pairs: Mapping[ItemScale, AnsweredPairs]) -> dict[ItemScale, int]:
    """Return scale -> number of training items."""
    return {scale: own.items for scale, own in pairs.items()}
