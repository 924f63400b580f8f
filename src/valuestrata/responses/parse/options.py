"""The options that a text may name: by number, by another mark (`A`) or by label."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from valuestrata.responses.parse.normalise import folded, plain


class Label(NamedTuple):
    """A label as it is compared, the code it belongs to, and the pattern that finds it as a whole phrase."""

    code: int
    text: str
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Scale:
    """The options a text may name: by number, by another mark (`A`) or by label (longest first)."""

    numbers: Mapping[int, int]
    marks: Mapping[str, int]
    labels: tuple[Label, ...]
    texts: Mapping[int, str]

    @classmethod
    def of(cls, options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> Scale:
        """Make a scale of a prompt's answer strings, the scale code of each, and the label of each code (some may lack one)."""
        return _scale(tuple(options), tuple(shown), tuple(labels.items()))

    def without_range(self, text: str) -> str:
        """Drop `1 to 10` where it names the ends of the scale: said of the scale, and never an answer."""
        if len(self.numbers) < 2:
            return text
        low, high = min(self.numbers), max(self.numbers)
        ends = rf"(?<![\w.-]){low}\s?(?:-|–|—|to|through)\s?{high}(?![\w/])|\bbetween {low} and {high}(?![\w/])"
        ends += rf"|(?<![\w.-]){low}\s?\([^()\n]{{1,60}}\)\s?(?:to|through)\s?{high}(?:\s?\([^()\n]{{1,60}}\))?"
        return re.sub(ends, "the scale", text, flags=re.IGNORECASE)


# A run asks a few hundred questions, and reads thousands of answers to each.
@lru_cache(maxsize=1024)
def _scale(options: tuple[str, ...], shown: tuple[int, ...], labels: tuple[tuple[int, str], ...]) -> Scale:
    numbers: dict[int, int] = {}
    marks: dict[str, int] = {}
    for option, code in zip(options, shown, strict=True):
        mark = plain(option)
        if re.fullmatch(r"[-+]?\d{1,9}", mark):
            numbers[int(mark)] = code
        elif mark:
            marks[mark.casefold()] = code
    label_of = dict(labels)
    texts = {code: text for code in shown if (text := folded(label_of.get(code, ""))) and not re.fullmatch(r"[-+]?\d+", text)}
    ordered = sorted(texts.items(), key=lambda pair: -len(pair[1]))
    return Scale(numbers, marks, tuple(Label(code, text, _phrase(text)) for code, text in ordered), texts)


def _phrase(label: str) -> re.Pattern[str]:
    """Return a pattern of a folded label as a whole phrase; an edge that is no letter (or of a script without spaces) needs none."""
    body = r"\s+".join(re.escape(word) for word in label.split(" "))
    before = r"(?<!\w)" if spaced(label[0]) else ""
    after = r"(?!\w)" if spaced(label[-1]) else ""
    return re.compile(before + body + after, re.IGNORECASE)


def spaced(char: str) -> bool:
    """Say whether words of this character's script are set apart by spaces."""
    name = unicodedata.name(char, "")
    return char.isalnum() and not name.startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"))
