"""One call, tried until it is answered, is hopeless, or no more are wanted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from valuestrata.respondents.hosted.codecs.codec import Wire
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.cost_estimate import most_cost
from valuestrata.respondents.hosted.errors import Fault, fault
from valuestrata.respondents.hosted.limits.budget import Purse
from valuestrata.respondents.hosted.limits.concurrency import Pace
from valuestrata.respondents.hosted.limits.limiter import Gate, Stopped
from valuestrata.respondents.hosted.prices import Prices
from valuestrata.respondents.hosted.settings import HostedSettings

# The library's own timeout is between two bytes; ours is of the whole attempt, and a little longer, so that the better
# message wins where both apply.
_GRACE = 1.0
# A prompt told to wait this many times as often as it may fail has something of its own that is not welcome.
_REFUSALS = 5
# So many prompts refused outright, and none answered in the whole run: it is not the prompts.
_REFUSED_AT_FIRST = 10
Check = Callable[[Reply], Fault | None]


class OutOfMoneyError(Exception):
    """The next call could cost more than is left."""


@dataclass(frozen=True, slots=True)
class Called:
    """What came of a call.

    Attributes:
        reply: what was answered. fault: what went wrong, in the last attempt; one of the two.
        attempts: how often it was tried. seconds: of calling, waits left out.
        cost: dollars that all attempts together took, each that does not say counted as the most that it can have; None
            where the price is not known.
    """

    reply: Reply | None
    fault: Fault | None
    attempts: int
    seconds: float
    cost: float | None


@dataclass
class Learned:
    """What the calls of a run have shown so far, kept from one chunk of prompts to the next.

    Attributes:
        answered: whether any was answered.
        refused: how many were refused outright before that.
        tells: whether a reply told log-probabilities.
    """

    answered: bool = False
    refused: int = 0
    tells: bool = False


@dataclass
class _Tries:
    """How a call went so far."""

    attempts: int = 0
    failures: int = 0
    refusals: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    fault: Fault | None = None

    def count(self, found: Fault) -> None:
        """Count an attempt that ended so."""
        self.refusals += found.slow_down
        self.failures += not found.slow_down
        self.fault = found


class Caller:
    """Makes calls through a wire, at a pace, within a purse; used within one event loop.

    Attributes:
        fatal: the fault for which the run stops; None while there is none.
        broke: whether a call was not made because it could have cost more than is left.
    """

    def __init__(
        self, wire: Wire, settings: HostedSettings, pace: Pace, purse: Purse, prices: Prices | None, learned: Learned | None = None
    ) -> None:
        self._wire = wire
        self._settings = settings
        self._pace = pace
        self._purse = purse
        self._prices = prices
        self._learned = learned or Learned()
        self._barren_since: float | None = None
        self._barren = 0
        self._late = 0
        self.gate = Gate(pace)
        self.fatal: Fault | None = None
        self.broke = False

    async def call(self, body: Mapping[str, Any], *, going_on: bool = False, check: Check | None = None) -> Called:
        """Make a call.

        Args:
            body: the request.
            going_on: it is for a prompt that others were made for.
            check: says what is wrong with a reply that is sound in form; None where nothing is.

        Raises:
            Stopped: no more calls are wanted, and this one was not answered, nor paid for.
            OutOfMoneyError: it could cost more than is left, and was not paid for so far.
        """
        tries = _Tries()
        try:
            while True:
                reply, found = await self._attempt(body, check, tries, going_on=going_on)
                if found is None or reply is not None:
                    return self._called(tries, None if found else reply, found)
                tried = tries.failures >= self._settings.attempts or tries.refusals >= _REFUSALS * self._settings.attempts
                if tried and found.kind == "connection" and not self._pace.answers:
                    self.stop_for(fault("connection", f"nothing answers there ({found.message})"))
                if not found.retry or tried:
                    return self._called(tries, None, found)
                if self.fatal is not None:
                    raise Stopped
                if not found.slow_down:
                    await self.gate.wait(max(self._pace.backoff(tries.failures), found.retry_after or 0.0))
        except (Stopped, OutOfMoneyError) as end:
            self.broke = self.broke or isinstance(end, OutOfMoneyError)
            if tries.fault is None or not self._is_kept(tries):
                raise
            return self._called(tries, None, tries.fault)

    def _is_kept(self, tries: _Tries) -> bool:
        """Whether a call that is given up before all its attempts is told of.

        What may have been charged must be known to the next run. And where nothing succeeds any more, the prompts that
        were tried last may be the reason: without a row they would be the first and the last to be asked again for ever.
        """
        return tries.cost > 0 or (self.fatal is not None and self.fatal.retry and tries.failures > 0)

    def _called(self, tries: _Tries, reply: Reply | None, found: Fault | None) -> Called:
        return Called(reply, found, tries.attempts, tries.seconds, None if self._prices is None else tries.cost)

    async def _attempt(
        self, body: Mapping[str, Any], check: Check | None, tries: _Tries, *, going_on: bool
    ) -> tuple[Reply | None, Fault | None]:
        most = most_cost(body, self._prices)
        if not await self._purse.reserve(most):
            raise OutOfMoneyError
        spent = 0.0
        try:
            started = await self.gate.enter(again=tries.attempts > 0, going_on=going_on)
            tries.attempts += 1
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
                tries.count(found)
                self._judge(found)  # before the next call is let in
                self._leave(started, found)
                return None, found
            finally:
                tries.seconds += time.monotonic() - started
            known = None if self._prices is None else self._prices.of_reply(reply)
            spent = most if known is None else known
            if check is not None and (found := check(reply)) is not None:
                self._judge(found)
                self.gate.failed()
                return reply, found
            self._barren_since, self._barren, self._late = None, 0, 0
            self._learned.answered = True
            self.gate.answered()
            return reply, None
        finally:
            tries.cost += spent
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
            if self._learned.answered:
                return
            self._learned.refused += 1
            if self._learned.refused >= _REFUSED_AT_FIRST:
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
