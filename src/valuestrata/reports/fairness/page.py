"""An audit on disk: tables, LaTeX tables and an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from valuestrata.claims.fairness.rules import audit_verdicts
from valuestrata.dataset.tables import Dataset
from valuestrata.fairness.assemble import Audit
from valuestrata.files import write_parquet, write_text
from valuestrata.frames import csv_text
from valuestrata.reports.core.checklist import CheckedResults, checklist
from valuestrata.reports.core.names import subgroup_titles
from valuestrata.reports.core.page import Page
from valuestrata.reports.core.render import render
from valuestrata.reports.core.section import Section
from valuestrata.reports.core.status import coverage_lines, coverage_of, in_order, overlap_lines, plan_line, repetition_lines
from valuestrata.reports.core.view import RunLike
from valuestrata.reports.explore.section import add_explorer, explored_groups
from valuestrata.reports.export.latex import audit_latex
from valuestrata.reports.fairness.section import audit_sections
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.plan import Declared
from valuestrata.scores.train_test_overlap import warnings_about


def write_audit(
    dataset: Dataset,
    runs: Sequence[RunLike],
    audit: Audit,
    folder: Path,
    *,
    verdicts: pl.DataFrame | None = None,
    plan: Declared | None = None,
    explore: bool = True,
) -> Path:
    """Write an audit into a folder and return the page.

    Writes `verdicts` and every table as CSV and Parquet, LaTeX tables in `tex/`, and the self-contained `audit.html`.

    Args:
        dataset: the ground truth.
        runs: the runs that were audited.
        audit: the tables of the audit.
        folder: the folder; created if missing.
        verdicts: the claims as `audit_verdicts` returns them; computed if None.
        plan: the declared plan of the study.
        explore: whether the page has the explorer, with the answers to every pair of the audit.
    """
    if verdicts is None:
        verdicts = audit_verdicts(audit, runs, dataset, names=subgroup_titles(dataset))
    frames = {"verdicts": verdicts, **audit.tables()}
    for name, frame in frames.items():
        write_text(folder / f"{name}.csv", csv_text(frame))
        write_parquet(folder / f"{name}.parquet", frame)
    judged = [run.name for run in runs if not run_identity(run).is_baseline] or [run.name for run in runs]
    for name, text in audit_latex(dataset, audit, judged).items():
        write_text(folder / "tex" / f"{name}.tex", text)
    page = folder / "audit.html"
    write_text(page, render(audit_page(dataset, runs, audit, plan=plan, explore=explore)))
    return page


def audit_page(dataset: Dataset, runs: Sequence[RunLike], audit: Audit, *, plan: Declared | None = None, explore: bool = True) -> Page:
    """Return the page of `write_audit` without writing any file."""
    found = audit_sections(dataset, runs, audit)
    survey = dataset.meta.get("survey") or {}
    title = f"Audit: {survey.get('title') or survey.get('name') or 'subgroup answers'}"
    sections = [section for section in found if isinstance(section, Section)]
    absent = [section for section in found if not isinstance(section, Section)]
    if not sections:
        return Page(title, sections, absent)
    asked = [run for run in runs if not run_identity(run).is_baseline]
    lines = [
        plan_line(plan, declares=False),
        *overlap_lines(warnings_about(dataset, runs, audit.groups)),
        *coverage_lines(coverage_of(dataset, asked or runs, audit.groups)),
        *repetition_lines(runs),
    ]
    evidence = CheckedResults(
        dataset,
        runs,
        audit.groups["scheme"][0],
        has_ceiling=None,
        has_intervals=audit.groups["ci_low"].is_not_null().any(),
        tests=audit.gaps["p_holm"].count() + audit.groups["p_worst"].count(),
        methods=("Holm over gaps", "max-T over subgroups"),
        plan=plan,
        declares=False,
    )
    page = Page(title, sections, absent, in_order(lines), checklist(evidence))
    if explore and (what := explored_groups(dataset, runs, audit.groups)) is not None:
        add_explorer(page, what)
    return page
