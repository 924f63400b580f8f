"""Examples as token ids: the very strings that the readouts score, each with the end of the turn.

`respondents` says how a prompt and its options are written as tokens, and what is trained is taken from there: a model
that learns ` 3` as one token and is read as two would have learned nothing that is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from valuestrata.errors import InputDataError
from valuestrata.respondents.local.chat import Chat
from valuestrata.tuning.data.examples import Example
from valuestrata.tuning.recipe import Target

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as token ids.

    Attributes:
        stem: the chat and the prefill, as far as all forms of all options continue it.
        start: number of the first token of the stem that is learned: where the assistant's turn begins, or the stem's end.
        options: for each option, in scale order, the distinct ways to write it, each with the end of the turn; the first
            is the one that is written (` 3`).
    """

    stem: Ids
    start: int
    options: tuple[tuple[Ids, ...], ...]

    def written(self, option: int) -> Ids:
        """Return the tokens of a chat that ends with one option."""
        return (*self.stem, *self.options[option][0])


class Encoder:
    """Turns examples into ids with a model's own tokenizer and chat template.

    Raises:
        InputDataError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, name: str, target: Target) -> None:
        self._tokenizer = tokenizer
        self._name = name
        self._target = target
        self._chat = Chat(tokenizer, name)
        self._checked: set[tuple[Ids, ...]] = set()

    def encode(self, example: Example) -> Encoded:
        """Return an example as ids.

        Raises:
            InputDataError: what the tokenizer makes of an option does not read as the option.
        """
        prompt = example.prompt
        question = self._chat.question(prompt)
        stem = question.ids[: question.stem]
        form_of = dict(zip(prompt.shown, question.forms, strict=True))
        text_of = dict(zip(prompt.shown, prompt.options, strict=True))
        start = len(stem)
        if self._target == "turn":
            start = _common(self._chat.written(prompt), stem)
        encoded = Encoded(stem, start, tuple(form_of[code] for code in example.codes))
        # The same few endings come again and again; each is read back once.
        ends = (stem[start:], *(forms[0] for forms in encoded.options))
        if ends not in self._checked:
            for place, code in enumerate(example.codes):
                ids = encoded.written(place)
                self.check(example, encoded, learned=ids[start:], start=start, option=text_of[code])
            self._checked.add(ends)
        return encoded

    def check(self, example: Example, encoded: Encoded, *, learned: Ids, start: int, option: str) -> None:
        """Refuse learned tokens that do not read as the target text.

        A tokenizer may merge the border between what is given and what is learned (`: ` and `3`); the learned tokens then
        begin with characters that are given. More than that may not differ.

        Args:
            example, encoded: the example and its ids.
            learned: the tokens that are learned. start: how many tokens of the stem stand before them.
            option: the number of the option as the prompt shows it.

        Raises:
            InputDataError: names the option, what was expected and what the tokens read as.
        """
        expected = self.target_text(example, option)
        given = self._read(encoded.stem[:start])
        whole = self._read((*encoded.stem[:start], *learned))
        found = whole[len(given) :] if whole.startswith(given) else self._read(learned)
        border = found.removesuffix(expected)
        if not found.endswith(expected) or (border and len(border) >= len(self._read(learned[:1]))):
            pieces = self._tokenizer.convert_ids_to_tokens(list(learned))
            raise InputDataError(
                f"{self._name}: the answer {option!r} would be taught as the tokens {pieces}, which read {found!r} and not "
                f"{expected!r}. The tokenizer cannot write this answer behind its chat template; use another model."
            )

    def target_text(self, example: Example, option: str) -> str:
        """Return what is learned for one option, as text: ` 3<|im_end|>`, with the prefill before it where the whole turn is."""
        prefill = example.prompt.prefill if self._target == "turn" else ""
        return f"{prefill} {option}{self._read((self._chat.end,))}"

    def _read(self, ids: Ids) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _common(first: Ids, second: Ids) -> int:
    return next((at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other), min(len(first), len(second)))
