"""Strata, subgroups and their ids.

A respondent belongs to exactly one *joint cell*: a combination of all attributes, where unknown is a level too. Every
subgroup is a union of joint cells, so `gold` counts each respondent once, however many strata there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, RootModel, model_validator

from valuestrata.errors import InputDataError, Option, UsageError, did_you_mean
from valuestrata.survey.codebook import Attribute, AttributeLevel
from valuestrata.survey.codebook_schema import PhraseRole, as_compared
from valuestrata.survey.survey import Survey
from valuestrata.yaml_files import StrictModel, Text, Yaml, read_yaml

EVERYONE = "all"


class MergedLevel(StrictModel):
    """A level that replaces others, with its phrase for personas."""

    levels: list[Text] = Field(min_length=1)
    phrase: Text | None = None
    role: PhraseRole | None = None


class LevelsFile(RootModel[dict[Text, dict[Text, MergedLevel]]]):
    """The format of levels files: attribute -> new level -> old levels, as a list or under `levels`."""

    @model_validator(mode="before")
    @classmethod
    def _lists_are_levels(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: {new: {"levels": old} if isinstance(old, list) else old for new, old in cast("dict[Any, Any]", merges).items()}
            if isinstance(merges, dict)
            else merges
            for name, merges in cast("dict[Any, Any]", value).items()
        }


@dataclass(frozen=True)
class Stratum:
    """A set of attributes, as indices into the survey's attributes. `all` has no attributes."""

    name: str
    attributes: tuple[int, ...]


@dataclass(frozen=True)
class Subgroup:
    """One cell of a stratum.

    Attributes:
        id: `{stratum}_{Level}[_{Level}]`, with hyphens for spaces.
        stratum: the stratum it belongs to.
        levels: index of the level of each attribute of the stratum.
        n: respondents. n_eff: Kish effective sample size.
    """

    id: str
    stratum: Stratum
    levels: tuple[int, ...]
    n: int
    n_eff: float


@dataclass(frozen=True)
class Cells:
    """All subgroups of a survey, and their joint cells.

    Attributes:
        kept: subgroups with enough respondents, `all` first. dropped: non-empty subgroups with too few.
        joint_levels: int16, shape (joint cells, attributes): level index, -1 unknown.
        joint_of_respondent: intp, shape (respondents,).
        joint_n, joint_weight: number of respondents and sum of weights, shape (joint cells,).
        members: indices of the joint cells of each kept subgroup.
    """

    kept: tuple[Subgroup, ...]
    dropped: tuple[Subgroup, ...]
    joint_levels: NDArray[np.int16]
    joint_of_respondent: NDArray[np.intp]
    joint_n: NDArray[np.int64]
    joint_weight: NDArray[np.float64]
    members: tuple[NDArray[np.intp], ...]


def make_strata(attributes: Sequence[Attribute], *, order: int = 2, names: Sequence[str] = ()) -> list[Stratum]:
    """Return `all`, the single attributes, all pairs and, with `order=3`, all triples of attributes.

    Args:
        attributes: the survey's attributes, in their fixed order.
        order: largest number of attributes crossed.
        names: keep only these strata and `all`. Attributes may be named in any order.

    Raises:
        UsageError: an unknown stratum.
    """
    strata = [Stratum(EVERYONE, ())]
    for size in range(1, max(order, 1) + 1):
        for indices in itertools.combinations(range(len(attributes)), size):
            name = attributes[indices[0]].name if size == 1 else "_x_".join(attributes[i].short for i in indices)
            strata.append(Stratum(name, indices))
    if not names:
        return strata
    by_name = {name: stratum for stratum in strata for name in _other_names(attributes, stratum)}
    by_name.update({stratum.name: stratum for stratum in strata})
    if unknown := [name for name in names if name not in by_name]:
        raise UsageError(f"Unknown stratum {unknown[0]!r}.{did_you_mean(unknown[0], by_name)}")
    wanted = {EVERYONE, *(by_name[name].name for name in names)}
    return [stratum for stratum in strata if stratum.name in wanted]


def _other_names(attributes: Sequence[Attribute], stratum: Stratum) -> list[str]:
    orders = itertools.permutations(stratum.attributes) if stratum.attributes else ()
    return ["_x_".join(attributes[i].short for i in order) for order in orders]


def make_cells(survey: Survey, strata: Sequence[Stratum], *, min_respondents: int) -> Cells:
    """Assign respondents to joint cells and to the subgroups of `strata`.

    Raises:
        InputDataError: two subgroups with the same id.
    """
    unique, joint_of_respondent = _joint_cells(survey.levels)
    weight = survey.weight if survey.weight is not None else np.ones(survey.respondents)
    joint_n = np.bincount(joint_of_respondent, minlength=len(unique)).astype(np.int64)
    joint_weight = np.bincount(joint_of_respondent, weights=weight, minlength=len(unique)).astype(np.float64)
    joint_squares = np.bincount(joint_of_respondent, weights=weight * weight, minlength=len(unique))

    kept: list[Subgroup] = []
    dropped: list[Subgroup] = []
    members: list[NDArray[np.intp]] = []
    for stratum in strata:
        for levels, cells in _cells_of(stratum, unique):
            n = int(joint_n[cells].sum())
            squares = float(joint_squares[cells].sum())
            n_eff = float(joint_weight[cells].sum()) ** 2 / squares if squares > 0 else 0.0
            subgroup = Subgroup(subgroup_id(survey.attributes, stratum, levels), stratum, levels, n, n_eff)
            if n >= min_respondents or stratum.name == EVERYONE:
                kept.append(subgroup)
                members.append(cells)
            else:
                dropped.append(subgroup)
    refuse_collisions([*kept, *dropped])
    return Cells(tuple(kept), tuple(dropped), unique.astype(np.int16), joint_of_respondent, joint_n, joint_weight, tuple(members))


