"""Dot charts with intervals: all runs, scores by subgroup or topic, and signed bias by level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valuestrata.formatting import metric_title, number
from valuestrata.formatting import title as name_of
from valuestrata.reports.core.links import explore_link
from valuestrata.reports.core.names import attribute_titles, chart_names, clipped, interval, stratum_titles, subgroup_titles, with_interval
from valuestrata.reports.core.theme import CEILING, GRID, INK, MUTED, colours_for, to_svg
from valuestrata.reports.core.view import Entry, View
from valuestrata.respondents.baselines import CHEAP, LADDER

# Most models in one row of dots; tables show all.
MOST_MODELS = 4
# Order of baselines in charts without models: the most relevant first, those that use no data last.
_FIRST = ("nearest-parent", "item-mode", "ensemble", "additive")
BASELINE_ORDER = tuple(dict.fromkeys((*_FIRST, *(rule for rule in LADDER if rule not in CHEAP), *reversed(CHEAP))))
# Width of the page, and least and greatest width of one of two panels, in pixels.
COLUMN = 1060
PANEL = (260, 420)


# Shape of the swatch -> Vega's name of it. Runs differ in shape as well as in colour, so that figures can be read without colour.
SHAPES: Mapping[str, str] = {"dot": "circle", "square": "square", "triangle": "triangle-up", "wedge": "triangle-down", "gem": "diamond"}


@dataclass(frozen=True)
class Series:
    """The marks of a run or of a kind of runs: its name, colour and shape."""

    name: str
    colour: str
    shape: str = "dot"

    @property
    def legend(self) -> LegendEntry:
        """Its entry in the legend."""
        return LegendEntry(self.name, self.colour, self.shape)


@dataclass(frozen=True)
class LegendEntry:
    """One entry of a legend: name, colour and shape (a key of `SHAPES`, or tick, dash, diamond, ring or band)."""

    name: str
    colour: str
    shape: str


@dataclass(frozen=True)
class Chart:
    """A rendered chart.

    Attributes:
        svg: the SVG element, or several, safe to put into a page.
        caption: one or two sentences under it.
        legend: of the marks.
        source: the Altair chart that was rendered; None for charts that are not offered to notebooks.
    """

    svg: str
    caption: str
    legend: tuple[LegendEntry, ...] = ()
    source: Any = None


@dataclass(frozen=True)
class Row:
    """One row of a chart: its key in the scores, its label and its heading."""

    key: str
    label: str
    group: str = ""


def shown_models(view: View) -> list[Entry]:
    """Return the entries shown as dots: models and controls; without them, baselines in `BASELINE_ORDER`."""
    found = view.of_kind("model", "control")
    if not found:
        place = {rule: at for at, rule in enumerate(BASELINE_ORDER)}
        found = sorted(view.of_kind("baseline"), key=lambda entry: place.get(entry.rule, len(place)))
    return found[:MOST_MODELS]


def subgroup_rows(view: View) -> list[Row]:
    """Return the scored subgroups with their numbers of respondents, grouped by stratum."""
    groups = view.dataset.subgroups
    titles, strata = subgroup_titles(view.dataset), stratum_titles(view.dataset)
    found = set(view.keys("subgroup"))
    small = set(view.gold.filter(view.gold["flag"] == "small")["subgroup"].to_list())
    rows: list[Row] = []
    for key, stratum, n in groups.select("subgroup", "stratum", "n").iter_rows():
        if key in found:
            rows.append(Row(key, f"{titles[key]}  ({n:,}{'†' if key in small else ''})", strata[stratum]))
    return rows


def topic_rows(view: View) -> list[Row]:
    """Return the scored topics with their number of items."""
    sizes = dict(view.dataset.items.group_by("topic").len().iter_rows())
    return [Row(key, f"{key}  ({sizes.get(key, 0)})") for key in view.keys("topic")]


def _values(view: View, by: str, rows: Sequence[Row], entries: Sequence[Entry], metric: str) -> list[dict[str, Any]]:
    names = chart_names(view.entries)
    made: list[dict[str, Any]] = []
    for row in rows:
        for entry in entries:
            cell = view.cell(entry, by, row.key, metric)
            if cell.value is None:
                continue
            ends = interval(cell)
            said = f"{row.label}: {names[entry]} {number(cell.value)}" + (f" ({ends})" if ends else "")
            values = {"value": cell.value, "low": cell.low, "high": cell.high, "go": _address(by, row.key, entry.run)}
            made.append({"label": row.label, "group": row.group, "who": names[entry], "said": said, **values})
    return made


def _others(view: View, by: str, rows: Sequence[Row], metric: str, best: Entry | None, bound: str | None) -> list[dict[str, Any]]:
    names = chart_names(view.entries)
    made: list[dict[str, Any]] = []
    for row in rows:
        known = {"label": row.label, "group": row.group}
        if best is not None and (value := view.cell(best, by, row.key, metric).value) is not None:
            said, go = f"{row.label}: {names[best]} {number(value)}", _address(by, row.key, best.run)
            made.append({**known, "mark": "baseline", "value": value, "said": said, "go": go})
        if bound is not None and (value := view.bound(by, row.key, bound).value) is not None:
            said = f"{row.label}: {bound} {number(value)}"
            made.append({**known, "mark": "bound", "value": value, "said": said, "go": _address(by, row.key)})
    return made


def _address(by: str, key: str, run: str = "") -> str:
    """Return the address of the explorer with the pairs behind a row of a chart."""
    filters: dict[str, Any] = {"attribute" if by == "level" else by: key}
    return explore_link(run=run, **filters)


def _dots(
    rows: Sequence[Row],
    values: list[dict[str, Any]],
    others: list[dict[str, Any]],
    people: Sequence[Series],
    *,
    title: str,
    domain: tuple[float, float],
    width: int,
    extent: int,
    lines: Sequence[tuple[float, str, list[int]]] = (),
    aside: bool = True,
    axis_title: str = "",
    step: int | None = None,
) -> Any:
    """Return one panel: one row per key, dots with intervals for runs, ticks and diamonds for baseline and bound.

    Args:
        people: the runs. lines: (position, colour, dash) of lines across all rows.
        aside: whether the runs of a row are drawn below each other. step: height of a row in pixels; None for what the runs need.
    """
    import altair as alt

    order = [row.label for row in rows]
    names = [one.name for one in people]
    # Shifted by pixels, not by a scale, so adjacent panels have the same rows.
    shifts = {name: 10 * place - 5 * (len(names) - 1) for place, name in enumerate(names)} if aside else {}
    step = step or (max(22, 10 + 10 * len(names)) if aside else 22)
    labels = alt.Axis(title=None, labels=extent > 0, minExtent=extent, maxExtent=extent, grid=True, gridColor=GRID)
    y = alt.Y("label:N", sort=order, axis=labels, scale=alt.Scale(domain=order, paddingInner=0.2, paddingOuter=0.1))
    ticks = alt.Axis(title=axis_title or None, format=".1f" if domain[1] - domain[0] > 0.5 else ".2f", tickCount=5)
    x = alt.X("value:Q", scale=alt.Scale(domain=list(domain), nice=False, clamp=True), axis=ticks)
    data = alt.Data(values=values)
    colours, shapes = [one.colour for one in people], [SHAPES[one.shape] for one in people]
    runs = alt.Chart(data).encode(y=y, color=alt.Color("who:N", scale=alt.Scale(domain=names, range=colours), legend=None))
    shape = alt.Shape("who:N", scale=alt.Scale(domain=names, range=shapes), legend=None)
    layers: list[Any] = []
    for at, colour, dash in lines:
        line = alt.Chart(alt.Data(values=[{"at": at}])).mark_rule(color=colour, strokeDash=dash, strokeWidth=1.6)
        layers.append(line.encode(x=alt.X("at:Q")))
    if others:
        layers += _reference_marks(alt.Chart(alt.Data(values=others)).encode(x=x, y=y, description="said:N", href="go:N"), step)
    bars = any(value["low"] is not None for value in values)
    for who, shift in (shifts or {"": 0}).items():
        mine = runs.transform_filter(alt.datum.who == who) if who else runs
        if bars:
            layers.append(mine.mark_rule(strokeWidth=2, opacity=0.55, yOffset=shift).encode(x=alt.X("low:Q", axis=ticks), x2="high:Q"))
        dots = mine.mark_point(filled=True, size=52, opacity=1, aria=True, yOffset=shift)
        layers.append(dots.encode(x=x, shape=shape, description="said:N", href="go:N"))
    heading = alt.TitleParams(title, anchor="start", frame="bounds" if extent else "group", fontSize=13)
    panel = alt.layer(*layers).properties(width=width, height=alt.Step(step))
    return panel.properties(title=heading) if title else panel


def _reference_marks(base: Any, step: int) -> list[Any]:
    tick = base.transform_filter("datum.mark == 'baseline'").mark_tick(color=INK, thickness=2, size=min(step - 6, 18), aria=True)
    bound = base.transform_filter("datum.mark == 'bound'").mark_point(
        shape="diamond", filled=False, color=CEILING, size=58, strokeWidth=1.6, opacity=1, aria=True
    )
    return [tick, bound]


def _extent(rows: Sequence[Row]) -> int:
    """Return the width of the labels, the same in all panels."""
    return min(340, max(90, round(6.9 * max(len(row.label) for row in rows)) + 12))


def score_charts(view: View, by: str, rows: Sequence[Row], name: str) -> list[tuple[str, Chart]]:
    """Chart accuracy and NMAE by subgroup or topic: models with intervals, the best cheap baseline, ceiling and floor.

    Returns:
        (heading, chart) of each group of rows; none if nothing was scored in this grouping.
    """
    import altair as alt

    entries = shown_models(view)
    metrics = [metric for metric in (view.accuracy_metric, "nmae") if view.has(metric, by)]
    if not rows or not entries or not metrics:
        return []
    people = _people(view, entries)
    bounds = {"nmae": "floor_nmae", "accuracy_expected": "ceiling_oracle"}
    best = {metric: view.best_cheap(metric) for metric in metrics}
    # A baseline that is drawn as dots needs no tick.
    best = {metric: None if entry in entries else entry for metric, entry in best.items()}
    values = {metric: _values(view, by, rows, entries, metric) for metric in metrics}
    others = {metric: _others(view, by, rows, metric, best[metric], bounds.get(metric)) for metric in metrics}
    ends = {metric: _domain(metric, values[metric] + others[metric]) for metric in metrics}
    extent = _extent(rows)
    width = min(PANEL[1], max(PANEL[0], (COLUMN - extent) // len(metrics) - 24))
    what = " and ".join(metric_title(metric) for metric in metrics)
    legend, caption = _legend(view, people, best), _caption(best, metrics)
    charts: list[tuple[str, Chart]] = []
    for place, group in enumerate(dict.fromkeys(row.group for row in rows)):
        members = [row for row in rows if row.group == group]
        sides: list[Any] = []
        for metric in metrics:
            first = metric == metrics[0]
            sides.append(
                _dots(
                    members,
                    [value for value in values[metric] if value["group"] == group],
                    [value for value in others[metric] if value["group"] == group],
                    people,
                    title="",
                    domain=ends[metric],
                    width=width,
                    extent=extent if first else 0,
                    axis_title=_axis_title(metric),
                )
            )
        said = f"{what} by {by}, {view.title}" + (f", {group}" if group else "")
        chart = alt.hconcat(*sides, spacing=24)
        charts.append((group, Chart(to_svg(chart, f"{name}-{place}", said), caption, legend, chart)))
    return charts


def _axis_title(metric: str) -> str:
    return f"{metric_title(metric)} ({'lower' if metric == 'nmae' else 'higher'} is better)"


def _domain(metric: str, values: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    if metric != "nmae":
        return 0.0, 1.0
    largest = max((v for value in values for v in (value["value"], value.get("high")) if v is not None), default=0.5)
    return 0.0, min(1.0, max(0.3, round(largest + 0.05, 1)))


def _people(view: View, entries: Sequence[Entry]) -> list[Series]:
    """Return the marks of each entry."""
    return series_of([chart_names(view.entries)[entry] for entry in entries])


def series_of(names: Sequence[str]) -> list[Series]:
    """Return the marks of runs of these names, each with a colour and a shape of its own; both repeat."""
    shapes = [shape for shape in SHAPES if shape != "gem"]
    return [
        Series(name, colour, shapes[at % len(shapes)])
        for at, (name, colour) in enumerate(zip(names, colours_for(list(names)), strict=True))
    ]


def _legend(view: View, people: Sequence[Series], best: Mapping[str, Entry | None]) -> tuple[LegendEntry, ...]:
    names = dict.fromkeys(chart_names(view.entries)[entry] for entry in best.values() if entry is not None)
    words = {"accuracy_expected": "ceiling", "nmae": "floor"}
    bounds = [f"{words[metric]} of {name_of(metric)}" for metric in best if metric in words]
    ticks = [LegendEntry(f"best cheap baseline: {' / '.join(names)}", INK, "tick")] if names else []
    return (
        *(one.legend for one in people),
        *ticks,
        *([LegendEntry(f"{' and '.join(bounds)}, from sampling noise", CEILING, "diamond")] if bounds else []),
    )


def _caption(best: Mapping[str, Entry | None], metrics: Sequence[str]) -> str:
    parts = ["Bars are 95 % intervals."]
    if any(best.values()):
        parts.append("The baseline is the best over all pairs, the same in every row.")
    if "accuracy_expected" in metrics:
        parts.append("Expected accuracy is accuracy against a fresh sample of respondents; the ceiling bounds it on average.")
    return " ".join(parts)


def overview_chart(view: View, name: str) -> Chart | None:
    """Chart every run by the metric that the ceiling bounds, with ceiling and reference as vertical lines; None without a score."""
    entries = view.of_kind("model", "control", "baseline")
    metric = view.accuracy_metric
    names = chart_names(view.entries)
    short = {entry: clipped(names[entry], SHORT) for entry in entries}
    shown = list(short.values())
    rows = [Row(entry.label, short[entry] if shown.count(short[entry]) == 1 else names[entry]) for entry in entries]
    values: list[dict[str, Any]] = []
    for row, entry in zip(rows, entries, strict=True):
        cell = view.overall(entry, metric)
        if cell.value is not None:
            ends = interval(cell)
            said = f"{names[entry]}: {number(cell.value)}" + (f" ({ends})" if ends else "")
            known = {"label": row.label, "who": entry.kind, "value": cell.value, "low": cell.low, "high": cell.high}
            values.append({**known, "said": said, "go": explore_link(run=entry.run)})
    if not values:
        return None
    kinds = [kind for kind in _KINDS if any(entry.kind == kind.name for entry in entries)]
    lines: list[tuple[float, str, list[int]]] = []
    for bound, dash, said in _BOUNDS if metric == "accuracy_expected" else ():
        cell = view.bound("all", view.all_key, bound)
        if cell.value is None:
            continue
        rows.append(Row(bound, said))
        lines.append((cell.value, CEILING, dash))
        known = {"label": said, "who": _BOUND.name, "value": cell.value, "low": cell.low, "high": cell.high}
        values.append({**known, "said": f"{said}: {with_interval(cell)}"})
    kinds = [*kinds, _BOUND] if lines else kinds
    ends = [v for value in values for v in (value["value"], value["low"], value["high"]) if v is not None]
    # Wide enough for every interval; positions, not lengths, are compared, so the axis need not start at 0.
    domain = (max(0.0, math.floor(min(ends) * 20 - 0.2) / 20), min(1.0, math.ceil(max(ends) * 20 + 0.2) / 20))
    # Of many rows, all should be seen at once.
    step = min(22, max(14, OVERVIEW_HEIGHT // len(rows)))
    size = {"width": OVERVIEW - _extent(rows), "extent": _extent(rows), "step": step}
    chart = _dots(rows, values, [], kinds, title="", domain=domain, lines=lines, aside=False, axis_title=_axis_title(metric), **size)
    svg = to_svg(chart, name, f"{metric_title(metric)} of every run with ceilings, {view.title}")
    caption = "Bars are 95 % intervals. Ceiling: someone who knows the population but not this sample."
    return Chart(svg, caption if lines else "Bars are 95 % intervals.", tuple(kind.legend for kind in kinds), chart)


# Width of the chart of all runs with its labels, and height of its rows, in pixels; longest label, in characters.
OVERVIEW, OVERVIEW_HEIGHT, SHORT = 640, 300, 26
_KINDS = (Series("model", "#0072B2", "dot"), Series("control", "#E69F00", "square"), Series("baseline", MUTED, "triangle"))
_BOUND = Series("ceiling and reference", CEILING, "gem")
_BOUNDS: tuple[tuple[str, list[int], str], ...] = (
    ("ceiling_oracle", [1, 0], "ceiling"),
    ("ceiling_human", [4, 3], "another survey this size"),
)


def bias_chart(view: View, name: str) -> Chart | None:
    """Chart the signed bias of the models by attribute level; None without one."""
    import altair as alt

    entries = [entry for entry in shown_models(view) if entry.kind != "baseline"]
    if not entries or not view.has("bias", "level"):
        return None
    titles = attribute_titles(view.dataset)
    rows: list[Row] = []
    for key in view.keys("level"):
        attribute, _, level = key.partition("=")
        rows.append(Row(key, level or key, titles.get(attribute, attribute)))
    order = {f"{a['name']}={level['label']}": i for a in view.dataset.meta.get("attributes", []) for i, level in enumerate(a["levels"])}
    heads = list(titles.values())
    rows.sort(key=lambda row: (heads.index(row.group) if row.group in heads else len(heads), order.get(row.key, 0)))
    people = _people(view, entries)
    values = _values(view, "level", rows, entries, "bias")
    if not values:
        return None
    reach = max(abs(v) for value in values for v in (value["value"], value["low"], value["high"]) if v is not None)
    reach = min(1.0, max(0.2, round(reach + 0.05, 1)))
    panels: list[Any] = []
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        mine = [value for value in values if value["group"] == group]
        last = group == rows[-1].group
        panels.append(
            _dots(
                members,
                mine,
                [],
                people,
                title=group,
                domain=(-reach, reach),
                width=520,
                extent=_extent(rows),
                lines=[(0.0, MUTED, [1, 0])],
                axis_title="Signed bias, share of the scale" if last else "",
            )
        )
    svg = to_svg(alt.vconcat(*panels, spacing=12), name, f"Signed bias by attribute level, {view.title}")
    caption = "Left of 0 the model answers lower on the scale than the subgroup, right of 0 higher. Bars are 95 % intervals."
    return Chart(svg, caption, tuple(one.legend for one in people))
