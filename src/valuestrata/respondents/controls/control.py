"""Controls: the same model asked the same questions as somebody else, to see what the persona is worth.

- `no-persona`: nobody in particular; no traits and no place.
- `country-only`: somebody of the survey's place, without traits.
- `shuffled-persona`: another cell of the same stratum, by seed, so that every level changes where possible.
- `wrong-country`: the same traits in another country of the World Values Survey, by seed or by name (`=JPN`).

A response of a control belongs to the pair that was meant (pair_id, item, subgroup), and its `prompt_hash` is of the
prompt that the model saw.

`no-persona` and `country-only` put the same prompt for every subgroup: the model is asked each distinct prompt once, and
its answer is copied to all pairs (`OnePersonaControl`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import polars as pl

from valuestrata.dataset.subgroups import EVERYONE, pair_id
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.prompts.persona import Persona, personas_of
from valuestrata.respondents.base import (
    Answer,
    Budgeted,
    Choosy,
    Elicitation,
    Estimate,
    Prompt,
    Respondent,
    Resumes,
    Stoppable,
    Versioned,
    estimate_of,
)

CONTROLS = ("no-persona", "country-only", "shuffled-persona", "wrong-country")
# These put the same prompt for every subgroup, and ask it once.
ONE_PERSONA = ("no-persona", "country-only")
# Where the wrong country is drawn from, whatever the survey: the countries that a persona is known to be able to live in.
_COUNTRIES = "wvs7"

Question = tuple[str, str, Elicitation, int]
"""What is asked once: item, hash of the prompt, readout, sample."""


@runtime_checkable
class AskedAsOthers(Protocol):
    """A respondent model that is asked as somebody else than the subgroup of the pair."""

    @property
    def note(self) -> str:
        """What was done to the personas, in one line for whoever watches; empty where the name says it all."""
        ...

    def personas_for(self, dataset: Dataset) -> Mapping[str, Persona]:
        """Return subgroup -> the persona to ask as, for every subgroup of the data set; UsageError if it was made for another."""
        ...


@runtime_checkable
class ReusesAnswers(Protocol):
    """A respondent model that gives one answer to several pairs, and needs to know what it said before a run was stopped."""

    def recall(self, responses: pl.DataFrame) -> None:
        """Forget every answer and take those of a run's table of responses instead; called whenever asking starts."""
        ...


@dataclass(frozen=True)
class ControlSpec:
    """`control:KIND[=COUNTRY]@MODEL`, taken apart."""

    kind: str
    country: str | None
    model: str


@dataclass(frozen=True)
class Casting:
    """Who is asked in place of whom: subgroup -> persona, what of it belongs to the run's identity, and a line about it."""

    personas: Mapping[str, Persona]
    identity: Mapping[str, Any]
    note: str = ""


def parse_control(word: str) -> ControlSpec:
    """Take `control:KIND[=COUNTRY]@MODEL` apart.

    Raises:
        UsageError: no such control, no model behind it, one that reads no persona or is itself a control, or a country
            where none is chosen.
    """
    head, at, model = word.removeprefix("control:").partition("@")
    kind, equals, country = head.partition("=")
    if kind not in CONTROLS:
        raise UsageError(f"There is no control {kind!r}.{did_you_mean(kind, CONTROLS)}")
    if equals and kind != "wrong-country":
        raise UsageError(f"{word}: {kind} takes no '={country}'; only wrong-country names a country.")
    if equals and not country.strip():
        raise UsageError(f"{word}: name a country after '=' (wrong-country=JPN), or leave '=' out to have one drawn by seed.")
    if not at or not model:
        raise UsageError(f"{word}: a control is put around a model; write control:{head}@MODEL, for example control:{head}@embedded.")
    inner = model.partition(":")[0]
    if inner == "baseline":
        raise UsageError(f"{word}: a baseline reads no persona, so a control around it would be the same baseline; name a language model.")
    if inner == "control":
        raise UsageError(f"{word}: a control around a control is asked as nobody knows whom; name the language model itself.")
    return ControlSpec(kind, country.strip() or None, model)


