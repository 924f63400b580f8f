"""The one protocol between who asks and who answers.

`ask` hands a respondent model prompts and stores what comes back, in any order; it does not know whether a language
model, a baseline or a control answers. A respondent never parses its own text: it returns what it wrote or the
probabilities it gave, and `responses.parse` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from valuestrata.prompts.prompt import ELICITATIONS, OPEN, Elicitation, Message, Prompt, elicitation_of

__all__ = [
    "ELICITATIONS",
    "OPEN",
    "OPEN_TOKENS",
    "Answer",
    "Bounded",
    "Budgeted",
    "Choosy",
    "Elicitation",
    "Estimate",
    "Estimates",
    "Message",
    "Prompt",
    "Respondent",
    "Resumes",
    "Stoppable",
    "Versioned",
    "elicitation_of",
    "estimate_of",
]

# Tokens of an open answer at most, where the user sets none: a few sentences end long before.
OPEN_TOKENS = 400


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


@dataclass(frozen=True, slots=True)
class Estimate:
    """What asking some prompts would take, before anything is asked.

    Attributes:
        calls: calls made, or prompts where nothing is called.
        prompt_tokens: tokens read, without sharing.
        computed_tokens: tokens that really go through a model of this machine, shared beginnings once; or None.
        completion_tokens: the most that may be written.
        cost: the most that it may cost, in US dollars; None where the price is not known, 0 where nothing is paid.
        basis: how the tokens were counted, in a few words.
    """

    calls: int
    prompt_tokens: int
    computed_tokens: int | None
    completion_tokens: int
    cost: float | None
    basis: str


@runtime_checkable
class Estimates(Protocol):
    """A respondent model that says beforehand what prompts will take."""

    def estimate(self, prompts: Sequence[Prompt]) -> Estimate:
        """Return what asking `prompts` takes; nothing is called."""
        ...


def estimate_of(respondent: Respondent, prompts: Sequence[Prompt]) -> Estimate:
    """Return what asking `prompts` takes of any respondent model; one that cannot say calls nobody and reads no tokens."""
    if isinstance(respondent, Estimates):
        return respondent.estimate(prompts)
    return Estimate(len(prompts), 0, None, 0, 0.0, "no language model")


@runtime_checkable
class Stoppable(Protocol):
    """A respondent model with calls under way: told to stop, it starts none and gives back what those under way bring."""

    @property
    def stopped(self) -> str | None:
        """Why it starts no more calls; None while it does. Prompts without an answer were then never asked."""
        ...

    def stop(self, why: str) -> None:
        """Start no more calls; may be called from a signal handler while `answer` is iterated."""
        ...


@runtime_checkable
class Budgeted(Protocol):
    """A respondent model that is paid by the call."""

    def spend_at_most(self, dollars: float) -> None:
        """Stop (see `Stoppable`) before a call that could take what is spent from now on over `dollars`; called anew for every run.

        Raises:
            UsageError: what the model costs is not known.
        """
        ...


@runtime_checkable
class Bounded(Protocol):
    """A respondent model that knows how much it can read and write at once."""

    @property
    def context(self) -> int | None:
        """Tokens of a prompt and of what is written to it, together at most; None where nothing says."""
        ...

    def length_of(self, prompt: Prompt) -> int:
        """Return the tokens of a prompt and the most that may be written to it."""
        ...


@runtime_checkable
class Choosy(Protocol):
    """A respondent model that cannot be asked in every way."""

    def check(self, elicitation: Elicitation) -> None:
        """Refuse what it cannot give, before the first call.

        Raises:
            UsageError: says what it does not give, and which elicitations work.
        """
        ...


@runtime_checkable
class Resumes(Protocol):
    """A respondent model that judges a failure by whether anything has succeeded yet."""

    def answered_before(self, number: int) -> None:
        """Take note that the run holds so many answers already; called before it is asked, and ends a stop of an earlier run."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """A respondent model reached through libraries whose versions are worth recording; they are no part of its identity."""

    def versions(self) -> Mapping[str, str]:
        """Return library -> version."""
        ...
