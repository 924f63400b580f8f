"""Sampling units, sampling strata and replicate weights of the respondents, read from the columns that the codebook names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.errors import InputDataError
from valuestrata.survey.codebook_schema import ReplicateEntry
from valuestrata.survey.decode import distinct, shown_value
from valuestrata.survey.formats.columns import MissingRange, ValueLabels, is_declared_missing
from valuestrata.survey.labels import NULL_WORDS, MissingLabels, number
from valuestrata.survey.survey import ReplicateWeights, SampleDesign

_NONE = -1


@dataclass(frozen=True)
class DesignColumns:
    """Columns of the design that are in the file, in order of preference; missing codes are null."""

    psu: Sequence[pl.Series] = ()
    strata: Sequence[pl.Series] = ()
    replicates: Sequence[pl.Series] = ()


def without_missing(series: pl.Series, labels: ValueLabels, declared: Sequence[MissingRange], missing: MissingLabels) -> pl.Series:
    """Return a column with null where it names no unit: negative, declared missing in the file, or labelled as missing.

    Args:
        series: the column. labels, declared: code -> label and missing values, from the file. missing: labels of missing answers.
    """
    lost: list[float | str] = []
    for value, _ in distinct(series):
        shown = shown_value(value)
        parsed = number(value) if isinstance(value, str) else value
        label = shown if parsed is None else labels.get(shown) or labels.get(parsed) or ""
        if shown in NULL_WORDS or (parsed is not None and not parsed >= 0) or is_declared_missing(value, declared) or missing.find(label):
            lost.append(value)
    return series.set(series.is_in(lost), None) if lost else series


def read_design(
    columns: DesignColumns,
    replicate_weights: ReplicateEntry | None,
    people: int,
    weight: NDArray[np.float64] | None,
    country: NDArray[np.int32] | None,
) -> tuple[SampleDesign | None, tuple[str, ...]]:
    """Return the design of a survey (None if no column has values), and messages for the user.

    In each country the first column of a list that has different values is used. Units are nested in strata, and strata in
    countries: the same number in another stratum is another unit. Respondents without a unit are units of their own, and those
    without a stratum form a stratum. A stratum with a single unit is combined with the next one of its country.

    Args:
        columns: the columns. replicate_weights: how to read `columns.replicates`.
        people: number of respondents. weight: their weight without a pooling weight, or None. country: their country, or None.

    Raises:
        InputDataError: replicate weights that are missing, negative, infinite or do not belong to the weight.
    """
    design, notes = _of_units(columns, people, country)
    if not columns.replicates or replicate_weights is None:
        return design, notes
    replicates = _replicates(columns.replicates, replicate_weights, weight)
    used = {"replicate_weights": (columns.replicates[0].name, columns.replicates[-1].name)}
    if design is None:
        design = SampleDesign(np.arange(people), np.zeros(people, dtype=np.intp), {})
    return replace(design, columns={**design.columns, **used}, replicates=replicates), notes


def _of_units(columns: DesignColumns, people: int, country: NDArray[np.int32] | None) -> tuple[SampleDesign | None, tuple[str, ...]]:
    notes: list[str] = []
    places = np.zeros(people, dtype=np.int32) if country is None else country
    stratum, strata_used = _first_usable(columns.strata, places)
    unit, psu_used = _first_usable(columns.psu, places)
    if not strata_used and not psu_used:
        return None, ()
    for numbers, used, what, handled in (
        (unit, psu_used, "sampling unit", "each counts as a unit of its own"),
        (stratum, strata_used, "sampling stratum", "they form a stratum of their own"),
    ):
        if used and (lost := int((numbers == _NONE).sum())):
            notes.append(f"{lost:,} of {people:,} respondents have no {what} ({', '.join(used)}); {handled}.")
    own = unit == _NONE
    unit = np.where(own, np.arange(people) + unit.max() + 1, unit)
    _, of_stratum = np.unique(np.stack([places, stratum]), axis=1, return_inverse=True)
    rows, of_unit = np.unique(np.stack([of_stratum.reshape(-1), unit]), axis=1, return_inverse=True)
    merged, single = _without_single_units(rows[0], _country_of_strata(of_stratum.reshape(-1), places))
    if single:
        what = "stratum has a single sampling unit and was" if single == 1 else "strata have a single sampling unit each and were"
        notes.append(f"{single:,} sampling {what} combined with the next stratum of the country.")
    used = {name: found for name, found in (("psu", psu_used), ("strata", strata_used)) if found}
    return SampleDesign(of_unit.reshape(-1).astype(np.intp), merged, used), tuple(notes)


def _numbered(series: pl.Series) -> NDArray[np.intp]:
    """Return the values of a column as 0, 1, ... in order (numbers before text), and -1 for null."""
    values = [value for value, _ in distinct(series)]
    if not values:
        return np.full(len(series), _NONE, dtype=np.intp)
    place = {name: at for at, name in enumerate(sorted({shown_value(value) for value in values}, key=_in_order))}
    new = pl.Series([place[shown_value(value)] for value in values], dtype=pl.Int64)
    codes = series.replace_strict(pl.Series(values, dtype=series.dtype), new, default=_NONE, return_dtype=pl.Int64)
    return codes.fill_null(_NONE).to_numpy().astype(np.intp)


def _in_order(name: str) -> tuple[bool, float, str]:
    parsed = number(name)
    return (parsed is None, float(parsed or 0), name)


def _first_usable(columns: Sequence[pl.Series], places: NDArray[np.int32]) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return, country by country, the first column with at least two values, and the names of the columns used."""
    found = np.full(len(places), _NONE, dtype=np.intp)
    candidates = [_numbered(series) for series in columns]
    used: list[str] = []
    for place in np.unique(places):
        here = places == place
        for series, numbers in zip(columns, candidates, strict=True):
            if len(np.unique(numbers[here & (numbers != _NONE)])) > 1:
                found[here] = numbers[here]
                used.append(series.name)
                break
    return found, tuple(dict.fromkeys(used))


