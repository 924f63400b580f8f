"""How many calls may be under way: as many as the provider bears, found by trying.

The limit starts at one, since the first call tells whether model, key and settings are right; it goes to `START` with the
first answer, doubles every round trip until the provider says that it is too much, and is halved then; from there it
grows by one a round trip (additive increase, multiplicative decrease, as TCP does: Chiu and Jain 1989, RFC 5681). Calls
that were under way together are refused together: they count as one refusal.

Pure logic: no call, no waiting, and the time is handed in (`time.monotonic`, so that a clock that jumps changes nothing).
"""

from __future__ import annotations

from random import Random

START = 8
# A refusal without a word about waiting: up to this many seconds, twice as many each time, `_LONGEST` at most.
_SHORTEST = 0.5
_LONGEST = 60.0
# How near the limit the calls under way must be for an answer to say that more would do.
_NEAR = 0.75


class Pace:
    """The limit on calls under way, and the time before which none may start.

    Attributes:
        limit: calls that may be under way, at least 1; fractions grow towards the next.
        under_way: calls that are.
        closed_until: no call starts before.
        answers: calls that were answered so far.
    """

    def __init__(self, most: int, *, random: Random | None = None) -> None:
        self._most = float(most)
        self._random = random or Random()  # noqa: S311 - spreads waits, guards nothing
        self._threshold = float(most)
        self._cut_at = float("-inf")
        self._refusals = 0
        self.limit = 1.0
        self.under_way = 0
        self.closed_until = float("-inf")
        self.answers = 0

    def has_room(self, now: float) -> bool:
        """Whether a call may start at this time."""
        return now >= self.closed_until and self.under_way < int(self.limit)

    def start(self) -> None:
        """Count a call that starts."""
        self.under_way += 1

    def answered(self) -> None:
        """A call was answered: more may be borne."""
        if not self.answers:
            self.limit = min(float(START), self._most)
        elif self.under_way >= _NEAR * int(self.limit):
            # Where the calls under way do not fill the limit, an answer says nothing of more.
            self.limit += 1.0 if self.limit < self._threshold else 1.0 / self.limit
            self.limit = min(self.limit, self._most)
        self.answers += 1
        self._refusals = 0
        self.under_way -= 1

    def failed(self) -> None:
        """A call ended in a way that says nothing of the load."""
        self.under_way -= 1

    def refused(self, started: float, now: float, retry_after: float | None) -> None:
        """A call that started at `started` was refused for want of room: halve the limit, once a round trip, and wait.

        The wait is what the server asks for; without its word a random part of a bound that doubles (full jitter).
        """
        self.under_way -= 1
        first = started >= self._cut_at
        if first:
            self.limit = max(1.0, self.limit / 2)
            self._threshold = self.limit
            self._cut_at = now
            self._refusals += 1
        if retry_after is not None:
            self.closed_until = max(self.closed_until, now + retry_after)
        elif first:
            self.closed_until = max(self.closed_until, now + self.backoff(self._refusals))

    def backoff(self, failures: int) -> float:
        """Return a random wait in seconds before trying for the (`failures` + 1)th time."""
        return self._random.uniform(0.0, min(_LONGEST, _SHORTEST * 2.0 ** min(failures, 10)))
