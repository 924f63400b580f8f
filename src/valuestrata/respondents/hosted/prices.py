"""Prices of calls in US dollars."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from valuestrata.errors import UsageError
from valuestrata.respondents.hosted.codecs.reply import Reply

_MILLION = 1e6
# Suffixes of a model name: a release date, or the alias of the newest version.
_VERSION = re.compile(r"(-\d{4}-\d{2}-\d{2}|-\d{8}|@\d{8}|-latest)$")


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens.

    Attributes:
        input: tokens read. output: tokens written, including reasoning.
        cached: tokens read from the provider's cache; None if they cost the same.
        batch: price of a batch file relative to live calls: .5 is half.
        as_of: ISO date, source: domain of the prices; None if given by the user.
    """

    input: float
    output: float
    cached: float | None = None
    batch: float = 1.0
    as_of: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached", "batch"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise UsageError(f"The price {name} is {value}; it must be a number of dollars from 0.")

    def of_tokens(self, read: int, written: int, cached: int = 0) -> float:
        """Return what these tokens cost; `cached` of those read came from the cache."""
        rate = self.input if self.cached is None else self.cached
        return ((read - cached) * self.input + cached * rate + written * self.output) / _MILLION

    def of_reply(self, reply: Reply) -> float | None:
        """Return the cost of a reply, None if the provider did not report its tokens."""
        if reply.prompt_tokens is None or reply.completion_tokens is None:
            return None
        return self.of_tokens(reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens or 0)


def known_prices(provider: str, model: str) -> Prices | None:
    """Return the prices of a model, None if unknown; a release date in its name is ignored."""
    listed = _listed().get(provider)
    if listed is None:
        return None
    models = listed["models"]
    price = models.get(model) or models.get(_VERSION.sub("", model))
    if price is None:
        return None
    return Prices(**price, batch=listed["batch"], as_of=str(listed["as_of"]), source=listed["source"])


def batch_factor(provider: str) -> float:
    """Return the price of a provider's batch files relative to live calls: .5 is half, 1 if unknown."""
    return float(_listed().get(provider, {}).get("batch", 1.0))


@cache
def _listed() -> dict[str, Any]:
    file = resources.files("valuestrata.respondents.hosted") / "prices.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))
