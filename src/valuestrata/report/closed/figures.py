"""Dot charts with intervals: all runs, scores by subgroup or topic, and signed bias by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valuestrata.formatting import metric_title, number
from valuestrata.report.core.names import attribute_titles, chart_names, interval, stratum_titles, subgroup_titles
from valuestrata.report.core.theme import CEILING, GRID, INK, MUTED, colours_for, to_svg
from valuestrata.report.core.view import Entry, View
from valuestrata.respondents.baselines import CHEAP, LADDER

# Most models in one row of dots; tables show all.
MOST_MODELS = 4
# Order of baselines in charts without models: the most relevant first, those that use no data last.
_FIRST = ("nearest-parent", "item-mode", "ensemble", "additive")
BASELINE_ORDER = tuple(dict.fromkeys((*_FIRST, *(rule for rule in LADDER if rule not in CHEAP), *reversed(CHEAP))))
# Width of the page, and least and greatest width of one of two panels, in pixels.
COLUMN = 1060
PANEL = (260, 420)


@dataclass(frozen=True)
class LegendEntry:
    """One entry of a legend: name, colour and shape (dot, tick, dash, diamond, gem or square)."""

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
    """

    svg: str
    caption: str
    legend: tuple[LegendEntry, ...] = ()


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
            values = {"value": cell.value, "low": cell.low, "high": cell.high}
            made.append({"label": row.label, "group": row.group, "who": names[entry], "said": said, **values})
    return made


def _others(view: View, by: str, rows: Sequence[Row], metric: str, best: Entry | None, bound: str) -> list[dict[str, Any]]:
    names = chart_names(view.entries)
    made: list[dict[str, Any]] = []
    for row in rows:
        known = {"label": row.label, "group": row.group}
        if best is not None and (value := view.cell(best, by, row.key, metric).value) is not None:
            made.append({**known, "mark": "baseline", "value": value, "said": f"{row.label}: {names[best]} {number(value)}"})
        if (value := view.bound(by, row.key, bound).value) is not None:
            made.append({**known, "mark": "bound", "value": value, "said": f"{row.label}: {bound} {number(value)}"})
    return made


def _dots(
    rows: Sequence[Row],
    values: list[dict[str, Any]],
    others: list[dict[str, Any]],
    people: Sequence[tuple[str, str]],
    *,
    title: str,
    domain: tuple[float, float],
    width: int,
    extent: int,
    lines: Sequence[tuple[float, str, list[int]]] = (),
    aside: bool = True,
    axis_title: str = "",
) -> Any:
    """Return one panel: one row per key, dots with intervals for runs, ticks and diamonds for baseline and bound.

    Args:
        people: (name, colour) of each run. lines: (position, colour, dash) of lines across all rows.
        aside: whether the runs of a row are drawn below each other.
    """
    import altair as alt

    order = [row.label for row in rows]
    names = [name for name, _ in people]
    # Shifted by pixels, not by a scale, so adjacent panels have the same rows.
    shifts = {name: 10 * place - 5 * (len(names) - 1) for place, name in enumerate(names)} if aside else {}
    step = max(22, 10 + 10 * len(names)) if aside else 22
    labels = alt.Axis(title=None, labels=extent > 0, minExtent=extent, maxExtent=extent, grid=True, gridColor=GRID)
    y = alt.Y("label:N", sort=order, axis=labels, scale=alt.Scale(domain=order, paddingInner=0.2, paddingOuter=0.1))
    ticks = alt.Axis(title=axis_title or None, format=".1f", tickCount=5)
    x = alt.X("value:Q", scale=alt.Scale(domain=list(domain), nice=False, clamp=True), axis=ticks)
    data = alt.Data(values=values)
    runs = alt.Chart(data).encode(y=y, color=alt.Color("who:N", scale=alt.Scale(domain=names, range=[c for _, c in people]), legend=None))
    layers: list[Any] = []
    for at, colour, dash in lines:
        line = alt.Chart(alt.Data(values=[{"at": at}])).mark_rule(color=colour, strokeDash=dash, strokeWidth=1.6)
        layers.append(line.encode(x=alt.X("at:Q")))
    if others:
        layers += _reference_marks(alt.Chart(alt.Data(values=others)).encode(x=x, y=y, description="said:N"), step)
    bars = any(value["low"] is not None for value in values)
    for who, shift in (shifts or {"": 0}).items():
        mine = runs.transform_filter(alt.datum.who == who) if who else runs
        if bars:
            layers.append(mine.mark_rule(strokeWidth=2, opacity=0.55, yOffset=shift).encode(x=alt.X("low:Q", axis=ticks), x2="high:Q"))
        dots = mine.mark_point(filled=True, size=52, opacity=1, aria=True, yOffset=shift)
        layers.append(dots.encode(x=x, description="said:N"))
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


