"""The training gold of a split, which is all that a baseline uses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import Dataset, base_of, half_of
from valuestrata.errors import InputDataError, Option, UsageError

Floats = NDArray[np.float64]
Made = TypeVar("Made")


@dataclass(frozen=True)
class JointCells:
    """Sizes of the joint cells of a survey: the combinations of levels of all attributes. Holds no answers.

    Attributes:
        attributes: names of the attributes.
        levels: label of each attribute in each cell, or None if unknown.
        n: number of respondents, shape (cells,). weight: sum of weights, shape (cells,).
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
        # A frame without columns has no rows.
        levels = tuple(frame.select(names).iter_rows()) if names else ((),) * len(frame)
        return cls(names, levels, frame["n"].to_numpy().astype(float), frame["weight"].to_numpy().astype(float))

    @cached_property
    def _columns(self) -> Mapping[str, NDArray[np.object_]]:
        return {name: np.array([row[a] for row in self.levels], dtype=object) for a, name in enumerate(self.attributes)}

    def within(self, levels: Mapping[str, str]) -> NDArray[np.bool_]:
        """Return a mask of the cells with all of `levels` (attribute -> label), shape (cells,)."""
        inside = np.ones(len(self.levels), dtype=bool)
        for name, label in levels.items():
            inside &= (self._columns[name] == label) if name in self._columns else False
        return inside


@dataclass(frozen=True)
class TrainedOn:
    """A data set and a half of its respondents (`all`, `A` or `B`)."""

    dataset: Dataset
    half: str


@dataclass(frozen=True)
class TrainingGold:
    """Counts of the training pairs, with descriptions of all items, subgroups and joint cells.

    Attributes:
        codes: item -> codes in scale order. This and the next four attributes include test items.
        level: item -> ordinal, nominal or binary.
        labels: item -> labels of the codes.
        question, topic: item -> closed question, topic.
        counts: (item, subgroup) -> weighted counts, shape (K,).
        n, n_eff: (item, subgroup) -> number of answers, effective number of answers.
        levels: subgroup -> {attribute: label}; {} for all respondents.
        singles: attribute -> its single-attribute subgroups.
        joint: joint cells of the data set to predict.
        trained_joint: joint cells of the respondents behind `counts`; those of the other data set under transfer.
        scheme, fold: the split.
        trained_on: the data set and half of the counts.
        disjoint: whether training and test gold have no respondents in common: `+disjoint`, `+crossfit` or transfer.
        source: fingerprint of the training data set under transfer, or None.
        source_survey: title and place of its survey, or None.
        unmatched: `items` and `levels` (attribute=label) without a match in the training data set.
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
    trained_on: TrainedOn | None = None
    disjoint: bool = False
    source: str | None = None
    source_survey: str | None = None
    unmatched: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @cached_property
    def subgroups_of(self) -> Mapping[str, tuple[str, ...]]:
        """Item -> its training subgroups, in the order of the data set. Items without training pairs are absent."""
        found: dict[str, list[str]] = {}
        for item, subgroup in self.counts:
            found.setdefault(item, []).append(subgroup)
        return {item: tuple(subgroups) for item, subgroups in found.items()}

    @cached_property
    def subgroup_with(self) -> Mapping[frozenset[tuple[str, str]], str]:
        """Set of levels -> the subgroup with exactly these levels."""
        return {frozenset(levels.items()): subgroup for subgroup, levels in self.levels.items()}

    def once(self, make: Callable[[TrainingGold], Made]) -> Made:
        """Return `make(self)`, computed once for this gold. Baselines share parts of their fits by it."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast("Made", self._made[make])

    @cached_property
    def _made(self) -> dict[Callable[[TrainingGold], Any], Any]:
        return {}

    def without(self, pairs: Set[tuple[str, str]]) -> TrainingGold:
        """Return the gold without some training pairs."""
        kept = [pair for pair in self.counts if pair not in pairs]
        return self._of_pairs(kept)

    def of_items(self, items: Collection[str]) -> TrainingGold:
        """Return the gold of some items only."""
        return self._of_pairs([pair for pair in self.counts if pair[0] in items])

    def _of_pairs(self, pairs: Sequence[tuple[str, str]]) -> TrainingGold:
        return replace(
            self,
            counts={pair: self.counts[pair] for pair in pairs},
            n={pair: self.n[pair] for pair in pairs},
            n_eff={pair: self.n_eff[pair] for pair in pairs},
        )


