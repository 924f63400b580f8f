"""A hosted model as a respondent: `PROVIDER/MODEL`.

Calls go out as fast as the provider bears (`concurrency_limit`), faults are survived or end the run (`calling`), and what a call
brought is handed over as it comes. An answer that could not be read out of a reply keeps what it cost.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from valuestrata.errors import Message, Option, RunFailedError, UsageError
from valuestrata.respondents.base import Answer, CostEstimate, Prompt
from valuestrata.respondents.hosted.async_runner import AsyncRunner
from valuestrata.respondents.hosted.call import PromptCaller
from valuestrata.respondents.hosted.codecs.codec import Codec
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

_LIBRARY = {"openai": "openai", "anthropic": "anthropic", "google": "google-genai"}
_FREE = Prices(0.0, 0.0)
_ADVICE: Mapping[ErrorKind, Message] = {
    "wrong model": Message("Check the model's name and ", Option("base_url"), "."),
    "no credit": Message("Add credit with the provider."),
    "wrong setting": Message("Change or leave out the setting that it names."),
    "refused request": Message("All earlier requests were refused too, so the prompt is not the cause; change what it names."),
    "connection": Message("Check that the server is running, and ", Option("base_url"), "."),
}
_LATER = "No call succeeded for a while; try again later."


class HostedRespondent:
    """A model behind an API; `make_hosted` makes one.

    Attributes:
        concurrency: how many calls may be under way, as far as it is known.
        budget: what was spent.
    """

    def __init__(self, word: str, provider: Provider, model: str, codec: Codec, *, base_url: str, settings: HostedSettings) -> None:
        self._word = word
        self._provider = provider
        self._model = model
        self._codec = codec
        self._base_url = base_url
        self._settings = settings
        self._prices = _prices_of(provider, model, base_url, settings)
        self._stopped: str | None = None
        self._out_of_money = False
        self._history = RunHistory()
        self._caller: RetryingCaller | None = None
        self._runner: AsyncRunner[Prompt, Answer] | None = None
        self.concurrency = ConcurrencyLimit(settings.concurrency)
        self.budget = Budget()

    @property
    def name(self) -> str:
        """The model as the user wrote it."""
        return self._word

    @property
    def prices(self) -> Prices | None:
        """What the model costs; None where it is not known."""
        return self._prices

    @property
    def settings(self) -> HostedSettings:
        """How it is asked."""
        return self._settings

    @property
    def provider(self) -> Provider:
        """Who is asked."""
        return self._provider

    @property
    def codec(self) -> Codec:
        """The provider's language, in which batch files are written as well."""
        return self._codec

    def identity(self) -> Mapping[str, Any]:
        """Return what makes this model's answers what they are.

        How fast it is asked is no part of it, nor is the version of the provider's library (`versions`): requests are
        written here and the library only carries them, so that an upgrade must not end a run that is half paid for.
        """
        decoding = self._settings.decoding()
        if self._provider.seed is None:
            decoding["seed"] = None
        # As it is sent: what a provider lists at most may change with the next version of this package.
        decoding["top_logprobs"] = self._settings.top_logprobs or self._provider.top_logprobs or None
        return {
            "provider": self._provider.name,
            "base_url": self._base_url,
            "model": self._model,
            "revision": None,
            "adapter_hash": None,
            "decoding": decoding,
        }

    def versions(self) -> Mapping[str, str]:
        """Return the library through which it is asked, with its version."""
        library = _LIBRARY[self._provider.sdk]
        return {library: importlib.metadata.version(library)}

    def check(self, elicitation: str) -> None:
        """Refuse an elicitation that this provider cannot answer, before anything is called.

        Raises:
            UsageError: says what it does not give and what works.
        """
        check_elicitation(self._provider, elicitation)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield one Answer for each prompt, as they come; fewer where it was told to stop.

        Raises:
            UsageError: an elicitation that the provider cannot answer.
            RunFailedError: a failure for which every other call would fail as well; what came before it was yielded.
        """
        for elicitation in {prompt.elicitation for prompt in prompts}:
            self.check(elicitation)
        if self._stopped is not None:
            return
        self._runner = AsyncRunner(min(self._settings.concurrency, max(1, len(prompts))), self._opened, self._codec.close)
        yield from self._runner.run(prompts)
        if self._caller is not None and self._caller.fatal is not None:
            raise RunFailedError(*self._why_failed(self._caller.fatal))

    @property
    def stopped(self) -> str | None:
        """Why it starts no more calls; None while it does."""
        return self._stopped

    def stop(self, why: str) -> None:
        """Start no more calls; those under way are waited for. May be called from a signal handler."""
        if self._stopped is None:
            self._stopped = why
        if self._runner is not None:
            self._runner.tell(self._close_limiter)

    def spend_at_most(self, dollars: float) -> None:
        """Stop before a call that could take what is spent from now on over `dollars`; infinity: no limit, whatever was set before.

        Raises:
            UsageError: the price of the model is not known, or `dollars` is no number.
        """
        if math.isnan(dollars):
            raise UsageError(f"{self._word}: a limit of {dollars} dollars is none; give a number from 0.")
        if self._prices is None and dollars != math.inf:
            raise UsageError(
                f"{self._word}: what this model costs is not known, so that a limit on the cost cannot be kept. Give its price in dollars "
                "a million tokens with ",
                Option("prices"),
                ".",
            )
        if self._out_of_money:
            self._stopped, self._out_of_money = None, False
        self.budget.limit = self.budget.spent + dollars

    def answered_before(self, number: int) -> None:
        """Take note of how many prompts of the run were answered before; called before a run is begun or goes on.

        Where some were, a prompt that is refused is refused for itself: however many are, the run goes on. What stopped an
        earlier run (an interrupt, a limit) does not stop this one.
        """
        self._stopped, self._out_of_money = None, False
        self._history = RunHistory(answered=number > 0, tells=number > 0)

    def estimate(self, prompts: Sequence[Prompt]) -> CostEstimate:
        """Return what asking `prompts` takes, by the length of their texts: about so many tokens, and at most so many dollars."""
        return estimated(self._codec, self._settings, self._prices, prompts)

    def _opened(self) -> Callable[[Prompt], Awaitable[Answer | None]]:
        caller = RetryingCaller(self._codec, self._settings, self.concurrency, self.budget, self._prices, self._history)
        self._caller = caller
        if self._stopped is not None:
            caller.limiter.close()
        prompt_caller = PromptCaller(self._codec, self._provider, self._settings, caller, self._history)

        async def work(prompt: Prompt) -> Answer | None:
            try:
                return await prompt_caller.ask(prompt)
            except (CallsStopped, BudgetExceededError):
                return None
            finally:
                if caller.budget_exceeded:
                    self._out_of_money = self._out_of_money or self._stopped is None
                    self.stop("the next call could have cost more than the limit allows")

        return work

    def _close_limiter(self) -> None:
        if self._caller is not None:
            self._caller.limiter.close()

    def _why_failed(self, found: CallFailure) -> tuple[object, ...]:
        """Return why the run stopped and what to do, as parts of an error."""
        variables = " or ".join(self._provider.keys)
        advice = f"Check the key in {variables}." if found.kind == "key refused" else _ADVICE.get(found.kind) or self._later(found)
        kept = " The run stopped; all earlier answers are kept, and the same command continues with the rest."
        return (f"{self._word} at {self._base_url}: {found}. ", advice, kept)

    def _later(self, found: CallFailure) -> str:
        if found.retry_after is None or found.retry_after <= self._settings.patience:
            return _LATER
        patience = f"{self._settings.patience:,.0f} s"
        return f"It asks to wait for {found.retry_after:,.0f} s, longer than the {patience} that a run waits; try again later."


def make_hosted(word: str, settings: HostedSettings | None = None, *, calls: bool = True) -> HostedRespondent:
    """Return the hosted model behind a word.

    Args:
        word: `PROVIDER/MODEL`, as `openai/gpt-4.1-mini` or `vllm-server/ORG/NAME`.
        settings: how it is asked.
        calls: whether it will be called; False needs no key, for estimates and batch files.

    Raises:
        UsageError: no such provider; no key in the environment; a base URL that is missing or none; options alone wanted of
            a provider that cannot be told so.
        MissingExtraError: the provider's library is not installed.
    """
    how = settings or HostedSettings()
    provider, model = provider_of(word)
    base_url = _base_url(word, provider, how)
    if how.constrain and provider.choice is None:
        raise UsageError(f"{word}: {provider.name} cannot restrict answers to the options; leave out ", Option("constrain"), ".")
    key = _key(word, provider, needed=calls and provider.needs_key)
    refuse_keys(word if key is None else word.replace(key, "..."), {"base_url": base_url, "model": model, **how.extra}, key)
    _check_extra(word, how.extra)
    codec = _wire_of(provider)(provider, model, base_url=base_url, key=key, connections=how.concurrency)
    return HostedRespondent(word, provider, model, codec, base_url=base_url, settings=how)


def _check_extra(word: str, extra: Mapping[str, Any]) -> None:
    """Refuse what every call would be paid for and no reply be read with."""
    if extra.get("stream"):
        raise UsageError(f"{word}: extra asks for a stream, and a reply is read as a whole; leave `stream` out.")
    if extra.get("n") not in (None, 1):
        raise UsageError(f"{word}: extra asks for several answers a call (`n`), of which one would be read; ask for samples instead.")


def _wire_of(provider: Provider) -> Callable[..., Codec]:
    if provider.sdk == "anthropic":
        from valuestrata.respondents.hosted.codecs.anthropic_messages import AnthropicCodec

        return AnthropicCodec
    if provider.sdk == "google":
        from valuestrata.respondents.hosted.codecs.google_generate import GoogleCodec

        return GoogleCodec
    return OpenAICodec


def _base_url(word: str, provider: Provider, settings: HostedSettings) -> str:
    """Return where the provider is asked; the variable of OpenAI's library counts for OpenAI alone."""
    ambient = os.environ.get("OPENAI_BASE_URL") if provider.name == "openai" else None
    url = settings.base_url or ambient or provider.base_url
    if url is None:
        raise UsageError(f"{word}: give the server's address with ", Option("base_url"), ", for example http://localhost:8000/v1.")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, half an IPv6 address
        parts, sound = urlsplit(""), False
    if parts.username or parts.password or parts.query:
        # It stands in run.json and in messages.
        raise UsageError(f"{word}: the base URL may hold no user, password or query; the key is taken from {provider.keys[0]}.")
    if not sound:
        shown = "" if "@" in url or "?" in url else f" {url!r}"  # may hold a password
        raise UsageError(
            f"{word}: the base URL{shown} is none; it begins with http:// or https:// and a host, as http://localhost:8000/v1."
        )
    return url.rstrip("/")


def _key(word: str, provider: Provider, *, needed: bool) -> str | None:
    key = key_of(provider)
    if key is None and needed:
        raise UsageError(f"{word}: {provider.name} needs a key; set the environment variable {' or '.join(provider.keys)}.")
    return key


def _prices_of(provider: Provider, model: str, base_url: str, settings: HostedSettings) -> Prices | None:
    if settings.prices is not None:
        return replace(settings.prices, batch=batch_factor(provider.name))
    if provider.free:
        return _FREE
    # Somebody else's address takes somebody else's prices.
    return known_prices(provider.name, model) if base_url == provider.base_url else None
