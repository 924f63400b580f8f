"""What all runs of an audit share: the layout of pairs, resamples, strata, levels, populations and difficulty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import NO_SUBGROUPS, Dataset
from valuestrata.errors import InputDataError
from valuestrata.fairness.adjust.difficulty import Difficulty, difficulty_of
from valuestrata.fairness.estimate.gaps import LevelPairs, level_pairs
from valuestrata.fairness.estimate.national_pull import Nation, nation_of
from valuestrata.fairness.options import AuditedPart, Resampling
from valuestrata.formatting import count
from valuestrata.scores.layout import Layout, lay_out
from valuestrata.scores.plan import Thresholds, thresholds_with
from valuestrata.scores.resampling import Resampler
from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.blocks import ENOUGH_BLOCKS, effective_blocks

# Note on figures over the levels of an attribute where the levels do not have the same cells.
UNEVEN = "some cells are missing, so the levels also differ in their other attributes"


@dataclass(frozen=True)
class AuditPopulation:
    """A set of units over which a disparity is computed.

    Attributes:
        by, key: `all` and `all`, or `attribute` and its name. words: description.
        units: positions among the context's units. names: of these units. note: caveat that applies to every figure, or None.
    """

    by: str
    key: str
    words: str
    units: Indices
    names: Sequence[str]
    note: str | None = None


@dataclass(frozen=True)
class AuditContext:
    """What all runs share. G subgroups, I items, L levels of all attributes, U = G + L units (subgroups first).

    Attributes:
        layout, resampler: of the audited part. of: that part. confidence: of intervals; claims are made at 1 - confidence.
        stratum: name of each subgroup's stratum, shape (G,). attributes: names.
        labels: attribute -> level of each subgroup, None where its stratum does not use the attribute.
        difficulty: of the pairs; None where the data set has no national gold. nation: national answers.
        respondents: shape (2, G): n and n_eff. thresholds: with the margins.
    """

    layout: Layout
    resampler: Resampler
    of: AuditedPart
    confidence: float
    stratum: Sequence[str]
    attributes: Sequence[str]
    labels: Mapping[str, Sequence[str | None]]
    difficulty: Difficulty | None
    nation: Nation
    respondents: Floats
    thresholds: Thresholds = field(default_factory=Thresholds)

    def margin(self, metric: str) -> float:
        """Return the smallest difference in a metric that matters."""
        return self.thresholds.margin(metric)

    @property
    def alpha(self) -> float:
        """Significance level of the claims."""
        return 1.0 - self.confidence

    @cached_property
    def strata(self) -> Indices:
        """Number of each subgroup's stratum, shape (G,)."""
        names = list(dict.fromkeys(self.stratum))
        return np.array([names.index(name) for name in self.stratum], dtype=np.intp)

    @cached_property
    def blocks(self) -> Indices:
        """The block of each item, shape (I,): what is permuted and left out together.

        Every item by itself where the survey names no blocks, or where one block holds nearly all items (`stats.blocks`).
        """
        blocks = self.layout.blocks
        whole = effective_blocks(np.ones((1, len(blocks))), blocks)[0]
        return blocks if whole >= ENOUGH_BLOCKS else self.layout.questions

    @property
    def block_note(self) -> str:
        """What is taken as independent: blocks of items, or single items and why."""
        layout = self.layout
        number, items = int(layout.blocks.max()) + 1, int(layout.questions.max()) + 1
        effective = float(effective_blocks(np.ones((1, len(layout.blocks))), layout.blocks)[0])
        if not layout.blocks_named:
            return (
                "The survey names no blocks of items, so items are resampled and permuted one by one. If some belong to one battery, too "
                "much is claimed: name their `block` in the codebook."
            )
        if effective < ENOUGH_BLOCKS:
            return (
                f"The {items} items form {count(number, 'block')}, equivalent to {effective:.1f} of equal size. These are too few to "
                "resample, so items are resampled and permuted instead: claims are about other items of the same blocks."
            )
        return (
            f"Blocks of items are resampled and permuted as wholes: the {items} items form {count(number, 'block')}, equivalent to "
            f"{effective:.0f} of equal size."
        )

    @cached_property
    def members(self) -> Mapping[str, Mapping[str, NDArray[np.bool_]]]:
        """Attribute -> level -> which subgroups have it, shape (G,)."""
        return {
            attribute: {
                level: np.array([label == level for label in labels]) for level in dict.fromkeys(one for one in labels if one is not None)
            }
            for attribute, labels in self.labels.items()
        }

    @cached_property
    def levels(self) -> NDArray[np.intp]:
        """Number of each subgroup's level of each attribute, -1 where not used, shape (G, attributes)."""
        numbers = np.full((len(self.stratum), len(self.attributes)), -1, dtype=np.intp)
        for column, attribute in enumerate(self.attributes):
            for number, mask in enumerate(self.members[attribute].values()):
                numbers[mask, column] = number
        return numbers

    @cached_property
    def audited(self) -> Mapping[str, Mapping[str, NDArray[np.bool_]]]:
        """The members of the attributes whose levels are compared."""
        wanted = self.of.attributes
        return {name: members for name, members in self.members.items() if wanted is None or name in wanted}

    @cached_property
    def level_names(self) -> list[tuple[str, str]]:
        """(attribute, level) of each of the L levels."""
        return [(attribute, level) for attribute, members in self.audited.items() for level in members]

    @cached_property
    def attribute_of(self) -> Indices:
        """Number of each level's attribute among the audited ones, shape (L,)."""
        return np.array([list(self.audited).index(attribute) for attribute, _ in self.level_names], dtype=np.intp)

    @cached_property
    def pairs(self) -> LevelPairs:
        """All pairs of levels within their attributes."""
        return level_pairs(self.audited, len(self.stratum))

    @cached_property
    def units(self) -> Floats:
        """1 where a subgroup belongs to a unit, shape (U, G)."""
        groups = np.eye(len(self.stratum))
        return np.concatenate([groups, self.pairs.members])

    def uneven(self, attribute: str) -> bool:
        """Whether the levels of an attribute differ in their other attributes because a stratum lacks some cells."""
        rest = [labels for name, labels in self.labels.items() if name != attribute]
        others_of: dict[tuple[str, str], set[tuple[str | None, ...]]] = {}
        for place, (stratum, label) in enumerate(zip(self.stratum, self.labels[attribute], strict=True)):
            if label is not None:
                others_of.setdefault((stratum, label), set()).add(tuple(labels[place] for labels in rest))
        strata = {stratum for stratum, _ in others_of}
        levels = {label for _, label in others_of}
        return any(len({frozenset(others_of.get((stratum, level), ())) for level in levels}) > 1 for stratum in strata)

    @cached_property
    def populations(self) -> list[AuditPopulation]:
        """All subgroups, then the levels of each attribute."""
        part = "" if self.of.part == "all" else f"{self.of.part} "
        groups = len(self.stratum)

        def words(mask: NDArray[np.bool_]) -> str:
            strata = list(dict.fromkeys(name for name, inside in zip(self.stratum, mask, strict=True) if inside))
            return f"{count(int(mask.sum()), f'{part}subgroup')} of {', '.join(strata)}"

        found = [AuditPopulation("all", "all", words(np.ones(groups, dtype=np.bool_)), np.arange(groups), list(self.layout.subgroups))]
        place = groups
        for attribute, members in self.audited.items():
            where = np.any(list(members.values()), axis=0)
            text = f"{count(len(members), 'level')} of {attribute}, each over its pairs in {words(where)}"
            names = [f"{attribute}={level}" for level in members]
            note = UNEVEN if self.uneven(attribute) else None
            found.append(AuditPopulation("attribute", attribute, text, np.arange(place, place + len(members)), names, note))
            place += len(members)
        return found


