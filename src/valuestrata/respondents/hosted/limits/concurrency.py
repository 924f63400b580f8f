"""Adaptive concurrency: how many calls may be in flight, learned from the provider's responses.

The limit starts at 1, because the first call shows whether model, key and settings are right. The first answer raises it
to `START`; it then doubles every round trip until the provider refuses a call for load. A refusal halves it, and from
there it grows by 1 per round trip (additive increase, multiplicative decrease: Chiu and Jain 1989, RFC 5681). Calls in
flight at the same time are refused together and count as one refusal.

No input or output and no clock: the caller passes the time in seconds.
"""

from __future__ import annotations

from random import Random

START = 8
# First and longest bound of the wait after a refusal, in seconds, where the server does not say how long to wait.
_SHORTEST = 0.5
_LONGEST = 60.0
# An answer raises the limit only if at least this share of it was in use.
_NEAR = 0.75


class ConcurrencyLimit:
    """The limit on calls in flight, and the time before which none may start.

    Attributes:
        limit: calls that may be in flight, at least 1; the fraction counts towards the next.
        in_flight: calls in flight.
        paused_until: no call starts before this time.
        answers: calls answered so far.
    """

    def __init__(self, most: int, *, random: Random | None = None) -> None:
        self._most = float(most)
        self._random = random or Random()  # noqa: S311 - spreads waits, not used for security
        self._threshold = float(most)
        self._cut_at = float("-inf")
        self._refusals = 0
        self.limit = 1.0
        self.in_flight = 0
        self.paused_until = float("-inf")
        self.answers = 0

    def may_start(self, now: float) -> bool:
        """Whether a call may start at this time."""
        return now >= self.paused_until and self.in_flight < int(self.limit)

    def start(self) -> None:
        """Count a call that starts."""
        self.in_flight += 1

    def answered(self) -> None:
        """Count a call that was answered, and raise the limit."""
        if not self.answers:
            self.limit = min(float(START), self._most)
        elif self.in_flight >= _NEAR * int(self.limit):
            self.limit += 1.0 if self.limit < self._threshold else 1.0 / self.limit
            self.limit = min(self.limit, self._most)
        self.answers += 1
        self._refusals = 0
        self.in_flight -= 1

    def failed(self) -> None:
        """Count a call that ended without telling anything about the load."""
        self.in_flight -= 1

    def refused(self, started: float, now: float, retry_after: float | None) -> None:
        """Halve the limit, at most once per round trip, and pause after a call that was refused for load.

        The pause is what the server asks for, else random with a bound that doubles (full jitter).
        """
        self.in_flight -= 1
        first = started >= self._cut_at
        if first:
            self.limit = max(1.0, self.limit / 2)
            self._threshold = self.limit
            self._cut_at = now
            self._refusals += 1
        if retry_after is not None:
            self.paused_until = max(self.paused_until, now + retry_after)
        elif first:
            self.paused_until = max(self.paused_until, now + self.backoff(self._refusals))

    def backoff(self, failures: int) -> float:
        """Return a random wait in seconds before attempt `failures` + 1."""
        return self._random.uniform(0.0, min(_LONGEST, _SHORTEST * 2.0 ** min(failures, 10)))
