"""Normalise a model's text: thoughts, digits, quotes, spaces and markup."""

from __future__ import annotations

import re
import unicodedata

_THOUGHT = re.compile(r"<(think|thinking|reasoning|thought)\b[^>]*>.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
# Some chat templates open the thought, so the text has only its end.
_THOUGHT_END = re.compile(r"\A.*</(?:think|thinking|reasoning|thought)\s*>", re.IGNORECASE | re.DOTALL)
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_LATEX = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_TURN_MARKS = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>|<(?:end_of_turn|eos)>")
_ODD = str.maketrans(
    {"’": "'", "‘": "'", "´": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "−": "-", "*": "", "`": "", "\u200b": ""}
)


def without_thoughts(text: str) -> str:
    """Return the text without `<think>` and similar blocks; an unclosed block extends to the end."""
    return _THOUGHT_END.sub("", _THOUGHT.sub(" ", text))


def plain(text: str) -> str:
    """Return the text with ASCII digits, quotes and spaces, without markup."""
    text = unicodedata.normalize("NFKC", _TURN_MARKS.sub(" ", text)).translate(_ODD)
    text = _LATEX.sub(r"\1", text)
    text = _BOXED.sub(r" Answer: \1 \n", text).replace("$", "").replace("__", "")
    text = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
    return re.sub(r"[ \t\u00a0]+", " ", text).strip()


def folded(label: str) -> str:
    """Return a label for comparison: normalised, case-folded, without punctuation at its ends."""
    return re.sub(r"\s+", " ", plain(label).casefold()).strip(" .,;:!?\"'()[]")


def thoughts_blanked(text: str) -> tuple[str, int]:
    """Return the text with thoughts replaced by as many newlines, and the end of the last thought (0 if there is none)."""
    end = 0

    def blank(match: re.Match[str]) -> str:
        nonlocal end
        end = max(end, match.end())
        return "\n" * len(match[0])

    return _THOUGHT_END.sub(blank, _THOUGHT.sub(blank, text)), end
