"""Token ids of examples: the strings that `logprob` scores, each with the end of the turn.

Tokens are taken from `respondents`, so a model is trained on exactly the tokens that are scored later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from valuestrata.errors import InputDataError
from valuestrata.respondents.local.chat import Chat
from valuestrata.respondents.local.tree import Ids, common_prefix
from valuestrata.tuning.data.examples import Example
from valuestrata.tuning.recipe import Target


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as token ids.

    Attributes:
        stem: the chat and the prefill, up to where the forms of the options differ.
        start: index of the first target token in the stem: the start of the assistant's turn, or the end of the stem.
        options: for each option, in scale order, its distinct token forms, each with the end of the turn; the first is
            the one that is written (` 3`).
    """

    stem: Ids
    start: int
    options: tuple[tuple[Ids, ...], ...]

    def written(self, option: int) -> Ids:
        """Return the tokens of the chat that ends with an option."""
        return (*self.stem, *self.options[option][0])


class Encoder:
    """Encodes examples with a model's tokenizer and chat template.

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
        """Return an example as token ids; InputDataError if the tokens of an option do not decode to the option."""
        prompt = example.prompt
        tokenized = self._chat.tokenize_options(prompt)
        stem = tokenized.stem
        form_of = dict(zip(prompt.shown, tokenized.forms, strict=True))
        text_of = dict(zip(prompt.shown, prompt.options, strict=True))
        start = len(stem)
        if self._target == "turn":
            start = common_prefix(self._chat.tokenize(prompt), stem)
        encoded = Encoded(stem, start, tuple(form_of[code] for code in example.codes))
        # Many examples have the same endings; each is checked once.
        ends = (stem[start:], *(forms[0] for forms in encoded.options))
        if ends not in self._checked:
            for place, code in enumerate(example.codes):
                ids = encoded.written(place)
                self.check(example, encoded, learned=ids[start:], start=start, option=text_of[code])
            self._checked.add(ends)
        return encoded

    def check(self, example: Example, encoded: Encoded, *, learned: Ids, start: int, option: str) -> None:
        """Check that target tokens decode to the target text.

        A tokenizer may merge the last characters before the target with its first (`: ` and `3`). The first target token
        may therefore begin with characters of the prompt; nothing else may differ.

        Args:
            example, encoded: the example and its ids.
            learned: the target tokens. start: number of tokens of the stem before them.
            option: the number of the option as shown in the prompt.

        Raises:
            InputDataError: they do not; the message names the option, the expected text and the decoded text.
        """
        expected = self.target_text(example, option)
        given = self._read(encoded.stem[:start])
        whole = self._read((*encoded.stem[:start], *learned))
        found = whole[len(given) :] if whole.startswith(given) else self._read(learned)
        border = found.removesuffix(expected)
        if not found.endswith(expected) or (border and len(border) >= len(self._read(learned[:1]))):
            pieces = self._tokenizer.convert_ids_to_tokens(list(learned))
            raise InputDataError(
                f"{self._name}: the answer {option!r} has the target tokens {pieces}, which decode to {found!r} and not "
                f"{expected!r}. The tokenizer cannot write this answer after its chat template; use another model."
            )

    def target_text(self, example: Example, option: str) -> str:
        """Return the target text of an option: ` 3<|im_end|>`, after the prefill if the target is the whole turn."""
        prefill = example.prompt.prefill if self._target == "turn" else ""
        return f"{prefill} {option}{self._read((self._chat.end,))}"

    def _read(self, ids: Ids) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
