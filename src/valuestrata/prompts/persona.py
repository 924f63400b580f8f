"""Personas: a subgroup as profile lines, as a noun phrase and as pronouns.

The data set gives a title and a role for each attribute, and a label and optionally a phrase for each level. The role gives
the position of the phrase: adjectives before the noun, clauses after it (`a` + `Malay` + `Muslim` + `woman` + `aged 35 to
44`). A level without a phrase becomes `whose {title} is {label}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError

Role = Literal["noun", "adjective", "clause"]

# Country-specific levels start with the country (`SG: Chinese`); the persona text drops it.
_COUNTRY_PREFIX = re.compile(r"^[A-Z]{2,3}: ")
_CONSONANT_SOUND = re.compile(r"(?:uni(?!n)|eu|ewe|one\b|once|us[aeiu]|uk|ut[eio]|ubi|uga|uru|uig|uyg)", re.IGNORECASE)
_VOWEL_SOUND = re.compile(r"(?:[aeiou]|hour|honest|honou?r|heir|(?:8\d*|11|18)(?!\d))", re.IGNORECASE)
_SPELT_WITH_VOWEL = "AEFHILMNORSX"


class Pronouns(NamedTuple):
    """Subject, possessive and object form."""

    they: str
    their: str
    them: str


_NEUTRAL = Pronouns("they", "their", "them")
_PRONOUNS: Mapping[str, Pronouns] = {
    "woman": Pronouns("she", "her", "her"),
    "female": Pronouns("she", "her", "her"),
    "man": Pronouns("he", "his", "him"),
    "male": Pronouns("he", "his", "him"),
}


@dataclass(frozen=True, slots=True)
class Trait:
    """One attribute of a persona: `age_group`, title `Age`, label `35-44 years`, phrase `aged 35 to 44`."""

    attribute: str
    title: str
    label: str
    phrase: str | None = None
    role: Role = "clause"


@dataclass(frozen=True, slots=True)
class Persona:
    """The traits of a subgroup in attribute order, and its place. The nation has no traits."""

    traits: tuple[Trait, ...] = ()
    place: str | None = None


@dataclass(frozen=True)
class Words:
    """Words for personas; a template can translate them.

    Attributes:
        person: the noun if no attribute gives one.
        articles: whether the noun phrase starts with `a` or `an`.
        living_in: text for the place, with the placeholder `{place}` and, if needed, a leading space.
        whose: text for a level without a phrase, with the placeholders `{title}` and `{label}`.
        attributes, levels, phrases, places: translations, by attribute name, attribute and label, place.
    """

    person: str = "person"
    articles: bool = True
    living_in: str = " living in {place}"
    whose: str = "whose {title} is {label}"
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    levels: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    phrases: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    places: Mapping[str, str] = field(default_factory=dict[str, str])


def personas_of(dataset: Dataset) -> dict[str, Persona]:
    """Return subgroup id -> persona, for every subgroup of the data set (`all` has no traits).

    Raises:
        InputDataError: a level of a subgroup is missing in `dataset.json`.
    """
    place: str | None = dataset.meta.get("place")
    attributes: list[Mapping[str, Any]] = list(dataset.meta["attributes"])
    traits = {attribute["name"]: {level["label"]: _trait(attribute, level) for level in attribute["levels"]} for attribute in attributes}
    personas: dict[str, Persona] = {}
    for row in dataset.subgroups.iter_rows(named=True):
        found: list[Trait] = []
        for name, levels in traits.items():
            label = row.get(name)
            if label is None:
                continue
            if label not in levels:
                raise InputDataError(
                    f"{dataset.path or 'the data set'}: subgroup {row['subgroup']!r} has {name} {label!r}, "
                    "a level that is missing in dataset.json; build the data set again."
                )
            found.append(levels[label])
        personas[row["subgroup"]] = Persona(tuple(found), place)
    return personas


def _trait(attribute: Mapping[str, Any], level: Mapping[str, Any]) -> Trait:
    role: Role = level.get("role") or attribute.get("role") or "clause"
    title = attribute.get("title") or str(attribute["name"]).replace("_", " ")
    return Trait(attribute["name"], title, level["label"], level.get("phrase"), role)


def profile(persona: Persona, words: Words) -> str:
    """Return one line per trait, such as `- Sex: Female`."""
    return "\n".join(f"- {_title(trait, words)}: {_label(trait, words)}" for trait in persona.traits)


def noun_phrase(persona: Persona, words: Words, *, with_place: bool = False) -> str:
    """Return the persona as a noun phrase: `a Malay Muslim woman aged 35 to 44`, optionally with ` living in Singapore`."""
    adjectives: list[str] = []
    nouns: list[str] = []
    clauses: list[str] = []
    described: list[str] = []
    for trait in persona.traits:
        phrase = words.phrases.get(trait.attribute, {}).get(trait.label, trait.phrase)
        if not phrase:
            title = _title(trait, words)
            described.append(words.whose.replace("{title}", title[:1].lower() + title[1:]).replace("{label}", _label(trait, words)))
        elif trait.role == "adjective":
            adjectives.append(phrase)
        elif trait.role == "noun" and not nouns:
            nouns.append(phrase)
        elif trait.role == "noun":
            clauses.append(f"who is {_article(phrase)} {phrase}" if words.articles else phrase)
        else:
            clauses.append(phrase)
    head = " ".join([*adjectives, *(nouns or [words.person])])
    if words.articles:
        head = f"{_article(head)} {head}"
    text = " ".join([head, *clauses])
    if with_place:
        text += in_place(persona, words)
    # After the place, which would otherwise read as part of the last label.
    return " ".join([text, " and ".join(described)]) if described else text


def place(persona: Persona, words: Words) -> str:
    """Return the place, translated if the template does so; empty if unknown."""
    return "" if persona.place is None else words.places.get(persona.place, persona.place)


def in_place(persona: Persona, words: Words) -> str:
    """Return ` living in Singapore`; empty if the place is unknown."""
    return "" if persona.place is None else words.living_in.replace("{place}", place(persona, words))


def pronouns(persona: Persona) -> Pronouns:
    """Return the pronouns for the persona's sex; `they` if it is unknown or another."""
    for trait in persona.traits:
        if trait.role == "noun" or trait.attribute == "sex":
            for word in (trait.phrase, trait.label):
                if word is not None and word.lower() in _PRONOUNS:
                    return _PRONOUNS[word.lower()]
    return _NEUTRAL


def _title(trait: Trait, words: Words) -> str:
    return words.attributes.get(trait.attribute, trait.title)


def _label(trait: Trait, words: Words) -> str:
    return words.levels.get(trait.attribute, {}).get(trait.label) or _COUNTRY_PREFIX.sub("", trait.label)


def _article(phrase: str) -> str:
    first = phrase.split(maxsplit=1)[0]
    if len(first) <= 4 and first.isalpha() and first.isupper():  # pronounced letter by letter: an LGBT person, a US citizen
        return "an" if first[0] in _SPELT_WITH_VOWEL else "a"
    return "an" if _VOWEL_SOUND.match(phrase) and not _CONSONANT_SOUND.match(phrase) else "a"
