"""A model behind an API as a respondent: `PROVIDER/MODEL`.

Calls run as concurrently as the provider allows, are retried or end the run, and each answer is yielded as it comes. An
answer that could not be read from a reply keeps its cost.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from valuestrata.errors import Option, OptionText, RunFailedError, UsageError
from valuestrata.respondents.base import Answer, CostEstimate, Prompt
from valuestrata.respondents.hosted.async_runner import AsyncRunner
from valuestrata.respondents.hosted.call import PromptCaller
from valuestrata.respondents.hosted.codecs.anthropic_messages import AnthropicCodec
from valuestrata.respondents.hosted.codecs.codec import Codec
from valuestrata.respondents.hosted.codecs.google_generate import GoogleCodec
from valuestrata.respondents.hosted.codecs.openai_chat import OpenAICodec
from valuestrata.respondents.hosted.cost_estimate import estimated
from valuestrata.respondents.hosted.errors import CallFailure, ErrorKind
from valuestrata.respondents.hosted.keys import key_of, refuse_keys
from valuestrata.respondents.hosted.limits.budget import Budget
from valuestrata.respondents.hosted.limits.concurrency import ConcurrencyLimit
from valuestrata.respondents.hosted.limits.limiter import CallsStopped
from valuestrata.respondents.hosted.prices import Prices, batch_factor, known_prices
from valuestrata.respondents.hosted.providers import Provider, check_elicitation, provider_of
from valuestrata.respondents.hosted.retry import BudgetExceededError, RetryingCaller, RunHistory
from valuestrata.respondents.hosted.settings import HostedSettings

_CODECS: Mapping[str, type[Codec]] = {"openai": OpenAICodec, "anthropic": AnthropicCodec, "google": GoogleCodec}
_FREE = Prices(0.0, 0.0)
_ADVICE: Mapping[ErrorKind, OptionText] = {
    "wrong model": OptionText("Check the model's name and ", Option("base_url"), "."),
    "no credit": OptionText("Add credit with the provider."),
    "wrong setting": OptionText("Change or leave out the setting that it names."),
    "refused request": OptionText("All earlier requests were refused too, so the prompt is not the cause; change what it names."),
    "connection": OptionText("Check that the server is running, and ", Option("base_url"), "."),
}
_LATER = "No call succeeded for a while; try again later."


class HostedRespondent:
    """A model behind an API; `make_hosted` makes one.

    Attributes:
        name: the model as the user specified it. provider: who is called. settings: how it is called.
        codec: the provider's request format, also for batch files.
        prices: what the model costs; None if unknown.
        concurrency: how many calls may be in flight, as far as known.
        budget: what was spent.
    """

    def __init__(self, name: str, provider: Provider, model: str, codec: Codec, *, base_url: str, settings: HostedSettings) -> None:
        self._name = name
        self.provider = provider
        self.codec = codec
        self.settings = settings
        self.prices = _prices_of(provider, model, base_url, settings)
        self.concurrency = ConcurrencyLimit(settings.concurrency)
        self.budget = Budget()
        self._model = model
        self._base_url = base_url
        self._stopped: str | None = None
        self._budget_exceeded = False
        self._history = RunHistory()
        self._caller: RetryingCaller | None = None
        self._runner: AsyncRunner[Prompt, Answer] | None = None
        self._record: Callable[[str, float], None] | None = None

    @property
    def name(self) -> str:
        """The model as the user specified it."""
        return self._name

    def identity(self) -> Mapping[str, Any]:
        """Return what determines the model's answers.

        Speed settings and the version of the provider's library (`versions`) are not part of it: requests are written here
        and the library only carries them, so an upgrade must not end a run that is partly paid for.
        """
        decoding = self.settings.decoding()
        if self.provider.seed is None:
            decoding["seed"] = None
        # As sent: the provider's maximum may change with the next version of this package.
        decoding["top_logprobs"] = self.settings.top_logprobs or self.provider.top_logprobs or None
        return {
            "provider": self.provider.name,
            "base_url": self._base_url,
            "model": self._model,
            "revision": None,
            "adapter_hash": None,
            "decoding": decoding,
        }

    def versions(self) -> Mapping[str, str]:
        """Return the provider's library and its version."""
        return {self.codec.package: importlib.metadata.version(self.codec.package)}

    def check(self, elicitation: str) -> None:
        """Raise UsageError for an elicitation that this provider cannot answer; says what is missing and what works."""
        check_elicitation(self.provider, elicitation)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield one Answer per prompt in any order, fewer if stopped.

        Raises:
            UsageError: an elicitation that the provider cannot answer.
            RunFailedError: a failure that every other call would meet; earlier answers were yielded.
        """
        for elicitation in {prompt.elicitation for prompt in prompts}:
            self.check(elicitation)
        if self._stopped is not None:
            return
        self._runner = AsyncRunner(min(self.settings.concurrency, max(1, len(prompts))), self._opened, self.codec.close)
        yield from self._runner.run(prompts)
        if self._caller is not None and self._caller.fatal is not None:
            raise RunFailedError(*self._why_failed(self._caller.fatal))

    @property
    def stopped(self) -> str | None:
        """Why no more calls are started; None while they are."""
        return self._stopped

    def stop(self, why: str) -> None:
        """Start no more calls and wait for those in flight; may be called from a signal handler."""
        if self._stopped is None:
            self._stopped = why
        if self._runner is not None:
            self._runner.tell(self._close_limiter)

    def spend_at_most(self, dollars: float) -> None:
        """Stop before a call that could raise the costs from now on above `dollars`; infinity removes an earlier limit.

        Raises:
            UsageError: the model's price is unknown, or `dollars` is not a number.
        """
        if math.isnan(dollars):
            raise UsageError(f"{self._name}: the cost limit is {dollars}; it must be a number of dollars from 0.")
        if self.prices is None and dollars != math.inf:
            raise UsageError(
                f"{self._name}: the price of this model is unknown, so its cost cannot be limited. Give dollars per million tokens with ",
                Option("prices"),
                ".",
            )
        if self._budget_exceeded:
            self._stopped, self._budget_exceeded = None, False
        self.budget.limit = self.budget.spent + dollars

    def record_spending(self, record: Callable[[str, float], None]) -> None:
        """Call `record` with a prompt's key and US dollars before each call, and after it with the part that it did not cost."""
        self._record = record

    def answered_before(self, number: int) -> None:
        """Start or continue a run in which `number` prompts were answered before.

        With earlier answers, a refused prompt is refused for itself, and the run continues however many are. A stop of an
        earlier run (an interrupt, a limit) does not stop this one.
        """
        self._stopped, self._budget_exceeded = None, False
        self._history = RunHistory(answered=number > 0, tells=number > 0)

    def estimate(self, prompts: Sequence[Prompt]) -> CostEstimate:
        """Return what asking `prompts` needs, from their length: approximate tokens, and an upper bound of the cost."""
        return estimated(self.codec, self.settings, self.prices, prompts)

    def _opened(self) -> Callable[[Prompt], Awaitable[Answer | None]]:
        caller = RetryingCaller(self.codec, self.settings, self.concurrency, self.budget, self.prices, self._history, self._record)
        self._caller = caller
        if self._stopped is not None:
            caller.limiter.close()
        prompt_caller = PromptCaller(self.codec, self.provider, self.settings, caller, self._history)

        async def work(prompt: Prompt) -> Answer | None:
            try:
                return await prompt_caller.ask(prompt)
            except (CallsStopped, BudgetExceededError):
                return None
            finally:
                if caller.budget_exceeded:
                    self._budget_exceeded = self._budget_exceeded or self._stopped is None
                    self.stop("the next call could have cost more than the limit allows")

        return work

    def _close_limiter(self) -> None:
        if self._caller is not None:
            self._caller.limiter.close()

    def _why_failed(self, found: CallFailure) -> tuple[object, ...]:
        """Return why the run stopped and what to do, as parts of an error."""
        variables = " or ".join(self.provider.keys)
        advice = f"Check the key in {variables}." if found.kind == "key refused" else _ADVICE.get(found.kind) or self._later(found)
        kept = " The run stopped; all earlier answers are kept, and the same command continues with the rest."
        return (f"{self._name} at {self._base_url}: {found}. ", advice, kept)

    def _later(self, found: CallFailure) -> str:
        patience = self.settings.patience
        if found.retry_after is None or found.retry_after <= patience:
            return _LATER
        return f"It asks to wait for {found.retry_after:,.0f} s, longer than the {patience:,.0f} s that a run waits; try again later."


