"""Controls: a language model asked with other personas than those of the pairs.

- `no-persona`: no traits and no place.
- `country-only`: the survey's place, without traits.
- `shuffled-persona`: another cell of the same stratum, by seed; every level changes where possible.
- `wrong-country`: the same traits in another country of the World Values Survey, by seed or by name (`=JPN`).

A response belongs to the original pair (pair_id, item, subgroup); its `prompt_hash` is that of the prompt the model saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import polars as pl

from valuestrata.dataset.subgroups import EVERYONE, pair_id
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError
from valuestrata.prompts.persona import Persona
from valuestrata.respondents.base import (
    Answer,
    CostEstimate,
    Elicitation,
    NamesTrainingData,
    Prompt,
    RecordsSpending,
    Respondent,
    SupportsBudget,
    SupportsContextLimit,
    SupportsElicitationCheck,
    SupportsResume,
    SupportsStop,
    SupportsVersions,
    estimate_of,
)
from valuestrata.respondents.controls.assignment import PersonaAssignment, assign_personas
from valuestrata.respondents.controls.spec import ONE_PERSONA, ControlSpec, parse_control

AnswerKey = tuple[str, str, Elicitation, int]
"""Item, prompt hash, elicitation and sample: equal for prompts that share one answer."""


@runtime_checkable
class ReplacesPersonas(Protocol):
    """A respondent that uses other personas than those of the pairs."""

    @property
    def note(self) -> str:
        """One line about the personas used; empty where the name is enough."""
        ...

    def personas_for(self, dataset: Dataset) -> Mapping[str, Persona]:
        """Return subgroup -> persona for every subgroup; UsageError if it was made for another data set."""
        ...


@runtime_checkable
class ReusesAnswers(Protocol):
    """A respondent that gives one answer to several pairs, and must know its earlier answers when a run is resumed."""

    def recall(self, responses: pl.DataFrame) -> None:
        """Replace the stored answers by those of a run's table of responses; called whenever asking starts."""
        ...


