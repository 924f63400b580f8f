"""Charts of an audit: gaps between levels, scores before and after, and intersections."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import polars as pl

from valuestrata.claims.fairness.gaps import reference_level
from valuestrata.dataset.tables import Dataset
from valuestrata.fairness.assemble import Audit
from valuestrata.formatting import LOWER_IS_BETTER, metric_title, number, percent
from valuestrata.formatting import title as title_of
from valuestrata.reports.closed.figures import COLUMN, SHAPES, Chart, LegendEntry
from valuestrata.reports.core.links import explore_link
from valuestrata.reports.core.names import attribute_titles, clipped, stratum_titles
from valuestrata.reports.core.theme import GRID, INK, MUTED, combined, to_svg

# Points of a row of the chart of gaps: columns of GAPS, name, colour, shape.
SIDES = (
    ("gap", "ci_low", "ci_high", "raw", "#0072B2", "circle"),
    ("excess", "excess_low", "excess_high", "minus the baseline's gap", "#D55E00", "diamond"),
    ("adjusted", "adjusted_low", "adjusted_high", "at equal difficulty", "#009E73", "square"),
)
# Names of these shapes on the page.
SWATCHES = {"circle": "dot", "diamond": "gem", "square": "square"}
BAND = "#c9d1d9"
OUTCOMES = (("better", "#0072B2", "triangle"), ("worse", "#D55E00", "wedge"), ("not shown", MUTED, "dot"))
# One hue on each side of a pale middle.
DIVERGING = ("#b35806", "#e08214", "#fdb863", "#fee0b6", "#f7f7f7", "#d8daeb", "#b2abd2", "#8073ac", "#542788")


def gap_chart(dataset: Dataset, audit: Audit, run: str, metric: str, name: str) -> Chart | None:
    """Chart every level against the one with most pairs: raw gap, minus the baseline's and at equal difficulty, with the range of noise.

    Args:
        dataset: for titles and the order of levels. audit: its gaps. run, metric: which of them. name: unique within the page.

    Returns:
        None where no gap has a value.
    """
    rows = audit.gaps.filter((pl.col("run") == run) & (pl.col("metric") == metric) & pl.col("gap").is_not_null()).to_dicts()
    if not rows:
        return None
    titles, order = attribute_headings(dataset), level_order(dataset)
    noise = NormalDist().inv_cdf((1 + audit.confidence) / 2)
    better = -1.0 if metric in LOWER_IS_BETTER else 1.0
    panels: list[tuple[str, str, list[dict[str, Any]]]] = []
    for attribute in dict.fromkeys(row["attribute"] for row in rows):
        mine = [row for row in rows if row["attribute"] == attribute]
        reference = reference_level(mine)
        values = [
            one for row in mine if reference in (row["level"], row["against_level"]) for one in _gap_values(row, reference, better, noise)
        ]
        values.sort(key=lambda value: order.get((attribute, value["label"]), 0))
        panels.append((titles.get(str(attribute), str(attribute)), reference, values))
    everything = [value for *_, values in panels for value in values]
    reach = max(abs(v) for value in everything for v in (value["value"], value["low"], value["high"], value["noise"]) if v is not None)
    reach = min(2.0, max(0.05, round(1.08 * reach + 0.005, 2)))
    extent = min(300, max(90, round(6.3 * max(len(value["label"]) for value in everything)) + 12))
    shown = [side for side in SIDES if any(value["side"] == side[3] for value in everything)]
    drawn = [_gap_panel(values, f"{title}: against {reference}", reach, extent, shown, metric) for title, reference, values in panels]
    svg = to_svg(combined("vconcat", drawn, spacing=16), name, f"Gaps between levels in {metric_title(metric)}, {run}")
    marks = tuple(LegendEntry(label, colour, SWATCHES[shape]) for *_, label, colour, shape in shown)
    caption = (
        "Right of the line: served better than the level in the heading, which has most pairs. Bars are "
        f"{percent(audit.confidence)} intervals, not corrected for multiple tests. Grey: range of as many raw gaps under equal service. "
        "Where both other marks are near the line, the raw gap may not be due to the model."
    )
    return Chart(svg, caption, (*marks, LegendEntry("noise alone, raw gap", BAND, "square")))


def _gap_values(row: dict[str, Any], reference: str, better: float, width: float) -> list[dict[str, Any]]:
    """Return the points of a row of GAPS, up to three, for the level that is not the reference; noise spans `width` standard errors."""
    sign = better if row["against_level"] == reference else -better
    label = row["level"] if row["against_level"] == reference else row["against_level"]
    made: list[dict[str, Any]] = []
    for column, low, high, side, *_ in SIDES:
        if row[column] is None:
            continue
        inside = sorted((sign * row[low], sign * row[high])) if row[low] is not None and row[high] is not None else [None, None]
        value = sign * row[column]
        said = f"{label} against {reference}, {side}: {number(value)}"
        said += f" ({number(inside[0])} to {number(inside[1])})" if inside[0] is not None else ""
        noise = None if row["se"] is None else width * row["se"]
        go = explore_link(run=row["run"], attribute=f"{row['attribute']}={label}")
        ends = {"low": inside[0], "high": inside[1], "noise": noise}
        made.append({"label": label, "side": side, "value": value, **ends, "said": said, "go": go})
    return made


def _gap_panel(values: list[dict[str, Any]], title: str, reach: float, extent: int, sides: Sequence[tuple[str, ...]], metric: str) -> Any:
    import altair as alt

    labels = list(dict.fromkeys(value["label"] for value in values))
    axis = alt.Axis(title=None, minExtent=extent, maxExtent=extent, grid=True, gridColor=GRID)
    y = alt.Y("label:N", sort=labels, axis=axis, scale=alt.Scale(domain=labels, paddingInner=0.2, paddingOuter=0.1))
    # Zero has no sign.
    written = "datum.value == 0 ? '0' : format(datum.value, '+.2f')"
    ticks = alt.Axis(title=f"served worse  ←  {metric_title(metric)}  →  served better", labelExpr=written, tickCount=7)
    scale = alt.Scale(domain=[-reach, reach], nice=False, clamp=True)
    bands = [
        {"label": v["label"], "low": -v["noise"], "high": v["noise"]} for v in values if v["side"] == sides[0][3] and v["noise"] is not None
    ]
    layers: list[Any] = []
    if bands:
        band = alt.Chart(alt.Data(values=bands)).mark_bar(color=BAND, opacity=0.55, height=alt.RelativeBandSize(0.92))
        layers.append(band.encode(x=alt.X("low:Q", scale=scale, axis=ticks), x2="high:Q", y=y))
    layers.append(
        alt.Chart(alt.Data(values=[{"at": 0}])).mark_rule(color=INK, strokeWidth=1.2).encode(x=alt.X("at:Q", scale=scale, axis=ticks))
    )
    for place, (*_, side, colour, shape) in enumerate(sides):
        mine = alt.Chart(alt.Data(values=[value for value in values if value["side"] == side]))
        shift = 11 * place - 5.5 * (len(sides) - 1)
        bars = mine.transform_filter("isValid(datum.low)").mark_rule(color=colour, strokeWidth=2, opacity=0.6, yOffset=shift)
        layers.append(bars.encode(x=alt.X("low:Q", scale=scale, axis=ticks), x2="high:Q", y=y))
        dots = mine.mark_point(filled=True, color=colour, shape=shape, size=56, opacity=1, aria=True, yOffset=shift)
        layers.append(dots.encode(x=alt.X("value:Q", scale=scale, axis=ticks), y=y, description="said:N", href="go:N"))
    heading = alt.TitleParams(title, anchor="start", frame="bounds", fontSize=13)
    return combined("layer", layers, width=560, height=alt.Step(44), title=heading)


def slope_chart(dataset: Dataset, audit: Audit, run: str, metric: str, name: str) -> Chart | None:
    """Chart the score of every level before and after, a panel per attribute; None without a comparison.

    Args:
        dataset: for titles and the order of levels. audit: its changes. run, metric: which of them. name: unique within the page.
    """
    where = (pl.col("run") == run) & (pl.col("metric") == metric) & (pl.col("by") == "level") & (pl.col("measure") == "score")
    rows = audit.changes.filter(where & pl.col("change").is_not_null()).to_dicts()
    if not rows:
        return None
    against = str(rows[0]["against"])
    titles = attribute_headings(dataset)
    attributes = list(dict.fromkeys(str(row["key"]).partition("=")[0] for row in rows))
    values = [v for row in rows for v in (row["before"], row["after"])]
    room = 0.12 * max(max(values) - min(values), 0.05)
    domain = [max(0.0, min(values) - room), min(1.0, max(values) + room)]
    panels: list[Any] = []
    for attribute in attributes:
        mine = [row for row in rows if row["key"].startswith(f"{attribute}=")]
        panels.append(_slope_panel(mine, titles.get(str(attribute), str(attribute)), domain, metric, first=attribute == attributes[0]))
    per_row = max(1, COLUMN // 350)
    lines = [combined("hconcat", panels[at : at + per_row], spacing=30) for at in range(0, len(panels), per_row)]
    # The font of the browser may be wider than the one used for the layout.
    room_aside = {"left": 5, "right": 45, "top": 5, "bottom": 5}
    svg = to_svg(
        combined("vconcat", lines, spacing=20, padding=room_aside), name, f"{metric_title(metric)} of every level: {against}, then {run}"
    )
    found = {row["outcome"] or "not shown" for row in rows}
    legend = tuple(
        LegendEntry(word if word == "not shown" else f"{word} beyond noise", colour, shape)
        for word, colour, shape in OUTCOMES
        if word in found
    )
    way = "Lower" if metric in LOWER_IS_BETTER else "Higher"
    caption = (
        f"Left {against}, right {run}, on common pairs. {way} is better. Coloured where the paired change is beyond noise (Holm over all "
        "levels). Converging lines are no evidence of a fairer model: check whether the best fell or the worst rose."
    )
    return Chart(svg, caption, legend)


def _slope_panel(rows: list[dict[str, Any]], title: str, domain: list[float], metric: str, *, first: bool) -> Any:
    import altair as alt

    points: list[dict[str, Any]] = []
    names: list[dict[str, Any]] = []
    for row, at in zip(rows, apart([row["after"] for row in rows], domain, 15 / 260), strict=True):
        level = str(row["key"]).partition("=")[2]
        said = f"{level}: {number(row['before'])} before, {number(row['after'])} after, change {number(row['change'])}"
        said += f" ({number(row['ci_low'])} to {number(row['ci_high'])})" if row["ci_low"] is not None else ""
        shared = {"level": level, "outcome": row["outcome"] or "not shown", "said": said}
        go = explore_link(run=row["run"], versus=row["against"], attribute=row["key"])
        points += [{**shared, "time": time, "value": row[time], "go": go} for time in ("before", "after")]
        names.append({**shared, "time": "after", "value": at})
    colour = alt.Color("outcome:N", scale=alt.Scale(domain=[w for w, *_ in OUTCOMES], range=[c for _, c, _ in OUTCOMES]), legend=None)
    shapes = alt.Scale(domain=[w for w, *_ in OUTCOMES], range=[SHAPES[s] for *_, s in OUTCOMES])
    shape = alt.Shape("outcome:N", scale=shapes, legend=None)
    across = alt.X("time:N", sort=["before", "after"], axis=alt.Axis(title=None, labelAngle=0, orient="top"), scale=alt.Scale(padding=0.35))
    up = alt.Axis(title=metric_title(metric) if first else None, grid=True, gridColor=GRID, format=".2f", tickCount=5)
    y = alt.Y("value:Q", scale=alt.Scale(domain=domain, nice=False, zero=False), axis=up)
    base = alt.Chart(alt.Data(values=points)).encode(x=across, y=y, color=colour)
    lines = base.mark_line(strokeWidth=2, opacity=0.75).encode(detail="level:N")
    dots = base.mark_point(filled=True, size=46, opacity=1, aria=True).encode(shape=shape, description="said:N", href="go:N")
    words = alt.Chart(alt.Data(values=names)).mark_text(align="left", dx=9, fontSize=11, color=INK, limit=170)
    text = words.encode(x=across, y=y, text="level:N")
    heading = alt.TitleParams(title, anchor="start", fontSize=13)
    return combined("layer", (lines, dots, text), width=255, height=260, title=heading)


def apart(values: Sequence[float], domain: Sequence[float], step: float) -> list[float]:
    """Move labels at least `step` of the domain apart, in the same order and as close to their values as possible.

    Isotonic regression of the values minus rank * step: neighbours that would overlap are pooled.
    """
    gap = step * (domain[1] - domain[0])
    order = sorted(range(len(values)), key=lambda at: values[at])
    pools: list[tuple[float, int]] = []
    for rank, at in enumerate(order):
        total, size = values[at] - rank * gap, 1
        while pools and pools[-1][0] / pools[-1][1] > total / size:
            before, number_of = pools.pop()
            total, size = total + before, size + number_of
        pools.append((total, size))
    levels = [total / size for total, size in pools for _ in range(size)]
    placed = [0.0] * len(values)
    for rank, at in enumerate(order):
        placed[at] = levels[rank] + rank * gap
    # Labels above the top move down and push those below.
    top = float(domain[1])
    for at in reversed(order):
        placed[at] = min(placed[at], top)
        top = placed[at] - gap
    return placed


def intersection_chart(dataset: Dataset, audit: Audit, run: str, metric: str, name: str) -> Chart | None:
    """Draw the excess of each cell over what its two levels predict, per stratum of two attributes; cells within noise are muted.

    Args:
        dataset: for levels and titles. audit: its excess. run, metric: which of them. name: unique within the page.

    Returns:
        None where no cell of two attributes has a value.
    """
    titles, attributes = attribute_titles(dataset), dataset.attributes
    alpha = 1 - audit.confidence
    cells = audit.excess.filter((pl.col("run") == run) & (pl.col("metric") == metric))
    cells = cells.join(dataset.subgroups.select("subgroup", *attributes), on="subgroup", how="left", maintain_order="left")
    if cells.is_empty() or cells["excess"].is_not_null().sum() == 0:
        return None
    better = -1.0 if metric in LOWER_IS_BETTER else 1.0
    top = max(0.05, *(abs(value) for value in cells["excess"].drop_nulls()))
    order = level_order(dataset)
    panels: list[Any] = []
    for stratum, title in stratum_titles(dataset).items():
        mine = cells.filter(pl.col("stratum") == stratum)
        used = [attribute for attribute in attributes if len(mine) and mine[attribute].is_not_null().all()]
        if len(used) != 2:
            continue
        down, across = sorted(used, key=lambda attribute: -mine[attribute].n_unique())
        panels.append(_matrix(mine.to_dicts(), down, across, better, top, alpha, order, title, titles))
    if not panels:
        return None
    per_row = 2
    lines = [combined("hconcat", panels[at : at + per_row], spacing=30) for at in range(0, len(panels), per_row)]
    svg = to_svg(combined("vconcat", lines, spacing=24), name, f"Intersections in {metric_title(metric)}, {run}")
    caption = (
        f"How much better (violet) or worse (orange) a cell is served in {title_of(metric)} than its two levels predict. In brackets and "
        f"without color: within noise, screened over all cells at a false discovery rate of {percent(alpha)}. Star: significant after "
        "correction for all cells (Holm). Dash: no such cell, or too few others."
    )
    return Chart(svg, caption)


def _matrix(
    rows: list[dict[str, Any]],
    down: str,
    across: str,
    better: float,
    top: float,
    alpha: float,
    order: dict[tuple[str, str], int],
    title: str,
    titles: dict[str, str],
) -> Any:
    import altair as alt

    found = {(row[down], row[across]): row for row in rows}
    side = {a: sorted({str(row[a]) for row in rows}, key=lambda level: order.get((a, level), 0)) for a in (down, across)}
    values: list[dict[str, Any]] = []
    for one in side[down]:
        for other in side[across]:
            row = found.get((one, other))
            value = None if row is None or row["excess"] is None else better * row["excess"]
            place = {"row": clipped(one, 30), "column": clipped(other, 30)}
            if row is None or value is None:
                values.append({**place, "value": None, "text": "–", "shown": False, "said": f"{one}, {other}: not known"})
                continue
            screened = row["p_bh"] is not None and row["p_bh"] <= alpha
            sure = row["p_holm"] is not None and row["p_holm"] <= alpha
            text = f"{number(value, 2)}*" if sure else number(value, 2) if screened else f"({number(value, 2)})"
            said = f"{one}, {other}: {number(value)}" + ("" if row["p_holm"] is None else f", p {number(row['p_holm'])} (Holm)")
            go = explore_link(run=row["run"], subgroup=row["subgroup"])
            values.append({**place, "value": value, "text": text, "shown": screened, "said": said, "go": go})
    columns, lines = [clipped(level, 30) for level in side[across]], [clipped(level, 30) for level in side[down]]
    extent = min(220, max(60, round(6.3 * max(map(len, lines))) + 12))
    x = alt.X(
        "column:N",
        sort=columns,
        scale=alt.Scale(domain=columns),
        axis=alt.Axis(title=None, orient="top", labelAngle=-35, labelAlign="left", labelLimit=140),
    )
    y = alt.Y("row:N", sort=lines, scale=alt.Scale(domain=lines), axis=alt.Axis(title=None, minExtent=extent, maxExtent=extent))
    base = alt.Chart(alt.Data(values=values)).encode(x=x, y=y)
    frames = (
        base.transform_filter("isValid(datum.value)")
        .mark_rect(fill=None, stroke=GRID, strokeWidth=1, aria=True)
        .encode(description="said:N", href="go:N")
    )
    scale = alt.Scale(domain=[-top, top], range=list(DIVERGING), clamp=True)
    cells = base.transform_filter("datum.shown").mark_rect(stroke="white", strokeWidth=1, aria=True)
    cells = cells.encode(color=alt.Color("value:Q", scale=scale, legend=None), description="said:N", href="go:N")
    deep = f"datum.shown && abs(datum.value) > {0.6 * top}"
    muted = base.transform_filter("!datum.shown").mark_text(fontSize=11, color=MUTED).encode(text="text:N")
    pale = (
        base.transform_filter(f"datum.shown && !({deep})").mark_text(fontSize=11, fontWeight="bold", color="#1b1f23").encode(text="text:N")
    )
    dark = base.transform_filter(deep).mark_text(fontSize=11, fontWeight="bold", color="#ffffff").encode(text="text:N")
    heading = alt.TitleParams(title, anchor="start", frame="group", fontSize=13, offset=8)
    return combined("layer", (frames, cells, muted, pale, dark), width=alt.Step(56), height=alt.Step(26), title=heading)


def attribute_headings(dataset: Dataset) -> dict[str, str]:
    """Return attribute -> heading: its title, with its name in brackets where that differs."""
    titles = attribute_titles(dataset)
    return {name: title if title.lower() == name.lower() else f"{title} ({name})" for name, title in titles.items()}


def level_order(dataset: Dataset) -> dict[tuple[str, str], int]:
    """Return (attribute, level) -> its place in the data set's document."""
    return {(a["name"], str(level["label"])): i for a in dataset.meta.get("attributes", []) for i, level in enumerate(a["levels"])}
