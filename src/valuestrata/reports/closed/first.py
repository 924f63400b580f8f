"""The first screen of the report: one sentence, three numbers and at most five claims per run, beside one figure of all runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from valuestrata.assessment import Assessment
from valuestrata.claims.templates import Wording
from valuestrata.dataset.tables import Dataset
from valuestrata.formatting import NONE, metric_title, number
from valuestrata.reports.closed import figures, narrative
from valuestrata.reports.core import cells
from valuestrata.reports.core.names import interval, short_label
from valuestrata.reports.core.section import ClaimList, KeyNumber, RunSummary, Section, claim_lists
from valuestrata.reports.core.tables import headline_table
from valuestrata.reports.core.view import Cell, Entry, RunLike, View


def first_section(
    dataset: Dataset, runs: Sequence[RunLike], scores: pl.DataFrame, views: Sequence[View], assessment: Assessment | None
) -> Section:
    """Return the first screen; the tables of all metrics are folded below it."""
    first = views[0]
    models = first.of_kind("model") or first.of_kind("control")
    # Without models, the claims of baselines are shown.
    shown = models or first.of_kind("baseline")
    section = Section("results", "How good are the answers?", nav="Results")
    lists = {} if assessment is None else _claims(first, shown, assessment, baselines=not models)
    if not models:
        section.opening = ["No language model was scored; all rows are baselines."]
    for entry in models:
        claims = lists.get(entry.run)
        lead = Wording(sentence=narrative.summary(first, entry), details=()) if claims is None else claims.shown[0]
        section.runs.append(RunSummary(entry.label, lead, key_numbers(first, entry, assessment)))
    # The first claim of a model is its sentence.
    rest = [replace(found, shown=found.shown[1:]) if models else found for found in lists.values()]
    section.claims = [found for found in rest if found.shown or found.rest]
    if (chart := figures.overview_chart(first, "overview")) is not None:
        section.figures.append(("", chart))
    frame = headline_table(dataset, runs, scores)
    section.folded = [(f"All metrics: {view.title}", cells.headline_grid(frame, view)) for view in views]
    return section


def _claims(view: View, entries: Sequence[Entry], assessment: Assessment, *, baselines: bool) -> dict[str, ClaimList]:
    """Return run -> its claims about the part of the split that is shown."""
    here = [claim for claim in assessment.claims if (claim.scheme, claim.part) == (view.scheme, view.part)]
    found = {run: claim_lists(here, runs=[run], baselines=baselines) for run in dict.fromkeys(entry.run for entry in entries)}
    return {run: lists[0] for run, lists in found.items() if lists}


def key_numbers(view: View, entry: Entry, assessment: Assessment | None) -> tuple[KeyNumber, ...]:
    """Return a run's score, the best cheap baseline on the same pairs and the ceiling of these pairs, all in one metric."""
    metric = view.accuracy_metric
    score, best = view.overall(entry, metric), _best_baseline(view, entry, metric, assessment)
    ceiling = narrative.ceiling_of(view, entry)
    numbers = [_number(metric_title(metric), score)]
    if best is not None:
        name, cell = best
        numbers.append(_number("Best cheap baseline", cell, name))
    if ceiling.value is not None:
        numbers.append(_number("Ceiling", ceiling))
    return tuple(numbers)


def _number(label: str, cell: Cell, name: str = "") -> KeyNumber:
    ends = interval(cell)
    said = ", ".join(filter(None, (name, f"95\u00a0% CI {ends}" if ends else "")))
    return KeyNumber(label, NONE if cell.value is None else number(cell.value), said)


def _best_baseline(view: View, entry: Entry, metric: str, assessment: Assessment | None) -> tuple[str, Cell] | None:
    """Return name and score of the best cheap baseline on the pairs that it shares with a run; None where that is not known."""
    best = view.best_cheap(metric)
    if assessment is not None:
        rows = assessment.relative.filter(
            pl.col("run") == entry.run,
            pl.col("metric") == metric,
            pl.col("by") == "all",
            pl.col("scheme") == view.scheme,
            pl.col("part") == view.part,
        )
        row = rows.row(0, named=True) if rows.height else {}
        if row.get("baseline_value") is not None:
            same = best is not None and best.run == row["baseline"] and view.overall(best, metric).pairs == row["pairs"]
            named = next((one for one in view.entries if one.run == row["baseline"]), None)
            cell = view.overall(best, metric) if same and best is not None else Cell(row["baseline_value"])
            return (row["baseline"] if named is None else short_label(named)), cell
    if best is None or view.overall(best, metric).pairs != view.overall(entry, metric).pairs:
        return None
    return short_label(best), view.overall(best, metric)