def training_gold(dataset: Dataset, *, split: str = "paper", fold: int | None = None, train_on: Dataset | None = None) -> TrainingGold:
    """Return the training gold of a split, without validation pairs; that of one half under `+disjoint` and `+crossfit`.

    With `train_on` (for `transfer`), the gold is that of another data set. Items are matched by id if their codes are equal,
    and levels by attribute name and label.

    Raises:
        InputDataError: the data set has no such split, the split has no training pairs, or the data sets have no item in
            common.
        UsageError: the split has several folds and none is given; `train_on` without `transfer`, or with the same data set
            or respondents.
    """
    return GoldByFold(dataset, split, train_on).of(fold)


class GoldByFold:
    """The training gold of the folds of a split, each collected once. Baselines fitted to it share it and what they fitted."""

    def __init__(self, dataset: Dataset, split: str, train_on: Dataset | None = None) -> None:
        """Store what `training_gold` takes; nothing is collected yet."""
        self.dataset, self.split, self.train_on = dataset, split, train_on
        self._found: dict[int | None, TrainingGold] = {}

    def of(self, fold: int | None, *, may_be_empty: bool = False) -> TrainingGold:
        """Return the gold of a fold (None for the only one); errors as for `training_gold`.

        Args:
            fold: the fold. may_be_empty: allow gold without pairs, for baselines that need no training.
        """
        if fold not in self._found:
            self._found[fold] = _collected(self.dataset, self.split, fold, self.train_on)
        gold = self._found[fold]
        if not gold.counts and not may_be_empty:
            raise _no_pairs(self.dataset, self.split, self.train_on)
        return gold


def _no_pairs(dataset: Dataset, split: str, train_on: Dataset | None) -> InputDataError:
    where = dataset.path or "The data set"
    if base_of(split) == "transfer" and train_on is None:
        return InputDataError(
            f"{where}: split {split!r} trains on another data set, and none is given. Name it with ", Option("train_on"), "."
        )
    return InputDataError(f"{where}: split {split!r} has no training pairs, which baselines need.")


def _collected(dataset: Dataset, split: str, fold: int | None, train_on: Dataset | None) -> TrainingGold:
    train = dataset.part(split, "train", fold)
    if (folds := train["fold"].n_unique()) > 1:
        raise UsageError(f"Split {split!r} has {folds} folds; give the fold whose training gold is used.")
    half = half_of(split, "train", fold)
    levels: Mapping[str, dict[str, str]] = _levels_of(dataset)
    if train_on is None:
        rows = _answered(dataset, half).join(train.select("pair_id"), on="pair_id", how="semi")
        names: dict[str, str] = {}
    else:
        _check_transfer(dataset, train_on, split)
        rows = _answered(train_on, half).filter(pl.col("item").is_in(_common_items(dataset, train_on)))
        if half != "all":
            rows = rows.join(train_on.in_both_halves, on="pair_id", how="semi", maintain_order="left")
        names, levels = _matched(dataset, train_on, levels)
        rows = rows.filter(pl.col("subgroup").is_in(list(names)))
    return _gold_of(dataset, rows, levels, names=names, scheme=split, fold=fold, half=half, train_on=train_on)


def survey_gold(dataset: Dataset) -> TrainingGold:
    """Return the gold of all pairs of a survey, for predictions of questions that it did not ask; `scheme` is `all`.

    The stratum of all respondents is left out, unless it is the only one.
    """
    rows = _answered(dataset, "all")
    if not dataset.has_only_everyone:
        rows = rows.filter(pl.col("subgroup") != EVERYONE)
    return _gold_of(dataset, rows, _levels_of(dataset), names={}, scheme="all", fold=None, half="all", train_on=None)


