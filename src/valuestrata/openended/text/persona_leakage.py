"""Detection by rule of answers that restate the description of their persona.

Three kinds are searched, in this order, with the names of the persona's levels (`persona_names`):

- `profile`: the form of the description: `Sex: Female`, `my profile`, `this persona`.
- `self`: the speaker names a level in the first person (`as a`, `I am`, `being a`, `we`, `like me`): `As a devout Catholic, I`,
  `I'm 40 years old`, `we Muslims`. Between the phrase and the level may be an article, adverbs and, after an article, up to three more
  words; a comma, a preposition, a relative pronoun or a noun of another phrase (`as a result`) ends it. `As a` counts only in a
  sentence that also contains I, we, my, ...
- `description`: two levels of different attributes next to each other, whoever speaks: `a Malay Muslim woman`.

Ages are recognised from numbers: years within the persona's band, about the speaker. `My faith`, `the church teaches` and
`Catholics believe` restate nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from valuestrata.openended.text.persona_names import OLDEST, Name
from valuestrata.openended.text.words import sentences_of

Kind = Literal["profile", "self", "description"]
KINDS: tuple[Kind, ...] = ("profile", "self", "description")


@dataclass(frozen=True, slots=True)
class Leak:
    """A restatement of the persona.

    Attributes:
        kind: one of `KINDS`. attributes: attributes named there, in the persona's order. text: the words of the answer.
    """

    kind: Kind
    attributes: tuple[str, ...]
    text: str


_FIRST_PERSON = re.compile(r"\b(?:i|i'[a-z]+|me|my|mine|myself|we|we'[a-z]+|us|our|ours|ourselves)\b", re.IGNORECASE)
_META = re.compile(
    r"\b(?:my|this|your|given|assigned|described|provided) (?:profile|persona)\b|\bthe persona\b|"
    r"\bthe (?:profile|description) (?:above|given|provided|says|you gave)\b",
    re.IGNORECASE,
)
_ADVERB = (
    r"(?:also|just|only|now|still|currently|already|both|proudly|very|quite|really|about|over|around|nearly|almost|roughly|myself|"
    r"personally|simply)"
)
# Words after which the phrase no longer refers to the speaker.
_ENDS = (
    r"(?:of|in|on|at|to|for|from|with|without|by|about|against|than|that|who|whose|which|where|when|because|and|or|but|if|as|not|no|"
    r"is|are|was|were|my|our|their|his|her|your|these|those|result|consequence|rule|whole|matter|society|country|community|nation|"
    r"group|family|way|sign|form|kind|part|place|means|symbol|mother of|father of|friend|fan|supporter|teacher of)"
)
_BETWEEN = rf"(?:(?!{_ENDS}\b)[^\W\d_][\w'-]* ){{0,3}}"
_SOMEONE = r"(?:an?|someone|somebody|(?:someone|somebody|an? (?:person|individual)) who is(?: an?)?)"
_AS = rf"(?<!such )(?<!well )(?<!same )(?<!just )as (?:{_ADVERB} )?{_SOMEONE} {_BETWEEN}"
_AM = rf"i(?:'m| am| was born| happen to be| identify as) (?:{_ADVERB} )*(?:(?:an?|the|one of the|part of the) {_BETWEEN})?"
_BEING = rf"(?<!human )(?<!well-)being (?:{_ADVERB} )*(?:an? {_BETWEEN})?"
_WE = rf"(?:we|us|among us|we are|we're|we as|us as) (?:{_ADVERB} )*"
_OF_SELF = r"(?:speaking as|i,) (?:an? )?"
_OLD = r"(?:[ -]years?[ -](?:old|of age)|[ -]year[ -]old|yo\b|[ -]y/o)"
_TENS = {"twenties": 20, "thirties": 30, "forties": 40, "fifties": 50, "sixties": 60, "seventies": 70, "eighties": 80, "teens": 13}
_DECADE = re.compile(rf"\bin (?:my|our) (early |mid-?\s?|middle |late )?(?:({'|'.join(_TENS)})|([2-8]0)'?s)\b", re.IGNORECASE)
_AGES = (
    re.compile(rf"\bas (?:an?|someone|somebody) {_BETWEEN}(\d{{1,3}}){_OLD}", re.IGNORECASE),
    re.compile(
        rf"\bas (?:an?|someone|somebody) {_BETWEEN}(?:of|aged?|at the age of|,? ?aged) (\d{{1,3}})\b(?![-–]|\s+to\b)", re.IGNORECASE
    ),
    re.compile(
        rf"\bi(?:'m| am| turned) (?:{_ADVERB} )*(?:an? (?:[^\W\d_][\w'-]* ){{0,2}})?(?:aged? )?(\d{{1,3}})"
        rf"(?:{_OLD}|(?=\s*(?:[.,;!]|and\b|now\b|\Z)))",
        re.IGNORECASE,
    ),
    re.compile(r"\bat (?:my age(?: of|,)|the age of|age) (\d{1,3})\b(?=[^.;!?]*\b(?:i|my|me)\b)", re.IGNORECASE),
)
_BANDS = re.compile(
    r"\b(?:i(?:'m| am)|as (?:an?|someone|somebody)|being)\b[^.;!?]{0,60}?\b(\d{1,3}) ?(?:-|–|to|and) ?(\d{1,3})\b", re.IGNORECASE
)
_OPEN_BAND = re.compile(
    r"\b(?:i(?:'m| am)|as (?:an?|someone|somebody)|being|we)\b[^.,;!?]{0,40}?\b"
    r"(?:(?:over|above|past) (?P<over>\d{1,3})\b|(?P<from>\d{1,3})(?: years)?(?:\+| (?:and|or) (?:over|older|more|above)))",
    re.IGNORECASE,
)


def leak_of(text: str, names: tuple[Name, ...], place: str | None = None) -> Leak | None:
    """Return the first restatement of the persona in an answer, or None.

    Args:
        text: the answer. names: names of the persona's traits.
        place: where the persona lives; counts in the first person only (`I live in Singapore`).
    """
    if not names and place is None:
        return None
    plain = re.sub(r"[ \t\u00a0]+", " ", text.replace("*", "").replace("_", " ")).replace("’", "'")
    if (found := _profile(plain, names)) is not None:
        return found
    sentences = sentences_of(plain)
    for sentence in sentences:
        if (found := _self(sentence, names, place)) is not None:
            return found
    for sentence in sentences:
        if (found := _description(sentence, names)) is not None:
            return found
    return None


def _profile(text: str, names: tuple[Name, ...]) -> Leak | None:
    for name in names:
        line = re.search(
            rf"(?:^|[-•,;(] ?)({re.escape(name.title)} ?[:=] ?{re.escape(name.label)})(?!\w)", text, re.IGNORECASE | re.MULTILINE
        )
        if line is not None:
            return Leak("profile", (name.attribute,), line[1])
    meta = _META.search(text) if names else None
    return None if meta is None else Leak("profile", (), meta[0])


def _self(sentence: str, names: tuple[Name, ...], place: str | None) -> Leak | None:
    for name in names:
        found = _age(sentence, name.years) if name.years is not None else _named_self(sentence, name)
        if found is not None:
            return Leak("self", _attributes_in(found, name, names), found)
    if place and (lives := _lives_in(place).search(sentence)) is not None:
        return Leak("self", ("place",), lives[0])
    return None


def _named_self(sentence: str, name: Name) -> str | None:
    for pattern, needs_first_person in _frames(name.words):
        for found in pattern.finditer(sentence):
            if not needs_first_person or _FIRST_PERSON.search(sentence[: found.start()] + sentence[found.end() :]):
                return found[0]
    return None


def _attributes_in(found: str, named: Name, names: tuple[Name, ...]) -> tuple[str, ...]:
    """Return the attributes named in the words found, in the persona's order."""
    return tuple(
        name.attribute
        for name in names
        if name is named or (name.words and re.search(_either(name.words), found, re.IGNORECASE) is not None)
    )


