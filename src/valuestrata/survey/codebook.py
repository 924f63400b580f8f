"""The machine-readable description of a survey: items, attributes, missing codes and weight.

A codebook is read from YAML (`codebooks/*.yaml`, or a user's own file), checked key by key, and held as frozen
dataclasses. Everything downstream speaks in *option indices*: position 0..K-1 of an answer on the item's scale.
Raw file codes are turned into them once, by the reader, through `Item.index_of_raw`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field

from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.yaml_files import StrictModel, checked, parse_yaml

Level = Literal["ordinal", "nominal", "binary"]
Role = Literal["noun", "adjective", "clause"]


class Missing(IntEnum):
    """Why a respondent has no answer on an item; the values are what `Survey.answers` holds instead of an option index."""

    DONT_KNOW = -1
    NO_ANSWER = -2
    NOT_APPLICABLE = -3
    NOT_ASKED = -4
    OTHER_MISSING = -5

    @property
    def key(self) -> str:
        """The class as it is spelt in files: `dont_know`, `no_answer`, ..."""
        return self.name.lower()


@dataclass(frozen=True)
class Item:
    """One question with its answer codes.

    Attributes:
        id: name of the item, and of its column unless `column` says otherwise.
        topic: heading under which results are averaged; `block` is the battery it was asked in, or None.
        level: `ordinal`, `nominal` or `binary` (exactly two codes).
        codes: recoded scale codes in scale order; `labels` has the same length and order.
        question: what the respondent is asked, in the project's own words.
        recode: raw file code -> scale code, for raw codes that are not already scale codes.
        off_scale: raw file code -> label, for answers that are not on the scale (`Other answer`).
        synonyms: scale code -> other labels under which files hold it.
        default: whether the item belongs to the survey's default set.
    """

    id: str
    topic: str
    level: Level
    codes: tuple[int, ...]
    labels: tuple[str, ...]
    question: str
    column: str
    block: str | None = None
    open_question: str | None = None
    wording_source: str = "valuestrata"
    recode: Mapping[int, int] = field(default_factory=dict[int, int])
    off_scale: Mapping[int, str] = field(default_factory=dict[int, str])
    synonyms: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    default: bool = True

    @property
    def is_numeric_scale(self) -> bool:
        """Whether only the ends carry words and the points between are bare numbers."""
        inner = zip(self.codes[1:-1], self.labels[1:-1], strict=True)
        return len(self.codes) > 3 and all(label == str(code) for code, label in inner)

    def index_of_raw(self) -> dict[int, int]:
        """Return raw file code -> option index, for every raw code that is an answer on the scale."""
        position = {code: index for index, code in enumerate(self.codes)}
        mapping = {code: index for code, index in position.items() if code not in self.off_scale}
        mapping.update({raw: position[code] for raw, code in self.recode.items()})
        return mapping


@dataclass(frozen=True)
class AttributeLevel:
    """One level of an attribute: its label, the raw codes or the age band behind it, and how a persona says it."""

    label: str
    codes: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    synonyms: tuple[str, ...] = ()
    phrase: str | None = None
    role: Role | None = None


@dataclass(frozen=True)
class Attribute:
    """A demographic variable cut into levels.

    `short` is the name used in pair strata (`sex_x_age`). `column` is the first choice; `fallback` an alternative
    column, already cut, whose raw codes are those of the levels. `banded` says that levels are [low, high] bands of
    a number. `role` says how a persona sentence uses the level's `phrase`.
    """

    name: str
    short: str
    title: str
    column: str
    levels: tuple[AttributeLevel, ...]
    banded: bool = False
    fallback: str | None = None
    role: Role = "clause"
    default: bool = True


@dataclass(frozen=True)
class MissingRule:
    """How one class of missing is written in files: raw codes and labels."""

    kind: Missing
    codes: tuple[int, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Country:
    """A country of the survey: numeric code, alpha-3 code, name, and how a persona names it after 'in'."""

    code: int
    alpha: str
    name: str
    phrase: str


@dataclass(frozen=True)
class Codebook:
    """Items, attributes, missing classes, weight and country columns of one survey."""

    survey: str
    title: str
    version: str
    items: tuple[Item, ...]
    attributes: tuple[Attribute, ...]
    missing: tuple[MissingRule, ...]
    weight: str | None = None
    respondent_id: str | None = None
    country_code_column: str | None = None
    country_alpha_column: str | None = None
    countries: tuple[Country, ...] = ()
    place: str | None = None
    citation: str = ""

    def item(self, item_id: str) -> Item:
        """Return the item called `item_id`; UsageError with a suggestion if there is none."""
        for item in self.items:
            if item.id == item_id:
                return item
        raise UsageError(f"The {self.survey} codebook has no item {item_id!r}.{did_you_mean(item_id, (i.id for i in self.items))}")

    def attribute(self, name: str) -> Attribute:
        """Return the attribute called `name` (or with that short name); UsageError with a suggestion if there is none."""
        for attribute in self.attributes:
            if name in (attribute.name, attribute.short):
                return attribute
        names = (a.name for a in self.attributes)
        raise UsageError(f"The {self.survey} codebook has no attribute {name!r}.{did_you_mean(name, names)}")

    @property
    def default_items(self) -> tuple[Item, ...]:
        """The items built when none are named."""
        return tuple(item for item in self.items if item.default)

    @property
    def default_attributes(self) -> tuple[Attribute, ...]:
        """The attributes used when none are named, in the codebook's order."""
        return tuple(attribute for attribute in self.attributes if attribute.default)