def cast(spec: ControlSpec, dataset: Dataset, seed: int = 0) -> Casting:
    """Choose the persona that a control asks each subgroup as.

    Args:
        spec: the control. dataset: whose subgroups. seed: of the shuffle, and of the wrong country where none is named.

    Raises:
        UsageError: the control is about the place and the survey has none; a country that does not exist, or the survey's own.
    """
    own = personas_of(dataset)
    if spec.kind == "no-persona":
        return Casting(dict.fromkeys(own, Persona()), {})
    if spec.kind == "shuffled-persona":
        return _shuffled(own, dataset, seed)
    place: str | None = dataset.meta.get("place")
    if place is None:
        raise UsageError(
            f"control:{spec.kind} is about the place, and {dataset.path or 'the data set'} has none: its survey is of several countries, "
            "or its codebook names no `place`."
        )
    if spec.kind == "country-only":
        return Casting(dict.fromkeys(own, Persona((), place)), {"place": place})
    alpha, phrase = wrong_country(place, spec.country, seed)
    chosen = {"country": alpha, "place": phrase, **({} if spec.country else {"seed": seed})}
    return Casting({subgroup: replace(persona, place=phrase) for subgroup, persona in own.items()}, chosen, f"asked as living in {phrase}")


def wrong_country(place: str, wanted: str | None, seed: int) -> tuple[str, str]:
    """Return (alpha-3 code, name after 'in') of a country other than `place`: the one wanted, else one drawn by seed.

    Args:
        place: the survey's place, as a persona names it. wanted: alpha-3 code, number or name, or None. seed: of the draw.

    Raises:
        UsageError: a country that the codebook of the World Values Survey does not have, or the survey's own.
    """
    from valuestrata.survey.codebook import load_codebook

    countries = sorted(load_codebook(_COUNTRIES).countries, key=lambda country: country.alpha)
    words_of = {country: {word.casefold() for word in (country.alpha, country.name, country.phrase)} for country in countries}
    if wanted is None:
        others = [country for country in countries if place.casefold() not in words_of[country]]
        drawn = others[int.from_bytes(hashlib.sha512(f"{seed}\nwrong-country".encode()).digest()) % len(others)]
        return drawn.alpha, drawn.phrase
    for country in countries:
        if wanted.casefold() in words_of[country] or wanted == str(country.code):
            if place.casefold() in words_of[country]:
                raise UsageError(f"control:wrong-country={wanted}: {country.name} is the survey's own place; name another country.")
            return country.alpha, country.phrase
    known = [word for country in countries for word in (country.alpha, country.name)]
    raise UsageError(f"control:wrong-country={wanted}: there is no such country.{did_you_mean(wanted, known)}")


def _shuffled(own: Mapping[str, Persona], dataset: Dataset, seed: int) -> Casting:
    from valuestrata.respondents.controls.permutation import Moved, shuffle

    stratum_of = dict(dataset.subgroups.select("subgroup", "stratum").iter_rows())
    done = shuffle(own, stratum_of, seed)
    if not done.moved:
        raise UsageError(f"control:shuffled-persona: {dataset.path or 'the data set'} has no subgroups to shuffle.")
    total = sum(done.moved.values(), Moved(0, 0, 0, 0))
    if not total.share_of_levels:
        raise UsageError(
            f"control:shuffled-persona: in {dataset.path or 'the data set'} no level can change places with another, so that every persona "
            "stays as it is and the control says nothing. It needs an attribute of two levels or more."
        )
    identity = {
        "seed": seed,
        "cells_changed": round(total.share_of_cells, 6),
        "levels_changed": round(total.share_of_levels, 6),
        "by_stratum": {
            stratum: {
                "cells": moved.cells,
                "cells_changed": round(moved.share_of_cells, 6),
                "levels_changed": round(moved.share_of_levels, 6),
            }
            for stratum, moved in done.moved.items()
        },
    }
    note = f"every level changed in {_percent(total.share_of_cells)} of the cells; {_percent(total.share_of_levels)} of all levels changed"
    if partly := [
        f"{stratum} ({_percent(moved.share_of_cells)} of {moved.cells})"
        for stratum, moved in done.moved.items()
        if moved.cells_changed < moved.cells
    ]:
        note += f"; less than all cells in: {', '.join(partly)}"
    return Casting({subgroup: own[other] for subgroup, other in done.source.items()}, identity, note)


