"""The decoded microdata of one survey. It is held in memory only and never written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.survey.codebook import Attribute, Codebook, Country, Item


@dataclass(frozen=True)
class LabelProblem:
    """An item left out because labels match nothing. `labels` holds these labels and their counts."""

    item: str
    column: str
    labels: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class DroppedRespondents:
    """Respondents without a level of an attribute, who are in none of its subgroups.

    Attributes:
        respondents: their number, of `total` respondents.
        values: (value in the file with its label there, respondents), most frequent first; `empty cells` for these.
    """

    attribute: str
    respondents: int
    total: int
    values: tuple[tuple[str, int], ...]

    @property
    def share(self) -> float:
        """Share of all respondents."""
        return self.respondents / self.total


@dataclass(frozen=True)
class Findings:
    """What was not recognised in a file, and notes. Printed by `describe` and stored in `dataset.json`.

    Attributes:
        absent_items: items of the codebook whose column is not in the file.
        unanswered_items: items without a valid answer.
        label_problems: items left out because labels match nothing.
        absent_attributes: attributes whose column is not in the file.
        unknown_levels: (attribute, ((value, count), ...)) for values that match no level.
        dropped: respondents without a level, for each attribute that has any.
        missing_values: (class of missing, ((value, cells), ...)) over all items, most frequent first.
        ignored_columns: columns of the file that the codebook does not name.
        notes: messages for the user.
    """

    absent_items: tuple[str, ...] = ()
    unanswered_items: tuple[str, ...] = ()
    label_problems: tuple[LabelProblem, ...] = ()
    absent_attributes: tuple[str, ...] = ()
    unknown_levels: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    dropped: tuple[DroppedRespondents, ...] = ()
    missing_values: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    ignored_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """The file behind a survey: name without folders, format, SHA-256, rows before and after selection."""

    file: str
    format: str
    sha256: str
    rows: int
    respondents: int


@dataclass(frozen=True)
class ReplicateWeights:
    """Replicate weights of the respondents.

    The variance of an estimate is sum_r scale_r (estimate with replicate r - estimate)^2.

    Attributes:
        ratios: shape (respondents, R): replicate weight divided by the weight; 1 where the weight is 0.
        scale: shape (R,), not negative.
        kind: `jackknife`, `brr` or `bootstrap`.
    """

    ratios: NDArray[np.float64]
    scale: NDArray[np.float64]
    kind: str


@dataclass(frozen=True)
class SampleDesign:
    """How the respondents were sampled. No output holds the sampling unit of a respondent.

    Attributes:
        unit: intp, shape (respondents,): sampling unit 0..P-1. A unit lies in one stratum and one country. Without a column of
            units each respondent is one.
        stratum: intp, shape (P,): sampling stratum 0..H-1 of each unit. A stratum with one unit is never resampled.
        columns: what was read (`psu`, `strata`, `replicate_weights`) -> columns of the file.
        replicates: replicate weights, from which variances then come; or None.
    """

    unit: NDArray[np.intp]
    stratum: NDArray[np.intp]
    columns: Mapping[str, tuple[str, ...]]
    replicates: ReplicateWeights | None = None

    @property
    def clustered(self) -> bool:
        """Whether a unit holds more than one respondent."""
        return len(self.stratum) < len(self.unit)


@dataclass(frozen=True)
class Survey:
    """Answers, attributes and weight of the respondents.

    Attributes:
        codebook: the codebook used.
        items: the items found, in codebook order. Column j of `answers` is `items[j]`.
        attributes: the attributes found. Column j of `levels` is `attributes[j]`.
        answers: int8, shape (respondents, items), Fortran order: option index 0..K-1, or a negative `Missing` value.
        levels: int16, shape (respondents, attributes), Fortran order: level index, or -1 if unknown.
        weight: float64, shape (respondents,), finite, >= 0 and not all equal; None if unweighted.
        countries: the countries of the respondents; empty if the survey has none.
        source: the file.
        findings: what was not recognised.
        design: how the respondents were sampled; None if the file does not say, and respondents count as independent.
        pooling: how several countries are combined (`survey.sample.weights`); None for one country, or if nothing was chosen.
        ids: the column of the respondents' ids, shape (respondents,); None if the file has none. Nothing writes it.
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
    design: SampleDesign | None = None
    pooling: str | None = None
    ids: pl.Series | None = None

    @property
    def respondents(self) -> int:
        """Number of respondents."""
        return int(self.answers.shape[0])

    @property
    def place(self) -> str | None:
        """Where the respondents live, as a persona names it; or None."""
        if len(self.countries) == 1:
            return self.countries[0].phrase
        return self.codebook.place
