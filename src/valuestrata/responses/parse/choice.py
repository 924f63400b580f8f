r"""From what a model wrote to a scale code, or to a named failure.

The strongest statement in the text decides: a marked answer (`Answer: 3`, `"answer": 3`, `\boxed{3}`), the last of them
where there are several; then what the text opens with (`3.`, `2) Rather important`, `Rather important`); then a sentence
that chooses (`I would say 3`, `Option 3`). Only then is a refusal looked for, and after it a number or label that is the
only one in the text. Numbers are read before labels; where they contradict each other the number holds and a note
says so. Nothing is guessed: two possible answers are `unparsed`, and a number that no option bears is `invalid_code`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

from valuestrata.responses.parse.normalise import plain, without_thoughts
from valuestrata.responses.parse.options import Label, Scale, spaced
from valuestrata.responses.parse.patterns import (
    AFTER_ANSWER,
    ALTERNATIVE,
    CHOICE,
    DENOMINATOR,
    JUNK,
    MARKER,
    NO_REFUSAL,
    NUMBER,
    NUMBER_WORD,
    OPTION,
    OR_NUMBER,
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
    said = plain(without_thoughts(text))
    if not said:
        return Parsed(None, "unparsed", "empty")
    scale = Scale.of(prompt_options, shown, labels)
    said = scale.without_range(said)
    marked = _marked(said, scale)
    if marked is None and NO_REFUSAL.match(said):
        return Parsed(None, "refused")
    for found in (marked, _opening(said, scale), _chosen(said, scale)):
        if found is not None:
            return found.parsed()
    if REFUSAL.search(said) or SHORT_REFUSAL.fullmatch(said):
        return Parsed(None, "refused")
    found = _only_mention(said, scale)
    return found.parsed() if found is not None else Parsed(None, "unparsed", "no answer in the text")


def is_marked(text: str, prompt_options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> bool:
    """Whether a text marks an answer (`Answer: 3`), be it one that can be read or not; arguments as of `parse_answer`."""
    scale = Scale.of(prompt_options, shown, labels)
    return _marked(scale.without_range(plain(without_thoughts(text))), scale) is not None


# Words besides its refusing sentences with which a text says something after all: an apology and an offer of help have fewer.
_SAYS_SOMETHING = 25


def refuses(text: str) -> bool:
    """Whether a text in a model's own words refuses as a whole.

    It does where it is nothing but a short refusal (`No comment.`), or where one of its sentences refuses (`As an AI, I do not
    have personal opinions.`) and the others together have fewer than 25 words: a model that first says what it is and then
    speaks as the person has answered.
    """
    said = plain(without_thoughts(text))
    if SHORT_REFUSAL.fullmatch(said):
        return True
    sentences = re.split(r"(?<=[.!?])\s+|\n+", said)
    others = [sentence for sentence in sentences if not REFUSAL.search(sentence)]
    return len(others) < len(sentences) and sum(len(sentence.split()) for sentence in others) < _SAYS_SOMETHING


# --- one value --------------------------------------------------------------------------------------------------------

# How a list is numbered: `1. Very important 2. ...` (on a numeric scale `2.` alone), or a bare number a line.
_ITEMS = (
    re.compile(r"(?<![\w.,-])(?<!ption )(-?\d{1,9})[.):](?:[ \t]+(?=\S)|[ \t]*$)", re.MULTILINE),
    re.compile(r"^[ \t]*(-?\d{1,9})[ \t]*$", re.MULTILINE),
)
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


def _value(text: str, at: int, scale: Scale, *, strict: bool) -> _Found | None:
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


def _numbered(text: str, number: re.Match[str], scale: Scale, *, strict: bool) -> _Found | None:
    rest = text[number.end() : number.end() + _REACH]
    over = DENOMINATOR.match(rest)
    if over is not None and int(over[1][:9]) >= max(scale.numbers, default=0):
        rest = rest[over.end() :]
    elif ALTERNATIVE.match(rest) or _or_another(rest, scale) or _restates(text, number, scale):
        return _Found(None, "unparsed", _AMBIGUOUS)
    elif strict and not AFTER_ANSWER.match(rest) and _label_at(rest, scale) is None:
        return None
    # `3.0` is a 3; and a number of thousands of digits is refused before it is computed.
    whole, _, fraction = number[0].replace("–", "-").partition(".")
    if len(whole) > _DIGITS or fraction.strip("0"):
        return _Found(None, "invalid_code", f"{number[0][:_DIGITS]} is not one of the options")
    return _coded(int(whole), number[0], rest, scale)


def _coded(value: int, written: str, rest: str, scale: Scale) -> _Found:
    if value not in scale.numbers:
        return _Found(None, "invalid_code", f"{written} is not one of the options")
    code = scale.numbers[value]
    return _Found(code, "answered", _contradiction(code, rest, scale))


def _restates(text: str, number: re.Match[str], scale: Scale) -> bool:
    """Say whether a number is the head of a list that goes on with the next option: the options told again."""
    order = list(scale.numbers)
    for kind in _ITEMS:
        found = islice(kind.finditer(text, max(0, number.start() - 1), number.end() + _REACH), 2)
        items = [item for item in found if item.start() <= number.start() or item.start() > number.end()]
        # `(0)` and then `1.` are an answer and a list behind it, not one list.
        if len({text[max(0, item.start() - 1) : item.start()] == "(" for item in items}) > 1:
            continue
        numbers = [int(item[1]) for item in items]
        if len(numbers) == 2 and numbers[0] in order[:-1] and kind.match(text, number.start()):
            return numbers[1] == order[order.index(numbers[0]) + 1]
    return False


def _label_at(text: str, scale: Scale) -> Label | None:
    gap = _LABEL_GAP.match(text)
    start = gap.end() if gap is not None else 0
    return next((label for label in scale.labels if label.pattern.match(text, start)), None)


def _or_another(text: str, scale: Scale) -> bool:
    """Whether another option is named behind a label that a text begins with: `1 (Yes) or 2 (No)`."""
    label = _label_at(text, scale)
    if label is None:
        return False
    gap = _LABEL_GAP.match(text)
    end = label.pattern.match(text, gap.end() if gap is not None else 0)
    other = OR_NUMBER.match(text, end.end()) if end is not None else None
    return other is not None and int(other[1]) in scale.numbers


def _contradiction(code: int, rest: str, scale: Scale) -> str | None:
    label = _label_at(rest, scale)
    if label is None or label.text == scale.texts.get(code):
        return None
    return f"the label {label.text!r} belongs to another option"


def _labelled(text: str, start: int, scale: Scale, *, strict: bool) -> _Found | None:
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


def _shared(label: Label, scale: Scale) -> _Found:
    if sum(text == label.text for text in scale.texts.values()) > 1:
        return _Found(None, "unparsed", f"the label {label.text!r} belongs to several options")
    return _Found(label.code, "answered")


# --- where values stand -----------------------------------------------------------------------------------------------

_NEGATION = re.compile(r"(?:\bnot|n't|\bnever|\bneither|\bnor|\bwithout|\bhardly)(?: \w+){0,4}\s*[\"'(]?\Z", re.IGNORECASE)


def _marked(text: str, scale: Scale) -> _Found | None:
    found: _Found | None = None
    for marker in MARKER.finditer(text):
        # `Answer: N`, the form asked for and told again, holds no value and says nothing.
        found = _value(text, marker.end(), scale, strict=False) or found
    return found


def _opening(text: str, scale: Scale) -> _Found | None:
    found = _value(text, 0, scale, strict=True)
    if found is not None and found.note == _AMBIGUOUS and CHOICE.search(text):
        # The options told again, and then a choice.
        return None
    return found


def _chosen(text: str, scale: Scale) -> _Found | None:
    found: _Found | None = None
    for choice in CHOICE.finditer(text):
        found = _value(text, choice.end(), scale, strict=True) or found
    if found is not None:
        return found
    named = [_value(text, option.end(), scale, strict=False) for option in OPTION.finditer(text)]
    distinct = {(one.code, one.status): one for one in named if one is not None}
    return next(iter(distinct.values())) if len(distinct) == 1 else None


def _only_mention(text: str, scale: Scale) -> _Found | None:
    """Return the one option that the text names in passing: `that is a 7, honestly`, `it is rather important to us`."""
    numbers = {found for found in _passing_numbers(text) if found in scale.numbers}
    if len(numbers) > 1:
        return _Found(None, "unparsed", _AMBIGUOUS)
    if numbers:
        return _Found(scale.numbers[numbers.pop()], "answered")
    spans: list[tuple[int, int, Label]] = []
    for label in scale.labels:
        for match in label.pattern.finditer(text):
            inside = any(begin <= match.start() and match.end() <= end for begin, end, _ in spans)
            # Short words (`No`) are everywhere; they count only where a value is expected.
            if not inside and (len(label.text) > 3 or not spaced(label.text[0])):
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
