"""Prompt: one question to one persona, rendered, with all that identifies it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from valuestrata.errors import one_of

Role = Literal["system", "user", "assistant"]
Elicitation = Literal["text", "logprob", "first-token", "stated-distribution", "reasoned", "open"]
# The readouts of a closed question. Under `open` the item's open question is asked, and there is no option to read out.
ELICITATIONS: tuple[Elicitation, ...] = ("text", "logprob", "first-token", "stated-distribution", "reasoned")
OPEN: Elicitation = "open"


def elicitation_of(word: str) -> Elicitation:
    """Return the elicitation called `word`; UsageError with a suggestion if there is none."""
    return one_of(word, (*ELICITATIONS, OPEN), "There is no elicitation")


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to one persona, rendered, with all that identifies it.

    Attributes:
        pair_id, item, subgroup: the pair asked.
        messages: the chat, ending with the user's turn.
        prefill: how the assistant's turn starts under `logprob` and `first-token` (`Answer:`).
        options: the answer strings as the prompt shows them (`1`, `2`, ...), in displayed order; none under `open`.
        shown: scale codes in displayed order; `shown[i]` is what `options[i]` means.
        elicitation: how the answer is drawn out.
        template, template_version, paraphrase: which recipe rendered it, and in which of its wordings.
        order: name of the option order: `scale`, `reversed`, `shuffled-SEED` or `balanced-I-of-N`.
        sample: 0, 1, ... when a prompt is asked more than once.
    """

    pair_id: str
    item: str
    subgroup: str
    messages: tuple[Message, ...]
    prefill: str
    options: tuple[str, ...]
    shown: tuple[int, ...]
    elicitation: Elicitation
    template: str
    template_version: str
    order: str = "scale"
    paraphrase: int = 0
    sample: int = 0

    @property
    def hash(self) -> str:
        """SHA-256 over everything the respondent model sees (messages, prefill, options), in hex."""
        seen = "".join([_part(message.role) + _part(message.content) for message in self.messages])
        return _digest(seen + _parts((self.prefill, *self.options)))

    @property
    def key(self) -> str:
        """Identity of this question within a run: what is asked, how it is read out, and which sample."""
        how = (self.elicitation, self.template, self.template_version, self.order, str(self.paraphrase), str(self.sample))
        return _digest(_part(self.pair_id) + _part(self.hash) + _parts(how))


def _part(text: str) -> str:
    # Each part behind its length, so that no two lists run together alike; JSON would say the same at thrice the time,
    # which a run of millions of prompts would spend each time it is resumed.
    return f"{len(text)}:{text}"


# The same few for all prompts of an item, an order or a run.
@lru_cache(maxsize=4096)
def _parts(texts: tuple[str, ...]) -> str:
    return "".join(map(_part, texts))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
