"""From training cells to joint cells and back: what the statistical baselines have in common.

A training cell is a mixture of joint cells (combinations of all attributes): what is unknown of an attribute it does not
use is known of the population, from `joint.parquet`. A model predicts shares in joint cells; those of a subgroup are
their mean, weighted by how many people each holds (poststratification).
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
# Answers, spread evenly over the codes, that are added to an item's pooled counts where they divide or are a logarithm's
# argument: a code nobody chose among a thousand is not impossible.
HALF_AN_ANSWER = 0.5
# No predicted share is under this part of the item's pooled share: a sum of effects knows no bounds.
FLOOR = 0.05


@dataclass(frozen=True)
class Observed:
    """What trains of one item.

    Attributes:
        subgroups: the trained subgroups. shares: theirs, shape (subgroups, K). n_eff: effective answers, (subgroups,).
        everyone: the pooled shares, none of them 0, shape (K,).
    """

    subgroups: tuple[str, ...]
    shares: Floats
    n_eff: Floats
    everyone: Floats


@dataclass(frozen=True)
class Cells:
    """Attributes, trained subgroups and joint cells of one training gold, on arrays.

    Attributes:
        gold: the training gold.
        levels: the levels that some trained subgroup has, by attribute. Others have no effect in any model: nothing
            tells it from that of whoever else is in the mixtures.
    """

    gold: TrainingGold
    levels: tuple[Level, ...]

    @classmethod
    def of(cls, gold: TrainingGold) -> Cells:
        """Find the levels that train."""
        trained = {level for _, subgroup in gold.counts for level in gold.levels[subgroup].items()}
        order = {name: a for a, name in enumerate(gold.joint.attributes)}
        known = dict.fromkeys(level for its in gold.levels.values() for level in its.items() if level in trained)
        return cls(gold, tuple(sorted(known, key=lambda level: order[level[0]])))

    @cached_property
    def items(self) -> tuple[str, ...]:
        """The items that train in some subgroup whose people are known, in the data set's order."""
        trained = self.gold.subgroups_of
        return tuple(item for item in self.gold.codes if any(s in self.mixture for s in trained.get(item, ())))

    @cached_property
    def observed(self) -> Mapping[str, Observed]:
        """Item -> what trains of it."""
        return {item: self._observed(item) for item in self.items}

    def _observed(self, item: str) -> Observed:
        gold = self.gold
        subgroups = tuple(s for s in gold.subgroups_of[item] if s in self.mixture)
        counts = np.array([gold.counts[item, s] for s in subgroups])
        pooling = pooled_pairs(gold, item)
        answers = sum(gold.n_eff[pair] for pair in pooling)
        everyone = as_shares(np.sum([gold.counts[pair] for pair in pooling], axis=0))
        everyone = (everyone * answers + HALF_AN_ANSWER) / (answers + HALF_AN_ANSWER * len(everyone))
        return Observed(subgroups, as_shares(counts), np.array([gold.n_eff[item, s] for s in subgroups]), everyone)

    @cached_property
    def mixture(self) -> Mapping[str, Floats]:
        """Trained subgroup -> its weights over the joint cells of those who train, shape (cells,), sum 1."""
        joint = self.gold.trained_joint
        trained = {subgroup for _, subgroup in self.gold.counts}
        found = {subgroup: joint.weight * joint.within(its) for subgroup, its in self.gold.levels.items() if subgroup in trained}
        # A subgroup without anybody in joint.parquet (a data set put together by hand) can be no mixture.
        return {subgroup: weights / weights.sum() for subgroup, weights in found.items() if weights.sum() > 0}

    def one_hot(self, joint: JointCells) -> Floats:
        """Return which trained level each joint cell has, shape (cells, levels); a row of an attribute may be all 0."""
        return np.array([joint.within({name: label}) for name, label in self.levels], dtype=float).reshape(len(self.levels), -1).T

    def centred(self, joint: JointCells) -> Floats:
        """Return `one_hot` minus its mean over those who train; 0 for every level of an attribute whose own level is untrained."""
        here = self.one_hot(joint)
        people = self.gold.trained_joint.weight
        known = self._has_attribute(here)
        there = self.one_hot(self.gold.trained_joint)
        there_known = self._has_attribute(there)
        mean = (people @ there) / np.maximum(people @ there_known, 1e-300)
        return (here - mean) * known

    def _has_attribute(self, one_hot: Floats) -> Floats:
        names = np.array([name for name, _ in self.levels], dtype=object)
        same = (names[:, None] == names[None, :]).astype(float)
        return one_hot @ same

    def poststratify(
        self, shares_of: Callable[[str], Floats], calibrated: Callable[[str, Floats], Floats] | None = None
    ) -> Mapping[str, Floats]:
        """Return item -> shares in every subgroup asked about, shape (subgroups of `gold.levels`, K).

        A level that no training cell of an item has is left out of a subgroup: it is asked about as if it had none of
        that attribute, which is the mean over all the levels.

        Args:
            shares_of: item -> shares in the joint cells of the data set asked about, shape (cells, K); they may be
                negative, as a sum of effects can be.
            calibrated: item and its shares -> better ones, for those subgroups all of whose levels train.
        """
        found: dict[str, Floats] = {}
        for item in self.items:
            mix, whole = self._asked[item]
            joint = shares_of(item)
            shares = mix @ joint
            if calibrated is not None:
                shares[whole] = mix[whole] @ calibrated(item, joint)
            found[item] = above_floor(shares, self.observed[item].everyone)
        return found

    @cached_property
    def _asked(self) -> Mapping[str, tuple[Floats, list[bool]]]:
        """Item -> weights of each subgroup asked about over joint cells, (subgroups, cells), and whether all its levels train."""
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
        for its in self.gold.levels.values():
            weights = joint.weight * joint.within({name: label for name, label in its.items() if (name, label) in trained})
            # Nobody asked about has these levels (they are another data set's): the answer is never asked for.
            rows.append(weights / weights.sum() if weights.sum() > 0 else joint.weight / joint.weight.sum())
        return np.array(rows), [set(its.items()) <= trained for its in self.gold.levels.values()]


def above_floor(shares: Floats, everyone: Floats) -> Floats:
    """Return shares, shape (..., K), of which none is under `FLOOR` times that of everyone, shape (K,), and that sum to 1."""
    return as_shares(np.maximum(shares, FLOOR * everyone))


@dataclass(frozen=True)
class Tabled:
    """A predictor whose shares are all computed.

    Attributes:
        row: subgroup -> its row. tables: item -> shares, shape (subgroups, K). settings: what was chosen in fitting.
        otherwise: who answers for items without a table.
    """

    row: Mapping[str, int]
    tables: Mapping[str, Floats]
    settings: Mapping[str, object]
    otherwise: Predictor | None

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the predicted shares, shape (K,)."""
        if item not in self.tables and self.otherwise is not None:
            return self.otherwise.shares(item, subgroup)
        return self.tables[item][self.row[subgroup]]


def tabled(gold: TrainingGold, tables: Mapping[str, Floats], **settings: object) -> Predictor:
    """Return the predictor that looks shares up; `item-mode` answers for items without a table, which nothing trained on."""
    otherwise = fit_item_mode(gold) if gold.codes.keys() - tables.keys() else None
    return Tabled({subgroup: i for i, subgroup in enumerate(gold.levels)}, tables, settings, otherwise)
