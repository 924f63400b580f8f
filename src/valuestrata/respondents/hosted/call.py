"""One prompt: the calls that its elicitation takes, and the Answer that comes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from valuestrata.respondents.base import Answer, Prompt
from valuestrata.respondents.hosted.codecs.codec import Codec
from valuestrata.respondents.hosted.codecs.openai_chat import OpenAICodec
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallFailure, failure
from valuestrata.respondents.hosted.limits.limiter import CallsStopped
from valuestrata.respondents.hosted.providers import Provider
from valuestrata.respondents.hosted.readout import OptionProbabilities, read_first_token, walk
from valuestrata.respondents.hosted.retry import BudgetExceededError, CallResult, RetryingCaller, RunHistory
from valuestrata.respondents.hosted.settings import HostedSettings


class PromptCaller:
    """Asks prompts of one model through a `RetryingCaller`; what all calls show is kept in `history`."""

    def __init__(self, codec: Codec, provider: Provider, settings: HostedSettings, caller: RetryingCaller, history: RunHistory) -> None:
        self._codec = codec
        self._provider = provider
        self._settings = settings
        self._caller = caller
        self._history = history

    async def ask(self, prompt: Prompt) -> Answer:
        """Return the answer to a prompt, one with `error` where its calls failed or say nothing of the options.

        Raises:
            CallsStopped, BudgetExceededError: as `RetryingCaller.call`; nothing was paid for the prompt.
        """
        if prompt.elicitation == "logprob":
            return await self._walked(prompt)
        reads = prompt.elicitation == "first-token"
        called = await self._caller.call(self._codec.body(prompt, self._settings), check=self._tells_probabilities if reads else None)
        reply = called.reply
        if reply is None:
            return _answer(prompt, [called])
        reading = None
        if reads:
            reading = read_first_token(prompt, reply.positions or (), whole_numbers=self._provider.whole_numbers)
        return _answer(prompt, [called], reading, text=reply.text, reasoning=reply.reasoning)

    async def _walked(self, prompt: Prompt) -> Answer:
        codec = self._codec
        assert isinstance(codec, OpenAICodec), "only servers of this language continue a turn"
        calls: list[CallResult] = []

        async def continued(written: str, tokens: int) -> Reply | None:
            body = codec.continued(prompt, self._settings, written, tokens)
            called = await self._caller.call(body, continues=bool(calls), check=self._tells_probabilities)
            calls.append(called)
            return called.reply

        try:
            reading = await walk(prompt, continued, self._settings.end_of_turn, self._settings.max_new_tokens)
        except (CallsStopped, BudgetExceededError):
            if not any(called.cost for called in calls):
                raise
            reading = OptionProbabilities(error="broken off: some of its calls were made, and the others were not wanted any more")
        return _answer(prompt, calls, reading)

    def _tells_probabilities(self, reply: Reply) -> CallFailure | None:
        """Return what is wrong with a reply that wrote something and tells no probabilities of it."""
        if reply.positions or not reply.text:
            self._history.tells = self._history.tells or bool(reply.positions)
            return None
        # Of a model that told some before, one reply without any says nothing of the next.
        kind = "empty reply" if self._history.tells else "wrong setting"
        return failure(kind, f"no log-probabilities came, though {self._provider.name} was asked for them")


def _answer(
    prompt: Prompt,
    calls: Sequence[CallResult],
    reading: OptionProbabilities | None = None,
    *,
    text: str | None = None,
    reasoning: str | None = None,
) -> Answer:
    """Put an answer together; what its calls took is added up, and unknown where one of them does not say."""
    failed = next((called.failure for called in calls if called.failure is not None), None)
    error = str(failed) if failed is not None else None if reading is None else reading.error
    answered = [called.reply for called in calls if called.reply is not None]
    one = answered[0] if len(calls) == 1 and answered else None
    return Answer(
        prompt,
        text=text,
        reasoning=reasoning,
        option_probs=None if reading is None else reading.probs,
        option_mass=None if reading is None else reading.mass,
        error=error,
        attempts=sum(called.attempts for called in calls),
        finish_reason=None if one is None else one.finish_reason,
        prompt_tokens=_sum([reply.prompt_tokens for reply in answered]),
        completion_tokens=_sum([reply.completion_tokens for reply in answered]),
        cost=_sum([called.cost for called in calls]),
        latency=sum(called.seconds for called in calls),
    )


Number = TypeVar("Number", int, float)


def _sum(values: Sequence[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known and len(known) == len(values) else None