def make_hosted(name: str, settings: HostedSettings | None = None, *, calls: bool = True) -> HostedRespondent:
    """Return a hosted model.

    Args:
        name: `PROVIDER/MODEL`, such as `openai/gpt-4.1-mini` or `vllm-server/ORG/NAME`.
        settings: how it is called.
        calls: whether it will be called; False needs no key, for estimates and batch files.

    Raises:
        UsageError: no such provider; no key in the environment; a base URL that is missing or invalid; `constrain` for a
            provider that cannot restrict answers.
        MissingExtraError: the provider's library is not installed.
    """
    how = settings or HostedSettings()
    provider, model = provider_of(name)
    base_url = _base_url(name, provider, how)
    if how.constrain and provider.choice is None:
        raise UsageError(f"{name}: {provider.name} cannot restrict answers to the options; leave out ", Option("constrain"), ".")
    key = key_of(provider)
    if key is None and calls and provider.needs_key:
        raise UsageError(f"{name}: {provider.name} needs a key; set the environment variable {' or '.join(provider.keys)}.")
    refuse_keys(name if key is None else name.replace(key, "..."), {"base_url": base_url, "model": model, **how.extra}, key)
    _check_extra(name, how.extra)
    codec = codec_class(provider)(provider, model, base_url=base_url, key=key, connections=how.concurrency)
    return HostedRespondent(name, provider, model, codec, base_url=base_url, settings=how)


