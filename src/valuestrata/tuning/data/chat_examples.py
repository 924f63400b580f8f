"""Examples as chats for other trainers: the prompt that `ask` sends, and an answer written as the readouts score it.

Other trainers learn one written answer a row and weigh all rows alike, so that only some objectives can be handed on:

- `tokens`, `mode`: one row an example, with its modal answer;
- `cross-entropy`, `kl`: several rows an example, answered in proportion to the gold shares. The mean loss of these rows is
  -sum_k q_k log p(answer k) of the shares q as rounded, which is the cross-entropy among the options and the logarithm
  of their mass, in the proportion `mass_weight: 1`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.errors import UsageError
from valuestrata.prompts import Prompt
from valuestrata.tuning.data.examples import Example
from valuestrata.tuning.recipe import Recipe

_MODAL = ("tokens", "mode")
_SHARED = ("cross-entropy", "kl")
# What a chat template may write around a chat and around each message, in tokens: a system prompt of its own, marks and roles.
_AROUND_CHAT = 128
_AROUND_MESSAGE = 16


@dataclass(frozen=True, slots=True)
class ChatLine:
    """One row of training: a chat that ends with the assistant's answer.

    Attributes:
        pair_id: the pair it was made from, for messages; it is not written into training files.
        messages: role and content of each message, the answer last.
    """

    pair_id: str
    messages: tuple[tuple[str, str], ...]

    @property
    def chat(self) -> list[dict[str, str]]:
        """The messages as trainers read them."""
        return [{"role": role, "content": content} for role, content in self.messages]

    @property
    def most_tokens(self) -> int:
        """The most tokens it can have, whatever the tokenizer: none stands for less than a byte of text."""
        return _AROUND_CHAT + sum(_AROUND_MESSAGE + len(content.encode("utf-8", "surrogatepass")) for _, content in self.messages)


def check_exportable(recipe: Recipe) -> None:
    """Refuse a recipe that no row of chat can carry.

    Raises:
        UsageError: names the field and the recipes that can be exported.
    """
    if recipe.objective not in (*_MODAL, *_SHARED):
        raise UsageError(
            f"Recipe {recipe.name!r}: other trainers learn written answers, which cannot carry the objective {recipe.objective!r}. "
            f"Export a recipe of objective {', '.join((*_MODAL, *_SHARED))} (built in: paper, modal, distribution), or tune here."
        )
    for field, value in (("weights.by", recipe.weights.by), ("weights.groups", recipe.weights.groups)):
        if value != "none":
            raise UsageError(
                f"Recipe {recipe.name!r}: other trainers weigh all rows alike, so that {field} {value!r} would be lost; set it to `none`, "
                "or tune here."
            )


def chat_lines(examples: Sequence[Example], recipe: Recipe, *, answers: int, seed: Sequence[int]) -> list[ChatLine]:
    """Return the rows of some examples, mixed.

    Args:
        examples: the examples. recipe: says which answers are taught.
        answers: rows an example where shares are taught.
        seed: of the order; examples come with common beginnings side by side, and not every trainer mixes its rows.
    """
    lines = [line for example in examples for line in _lines_of(example, recipe, answers)]
    return [lines[place] for place in np.random.default_rng(list(seed)).permutation(len(lines)).tolist()]


def _lines_of(example: Example, recipe: Recipe, answers: int) -> list[ChatLine]:
    counts = (
        apportioned(example.shares, answers)
        if recipe.objective in _SHARED
        else [int(at == example.mode) for at in range(len(example.codes))]
    )
    asked = tuple((message.role, message.content) for message in example.prompt.messages)
    return [
        ChatLine(example.prompt.pair_id, (*asked, ("assistant", answer_text(example.prompt, code))))
        for code, count in zip(example.codes, counts, strict=True)
        for _ in range(count)
    ]


def answer_text(prompt: Prompt, code: int) -> str:
    """Return the assistant's whole turn for a scale code, as `logprob` scores it behind its prefill: `Answer: 3`."""
    return f"{prompt.prefill} {prompt.options[prompt.shown.index(code)]}".strip()


def apportioned(shares: Sequence[float], seats: int) -> list[int]:
    """Return whole numbers that sum to `seats`, in proportion to shares that sum to 1: largest remainders, ties to the first."""
    exact = [share * seats for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    rest = sorted(range(len(exact)), key=lambda at: (-round(exact[at] - counts[at], 9), at))
    for at in rest[: seats - sum(counts)]:
        counts[at] += 1
    return counts


def remarks_on(recipe: Recipe, answers: int) -> list[str]:
    """Return what of a recipe another trainer does not do as `tune` does, a sentence each; `answers` as of `chat_lines`."""
    remarks: list[str] = []
    if recipe.objective in _SHARED and answers > 1:
        remarks.append(f"epochs: an example is {answers} rows, so that an epoch has {answers} times the updates that it has here.")
    if recipe.target == "option":
        remarks.append("target: the whole turn is learned, with the words that `logprob` prefills, and not the option alone.")
    if recipe.objective in _SHARED and recipe.mass_weight != 1:
        remarks.append(f"mass_weight: written answers weigh the mass of all options 1, and not {recipe.mass_weight:g}.")
    if recipe.together > 1:
        remarks.append("together: rows are mixed one by one.")
    if recipe.early_stopping is not None and recipe.early_stopping.by != "loss":
        remarks.append(f"early_stopping.by: another trainer knows the loss only, and not {recipe.early_stopping.by}.")
    return remarks
