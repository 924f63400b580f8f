"""Training cells as mixtures of joint cells, and poststratification.

A training cell (subgroup) is a mixture of joint cells, which are the combinations of levels of all attributes, with the sizes
in `joint.parquet`. Models predict shares in joint cells; the shares of a subgroup are their weighted mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from valuestrata.respondents.baselines.gold import JointCells, TrainingGold
from valuestrata.respondents.baselines.pooling import pooled_pairs
from valuestrata.respondents.baselines.predictor import Floats, Predictor, as_shares
from valuestrata.respondents.baselines.simple import fit_item_mode

Level = tuple[str, str]
# Added to the pooled count of every code, so pooled shares are positive.
PSEUDO_COUNT = 0.5
# Lower bound of predicted shares, relative to the pooled share: sums of effects can be negative.
FLOOR = 0.05


@dataclass(frozen=True)
class Observed:
    """The training data of an item.

    Attributes:
        subgroups: the training subgroups. shares: their shares, shape (subgroups, K).
        n_eff: their effective answers, shape (subgroups,). pooled: pooled shares, shape (K,), all positive.
    """

    subgroups: tuple[str, ...]
    shares: Floats
    n_eff: Floats
    pooled: Floats


@dataclass(frozen=True)
class TrainingCells:
    """Training gold as arrays over joint cells.

    Attributes:
        gold: the training gold.
        levels: the levels of training subgroups, ordered by attribute. The effects of other levels cannot be estimated.
    """

    gold: TrainingGold
    levels: tuple[Level, ...]

    @classmethod
    def of(cls, gold: TrainingGold) -> TrainingCells:
        """Return the cells of a training gold."""
        trained = {level for _, subgroup in gold.counts for level in gold.levels[subgroup].items()}
        order = {name: a for a, name in enumerate(gold.joint.attributes)}
        known = dict.fromkeys(level for own in gold.levels.values() for level in own.items() if level in trained)
        return cls(gold, tuple(sorted(known, key=lambda level: order[level[0]])))

    @cached_property
    def items(self) -> tuple[str, ...]:
        """Items with a training subgroup in `mixture`, in the order of the data set."""
        trained = self.gold.subgroups_of
        return tuple(item for item in self.gold.codes if any(s in self.mixture for s in trained.get(item, ())))

    @cached_property
    def observed(self) -> Mapping[str, Observed]:
        """Item -> its training data."""
        return {item: self._observed(item) for item in self.items}

    def _observed(self, item: str) -> Observed:
        gold = self.gold
        subgroups = tuple(s for s in gold.subgroups_of[item] if s in self.mixture)
        counts = np.array([gold.counts[item, s] for s in subgroups])
        pooling = pooled_pairs(gold, item)
        answers = sum(gold.n_eff[pair] for pair in pooling)
        pooled = as_shares(np.sum([gold.counts[pair] for pair in pooling], axis=0))
        pooled = (pooled * answers + PSEUDO_COUNT) / (answers + PSEUDO_COUNT * len(pooled))
        return Observed(subgroups, as_shares(counts), np.array([gold.n_eff[item, s] for s in subgroups]), pooled)

    @cached_property
    def mixture(self) -> Mapping[str, Floats]:
        """Training subgroup -> its weights over the training joint cells, shape (cells,), sum 1."""
        joint = self.gold.trained_joint
        trained = {subgroup for _, subgroup in self.gold.counts}
        found = {subgroup: joint.weight * joint.within(own) for subgroup, own in self.gold.levels.items() if subgroup in trained}
        # Data sets written by hand may have subgroups without respondents in joint.parquet.
        return {subgroup: weights / weights.sum() for subgroup, weights in found.items() if weights.sum() > 0}

    def one_hot(self, joint: JointCells) -> Floats:
        """Return indicators of the training levels in joint cells, shape (cells, levels); an attribute may have no indicator set."""
        found = [joint.within({name: label}) for name, label in self.levels]
        return np.array(found, dtype=float).reshape(len(self.levels), len(joint.levels)).T

    def centred(self, joint: JointCells) -> Floats:
        """Return `one_hot` minus its training mean; 0 for an attribute whose level in the cell is not in training."""
        indicators = self.one_hot(joint)
        weight = self.gold.trained_joint.weight
        trained = self.one_hot(self.gold.trained_joint)
        mean = (weight @ trained) / np.maximum(weight @ self._has_attribute(trained), 1e-300)
        return (indicators - mean) * self._has_attribute(indicators)

    def _has_attribute(self, one_hot: Floats) -> Floats:
        names = np.array([name for name, _ in self.levels], dtype=object)
        same = (names[:, None] == names[None, :]).astype(float)
        return one_hot @ same

    def poststratify(
        self, shares_of: Callable[[str], Floats], calibrated: Callable[[str, Floats], Floats] | None = None
    ) -> Mapping[str, Floats]:
        """Return item -> shares in every subgroup, shape (subgroups of `gold.levels`, K).

        Levels that are in no training cell of an item are ignored, so the mean is over all levels of that attribute.

        Args:
            shares_of: item -> shares in the joint cells to predict, shape (cells, K), possibly negative.
            calibrated: item and shares -> corrected shares, used for subgroups whose levels are all in training.
        """
        found: dict[str, Floats] = {}
        for item in self.items:
            mix, whole = self._asked[item]
            joint = shares_of(item)
            shares = mix @ joint
            if calibrated is not None:
                shares[whole] = mix[whole] @ calibrated(item, joint)
            found[item] = above_floor(shares, self.observed[item].pooled)
        return found

    @cached_property
    def _asked(self) -> Mapping[str, tuple[Floats, list[bool]]]:
        """Item -> weights of the subgroups over joint cells, shape (subgroups, cells), and whether all levels are in training."""
        weights: dict[frozenset[Level], tuple[Floats, list[bool]]] = {}
        found: dict[str, tuple[Floats, list[bool]]] = {}
        for item in self.items:
            trained = frozenset(level for s in self.observed[item].subgroups for level in self.gold.levels[s].items())
            if trained not in weights:
                weights[trained] = self._weights(trained)
            found[item] = weights[trained]
        return found

    def _weights(self, trained: frozenset[Level]) -> tuple[Floats, list[bool]]:
        joint = self.gold.joint
        rows: list[Floats] = []
        for own in self.gold.levels.values():
            weights = joint.weight * joint.within({name: label for name, label in own.items() if (name, label) in trained})
            # Subgroups that only the other data set has under transfer are never predicted.
            rows.append(weights / weights.sum() if weights.sum() > 0 else joint.weight / joint.weight.sum())
        return np.array(rows), [set(own.items()) <= trained for own in self.gold.levels.values()]


def above_floor(shares: Floats, pooled: Floats) -> Floats:
    """Return shares, shape (..., K), raised to at least `FLOOR` times the pooled shares, shape (K,), and normalised."""
    return as_shares(np.maximum(shares, FLOOR * pooled))


@dataclass(frozen=True)
class TabulatedPredictor:
    """A predictor with precomputed shares.

    Attributes:
        row: subgroup -> row. tables: item -> shares, shape (subgroups, K). settings: values chosen in fitting.
        fallback: predictor of items without a table, or None.
    """

    row: Mapping[str, int]
    tables: Mapping[str, Floats]
    settings: Mapping[str, object]
    fallback: Predictor | None

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the predicted shares, shape (K,)."""
        if item not in self.tables and self.fallback is not None:
            return self.fallback.shares(item, subgroup)
        return self.tables[item][self.row[subgroup]]


def tabulated(gold: TrainingGold, tables: Mapping[str, Floats], **settings: object) -> Predictor:
    """Return a predictor from tables of shares; items without a table are predicted by `item-mode`."""
    fallback = fit_item_mode(gold) if gold.codes.keys() - tables.keys() else None
    return TabulatedPredictor({subgroup: i for i, subgroup in enumerate(gold.levels)}, tables, settings, fallback)
