"""What a judge of two answers sees: the question, who was asked, both answers, one criterion; and never who wrote which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from valuestrata.errors import InputDataError, UsageError, did_you_mean, one_of
from valuestrata.files import canonical_hash
from valuestrata.openended.fencing import fenced
from valuestrata.prompts.persona import Persona, Words, noun_phrase
from valuestrata.prompts.prompt import Message, Prompt
from valuestrata.yaml_files import StrictModel, checked, parse_yaml, read_yaml

JudgeElicitation = Literal["reasoned", "logprob"]
JUDGE_ELICITATIONS: tuple[JudgeElicitation, ...] = ("reasoned", "logprob")
FIRST, SECOND, TIE = 1, 2, 0
OPTIONS = ("1", "2", "tie")
SHOWN = (FIRST, SECOND, TIE)
# Code -> what it means, in the order of the options.
LABELS: Mapping[int, str] = {FIRST: "Answer 1", SECOND: "Answer 2", TIE: "tie"}
_PREFILL = "Verdict:"


def judge_elicitation_of(word: str) -> JudgeElicitation:
    """Return the way of asking a judge called `word`; UsageError with a suggestion if there is none."""
    return one_of(word, JUDGE_ELICITATIONS, "A judge is not asked by")


@dataclass(frozen=True)
class Criterion:
    """One thing that answers are compared on.

    Attributes:
        name: as verdicts record it. title, wording: as the judge reads it.
        persona: whether the judge is told who was asked.
        intro, reply, reply_direct: what stands around it; the second where probabilities are read.
        version: the file's, with a hash of everything the judge sees behind it.
    """

    name: str
    title: str
    wording: str
    persona: bool
    intro: str
    reply: str
    reply_direct: str
    version: str


class _Entry(StrictModel):
    title: str = Field(min_length=1)
    wording: str = Field(min_length=1)
    persona: bool = True


class _File(StrictModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    version: str = "1"
    intro: str = ""
    reply: str = ""
    reply_direct: str = ""
    criteria: dict[str, _Entry] = Field(min_length=1)


def load_criteria(names: Sequence[str] = (), file: str | Path | None = None) -> list[Criterion]:
    """Return criteria: the built-in ones (value, persona, overall) with those of a file added, or put in their place by name.

    Args:
        names: only these, in this order; all where none is given.
        file: YAML with `criteria` (name -> title, wording and whether the judge is told the `persona`), a `version`, and if it
            likes its own `intro`, `reply` and `reply_direct` for the criteria it holds.

    Raises:
        InputDataError: a file that is absent, not YAML, or has a key that is not known.
        UsageError: a name that no criterion has, or one that is there twice.
    """
    text = (resources.files("valuestrata.openended.pairwise") / "criteria.yaml").read_text(encoding="utf-8")
    built_in = checked(_File, parse_yaml(text, "criteria.yaml"), "criteria.yaml")
    found = _criteria(built_in, built_in)
    if file is not None:
        found |= _criteria(checked(_File, read_yaml(Path(file)), str(file)), built_in)
    wanted = list(names) or list(found)
    for at, name in enumerate(wanted):
        if name not in found:
            raise UsageError(f"There is no criterion {name!r}.{did_you_mean(name, found)}")
        if name in wanted[:at]:
            raise UsageError(f"The criterion {name!r} is there more than once.")
    return [found[name] for name in wanted]


def _criteria(file: _File, standard: _File) -> dict[str, Criterion]:
    around = {key: getattr(file, key) or getattr(standard, key) for key in ("intro", "reply", "reply_direct")}
    found: dict[str, Criterion] = {}
    for name, entry in file.criteria.items():
        seen = {**around, **entry.model_dump()}
        version = f"{file.version}+{canonical_hash(seen)[:6]}"
        found[name] = Criterion(name=name, version=version, **around, **entry.model_dump())
    return found


@dataclass(frozen=True, slots=True)
class Contest:
    """Two answers to one question by one persona.

    Attributes:
        pair_id, item, subgroup, sample: whose. number: of the contestant among the runs that are judged, sorted by name.
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
    """Return the prompt of one contest, criterion and order.

    Args:
        order: `run-first` or `reference-first`. question: the open question, as it was asked. persona: who was asked.
    """
    if order not in ("run-first", "reference-first"):
        raise InputDataError(f"order {order!r} is neither run-first nor reference-first")
    texts = (contest.run, contest.reference) if order == "run-first" else (contest.reference, contest.run)
    asked = f"The question:\n{question}"
    if criterion.persona:
        asked += f"\n\nWho was asked: {noun_phrase(persona, Words(), with_place=True)}"
    answers = "\n\n".join(f"Answer {number}:\n{text}" for number, text in enumerate(fenced(texts), start=1))
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
        # Two runs may have written the same; the contestant's number keeps their verdicts apart.
        paraphrase=contest.number,
        sample=contest.sample,
    )