def refuse_without_subgroups(dataset: Dataset) -> None:
    """Raise InputDataError if the whole population is the only target."""
    if dataset.has_only_everyone:
        raise InputDataError(
            f"{dataset.path or 'The data set'}: it holds the whole population only, so there are no subgroups to compare. {NO_SUBGROUPS}"
        )


def context_of(dataset: Dataset, of: AuditedPart, resampling: Resampling) -> AuditContext:
    """Lay out a part of a split and read what all runs share.

    Raises:
        UsageError, InputDataError: as for `scores.layout.lay_out`; InputDataError also for a data set without subgroups.
    """
    refuse_without_subgroups(dataset)
    layout = lay_out(dataset, of.split, of.part, of.fold, ("attribute",))
    rows = pl.DataFrame({"subgroup": list(layout.subgroups)}).join(dataset.subgroups, on="subgroup", how="left", maintain_order="left")
    labels = {attribute: rows[attribute].to_list() for attribute in dataset.attributes if rows[attribute].is_not_null().any()}
    national = dataset.gold.filter((pl.col("subgroup") == EVERYONE) & pl.col("item").is_in(list(layout.items)))
    whole = national["item"].n_unique() == len(set(layout.items)) and EVERYONE not in layout.subgroups
    return AuditContext(
        layout=layout,
        resampler=Resampler(layout, resampling.bootstrap, resampling.seed),
        of=of,
        confidence=resampling.confidence,
        stratum=rows["stratum"].to_list(),
        attributes=list(labels),
        labels=labels,
        difficulty=difficulty_of(dataset, layout) if whole else None,
        nation=nation_of(dataset, layout),
        respondents=rows.select("n", "n_eff").to_numpy().T.astype(np.float64),
        thresholds=thresholds_with(resampling.margins),
    )
