"""Codebooks: items, attributes, missing codes, weight and countries of a survey, read from YAML.

Other modules use option indices: the position 0..K-1 of an answer on the item's scale. The reader converts the codes
of a file to them with `Item.index_of_raw`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from importlib import resources
from pathlib import Path

from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.survey.codebook_schema import (
    MOST_CODES,
    AttributeEntry,
    CodebookFile,
    DesignEntry,
    ItemEntry,
    MeasurementLevel,
    PhraseRole,
    ScaleEntry,
)
from valuestrata.yaml_files import Yaml, parse_yaml, read_yaml


class Missing(IntEnum):
    """Classes of missing answers. `Survey.answers` holds these values instead of an option index."""

    DONT_KNOW = -1
    NO_ANSWER = -2
    NOT_APPLICABLE = -3
    NOT_ASKED = -4
    OTHER_MISSING = -5

    @property
    def key(self) -> str:
        """Name of the class in files: `dont_know`, `no_answer`, ..."""
        return self.name.lower()


@dataclass(frozen=True)
class Item:
    """A question and its answer scale.

    Attributes:
        id: name of the item, and by default of its column.
        topic: topic over which results are averaged. block: battery of the questionnaire, or None.
        level: `ordinal`, `nominal` or `binary` (exactly two codes).
        codes: scale codes in scale order. labels: their labels, same length and order.
        question: wording of the question.
        open_question: wording without options, for open answers; or None.
        wording_source: `valuestrata`, `drafted` or the name of a wording file.
        recode: code in the file -> scale code, where they differ.
        off_scale: code in the file -> label, for answers outside the scale (`Other answer`).
        missing: code in the file -> class of missing, in addition to the codes of the whole codebook.
        synonyms: scale code -> other labels used in files.
        default: whether the item is used when no items are named.
    """

    id: str
    topic: str
    level: MeasurementLevel
    codes: tuple[int, ...]
    labels: tuple[str, ...]
    question: str
    column: str
    block: str | None = None
    open_question: str | None = None
    wording_source: str = "valuestrata"
    recode: Mapping[int, int] = field(default_factory=dict[int, int])
    off_scale: Mapping[int, str] = field(default_factory=dict[int, str])
    missing: Mapping[int, Missing] = field(default_factory=dict[int, Missing])
    synonyms: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    default: bool = True

    @property
    def is_numeric_scale(self) -> bool:
        """Whether only the ends are labelled and the points between are numbers."""
        inner = zip(self.codes[1:-1], self.labels[1:-1], strict=True)
        return len(self.codes) > 3 and all(label == str(code) for code, label in inner)

    def index_of_raw(self) -> dict[int, int]:
        """Return code in the file -> option index, for every code on the scale."""
        position = {code: index for index, code in enumerate(self.codes)}
        mapping = {code: index for code, index in position.items() if code not in self.off_scale}
        mapping.update({raw: position[code] for raw, code in self.recode.items()})
        return mapping


@dataclass(frozen=True)
class AttributeLevel:
    """A level of an attribute: label, codes in the file or band [low, high], and the phrase used in personas."""

    label: str
    codes: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    synonyms: tuple[str, ...] = ()
    phrase: str | None = None
    role: PhraseRole | None = None

    @property
    def has_band(self) -> bool:
        """Whether the level is a band of a number."""
        return self.low is not None or self.high is not None


@dataclass(frozen=True)
class Attribute:
    """A demographic variable with levels.

    Attributes:
        short: name in the names of pair strata (`sex_x_age`).
        column: the column read. fallback: categorical column used if `column` is absent or empty.
        banded: whether levels are bands [low, high] of a number.
        missing: codes of missing answers in the column; None for those of the whole codebook, unless a band holds them.
        role: how a persona uses the phrases of the levels.
    """

    name: str
    short: str
    title: str
    column: str
    levels: tuple[AttributeLevel, ...]
    banded: bool = False
    missing: tuple[int, ...] | None = None
    fallback: str | None = None
    role: PhraseRole = "clause"
    default: bool = True


@dataclass(frozen=True)
class MissingRule:
    """Codes and labels of one class of missing answer."""

    kind: Missing
    codes: tuple[int, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Country:
    """A country: numeric code, alpha-3 code, name, and the phrase used after "in" in personas."""

    code: int
    alpha: str
    name: str
    phrase: str


@dataclass(frozen=True)
class Codebook:
    """The codebook of one survey."""

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
    design: DesignEntry = field(default_factory=DesignEntry)

    def item(self, item_id: str) -> Item:
        """Return an item by id; UsageError if there is none."""
        for item in self.items:
            if item.id == item_id:
                return item
        raise UsageError(f"The {self.survey} codebook has no item {item_id!r}.{did_you_mean(item_id, (i.id for i in self.items))}")

    def attribute(self, name: str) -> Attribute:
        """Return an attribute by name or short name; UsageError if there is none."""
        for attribute in self.attributes:
            if name in (attribute.name, attribute.short):
                return attribute
        names = (a.name for a in self.attributes)
        raise UsageError(f"The {self.survey} codebook has no attribute {name!r}.{did_you_mean(name, names)}")

    @property
    def default_items(self) -> tuple[Item, ...]:
        """The items used when none are named."""
        return tuple(item for item in self.items if item.default)

    @property
    def default_attributes(self) -> tuple[Attribute, ...]:
        """The attributes used when none are named, in the codebook's order."""
        return tuple(attribute for attribute in self.attributes if attribute.default)

    @property
    def other_columns(self) -> list[str]:
        """The columns of the weight, the survey's design, the respondent id, the country and the attributes."""
        columns = [self.weight, self.respondent_id, self.country_code_column, self.country_alpha_column]
        columns += [*self.design.columns, *(c for attribute in self.attributes for c in (attribute.column, attribute.fallback))]
        return [column for column in columns if column]


