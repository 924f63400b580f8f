"""The format of codebook YAML files."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from valuestrata.yaml_files import Code, StrictModel, Text, refused

MeasurementLevel = Literal["ordinal", "nominal", "binary"]
PhraseRole = Literal["noun", "adjective", "clause"]
MissingClass = Literal["dont_know", "no_answer", "not_applicable", "not_asked", "other_missing"]

# The most codes an item may have.
MOST_CODES = 100


def _open_end(value: object) -> object:
    """Return an end of a band; an infinite end is open, like null."""
    return None if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


BandEnd = Annotated[float | None, BeforeValidator(_open_end)]


class ScaleEntry(StrictModel):
    """Codes and labels, given directly or as a numeric range with two labelled ends."""

    level: MeasurementLevel = "ordinal"
    codes: list[Code] = Field(default_factory=list[Code])
    labels: list[Text] = Field(default_factory=list[Text])
    range: tuple[Code, Code] | None = None
    ends: tuple[Text, Text] | None = None
    synonyms: dict[Code, list[str]] = Field(default_factory=dict[Code, list[str]])
    recode: dict[Code, Code] = Field(default_factory=dict[Code, Code])
    off_scale: dict[Code, Text] = Field(default_factory=dict[Code, Text])
    missing: dict[MissingClass, list[Code]] = Field(default_factory=dict[MissingClass, list[Code]])

    @property
    def own_scale(self) -> bool:
        """Whether the entry has codes or a range of its own."""
        return bool(self.codes) or self.range is not None

    @property
    def all_codes(self) -> Sequence[int]:
        """The codes, listed or from the range."""
        return self.codes if self.range is None else range(self.range[0], self.range[1] + 1)

    @model_validator(mode="after")
    def _each_option_has_one_code_and_label(self) -> Self:
        if self.range is not None:
            low, high = self.range
            if high <= low:
                raise refused(f"found [{low}, {high}]; write the lower end first.", "range")
            if high - low >= MOST_CODES:
                raise refused(f"[{low}, {high}] has {high - low + 1:,} codes; at most {MOST_CODES} are supported.", "range")
        elif len(self.codes) != len(self.labels):
            raise refused(
                f"{len(self.codes)} codes and {len(self.labels)} labels; every code needs a label.", "labels" if self.labels else "codes"
            )
        if (at := repeated(self.codes)) is not None:
            raise refused(f"the code {self.codes[at]} is given twice. Remove one of them, or correct it.", "codes", at)
        if (at := repeated([as_compared(label) for label in self.labels])) is not None:
            raise refused(f"two options have the label {self.labels[at]!r}. Give each option a label of its own.", "labels", at)
        return self


class ItemEntry(ScaleEntry):
    """An item, with its own scale or the name of a shared one."""

    id: Text
    topic: str
    question: str
    scale: str | None = None
    block: str | None = None
    column: str | None = None
    open_question: str | None = None
    wording_source: str = "valuestrata"
    default: bool = True


class LevelEntry(StrictModel):
    """A level of an attribute."""

    label: Text
    code: Code | None = None
    codes: list[Code] = Field(default_factory=list[Code])
    band: tuple[BandEnd, BandEnd] | None = None
    synonyms: list[str] = Field(default_factory=list[str])
    phrase: str | None = None
    role: PhraseRole | None = None

    @field_validator("band")
    @classmethod
    def _band_is_in_order(cls, value: tuple[float | None, float | None] | None) -> tuple[float | None, float | None] | None:
        if value is not None and value[0] is not None and value[1] is not None and value[1] < value[0]:
            raise refused(f"found [{value[0]:g}, {value[1]:g}]; write the lower end first.")
        return value

    @property
    def all_codes(self) -> tuple[int, ...]:
        """The codes of the level in the file."""
        return tuple(self.codes) or (() if self.code is None else (self.code,))

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the band, both included; infinite where it is open."""
        low, high = self.band or (None, None)
        return (float("-inf") if low is None else low, float("inf") if high is None else high)


class AttributeEntry(StrictModel):
    """An attribute and its levels."""

    name: Text
    short: Text | None = None
    title: str | None = None
    column: str
    fallback: str | None = None
    missing: list[Code] | None = None
    role: PhraseRole = "clause"
    default: bool = True
    levels: list[LevelEntry] = Field(min_length=1)

    @model_validator(mode="after")
    def _levels_are_distinct(self) -> Self:
        if (at := repeated([as_compared(level.label) for level in self.levels])) is not None:
            raise refused(f"two levels have the label {self.levels[at].label!r}. Give each level a label of its own.", "levels", at)
        of_code: dict[int, str] = {}
        for at, level in enumerate(self.levels):
            for code in level.all_codes:
                if (other := of_code.setdefault(code, level.label)) != level.label:
                    raise refused(f"the code {code} belongs to two levels, {other!r} and {level.label!r}.", "levels", at)
        banded = sorted((at for at, level in enumerate(self.levels) if level.band), key=lambda at: self.levels[at].ends)
        for below, above in pairwise(banded):
            if self.levels[above].ends[0] <= self.levels[below].ends[1]:
                both = f"{self.levels[below].label!r} and {self.levels[above].label!r}"
                raise refused(f"the bands of {both} overlap; both ends of a band belong to it.", "levels", max(below, above), "band")
        return self


