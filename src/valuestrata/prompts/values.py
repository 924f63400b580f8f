"""Values of the placeholders of a template, for personas and for questions."""

from __future__ import annotations

from collections.abc import Sequence

from valuestrata.errors import InputDataError, Option
from valuestrata.prompts.persona import Persona, in_place, noun_phrase, place, profile, pronouns
from valuestrata.prompts.question import Question, options_text
from valuestrata.prompts.template import Template


def persona_values(template: Template, persona: Persona) -> dict[str, str]:
    """Return placeholder -> text for the placeholders of a persona (`template.OF_PERSONA` and `who`)."""
    words = template.words
    they, their, them = pronouns(persona)
    values = {
        "profile": profile(persona, words),
        "persona": noun_phrase(persona, words),
        "persona_in_place": noun_phrase(persona, words, with_place=True),
        "place": place(persona, words),
        "in_place": in_place(persona, words),
        "they": they,
        "their": their,
        "them": them,
    }
    values["who"] = (template.who if persona.traits else template.who_all).fill(values)
    return values


def question_values(question: Question, shown: Sequence[int], numbers: Sequence[str]) -> dict[str, str]:
    """Return placeholder -> text for the placeholders of a question (`template.OF_QUESTION`).

    Args:
        question: the question. shown: its codes in displayed order. numbers: the number printed before each.
    """
    return {
        "question": question.text,
        "options": options_text(question, shown, numbers),
        "first": numbers[0],
        "last": numbers[-1],
    }


def open_values(question: Question) -> dict[str, str]:
    """Return placeholder -> text for an open question.

    Raises:
        InputDataError: the item has no open question.
    """
    if not question.open_text:
        raise InputDataError(
            f"item {question.item!r} has no open question. Add one (`open_question` in the file of ",
            Option("wording"),
            "), or use `open ask`, which drafts one by rule.",
        )
    return {"question": question.open_text}
