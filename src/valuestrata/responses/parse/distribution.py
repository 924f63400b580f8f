"""Parse a model's text under `stated-distribution` into a probability per option, or a failure status.

The parser reads percentages or fractions after an option's number, mark or label: one per line, all on one line, in a table
or in a JSON object. Nothing is guessed: a range (`20-25%`), an option with two shares, a share of several options, a share
before its option, and shares that do not sum to 100 are `unparsed`, with a note.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valuestrata.responses.parse.choice import ParseStatus
from valuestrata.responses.parse.normalise import plain, without_thoughts
from valuestrata.responses.parse.options import Scale
from valuestrata.responses.parse.patterns import REFUSAL, SHORT_REFUSAL

# Whole percentages may be off by one in total.
EXACT = 1.0
# A share for every option is accepted within this distance of 100 and divided by the sum.
NEAR = 5.0


@dataclass(frozen=True, slots=True)
class Stated:
    """Result of parsing.

    Attributes:
        probabilities: of the options in displayed order, sum 1; None unless `status` is `answered`.
        status: `answered`, `refused` or `unparsed`.
        note: reason of a failure, or a correction of the shares.
    """

    probabilities: tuple[float, ...] | None
    status: ParseStatus
    note: str | None = None


def parse_distribution(text: str, prompt_options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> Stated:
    """Parse a model's text as shares of the options.

    Options without a share count as 0 if the others sum to 100 within `EXACT`. If every option has one, a sum within `NEAR`
    of 100 is normalised. Without a percent sign, shares may sum to 1 instead.

    Args:
        prompt_options: answer strings of the prompt, in displayed order.
        shown: scale code of each option.
        labels: label of each scale code, as in the prompt; codes may have none.
    """
    clean = plain(without_thoughts(text)).replace("٪", "%")
    if not clean:
        return _unparsed("empty")
    scale = Scale.of(prompt_options, shown, labels)
    shares: dict[int, _Share] = {}
    try:
        for share in _shares(_objects_as_lines(clean), scale):
            before = shares.setdefault(share.code, share)
            if before.value != share.value:
                raise _UnclearError(
                    f"option {_name(share.code, prompt_options, shown)} has two shares, {before.written} and {share.written}"
                )
    except _UnclearError as unclear:
        return _unparsed(str(unclear))
    if shares:
        return _distribution(shares, prompt_options, shown)
    if REFUSAL.search(clean) or SHORT_REFUSAL.fullmatch(clean):
        return Stated(None, "refused")
    return _unparsed("no shares in the text")


def _unparsed(note: str) -> Stated:
    return Stated(None, "unparsed", note)


@dataclass(frozen=True, slots=True)
class _Share:
    """A share as written, of the option with a scale code."""

    code: int
    value: float
    is_percent: bool
    written: str


class _UnclearError(Exception):
    """An ambiguous text; the message is the note."""


def _distribution(shares: Mapping[int, _Share], options: Sequence[str], shown: Sequence[int]) -> Stated:
    total = sum(share.value for share in shares.values())
    whole = 1.0 if _are_fractions(shares.values(), total, complete=len(shares) == len(shown)) else 100.0
    off = abs(total - whole) * 100 / whole
    left = [_name(code, options, shown) for code in shown if code not in shares]
    # Tolerance of floating-point sums.
    slack = 1e-6
    if off > (EXACT if left else NEAR) + slack:
        return _unparsed(f"the shares come to {total:g} and not to 100" + (f"; none for {', '.join(left)}" if left else ""))
    notes = [f"nothing said of {', '.join(left)}, taken as 0"] if left else []
    if off > slack:
        notes.append(f"the shares come to {total:g} and were divided by it")
    values = [shares[code].value if code in shares else 0.0 for code in shown]
    return Stated(tuple(value / total for value in values), "answered", "; ".join(notes) or None)


def _are_fractions(shares: Collection[_Share], total: float, *, complete: bool) -> bool:
    """Whether shares sum to 1 rather than 100: needs decimals or a share for every option, since `3: 1` alone is ambiguous."""
    if any(share.is_percent for share in shares) or abs(total - 1) > NEAR / 100:
        return False
    return complete or any(not share.written.isdigit() for share in shares)


def _name(code: int, options: Sequence[str], shown: Sequence[int]) -> str:
    return options[list(shown).index(code)]


# --- JSON -------------------------------------------------------------------------------------------------------------


# Bound on JSON objects per text; trying every brace of a long text would take quadratic time.
_MOST_BRACES = 100
# `option_1` is option 1.
_OPTION_KEY = re.compile(r"\W*(?:option|choice|answer|code|number)[\s_-]*(?=\d)", re.IGNORECASE)


def _objects_as_lines(text: str) -> str:
    """Return the text with each JSON object, nested ones included, replaced by lines `key: value`."""
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


# --- shares in a text -------------------------------------------------------------------------------------------------

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


def _shares(text: str, scale: Scale) -> Iterator[_Share]:
    """Yield the shares of a text in its order; _UnclearError if one is ambiguous."""
    for line in _GLUED.sub(", ", text).split("\n"):
        yield from _shares_of_line(line, scale)


@dataclass(frozen=True, slots=True)
class _NamedOption:
    """An option named in a line: start, end and scale code."""

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
        # `1. 1: 20%` has a line number and one option.
        if without_share is not None and without_share[0] != key.code and _JOINED.fullmatch(line, without_share[1], key.start):
            raise _UnclearError(f"a share for several options together: {line[:80].strip()!r}")
        if _SHARE_BEFORE.search(line, max(read_to, key.start - _REACH), key.start):
            raise _UnclearError(f"a share on either side of an option: {line[:80].strip()!r}")
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


def _share_at(line: str, key: _NamedOption, key_end: int, starts: set[int]) -> tuple[_Share, int] | None:
    """Return the share after an option and its end; None if there is none."""
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
    """Whether a number without a percent sign is a share: after a colon or similar, or if the line has nothing else."""
    if re.search(r"[:=|→]", between):
        return _END.match(rest) is not None or end + len(rest) - len(rest.lstrip()) in starts
    return not rest.strip(" .,;") and not line[: key.start].strip(" -–•\"'([")
