"""The options of a prompt, as a text may name them: by number, by mark (`A`) or by label."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from valuestrata.responses.parse.normalise import folded, plain

ParseStatus = Literal["answered", "refused", "unparsed", "invalid_code"]


@dataclass(frozen=True, slots=True)
class Label:
    """A scale code, its folded label, and the pattern that finds the label as a whole phrase."""

    code: int
    text: str
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Scale:
    """Scale codes by number and by mark, labels (longest first), and folded labels by code."""

    numbers: Mapping[int, int]
    marks: Mapping[str, int]
    labels: tuple[Label, ...]
    texts: Mapping[int, str]

    @classmethod
    def of(cls, options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> Scale:
        """Return the scale of a prompt; arguments as for `parse_answer`."""
        return _scale(tuple(options), tuple(shown), tuple(labels.items()))

    def without_range(self, text: str) -> str:
        """Replace mentions of the whole scale (`1 to 10`), which are never an answer."""
        if len(self.numbers) < 2:
            return text
        low, high = min(self.numbers), max(self.numbers)
        ends = rf"(?<![\w.-]){low}\s?(?:-|–|—|to|through)\s?{high}(?![\w/])|\bbetween {low} and {high}(?![\w/])"
        ends += rf"|(?<![\w.-]){low}\s?\([^()\n]{{1,60}}\)\s?(?:to|through)\s?{high}(?:\s?\([^()\n]{{1,60}}\))?"
        return re.sub(ends, "the scale", text, flags=re.IGNORECASE)


# A run has a few hundred questions with thousands of answers each.
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
    """Return a pattern that finds a folded label as a whole phrase."""
    body = r"\s+".join(re.escape(word) for word in label.split(" "))
    before = r"(?<!\w)" if spaced(label[0]) else ""
    after = r"(?!\w)" if spaced(label[-1]) else ""
    return re.compile(before + body + after, re.IGNORECASE)


def spaced(char: str) -> bool:
    """Whether the script of a character separates words by spaces."""
    name = unicodedata.name(char, "")
    return char.isalnum() and not name.startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"))
