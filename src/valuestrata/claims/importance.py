"""The importance of a claim, from its kind, its strength and the size of its effect."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.claims.claim import Strength

FACTORS: Mapping[Strength, float] = {
    Strength.SHOWN: 1.0,
    Strength.NOT_SHOWN: 0.75,
    Strength.UNDERPOWERED: 0.7,
    Strength.UNDETERMINED: 0.6,
}
# A difference of 10 points, or .1 of a distance on 0 to 1, counts as large.
LARGE = 0.10


def importance(weight: float, strength: Strength, effect: float | None = None, large: float = LARGE) -> int:
    """Return `weight * factor(strength) * (0.8 + 0.2 * min(1, |effect| / large))`, rounded to 0..100.

    Args:
        weight: of the kind, 0 to 100: how much a reader who sees one claim only needs this one.
        strength: how well the data support it; its factor is in `FACTORS`.
        effect: size of the effect. The last term is 1 without one. large: the effect that counts as large.
    """
    size = 1.0 if effect is None else 0.8 + 0.2 * min(1.0, abs(effect) / large)
    return round(max(0.0, min(100.0, weight * FACTORS[strength] * size)))
