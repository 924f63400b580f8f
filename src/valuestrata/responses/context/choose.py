"""Which survey answers a prompt shows: training gold of its persona's group, for the questions most similar to those of its block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Literal

import numpy as np

from valuestrata.dataset.gold import is_mode
from valuestrata.dataset.tables import Dataset
from valuestrata.prompts.context import ShownAnswer
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.item_models.embeddings import embed_texts
from valuestrata.respondents.baselines.pooling import pooled
from valuestrata.respondents.baselines.predictor import Floats, as_shares

Levels = frozenset[tuple[str, str]]
Relation = Literal["own", "parent", "population"]


@dataclass(frozen=True)
class SimilarItems:
    """Items by the similarity of their texts.

    Attributes:
        method: of the embedding, part of the identity of a run.
        nearest: item -> the other items, most similar first; ties in the order of the data set. Items of one topic and block have
            the same list, apart from themselves.
    """

    method: str
    nearest: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, dataset: Dataset) -> SimilarItems:
        """Compare the items of a data set by the cosine of their embedded questions and labels.

        Similarity is the mean over the items of a topic and block, not that of one item: prompts about them then show the same
        answers, and share their beginnings.
        """
        items = dataset.items["item"].to_list()
        found = embed_texts(["\n".join([question, *labels]) for question, labels in dataset.items.select("question", "labels").iter_rows()])
        cosine = found.vectors @ found.vectors.T
        beside: dict[tuple[str, str | None], list[int]] = {}
        for place, key in enumerate(dataset.items.select("topic", "block").iter_rows()):
            beside.setdefault(key, []).append(place)
        nearest: dict[str, tuple[str, ...]] = {}
        for members in beside.values():
            # A member is not compared with itself.
            inside = np.isin(np.arange(len(items)), members)
            total = cosine[members].sum(axis=0) - np.where(inside, cosine.diagonal(), 0.0)
            mean = total / np.maximum(len(members) - inside, 1)
            # Rounded, because equal texts must tie on every machine.
            order = np.argsort(-mean.round(9), kind="stable")
            nearest |= {items[i]: tuple(items[j] for j in order if j != i) for i in members}
        return cls(found.method, {item: nearest[item] for item in items})


@dataclass(frozen=True)
class ChosenAnswers:
    """Answers chosen for a prompt.

    Attributes:
        group: levels of the group that gave them (attribute, label); empty for the population.
        relation: `own` if that is the persona's group, else `parent` or `population`.
        answers: in the order in which they are shown.
    """

    group: Levels
    relation: Relation
    answers: tuple[ShownAnswer, ...]


@dataclass(frozen=True)
class _Group:
    """A group with training gold: its levels, and its most frequent answer to each item."""

    levels: Levels
    answers: Mapping[str, ShownAnswer]
    chosen: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    places: dict[bool, Mapping[str, int]] = field(default_factory=dict[bool, Mapping[str, int]])


class AnswerChooser:
    """Chooses shown answers from training gold. Gold of other pairs is never read.

    The answers are those of the persona's group; if it has no training gold, those of the group with fewest respondents among the
    groups that contain it; else those of the population. The asked question is never shown, whoever answered it. If the fold
    holds out whole topics, neither are questions of its topic: training pairs are then asked as test pairs are.
    """

    def __init__(self, gold: TrainingGold, similar: SimilarItems, number: int, tested: frozenset[str]) -> None:
        """Prepare the choice.

        Args:
            gold: training gold. similar: similarity of the items. number: answers per prompt. tested: the items that the fold tests.
        """
        self._gold = gold
        self._nearest = similar.nearest
        self._number = number
        self._tested = tested
        self._place = {item: place for place, item in enumerate(gold.codes)}
        trained = {gold.topic[item] for item, _ in gold.counts}
        self._whole_topics = not trained & {gold.topic[item] for item in tested}
        self._groups: dict[Levels, _Group | None] = {}

    def choose(self, item: str, levels: Levels) -> ChosenAnswers | None:
        """Return the answers to show to a persona with these levels (attribute, label); None if there is no training gold."""
        for relation, group in self._candidates(levels):
            if chosen := self._similar(group, item):
                place = self._in_order(group, item in self._tested)
                shown = sorted(chosen, key=place.__getitem__)
                return ChosenAnswers(group.levels, relation, tuple(group.answers[one] for one in shown))
        return None

    def _candidates(self, levels: Levels) -> Iterator[tuple[Relation, _Group]]:
        if (own := self._group(levels)) is not None:
            yield "own", own
        if levels:
            for parent in self._parents(levels):
                yield "parent", parent
            if (everyone := self._group(frozenset())) is not None:
                yield "population", everyone

    def _parents(self, levels: Levels) -> list[_Group]:
        subsets = (frozenset(some) for size in range(1, len(levels)) for some in combinations(sorted(levels), size))
        found = [group for some in subsets if (group := self._group(some)) is not None]
        return sorted(found, key=lambda group: self._respondents[self._gold.subgroup_with[group.levels]])

    def _group(self, levels: Levels) -> _Group | None:
        if levels not in self._groups:
            counts = self._counts.get(self._gold.subgroup_with.get(levels, ""), {})
            if not levels and not counts:
                of_all = {item: pooled(self._gold, item) for item in self._gold.subgroups_of}
                counts = {item: row for item, row in of_all.items() if row.sum() > 0}
            answers = {item: _most_frequent(item, self._gold.codes[item], row) for item, row in counts.items()}
            self._groups[levels] = _Group(levels, answers) if answers else None
        return self._groups[levels]

    @cached_property
    def _counts(self) -> Mapping[str, Mapping[str, Floats]]:
        found: dict[str, dict[str, Floats]] = {}
        for (item, subgroup), row in self._gold.counts.items():
            found.setdefault(subgroup, {})[item] = row
        return found

    @cached_property
    def _respondents(self) -> Mapping[str, int]:
        """Subgroup -> most answers to one item."""
        found: dict[str, int] = {}
        for (_, subgroup), n in self._gold.n.items():
            found[subgroup] = max(n, found.get(subgroup, 0))
        return found

    def _similar(self, group: _Group, item: str) -> tuple[str, ...]:
        """Return the items to show for a question, most similar first."""
        if item not in group.chosen:
            topic = self._gold.topic[item] if self._whole_topics else None
            known = (other for other in self._nearest[item] if other in group.answers and self._gold.topic[other] != topic)
            group.chosen[item] = tuple(other for other, _ in zip(known, range(self._number), strict=False))
        return group.chosen[item]

    def _in_order(self, group: _Group, tested: bool) -> Mapping[str, int]:
        """Return item -> its place among shown answers.

        Items that are shown with most questions come first, so prompts of a group begin alike and share what the model computes:
        the order of items in a frequent-pattern tree (Han, Pei and Yin 2000). It depends on the fold, not on the pairs that are asked.
        """
        if tested not in group.places:
            asked = [item for item in self._gold.codes if (item in self._tested) == tested]
            times = Counter(other for item in asked for other in self._similar(group, item))
            ordered = sorted(times, key=lambda item: (-times[item], self._place[item]))
            group.places[tested] = {item: place for place, item in enumerate(ordered)}
        return group.places[tested]


def _most_frequent(item: str, codes: Sequence[int], counts: Floats) -> ShownAnswer:
    """Return the lowest of the most frequent codes and its share."""
    shares = as_shares(counts)
    option = int(is_mode(shares[None])[0].argmax())
    return ShownAnswer(item, codes[option], round(100 * float(shares[option])))
