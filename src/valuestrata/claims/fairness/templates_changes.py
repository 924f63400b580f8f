"""Templates of the claims about a run against another: scores, subgroups that gained or lost, and spreads."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.claims.claim import Claim, Figure
from valuestrata.claims.fairness.changes import PARETO
from valuestrata.claims.fairness.phrases import all_of, gain, metric_of, template, units_of
from valuestrata.claims.wording import ClaimTemplate, Names, magnitude
from valuestrata.formatting import capital, number, percent

SPREADS = (("", "SD"), ("relative", "CV"))


def _overall(claim: Claim, names: Names) -> str:
    against = names.run(claim.against)
    head = f"No difference from {against} detected" if claim.kind == "no-change" else f"{capital(claim.kind)} than {against}"
    return f"{head}: {metric_of(claim)} {gain(claim)}"


def _gained_and_lost(claim: Claim, names: Names) -> str:
    gained, lost, units = ((claim.figure(role) or Figure()).n or 0 for role in ("gained", "lost", "units"))
    head = f"Compared with {names.run(claim.against)}"
    if claim.kind == "no-change-shown":
        return f"{head}, no change in {metric_of(claim)} detected for any of {units} {units_of(claim)}"
    undetermined = f", {units - gained - lost} undetermined" if units > gained + lost else ""
    return f"{head}, {metric_of(claim)} is better for {gained} and worse for {lost} of {units} {units_of(claim)}{undetermined}"


def _gained_and_lost_details(claim: Claim, names: Names) -> list[str]:
    lines: list[str] = []
    more = ((claim.figure("lost") or Figure()).n or 0) - len(all_of(claim, "loser"))
    for role, head, left in (("loser", "Worsened", more), ("winner", "Improved most", 0)):
        if named := all_of(claim, role):
            end = f" and {left} more" if left > 0 else ""
            lines.append(f"{head}: {', '.join(_unit(claim, one, names) for one in named)}{end}")
    if noise := claim.figure("noise"):
        lines.append(f"Noise moves a single score by up to {magnitude(noise)} either way")
    return lines


def _unit(claim: Claim, figure: Figure, names: Names) -> str:
    label = figure.label or ""
    return f"{names.keys.get(label) or label.partition('=')[2] or label} {gain(claim, figure)}"


def _levelled_down(claim: Claim, names: Names) -> str:
    before, after, loser = (claim.figure(role) for role in ("before", "after", "loser"))
    assert before is not None
    assert after is not None
    lost = "" if loser is None else f": {_unit(claim, loser, names)}"
    fell = f"the {metric_of(claim)} range over {units_of(claim)} fell from {magnitude(before)} to {magnitude(after)}"
    return f"Levelling down against {names.run(claim.against)}: {fell}, but the best served lost{lost}"


def _levelled_details(claim: Claim, names: Names) -> list[str]:
    return [*(["The fall of the range is within noise"] if "range-not-shown" in claim.notes else []), *_noise(claim, "", "range")]


def _pair(claim: Claim, name: str) -> tuple[Figure, Figure] | None:
    before, after = (claim.figure(f"{name} {time}".strip()) for time in ("before", "after"))
    return None if before is None or after is None else (before, after)


def _noise(claim: Claim, name: str, what: str) -> list[str]:
    pair = _pair(claim, name)
    if pair is None or pair[0].expected is None or pair[1].expected is None:
        return []
    return [f"Noise alone gives a {what} of {number(pair[0].expected)} before and {number(pair[1].expected)} after"]


def _spread_change(claim: Claim, names: Names) -> str:
    terms = [note for note in claim.notes if note in ("absolute", "relative")]
    only = f" in {terms[0]} terms" if len(terms) == 1 else ""
    spread = f"spread of {metric_of(claim)} over {units_of(claim)}"
    head = {
        "opposite-directions": f"absolute and relative {spread} moved in opposite directions",
        "spread-narrower": f"{units_of(claim)} are closer together in {metric_of(claim)}{only}",
        "spread-wider": f"{units_of(claim)} are further apart in {metric_of(claim)}{only}",
        "spread-moved-with-noise": f"the {spread} {claim.direction}{only}, as noise alone may explain",
        "spread-not-changed": f"no change in the {spread} detected",
    }[claim.kind]
    pairs = [(what, pair) for name, what in SPREADS if (pair := _pair(claim, name))]
    values = ", ".join(f"{what} {number(before.value)} to {number(after.value)}" for what, (before, after) in pairs)
    return f"Compared with {names.run(claim.against)}, {head}: {values}"


def _spread_details(claim: Claim, names: Names) -> list[str]:
    lines = [line for name, what in SPREADS for line in _noise(claim, name, what)]
    if claim.kind == "opposite-directions":
        terms = [note for note in claim.notes if note in ("absolute", "relative")]
        lines.insert(0, f"Beyond noise: {' and '.join(terms) or 'neither'}")
    if pair := _pair(claim, "corrected"):
        lines.append(f"Variance without noise: {number(pair[0].value, 5)} before, {number(pair[1].value, 5)} after")
    return lines


def _change(claim: Claim, figure: Figure) -> str:
    return f"change {number(figure.value)}"


def _net_share(claim: Claim, figure: Figure) -> str:
    return f"improved minus worsened {percent(figure.value)}"


OVERALL = template(_overall, write=gain)
GAINED_AND_LOST = template(_gained_and_lost, _gained_and_lost_details, _net_share, expected=False)
SPREAD = template(_spread_change, _spread_details, _change, expected=False)
SPREAD_KINDS = ("opposite-directions", "spread-narrower", "spread-wider", "spread-moved-with-noise", "spread-not-changed")

CHANGES: Mapping[str, ClaimTemplate] = {
    **dict.fromkeys(("better", "worse", "no-change"), OVERALL),
    **dict.fromkeys(PARETO.values(), GAINED_AND_LOST),
    "levelled-down": template(_levelled_down, _levelled_details, _change, expected=False),
    **dict.fromkeys(SPREAD_KINDS, SPREAD),
}