def codec_class(provider: Provider) -> type[Codec]:
    """Return the class of a provider's codec."""
    return _CODECS[provider.sdk]


def _check_extra(name: str, extra: Mapping[str, Any]) -> None:
    """Refuse settings that would be paid for with every call and make the replies unreadable."""
    if extra.get("stream"):
        raise UsageError(f"{name}: extra requests a stream, but replies are read whole; leave out `stream`.")
    if extra.get("n") not in (None, 1):
        raise UsageError(f"{name}: extra requests several answers per call (`n`), but one is read; use samples instead.")


def _base_url(name: str, provider: Provider, settings: HostedSettings) -> str:
    """Return the provider's address; the variable of OpenAI's library applies to OpenAI only."""
    ambient = os.environ.get("OPENAI_BASE_URL") if provider.name == "openai" else None
    url = settings.base_url or ambient or provider.base_url
    if url is None:
        raise UsageError(f"{name}: give the server's address with ", Option("base_url"), ", for example http://localhost:8000/v1.")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid port, half an IPv6 address
        parts, valid = urlsplit(""), False
    if parts.username or parts.password or parts.query:
        # It is written to run.json and to messages.
        raise UsageError(f"{name}: the base URL must not contain a user, password or query; the key is read from {provider.keys[0]}.")
    if not valid:
        shown = "" if "@" in url or "?" in url else f" {url!r}"  # may contain a password
        raise UsageError(
            f"{name}: the base URL{shown} is not a valid URL; it needs http:// or https:// and a host, for example http://localhost:8000/v1."
        )
    return url.rstrip("/")


def _prices_of(provider: Provider, model: str, base_url: str, settings: HostedSettings) -> Prices | None:
    if settings.prices is not None:
        return replace(settings.prices, batch=batch_factor(provider.name))
    if provider.free:
        return _FREE
    # At another address, other prices apply.
    return known_prices(provider.name, model) if base_url == provider.base_url else None
