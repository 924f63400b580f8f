"""Split a model's text under `reasoned` into its reasoning and the closing part with the answer.

The split is before the last marked answer (`Answer: 3`) outside `<think>...</think>`, or after the last thought if no answer
is marked. The two parts together are the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from valuestrata.responses.parse.choice import is_marked
from valuestrata.responses.parse.normalise import thoughts_blanked
from valuestrata.responses.parse.patterns import MARKER_LEAD, MARKER_WORD

# Characters before `Answer` that may belong to it: quotes, stars, `my final`.
_LEAD = 16


@dataclass(frozen=True, slots=True)
class Reasoned:
    """A text in two parts.

    Attributes:
        thinking: the text before the closing part; may be empty.
        closing: the rest.
        marked: whether the closing part is a marked answer.
    """

    thinking: str
    closing: str
    marked: bool


def split_reasoned(text: str, prompt_options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> Reasoned:
    """Split a text into reasoning and closing part.

    Args:
        text: the text, without reasoning that the provider returned separately.
        prompt_options, shown, labels: as for `parse_answer`.
    """
    clean, end = thoughts_blanked(text)
    at = _last_marked(clean, prompt_options, shown, labels)
    marked = at is not None
    if at is None:
        # If a thought is last, the answer is before it.
        at = end if clean[end:].strip() or not clean.strip() else 0
    if not text[:at].strip():
        at = 0
    return Reasoned(text[:at], text[at:], marked)


def _last_marked(clean: str, prompt_options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> int | None:
    """Return the start of the last marked answer. Each marker is read up to the next one, in linear time."""
    end = len(clean)
    for word in reversed(list(MARKER_WORD.finditer(clean))):
        lead = MARKER_LEAD.search(clean[max(0, word.start() - _LEAD) : word.start()])
        at = word.start() - (len(lead[0].lstrip()) if lead is not None else 0)
        # `Answer 3` is a marked answer only at the start of a line.
        within = clean[max(clean.rfind("\n", 0, at) + 1, at - _LEAD) : at].strip(" \t#>")
        if is_marked(("- " if within else "") + clean[word.start() : end], prompt_options, shown, labels):
            return at
        end = word.start()
    return None
