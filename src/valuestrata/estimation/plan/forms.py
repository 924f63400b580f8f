"""Which questions to ask whom: forms, sets of questions for a part of the people (matrix sampling).

Shoemaker 1973, Principles and Procedures of Multiple Matrix Sampling; Raghunathan and Grizzle 1995, Journal of the American Statistical
Association 90:54-63. An item asked of the share f of the people has f times the answers. The mean half-width over items is proportional
to mean_i s_i / sqrt(f_i), with s_i the half-width with all answers, and is least for f_i proportional to s_i^(2/3), at most 1. The largest
half-width is least for f_i proportional to s_i^2. Items whose answers the model replaces in part have a smaller s_i, and are asked of
fewer people. Shares are multiples of 1 / PARTS, which limits the number of forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import Bools, Floats, Indices, generator

# Shares of people are multiples of 1 / PARTS, so there are at most PARTS forms.
PARTS = 20


@dataclass(frozen=True)
class QuestionForms:
    """Forms and the share of people who get each.

    Attributes:
        asked: shape (F, I), whether a form has an item. share: shape (F,), of the people, sum 1.
        split: names of the blocks whose items are not all on the same forms.
    """

    asked: Bools
    share: Floats
    split: tuple[str, ...] = ()

    @property
    def fraction(self) -> Floats:
        """Share of the people who get each item, shape (I,)."""
        return self.share @ self.asked

    def dealt(self, interviews: Indices, seed: int = 0) -> Indices:
        """Return the number of people per cell and form, shape (C, F), whose cells sum to `interviews`.

        Forms are dealt in turn through the cells from a random start, so the number of a form differs from its share by less
        than one person in a cell, and in all cells together.
        """
        rng = generator(seed)
        ends = np.concatenate([[0.0], np.cumsum(np.tile(self.share, (len(interviews), 1)) * interviews[:, None])])
        ends = np.rint(ends * 1e9) / 1e9
        counted = np.diff(np.floor(ends + rng.random())).reshape(len(interviews), -1)
        # Cells end at whole numbers, so each has its interviews.
        return counted.astype(np.intp)


def make_forms(importance: Floats, blocks: Sequence[str], questions: int, *, worst: bool = False) -> QuestionForms:
    """Return forms of at most `questions` items that give each item its share of people.

    Args:
        importance: shape (I,), half-width of each item if all are asked it, relative to its goal; 0 for items in no goal, which
            are asked if there is room. blocks: shape (I,), items of a block are kept together where that fits.
        questions: items per person, at least 1. worst: lower the largest half-width rather than the mean.
    """
    items = len(importance)
    if questions >= items:
        return QuestionForms(np.ones((1, items), dtype=bool), np.ones(1))
    together = {name: np.flatnonzero(np.array(blocks) == name) for name in dict.fromkeys(blocks)}
    modules: list[Indices] = []
    for members in together.values():
        # A block longer than a form, or with items in and out of the goal, is split.
        for group in (members[importance[members] > 0], members[importance[members] <= 0]):
            modules += np.array_split(group, -(-len(group) // questions)) if len(group) else []
    while True:
        units = _units(importance, modules, questions, worst=worst)
        asked, share, short = _packed(units, np.array([len(own) for own in modules]), questions)
        longest = max((m for m in np.flatnonzero(short > 0)), key=lambda m: len(modules[m]), default=None)
        if longest is None:
            break
        if len(modules[longest]) == 1:
            longest = int(np.argmax([len(own) for own in modules]))
            if len(modules[longest]) == 1:
                break
        modules[longest : longest + 1] = np.array_split(modules[longest], 2)
    of_items = np.zeros((len(share), items), dtype=bool)
    for m, members in enumerate(modules):
        of_items[:, members] = asked[:, [m]]
    split = tuple(name for name, own in together.items() if (of_items[:, own] != of_items[:, own[:1]]).any())
    return QuestionForms(of_items, share, split)


def _units(importance: Floats, modules: Sequence[Indices], questions: int, *, worst: bool) -> Indices:
    """Return the parts (of PARTS) of the people who get each module: each step goes to the largest gain per question."""
    size = np.array([len(own) for own in modules])
    weight = np.array([importance[own].mean() for own in modules])
    units, left = np.zeros(len(modules), dtype=np.intp), questions * PARTS
    while True:
        open_modules = (units < PARTS) & (size <= left)
        if not open_modules.any():
            return units
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.square(weight) / units if worst else weight * (1 / np.sqrt(units) - 1 / np.sqrt(units + 1.0))
        # Items of a goal first get one part each; items of no goal share what is left.
        gain = np.where(units == 0, np.where(weight > 0, np.inf, 0.0), np.where(weight > 0, gain, -units.astype(np.float64)))
        # Equal gains: the module with the larger weight.
        best = np.lexsort((-weight, -np.where(open_modules, gain, -np.inf)))[0]
        units[best] += 1
        left -= size[best]


def _packed(units: Indices, size: Indices, questions: int) -> tuple[Bools, Floats, Indices]:
    """Return forms (F, M), their shares (F,), and the parts (M,) that did not fit.

    Parts of people are filled one after another. Modules that all remaining people need come first, then those with most left.
    """
    need, forms = units.copy(), list[tuple[bool, ...]]()
    for part in range(PARTS):
        rest = PARTS - part
        room, chosen = questions, np.zeros(len(units), dtype=bool)
        for m in np.lexsort((-size, -need)):
            if need[m] > 0 and size[m] <= room and (need[m] >= rest or _spread(need, chosen, m, rest, room, size)):
                chosen[m], room = True, room - int(size[m])
        need = need - chosen
        forms.append(tuple(bool(one) for one in chosen))
    distinct = list(dict.fromkeys(forms))
    share = np.array([forms.count(form) for form in distinct]) / PARTS
    return np.array(distinct, dtype=bool), share, need


def _spread(need: Indices, chosen: Bools, module: int, rest: int, room: int, size: Indices) -> bool:
    """Return whether a module fits beside those that all remaining people need and that are not chosen yet."""
    urgent = (need >= rest) & ~chosen
    urgent[module] = False
    return int(size[urgent].sum()) + int(size[module]) <= room
