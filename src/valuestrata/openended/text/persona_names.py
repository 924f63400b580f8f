"""Names of a persona's levels: the words by which an answer can name them.

Names come from the data set: the label of a level, without its country and text in brackets, and its phrase, each also in the plural. An
age band is a range of years, which is recognised from numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from valuestrata.openended.text.words import words_of
from valuestrata.prompts.persona import Persona, Trait, Words

_COUNTRY = re.compile(r"^[A-Z]{2,3}: ")
_BRACKETS = re.compile(r"\s*[(\[][^)\]]*[)\]]")
_PARTS = re.compile(r"\s*(?:[;/|]|,? etc\.?)\s*")
# Residual levels and steps of a scale (income: low): these words occur in any text and identify nobody.
_RESIDUAL = "other others another none no yes not any some mixed unknown missing person people"
_STEPS = "low lower lowest middle medium moderate average high higher highest upper small large"
_NOT_NAMES = frozenset(f"{_RESIDUAL} {_STEPS}".split())
_BAND = re.compile(r"(?:aged?\s+)?(?:from\s+)?(\d{1,3})\s*(?:-|–|—|to|and|through)\s*(\d{1,3})(?:\s*years?(?:\s*old)?)?\Z", re.IGNORECASE)
_OPEN = re.compile(r"(?:aged?\s+)?(\d{1,3})\s*(?:\+|(?:years?\s*)?(?:and|or)\s*(?:over|older|more|above|up)).*\Z", re.IGNORECASE)
_UPTO = re.compile(r"(?:aged?\s+)?(?:under|below|up to|younger than|less than)\s*(\d{1,3})\b.*\Z", re.IGNORECASE)
# Upper end of an open age band.
OLDEST = 120
_CLAUSES = "with without of from who whose in not no do does aged less high"
_CLAUSE_WORDS = frozenset(_CLAUSES.split())
_PLURALS = {"man": "men", "woman": "women", "child": "children", "person": "people"}


@dataclass(frozen=True, slots=True)
class Name:
    """Names of one trait.

    Attributes:
        attribute: its attribute. title, label: as in a profile, `Religion: Muslim`.
        words: names in lower case, longest first: `muslim`, `muslims`, `without a religion`.
        years: (youngest, oldest) for an age band, else None.
    """

    attribute: str
    title: str
    label: str
    words: tuple[str, ...]
    years: tuple[int, int] | None = None


def names_of(persona: Persona, words: Words | None = None) -> tuple[Name, ...]:
    """Return the names of a persona's traits, including the template's own wording `words`."""
    return tuple(name_of(trait, words) for trait in persona.traits)


def name_of(trait: Trait, words: Words | None = None) -> Name:
    """Return the names of one trait."""
    title, label = trait.title, _COUNTRY.sub("", trait.label)
    texts = [label, trait.phrase or ""]
    if words is not None:
        label = words.levels.get(trait.attribute, {}).get(trait.label) or label
        texts += [label, words.phrases.get(trait.attribute, {}).get(trait.label, "")]
        title = words.attributes.get(trait.attribute, title)
    years = next((band for text in texts if (band := years_of(text)) is not None), None)
    found: set[str] = set()
    for text in texts if years is None else ():
        for part in _PARTS.split(_BRACKETS.sub("", text)):
            found.update(_named(part))
    return Name(trait.attribute, title, label, tuple(sorted(found, key=lambda name: (-len(name), name))), years)


def years_of(text: str) -> tuple[int, int] | None:
    """Return the age band of a label or phrase (`16-24 years`, `aged 65 or over`, `under 30`), None if it is not an age."""
    text = text.strip()
    if (band := _BAND.match(text)) is not None and int(band[1]) < int(band[2]) <= OLDEST:
        return int(band[1]), int(band[2])
    if (older := _OPEN.match(text)) is not None and int(older[1]) < OLDEST:
        return int(older[1]), OLDEST
    if (younger := _UPTO.match(text)) is not None and 0 < int(younger[1]) < OLDEST:
        return 0, int(younger[1])
    return None


def single_words(names: tuple[Name, ...]) -> frozenset[str]:
    """Return the single words of all names, which are not tested as stereotype markers."""
    texts = [text for name in names for text in name.words]
    return frozenset(word for text in texts for word in [*words_of(text), *re.findall(r"[^\W\d_]+", text)])


def without_names(text: str, names: tuple[Name, ...]) -> str:
    """Return a text without the names of a persona's traits and without numbers."""
    words = [word for name in names for word in name.words]
    plain = text.replace("’", "'")
    if words:
        plain = re.sub(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", " ", plain, flags=re.IGNORECASE)
    return re.sub(r"\d+", " ", plain)


def _named(label: str) -> set[str]:
    written = re.sub(r"\s+", " ", label).strip(" .,;:-")
    text = written.casefold()
    if len(text) < 2 or text in _NOT_NAMES:
        return set()
    found = {text}
    parts = text.split(" ")
    if (
        len(parts) == 2
        and parts[0] not in _NOT_NAMES
        and len(parts[1]) > 3
        and written.split(" ")[1][0].isupper()
        and _is_noun_phrase(text)
    ):
        # A Roman Catholic is also called Catholic, but `full time` is not called time, nor `never married` married.
        found.add(parts[1])
    if _is_noun_phrase(text) and len(parts) <= 3:
        found |= {_plural(name) for name in found}
    return found


def _is_noun_phrase(text: str) -> bool:
    """Return whether a name is a noun or adjectives (`roman catholic`) and not a clause (`with a degree`)."""
    return text.split(" ")[0] not in _CLAUSE_WORDS


def _plural(name: str) -> str:
    head, _, last = name.rpartition(" ")
    if last in _PLURALS:
        made = _PLURALS[last]
    elif last.endswith(("s", "x", "z", "ch", "sh", "ese", "men", "people")):
        made = last
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        made = f"{last[:-1]}ies"
    else:
        made = f"{last}s"
    return f"{head} {made}".strip()
