"""What a tuned model must still be able to do: a fixed text to read, and closed questions that have nothing to do with values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from pydantic import Field, model_validator

from valuestrata.prompts import Prompt
from valuestrata.prompts.prompt import Elicitation, Message
from valuestrata.yaml_files import StrictModel, checked, parse_yaml

_TEXT = "general.txt"
_QUESTIONS = "offtopic.yaml"
_PREFILL = "Answer:"


class Question(StrictModel):
    """A closed question with one right answer."""

    id: str = Field(min_length=1, description="its name")
    question: str = Field(min_length=1, description="what is asked")
    options: list[str] = Field(min_length=2, description="what can be answered, in the order shown")
    right: int = Field(ge=1, description="the number of the right option, from 1")

    @model_validator(mode="after")
    def _right_is_there(self) -> Question:
        if self.right > len(self.options):
            raise ValueError(f"right is {self.right}, and there are {len(self.options)} options")
        return self


class _File(StrictModel):
    name: str
    reply: str
    questions: list[Question] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a prompt.

    Attributes:
        prompt: the prompt. right: code of the right answer. labels: code -> option, as the parser wants them.
    """

    prompt: Prompt
    right: int
    labels: dict[int, str]


def general_text() -> str:
    """Return the fixed text whose perplexity is measured: prose, instructions and talk, written for this."""
    return _read(_TEXT)


@lru_cache(maxsize=1)
def general_version() -> str:
    """Return a short hash of text and questions; measures of different versions are not to be compared."""
    return hashlib.sha256((_read(_TEXT) + "\0" + _read(_QUESTIONS)).encode()).hexdigest()[:8]


def off_topic(elicitation: Elicitation) -> list[Asked]:
    """Return the off-topic questions as prompts of one elicitation; `text` and `logprob` see the same messages."""
    file = checked(_File, parse_yaml(_read(_QUESTIONS), _QUESTIONS), _QUESTIONS)
    return [_asked(question, file.reply, elicitation) for question in file.questions]


def _asked(question: Question, reply: str, elicitation: Elicitation) -> Asked:
    codes = tuple(range(1, len(question.options) + 1))
    listed = "\n".join(f"{code}. {option}" for code, option in zip(codes, question.options, strict=True))
    prompt = Prompt(
        pair_id=f"offtopic_{question.id}",
        item=question.id,
        subgroup="all",
        messages=(Message("user", f"{question.question}\n\n{listed}\n\n{reply}"),),
        prefill=_PREFILL,
        options=tuple(map(str, codes)),
        shown=codes,
        elicitation=elicitation,
        template="offtopic",
        template_version=general_version(),
    )
    return Asked(prompt, question.right, dict(zip(codes, question.options, strict=True)))


def _read(name: str) -> str:
    return (resources.files("valuestrata.tuning.evaluate") / "texts" / name).read_text(encoding="utf-8")
