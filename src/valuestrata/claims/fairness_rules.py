"""The rules behind the audit's verdict lines on one run: rows of its tables in, a sentence out. `docs/auditing.md` lists them.

Rows are those of the schemas in `audit.schema`, as dictionaries. An advantage is a difference turned so that positive is better for
the one named first, whatever the metric. Each line holds its figure, its interval, the pairs behind it and what noise alone gives.
Here are spreads, subgroups and intersections; `gap_sentences`, `answer_sentences` and `change_sentences` hold the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

from valuestrata.fairness.context import UNEVEN
from valuestrata.fairness.estimate.gaps import ROUNDING
from valuestrata.fairness.estimate.groups import FEW_PAIRS
from valuestrata.fairness.tables.rows import MANY_MISSING, RATES
from valuestrata.formatting import LOWER_IS_BETTER, count, ends, level, number, percent, size, title
from valuestrata.stats.multiple_testing import holm

Row = Mapping[str, Any]
# The claim of lines that can make none.
UNJUDGED = "cannot be judged"
# What is not shown is never called absent.
NO_PROOF = "which is no proof that there is none"


class Finding(NamedTuple):
    """One verdict: columns of AUDIT_VERDICTS that a rule decides; the sentence is `claim: figures`."""

    rule: str
    claim: str
    figures: str
    metric: str | None = None
    by: str | None = None
    key: str | None = None
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    alike: float | None = None
    alike_low: float | None = None
    alike_high: float | None = None
    p: float | None = None
    items: int | None = None
    pairs: int | None = None
    against: str | None = None

    @property
    def verdict(self) -> str:
        """The sentence."""
        return f"{self.claim}: {self.figures}"

    def columns(self) -> dict[str, Any]:
        """Return the columns, the sentence left aside."""
        return {name: value for name, value in self._asdict().items() if name != "figures"}


@dataclass(frozen=True)
class Manner:
    """How lines are written and when they claim.

    Attributes:
        confidence: of intervals; claims are made at 1 - confidence. names: subgroup -> how a reader calls it.
    """

    confidence: float
    names: Mapping[str, str]

    @property
    def alpha(self) -> float:
        """Level of the claims."""
        return 1 - self.confidence

    @property
    def once(self) -> str:
        """How often noise alone goes beyond its outer point: `once in 20` at a confidence of .95."""
        number_of = 1 / self.alpha
        whole = round(number_of)
        return f"once in {whole}" if abs(number_of - whole) < 1e-6 else f"in {percent(self.alpha)} of audits"

    def name(self, subgroup: str) -> str:
        """Name a subgroup."""
        return self.names.get(subgroup, subgroup)

    def interval(self, metric: str, low: float | None, high: float | None, of: str = "") -> str:
        """Write an interval of a difference or spread, `of` what where that is not plain, or that there is none."""
        if low is None or high is None:
            return "no interval"
        return f"{percent(self.confidence)} interval{f' of {of}' if of else ''} {ends(metric, low, high)}"

    def shown(self, p: float | None, difference: float | None = None) -> bool:
        """Whether a p-value, adjusted for its family, carries a claim; never about a difference that is mere rounding."""
        return p is not None and p <= self.alpha and (difference is None or abs(difference) > ROUNDING)


def p_of(value: float) -> str:
    """Write a p-value: `p = .013`, `p < .001`."""
    return "p < .001" if value < 0.001 else f"p = {number(value)}"


def turned(metric: str, difference: float) -> float:
    """Turn a difference so that positive is better."""
    return -difference if metric in LOWER_IS_BETTER else difference


def turned_ends(sign: float, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """Turn an interval by +1 or -1."""
    if low is None or high is None:
        return None, None
    return (low, high) if sign > 0 else (-high, -low)


def baseline_named(run: str) -> str:
    """Name a baseline by the name of its run, which mostly says already that it is one."""
    return f"the baseline {run.removeprefix('baseline-')}"


def corrected(family: int, noun: str) -> str:
    """Say for how many a p-value is corrected; nothing where there is one."""
    return f" corrected for {count(family, noun)}" if family > 1 else ""


def mean_of_noise(se: float) -> float:
    """Return the mean absolute difference that noise alone gives, of a normal variable with standard error `se`."""
    return sqrt(2 / pi) * se


def uneven(row: Row) -> str:
    """Say that levels differ in their other attributes, where a row of DISPARITY or CHANGES notes it."""
    return f"; {UNEVEN}" if UNEVEN in (row["note"] or "") else ""


def undefined(rows: Sequence[Row]) -> Finding | None:
    """Say which measures of one population and metric could not be worked out, and why."""
    lacking = [row for row in rows if row["value"] is None]
    if not lacking:
        return None
    first = lacking[0]
    names = ", ".join(row["measure"].replace("_", " ") for row in lacking)
    # What is said of the run stands behind the measure's own reason and has its own lines.
    reason = (first["note"] or "not known").split("; ")[0]
    text = f"{names} of {title(first['metric'])} over {first['population']}: {reason} ({count(first['pairs'], 'pair')})"
    return Finding("cannot-be-judged", UNJUDGED, text, first["metric"], first["by"], first["key"], pairs=first["pairs"])


def spread(row: Row, p: float | None, family: int, manner: Manner, baseline: Row | None = None) -> Finding | None:
    """Say whether subgroups, or levels, differ beyond noise.

    Args:
        row: of DISPARITY, measure spread_corrected. p: adjusted within the populations of the metric. family: how many these are.
        manner: of writing. baseline: the same row of the best cheap baseline, where there is one.
    """
    if row["value"] is None:
        return None
    if p is None:
        text = f"whether {_who(row)} differ in {title(row['metric'])}, for nothing says what noise alone gives"
        return _spread(row, "cannot-be-judged", UNJUDGED, f"{text} ({count(row['pairs'], 'pair')})", None)
    metric = row["metric"]
    inside = manner.interval(metric, row["ci_low"], row["ci_high"])
    figures = (
        f"spread of {title(metric)} with noise taken out {size(metric, row['value'])} ({inside}; "
        f"noise alone leaves {size(metric, row['alike'])} on average and more than {size(metric, row['alike_high'])} {manner.once}; "
        f"{p_of(p)}{corrected(family, 'population')}; {row['population']}; {count(row['items'], 'item')}, {count(row['pairs'], 'pair')})"
    )
    if manner.shown(p):
        aside = uneven(row)
        see = ": see their gaps" if aside else ""
        if baseline is not None and baseline["value"] is not None:
            theirs = manner.interval(metric, baseline["ci_low"], baseline["ci_high"])
            aside = f"; that of {baseline_named(baseline['run'])} is {size(metric, baseline['value'])} ({theirs}){aside}"
        return _spread(row, "differ", f"{_who(row)} differ beyond noise", f"{figures}{aside}{see}", p)
    return _spread(row, "alike", f"{_who(row)} are not distinguishable from all alike, which is no proof that they are", figures, p)


def levels_alike(rows: Sequence[tuple[Row, float | None]], family: int, manner: Manner) -> Finding | None:
    """Say of which attributes the levels are not shown to differ: rows of DISPARITY, measure spread_corrected, with adjusted p."""
    if not rows:
        return None
    metric = rows[0][0]["metric"]
    keys = ", ".join(row["key"] for row, _ in rows)
    figures = "; ".join(
        f"{row['key']} {size(metric, row['value'])} ({manner.interval(metric, row['ci_low'], row['ci_high'])}, noise alone "
        f"{size(metric, row['alike'])} on average and more than {size(metric, row['alike_high'])} {manner.once}, {p_of(p)}, "
        f"{count(row['subgroups'], 'level')}, {count(row['items'], 'item')}, {count(row['pairs'], 'pair')})"
        for row, p in rows
        if p is not None
    )
    claim = f"the levels of {keys} are not distinguishable from all alike, which is no proof that they are"
    text = f"spread of {title(metric)} with noise taken out: {figures}; p{corrected(family, 'population')}"
    nearest, p = min(rows, key=lambda pair: 1.0 if pair[1] is None else pair[1])
    return _spread(nearest, "alike", claim, text, p)._replace(key=keys)


def paper_figures(norm_range: Row, cv: Row, manner: Manner) -> Finding | None:
    """Place the published measures beside what noise alone gives."""
    rows = (norm_range, cv)
    if any(row["value"] is None or row["p"] is None for row in rows):
        return None
    adjusted = holm([row["p"] for row in rows])
    beyond = [row for row, p in zip(rows, adjusted, strict=True) if manner.shown(p)]
    head = {0: "are no more than noise alone can give", 1: f"are beyond noise only in {_short(beyond[0])}" if beyond else ""}
    figures = ", ".join(_beside_noise(row, p, manner) for row, p in zip(rows, adjusted, strict=True))
    rule = "paper-figures-beyond-noise" if beyond else "paper-figures-noise"
    claim = f"the paper's measures of {title(cv['metric'])} {head.get(len(beyond), 'are more than noise alone gives')}"
    text = f"{figures}, over {cv['population']} ({count(cv['pairs'], 'pair')}; p by Holm over both)"
    return _spread(cv, rule, claim, text, adjusted[1])


def _beside_noise(row: Row, p: float | None, manner: Manner) -> str:
    text = f"{_short(row)} {number(row['value'])} (noise alone {number(row['alike'])} on average and more than "
    text += f"{number(row['alike_high'])} {manner.once}" + ("" if p is None else f"; {p_of(p)}")
    if row["ci_low"] is not None:
        text += f"; {percent(manner.confidence)} interval {number(row['ci_low'])} to {number(row['ci_high'])}"
    return text + (f"; published {number(row['published'])})" if row["published"] is not None else ")")


def _short(row: Row) -> str:
    return {"norm_range": "norm. range", "cv": "CV"}[row["measure"]]


def _who(row: Row) -> str:
    return "the subgroups" if row["by"] == "all" else f"the levels of {row['key']}"


def _spread(row: Row, rule: str, claim: str, figures: str, p: float | None) -> Finding:
    return Finding(
        rule,
        claim,
        figures,
        row["metric"],
        row["by"],
        row["key"],
        row["value"],
        row["ci_low"],
        row["ci_high"],
        row["alike"],
        None,
        row["alike_high"],
        p,
        row["items"],
        row["pairs"],
    )


def worst_groups(rows: Sequence[Row], baseline: Mapping[str, Row], manner: Manner) -> list[Finding]:
    """Say who is served worse than the rest of its stratum, or that nobody is shown to be.

    Args:
        rows: of GROUPS, one run and metric. baseline: subgroup -> row of the best cheap baseline. manner: of writing.
    """
    tested = [row for row in rows if row["p_worst"] is not None]
    metric = rows[0]["metric"]
    if not tested:
        text = f"which subgroup has the worst {title(metric)}, for no subgroup could be tested against a rest"
        pairs = sum(row["pairs"] for row in rows)
        found = Finding("cannot-be-judged", UNJUDGED, f"{text} ({count(pairs, 'pair')})", metric, "subgroup")
        return [found._replace(pairs=pairs)]
    family = f"looking at {count(len(tested), 'subgroup')} together, max-T"
    untested = len(rows) - len(tested)
    aside = f"; {count(untested, 'subgroup')} could not be tested" if untested else ""
    claims = sorted((row for row in tested if row["worst"]), key=lambda row: row["p_worst"])
    if claims:
        return [
            group_line(row, "served-worse", f"{manner.name(row['subgroup'])} is served worse than the rest", family, baseline, manner)
            for row in claims
        ]
    # The one that comes nearest is named, so that nobody has to guess how near.
    nearest = min(tested, key=lambda row: row["p_worst"])
    head = f"no subgroup is shown to be served worse than the rest in {title(metric)}, {NO_PROOF}{aside}"
    head += f"; nearest is {manner.name(nearest['subgroup'])}"
    return [group_line(nearest, "nobody-shown-worse", head, family, baseline, manner)]


def group_line(row: Row, rule: str, claim: str, family: str, baseline: Mapping[str, Row] | None, manner: Manner) -> Finding:
    """Write a line on a subgroup against the rest of its stratum, beside what the baseline does there where it is given."""
    metric = row["metric"]
    gain = turned(metric, row["rest"])
    text = f"{title(metric)} {level(metric, row['value'])}"
    few = row["pairs"] < FEW_PAIRS
    if few:
        text += f" (too few pairs for an interval: {row['pairs']})"
    elif row["ci_low"] is not None:
        text += f" ({percent(manner.confidence)} interval {level(metric, row['ci_low'])} to {level(metric, row['ci_high'])})"
    way = ("less", "more") if metric in RATES else ("better", "worse")
    text += f", {size(metric, abs(gain))} {way[gain <= 0]} than the rest of its stratum on the same items"
    if row["alike_low"] is not None:
        text += f"; were all alike, {level(metric, row['alike_low'])} to {level(metric, row['alike_high'])} would be usual"
    text += f"; {p_of(row['p_worst'])} {family}; {count(row['n'], 'respondent')}, {count(row['pairs'], 'pair')}"
    refused, invalid = row["refusal_rate"] or 0.0, row["invalid_rate"] or 0.0
    if refused + invalid > MANY_MISSING:
        text += f"; {percent(refused)} of its answers refused, {percent(invalid)} unreadable or failed, which count as wrong"
    other = (baseline or {}).get(row["subgroup"])
    if other is not None and other["rest"] is not None:
        theirs = turned(metric, other["rest"])
        text += (
            f"; {baseline_named(other['run'])} is {size(metric, abs(theirs))} {'better' if theirs > 0 else 'worse'} there than on its rest"
        )
    return Finding(
        rule,
        claim,
        text,
        metric,
        "subgroup",
        row["subgroup"],
        row["value"],
        None if few else row["ci_low"],
        None if few else row["ci_high"],
        None,
        row["alike_low"],
        row["alike_high"],
        row["p_worst"],
        None,
        row["pairs"],
    )


def excess(rows: Sequence[Row], manner: Manner) -> list[Finding]:
    """Say which cells differ from what their levels explain, or that none is shown to: rows of EXCESS, one run and metric."""
    tested = [row for row in rows if row["p_holm"] is not None]
    if not tested:
        return []
    metric = rows[0]["metric"]
    claims = sorted((row for row in tested if manner.shown(row["p_holm"], row["excess"])), key=lambda row: row["p_holm"])
    found: list[Finding] = []
    for row in claims:
        gain = turned(metric, row["excess"])
        way = "better" if gain > 0 else "worse"
        head = f"{manner.name(row['subgroup'])} is served {way} than its levels explain"
        found.append(_cell(row, f"intersection-{way}", head, gain, len(tested), manner, _drawn(row, claims, manner)))
    if not claims:
        nearest = min(tested, key=lambda row: (row["p_holm"], row["p_bh"], row["p"]))
        screened = sum(manner.shown(row["p_bh"], row["excess"]) for row in tested)
        also = f" (screening at a false discovery rate of {percent(manner.alpha)} names {count(screened, 'cell')})" if screened else ""
        head = f"no cell is shown to be served otherwise than its levels explain, {NO_PROOF}{also}"
        head += f"; nearest is {manner.name(nearest['subgroup'])}"
        found.append(_cell(nearest, "no-intersection-shown", head, turned(metric, nearest["excess"]), len(tested), manner))
    return found


def _drawn(row: Row, claims: Sequence[Row], manner: Manner) -> str:
    """Name a cell of the same stratum that goes further the other way: it moves what the levels of both lead one to expect."""
    others = [one for one in claims if one["stratum"] == row["stratum"] and one["excess"] * row["excess"] < 0]
    strongest = max(others, key=lambda one: abs(one["excess"]), default=None)
    if strongest is None or abs(strongest["excess"]) <= abs(row["excess"]):
        return ""
    return f"; {manner.name(strongest['subgroup'])} is further off the other way and moves what levels of their stratum explain"


def _cell(row: Row, rule: str, claim: str, gain: float, family: int, manner: Manner, aside: str = "") -> Finding:
    metric = row["metric"]
    low, high = turned_ends(turned(metric, 1.0), row["ci_low"], row["ci_high"])
    se = None if low is None or high is None else (high - low) / 2 / NormalDist().inv_cdf((1 + manner.confidence) / 2)
    alike = None if se is None else mean_of_noise(se)
    text = (
        f"{title(metric)} {level(metric, row['value'])} where {level(metric, row['explained'])} is explained, "
        f"{size(metric, abs(gain))} {'better' if gain > 0 else 'worse'} ({manner.interval(metric, low, high, 'the gain')}"
    )
    text += f"; noise alone gives {size(metric, alike)} on average" if alike is not None else ""
    text += f"; {p_of(row['p_holm'])}{corrected(family, 'cell')}; {count(row['items'], 'item')}, as many pairs){aside}"
    where = (metric, "subgroup", row["subgroup"], gain, low, high, alike, None, None, row["p_holm"], row["items"], row["items"])
    return Finding(rule, claim, text, *where)
