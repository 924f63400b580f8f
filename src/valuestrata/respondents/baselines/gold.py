"""Training gold: all that a baseline may see."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import DISJOINT, Dataset, half_of
from valuestrata.errors import InputDataError, Option, UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class JointCells:
    """Sizes of the full attribute cells of a survey: how many people are what, and nothing of what they answered.

    Attributes:
        attributes: names of the attributes.
        levels: for each cell the label of each attribute, None where unknown.
        n: respondents, shape (cells,). weight: summed weights, shape (cells,).
    """

    attributes: tuple[str, ...]
    levels: tuple[tuple[str | None, ...], ...]
    n: Floats
    weight: Floats

    @classmethod
    def of(cls, dataset: Dataset) -> JointCells:
        """Return the joint cells of a data set."""
        names = tuple(dataset.attributes)
        frame = dataset.joint
        return cls(
            names, tuple(frame.select(names).iter_rows()), frame["n"].to_numpy().astype(float), frame["weight"].to_numpy().astype(float)
        )

    @cached_property
    def _columns(self) -> Mapping[str, NDArray[np.object_]]:
        return {name: np.array([row[a] for row in self.levels], dtype=object) for a, name in enumerate(self.attributes)}

    def within(self, levels: Mapping[str, str]) -> NDArray[np.bool_]:
        """Return which cells have all of `levels` (attribute -> label), shape (cells,); none for an attribute not asked."""
        inside = np.ones(len(self.levels), dtype=bool)
        for name, label in levels.items():
            inside &= (self._columns[name] == label) if name in self._columns else False
        return inside


@dataclass(frozen=True)
class TrainingGold:
    """The gold of training pairs, and what is known of every item, subgroup and joint cell without asking anyone.

    Attributes:
        codes: item -> scale codes in scale order; test items too, as in the four that follow: their text is no gold.
        level: item -> ordinal, nominal or binary.
        labels: item -> labels, in the order of the codes.
        question, topic: item -> its closed question, its topic.
        counts: (item, subgroup) -> weighted counts, shape (K,): what may be added up over subgroups.
        n, n_eff: (item, subgroup) -> answers, and effective answers: how much a subgroup's shares are to be trusted.
        levels: subgroup -> {attribute: label}, of every subgroup; {} for everyone.
        singles: attribute -> its single-attribute subgroups.
        joint: joint cells of the data set asked about.
        trained_joint: joint cells of the people behind `counts`; another data set's under transfer.
        scheme, fold: the split.
        apart: True where nobody stands behind both training and test gold: `+disjoint`, or another data set trains.
        source: fingerprint of the other data set that trains, or None.
        unmatched: what of the data set asked about has no match in that one: `items`, and `levels` as attribute=label.
    """

    codes: Mapping[str, tuple[int, ...]]
    level: Mapping[str, str]
    labels: Mapping[str, tuple[str, ...]]
    question: Mapping[str, str]
    topic: Mapping[str, str]
    counts: Mapping[tuple[str, str], Floats]
    n: Mapping[tuple[str, str], int]
    n_eff: Mapping[tuple[str, str], float]
    levels: Mapping[str, Mapping[str, str]]
    singles: Mapping[str, Sequence[str]]
    joint: JointCells
    trained_joint: JointCells
    scheme: str
    fold: int | None
    apart: bool = False
    source: str | None = None
    unmatched: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @cached_property
    def subgroups_of(self) -> Mapping[str, tuple[str, ...]]:
        """Item -> its trained subgroups, in the data set's order; items that train nowhere are absent."""
        found: dict[str, list[str]] = {}
        for item, subgroup in self.counts:
            found.setdefault(item, []).append(subgroup)
        return {item: tuple(subgroups) for item, subgroups in found.items()}

    @cached_property
    def subgroup_with(self) -> Mapping[frozenset[tuple[str, str]], str]:
        """Levels -> the subgroup that has exactly these."""
        return {frozenset(levels.items()): subgroup for subgroup, levels in self.levels.items()}

    def without(self, pairs: Set[tuple[str, str]]) -> TrainingGold:
        """Return the same gold with some training pairs taken out; for validation inside it."""
        kept = [pair for pair in self.counts if pair not in pairs]
        return self._of_pairs(kept)

    def of_items(self, items: Collection[str]) -> TrainingGold:
        """Return the training pairs of some items only."""
        return self._of_pairs([pair for pair in self.counts if pair[0] in items])

    def _of_pairs(self, pairs: Sequence[tuple[str, str]]) -> TrainingGold:
        return replace(
            self,
            counts={pair: self.counts[pair] for pair in pairs},
            n={pair: self.n[pair] for pair in pairs},
            n_eff={pair: self.n_eff[pair] for pair in pairs},
        )


