"""Chart of a new question: predicted shares with their intervals, a row for each subgroup and a panel for each option."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.formatting import number, percent
from valuestrata.prediction.questions import NewQuestion
from valuestrata.reports.closed.figures import COLUMN, Chart
from valuestrata.reports.core.names import clipped
from valuestrata.reports.core.theme import GRID, MUTED, PALETTE, combined, to_svg

# More options than this are drawn as one mean position.
MOST_PANELS = 6
_ROW = 22
_SHARE, _POSITION = ("share", "low", "high"), ("position", "position_low", "position_high")
Dot = dict[str, Any]


def question_chart(question: NewQuestion, rows: pl.DataFrame, titles: Mapping[str, str], name: str) -> Chart:
    """Draw the intervals of one question.

    Args:
        question: the question. rows: its PREDICTIONS rows, of the subgroups to draw. titles: subgroup -> label, in the order of rows.
        name: unique within the page.
    """
    order = list(dict.fromkeys(titles[subgroup] for subgroup in rows["subgroup"]))
    by_option = len(question.options) <= MOST_PANELS or question.scale == "nominal"
    if by_option:
        panels = [
            (option, _values(rows.filter(pl.col("option") == option), titles, _SHARE, percent)) for option in question.options[:MOST_PANELS]
        ]
    else:
        first = rows.unique("subgroup", keep="first", maintain_order=True)
        panels = [(f"Mean position: 0 {question.options[0]}, 1 {question.options[-1]}", _values(first, titles, _POSITION, number))]
    extent = min(300, max(110, round(6.7 * max(len(label) for label in order)) + 14))
    width = max(90, (COLUMN - extent) // len(panels) - 24)
    drawn = [_panel(values, title, order, extent if not place else 0, width, by_option) for place, (title, values) in enumerate(panels)]
    chart = combined("hconcat", drawn, spacing=14) if len(drawn) > 1 else drawn[0]
    what = "shares" if by_option else "mean positions"
    caption = (
        f"Dots: predicted {what}. Lines: 90 % intervals of what a survey with as many answers of the subgroup would find. "
        "Combinations of attributes are in the table."
    )
    if by_option and len(question.options) > MOST_PANELS:
        caption += f" The first {MOST_PANELS} options are drawn."
    return Chart(to_svg(chart, name, f"{question.text} Predicted {what} by subgroup, with 90 % intervals."), caption, ())


def _values(rows: pl.DataFrame, titles: Mapping[str, str], columns: Sequence[str], write: Callable[[float], str]) -> list[Dot]:
    """Return the dots of one panel; `columns` are the value and the ends of its interval."""
    made: list[Dot] = []
    for row in rows.iter_rows(named=True):
        label, (value, low, high) = titles[row["subgroup"]], (row[column] for column in columns)
        described = f"{label}: {write(value)}, 90 % interval {write(low)} to {write(high)}"
        made.append({"label": label, "value": value, "low": low, "high": high, "outside": row["outside"], "description": described})
    return made


def _panel(values: Sequence[Dot], title: str, order: list[str], extent: int, width: int, shares: bool) -> Any:
    import altair as alt

    colour = MUTED if any(value["outside"] for value in values) else PALETTE[0]
    labels = alt.Axis(title=None, minExtent=extent, maxExtent=extent, grid=True, gridColor=GRID) if extent else None
    y = alt.Y("label:N", sort=order, axis=labels, scale=alt.Scale(domain=order, paddingInner=0.2, paddingOuter=0.1))
    ticks = alt.Axis(title=None, format=".0%" if shares else ".1f", values=[0, 0.5, 1] if width < 160 else [0, 0.25, 0.5, 0.75, 1])
    scale = alt.Scale(domain=[0, 1], nice=False)
    base = alt.Chart(alt.Data(values=[dict(value) for value in values])).encode(y=y)
    bars = base.mark_rule(color=colour, strokeWidth=2, opacity=0.55).encode(x=alt.X("low:Q", scale=scale, axis=ticks), x2="high:Q")
    marks = base.mark_point(filled=True, color=colour, size=46, opacity=1, aria=True)
    dots = marks.encode(x=alt.X("value:Q", scale=scale, axis=ticks), description="description:N")
    heading = alt.TitleParams(clipped(title, max(12, width // 7)), anchor="start", fontSize=12)
    return alt.layer(bars, dots).properties(width=width, height=alt.Step(_ROW), title=heading)
