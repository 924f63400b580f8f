"""Heat maps: diversity of subgroups, and answers of a model by the most common answer of the subgroup."""

from __future__ import annotations

from typing import Any

import polars as pl

from valuestrata.dataset.landscape import MEASURES, averaged, has_null, no_null
from valuestrata.dataset.tables import Dataset
from valuestrata.formatting import count, number
from valuestrata.reports.closed.figures import COLUMN, Chart
from valuestrata.reports.core.links import explore_link
from valuestrata.reports.core.names import clipped, stratum_titles
from valuestrata.reports.core.theme import INK, SEQUENTIAL, to_svg
from valuestrata.reports.core.view import Entry, RunLike, View
from valuestrata.responses.run.halves import response_keys, scored_responses

# Most items with a row of their own; beyond, rows are topics and items are shown in a table.
MOST_ITEMS = 60
TITLES = (("mds", "Modal Diversity Score"), ("wasserstein", "Mean Wasserstein distance"))
BY_CHANCE = (
    "Small number below: the value by chance, with respondents permuted among the subgroups of the stratum. Bold: above 97.5 % of the "
    "permutations. By chance alone, about 1 in 40 cells is bold."
)
# Narrowest cell for a number of two digits.
SMALLEST_CELL = 28
# Cells have the same colours in light and dark mode, so their text does too.
ON_PALE, ON_DEEP = "#1b1f23", "#ffffff"


def landscape_cells(dataset: Dataset, by: str) -> pl.DataFrame:
    """Return the landscape by `item` or `topic`: that column, stratum, and each measure (means over a topic's items).

    Beside each measure its mean and 95 % range by chance: `_null`, `_null_low`, `_null_high`.
    """
    frame = dataset.landscape.join(dataset.items.select("item", "topic"), on="item", how="left", maintain_order="left")
    if by == "topic":
        frame = averaged(frame, ["topic", "stratum"])
    return frame.select(by, "stratum", *(f"{name}{part}" for name in MEASURES for part in ("", "_null", "_null_low", "_null_high")))


def by_chance(null: float | None, low: float | None, high: float | None) -> str:
    """Write the mean and the 95 % range by chance: `.20 [.09–.31]`; empty if unknown."""
    return "" if null is None else f"{number(null, 2)} [{number(low, 2)}–{number(high, 2)}]"


def _in_order(frame: pl.DataFrame, column: str) -> list[str]:
    return [str(value) for value in frame[column].unique(maintain_order=True)]


def landscape_by(dataset: Dataset) -> str:
    """Return `item`, or `topic` if there are many items: the rows of the heat map."""
    return "item" if len(dataset.items) <= MOST_ITEMS else "topic"


def item_labels(dataset: Dataset) -> dict[str, str]:
    """Return item -> `Q1  Short beginning of the question`."""
    return {item: f"{item}  {clipped(question or '', 44)}" for item, question in dataset.items.select("item", "question").iter_rows()}


