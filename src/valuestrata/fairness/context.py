"""What all runs of an audit share: the grid of pairs, the resamples, the strata, levels and populations, and what each run scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import Dataset
from valuestrata.fairness.adjust.difficulty import Difficulty, difficulty_of
from valuestrata.fairness.estimate.contrasts import (
    Contrast,
    Moved,
    Parts,
    Weights,
    contrast,
    item_means,
    moved,
    parts,
    unit_grid,
    unit_weights,
)
from valuestrata.fairness.estimate.disparity import Corrected, corrected_variance
from valuestrata.fairness.estimate.gaps import LevelPairs, gap_weights, level_pairs
from valuestrata.fairness.estimate.groups import residual_weights
from valuestrata.fairness.estimate.intersections import excess_weights
from valuestrata.fairness.estimate.national_pull import Nation, nation_of
from valuestrata.fairness.estimate.nulls import Centred, centre
from valuestrata.formatting import count
from valuestrata.scores.layout import Layout, Values, lay_out
from valuestrata.scores.resampling import Resampler
from valuestrata.stats.arrays import Floats, Indices

# Weights kept: four families, of three masks.
KEPT_WEIGHTS = 12
# Redraws behind the noise of covariates and of the metric in the model of difficulty.
MODEL_DRAWS = 100
# What a figure over the levels of an attribute says where they do not have the same cells.
UNEVEN = "some cells are missing, so that the levels differ in their other attributes, too"


@dataclass(frozen=True)
class Population:
    """Whose scores a disparity is taken over.

    Attributes:
        by, key: `all` and all, or `attribute` and its name. words: who they are.
        units: places among the setting's units. names: of these units. note: what a reader of any figure over them must know.
    """

    by: str
    key: str
    words: str
    units: Indices
    names: Sequence[str]
    note: str | None = None


@dataclass(frozen=True)
class Setting:
    """What all runs share. G subgroups, I items, L levels of all attributes, U = G + L units: subgroups first.

    Attributes:
        layout, resampler: of the part. split, part, fold: which part. confidence: of intervals; 1 - confidence is the level of claims.
        stratum: shape (G,), names; `strata` numbers them. attributes: names.
        labels: attribute -> level of each subgroup, None where not used.
        difficulty: of the pairs, None where the data set holds no gold of the nation. nation: its answers.
        respondents: shape (2, G): n and n_eff.
    """

    layout: Layout
    resampler: Resampler
    split: str
    part: str
    fold: int | None
    confidence: float
    stratum: Sequence[str]
    attributes: Sequence[str]
    labels: Mapping[str, Sequence[str | None]]
    difficulty: Difficulty | None
    nation: Nation
    respondents: Floats

    @property
    def alpha(self) -> float:
        """Level of the claims."""
        return 1.0 - self.confidence

    @cached_property
    def strata(self) -> Indices:
        """Number of each subgroup's stratum, shape (G,)."""
        names = list(dict.fromkeys(self.stratum))
        return np.array([names.index(name) for name in self.stratum], dtype=np.intp)

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
    def level_names(self) -> list[tuple[str, str]]:
        """(attribute, level) of each of the L levels."""
        return [(attribute, level) for attribute, members in self.members.items() for level in members]

    @cached_property
    def attribute_of(self) -> Indices:
        """Number of each level's attribute, shape (L,)."""
        return np.array([self.attributes.index(attribute) for attribute, _ in self.level_names], dtype=np.intp)

    @cached_property
    def pairs(self) -> LevelPairs:
        """All pairs of levels within their attributes."""
        return level_pairs(self.members, len(self.stratum))

    @cached_property
    def units(self) -> Floats:
        """Which subgroups each unit is made of, shape (U, G)."""
        groups = np.eye(len(self.stratum))
        return np.concatenate([groups, self.pairs.members])

    def weights(self, family: str, mask: NDArray[np.bool_]) -> Weights:
        """Return the contrasts of a family (units, residuals, gaps, excess) for the pairs of a mask (G, I)."""
        key = (family, np.packbits(mask).tobytes())
        if key not in self._weights:
            if len(self._weights) >= KEPT_WEIGHTS:
                self._weights.pop(next(iter(self._weights)))
            made = {
                "units": lambda: unit_weights(self.units, mask),
                "residuals": lambda: residual_weights(mask, self.strata),
                "gaps": lambda: gap_weights(self.pairs, mask),
                "excess": lambda: excess_weights(mask, self.strata, self.levels),
            }
            self._weights[key] = made[family]()
        return self._weights[key]

    @cached_property
    def _weights(self) -> dict[tuple[str, bytes], Weights]:
        return {}

    def uneven(self, attribute: str) -> bool:
        """Whether levels of an attribute differ in their other attributes, because a stratum lacks cells of some of them."""
        others = [labels for name, labels in self.labels.items() if name != attribute]
        beside: dict[tuple[str, str], set[tuple[str | None, ...]]] = {}
        for place, (stratum, label) in enumerate(zip(self.stratum, self.labels[attribute], strict=True)):
            if label is not None:
                beside.setdefault((stratum, label), set()).add(tuple(labels[place] for labels in others))
        strata = {stratum for stratum, _ in beside}
        levels = {label for _, label in beside}
        return any(len({frozenset(beside.get((stratum, level), ())) for level in levels}) > 1 for stratum in strata)

    @cached_property
    def populations(self) -> list[Population]:
        """Everyone, then each attribute."""
        part = "" if self.part == "all" else f"{self.part} "
        groups = len(self.stratum)

        def words(mask: NDArray[np.bool_]) -> str:
            strata = list(dict.fromkeys(name for name, inside in zip(self.stratum, mask, strict=True) if inside))
            return f"{count(int(mask.sum()), f'{part}subgroup')} of {', '.join(strata)}"

        found = [Population("all", "all", words(np.ones(groups, dtype=np.bool_)), np.arange(groups), list(self.layout.subgroups))]
        place = groups
        for attribute, members in self.members.items():
            where = np.any(list(members.values()), axis=0)
            text = f"{count(len(members), 'level')} of {attribute}, each over its pairs in {words(where)}"
            names = [f"{attribute}={level}" for level in members]
            note = UNEVEN if self.uneven(attribute) else None
            found.append(Population("attribute", attribute, text, np.arange(place, place + len(members)), names, note))
            place += len(members)
        return found


