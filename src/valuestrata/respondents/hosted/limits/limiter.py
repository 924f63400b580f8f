"""Where calls wait until they may start."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from valuestrata.respondents.hosted.limits.concurrency import Pace


class Stopped(Exception):  # noqa: N818 - nothing went wrong: no more calls are wanted
    """No more calls are started."""


class Gate:
    """Lets calls start as a `Pace` allows, in the order in which they came; used within one event loop.

    Every `enter` is followed by one of `answered`, `failed` and `refused`.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: deque[tuple[asyncio.Future[float], bool]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._closing = asyncio.Event()
        self._shut = False

    async def enter(self, *, again: bool = False, going_on: bool = False) -> float:
        """Wait until a call may start and return the time.

        Args:
            again: it was refused before: it goes before those that came later.
            going_on: it belongs to a prompt for which a call was paid: a gate that is only closing lets it in.

        Raises:
            Stopped: the gate is closed to it.
        """
        if self._closed_to(going_on):
            raise Stopped
        now = time.monotonic()
        if not self._waiting and self._pace.has_room(now):
            self._pace.start()
            return now
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if again else self._waiting.append)((turn, going_on))
        self._let_in()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.failed()  # its turn had come, and nobody takes it
            raise

    async def wait(self, seconds: float) -> None:
        """Wait without holding anything up.

        Raises:
            Stopped: the gate was closed meanwhile.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return
        raise Stopped

    def answered(self) -> None:
        """A call was answered."""
        self._pace.answered()
        self._let_in()

    def failed(self) -> None:
        """A call ended in a way that says nothing of the load."""
        self._pace.failed()
        self._let_in()

    def refused(self, started: float, retry_after: float | None) -> None:
        """A call was refused for want of room."""
        self._pace.refused(started, time.monotonic(), retry_after)
        self._let_in()

    def close(self, *, at_once: bool = False) -> None:
        """Start no more prompts, nor, `at_once`, any more calls: all who wait are told so."""
        self._closing.set()
        self._shut = self._shut or at_once
        stay: deque[tuple[asyncio.Future[float], bool]] = deque()
        for turn, going_on in self._waiting:
            if not self._closed_to(going_on):
                stay.append((turn, going_on))
            elif not turn.done():
                turn.set_exception(Stopped())
        self._waiting = stay
        self._let_in()

    def _closed_to(self, going_on: bool) -> bool:
        return self._shut or (self._closing.is_set() and not going_on)

    def _let_in(self) -> None:
        now = time.monotonic()
        while self._waiting and self._pace.has_room(now):
            turn, _ = self._waiting.popleft()
            if not turn.done():
                self._pace.start()
                turn.set_result(now)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        wait = self._pace.closed_until - now
        if self._waiting and wait > 0:
            self._alarm = asyncio.get_running_loop().call_later(wait, self._let_in)
