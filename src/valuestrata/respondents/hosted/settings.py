"""How a hosted model is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from valuestrata.errors import UsageError
from valuestrata.respondents.base import OPEN_TOKENS
from valuestrata.respondents.hosted.prices import Prices

# Tokens written at most, where the user sets none. An answer is `Answer: 10`; a first token may stand behind such a
# beginning; ten percentages are ten short lines.
_TOKENS: Mapping[str, int] = {"text": 32, "first-token": 8, "logprob": 8, "stated-distribution": 256, "reasoned": 512}


@dataclass(frozen=True)
class HostedSettings:
    """How a hosted model is asked.

    Attributes:
        max_new_tokens: tokens written at most; None: as many as the elicitation needs (`tokens_for`).
        temperature: 0 takes the likeliest token; None sends none, for models that refuse one.
        seed: sent with the sample's number added, where the provider takes a seed.
        constrain: let the provider allow nothing but the options, where it can.
        top_logprobs: alternatives asked for at each position; None: as many as the provider gives.
        end_of_turn: further texts that a server shows for the token that ends a turn (`logprob`).
        extra: JSON sent as it is with every call, over what stands there (`with_extra`); a part of the identity.
        base_url: where the provider is, instead of its own address.
        prices: what it costs, instead of the known prices.
        concurrency: calls under way at most.
        timeout: seconds that one attempt may take.
        attempts: how often a call is tried before its prompt ends failed; being told to wait does not count.
        patience: seconds without a single answer after which the run stops; what came is kept.
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
            raise UsageError(f"temperature is {self.temperature}; it must lie between 0 and 2.")

    def tokens_for(self, elicitation: str) -> int:
        """Return how many tokens may be written for a prompt of this elicitation."""
        # Not in the table above: it is part of the identity of runs that are half paid for.
        return self.max_new_tokens or _TOKENS.get(elicitation, OPEN_TOKENS)

    def seed_for(self, sample: int) -> int | None:
        """Return the seed of a sample: each has its own, the same whenever it is asked."""
        return None if self.seed is None else self.seed + sample

    def with_extra(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request with `extra` laid over it, objects key by key; what is null there is not sent at all."""
        return _merged(body, self.extra)

    def decoding(self) -> dict[str, Any]:
        """Return what of this makes an answer what it is, as JSON; how fast it is asked does not."""
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
