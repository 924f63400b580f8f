"""One prompt: the calls that its elicitation needs, combined into an Answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from valuestrata.respondents.base import Answer, Prompt, was_withheld
from valuestrata.respondents.hosted.codecs.codec import Codec
from valuestrata.respondents.hosted.codecs.openai_chat import OpenAICodec
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallFailure, failure
from valuestrata.respondents.hosted.limits.limiter import CallsStopped
from valuestrata.respondents.hosted.providers import Provider
from valuestrata.respondents.hosted.readout import OptionProbabilities, read_first_token, walk
from valuestrata.respondents.hosted.retry import BudgetExceededError, CallResult, RetryingCaller, RunHistory
from valuestrata.respondents.hosted.settings import HostedSettings

Number = TypeVar("Number", int, float)


class PromptCaller:
    """Asks prompts of one model through a `RetryingCaller`; `history` holds what all calls showed."""

    def __init__(self, codec: Codec, provider: Provider, settings: HostedSettings, caller: RetryingCaller, history: RunHistory) -> None:
        self._codec = codec
        self._provider = provider
        self._settings = settings
        self._caller = caller
        self._history = history

    async def ask(self, prompt: Prompt) -> Answer:
        """Return the answer to a prompt, with `error` if its calls failed or show no option.

        Raises:
            CallsStopped, BudgetExceededError: as `RetryingCaller.call`; nothing was paid for the prompt.
        """
        if prompt.elicitation == "logprob":
            return await self._search(prompt)
        first_token = prompt.elicitation == "first-token"
        body = self._codec.body(prompt, self._settings)
        called = await self._caller.call(body, key=prompt.key, check=self._missing_probabilities if first_token else None)
        reply = called.reply
        if reply is None:
            return _answer(prompt, [called])
        read = None
        if first_token:
            read = read_first_token(prompt, reply.positions or (), whole_numbers=self._provider.whole_numbers)
        return _answer(prompt, [called], read, text=reply.text, reasoning=reply.reasoning)

    async def _search(self, prompt: Prompt) -> Answer:
        codec = self._codec
        assert isinstance(codec, OpenAICodec), "only these servers continue a turn"
        calls: list[CallResult] = []

        async def continued(written: str, tokens: int) -> Reply | None:
            body = codec.continued(prompt, self._settings, written, tokens)
            called = await self._caller.call(body, key=prompt.key, continues=bool(calls), check=self._missing_probabilities)
            calls.append(called)
            return called.reply

        try:
            read = await walk(prompt, continued, self._settings.end_of_turn, self._settings.max_new_tokens)
        except (CallsStopped, BudgetExceededError):
            if not any(called.cost for called in calls):
                raise
            read = OptionProbabilities(error="broken off: only some of its calls were made before the run stopped")
        # A withheld reply has neither probabilities nor an error; its text and finish reason say so.
        withheld = calls[0].reply if read == OptionProbabilities() else None
        return _answer(prompt, calls, read, text=None if withheld is None else withheld.text)

    def _missing_probabilities(self, reply: Reply) -> CallFailure | None:
        """Return the failure of a reply with text but without log-probabilities."""
        if reply.positions or not reply.text or was_withheld(reply.finish_reason):
            self._history.tells = self._history.tells or bool(reply.positions)
            return None
        # If the model gave some before, one reply without them says nothing about the next.
        kind = "empty reply" if self._history.tells else "wrong setting"
        return failure(kind, f"no log-probabilities came, though {self._provider.name} was asked for them")


def _answer(
    prompt: Prompt,
    calls: Sequence[CallResult],
    read: OptionProbabilities | None = None,
    *,
    text: str | None = None,
    reasoning: str | None = None,
) -> Answer:
    """Return an answer with the sums of its calls; a sum is None if one call does not tell it."""
    failed = next((called.failure for called in calls if called.failure is not None), None)
    error = str(failed) if failed is not None else None if read is None else read.error
    replies = [called.reply for called in calls if called.reply is not None]
    return Answer(
        prompt,
        text=text,
        reasoning=reasoning,
        option_probs=None if read is None else read.probs,
        option_mass=None if read is None else read.mass,
        error=error,
        attempts=sum(called.attempts for called in calls),
        finish_reason=replies[0].finish_reason if len(calls) == 1 and replies else None,
        prompt_tokens=_sum([reply.prompt_tokens for reply in replies]),
        completion_tokens=_sum([reply.completion_tokens for reply in replies]),
        cost=_sum([called.cost for called in calls]),
        latency=sum(called.seconds for called in calls),
    )


def _sum(values: Sequence[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known and len(known) == len(values) else None
