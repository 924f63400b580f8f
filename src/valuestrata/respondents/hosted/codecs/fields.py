"""What stands in a response, taken for what it must be: a server may send anything at all.

A count, a word or a probability that is none counts as not said; a response that cannot be read as a whole is a
`garbled reply`, a failure like any other and not the end of the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallError, failure

# Whole numbers up to here are the same in every table and language; no call takes as many tokens.
_MOST = 2**53
# Rounding may put a probability a little over 1; more than that is none.
_ROUNDING = 0.01
_LEAST = -1e9
# What reading a document that holds anything at all may raise: nested too deep, numbers too long, one thing for another.
_UNREADABLE = (ValueError, RecursionError, TypeError, KeyError, AttributeError, IndexError, OverflowError)


def read_reply(read: Callable[[Any], Reply], document: Any, secrets: tuple[str, ...] = ()) -> Reply:
    """Return the reply that a document holds.

    Args:
        read: a codec's `parse_reply`.
        document: JSON as text or bytes, or what it says.
        secrets: keys that must not stand in a message.

    Raises:
        CallError: `garbled reply` where it cannot be read, or what `read` says.
    """
    try:
        content = json.loads(document) if isinstance(document, str | bytes) else document
    except _UNREADABLE as error:
        raise CallError(failure("garbled reply", f"the reply is not JSON ({error})", paid=True, secrets=secrets)) from None
    try:
        return read(content)
    except _UNREADABLE as error:
        said = f"the reply cannot be read ({type(error).__name__}: {error})"
        raise CallError(failure("garbled reply", said, paid=True, secrets=secrets)) from None


def whole(value: Any) -> int | None:
    """Return a count, None where it is none: true is no number, nor is 10**30 one of tokens."""
    return value if type(value) is int and 0 <= value < _MOST else None


def word(value: Any) -> str | None:
    """Return a text, None where it is none."""
    return value if isinstance(value, str) else None


def listed(value: Any) -> list[Any]:
    """Return a list, an empty one where it is none."""
    return value if isinstance(value, list) else []


def under(document: Mapping[str, Any], outer: str, name: str) -> Any:
    """Return what stands under two names, None where nothing does."""
    inner = document.get(outer)
    return inner.get(name) if isinstance(inner, dict) else None


def is_logprob(value: Any) -> bool:
    """Whether a value is the logarithm of a probability; minus infinity is one, and so is a rounding's worth over 0."""
    return type(value) in (int, float) and (_LEAST <= value <= _ROUNDING or value == -math.inf)


def at_most(value: int | None, most: int | None) -> int | None:
    """Return a count that is part of another, which it cannot exceed."""
    return value if value is None or most is None else min(value, most)