def _percent(share: float) -> str:
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"


class Control:
    """A respondent model asked as others than the pairs' own subgroups; `make_control` makes one."""

    def __init__(self, name: str, spec: ControlSpec, inner: Respondent, dataset: Dataset, casting: Casting) -> None:
        self._name = name
        self._kind = spec.kind
        self._inner = inner
        self._fingerprint = dataset.fingerprint
        self._casting = casting

    @property
    def name(self) -> str:
        """`control:KIND@MODEL`, as the user wrote it."""
        return self._name

    @property
    def note(self) -> str:
        """What was done to the personas, in one line; empty where the name says it all."""
        return self._casting.note

    def identity(self) -> dict[str, Any]:
        """Return the control, what it changed (place, seed, shares that changed) and, as `of`, name and identity of the model."""
        of = {"name": self._inner.name, **self._inner.identity()}
        return {"provider": "control", "control": self._kind, **self._casting.identity, "of": of}

    def personas_for(self, dataset: Dataset) -> Mapping[str, Persona]:
        """Return subgroup -> the persona to ask as.

        Raises:
            UsageError: the control was made for another data set.
        """
        if dataset.fingerprint != self._fingerprint:
            raise UsageError(
                f"{self._name} was made for the data set {self._fingerprint[:12]} and is asked about {dataset.fingerprint[:12]}; "
                "make it again with make_respondent(model, dataset)."
            )
        return self._casting.personas

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield what the model answers; who it is asked as stands in the prompts."""
        return self._inner.answer(prompts)

    def estimate(self, prompts: Sequence[Prompt]) -> Estimate:
        """Return what asking `prompts` takes of the model inside."""
        return estimate_of(self._inner, prompts)

    def check(self, elicitation: Elicitation) -> None:
        """Refuse what the model inside cannot give.

        Raises:
            UsageError: says what it does not give.
        """
        if isinstance(self._inner, Choosy):
            self._inner.check(elicitation)

    def answered_before(self, number: int) -> None:
        """Tell the model inside that the run holds so many answers already."""
        if isinstance(self._inner, Resumes):
            self._inner.answered_before(number)

    def versions(self) -> Mapping[str, str]:
        """Return the versions that the model inside records."""
        return self._inner.versions() if isinstance(self._inner, Versioned) else {}

    @property
    def stopped(self) -> str | None:
        """Why the model inside starts no more calls; None while it does, or where it cannot be stopped."""
        return self._inner.stopped if isinstance(self._inner, Stoppable) else None

    def stop(self, why: str) -> None:
        """Tell the model inside to start no more calls, where it can be told."""
        if isinstance(self._inner, Stoppable):
            self._inner.stop(why)

    def spend_at_most(self, dollars: float) -> None:
        """Hand the limit on to the model inside.

        Raises:
            UsageError: it is paid by nobody, or its price is not known.
        """
        if not isinstance(self._inner, Budgeted):
            if dollars == math.inf:
                return
            raise UsageError(f"MODEL {self.name!r} is paid by nobody, so that it has no cost to limit.")
        self._inner.spend_at_most(dollars)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a model said to a prompt, as it is copied: everything that is not the cost of saying it."""

    text: str | None
    reasoning: str | None
    option_probs: tuple[float, ...] | None
    option_mass: float | None
    finish_reason: str | None

    def to(self, prompt: Prompt) -> Answer:
        """Return the copy that answers `prompt`: no call, no tokens, no cost and no time."""
        return Answer(
            prompt,
            text=self.text,
            reasoning=self.reasoning,
            option_probs=self.option_probs,
            option_mass=self.option_mass,
            finish_reason=self.finish_reason,
            **_FREE,
        )