@lru_cache(maxsize=4096)
def _frames(words: tuple[str, ...]) -> tuple[tuple[re.Pattern[str], bool], ...]:
    """Return the patterns that name a speaker by `words`, and whether each needs another first-person word in the sentence."""
    if not words:
        return ()
    level = _either(words)
    framed = [
        (rf"\b{_AS}{level}", True),
        (rf"\bas {level}(?=,? (?:we|i)\b|, (?:our|my)\b)", False),
        (rf"\bfrom (?:an?|the) {_BETWEEN}{level}'s (?:perspective|point of view|viewpoint|eyes)\b", True),
        (rf"\b(?:{_AM}|{_OF_SELF}){level}", False),
        (rf"\b{_BEING}{level}", True),
        (rf"\b{_WE}{level}", False),
        (rf"{level} (?:people |folks? )?(?:like|such as) (?:me|myself|us|ourselves)\b", False),
        (rf"\bmy (?:identity|background|perspective|position|life|experience|role) as (?:an? )?{_BETWEEN}{level}", False),
    ]
    for clause in words:
        what = clause.partition(" ")[2]
        if clause.startswith("with ") and what:
            bare = re.escape(re.sub(r"^an? ", "", what))
            framed.append((rf"\bi(?:'ve| have)(?: got| earned| completed)? {re.escape(what)}(?!\w)", False))
            framed.append((rf"\bwith (?:my {bare}|{re.escape(what)}(?=, (?:i|we)\b))(?!\w)", True))
        elif clause.startswith("without ") and what:
            bare = re.sub(r"^(?:an?|any) ", "", what)
            framed.append((rf"\bi (?:have no|don't have(?: an?| any)?|do not have(?: an?| any)?|lack an?) {re.escape(bare)}(?!\w)", False))
        elif clause.startswith(("of ", "from ", "who ", "in ")):
            framed.append((rf"\b(?:i(?:'m| am)|as someone|as a person) {re.escape(clause)}(?!\w)", False))
            if clause.startswith("who ") and (pattern := _in_first_person(what)):
                framed.append((pattern, False))
    return tuple((re.compile(pattern, re.IGNORECASE), person) for pattern, person in framed)