class MissingEntry(StrictModel):
    """Codes and labels of one class of missing answer."""

    codes: list[Code] = Field(default_factory=list[Code])
    labels: list[str] = Field(default_factory=list[str])


class CountryEntry(StrictModel):
    """A country."""

    code: Code
    alpha: str
    name: str
    phrase: str | None = None


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Columns = Annotated[list[Text], BeforeValidator(_as_list)]
"""A column, or several columns in order of preference."""


class ReplicateEntry(StrictModel):
    """Replicate weights: the variance of an estimate is sum_r scale_r (estimate with replicate r - estimate)^2."""

    columns: Columns = Field(min_length=1)
    type: Literal["jackknife", "brr", "bootstrap"]
    scale: Annotated[float, Field(gt=0)] | list[Annotated[float, Field(ge=0)]] | None = None

    @field_validator("columns")
    @classmethod
    def _one_name_is_a_pattern(cls, value: list[str]) -> list[str]:
        if len(value) == 1 and "*" not in value[0]:
            raise refused(f"found one column, {value[0]!r}; list at least two, or write a pattern such as {value[0] + '*'!r}.")
        return value

    @model_validator(mode="after")
    def _scales_of_replicates_are_for_a_jackknife(self) -> Self:
        if isinstance(self.scale, list):
            if self.type != "jackknife":
                raise refused(f"found a list; {self.type} replicates have one number, the factor of their sum of squares.", "scale")
            if not any("*" in name for name in self.columns) and len(self.scale) != len(self.columns):
                raise refused(f"found {len(self.scale)} numbers for {len(self.columns)} columns; each replicate needs one.", "scale")
        return self


class DesignEntry(StrictModel):
    """How the respondents were sampled. A list of columns is in order of preference."""

    psu: Columns = Field(default_factory=list[Text])
    strata: Columns = Field(default_factory=list[Text])
    weight: Text | None = None
    pooling_weight: Columns = Field(default_factory=list[Text])
    replicate_weights: ReplicateEntry | None = None

    @property
    def columns(self) -> list[str]:
        """The columns, without patterns."""
        replicates = self.replicate_weights.columns if self.replicate_weights else []
        named = [*self.psu, *self.strata, *([self.weight] if self.weight else []), *self.pooling_weight, *replicates]
        return [name for name in dict.fromkeys(named) if "*" not in name]


class CodebookFile(StrictModel):
    """The whole file."""

    survey: str
    title: str
    version: str = "1"
    citation: str = ""
    place: str | None = None
    weight: str | None = None
    design: DesignEntry = DesignEntry()
    respondent_id: str | None = None
    country_code_column: str | None = None
    country_alpha_column: str | None = None
    countries: list[CountryEntry] = Field(default_factory=list[CountryEntry])
    missing: dict[MissingClass, MissingEntry]
    scales: dict[str, ScaleEntry] = Field(default_factory=dict[str, ScaleEntry])
    items: list[ItemEntry]
    attributes: list[AttributeEntry]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for key, names in (("items", [item.id for item in self.items]), ("attributes", [one.name for one in self.attributes])):
            if (at := repeated(names)) is not None:
                raise refused(f"{names[at]!r} appears {names.count(names[at])} times; names must be unique.", key, at)
        return self

    @model_validator(mode="after")
    def _the_weight_is_named_once(self) -> Self:
        if self.weight and self.design.weight and self.weight != self.design.weight:
            raise refused(
                f"found {self.design.weight!r}, but the key `weight` names {self.weight!r}. Keep one of them.", "design", "weight"
            )
        return self

    @model_validator(mode="after")
    def _missing_codes_have_one_class(self) -> Self:
        of_code: dict[int, str] = {}
        for kind, rule in self.missing.items():
            for at, code in enumerate(rule.codes):
                if (other := of_code.setdefault(code, kind)) != kind:
                    raise refused(f"the code {code} belongs to two classes, {other} and {kind}.", "missing", kind, "codes", at)
        for at, item in enumerate(self.items):
            scale = item if item.own_scale else self.scales.get(item.scale or "", item)
            for code in {*scale.all_codes, *scale.recode, *item.recode} - {*scale.off_scale, *item.off_scale}:
                if code in of_code:
                    raise refused(
                        f"the code {code} is an answer of the item {item.id!r}, but missing under `missing.{of_code[code]}`. List it "
                        "under `missing` of the items or scales where it is missing.",
                        "items",
                        at,
                    )
        return self


def repeated(values: Sequence[object]) -> int | None:
    """Return the position of the first value that occurred before; None if all are different."""
    return next((at for at, value in enumerate(values) if value in values[:at]), None)


def as_compared(label: str) -> str:
    """Return a label without differences in case and spaces."""
    return " ".join(label.split()).casefold()
