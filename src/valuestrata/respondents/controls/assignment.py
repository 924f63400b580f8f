"""Which persona a control uses for each subgroup."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.prompts.persona import Persona, personas_of
from valuestrata.respondents.controls.spec import ControlSpec

if TYPE_CHECKING:
    from valuestrata.survey.codebook import Country

# Codebook whose countries wrong-country draws from, for every survey: personas can name all of them.
_COUNTRIES = "wvs7"


@dataclass(frozen=True)
class PersonaAssignment:
    """The personas of a control.

    Attributes:
        personas: subgroup -> persona used in its prompts.
        identity: the part of the run's identity that describes the assignment.
        note: one line about the assignment for the user; empty where the control's name is enough.
    """

    personas: Mapping[str, Persona]
    identity: Mapping[str, Any]
    note: str = ""


def assign_personas(spec: ControlSpec, dataset: Dataset, seed: int = 0) -> PersonaAssignment:
    """Assign a persona to every subgroup of a data set.

    Args:
        spec: the control. dataset: the data set. seed: of the shuffle, and of the wrong country if none is named.

    Raises:
        UsageError: the control changes the place and the survey has none; the country is unknown or is the survey's own; or
            shuffling changes nothing.
    """
    own = personas_of(dataset)
    if spec.kind == "no-persona":
        return PersonaAssignment(dict.fromkeys(own, Persona()), {})
    if spec.kind == "shuffled-persona":
        return _shuffled(own, dataset, seed)
    place: str | None = dataset.meta.get("place")
    if place is None:
        raise UsageError(
            f"control:{spec.kind} changes the place, and {_name(dataset)} has none: the survey covers several countries, or its codebook "
            "has no `place`."
        )
    if spec.kind == "country-only":
        return PersonaAssignment(dict.fromkeys(own, Persona((), place)), {"place": place})
    alpha, phrase = wrong_country(place, spec.country, seed)
    identity = {"country": alpha, "place": phrase, **({} if spec.country else {"seed": seed})}
    personas = {subgroup: replace(persona, place=phrase) for subgroup, persona in own.items()}
    return PersonaAssignment(personas, identity, f"personas live in {phrase}")


def wrong_country(place: str, wanted: str | None, seed: int) -> tuple[str, str]:
    """Return alpha-3 code and name (as written after 'in') of a country other than `place`.

    Args:
        place: the survey's place, as written in personas. wanted: alpha-3 code, number or name; None draws one.
        seed: of the draw.

    Raises:
        UsageError: the World Values Survey has no such country, or it is the survey's own.
    """
    countries = _countries()
    names_of = {country: {name.casefold() for name in (country.alpha, country.name, country.phrase)} for country in countries}
    if wanted is None:
        others = [country for country in countries if place.casefold() not in names_of[country]]
        drawn = others[int.from_bytes(hashlib.sha512(f"{seed}\nwrong-country".encode()).digest()) % len(others)]
        return drawn.alpha, drawn.phrase
    for country in countries:
        if wanted.casefold() in names_of[country] or wanted == str(country.code):
            if place.casefold() in names_of[country]:
                raise UsageError(f"control:wrong-country={wanted}: {country.name} is the survey's own place; name another country.")
            return country.alpha, country.phrase
    known = [name for country in countries for name in (country.alpha, country.name)]
    raise UsageError(f"control:wrong-country={wanted}: there is no such country.{did_you_mean(wanted, known)}")


@cache
def _countries() -> tuple[Country, ...]:
    from valuestrata.survey.codebook import load_codebook

    return tuple(sorted(load_codebook(_COUNTRIES).countries, key=lambda country: country.alpha))


def _shuffled(own: Mapping[str, Persona], dataset: Dataset, seed: int) -> PersonaAssignment:
    from valuestrata.respondents.controls.permutation import ShuffleCounts, shuffle_personas

    stratum_of = dict(dataset.subgroups.select("subgroup", "stratum").iter_rows())
    shuffled = shuffle_personas(own, stratum_of, seed)
    if not shuffled.counts:
        raise UsageError(f"control:shuffled-persona: {_name(dataset)} has no subgroups to shuffle.")
    total = sum(shuffled.counts.values(), ShuffleCounts(0, 0, 0, 0))
    if not total.share_of_levels:
        raise UsageError(
            f"control:shuffled-persona: no level in {_name(dataset)} can be exchanged for another, so every persona would stay the same. "
            "Shuffling needs an attribute with at least two levels."
        )
    identity = {
        "seed": seed,
        "cells_changed": round(total.share_of_cells, 6),
        "levels_changed": round(total.share_of_levels, 6),
        "by_stratum": {
            stratum: {
                "cells": counts.cells,
                "cells_changed": round(counts.share_of_cells, 6),
                "levels_changed": round(counts.share_of_levels, 6),
            }
            for stratum, counts in shuffled.counts.items()
        },
    }
    note = f"all levels changed in {_percent(total.share_of_cells)} of the cells; {_percent(total.share_of_levels)} of all levels changed"
    incomplete = [
        f"{stratum} ({_percent(counts.share_of_cells)} of {counts.cells})"
        for stratum, counts in shuffled.counts.items()
        if counts.cells_changed < counts.cells
    ]
    if incomplete:
        note += f"; strata with unchanged cells: {', '.join(incomplete)}"
    return PersonaAssignment({subgroup: own[other] for subgroup, other in shuffled.source.items()}, identity, note)


def _percent(share: float) -> str:
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"


def _name(dataset: Dataset) -> str:
    return str(dataset.path or "the data set")
