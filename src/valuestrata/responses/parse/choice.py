r"""Parse a model's text into a scale code, or a failure status.

The parser tries, in this order: a marked answer (`Answer: 3`, `"answer": 3`, `\boxed{3}`; the last one if there are several),
the beginning of the text (`3.`, `2) Rather important`), a sentence that chooses (`I would say 3`, `Option 3`), a refusal, and
a number or label that is the only one in the text. Numbers take precedence over labels; a contradiction is noted. Nothing
is guessed: two possible answers are `unparsed`, and a number that is not an option is `invalid_code`. Shares of options
(`1: 20%, 2: 80%`, `{"1": 20, "2": 80}`) are not an answer. Next to them, only a marked or chosen answer, or one at the beginning, counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from valuestrata.responses.parse.normalise import plain, without_thoughts
from valuestrata.responses.parse.options import Label, ParseStatus, Scale, spaced
from valuestrata.responses.parse.patterns import (
    AFTER_ANSWER,
    ALTERNATIVE,
    CHOICE,
    DENOMINATOR,
    DONT_KNOW,
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
from valuestrata.responses.parse.shares import without_shares


@dataclass(frozen=True, slots=True)
class Parsed:
    """Result of parsing.

    Attributes:
        answer: scale code, one of `shown`; None unless `status` is `answered`.
        status: `answered`, `refused`, `unparsed` or `invalid_code`.
        note: reason of a failure, or a contradiction in the text.
    """

    answer: int | None
    status: ParseStatus
    note: str | None = None


def parse_answer(text: str, prompt_options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> Parsed:
    """Parse a model's text.

    Args:
        prompt_options: answer strings of the prompt, in displayed order.
        shown: scale code of each option.
        labels: label of each scale code, as in the prompt; codes may have none.
    """
    scale = Scale.of(prompt_options, shown, labels)
    # Most answers are no more than a number.
    alone = _ALONE.fullmatch(text)
    if alone is not None and int(alone[1]) in scale.numbers:
        return Parsed(scale.numbers[int(alone[1])], "answered")
    clean = plain(without_thoughts(text))
    if not clean:
        return Parsed(None, "unparsed", "empty")
    clean = scale.without_range(clean)
    if _only_numbers(clean, scale):
        return Parsed(None, "unparsed", _AMBIGUOUS)
    others = without_shares(clean, scale)
    stated, clean = others is not None, clean if others is None else others.strip()
    marked = _marked(clean, scale)
    if marked is None and NO_REFUSAL.match(clean):
        return Parsed(None, "refused")
    for found in (marked, _opening(clean, scale), _chosen(clean, scale)):
        if found is not None:
            return found
    if REFUSAL.search(clean) or SHORT_REFUSAL.fullmatch(clean) or DONT_KNOW.search(clean):
        return Parsed(None, "refused")
    if stated:
        return Parsed(None, "unparsed", "shares of options, not an answer")
    found = _only_mention(clean, scale)
    return found or Parsed(None, "unparsed", "no answer in the text")


def says_dont_know(text: str) -> bool:
    """Whether a text answers "don't know": as the whole text, or marked at its end (`Answer: don't know`)."""
    return DONT_KNOW.search(plain(without_thoughts(text))) is not None


def is_marked(text: str, prompt_options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> bool:
    """Whether a text marks an answer (`Answer: 3`), valid or not; arguments as for `parse_answer`."""
    scale = Scale.of(prompt_options, shown, labels)
    clean = scale.without_range(plain(without_thoughts(text)))
    return _marked(clean, scale) is not None


# From this many words outside its refusing sentences, a text is an answer; an apology and an offer of help have fewer.
_ANSWER_WORDS = 25


def refuses(text: str) -> bool:
    """Whether an open answer is a refusal.

    It is if it is a short refusal only (`No comment.`), or if one of its sentences refuses (`As an AI, I do not have personal
    opinions.`) and the others together have fewer than 25 words. A model that first refuses and then speaks as the person
    has answered.
    """
    clean = plain(without_thoughts(text))
    if SHORT_REFUSAL.fullmatch(clean):
        return True
    sentences = re.split(r"(?<=[.!?])\s+|\n+", clean)
    others = [sentence for sentence in sentences if not REFUSAL.search(sentence)]
    return len(others) < len(sentences) and sum(len(sentence.split()) for sentence in others) < _ANSWER_WORDS


# --- one value --------------------------------------------------------------------------------------------------------

# Numbered lists: `1. Very important 2. ...` (`2.` alone on a numeric scale), or a bare number per line.
_ITEMS = (
    re.compile(r"(?<![\w.,-])(?<!ption )(-?\d{1,9})[.):](?:[ \t]+(?=\S)|[ \t]*$)", re.MULTILINE),
    re.compile(r"^[ \t]*(-?\d{1,9})[ \t]*$", re.MULTILINE),
)
_LABEL_GAP = re.compile(r"[\s.):\]\"',;=–—-]*\(?[\"']?")


_ALONE = re.compile(r"\s*(?:Answer:\s*)?([0-9]{1,9})\s*")
_LETTER = re.compile(r"[^\W\d_]")
_DIGITS = 12
# Characters read after a value; without a bound, a text that only repeats options would take quadratic time.
_REACH = 300
_AMBIGUOUS = "more than one answer"


def _value(text: str, at: int, scale: Scale, *, strict: bool) -> Parsed | None:
    """Read the value at `at`; with `strict`, only if the following text shows that it is an answer."""
    junk = JUNK.match(text, at)
    start = junk.end() if junk is not None else at
    number = NUMBER.match(text, start)
    if number is not None:
        return _numbered(text, number, scale, strict=strict)
    word = NUMBER_WORD.match(text, start)
    if word is not None:
        if ALTERNATIVE.match(text, word.end()):
            return Parsed(None, "unparsed", _AMBIGUOUS)
        value = WORDS[str(word[2]).lower()] * (-1 if word[1] else 1)
        return _coded(value, word[0], text[word.end() : word.end() + _REACH], scale)
    for mark, code in scale.marks.items():
        end = start + len(mark)
        if text[start:end].casefold() == mark and re.match(r"\W|\Z", text[end : end + _REACH]):
            return Parsed(code, "answered", _contradiction(code, text[end : end + _REACH], scale))
    return _labelled(text, start, scale, strict=strict)


def _numbered(text: str, number: re.Match[str], scale: Scale, *, strict: bool) -> Parsed | None:
    rest = text[number.end() : number.end() + _REACH]
    repeated = _repeats_itself(number[0], rest, scale)
    over = None if repeated else DENOMINATOR.match(rest)
    if over is not None and (highest := int(over[1][:9])) >= max(scale.numbers, default=0):
        if highest not in (max(scale.numbers, default=0), len(scale.numbers)) and number[0] in map(str, scale.numbers):
            return Parsed(None, "unparsed", f"a rating out of {highest}, which is another scale")
        rest = rest[over.end() :]
    elif (not repeated and ALTERNATIVE.match(rest)) or _or_another(rest, scale) or _restates(text, number, scale):
        return Parsed(None, "unparsed", _AMBIGUOUS)
    elif strict and not AFTER_ANSWER.match(rest) and _label_at(rest, scale) is None:
        return None
    # `3.0` is 3. A number with thousands of digits is refused before it is converted.
    whole, _, fraction = number[0].replace("–", "-").partition(".")
    if len(whole) > _DIGITS or fraction.strip("0"):
        return Parsed(None, "invalid_code", f"{number[0][:_DIGITS]} is not one of the options")
    return _coded(int(whole), number[0], rest, scale)


def _repeats_itself(number: str, rest: str, scale: Scale) -> bool:
    """Whether a number is followed by itself or by its own label, which may start with a number: `2 / 10-25%`."""
    gap = re.match(r"[\s\"')\]|/:=–—-]+", rest)
    if gap is None or not number.isdigit():
        return False
    code = scale.numbers.get(int(number[:_DIGITS]))
    own = any(label.code == code and label.pattern.match(rest, gap.end()) for label in scale.labels)
    return own or re.match(rf"{number}(?![\w.%])", rest[gap.end() :]) is not None


def _coded(value: int, written: str, rest: str, scale: Scale) -> Parsed:
    if value not in scale.numbers:
        return Parsed(None, "invalid_code", f"{written} is not one of the options")
    code = scale.numbers[value]
    return Parsed(code, "answered", _contradiction(code, rest, scale))


def _restates(text: str, number: re.Match[str], scale: Scale) -> bool:
    """Whether a number starts a list that continues with the next option, as when the options are repeated."""
    order = list(scale.numbers)
    for kind in _ITEMS:
        found = islice(kind.finditer(text, max(0, number.start() - 1), number.end() + _REACH), 2)
        items = [item for item in found if item.start() <= number.start() or item.start() > number.end()]
        # `(0)` followed by `1.` is an answer and a list, not one list.
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
    """Whether a label at the start is followed by another option: `1 (Yes) or 2 (No)`."""
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


def _labelled(text: str, start: int, scale: Scale, *, strict: bool) -> Parsed | None:
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
            return Parsed(
                code, "answered", None if scale.texts.get(code) == label.text else f"the label {label.text!r} belongs to another option"
            )
        other = re.match(r"\s*(?:,|/|or|and)\s+", rest)
        if other is not None and any(one.code != label.code and one.pattern.match(rest, other.end()) for one in scale.labels):
            return Parsed(None, "unparsed", _AMBIGUOUS)
        return _shared(label, scale)
    return None


def _shared(label: Label, scale: Scale) -> Parsed:
    if sum(text == label.text for text in scale.texts.values()) > 1:
        return Parsed(None, "unparsed", f"the label {label.text!r} belongs to several options")
    return Parsed(label.code, "answered")


# --- places of values -------------------------------------------------------------------------------------------------

_NEGATION = re.compile(r"(?:\bnot|n't|\bnever|\bneither|\bnor|\bwithout|\bhardly)(?: \w+){0,4}\s*[\"'(]?\Z", re.IGNORECASE)


def _only_numbers(text: str, scale: Scale) -> bool:
    """Whether a text is a list of lines with one number each, of different options."""
    if "\n" not in text or _LETTER.search(text):
        return False
    lines = [line.strip(" .,;:-•()[]\"'") for line in text.split("\n") if line.strip()]
    return len(set(lines)) > 1 and all(re.fullmatch(r"\d{1,9}", line) and int(line) in scale.numbers for line in lines)


def _marked(text: str, scale: Scale) -> Parsed | None:
    found: Parsed | None = None
    for marker in MARKER.finditer(text):
        # `Answer: N`, which repeats the requested form, has no value.
        found = _value(text, marker.end(), scale, strict=False) or found
    return found


def _opening(text: str, scale: Scale) -> Parsed | None:
    found = _value(text, 0, scale, strict=True)
    repeats_options = found is not None and found.note == _AMBIGUOUS and CHOICE.search(text)
    return None if repeats_options else found


def _chosen(text: str, scale: Scale) -> Parsed | None:
    found: Parsed | None = None
    for choice in CHOICE.finditer(text):
        found = _value(text, choice.end(), scale, strict=True) or found
    if found is not None:
        return found
    named = [_value(text, option.end(), scale, strict=False) for option in OPTION.finditer(text)]
    distinct = {(one.answer, one.status): one for one in named if one is not None}
    return next(iter(distinct.values())) if len(distinct) == 1 else None


def _only_mention(text: str, scale: Scale) -> Parsed | None:
    """Return the only option that the text mentions: `that is a 7, honestly`, `it is rather important to us`."""
    numbers = {found for found in _passing_numbers(text) if found in scale.numbers}
    if len(numbers) > 1:
        return Parsed(None, "unparsed", _AMBIGUOUS)
    if numbers:
        return Parsed(scale.numbers[numbers.pop()], "answered")
    spans: list[tuple[int, int, Label]] = []
    for label in scale.labels:
        for match in label.pattern.finditer(text):
            inside = any(begin <= match.start() and match.end() <= end for begin, end, _ in spans)
            # Short words (`No`) are too common to count here.
            if not inside and (len(label.text) > 3 or not spaced(label.text[0])):
                spans.append((match.start(), match.end(), label))
    named = {label.text: label for begin, _, label in spans if not _NEGATION.search(text[max(0, begin - 40) : begin])}
    if len(named) > 1 or (named and len(named) < len({label.text for _, _, label in spans})):
        return Parsed(None, "unparsed", _AMBIGUOUS)
    return _shared(next(iter(named.values())), scale) if named else None


def _passing_numbers(text: str) -> Iterator[int]:
    for match in re.finditer(r"(?<![\w.,/-])-?\d{1,9}(?![\w%]|[.,/]\d|-\d)", text):
        before, rest = text[max(0, match.start() - 30) : match.start()], text[match.end() : match.end() + _REACH]
        known = re.search(r"(?:\b(?:in|aged?|question|q|item|page|section|about|over|under|than|of the)|[€£#])\s*\Z", before, re.IGNORECASE)
        if known is None and (AFTER_ANSWER.match(rest) or DENOMINATOR.match(rest) or ALTERNATIVE.match(rest) or re.match(r"\s+\d", rest)):
            yield int(match[0])
