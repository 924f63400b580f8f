"""Probabilities of the options from a provider's log-probabilities of the likeliest tokens.

`first-token`: the probability of each option at the position of the answer. A server that continues a turn is given the
prefill (`Answer:`); any other writes `Answer:` itself, and prefill, markup and blanks before the answer are skipped. Tokens
that are equal without blanks (` 3`, `3`) are summed. If one option is a prefix of another (`1` and `10`) and nothing shows
that the longer one is a single token, the answer fails, because the probability of `1` is ambiguous.

`logprob`: the probability of an option's whole string and the end of the turn, summed over the forms ` N` and `N`, as for
local models. Each prefix of a form is continued by one call.

Tokens below the listed alternatives count as probability 0, so `option_mass` is a lower bound.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from valuestrata.respondents.base import Prompt, was_withheld
from valuestrata.respondents.hosted.codecs.reply import Position, Reply

# How servers show the token that ends a turn; "" for those that do not show it.
ENDS = frozenset(
    {
        "",
        "</s>",
        "<eos>",
        "<|eos|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end|>",
        "<|return|>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|end_of_turn|>",
        "<end_of_turn>",
        "<turn|>",
        "<|END_OF_TURN_TOKEN|>",
        "<|end▁of▁sentence|>",
        "<｜end▁of▁sentence｜>",
        "[EOS]",
    }
)
# Prefixes with less probability are not continued; they could add at most this much.
PRUNED = 1e-6
# The largest probability behind a blank that may be lost when a server does not continue it.
_LOST = 0.01
# Kind of failure of `first-token` where options begin with the same token. Asking again fails in the same way.
AMBIGUOUS = "ambiguous first token"
_MARKUP = str.maketrans("", "", "*_`\"'#>~ \t\r\n")

Alternatives = Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class OptionProbabilities:
    """Probabilities of the options.

    Attributes:
        probs: in displayed order, summing to 1; None with `error`, and where the model answered something else.
        mass: their sum before normalisation. error: why there are none.
    """

    probs: tuple[float, ...] | None = None
    mass: float | None = None
    error: str | None = None


def read_first_token(prompt: Prompt, positions: Sequence[Position], *, whole_numbers: bool) -> OptionProbabilities:
    """Read `first-token` from the written tokens.

    Args:
        positions: the tokens written after the prompt or its prefill.
        whole_numbers: whether the model writes a number as one token.
    """
    place = _answer_place(positions, prompt.prefill)
    if place is None:
        return OptionProbabilities(mass=0.0)
    probability: dict[str, float] = defaultdict(float)
    for token, logprob in place.alternatives or [(place.token, place.logprob)]:
        probability[token.strip()] += math.exp(logprob)
    if not whole_numbers and (unclear := _unclear(prompt.options, probability)):
        token, *several = unclear
        named = " and ".join(map(repr, several))
        return OptionProbabilities(
            error=f"{AMBIGUOUS}: the options {named} both begin with the token {token!r}, so its probability cannot be divided between "
            "them. Ask for the probability of whole options (logprob), or for text"
        )
    return _reading([probability.get(option, 0.0) for option in prompt.options], None)


def _answer_place(positions: Sequence[Position], prefill: str) -> Position | None:
    """Return the first position whose token is not part of `Answer:`, blanks or markup."""
    lead = prefill.translate(_MARKUP).casefold().rstrip(":") + ":"
    written = ""
    for position in positions:
        written += position.token
        if not lead.startswith(written.translate(_MARKUP).casefold()):
            return position
    return None


def _unclear(options: Sequence[str], seen: Iterable[str]) -> tuple[str, str, str] | None:
    """Return a token and two options that begin with it, if no token shows the longer one as a whole.

    The token is one of the options, or no option was seen at all.
    """
    whole = set(seen)
    for short in options:
        for long in options if short in whole else ():
            if long != short and long.startswith(short) and long not in whole:
                return short, short, long
    for token in () if whole & set(options) else sorted(whole - {""}):
        begun = [option for option in options if option.startswith(token)]
        if len(begun) > 1:
            return token, begun[0], begun[1]
    return None


def forms_of(options: Sequence[str]) -> set[str]:
    """Return the texts that count as an option under `logprob`."""
    return {form for option in options for form in (option, f" {option}")}


async def walk(
    prompt: Prompt, continued: Callable[[str, int], Awaitable[Reply | None]], ends: Iterable[str] = (), most: int | None = None
) -> OptionProbabilities | None:
    """Read `logprob`, call by call.

    Args:
        continued: makes a call that continues the assistant's turn after a text, writing at most so many tokens; None for
            no reply, which ends the search.
        ends: further texts that mark the end of the turn.
        most: maximum number of tokens of the first call.

    Returns:
        The probabilities, None if a call returned no reply; without probabilities and error if the service withheld the reply.
    """
    walker = _Walk(prompt, ENDS | set(ends))
    longest = max(map(len, walker.forms)) + 2
    root = await continued(prompt.prefill, longest if most is None else min(longest, most))
    if root is None:
        return None
    if not root.positions and was_withheld(root.finish_reason):
        return OptionProbabilities()
    walker.follow(root)
    for length in range(max(map(len, walker.forms)) + 1):
        texts = walker.open_texts(length)
        replies = await asyncio.gather(*(continued(prompt.prefill + text, 1) for text in texts), return_exceptions=True)
        for text, reply in zip(texts, replies, strict=True):
            # Other calls are awaited before an error is raised: they are paid for anyway.
            if isinstance(reply, BaseException):
                raise reply
            if reply is None:
                return None
            walker.learn(text, reply, root)
        walker.expand(length)
    return walker.reading()


class _Walk:
    """Prefixes of the options' forms, each with its probability and, once known, its continuations."""

    def __init__(self, prompt: Prompt, ends: frozenset[str]) -> None:
        self._options = prompt.options
        self._ends = ends
        self._reached: dict[str, float] = defaultdict(float, {"": 1.0})
        self._ended: dict[str, float] = defaultdict(float)
        self._next: dict[str, Alternatives] = {}
        self._lost = 0.0
        self._mute: str | None = None
        self.forms = forms_of(prompt.options)

    def follow(self, reply: Reply) -> None:
        """Record the continuations of every prefix that a reply of several tokens went through."""
        text = ""
        for position in reply.positions or ():
            self._next.setdefault(text, position.alternatives)
            text += position.token
            if position.token in self._ends or not self._leads(text):
                break

    def open_texts(self, length: int) -> list[str]:
        """Return the prefixes of a length whose continuations are unknown."""
        return [
            text
            for text, mass in self._reached.items()
            if len(text) == length and mass >= PRUNED and text not in self._next and self._mute is None
        ]

    def learn(self, text: str, reply: Reply, root: Reply) -> None:
        """Record the continuations of `text` from a call."""
        if text.endswith(" ") and not _reads_more(reply, root):
            # Chat templates strip blanks from the end of a turn: this reply continues another text.
            self._lost += self._reached[text]
            self._next[text] = ()
        elif reply.positions:
            self._next[text] = reply.positions[0].alternatives
        else:
            self._mute = text

    def expand(self, length: int) -> None:
        """Pass the probability of the prefixes of a length on to their continuations."""
        for text in [text for text in self._reached if len(text) == length]:
            for token, logprob in self._next.get(text, ()):
                mass = self._reached[text] * math.exp(logprob)
                if token in self._ends:
                    self._ended[text] += mass
                elif self._leads(text + token):
                    self._reached[text + token] += mass

    def reading(self) -> OptionProbabilities:
        """Return the probabilities of the options."""
        if self._mute is not None:
            return OptionProbabilities(
                error=f"no log-probabilities of what follows {self._mute!r}: the server shows none where the turn ends"
            )
        if self._lost > _LOST:
            return OptionProbabilities(
                error=f"a blank is cut off: {self._lost:.0%} of the probability lies behind a blank token, and the server's chat template "
                "does not continue a turn that ends with one; first-token works there"
            )
        sums = [self._ended[option] + self._ended[f" {option}"] for option in self._options]
        return _reading(sums, "no option, with the end of the turn behind it, among the likeliest tokens")

    def _leads(self, text: str) -> bool:
        return any(form.startswith(text) for form in self.forms)


def _reads_more(reply: Reply, root: Reply) -> bool:
    return reply.prompt_tokens is not None and root.prompt_tokens is not None and reply.prompt_tokens > root.prompt_tokens


def _reading(sums: Sequence[float], nothing: str | None) -> OptionProbabilities:
    total = math.fsum(sums)
    if not total > 0:
        return OptionProbabilities(mass=0.0, error=None if nothing is None else f"no probability: {nothing}")
    return OptionProbabilities(tuple(value / total for value in sums), min(1.0, total))
