r"""From what a judge wrote to a verdict, or to a named failure.

A verdict is marked (`Verdict: 1`, `**Final verdict:** Answer 2`, `verdict is \boxed{tie}`), the last mark outside a thought being
the judge's; or it is all that the last line holds (`2`, `Tie.`). Anything else is `unparsed`: praise of one answer is no verdict,
nor is `1 or 2`, nor the three forms told again, nor a mark that the judge quotes within a sentence (`Answer 2 says "Verdict: 2"`):
an answer that calls itself the better one must not win by it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, NamedTuple

from valuestrata.openended.pairwise.prompts import FIRST, LABELS, SECOND, TIE
from valuestrata.respondents.base import Answer
from valuestrata.responses.parse.choice import refuses
from valuestrata.responses.parse.normalise import thoughts_blanked
from valuestrata.responses.parse.read import row_of, was_cut_off

_CODES = {"1": FIRST, "one": FIRST, "2": SECOND, "two": SECOND, "tie": TIE, "tied": TIE, "draw": TIE}
_MARKUP = r"[\s*_\"'`“”‘’(\[{<#$]"
_VALUE = (
    rf"(?:\\boxed\s*\{{|\\text\s*\{{|(?:the\s+)?(?:answer|response)\b|an?\b|no\.|{_MARKUP}){{0,12}}?"
    # `One could say` opens no verdict, so that a number word needs an end behind it.
    r"(?P<value>1|2|(?:one|two)(?=[\s*_\"'`”’)\]}>]*(?:\Z|[.,;:!?\n]))|tied?|draw)(?![\w%]|[.,]\d)"
)
_MARK = re.compile(rf"\bverdict[*_\"'`”’)\]]*(?:\s*[:=]+|\s+is\b\s*:?|\s*[-–—>]+){_MARKUP}*", re.IGNORECASE)
_AT_MARK = re.compile(_VALUE, re.IGNORECASE)
_ALONE = re.compile(rf"{_MARKUP}*{_VALUE}[\s*_\"'`“”‘’)\]}}>.!$]*", re.IGNORECASE)
_OTHERS = re.compile(
    r"[\s*_\"'`”’)\]}]*[,;]?\s*(?:or|and|/|,|&|\||vs\.?)[\s*_\"'`“‘(\[{]*(?:the\s+)?(?:answer\s*)?(?:1|2|one|two|tie|draw)\b", re.IGNORECASE
)
# A line that holds a verdict and nothing else is no longer than this.
_LONGEST_LINE = 40
# A quotation that opens right before the mark; double quotes are counted instead, for a sentence may stand between.
_OPENED = re.compile(r"[\s(:,–—-]['`‘«](?:(?:my|the|final|overall)\b|[\s*_])*\Z", re.IGNORECASE)
# A line that begins with a quotation mark is a reply in quotation marks, or JSON: it quotes nobody.
_BEGINS_WITH_WORDS = re.compile(r"[^\w\"'`“‘«]*\w")
_KEY = re.compile(r"verdict[\"'`]", re.IGNORECASE)
_LOOK_BACK = 2000
_NOTHING = re.compile(r"[\s*_\"'`“”‘’)\]}>.,;:!|/-]*")


class Verdict(NamedTuple):
    """A verdict read from a text.

    Attributes:
        code: FIRST, SECOND or TIE; None without one. status: answered, refused or unparsed. note: why there is none.
        at: where its closing part begins; what stands before is the rationale.
    """

    code: int | None
    status: str
    note: str | None
    at: int


def read_verdict(text: str) -> Verdict:
    """Read a judge's text."""
    said, _ = thoughts_blanked(text)
    marks = [(mark, _AT_MARK.match(said, mark.end())) for mark in _MARK.finditer(said) if not _quoted(said, mark.start())]
    if marks:
        return _of_marks(said, marks)
    start = said.rstrip().rfind("\n") + 1
    line = said[start:].strip()
    last = _ALONE.fullmatch(line) if len(line) <= _LONGEST_LINE else None
    if last is not None:
        return Verdict(_CODES[last["value"].lower()], "answered", None, start)
    if not said.strip():
        return Verdict(None, "unparsed", "empty", 0)
    if refuses(said):
        return Verdict(None, "refused", None, 0)
    return Verdict(None, "unparsed", "no verdict in the text", 0)


def _quoted(said: str, at: int) -> bool:
    """Whether the word at `at` stands in a quotation that opened within its line."""
    line = said[max(said.rfind("\n", 0, at) + 1, at - _LOOK_BACK) : at]
    if _KEY.match(said, at) or not _BEGINS_WITH_WORDS.match(line):
        return False
    return line.count('"') % 2 == 1 or line.count("“") > line.count("”") or _OPENED.search(line[-_LONGEST_LINE:]) is not None


def _of_marks(said: str, marks: list[tuple[re.Match[str], re.Match[str] | None]]) -> Verdict:
    mark, value = marks[-1]
    at = said.rfind("\n", 0, mark.start()) + 1
    if value is None:
        return Verdict(None, "unparsed", "the verdict is none of 1, 2 and tie", at)
    code = _CODES[value["value"].lower()]
    if _OTHERS.match(said, value.end()):
        return Verdict(None, "unparsed", "more than one verdict", at)
    if len(marks) > 1 and (before := marks[-2][1]) is not None:
        told_again = _NOTHING.fullmatch(said[before.end() : mark.start()]) is not None
        if told_again and _CODES[before["value"].lower()] != code:
            return Verdict(None, "unparsed", "more than one verdict", at)
    return Verdict(code, "answered", None, at)


def verdict_row(answer: Answer) -> dict[str, Any]:
    """Return the row (RESPONSES) of a judge's answer: `answer` is FIRST, SECOND or TIE, `reasoning` the rationale."""
    if answer.error is not None or answer.option_probs is not None or answer.choice is not None:
        return row_of(answer, LABELS)
    # Half a surrogate pair would not be stored; what stands for it is as long.
    text = (answer.text or "").encode("utf-8", "replace").decode("utf-8")
    row = row_of(replace(answer, text=text), LABELS)
    if row["status"] == "failed":
        return row
    read = read_verdict(text)
    thoughts = [thought for thought in (answer.reasoning, text[: read.at].strip()) if thought]
    note = read.note
    if read.status == "unparsed" and was_cut_off(answer):
        note = f"cut off before it was finished ({note}); raise max_new_tokens"
    reasoning = "\n\n".join(thoughts).encode("utf-8", "replace").decode("utf-8") if thoughts else None
    return row | {"answer": read.code, "status": read.status, "error": note, "text": text[read.at :], "reasoning": reasoning}
