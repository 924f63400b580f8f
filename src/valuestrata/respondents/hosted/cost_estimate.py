"""Estimates of calls before they are made: approximate tokens, and an upper bound of the cost.

The tokens of a remote model cannot be counted. The number shown is approximate; the cost is a bound, since no token is
shorter than a byte.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from valuestrata.respondents.base import CostEstimate, Prompt
from valuestrata.respondents.hosted.codecs.codec import Codec
from valuestrata.respondents.hosted.prices import Prices
from valuestrata.respondents.hosted.readout import forms_of
from valuestrata.respondents.hosted.settings import HostedSettings

_CHARACTERS_A_TOKEN = 4
_TOKENS_A_MESSAGE = 4
# For a request without a limit: as much as any model writes.
_UNLIMITED = 128_000
_LIMIT_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")
_BASIS = (
    "about: 4 characters a token, 1 of those that are not ASCII; the cost is at most that of a token for each byte, calls that must be "
    "made again left out"
)


def estimated(codec: Codec, settings: HostedSettings, prices: Prices | None, prompts: Sequence[Prompt]) -> CostEstimate:
    """Return what asking prompts needs, from the length of their texts; tokens are approximate, the cost is a bound."""
    calls = read = written = 0
    cost = 0.0
    for prompt in prompts:
        rounds = 1 + len(prompt.options) if prompt.elicitation == "logprob" else 1
        calls += rounds
        read += rounds * tokens_about(prompt)
        written += settings.tokens_for(prompt.elicitation) + rounds - 1
        if prices is not None and (prices.input or prices.output):
            cost += _most_of_prompt(prompt, codec.body(prompt, settings), prices)
    return CostEstimate(calls, read, None, written, None if prices is None else cost, _BASIS)


def tokens_about(prompt: Prompt) -> int:
    """Return the approximate tokens of a prompt's messages: 4 ASCII characters or 1 other character each."""
    letters = sum(len(message.content) for message in prompt.messages)
    ascii_ones = sum(len(message.content.encode("ascii", "ignore")) for message in prompt.messages)
    return math.ceil(ascii_ones / _CHARACTERS_A_TOKEN) + letters - ascii_ones + _TOKENS_A_MESSAGE * len(prompt.messages)


def most_cost(body: Mapping[str, Any], prices: Prices | None) -> float:
    """Return an upper bound of a call's cost in dollars, one token per byte; 0 without a known price."""
    if prices is None:
        return 0.0
    return prices.of_tokens(_bytes_in(body), _limit_in(body) or _UNLIMITED)


def _most_of_prompt(prompt: Prompt, body: Mapping[str, Any], prices: Prices) -> float:
    if prompt.elicitation != "logprob":
        return most_cost(body, prices)
    # One call for every prefix of a form, and one before them.
    forms = forms_of(prompt.options)
    longest = max(map(len, forms)) + 2
    calls = 1 + len({form[:length] for form in forms for length in range(len(form) + 1)})
    return calls * prices.of_tokens(_bytes_in(body) + longest, max(_limit_in(body) or _UNLIMITED, longest))


def _bytes_in(value: Any) -> int:
    """Bytes of all text in a request, plus what a chat template may add."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, Mapping):
        return sum(_bytes_in(key) + _bytes_in(inner) for key, inner in value.items())
    return 16 + sum(map(_bytes_in, value)) if isinstance(value, list | tuple) else 4


def _limit_in(value: Any) -> int:
    """The maximum number of tokens to write in a request, at any depth; 0 if it sets none."""
    if isinstance(value, Mapping):
        said = [inner for key, inner in value.items() if key in _LIMIT_FIELDS and isinstance(inner, int)]
        return max([*said, *map(_limit_in, value.values())], default=0)
    return 0