def _in_first_person(clause: str) -> str:
    """Return the pattern of a clause (`lives in a town`, `is retired`, `does not belong ...`) in the first person; "" without a verb."""
    verb, _, rest = clause.partition(" ")
    if not rest or not verb.endswith("s"):
        return ""
    first = {"is": "(?:'m| am)", "has": "(?:'ve| have)"}.get(verb)
    if verb == "does" and rest.startswith("not "):
        return rf"\bi (?:do not|don't) {re.escape(rest.removeprefix('not '))}(?!\w)"
    return rf"\bi{first or ' ' + re.escape(verb.removesuffix('s'))} {re.escape(rest)}(?!\w)"


def _either(words: tuple[str, ...]) -> str:
    return rf"(?<![\w-])(?:{'|'.join(map(re.escape, words))})(?![\w])"


@lru_cache(maxsize=64)
def _lives_in(place: str) -> re.Pattern[str]:
    settled = r"(?:as (?:an?|someone|somebody)|i(?:'m| am))\b[^.,;!?]{0,60}? (?:living|who lives|residing|resident)"
    return re.compile(rf"\b(?:(?:i|we) (?:live|reside)|{settled}) in (?:the )?{re.escape(place)}(?!\w)", re.IGNORECASE)


def _age(sentence: str, years: tuple[int, int]) -> str | None:
    youngest, oldest = years
    for pattern in _AGES:
        for found in pattern.finditer(sentence):
            if youngest <= int(found[1]) <= oldest and _FIRST_PERSON.search(sentence):
                return found[0]
    for found in _DECADE.finditer(sentence):
        start = _TENS[found[2].casefold()] if found[2] else int(found[3])
        low, high = _part_of_decade(start, (found[1] or "").strip(" -").casefold())
        if low <= oldest and youngest <= high:
            return found[0]
    for found in _BANDS.finditer(sentence):
        if (int(found[1]), int(found[2])) == years:
            return found[0]
    for found in _OPEN_BAND.finditer(sentence):
        # `Over 65` and `65 or over` count as the same band.
        if int(found["over"] or found["from"]) == youngest and oldest >= OLDEST and _FIRST_PERSON.search(sentence):
            return found[0]
    return None


def _part_of_decade(start: int, part: str) -> tuple[int, int]:
    if start < 20:
        return start, 19
    return {"early": (start, start + 3), "late": (start + 7, start + 9)}.get(part, (start + 4, start + 6) if part else (start, start + 9))


def _description(sentence: str, names: tuple[Name, ...]) -> Leak | None:
    """Return two levels of different attributes that are separated by a space, a comma or `and` only."""
    places: list[tuple[int, int, str]] = []
    for name in names:
        pattern = _either(name.words) if name.words else None
        if name.years is not None:
            low, high = name.years
            rest = rf" ?(?:-|–|to) ?{high}\b" if high < OLDEST else r"(?:\+| (?:and|or) (?:over|older))"
            pattern = rf"(?:aged? )?\b{low}{rest}"
        if pattern is not None:
            places += [(found.start(), found.end(), name.attribute) for found in re.finditer(pattern, sentence, re.IGNORECASE)]
    places.sort()
    for (start, end, attribute), (begin, close, other) in pairwise(places):
        if (
            attribute != other
            and begin >= end
            and re.fullmatch(r"[ ,-]{1,2}(?:(?:and|in the) )?(?:person |people |who is |aged? )?", sentence[end:begin])
        ):
            order = [name.attribute for name in names]
            return Leak("description", tuple(sorted((attribute, other), key=order.index)), sentence[start:close])
    return None
