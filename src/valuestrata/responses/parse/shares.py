"""Find the shares of options that a model's text states: percentages or fractions, on lines, in tables or in JSON objects."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from valuestrata.responses.parse.options import Scale


@dataclass(frozen=True, slots=True)
class Share:
    """A share as written, of the option with a scale code."""

    code: int
    value: float
    is_percent: bool
    written: str


class UnclearError(Exception):
    """An ambiguous text; the message is the note."""


# Bound on JSON objects per text; trying every brace of a long text would take quadratic time.
_MOST_BRACES = 100
# `option_1` is option 1.
_OPTION_KEY = re.compile(r"\W*(?:option|choice|answer|code|number)[\s_-]*(?=\d)", re.IGNORECASE)


def _objects_as_lines(text: str) -> str:
    """Return the text with each JSON object, nested ones included, replaced by lines `key: value`."""
    if "{" not in text:
        return text
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs, parse_float=str, parse_int=str)
    parts: list[str] = []
    at = 0
    for _ in range(_MOST_BRACES):
        start = text.find("{", at)
        if start < 0:
            break
        try:
            found, end = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            parts.append(text[at : start + 1])
            at = start + 1
            continue
        parts += [text[at:start], "\n", *(f"{line}\n" for line in _lines(found))]
        at = end
    return "".join([*parts, text[at:]])


class _Pairs(list[tuple[str, Any]]):
    """Members of a JSON object, duplicates included."""


def _lines(pairs: _Pairs) -> Iterator[str]:
    for key, value in pairs:
        if isinstance(value, _Pairs):
            yield from _lines(value)
        elif isinstance(value, str):
            yield f"{_OPTION_KEY.sub('', key, count=1)}: {value}"


# In `20,2: 30` the comma separates two options; it is not a decimal comma.
_GLUED = re.compile(r"(?<=[\d%]),(?=-?\d{1,9}\s*[:=])")
_NUMBER = re.compile(r"(?<![\w.,%/+])(?<!\w-)-?\d{1,9}(?![\w%]|[.,]\d|/\s?\d)")
# `-1: 20%` at the start of a line is option 1 after a dash, unless -1 is an option.
_INDENT = 8
_BULLET = re.compile(r"\s*[-–•·]?\s*\Z")
# Between an option's number and its label.
_BEFORE_LABEL = re.compile(r"[\s\"')\]}.:=|(–—-]{0,12}")
_BRACKET = re.compile(r"[\s\"']*\(([^()%]{0,80})\)")
_ABOUT = (
    r"(?:is|are|at|would be|gets?|would get|about|around|approximately|approx\.?|roughly|circa|ca\.|nearly|almost|probably|perhaps|maybe"
    r"|(?:would be |is |are )?(?:chosen|picked|selected) by)(?![^\W\d_])"
)
_SEPARATOR = re.compile(rf"(?:[\s:=|→>~≈\"'(\[{{)\]}}–—-]|\.(?!\d)|{_ABOUT}){{1,24}}", re.IGNORECASE)
_VALUE = re.compile(r"(?:\d{1,9}(?:[.,]\d{1,9})?|[.,]\d{1,9})(?!\d)(?!\s*[:=])")
_OF_HUNDRED = r"\s?(?:people |persons |respondents )?(?:out of|of|in|/)\s?(?:every )?(?:100|a hundred)\b"
_PERCENT = re.compile(rf"\s?(?:%|percent\b|per cent\b|pct\b)|{_OF_HUNDRED}", re.IGNORECASE)
_RANGE = re.compile(r"\s?(?:-|–|—|to|or|and)\s?~?\d{1,9}(?:[.,]\d{1,9})?\s?(?:%|percent|per cent|\.?\s*\Z|[,;)\]}|])", re.IGNORECASE)
_END = re.compile(r"\s*(?:\Z|[,;|)\]}\"']|\.(?!\d)|(?:-|–|—)\s|and\b|or\b|points?\b|people\b|persons?\b|respondents?\b)", re.IGNORECASE)
# Text between two options that share one value; punctuation alone counts too.
_JOINED = re.compile(
    r"[\s\"')\].:=]*(?:,|/|&|\+|-|–|and|or|to|through|plus)?\s*(?:or |and )?[\"'(\[]*(?:options? |number )?\s*", re.IGNORECASE
)
# A share or number before an option, in the same clause, that belongs to no earlier option.
_SHARE_BEFORE = re.compile(
    r"(?:%|\b(?:percent|per cent|pct|(?:of|in|/) ?(?:every )?(?:100|a hundred))\b)(?:[\s\"':=(–—-]{0,12}|[^%.,;:!?|]{0,80})\Z|\d\s+\Z",
    re.IGNORECASE,
)
# Characters read around a value; without a bound, a text that only repeats options would take quadratic time.
_REACH = 200


def shares_in(text: str, scale: Scale) -> Iterator[Share]:
    """Yield the shares of a text in its order.

    Raises:
        UnclearError: a share is ambiguous; the message says why.
    """
    for line in _lines_of(text):
        yield from _shares_of_line(line, scale)


def _lines_of(text: str) -> list[str]:
    return _GLUED.sub(", ", _objects_as_lines(text)).split("\n")


# A text without any of these states no shares.
_MAY_STATE = re.compile(r"\d\s*%|percent|per cent|pct|hundred|100|[:=|→][^\w\n]{0,8}\d|\d[.)]\s+\d", re.IGNORECASE)
_DIGITS = re.compile(r"\d+")
_CLAUSE = re.compile(r"[^,;|]*")
# `Question 1: 3` is the answer 3 to a question.
_NUMBERED_QUESTION = re.compile(r"\b(?:question|q|item|answer|response)s?[\s_#-]*\d", re.IGNORECASE)


def without_shares(text: str, scale: Scale) -> str | None:
    """Return the text without the shares that it states, JSON objects as lines; None if it states none.

    The share of a single option counts only after a colon or similar (`2: 100%`), since `2 (60%)` is an answer with its
    confidence.
    """
    if not _MAY_STATE.search(text):
        return None
    lines = _lines_of(text)
    spans = [_spans(line, scale) if _has_two(line, scale) else [] for line in lines]
    found = [span for of_line in spans for span in of_line]
    several = len({span.code for span in found}) > 1
    if not several and (not any(span.alone for span in found) or _NUMBERED_QUESTION.search(text)):
        return None
    kept = [_cut(line, [span for span in of_line if several or span.alone]) for line, of_line in zip(lines, spans, strict=True)]
    return "\n".join(kept)


def _has_two(line: str, scale: Scale) -> bool:
    """Whether a line has a number and another number, a label or a mark, as an option with its share has."""
    numbers = _DIGITS.findall(line)
    if len(numbers) != 1:
        return bool(numbers)
    folded = line.casefold()
    return any(mark in folded for mark in scale.marks) or any(label.pattern.search(line) for label in scale.labels)


@dataclass(frozen=True, slots=True)
class _Span:
    """Start and end of an option with its share in a line; `alone` if it is a share even when no other option has one."""

    start: int
    end: int
    code: int
    alone: bool


def _spans(line: str, scale: Scale) -> list[_Span]:
    keys = _keys(line, scale)
    starts = {key.start for key in keys}
    spans: list[_Span] = []
    read_to = 0
    for key in keys:
        if key.start < read_to:
            continue
        read_to, _ = _label_behind(line, key, scale)
        if _is_own_label(line, read_to, key.code, scale):
            continue
        try:
            found = _share_at(line, key, read_to, starts)
        except UnclearError:
            # `1: 20-25%`
            end = _CLAUSE.match(line, read_to)
            found = Share(key.code, 0.0, is_percent=True, written=""), end.end() if end is not None else read_to
        if found is not None:
            share, end = found
            spans.append(_Span(key.start, end, key.code, _counts_alone(line, key, read_to, share, end, scale)))
            read_to = end
    return spans


def _is_own_label(line: str, at: int, code: int, scale: Scale) -> bool:
    """Whether an option is followed by its own label or number: `2 → 10-25%` with the label `10-25%`, `3: 3`."""
    separator = _SEPARATOR.match(line, at)
    if separator is None:
        return False
    if any(label.code == code and label.pattern.match(line, separator.end()) for label in scale.labels):
        return True
    value = _VALUE.match(line, separator.end())
    number = value is not None and value[0].isdigit() and scale.numbers.get(int(value[0])) == code
    return number and value is not None and _PERCENT.match(line, value.end()) is None


def _counts_alone(line: str, key: _NamedOption, key_end: int, share: Share, end: int, scale: Scale) -> bool:
    if share.is_percent:
        return re.match(r"[\s\"')\]}]*[:=|→]", line[key_end:end]) is not None and _END.match(line, end) is not None
    # `Rather important: 2` is an option with its label.
    return line[key.start : key.end].strip().lstrip("-").isdigit() or share.value not in scale.numbers


def _cut(line: str, spans: list[_Span]) -> str:
    parts: list[str] = []
    at = 0
    for span in spans:
        parts.append(line[at : span.start])
        at = span.end
    return " ".join([*parts, line[at:]])


@dataclass(frozen=True, slots=True)
class _NamedOption:
    """An option named in a line: start, end and scale code."""

    start: int
    end: int
    code: int


def _shares_of_line(line: str, scale: Scale) -> Iterator[Share]:
    keys = _keys(line, scale)
    starts = {key.start for key in keys}
    read_to = 0
    without_share: tuple[int, int] | None = None
    for key in keys:
        if key.start < read_to:
            continue
        key_end, clashes = _label_behind(line, key, scale)
        found = _share_at(line, key, key_end, starts)
        if found is None:
            read_to, without_share = key_end, (key.code, key_end)
            continue
        share, end = found
        if clashes:
            raise UnclearError(f"number and label of different options: {line[key.start : key_end][:80]!r}")
        # `1. 1: 20%` has a line number and one option.
        if without_share is not None and without_share[0] != key.code and _JOINED.fullmatch(line, without_share[1], key.start):
            raise UnclearError(f"a share for several options together: {line[:80].strip()!r}")
        if _SHARE_BEFORE.search(line, max(read_to, key.start - _REACH), key.start):
            raise UnclearError(f"a share on either side of an option: {line[:80].strip()!r}")
        yield share
        read_to, without_share = end, None


def _keys(line: str, scale: Scale) -> list[_NamedOption]:
    """Return the options named in a line by mark, number or unique label, in order; longer ones first at the same place."""
    own = Counter(scale.texts.values())
    found = [
        _NamedOption(match.start(), match.end(), label.code)
        for label in scale.labels
        if own[label.text] == 1
        for match in label.pattern.finditer(line)
    ]
    for match in _NUMBER.finditer(line):
        number, start = int(match[0]), match.start()
        if number not in scale.numbers and number < 0 and start < _INDENT and _BULLET.fullmatch(line[: start + 1]):
            number, start = -number, start + 1
        if number in scale.numbers:
            found.append(_NamedOption(start, match.end(), scale.numbers[number]))
    for mark, code in scale.marks.items():
        pattern = re.compile(rf"(?<!\w){re.escape(mark)}(?!\w)", re.IGNORECASE)
        found += [_NamedOption(match.start(), match.end(), code) for match in pattern.finditer(line)]
    return sorted(found, key=lambda key: (key.start, -key.end))


def _label_behind(line: str, key: _NamedOption, scale: Scale) -> tuple[int, bool]:
    """Return the end of an option with the label or bracketed number that follows it, and whether the two contradict."""
    gap = _BEFORE_LABEL.match(line, key.end)
    start = gap.end() if gap is not None else key.end
    for label in scale.labels:
        if match := label.pattern.match(line, start):
            return match.end(), label.text != scale.texts.get(key.code)
    bracket = _BRACKET.match(line, key.end)
    if bracket is None:
        return key.end, False
    number = bracket[1].strip()
    is_number = re.fullmatch(r"-?\d{1,9}", number) is not None
    return bracket.end(), is_number and scale.numbers.get(int(number), key.code) != key.code


def _share_at(line: str, key: _NamedOption, key_end: int, starts: set[int]) -> tuple[Share, int] | None:
    """Return the share after an option and its end; None if there is none."""
    separator = _SEPARATOR.match(line, key_end)
    value = _VALUE.match(line, separator.end()) if separator is not None else None
    if separator is None or value is None:
        return None
    between, reach = separator[0], line[value.end() : value.end() + _REACH]
    unit = _PERCENT.match(reach)
    rest = reach[unit.end() :] if unit is not None else reach
    if _RANGE.match(rest):
        raise UnclearError(f"a range: {line[key.start : value.end() + 12][:80].strip()!r}")
    if re.search(r"[:=|→]\W*-\Z", between):
        raise UnclearError(f"a share below 0: {line[key.start : value.end()][:80]!r}")
    end = value.end() + len(reach) - len(rest)
    if unit is None and not _stands_alone(line, key, between, rest, end, starts):
        return None
    written = line[value.start() : end].strip()
    return Share(key.code, float(value[0].replace(",", ".")), unit is not None, written), end


def _stands_alone(line: str, key: _NamedOption, between: str, rest: str, end: int, starts: set[int]) -> bool:
    """Whether a number without a percent sign is a share: after a colon or similar, or if the line has nothing else."""
    if re.search(r"[:=|→]", between):
        return _END.match(rest) is not None or end + len(rest) - len(rest.lstrip()) in starts
    return not rest.strip(" .,;") and not line[: key.start].strip(" -–•\"'([")
