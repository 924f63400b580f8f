"""What a judge of one answer sees: the closed question with its options and one more, and the answer; not who gave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Literal

from pydantic import ConfigDict, Field

from valuestrata.errors import one_of
from valuestrata.files import canonical_hash
from valuestrata.openended.fencing import fenced
from valuestrata.openended.files import NO_STANCE
from valuestrata.prompts.pattern import Pattern, read_pattern
from valuestrata.prompts.prompt import Message, Prompt
from valuestrata.prompts.question import Question, options_text, printed_numbers
from valuestrata.yaml_files import StrictModel, checked, parse_yaml

StanceElicitation = Literal["text", "logprob", "reasoned"]
STANCE_ELICITATIONS: tuple[StanceElicitation, ...] = ("text", "logprob", "reasoned")
TEMPLATE = "stance"
_PREFILL = "Answer:"


def stance_elicitation_of(word: str) -> StanceElicitation:
    """Return the way of reading stances called `word`; UsageError with a suggestion if there is none."""
    return one_of(word, STANCE_ELICITATIONS, "A stance is not read by")


@dataclass(frozen=True)
class StanceWording:
    """How the judge is asked.

    Attributes:
        intro: what it is to do. no_stance: label of the option that takes no side.
        reply, reply_reasoned: how it replies, with the first and the last number. version: with a hash of all this.
    """

    intro: str
    no_stance: str
    reply: Pattern
    reply_reasoned: Pattern
    version: str


class _File(StrictModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    version: str
    intro: str = Field(min_length=1)
    no_stance: str = Field(min_length=1)
    reply: str
    reply_reasoned: str


@lru_cache(maxsize=1)
def stance_wording() -> StanceWording:
    """Return the wording that comes with valuestrata."""
    text = (resources.files("valuestrata.openended.stance") / "stance.yaml").read_text(encoding="utf-8")
    file = checked(_File, parse_yaml(text, "stance.yaml"), "stance.yaml")
    reply, reasoned = (read_pattern(getattr(file, key), f"stance.yaml: {key}", ("first", "last")) for key in ("reply", "reply_reasoned"))
    version = f"{file.version}+{canonical_hash(file.model_dump())[:6]}"
    return StanceWording(file.intro, file.no_stance, reply, reasoned, version)


def stance_labels(question: Question) -> Mapping[int, str]:
    """Return code -> label of everything a judge may choose, in scale order, `NO_STANCE` last."""
    return {**question.label_of, NO_STANCE: stance_wording().no_stance}


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer to be read.

    Attributes:
        pair_id, item, subgroup, sample: whose. number: of its run among the runs that are read, sorted by name. text: the answer.
    """

    pair_id: str
    item: str
    subgroup: str
    sample: int
    number: int
    text: str


def stance_prompt(reading: Reading, question: Question, elicitation: StanceElicitation) -> Prompt:
    """Return the prompt that places one answer on its item's scale.

    Options bear the numbers of the closed question; the one that takes no side bears the next number.
    """
    wording = stance_wording()
    numbers = printed_numbers(question.codes, "scale")
    last = str(max(map(int, numbers)) + 1)
    pattern = wording.reply_reasoned if elicitation == "reasoned" else wording.reply
    options = f"{options_text(question, question.codes, numbers)}\n{last}. {wording.no_stance}"
    reply = pattern.fill({"first": numbers[0], "last": last})
    (answer,) = fenced([reading.text])
    content = f"{wording.intro}\n\nThe answer:\n{answer}\n\nThe question of the survey:\n{question.text}\n\n{options}\n\n{reply}"
    return Prompt(
        pair_id=reading.pair_id,
        item=reading.item,
        subgroup=reading.subgroup,
        messages=(Message("user", content),),
        prefill=_PREFILL,
        options=(*numbers, last),
        shown=(*question.codes, NO_STANCE),
        elicitation=elicitation,
        template=TEMPLATE,
        template_version=wording.version,
        paraphrase=reading.number,
        sample=reading.sample,
    )
