"""Claims about personas: the right persona against a wrong one, and a persona against none, in one statement.

A model answers worse with a wrong persona (control `shuffled-persona`) for two reasons: the right one helps, or the wrong one misleads.
Personas *add* to a score only if it is also better than without them (controls `no-persona` and `country-only`, all that were run).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from valuestrata.claims.claim import Claim, Figure, Strength

# Controls without the persona's attributes, and how sentences name what the model was asked with.
WITH: Mapping[str, str] = {"no-persona": "no persona", "country-only": "the country alone"}
ADDS = "persona-adds"
RIGHT, AGAINST_NONE = "right-persona", "with-persona"
PERSONA_KINDS: tuple[str, ...] = (ADDS, *(f"{name}-{end}" for name in (RIGHT, AGAINST_NONE) for end in ("better", "level", "worse")))


def persona_claims(claims: Sequence[Claim]) -> list[Claim]:
    """Return claims with those against controls without persona merged into the one against wrong personas.

    Args:
        claims: comparisons of one run. Those against controls have the kinds `right-persona-...` (against shuffled personas) and
            `with-persona-...` (against no persona, or the country alone; a figure `control` names which).

    Returns:
        The other claims unchanged; for each metric and key one claim on personas. Where no wrong persona was asked it is the one
        against no persona. Its notes are `CONTROL: STATE`, a note per control without persona, the figure of role CONTROL the gain
        over it. A declared comparison with no persona also keeps its own claim.
    """
    found: list[Claim] = []
    for claim in claims:
        if not claim.kind.startswith((RIGHT, AGAINST_NONE)):
            found.append(claim)
            continue
        same = [one for one in claims if (one.metric, one.by, one.key) == (claim.metric, claim.by, claim.key)]
        rights = [one for one in same if one.kind.startswith(RIGHT)]
        without = [one for one in same if one.kind.startswith(AGAINST_NONE)]
        if claim.kind.startswith(RIGHT):
            found.append(_combined(claim, without))
        elif not rights and claim is without[0]:
            found.append(replace(_combined(claim, without[1:]), notes=(*claim.notes, *_notes(without[1:]), "no-wrong-persona")))
        elif rights and claim.status == "declared":
            found.append(claim)
    return found


def _combined(claim: Claim, without: Sequence[Claim]) -> Claim:
    """Return a claim with what comparisons with controls without persona show."""
    notes = _notes(without)
    added = claim.kind == f"{RIGHT}-better" and claim.strength is Strength.SHOWN and bool(notes)
    kind = ADDS if added and all(note.endswith(": better") for note in notes) else claim.kind
    figures = tuple(replace(one.estimate, role=control_of(one), label=one.against) for one in without)
    margins = tuple(replace(figure, label=control_of(one)) for one in without if (figure := one.figure("margin")))
    asserted = [one.page_p for one in (claim, *without) if one.page_p is not None and state_of(one) != "open"]
    return replace(
        claim,
        kind=kind,
        notes=(*claim.notes, *notes),
        figures=(*claim.figures, *figures, *margins),
        page_p=max(asserted, default=claim.page_p),
    )


def control_of(claim: Claim) -> str:
    """Name the control that a `with-persona` claim is about."""
    figure = claim.figure("control")
    return "" if figure is None else figure.label or ""


def _notes(claims: Sequence[Claim]) -> list[str]:
    return [f"{control_of(one)}: {state_of(one)}" for one in claims]


def state_of(claim: Claim) -> str:
    """Return `better`, `worse`, `within` (the margin) or `open`."""
    if claim.strength is Strength.WITHIN_MARGIN:
        return "within"
    return claim.direction or "open" if claim.strength is Strength.SHOWN else "open"


def states(claim: Claim) -> list[tuple[str, str, Figure]]:
    """Return (control, state, gain over it) of the controls without persona that a merged claim is also about."""
    pairs = [note.split(": ") for note in claim.notes if ": " in note]
    return [(control, state, claim.figure(control) or Figure()) for control, state in pairs]