def training_gold(dataset: Dataset, *, split: str = "paper", fold: int | None = None, train_on: Dataset | None = None) -> TrainingGold:
    """Collect the training gold of a split (validation pairs are not part of it); of half A under `+disjoint`.

    With `train_on` the gold is all of another data set's, as `transfer` wants it: items are matched by id where their
    codes are equal, levels by attribute name and label. Whatever one of the two data sets lacks counts as untrained.

    Raises:
        InputDataError: the data set has no such split, nothing trains in it, or the two data sets have no item in common.
        UsageError: the split has several folds and none is named: what trains in one is tested in another. `train_on`
            under a split that trains on the data set's own gold, or `train_on` the data set itself.
    """
    gold = training_gold_if_any(dataset, split=split, fold=fold, train_on=train_on)
    if not gold.counts:
        where = dataset.path or "The data set"
        if split.removesuffix(DISJOINT) == "transfer" and train_on is None:
            raise InputDataError(
                f"{where}: nothing trains in split {split!r} but the gold of another data set, and none is named. Say which one with ",
                Option("train_on"),
                ".",
            )
        raise InputDataError(f"{where}: nothing trains in split {split!r}, and a baseline sees training gold only.")
    return gold


def training_gold_if_any(
    dataset: Dataset, *, split: str = "paper", fold: int | None = None, train_on: Dataset | None = None
) -> TrainingGold:
    """Return `training_gold`, or gold without a pair where nothing trains: for what answers without having seen any."""
    train = dataset.part(split, "train", fold)
    if (folds := train["fold"].n_unique()) > 1:
        raise UsageError(f"Split {split!r} has {folds} folds, and a baseline is fitted to the training gold of one: say which fold.")
    half = half_of(split, "train")
    about = dataset.items
    levels = _levels_of(dataset)
    joint = JointCells.of(dataset)
    if train_on is None:
        rows = _answered(dataset, half).join(train.select("pair_id"), on="pair_id", how="semi")
        names: dict[str, str] = {}
    else:
        _check_transfer(dataset, train_on, split)
        rows = _answered(train_on, half).filter(pl.col("item").is_in(_common_items(dataset, train_on)))
        names, levels = _matched(dataset, train_on, levels)
        rows = rows.filter(pl.col("subgroup").is_in(list(names)))
    pairs = [(str(item), names.get(subgroup) or str(subgroup)) for item, subgroup in rows.select("item", "subgroup").iter_rows()]
    singles: dict[str, list[str]] = {}
    for subgroup, its_levels in levels.items():
        if len(its_levels) == 1:
            singles.setdefault(next(iter(its_levels)), []).append(subgroup)
    return TrainingGold(
        codes=dataset.codes_of,
        level=_by_item(about, "level"),
        labels={item: tuple(labels) for item, labels in about.select("item", "labels").iter_rows()},
        question=_by_item(about, "question"),
        topic=_by_item(about, "topic"),
        counts=dict(zip(pairs, (np.array(row) for row in rows["counts_weighted"]), strict=True)),
        n=dict(zip(pairs, rows["n"], strict=True)),
        n_eff=dict(zip(pairs, rows["n_eff"], strict=True)),
        levels=levels,
        singles=singles,
        joint=joint,
        trained_joint=joint if train_on is None else JointCells.of(train_on),
        scheme=split,
        fold=fold,
        apart=half != "all" or train_on is not None,
        source=None if train_on is None else train_on.fingerprint,
        unmatched={} if train_on is None else _unmatched(dataset, pairs, levels),
    )


