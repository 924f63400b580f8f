"""The first figure of an audit: every subgroup beside what noise alone gives and what the best baseline shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.fairness.assemble import Audit
from valuestrata.formatting import LOWER_IS_BETTER, metric_title, number, percent
from valuestrata.reports.closed.figures import Chart, LegendEntry
from valuestrata.reports.core.links import explore_link
from valuestrata.reports.core.names import clipped, stratum_titles, subgroup_titles
from valuestrata.reports.core.theme import GRID, INK, combined, to_svg

WIDTH = 1060
# Height of a row, and most panels side by side.
ROW, COLUMNS = 17, 3
BAND, MODEL, WORSE = "#c9d1d9", "#0072B2", "#D55E00"


def subgroup_chart(dataset: Dataset, audit: Audit, run: str, metric: str, name: str) -> Chart | None:
    """Chart every subgroup against what its stratum would score if all were served alike, sorted within the stratum.

    Right of the line is better than that. Each row has the score with its interval, the range of noise alone, and the same
    difference of the best cheap baseline.

    Args:
        dataset: for titles. audit: its groups and gaps. run, metric: which of them. name: unique within the page.

    Returns:
        None where no subgroup has a score and a range of noise.
    """
    of_metric = audit.groups.filter((pl.col("metric") == metric) & pl.col("value").is_not_null() & pl.col("alike_low").is_not_null())
    baseline = next(iter(audit.gaps.filter(pl.col("run") == run, pl.col("metric") == metric)["baseline"].drop_nulls()), None)
    better = -1.0 if metric in LOWER_IS_BETTER else 1.0
    beside = {row["subgroup"]: better * _above(row) for row in of_metric.filter(pl.col("run") == baseline).to_dicts() if baseline != run}
    titles = subgroup_titles(dataset)
    values = [_mark(row, better, beside, titles) for row in of_metric.filter(pl.col("run") == run).to_dicts()]
    if not values:
        return None
    strata = stratum_titles(dataset)
    panels: dict[str, list[dict[str, Any]]] = {}
    for value in sorted(values, key=lambda one: (list(strata).index(one["stratum"]), one["value"])):
        panels.setdefault(value["stratum"], []).append(value)
    ends = [abs(v) for one in values for v in (one["value"], one["low"], one["high"], one["noise_high"], one["baseline"]) if v is not None]
    reach = min(1.0, max(0.05, 1.06 * max(ends)))
    columns = _columns({stratum: len(rows) + 2 for stratum, rows in panels.items()})
    extent = min(190, max(70, round(5.7 * max(len(one["label"]) for one in values)) + 10))
    width = (WIDTH - 30 * (len(columns) - 1)) // len(columns) - extent - 8
    drawn = [
        combined(
            "vconcat",
            [_panel(panels[stratum], strata[stratum], reach, extent, width, last=stratum == column[-1]) for stratum in column],
            spacing=10,
        )
        for column in columns
    ]
    said = f"{metric_title(metric)} of every subgroup above or below equal service, {run}"
    svg = to_svg(combined("hconcat", drawn, spacing=30), name, said)
    legend = [
        LegendEntry("within noise", MODEL, "ring"),
        LegendEntry("served worse, corrected over the subgroups of the run", WORSE, "dot"),
    ]
    if beside:
        legend.append(LegendEntry(f"best cheap baseline: {str(baseline).removeprefix('baseline-')}", INK, "tick"))
    legend.append(LegendEntry("range from noise alone", BAND, "band"))
    return Chart(svg, _caption(audit, metric, with_baseline=bool(beside)), tuple(legend))


def _caption(audit: Audit, metric: str, *, with_baseline: bool) -> str:
    said = (
        f"{metric_title(metric)} minus what the subgroup would score if all subgroups of its stratum were served alike; right of the line "
        f"is better. Bars are {percent(audit.confidence)} intervals. The claims are corrected over all main findings, so they may name "
        "fewer subgroups."
    )
    same = " Where the baseline shows the same difference, the questions explain it and not the model."
    return said + (same if with_baseline else "")


def _above(row: Mapping[str, Any]) -> float:
    """Return a score minus the middle of its range under equal service."""
    return float(row["value"] - (row["alike_low"] + row["alike_high"]) / 2)


def _mark(row: Mapping[str, Any], better: float, beside: Mapping[str, float], titles: Mapping[str, str]) -> dict[str, Any]:
    """Return a row of the chart; every number is a difference in which positive is better."""
    middle, value = (row["alike_low"] + row["alike_high"]) / 2, better * _above(row)
    known = row["ci_low"] is not None and row["ci_high"] is not None
    low, high = sorted((better * (row["ci_low"] - middle), better * (row["ci_high"] - middle))) if known else (None, None)
    half = (row["alike_high"] - row["alike_low"]) / 2
    title, worse = titles.get(row["subgroup"], row["subgroup"]), bool(row["worst"])
    said = f"{title}: {number(row['value'])}, {number(value)} from equal service; noise alone up to {number(half)} either way"
    return {
        "stratum": row["stratum"],
        "label": clipped(title, 34),
        "value": value,
        "low": low,
        "high": high,
        "noise_low": -half,
        "noise_high": half,
        "baseline": beside.get(row["subgroup"]),
        "worse": worse,
        "go": explore_link(run=row["run"], subgroup=row["subgroup"]),
        "said": said + ("; served worse" if worse else ""),
    }


def _columns(heights: Mapping[str, int]) -> list[list[str]]:
    """Return the panels of each column, in order, so that the columns are about equally high."""
    number_of = min(COLUMNS, len(heights))
    room, found = sum(heights.values()) / number_of, list[list[str]]([[]])
    filled = 0.0
    for stratum, height in heights.items():
        if found[-1] and len(found) < number_of and filled + height / 2 > room * len(found):
            found.append([])
        found[-1].append(stratum)
        filled += height
    return found


def _panel(values: list[dict[str, Any]], title: str, reach: float, extent: int, width: int, *, last: bool) -> dict[str, Any]:
    """Return a panel as a Vega-Lite specification; Altair's objects take longer than the rendering."""
    labels = [value["label"] for value in values]
    names: dict[str, Any] = {"title": None, "minExtent": extent, "maxExtent": extent, "labelLimit": extent, "labelFontSize": 11}
    names |= {"grid": True, "gridColor": GRID}
    y = {"field": "label", "type": "nominal", "sort": labels, "axis": names, "scale": {"domain": labels, "padding": 0.1}}
    written = "datum.value == 0 ? '0' : format(datum.value, '+.2f')"
    axis = {"title": "worse  ←  →  better" if last else None, "labels": last, "labelExpr": written, "tickCount": 5}

    def layer(mark: dict[str, Any], field: str, only: str = "", **encoding: Any) -> dict[str, Any]:
        x = {"field": field, "type": "quantitative", "axis": axis, "scale": {"domain": [-reach, reach], "nice": False, "clamp": True}}
        return {"mark": mark, "encoding": {"x": x, "y": y, **encoding}, "transform": [{"filter": only}] if only else []}

    told = {"description": {"field": "said", "type": "nominal"}, "href": {"field": "go", "type": "nominal"}}
    colour = {"field": "worse", "type": "nominal", "scale": {"domain": [False, True], "range": [MODEL, WORSE]}, "legend": None}
    dot = {"type": "point", "filled": True, "opacity": 1, "aria": True}
    zero = layer({"type": "rule", "color": INK, "strokeWidth": 1.2}, "at")
    zero = {**zero, "data": {"values": [{"at": 0}]}, "encoding": {"x": zero["encoding"]["x"]}}
    layers = [
        layer({"type": "bar", "color": BAND, "opacity": 0.6, "height": {"band": 0.9}}, "noise_low", x2={"field": "noise_high"}),
        zero,
        layer({"type": "rule", "strokeWidth": 2, "opacity": 0.6}, "low", "isValid(datum.low)", x2={"field": "high"}, color=colour),
        layer({"type": "tick", "color": INK, "thickness": 2, "size": ROW - 5}, "baseline", "isValid(datum.baseline)"),
        layer({**dot, "fill": "white", "stroke": MODEL, "strokeWidth": 1.6, "size": 44}, "value", "!datum.worse", **told),
        layer({**dot, "color": WORSE, "size": 60}, "value", "datum.worse", **told),
    ]
    heading = {"text": title, "anchor": "start", "frame": "bounds", "fontSize": 12}
    return {"data": {"values": values}, "layer": layers, "width": width, "height": {"step": ROW}, "title": heading}
