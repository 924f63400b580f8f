"""Tables of the page, with rounded numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from valuestrata.dataset.landscape import has_null, no_null
from valuestrata.dataset.tables import Dataset
from valuestrata.formatting import NONE, count, metric_title, number, percent
from valuestrata.reports.closed.heatmaps import by_chance, landscape_cells
from valuestrata.reports.closed.published import published_facts, read_in
from valuestrata.reports.core.names import (
    PLUG_IN_BOUNDS,
    blocks_note,
    chart_names,
    has_reachable_bounds,
    interval,
    minimum_cell,
    small_bound,
    stratum_titles,
    subgroup_titles,
)
from valuestrata.reports.core.tables import FULL_COVERAGE, HEADLINE
from valuestrata.reports.core.view import Cell, Entry, View, cell_of

BOUND_WORDS = {
    "ceiling_oracle": "Ceiling: knows the population, not the sample",
    "ceiling_human": "Reference: another survey of this size",
    "ceiling_halves": "Reference: two halves of these respondents",
    "floor": "Floor: sampling noise alone",
}

READING = (
    "Accuracy: share of pairs for which the answer is the most common answer of the subgroup. Expected accuracy: the same against a "
    "fresh sample of respondents; the ceiling bounds it on average. NMAE: mean distance to the most common answer as a share of the "
    "scale (0 is best). W1: distance between the distributions of answers (0 is best). Refused and invalid answers count as wrong. Grey: "
    "95\u00a0% confidence intervals (CI)."
)
PUBLISHED_METRICS = ("accuracy", "nmae", "win_rate")


@dataclass(frozen=True)
class Td:
    """A cell: text, small grey text after it, a CSS class, and a shade from 0 to 7 for heat tables."""

    text: str
    small: str = ""
    css: str = "num"
    shade: int | None = None


@dataclass(frozen=True)
class Tr:
    """A row with its CSS class."""

    cells: tuple[Td, ...]
    css: str = ""


@dataclass(frozen=True)
class Grid:
    """A table: column groups (title, span), headers, rows, and notes below it. Headers align as the first row does."""

    headers: tuple[str, ...]
    rows: tuple[Tr, ...]
    groups: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    caption: str = field(default="", kw_only=True)


def scored(cell: Cell, digits: int = 3) -> Td:
    """Return a score with its interval."""
    return Td(number(cell.value, digits), interval(cell, digits))


def headline_grid(frame: pl.DataFrame, view: View) -> Grid:
    """Return the headline rows of one view: models, controls, baselines, then ceilings and floors."""
    rows = frame.filter((pl.col("scheme") == view.scheme) & (pl.col("part") == view.part))
    runs = rows.filter(~pl.col("kind").is_in(["ceiling", "floor"]))
    shown = [metric for metric in HEADLINE if runs[metric].is_not_null().any()]
    made: list[Tr] = []
    notes: list[str] = []
    last = ""
    for row in rows.iter_rows(named=True):
        kind = "bound" if row["kind"] in ("ceiling", "floor") else row["kind"]
        css = f"{kind} first" if kind != last and last else kind
        last = kind
        values = [scored(cell_of(row, metric, metric)) for metric in shown]
        if kind == "bound":
            name = Td(BOUND_WORDS[row["row"]], row["row"], "text")
            cells = (name, Td("", css="text"), *(v if v.text != NONE else Td("") for v in values), Td(count(row["pairs"])), Td(""))
        else:
            covered = float(row["coverage"]) if row["coverage"] is not None else 1.0
            short = covered < FULL_COVERAGE
            name = Td(row["row"] + (" ‡" if short else ""), kind, "text")
            readout = NONE if kind == "baseline" else row["elicitation"]
            cells = (name, Td(readout, css="text"), *values, Td(count(row["pairs"])), Td(number(row["coverage"])))
            if short:
                notes.append(f"‡ {row['row']} was scored on only {percent(covered)} of the pairs; its score on the others is unknown.")
        made.append(Tr(cells, css))
    absent = [metric_title(metric) for metric in HEADLINE if metric not in shown]
    if absent:
        notes.append(f"Not available: {' and '.join(absent)} (W1 needs probabilities or many samples, and ordinal items).")
    if not rows["accuracy_low"].is_not_null().any():
        notes.append("No intervals: the scores were computed without a bootstrap.")
    notes.append(READING)
    notes.append(f"Minimum cell: {minimum_cell(view.dataset, view.gold)}.")
    if not has_reachable_bounds(view.dataset):
        notes.append(PLUG_IN_BOUNDS)
    notes.append(blocks_note(view.dataset))
    headers = ("Run", "Elicitation", *(metric_title(metric) for metric in shown), "Pairs", "Coverage")
    return Grid(headers, tuple(made), (), tuple(notes))


def score_grid(view: View, by: str) -> Grid | None:
    """Return the scores by subgroup, topic or item: for each model its accuracies and NMAE, then baseline and ceiling."""
    keys = view.keys(by)
    models = view.of_kind("model", "control") or view.of_kind("baseline")
    if not keys or not models:
        return None
    names = chart_names(view.entries)
    best = view.best_cheap(view.accuracy_metric)
    best = None if best in models else best
    metrics = [metric for metric in ("accuracy", "accuracy_expected", "nmae") if view.has(metric, by)]
    own = [("accuracy", "Acc."), ("accuracy_expected", "Exp. acc."), ("nmae", "NMAE")]
    short = [title for metric, title in own if metric in metrics]
    lead = {"subgroup": ("Subgroup", "n"), "topic": ("Topic", "Items"), "item": ("Item", "Question")}[by]
    groups = [("", len(lead) + 1), *((names[entry], len(metrics)) for entry in models)]
    headers = [*lead, "Pairs", *short * len(models)]
    if best is not None:
        groups.append((f"best cheap baseline: {names[best]}", len(metrics)))
        headers += short
    groups.append(("Ceiling", 1))
    headers.append("Exp. acc.")
    rows: list[Tr] = []
    last = ""
    for key in keys:
        # A stratum or topic has a row of its own above its members.
        whole, name = _whole(view.dataset, by, key)
        if name and name != last:
            last = name
            title = stratum_titles(view.dataset)[name] if whole == "stratum" else name
            rows.append(
                _score_row(
                    view, whole, name, models, best, metrics, (Td(title, css="text"), Td("", css="long" if by == "item" else "num")), "head"
                )
            )
        rows.append(_score_row(view, by, key, models, best, metrics, _lead(view, by, key), ""))
    notes = [f"Minimum cell: {minimum_cell(view.dataset, view.gold)}."]
    if by == "subgroup" and _small(view):
        notes.insert(0, f"† Some pairs have fewer than {small_bound(view.dataset)} valid answers.")
    return Grid(tuple(headers), tuple(rows), tuple(groups), tuple(notes))


def _score_row(
    view: View, by: str, key: str, models: Sequence[Entry], best: Entry | None, metrics: Sequence[str], lead: tuple[Td, ...], css: str
) -> Tr:
    pairs = max((view.cell(entry, by, key, "accuracy").pairs or 0 for entry in models), default=0)
    cells = [*lead, Td(count(pairs))]
    for entry in models:
        cells += [scored(view.cell(entry, by, key, metric)) for metric in metrics]
    if best is not None:
        cells += [Td(number(view.cell(best, by, key, metric).value)) for metric in metrics]
    ceiling = view.bound(by, key, "ceiling_oracle")
    return Tr((*cells, Td(number(ceiling.value))), css)


def _whole(dataset: Dataset, by: str, key: str) -> tuple[str, str]:
    """Return what a subgroup or item is part of: (`stratum` or `topic`, its name)."""
    if by == "topic":
        return "", ""
    frame, whole = (dataset.subgroups, "stratum") if by == "subgroup" else (dataset.items, "topic")
    return whole, str(frame.row(by_predicate=pl.col(by) == key, named=True)[whole] or "")


def _small(view: View) -> set[str]:
    return set(view.gold.filter(pl.col("flag") == "small")["subgroup"].to_list())


def _lead(view: View, by: str, key: str) -> tuple[Td, ...]:
    dataset = view.dataset
    if by == "topic":
        return (Td(key, css="text"), Td(count(dataset.items.filter(pl.col("topic") == key).height)))
    if by == "item":
        item = dataset.items.row(by_predicate=pl.col("item") == key, named=True)
        return (Td(key, css="text"), Td(item["question"] or "", css="long"))
    n = dataset.subgroups.row(by_predicate=pl.col("subgroup") == key, named=True)["n"]
    return (Td(subgroup_titles(dataset)[key], css="text"), Td(count(n) + ("†" if key in _small(view) else "")))


def landscape_grid(dataset: Dataset, metric: str) -> Grid | None:
    """Return the landscape by item as a table of shaded cells, for surveys with too many items for a chart."""
    frame = landscape_cells(dataset, "item")
    if frame[metric].is_not_null().sum() == 0:
        return None
    titles = stratum_titles(dataset)
    strata = frame["stratum"].unique(maintain_order=True).to_list()
    top = 1.0 if metric == "mds" else max(v for v in frame[metric].to_list() if v is not None) or 1.0
    columns = (metric, *(f"{metric}_null{end}" for end in ("", "_low", "_high")))
    found = {(item, stratum): values for item, stratum, *values in frame.select("item", "stratum", *columns).iter_rows()}
    rows: list[Tr] = []
    for item, question in dataset.items.select("item", "question").iter_rows():
        cells = [found.get((item, stratum), [None] * 4) for stratum in strata]
        shades = [
            Td(number(v, 2), by_chance(*chance), css="heat", shade=None if v is None else min(7, int(8 * v / top))) for v, *chance in cells
        ]
        rows.append(Tr((Td(item, css="text"), Td(question or "", css="long"), *shades)))
    notes = ("In grey: mean and 95 % range by chance, with respondents permuted among the subgroups of the stratum.",)
    headers = ("Item", "Question", *(titles.get(str(s), str(s)) for s in strata))
    return Grid(headers, tuple(rows), (), notes if has_null(dataset.landscape) else (no_null(dataset),))


def published_grid(views: Sequence[View]) -> Grid:
    """Return the published results, one row per model, and the runs of this report below them."""
    rows: list[Tr] = []
    for result in published_facts()["results"]:
        cells = [Td(number(value)) for name in PUBLISHED_METRICS for value in (*result[name], None)[:2]]
        rows.append(Tr((Td(result["model"], css="text"), *cells, Td("published", read_in(result), "text"))))
    for view in views[:1]:
        for entry in view.of_kind("model", "control", "baseline"):
            cells = [cell for metric in ("accuracy", "nmae") for cell in (scored(view.overall(entry, metric)), Td(NONE))]
            rows.append(Tr((Td(entry.label, css="text"), *cells, Td(NONE), Td(NONE), Td("this report", view.title, "text")), "own"))
    groups = (("", 1), ("Accuracy", 2), ("NMAE", 2), ("Win rate, open answers", 2), ("", 1))
    return Grid(("Model", *("base", "tuned") * 3, "Source"), tuple(rows), groups)


def pairs_of(rows: Sequence[tuple[str, Any]]) -> Grid:
    """Return (heading, value) pairs as a table of two columns."""
    return Grid(("", ""), tuple(Tr((Td(head, css="text"), Td(str(value), css="long"))) for head, value in rows))
