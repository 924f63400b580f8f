"""Persona templates: the recipe of a prompt, read from YAML.

A template is text with `{placeholders}` out of a fixed list; there is nothing in it to run. Its version carries a hash
of everything a respondent model could see through it, so that an edited template never passes for the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Formatter

from pydantic import ConfigDict, Field

from valuestrata.dataset import Dataset
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.files import canonical_hash
from valuestrata.prompts.persona import Words
from valuestrata.yamlfile import StrictModel, checked, parse_yaml, read_yaml

OF_PERSONA = ("profile", "persona", "persona_in_place", "place", "in_place", "they", "their", "them")
OF_QUESTION = ("question", "options", "first", "last")
PLACEHOLDERS = ("who", *OF_PERSONA, *OF_QUESTION)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text cut at its placeholders: (literal, placeholder or None) pieces."""

    pieces: tuple[tuple[str, str | None], ...]

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with every placeholder replaced, once: braces inside a value stay as they are."""
        return "".join([literal if name is None else literal + values[name] for literal, name in self.pieces])

    def filled_in_part(self, values: Mapping[str, str]) -> Pattern:
        """Return the pattern with the placeholders that `values` has replaced, the others left."""
        pieces: list[tuple[str, str | None]] = []
        before = ""
        for literal, name in self.pieces:
            before += literal
            if name is not None and name in values:
                before += values[name]
            else:
                pieces.append((before, name))
                before = ""
        return Pattern((*pieces, (before, None)))

    @property
    def names(self) -> frozenset[str]:
        """The placeholders used."""
        return frozenset(name for _, name in self.pieces if name is not None)


@dataclass(frozen=True)
class Template:
    """A persona template.

    Attributes:
        name, version, description: as its file says; `version` with a hash of its content behind it.
        who: the sentence about a persona that has traits; `who_all`: about one that has none (everyone, a control).
            Both are reached through `{who}`.
        system: the system message, or None.
        user: the user message.
        prefill: how the assistant's turn starts when option probabilities are read.
        words: the words a persona is said with.
    """

    name: str
    version: str
    description: str
    who: Pattern
    who_all: Pattern
    system: Pattern | None
    user: Pattern
    prefill: str
    words: Words

    def check_translations(self, dataset: Dataset) -> None:
        """Refuse a template that translates some levels of an attribute and not others: the persona would mix languages.

        Raises:
            InputDataError: names the attribute and the level without a translation.
        """
        for attribute in dataset.meta["attributes"]:
            for kind, table in (("levels", self.words.levels), ("phrases", self.words.phrases)):
                given = table.get(attribute["name"])
                if given is None:
                    continue
                # Only levels that subgroups have: a codebook may list the ethnic groups of every country.
                for label in dataset.subgroups[attribute["name"]].drop_nulls().unique(maintain_order=True):
                    if label not in given:
                        raise InputDataError(
                            f"template {self.name}: {kind}.{attribute['name']} has no entry for "
                            f"{label!r}, a level of the data set. It has: {', '.join(given)}."
                        )


class _File(StrictModel):
    # A level may be labelled 1 or 2.5, and a version is 1.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    name: str = Field(min_length=1)
    version: str = "1"
    description: str = ""
    who: str = ""
    who_all: str = ""
    system: str | None = None
    user: str
    prefill: str = "Answer:"
    person: str = "person"
    articles: bool = True
    living_in: str = " living in {place}"
    whose: str = "whose {title} is {label}"
    attributes: dict[str, str] = Field(default_factory=dict[str, str])
    levels: dict[str, dict[str, str]] = Field(default_factory=dict[str, dict[str, str]])
    phrases: dict[str, dict[str, str]] = Field(default_factory=dict[str, dict[str, str]])
    places: dict[str, str] = Field(default_factory=dict[str, str])


def load_template(name_or_path: str | Path) -> Template:
    """Read a template: the name of a built-in one (`default`, `second-person`, `third-person`) or the path of a YAML file.

    Raises:
        UsageError: neither a built-in name nor a file.
        InputDataError: the file is not YAML, or has a key or a placeholder that is not known.
    """
    text = str(name_or_path)
    names = builtin_templates()
    if text in names:
        source = resources.files("valuestrata.prompts") / "templates" / f"{text}.yaml"
        where = f"{text}.yaml"
        return _template(checked(_File, parse_yaml(source.read_text(encoding="utf-8"), where), where), where)
    path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(f"There is no template {text!r}: it is neither a built-in one nor a file.{did_you_mean(text, names)}")
    return _template(checked(_File, read_yaml(path), str(path)), str(path))


def builtin_templates() -> list[str]:
    """Return the names of the templates that come with valuestrata, sorted."""
    folder = resources.files("valuestrata.prompts") / "templates"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _template(file: _File, where: str) -> Template:
    persona_only = ("who", "who_all")
    patterns = {
        key: _pattern(getattr(file, key) or "", f"{where}: {key}", OF_PERSONA if key in persona_only else PLACEHOLDERS)
        for key in ("who", "who_all", "system", "user")
    }
    _pattern(file.living_in, f"{where}: living_in", ("place",))
    _pattern(file.whose, f"{where}: whose", ("title", "label"))
    for name in ("question", "options"):
        if name not in patterns["user"].names:
            raise InputDataError(f"{where}: user: it has no {{{name}}}, so the respondent would not see it.")
    if "who" in patterns["user"].names | patterns["system"].names and not (file.who and file.who_all):
        raise InputDataError(f"{where}: {{who}} is used, so the template needs both `who` and `who_all`.")
    seen = file.model_dump(exclude={"description"})
    return Template(
        name=file.name,
        version=f"{file.version}+{canonical_hash(seen)[:6]}",
        description=file.description,
        who=patterns["who"],
        who_all=patterns["who_all"],
        system=None if file.system is None else patterns["system"],
        user=patterns["user"],
        prefill=file.prefill,
        words=Words(
            person=file.person,
            articles=file.articles,
            living_in=file.living_in,
            whose=file.whose,
            attributes=file.attributes,
            levels=file.levels,
            phrases=file.phrases,
            places=file.places,
        ),
    )


def _pattern(text: str, where: str, known: tuple[str, ...]) -> Pattern:
    pieces: list[tuple[str, str | None]] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(text.rstrip("\n")):
            if name is not None and (spec or conversion or name not in known):
                raise InputDataError(f"{where}: the placeholder {{{name}}} is not known here.{did_you_mean(name, known)}")
            pieces.append((literal, name))
    except ValueError as error:
        raise InputDataError(f"{where}: {error}; write a brace that is not a placeholder twice, as {{{{ or }}}}.") from error
    return Pattern(tuple(pieces))