def landscape_chart(dataset: Dataset, name: str, scored: pl.DataFrame | None = None) -> Chart | None:
    """Draw heat maps of the Modal Diversity Score and of the mean Wasserstein distance.

    Args:
        dataset: the ground truth. name: unique within the page.
        scored: pairs (item, subgroup) that the explorer of the page has; cells with any of them lead there.
    """
    import altair as alt

    by = landscape_by(dataset)
    frame = landscape_cells(dataset, by)
    if frame.is_empty() or frame["mds"].is_not_null().sum() == 0:
        return None
    strata, labels = stratum_titles(dataset), item_labels(dataset) if by == "item" else {}
    columns = [strata.get(stratum, stratum) for stratum in _in_order(frame, "stratum")]
    rows = [labels.get(key, key) for key in _in_order(frame, by)]
    extent = min(340, max(90, round(6.3 * max(map(len, rows))) + 12))
    measures = [(metric, title) for metric, title in TITLES if frame[metric].is_not_null().any()]
    # The last slanted heading extends beyond its panel.
    room = (COLUMN - extent) // len(measures) - 70
    beside = room >= SMALLEST_CELL * len(columns)
    cell = min(58, max(SMALLEST_CELL, (room if beside else COLUMN - extent - 70) // len(columns)))
    linked = _linked(dataset, by, scored)
    known = has_null(dataset.landscape)
    height = 32 if known else 22
    panels: list[Any] = []
    for metric, title in measures:
        values = [
            {
                "row": labels.get(key, key),
                "column": strata.get(stratum, stratum),
                "value": value,
                "text": number(value, 2),
                "below": "" if null is None or value is None else number(null, 2),
                "beyond": value is not None and high is not None and value > high,
                "said": f"{labels.get(key, key)}, {strata.get(stratum, stratum)}: {number(value, 2)}"
                + ("" if null is None else f", by chance {by_chance(null, low, high)}"),
                "go": explore_link(**{by: key}, attribute=stratum) if (key, stratum) in linked else None,
            }
            for key, stratum, value, null, low, high in frame.select(
                by, "stratum", metric, *(f"{metric}_null{end}" for end in ("", "_low", "_high"))
            ).iter_rows()
        ]
        # Wasserstein distances between subgroups are small, so their scale ends at the largest.
        top = 1.0 if metric == "mds" else max(0.1, *frame[metric].drop_nulls().to_list())
        panels.append(_grid(values, rows, columns, title, top=top, width=cell, height=height, extent=0 if beside and panels else extent))
    joined = alt.hconcat if beside else alt.vconcat
    svg = to_svg(joined(*panels, spacing=24).resolve_scale(color="independent"), name, f"How far subgroups differ, by {by} and stratum")
    caption = (
        "Modal Diversity Score: 0 where all subgroups of a stratum have the same commonest answer, 1 where commonest answers are spread "
        "as evenly as can be. Wasserstein: mean distance between two subgroups' answer distributions, as a share of the scale. "
    )
    caption += BY_CHANCE if known else no_null(dataset)
    return Chart(svg, caption)


def _linked(dataset: Dataset, by: str, scored: pl.DataFrame | None) -> set[tuple[str, str]]:
    """Return the (item or topic, stratum) of scored pairs."""
    if scored is None:
        return set()
    pairs = scored.select("item", "subgroup").join(dataset.items.select("item", "topic"), on="item")
    return set(pairs.join(dataset.subgroups.select("subgroup", "stratum"), on="subgroup").select(by, "stratum").iter_rows())


def _grid(
    values: list[dict[str, Any]],
    rows: list[str],
    columns: list[str],
    title: str,
    *,
    top: float,
    width: int,
    height: int,
    extent: int,
    x_title: str | None = None,
    y_title: str | None = None,
    slanted: bool = True,
) -> Any:
    """Return one panel of coloured cells with their numbers."""
    import altair as alt

    across = alt.Axis(
        title=x_title, orient="top", labelAngle=-40 if slanted else 0, labelAlign="left" if slanted else "center", labelLimit=150
    )
    down = alt.Axis(title=y_title, labels=extent > 0, minExtent=extent, maxExtent=extent)
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("column:N", sort=columns, scale=alt.Scale(domain=columns), axis=across),
        y=alt.Y("row:N", sort=rows, scale=alt.Scale(domain=rows), axis=down),
    )
    scale = alt.Scale(domain=[0, top], range=list(SEQUENTIAL), clamp=True)
    cells = base.transform_filter("isValid(datum.value)").mark_rect(stroke="white", strokeWidth=1, aria=True)
    cells = cells.encode(color=alt.Color("value:Q", scale=scale, legend=None), description="said:N", href="go:N")
    deep = f"isValid(datum.value) && datum.value > {0.6 * top}"
    # A cell without a value has no background, so its dash has the text colour of the page.
    ink = alt.condition("!isValid(datum.value)", alt.value(INK), alt.value(ON_PALE))
    texts: list[Any] = []
    below = any(value.get("below") for value in values)
    for bold in (False, True) if any(value.get("beyond") for value in values) else (False,):
        weight, up = "bold" if bold else "normal", -5 if below else 0
        here = base.transform_filter("datum.beyond === true" if bold else "datum.beyond !== true")
        texts.append(here.transform_filter(f"!({deep})").mark_text(fontSize=11, fontWeight=weight, dy=up).encode(text="text:N", color=ink))
        texts.append(here.transform_filter(deep).mark_text(fontSize=11, fontWeight=weight, dy=up, color=ON_DEEP).encode(text="text:N"))
    if below:
        texts.append(base.transform_filter(f"!({deep})").mark_text(fontSize=9, dy=8, color=ON_PALE).encode(text="below:N"))
        texts.append(base.transform_filter(deep).mark_text(fontSize=9, dy=8, color=ON_DEEP).encode(text="below:N"))
    heading = alt.TitleParams(title, anchor="start", frame="group", fontSize=13, offset=8)
    return alt.layer(cells, *texts).properties(width=alt.Step(width), height=alt.Step(height), title=heading)


def confusion_chart(view: View, run: RunLike, entry: Entry, name: str) -> Chart | None:
    """Draw the answers of a model by the most common answer of the subgroup, for items with the same codes.

    Rows sum to 1 over all answered responses; at most the three most frequent sets of codes are drawn.
    """
    import altair as alt

    frame = confusion_cells(view, run, entry)
    if frame.is_empty():
        return None
    by_scale = frame.group_by("codes", maintain_order=True).agg(pl.col("weight").sum()).sort("weight", descending=True, maintain_order=True)
    panels: list[Any] = []
    for codes in sorted(by_scale["codes"].to_list()[:3], key=lambda codes: (len(codes), codes)):
        part = frame.filter(_has_codes(codes))
        items = view.dataset.items.filter(_has_codes(codes))
        names = dict(zip(codes, _option_names(items, codes), strict=True))
        totals = dict(part.group_by("gold").agg(pl.col("weight").sum()).iter_rows())
        shares = {(gold, said): weight for gold, said, weight in part.select("gold", "said", "weight").iter_rows()}
        rows = {gold: f"{names[gold]} ({totals[gold]:,.0f})" for gold in codes if gold in totals}
        values: list[dict[str, Any]] = []
        for gold, row in rows.items():
            for said in codes:
                value = shares.get((gold, said), 0.0) / totals[gold]
                text = number(value, 2)
                place = {"row": row, "column": names[said], "go": explore_link(run=entry.run, codes=codes, gold=gold, answer=said)}
                values.append({**place, "value": value, "text": text, "said": f"{row} → {names[said]}: {text}"})
        slanted = max(map(len, names.values())) > 3
        cell = 34 if len(codes) > 5 else 52
        extent = round(6.3 * max(map(len, rows.values()))) + 14
        title = f"{len(codes)} options ({count(len(items), 'item')})"
        panels.append(
            _grid(
                values,
                list(rows.values()),
                list(names.values()),
                title,
                top=1.0,
                width=cell,
                height=26,
                extent=extent,
                slanted=slanted,
                x_title="Model answers",
            )
        )
    svg = to_svg(
        alt.hconcat(*panels, spacing=30).resolve_scale(color="independent"),
        name,
        f"Answers of {entry.label} by the most common answer of the subgroup",
    )
    caption = (
        "Rows: most common answer of the subgroup (pairs in brackets). Columns: answer of the model. Rows sum to 1. Correct answers are "
        "on the diagonal; a model that always gives the same answer fills one column."
    )
    return Chart(svg, caption)


def confusion_cells(view: View, run: RunLike, entry: Entry) -> pl.DataFrame:
    """Return codes (of the item), gold and said (codes of answers) and weight: pairs, each counted once over its answered responses."""
    answers = scored_responses(run, view.scheme, view.fold)
    answers = answers.filter((pl.col("status") == "answered") & pl.col("answer").is_not_null())
    answers = answers.filter(pl.col("elicitation").is_in(entry.elicitation.split("+")))
    keys = response_keys(answers)
    frame = answers.select(*keys, said="answer").join(view.gold.select("pair_id", "half", "item", gold="mode"), on=keys)
    frame = frame.join(view.dataset.items.select("item", "codes"), on="item")
    counted = frame.with_columns(weight=1.0 / pl.len().over("pair_id"))
    return counted.group_by("codes", "gold", "said").agg(pl.col("weight").sum()).sort("codes", "gold", "said")


def _has_codes(codes: list[int]) -> pl.Expr:
    return pl.col("codes") == pl.lit(codes, dtype=pl.List(pl.Int32))


def _option_names(items: pl.DataFrame, codes: list[int]) -> list[str]:
    """Return the option labels if all items share them, else the codes."""
    labels = items["labels"].unique()
    shared = [clipped(label, 22) for label in labels[0].to_list()] if len(labels) == 1 else []
    return shared if len(set(shared)) == len(codes) else [str(code) for code in codes]
