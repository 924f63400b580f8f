"""Checked access to the fields of a response: a server may send anything.

A count, text or probability of the wrong type counts as absent. A response that cannot be read at all is a
`garbled reply`, a failure like any other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

from valuestrata.respondents.hosted.codecs.reply import Position, Reply
from valuestrata.respondents.hosted.errors import CallError, failure
from valuestrata.respondents.hosted.redact import redact_answer

# Integers up to here are exact in every table and language.
_MOST = 2**53
# Rounding may put a log-probability slightly above 0.
_ROUNDING = 0.01
_LEAST = -1e9
# What reading an arbitrary document may raise: too deep nesting, too long numbers, unexpected types.
_UNREADABLE = (ValueError, RecursionError, TypeError, KeyError, AttributeError, IndexError, OverflowError)


def read_reply(read: Callable[[Any], Reply], document: Any, secrets: tuple[str, ...] = ()) -> Reply:
    """Return the reply in a document.

    Args:
        read: a codec's `parse_reply`.
        document: JSON as text or bytes, or already parsed.
        secrets: keys to keep out of messages.

    Raises:
        CallError: `garbled reply` if it cannot be read, or what `read` raises.
    """
    try:
        content = json.loads(document) if isinstance(document, str | bytes) else document
    except _UNREADABLE as error:
        raise CallError(failure("garbled reply", f"the reply is not JSON ({error})", paid=True, secrets=secrets)) from None
    try:
        return _without_keys(read(content), secrets)
    except _UNREADABLE as error:
        text = f"the reply cannot be read ({type(error).__name__}: {error})"
        raise CallError(failure("garbled reply", text, paid=True, secrets=secrets)) from None


def _without_keys(reply: Reply, secrets: tuple[str, ...]) -> Reply:
    """Return a reply whose texts hold no key: a server may echo the header it was sent, and texts are stored."""
    if not secrets:
        return reply
    said = {name: getattr(reply, name) for name in ("text", "reasoning", "finish_reason", "model")}
    clean = {name: value and redact_answer(value, secrets) for name, value in said.items()}
    return reply if clean == said else replace(reply, **clean)


def as_count(value: Any) -> int | None:
    """Return a count from 0 to 2**53 - 1, else None; booleans are not counts."""
    return value if type(value) is int and 0 <= value < _MOST else None


def as_text(value: Any) -> str | None:
    """Return a string, else None."""
    return value if isinstance(value, str) else None


def as_list(value: Any) -> list[Any]:
    """Return a list, else an empty one."""
    return value if isinstance(value, list) else []


def nested(document: Any, *names: str) -> Any:
    """Return the value under nested names, None where one is absent."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def at_most(value: int | None, most: int | None) -> int | None:
    """Return a count that is part of another one, cut off at that one."""
    return value if value is None or most is None else min(value, most)


def positions(tokens: Any, alternatives: Callable[[int, Mapping[str, Any]], Any], field: str) -> tuple[Position, ...] | None:
    """Return written tokens with their alternatives, up to the first entry that is not a token; None without a list.

    Args:
        tokens: the written tokens as the provider lists them.
        alternatives: index and token -> the list of its alternatives.
        field: name of the log-probability in a token.
    """
    if not isinstance(tokens, list):
        return None

    def is_token(entry: Any) -> bool:
        return isinstance(entry, dict) and isinstance(entry.get("token"), str) and _is_logprob(entry.get(field))

    def others(index: int, token: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
        return tuple([(other["token"], other[field]) for other in as_list(alternatives(index, token)) if is_token(other)])

    # Behind an entry that is not a token, positions are unknown.
    return tuple([Position(token["token"], token[field], others(index, token)) for index, token in enumerate(takewhile(is_token, tokens))])


def _is_logprob(value: Any) -> bool:
    return type(value) in (int, float) and (_LEAST <= value <= _ROUNDING or value == -math.inf)
