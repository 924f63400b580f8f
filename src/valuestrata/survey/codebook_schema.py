"""The format of codebook YAML files."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from valuestrata.yaml_files import StrictModel

MeasurementLevel = Literal["ordinal", "nominal", "binary"]
PhraseRole = Literal["noun", "adjective", "clause"]


class ScaleEntry(StrictModel):
    """Codes and labels, given directly or as a numeric range with two labelled ends."""

    level: MeasurementLevel = "ordinal"
    codes: list[int] = Field(default_factory=list[int])
    labels: list[str] = Field(default_factory=list[str])
    range: tuple[int, int] | None = None
    ends: tuple[str, str] | None = None
    synonyms: dict[int, list[str]] = Field(default_factory=dict[int, list[str]])
    recode: dict[int, int] = Field(default_factory=dict[int, int])
    off_scale: dict[int, str] = Field(default_factory=dict[int, str])


class ItemEntry(ScaleEntry):
    """An item, with its own scale or the name of a shared one."""

    id: str
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

    label: str
    code: int | None = None
    codes: list[int] = Field(default_factory=list[int])
    band: tuple[float | None, float | None] | None = None
    synonyms: list[str] = Field(default_factory=list[str])
    phrase: str | None = None
    role: PhraseRole | None = None


class AttributeEntry(StrictModel):
    """An attribute and its levels."""

    name: str
    short: str | None = None
    title: str | None = None
    column: str
    fallback: str | None = None
    role: PhraseRole = "clause"
    default: bool = True
    levels: list[LevelEntry]


class MissingEntry(StrictModel):
    """Codes and labels of one class of missing answer."""

    codes: list[int] = Field(default_factory=list[int])
    labels: list[str] = Field(default_factory=list[str])


class CountryEntry(StrictModel):
    """A country."""

    code: int
    alpha: str
    name: str
    phrase: str | None = None


class CodebookFile(StrictModel):
    """The whole file."""

    survey: str
    title: str
    version: str = "1"
    citation: str = ""
    place: str | None = None
    weight: str | None = None
    respondent_id: str | None = None
    country_code_column: str | None = None
    country_alpha_column: str | None = None
    countries: list[CountryEntry] = Field(default_factory=list[CountryEntry])
    missing: dict[Literal["dont_know", "no_answer", "not_applicable", "not_asked", "other_missing"], MissingEntry]
    scales: dict[str, ScaleEntry] = Field(default_factory=dict[str, ScaleEntry])
    items: list[ItemEntry]
    attributes: list[AttributeEntry]
