"""Templates of the claims about gaps between levels and between intersections."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.claims.claim import Claim, Strength
from valuestrata.claims.fairness.phrases import amount, counted, gain, metric_of, signed, template
from valuestrata.claims.wording import ELSEWHERE, TRAINED_THERE, ClaimTemplate, Names, interval, listed, magnitude, margin_of, score_of
from valuestrata.formatting import count, percent

# Kind -> what explains the gap, as the end of the sentence.
GAP_ENDS: Mapping[str, str] = {
    "gap-remains": ", also relative to the baseline and at equal difficulty",
    "gap-explained": "; the baseline's gap or difficulty may explain it",
    "gap-composition": "; their other attributes may explain it",
    "gap-turned": "; reversed relative to the baseline or at equal difficulty",
    "gap-unclear": "; how much is due to the model is undetermined",
    "missing-uneven": "",
    "missing-composition": "; their other attributes may explain it",
    "missing-unclear": "; whether their other attributes explain it is undetermined",
}
HEADINGS = {"excess": "Relative to the baseline", "held": "With the other attributes held", "adjusted": "At equal difficulty"}
LEFT: Mapping[str, str] = {
    "remains": "",
    "alone": ", not significant after correction",
    "explained": ", possibly zero and less than the gap",
    "turned": ", in the opposite direction",
    "untold": ", possibly zero or the whole gap",
}


def happens(claim: Claim) -> str:
    """Name what happens to a missing answer."""
    return "refused" if claim.metric == "refusal_rate" else "left without a readable answer"


def _levels(claim: Claim) -> tuple[str, str, str]:
    attribute, _, key = (claim.key or "").partition("=")
    return attribute, key, (claim.against or "").partition("=")[2]


def _gap(claim: Claim, names: Names) -> str:
    attribute, better, worse = _levels(claim)
    head = f"Better for {better} than for {worse} ({attribute})"
    if claim.kind == "gap-hidden":
        return f"{head} relative to the baseline and at equal difficulty: raw {metric_of(claim)} {gain(claim)}, within noise"
    return f"{head}: {metric_of(claim)} {amount(claim)}{GAP_ENDS[claim.kind]}"


def _missing(claim: Claim, names: Names) -> str:
    attribute, more, less = _levels(claim)
    end = "; reversed with the other attributes held" if "turned" in claim.notes else GAP_ENDS[claim.kind]
    return f"{more} is {happens(claim)} more often than {less} ({attribute}), by {amount(claim)}{end}"


def _explained(claim: Claim, names: Names) -> list[str]:
    lines: list[str] = []
    for figure in claim.figures:
        left = LEFT.get(figure.label or "")
        known = "unknown" if figure.value is None or left is None else f"{signed(figure)} ({interval(claim, figure)}){left}"
        lines.append(f"{HEADINGS[figure.role]}: {known}")
    return lines


def _no_gap(claim: Claim, names: Names) -> str:
    largest = f"the largest is {claim.estimate.label}, {amount(claim)}"
    corrected = f" after correction for {count(claim.tests, 'test')}" if claim.tests and claim.tests > 1 else ""
    if claim.strength is Strength.WITHIN_MARGIN:
        return f"All gaps in {metric_of(claim)} between levels of {claim.key} are shown to be below {margin_of(claim)}; {largest}"
    return f"No gap in {metric_of(claim)} detected between levels of {claim.key}{corrected}; {largest}"


def _no_gap_details(claim: Claim, names: Names) -> list[str]:
    together = [note for note in claim.notes if note not in (ELSEWHERE, TRAINED_THERE)]
    return [f"The levels of {listed(together)} differ taken together, but no single gap is significant"] if together else []


def _underpowered(claim: Claim, names: Names) -> str:
    return f"Gaps in {metric_of(claim)} below {magnitude(claim.estimate)} between levels of {claim.key} could be missed"


def _detectable(claim: Claim, names: Names) -> list[str]:
    smallest, largest = claim.figure("smallest"), claim.estimate
    assert smallest is not None
    end = "" if smallest.label == largest.label else f" to {magnitude(largest)} ({largest.label})"
    return [f"Detected with 80\u00a0% power: gaps of {magnitude(smallest)} ({smallest.label}){end}"]


def _cell(claim: Claim, names: Names) -> str:
    score, predicted = claim.figure("score"), claim.figure("predicted")
    assert score is not None
    assert predicted is not None
    return f"{metric_of(claim)} {score_of(score)} instead of {score_of(predicted)}, {gain(claim)}"


def _intersection(claim: Claim, names: Names) -> str:
    if claim.kind == "no-intersection-shown":
        head = f"No subgroup detected whose {metric_of(claim)} differs from what its levels predict; closest is"
        return f"{head} {names.key(claim.estimate.label)}: {_cell(claim, names)}"
    direction = claim.kind.removeprefix("intersection-")
    return f"{names.key(claim.key)} is served {direction} than its levels predict: {_cell(claim, names)}"


def _intersection_details(claim: Claim, names: Names) -> list[str]:
    lines: list[str] = []
    if screened := counted(claim, "screened", "subgroup"):
        lines.append(f"Screening at a false discovery rate of {percent(1 - claim.confidence)} selects {screened}")
    if claim.notes[:1] == ("opposite",):
        lines.append(f"The larger opposite deviation of {names.key(claim.notes[1])} in the same stratum shifts this estimate")
    return lines


GAP = template(_gap, _explained, gain)
MISSING = template(_missing, _explained)
INTERSECTION = template(_intersection, _intersection_details, gain)

GAPS: Mapping[str, ClaimTemplate] = {
    **{kind: MISSING if kind.startswith("missing") else GAP for kind in (*GAP_ENDS, "gap-hidden")},
    "no-gap-shown": template(_no_gap, _no_gap_details),
    "underpowered": template(_underpowered, _detectable, expected=False),
    **dict.fromkeys(("intersection-worse", "intersection-better", "no-intersection-shown"), INTERSECTION),
}
