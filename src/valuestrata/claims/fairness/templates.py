"""Templates of the claims of an audit: spreads, subgroups, gaps between levels, missing answers and changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from valuestrata.claims.claim import Claim, Figure
from valuestrata.claims.wording import ClaimTemplate, Names, interval, listed, magnitude, score_of
from valuestrata.formatting import count, level, number, percent, size, title

NOT_EQUALITY = "(this does not show equality)"
UNEVEN = "Some cells are missing, so the levels also differ in their other attributes; see their gaps"


def _who(claim: Claim) -> str:
    return "the subgroups" if claim.by == "all" else f"the levels of {claim.key}"


def _metric(claim: Claim) -> str:
    return title(claim.metric or "")


def _baseline(name: str | None, names: Names) -> str:
    return f"the baseline {names.run(name).removeprefix('baseline-')}"


def _share(claim: Claim, role: str) -> str:
    figure = claim.figure(role)
    return percent(None if figure is None else figure.value)


def _score_interval(claim: Claim) -> str:
    """Write the interval of a score: ` (95 % CI 30.0 % to 50.0 %)`; empty without one."""
    figure = claim.estimate
    return f" ({interval(claim, figure, write=lambda end: level(figure.metric or '', end))})" if figure.low is not None else ""


def _noise(claim: Claim) -> str:
    """Write the mean size that noise alone gives: `; noise alone gives 2.4 points`."""
    figure = claim.estimate
    return "" if figure.expected is None else f"; noise alone gives {size(figure.metric or '', figure.expected)} on average"


# Missing answers and what was asked.


def _missing(claim: Claim, names: Names) -> str:
    parts = f"{_share(claim, 'refused')} refused, {_share(claim, 'invalid')} unreadable or failed"
    end = ", so gaps reflect non-response as well as accuracy" if claim.kind == "mostly-missing" else ""
    return f"{percent(claim.estimate.value)} of the answers are missing ({parts}) and count as wrong{end}"


def _incomplete(claim: Claim, names: Names) -> str:
    of = claim.figure("part")
    pairs = "" if of is None else f" ({claim.estimate.pairs:,} of {of.pairs:,})"
    return f"Only {percent(claim.estimate.value)} of the pairs were asked{pairs}, so the audit may not represent this part of the split"


def _no_baseline(claim: Claim, names: Names) -> str:
    return f"No cheap baseline was scored, so it is unknown how much of any gap in {_metric(claim)} an answer without a model shows too"


def _not_looked_at(claim: Claim, names: Names) -> str:
    what = "refused" if claim.metric == "refusal_rate" else "unreadable or failed"
    share = percent(claim.estimate.value)
    return f"{share} of the answers are {what}, but it was not examined for whom; audit the metric {claim.metric} as well"


def _cannot_be_judged(claim: Claim, names: Names) -> str:
    reason, *rest = claim.notes
    metric = _metric(claim)
    if reason == "undefined":
        return f"Cannot be computed: {rest[0]} of {metric} over {rest[1]} ({rest[2]})"
    if reason == "no-null":
        return f"It cannot be tested whether {_who(claim)} differ in {metric}: there is no null distribution"
    if reason == "no-rest":
        return f"No subgroup could be tested against the rest of its stratum in {metric}"
    if reason == "untested-gaps":
        number_of = count(claim.estimate.n, "gap")
        return f"{number_of} in {metric} between levels of {rest[0]} cannot be tested: {rest[1]}"
    return f"{metric[0].upper()}{metric[1:]} cannot be compared with {names.run(claim.against)}: {rest[0]}"


# Spread.


def _spread_of(claim: Claim, figure: Figure) -> str:
    """Write a spread with noise removed: `3.2 points (95 % CI 1.1 to 5.3; noise alone gives .9)`."""
    return f"{magnitude(figure)} ({interval(claim, figure)}{_noise(claim) if figure is claim.estimate else ''})"


def _differ(claim: Claim, names: Names) -> str:
    spread = f"standard deviation without noise {_spread_of(claim, claim.estimate)}"
    return f"{_capital(_who(claim))} differ beyond noise in {_metric(claim)}: {spread}"


def _differ_details(claim: Claim, names: Names) -> list[str]:
    lines = [*_upper(claim), f"Computed over {claim.notes[0]}"]
    if baseline := claim.figure("baseline"):
        lines.append(f"{_capital(_baseline(baseline.label, names))} has a spread of {_spread_of(claim, baseline)}")
    return [*lines, *([UNEVEN] if "uneven" in claim.notes else [])]


def _upper(claim: Claim) -> list[str]:
    figure = claim.estimate
    if figure.expected_high is None:
        return []
    once = f"{percent(1 - claim.confidence)} of audits"
    return [f"Noise alone gives more than {size(figure.metric or '', figure.expected_high)} in {once}"]


def _alike(claim: Claim, names: Names) -> str:
    what = f"No difference between {_who(claim)} beyond noise was detected in {_metric(claim)} {NOT_EQUALITY}"
    largest = "largest " if claim.figure("population") else ""
    return f"{what}: {largest}standard deviation without noise {_spread_of(claim, claim.estimate)}"


def _paper(claim: Claim, names: Names) -> str:
    beyond = claim.notes[1:]
    labels = {"cv": "CV", "norm_range": "normalised range"}
    if len(beyond) == 2:
        head = f"Normalised range and CV of {_metric(claim)} are larger than noise alone gives"
    elif beyond:
        head = f"Of the normalised range and the CV of {_metric(claim)}, only the {labels[beyond[0]]} is larger than noise alone gives"
    else:
        head = f"Normalised range and CV of {_metric(claim)} are not larger than noise alone gives"
    figures = [claim.figure("norm_range"), claim.estimate]
    texts = [
        f"{name} {number(one.value)} (noise {number(one.expected)})"
        for name, one in zip(("range", "CV"), figures, strict=True)
        if one is not None
    ]
    return f"{head}: {', '.join(texts)}"


def _paper_details(claim: Claim, names: Names) -> list[str]:
    published = [one for one in claim.figures if one.role == "published"]
    return [f"Published {'CV' if one.label == 'cv' else 'range'}: {number(one.value)}" for one in published]


# Subgroups and intersections.


def _against_rest(claim: Claim, names: Names) -> str:
    """Write a subgroup against the rest: `accuracy 40.0 % (CI), 20.0 points worse than the rest of its stratum`."""
    rest = claim.figure("rest")
    gain = 0.0 if rest is None or rest.value is None else rest.value
    words = ("more", "less") if claim.metric in ("refusal_rate", "invalid_rate") else ("worse", "better")
    apart = size(claim.metric or "", abs(gain))
    return f"{_metric(claim)} {score_of(claim.estimate)}{_score_interval(claim)}, {apart} {words[gain > 0]} than the rest of its stratum"


def _served_worse(claim: Claim, names: Names) -> str:
    return f"{names.key(claim.key)} is served worse than the rest: {_against_rest(claim, names)}"


def _nobody_worse(claim: Claim, names: Names) -> str:
    head = f"No subgroup was found to be served worse than the rest in {_metric(claim)} {NOT_EQUALITY}"
    return f"{head}; closest is {names.key(claim.estimate.label)}: {_against_rest(claim, names)}"


def _happens(claim: Claim) -> str:
    return "refused" if claim.metric == "refusal_rate" else "left without a readable answer"


def _missing_concentrated(claim: Claim, names: Names) -> str:
    return f"{names.key(claim.key)} is {_happens(claim)} more often than the rest: {_against_rest(claim, names)}"


def _missing_not_concentrated(claim: Claim, names: Names) -> str:
    head = f"No subgroup was found to be {_happens(claim)} more often than the rest {NOT_EQUALITY}"
    return f"{head}; closest is {names.key(claim.estimate.label)}: {_against_rest(claim, names)}"


def _group_details(claim: Claim, names: Names) -> list[str]:
    figure, metric, lines = claim.estimate, claim.metric or "", list[str]()
    if figure.expected_low is not None and figure.expected_high is not None:
        lines.append(f"Usual range if all were served alike: {level(metric, figure.expected_low)} to {level(metric, figure.expected_high)}")
    if figure.low is None:
        lines.append(f"Too few pairs for an interval ({figure.pairs})")
    if claim.figure("refused"):
        missing = f"{_share(claim, 'refused')} of its answers are refused and {_share(claim, 'invalid')} unreadable or failed"
        lines.append(f"{missing}; they count as wrong")
    if (baseline := claim.figure("baseline")) and baseline.value is not None:
        way = "better" if baseline.value > 0 else "worse"
        lines.append(f"{_capital(_baseline(baseline.label, names))} is {magnitude(baseline)} {way} there than on its rest")
    untested = next((note.split()[1] for note in claim.notes if note.startswith("untested ")), None)
    return [*lines, *([f"{count(int(untested), 'subgroup')} could not be tested"] if untested else [])]


def _cell(claim: Claim, names: Names) -> str:
    score, predicted = claim.figure("score"), claim.figure("predicted")
    assert score is not None
    assert predicted is not None
    way = "better" if (claim.estimate.value or 0.0) > 0 else "worse"
    text = f"{_metric(claim)} {score_of(score)} instead of {score_of(predicted)}"
    return f"{text}, {magnitude(claim.estimate)} {way} ({interval(claim)} for the gain)"


def _intersection(claim: Claim, names: Names) -> str:
    way = claim.kind.removeprefix("intersection-")
    shifted = "; a larger opposite deviation in the same stratum shifts this estimate" if claim.notes else ""
    return f"{names.key(claim.key)} is served {way} than its levels predict: {_cell(claim, names)}{shifted}"


def _intersection_details(claim: Claim, names: Names) -> list[str]:
    return [f"The larger opposite deviation is that of {names.key(claim.notes[1])}"] if claim.notes else []


def _no_intersection(claim: Claim, names: Names) -> str:
    head = f"No cell was found to be served differently from what its levels predict in {_metric(claim)} {NOT_EQUALITY}"
    return f"{head}; closest is {names.key(claim.estimate.label)}: {_cell(claim, names)}"


def _screened(claim: Claim, names: Names) -> list[str]:
    found = next((note.split()[1] for note in claim.notes if note.startswith("screened ")), None)
    rate = percent(1 - claim.confidence)
    return [f"Screening at a false discovery rate of {rate} selects {count(int(found), 'cell')}"] if found else []


# Gaps between levels.

# What remains of a gap -> end of the sentence.
GAP_ENDS: Mapping[str, str] = {
    "gap-remains": "; the gap remains relative to the baseline and at equal difficulty",
    "gap-explained": "; the baseline's gap or difficulty may explain it",
    "gap-composition": "; other attributes of their cells may explain it",
    "gap-turned": "; accounting for the baseline or for difficulty reverses it",
    "gap-unclear": "; how much of it is due to the model is undetermined",
}
LEFT: Mapping[str, str] = {
    "remains": "remain",
    "alone": "remain, but not after correction for multiple tests",
    "explained": "remain, which may be zero and is less than the gap",
    "turned": "remain, in the opposite direction",
    "untold": "remain, which may be zero or the whole gap",
}
MISSING_ENDS: Mapping[str, str] = {
    "missing-uneven": "",
    "missing-composition": "; other attributes of their cells may explain it",
    "missing-unclear": "; whether other attributes of their cells explain it is undetermined",
}


def _levels(claim: Claim) -> tuple[str, str, str]:
    attribute, _, key = (claim.key or "").partition("=")
    return attribute, key, (claim.against or "").partition("=")[2]


def _gap(claim: Claim, names: Names) -> str:
    attribute, better, worse = _levels(claim)
    value = claim.estimate.value or 0.0
    within = f"({interval(claim)})"
    if claim.kind == "gap-hidden":
        raw = f"the raw gap in {_metric(claim)} is {magnitude(claim.estimate)} {'better' if value >= 0 else 'worse'} {within}"
        return f"Better for {better} than for {worse} ({attribute}) relative to the baseline and at equal difficulty; {raw}, within noise"
    return (
        f"Better for {better} than for {worse} ({attribute}): {_metric(claim)} {magnitude(claim.estimate)} {within}{GAP_ENDS[claim.kind]}"
    )


def _gap_details(claim: Claim, names: Names) -> list[str]:
    headings = {"excess": "Relative to the baseline", "held": "With the other attributes held", "adjusted": "At equal difficulty"}
    lines: list[str] = []
    for figure in claim.figures:
        left = LEFT.get(figure.label or "")
        known = "unknown" if figure.value is None or left is None else f"{_signed(figure)} {left} ({interval(claim, figure)})"
        lines.append(f"{headings[figure.role]}: {known}")
    return lines


def _signed(figure: Figure) -> str:
    return size(figure.metric or "", figure.value or 0.0)


def _missing_level(claim: Claim, names: Names) -> str:
    attribute, more, less = _levels(claim)
    end = "; holding the other attributes reverses it" if "turned" in claim.notes else MISSING_ENDS[claim.kind]
    by = f"by {magnitude(claim.estimate)} ({interval(claim)})"
    return f"{more} is {_happens(claim)} more often than {less} ({attribute}), {by}{end}"


def _no_gap(claim: Claim, names: Names) -> str:
    figure = claim.estimate
    head = f"No gap between levels of {claim.key} beyond noise was detected in {_metric(claim)} {NOT_EQUALITY}"
    return f"{head}; the largest is {figure.label}, {_signed(figure)} ({interval(claim)}{_noise(claim)})"


def _no_gap_details(claim: Claim, names: Names) -> list[str]:
    together = listed(claim.notes) if claim.notes else ""
    return [f"The levels of {together} differ taken together, but no single gap is significant"] if together else []


def _underpowered(claim: Claim, names: Names) -> str:
    figure, smallest = claim.estimate, claim.figure("smallest")
    assert smallest is not None
    sizes = f"{magnitude(smallest)} ({smallest.label})"
    if smallest.label != figure.label:
        sizes += f" to {magnitude(figure)} ({figure.label})"
    power = f"only gaps of {sizes} or more are detected with 80\u00a0% power"
    return f"Gaps between levels of {claim.key} in {_metric(claim)} could be missed: {power}"


# How a run answers.


def _pulled(claim: Claim, names: Names) -> str:
    figure = claim.estimate
    share, within = percent(figure.value), interval(claim, write=percent)
    people = f"against {percent(figure.expected)} for people who differ from their subgroup's usual answer"
    return f"Wrong answers are pulled toward the national answer: {share} of them are the nation's usual answer ({within}), {people}"


def _pulled_details(claim: Claim, names: Names) -> list[str]:
    wrong = claim.figure("wrong")
    n = "" if wrong is None else f"Based on {count(wrong.n, 'wrong answer')}; "
    return [f"{n}the interval counts all errors on an item as one"]


def _ratio(claim: Claim, names: Names) -> str:
    head = f"Answers differ less between levels of {claim.key} than people do: spread ratio without noise"
    if claim.kind == "exaggerated":
        head = f"Answers differ more between levels of {claim.key} than people do, as random errors also cause: spread ratio"
    return f"{head} {number(claim.estimate.value)} ({interval(claim, write=number)}; 1 means as much as people)"


# Changes against another run.


def _overall(claim: Claim, names: Names) -> str:
    figure, against = claim.estimate, names.run(claim.against)
    way = "better" if (figure.value or 0.0) >= 0 else "worse"
    if claim.kind == "no-change":
        head = f"No difference from {against} over all pairs was detected {NOT_EQUALITY}"
    else:
        head = f"{_capital(claim.kind)} than {against} over all pairs"
    return f"{head}: {_metric(claim)} {magnitude(figure)} {way} ({interval(claim)})"


def _pareto(head: str) -> ClaimTemplate:
    """Return the template of who gained and who lost; `{who}` stands for the units."""

    def sentence(claim: Claim, names: Names) -> str:
        numbers = {role: figure.n or 0 for role in ("gained", "lost", "units") if (figure := claim.figure(role))}
        units = "subgroups" if claim.by == "all" else f"levels of {claim.key}"
        undetermined = numbers["units"] - numbers["gained"] - numbers["lost"]
        counts = f"{numbers['gained']} improved, {numbers['lost']} worsened, {undetermined} undetermined of {numbers['units']}"
        return f"Compared with {names.run(claim.against)}, {_metric(claim)} is {head.format(who=units)}: {counts}"

    def sentence_none(claim: Claim, names: Names) -> str:
        text = sentence(claim, names).rpartition(": ")[2]
        units = "subgroup" if claim.by == "all" else f"level of {claim.key}"
        return f"No {units} was found to differ from {names.run(claim.against)} in {_metric(claim)} {NOT_EQUALITY}: {text}"

    return ClaimTemplate(sentence if head else sentence_none, _pareto_details, _other_units, expected=False)


def _pareto_details(claim: Claim, names: Names) -> list[str]:
    lines: list[str] = []
    for role, word in (("loser", "Worsened"), ("winner", "Improved most")):
        named = [one for one in claim.figures if one.role == role]
        if named:
            lost = claim.figure("lost")
            more = 0 if role == "winner" or lost is None else (lost.n or 0) - len(named)
            lines.append(f"{word}: {', '.join(_unit(claim, one, names) for one in named)}{f' and {more} more' if more > 0 else ''}")
    if noise := claim.figure("noise"):
        lines.append(f"Noise moves a single score by up to {magnitude(noise)} either way")
    return [*lines, *([UNEVEN] if "uneven" in claim.notes else [])]


def _unit(claim: Claim, figure: Figure, names: Names) -> str:
    label = figure.label or ""
    name = names.keys.get(label) or label.partition("=")[2] or label
    return f"{name} {magnitude(figure)} {'better' if (figure.value or 0.0) >= 0 else 'worse'} ({interval(claim, figure)})"


def _levelled_down(claim: Claim, names: Names) -> str:
    before, after, loser = (claim.figure(role) for role in ("before", "after", "loser"))
    assert before is not None
    assert after is not None
    units = "the subgroups" if claim.by == "all" else f"the levels of {claim.key}"
    lost = "" if loser is None else f", {_unit(claim, loser, names)}"
    fell = f"the range of {_metric(claim)} over {units} fell from {magnitude(before)} to {magnitude(after)}"
    return f"Levelling down against {names.run(claim.against)}: {fell} while the best-served lost{lost}"


def _levelled_details(claim: Claim, names: Names) -> list[str]:
    lines = ["The fall of the range itself is within noise"] if "range-not-shown" in claim.notes else []
    return [*lines, *_noise_before_after(claim, "range", ""), *([UNEVEN] if "uneven" in claim.notes else [])]


def _noise_before_after(claim: Claim, what: str, name: str) -> list[str]:
    before, after = (claim.figure(f"{name} {time}".strip()) for time in ("before", "after"))
    if before is None or after is None or before.expected is None or after.expected is None:
        return []
    return [f"Noise alone gives a {what} of {number(before.expected)} before and {number(after.expected)} after"]


def _spread_values(claim: Claim) -> str:
    texts: list[str] = []
    for name, what in (("", "standard deviation"), ("relative", "CV")):
        before, after = (claim.figure(f"{name} {time}".strip()) for time in ("before", "after"))
        if before is not None and after is not None:
            texts.append(f"{what} {number(before.value)} before, {number(after.value)} after")
    return f"{_metric(claim)} {'; '.join(texts)}"


def _spread_change(claim: Claim, names: Names) -> str:
    who, against, values = _who(claim), names.run(claim.against), _spread_values(claim)
    terms = [note for note in claim.notes if note in ("absolute", "relative")]
    only = f" in {terms[0]} terms only" if len(terms) == 1 else ""
    if claim.kind == "opposite-directions":
        beyond = f"; beyond noise: {listed(terms)}" if terms else "; neither beyond noise"
        return f"Absolute and relative spread of {who} moved in opposite directions against {against} ({values}{beyond})"
    if claim.kind in ("spread-narrower", "spread-wider"):
        closer = "closer together" if claim.direction == "narrower" else "further apart"
        return f"Compared with {against}, {who} are {closer}{only}: {values}"
    if claim.kind == "spread-moved-with-noise":
        return f"The spread of {who} {claim.direction} against {against}{only}, but a change of noise can explain it: {values}"
    return f"No change in the spread of {who} against {against} was detected {NOT_EQUALITY}: {values}"


def _spread_details(claim: Claim, names: Names) -> list[str]:
    lines = [*_noise_before_after(claim, "standard deviation", ""), *_noise_before_after(claim, "CV", "relative")]
    before, after = (claim.figure(f"corrected {time}") for time in ("before", "after"))
    if before is not None and after is not None:
        lines.append(f"Variance without noise: {number(before.value, 5)} before, {number(after.value, 5)} after")
    return [*lines, *([UNEVEN] if "uneven" in claim.notes else [])]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _other_gain(claim: Claim, figure: Figure) -> str:
    """Write a gain in another metric: `NMAE .034 better (95 % CI .010 to .058)`, with its label where it has one."""
    label = f"{figure.label}: " if figure.label else ""
    way = "better" if (figure.value or 0.0) >= 0 else "worse"
    return f"{label}{title(figure.metric or '')} {magnitude(figure)} {way} ({interval(claim, figure)})"


def _other_size(claim: Claim, figure: Figure) -> str:
    """Write a size without direction in another metric: a spread, a detectable gap."""
    label = f" ({figure.label})" if figure.label else ""
    return f"{title(figure.metric or '')} {_signed(figure)}{label} ({interval(claim, figure)})"


def _other_score(claim: Claim, figure: Figure) -> str:
    label = f" ({figure.label})" if figure.label else ""
    within = interval(claim, figure, write=lambda end: level(figure.metric or "", end))
    return f"{title(figure.metric or '')} {score_of(figure)}{label} ({within})"


def _other_cv(claim: Claim, figure: Figure) -> str:
    return f"{title(figure.metric or '')}: CV {number(figure.value)} (noise {number(figure.expected)})"


def _other_detectable(claim: Claim, figure: Figure) -> str:
    return f"{title(figure.metric or '')}: up to {magnitude(figure)} ({figure.label})"


def _other_change(claim: Claim, figure: Figure) -> str:
    return f"{title(figure.metric or '')}: change {number(figure.value)}"


def _other_units(claim: Claim, figure: Figure) -> str:
    return f"{title(figure.metric or '')}: improved minus worsened {percent(figure.value)} of them"


def _nothing(claim: Claim, names: Names) -> list[str]:
    return []


def _kinds(
    kinds: str,
    sentence: Callable[[Claim, Names], str],
    details: Callable[[Claim, Names], list[str]] = _nothing,
    other: Callable[[Claim, Figure], str] = _other_size,
    *,
    expected: bool = True,
) -> dict[str, ClaimTemplate]:
    return dict.fromkeys(kinds.split(), ClaimTemplate(sentence, details, other, expected))


FAIRNESS: Mapping[str, ClaimTemplate] = {
    **_kinds("mostly-missing many-missing", _missing),
    **_kinds("incomplete", _incomplete),
    **_kinds("no-baseline", _no_baseline),
    **_kinds("cannot-be-judged", _cannot_be_judged),
    **_kinds("differ", _differ, _differ_details, expected=False),
    **_kinds("alike", _alike, lambda claim, names: _upper(claim), expected=False),
    **_kinds("paper-figures-beyond-noise paper-figures-noise", _paper, _paper_details, _other_cv, expected=False),
    **_kinds("served-worse", _served_worse, _group_details, _other_score),
    **_kinds("nobody-shown-worse", _nobody_worse, _group_details, _other_score),
    **_kinds(f"{' '.join(GAP_ENDS)} gap-hidden", _gap, _gap_details, _other_gain),
    **_kinds("no-gap-shown", _no_gap, _no_gap_details, expected=False),
    **_kinds("underpowered", _underpowered, other=_other_detectable),
    **_kinds("missing-concentrated", _missing_concentrated, _group_details, _other_score),
    **_kinds("missing-not-concentrated", _missing_not_concentrated, _group_details, _other_score),
    **_kinds(" ".join(MISSING_ENDS), _missing_level, _gap_details),
    **_kinds("missing-not-looked-at", _not_looked_at),
    **_kinds("flattened exaggerated", _ratio, lambda claim, names: ["Each attribute is tested alone"], expected=False),
    **_kinds("pulled-to-nation", _pulled, _pulled_details, expected=False),
    **_kinds("intersection-worse intersection-better", _intersection, _intersection_details, _other_gain),
    **_kinds("no-intersection-shown", _no_intersection, _screened, _other_gain),
    **_kinds("better worse no-change", _overall, other=_other_gain),
    "better-for-all": _pareto("better for all {who}"),
    "better-for-some": _pareto("better for some {who} and worse for none"),
    "mixed": _pareto("better for some {who} and worse for others"),
    "worse-for-some": _pareto("worse for some {who} and better for none"),
    "worse-for-all": _pareto("worse for all {who}"),
    "no-change-shown": _pareto(""),
    **_kinds("levelled-down", _levelled_down, _levelled_details, _other_change, expected=False),
    **_kinds(
        "opposite-directions spread-narrower spread-wider spread-moved-with-noise spread-not-changed",
        _spread_change,
        _spread_details,
        _other_change,
        expected=False,
    ),
}