_FREE: Mapping[str, Any] = {"attempts": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost": 0.0, "latency": 0.0}


class OnePersonaControl(Control):
    """A control that asks every subgroup as the same persona, so that a question has one answer for all of them.

    The model is asked each distinct (prompt, readout, sample) once, as the pair of the item and everyone (`Q1_all`), so
    that sampled text does not depend on which pairs are asked. The pair that comes first bears its attempts, tokens, cost
    and latency; on the copies they are 0, so that sums over a run are what was spent. Sample s of every pair of a
    question is the same answer, at any temperature: samples vary within a pair and not between the subgroups. The same
    holds for option orders: shuffled ones differ between pairs and are therefore different prompts.

    Answers are remembered from chunk to chunk, and after a stop from the run's own responses. A failed call is not
    remembered: it fails all pairs of the chunk it was asked for, and the next chunk or run asks again.
    """

    def __init__(self, name: str, spec: ControlSpec, inner: Respondent, dataset: Dataset, casting: Casting) -> None:
        super().__init__(name, spec, inner, dataset, casting)
        self._codes = dataset.codes_of
        self._said: dict[Question, _Said] = {}

    def recall(self, responses: pl.DataFrame) -> None:
        """Forget every answer and take those of a run's table of responses instead.

        Args:
            responses: a frame of `responses.parquet`; failed responses are no answers.
        """
        asked = ("item", "prompt_hash", "elicitation", "sample")
        kept = ("text", "reasoning", "option_probs", "option_mass", "finish_reason", "shown")
        first = responses.filter(pl.col("status") != "failed").select(*asked, *kept).unique(asked, keep="first", maintain_order=True)
        self._said = {}
        for item, *how, text, reasoning, by_code, mass, finish, shown in first.iter_rows():
            probabilities: tuple[float, ...] | None = None
            if by_code is not None:
                probability_of = dict(zip(self._codes[item], by_code, strict=True))
                probabilities = tuple(probability_of[code] for code in shown)
            digest, elicitation, sample = how
            self._said[item, digest, elicitation, sample] = _Said(text, reasoning, probabilities, mass, finish)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield an answer for each prompt: copies of what was said before, then each new question with its copies."""
        waiting: dict[Question, list[Prompt]] = {}
        for prompt in prompts:
            question = _question(prompt)
            if (said := self._said.get(question)) is not None:
                yield said.to(prompt)
            else:
                waiting.setdefault(question, []).append(prompt)
        if not waiting:
            return
        failed: list[Answer] = []
        for answer in self._inner.answer([_as_everyone(twins[0]) for twins in waiting.values()]):
            question = _question(answer.prompt)
            if question not in waiting:
                raise ValueError(f"{self._inner.name} answered {answer.prompt.pair_id!r}, which it was not asked")
            first, *others = waiting[question]
            yield replace(answer, prompt=first)
            if answer.error is not None:
                # After everything else: whoever asks counts failures, and one call that failed is not a hundred.
                failed.extend(Answer(twin, error=answer.error, **_FREE) for twin in others)
                continue
            said = _Said(answer.text, answer.reasoning, answer.option_probs, answer.option_mass, answer.finish_reason)
            self._said[question] = said
            for twin in others:
                yield said.to(twin)
        yield from failed

    def estimate(self, prompts: Sequence[Prompt]) -> Estimate:
        """Return what asking `prompts` takes: each question that has no answer yet, once."""
        once = {question: prompt for prompt in prompts if (question := _question(prompt)) not in self._said}
        return estimate_of(self._inner, list(once.values()))


def make_control(word: str, dataset: Dataset, load: Callable[[str], Respondent], *, seed: int = 0) -> Control:
    """Return the control `control:KIND[=COUNTRY]@MODEL`, the model loaded by `load` once all else is known to be right.

    Raises:
        UsageError: what `parse_control` and `cast` raise.
    """
    spec = parse_control(word)
    casting = cast(spec, dataset, seed)
    kind = OnePersonaControl if spec.kind in ONE_PERSONA else Control
    return kind(word, spec, load(spec.model), dataset, casting)


def _question(prompt: Prompt) -> Question:
    return prompt.item, prompt.hash, prompt.elicitation, prompt.sample


def _as_everyone(prompt: Prompt) -> Prompt:
    return replace(prompt, pair_id=pair_id(prompt.item, EVERYONE), subgroup=EVERYONE)
