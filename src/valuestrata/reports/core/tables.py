"""Tables of the report as frames and CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.assessment import Assessment
from valuestrata.claims.fairness.rules import audit_verdicts
from valuestrata.claims.variance import variance_lines
from valuestrata.dataset.landscape import without_draws
from valuestrata.dataset.tables import Dataset
from valuestrata.fairness.assemble import Audit
from valuestrata.files import write_text
from valuestrata.frames import csv_text
from valuestrata.reports.closed.published import published_table
from valuestrata.reports.core.names import subgroup_titles
from valuestrata.reports.core.view import Cell, RunLike, View, views_of
from valuestrata.responses.run.failures import failure_kinds, kinds_listed
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.schema import SCORES
from valuestrata.scores.spread import spread_by_attribute

HEADLINE = ("accuracy", "accuracy_expected", "nmae", "w1", "refusal_rate", "invalid_rate")
# Coverage below which headlines say that pairs are missing.
FULL_COVERAGE = 0.95
BY_KEY = ("accuracy", "accuracy_expected", "nmae", "w1", "bias", "ceiling_oracle", "ceiling_human")

# (kind of row, label, (metric column, bound) pairs) of each ceiling, reference and floor.
BOUNDS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("ceiling", "ceiling_oracle", (("accuracy_expected", "ceiling_oracle"),)),
    ("ceiling", "ceiling_human", (("accuracy_expected", "ceiling_human"),)),
    ("ceiling", "ceiling_halves", (("accuracy_expected", "ceiling_halves"),)),
    ("floor", "floor", (("nmae", "floor_nmae"), ("w1", "floor_w1"))),
)


def headline_table(dataset: Dataset, runs: Sequence[RunLike], scores: pl.DataFrame) -> pl.DataFrame:
    """Return one row per run (models, controls, baselines) and the rows of ceilings and floors, for each part scored.

    Columns: row (the run's label or the bound's name), kind (model, control, baseline, ceiling, floor), scheme, part,
    fold (null when folds are pooled), elicitation, template, pairs, coverage, then each of `HEADLINE` with `_low` and `_high`, and
    note (why the score is not a test of the run, or null).
    """
    rows = [row for view in views_of(dataset, runs, scores) for row in _headline_rows(view)]
    values = {f"{metric}{end}": pl.Float64 for metric in HEADLINE for end in ("", "_low", "_high")}
    names = ("row", "kind", "scheme", "part", "elicitation", "template")
    schema: dict[str, Any] = {**dict.fromkeys(names, pl.String), "fold": pl.Int32, "pairs": pl.Int64, "coverage": pl.Float64, **values}
    schema["note"] = pl.String
    order = (*names[:4], "fold", *names[4:])
    return pl.DataFrame(rows, schema=schema, orient="row").select(*order, pl.exclude(order))


def _headline_rows(view: View) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    where = {"scheme": view.scheme, "part": view.part, "fold": view.fold}
    notes = dict(view.scores.filter(pl.col("note").is_not_null()).select("run", "note").unique().iter_rows())
    for entry in view.of_kind("model", "control", "baseline"):
        accuracy = view.overall(entry, "accuracy")
        known = {"row": entry.label, "kind": entry.kind, "elicitation": entry.elicitation, "template": entry.template}
        known |= {"pairs": accuracy.pairs, "coverage": accuracy.coverage, "note": notes.get(entry.run)}
        rows.append(known | where | spread_out({metric: view.overall(entry, metric) for metric in HEADLINE}))
    for kind, name, cells in BOUNDS:
        found = {metric: view.bound("all", view.all_key, bound) for metric, bound in cells}
        if any(cell.value is not None for cell in found.values()):
            rows.append({"row": name, "kind": kind, **where, "pairs": view.gold["pair_id"].n_unique()} | spread_out(found))
    return rows


def spread_out(cells: dict[str, Cell]) -> dict[str, float | None]:
    """Return metric -> cell as flat columns: value, `_low` and `_high`."""
    made: dict[str, float | None] = {}
    for metric, cell in cells.items():
        made |= {metric: cell.value, f"{metric}_low": cell.low, f"{metric}_high": cell.high}
    return made


def key_table(views: Iterable[View], by: str) -> pl.DataFrame:
    """Return the scores by subgroup, topic or item in wide form: one row per run and key."""
    rows: list[dict[str, Any]] = []
    for view in views:
        for entry in view.entries:
            for key in view.keys(by):
                accuracy = view.cell(entry, by, key, "accuracy")
                if accuracy.pairs is None:
                    continue
                known = {"run": entry.run, "elicitation": entry.elicitation, "template": entry.template}
                where = {"scheme": view.scheme, "part": view.part, by: key, "pairs": accuracy.pairs, "coverage": accuracy.coverage}
                rows.append(known | where | spread_out({metric: view.cell(entry, by, key, metric) for metric in BY_KEY}))
    texts = ("run", "elicitation", "template", "scheme", "part", by)
    values = {f"{metric}{end}": pl.Float64 for metric in BY_KEY for end in ("", "_low", "_high")}
    schema: dict[str, Any] = {**dict.fromkeys(texts, pl.String), "pairs": pl.Int64, "coverage": pl.Float64, **values}
    return pl.DataFrame(rows, schema=schema, orient="row")


def usage_table(runs: Sequence[RunLike]) -> pl.DataFrame:
    """Return the usage of each model and control that was called: responses, calls, tokens, cost, seconds and failures.

    `calls` counts every attempt, `cost` is in US dollars, `seconds` is the sum of latencies. Null if no response of the run
    records it. `failures` lists the kinds with their counts.
    """
    called = [run for run in runs if not (run_identity(run).is_baseline or run_identity(run).method)]
    rows = [_usage_row(run) for run in called]
    whole = dict.fromkeys(("responses", "calls", "prompt_tokens", "completion_tokens"), pl.Int64)
    schema: dict[str, Any] = {"run": pl.String, **whole, "cost": pl.Float64, "seconds": pl.Float64}
    return pl.DataFrame(rows, schema={**schema, "failed": pl.Int64, "failures": pl.String}, orient="row")


def _usage_row(run: RunLike) -> tuple[object, ...]:
    responses = run.responses

    def total(column: str) -> float | None:
        found = responses[column]
        return None if found.null_count() == found.len() else float(found.sum())

    tokens = [None if (value := total(column)) is None else int(value) for column in ("attempts", "prompt_tokens", "completion_tokens")]
    kinds = failure_kinds(responses)
    return (run.name, responses.height, *tokens, total("cost"), total("latency"), sum(kinds.values()), kinds_listed(kinds))


def audit_frames(dataset: Dataset, runs: Sequence[RunLike], audit: Audit) -> dict[str, pl.DataFrame]:
    """Return the frames of an audit: `verdicts` with subgroup titles, then its tables."""
    names = subgroup_titles(dataset)
    return {"verdicts": audit_verdicts(audit, runs, dataset, names=names), **audit.tables()}


def write_tables(
    dataset: Dataset,
    runs: Sequence[RunLike],
    scores: pl.DataFrame,
    folder: Path,
    *,
    published: bool = True,
    assessment: Assessment | None = None,
    audit: Audit | None = None,
    variance: pl.DataFrame | None = None,
) -> dict[str, Path]:
    """Write the tables as CSV into `folder` and return name -> path.

    headline, scores, by_subgroup, by_topic, by_item, landscape, usage (if a model was called) and published (unless False); with
    an assessment also verdicts, relative, comparisons, calibration, structure, spread, leakage, dont_know (if a run was offered
    it) and persons (if a run has scores by person); with an audit audit_verdicts and its tables as audit_NAME; with a variance
    table also variance and variance_lines. Numbers are not rounded.
    """
    views = views_of(dataset, runs, scores)
    sizes = dataset.subgroups.select("subgroup", "stratum", respondents="n", respondents_effective="n_eff")
    items = dataset.items.select("item", "topic", "level", "question")
    frames = {
        "headline": headline_table(dataset, runs, scores),
        "scores": scores.select(list(SCORES.columns)),
        "by_subgroup": key_table(views, "subgroup").join(sizes, on="subgroup", how="left", maintain_order="left"),
        "by_topic": key_table(views, "topic"),
        "by_item": key_table(views, "item").join(items, on="item", how="left", maintain_order="left"),
        "landscape": without_draws(dataset.landscape).join(items.select("item", "topic"), on="item", how="left", maintain_order="left"),
    }
    if not (usage := usage_table(runs)).is_empty():
        frames["usage"] = usage
    if published:
        frames["published"] = published_table()
    if assessment is not None:
        frames |= {
            "verdicts": assessment.verdicts,
            "relative": assessment.relative,
            "comparisons": assessment.comparisons,
            "structure": assessment.structure,
            "calibration": assessment.calibration,
            **({} if assessment.dont_know.is_empty() else {"dont_know": assessment.dont_know}),
            **({} if assessment.persons.is_empty() else {"persons": assessment.persons}),
            "spread": spread_by_attribute(assessment.scores),
            "leakage": assessment.leakage,
        }
    if audit is not None:
        frames |= {f"audit_{name}": frame for name, frame in audit_frames(dataset, runs, audit).items()}
    if variance is not None:
        frames |= {"variance": variance, "variance_lines": variance_lines(variance)}
    paths: dict[str, Path] = {}
    for name, frame in frames.items():
        paths[name] = folder / f"{name}.csv"
        write_text(paths[name], csv_text(frame))
    return paths