def setting_of(dataset: Dataset, split: str, part: str, fold: int | None, *, bootstrap: int, seed: int, confidence: float) -> Setting:
    """Lay out a part of a split and read what all runs share; errors as for `scores.layout.lay_out`."""
    layout = lay_out(dataset, split, part, fold, ("attribute",))
    rows = pl.DataFrame({"subgroup": list(layout.subgroups)}).join(dataset.subgroups, on="subgroup", how="left", maintain_order="left")
    labels = {attribute: rows[attribute].to_list() for attribute in dataset.attributes if rows[attribute].is_not_null().any()}
    national = dataset.gold.filter((pl.col("subgroup") == EVERYONE) & pl.col("item").is_in(list(layout.items)))
    whole = national["item"].n_unique() == len(layout.items) and EVERYONE not in layout.subgroups
    return Setting(
        layout=layout,
        resampler=Resampler(layout, bootstrap, seed),
        split=split,
        part=part,
        fold=fold,
        confidence=confidence,
        stratum=rows["stratum"].to_list(),
        attributes=list(labels),
        labels=labels,
        difficulty=difficulty_of(dataset, layout) if whole else None,
        nation=nation_of(dataset, layout),
        respondents=rows.select("n", "n_eff").to_numpy().T.astype(np.float64),
    )