def _gold_of(
    dataset: Dataset,
    rows: pl.DataFrame,
    levels: Mapping[str, dict[str, str]],
    *,
    names: Mapping[str, str],
    scheme: str,
    fold: int | None,
    half: str,
    train_on: Dataset | None,
) -> TrainingGold:
    """Return training gold of rows of GOLD; `names` gives subgroups of another data set their ids in this one."""
    items, joint = dataset.items, JointCells.of(dataset)
    pairs = [(str(item), names.get(subgroup) or str(subgroup)) for item, subgroup in rows.select("item", "subgroup").iter_rows()]
    singles: dict[str, list[str]] = {}
    for subgroup, own in levels.items():
        if len(own) == 1:
            singles.setdefault(next(iter(own)), []).append(subgroup)
    return TrainingGold(
        codes=dataset.codes_of,
        level=_by_item(items, "level"),
        labels={item: tuple(labels) for item, labels in items.select("item", "labels").iter_rows()},
        question=_by_item(items, "question"),
        topic=_by_item(items, "topic"),
        counts=dict(zip(pairs, (np.array(row) for row in rows["counts_weighted"]), strict=True)),
        n=dict(zip(pairs, rows["n"], strict=True)),
        n_eff=dict(zip(pairs, rows["n_eff"], strict=True)),
        levels=levels,
        singles=singles,
        joint=joint,
        trained_joint=joint if train_on is None else JointCells.of(train_on),
        scheme=scheme,
        fold=fold,
        trained_on=TrainedOn(train_on or dataset, half),
        disjoint=half != "all" or train_on is not None,
        source=None if train_on is None else train_on.fingerprint,
        source_survey=None if train_on is None else train_on.survey_and_place,
        unmatched={} if train_on is None else _unmatched(dataset, pairs, levels),
    )


def _unmatched(dataset: Dataset, pairs: Sequence[tuple[str, str]], levels: Mapping[str, dict[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the items and levels of a data set without a training pair in the other data set."""
    items = {item for item, _ in pairs}
    trained = {level for subgroup in {subgroup for _, subgroup in pairs} for level in levels[subgroup].items()}
    present = dict.fromkeys(level for own in _levels_of(dataset).values() for level in own.items())
    return {
        "items": tuple(item for item in dataset.codes_of if item not in items),
        "levels": tuple(f"{name}={label}" for name, label in present if (name, label) not in trained),
    }


def _answered(dataset: Dataset, half: str) -> pl.DataFrame:
    # Pairs whose answers all have weight 0 are not used.
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
    if base_of(split) != "transfer":
        raise UsageError(f"Split {split!r} trains on the gold of the data set itself; train_on needs the split `transfer`.")
    if train_on.fingerprint == dataset.fingerprint:
        raise UsageError(
            f"{train_on.path or 'The data set'} is also the test data set. Name another wave or country with ",
            Option("train_on"),
            ".",
        )
    if _same_respondents(dataset, train_on):
        raise UsageError(
            f"{train_on.path or 'The data set'} was built from the same file and country as the test data set, so training and test "
            "respondents would be the same. Name another wave or country with ",
            Option("train_on"),
            ".",
        )


def _same_respondents(dataset: Dataset, train_on: Dataset) -> bool:
    """Whether both data sets were built from the same file without different countries."""
    one, other = dataset.meta, train_on.meta
    same_file = bool(one.get("source")) and one["source"].get("sha256") == other.get("source", {}).get("sha256")
    places = [{country["code"] for country in meta.get("countries") or ()} for meta in (one, other)]
    return same_file and (not all(places) or bool(places[0] & places[1]))


def _common_items(dataset: Dataset, train_on: Dataset) -> list[str]:
    common = [item for item, codes in dataset.codes_of.items() if train_on.codes_of.get(item) == codes]
    if not common:
        same = len(dataset.codes_of.keys() & train_on.codes_of.keys())
        raise InputDataError(
            f"{train_on.path or 'The other data set'}: it has no item in common with {dataset.path or 'the test data set'} ({same} ids "
            "are the same, but with other codes). Build both from the same questionnaire."
        )
    return common


def _matched(dataset: Dataset, train_on: Dataset, levels: Mapping[str, dict[str, str]]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return training subgroup -> its id in the test data set, and the levels of all subgroups of both.

    Subgroups with the same levels get the id of the test data set. A subgroup with an unknown level gets an id of its own,
    so it still counts in pooled shares. Subgroups of unknown attributes, and that of all respondents, are left out.
    """
    ids = {frozenset(own.items()): subgroup for subgroup, own in levels.items()}
    names: dict[str, str] = {}
    all_levels = dict(levels)
    for subgroup, own in _levels_of(train_on).items():
        if not own or not own.keys() <= set(dataset.attributes):
            continue
        names[subgroup] = ids.get(frozenset(own.items()), f"{subgroup} (where trained)")
        all_levels.setdefault(names[subgroup], own)
    return names, all_levels
