"""Prompts as requests to vLLM, and its answers as option probabilities.

vLLM returns log-probabilities of the next token of a text. The options of a prompt form a small tree below it. Every inner
node is one request: the prompt and the path to the node, one new token, and the log-probabilities of the tokens that leave
the node. Requests are sorted by their tokens, so vLLM's prefix cache computes shared prefixes once. (`prompt_logprobs`
would need one request per option and gives wrong numbers with a prefix cache.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from valuestrata.respondents.base import Answer, Prompt
from valuestrata.respondents.local.chat import Chat
from valuestrata.respondents.local.options import OptionSteps, scored_forms
from valuestrata.respondents.local.tree import Ids

# Maximum number of chosen log-probabilities that vLLM returns per request.
MOST_TOKENS = 128

PathStep = tuple[Ids, int]
"""The tokens of a text, and the token after it."""


@dataclass(frozen=True)
class LogprobRequest:
    """The tokens of a text, and the next tokens whose log-probabilities are wanted."""

    ids: Ids
    wanted: tuple[int, ...]


class RequestPlan:
    """The requests of some prompts, in prefix order."""

    def __init__(self, chat: Chat, prompts: Sequence[Prompt], longest: int | None = None) -> None:
        """Plan `prompts`; a prompt that has more than `longest` tokens with its options is answered with an error."""
        self._planned: list[OptionSteps[PathStep]] = []
        self._too_long: list[Answer] = []
        wanted: dict[Ids, set[int]] = {}
        for prompt in prompts:
            planned = _plan(chat, prompt)
            # One token is always written.
            length = max(len(ids) for ids, _ in planned.steps) + 1
            if longest is not None and length > longest:
                self._too_long.append(too_long(prompt, length, longest))
                continue
            self._planned.append(planned)
            for ids, token in planned.steps:
                wanted.setdefault(ids, set()).add(token)
        self.prompt_tokens = sum(planned.tokens for planned in self._planned)
        self.requests: list[LogprobRequest] = []
        for ids in sorted(wanted):
            tokens = sorted(wanted[ids])
            self.requests += [LogprobRequest(ids, tuple(tokens[at : at + MOST_TOKENS])) for at in range(0, len(tokens), MOST_TOKENS)]

    def answers(self, found: Sequence[Mapping[int, float]], seconds: float) -> Iterator[Answer]:
        """Yield an answer for each prompt.

        Args:
            found: for each request token -> log-probability, at least of the tokens wanted.
            seconds: duration of the requests, divided among the prompts.
        """
        logp = {(request.ids, token): logs[token] for request, logs in zip(self.requests, found, strict=True) for token in request.wanted}
        yield from self._too_long
        for planned in self._planned:
            yield planned.answer(logp, seconds / len(self._planned))


def too_long(prompt: Prompt, length: int, longest: int) -> Answer:
    """Return the answer to a prompt that exceeds the engine's context."""
    return Answer(
        prompt, error=f"too long: {length} tokens, but the engine takes {longest}; raise max_model_len, or show fewer answers (context)"
    )


def _plan(chat: Chat, prompt: Prompt) -> OptionSteps[PathStep]:
    tokenized = chat.tokenize_options(prompt)
    forms = scored_forms(tokenized.forms, prompt)
    options = [[[((*tokenized.stem, *form[:at]), token) for at, token in enumerate(form)] for form in option] for option in forms]
    return OptionSteps(prompt, len(tokenized.ids), options)
