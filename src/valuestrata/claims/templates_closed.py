"""Templates of the claims about scores: comparisons, ceilings, missing answers and train-test overlap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from valuestrata.calibration.controls import NO_MODEL, SHUFFLED_ANSWERS
from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.compared.calibrated import ADDS as MODEL_ADDS
from valuestrata.claims.compared.calibrated import BELOW, LEVEL, NO_CONTROL
from valuestrata.claims.compared.first_screen import NOT_OVER_SCREEN
from valuestrata.claims.compared.personas import ADDS, AGAINST_NONE, PERSONA_KINDS, WITH, control_of, state_of, states
from valuestrata.claims.wording import (
    BASELINE_RULES,
    ClaimTemplate,
    Names,
    difference,
    interval,
    listed,
    magnitude,
    margin_of,
    p_value,
    place,
    score_of,
)
from valuestrata.formatting import capital, count, percent, title

BOUNDS: Mapping[str, str] = {
    "ceiling_oracle": "noise ceiling",
    "floor_nmae": "noise floor",
    "floor_w1": "noise floor",
    "floor_rps": "noise floor",
}


def _compared(other: str | None, outcome: str) -> ClaimTemplate:
    """Return the template of a comparison with `other` (None: named by its run): outcome is below, level or above."""

    def sentence(claim: Claim, names: Names) -> str:
        against = other or names.run(claim.against)
        if outcome == "level":
            within = f"The difference from {against} is shown to be below {margin_of(claim)}"
            head = within if claim.strength is Strength.WITHIN_MARGIN else f"{_undetected(claim)} a difference from {against}"
        elif claim.strength is Strength.UNDETERMINED:
            head = f"A difference from {against} is not certain"
        else:
            accuracy = (claim.metric or "").startswith("accuracy")
            words = ("More accurate", "Less accurate") if accuracy else ("Better", "Worse")
            head = f"{words[outcome == 'below']} than {against}"
        return f"{head}{place(claim, names)}: {difference(claim)}{_limits(claim)}"

    return ClaimTemplate(sentence, _comparison_details)


def _persona(claim: Claim, names: Names) -> str:
    """Word a claim about personas: the right one against a wrong one, then a persona against none."""
    if claim.kind.startswith(AGAINST_NONE):
        first = _against_none(claim, control_of(claim), state_of(claim), claim.estimate, None)
        others = [_against_none(claim, *one, one[0]) for one in states(claim)]
        asked = "; no wrong persona was asked, so any persona may do as well" if "no-wrong-persona" in claim.notes else ""
        return f"{capital('; '.join([first, *others]))}{place(claim, names)}{asked}{_limits(claim)}"
    if claim.strength is Strength.WITHIN_MARGIN:
        head = f"The difference between the right persona and a wrong one is shown to be below {margin_of(claim)}"
    elif claim.direction is None:
        head = f"{_undetected(claim)} a difference between the right persona and a wrong one"
    elif claim.strength is Strength.UNDETERMINED:
        head = "A difference between the right persona and a wrong one is not certain"
    else:
        head = f"{capital(claim.direction)} with the right persona than with a wrong one"
    compared = [_against_none(claim, *one, one[0]) for one in states(claim)]
    unknown = "no control without a persona was asked, so whether personas add to the score is unknown"
    start = "Personas add to the score: " + head[:1].lower() + head[1:] if claim.kind == ADDS else head
    return f"{start}{place(claim, names)}: {difference(claim)}{_limits(claim)}; {'; '.join(compared) or unknown}"


def _against_none(claim: Claim, control: str, state: str, gain: Figure, label: str | None) -> str:
    """Word the comparison with one control without persona."""
    without = WITH.get(control, control)
    head = {
        "better": f"better than with {without}",
        "worse": f"worse than with {without}",
        "within": f"the difference from {without} is shown to be below {margin_of(claim, label)}",
        "open": f"not shown to be better or worse than with {without}",
    }[state]
    return f"{head} ({difference(claim, gain)})"


def _persona_details(claim: Claim, names: Names) -> list[str]:
    lines = [f"Compared with {names.run(claim.against)}"]
    lines += [f"Compared with {names.run(gain.label)}" for _, _, gain in states(claim)]
    if not claim.kind.startswith(AGAINST_NONE):
        if not states(claim):
            lines.append("Ask the model with control:no-persona or control:country-only as well")
        elif claim.direction == "better" and claim.kind != ADDS:
            lines.append("A wrong persona can mislead, so this difference alone does not show that personas add to the score")
    elif "no-wrong-persona" in claim.notes:
        lines.append("Ask the model with control:shuffled-persona as well")
    return [*lines, *_precision(claim)]


def _undetected(claim: Claim) -> str:
    return "Too little data to detect" if claim.strength is Strength.UNDERPOWERED else "The data do not show"


def _limits(claim: Claim) -> str:
    """Write what limits a comparison: correction for multiple tests, or few pairs in common."""
    text = ""
    if "not-after-correction" in claim.notes and claim.estimate.p_adjusted is not None:
        text += f"; not significant after correction for multiple tests ({p_value(claim.estimate.p_adjusted)})"
    elif NOT_OVER_SCREEN in claim.notes and claim.page_p is not None:
        text += f"; not significant after correction over all comparisons shown ({p_value(claim.page_p)})"
    if covered := claim.figure("coverage"):
        text += f"; based on only {percent(covered.value)} of the pairs"
    return text


def _comparison_details(claim: Claim, names: Names) -> list[str]:
    rule = next((rule for rule in BASELINE_RULES if claim.kind.endswith(rule)), "")
    lines = [f"Compared with {names.run(claim.against)}" + (f": {BASELINE_RULES[rule]}" if rule else "")]
    return [*lines, *_precision(claim)]


def _precision(claim: Claim) -> list[str]:
    """Write how small a difference is shown to be, or how large it would have to be to be detected."""
    lines: list[str] = []
    margin = claim.figure("margin")
    if margin is not None and (claim.strength is Strength.WITHIN_MARGIN or (claim.direction and (margin.p or 0.0) <= 1 - claim.confidence)):
        shorter = interval(replace(claim, confidence=2 * claim.confidence - 1), margin)
        lines.append(f"Equivalence test: the difference is within ±{magnitude(margin)} ({shorter}, {p_value(margin.p or 0.0)})")
    elif margin is not None and claim.direction is None:
        lines.append(
            f"Differences up to {magnitude(replace(margin, value=_largest(margin)))} are not excluded; the margin is {magnitude(margin)}"
        )
    if claim.strength is Strength.WITHIN_MARGIN:
        return lines
    if detectable := claim.figure("detectable"):
        lines.append(f"Only a difference of {magnitude(detectable)} or more would be detected (80\u00a0% power)")
    if claim.strength in (Strength.NOT_SHOWN, Strength.UNDERPOWERED):
        lines.append("This does not show equality")
    return lines


def _largest(margin: Figure) -> float:
    return max(abs(margin.low or 0.0), abs(margin.high or 0.0))


def _cannot_be_judged(claim: Claim, names: Names) -> str:
    against, metric = f"{names.run(claim.against)}{place(claim, names)}", title(claim.metric or "")
    if claim.notes[:1] == ("trained-on",):
        _, run, reason = claim.notes
        return f"Cannot be compared with {against}: {names.run(run)} was trained on {reason}"
    if claim.estimate.value is None:
        return f"Cannot be compared with {against}: no pair has a value of {metric} for both"
    return f"The comparison with {against} has no interval, so it is inconclusive: {difference(claim)}"


def _between(claim: Claim, names: Names) -> str:
    """Write the two ends between which a run is placed: `the baseline x (55.0 %) and the noise ceiling (81.2 %)`."""
    baseline, bound = claim.figure("baseline"), claim.figure("bound")
    assert baseline is not None
    assert bound is not None
    name = BOUNDS.get(bound.label or "", bound.label)
    return f"{names.run(baseline.label)} ({score_of(baseline)}) and the {name} ({score_of(bound)})"


def _ceiling(head: str) -> ClaimTemplate:
    """Return the template of a place between the best cheap baseline and the ceiling."""

    def sentence(claim: Claim, names: Names) -> str:
        figure = claim.estimate
        within = f"{percent(claim.confidence)} CI {percent(figure.low)} to {percent(figure.high)}"
        return f"{head}: {percent(figure.value)} of the way between {_between(claim, names)} in {title(claim.metric or '')} ({within})"

    return ClaimTemplate(sentence)


def _saturated(claim: Claim, names: Names) -> str:
    return f"The remaining gap between {_between(claim, names)} is within sampling noise in {title(claim.metric or '')}"


def _no_baseline(claim: Claim, names: Names) -> str:
    score = "The score" if claim.estimate.value is None else f"{capital(title(claim.metric or ''))} of {score_of(claim.estimate)}"
    return f"{score} cannot be judged without an item-mode or nearest-parent baseline"


def _baselines_present(claim: Claim, names: Names) -> list[str]:
    scored = [f"Baselines scored: {', '.join(names.run(name) for name in claim.notes)}"] if claim.notes else []
    return ["Score again with the baselines `cheap` or `all`", *scored]


def _taught(claim: Claim, names: Names) -> str:
    share = percent(claim.estimate.value)
    who = "baseline" if claim.run_kind == "baseline" else "model"
    return f"The {who} was trained on {share} of the pairs it is scored on, so the score does not measure generalisation"


def _not_disjoint(claim: Claim, names: Names) -> str:
    return f"Training and test respondents are not disjoint: the model was trained on {claim.notes[0]}"


def _shared(claim: Claim, names: Names) -> str:
    share = percent(claim.estimate.value)
    return f"Train and test share respondents: on average, {share} of a test pair's respondents also count in a training pair of its item"


def _not_a_test(claim: Claim, names: Names) -> str:
    why = "models and baselines are trained on its pairs" if claim.part == "train" else "its respondents also count towards training pairs"
    return f"The {claim.part} part is not a test set: {why}"


def _incomplete(claim: Claim, names: Names) -> str:
    wanted = claim.figure("threshold")
    needed = "" if wanted is None else f" (at least {percent(wanted.value)} is needed)"
    return f"Only {percent(claim.estimate.value)} of the pairs were asked{needed}, so the score may not represent this part of the split"


def _unanswered(claim: Claim, names: Names) -> str:
    shares = {role: percent(figure.value) for role in ("refused", "invalid") if (figure := claim.figure(role))}
    return (
        f"{percent(claim.estimate.value)} of the responses contain no answer and count as wrong "
        f"({shares.get('refused', '')} refused, {shares.get('invalid', '')} invalid or failed)"
    )


def _same_position(claim: Claim, names: Names) -> str:
    fewest, most = claim.figure("fewest options"), claim.figure("most options")
    assert fewest is not None
    assert most is not None
    return (
        f"Picks the {claim.direction} option in the list in {percent(claim.estimate.value)} of "
        f"{count(claim.estimate.n, 'answer')}, whatever the question (items with {fewest.n} to {most.n} options)"
    )


def _one_order(claim: Claim, names: Names) -> list[str]:
    return ["All lists were shown in one order, so position and code cannot be distinguished"] if "one-order" in claim.notes else []


def _same_answer(claim: Claim, names: Names) -> str:
    items = claim.estimate.items
    which = "the only item" if items == 1 else f"all {count(items, 'item')}"
    return f"Gives every subgroup the same answer on {which}, although real subgroups differ"


def _plain(sentence: Callable[[Claim, Names], str], *details: str) -> ClaimTemplate:
    return ClaimTemplate(sentence, lambda claim, names: list(details))


def _model_adds(claim: Claim, names: Names) -> str:
    """Word what the model of a calibrated run adds to the best method without a model."""
    method, model = (figure.label if (figure := claim.figure(role)) else "" for role in ("method", "model"))
    best = f"{_without_model(claim, claim.against, names)}, the best method without a model"
    head = {
        MODEL_ADDS: f"adds to {best}" if claim.strength is Strength.SHOWN else f"is not certain to add to {best}",
        BELOW: f"is worse than {best}" if claim.strength is Strength.SHOWN else f"is not certain to be worse than {best}",
        LEVEL: f"adds nothing beyond {best}, to within {margin_of(claim)}"
        if claim.strength is Strength.WITHIN_MARGIN
        else f"is not shown to add to {best}",
    }[claim.kind]
    text = f"Calibrated by {method}, {names.run(model)} {head}: {difference(claim)}{_limits(claim)}"
    if NO_CONTROL in claim.notes:
        return f"{text}; the control `no-model` was not scored, so the method may be as good without the model"
    if claim.kind == LEVEL and (claim.estimate.low or 0.0) > 0:
        level = [_without_model(claim, name, names) for name, gain in _methods(claim) if (gain.low or 0.0) <= 0]
        return f"{text}; no difference is shown from {listed(level)}"
    return text


def _methods(claim: Claim) -> list[tuple[str, Figure]]:
    """Return (run, gain over it) of the methods without a model."""
    return [(str(figure.label).partition("=")[2], figure) for figure in claim.figures if figure.role == "rival"]


def _without_model(claim: Claim, run: str | None, names: Names) -> str:
    """Name a method without a model: the baseline by its kind, a control in words."""
    labels = [str(figure.label).partition("=") for figure in claim.figures if figure.role == "rival"]
    rule = next((rule for rule, _, name in labels if name == run), "")
    return WITHOUT_MODEL_WORDS.get(rule, rule) or names.run(run)


def _model_adds_details(claim: Claim, names: Names) -> list[str]:
    gains = [f"{_without_model(claim, name, names)} {difference(claim, gain)}" for name, gain in _methods(claim)]
    lines = [f"Compared with each method without a model: {'; '.join(gains)}"]
    for figure in claim.figures:
        if figure.role == "persona":
            without = WITH.get(figure.label or "", "shuffled personas")
            lines.append(f"Of this, what the personas contribute: {difference(claim, figure)} than the same calibration with {without}")
    if NO_CONTROL in claim.notes:
        lines.append("Calibrate the run again with the control `no-model`, and score both")
    return [*lines, *_precision(claim)]


# Controls of calibration as methods without a model.
WITHOUT_MODEL_WORDS: Mapping[str, str] = {
    NO_MODEL: "the same method without the model's answers",
    SHUFFLED_ANSWERS: "the same method with the model's answers shuffled among items",
}

CLOSED: Mapping[str, ClaimTemplate] = {
    "no-baseline": ClaimTemplate(_no_baseline, _baselines_present),
    **dict.fromkeys((MODEL_ADDS, LEVEL, BELOW), ClaimTemplate(_model_adds, _model_adds_details)),
    **{
        f"calibration-{kind}": _compared("the same answers before calibration", outcome)
        for kind, outcome in (("better", "above"), ("level", "level"), ("worse", "below"))
    },
    **{
        f"{kind}-{rule}": _compared(f"the {rule} baseline", outcome)
        for rule in ("item-mode", "nearest-parent")
        for kind, outcome in (("below", "below"), ("level-with", "level"), ("above", "above"))
    },
    **dict.fromkeys(PERSONA_KINDS, ClaimTemplate(_persona, _persona_details)),
    "below": _compared(None, "below"),
    "level": _compared(None, "level"),
    "above": _compared(None, "above"),
    "cannot-be-judged": ClaimTemplate(_cannot_be_judged),
    "saturated": ClaimTemplate(_saturated),
    "at-the-ceiling": _ceiling("At the limit that sampling noise sets"),
    "beyond-the-ceiling": _ceiling("Better than sampling noise allows, so the model may have seen the test answers"),
    "cannot-be-placed": _ceiling("Too imprecise to place between the best cheap baseline and the noise limit"),
    "taught-what-is-tested": ClaimTemplate(_taught),
    "halves-not-disjoint": _plain(_not_disjoint, "Train on the half that is not scored, or score on a split without halves"),
    "shared-respondents": _plain(_shared, "Score on a +disjoint or +crossfit split to exclude shared respondents"),
    "not-a-test": ClaimTemplate(_not_a_test),
    "incomplete": ClaimTemplate(_incomplete),
    "unanswered": ClaimTemplate(_unanswered),
    "same-position": ClaimTemplate(_same_position, _one_order),
    "same-answer": ClaimTemplate(_same_answer),
}