def score_chart(view: View, by: str, rows: Sequence[Row], name: str) -> Chart | None:
    """Chart accuracy and NMAE by subgroup or topic: models with intervals, the best cheap baseline, ceiling and floor.

    Returns:
        None if nothing was scored in this grouping.
    """
    import altair as alt

    entries = shown_models(view)
    metrics = [metric for metric in (view.accuracy_metric, "nmae") if view.has(metric, by)]
    if not rows or not entries or not metrics:
        return None
    people = _people(view, entries)
    bounds = {"nmae": "floor_nmae", "accuracy_expected": "ceiling_oracle", "accuracy": "ceiling_oracle"}
    best = {metric: view.best_cheap(metric) for metric in metrics}
    # A baseline that is drawn as dots needs no tick.
    best = {metric: None if entry in entries else entry for metric, entry in best.items()}
    values = {metric: _values(view, by, rows, entries, metric) for metric in metrics}
    others = {metric: _others(view, by, rows, metric, best[metric], bounds[metric]) for metric in metrics}
    ends = {metric: _domain(metric, values[metric] + others[metric]) for metric in metrics}
    extent = _extent(rows)
    width = min(PANEL[1], max(PANEL[0], (COLUMN - extent) // len(metrics) - 24))
    what = " and ".join(metric_title(metric) for metric in metrics)
    # One drawing per group, so a printed page can break between them.
    drawings: list[str] = []
    for place, group in enumerate(dict.fromkeys(row.group for row in rows)):
        members = [row for row in rows if row.group == group]
        sides: list[Any] = []
        for metric in metrics:
            first = metric == metrics[0]
            heading = group if first else ""
            sides.append(
                _dots(
                    members,
                    [value for value in values[metric] if value["group"] == group],
                    [value for value in others[metric] if value["group"] == group],
                    people,
                    title=heading or (" " if group else ""),
                    domain=ends[metric],
                    width=width,
                    extent=extent if first else 0,
                    axis_title=_axis_title(metric),
                )
            )
        said = f"{what} by {by}, {view.title}" + (f", {group}" if group else "")
        drawings.append(to_svg(alt.hconcat(*sides, spacing=24), f"{name}-{place}", said))
    legend = _legend(view, people, best)
    return Chart("".join(drawings), _caption(best, metrics), legend)


def _axis_title(metric: str) -> str:
    return f"{metric_title(metric)} ({'lower' if metric == 'nmae' else 'higher'} is better)"


def _domain(metric: str, values: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    if metric != "nmae":
        return 0.0, 1.0
    largest = max((v for value in values for v in (value["value"], value.get("high")) if v is not None), default=0.5)
    return 0.0, min(1.0, max(0.3, round(largest + 0.05, 1)))


def _people(view: View, entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Return the (name, colour) of each entry."""
    names = [chart_names(view.entries)[entry] for entry in entries]
    return list(zip(names, colours_for(names), strict=True))


def _legend(view: View, people: Sequence[tuple[str, str]], best: Mapping[str, Entry | None]) -> tuple[LegendEntry, ...]:
    names = dict.fromkeys(chart_names(view.entries)[entry] for entry in best.values() if entry is not None)
    bound = "ceiling (left) and floor (right) from sampling noise" if len(best) > 1 else "ceiling from sampling noise"
    ticks = [LegendEntry(f"best cheap baseline: {' / '.join(names)}", INK, "tick")] if names else []
    return (
        *(LegendEntry(n, c, "dot") for n, c in people),
        *ticks,
        LegendEntry(bound, CEILING, "diamond"),
    )


def _caption(best: Mapping[str, Entry | None], metrics: Sequence[str]) -> str:
    parts = ["Bars are 95 % intervals."]
    if any(best.values()):
        parts.append("The baseline is the best over all pairs, the same in every row.")
    if "accuracy_expected" in metrics:
        parts.append("Expected accuracy is accuracy against a fresh sample of respondents; the ceiling bounds it on average.")
    return " ".join(parts)


def overview_chart(view: View, name: str) -> Chart | None:
    """Chart the accuracy of each run, with the ceilings as vertical lines."""
    entries = view.of_kind("model", "control", "baseline")
    metric = view.accuracy_metric
    names = chart_names(view.entries)
    rows = [Row(entry.label, names[entry]) for entry in entries]
    values: list[dict[str, Any]] = []
    for row, entry in zip(rows, entries, strict=True):
        cell = view.overall(entry, metric)
        if cell.value is not None:
            said = f"{row.label} {number(cell.value)}"
            values.append({"label": row.label, "who": entry.kind, "value": cell.value, "low": cell.low, "high": cell.high, "said": said})
    if not values:
        return None
    kinds = [(kind, colour) for kind, colour in _KINDS if any(entry.kind == kind for entry in entries)]
    lines: list[tuple[float, str, list[int]]] = []
    legend = [LegendEntry(kind, colour, "dot") for kind, colour in kinds]
    for bound, dash, said in (
        ("ceiling_oracle", [1, 0], "ceiling: knows the population"),
        ("ceiling_human", [4, 3], "another survey of this size"),
    ):
        value = view.bound("all", view.all_key, bound).value
        if value is not None:
            lines.append((value, CEILING, dash))
            legend.append(LegendEntry(f"{said} {number(value)}", CEILING, "dash" if dash[1] else "tick"))
    size = {"width": 620, "extent": _extent(rows)}
    chart = _dots(rows, values, [], kinds, title="", domain=(0.0, 1.0), lines=lines, aside=False, axis_title=metric_title(metric), **size)
    svg = to_svg(chart, name, f"{metric_title(metric)} of every run with ceilings, {view.title}")
    return Chart(svg, "Bars are 95 % intervals.", tuple(legend))


_KINDS = (("model", "#0072B2"), ("control", "#E69F00"), ("baseline", MUTED))


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
    return Chart(svg, caption, tuple(LegendEntry(n, c, "dot") for n, c in people))
