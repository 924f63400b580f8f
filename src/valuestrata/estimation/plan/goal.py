"""Goals of a sample in words: `half-width .05 in every level of ethnicity`.

A goal has clauses joined by `and`. Each names a half-width, subgroups and, if not all items, items:

    half-width .05 in population
    half-width .05 in every level of ethnicity
    half-width .07 in every subgroup of sex_x_age for every item
    half-width .03 in sex_Female for Q1, Q2

The half-width of an item is half the 95 % interval of the share of its most uncertain option, the option whose share is closest to one
half. That is the margin of error of surveys, with the option's own share. A clause limits the mean over its items, or with
`for every item` each of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.errors import InputDataError, Option, UsageError, did_you_mean
from valuestrata.estimation.inputs import PopulationCells
from valuestrata.stats.arrays import Indices

EXAMPLES = (
    "half-width .05 in every level of ethnicity",
    "half-width .03 in population and half-width .07 in every subgroup of sex_x_age",
    "half-width .05 in sex_Female for every item",
)
_CLAUSE = re.compile(
    r"half[- ]?width\s+(?:of\s+)?(?P<number>\S+?)\s*(?P<percent>%|points?|percentage\s+points?)?\s+"
    r"in\s+(?P<target>.+?)(?:\s+for\s+(?P<items>.+))?",
    re.IGNORECASE,
)
_EVERY = re.compile(r"(?:every|each|all)\s+(?P<what>levels?|subgroups?|cells?)\s+of\s+(?P<stratum>.+)", re.IGNORECASE)
_POPULATION = ("population", "the population", "all")


@dataclass(frozen=True)
class GoalClause:
    """One clause of a goal.

    Attributes:
        text: as written. half_width: 0..0.5. each: whether it limits each item, rather than their mean.
        subgroups: shape (R,), places in `PopulationCells.subgroups`. items: shape (M,), places of its items.
        empty: subgroups of the stratum that nobody in the population belongs to; they are left out.
    """

    text: str
    half_width: float
    subgroups: Indices
    items: Indices
    each: bool = False
    empty: tuple[str, ...] = ()


def read_goal(
    text: str, population: PopulationCells, items: Sequence[str], *, names: Mapping[str, str] | None = None
) -> tuple[GoalClause, ...]:
    """Read a goal.

    Args:
        text: see the module. population: whose subgroups the goal may name. items: ids of the items.
        names: other names of strata, such as `age` for `age_group`.

    Raises:
        UsageError: it is not such a text, or names an unknown stratum, subgroup or item.
        InputDataError: nobody in the population belongs to a subgroup of the goal.
    """
    clauses = [part.strip(" .;") for part in re.split(r"\s*(?:;|,?\s+and)\s+(?=half[- ]?width)", text.strip(), flags=re.IGNORECASE)]
    return tuple(_clause(clause, population, items, names or {}) for clause in clauses)


def _refusal(text: str, why: str) -> UsageError:
    return UsageError(Option("goal"), f" {text!r}: {why} Examples: {'; '.join(map(repr, EXAMPLES))}.")


def _clause(text: str, population: PopulationCells, items: Sequence[str], names: Mapping[str, str]) -> GoalClause:
    found = _CLAUSE.fullmatch(text)
    if found is None:
        raise _refusal(text, "expected `half-width NUMBER in SUBGROUPS`.")
    subgroups, empty = _subgroups(text, found["target"].strip(), population, names)
    places, each = _items(text, found["items"], items)
    return GoalClause(text, _half_width(text, found["number"], found["percent"]), subgroups, places, each, empty)


def _half_width(text: str, number: str, percent: str | None) -> float:
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        raise _refusal(text, f"{number!r} is not a number.") from None
    if not 0 < value < 0.5:
        hint = f" Did you mean {value / 100:g}?" if 0.5 <= value <= 50 else ""
        raise _refusal(text, f"a half-width is between 0 and .5, found {number}{percent or ''}.{hint}")
    return value


def _subgroups(text: str, target: str, population: PopulationCells, names: Mapping[str, str]) -> tuple[Indices, tuple[str, ...]]:
    """Return the subgroups of a clause, and those of its stratum without population."""
    sizes = population.sizes
    if target.lower() in _POPULATION:
        return np.array([0], dtype=np.intp), ()
    if every := _EVERY.fullmatch(target):
        stratum = _stratum(text, every["stratum"].strip(), population, names)
        found = np.flatnonzero(np.array(population.strata) == stratum)
        if not (sizes[found] > 0).any():
            raise InputDataError(Option("goal"), f" {text!r}: nobody in the population belongs to a subgroup of {stratum!r}.")
        return found[sizes[found] > 0], tuple(population.subgroups[g] for g in found[sizes[found] <= 0])
    if target in population.subgroups:
        place = population.subgroups.index(target)
        if sizes[place] <= 0:
            raise InputDataError(Option("goal"), f" {text!r}: nobody in the population belongs to the subgroup {target!r}. Leave it out.")
        return np.array([place], dtype=np.intp), ()
    strata = {*population.strata, *names}
    if target in strata:
        raise _refusal(text, f"{target!r} has several subgroups. Write `in every subgroup of {target}`.")
    raise _refusal(text, f"there is no subgroup {target!r}.{did_you_mean(target, [*population.subgroups[1:], 'population'])}")


def _stratum(text: str, name: str, population: PopulationCells, names: Mapping[str, str]) -> str:
    strata = list(dict.fromkeys(population.strata))
    found = names.get(name, name)
    if found in strata:
        return found
    turned = {"_x_".join(reversed(stratum.split("_x_"))): stratum for stratum in strata}
    if name in turned:
        return turned[name]
    raise _refusal(text, f"there is no attribute or stratum {name!r}.{did_you_mean(name, dict.fromkeys([*strata[1:], *names]))}")


def _items(text: str, named: str | None, items: Sequence[str]) -> tuple[Indices, bool]:
    everything = np.arange(len(items), dtype=np.intp)
    if named is None or re.fullmatch(r"(?:the\s+)?mean(?:\s+of)?(?:\s+(?:all|the))?(?:\s+items)?", named.strip(), re.IGNORECASE):
        return everything, False
    if re.fullmatch(r"(?:every|each)\s+(?:item|question)", named.strip(), re.IGNORECASE):
        return everything, True
    asked = [name.strip() for name in named.split(",")]
    if unknown := [name for name in asked if name not in items]:
        raise _refusal(text, f"there is no item {unknown[0]!r}.{did_you_mean(unknown[0], items)}")
    return np.array([items.index(name) for name in dict.fromkeys(asked)], dtype=np.intp), True
