"""Survey: one instrument's microdata, held in memory only and never written out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.survey.codebook import Attribute, Codebook, Country, Item


@dataclass(frozen=True)
class LabelProblem:
    """An item left out because some of its labels match nothing: those labels with their counts."""

    item: str
    column: str
    labels: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Findings:
    """What the reader recognised and what it did not; printed by `describe`, kept in `dataset.json`.

    Attributes:
        absent_items: items of the codebook whose column the file lacks.
        unanswered_items: items whose column holds no answer at all (not asked here).
        label_problems: items left out because labels matched nothing.
        absent_attributes: attributes whose column the file lacks.
        unknown_levels: attribute -> (raw value, count) pairs that no level covers.
        ignored_columns: columns of the file that the codebook does not name.
        notes: sentences for the reader (weight constant, country taken from ..., ...).
    """

    absent_items: tuple[str, ...] = ()
    unanswered_items: tuple[str, ...] = ()
    label_problems: tuple[LabelProblem, ...] = ()
    absent_attributes: tuple[str, ...] = ()
    unknown_levels: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    ignored_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Where the microdata came from: file name (never a path), format, SHA-256, rows before and after selection."""

    file: str
    format: str
    sha256: str
    rows: int
    respondents: int


@dataclass(frozen=True)
class Survey:
    """Respondents x items, attributes and weight, in codes that need no codebook to count.

    Attributes:
        codebook: the description the file was read with.
        items: the items found, in codebook order; column j of `answers` is `items[j]`.
        attributes: the attributes found; column j of `levels` is `attributes[j]`.
        answers: int8, shape (respondents, items), Fortran order: option index 0..K-1, or a negative `Missing` value.
        levels: int16, shape (respondents, attributes), Fortran order: level index, -1 where unknown.
        weight: float64, shape (respondents,), finite and >= 0 and not all equal; None when unweighted.
        countries: the countries selected (empty where the survey has none).
        source: the file behind it.
        findings: what was and was not recognised.
    """

    codebook: Codebook
    items: tuple[Item, ...]
    attributes: tuple[Attribute, ...]
    answers: NDArray[np.int8]
    levels: NDArray[np.int16]
    weight: NDArray[np.float64] | None
    countries: tuple[Country, ...]
    source: Source
    findings: Findings

    @property
    def respondents(self) -> int:
        """Number of respondents."""
        return int(self.answers.shape[0])

    @property
    def place(self) -> str | None:
        """How a persona names where these people live, or None."""
        if len(self.countries) == 1:
            return self.countries[0].phrase
        return self.codebook.place