@dataclass(frozen=True)
class Scored:
    """A metric of a run, or of the difference of two, with every contrast that tables ask for; each is worked out when asked.

    Attributes:
        setting: shared. values: the pairs.
        less: what `values` is a difference of (run, other), both with the same pairs; their contrasts are used.
    """

    setting: Setting
    values: Values
    less: tuple[Scored, Scored] | None = None

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Where there is a value, shape (G, I)."""
        return ~np.isnan(self.values.gold)

    @cached_property
    def people(self) -> Moved | None:
        """How the pairs move, None without noise of respondents."""
        return moved(self.setting.resampler, self.values)

    @cached_property
    def centred(self) -> Centred:
        """The pairs less the means of item and stratum."""
        return centre(self.values.gold, self.setting.strata)

    @cached_property
    def unit_parts(self) -> Parts:
        """One score a unit."""
        return self._parts("units")

    @cached_property
    def gap_parts(self) -> Parts:
        """One gap a pair of levels."""
        return self._parts("gaps")

    @cached_property
    def units(self) -> Contrast:
        """The mean over the pairs of each unit, (U,)."""
        return contrast(self.setting.resampler, self.unit_parts)

    @cached_property
    def residuals(self) -> Contrast:
        """Mean residual of each subgroup, (G,)."""
        return contrast(self.setting.resampler, self._parts("residuals"))

    @cached_property
    def gaps(self) -> Contrast:
        """The gap of each pair of levels, (K,)."""
        return contrast(self.setting.resampler, self.gap_parts)

    @cached_property
    def excess(self) -> Contrast:
        """The excess of each subgroup over what its levels explain, (G,)."""
        return contrast(self.setting.resampler, self._parts("excess"))

    @cached_property
    def everyone(self) -> Contrast:
        """The mean over all pairs, (1,)."""
        return contrast(self.setting.resampler, self.unit_parts.total(len(self.setting.stratum)))

    @cached_property
    def redrawn(self) -> Floats:
        """Deviations of each subgroup's sum over items in each redraw, shape (D, G); D = 0 without noise of respondents."""
        groups = len(self.setting.stratum)
        return np.empty((0, groups)) if self.unit_parts.sums is None else self.unit_parts.sums[:, :groups]

    @cached_property
    def grid(self) -> Floats:
        """Mean of each unit's pairs of an item, shape (U, I), NaN without."""
        return unit_grid(self.setting.units, self.values.gold)

    @cached_property
    def base_grid(self) -> Floats:
        """The same if all subgroups of a stratum had the mean of their item."""
        return unit_grid(self.setting.units, self.values.gold - self.centred.residual)

    @cached_property
    def share(self) -> Floats:
        """Weight that a subgroup's pair has in its unit's mean of an item, on average over its items, shape (U, G)."""
        return item_means(self.setting.units, self.mask).sum(axis=2) / np.maximum(self.centred.pairs, 1.0)

    @cached_property
    def pairs(self) -> Floats:
        """Pairs behind each unit, shape (U,)."""
        return self.setting.units @ self.mask.sum(axis=1)

    def corrected(self, units: Indices) -> Corrected:
        """Return the corrected variance between some of the units."""
        key = units.tobytes()
        if key not in self._corrected:
            self._corrected[key] = corrected_variance(self.grid[units])
        return self._corrected[key]

    @cached_property
    def _corrected(self) -> dict[bytes, Corrected]:
        return {}

    def minus(self, other: Scored) -> Scored:
        """Return the difference on the pairs both have."""
        same = bool((self.mask == other.mask).all())
        return Scored(self.setting, self.values.minus(other.values), (self, other) if same else None)

    def on(self, mask: NDArray[np.bool_]) -> Scored:
        """Leave out all pairs but those of `mask`; itself where that leaves out none."""
        return self if bool(mask[self.mask].all()) else Scored(self.setting, self.values.on(mask))

    def forget(self) -> None:
        """Let go of the redraws of single pairs, most of what this holds; they are read again if they are asked for."""
        self.__dict__.pop("people", None)

    def _parts(self, family: str) -> Parts:
        if self.less is not None and family in ("units", "gaps"):
            run, other = (one.unit_parts if family == "units" else one.gap_parts for one in self.less)
            return run.minus(other)
        return parts(self.setting.weights(family, self.mask), self.values, self.people)


def scored(setting: Setting, values: Values) -> Scored:
    """Return a metric with its contrasts."""
    return Scored(setting, values)
