"""Batch results as answers, the same as those of live calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valuestrata.errors import Option, UsageError
from valuestrata.respondents.base import Answer, Prompt, was_withheld
from valuestrata.respondents.hosted.batch.files import BatchResult
from valuestrata.respondents.hosted.errors import failure
from valuestrata.respondents.hosted.keys import key_of
from valuestrata.respondents.hosted.prices import Prices
from valuestrata.respondents.hosted.providers import provider_of
from valuestrata.respondents.hosted.readout import OptionProbabilities, read_first_token
from valuestrata.respondents.hosted.respondent import HostedRespondent, codec_class
from valuestrata.respondents.hosted.settings import HostedSettings
from valuestrata.yaml_files import Record, checked


def check_batchable(respondent: HostedRespondent, elicitation: str) -> None:
    """Refuse an elicitation that needs several calls per prompt, or that the provider cannot answer.

    Raises:
        UsageError: says what works.
    """
    if elicitation == "logprob":
        raise UsageError(
            f"{respondent.name}: logprob needs several calls per prompt, each based on the answer before, and the requests of a batch file "
            "are independent. Use ",
            Option("elicitation"),
            " first-token or text, or ask without a batch.",
        )
    respondent.check(elicitation)


def answer_of(respondent: HostedRespondent, prompt: Prompt, result: BatchResult) -> Answer:
    """Return the answer to a prompt at the price of a batch; one with `error` if the request failed."""
    reply = result.reply
    if reply is None:
        return Answer(prompt, error="no answer came back" if result.failure is None else str(result.failure))
    read = OptionProbabilities()
    if prompt.elicitation == "first-token":
        if reply.positions or not reply.text or was_withheld(reply.finish_reason):
            read = read_first_token(prompt, reply.positions or (), whole_numbers=respondent.provider.whole_numbers)
        else:
            text = f"no log-probabilities came, though {respondent.provider.name} was asked for them"
            read = OptionProbabilities(error=str(failure("wrong setting", text)))
    prices = respondent.prices
    live = None if prices is None else prices.of_reply(reply)
    return Answer(
        prompt,
        text=reply.text,
        reasoning=reply.reasoning,
        option_probs=read.probs,
        option_mass=read.mass,
        error=read.error,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        cost=None if prices is None or live is None else live * prices.batch,
    )


class HostedDecoding(Record):
    """Settings of generation, as `run.json` has them."""

    max_new_tokens: int | dict[str, int] | None
    temperature: float | None
    seed: int | None
    constrain: bool
    top_logprobs: int | None
    end_of_turn: list[str]
    extra: dict[str, Any]


class HostedIdentity(Record):
    """A hosted model, as `run.json` has it."""

    name: str
    base_url: str | None
    decoding: HostedDecoding


def respondent_from_identity(identity: Any, prices: Mapping[str, Any] | None) -> HostedRespondent:
    """Return the hosted model that `run.json` describes.

    Args:
        identity: name and identity, the key `respondent` of `run.json`.
        prices: arguments of `Prices`, None without a known price.
    """
    checked(HostedIdentity, identity, "run.json: respondent", "Restore the file from a copy.")
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
    base_url = identity["base_url"]
    codec = codec_class(provider)(provider, model, base_url=base_url, key=key_of(provider))
    return HostedRespondent(identity["name"], provider, model, codec, base_url=base_url, settings=settings)
