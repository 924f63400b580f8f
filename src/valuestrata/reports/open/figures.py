"""Charts of open answers: dots with intervals, one row per level, one panel per attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.reports.closed.figures import COLUMN, MOST_MODELS, Chart, LegendEntry
from valuestrata.reports.core.theme import GRID, INK, colours_for, to_svg
from valuestrata.reports.open.cells import level_parts

# Minimum and maximum width of the names of levels.
_EXTENT = (90, 320)
# Width in pixels of a chart that may stand beside the text of a first screen.
BESIDE = 640


@dataclass(frozen=True)
class Dot:
    """One dot: its row, group of rows and series, its value with interval, and its description."""

    label: str
    group: str
    series: str
    value: float
    low: float | None
    high: float | None
    description: str


Row = Mapping[str, Any]


def _run_of(row: Row) -> str:
    return row["run"]


def level_dots(dataset: Dataset, rows: pl.DataFrame, describe: Callable[[Row], str], series: Callable[[Row], str] = _run_of) -> list[Dot]:
    """Return one dot per row of a table by level, in the data set's order of levels; `describe` gives the text after the level."""
    dots: list[Dot] = []
    for row in rows.iter_rows(named=True):
        group, level = level_parts(dataset, row["key"])
        dots.append(Dot(level, group, series(row), row["value"], row["ci_low"], row["ci_high"], f"{level}: {describe(row)}"))
    attributes = dataset.meta.get("attributes", [])
    levels = [(str(one.get("title") or one["name"]), str(level["label"])) for one in attributes for level in one["levels"]]
    order = {level: place for place, level in enumerate(levels)}
    return sorted(dots, key=lambda dot: order.get((dot.group, dot.label), 0))


def dot_chart(
    dots: Sequence[Dot],
    *,
    name: str,
    axis: str,
    described: str,
    caption: str,
    form: str = ".0%",
    at: float | None = None,
    most: int = MOST_MODELS,
    width: int = COLUMN,
) -> Chart | None:
    """Chart dots with their intervals.

    Args:
        dots: in the order of rows, groups and series. name: unique within the page. axis: title of the axis.
        described: text alternative of the chart. caption: text below it. form: number format of the axis. at: position of a line.
        most: only so many series are drawn. width: of the chart in pixels.

    Returns:
        None without dots.
    """
    series = list(dict.fromkeys(dot.series for dot in dots))[:most]
    shown = [dot for dot in dots if dot.series in series]
    if not shown:
        return None
    colours = colours_for(series)
    domain = _domain(shown, at)
    longest = max(len(dot.label) for dot in shown)
    extent = min(_EXTENT[1], max(_EXTENT[0], round(6.9 * longest) + 12))
    groups = list(dict.fromkeys(dot.group for dot in shown))
    drawings: list[str] = []
    for place, group in enumerate(groups):
        mine = [dot for dot in shown if dot.group == group]
        panel = _panel(mine, group, series, colours, domain, extent, axis if place == len(groups) - 1 else "", form, at, width)
        drawings.append(to_svg(panel, f"{name}-{place}", f"{described}{f', {group}' if group else ''}"))
    legend = tuple(LegendEntry(one, colour, "dot") for one, colour in zip(series, colours, strict=True)) if len(series) > 1 else ()
    return Chart("".join(drawings), caption, legend)


def _domain(dots: Sequence[Dot], at: float | None) -> list[float]:
    """Return the ends of the axis: around all intervals with some margin, from 0 if that is near."""
    ends = [end for dot in dots for end in (dot.value, dot.low, dot.high) if end is not None] + ([] if at is None else [at])
    low, high = min(ends), max(ends)
    margin = 0.06 * max(high - low, 1e-3)
    start = 0.0 if 0 <= low <= 0.6 * high else low - margin
    return [start, high + margin]


def _panel(
    dots: Sequence[Dot],
    title: str,
    series: Sequence[str],
    colours: Sequence[str],
    domain: list[float],
    extent: int,
    axis: str,
    form: str,
    at: float | None,
    width: int,
) -> Any:
    import altair as alt

    order = list(dict.fromkeys(dot.label for dot in dots))
    labels = alt.Axis(title=None, minExtent=extent, maxExtent=extent, grid=True, gridColor=GRID)
    y = alt.Y("label:N", sort=order, axis=labels, scale=alt.Scale(domain=order, paddingInner=0.2, paddingOuter=0.1))
    ticks = alt.Axis(title=axis or None, format=form, tickCount=6)
    scale = alt.Scale(domain=domain, nice=False, clamp=True)
    layers: list[Any] = []
    if at is not None:
        line = alt.Chart(alt.Data(values=[{"at": at}])).mark_rule(color=INK, strokeDash=[4, 3], strokeWidth=1.4)
        layers.append(line.encode(x=alt.X("at:Q", scale=scale, axis=ticks)))
    for place, (one, colour) in enumerate(zip(series, colours, strict=True)):
        values = [
            {"label": dot.label, "value": dot.value, "low": dot.low, "high": dot.high, "description": dot.description}
            for dot in dots
            if dot.series == one
        ]
        if not values:
            continue
        shift = 10 * place - 5 * (len(series) - 1)
        base = alt.Chart(alt.Data(values=values)).encode(y=y)
        bars = base.transform_filter("isValid(datum.low)").mark_rule(color=colour, strokeWidth=2, opacity=0.55, yOffset=shift)
        layers.append(bars.encode(x=alt.X("low:Q", scale=scale, axis=ticks), x2="high:Q"))
        marks = base.mark_point(filled=True, color=colour, size=52, opacity=1, aria=True, yOffset=shift)
        layers.append(marks.encode(x=alt.X("value:Q", scale=scale, axis=ticks), description="description:N"))
    step = max(22, 10 + 10 * len(series))
    panel = alt.layer(*layers).properties(width=width - extent - 30, height=alt.Step(step))
    return panel.properties(title=alt.TitleParams(title, anchor="start", frame="bounds", fontSize=13)) if title else panel
