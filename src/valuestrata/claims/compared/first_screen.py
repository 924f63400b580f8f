"""Correction of comparisons over all that the first screen of `score` may show."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

from valuestrata.claims.claim import Claim, Figure, Strength

NOT_OVER_SCREEN = "not-over-screen"
ROUNDING = 1e-9


def corrected_over_screen(claim: Claim, tests: int, alpha: float) -> Claim:
    """Return a comparison with `page_p`, its p-value times the number of tests (Bonferroni); weaker where that exceeds alpha.

    A comparison counts once for its difference and its equivalence: at most one of their null hypotheses is true, and each is tested at
    alpha / tests (Goeman, Solari and Stijnen 2010, Statistics in Medicine). A difference that is not significant then is undetermined,
    an equivalence not shown.
    """
    margin = claim.figure("margin")
    if claim.strength is Strength.WITHIN_MARGIN and margin is not None:
        p = min(1.0, tests * (1.0 if margin.p is None else margin.p))
        return replace(claim, page_p=p, strength=claim.strength if p <= alpha + ROUNDING else Strength.NOT_SHOWN)
    if claim.strength is Strength.SHOWN and claim.direction is not None:
        p = min(1.0, max(tests * two_sided(claim.estimate, claim.confidence), claim.estimate.p_adjusted or 0.0))
        if p > alpha + ROUNDING:
            return replace(claim, page_p=p, strength=Strength.UNDETERMINED, notes=(*claim.notes, NOT_OVER_SCREEN))
        return replace(claim, page_p=p)
    return claim


def two_sided(figure: Figure, confidence: float) -> float:
    """Return the p-value of a difference: that of the table, or the normal one of its interval."""
    if figure.p is not None:
        return figure.p
    if figure.value is None or figure.low is None or figure.high is None:
        return 1.0
    end = figure.low if figure.value > 0 else figure.high
    return 2 * tail_of(abs(figure.value), abs(figure.value - end), confidence)


def tail_of(distance: float, half: float, confidence: float) -> float:
    """Return the one-sided normal p-value of an estimate `distance` above a value, `half` being half the width of its interval."""
    if half <= 0:
        return 0.0 if distance > 0 else 1.0
    return NormalDist().cdf(-distance * NormalDist().inv_cdf((1 + confidence) / 2) / half)