class Control:
    """A respondent that is asked with assigned personas; `make_control` makes one."""

    def __init__(self, name: str, spec: ControlSpec, inner: Respondent, dataset: Dataset, assignment: PersonaAssignment) -> None:
        self._name = name
        self._kind = spec.kind
        self._inner = inner
        self._fingerprint = dataset.fingerprint
        self._assignment = assignment

    @property
    def name(self) -> str:
        """`control:KIND@MODEL`, as the user wrote it."""
        return self._name

    @property
    def note(self) -> str:
        """One line about the personas used; empty where the name is enough."""
        return self._assignment.note

    def identity(self) -> dict[str, Any]:
        """Return the control, what it changed (place, seed, shares changed) and, as `of`, name and identity of the model."""
        of = {"name": self._inner.name, **self._inner.identity()}
        return {"provider": "control", "control": self._kind, **self._assignment.identity, "of": of}

    def personas_for(self, dataset: Dataset) -> Mapping[str, Persona]:
        """Return subgroup -> persona.

        Raises:
            UsageError: the control was made for another data set.
        """
        if dataset.fingerprint != self._fingerprint:
            raise UsageError(
                f"{self._name} was made for the data set {self._fingerprint[:12]} and is used with {dataset.fingerprint[:12]}; "
                "make it again with make_respondent(model, dataset)."
            )
        return self._assignment.personas

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield the model's answers; the prompts already contain the assigned personas."""
        return self._inner.answer(prompts)

    def estimate(self, prompts: Sequence[Prompt]) -> CostEstimate:
        """Return the model's estimate for `prompts`."""
        return estimate_of(self._inner, prompts)

    def check(self, elicitation: Elicitation) -> None:
        """Check that the model supports an elicitation.

        Raises:
            UsageError: it does not.
        """
        if isinstance(self._inner, SupportsElicitationCheck):
            self._inner.check(elicitation)

    def answered_before(self, number: int) -> None:
        """Pass on how many answers the run already has."""
        if isinstance(self._inner, SupportsResume):
            self._inner.answered_before(number)

    def training_data(self) -> Mapping[str, str] | None:
        """Return the data set that the model inside was trained on."""
        return self._inner.training_data() if isinstance(self._inner, NamesTrainingData) else None

    @property
    def context(self) -> int | None:
        """Context length of the model in tokens; None if it does not say."""
        return self._inner.context if isinstance(self._inner, SupportsContextLimit) else None

    def length_of(self, prompt: Prompt) -> int:
        """Return the tokens of a prompt and its completion; 0 if the model does not count them."""
        return self._inner.length_of(prompt) if isinstance(self._inner, SupportsContextLimit) else 0

    def versions(self) -> Mapping[str, str]:
        """Return the library versions that the model records."""
        return self._inner.versions() if isinstance(self._inner, SupportsVersions) else {}

    @property
    def stopped(self) -> str | None:
        """Why the model starts no new calls; None while it does, or if it cannot be stopped."""
        return self._inner.stopped if isinstance(self._inner, SupportsStop) else None

    def stop(self, why: str) -> None:
        """Stop the model, if it can be stopped."""
        if isinstance(self._inner, SupportsStop):
            self._inner.stop(why)

    def record_spending(self, record: Callable[[str, float], None]) -> None:
        """Let the model record what its calls may cost."""
        if isinstance(self._inner, RecordsSpending):
            self._inner.record_spending(record)

    def spend_at_most(self, dollars: float) -> None:
        """Pass the cost limit on to the model.

        Raises:
            UsageError: the model is free, or its price is unknown.
        """
        if isinstance(self._inner, SupportsBudget):
            self._inner.spend_at_most(dollars)
        elif dollars != math.inf:
            raise UsageError(f"{self.name}: this model is free; max_cost does not apply.")


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The content of an answer, without what it cost."""

    text: str | None
    reasoning: str | None
    option_probs: tuple[float, ...] | None
    option_mass: float | None
    finish_reason: str | None

    def to(self, prompt: Prompt) -> Answer:
        """Return a copy that answers `prompt`, at no cost."""
        return Answer(
            prompt,
            text=self.text,
            reasoning=self.reasoning,
            option_probs=self.option_probs,
            option_mass=self.option_mass,
            finish_reason=self.finish_reason,
            **_NO_COST,
        )


_NO_COST: Mapping[str, Any] = {"attempts": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost": 0.0, "latency": 0.0}


class OnePersonaControl(Control):
    """A control that uses one persona for every subgroup, so one answer serves all subgroups of an item.

    The model is asked each distinct (prompt, elicitation, sample) once, as the pair of the item and everyone (`Q1_all`);
    sampled text therefore does not depend on which pairs are asked. The first pair carries attempts, tokens, cost and
    latency; they are 0 on the copies, so sums over a run are what was spent. Samples vary within a pair but not between
    subgroups. Shuffled option orders differ between pairs and are different prompts.

    Answers are kept from chunk to chunk, and are read back from the run when it is resumed. A failed call is not kept: it
    fails all its pairs in the chunk, and the next chunk or run asks again.
    """

    def __init__(self, name: str, spec: ControlSpec, inner: Respondent, dataset: Dataset, assignment: PersonaAssignment) -> None:
        super().__init__(name, spec, inner, dataset, assignment)
        self._codes = dataset.codes_of
        self._answers: dict[AnswerKey, StoredAnswer] = {}

    def recall(self, responses: pl.DataFrame) -> None:
        """Replace the stored answers by those of a run.

        Args:
            responses: a frame of `responses.parquet`; failed responses are ignored.
        """
        asked = ("item", "prompt_hash", "elicitation", "sample")
        content = ("text", "reasoning", "option_probs", "option_mass", "finish_reason", "shown")
        first = responses.filter(pl.col("status") != "failed").select(*asked, *content).unique(asked, keep="first", maintain_order=True)
        self._answers = {}
        for item, *how, text, reasoning, by_code, mass, finish, shown in first.iter_rows():
            probabilities: tuple[float, ...] | None = None
            if by_code is not None:
                probability_of = dict(zip(self._codes[item], by_code, strict=True))
                probabilities = tuple(probability_of[code] for code in shown)
            digest, elicitation, sample = how
            self._answers[item, digest, elicitation, sample] = StoredAnswer(text, reasoning, probabilities, mass, finish)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield an answer for each prompt: copies of known answers first, then each new answer with its copies."""
        waiting: dict[AnswerKey, list[Prompt]] = {}
        for prompt in prompts:
            key = _key(prompt)
            if (known := self._answers.get(key)) is not None:
                yield known.to(prompt)
            else:
                waiting.setdefault(key, []).append(prompt)
        if not waiting:
            return
        failed: list[Answer] = []
        for answer in self._inner.answer([_as_everyone(same[0]) for same in waiting.values()]):
            key = _key(answer.prompt)
            if key not in waiting:
                raise ValueError(f"{self._inner.name} answered {answer.prompt.pair_id!r}, which was not asked")
            first, *others = waiting[key]
            yield replace(answer, prompt=first)
            if answer.error is not None:
                # Last, because the asking loop stops after many failures in a row, and this is one failed call.
                failed.extend(Answer(other, error=answer.error, **_NO_COST) for other in others)
                continue
            stored = StoredAnswer(answer.text, answer.reasoning, answer.option_probs, answer.option_mass, answer.finish_reason)
            self._answers[key] = stored
            for other in others:
                yield stored.to(other)
        yield from failed

    def estimate(self, prompts: Sequence[Prompt]) -> CostEstimate:
        """Return the model's estimate for the distinct prompts that have no answer yet."""
        once = {key: prompt for prompt in prompts if (key := _key(prompt)) not in self._answers}
        return estimate_of(self._inner, list(once.values()))


def make_control(spec: str, dataset: Dataset, load: Callable[[str], Respondent], *, seed: int = 0, known_as: str | None = None) -> Control:
    """Return the control `control:KIND[=COUNTRY]@MODEL`; `load` loads the model after all other checks, and runs record `known_as`.

    Raises:
        UsageError: as `parse_control` and `assign_personas`.
    """
    parsed = parse_control(spec)
    assignment = assign_personas(parsed, dataset, seed)
    kind = OnePersonaControl if parsed.kind in ONE_PERSONA else Control
    return kind(known_as or spec, parsed, load(parsed.model), dataset, assignment)


def _key(prompt: Prompt) -> AnswerKey:
    return prompt.item, prompt.hash, prompt.elicitation, prompt.sample


def _as_everyone(prompt: Prompt) -> Prompt:
    return replace(prompt, pair_id=pair_id(prompt.item, EVERYONE), subgroup=EVERYONE)
