"""Words, sentences and readability of a text, in any script.

Sentences and words follow Unicode scripts and lists, which readability libraries written for English prose do not; textstat counts
syllables differently and would change published figures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Scripts without spaces: every character counts as a word.
_DENSE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
# Vowel signs are not letters for `re` and would split words of these scripts.
_MARKS = "\u0300-\u036f\u064b-\u065f\u0900-\u0963\u0970-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
_LETTER = rf"(?:[^\W_{_DENSE}]|[{_MARKS}])"
WORD = re.compile(rf"[{_DENSE}]|{_LETTER}+(?:['’‘-]{_LETTER}+)*")
# Possessive, so a long run of marks is tried only once.
_END = re.compile(r"(?<![.!?…])[.!?…]++(?=[\s\"'”’)\]]|\Z)|[。！？।॥؟]+|\n\s*\n|\n(?=\s*[-*•\d])")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e)\.", re.IGNORECASE)

_STOP = (
    "a about after all also am an and any are as at be because been before being both but by can could did do does doing don't each "
    "even for from had has have having he her here hers him his how i i'd i'll i'm i've if in into is it it's its itself just me more "
    "most much my myself no nor not of off on once only or other our ours out over own s same she should so some such t than that "
    "that's the their theirs them then there these they they're this those through to too under up us very was we we're were what "
    "when where which while who whom why will with would you your yours"
)
STOP_WORDS = frozenset(_STOP.split())
# Words in nearly every English sentence that are rare in other languages, and their minimum share of an English text.
_COMMON = "the of and to that is in it for with as are be this have not they you"
_ENGLISH = frozenset(_COMMON.split())
ENGLISH_SHARE = 0.12
# Readability needs this many words.
MIN_WORDS = 10
_LONG_WORD = 6

_VOWELS = re.compile(r"[aeiouyàâäáåæçéèêëíìîïóòôöøœúùûü]+")
_SILENT = re.compile(r"(?:[^aeiouyl]e|[^aeiouytd]ed|[^aeiouysxzcghl]es)\Z")


@dataclass(frozen=True)
class Readability:
    """Length and readability of one text.

    Attributes:
        words, sentences: their numbers.
        flesch: Flesch reading ease, higher is easier; None unless the text is English with `MIN_WORDS` words.
        lix: LIX, lower is easier; None under `MIN_WORDS` words.
    """

    words: int
    sentences: int
    flesch: float | None = None
    lix: float | None = None


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case with plain apostrophes; numbers are words."""
    return [word.casefold().replace("’", "'").replace("‘", "'") for word in WORD.findall(text)]


def sentences_of(text: str) -> list[str]:
    """Return the sentences with at least one word, split at end marks, between paragraphs and before list items."""
    shielded = _ABBREVIATION.sub(lambda match: match[0].replace(".", "\u2024"), text)
    found: list[str] = []
    start = 0
    for end in [*(match.end() for match in _END.finditer(shielded)), len(shielded)]:
        piece = shielded[start:end].replace("\u2024", ".").strip()
        if WORD.search(piece):
            found.append(piece)
        start = end
    return found


def syllables(word: str) -> int:
    """Count the syllables of an English word by rule: runs of vowels (including y) minus a silent ending, at least one.

    Silent endings: `e` after a consonant other than `l` (`make`, not `table`), `-ed` except after `t` or `d` (`asked`, not `wanted`),
    and `-es` except after `l` or a sibilant (`makes`, not `wishes`). Some common words are miscounted, for example `idea`.
    """
    small = word.casefold()
    return max(1, len(_VOWELS.findall(small)) - bool(_SILENT.search(small)))


def is_english(words: list[str]) -> bool:
    """Return whether about one word in eight or more is among the most common English words."""
    return bool(words) and sum(word in _ENGLISH for word in words) >= ENGLISH_SHARE * len(words)


def readability(text: str) -> Readability:
    """Return length and readability of a text.

    Flesch reading ease = 206.835 - 1.015 words/sentences - 84.6 syllables/words (Flesch 1948, Journal of Applied Psychology 32:221-233).
    LIX = words/sentences + 100 long/words, with long words of more than six letters (Björnsson 1968, Läsbarhet). Both are meant for long
    texts; for single answers they are rough.
    """
    words, sentences = words_of(text), len(sentences_of(text))
    if len(words) < MIN_WORDS:
        return Readability(len(words), sentences)
    length = len(words) / sentences
    lix = length + 100.0 * sum(len(word) > _LONG_WORD for word in words) / len(words)
    flesch = 206.835 - 1.015 * length - 84.6 * sum(map(syllables, words)) / len(words) if is_english(words) else None
    return Readability(len(words), sentences, flesch, lix)
