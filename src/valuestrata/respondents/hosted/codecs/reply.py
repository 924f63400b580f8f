"""What one call brought back, the same whatever the provider's own words for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """One written token, and what else could have stood there.

    Attributes:
        token: its text.
        logprob: natural logarithm of its probability.
        alternatives: the likeliest tokens at this position with their log-probabilities, the written one among them where
            the provider lists it; two tokens may have the same text.
    """

    token: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call brought back.

    Attributes:
        text: what the model wrote, "" where it wrote nothing and gave a reason (`finish_reason`).
        reasoning: the reasoning it showed, apart from `text`; or None.
        finish_reason: why it ended, in the provider's word.
        prompt_tokens: all tokens read, those from a cache among them.
        cached_tokens: how many of them came from the provider's cache.
        completion_tokens: all tokens paid as written, those of the reasoning among them.
        reasoning_tokens: how many of them were reasoning.
        positions: the written tokens with their alternatives, where asked for and given.
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
