r"""From what a model wrote to a scale code, or to a named failure.

The strongest statement in the text decides: a marked answer (`Answer: 3`, `"answer": 3`, `\boxed{3}`), the last of them
where there are several; then what the text opens with (`3.`, `2) Rather important`, `Rather important`); then a sentence
that chooses (`I would say 3`, `Option 3`). Only then is a refusal looked for, and after it a number or label that is the
only one in the text. Numbers are read before labels; where they contradict each other the number holds and a note
says so. Nothing is guessed: two possible answers are `unparsed`, and a number that no option bears is `invalid_code`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

from valuestrata.responses._phrases import (
    AFTER_ANSWER,
    ALTERNATIVE,
    CHOICE,
    DENOMINATOR,
    JUNK,
    MARKER,
    NUMBER,
    NUMBER_WORD,
    OPTION,
    REFUSAL,
    SHORT_REFUSAL,
    WORDS,
)

ParseStatus = Literal["answered", "refused", "unparsed", "invalid_code"]


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text came to.

    Attributes:
        answer: scale code, one of `shown`; None unless `status` is `answered`.
        status: `answered`, `refused`, `unparsed` or `invalid_code`.
        note: why nothing was read, or what contradicted the answer.
    """

    answer: int | None
    status: ParseStatus
    note: str | None = None


