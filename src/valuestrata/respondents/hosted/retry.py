"""Retries: one call, repeated until it is answered, cannot succeed, or is no longer wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from valuestrata.respondents.hosted.codecs.codec import Codec
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.cost_estimate import most_cost
from valuestrata.respondents.hosted.errors import CallFailure, failure
from valuestrata.respondents.hosted.limits.budget import Budget
from valuestrata.respondents.hosted.limits.concurrency import ConcurrencyLimit
from valuestrata.respondents.hosted.limits.limiter import CallsStopped, Limiter
from valuestrata.respondents.hosted.prices import Prices
from valuestrata.respondents.hosted.settings import HostedSettings

# The SDK's timeout is between two bytes, ours is for the whole attempt. The SDK's message is better, so ours comes later.
_GRACE = 1.0
# A prompt may be refused for load this many times as often as it may fail.
_REFUSALS = 5
# After so many refused prompts and no answer in the whole run, the prompts are not the cause.
_REFUSED_AT_FIRST = 10
Check = Callable[[Reply], CallFailure | None]


class BudgetExceededError(Exception):
    """The next call could cost more than is left."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a call returned.

    Attributes:
        reply: the reply. failure: why the last attempt failed. One of the two is None.
        attempts: number of attempts. seconds: time of all attempts without waits.
        cost: US dollars of all attempts, each that does not say counted as the most it can cost; None without a known price.
    """

    reply: Reply | None
    failure: CallFailure | None
    attempts: int
    seconds: float
    cost: float | None


@dataclass
class RunHistory:
    """What the calls of a run have shown so far, kept from one chunk of prompts to the next.

    Attributes:
        answered: whether any call was answered.
        refused: calls refused outright before the first answer.
        tells: whether a reply held log-probabilities.
    """

    answered: bool = False
    refused: int = 0
    tells: bool = False


@dataclass
class _Attempts:
    """The attempts of one call so far."""

    attempts: int = 0
    failures: int = 0
    refusals: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    failure: CallFailure | None = None

    def count(self, found: CallFailure) -> None:
        """Count a failed attempt."""
        self.refusals += found.throttled
        self.failures += not found.throttled
        self.failure = found


class RetryingCaller:
    """Makes calls within a concurrency limit and a budget, and retries them; used within one event loop.

    Attributes:
        fatal: the failure that stops the run; None while there is none.
        budget_exceeded: whether a call was not made because it could have cost more than is left.
    """

    def __init__(
        self,
        codec: Codec,
        settings: HostedSettings,
        concurrency: ConcurrencyLimit,
        budget: Budget,
        prices: Prices | None,
        history: RunHistory | None = None,
        record: Callable[[str, float], None] | None = None,
    ) -> None:
        self._codec = codec
        self._settings = settings
        self._concurrency = concurrency
        self._budget = budget
        self._prices = prices
        self._history = history or RunHistory()
        self._record = record
        # Failures since the last answer: when the first came, how many, and how many timeouts in a row.
        self._failing_since: float | None = None
        self._failing = 0
        self._timeouts = 0
        self.limiter = Limiter(concurrency)
        self.fatal: CallFailure | None = None
        self.budget_exceeded = False

    async def call(self, body: Mapping[str, Any], *, key: str = "", continues: bool = False, check: Check | None = None) -> CallResult:
        """Make a call.

        Args:
            key: of the prompt, for the record of spending.
            continues: whether other calls were made for the same prompt.
            check: returns what is wrong with a well-formed reply, None if nothing is.

        Raises:
            CallsStopped: no more calls are wanted; this one was neither answered nor paid for.
            BudgetExceededError: it could cost more than is left, and was not paid for so far.
        """
        made = _Attempts()
        try:
            while True:
                reply, found = await self._attempt(body, key, check, made, continues=continues)
                if found is None or reply is not None:
                    return self._result(made, None if found else reply, found)
                exhausted = made.failures >= self._settings.attempts or made.refusals >= _REFUSALS * self._settings.attempts
                if exhausted and found.kind == "connection" and not self._concurrency.answers:
                    self.stop_for(failure("connection", f"nothing answers there ({found.message})"))
                if not found.retry or exhausted:
                    return self._result(made, None, found)
                if self.fatal is not None:
                    raise CallsStopped
                if not found.throttled:
                    await self.limiter.wait(max(self._concurrency.backoff(made.failures), found.retry_after or 0.0))
        except (CallsStopped, BudgetExceededError) as end:
            self.budget_exceeded = self.budget_exceeded or isinstance(end, BudgetExceededError)
            if made.failure is None or not self._is_reported(made):
                raise
            return self._result(made, None, made.failure)

    def _is_reported(self, made: _Attempts) -> bool:
        """Whether a call that is given up early ends as a failure instead of being asked again by the next run.

        The next run must know what may have been charged. And where nothing succeeds any more, the prompts tried last may
        be the reason: without a row they would be the first to be asked again, forever.
        """
        return made.cost > 0 or (self.fatal is not None and self.fatal.retry and made.failures > 0)

    def _result(self, made: _Attempts, reply: Reply | None, found: CallFailure | None) -> CallResult:
        return CallResult(reply, found, made.attempts, made.seconds, None if self._prices is None else made.cost)

    async def _attempt(
        self, body: Mapping[str, Any], key: str, check: Check | None, made: _Attempts, *, continues: bool
    ) -> tuple[Reply | None, CallFailure | None]:
        clock = asyncio.get_running_loop().time
        most = most_cost(body, self._prices)
        if not await self._budget.reserve(most):
            raise BudgetExceededError
        spent = recorded = 0.0
        try:
            started = await self.limiter.enter(again=made.attempts > 0, continues=continues)
            made.attempts += 1
            if self._record is not None:
                self._record(key, most)
                recorded = most
            spent = most  # until more is known: a call that is cut off may have been charged
            try:
                async with asyncio.timeout(self._settings.timeout + _GRACE):
                    reply = await self._codec.call(body, self._settings.timeout)
            except asyncio.CancelledError:
                self.limiter.failed()
                raise
            except Exception as error:
                found = self._failure_from(error)
                spent = most if found.paid else 0.0
                made.count(found)
                self._stop_if_hopeless(found)  # before the next call may start
                self._release(started, found)
                return None, found
            finally:
                made.seconds += clock() - started
            known = None if self._prices is None else self._prices.of_reply(reply)
            spent = most if known is None else known
            if check is not None and (found := check(reply)) is not None:
                self._stop_if_hopeless(found)
                self.limiter.failed()
                return reply, found
            self._failing_since, self._failing, self._timeouts = None, 0, 0
            self._history.answered = True
            self.limiter.answered()
            return reply, None
        finally:
            made.cost += spent
            self._budget.settle(most, spent)
            if self._record is not None:
                self._record(key, spent - recorded)

    def _failure_from(self, error: Exception) -> CallFailure:
        if isinstance(error, TimeoutError):
            return failure("timeout", f"no answer within {self._settings.timeout:g} s", paid=True)
        try:
            return self._codec.failure_from(error)
        except BaseException:
            self.limiter.failed()
            raise

    def _release(self, started: float, found: CallFailure) -> None:
        if found.throttled:
            self.limiter.refused(started, found.retry_after)
            return
        # A single call may hang. Several timeouts in a row mean an overloaded server: fewer calls help it, a pause does not.
        self._timeouts = self._timeouts + 1 if found.kind == "timeout" else 0
        if self._timeouts > 1:
            self.limiter.refused(started, 0.0)
        else:
            self.limiter.failed()

    def _stop_if_hopeless(self, found: CallFailure) -> None:
        """Stop the run if this failure, or all failures since the last answer together, show that no call can succeed."""
        if found.fatal:
            self.stop_for(found)
        elif not found.retry:
            if self._history.answered:
                return
            self._history.refused += 1
            if self._history.refused >= _REFUSED_AT_FIRST:
                self.stop_for(found)
        else:
            now = asyncio.get_running_loop().time()
            if self._failing_since is None:
                self._failing_since = now
            self._failing += 1
            wait = found.retry_after or 0.0
            if now + wait - self._failing_since > self._settings.patience and (wait or self._failing >= self._settings.attempts):
                self.stop_for(found)

    def stop_for(self, found: CallFailure) -> None:
        """Start no more calls; the run ends with this failure once the calls in flight have ended."""
        if self.fatal is None:
            self.fatal = found
        self.limiter.close(at_once=True)
