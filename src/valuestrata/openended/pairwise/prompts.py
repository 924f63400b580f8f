"""Prompts of pairwise judging, and the criteria they ask about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from valuestrata.errors import InputDataError, UsageError, did_you_mean, one_of
from valuestrata.files import canonical_hash
from valuestrata.openended.delimiters import delimited
from valuestrata.openended.schema import ORDERS
from valuestrata.prompts.persona import Persona, Words, noun_phrase
from valuestrata.prompts.prompt import Message, Prompt
from valuestrata.yaml_files import StrictModel, parse_yaml, read_yaml

JudgeElicitation = Literal["reasoned", "logprob"]
JUDGE_ELICITATIONS: tuple[JudgeElicitation, ...] = ("reasoned", "logprob")
FIRST, SECOND, TIE = 1, 2, 0
OPTIONS = ("1", "2", "tie")
SHOWN = (FIRST, SECOND, TIE)
# Meaning of each code, in the order of the options.
LABELS: Mapping[int, str] = {FIRST: "Answer 1", SECOND: "Answer 2", TIE: "tie"}
_PREFILL = "Verdict:"


def judge_elicitation_of(name: str) -> JudgeElicitation:
    """Return the elicitation of this name; UsageError with a suggestion if it is unknown."""
    return one_of(name, JUDGE_ELICITATIONS, "Unknown elicitation of a judge:")


@dataclass(frozen=True)
class Criterion:
    """A criterion on which answers are compared.

    Attributes:
        name: name in the table of verdicts. title, wording: text for the judge.
        persona: whether the judge sees the persona.
        intro, reply, reply_direct: text around the answers; `reply_direct` is used with the elicitation logprob.
        version: version of the file and a hash of everything the judge sees.
    """

    name: str
    title: str
    wording: str
    persona: bool
    intro: str
    reply: str
    reply_direct: str
    version: str


class CriterionEntry(StrictModel):
    """A criterion as a file states it."""

    title: str = Field(min_length=1)
    wording: str = Field(min_length=1)
    persona: bool = True


class CriteriaFile(StrictModel):
    """A file of criteria."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    version: str = "1"
    intro: str = ""
    reply: str = ""
    reply_direct: str = ""
    criteria: dict[str, CriterionEntry] = Field(min_length=1)


def load_criteria(names: Sequence[str] = (), file: str | Path | None = None) -> list[Criterion]:
    """Return the built-in criteria (value, persona, overall), with those of a file added or replaced by name.

    Args:
        names: only these, in this order; all if empty.
        file: YAML with `criteria` (name -> title, wording, persona), `version`, and optionally `intro`, `reply` and `reply_direct`.

    Raises:
        InputDataError: the file does not exist, is not YAML, or has an unknown key.
        UsageError: an unknown or repeated name.
    """
    text = (resources.files("valuestrata.openended.pairwise") / "criteria.yaml").read_text(encoding="utf-8")
    built_in = parse_yaml(text, "criteria.yaml").checked(CriteriaFile)
    found = _criteria(built_in, built_in)
    if file is not None:
        found |= _criteria(read_yaml(file).checked(CriteriaFile), built_in)
    wanted = list(names) or list(found)
    for at, name in enumerate(wanted):
        if name not in found:
            raise UsageError(f"There is no criterion {name!r}.{did_you_mean(name, found)}")
        if name in wanted[:at]:
            raise UsageError(f"The criterion {name!r} is given more than once.")
    return [found[name] for name in wanted]


def _criteria(file: CriteriaFile, standard: CriteriaFile) -> dict[str, Criterion]:
    around = {key: getattr(file, key) or getattr(standard, key) for key in ("intro", "reply", "reply_direct")}
    found: dict[str, Criterion] = {}
    for name, entry in file.criteria.items():
        version = f"{file.version}+{canonical_hash({**around, **entry.model_dump()})[:6]}"
        found[name] = Criterion(name=name, version=version, **around, **entry.model_dump())
    return found


@dataclass(frozen=True, slots=True)
class Contest:
    """Two answers to one question by one persona.

    Attributes:
        pair_id, item, subgroup, sample: which answers. number: index of the run among the judged runs, sorted by name.
        run, reference: the two texts.
    """

    pair_id: str
    item: str
    subgroup: str
    sample: int
    number: int
    run: str
    reference: str


def judge_prompt(
    contest: Contest, criterion: Criterion, order: str, *, question: str, persona: Persona, elicitation: JudgeElicitation
) -> Prompt:
    """Return the prompt for one contest, criterion and order.

    Args:
        order: `run-first` or `reference-first`. question: the open question as it was asked. persona: who was asked.
    """
    if order not in ORDERS:
        raise InputDataError(f"order is {order!r}; expected run-first or reference-first.")
    texts = (contest.run, contest.reference) if order == ORDERS[0] else (contest.reference, contest.run)
    asked = f"The question:\n{question}"
    if criterion.persona:
        asked += f"\n\nWho was asked: {noun_phrase(persona, Words(), with_place=True)}"
    answers = "\n\n".join(f"Answer {number}:\n{text}" for number, text in enumerate(delimited(texts), start=1))
    reply = criterion.reply if elicitation == "reasoned" else criterion.reply_direct
    content = f"{criterion.intro}\n\n{asked}\n\n{answers}\n\nThe criterion: {criterion.title}. {criterion.wording}\n\n{reply}"
    return Prompt(
        pair_id=contest.pair_id,
        item=contest.item,
        subgroup=contest.subgroup,
        messages=(Message("user", content),),
        prefill=_PREFILL,
        options=OPTIONS,
        shown=SHOWN,
        elicitation=elicitation,
        template=criterion.name,
        template_version=criterion.version,
        order=order,
        # Two runs may give the same answer; the number of the run keeps their verdicts separate.
        paraphrase=contest.number,
        sample=contest.sample,
    )
