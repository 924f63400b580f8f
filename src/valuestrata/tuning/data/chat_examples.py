"""Examples as chats for other trainers: the prompt that `ask` sends, and the answer that `logprob` scores.

Other trainers learn one written answer per row with equal weights, so only some objectives can be exported:

- `tokens`, `mode`: one row per example, with its modal answer;
- `cross-entropy`, `kl`: several rows per example, with answers in proportion to the gold shares. The mean loss of these rows
  is -sum_k q_k log p(answer k) for the rounded shares q: the cross-entropy among the options plus the log of their mass, as
  with `mass_weight: 1`.
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
# Upper bounds of the tokens that a chat template adds to a chat and to each message: a system prompt, marks and roles.
_AROUND_CHAT = 128
_AROUND_MESSAGE = 16


@dataclass(frozen=True, slots=True)
class ChatLine:
    """One training row: a chat that ends with the assistant's answer.

    Attributes:
        pair_id: the pair, for error messages; it is not written into training files.
        messages: role and content of each message, the answer last.
    """

    pair_id: str
    messages: tuple[tuple[str, str], ...]

    @property
    def chat(self) -> list[dict[str, str]]:
        """The messages in the format of trainers."""
        return [{"role": role, "content": content} for role, content in self.messages]

    @property
    def most_tokens(self) -> int:
        """An upper bound of its tokens for any tokenizer: a token is at least one byte of text."""
        return _AROUND_CHAT + sum(_AROUND_MESSAGE + len(content.encode("utf-8", "surrogatepass")) for _, content in self.messages)


def check_exportable(recipe: Recipe) -> None:
    """Check that a recipe can be exported as chats.

    Raises:
        UsageError: it cannot; the message names the field and the recipes that can be exported.
    """
    if recipe.objective not in (*_MODAL, *_SHARED):
        raise UsageError(
            f"Recipe {recipe.name!r}: other trainers learn written answers, which cannot express the objective {recipe.objective!r}. "
            f"Export a recipe of objective {', '.join((*_MODAL, *_SHARED))} (built in: paper, modal, distribution), or tune here."
        )
    for field, value in (("weights.by", recipe.weights.by), ("weights.groups", recipe.weights.groups)):
        if value != "none":
            raise UsageError(
                f"Recipe {recipe.name!r}: other trainers give all rows equal weights, so {field} {value!r} would be lost; set it "
                "to `none` or tune here."
            )


def chat_lines(examples: Sequence[Example], recipe: Recipe, *, answers: int, seed: Sequence[int]) -> list[ChatLine]:
    """Return the rows of examples in random order.

    Args:
        examples: the examples. recipe: decides which answers are written.
        answers: rows per example for objectives on shares.
        seed: seed of the order. Some trainers do not shuffle rows, and examples come sorted by their beginning.
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
    """Return the assistant's whole turn for a scale code, with the prefill of `logprob`: `Answer: 3`."""
    return f"{prompt.prefill} {prompt.options[prompt.shown.index(code)]}".strip()


def apportioned(shares: Sequence[float], seats: int) -> list[int]:
    """Return whole numbers that sum to `seats`, in proportion to shares that sum to 1 (largest remainders, ties to the first)."""
    exact = [share * seats for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    rest = sorted(range(len(exact)), key=lambda at: (-round(exact[at] - counts[at], 9), at))
    for at in rest[: seats - sum(counts)]:
        counts[at] += 1
    return counts


def remarks_on(recipe: Recipe, answers: int) -> list[str]:
    """Return how another trainer differs from `tune` for this recipe, one sentence each; `answers` as for `chat_lines`."""
    remarks: list[str] = []
    if recipe.objective in _SHARED and answers > 1:
        remarks.append(f"epochs: an example has {answers} rows, so an epoch has {answers} times the updates of `tune`.")
    if recipe.target == "option":
        remarks.append("target: the whole turn is learned, including the prefill of `logprob`, not only the option.")
    if recipe.objective in _SHARED and recipe.mass_weight != 1:
        remarks.append(f"mass_weight: written answers correspond to 1, not {recipe.mass_weight:g}.")
    if recipe.together > 1:
        remarks.append("together: rows are shuffled one by one.")
    if recipe.early_stopping is not None and recipe.early_stopping.by != "loss":
        remarks.append(f"early_stopping.by: other trainers use the loss, not {recipe.early_stopping.by}.")
    return remarks
