"""The known providers and servers, and what each supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from valuestrata.errors import Option, UsageError, did_you_mean

Sdk = Literal["openai", "anthropic", "google"]


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider, or a kind of server.

    Attributes:
        name: the part of the model specification before the first slash.
        sdk: the library through which it is called.
        base_url: its address, None if the user must give it.
        keys: environment variables that may hold the key; the first one set is used.
        needs_key: whether it requires a key.
        top_logprobs: maximum number of alternatives per position, 0 without log-probabilities.
        continues: whether it continues an assistant turn begun in the request, which `logprob` needs.
        choice: how answers are restricted to the options; None if unsupported.
        seed: its name for a seed; None if unsupported.
        limit: its name for the maximum number of tokens to write.
        whole_numbers: whether its models write every number up to 999 as one token.
        free: whether calls cost nothing.
    """

    name: str
    sdk: Sdk
    base_url: str | None
    keys: tuple[str, ...] = ()
    needs_key: bool = True
    top_logprobs: int = 0
    continues: bool = False
    choice: Literal["json schema", "structured outputs"] | None = None
    seed: str | None = "seed"
    limit: str = "max_tokens"
    whole_numbers: bool = False
    free: bool = False


def _local(name: str, port: int, key: str, **features: Any) -> Provider:
    """A server run by the user, which may not require a key."""
    return Provider(name, "openai", f"http://localhost:{port}/v1", (key,), needs_key=False, free=True, **features)


def _table(*providers: Provider) -> Mapping[str, Provider]:
    return MappingProxyType({provider.name: provider for provider in providers})


# Addresses, variables and log-probabilities as in the providers' documentation.
PROVIDERS: Mapping[str, Provider] = _table(
    Provider(
        "openai",
        "openai",
        "https://api.openai.com/v1",
        ("OPENAI_API_KEY",),
        top_logprobs=20,
        choice="json schema",
        limit="max_completion_tokens",
        whole_numbers=True,
    ),
    Provider("anthropic", "anthropic", "https://api.anthropic.com", ("ANTHROPIC_API_KEY",), choice="json schema", seed=None),
    Provider(
        "google",
        "google",
        "https://generativelanguage.googleapis.com",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        top_logprobs=20,
        choice="json schema",
        limit="max_output_tokens",
    ),
    Provider("mistral", "openai", "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), choice="json schema", seed="random_seed"),
    Provider("together", "openai", "https://api.together.xyz/v1", ("TOGETHER_API_KEY",), choice="json schema"),
    Provider("openrouter", "openai", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",), top_logprobs=20, choice="json schema"),
    Provider("groq", "openai", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",), limit="max_completion_tokens"),
    Provider("deepseek", "openai", "https://api.deepseek.com", ("DEEPSEEK_API_KEY",), top_logprobs=20, seed=None),
    Provider("xai", "openai", "https://api.x.ai/v1", ("XAI_API_KEY",), top_logprobs=8, choice="json schema"),
    Provider("fireworks", "openai", "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",), top_logprobs=5, choice="json schema"),
    _local("vllm-server", 8000, "VLLM_API_KEY", top_logprobs=20, continues=True, choice="structured outputs"),
    _local("llamacpp", 8080, "LLAMA_API_KEY", top_logprobs=40, continues=True, choice="json schema"),
    _local("ollama", 11434, "OLLAMA_API_KEY", top_logprobs=20, choice="json schema"),
    _local("lmstudio", 1234, "LM_API_TOKEN", choice="json schema"),
    Provider("openai-compatible", "openai", None, ("OPENAI_COMPATIBLE_API_KEY",), needs_key=False, top_logprobs=20, choice="json schema"),
)


def provider_of(word: str) -> tuple[Provider, str]:
    """Return the provider of a model specification (`openai/gpt-4.1-mini`) and the provider's name of the model.

    Raises:
        UsageError: no such provider, or no model behind it.
    """
    name, _, model = word.partition("/")
    if name not in PROVIDERS:
        raise UsageError(f"MODEL {word!r}: there is no provider {name!r}.{did_you_mean(name, PROVIDERS)}")
    if not model:
        raise UsageError(f"MODEL {word!r} names no model; write {name}/MODEL.")
    return PROVIDERS[name], model


def check_elicitation(provider: Provider, elicitation: str) -> None:
    """Refuse an elicitation that reads probabilities which the provider does not give.

    Raises:
        UsageError: says what is missing and which elicitations work.
    """
    if elicitation not in ("logprob", "first-token"):
        return
    if not provider.top_logprobs:
        raise UsageError(
            f"{provider.name} gives no log-probabilities, which {elicitation} needs. Use ",
            Option("elicitation"),
            " text, reasoned or stated-distribution.",
        )
    if elicitation == "logprob" and not provider.continues:
        servers = ", ".join(f"{other.name}/MODEL" for other in PROVIDERS.values() if other.continues)
        raise UsageError(
            f"{provider.name} gives the likeliest tokens of what its models write, but cannot continue the beginning of an answer, "
            "which logprob needs. Use ",
            Option("elicitation"),
            f" first-token or text, or a server that can: {servers}.",
        )
