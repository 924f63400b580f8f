"""Prompts longer than a model's context are refused before the first call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from valuestrata.errors import InputDataError
from valuestrata.prompts.prompt import Prompt
from valuestrata.respondents.base import Respondent, SupportsContextLimit
from valuestrata.respondents.hosted.cost_estimate import tokens_about

# A text has at most one token per byte; a chat template adds some.
_TEMPLATE_TOKENS = 256


def check_length(
    respondent: Respondent,
    prompts: Callable[[], Iterator[Prompt]],
    remedy: Sequence[object],
    *,
    context: int | None = None,
    reply: int = 0,
) -> None:
    """Refuse prompts longer than a model's context. Nothing is asked.

    Local models (`SupportsContextLimit`) count with their own tokenizer; for others a token is about 4 characters.

    Args:
        respondent: the model. prompts: renders its prompts. remedy: end of the message, text and options.
        context: context length in tokens; None: as the model reports it, else no check.
        reply: tokens of a completion, where the model does not count them.

    Raises:
        InputDataError: names the first pair that is too long and the number of such prompts.
    """
    bounded = respondent if isinstance(respondent, SupportsContextLimit) else None
    limit = context if context is not None else None if bounded is None else bounded.context
    if limit is None:
        return
    too_long: list[tuple[str, int]] = []
    room: int | None = None
    for prompt in prompts():
        if room is None:
            room = reply if bounded is None else max(reply, bounded.length_of(prompt))
        size = sum(len(message.content.encode("utf-8", "replace")) for message in prompt.messages)
        # Only prompts that could be too long are tokenized.
        if size + _TEMPLATE_TOKENS + room > limit:
            length = tokens_about(prompt) + reply if bounded is None else bounded.length_of(prompt)
            if length > limit:
                too_long.append((prompt.pair_id, length))
    if too_long:
        pair, length = too_long[0]
        raise InputDataError(
            f"{respondent.name} has a context of {limit:,} tokens, but {len(too_long):,} prompts are longer, first that of pair "
            f"{pair!r} with {length:,}. Nothing was asked. ",
            *remedy,
        )
