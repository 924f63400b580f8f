r"""Parsing of a judge's text into a verdict by the rules of `closing`: `Verdict: 1`, `**Final verdict:** Answer 2`, `\boxed{tie}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valuestrata.openended.closing import Closing, closing_form, closing_reading, read_closing
from valuestrata.openended.pairwise.prompts import FIRST, LABELS, SECOND, TIE
from valuestrata.respondents.base import Answer
from valuestrata.responses.parse.read import AnswerReading, row_of

_FORM = closing_form(
    "verdict",
    "1, 2 or tie",
    {"1": FIRST, "one": FIRST, "2": SECOND, "two": SECOND, "tie": TIE, "tied": TIE, "draw": TIE},
    words=r"\bverdict",
    # `One could say` is not a verdict: a number word must end the phrase.
    values=r"(?:1|2|(?:one|two)(?=[\s*_\"'`”’)\]}>]*(?:\Z|[.,;:!?\n]))|tied?|draw)(?![\w%]|[.,]\d)",
    lead=r"(?:the\s+)?(?:answer|response)\b|an?\b|no\.",
)


def read_verdict(text: str) -> Closing:
    """Parse a judge's text; the code is FIRST, SECOND or TIE."""
    return read_closing(text, _FORM)


def verdict_row(answer: Answer) -> dict[str, Any]:
    """Return the row (RESPONSES) of a judge's answer: `answer` is the code of the verdict, `reasoning` the rationale."""
    return row_of(answer, LABELS, _verdict_of)


def _verdict_of(answer: Answer, text: str, _labels: Mapping[int, str]) -> AnswerReading:
    return closing_reading(answer, text, _FORM)