def parse_answer(text: str, prompt_options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> Parsed:
    """Read a model's text.

    Args:
        text: what it wrote.
        prompt_options: the answer strings of the prompt, in displayed order.
        shown: the scale code of each of them.
        labels: the label of each scale code, as the prompt showed it; codes may lack one.
    """
    said = _normal(_without_reasoning(text))
    if not said:
        return Parsed(None, "unparsed", "empty")
    scale = _Scale.of(prompt_options, shown, labels)
    said = scale.without_range(said)
    for found in (_marked(said, scale), _opening(said, scale), _chosen(said, scale)):
        if found is not None:
            return found.parsed()
    if REFUSAL.search(said) or SHORT_REFUSAL.fullmatch(said):
        return Parsed(None, "refused")
    found = _only_mention(said, scale)
    return found.parsed() if found is not None else Parsed(None, "unparsed", "no answer in the text")


# --- the text, evened out ---------------------------------------------------------------------------------------------

_THOUGHT = re.compile(r"<(think|thinking|reasoning|thought)\b[^>]*>.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
# Some chat templates open the thought themselves, so that only its end is in the text.
_THOUGHT_END = re.compile(r"\A.*</(?:think|thinking|reasoning|thought)\s*>", re.IGNORECASE | re.DOTALL)
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_LATEX = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_TURN_MARKS = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>|<(?:end_of_turn|eos)>")
_ODD = str.maketrans(
    {"’": "'", "‘": "'", "´": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "−": "-", "*": "", "`": "", "\u200b": ""}
)


def _without_reasoning(text: str) -> str:
    return _THOUGHT_END.sub("", _THOUGHT.sub(" ", text))


def _normal(text: str) -> str:
    """Return the text with plain digits, quotes and spaces, and without markup."""
    text = unicodedata.normalize("NFKC", _TURN_MARKS.sub(" ", text)).translate(_ODD)
    text = _LATEX.sub(r"\1", text)
    text = _BOXED.sub(r" Answer: \1 \n", text).replace("$", "").replace("__", "")
    text = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
    return re.sub(r"[ \t\u00a0]+", " ", text).strip()


def _fold(label: str) -> str:
    return re.sub(r"\s+", " ", _normal(label).casefold()).strip(" .,;:!?\"'()[]")


# --- the scale --------------------------------------------------------------------------------------------------------


class _Label(NamedTuple):
    code: int
    text: str
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class _Scale:
    """The options a text may name: by number, by another mark (`A`) or by label (longest first)."""

    numbers: dict[int, int]
    marks: dict[str, int]
    labels: tuple[_Label, ...]
    texts: dict[int, str]

    @classmethod
    def of(cls, options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> _Scale:
        numbers: dict[int, int] = {}
        marks: dict[str, int] = {}
        for option, code in zip(options, shown, strict=True):
            mark = _normal(option)
            if re.fullmatch(r"[-+]?\d{1,9}", mark):
                numbers[int(mark)] = code
            elif mark:
                marks[mark.casefold()] = code
        texts = {code: folded for code in shown if (folded := _fold(labels.get(code, ""))) and not re.fullmatch(r"[-+]?\d+", folded)}
        ordered = sorted(texts.items(), key=lambda pair: -len(pair[1]))
        return cls(numbers, marks, tuple(_Label(code, text, _phrase(text)) for code, text in ordered), texts)

    def without_range(self, text: str) -> str:
        """Drop `1 to 10` where it names the ends of the scale: said of the scale, and never an answer."""
        if len(self.numbers) < 2:
            return text
        low, high = min(self.numbers), max(self.numbers)
        ends = rf"(?<![\w.-]){low}\s?(?:-|–|—|to|through)\s?{high}(?![\w/])|\bbetween {low} and {high}(?![\w/])"
        ends += rf"|(?<![\w.-]){low}\s?\([^()\n]{{1,60}}\)\s?(?:to|through)\s?{high}(?:\s?\([^()\n]{{1,60}}\))?"
        return re.sub(ends, "the scale", text, flags=re.IGNORECASE)


def _phrase(folded: str) -> re.Pattern[str]:
    """Return a pattern of a label as a whole phrase; an edge that is no letter (or of a script without spaces) needs none."""
    body = r"\s+".join(re.escape(word) for word in folded.split(" "))
    before = r"(?<!\w)" if _spaced(folded[0]) else ""
    after = r"(?!\w)" if _spaced(folded[-1]) else ""
    return re.compile(before + body + after, re.IGNORECASE)


def _spaced(char: str) -> bool:
    """Say whether words of this character's script are set apart by spaces."""
    name = unicodedata.name(char, "")
    return char.isalnum() and not name.startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"))


# --- one value --------------------------------------------------------------------------------------------------------

# How a list is numbered: `1. Very important 2. ...`, or a bare number a line.
_ITEMS = (re.compile(r"(?<![\w.,-])(?<!ption )(-?\d{1,9})[.):][ \t]+(?=\S)"), re.compile(r"^[ \t]*(-?\d{1,9})[ \t]*$", re.MULTILINE))
_LABEL_GAP = re.compile(r"[\s.):\]\"',;=–—-]*\(?[\"']?")


class _Found(NamedTuple):
    """A value read somewhere: a code, or why there is none."""

    code: int | None
    status: ParseStatus
    note: str | None = None

    def parsed(self) -> Parsed:
        return Parsed(self.code, self.status, self.note)


_DIGITS = 12
# What is read behind a value; with no bound, a text of nothing but options would take quadratic time.
_REACH = 300
_AMBIGUOUS = "more than one answer"


def _value(text: str, at: int, scale: _Scale, *, strict: bool) -> _Found | None:
    """Read the value that stands at `at`; with `strict`, only if what follows shows that it is one."""
    junk = JUNK.match(text, at)
    start = junk.end() if junk is not None else at
    number = NUMBER.match(text, start)
    if number is not None:
        return _numbered(text, number, scale, strict=strict)
    word = NUMBER_WORD.match(text, start)
    if word is not None:
        if ALTERNATIVE.match(text, word.end()):
            return _Found(None, "unparsed", _AMBIGUOUS)
        value = WORDS[str(word[2]).lower()] * (-1 if word[1] else 1)
        return _coded(value, word[0], text[word.end() : word.end() + _REACH], scale)
    for mark, code in scale.marks.items():
        end = start + len(mark)
        if text[start:end].casefold() == mark and re.match(r"\W|\Z", text[end : end + _REACH]):
            return _Found(code, "answered", _contradiction(code, text[end : end + _REACH], scale))
    return _labelled(text, start, scale, strict=strict)


def _numbered(text: str, number: re.Match[str], scale: _Scale, *, strict: bool) -> _Found | None:
    rest = text[number.end() : number.end() + _REACH]
    over = DENOMINATOR.match(rest)
    if over is not None and int(over[1][:9]) >= max(scale.numbers, default=0):
        rest = rest[over.end() :]
    elif ALTERNATIVE.match(rest) or _restates(text, number, scale):
        return _Found(None, "unparsed", _AMBIGUOUS)
    elif strict and not AFTER_ANSWER.match(rest) and _label_at(rest, scale) is None:
        return None
    # `3.0` is a 3; and a number of thousands of digits is refused before it is computed.
    whole, _, fraction = number[0].replace("–", "-").partition(".")
    if len(whole) > _DIGITS or fraction.strip("0"):
        return _Found(None, "invalid_code", f"{number[0][:_DIGITS]} is not one of the options")
    return _coded(int(whole), number[0], rest, scale)


def _coded(value: int, written: str, rest: str, scale: _Scale) -> _Found:
    if value not in scale.numbers:
        return _Found(None, "invalid_code", f"{written} is not one of the options")
    code = scale.numbers[value]
    return _Found(code, "answered", _contradiction(code, rest, scale))


def _restates(text: str, number: re.Match[str], scale: _Scale) -> bool:
    """Say whether a number is the head of a list that goes on with the next option: the options told again."""
    order = list(scale.numbers)
    for kind in _ITEMS:
        items = islice(kind.finditer(text, max(0, number.start() - 1), number.end() + _REACH), 2)
        numbers = [int(item[1]) for item in items if item.start() <= number.start() or item.start() > number.end()]
        if len(numbers) == 2 and numbers[0] in order[:-1] and kind.match(text, number.start()):
            return numbers[1] == order[order.index(numbers[0]) + 1]
    return False


def _label_at(text: str, scale: _Scale) -> _Label | None:
    gap = _LABEL_GAP.match(text)
    start = gap.end() if gap is not None else 0
    return next((label for label in scale.labels if label.pattern.match(text, start)), None)


def _contradiction(code: int, rest: str, scale: _Scale) -> str | None:
    label = _label_at(rest, scale)
    if label is None or label.text == scale.texts.get(code):
        return None
    return f"the label {label.text!r} belongs to another option"


def _labelled(text: str, start: int, scale: _Scale, *, strict: bool) -> _Found | None:
    for label in scale.labels:
        match = label.pattern.match(text, start)
        if match is None:
            continue
        rest = text[match.end() : match.end() + _REACH]
        if strict and not re.match(r"\s*[\"')\]}]*\s*(?:\Z|[.,;:!?(\[–—-]|\n|because\b)", rest):
            return None
        bracket = re.match(r"[\s\"']*[(\[,:–—-]?\s*(?:option |number )?(-?\d+)[)\].]?(?![\w.%])", rest)
        if bracket is not None and int(bracket[1][:9]) in scale.numbers:
            code = scale.numbers[int(bracket[1][:9])]
            return _Found(
                code, "answered", None if scale.texts.get(code) == label.text else f"the label {label.text!r} belongs to another option"
            )
        other = re.match(r"\s*(?:,|/|or|and)\s+", rest)
        if other is not None and any(one.code != label.code and one.pattern.match(rest, other.end()) for one in scale.labels):
            return _Found(None, "unparsed", _AMBIGUOUS)
        return _shared(label, scale)
    return None


def _shared(label: _Label, scale: _Scale) -> _Found:
    if sum(text == label.text for text in scale.texts.values()) > 1:
        return _Found(None, "unparsed", f"the label {label.text!r} belongs to several options")
    return _Found(label.code, "answered")


# --- where values stand -----------------------------------------------------------------------------------------------

_NEGATION = re.compile(r"(?:\bnot|n't|\bnever|\bneither|\bnor|\bwithout|\bhardly)(?: \w+){0,4}\s*[\"'(]?\Z", re.IGNORECASE)


def _marked(text: str, scale: _Scale) -> _Found | None:
    found: _Found | None = None
    for marker in MARKER.finditer(text):
        # `Answer: N`, the form asked for and told again, holds no value and says nothing.
        found = _value(text, marker.end(), scale, strict=False) or found
    return found


def _opening(text: str, scale: _Scale) -> _Found | None:
    found = _value(text, 0, scale, strict=True)
    if found is not None and found.note == _AMBIGUOUS and CHOICE.search(text):
        # The options told again, and then a choice.
        return None
    return found


def _chosen(text: str, scale: _Scale) -> _Found | None:
    found: _Found | None = None
    for choice in CHOICE.finditer(text):
        found = _value(text, choice.end(), scale, strict=True) or found
    if found is not None:
        return found
    named = [_value(text, option.end(), scale, strict=False) for option in OPTION.finditer(text)]
    distinct = {(one.code, one.status): one for one in named if one is not None}
    return next(iter(distinct.values())) if len(distinct) == 1 else None


def _only_mention(text: str, scale: _Scale) -> _Found | None:
    """Return the one option that the text names in passing: `that is a 7, honestly`, `it is rather important to us`."""
    numbers = {found for found in _passing_numbers(text) if found in scale.numbers}
    if len(numbers) > 1:
        return _Found(None, "unparsed", _AMBIGUOUS)
    if numbers:
        return _Found(scale.numbers[numbers.pop()], "answered")
    spans: list[tuple[int, int, _Label]] = []
    for label in scale.labels:
        for match in label.pattern.finditer(text):
            inside = any(begin <= match.start() and match.end() <= end for begin, end, _ in spans)
            # Short words (`No`) are everywhere; they count only where a value is expected.
            if not inside and (len(label.text) > 3 or not _spaced(label.text[0])):
                spans.append((match.start(), match.end(), label))
    named = {label.text: label for begin, _, label in spans if not _NEGATION.search(text[max(0, begin - 40) : begin])}
    if len(named) > 1 or (named and len(named) < len({label.text for _, _, label in spans})):
        return _Found(None, "unparsed", _AMBIGUOUS)
    return _shared(next(iter(named.values())), scale) if named else None


def _passing_numbers(text: str) -> Iterator[int]:
    for match in re.finditer(r"(?<![\w.,/-])-?\d{1,9}(?![\w%]|[.,/]\d|-\d)", text):
        before, rest = text[max(0, match.start() - 30) : match.start()], text[match.end() : match.end() + _REACH]
        told = re.search(r"(?:\b(?:in|aged?|question|q|item|page|section|about|over|under|than|of the)|[€£#])\s*\Z", before, re.IGNORECASE)
        if told is None and (AFTER_ANSWER.match(rest) or DENOMINATOR.match(rest) or ALTERNATIVE.match(rest) or re.match(r"\s+\d", rest)):
            yield int(match[0])
