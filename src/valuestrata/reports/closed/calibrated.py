"""Calibrated runs: what calibration changed, what the model adds, and the parameters of each fold, as a section of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.assessment import Assessment
from valuestrata.calibration.controls import NO_MODEL, SHUFFLED_ANSWERS
from valuestrata.claims.compared.calibrated import gains
from valuestrata.claims.compared.personas import WITH
from valuestrata.claims.wording import BASELINE_RULES
from valuestrata.formatting import NONE, metric_title, number
from valuestrata.reports.closed.calibration import reliability_chart
from valuestrata.reports.core.cells import Grid, Td, Tr, scored
from valuestrata.reports.core.names import plain
from valuestrata.reports.core.section import Section
from valuestrata.reports.core.view import Cell, Entry, RunLike, View
from valuestrata.responses.run.identity import RunIdentity, run_identity
from valuestrata.scores.plan import PERSONA_CONTROL

METRICS = ("w1", "accuracy_expected")
# Baselines shown beside a calibrated run: the best by the first metric that has values.
MOST_BASELINES = 4
WORDS: Mapping[str, str] = {
    NO_MODEL: "the method with equal shares in place of the model's answers",
    SHUFFLED_ANSWERS: "the method with the model's answers shuffled among items",
    PERSONA_CONTROL: "the method on answers with shuffled personas",
    **{control: f"the method on answers with {words}" for control, words in WITH.items()},
}


def calibrated_section(view: View, runs: Sequence[RunLike], found: Assessment) -> Section | None:
    """Return the section; None if no calibrated run was scored."""
    identities = {run.name: run_identity(run) for run in runs}
    calibrated = [entry for entry in view.of_kind("model") if identities[entry.run].method is not None]
    if not calibrated:
        return None
    section = Section("calibrated", "What does the model add to the calibrated run?", nav="Calibrated")
    section.intro = (
        "A calibrated run has learned from the survey's training pairs as well as from the model. The model is of use only where the "
        "calibrated run is better than the same method without the model's answers and better than every baseline. The gains are those "
        "of the calibrated run over each row, on the same pairs; positive is better."
    )
    here = (pl.col("scheme") == view.scheme) & (pl.col("part") == view.part)
    comparisons, reliability = found.comparisons.filter(here), found.calibration.filter(here)
    for number_, entry in enumerate(calibrated):
        identity = identities[entry.run]
        title = f"{entry.label}: calibrated by {identity.method}"
        section.folded.append((title, calibrated_grid(view, entry, identities, comparisons, reliability)))
        both = [entry.run, *(name for name, other in identities.items() if identity.is_calibrated_from(other))]
        own = reliability.filter(pl.col("run").is_in(both))
        if own["run"].n_unique() > 1:
            section.figures.append((f"Before and after calibration: {entry.label}", reliability_chart(view, own, f"calibrated-{number_}")))
        run = next(run for run in runs if run.name == entry.run)
        if (grid := parameters_grid(run)) is not None:
            section.folded.append((f"Parameters of {entry.label}", grid))
    return section


def calibrated_grid(
    view: View, entry: Entry, identities: Mapping[str, RunIdentity], comparisons: pl.DataFrame, reliability: pl.DataFrame
) -> Grid:
    """Return a calibrated run, the answers before calibration, its controls and the best baselines, with paired gains."""
    metrics = [metric for metric in METRICS if view.overall(entry, metric).value is not None]
    over = {metric: gains(comparisons, entry.run, metric) for metric in metrics}
    errors = {row["run"]: row for row in reliability.filter(pl.col("bin").is_null() & (pl.col("measure") == "ece")).iter_rows(named=True)}
    rows: list[Tr] = []
    for other, what in _rows(view, entry, identities, metrics):
        cells = [Td(other.label, what, "text")]
        for metric in metrics:
            gain = over[metric].get(other.run)
            cells.append(scored(view.overall(other, metric)))
            cells.append(Td(NONE) if gain is None else scored(Cell(gain.value, gain.low, gain.high)))
        error = errors.get(other.run)
        cells.append(Td(NONE) if error is None else scored(Cell(error["error"], error["error_low"], error["error_high"])))
        rows.append(Tr(tuple(cells), "own" if other is entry else other.kind))
    groups = (("", 1), *((metric_title(metric), 2) for metric in metrics), ("", 1))
    note = (
        "Gain: how much better the calibrated run is, with the paired interval. The calibration error is explained under “Can its "
        "probabilities be trusted?”."
    )
    return Grid(("Run", *("Score", "Gain over it") * len(metrics), "Calibration error"), tuple(rows), groups, (note,))


def _rows(view: View, entry: Entry, identities: Mapping[str, RunIdentity], metrics: Sequence[str]) -> list[tuple[Entry, str]]:
    """Return the rows of the table, each with what it is."""
    mine = identities[entry.run]
    found = [(entry, "calibrated")]
    for other in view.of_kind("model", "control"):
        identity = identities[other.run]
        if mine.is_calibrated_from(identity):
            found.append((other, "before calibration"))
        elif identity.control is not None and mine.same_model(identity):
            found.append((other, WORDS.get(identity.control, identity.control)))
    baselines = view.of_kind("baseline")
    if metrics:
        sign = 1 if metrics[0] == "w1" else -1
        known = [(value, one) for one in baselines if (value := view.overall(one, metrics[0]).value) is not None]
        baselines = [one for _, one in sorted(known, key=lambda pair: sign * pair[0])]
    return found + [(one, BASELINE_RULES.get(one.rule, "baseline")) for one in baselines[:MOST_BASELINES]]


def parameters_grid(run: RunLike) -> Grid | None:
    """Return the parameters that each fold of a calibrated run was fitted with; None if the run does not record them."""
    settings: Any = (run.meta.get("respondent") or {}).get("settings")
    folds = settings if isinstance(settings, list) else [settings] if settings else []
    rows = [Tr((Td(str(fold), css="text"), Td(plain(_rounded(one)), css="long"))) for fold, one in enumerate(folds)]
    return Grid(("Fold", "Parameters"), tuple(rows)) if rows else None


def _rounded(value: Any) -> Any:
    """Return a document with its numbers as text of three digits."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value