def _unmatched(dataset: Dataset, pairs: Sequence[tuple[str, str]], levels: Mapping[str, dict[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the items and levels of a data set that no pair of the other one trains."""
    items = {item for item, _ in pairs}
    trained = {level for subgroup in {subgroup for _, subgroup in pairs} for level in levels[subgroup].items()}
    asked = dict.fromkeys(level for its in _levels_of(dataset).values() for level in its.items())
    return {
        "items": tuple(item for item in dataset.codes_of if item not in items),
        "levels": tuple(f"{name}={label}" for name, label in asked if (name, label) not in trained),
    }


def _answered(dataset: Dataset, half: str) -> pl.DataFrame:
    # Answers that all weigh nothing say nothing.
    return dataset.gold.filter((pl.col("half") == half) & (pl.col("counts_weighted").list.sum() > 0))


def _by_item(items: pl.DataFrame, column: str) -> dict[str, str]:
    return dict(zip(items["item"], items[column], strict=True))


def _levels_of(dataset: Dataset) -> dict[str, dict[str, str]]:
    names = dataset.attributes
    return {
        subgroup: {name: label for name, label in zip(names, labels, strict=True) if label is not None}
        for subgroup, *labels in dataset.subgroups.select("subgroup", *names).iter_rows()
    }


def _check_transfer(dataset: Dataset, train_on: Dataset, split: str) -> None:
    if split.removesuffix(DISJOINT) != "transfer":
        raise UsageError(f"Split {split!r} trains on the data set's own gold; another data set trains under the split `transfer` only.")
    if train_on.fingerprint == dataset.fingerprint:
        raise UsageError(
            f"{train_on.path or 'The data set'} would train on the gold that tests it. Name another wave or country with ",
            Option("train_on"),
            ".",
        )
    if _same_people(dataset, train_on):
        raise UsageError(
            f"{train_on.path or 'The data set'} was built from the same file and place as the data set asked about: it would train on the "
            "people who test it. Name another wave or country with ",
            Option("train_on"),
            ".",
        )


def _same_people(dataset: Dataset, train_on: Dataset) -> bool:
    """Whether both were built from one file, and not from different countries in it."""
    one, other = dataset.meta, train_on.meta
    same_file = bool(one.get("source")) and one["source"].get("sha256") == other.get("source", {}).get("sha256")
    places = [{country["code"] for country in meta.get("countries") or ()} for meta in (one, other)]
    return same_file and (not all(places) or bool(places[0] & places[1]))


def _common_items(dataset: Dataset, train_on: Dataset) -> list[str]:
    common = [item for item, codes in dataset.codes_of.items() if train_on.codes_of.get(item) == codes]
    if not common:
        same = len(dataset.codes_of.keys() & train_on.codes_of.keys())
        raise InputDataError(
            f"{train_on.path or 'The other data set'}: it shares no item with {dataset.path or 'the data set asked about'} ({same} ids "
            "are the same, none of them with the same codes), so that there is nothing to train on. Build both from the same questionnaire."
        )
    return common


def _matched(dataset: Dataset, train_on: Dataset, levels: Mapping[str, dict[str, str]]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return the other data set's subgroups -> the ids they go by here, and the levels of all subgroups of both.

    A subgroup with the same levels goes by the id it has here. One with a level unknown here keeps its people in the
    pooled counts under an id of its own; one of an attribute unknown here is left out, as is everyone.
    """
    mine = {frozenset(its.items()): subgroup for subgroup, its in levels.items()}
    names: dict[str, str] = {}
    everything = dict(levels)
    for subgroup, its in _levels_of(train_on).items():
        if not its or not its.keys() <= set(dataset.attributes):
            continue
        here = mine.get(frozenset(its.items()), f"{subgroup} (where trained)")
        names[subgroup] = here
        everything.setdefault(here, its)
    return names, everything
