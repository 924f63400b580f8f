"""An event loop on simulated time and a codec without a network, for tests of waits and limits."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallError, CallFailure
from valuestrata.respondents.hosted.limits.budget import Budget
from valuestrata.respondents.hosted.limits.concurrency import ConcurrencyLimit
from valuestrata.respondents.hosted.retry import CallResult, CallsStopped, RetryingCaller
from valuestrata.respondents.hosted.settings import HostedSettings


class _Selector(selectors.SelectSelector):
    """Advances the time instead of waiting."""

    now = 0.0

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("all tasks wait and nothing is scheduled")
        self.now += timeout
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._simulated = _Selector()
        super().__init__(self._simulated)

    def time(self) -> float:
        return self._simulated.now


class SimulatedCodec:
    """Answers after `latency` seconds with what `behave(number, body)` returns; `started` holds the time of every call."""

    secrets = ()

    def __init__(self, behave: Callable[[int, dict], CallFailure | float | None], latency: float = 0.1) -> None:
        self._behave = behave
        self._latency = latency
        self.started: list[float] = []

    async def call(self, body, timeout):
        number = len(self.started)
        self.started.append(asyncio.get_running_loop().time())
        outcome = self._behave(number, body)
        await asyncio.sleep(outcome if isinstance(outcome, float) else self._latency)
        if isinstance(outcome, CallFailure):
            raise CallError(outcome)
        return Reply("Answer: 1")

    def failure_from(self, error):
        return error.failure


def make_calls(codec: SimulatedCodec, count: int, **settings) -> tuple[list[CallResult | None], RetryingCaller]:
    """Make `count` calls at once, the later ones with higher numbers; None for those that were not made."""

    async def everything():
        how = HostedSettings(**settings)
        caller = RetryingCaller(codec, how, ConcurrencyLimit(how.concurrency), Budget(), None)

        async def one(number):
            try:
                return await caller.call({"question": number})
            except CallsStopped:
                return None

        return list(await asyncio.gather(*map(one, range(count)))), caller

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(everything())
