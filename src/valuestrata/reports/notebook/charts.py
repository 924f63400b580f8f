"""The report's figures of scores as Altair charts, for notebooks: `vs.plot_scores(dataset, runs, scores)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.formatting import capital
from valuestrata.reports.closed.figures import SHAPES, Chart, LegendEntry, overview_chart, score_charts, subgroup_rows, topic_rows
from valuestrata.reports.core.theme import INK, theme
from valuestrata.reports.core.view import RunLike, views_of

if TYPE_CHECKING:
    import altair

Grouping = Literal["all", "subgroup", "topic"]
GROUPINGS: tuple[Grouping, ...] = ("all", "subgroup", "topic")
# Swatches of the legend that are not shapes of runs -> Vega's name of the shape.
_OTHER_SHAPES = {"tick": "stroke", "dash": "stroke", "diamond": "diamond"}
# Height of a line of the legend, in pixels.
_LINE = 18


def plot_scores(dataset: Dataset, runs: Sequence[RunLike], scores: pl.DataFrame, *, by: Grouping = "all") -> altair.VConcatChart:
    """Return a figure of the report as an Altair chart, which can be changed and saved.

    Args:
        dataset: the ground truth.
        runs: the scored runs, baselines included.
        scores: SCORES, such as `assess(...).scores`; the first split and part are shown.
        by: `all` for one row per run with ceilings; `subgroup` or `topic` for accuracy and NMAE of up to four models in each of them.

    Returns:
        The chart, with its legend above and its caption below the title.

    Raises:
        UsageError: an unknown grouping.
        InputDataError: the scores are empty, or nothing was scored in this grouping.
    """
    import altair as alt

    if by not in GROUPINGS:
        raise UsageError(f"by={by!r}: there is no such figure.{did_you_mean(by, GROUPINGS)}")
    views = views_of(dataset, runs, scores)
    charts = _charts(views[0], by) if views else []
    if not charts:
        what = "over all pairs" if by == "all" else f"by {by}"
        raise InputDataError(f"The scores hold no score {what}, so there is no figure. Score the runs with `assess` or `score`.")
    first = charts[0][1]
    rows = [chart.source.properties(title=alt.TitleParams(group)) if group else chart.source for group, chart in charts]
    heading = "Scores of all runs" if by == "all" else f"Scores by {by}"
    made = alt.vconcat(_legend(first.legend), *rows, spacing=10).resolve_scale(color="independent", shape="independent")
    lines = first.caption.replace(". ", ".\n").splitlines()
    titled = made.properties(title=alt.TitleParams(f"{heading}: {views[0].title}", subtitle=lines, anchor="start"))
    # Notebooks may be dark; the colours of the marks need a light ground.
    document = {**_without_links(titled.to_dict(validate=False)), "config": {**theme(), "background": "white", "padding": 12}}
    return alt.VConcatChart.from_dict(document, validate=False)


def _charts(view: Any, by: Grouping) -> list[tuple[str, Chart]]:
    """Return the figures with their headings."""
    if by == "all":
        chart = overview_chart(view, "scores")
        return [] if chart is None else [("", chart)]
    rows = subgroup_rows(view) if by == "subgroup" else topic_rows(view)
    return [(capital(group), chart) for group, chart in score_charts(view, by, rows, "scores")]


def _legend(entries: Sequence[LegendEntry]) -> Any:
    """Return the legend of a figure as a chart: a shape and a name on each line."""
    import altair as alt

    base = alt.Chart(alt.Data(values=[{}])).encode(x=alt.value(8))
    layers: list[Any] = []
    for place, entry in enumerate(entries):
        line = base.encode(y=alt.value(_LINE * place + _LINE / 2))
        shape = SHAPES.get(entry.shape) or _OTHER_SHAPES.get(entry.shape, "square")
        filled = entry.shape in SHAPES
        layers.append(line.mark_point(shape=shape, filled=filled, color=entry.colour, size=60, opacity=1, strokeWidth=1.8))
        layers.append(line.mark_text(text=entry.name, align="left", dx=12, fontSize=12, color=INK))
    return alt.layer(*layers).properties(width=600, height=_LINE * len(entries))


def _without_links(part: Any) -> Any:
    """Return a specification whose marks do not lead to the explorer of a page."""
    if isinstance(part, dict):
        return {key: _without_links(value) for key, value in part.items() if key != "href"}
    return [_without_links(value) for value in part] if isinstance(part, list) else part
