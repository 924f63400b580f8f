"""From what a model wrote under `stated-distribution` to a probability for every option, or to a named failure.

Read are percentages or fractions behind an option's number, mark or label: a line each, all on one line, as a table or as
a JSON object. Nothing is guessed: a range (`20-25%`), one option with two shares, a share for several options together, a
share written before its option, and shares that do not come to 100 are `unparsed`, and the note says which.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from valuestrata.responses.parse.choice import ParseStatus
from valuestrata.responses.parse.normalise import plain, without_thoughts
from valuestrata.responses.parse.options import Scale
from valuestrata.responses.parse.patterns import REFUSAL, SHORT_REFUSAL

# Percentages are written in whole numbers, so that a careful answer may be one off.
EXACT = 1.0
# An answer for every option is taken as meant if it comes this near, and divided by its sum.
NEAR = 5.0


@dataclass(frozen=True, slots=True)
class Stated:
    """What a text came to.

    Attributes:
        probabilities: one for each option in displayed order, sum 1; None unless `status` is `answered`.
        status: `answered`, `refused` or `unparsed`.
        note: why nothing was read, or what was done to the shares that were.
    """

    probabilities: tuple[float, ...] | None
    status: ParseStatus
    note: str | None = None


def parse_distribution(text: str, prompt_options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> Stated:
    """Read a model's text as the shares of the options.

    Options without a share count as 0 where the others come to 100 (within `EXACT`); where every option has one, a sum
    within `NEAR` of 100 is brought to 1. Without any percent sign, shares may come to 1 instead.

    Args:
        text: what it wrote.
        prompt_options: the answer strings of the prompt, in displayed order.
        shown: the scale code of each of them.
        labels: the label of each scale code, as the prompt showed it; codes may lack one.
    """
    said = plain(without_thoughts(text)).replace("٪", "%")
    if not said:
        return _unparsed("empty")
    scale = Scale.of(prompt_options, shown, labels)
    shares: dict[int, _Share] = {}
    try:
        for share in _shares(_objects_as_lines(said), scale):
            before = shares.setdefault(share.code, share)
            if before.value != share.value:
                raise _UnclearError(
                    f"option {_name(share.code, prompt_options, shown)} has two shares, {before.written} and {share.written}"
                )
    except _UnclearError as unclear:
        return _unparsed(str(unclear))
    if shares:
        return _distribution(shares, prompt_options, shown)
    if REFUSAL.search(said) or SHORT_REFUSAL.fullmatch(said):
        return Stated(None, "refused")
    return _unparsed("no shares in the text")


def _unparsed(note: str) -> Stated:
    return Stated(None, "unparsed", note)


class _Share(NamedTuple):
    code: int
    value: float
    is_percent: bool
    written: str


class _UnclearError(Exception):
    """A text that could be read in two ways; the message is the note."""


def _distribution(shares: Mapping[int, _Share], options: Sequence[str], shown: Sequence[int]) -> Stated:
    total = sum(share.value for share in shares.values())
    whole = 1.0 if _are_fractions(shares.values(), total, complete=len(shares) == len(shown)) else 100.0
    off = abs(total - whole) * 100 / whole
    left = [_name(code, options, shown) for code in shown if code not in shares]
    # Decimal parts do not add up exactly in binary.
    slack = 1e-6
    if off > (EXACT if left else NEAR) + slack:
        return _unparsed(f"the shares come to {total:g} and not to 100" + (f"; none for {', '.join(left)}" if left else ""))
    notes = [f"nothing said of {', '.join(left)}, taken as 0"] if left else []
    if off > slack:
        notes.append(f"the shares come to {total:g} and were divided by it")
    values = [shares[code].value if code in shares else 0.0 for code in shown]
    return Stated(tuple(value / total for value in values), "answered", "; ".join(notes) or None)


def _are_fractions(shares: Collection[_Share], total: float, *, complete: bool) -> bool:
    """Whether shares are meant to come to 1. `3: 1` alone says nothing: it must have decimals, or every option a share."""
    if any(share.is_percent for share in shares) or abs(total - 1) > NEAR / 100:
        return False
    return complete or any(not share.written.isdigit() for share in shares)


def _name(code: int, options: Sequence[str], shown: Sequence[int]) -> str:
    return options[list(shown).index(code)]


# --- JSON -------------------------------------------------------------------------------------------------------------


# No answer has more objects than this; trying each brace of a long text would take quadratic time.
_MOST_BRACES = 100
# `option_1` is option 1.
_OPTION_KEY = re.compile(r"\W*(?:option|choice|answer|code|number)[\s_-]*(?=\d)", re.IGNORECASE)


def _objects_as_lines(text: str) -> str:
    """Return the text with every JSON object written as lines `key: value`, those within it too."""
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
    """The members of a JSON object, one that is there twice among them."""


def _lines(pairs: _Pairs) -> Iterator[str]:
    for key, value in pairs:
        if isinstance(value, _Pairs):
            yield from _lines(value)
        elif isinstance(value, str):
            yield f"{_OPTION_KEY.sub('', key, count=1)}: {value}"


# --- shares in a text -------------------------------------------------------------------------------------------------

# `20,2: 30`: the comma parts two options and not a number from its decimals.
_GLUED = re.compile(r"(?<=[\d%]),(?=-?\d{1,9}\s*[:=])")
_NUMBER = re.compile(r"(?<![\w.,%/+])(?<!\w-)-?\d{1,9}(?![\w%]|[.,]\d|/\s?\d)")
# `-1: 20%` at the start of a line is option 1 with a dash before it, where no option is -1.
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
# What joins two options that one share is given for; nothing but marks between them does so too.
_JOINED = re.compile(
    r"[\s\"')\].:=]*(?:,|/|&|\+|-|–|and|or|to|through|plus)?\s*(?:or |and )?[\"'(\[]*(?:options? |number )?\s*", re.IGNORECASE
)
# A share or a number that belongs to no option yet, right before an option or in the same clause.
_SHARE_BEFORE = re.compile(
    r"(?:%|\b(?:percent|per cent|pct|(?:of|in|/) ?(?:every )?(?:100|a hundred))\b)(?:[\s\"':=(–—-]{0,12}|[^%.,;:!?|]{0,80})\Z|\d\s+\Z",
    re.IGNORECASE,
)
# What stands before a value and within it; no bound would make a text of nothing but options take quadratic time.
_REACH = 200


def _shares(text: str, scale: Scale) -> Iterator[_Share]:
    """Yield the shares of a text, in its order; _UnclearError where one could be read in two ways."""
    for line in _GLUED.sub(", ", text).split("\n"):
        yield from _shares_of_line(line, scale)


class _NamedOption(NamedTuple):
    """An option named in a line: where, and its code."""

    start: int
    end: int
    code: int


def _shares_of_line(line: str, scale: Scale) -> Iterator[_Share]:
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
            raise _UnclearError(f"number and label of different options: {line[key.start : key_end][:80]!r}")
        # `1. 1: 20%` numbers its lines, and names one option.
        if without_share is not None and without_share[0] != key.code and _JOINED.fullmatch(line, without_share[1], key.start):
            raise _UnclearError(f"a share for several options together: {line[:80].strip()!r}")
        if _SHARE_BEFORE.search(line, max(read_to, key.start - _REACH), key.start):
            raise _UnclearError(f"a share on either side of an option: {line[:80].strip()!r}")
        yield share
        read_to, without_share = end, None


def _keys(line: str, scale: Scale) -> list[_NamedOption]:
    """Return where options are named, by mark, number or a label of their own; the longer first where two begin together."""
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
    """Return where an option's number ends with the label behind it, or its label with the number in brackets behind it.

    Beside it stands whether the two belong to different options.
    """
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


def _share_at(line: str, key: _NamedOption, key_end: int, starts: set[int]) -> tuple[_Share, int] | None:
    """Read the share behind an option, with where it ends; None where there is none."""
    separator = _SEPARATOR.match(line, key_end)
    value = _VALUE.match(line, separator.end()) if separator is not None else None
    if separator is None or value is None:
        return None
    between, reach = separator[0], line[value.end() : value.end() + _REACH]
    unit = _PERCENT.match(reach)
    rest = reach[unit.end() :] if unit is not None else reach
    if _RANGE.match(rest):
        raise _UnclearError(f"a range: {line[key.start : value.end() + 12][:80].strip()!r}")
    if re.search(r"[:=|→]\W*-\Z", between):
        raise _UnclearError(f"a share below 0: {line[key.start : value.end()][:80]!r}")
    end = value.end() + len(reach) - len(rest)
    if unit is None and not _stands_alone(line, key, between, rest, end, starts):
        return None
    written = line[value.start() : end].strip()
    return _Share(key.code, float(value[0].replace(",", ".")), unit is not None, written), end


def _stands_alone(line: str, key: _NamedOption, between: str, rest: str, end: int, starts: set[int]) -> bool:
    """Whether a number without a percent sign is a share: behind a colon or the like; else only if the line holds nothing more."""
    if re.search(r"[:=|→]", between):
        return _END.match(rest) is not None or end + len(rest) - len(rest.lstrip()) in starts
    return not rest.strip(" .,;") and not line[: key.start].strip(" -–•\"'([")