def load_codebook(name_or_path: str | Path) -> Codebook:
    """Read a codebook by built-in name (`wvs7`, `gss2018`, `gss2012`) or path of a YAML file.

    Args:
        name_or_path: name of a built-in codebook, or path of a YAML file.

    Raises:
        UsageError: neither a built-in name nor a file.
        InputDataError: the file is not YAML, has an unknown key, or defines an invalid item or attribute.
    """
    text = str(name_or_path)
    names = builtin_codebooks()
    if text in names:
        return _builtin_codebook(text)
    path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(f"There is no codebook {text!r}: it is neither a built-in survey nor a file.{did_you_mean(text, names)}")
    return _parse(read_yaml(path))


@cache
def _builtin_codebook(name: str) -> Codebook:
    source = resources.files("valuestrata.survey") / "codebooks" / f"{name}.yaml"
    return _parse(parse_yaml(source.read_text(encoding="utf-8"), f"{name}.yaml"))


def builtin_codebooks() -> list[str]:
    """Return the sorted names of the built-in codebooks."""
    folder = resources.files("valuestrata.survey") / "codebooks"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _parse(source: Yaml) -> Codebook:
    file = source.checked(CodebookFile)
    return Codebook(
        survey=file.survey,
        title=file.title,
        version=file.version,
        citation=file.citation,
        place=file.place,
        weight=file.weight or file.design.weight,
        design=file.design,
        respondent_id=file.respondent_id,
        country_code_column=file.country_code_column,
        country_alpha_column=file.country_alpha_column,
        countries=tuple(Country(c.code, c.alpha, c.name, c.phrase or c.name) for c in file.countries),
        missing=tuple(MissingRule(Missing[kind.upper()], tuple(rule.codes), tuple(rule.labels)) for kind, rule in file.missing.items()),
        items=tuple(_item(entry, file.scales, source.place("items", at)) for at, entry in enumerate(file.items)),
        attributes=tuple(_attribute(entry) for entry in file.attributes),
    )


def _item(entry: ItemEntry, scales: Mapping[str, ScaleEntry], where: str) -> Item:
    """Return an item; `where` is its place in the file, for messages."""
    scale: ScaleEntry = entry
    if entry.scale is not None:
        if entry.scale not in scales:
            raise InputDataError(f"{where}: item {entry.id}: the scale {entry.scale!r} is not defined.{did_you_mean(entry.scale, scales)}")
        scale = scales[entry.scale]
    codes, labels = _options(entry if entry.own_scale else scale, entry, where)
    level = entry.level if "level" in entry.model_fields_set else scale.level
    if not codes:
        keys = "`codes` and `labels`, `range` and `ends`, or `scale`"
        raise InputDataError(f"{where}: item {entry.id} has no answers. Add {keys}.")
    if len(codes) < 2:
        raise InputDataError(f"{where}: item {entry.id} has one code under `codes`; at least two are needed.")
    if len(codes) == 2 and level == "ordinal":
        level = "binary"
    if level == "binary" and len(codes) != 2:
        raise InputDataError(f"{where}: item {entry.id} is binary but has {len(codes)} codes.")
    if len(codes) > MOST_CODES:
        raise InputDataError(f"{where}: item {entry.id} has {len(codes)} codes; at most {MOST_CODES} are supported.")
    recode = {**scale.recode, **entry.recode}
    if unknown := [target for target in recode.values() if target not in codes]:
        raise InputDataError(f"{where}: item {entry.id}: recode has the targets {unknown}, which are not among the codes {codes}.")
    missing = {code: Missing[kind.upper()] for source in (scale, entry) for kind, found in source.missing.items() for code in found}
    if both := [code for code in missing if code in codes or code in recode]:
        raise InputDataError(f"{where}: item {entry.id}: the codes {both} are both answers and under `missing`; remove them from one.")
    synonyms: dict[int, list[str]] = {}
    for source in (scale.synonyms, entry.synonyms):
        for code, labels_of_code in source.items():
            synonyms.setdefault(code, []).extend(labels_of_code)
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
        missing=missing,
        synonyms={code: tuple(dict.fromkeys(found)) for code, found in synonyms.items()},
        default=entry.default,
    )


def _options(scale: ScaleEntry, entry: ItemEntry, where: str) -> tuple[list[int], list[str]]:
    if scale.range is None:
        return scale.codes, scale.labels
    ends = entry.ends or scale.ends
    if ends is None:
        raise InputDataError(f"{where}: item {entry.id}: a scale with `range` needs two `ends`, the labels of its first and last code.")
    codes = list(scale.all_codes)
    return codes, [ends[0], *(str(code) for code in codes[1:-1]), ends[1]]


def _attribute(entry: AttributeEntry) -> Attribute:
    levels = tuple(
        AttributeLevel(
            label=level.label,
            codes=level.all_codes,
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
        missing=None if entry.missing is None else tuple(entry.missing),
        fallback=entry.fallback,
        role=entry.role,
        default=entry.default,
    )
