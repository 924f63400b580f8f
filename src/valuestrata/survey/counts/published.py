"""Published counts of one survey, checked and in one array."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from valuestrata.errors import InputDataError, Option, did_you_mean
from valuestrata.survey.codebook import Attribute, AttributeLevel, Codebook, Item, Missing
from valuestrata.survey.codebook_schema import as_compared
from valuestrata.survey.survey import Findings, Source, Survey

CountKind = Literal["answers", "weighted answers", "shares"]
# Published shares are rounded, so their sum may differ from 1 by this much.
SUM_OF_SHARES = 0.05
WHOLE = 1e-6
# More answers to one question than this are a mistake in the file.
MOST_ANSWERS = 1e9
# Columns of a data set's tables, which no attribute can have as its name.
RESERVED = ("", "item", "subgroup", "stratum", "n", "n_eff", "weight", "all")


@dataclass(frozen=True)
class PublishedCell:
    """The answers to one question in one subgroup, as published.

    Attributes:
        item: the question.
        levels: attribute -> level; empty for the whole population.
        counts: label or code of an option -> number of answers, or share.
        where: file and place, for messages.
        n: number of answers, if stated. n_eff: effective number of answers, if stated.
        missing: numbers of missing answers; shares of them if `is_share`.
        is_share: whether `counts` are shares.
    """

    item: str
    levels: Mapping[str, str]
    counts: Mapping[str, float]
    where: str
    n: float | None = None
    n_eff: float | None = None
    missing: Mapping[Missing, float] = field(default_factory=dict[Missing, float])
    is_share: bool = False


@dataclass(frozen=True)
class PublishedCounts:
    """Counts of every question in every subgroup that was published.

    Attributes:
        survey: items, attributes and source, without respondents.
        cells: int16, shape (C, attributes): level of each attribute, -1 where the cell does not use it. All -1: the population.
        counts: shape (items, C, largest K): answers, weighted if the survey weighted them; 0 where nothing was published.
        n, n_eff: shape (items, C): answers, effective answers.
        missing: shape (items, C, 5), missing answers, class -5 first.
        kind: what was published.
    """

    survey: Survey
    cells: NDArray[np.int16]
    counts: NDArray[np.float64]
    n: NDArray[np.float64]
    n_eff: NDArray[np.float64]
    missing: NDArray[np.float64]
    kind: CountKind


def collect(
    source: Source,
    codebook: Codebook,
    declared: bool,
    cells: Sequence[PublishedCell],
    *,
    answers_per_cell: float | None = None,
    notes: Sequence[str] = (),
) -> PublishedCounts:
    """Check published cells and put them into one array.

    Args:
        source: the file. codebook: items and attributes.
        declared: whether the codebook's attributes are declared; if not, they are those of the cells, in order of appearance.
        cells: what was published. answers_per_cell: number of answers behind shares. notes: messages for the user.

    Raises:
        InputDataError: an unknown item, attribute or level, a cell given twice, negative or infinite counts, shares that do not sum to
            1 or have no number of answers, or counts that do not sum to a stated number.
    """
    if not cells:
        raise InputDataError(f"{source.file}: the file holds no counts.")
    items = {item.id: place for place, item in enumerate(codebook.items)}
    attributes = codebook.attributes if declared else _attributes_of(cells)
    if wrong := [a.name for a in attributes if a.name.strip() in RESERVED]:
        raise InputDataError(f"{source.file}: an attribute cannot have the name {wrong[0]!r}. Rename it, or remove its column.")
    levels = [{as_compared(level.label): place for place, level in enumerate(a.levels)} for a in attributes]
    places: dict[tuple[int, ...], int] = {}
    seen: dict[tuple[int, int], str] = {}
    for cell in cells:
        if cell.item not in items:
            raise InputDataError(f"{cell.where}: there is no question {cell.item!r}.{did_you_mean(cell.item, items)}")
        at = places.setdefault(_levels_of(cell, attributes, levels), len(places))
        if (first := seen.setdefault((items[cell.item], at), cell.where)) is not cell.where:
            raise InputDataError(
                f"{cell.where}: {_named(cell)} has counts twice, first at {first}. Remove one of them, or add up their counts."
            )
    widest = max(len(item.codes) for item in codebook.items)
    shape = (len(items), len(places))
    counts, n, n_eff = np.zeros((*shape, widest)), np.zeros(shape), np.zeros(shape)
    missing = np.zeros((*shape, len(Missing)))
    for (i, c), cell in zip(seen, cells, strict=True):
        values = _in_scale_order(cell, codebook.items[i])
        counts[i, c, : len(values)], n[i, c], n_eff[i, c], lost = _checked(cell, values, answers_per_cell)
        for why, number in lost.items():
            missing[i, c, len(Missing) + why] = number
    found = [item for item in codebook.items if n[items[item.id]].any()]
    kept = [items[item.id] for item in found]
    lacking = [item.id for item in codebook.items if item not in found]
    shares = any(cell.is_share for cell in cells)
    whole = not shares and all(float(value).is_integer() for cell in cells for value in cell.counts.values())
    if answers_per_cell is not None and not shares:
        raise InputDataError(
            f"{source.file}: ",
            Option("answers_per_cell", f"{answers_per_cell:g}"),
            " is for shares, but the file holds counts. Leave it out.",
        )
    cells_of = np.array(list(places), dtype=np.int16).reshape(len(places), len(attributes))
    in_use = np.flatnonzero((cells_of >= 0).any(axis=0))
    absent = tuple(a.name for place, a in enumerate(attributes) if place not in in_use)
    attributes = tuple(attributes[place] for place in in_use)
    people = round(float((n + missing.sum(axis=-1)).max()))
    survey = Survey(
        codebook=replace(codebook, attributes=attributes),
        items=tuple(found),
        attributes=attributes,
        answers=np.empty((0, len(found)), dtype=np.int8),
        levels=np.empty((0, len(attributes)), dtype=np.int16),
        weight=None,
        countries=(),
        source=Source(source.file, source.format, source.sha256, len(cells), people),
        findings=Findings(unanswered_items=tuple(lacking), absent_attributes=absent, notes=tuple(notes)),
    )
    kind: CountKind = "answers" if whole else "shares" if shares else "weighted answers"
    return PublishedCounts(survey, cells_of[:, in_use], counts[kept], n[kept], n_eff[kept], missing[kept], kind)


def _attributes_of(cells: Sequence[PublishedCell]) -> tuple[Attribute, ...]:
    """Return the attributes of the cells with their levels, in order of appearance."""
    found: dict[str, dict[str, str]] = {}
    for cell in cells:
        for name, label in cell.levels.items():
            found.setdefault(name, {}).setdefault(as_compared(label), label)
    return tuple(attribute(name, [AttributeLevel(label) for label in labels.values()]) for name, labels in found.items())


def attribute(name: str, levels: Sequence[AttributeLevel]) -> Attribute:
    """Return an attribute that is described by its name and levels only."""
    return Attribute(name, "age" if name == "age_group" else name, name.replace("_", " ").capitalize(), name, tuple(levels))


def _levels_of(cell: PublishedCell, attributes: Sequence[Attribute], levels: Sequence[Mapping[str, int]]) -> tuple[int, ...]:
    names = [attribute.name for attribute in attributes]
    found = [-1] * len(names)
    for name, label in cell.levels.items():
        if name not in names:
            raise InputDataError(f"{cell.where}: there is no attribute {name!r}.{did_you_mean(name, names)}")
        a = names.index(name)
        if as_compared(label) not in levels[a]:
            known = [level.label for level in attributes[a].levels]
            raise InputDataError(f"{cell.where}: the attribute {name!r} has no level {label!r}.{did_you_mean(label, known)}")
        found[a] = levels[a][as_compared(label)]
    return tuple(found)


def _in_scale_order(cell: PublishedCell, item: Item) -> NDArray[np.float64]:
    """Return the number of each option of an item; InputDataError for an unknown option or one without a number."""
    places = {str(code): place for place, code in enumerate(item.codes)}
    places.update({as_compared(label): place for place, label in enumerate(item.labels)})
    found = np.full(len(item.codes), np.nan)
    for option, number in cell.counts.items():
        place = places.get(as_compared(option))
        if place is None:
            raise InputDataError(f"{cell.where}: {_named(cell)} has no option {option!r}.{did_you_mean(option, item.labels)}")
        if not np.isnan(found[place]):
            raise InputDataError(f"{cell.where}: {_named(cell)} has two counts for the option {item.labels[place]!r}. Remove one of them.")
        if not (math.isfinite(number) and number >= 0):
            raise InputDataError(
                f"{cell.where}: {_named(cell)} has the count {number:g} for {option!r}; expected a finite number of at least 0."
            )
        found[place] = number
    if np.isnan(found).any():
        lacking = item.labels[int(np.isnan(found).argmax())]
        raise InputDataError(f"{cell.where}: {_named(cell)} has no count for the option {lacking!r}. Add it; write 0 if nobody chose it.")
    return found


def _named(cell: PublishedCell) -> str:
    """Return the question and subgroup of a cell, for a message."""
    return f"the question {cell.item!r}" + "".join(f", {name} {label!r}" for name, label in cell.levels.items())


def _checked(
    cell: PublishedCell, counts: NDArray[np.float64], answers_per_cell: float | None
) -> tuple[NDArray[np.float64], float, float, dict[Missing, float]]:
    """Return the counts, answers, effective answers and missing answers of a cell; InputDataError if they are not possible."""
    where = f"{cell.where}: {_named(cell)}"
    stated = [("n", cell.n), ("n_eff", cell.n_eff), *((kind.key, number) for kind, number in cell.missing.items())]
    for name, number in stated:
        if number is not None and not 0 <= number <= MOST_ANSWERS:
            raise InputDataError(f"{where} has {name} {number:g}; expected a number from 0 to {MOST_ANSWERS:,.0f}. Correct the file.")
    total = float(counts.sum())
    if cell.is_share:
        return _of_shares(cell, counts, where, answers_per_cell)
    whole = bool((counts == np.round(counts)).all())
    if whole and cell.n is not None and abs(total - cell.n) > WHOLE:
        raise InputDataError(
            f"{where}: the counts sum to {total:g}, but n is {cell.n:g}. Correct one of them; effective answers belong in n_eff."
        )
    n = float(round(total if cell.n is None else cell.n))
    n_eff = (total if whole else n) if cell.n_eff is None else cell.n_eff
    if max(n, total) > MOST_ANSWERS:
        raise InputDataError(f"{where}: found {max(n, total):g} answers; at most {MOST_ANSWERS:,.0f} are possible. Correct the counts.")
    if n_eff > n + WHOLE:
        raise InputDataError(f"{where}: n_eff is {n_eff:g}, more than the {n:g} answers. Effective answers are at most the answers.")
    return counts, n, n_eff if total > 0 else 0.0, dict(cell.missing)


def _of_shares(
    cell: PublishedCell, shares: NDArray[np.float64], where: str, answers_per_cell: float | None
) -> tuple[NDArray[np.float64], float, float, dict[Missing, float]]:
    """Return what `_checked` does for shares, in parts of 1 or in percent; missing answers share the answers of the cell."""
    everything = float(shares.sum()) + sum(cell.missing.values())
    unit = 100.0 if everything > 2 else 1.0
    if abs(everything / unit - 1) > SUM_OF_SHARES:
        raise InputDataError(f"{where}: the shares sum to {everything:g}; expected 1, or 100 for percent. Correct them.")
    asked = cell.n if cell.n is not None else answers_per_cell
    if asked is None:
        raise InputDataError(
            f"{where}: the file holds shares without a number of answers, which intervals need. State the answers behind each cell with ",
            Option("answers_per_cell"),
            ".",
        )
    if not 0 < asked <= MOST_ANSWERS:
        raise InputDataError(f"{where}: found {asked:g} answers; expected more than 0 and at most {MOST_ANSWERS:,.0f}.")
    counts = shares / everything * asked
    n = float(counts.sum())
    effective = n if cell.n_eff is None else cell.n_eff * n / asked
    if effective > n + WHOLE:
        raise InputDataError(f"{where}: n_eff is more than the {asked:g} answers. Effective answers are at most the answers.")
    return counts, float(round(n)), effective, {kind: round(share / everything * asked) for kind, share in cell.missing.items()}
