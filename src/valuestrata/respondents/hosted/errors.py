"""What can go wrong with a call, in a few plain words, and what to do about it.

Every codec turns what its library raises into one of these; the runner knows nothing else. A failure is tried again
(`retry`), ends its own prompt (neither), or ends the whole run (`fatal`): a wrong model name fails every call alike.
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
# Error codes that say more than the status they come with, in the words of OpenAI and those who follow it.
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
# Servers that answer 400 to a model they do not have, or to a bad key, in their own words.
_NO_SUCH_MODEL = re.compile(
    r"\bmodel\b.{0,80}\b(not exist|not found|no longer available)|\bis not a valid model\b|\b(invalid|unknown|no such) model\b",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(
    r"\b(incorrect|invalid)\b.{0,20}\bapi[ _-]?key\b|\bapi[ _-]?key\b.{0,20}\b(incorrect|invalid|not valid)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class CallFailure:
    """One thing that went wrong.

    Attributes:
        kind: what, in the words of a run's failure counts.
        message: what was said, one line, without keys.
        retry: whether the same call may succeed later.
        fatal: whether every other call would fail alike, so that the run stops at once.
        retry_after: seconds that the server asks to wait; None where it does not say.
        paid: whether the call may have been charged all the same, as one that was cut off in mid-answer.
    """

    kind: ErrorKind
    message: str
    retry: bool
    fatal: bool
    retry_after: float | None = None
    paid: bool = False

    @property
    def throttled(self) -> bool:
        """Whether the server has too much to do, so that all calls wait."""
        return self.kind in ("rate limit", "overloaded")

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class CallError(Exception):
    """A failure on its way through code that returns something else."""

    def __init__(self, failure: CallFailure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def failure(
    kind: ErrorKind, said: str, *, retry_after: float | None = None, paid: bool = False, secrets: tuple[str, ...] = ()
) -> CallFailure:
    """Return a failure of a kind; the kind decides whether it is tried again or ends the run."""
    message = one_line(said, secrets) or kind
    return CallFailure(kind, message, kind in _RETRIED, kind in _FATAL, retry_after, paid)


def kind_from_code(code: str | None) -> ErrorKind | None:
    """Return the kind of failure that a server's own word for an error names whatever status it comes with; None where it names none."""
    return _BY_CODE.get(code or "")


def failure_from_status(
    status: int, said: str, *, code: str | None = None, headers: Mapping[str, str] | None = None, secrets: tuple[str, ...] = ()
) -> CallFailure:
    """Return the failure behind an HTTP status.

    Args:
        status: as the server gave it.
        said: its words. code: its own word for the error, where it has one (`insufficient_quota`).
        headers: of the response, lower case; what they say of waiting is kept.
        secrets: keys that must not stand in the message.
    """
    kind = kind_from_code(code) or _BY_STATUS.get(status)
    if 300 <= status < 400:
        return failure("wrong setting", f"HTTP {status}: {_sent_on(headers or {})}", secrets=secrets)
    if kind is None and status == 400:
        kind = "key refused" if _BAD_KEY.search(said) else "wrong model" if _NO_SUCH_MODEL.search(said) else None
    if status == 403 and any(word in said.lower() for word in ("moderation", "flagged")):
        kind = "refused request"  # a filter between us and the model: this prompt only
    if kind is None:
        kind = "server error" if status >= 500 else "refused request"
    waits = retry_after(headers or {}) if kind in _RETRIED else None
    return failure(kind, f"HTTP {status}: {said}", retry_after=waits, secrets=secrets)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait, None where it does not say or says it in no known form.

    A date is counted from the server's own `Date`: the clock of this machine may be wrong, or jump.
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


def _sent_on(headers: Mapping[str, str]) -> str:
    """Say where a server sends a call on to; it is not followed there, since the key is for this server alone."""
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
