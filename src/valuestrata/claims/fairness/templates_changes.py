"""Templates of the claims about a run against another: scores, subgroups that gained or lost, and spreads."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.fairness.changes import PARETO
from valuestrata.claims.fairness.phrases import all_of, gain, metric_of, template, units_of
from valuestrata.claims.wording import ClaimTemplate, Names, magnitude, margin_of
from valuestrata.formatting import capital, count, number, percent

SPREADS = (("", "SD"), ("relative", "CV"))


def _overall(claim: Claim, names: Names) -> str:
    against = names.run(claim.against)
    if claim.strength is Strength.WITHIN_MARGIN:
        head = f"The difference from {against} is shown to be below {margin_of(claim)}"
    else:
        head = f"No difference from {against} detected" if claim.kind == "no-change" else f"{capital(claim.kind)} than {against}"
    return f"{head}: {metric_of(claim)} {gain(claim)}"


def _gained_and_lost(claim: Claim, names: Names) -> str:
    gained, lost, units = ((claim.figure(role) or Figure()).n or 0 for role in ("gained", "lost", "units"))
    head, metric = f"Compared with {names.run(claim.against)}", metric_of(claim)
    of = f"of {units} {units_of(claim)}"
    if claim.kind == "no-change-shown":
        return f"{head}, no change in {metric} detected for any {of}"
    if claim.kind == "unchanged":
        return f"{head}, the change in {metric} is shown to be below {margin_of(claim)} for each {of}"
    if claim.kind == "worse-for-none":
        return f"{head}, {metric} is worse for none {of} by more than {margin_of(claim)}; no gain is shown"
    if claim.kind == "better-for-some":
        return f"{head}, {metric} is better for {gained} {of} and worse for none by more than {margin_of(claim)}"
    if claim.kind == "worse-for-some":
        return f"{head}, {metric} is worse for {lost} {of} and better for none by more than {margin_of(claim)}"
    if claim.kind in ("losses-not-excluded", "gains-not-excluded"):
        word, number, side = ("better", gained, "loss") if claim.kind == "losses-not-excluded" else ("worse", lost, "gain")
        return f"{head}, {metric} is {word} for {number} {of}; {_open(claim, side)}"
    undetermined = f", {units - gained - lost} undetermined" if units > gained + lost else ""
    return f"{head}, {metric} is better for {gained} and worse for {lost} {of}{undetermined}"


def _open(claim: Claim, side: str) -> str:
    """Write which losses or gains are not excluded: `losses of up to 5.0 points are not excluded for 12`."""
    figure = claim.figure(f"{side} not excluded") or Figure()
    plural = "losses" if side == "loss" else "gains"
    upto = "" if figure.value is None else f" of up to {magnitude(figure)}"
    return f"{plural}{upto} are not excluded for {figure.n or 0}"


def _gained_and_lost_details(claim: Claim, names: Names) -> list[str]:
    lines: list[str] = []
    more = ((claim.figure("lost") or Figure()).n or 0) - len(all_of(claim, "loser"))
    for role, head, left in (("loser", "Worsened", more), ("winner", "Improved most", 0)):
        if named := all_of(claim, role):
            end = f" and {left} more" if left > 0 else ""
            lines.append(f"{head}: {', '.join(_unit(claim, one, names) for one in named)}{end}")
    if claim.kind in ("no-change-shown", "worse-for-none"):
        lines += [capital(_open(claim, side)) for side in ("loss", "gain") if claim.figure(f"{side} not excluded")]
    if screened := claim.figure("screened"):
        lines.append(f"Without correction over the first screen, {count(screened.n, screened.unit)} more changed; see the table `changes`")
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
    head = "Levelling down" if claim.strength is Strength.SHOWN else "Possible levelling down"
    return f"{head} against {names.run(claim.against)}: {fell}, but the best served lost{lost}"


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
        "spread-not-changed": _not_changed(claim, spread),
    }[claim.kind]
    pairs = [(what, pair) for name, what in SPREADS if (pair := _pair(claim, name))]
    values = ", ".join(f"{what} {number(before.value)} to {number(after.value)}" for what, (before, after) in pairs)
    return f"Compared with {names.run(claim.against)}, {head}: {values}"


def _not_changed(claim: Claim, spread: str) -> str:
    if claim.strength is Strength.WITHIN_MARGIN:
        return f"the change in the absolute {spread} is shown to be below {margin_of(claim)}"
    return f"no change in the {spread} detected"


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
