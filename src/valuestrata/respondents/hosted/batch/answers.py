"""From a line of a batch's results to an Answer, as a live call would have given it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valuestrata.errors import Option, UsageError
from valuestrata.respondents.base import Answer, Prompt
from valuestrata.respondents.hosted.batch.files import BatchResult
from valuestrata.respondents.hosted.codecs.anthropic_messages import AnthropicCodec
from valuestrata.respondents.hosted.codecs.codec import Codec
from valuestrata.respondents.hosted.codecs.google_generate import GoogleCodec
from valuestrata.respondents.hosted.codecs.openai_chat import OpenAICodec
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import failure
from valuestrata.respondents.hosted.keys import key_of
from valuestrata.respondents.hosted.prices import Prices
from valuestrata.respondents.hosted.providers import Provider, provider_of
from valuestrata.respondents.hosted.readout import read_first_token
from valuestrata.respondents.hosted.respondent import HostedRespondent
from valuestrata.respondents.hosted.settings import HostedSettings


def check_batchable(respondent: HostedRespondent, elicitation: str) -> None:
    """Refuse an elicitation that takes several calls for one prompt, or that the provider cannot answer.

    Raises:
        UsageError: says what works.
    """
    if elicitation == "logprob":
        raise UsageError(
            f"{respondent.name}: logprob takes several calls for one prompt, each made of the answer to the one before, and a batch file "
            "holds calls that know nothing of each other. Use ",
            Option("elicitation"),
            " first-token or text, or ask without a batch.",
        )
    respondent.check(elicitation)


def answer_of(respondent: HostedRespondent, prompt: Prompt, line: BatchResult) -> Answer:
    """Return the answer to a prompt that a line holds, at the price of a batch; one with `error` where it failed.

    Args:
        respondent: who was asked.
        prompt: what was asked.
        line: what came back: a reply or a failure.
    """
    reply = line.reply
    if reply is None:
        return Answer(prompt, error="no answer came back" if line.failure is None else str(line.failure))
    text, probs, mass, error = reply.text, None, None, None
    if prompt.elicitation == "first-token":
        if reply.positions or not reply.text:
            reading = read_first_token(prompt, reply.positions or (), whole_numbers=respondent.provider.whole_numbers)
            probs, mass, error = reading.probs, reading.mass, reading.error
        else:
            error = str(failure("wrong setting", f"no log-probabilities came, though {respondent.provider.name} was asked for them"))
    return Answer(
        prompt,
        text=text,
        reasoning=reply.reasoning,
        option_probs=probs,
        option_mass=mass,
        error=error,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        cost=_cost(respondent, reply),
    )


def _cost(respondent: HostedRespondent, reply: Reply) -> float | None:
    prices = respondent.prices
    live = None if prices is None else prices.of_reply(reply)
    return None if prices is None or live is None else live * prices.batch


def respondent_from_identity(identity: Mapping[str, Any], prices: Mapping[str, Any] | None) -> HostedRespondent:
    """Return a hosted model again from what a run says of it.

    Args:
        identity: name and identity, as `run.json` has them.
        prices: what it costs, as `Prices` takes it.
    """
    provider, model = provider_of(identity["name"])
    decoding: Mapping[str, Any] = identity["decoding"]
    tokens = decoding["max_new_tokens"]
    settings = HostedSettings(
        max_new_tokens=tokens if isinstance(tokens, int) else None,
        temperature=decoding["temperature"],
        seed=decoding["seed"],
        constrain=decoding["constrain"],
        top_logprobs=decoding["top_logprobs"],
        end_of_turn=tuple(decoding["end_of_turn"]),
        extra=decoding["extra"],
        base_url=identity["base_url"],
        prices=None if prices is None else Prices(**prices),
    )
    codec = _codec(provider, model, identity["base_url"])
    return HostedRespondent(identity["name"], provider, model, codec, base_url=identity["base_url"], settings=settings)


def _codec(provider: Provider, model: str, base_url: str) -> Codec:
    makers = {"openai": OpenAICodec, "anthropic": AnthropicCodec, "google": GoogleCodec}
    return makers[provider.sdk](provider, model, base_url=base_url, key=key_of(provider))
