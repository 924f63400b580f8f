"""Settings of a hosted model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from valuestrata.errors import UsageError
from valuestrata.respondents.base import OPEN_TOKENS
from valuestrata.respondents.hosted.prices import Prices

# Default limits of tokens to write: an answer is `Answer: 10`, ten percentages are ten short lines.
_TOKENS: Mapping[str, int] = {"text": 32, "first-token": 8, "logprob": 8, "stated-distribution": 256, "reasoned": 512}


@dataclass(frozen=True)
class HostedSettings:
    """How a hosted model is called.

    Attributes:
        max_new_tokens: maximum number of tokens to write; None uses the elicitation's default (`tokens_for`).
        temperature: 0 chooses the likeliest token; None sends none, for models that refuse one.
        seed: sent plus the sample's number, if the provider supports seeds.
        constrain: restrict answers to the options, if the provider can.
        top_logprobs: alternatives requested per position; None requests the provider's maximum.
        end_of_turn: further texts by which a server shows the end of a turn (`logprob`).
        extra: JSON merged into every request (`with_extra`); part of the identity.
        base_url: address to use instead of the provider's own.
        prices: to use instead of the known prices.
        concurrency: maximum number of calls in flight.
        timeout: seconds of one attempt.
        attempts: attempts before a prompt ends failed; refusals for load do not count.
        patience: seconds without any answer after which the run stops; earlier answers are kept.
    """

    max_new_tokens: int | None = None
    temperature: float | None = 0.0
    seed: int | None = None
    constrain: bool = False
    top_logprobs: int | None = None
    end_of_turn: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    base_url: str | None = None
    prices: Prices | None = None
    concurrency: int = 64
    timeout: float = 120.0
    attempts: int = 6
    patience: float = 300.0

    def __post_init__(self) -> None:
        for name, least in (("max_new_tokens", 1), ("concurrency", 1), ("attempts", 1), ("top_logprobs", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} is {value}; it must be at least {least}.")
        for name in ("timeout", "patience"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be more than 0 seconds.")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise UsageError(f"temperature is {self.temperature}; it must be between 0 and 2.")

    def tokens_for(self, elicitation: str) -> int:
        """Return the maximum number of tokens to write for a prompt of this elicitation."""
        # Open answers are not in the table above: it is part of the identity of existing runs.
        return self.max_new_tokens or _TOKENS.get(elicitation, OPEN_TOKENS)

    def seed_for(self, sample: int) -> int | None:
        """Return the seed of a sample."""
        return None if self.seed is None else self.seed + sample

    def with_extra(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request merged with `extra`, objects key by key; a null removes the field."""
        return _merged(body, self.extra)

    def decoding(self) -> dict[str, Any]:
        """Return the settings that determine answers, as JSON; speed settings do not."""
        return {
            "max_new_tokens": self.max_new_tokens or dict(_TOKENS),
            "temperature": self.temperature,
            "seed": self.seed,
            "constrain": self.constrain,
            "top_logprobs": self.top_logprobs,
            "end_of_turn": list(self.end_of_turn),
            "extra": dict(self.extra),
        }


def _merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(body)
    for name, value in extra.items():
        there = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(there, Mapping) and isinstance(value, Mapping):
            merged[name] = _merged(cast("Mapping[str, Any]", there), cast("Mapping[str, Any]", value))
        else:
            merged[name] = value
    return merged
