"""Survey answers shown in a prompt, before the question: those of a group to other questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from valuestrata.prompts.pattern import Pattern
from valuestrata.prompts.persona import Persona, noun_phrase, profile
from valuestrata.prompts.question import Question

if TYPE_CHECKING:
    from valuestrata.prompts.template import Template

# Placeholder of the wordings; placeholders of the keys `context` and `context_answer`.
CONTEXT = "context"
OF_CONTEXT = ("group", "group_profile", "answers")
OF_ANSWER = ("question", "options", "answer", "share")

# The most frequent answer is a label and not a number: numbers depend on the option order of the asked question, and a model
# might copy one. The text is therefore the same in all orders, which keeps shared prefixes long.
DEFAULT_CONTEXT = """\
A survey asked similar questions. These are the most frequent answers of respondents described as "{group}", each with the share \
who gave it:

{answers}"""
DEFAULT_ANSWER = """\
{question}
Options: {options}
Most frequent answer: {answer} ({share} %)"""


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """The most frequent answer of a group to an item: its scale code, and the share of the group that gave it in percent."""

    item: str
    code: int
    percent: int


@dataclass(frozen=True, slots=True)
class ShownAnswers:
    """Answers shown in a prompt.

    Attributes:
        group: whose answers they are. answers: one of each item, in the order in which they are shown.
    """

    group: Persona
    answers: tuple[ShownAnswer, ...]


class ShowsAnswers(Protocol):
    """Chooses the answers that a prompt shows."""

    def shown(self, item: str, subgroup: str) -> ShownAnswers | None:
        """Return the answers to show in the prompt of a pair, None for none."""
        ...


@dataclass(frozen=True)
class ContextWording:
    """How a template words shown answers.

    Attributes:
        text: the passage, with `OF_CONTEXT`. answer: one answer, with `OF_ANSWER`.
        version, open_version: of the template's prompts that show answers, for closed and open questions.
    """

    text: Pattern
    answer: Pattern
    version: str
    open_version: str


def with_place_for_context(user: Pattern) -> Pattern:
    """Return a wording with the placeholder of shown answers: where the template has it, else at the beginning."""
    return user if CONTEXT in user.names else Pattern((("", CONTEXT), *user.pieces))


def context_text(template: Template, questions: Mapping[str, Question], shown: ShownAnswers) -> str:
    """Return the text that replaces `{context}`: the passage and an empty line."""
    wording = template.context
    answers = "\n\n".join(wording.answer.fill(_answer_values(questions[answer.item], answer)) for answer in shown.answers)
    group, words = shown.group, template.words
    values = {"group": noun_phrase(group, words, with_place=True), "group_profile": profile(group, words), "answers": answers}
    return f"{wording.text.fill(values)}\n\n"


def _answer_values(question: Question, answer: ShownAnswer) -> dict[str, str]:
    labels = question.label_of
    if question.is_numeric_scale:
        ends = {code: f"{code} ({labels[code]})" for code in (question.codes[0], question.codes[-1])}
        options, chosen = " to ".join(ends.values()), ends.get(answer.code, str(answer.code))
    else:
        options, chosen = "; ".join(question.labels), labels[answer.code]
    return {"question": question.text, "options": options, "answer": chosen, "share": str(answer.percent)}
