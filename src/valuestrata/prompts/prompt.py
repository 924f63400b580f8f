"""The prompt record: one rendered question to one persona."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from valuestrata.errors import one_of

Role = Literal["system", "user", "assistant"]
Elicitation = Literal["text", "logprob", "first-token", "stated-distribution", "reasoned", "open"]
# Elicitations of closed questions. `open` asks the open question of an item, which has no options.
ELICITATIONS: tuple[Elicitation, ...] = ("text", "logprob", "first-token", "stated-distribution", "reasoned")
OPEN: Elicitation = "open"


def elicitation_of(word: str) -> Elicitation:
    """Return the elicitation named `word`. Raises UsageError, with a suggestion, if it is unknown."""
    return one_of(word, (*ELICITATIONS, OPEN), "There is no elicitation")


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One rendered question to one persona, with everything that identifies it.

    Attributes:
        pair_id, item, subgroup: the pair asked.
        messages: the chat, ending with the user's turn.
        prefill: start of the assistant's turn for `logprob` and `first-token` (`Answer:`).
        options: answer strings as shown (`1`, `2`, ...), in displayed order; empty for `open`.
        shown: scale codes in displayed order; `shown[i]` is the code of `options[i]`.
        elicitation: how the answer is obtained.
        template, template_version, paraphrase: the template and its wording.
        order: name of the option order: `scale`, `reversed`, `shuffled-SEED` or `balanced-I-of-N`.
        sample: 0, 1, ... if a prompt is asked several times.
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
        """SHA-256 of everything the model sees (messages, prefill, options), in hex."""
        seen = "".join([_part(message.role) + _part(message.content) for message in self.messages])
        return _digest(seen + _parts((self.prefill, *self.options)))

    @property
    def key(self) -> str:
        """Identity of the prompt in a run: pair, content, elicitation, template, order and sample."""
        how = (self.elicitation, self.template, self.template_version, self.order, str(self.paraphrase), str(self.sample))
        return prompt_key(self.pair_id, self.hash, how)


def prompt_key(pair_id: str, prompt_hash: str, how: tuple[str, ...]) -> str:
    """Return the key of a prompt.

    Args:
        pair_id: of the prompt. prompt_hash: its hash.
        how: elicitation, template, template_version, order, paraphrase and sample, as text.
    """
    return _digest(_part(pair_id) + _part(prompt_hash) + _parts(how))


def _part(text: str) -> str:
    # The length prefix makes the encoding unambiguous. JSON takes three times as long, and a run of millions of prompts is
    # hashed again each time it resumes.
    return f"{len(text)}:{text}"


# The prompts of an item, an order or a run share these texts.
@lru_cache(maxsize=4096)
def _parts(texts: tuple[str, ...]) -> str:
    return "".join(map(_part, texts))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
