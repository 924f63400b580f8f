"""The reply of one call, the same for all providers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """One written token and its alternatives.

    Attributes:
        token: its text.
        logprob: natural logarithm of its probability.
        alternatives: the likeliest tokens at this position with their log-probabilities, including the written one if the
            provider lists it; two tokens may have the same text.
    """

    token: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of one call.

    Attributes:
        text: what the model wrote; "" if it wrote nothing and gave a reason (`finish_reason`).
        reasoning: the reasoning shown besides `text`, else None.
        finish_reason: why it ended, as the provider names it.
        prompt_tokens: all tokens read, including cached ones.
        cached_tokens: tokens read from the provider's cache.
        completion_tokens: all tokens charged as written, including reasoning.
        reasoning_tokens: tokens of the reasoning.
        positions: the written tokens with their alternatives, if requested and given.
        model: the model as the provider names it.
    """

    text: str
    reasoning: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    positions: tuple[Position, ...] | None = None
    model: str | None = None
