r"""Parsing of a judge's text into a verdict or a named failure.

A verdict is marked (`Verdict: 1`, `**Final verdict:** Answer 2`, `verdict is \boxed{tie}`); the last mark outside a thought counts.
Without a mark, the last line may contain only the verdict (`2`, `Tie.`). Anything else is `unparsed`: praise of one answer, `1 or 2`,
a repetition of all three forms, or a mark that the judge quotes within a sentence, because a judged answer may contain one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from valuestrata.openended.pairwise.prompts import FIRST, LABELS, SECOND, TIE
from valuestrata.respondents.base import Answer
from valuestrata.responses.parse.choice import refuses
from valuestrata.responses.parse.normalise import thoughts_blanked
from valuestrata.responses.parse.read import row_of, was_cut_off

_CODES = {"1": FIRST, "one": FIRST, "2": SECOND, "two": SECOND, "tie": TIE, "tied": TIE, "draw": TIE}
_MARKUP = r"[\s*_\"'`“”‘’(\[{<#$]"
_VALUE = (
    rf"(?:\\boxed\s*\{{|\\text\s*\{{|(?:the\s+)?(?:answer|response)\b|an?\b|no\.|{_MARKUP}){{0,12}}?"
    # `One could say` is not a verdict: a number word must end the phrase.
    r"(?P<value>1|2|(?:one|two)(?=[\s*_\"'`”’)\]}>]*(?:\Z|[.,;:!?\n]))|tied?|draw)(?![\w%]|[.,]\d)"
)
_MARK = re.compile(rf"\bverdict[*_\"'`”’)\]]*(?:\s*[:=]+|\s+is\b\s*:?|\s*[-–—>]+){_MARKUP}*", re.IGNORECASE)
_AT_MARK = re.compile(_VALUE, re.IGNORECASE)
_ALONE = re.compile(rf"{_MARKUP}*{_VALUE}[\s*_\"'`“”‘’)\]}}>.!$]*", re.IGNORECASE)
_OTHERS = re.compile(
    r"[\s*_\"'`”’)\]}]*[,;]?\s*(?:or|and|/|,|&|\||vs\.?)[\s*_\"'`“‘(\[{]*(?:the\s+)?(?:answer\s*)?(?:1|2|one|two|tie|draw)\b", re.IGNORECASE
)
# Maximum length of a line that contains only a verdict.
_LONGEST_LINE = 40
# A quotation that opens directly before the mark. Double quotes are counted instead, because they can span a sentence.
_OPENED = re.compile(r"[\s(:,–—-]['`‘«](?:(?:my|the|final|overall)\b|[\s*_])*\Z", re.IGNORECASE)
# A line that begins with a quotation mark is a quoted reply or JSON, not a quotation of an answer.
_BEGINS_WITH_WORDS = re.compile(r"[^\w\"'`“‘«]*\w")
_KEY = re.compile(r"verdict[\"'`]", re.IGNORECASE)
_LOOK_BACK = 2000
_FILLER = re.compile(r"[\s*_\"'`“”‘’)\]}>.,;:!|/-]*")


@dataclass(frozen=True)
class Verdict:
    """A parsed verdict.

    Attributes:
        code: FIRST, SECOND or TIE, None without a verdict. status: answered, refused or unparsed. note: why there is no verdict.
        at: offset of the closing part; the text before it is the rationale.
    """

    code: int | None
    status: str
    note: str | None
    at: int


def read_verdict(text: str) -> Verdict:
    """Parse a judge's text."""
    visible, _ = thoughts_blanked(text)
    marks = [(mark, _AT_MARK.match(visible, mark.end())) for mark in _MARK.finditer(visible) if not _quoted(visible, mark.start())]
    if marks:
        return _of_marks(visible, marks)
    start = visible.rstrip().rfind("\n") + 1
    line = visible[start:].strip()
    last = _ALONE.fullmatch(line) if len(line) <= _LONGEST_LINE else None
    if last is not None:
        return Verdict(_CODES[last["value"].lower()], "answered", None, start)
    if not visible.strip():
        return Verdict(None, "unparsed", "empty", 0)
    if refuses(visible):
        return Verdict(None, "refused", None, 0)
    return Verdict(None, "unparsed", "no verdict in the text", 0)


def _quoted(visible: str, at: int) -> bool:
    """Return whether the text at `at` is inside a quotation that opened in its line."""
    line = visible[max(visible.rfind("\n", 0, at) + 1, at - _LOOK_BACK) : at]
    if _KEY.match(visible, at) or not _BEGINS_WITH_WORDS.match(line):
        return False
    return line.count('"') % 2 == 1 or line.count("“") > line.count("”") or _OPENED.search(line[-_LONGEST_LINE:]) is not None


def _of_marks(visible: str, marks: list[tuple[re.Match[str], re.Match[str] | None]]) -> Verdict:
    mark, value = marks[-1]
    at = visible.rfind("\n", 0, mark.start()) + 1
    if value is None:
        return Verdict(None, "unparsed", "the verdict is not 1, 2 or tie", at)
    code = _CODES[value["value"].lower()]
    if _OTHERS.match(visible, value.end()):
        return Verdict(None, "unparsed", "more than one verdict", at)
    if len(marks) > 1 and (before := marks[-2][1]) is not None:
        repeated = _FILLER.fullmatch(visible[before.end() : mark.start()]) is not None
        if repeated and _CODES[before["value"].lower()] != code:
            return Verdict(None, "unparsed", "more than one verdict", at)
    return Verdict(code, "answered", None, at)


def verdict_row(answer: Answer) -> dict[str, Any]:
    """Return the row (RESPONSES) of a judge's answer: `answer` is the code of the verdict, `reasoning` the rationale."""
    if answer.error is not None or answer.option_probs is not None or answer.choice is not None:
        return row_of(answer, LABELS)
    # Lone surrogates cannot be stored; the replacement has the same length, so offsets stay valid.
    text = (answer.text or "").encode("utf-8", "replace").decode("utf-8")
    row = row_of(replace(answer, text=text), LABELS)
    if row["status"] == "failed":
        return row
    read = read_verdict(text)
    thoughts = [thought for thought in (answer.reasoning, text[: read.at].strip()) if thought]
    note = read.note
    if read.status == "unparsed" and was_cut_off(answer):
        note = f"cut off ({note}); increase max_new_tokens"
    reasoning = "\n\n".join(thoughts).encode("utf-8", "replace").decode("utf-8") if thoughts else None
    return row | {"answer": read.code, "status": read.status, "error": note, "text": text[read.at :], "reasoning": reasoning}
