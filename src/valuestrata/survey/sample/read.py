"""Reads how respondents count: weight, sampling design and pooling of countries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.survey.codebook import Codebook
from valuestrata.survey.detect import ColumnPlan
from valuestrata.survey.formats.source import RawFile
from valuestrata.survey.labels import MissingLabels
from valuestrata.survey.sample.design import DesignColumns, read_design, without_missing
from valuestrata.survey.sample.weights import choose_pooling, pool_countries, read_pooling_weight, read_weight
from valuestrata.survey.sample_selection import Selection
from valuestrata.survey.survey import SampleDesign


@dataclass(frozen=True)
class SampleRequest:
    """Which respondents the user wants, and how they count."""

    countries: Sequence[str | int]
    pooling: str | None
    weighted: bool


@dataclass(frozen=True)
class RespondentSample:
    """Weight, design and pooling of the respondents (as in `Survey`), and messages for the user."""

    weight: NDArray[np.float64] | None
    design: SampleDesign | None
    pooling: str | None
    notes: tuple[str, ...]


def no_weight_column(name: str) -> str:
    """Return the message that a file lacks the column of the weights."""
    return f"The file has no weight column {name!r}, so the answers are unweighted."


def read_sample(
    raw: RawFile,
    plan: ColumnPlan,
    loaded: dict[int, pl.Series],
    codebook: Codebook,
    missing: MissingLabels,
    selection: Selection,
    request: SampleRequest,
) -> RespondentSample:
    """Return weight, design and pooling of the selected respondents."""
    weight, notes = None, list[str | None]()
    if plan.weight is not None:
        weight, note = read_weight(loaded[plan.weight])
        notes.append(note)
    elif codebook.weight is not None:
        notes.append(no_weight_column(codebook.weight))

    def units(places: Sequence[int]) -> list[pl.Series]:
        return [without_missing(loaded[p], raw.value_labels(p), raw.declared_missing(p), missing) for p in places]

    columns = DesignColumns(units(plan.psu), units(plan.strata), [loaded[place] for place in plan.replicates])
    people = len(next(iter(loaded.values())))
    design, of_design = read_design(columns, codebook.design.replicate_weights, people, weight, selection.country)
    pooling_column = None if plan.pooling is None else loaded[plan.pooling]
    pooling, note = choose_pooling(
        request.pooling,
        len(selection.countries),
        weighted=request.weighted,
        pooling_weight=None if pooling_column is None else pooling_column.name,
        named=tuple(codebook.design.pooling_weight),
    )
    notes.append(note)
    if pooling is not None and request.weighted and selection.country is not None:
        # A column that is also the weight, such as `anweight` of the ESS, already contains both.
        other = None
        if pooling == "weight" and pooling_column is not None and plan.pooling != plan.weight:
            other = read_pooling_weight(pooling_column)
        weight = pool_countries(pooling, weight, selection.country, other)
    return RespondentSample(weight, design, pooling, (*(note for note in notes if note), *of_design))
