"""The queue in which calls wait until the concurrency limit lets them start.

The event loop is the only clock, so tests can run it on simulated time.
"""

from __future__ import annotations

import asyncio
from collections import deque

from valuestrata.respondents.hosted.limits.concurrency import ConcurrencyLimit


class CallsStopped(Exception):  # noqa: N818 - not an error: no more calls are wanted
    """No more calls are started."""


class Limiter:
    """Starts calls as a `ConcurrencyLimit` allows, in order of arrival; used within one event loop.

    Every `enter` is followed by one of `answered`, `failed` and `refused`.
    """

    def __init__(self, concurrency: ConcurrencyLimit) -> None:
        self._concurrency = concurrency
        self._waiting: deque[tuple[asyncio.Future[float], bool]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._closing = asyncio.Event()
        self._closed = False

    async def enter(self, *, again: bool = False, continues: bool = False) -> float:
        """Wait until a call may start and return the loop's time.

        Args:
            again: the call was refused before, so it goes to the front of the queue.
            continues: another call of the same prompt was paid for; a limiter that is only closing lets it start.

        Raises:
            CallsStopped: the limiter is closed to this call.
        """
        if self._closed_to(continues):
            raise CallsStopped
        now = _now()
        if not self._waiting and self._concurrency.may_start(now):
            self._concurrency.start()
            return now
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if again else self._waiting.append)((turn, continues))
        self._start_waiting()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.failed()  # it was allowed to start and never will
            raise

    async def wait(self, seconds: float) -> None:
        """Wait without holding up other calls; CallsStopped if the limiter was closed meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return
        raise CallsStopped

    def answered(self) -> None:
        """Count a call that was answered."""
        self._concurrency.answered()
        self._start_waiting()

    def failed(self) -> None:
        """Count a call that ended without telling anything about the load."""
        self._concurrency.failed()
        self._start_waiting()

    def refused(self, started: float, retry_after: float | None) -> None:
        """Count a call that was refused for load."""
        self._concurrency.refused(started, _now(), retry_after)
        self._start_waiting()

    def close(self, *, at_once: bool = False) -> None:
        """Start no new prompts and, if `at_once`, no more calls at all; waiting calls raise `CallsStopped`."""
        self._closing.set()
        self._closed = self._closed or at_once
        stay: deque[tuple[asyncio.Future[float], bool]] = deque()
        for turn, continues in self._waiting:
            if not self._closed_to(continues):
                stay.append((turn, continues))
            elif not turn.done():
                turn.set_exception(CallsStopped())
        self._waiting = stay
        self._start_waiting()

    def _closed_to(self, continues: bool) -> bool:
        return self._closed or (self._closing.is_set() and not continues)

    def _start_waiting(self) -> None:
        now = _now()
        while self._waiting and self._concurrency.may_start(now):
            turn, _ = self._waiting.popleft()
            if not turn.done():
                self._concurrency.start()
                turn.set_result(now)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        wait = self._concurrency.paused_until - now
        if self._waiting and wait > 0:
            self._alarm = asyncio.get_running_loop().call_later(wait, self._start_waiting)


def _now() -> float:
    return asyncio.get_running_loop().time()
