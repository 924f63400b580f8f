"""What a model wrote under `reasoned`, cut in two: the thinking, and the closing part that holds the answer.

The cut stands before the last marked answer (`Answer: 3`) that is outside a thought (`<think>...</think>`); where nothing
is marked, behind the last thought. Nothing is lost: thinking and closing part are the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from valuestrata.responses.parse.choice import is_marked
from valuestrata.responses.parse.normalise import thoughts_blanked
from valuestrata.responses.parse.patterns import MARKER_LEAD, MARKER_WORD

# How far before `Answer` something is looked for that belongs to it: quotes, stars, `my final`.
_LEAD = 16


@dataclass(frozen=True, slots=True)
class Reasoned:
    """A text cut in two.

    Attributes:
        thinking: what stands before the closing part; empty where nothing does.
        closing: the rest, `thinking + closing` being the text.
        marked: whether the closing part is a marked answer.
    """

    thinking: str
    closing: str
    marked: bool


def split_reasoned(text: str, prompt_options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> Reasoned:
    """Cut a text that thinks and then answers.

    Args:
        text: what the model wrote, without reasoning that the provider gave apart.
        prompt_options: the answer strings of the prompt, in displayed order.
        shown: the scale code of each of them.
        labels: the label of each scale code.
    """
    said, end = thoughts_blanked(text)
    at = _last_marked(said, prompt_options, shown, labels)
    marked = at is not None
    if at is None:
        # A thought behind everything else leaves the answer before it.
        at = end if said[end:].strip() or not said.strip() else 0
    if not text[:at].strip():
        at = 0
    return Reasoned(text[:at], text[at:], marked)


def _last_marked(said: str, prompt_options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> int | None:
    """Return where the last marked answer begins. Each marker is read up to the next one, so that the text is read once."""
    end = len(said)
    for word in reversed(list(MARKER_WORD.finditer(said))):
        lead = MARKER_LEAD.search(said[max(0, word.start() - _LEAD) : word.start()])
        at = word.start() - (len(lead[0].lstrip()) if lead is not None else 0)
        # `Answer 3` is a marked answer where it opens a line, and not within a sentence.
        within = said[max(said.rfind("\n", 0, at) + 1, at - _LEAD) : at].strip(" \t#>")
        if is_marked(("- " if within else "") + said[word.start() : end], prompt_options, shown, labels):
            return at
        end = word.start()
    return None
