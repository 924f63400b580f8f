r"""The closing part of a judge's text: a marked value (`Verdict: 1`, `Answer: 3`), or a named failure.

Verdicts on two answers and stances of one answer are read by the same rules. The last mark outside thoughts and quotations counts. Without
a mark, the last line may contain only the value (`2`, `Tie.`). Anything else is `unparsed`: praise of one answer, `1 or 2`, a repetition
of all forms, or a mark that the judge quotes, because a judged answer may contain one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from valuestrata.respondents.base import Answer
from valuestrata.responses.parse.choice import refuses
from valuestrata.responses.parse.normalise import thoughts_blanked
from valuestrata.responses.parse.read import AnswerReading, ends_within_number
from valuestrata.responses.run.schema import Status

_MARKUP = r"[\s*_\"'`“”‘’(\[{<#$]"
_CLOSERS = r"[\s*_\"'`”’)\]}>]*"
# Maximum length of a line that contains only a value, besides the value.
_LONGEST_LINE = 37
# What may stand before a mark at the beginning of its line.
_LEAD = re.compile(r"(?:[\s*_#>\"'`“(\[{]|(?:my|the|final|closing|overall)\b)*", re.IGNORECASE)
# A quotation that opens directly before the mark. Double quotes are counted instead, because they can span a sentence.
_OPENED = re.compile(r"[\s(:,–—-]['`‘«](?:(?:my|the|final|overall)\b|[\s*_])*\Z", re.IGNORECASE)
# A line that begins with a quotation mark is a quoted reply or JSON, not a quotation of an answer.
_BEGINS_WITH_WORDS = re.compile(r"[^\w\"'`“‘«]*\w")
_LOOK_BACK = 2000
_FILLER = re.compile(r"[\s*_\"'`“”‘’)\]}>.,;:!|/-]*")
# Quoted lines (`> ...`), and the lines around quoted blocks: fences, and the delimiters of the prompt.
_QUOTED_LINE = re.compile(r"[ \t]*>{1,2}(?!>)")
_FENCE = re.compile(r"^[ \t]*(?:(?:```|~~~)[^\n`]*|<{3,}|>{3,})[ \t]*$", re.MULTILINE)
# Full-width forms that East Asian texts use in marks.
_NARROW = str.maketrans("：＝０１２３４５６７８９（）［］", ":=0123456789()[]")


@dataclass(frozen=True)
class ClosingForm:
    """How a judge closes its text.

    Attributes:
        word: the marked word, as messages name it. expected: the values, as messages name them.
        mark: the mark up to the value. key: the mark as a key of JSON.
        ordinary: whether the word is common in a rationale (`the answer is about work`); then a mark without a value counts only at the
            beginning of the last line.
        value: what may follow a mark, with the value in the group `value`. alone: a line with only a value, or a value and its name.
        others: what may follow a value that names another one, in the group `other`.
        codes: value in lower case -> code.
    """

    word: str
    expected: str
    mark: re.Pattern[str]
    key: re.Pattern[str]
    ordinary: bool
    value: re.Pattern[str]
    alone: re.Pattern[str]
    others: Sequence[re.Pattern[str]]
    codes: Mapping[str, int]

    def code_of(self, value: str) -> int:
        """Return the code of a value as it was written."""
        return self.codes[" ".join(value.lower().split())]


@dataclass(frozen=True)
class Closing:
    """A closing part.

    Attributes:
        code: code of the value, None without one. status: answered, refused or unparsed. note: why there is no value.
        at: offset of the closing part; the text before it is the rationale.
    """

    code: int | None
    status: Status
    note: str | None
    at: int


def closing_form(
    word: str,
    expected: str,
    codes: Mapping[str, int],
    *,
    words: str,
    values: str,
    lead: str,
    separators: str = "",
    whole: str = "",
    others: Sequence[str] = (),
    ordinary: bool = False,
) -> ClosingForm:
    """Return a form.

    Args:
        word, expected, codes, ordinary: see `ClosingForm`.
        words, values, lead: patterns of the marked word, of a value, and of words that may stand before a value.
        separators: further patterns between two values, each with `|` before it. whole: pattern of the text behind a value that may
            look like a second one, such as the 5 of `3 out of 5`.
        others: further patterns for the text behind a value that names the same or another one, in the group `other`.
    """
    value = rf"(?:\\boxed\s*\{{|\\text\s*\{{|{lead}|{_MARKUP}){{0,12}}?(?P<value>{values})"
    guard = f"(?!{whole})" if whole else ""
    between = (
        rf"{guard}{_CLOSERS}[,;]?\s*(?:or|and|/|,|&|\||vs\.?{separators})(?:{_MARKUP}|(?:maybe|perhaps|possibly|even)\b|{lead}){{0,12}}?"
    )
    return ClosingForm(
        word=word,
        expected=expected,
        mark=re.compile(
            rf"{words}[*_\"'`”’)\]]*(?:\s*\((?:number|code)\))?(?:\s*[:=]+|\s+(?:is|would be|amounts to)\b\s*:?|\s*[-–—>→]+){_MARKUP}*",
            re.IGNORECASE,
        ),
        key=re.compile(rf"{words}[\"'`]", re.IGNORECASE),
        ordinary=ordinary,
        value=re.compile(value, re.IGNORECASE),
        alone=re.compile(rf"{_MARKUP}*{value}(?:{'|'.join(others)})?[\s*_\"'`“”‘’)\]}}>.!$]*", re.IGNORECASE),
        others=[re.compile(pattern, re.IGNORECASE) for pattern in (rf"{between}(?P<other>{values})", *others)],
        codes=codes,
    )


def closing_reading(answer: Answer, text: str, form: ClosingForm) -> AnswerReading:
    """Return what a judge's answer says: the closing part as its text, the rationale as its reasoning."""
    read = read_closing(text, form)
    code, status, note = read.code, read.status, read.note
    if code is not None and ends_within_number(answer, text, tuple(form.codes)):
        code, status, note = None, "unparsed", "it ends within a number"
    thoughts = [thought for thought in (answer.reasoning, text[: read.at].strip()) if thought]
    return AnswerReading(code, status, note, None, text[read.at :], "\n\n".join(thoughts) if thoughts else None)


