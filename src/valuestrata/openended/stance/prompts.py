"""Prompts of stance reading: a judge sees the closed question with its options and one answer, but not who gave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Literal

from pydantic import ConfigDict, Field

from valuestrata.errors import one_of
from valuestrata.files import canonical_hash
from valuestrata.openended.delimiters import delimited
from valuestrata.openended.files import NO_STANCE
from valuestrata.prompts.pattern import Pattern, read_pattern
from valuestrata.prompts.prompt import Message, Prompt
from valuestrata.prompts.question import Question, options_text, printed_numbers
from valuestrata.yaml_files import StrictModel, parse_yaml

StanceElicitation = Literal["text", "logprob", "reasoned"]
STANCE_ELICITATIONS: tuple[StanceElicitation, ...] = ("text", "logprob", "reasoned")
TEMPLATE = "stance"
_PREFILL = "Answer:"


def stance_elicitation_of(name: str) -> StanceElicitation:
    """Return the elicitation of this name; UsageError with a suggestion if it is unknown."""
    return one_of(name, STANCE_ELICITATIONS, "Unknown elicitation of a stance:")


@dataclass(frozen=True)
class StanceWording:
    """Text around the answer and the question.

    Attributes:
        intro: the task. no_stance: label of the option for an answer without a stance.
        reply, reply_reasoned: how to reply, with the first and last number. version: version of the file and a hash of the text.
    """

    intro: str
    no_stance: str
    reply: Pattern
    reply_reasoned: Pattern
    version: str


class StanceFile(StrictModel):
    """The file with the wording."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    version: str
    intro: str = Field(min_length=1)
    no_stance: str = Field(min_length=1)
    reply: str
    reply_reasoned: str


@lru_cache(maxsize=1)
def stance_wording() -> StanceWording:
    """Return the built-in wording."""
    text = (resources.files("valuestrata.openended.stance") / "stance.yaml").read_text(encoding="utf-8")
    file = parse_yaml(text, "stance.yaml").checked(StanceFile)
    reply, reasoned = (read_pattern(getattr(file, key), f"stance.yaml: {key}", ("first", "last")) for key in ("reply", "reply_reasoned"))
    return StanceWording(file.intro, file.no_stance, reply, reasoned, f"{file.version}+{canonical_hash(file.model_dump())[:6]}")


def stance_labels(question: Question) -> Mapping[int, str]:
    """Return code -> label of everything a judge may choose, in scale order, with `NO_STANCE` last."""
    return {**question.label_of, NO_STANCE: stance_wording().no_stance}


@dataclass(frozen=True, slots=True)
class AnswerToRead:
    """One open answer.

    Attributes:
        pair_id, item, subgroup, sample: which answer. number: index of its run, sorted by name. text: the answer.
    """

    pair_id: str
    item: str
    subgroup: str
    sample: int
    number: int
    text: str


def stance_prompt(answer: AnswerToRead, question: Question, elicitation: StanceElicitation) -> Prompt:
    """Return the prompt that places one answer on its item's scale.

    Options have the numbers of the closed question; the option without a stance has the next number.
    """
    wording = stance_wording()
    numbers = printed_numbers(question.codes, "scale")
    last = str(max(map(int, numbers)) + 1)
    pattern = wording.reply_reasoned if elicitation == "reasoned" else wording.reply
    options = f"{options_text(question, question.codes, numbers)}\n{last}. {wording.no_stance}"
    reply = pattern.fill({"first": numbers[0], "last": last})
    (text,) = delimited([answer.text])
    content = f"{wording.intro}\n\nThe answer:\n{text}\n\nThe question of the survey:\n{question.text}\n\n{options}\n\n{reply}"
    return Prompt(
        pair_id=answer.pair_id,
        item=answer.item,
        subgroup=answer.subgroup,
        messages=(Message("user", content),),
        prefill=_PREFILL,
        options=(*numbers, last),
        shown=(*question.codes, NO_STANCE),
        elicitation=elicitation,
        template=TEMPLATE,
        template_version=wording.version,
        paraphrase=answer.number,
        sample=answer.sample,
    )
