"""Controls of calibration: the same method, with answers of the model that say nothing about the item, or nothing at all.

A calibration method learns from the survey's training pairs as well as from the model's answers. What the model adds is what the
method loses when the answers are replaced:

shuffled-answers   each item gets the model's answers to another item with the same number of options and the same scale type.
no-model           every answer is the same equal shares, as with a slope of 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from valuestrata.calibration.model_answers import Floats, ModelAnswers, Pair
from valuestrata.respondents.baselines.gold import TrainingGold

CalibrationControl = Literal["shuffled-answers", "no-model"]
SHUFFLED_ANSWERS, NO_MODEL = "shuffled-answers", "no-model"
CALIBRATION_CONTROLS: tuple[CalibrationControl, ...] = (SHUFFLED_ANSWERS, NO_MODEL)


@dataclass(frozen=True)
class ShuffledAnswers:
    """Answers that were moved between items.

    Attributes:
        answers: the answers, of the same pairs as before.
        source: item -> the item whose answers it has now; itself if it could not be moved. Items without answers are absent.
        filled: number of pairs for which the other item had no answer. They have its mean over subgroups.
    """

    answers: ModelAnswers
    source: Mapping[str, str] = field(default_factory=dict[str, str])
    filled: int = 0

    @property
    def fixed(self) -> tuple[str, ...]:
        """Items that kept their own answers: no other item of their side has as many options and the same scale type."""
        return tuple(item for item, other in self.source.items() if item == other)


def controlled_answers(control: CalibrationControl, gold: TrainingGold, answers: ModelAnswers, seed: int = 0) -> ShuffledAnswers:
    """Return the answers that a control calibrates instead of the model's; `source` is empty under `no-model`."""
    return ShuffledAnswers(equal_shares(answers)) if control == NO_MODEL else shuffled_answers(gold, answers, seed)


def equal_shares(answers: ModelAnswers) -> ModelAnswers:
    """Return answers of the same pairs that are equal shares of the options, so a fit can only use the survey's own data."""
    return ModelAnswers({pair: np.full(len(shares), 1 / len(shares)) for pair, shares in answers.shares.items()}, answers.n)


def shuffled_answers(gold: TrainingGold, answers: ModelAnswers, seed: int = 0) -> ShuffledAnswers:
    """Exchange the answers of whole items, at random by seed.

    Items are exchanged if they have the same number of options and the same scale type, and either both or neither have training pairs.
    All subgroups of an item move together, so differences between personas are kept. Every item that has such a partner gets the
    answers of another item.

    Args:
        gold: training gold of the fold, which says which items have training pairs, and describes them. answers: of the model.
        seed: of the draw. The draw depends on the seed and the names of the items only.
    """
    of_item: dict[str, dict[str, Pair]] = {}
    for item, subgroup in answers.shares:
        of_item.setdefault(item, {})[subgroup] = (item, subgroup)
    groups: dict[tuple[int, str, bool], list[str]] = {}
    for item in of_item:
        groups.setdefault((len(gold.codes[item]), gold.level[item], item in gold.subgroups_of), []).append(item)
    source: dict[str, str] = {}
    for members in groups.values():
        drawn = sorted(members, key=lambda item: hashlib.sha256(f"{seed}\n{item}".encode()).digest())
        # Every item gets the answers of the next one in the drawn order.
        source.update(zip(drawn, [*drawn[1:], drawn[0]], strict=True))
    shares: dict[Pair, Floats] = {}
    n: dict[Pair, int] = {}
    filled = 0
    for item, own in of_item.items():
        other = of_item[source[item]]
        for subgroup, pair in own.items():
            taken = other.get(subgroup)
            if taken is None:
                filled += 1
                shares[pair] = np.mean([answers.shares[one] for one in other.values()], axis=0)
                n[pair] = min(answers.n[one] for one in other.values())
            else:
                shares[pair], n[pair] = answers.shares[taken], answers.n[taken]
    return ShuffledAnswers(ModelAnswers(shares, n), {item: source[item] for item in of_item}, filled)
