"""Prompts as token ids: the chat template, the prefill and the ways to write each option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from valuestrata.errors import InputDataError
from valuestrata.respondents.base import Message, Prompt
from valuestrata.respondents.local.memory import describe_error
from valuestrata.respondents.local.tree import Ids, common_prefix

Forms = tuple[tuple[Ids, ...], ...]
"""For each option its distinct tokenisations, each with the end of the turn."""

# What an expression of a template may raise.
_TEMPLATE_ERRORS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
# An assistant's message used to find the token that the template writes after it.
_PROBE = "17"


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt with its options as token ids.

    Attributes:
        ids: tokens of the chat and the prefill.
        stem: the part of `ids` that every form continues (all of it, unless the tokenizer merges across the boundary).
        forms: the forms of the options, without the stem.
    """

    ids: Ids
    stem: Ids
    forms: Forms


class Chat:
    """Tokenizes prompts with a model's own chat template and tokenizer.

    Raises:
        InputDataError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise InputDataError(f"{name}: the tokenizer has no chat template; use an instruct model.")
        self._tokenizer = tokenizer
        self._name = name
        self._special = [text for text in {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()} if text]
        self._known: dict[tuple[str, str], Ids] = {}
        self.end = self._end_of_turn()

    def render(self, messages: Sequence[Message], *, ask: bool = True) -> str:
        """Return the chat as text; with `ask`, up to the beginning of the assistant's turn."""
        import jinja2

        from valuestrata.respondents.local.loading.limited_templates import TemplateLimitError
        from valuestrata.respondents.local.transformers_internals import limited_templates

        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            # In thinking mode the answer would follow a monologue; templates without that mode ignore the switch.
            with limited_templates():
                return self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask, enable_thinking=False)
        except TemplateLimitError as error:
            raise InputDataError(f"{self._name}: its chat template was stopped: {error}. Use another model.") from error
        except jinja2.TemplateError as error:
            roles = ", ".join(message.role for message in messages)
            raise InputDataError(f"{self._name}: its chat template does not accept messages with the roles {roles}: {error}") from error
        except _TEMPLATE_ERRORS as error:
            raise InputDataError(f"{self._name}: its chat template fails ({describe_error(error)}). Use another model.") from error

    def ids(self, text: str) -> Ids:
        """Return the token ids of a rendered text, which already contains its special tokens."""
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def tokenize(self, prompt: Prompt) -> Ids:
        """Return the ids of a prompt that is answered in free text."""
        return self.ids(self.render(prompt.messages))

    def tokenize_options(self, prompt: Prompt, *, prefill: str | None = None) -> TokenizedPrompt:
        """Return the ids of a prompt and of the forms of its options, ` N` and `N`.

        The assistant's turn begins with `prefill`, or with the prompt's own if it is None.
        """
        text = self.render(prompt.messages) + (prompt.prefill if prefill is None else prefill)
        ids = self.ids(text)
        wholes = [dict.fromkeys(self._joined(text, ids, form) for form in (f" {option}", option)) for option in prompt.options]
        # A tokenizer may merge the last characters of the prefill with the answer. All forms then continue the part they
        # have in common; otherwise their probabilities would not be of the same event.
        stem = min(common_prefix(ids, whole) for option in wholes for whole in option)
        forms = tuple(tuple((*whole[stem:], self.end) for whole in option) for option in wholes)
        return TokenizedPrompt(ids, ids[:stem], forms)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some tokens, without special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _joined(self, text: str, ids: Ids, form: str) -> Ids:
        """Return the ids of `text + form`. Tokens after the last special token do not depend on those before it: reuse those."""
        cut = max((at + len(special) for special in self._special if (at := text.rfind(special)) >= 0), default=0)
        tail = text[cut:]
        if tail and cut:
            alone = self._tail_ids(tail, "")
            if ids[-len(alone) :] == alone:
                return (*ids[: -len(alone)], *self._tail_ids(tail, form))
        return self.ids(text + form)

    def _tail_ids(self, tail: str, form: str) -> Ids:
        if (tail, form) not in self._known:
            self._known[tail, form] = self.ids(tail + form)
        return self._known[tail, form]

    def _end_of_turn(self) -> int:
        """Return the token that the template writes after an assistant's message, or the end of sequence."""
        text = self.render([Message("user", "?"), Message("assistant", _PROBE)], ask=False)
        special = set(self._tokenizer.all_special_ids) | set(self._tokenizer.get_added_vocab().values())
        for token in self.ids(text[text.rindex(_PROBE) + len(_PROBE) :]) if _PROBE in text else ():
            if token in special:
                return int(token)
        if self._tokenizer.eos_token_id is None:
            raise InputDataError(f"{self._name}: neither the chat template nor the tokenizer defines the end of a turn.")
        return int(self._tokenizer.eos_token_id)