# --- the YAML file ----------------------------------------------------------------------------------------------


class _Scale(StrictModel):
    level: Level = "ordinal"
    codes: list[int] = Field(default_factory=list[int])
    labels: list[str] = Field(default_factory=list[str])
    range: tuple[int, int] | None = None
    ends: tuple[str, str] | None = None
    synonyms: dict[int, list[str]] = Field(default_factory=dict[int, list[str]])
    recode: dict[int, int] = Field(default_factory=dict[int, int])
    off_scale: dict[int, str] = Field(default_factory=dict[int, str])


class _Item(_Scale):
    id: str
    topic: str
    question: str
    scale: str | None = None
    block: str | None = None
    column: str | None = None
    open_question: str | None = None
    wording_source: str = "valuestrata"
    default: bool = True


class _Level(StrictModel):
    label: str
    code: int | None = None
    codes: list[int] = Field(default_factory=list[int])
    band: tuple[float | None, float | None] | None = None
    synonyms: list[str] = Field(default_factory=list[str])
    phrase: str | None = None
    role: Role | None = None


class _Attribute(StrictModel):
    name: str
    short: str | None = None
    title: str | None = None
    column: str
    fallback: str | None = None
    role: Role = "clause"
    default: bool = True
    levels: list[_Level]


class _Missing(StrictModel):
    codes: list[int] = Field(default_factory=list[int])
    labels: list[str] = Field(default_factory=list[str])


class _Country(StrictModel):
    code: int
    alpha: str
    name: str
    phrase: str | None = None


class _File(StrictModel):
    survey: str
    title: str
    version: str = "1"
    citation: str = ""
    place: str | None = None
    weight: str | None = None
    respondent_id: str | None = None
    country_code_column: str | None = None
    country_alpha_column: str | None = None
    countries: list[_Country] = Field(default_factory=list[_Country])
    missing: dict[Literal["dont_know", "no_answer", "not_applicable", "not_asked", "other_missing"], _Missing]
    scales: dict[str, _Scale] = Field(default_factory=dict[str, _Scale])
    items: list[_Item]
    attributes: list[_Attribute]


def load_codebook(name_or_path: str | Path) -> Codebook:
    """Read a codebook: the name of a built-in one (`wvs7`, `gss2018`, `gss2012`) or the path of a YAML file.

    Raises:
        UsageError: neither a built-in name nor a file.
        InputDataError: the file is not YAML, has a key that is not known, or describes an impossible item.
    """
    text = str(name_or_path)
    names = builtin_codebooks()
    if text in names:
        source = resources.files("valuestrata.survey") / "codebooks" / f"{text}.yaml"
        return _parse(source.read_text(encoding="utf-8"), f"{text}.yaml")
    path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(f"There is no codebook {text!r}: it is neither a built-in survey nor a file.{did_you_mean(text, names)}")
    return _parse(path.read_text(encoding="utf-8"), str(path))


