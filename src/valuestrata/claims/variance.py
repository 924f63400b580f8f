"""What may be said of a variance table, from fixed rules: one line a finding. `docs/variance.md` lists them.

A component *moves the answer more* than another one only where the interval of their difference lies above 0; *about as much*
only where the interval of their ratio lies within `AS_MUCH`. All else cannot be told, and the line says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from valuestrata.errors import InputDataError
from valuestrata.formatting import count, number, percent
from valuestrata.frames import Column, Schema
from valuestrata.scores.variance.table import GOLD, NOTHING_DRAWN, TOTAL, VARIANCE
from valuestrata.stats.variance_components import COMBINATION, COMPONENTS, INTERACTION, SAMPLE

# Between these ratios one component moves the answer about as much as another.
AS_MUCH = (0.5, 2.0)
# Variances of answers on 0..1 are small numbers.
DIGITS = 4

VARIANCE_LINES = Schema(
    "variance lines",
    {
        "run": Column(pl.String, "names of the runs, joined by +"),
        "elicitation": Column(pl.String, "readout"),
        "rule": Column(pl.String, "name of the rule"),
        "line": Column(pl.String, "the sentence"),
        "component": Column(pl.String, "component it is about"),
        "against": Column(pl.String, "component compared with, or null"),
        "value": Column(pl.Float64, "the variance or the difference behind it"),
        "ci_low": Column(pl.Float64, "lower end of its interval"),
        "ci_high": Column(pl.Float64, "upper end"),
    },
)

NAMES: Mapping[str, str] = {
    "persona": "the persona",
    "order": "the order of the options",
    "paraphrase": "the paraphrase",
    "template": "the template",
    COMBINATION: "the combination of order, paraphrase and template",
    INTERACTION: "the interplay of persona and presentation",
    SAMPLE: "chance at the same prompt",
}
PEOPLE: Mapping[str, str] = {GOLD[0]: "people differ", GOLD[1]: "people's commonest answers differ"}
# What a rule is about, and its name by what is found.
RULES: Mapping[str, str] = {
    "more": "more-than-{}",
    "less": "less-than-{}",
    "as-much": "as-much-as-{}",
    "cannot-tell": "cannot-tell-from-{}",
}


class Line(NamedTuple):
    """One finding: the columns of VARIANCE_LINES that a rule decides."""

    rule: str
    line: str
    component: str
    against: str | None = None
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None


def variance_lines(table: pl.DataFrame, confidence: float = 0.95) -> pl.DataFrame:
    """Return every line that the rules allow of a table's rows over all items, table by table.

    Args:
        table: VARIANCE rows. confidence: of their intervals.

    Raises:
        InputDataError: a table that lacks columns, or rows of components that others are compared with.
    """
    rows = VARIANCE.check(table, "variance").filter(pl.col("by") == "all")
    found: list[dict[str, Any]] = []
    for (run, readout), part in rows.group_by("run", "elicitation", maintain_order=True):
        held = part.filter(pl.col("against").is_null())["component"].to_list()
        for name in part.filter(pl.col("against").is_not_null()).select(pl.concat_list("component", "against").explode()).to_series():
            if name not in held:
                raise InputDataError(f"variance: {run}, {readout}: the row of {name!r} over all items is missing. Give the table whole.")
        found += [{"run": run, "elicitation": readout, **line._asdict()} for line in lines_of(part.to_dicts(), confidence)]
    return VARIANCE_LINES.frame(found)


def lines_of(rows: Sequence[Mapping[str, Any]], confidence: float) -> Iterator[Line]:
    """Yield the lines of one table, its rows over all items given."""
    plain = {row["component"]: row for row in rows if row["against"] is None}
    known = [row for name, row in plain.items() if name not in (TOTAL, *GOLD) and row["variance"] is not None]
    if largest := max(known, key=lambda row: row["share"] or 0.0, default=None):
        yield from _largest(largest, confidence)
    for row in known:
        if "persona" in _members(row["component"]) and SAMPLE not in _members(row["component"]):
            yield from _persona(row, confidence)
    for row in rows:
        if row["against"] in PEOPLE:
            yield beside_people(row, plain[row["component"]], plain[row["against"]], confidence)
        elif row["against"] is not None:
            yield beside_persona(row, plain[row["component"]], plain[row["against"]], confidence)
    for name in COMPONENTS:
        if name in plain and plain[name]["variance"] is None and name != COMBINATION and plain[name]["note"] != NOTHING_DRAWN:
            yield Line("not-told", f"What {_name(name)} explains is not known: {plain[name]['note']}", name)


def _largest(row: Mapping[str, Any], confidence: float) -> Iterator[Line]:
    """Say what is most of it, or that nothing is shown to be, and how large the largest part is."""
    if row["share"] is None or row["share"] >= 1:
        return
    ends = (row["share_low"], row["share_high"])
    name, within = (
        _name(row["component"]),
        "" if None in ends else f", {percent(confidence)} interval {percent(ends[0])} to {percent(ends[1])}",
    )
    figures = f"{percent(row['share'])} of the variance within items{within}"
    if ends[0] is not None and ends[0] > 0.5:
        yield Line("most", f"Most of what moves the answer is {name}: {figures}", row["component"], None, *_figures(row))
    else:
        text = f"Nothing is shown to be most of what moves the answer; the largest part is {name}: {figures}"
        yield Line("largest", text, row["component"], None, *_figures(row))


def _persona(row: Mapping[str, Any], confidence: float) -> Iterator[Line]:
    """Say whether the persona moves the answer at all."""
    if row["ci_low"] is None:
        return
    rule, verb = ("persona-moves", "moves the answer") if row["ci_low"] > 0 else ("persona-unseen", "is not seen to move the answer here")
    text = f"{_capital(_name(row['component']))} {verb}: variance {_figure(row, confidence)}, {count(row['items'], 'item')}"
    yield Line(rule, text, row["component"], None, *_figures(row))


def beside_persona(row: Mapping[str, Any], first: Mapping[str, Any], second: Mapping[str, Any], confidence: float) -> Line:
    """Say whether a component moves the answer more than the persona.

    Args:
        row: the row of the difference. first, second: the plain rows of both. confidence: of the intervals.
    """
    one, persona = _name(row["component"]), _name(row["against"])
    heads = {
        "more": f"{_capital(one)} moves the answer more than {persona}",
        "less": f"{_capital(persona)} moves the answer more than {one}",
        "as-much": f"{_capital(one)} moves the answer about as much as {persona}",
        "cannot-tell": f"Whether {one} or {persona} moves the answer more cannot be told",
    }
    return _compared(row, first, second, confidence, heads, "persona")


def beside_people(row: Mapping[str, Any], first: Mapping[str, Any], second: Mapping[str, Any], confidence: float) -> Line:
    """Say whether the persona moves the answer as far as people of the same subgroups differ; arguments as `beside_persona`."""
    persona, people = _capital(_name(row["component"])), PEOPLE[row["against"]]
    heads = {
        "more": f"{persona} moves the answer more than {people}",
        "less": f"{persona} moves the answer less than {people}",
        "as-much": f"{persona} moves the answer about as much as {people}",
        "cannot-tell": f"Whether {_name(row['component'])} moves the answer more or less than {people} cannot be told",
    }
    return _compared(row, first, second, confidence, heads, "people" if row["against"] == GOLD[0] else "modes")


def _compared(
    row: Mapping[str, Any],
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    confidence: float,
    heads: Mapping[str, str],
    other: str,
) -> Line:
    found = standing(row)
    ratio = ""
    # A ratio below 0 says nothing that the variance below 0 does not say.
    if row["share"] is not None and row["share"] >= 0:
        ratio = f", {number(row['share'], 2)} times{_within(row['share_low'], row['share_high'], confidence, 2)}"
    text = (
        f"{heads[found]}: variance {number(first['variance'], DIGITS)} against {number(second['variance'], DIGITS)}{ratio}; "
        f"difference {_figure(row, confidence)}, {count(row['items'], 'item')}"
    )
    return Line(RULES[found].format(other), text, row["component"], row["against"], *_figures(row))


def standing(row: Mapping[str, Any]) -> str:
    """Return `more`, `less`, `as-much` or `cannot-tell`, from the intervals of a difference and of a ratio."""
    if row["ci_low"] is not None and row["ci_low"] > 0:
        return "more"
    if row["ci_high"] is not None and row["ci_high"] < 0:
        return "less"
    low, high = row["share_low"], row["share_high"]
    return "as-much" if low is not None and high is not None and low >= AS_MUCH[0] and high <= AS_MUCH[1] else "cannot-tell"


def _members(name: str) -> list[str]:
    return name.split(" + ")


def _name(component: str) -> str:
    """Return a component, or a joint one, as words."""
    return " with ".join(NAMES[name] for name in _members(component))


def _figures(row: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    return row["variance"], row["ci_low"], row["ci_high"]


def _figure(row: Mapping[str, Any], confidence: float) -> str:
    return number(row["variance"], DIGITS) + _within(row["ci_low"], row["ci_high"], confidence)


def _within(low: float | None, high: float | None, confidence: float, digits: int = DIGITS) -> str:
    if low is None or high is None:
        return " (no interval)"
    return f" ({percent(confidence)} interval {number(low, digits)} to {number(high, digits)})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
