"""Probabilities of the options of a prompt, from log-probabilities of tokens."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from valuestrata.respondents.base import Answer, Prompt
from valuestrata.respondents.local.chat import Forms

Read = TypeVar("Read", bound=Hashable)
"""What a log-probability is read for: a place in the text and the token after it."""


@dataclass(frozen=True)
class OptionSteps(Generic[Read]):
    """A prompt, its number of tokens, and for each option its forms, each the steps that its probability is the product of."""

    prompt: Prompt
    tokens: int
    options: Sequence[Sequence[Sequence[Read]]]

    @property
    def steps(self) -> list[Read]:
        """All steps of all options, with repetitions."""
        return [step for option in self.options for form in option for step in form]

    def answer(self, logp: Mapping[Read, float], latency: float) -> Answer:
        """Return the answer with the option probabilities.

        Args:
            logp: natural log-probability of every step. latency: seconds.
        """
        logs = [_log_sum_exp([sum(logp[step] for step in form) for form in option]) for option in self.options]
        total = _log_sum_exp(logs)
        if not math.isfinite(total):
            return Answer(self.prompt, error="the model gave no finite probability to any option", latency=latency)
        mass = math.exp(total)
        if self.prompt.elicitation == "first-token":
            # Options may share their first token; its probability counts once.
            mass = math.fsum(math.exp(logp[step]) for step in set(self.steps))
        return Answer(
            self.prompt,
            option_probs=tuple(math.exp(log - total) for log in logs),
            option_mass=min(1.0, mass),
            prompt_tokens=self.tokens,
            completion_tokens=0,
            latency=latency,
        )


def scored_forms(forms: Forms, prompt: Prompt) -> Forms:
    """Return the forms of the options that are scored: whole, or their distinct first tokens for `first-token`."""
    if prompt.elicitation != "first-token":
        return forms
    return tuple(tuple(dict.fromkeys(form[:1] for form in option)) for option in forms)


def _log_sum_exp(logs: Sequence[float]) -> float:
    top = max(logs, default=-math.inf)
    return top + math.log(math.fsum(math.exp(log - top) for log in logs)) if math.isfinite(top) else top