def _joint_cells(levels: NDArray[np.int16]) -> tuple[NDArray[np.int16], NDArray[np.intp]]:
    """Return the distinct rows of `levels` in lexicographic order, and the index of each respondent's row.

    Each row is encoded as one mixed-radix number, because numbers sort much faster than rows. If the number would
    exceed 64 bits, the distinct prefixes are renumbered.
    """
    key = np.zeros(len(levels), dtype=np.int64)
    capacity = 1
    for column in levels.T:
        radix = int(column.max(initial=0)) + 2
        if capacity > 2**62 // radix:
            found, inverse = np.unique(key, return_inverse=True)
            key, capacity = inverse.reshape(-1).astype(np.int64), len(found)
        key = key * radix + (column + 1)
        capacity *= radix
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return levels[first], inverse.reshape(-1).astype(np.intp)


def _cells_of(stratum: Stratum, joint_levels: NDArray[Any]) -> list[tuple[tuple[int, ...], NDArray[np.intp]]]:
    if not stratum.attributes:
        return [((), np.arange(len(joint_levels), dtype=np.intp))]
    columns = joint_levels[:, list(stratum.attributes)]
    known = np.flatnonzero((columns >= 0).all(axis=1))
    found, inverse = np.unique(columns[known], axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    return [(tuple(int(level) for level in row), known[inverse == index].astype(np.intp)) for index, row in enumerate(found)]


def subgroup_id(attributes: Sequence[Attribute], stratum: Stratum, levels: Sequence[int]) -> str:
    """Return the id of a subgroup, `{stratum}_{Level}[_{Level}]`."""
    labels = [attributes[a].levels[level].label for a, level in zip(stratum.attributes, levels, strict=True)]
    return "_".join([stratum.name, *labels]).replace(" ", "-")


def pair_id(item: str, subgroup: str) -> str:
    """Return the id of a pair, `{item}_{subgroup}`. Ids are looked up, never parsed."""
    return f"{item}_{subgroup}".replace(" ", "-")


def refuse_collisions(subgroups: Sequence[Subgroup]) -> None:
    """Raise InputDataError if two subgroups have the same id."""
    seen: dict[str, Subgroup] = {}
    for subgroup in subgroups:
        if (other := seen.setdefault(subgroup.id, subgroup)) is not subgroup:
            raise InputDataError(
                f"Two subgroups have the id {subgroup.id!r}: one in stratum {other.stratum.name!r}, one in "
                f"{subgroup.stratum.name!r}. Rename a level (",
                Option("levels"),
                ").",
            )


def merge_levels(survey: Survey, file: Path) -> Survey:
    """Merge levels as specified in a YAML file: `religion: {Christian: [Roman Catholic, Protestant]}`.

    A merged level may also be a mapping: `Christian: {levels: [...], phrase: Christian, role: adjective}`. Other levels
    are unchanged. A merged level takes the position of its first member.

    Raises:
        InputDataError: the file is not such a mapping, merges a level twice, or gives a merged level the label of another level.
        UsageError: an unknown attribute or level.
    """
    source = read_yaml(file, "text")
    attributes = list(survey.attributes)
    levels = survey.levels.copy(order="F")
    for name, merges in source.checked(LevelsFile).root.items():
        index = next((i for i, a in enumerate(attributes) if name in (a.name, a.short)), None)
        if index is None:
            raise UsageError(f"{source.place(name)}: unknown attribute {name!r}.{did_you_mean(name, (a.name for a in attributes))}")
        attributes[index], lookup = _merged_attribute(attributes[index], name, merges, source)
        levels[:, index] = lookup[levels[:, index]]
    return replace(survey, attributes=tuple(attributes), levels=levels)


def _merged_attribute(
    attribute: Attribute, name: str, merges: Mapping[str, MergedLevel], source: Yaml
) -> tuple[Attribute, NDArray[np.int16]]:
    labels = [level.label for level in attribute.levels]
    target: dict[str, AttributeLevel] = {}
    for new, entry in merges.items():
        for old in entry.levels:
            if old not in labels:
                raise UsageError(f"{source.place(name, new)}: attribute {attribute.name} has no level {old!r}.{did_you_mean(old, labels)}")
            if old in target:
                raise InputDataError(f"{source.place(name, new)}: level {old!r} of {attribute.name} is merged twice.")
            target[old] = AttributeLevel(new, phrase=entry.phrase, role=entry.role)
    kept = {as_compared(label): label for label in labels if label not in target}
    for new in merges:
        if (other := kept.get(as_compared(new))) is not None:
            raise InputDataError(
                f"{source.place(name, new)}: {attribute.name} already has a level {other!r}, which would be merged too. "
                "Add it to the list, or choose another name."
            )
    merged: list[AttributeLevel] = []
    # Index -1, the unknown level, reads the extra last entry.
    lookup = np.full(len(labels) + 1, -1, dtype=np.int16)
    for position, level in enumerate(attribute.levels):
        new_level = target.get(level.label, level)
        where = next((i for i, other in enumerate(merged) if other.label == new_level.label), None)
        if where is None:
            merged.append(new_level)
            where = len(merged) - 1
        lookup[position] = where
    return replace(attribute, levels=tuple(merged)), lookup
