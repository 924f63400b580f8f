"""Prompts as token ids: the chat template, the prefilled answer and the forms in which an option can be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from valuestrata.errors import InputDataError
from valuestrata.respondents.base import Message, Prompt
from valuestrata.respondents.local.tree import Ids, common_prefix

# Stands for an answer while the template is asked what follows one.
_PROBE = "17"


class Question(NamedTuple):
    """A prompt ready to be scored.

    Attributes:
        ids: tokens of the chat and the prefill.
        stem: how many of them every form continues (all, unless the tokenizer merges across the border).
        forms: for each option its distinct tokenisations, each ending with the end of turn.
    """

    ids: Ids
    stem: int
    forms: tuple[tuple[Ids, ...], ...]


class Chat:
    """Turns prompts into ids, the way the model's own chat template and tokenizer do."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise InputDataError(
                f"{name}: the tokenizer has no chat template, so the model cannot be asked as a chat; use an instruct model."
            )
        self._tokenizer = tokenizer
        self._name = name
        self._special = [text for text in {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()} if text]
        self._known: dict[tuple[str, str], Ids] = {}
        self.end = self._end_of_turn()

    def render(self, messages: Sequence[Message], *, ask: bool = True) -> str:
        """Return the chat as text; with `ask`, up to where the assistant's turn begins."""
        import jinja2

        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            # Templates without a thinking mode ignore the switch; with it, the answer would stand behind a monologue.
            return self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask, enable_thinking=False)
        except jinja2.TemplateError as error:
            roles = ", ".join(message.role for message in messages)
            raise InputDataError(f"{self._name}: its chat template refuses a chat of the roles {roles}: {error}") from error

    def ids(self, text: str) -> Ids:
        """Return the token ids of a rendered text; the template has written its special tokens itself."""
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def written(self, prompt: Prompt) -> Ids:
        """Return the ids of a prompt that the model answers in its own words."""
        return self.ids(self.render(prompt.messages))

    def question(self, prompt: Prompt, *, prefill: str | None = None) -> Question:
        """Return the ids of a prompt and of every form of its options: ` N` and `N`, joined to the text before them.

        The assistant's turn begins with `prefill`, or with the prompt's own where that is None.
        """
        text = self.render(prompt.messages) + (prompt.prefill if prefill is None else prefill)
        ids = self.ids(text)
        wholes = [dict.fromkeys(self._joined(text, ids, form) for form in (f" {option}", option)) for option in prompt.options]
        # A tokenizer may merge the last characters of the prefill with the answer. All forms then continue the part that
        # they have in common, for otherwise their probabilities would not be of the same event.
        stem = min(common_prefix(ids, whole) for option in wholes for whole in option)
        forms = tuple(tuple((*whole[stem:], self.end) for whole in option) for option in wholes)
        return Question(ids, stem, forms)

    def decode(self, ids: Sequence[int]) -> str:
        """Return what the model wrote, without special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _joined(self, text: str, ids: Ids, form: str) -> Ids:
        """Return the ids of `text + form`. Behind the last special token nothing depends on what precedes it: those are kept."""
        cut = max((at + len(special) for special in self._special if (at := text.rfind(special)) >= 0), default=0)
        tail = text[cut:]
        if not tail or not cut:
            return self.ids(text + form)
        if (tail, "") not in self._known:
            self._known[tail, ""] = self.ids(tail)
        alone = self._known[tail, ""]
        if ids[-len(alone) :] != alone:
            return self.ids(text + form)
        if (tail, form) not in self._known:
            self._known[tail, form] = self.ids(tail + form)
        return (*ids[: -len(alone)], *self._known[tail, form])

    def _end_of_turn(self) -> int:
        """Return the token that the template puts behind an assistant's words, else the end of sequence."""
        text = self.render([Message("user", "?"), Message("assistant", _PROBE)], ask=False)
        special = set(self._tokenizer.all_special_ids) | set(self._tokenizer.get_added_vocab().values())
        for token in self.ids(text[text.rindex(_PROBE) + len(_PROBE) :]) if _PROBE in text else ():
            if token in special:
                return int(token)
        if self._tokenizer.eos_token_id is None:
            raise InputDataError(f"{self._name}: neither the chat template nor the tokenizer says how a turn ends.")
        return int(self._tokenizer.eos_token_id)
