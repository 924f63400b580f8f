"""What a model wrote, evened out: thoughts set apart, digits, quotes and spaces plain, markup gone."""

from __future__ import annotations

import re
import unicodedata

_THOUGHT = re.compile(r"<(think|thinking|reasoning|thought)\b[^>]*>.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
# Some chat templates open the thought themselves, so that only its end is in the text.
_THOUGHT_END = re.compile(r"\A.*</(?:think|thinking|reasoning|thought)\s*>", re.IGNORECASE | re.DOTALL)
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_LATEX = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_TURN_MARKS = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>|<(?:end_of_turn|eos)>")
_ODD = str.maketrans(
    {"’": "'", "‘": "'", "´": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "−": "-", "*": "", "`": "", "\u200b": ""}
)


def without_thoughts(text: str) -> str:
    """Return the text without what stands in `<think>` and the like; a thought without an end goes to the end of the text."""
    return _THOUGHT_END.sub("", _THOUGHT.sub(" ", text))


def plain(text: str) -> str:
    """Return the text with plain digits, quotes and spaces, and without markup."""
    text = unicodedata.normalize("NFKC", _TURN_MARKS.sub(" ", text)).translate(_ODD)
    text = _LATEX.sub(r"\1", text)
    text = _BOXED.sub(r" Answer: \1 \n", text).replace("$", "").replace("__", "")
    text = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
    return re.sub(r"[ \t\u00a0]+", " ", text).strip()


def folded(label: str) -> str:
    """Return a label as it is compared: plain, in small letters, without marks at its ends."""
    return re.sub(r"\s+", " ", plain(label).casefold()).strip(" .,;:!?\"'()[]")


def thoughts_blanked(text: str) -> tuple[str, int]:
    """Return the text, as long as it was, with line ends for its thoughts, and where the last of them ends (0 without any)."""
    end = 0

    def blank(match: re.Match[str]) -> str:
        nonlocal end
        end = max(end, match.end())
        return "\n" * len(match[0])

    return _THOUGHT_END.sub(blank, _THOUGHT.sub(blank, text)), end