def builtin_codebooks() -> list[str]:
    """Return the names of the codebooks that come with valuestrata, sorted."""
    folder = resources.files("valuestrata.survey") / "codebooks"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _parse(text: str, where: str) -> Codebook:
    file = checked(_File, parse_yaml(text, where), where)
    attributes = tuple(_attribute(entry, where) for entry in file.attributes)
    codebook = Codebook(
        survey=file.survey,
        title=file.title,
        version=file.version,
        citation=file.citation,
        place=file.place,
        weight=file.weight,
        respondent_id=file.respondent_id,
        country_code_column=file.country_code_column,
        country_alpha_column=file.country_alpha_column,
        countries=tuple(Country(c.code, c.alpha, c.name, c.phrase or c.name) for c in file.countries),
        missing=tuple(MissingRule(Missing[kind.upper()], tuple(rule.codes), tuple(rule.labels)) for kind, rule in file.missing.items()),
        items=tuple(_item(entry, file.scales, where) for entry in file.items),
        attributes=attributes,
    )
    _refuse_duplicates([item.id for item in codebook.items], "item", where)
    _refuse_duplicates([a.name for a in attributes], "attribute", where)
    return codebook


def _item(entry: _Item, scales: Mapping[str, _Scale], where: str) -> Item:
    scale: _Scale = entry
    if entry.scale is not None:
        if entry.scale not in scales:
            raise InputDataError(f"{where}: item {entry.id}: there is no scale {entry.scale!r}.{did_you_mean(entry.scale, scales)}")
        scale = scales[entry.scale]
    codes, labels = _options(entry if (entry.codes or entry.range) else scale, entry, where)
    level = entry.level if "level" in entry.model_fields_set else scale.level
    if len(codes) < 2:
        raise InputDataError(f"{where}: item {entry.id} has {len(codes)} code; an item needs at least two.")
    if len(codes) == 2 and level == "ordinal":
        level = "binary"
    if level == "binary" and len(codes) != 2:
        raise InputDataError(f"{where}: item {entry.id} is binary but has {len(codes)} codes.")
    if len(codes) > 100:
        raise InputDataError(f"{where}: item {entry.id} has {len(codes)} codes; valuestrata holds at most 100.")
    if len(set(codes)) != len(codes) or len(codes) != len(labels):
        raise InputDataError(f"{where}: item {entry.id}: codes {codes} and labels {labels} must pair one to one, without repeats.")
    recode = {**scale.recode, **entry.recode}
    if strangers := [target for target in recode.values() if target not in codes]:
        raise InputDataError(f"{where}: item {entry.id}: recode leads to {strangers}, not among its codes {codes}.")
    synonyms: dict[int, list[str]] = {}
    for source in (scale.synonyms, entry.synonyms):
        for code, others in source.items():
            synonyms.setdefault(code, []).extend(others)
    return Item(
        id=entry.id,
        topic=entry.topic,
        level=level,
        codes=tuple(codes),
        labels=tuple(labels),
        question=entry.question,
        column=entry.column or entry.id,
        block=entry.block,
        open_question=entry.open_question,
        wording_source=entry.wording_source,
        recode=recode,
        off_scale={**scale.off_scale, **entry.off_scale},
        synonyms={code: tuple(dict.fromkeys(others)) for code, others in synonyms.items()},
        default=entry.default,
    )


def _options(scale: _Scale, entry: _Item, where: str) -> tuple[list[int], list[str]]:
    if scale.range is None:
        return scale.codes, scale.labels
    low, high = scale.range
    ends = entry.ends or scale.ends
    if ends is None or high <= low:
        raise InputDataError(f"{where}: item {entry.id}: a scale with `range` needs low < high and two `ends`.")
    codes = list(range(low, high + 1))
    return codes, [ends[0], *(str(code) for code in codes[1:-1]), ends[1]]


def _attribute(entry: _Attribute, where: str) -> Attribute:
    if not entry.levels:
        raise InputDataError(f"{where}: attribute {entry.name} has no levels.")
    _refuse_duplicates([level.label for level in entry.levels], f"level of {entry.name}", where)
    levels = tuple(
        AttributeLevel(
            label=level.label,
            codes=tuple(level.codes) or (() if level.code is None else (level.code,)),
            low=level.band[0] if level.band else None,
            high=level.band[1] if level.band else None,
            synonyms=tuple(level.synonyms),
            phrase=level.phrase,
            role=level.role,
        )
        for level in entry.levels
    )
    return Attribute(
        name=entry.name,
        short=entry.short or entry.name,
        title=entry.title or entry.name.replace("_", " "),
        column=entry.column,
        levels=levels,
        banded=any(level.band is not None for level in entry.levels),
        fallback=entry.fallback,
        role=entry.role,
        default=entry.default,
    )


def _refuse_duplicates(names: Sequence[str], what: str, where: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputDataError(f"{where}: {what} {repeated[0]!r} appears {names.count(repeated[0])} times; names must be unique.")
