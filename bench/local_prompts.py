"""Prompts in the style of the built-in templates: a persona (45 tokens) and a question (90), in either order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from valuestrata.respondents.base import Elicitation, Message, Prompt

TOPICS = ["schools", "health care", "big cities", "roads", "parks", "space travel", "welfare", "defense", "child care", "energy"]
PEOPLE = list(itertools.product(["woman", "man"], ["18 to 29", "30 to 44", "45 to 59", "60 to 74", "75 or more"]))
LABELS = ["Far too much", "Too much", "About right", "Too little", "Far too little"]
WHO = "You are a {} aged {} living in the United States. Your highest degree is from a high school."
QUESTION = "About {}: do you think that the nation now spends too much money on it, too little money, or about the right amount?\n\n{}"


def persona_first(elicitation: Elicitation, *, people: int = 4, topics: int = 10, options: Sequence[str] = "12345") -> list[Prompt]:
    """Return prompts with the persona first; prompts of one persona share its 45 tokens."""
    return [
        _prompt(
            f"{WHO.format(*who)}\n\n{_asked(topic, options)}\n\n{_reply(options)}",
            (topic, " ".join(who), elicitation, options),
        )
        for who in PEOPLE[:people]
        for topic in TOPICS[:topics]
    ]


def item_first(elicitation: Elicitation, *, people: int = 10, topics: int = 4, options: Sequence[str] = "12345") -> list[Prompt]:
    """Return prompts with the question first; prompts of one question share its 90 tokens."""
    return [
        _prompt(
            f"{_asked(topic, options)}\n\n{WHO.format(*who)}\n\n{_reply(options)}",
            (topic, " ".join(who), elicitation, options),
        )
        for topic in TOPICS[:topics]
        for who in PEOPLE[:people]
    ]


def chat(tokenizer: Any, prompt: Prompt) -> str:
    """Return the rendered chat of a prompt."""
    turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def _asked(topic: str, options: Sequence[str]) -> str:
    return QUESTION.format(topic, "\n".join(f"{option}. {label}" for option, label in zip(options, LABELS, strict=True)))


def _reply(options: Sequence[str]) -> str:
    kind = "number" if options[0].isdigit() else "letter"
    return f"Reply with one {kind} from {options[0]} to {options[-1]}, in the form:\nAnswer: N"


def _prompt(text: str, about: tuple[str, str, Elicitation, Sequence[str]]) -> Prompt:
    topic, who, elicitation, options = about
    return Prompt(
        pair_id=f"{topic}_{who}",
        item=topic,
        subgroup=who,
        messages=(Message("user", text),),
        prefill="Answer:",
        options=tuple(options),
        shown=tuple(range(len(options))),
        elicitation=elicitation,
        template="bench",
        template_version="1",
    )
