"""Words and sentences of a text, in any script, and how hard they are to read."""

from __future__ import annotations

import re
from typing import NamedTuple

# Scripts written without spaces: every character counts as a word, for want of a dictionary.
_DENSE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
# Vowel signs are no letters to the `re` module and would cut words of these scripts in two.
_MARKS = "\u0300-\u036f\u064b-\u065f\u0900-\u0963\u0970-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
_LETTER = rf"(?:[^\W_{_DENSE}]|[{_MARKS}])"
WORD = re.compile(rf"[{_DENSE}]|{_LETTER}+(?:['’‘-]{_LETTER}+)*")
# A run of marks is tried once, at its beginning: a model that writes nothing but dots must not take minutes.
_END = re.compile(r"(?<![.!?…])[.!?…]++(?=[\s\"'”’)\]]|\Z)|[。！？।॥؟]+|\n\s*\n|\n(?=\s*[-*•\d])")
_ABBREVIATED = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e)\.", re.IGNORECASE)

_STOP = (
    "a about after all also am an and any are as at be because been before being both but by can could did do does doing don't each "
    "even for from had has have having he her here hers him his how i i'd i'll i'm i've if in into is it it's its itself just me more "
    "most much my myself no nor not of off on once only or other our ours out over own s same she should so some such t than that "
    "that's the their theirs them then there these they they're this those through to too under up us very was we we're were what "
    "when where which while who whom why will with would you your yours"
)
STOP_WORDS = frozenset(_STOP.split())
# Words that stand in nearly every English sentence and in no other language.
_COMMONEST = "the of and to that is in it for with as are be this have not they you"
_ENGLISH = frozenset(_COMMONEST.split())
# One word in so many is one of those: English prose has more than one in five, other languages next to none.
ENGLISH_SHARE = 0.12
# Fewer words than this have no reading ease worth the name.
ENOUGH_WORDS = 10
_LONG = 6

_VOWELS = re.compile(r"[aeiouyàâäáåæçéèêëíìîïóòôöøœúùûü]+")
_SILENT = re.compile(r"(?:[^aeiouyl]e|[^aeiouytd]ed|[^aeiouysxzcghl]es)\Z")


class Reading(NamedTuple):
    """Length and readability of one text.

    Attributes:
        words, sentences: how many.
        flesch: Flesch reading ease, higher is easier; None unless the text reads as English and has `ENOUGH_WORDS`.
        lix: LIX, lower is easier; None under `ENOUGH_WORDS`.
    """

    words: int
    sentences: int
    flesch: float | None
    lix: float | None


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters, apostrophes plain; figures are words too."""
    return [word.casefold().replace("’", "'").replace("‘", "'") for word in WORD.findall(text)]


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text that hold a word: cut at end marks, between paragraphs and before the lines of a list."""
    shielded = _ABBREVIATED.sub(lambda match: match[0].replace(".", "\u2024"), text)
    found: list[str] = []
    start = 0
    for end in [*(match.end() for match in _END.finditer(shielded)), len(shielded)]:
        piece = shielded[start:end].replace("\u2024", ".").strip()
        if WORD.search(piece):
            found.append(piece)
        start = end
    return found


def syllables(word: str) -> int:
    """Count the syllables of an English word by rule: runs of vowels (y is one), less a silent ending, and one at least.

    Silent are a last `e` behind a consonant but `l` (`make`, not `table`), `-ed` but behind `t` or `d` (`asked`, not `wanted`),
    and `-es` but behind `l` or a hissing sound (`makes`, not `wishes`). The rule misses some common words, `idea` among them.
    """
    small = word.casefold()
    runs = len(_VOWELS.findall(small))
    return max(1, runs - bool(_SILENT.search(small)))


def reads_as_english(words: list[str]) -> bool:
    """Whether one word in eight or more is among the commonest of English."""
    return bool(words) and sum(word in _ENGLISH for word in words) >= ENGLISH_SHARE * len(words)


def reading_of(text: str) -> Reading:
    """Return length and readability of a text.

    Flesch reading ease = 206.835 - 1.015 words/sentences - 84.6 syllables/words (Flesch 1948, A new readability yardstick,
    Journal of Applied Psychology 32:221-233). LIX = words/sentences + 100 long/words, long being words of more than six letters
    (Björnsson 1968, Läsbarhet). Both are of long texts; of one answer they are rough, and their means over answers compare groups.
    """
    words, sentences = words_of(text), len(sentences_of(text))
    if len(words) < ENOUGH_WORDS:
        return Reading(len(words), sentences, None, None)
    of_sentence = len(words) / sentences
    lix = of_sentence + 100.0 * sum(len(word) > _LONG for word in words) / len(words)
    if not reads_as_english(words):
        return Reading(len(words), sentences, None, lix)
    return Reading(len(words), sentences, 206.835 - 1.015 * of_sentence - 84.6 * sum(map(syllables, words)) / len(words), lix)
