"""One call, tried until it is answered, is hopeless, or no more are wanted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from valuestrata.respondents.hosted.faults import Fault, fault
from valuestrata.respondents.hosted.gate import Gate, Stopped
from valuestrata.respondents.hosted.pace import Pace
from valuestrata.respondents.hosted.prices import Prices
from valuestrata.respondents.hosted.purse import Purse
from valuestrata.respondents.hosted.reply import Reply
from valuestrata.respondents.hosted.settings import HostedSettings
from valuestrata.respondents.hosted.wire import Wire

# The library's own timeout is between two bytes; ours is of the whole attempt, and a little longer, so that the better
# message wins where both apply.
_GRACE = 1.0
# A prompt told to wait this many times as often as it may fail has something of its own that is not welcome.
_REFUSALS = 5
# So many prompts refused outright, and none answered: it is not the prompts.
_REFUSED_AT_FIRST = 10
# What counts for a request that sets no limit: as much as any model writes.
_UNLIMITED = 128_000
_WHERE_TO_SAY = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")
Check = Callable[[Reply], Fault | None]


class OutOfMoneyError(Exception):
    """The next call could cost more than is left."""


@dataclass(frozen=True, slots=True)
class Called:
    """What came of a call: a reply or a fault, after how many attempts, in how many seconds of calling, at what cost."""

    reply: Reply | None
    fault: Fault | None
    attempts: int
    seconds: float
    cost: float | None


class Caller:
    """Makes calls through a wire, at a pace, within a purse; used within one event loop.

    Attributes:
        fatal: the fault for which the run stops; None while there is none.
    """

    def __init__(self, wire: Wire, settings: HostedSettings, pace: Pace, purse: Purse, prices: Prices | None) -> None:
        self._wire = wire
        self._settings = settings
        self._pace = pace
        self._purse = purse
        self._prices = prices
        self._barren_since: float | None = None
        self._barren = 0
        self._refused = 0
        self._late = 0
        self.gate = Gate(pace)
        self.fatal: Fault | None = None

    async def call(self, body: Mapping[str, Any], *, going_on: bool = False, check: Check | None = None) -> Called:
        """Make a call.

        Args:
            body: the request.
            going_on: it is for a prompt that others were made for.
            check: says what is wrong with a reply that is sound in form; None where nothing is.

        Raises:
            Stopped: no more calls are wanted, and this one was not answered.
            OutOfMoneyError: it could cost more than is left.
        """
        failures = refusals = 0
        seconds = 0.0
        while True:
            started, reply, found = await self._attempt(body, check, again=failures + refusals > 0, going_on=going_on)
            seconds += time.monotonic() - started
            attempts = failures + refusals + 1
            if found is None or reply is not None:
                cost = None if self._prices is None or reply is None else self._prices.of_reply(reply)
                return Called(None if found else reply, found, attempts, seconds, cost)
            if self.fatal is not None and found.retry:
                raise Stopped
            refusals += found.slow_down
            failures += not found.slow_down
            tried = failures >= self._settings.attempts or refusals >= _REFUSALS * self._settings.attempts
            if tried and found.kind == "connection" and not self._pace.answers:
                self.stop_for(fault("connection", f"nothing answers there ({found.message})"))
            if not found.retry or tried:
                return Called(None, found, attempts, seconds, None)
            if not found.slow_down:
                await self.gate.wait(max(self._pace.backoff(failures), found.retry_after or 0.0))

    async def _attempt(
        self, body: Mapping[str, Any], check: Check | None, *, again: bool, going_on: bool
    ) -> tuple[float, Reply | None, Fault | None]:
        most = self._most_of(body)
        if not await self._purse.reserve(most):
            raise OutOfMoneyError
        spent = 0.0
        try:
            started = await self.gate.enter(again=again, going_on=going_on)
            spent = most  # until it is known better: a call broken off may have been charged
            try:
                async with asyncio.timeout(self._settings.timeout + _GRACE):
                    reply = await self._wire.call(body, self._settings.timeout)
            except asyncio.CancelledError:
                self.gate.failed()
                raise
            except Exception as error:
                found = self._fault_of(error)
                spent = most if found.paid else 0.0
                self._judge(found)  # before the next call is let in
                self._leave(started, found)
                return started, None, found
            known = None if self._prices is None else self._prices.of_reply(reply)
            spent = most if known is None else known
            if check is not None and (found := check(reply)) is not None:
                self._judge(found)
                self.gate.failed()
                return started, reply, found
            self._barren_since, self._barren, self._refused, self._late = None, 0, -1, 0
            self.gate.answered()
            return started, reply, None
        finally:
            self._purse.settle(most, spent)

    def _fault_of(self, error: Exception) -> Fault:
        if isinstance(error, TimeoutError):
            return fault("timeout", f"no answer within {self._settings.timeout:g} s", paid=True)
        try:
            return self._wire.fault_of(error)
        except BaseException:
            self.gate.failed()
            raise

    def _leave(self, started: float, found: Fault) -> None:
        if found.slow_down:
            self.gate.refused(started, found.retry_after)
            return
        # A single call may hang; where one after the other comes too late the server does not keep up, and is helped by
        # fewer calls, not by a pause.
        self._late = self._late + 1 if found.kind == "timeout" else 0
        if self._late > 1:
            self.gate.refused(started, 0.0)
        else:
            self.gate.failed()

    def _judge(self, found: Fault) -> None:
        """Stop the run where a fault, or all of them together, say that going on is no use."""
        if found.fatal:
            self.stop_for(found)
        elif not found.retry:
            self._refused += self._refused >= 0
            if self._refused >= _REFUSED_AT_FIRST:
                self.stop_for(found)
        else:
            now = time.monotonic()
            if self._barren_since is None:
                self._barren_since = now
            self._barren += 1
            wait = found.retry_after or 0.0
            if now + wait - self._barren_since > self._settings.patience and (wait or self._barren >= self._settings.attempts):
                self.stop_for(found)

    def stop_for(self, found: Fault) -> None:
        """Start no more calls for this reason, which ends the run when what is under way has come."""
        if self.fatal is None:
            self.fatal = found
        self.gate.close(at_once=True)

    def _most_of(self, body: Mapping[str, Any]) -> float:
        """Return the most that a call can cost: no token is shorter than a byte."""
        if self._prices is None:
            return 0.0
        return self._prices.of_tokens(_bytes_in(body), _limit_in(body) or _UNLIMITED)


def _bytes_in(value: Any) -> int:
    """Bytes of all text in a request, and what a chat template may add to each part."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, Mapping):
        return sum(_bytes_in(key) + _bytes_in(inner) for key, inner in value.items())
    return 16 + sum(map(_bytes_in, value)) if isinstance(value, list | tuple) else 4


def _limit_in(value: Any) -> int:
    """The most tokens that a request allows to be written, wherever it says so; 0 where it does not."""
    if isinstance(value, Mapping):
        said = [inner for key, inner in value.items() if key in _WHERE_TO_SAY and isinstance(inner, int)]
        return max([*said, *map(_limit_in, value.values())], default=0)
    return 0
