"""The interface between the asking loop and everything that answers prompts.

`ask` hands prompts to a respondent and stores the answers, in any order. A respondent is a language model, a baseline or a
control. It never parses its own text: `responses.parse` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from valuestrata.prompts.prompt import ELICITATIONS, OPEN, Elicitation, Message, Prompt, elicitation_of

__all__ = [
    "ELICITATIONS",
    "OPEN",
    "OPEN_TOKENS",
    "Answer",
    "CostEstimate",
    "Elicitation",
    "Message",
    "Prompt",
    "RecordsSpending",
    "Respondent",
    "SupportsBudget",
    "SupportsContextLimit",
    "SupportsElicitationCheck",
    "SupportsEstimate",
    "SupportsResume",
    "SupportsStop",
    "SupportsVersions",
    "elicitation_of",
    "estimate_of",
    "was_withheld",
]

# Default maximum number of tokens of an open answer; a few sentences are far shorter.
OPEN_TOKENS = 400
# Finish reasons of a reply that the model or a filter of the service withheld.
_WITHHELD = frozenset(
    {
        *("refusal", "content_filter", "safety", "image_safety", "prohibited_content", "blocklist", "spii", "recitation", "model_armor"),
        *("jailbreak", "sensitive", "guardrail_intervened"),
    }
)


def was_withheld(finish_reason: str | None) -> bool:
    """Whether a reply was withheld by the model or a filter of the service."""
    return finish_reason is not None and finish_reason.lower() in _WITHHELD


@dataclass(frozen=True, slots=True)
class Answer:
    """What a respondent returned for one prompt, unparsed.

    Attributes:
        prompt: the prompt answered.
        text: the text written (`text`), or None.
        option_probs: probabilities of `prompt.options`, in displayed order, summing to 1; or None.
        option_mass: total probability of all options before normalisation, in [0, 1]; or None.
        choice: scale code chosen directly, by baselines and controls that write no text; or None.
        error: why the call failed; the fields above are then None.
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
    """Anything that answers prompts."""

    @property
    def name(self) -> str:
        """The model specification as the user wrote it: `baseline:item-mode`, `hf:ORG/NAME`, `embedded`."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """Return everything that determines the answers: provider, base_url, model, revision, adapter_hash, decoding, ..."""
        ...

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield one Answer for each prompt, in any order, as they arrive; a failed call yields an Answer with `error`."""
        ...


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Expected cost of asking some prompts.

    Attributes:
        calls: number of calls, or of prompts where nothing is called.
        prompt_tokens: tokens read, without sharing.
        computed_tokens: tokens that pass through a local model, shared prefixes once; or None.
        completion_tokens: maximum number of tokens written.
        cost: maximum cost in US dollars; None if the price is unknown, 0 for free models.
        basis: how the tokens were counted, in a few words.
    """

    calls: int
    prompt_tokens: int
    computed_tokens: int | None
    completion_tokens: int
    cost: float | None
    basis: str


@runtime_checkable
class SupportsEstimate(Protocol):
    """A respondent that can estimate the cost of prompts beforehand."""

    def estimate(self, prompts: Sequence[Prompt]) -> CostEstimate:
        """Return the expected cost of `prompts`, without calling the model."""
        ...


def estimate_of(respondent: Respondent, prompts: Sequence[Prompt]) -> CostEstimate:
    """Return the expected cost of `prompts`; a respondent without an estimate reads no tokens and costs nothing."""
    if isinstance(respondent, SupportsEstimate):
        return respondent.estimate(prompts)
    return CostEstimate(len(prompts), 0, None, 0, 0.0, "no language model")


@runtime_checkable
class SupportsStop(Protocol):
    """A respondent that can be stopped: it starts no new calls and returns the answers of the calls in progress."""

    @property
    def stopped(self) -> str | None:
        """Why no new calls are started, or None while they are. Prompts without an answer were not asked."""
        ...

    def stop(self, why: str) -> None:
        """Start no new calls; may be called from a signal handler while `answer` is iterated."""
        ...


@runtime_checkable
class SupportsBudget(Protocol):
    """A respondent whose calls cost money."""

    def spend_at_most(self, dollars: float) -> None:
        """Stop (see `SupportsStop`) before a call could take the spending from now on over `dollars`; called once per run.

        Raises:
            UsageError: the price of the model is unknown.
        """
        ...


@runtime_checkable
class RecordsSpending(Protocol):
    """A respondent that says what its calls may cost before it makes them."""

    def record_spending(self, record: Callable[[str, float], None]) -> None:
        """Call `record` with a prompt's key and US dollars, from any thread.

        Before each call with the most that it can cost; after it with a negative amount, the part that it did not cost.
        """
        ...


@runtime_checkable
class SupportsContextLimit(Protocol):
    """A respondent that knows its context length."""

    @property
    def context(self) -> int | None:
        """Maximum number of tokens of a prompt and its completion together; None if unknown."""
        ...

    def length_of(self, prompt: Prompt) -> int:
        """Return the number of tokens of a prompt plus the maximum of its completion."""
        ...


@runtime_checkable
class SupportsElicitationCheck(Protocol):
    """A respondent that supports only some elicitations."""

    def check(self, elicitation: Elicitation) -> None:
        """Check that an elicitation is supported, before the first call.

        Raises:
            UsageError: it is not; the message lists those that are.
        """
        ...


@runtime_checkable
class SupportsResume(Protocol):
    """A respondent whose handling of failures depends on whether any call has succeeded yet."""

    def answered_before(self, number: int) -> None:
        """Set how many answers the run already has; called before asking starts, and clears an earlier stop."""
        ...


@runtime_checkable
class NamesTrainingData(Protocol):
    """A respondent that was trained on a data set which it can name; the name is no part of its identity."""

    def training_data(self) -> Mapping[str, str] | None:
        """Return `fingerprint` and `survey` (title and place) of the data set, None if it is not known."""
        ...


@runtime_checkable
class SupportsVersions(Protocol):
    """A respondent that uses libraries whose versions are recorded; they are not part of its identity."""

    def versions(self) -> Mapping[str, str]:
        """Return library -> version."""
        ...
