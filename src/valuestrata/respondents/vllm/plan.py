"""Prompts as requests to vLLM, and its answers as option probabilities.

vLLM gives log-probabilities of the token that comes next, after a text it is handed. An option is a short path of tokens,
and all options of a prompt together a small tree below it. Every inner node of the tree is one request: the prompt and the
path down to the node, one token to be written, and the log-probabilities of exactly the tokens that leave the node. The
prefix cache computes what requests share once; that is why they stand in the order of their tokens. `prompt_logprobs`
would need one request an option and is wrong beside a prefix cache, so it is never asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from valuestrata.respondents.base import Answer, Prompt
from valuestrata.respondents.local.chat import Chat
from valuestrata.respondents.local.tree import Ids

# vLLM returns so many chosen log-probabilities a request at most.
MOST_TOKENS = 128


class Request(NamedTuple):
    """What is handed to the engine: the tokens of a text, and the next tokens whose log-probabilities are wanted."""

    ids: Ids
    wanted: tuple[int, ...]


Step = tuple[Ids, int]
"""A path, and the token that follows it."""


class _Planned(NamedTuple):
    """A prompt, its length in tokens, and for each option its forms, each the steps that its probability is made of."""

    prompt: Prompt
    tokens: int
    options: list[list[list[Step]]]


class Plan:
    """The requests of some prompts, in prefix order."""

    def __init__(self, chat: Chat, prompts: Sequence[Prompt], longest: int | None = None) -> None:
        """Plan `prompts`; one that is longer than `longest` tokens with its options is left out and answered with an error."""
        self._planned: list[_Planned] = []
        self._too_long: list[tuple[Prompt, int]] = []
        wanted: dict[Ids, set[int]] = {}
        for prompt in prompts:
            planned = _planned(chat, prompt)
            steps = [step for option in planned.options for form in option for step in form]
            # One token is always written.
            length = max(len(ids) for ids, _ in steps) + 1
            if longest is not None and length > longest:
                self._too_long.append((prompt, length))
                continue
            self._planned.append(planned)
            for ids, token in steps:
                wanted.setdefault(ids, set()).add(token)
        self._longest = longest
        self.prompt_tokens = sum(planned.tokens for planned in self._planned)
        self.requests: list[Request] = []
        for ids in sorted(wanted):
            tokens = sorted(wanted[ids])
            self.requests += [Request(ids, tuple(tokens[at : at + MOST_TOKENS])) for at in range(0, len(tokens), MOST_TOKENS)]

    def answers(self, found: Sequence[Mapping[int, float]], seconds: float) -> Iterator[Answer]:
        """Yield an answer for each prompt.

        Args:
            found: for each request token -> log-probability, of at least the tokens wanted.
            seconds: what the requests took, shared out over the prompts.
        """
        known: dict[Step, float] = {}
        for request, logs in zip(self.requests, found, strict=True):
            for token in request.wanted:
                known[request.ids, token] = logs[token]
        for prompt, length in self._too_long:
            yield too_long(prompt, length, self._longest)
        for planned in self._planned:
            yield _answer(planned, known, seconds / len(self._planned))


def too_long(prompt: Prompt, length: int, longest: int | None) -> Answer:
    """Return the answer to a prompt that does not fit the engine."""
    return Answer(prompt, error=f"too long: {length} tokens, and the engine takes {longest}; raise max_model_len")


def _planned(chat: Chat, prompt: Prompt) -> _Planned:
    question = chat.question(prompt)
    stem = question.ids[: question.stem]
    forms = question.forms
    if prompt.elicitation == "first-token":
        forms = tuple(tuple(dict.fromkeys(form[:1] for form in option)) for option in forms)
    options = [[[((*stem, *form[:at]), token) for at, token in enumerate(form)] for form in option] for option in forms]
    return _Planned(prompt, len(question.ids), options)


def _answer(planned: _Planned, known: Mapping[Step, float], latency: float) -> Answer:
    logs = [_log_sum([sum(known[step] for step in form) for form in option]) for option in planned.options]
    total = _log_sum(logs)
    if not math.isfinite(total):
        return Answer(planned.prompt, error="the model gave no finite probability to any option", latency=latency)
    if planned.prompt.elicitation == "first-token":
        # A first token that several options share counts once.
        firsts = {step for option in planned.options for form in option for step in form}
        mass = math.fsum(math.exp(known[step]) for step in firsts)
    else:
        mass = math.exp(total)
    return Answer(
        planned.prompt,
        option_probs=tuple(math.exp(log - total) for log in logs),
        option_mass=min(1.0, mass),
        prompt_tokens=planned.tokens,
        completion_tokens=0,
        latency=latency,
    )


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs, default=-math.inf)
    return top + math.log(math.fsum(math.exp(log - top) for log in logs)) if math.isfinite(top) else top
