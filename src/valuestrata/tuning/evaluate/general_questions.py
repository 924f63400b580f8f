"""The fixed text and the off-topic closed questions that check what a tuned model has forgotten."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from pydantic import Field, model_validator

from valuestrata.prompts import Prompt
from valuestrata.prompts.prompt import Elicitation, Message
from valuestrata.yaml_files import StrictModel, parse_yaml

_TEXT = "general.txt"
_QUESTIONS = "offtopic.yaml"
_PREFILL = "Answer:"


class GeneralQuestion(StrictModel):
    """A closed question with one correct answer."""

    id: str = Field(min_length=1, description="its name")
    question: str = Field(min_length=1, description="the question")
    options: list[str] = Field(min_length=2, description="the options, in the order shown")
    right: int = Field(ge=1, description="number of the correct option, from 1")

    @model_validator(mode="after")
    def _right_is_there(self) -> GeneralQuestion:
        if self.right > len(self.options):
            raise ValueError(f"right is {self.right}, but there are {len(self.options)} options")
        return self


class _QuestionFile(StrictModel):
    name: str
    reply: str
    questions: list[GeneralQuestion] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class GeneralPrompt:
    """A question as a prompt; `right` is the code of the correct answer, `labels` the option of each code."""

    prompt: Prompt
    right: int
    labels: dict[int, str]


def general_text() -> str:
    """Return the fixed text for perplexity: prose, instructions and dialogue, written for this check."""
    return _read(_TEXT)


@lru_cache(maxsize=1)
def general_version() -> str:
    """Return a short hash of text and questions; measures of different versions are not comparable."""
    return hashlib.sha256((_read(_TEXT) + "\0" + _read(_QUESTIONS)).encode()).hexdigest()[:8]


def off_topic(elicitation: Elicitation) -> list[GeneralPrompt]:
    """Return the off-topic questions as prompts; `text` and `logprob` have the same messages."""
    file = parse_yaml(_read(_QUESTIONS), _QUESTIONS).checked(_QuestionFile)
    return [_prompt(question, file.reply, elicitation) for question in file.questions]


def _prompt(question: GeneralQuestion, reply: str, elicitation: Elicitation) -> GeneralPrompt:
    labels = dict(enumerate(question.options, start=1))
    listed = "\n".join(f"{code}. {option}" for code, option in labels.items())
    prompt = Prompt(
        pair_id=f"offtopic_{question.id}",
        item=question.id,
        subgroup="all",
        messages=(Message("user", f"{question.question}\n\n{listed}\n\n{reply}"),),
        prefill=_PREFILL,
        options=tuple(map(str, labels)),
        shown=tuple(labels),
        elicitation=elicitation,
        template="offtopic",
        template_version=general_version(),
    )
    return GeneralPrompt(prompt, question.right, labels)


def _read(name: str) -> str:
    return (resources.files("valuestrata.tuning.evaluate") / "texts" / name).read_text(encoding="utf-8")