def read_closing(text: str, form: ClosingForm) -> Closing:
    """Read a judge's text."""
    visible = thoughts_blanked(text)[0].translate(_NARROW)
    marks = [(mark, form.value.match(visible, mark.end())) for mark in _marks(visible, form)]
    if marks:
        return _of_marks(visible, marks, form)
    start = visible.rstrip().rfind("\n") + 1
    line = visible[start:].strip()
    last = form.alone.fullmatch(line) if len(line) <= _LONGEST_LINE + max(map(len, form.codes)) else None
    if last is not None:
        code, other = form.code_of(last["value"]), last.groupdict().get("other")
        if other is not None and form.code_of(other) != code:
            return Closing(None, "unparsed", f"more than one {form.word}", start)
        return Closing(code, "answered", None, start)
    if not visible.strip():
        return Closing(None, "unparsed", "empty", 0)
    if refuses(visible):
        return Closing(None, "refused", None, 0)
    return Closing(None, "unparsed", f"no {form.word} in the text", 0)


def _marks(visible: str, form: ClosingForm) -> list[re.Match[str]]:
    """Return the marks that are neither quoted nor ordinary words."""
    fences = [fence.start() for fence in _FENCE.finditer(visible)]
    last = visible.rstrip().rfind("\n") + 1
    found: list[re.Match[str]] = []
    for mark in form.mark.finditer(visible):
        start = visible.rfind("\n", 0, mark.start()) + 1
        if form.ordinary and not form.value.match(visible, mark.end()) and not (start >= last and _firm(visible, start, mark)):
            continue
        if not (_quoted(visible, start, mark, form) or _set_apart(visible, start, mark, fences)):
            found.append(mark)
    return found


def _quoted(visible: str, start: int, mark: re.Match[str], form: ClosingForm) -> bool:
    """Return whether a mark is inside a quotation that opened in its line, or before it and closes after it."""
    at = mark.start()
    line = visible[max(start, at - _LOOK_BACK) : at]
    if form.key.match(visible, at):
        return False
    if _BEGINS_WITH_WORDS.match(line):
        return _unclosed(line) or _OPENED.search(line[-_LONGEST_LINE:]) is not None
    paragraph = visible[max(0, start - _LOOK_BACK) : start].rpartition("\n\n")[2]
    behind = visible[mark.end() : mark.end() + _LOOK_BACK].partition("\n\n")[0]
    closes = behind.count('"') % 2 == 1 or behind.count("”") > behind.count("“")
    return '"' not in line and "“" not in line and _unclosed(paragraph) and closes


def _unclosed(text: str) -> bool:
    return text.count('"') % 2 == 1 or text.count("“") > text.count("”")


def _set_apart(visible: str, start: int, mark: re.Match[str], fences: Sequence[int]) -> bool:
    """Return whether a mark is in a quoted line or block and not in the last line of the text."""
    before = bisect_left(fences, mark.start())
    inside = before % 2 == 1 and before < len(fences)
    if not (inside or _QUOTED_LINE.match(visible, start)):
        return False
    end = visible.find("\n", mark.end())
    return end >= 0 and _FILLER.fullmatch(visible, end) is None


def _firm(visible: str, start: int, mark: re.Match[str]) -> bool:
    """Return whether a mark begins its line and has a colon, as `Answer: N` does."""
    lead = visible[start : mark.start()] if mark.start() - start <= _LONGEST_LINE else "x"
    return _LEAD.fullmatch(lead) is not None and bool(set(mark[0]) & set(":="))


def _of_marks(visible: str, marks: Sequence[tuple[re.Match[str], re.Match[str] | None]], form: ClosingForm) -> Closing:
    mark, value = marks[-1]
    at = visible.rfind("\n", 0, mark.start()) + 1
    if value is None:
        return Closing(None, "unparsed", f"the {form.word} is not {form.expected}", at)
    code = form.code_of(value["value"])
    more = [other["other"] for pattern in form.others if (other := pattern.match(visible, value.end()))]
    if len(marks) > 1 and (before := marks[-2][1]) is not None and _FILLER.fullmatch(visible[before.end() : mark.start()]):
        more.append(before["value"])
    if any(form.code_of(other) != code for other in more):
        return Closing(None, "unparsed", f"more than one {form.word}", at)
    return Closing(code, "answered", None, at)
