"""Templates: a claim in, a sentence and details out, for the terminal, HTML, LaTeX and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from valuestrata.claims.claim import Claim
from valuestrata.claims.fairness.templates import FAIRNESS
from valuestrata.claims.templates_closed import CLOSED
from valuestrata.claims.templates_judges import JUDGES, OPEN
from valuestrata.claims.templates_tuning import TUNING
from valuestrata.claims.templates_variance import VARIANCE
from valuestrata.claims.wording import ELSEWHERE, TRAINED_THERE, ClaimTemplate, Names, listed, standard_details
from valuestrata.formatting import title

# Family of claims -> its kinds, each with its template.
FAMILIES: Mapping[str, Mapping[str, ClaimTemplate]] = MappingProxyType(
    {"closed": CLOSED, "fairness": FAIRNESS, "variance": VARIANCE, "tuning": TUNING, "judges": JUDGES, "open": OPEN}
)
NO_NAMES = Names()


@dataclass(frozen=True, kw_only=True)
class Wording:
    """A claim in words: one sentence with a period, and its details, each a line with a period. Plain text: HTML must escape it."""

    sentence: str
    details: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentence and the details."""
        return " ".join((self.sentence, *self.details))


def word(claim: Claim, names: Names = NO_NAMES) -> Wording:
    """Word a claim.

    Args:
        claim: one of a family and kind in `FAMILIES`. names: of runs and subgroups, as readers know them.
    """
    template = FAMILIES[claim.family][claim.kind]
    sentence = template.sentence(claim, names)
    if claim.also:
        sentence += f"; the same holds for {listed([title(figure.metric or '') for figure in claim.also])}"
    if ELSEWHERE in claim.notes:
        test = ", on which the run was trained" if TRAINED_THERE in claim.notes else ""
        sentence = f"On the part {claim.part}{test}: {sentence}"
    if claim.fold is not None:
        sentence = f"Fold {claim.fold}: {sentence}"
    return Wording(
        sentence=f"{sentence}.",
        details=tuple(f"{line}." for line in (*template.details(claim, names), *standard_details(claim, template))),
    )


def as_json(claim: Claim, names: Names = NO_NAMES) -> dict[str, Any]:
    """Return the fields of a claim, its sentence and its details; empty fields are left out."""
    worded = word(claim, names)
    return {"sentence": worded.sentence, "details": list(worded.details), **_filled(asdict(claim))}


def _filled(record: dict[str, Any]) -> dict[str, Any]:
    """Leave out empty values, also inside figures."""
    kept: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            kept[name] = _filled(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], dict):
            kept[name] = [_filled(one) for one in value]
        elif value is not None and value != ():
            kept[name] = value
    return kept
