"""Kinds of call failures, whatever the provider.

Every codec turns the exceptions of its SDK into a `CallFailure`. It is retried (`retry`), ends its own prompt (neither), or
ends the run (`fatal`): a wrong model name fails every call.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

from valuestrata.respondents.hosted.redact import one_line

ErrorKind = Literal[
    "rate limit",
    "overloaded",
    "server error",
    "connection",
    "timeout",
    "garbled reply",
    "empty reply",
    "reply too large",
    "refused request",
    "wrong model",
    "wrong setting",
    "key refused",
    "no credit",
]
_RETRIED: frozenset[ErrorKind] = frozenset(
    {"rate limit", "overloaded", "server error", "connection", "timeout", "garbled reply", "empty reply"}
)
_FATAL: frozenset[ErrorKind] = frozenset({"wrong model", "wrong setting", "key refused", "no credit"})
# Error codes of OpenAI-compatible servers that say more than the status.
_BY_CODE: Mapping[str, ErrorKind] = {
    "model_not_found": "wrong model",
    "insufficient_quota": "no credit",
    "billing_hard_limit_reached": "no credit",
    "billing_not_active": "no credit",
    "invalid_api_key": "key refused",
    "account_deactivated": "key refused",
    "unsupported_parameter": "wrong setting",
    "unsupported_value": "wrong setting",
    "unknown_parameter": "wrong setting",
}
_BY_STATUS: Mapping[int, ErrorKind] = {
    401: "key refused",
    402: "no credit",
    403: "key refused",
    404: "wrong model",
    408: "timeout",
    409: "server error",
    425: "server error",
    429: "rate limit",
    503: "overloaded",
    529: "overloaded",
}
# Messages of servers that answer 400 to an unknown model or a wrong key.
_NO_SUCH_MODEL = re.compile(
    r"\bmodel\b.{0,80}\b(not exist|not found|no longer available)|\bis not a valid model\b|\b(invalid|unknown|no such) model\b",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(
    r"\b(incorrect|invalid)\b.{0,20}\bapi[ _-]?key\b|\bapi[ _-]?key\b.{0,20}\b(incorrect|invalid|not valid)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class CallFailure:
    """Why a call failed.

    Attributes:
        kind: as in the failure counts of a run.
        message: the server's message, one line, without keys.
        retry: whether the same call may succeed later.
        fatal: whether every other call would fail too, so the run stops.
        retry_after: seconds that the server asks to wait, None if it does not.
        paid: whether the call may have been charged, such as one cut off during its answer.
    """

    kind: ErrorKind
    message: str
    retry: bool
    fatal: bool
    retry_after: float | None = None
    paid: bool = False

    @property
    def throttled(self) -> bool:
        """Whether the server is overloaded, so all calls wait."""
        return self.kind in ("rate limit", "overloaded")

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class CallError(Exception):
    """A `CallFailure` raised as an exception."""

    def __init__(self, failure: CallFailure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def failure(
    kind: ErrorKind, said: str, *, retry_after: float | None = None, paid: bool = False, secrets: tuple[str, ...] = ()
) -> CallFailure:
    """Return a failure of a kind; the kind decides whether it is retried or ends the run."""
    message = one_line(said, secrets) or kind
    return CallFailure(kind, message, kind in _RETRIED, kind in _FATAL, retry_after, paid)


def kind_from_code(code: str | None) -> ErrorKind | None:
    """Return the kind of failure that a server's error code names, None if unknown."""
    return _BY_CODE.get(code or "")


def failure_from_status(
    status: int, said: str, *, code: str | None = None, headers: Mapping[str, str] | None = None, secrets: tuple[str, ...] = ()
) -> CallFailure:
    """Return the failure behind an HTTP status.

    Args:
        status: as the server gave it.
        said: the server's message. code: its error code, such as `insufficient_quota`.
        headers: of the response, in lower case; the wait is read from them.
        secrets: keys to keep out of the message.
    """
    kind = kind_from_code(code) or _BY_STATUS.get(status)
    if 300 <= status < 400:
        return failure("wrong setting", f"HTTP {status}: {_redirected(headers or {})}", secrets=secrets)
    if kind is None and status == 400:
        kind = "key refused" if _BAD_KEY.search(said) else "wrong model" if _NO_SUCH_MODEL.search(said) else None
    if status == 403 and any(word in said.lower() for word in ("moderation", "flagged")):
        kind = "refused request"  # a moderation filter: this prompt only
    if kind is None:
        kind = "server error" if status >= 500 else "refused request"
    waits = retry_after(headers or {}) if kind in _RETRIED else None
    return failure(kind, f"HTTP {status}: {said}", retry_after=waits, secrets=secrets)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait, None if it does not or in an unknown form.

    A date is relative to the server's own `Date`, because this machine's clock may be wrong.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    if said is None:
        return None
    if (seconds := _number(said)) is not None:
        return seconds
    try:
        wait = (parsedate_to_datetime(said) - parsedate_to_datetime(headers["date"])).total_seconds()
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    return max(0.0, wait)


def _redirected(headers: Mapping[str, str]) -> str:
    """Return the message of a redirect, which is not followed: the key is for this server only."""
    place = headers.get("location") or ""
    found = re.match(r"https?://[A-Za-z0-9.:\[\]-]+", place)
    where = f"to {found[0]}" if found else "elsewhere"
    return f"the server redirects calls {where}; use the server's own address as the base URL"


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
