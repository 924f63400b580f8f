"""Templates of the claims about judges and about open answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.wording import ClaimTemplate, Names, interval, listed
from valuestrata.formatting import count, number, percent, points
from valuestrata.openended.validity.decision_rule import (
    AGREEMENT_MARGIN,
    KAPPA_MARGIN,
    MAX_INVALID,
    MAX_LONGER,
    MAX_POSITION_BIAS,
    MAX_SAME_READING,
    MAX_TIES,
    MIN_ANSWERS,
    MIN_CONSISTENCY,
)

_METRICS: Mapping[str, str] = {"win_rate": "win rate", "place": "mean position on the scale", "no_stance": "share without a stance"}
_MISSING: Mapping[str, str] = {"refused": "are refusals", "empty": "are empty", "cut": "are cut off"}


def check_sentence(claim: Claim, figure: Figure) -> str:
    """Word one check of a judge: its estimate, its interval and its threshold."""
    name, sizes = figure.role, count(figure.n or 0, figure.unit or "answer")
    if figure.value is None:
        return f"{name.replace('_', ' ')} is undefined for {sizes}"
    if name.startswith("kappa"):
        low_high = interval(claim, figure, write=number)
        if name == "kappa_with_people":
            return f"weighted kappa with people is {number(figure.value)} for {sizes} ({low_high})"
        side = "below" if figure.value < 0 else "above"
        return f"kappa is {number(abs(figure.value))} {side} the kappa among people (difference {low_high}, {sizes})"
    if name == "agreement_difference":
        side = "below" if figure.value < 0 else "above"
        return (
            f"people always agree; the judge's agreement with them is {percent(abs(figure.value))} {side} theirs for {sizes} "
            f"(difference {interval(claim, figure, write=percent)})"
        )
    shift = 0.5 if name == "position_bias" else 0.0
    share = percent(figure.value + shift)
    low_high = interval(claim, figure, write=lambda value: percent(value + shift))
    rules = {
        "invalid_share": ("of {n} gave no verdict", f"at most {percent(MAX_INVALID)} allowed"),
        "order_consistency": ("of {n} have the same verdict in both orders", f"at least {percent(MIN_CONSISTENCY)} required"),
        "position_bias": (
            "of {n} favour the answer shown first",
            f"{percent(0.5 - MAX_POSITION_BIAS)} to {percent(0.5 + MAX_POSITION_BIAS)} allowed",
        ),
        "tie_share": ("of {n} are ties", f"at most {percent(MAX_TIES)} allowed"),
        "longer_preferred": ("of {n} with a preference favour the longer answer", f"at most {percent(MAX_LONGER)} allowed"),
        "same_reading": ("of {n} have the same reading", f"at most {percent(MAX_SAME_READING)} allowed"),
    }
    finding, rule = rules[name]
    return f"{share} {finding.format(n=sizes)} ({low_high}; {rule})"


def _other_checks(claim: Claim, names: Names) -> list[str]:
    """Return the checks after the first, each a line."""
    lines = [check_sentence(claim, figure) for figure in claim.figures[1:] if figure.role != "kappa_difference" or figure.value is not None]
    return [line[:1].upper() + line[1:] for line in lines]


def _judge(head: str) -> Callable[[Claim, Names], str]:
    """Return a sentence that begins with `head` and ends with the first check."""

    def sentence(claim: Claim, names: Names) -> str:
        begin = head.format(judge=claim.run, criterion=names.key(claim.key))
        return f"{begin}: {check_sentence(claim, claim.figures[0])}" if claim.figures else begin

    return sentence


def _too_few(claim: Claim, names: Names) -> str:
    head = f"Too few data to decide whether judge {claim.run} is usable for {names.key(claim.key)}"
    few = [figure for figure in claim.figures if (figure.n or 0) < MIN_ANSWERS]
    if few:
        counts = [f"{figure.role.replace('_', ' ')} is based on {count(figure.n or 0, figure.unit or 'answer')}" for figure in few]
        return f"{head}: {listed(counts)}, but {MIN_ANSWERS} are required"
    checks = listed([figure.role.replace("_", " ") for figure in claim.figures])
    return f"{head}: its verdicts do not show that it meets the thresholds for {checks}; judge more answers"


def _not_validated(claim: Claim, names: Names) -> str:
    shared = claim.figure("kappa_difference")
    if "no-codings" in claim.notes:
        reason = "no sample has been coded by people"
    elif "margin-not-shown" in claim.notes:
        by_kappa = shared is not None and shared.value is not None
        measure, margin = ("kappa", number(KAPPA_MARGIN)) if by_kappa else ("agreement", percent(AGREEMENT_MARGIN))
        reason = f"the codings do not show that its {measure} with people is at most {margin} lower than theirs; code more answers"
    else:
        answers = count(0 if shared is None else shared.n or 0, "answer")
        reason = (
            f"the comparison with people is undetermined ({answers} rated by the judge and two coders; {MIN_ANSWERS} of 5 items required)"
        )
    return f"Judge {claim.run} passes the checks of its own verdicts for {names.key(claim.key)}, but is not validated: {reason}"


def _too_few_details(claim: Claim, names: Names) -> list[str]:
    lines = [check_sentence(claim, figure) for figure in claim.figures if (figure.n or 0) >= MIN_ANSWERS]
    return [line[:1].upper() + line[1:] for line in lines]


def _not_validated_details(claim: Claim, names: Names) -> list[str]:
    shown = "margin-not-shown" in claim.notes
    lines = [check_sentence(claim, figure) for figure in claim.figures if shown or figure.role != "kappa_difference"]
    return [line[:1].upper() + line[1:] for line in lines]


def _own_answers(claim: Claim, names: Names) -> str:
    runs = listed([names.run(run) for run in claim.notes])
    return f"Judge {claim.run} judges its own answers ({runs}); models tend to prefer their own text"


def _shared_base(claim: Claim, names: Names) -> str:
    runs = listed([names.run(run) for run in claim.notes])
    return f"Judge {claim.run} has the same base model as the writer of {runs}; models tend to prefer text like their own"


def _judge_of(claim: Claim) -> str:
    judge = claim.figure("judge")
    return "" if judge is None or judge.label is None else judge.label


def _win_rate(claim: Claim, names: Names) -> str:
    run, other = names.run(claim.run), names.run(claim.against)
    figure = f"win rate {percent(claim.estimate.value or 0.0)} ({interval(claim, write=percent)})"
    criterion = names.key(claim.key)
    if claim.strength is Strength.SHOWN:
        first, second = (run, other) if claim.direction == "better" else (other, run)
        return f"{first} is preferred to {second} on {criterion}: {figure} of {run}, judged by {_judge_of(claim)}"
    return f"The data do not show a preference between {run} and {other} on {criterion}: {figure} of {run}, judged by {_judge_of(claim)}"


def _write(metric: str | None) -> Callable[[float], str]:
    return number if metric == "place" else percent


def _corrected(claim: Claim, names: Names) -> str:
    write, value = _write(claim.metric), claim.estimate.value
    about = names.run(claim.run) if claim.against is None else f"{names.run(claim.run)} against {names.run(claim.against)}"
    found = "undefined" if value is None else f"{write(value)} ({interval(claim, write=write)})"
    metric = _METRICS[claim.metric or ""]
    return f"{about}, {names.key(claim.key)}: {metric} {found} after correction for the errors of judge {_judge_of(claim)}"


def _corrected_details(claim: Claim, names: Names) -> list[str]:
    judge = claim.figure("judge")
    if judge is None or judge.value is None:
        return []
    coded = f"{count(claim.estimate.n or 0, 'answer')} of {judge.n or 0:,} coded by people"
    return [f"The judge alone gives {_write(claim.metric)(judge.value)}; {coded}", *_coders(claim)]


def _coders(claim: Claim) -> list[str]:
    """Return what the interval says about other coders."""
    coders = claim.figure("coders")
    if coders is None or coders.n is None:
        return []
    if coders.n == 1:
        return ["The interval is about this one coder; others may be more or less lenient"]
    return [f"The interval covers differences between coders like these {coders.n}"]


def _corrected_difference(claim: Claim, names: Names) -> str:
    run, other, value = names.run(claim.run), names.run(claim.against), claim.estimate.value or 0.0
    reference = claim.figure("reference")
    against = "" if reference is None or reference.label is None else f" against {names.run(reference.label)}"
    figure = f"{points(value)} points ({interval(claim, write=points)})"
    after = f"after correction for the errors of judge {_judge_of(claim)}"
    about = f"win rate{against} on {names.key(claim.key)}"
    if claim.strength is Strength.SHOWN:
        higher, lower = (run, other) if value > 0 else (other, run)
        return f"{higher} has a higher {about} than {lower}: {run} minus {other} is {figure} {after}"
    if claim.estimate.low is None:
        return f"The codings are too few to compare the {about} of {run} and {other}: the difference is {points(value)} points {after}"
    return f"The data do not show a difference in {about} between {run} and {other}: {figure} {after}"


def _corrected_difference_details(claim: Claim, names: Names) -> list[str]:
    judge = claim.figure("judge")
    return [] if judge is None or judge.value is None else [f"The judge alone gives {points(judge.value)} points", *_coders(claim)]


def _closed_vs_open(claim: Claim, names: Names) -> str:
    doubt = "" if claim.strength is Strength.SHOWN else f"Not to be used, because judge {_judge_of(claim)} is not usable for stances: "
    kappa = claim.figure("kappa")
    beyond = "" if kappa is None or kappa.value is None else f", weighted kappa {number(kappa.value, 2)}"
    share = f"{percent(claim.estimate.value or 0.0)} of pairs ({interval(claim, write=percent)}{beyond})"
    return f"{doubt}{names.run(claim.run)} chooses the option that it expresses in its own words in {share}, read by {_judge_of(claim)}"


def _missing(claim: Claim, names: Names) -> str:
    return f"{names.run(claim.run)}: " + listed(
        [f"{percent(figure.value or 0.0)} of answers {_MISSING[figure.role]}" for figure in claim.figures]
    )


def _restates(claim: Claim, names: Names) -> str:
    return (
        f"{names.run(claim.run)}: {percent(claim.estimate.value or 0.0)} of answers restate the persona ({interval(claim, write=percent)})"
    )


def _wording(claim: Claim, names: Names) -> str:
    attributes = listed([names.key(note) for note in claim.notes])
    heads = {
        Strength.SHOWN: f"the wording differs by {attributes}",
        Strength.NOT_SHOWN: f"the data do not show that the wording differs by {attributes}",
        Strength.UNDETERMINED: f"too few questions to tell whether the wording differs by {attributes}",
    }
    return f"{names.run(claim.run)}: {heads[claim.strength]}"


def _wording_details(claim: Claim, names: Names) -> list[str]:
    across, elsewhere = claim.figure("across"), claim.figure("elsewhere")
    if across is None or across.value is None:
        return []
    other = "" if elsewhere is None or elsewhere.value is None else f", to different questions {number(elsewhere.value, 2)}"
    return [f"Mean similarity of different subgroups' answers to one question {number(across.value, 2)}{other}"]


JUDGES: Mapping[str, ClaimTemplate] = {
    "not-usable": ClaimTemplate(_judge("Judge {judge} is not usable for {criterion}"), _other_checks),
    "too-few-data": ClaimTemplate(_too_few, _too_few_details),
    "not-validated": ClaimTemplate(_not_validated, _not_validated_details),
    "usable": ClaimTemplate(_judge("Judge {judge} is usable for {criterion}"), _other_checks),
    "own-answers": ClaimTemplate(_own_answers),
    "shared-base": ClaimTemplate(_shared_base),
}
OPEN: Mapping[str, ClaimTemplate] = {
    "win-rate": ClaimTemplate(_win_rate),
    "corrected": ClaimTemplate(_corrected, _corrected_details),
    "corrected-difference": ClaimTemplate(_corrected_difference, _corrected_difference_details),
    "closed-vs-open": ClaimTemplate(_closed_vs_open),
    "missing-answers": ClaimTemplate(_missing),
    "restates-persona": ClaimTemplate(_restates),
    "wording": ClaimTemplate(_wording, _wording_details),
}