def _country_of_strata(of_stratum: NDArray[np.intp], places: NDArray[np.int32]) -> NDArray[np.int32]:
    found = np.zeros(int(of_stratum.max()) + 1, dtype=np.int32)
    found[of_stratum] = places
    return found


def _without_single_units(stratum: NDArray[np.intp], country: NDArray[np.int32]) -> tuple[NDArray[np.intp], int]:
    """Combine each stratum with one unit with the next stratum of its country, the last one with the one before.

    Args:
        stratum: stratum of each unit. country: country of each stratum, ascending.

    Returns:
        The new strata, numbered from 0, and the number of strata that had one unit.
    """
    sizes = np.bincount(stratum, minlength=len(country))
    target = np.arange(len(country))
    for place in np.unique(country):
        inside = np.flatnonzero(country == place)
        first, members = int(inside[0]), 0
        for at in inside:
            if members > 1:
                first, members = int(at), 0
            target[at] = first
            members += int(sizes[at])
        if members == 1 and first > inside[0]:
            target[target == first] = target[first - 1]
    return np.unique(target[stratum], return_inverse=True)[1].astype(np.intp), int((sizes == 1).sum())


def _replicates(columns: Sequence[pl.Series], entry: ReplicateEntry, weight: NDArray[np.float64] | None) -> ReplicateWeights:
    people, number_of = len(columns[0]), len(columns)
    base = np.ones(people) if weight is None else weight
    values = np.empty((people, number_of))
    for r, series in enumerate(columns):
        numbers = series.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
        if bad := int((~np.isfinite(numbers) | (numbers < 0)).sum()):
            raise InputDataError(
                f"column {series.name!r}: the replicate weight is missing, negative or infinite for {bad} of {people} respondents. "
                "Correct or remove these rows."
            )
        values[:, r] = numbers
    outside = (base == 0) & (values > 0).any(axis=1)
    if outside.any():
        raise InputDataError(
            f"{int(outside.sum())} respondents have the weight 0 but positive replicate weights ({columns[0].name!r}, ...). The replicate "
            "weights belong to another weight; correct `weight` or `replicate_weights` in the codebook."
        )
    if weight is None:  # a constant weight is not kept
        base = np.full(people, values.mean())
    ratios = np.divide(values, base[:, None], out=np.ones_like(values), where=base[:, None] > 0)
    scale = entry.scale
    if scale is None:
        scale = (number_of - 1) / number_of if entry.type == "jackknife" else 1 / number_of
    if isinstance(scale, list) and len(scale) != number_of:
        raise InputDataError(f"`scale` of the replicate weights has {len(scale)} numbers for {number_of} columns; give one for each.")
    return ReplicateWeights(ratios, np.broadcast_to(np.asarray(scale, dtype=np.float64), number_of).copy(), entry.type)
