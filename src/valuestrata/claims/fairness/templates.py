"""Templates of the claims of an audit: missing answers, spreads and subgroups; and all kinds together."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.fairness.phrases import all_of, amount, baseline_of, counted, gain, metric_of, score, template, units_of
from valuestrata.claims.fairness.templates_changes import CHANGES
from valuestrata.claims.fairness.templates_gaps import GAPS, happens
from valuestrata.claims.wording import ClaimTemplate, Names, interval, margin_of
from valuestrata.fairness.tables.rows import RATES
from valuestrata.formatting import capital, count, level, number, percent, size

SD_NOTE = "SD is the standard deviation of their scores without noise"
LABELS = {"norm_range": "normalised range", "cv": "CV"}


def _share(claim: Claim, role: str) -> str:
    figure = claim.figure(role)
    return percent(None if figure is None else figure.value)


# Answers.


def _missing(claim: Claim, names: Names) -> str:
    parts = f"{_share(claim, 'refused')} refused, {_share(claim, 'invalid')} unreadable or failed"
    return f"{percent(claim.estimate.value)} of the answers are missing and count as wrong ({parts})"


def _missing_details(claim: Claim, names: Names) -> list[str]:
    return ["Gaps therefore reflect non-response as well as accuracy"] if claim.kind == "mostly-missing" else []


def _incomplete(claim: Claim, names: Names) -> str:
    of = claim.figure("part")
    pairs = "" if of is None else f" ({claim.estimate.pairs:,} of {of.pairs:,})"
    return f"Only {percent(claim.estimate.value)} of the pairs were asked{pairs}; the others are not audited"


def _not_a_test(claim: Claim, names: Names) -> str:
    return f"Differences between subgroups are not tested: it was trained on {claim.notes[0]}"


def _no_baseline(claim: Claim, names: Names) -> str:
    return f"No cheap baseline was scored; gaps in {metric_of(claim)} cannot be compared with those of a baseline"


def _not_looked_at(claim: Claim, names: Names) -> str:
    return f"{percent(claim.estimate.value)} of the answers are {happens(claim)}; audit {claim.metric} to see for whom"


def _cannot_be_judged(claim: Claim, names: Names) -> str:
    reason, *rest = claim.notes
    metric = metric_of(claim)
    return {
        "undefined": lambda: f"Cannot be computed: {rest[0]} of {metric} over {rest[1]} ({rest[2]})",
        "no-null": lambda: f"Differences in {metric} between {units_of(claim)} cannot be tested: there is no null distribution",
        "no-rest": lambda: f"No subgroup could be tested against the rest of its stratum in {metric}",
        "untested-gaps": lambda: f"{count(claim.estimate.n, 'gap')} in {metric} between levels of {rest[0]} cannot be tested: {rest[1]}",
        "no-change": lambda: f"{capital(metric)} cannot be compared with {names.run(claim.against)}: {rest[0]}",
    }[reason]()


def _pulled(claim: Claim, names: Names) -> str:
    figure = claim.estimate
    share = f"{percent(figure.value)} of wrong answers are the nation's usual answer ({interval(claim, write=percent)})"
    return f"{share}, against {percent(figure.expected)} of people's unusual answers"


def _pulled_details(claim: Claim, names: Names) -> list[str]:
    wrong = claim.figure("wrong")
    lines = [] if wrong is None else [f"Based on {count(wrong.n, 'wrong answer')}"]
    return [*lines, "An unusual answer differs from the usual one of the subgroup", "The interval counts all errors on an item as one"]


def _ratio(claim: Claim, names: Names) -> str:
    more = "less" if claim.kind == "flattened" else "more"
    ratio = f"spread ratio {number(claim.estimate.value)} ({interval(claim, write=number)})"
    return f"Answers differ {more} between levels of {claim.key} than people do: {ratio}"


def _ratio_details(claim: Claim, names: Names) -> list[str]:
    noise = ", without noise" if claim.kind == "flattened" else "; random errors raise it as well"
    return [f"The ratio is 1 where answers differ as much as people{noise}", "Each attribute is tested alone"]


# Spread.


def _spread(claim: Claim, names: Names) -> str:
    largest = "largest " if claim.figure("population") else ""
    differ = f"{capital(metric_of(claim))} differs between {units_of(claim)} beyond noise"
    alike = f"No difference in {metric_of(claim)} detected between {units_of(claim)}"
    if claim.strength is Strength.WITHIN_MARGIN:
        alike = f"Differences in {metric_of(claim)} between {units_of(claim)} are shown to have an SD below {margin_of(claim)}"
    return f"{differ if claim.kind == 'differ' else alike}: {largest}SD {amount(claim)}"


def _spread_details(claim: Claim, names: Names) -> list[str]:
    lines = [SD_NOTE, *([f"Computed over {claim.notes[0]}"] if claim.notes else [])]
    if baseline := claim.figure("baseline"):
        lines.append(f"{baseline_of(baseline, names)} has an SD of {amount(claim, baseline)}")
    return lines


def _paper(claim: Claim, names: Names) -> str:
    beyond = [LABELS[name] for name in LABELS if name in claim.notes[1:]]
    named = capital(" and ".join(beyond or LABELS.values()))
    verb = ("exceeds" if len(beyond) == 1 else "exceed") if beyond else "do not exceed"
    figures = {"range": claim.figure("norm_range"), "CV": claim.estimate}
    values = [f"{name} {number(one.value)} (noise alone {number(one.expected)})" for name, one in figures.items() if one]
    return f"{named} of {metric_of(claim)} {verb} noise: {', '.join(values)}"


def _cv(claim: Claim, figure: Figure) -> str:
    return f"CV {number(figure.value)} (noise alone {number(figure.expected)})"


def _paper_details(claim: Claim, names: Names) -> list[str]:
    return [f"Published {LABELS[one.label or 'cv']}: {number(one.value)}" for one in all_of(claim, "published")]


# Subgroups.


def _subgroup(claim: Claim, names: Names) -> str:
    rest = claim.figure("rest")
    difference = 0.0 if rest is None or rest.value is None else rest.value
    is_rate = claim.metric in RATES
    words = ("more", "less") if is_rate else ("worse", "better")
    apart = f"{size(claim.metric or '', abs(difference))} {words[difference > 0]} than the rest"
    figures = f"{metric_of(claim)} {score(claim)}, {apart}"
    what = f"{happens(claim)} more often" if is_rate else "served worse"
    if claim.key:
        return f"{names.key(claim.key)} is {what} than the rest: {figures}"
    return f"No subgroup detected that is {what} than the rest; closest is {names.key(claim.estimate.label)}: {figures}"


def _subgroup_details(claim: Claim, names: Names) -> list[str]:
    figure, metric = claim.estimate, claim.metric or ""
    lines = ["The rest is that of its stratum"]
    if figure.expected_low is not None and figure.expected_high is not None:
        lines.append(f"Usual range if all were served alike: {level(metric, figure.expected_low)} to {level(metric, figure.expected_high)}")
    if figure.low is None:
        lines.append(f"Too few pairs for an interval ({figure.pairs})")
    if claim.figure("refused"):
        shares = f"{_share(claim, 'refused')} of its answers are refused, {_share(claim, 'invalid')} unreadable or failed"
        lines.append(f"{shares}; they count as wrong")
    if (baseline := claim.figure("baseline")) and baseline.value is not None:
        lines.append(f"{baseline_of(baseline, names)} is {gain(claim, baseline).partition(' (')[0]} there than on the rest")
    if untested := counted(claim, "untested", "subgroup"):
        lines.append(f"{untested} could not be tested")
    return lines


MISSING = template(_missing, _missing_details)
SPREAD = template(_spread, _spread_details)
PAPER = template(_paper, _paper_details, _cv, expected=False)
RATIO = template(_ratio, _ratio_details, expected=False)
SUBGROUP = template(_subgroup, _subgroup_details, score)

FAIRNESS: Mapping[str, ClaimTemplate] = {
    "not-a-test": template(_not_a_test),
    **dict.fromkeys(("mostly-missing", "many-missing"), MISSING),
    "incomplete": template(_incomplete),
    "no-baseline": template(_no_baseline),
    "cannot-be-judged": template(_cannot_be_judged),
    "missing-not-looked-at": template(_not_looked_at),
    "pulled-to-nation": template(_pulled, _pulled_details, expected=False),
    **dict.fromkeys(("flattened", "exaggerated"), RATIO),
    **dict.fromkeys(("differ", "alike"), SPREAD),
    **dict.fromkeys(("paper-figures-beyond-noise", "paper-figures-noise"), PAPER),
    **dict.fromkeys(("served-worse", "nobody-shown-worse", "missing-concentrated", "missing-not-concentrated"), SUBGROUP),
    **GAPS,
    **CHANGES,
}
