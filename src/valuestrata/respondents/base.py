"""The one protocol between who asks and who answers.

`ask` hands a respondent model prompts and stores what comes back, in any order; it does not know whether a language
model, a baseline or a control answers. A respondent never parses its own text: it returns what it wrote or the
probabilities it gave, and `responses.parse` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from valuestrata.files import canonical_hash

Elicitation = Literal["text", "logprob", "first-token", "distribution"]
ELICITATIONS: tuple[Elicitation, ...] = ("text", "logprob", "first-token", "distribution")


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to one persona, rendered, with all that identifies it.

    Attributes:
        pair_id, item, subgroup: the pair asked.
        messages: the chat, ending with the user's turn.
        prefill: how the assistant's turn starts under `logprob` and `first-token` (`Answer:`).
        options: the answer strings as the prompt shows them (`1`, `2`, ...), in displayed order.
        shown: scale codes in displayed order; `shown[i]` is what `options[i]` means.
        elicitation: the readout asked for.
        template, template_version, paraphrase: which recipe rendered it.
        order: name of the option order: `scale`, `reversed` or `shuffled-<seed>`.
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
        return canonical_hash([[(m.role, m.content) for m in self.messages], self.prefill, list(self.options)])

    @property
    def key(self) -> str:
        """Identity of this question within a run: what is asked, how it is read out, and which sample."""
        return canonical_hash([self.pair_id, self.hash, self.elicitation, self.template, self.template_version, self.order, self.sample])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a respondent model gave back for one prompt, unread.

    Attributes:
        prompt: the prompt answered.
        text: what it wrote (`text`), or None.
        option_probs: probabilities over `prompt.options`, in displayed order, summing to 1; or None.
        option_mass: total probability of the legal answers before normalisation, in [0, 1]; or None.
        choice: scale code chosen outright, for baselines and controls that write nothing; or None.
        error: why the call failed; then everything above is None.
    """

    prompt: Prompt
    text: str | None = None
    reasoning: str | None = None
    option_probs: tuple[float, ...] | None = None
    option_mass: float | None = None
    choice: int | None = None
    error: str | None = None
    attempts: int = 1
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    latency: float | None = None


@runtime_checkable
class Respondent(Protocol):
    """Anything that answers pairs."""

    @property
    def name(self) -> str:
        """The model as the user wrote it: `baseline:item-mode`, `hf:ORG/NAME`, `embedded`."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """Everything that makes an answer what it is: provider, base_url, model, revision, adapter_hash, decoding, ..."""
        ...

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield one Answer for each prompt, in any order, as they come; a failed call yields an Answer with `error`."""
        ...
