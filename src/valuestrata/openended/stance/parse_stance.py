"""Parsing of a judge's reasoned reading into an option: `Answer: 3`, `**Final answer:** 3. Not much`, by the rules of `closing`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from valuestrata.openended.closing import ClosingForm, closing_form, closing_reading
from valuestrata.prompts.prompt import Prompt
from valuestrata.respondents.base import Answer
from valuestrata.responses.parse.normalise import folded
from valuestrata.responses.parse.patterns import ANSWER, WORDS
from valuestrata.responses.parse.read import AnswerReading

# The end of a phrase: a label or number word is not the beginning of a sentence (`One could say`).
_END = r"(?=[\s*_\"'`”’)\]}>]*(?:\Z|[.,;:!?(/|\n–—-]|(?:because|or|and)\b))"


def stance_reading(answer: Answer, text: str, labels: Mapping[int, str]) -> AnswerReading:
    """Read a judge's text under `reasoned`.

    Args:
        answer: the judge's answer. text: its text. labels: scale code -> label of the options, the one without a stance included.
    """
    return closing_reading(answer, text, stance_form(answer.prompt, labels))


def stance_form(prompt: Prompt, labels: Mapping[int, str]) -> ClosingForm:
    """Return how a judge closes its reading: with the number or the label of an option."""
    return _form(prompt.options, prompt.shown, tuple(labels.items()))


# A run has a few hundred questions with thousands of answers each.
@lru_cache(maxsize=1024)
def _form(options: tuple[str, ...], shown: tuple[int, ...], labels: tuple[tuple[int, str], ...]) -> ClosingForm:
    codes = dict(zip(options, shown, strict=True))
    words = {word: codes[str(number)] for word, number in WORDS.items() if str(number) in codes}
    texts = [(" ".join(label.lower().split()), code) for code, label in labels]
    texts = [(text, code) for text, code in texts if folded(text) and not re.fullmatch(r"[-+]?\d+", text)]
    # A label that two options share names neither.
    known = {text: code for text, code in texts if text not in codes and sum(other == text for other, _ in texts) == 1}
    numbers = rf"(?:{_any(codes)})(?![\w%]|[.,]\d)"
    named = _any({**words, **known})
    return closing_form(
        "answer",
        f"an option from {options[0]} to {options[-1]}",
        {**known, **words, **codes},
        words=rf"(?<![a-z]){ANSWER}",
        values=rf"(?:{numbers}|(?:{named}){_END})",
        whole=rf"\s*(?:/|out\s+of|of)\s*(?:{'|'.join(options[-2:])})(?![\w.]\d?)",
        lead=r"(?:the\s+)?(?:final\s+)?(?:answer|option|number|choice|code)\b|no\.",
        separators="|to|through|[–—-]",
        others=[rf"[ \t*_.):\]\"',;=–—-]*[(\"'“]?(?P<other>{_any(known)}){_END}"] if known else [],
        ordinary=True,
    )


def _any(words: Mapping[str, int]) -> str:
    return "|".join(r"\s+".join(map(re.escape, word.split())) for word in sorted(words, key=len, reverse=True))
