"""The report page: its sections, and its file with tables next to it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.assessment import Assessment
from valuestrata.dataset.landscape import has_null
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.fairness.assemble import Audit
from valuestrata.files import write_text
from valuestrata.formatting import capital, number
from valuestrata.report.closed import examples, figures, heatmaps, narrative
from valuestrata.report.closed.calibrated import calibrated_section
from valuestrata.report.closed.calibration import calibration_section, dont_know_section
from valuestrata.report.closed.interpretation import comparison_section, structure_section
from valuestrata.report.closed.persons import persons_section
from valuestrata.report.closed.published import is_published_setting, published_facts
from valuestrata.report.closed.usage import usage_section
from valuestrata.report.closed.variance import variance_section
from valuestrata.report.core import cells
from valuestrata.report.core.names import small_bound
from valuestrata.report.core.page import Page, warning_lines
from valuestrata.report.core.render import render
from valuestrata.report.core.runs import check_number
from valuestrata.report.core.section import Absent, Section, claim_lists
from valuestrata.report.core.tables import headline_table, write_tables
from valuestrata.report.core.view import RunLike, View, views_of
from valuestrata.report.explore.section import add_explorer, explored_view
from valuestrata.report.fairness.section import audit_sections
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.train_test_overlap import warnings_about

# Models whose confusion charts and examples are shown.
MOST_DETAILED = 4


def write_report(
    dataset: Dataset,
    runs: Sequence[RunLike],
    scores: pl.DataFrame,
    out: Path,
    *,
    title: str | None = None,
    published: bool = True,
    notes: Sequence[str] = (),
    assessment: Assessment | None = None,
    audit: Audit | None = None,
    variance: pl.DataFrame | None = None,
    pages: Sequence[tuple[str, str]] = (),
    explore: bool = True,
) -> Path:
    """Write the page, and its tables as CSV in the folder `tables` next to it.

    Args:
        dataset: the ground truth the runs were scored against.
        runs: the runs, each with `name`, `meta` and `responses`.
        scores: SCORES; each split and part has a headline table, the first one the charts.
        out: the HTML file; a path without a suffix is a folder that gets `report.html`.
        title: of the page; the survey's title if left out.
        published: whether to show published figures.
        notes: sentences to add to the method notes.
        assessment: of the first split and part in the scores; without it the page has no claims and no comparisons.
        audit: of the same part, for some or all of the runs; without it the page has no fairness section.
        variance: VARIANCE; without it the page has no variance section.
        pages: (title, address) of other pages to link to.
        explore: whether the page has the explorer, with the answers to every pair of the first split and part.

    Returns:
        Path of the page.

    Raises:
        UsageError: more than MOST_RUNS runs.
        InputDataError: the scores lack a column, or hold no plain score.
    """
    page = out if out.suffix else out / "report.html"
    parts: dict[str, Any] = {"published": published, "assessment": assessment, "audit": audit, "variance": variance}
    made = report_page(dataset, runs, scores, title=title, notes=notes, pages=pages, explore=explore, **parts)
    write_text(page, render(replace(made, folder="tables")))
    write_tables(dataset, runs, scores, page.parent / "tables", **parts)
    return page


def report_page(
    dataset: Dataset,
    runs: Sequence[RunLike],
    scores: pl.DataFrame,
    *,
    title: str | None = None,
    published: bool = True,
    notes: Sequence[str] = (),
    assessment: Assessment | None = None,
    audit: Audit | None = None,
    variance: pl.DataFrame | None = None,
    pages: Sequence[tuple[str, str]] = (),
    explore: bool = True,
) -> Page:
    """Return the page of `write_report` without writing any file; `render` makes text of it. Arguments and errors are the same."""
    check_number(sum(not run_identity(run).is_baseline for run in runs))
    views = views_of(dataset, runs, scores)
    if not views:
        raise InputDataError("The scores are empty, so there is nothing to report. Score at least one run.")
    parts: dict[str, Any] = {"assessment": assessment, "audit": audit, "variance": variance}
    sections, absent = sections_of(dataset, runs, scores, views, published=published, notes=notes, **parts)
    sections[0].pages = [*sections[0].pages, *pages]
    survey = dataset.meta.get("survey") or {}
    heading = title or str(survey.get("title") or survey.get("name") or "Subgroup answers")
    page = Page(heading, sections, absent, status=warning_lines(warnings_about(dataset, runs, scores)))
    if explore:
        add_explorer(page, explored_view(views[0], runs))
    return page


def sections_of(
    dataset: Dataset,
    runs: Sequence[RunLike],
    scores: pl.DataFrame,
    views: Sequence[View],
    *,
    published: bool,
    notes: Sequence[str],
    assessment: Assessment | None = None,
    audit: Audit | None = None,
    variance: pl.DataFrame | None = None,
) -> tuple[list[Section], list[tuple[str, str]]]:
    """Return the sections that have something to show, and (title, reason) of those that do not."""
    view = views[0]
    made = [
        _headline(dataset, runs, scores, views, assessment),
        *([] if audit is None else audit_sections(dataset, runs, audit)),
        *([] if assessment is None or (better := calibrated_section(view, runs, assessment)) is None else [better]),
        *([] if assessment is None else [comparison_section(view, assessment)]),
        *([] if variance is None else [variance_section(variance)]),
        _setup(dataset, runs, views),
        _by(view, "subgroup"),
        _by(view, "topic"),
        _landscape(dataset),
        _answers(view, runs),
        *([] if assessment is None else [calibration_section(view, assessment)]),
        *([] if assessment is None or (said := dont_know_section(view, assessment)) is None else [said]),
        *([] if assessment is None or (by_person := persons_section(assessment.persons)) is None else [by_person]),
        *([] if assessment is None else [structure_section(view, assessment)]),
        _examples(view, runs),
        usage_section(runs),
        _published(dataset, views) if published else ("Published figures", "left out on request"),
        _method(dataset, runs, views, notes),
    ]
    sections = [section for section in made if isinstance(section, Section)]
    return sections, [section for section in made if not isinstance(section, Section)]


def _headline(
    dataset: Dataset, runs: Sequence[RunLike], scores: pl.DataFrame, views: Sequence[View], assessment: Assessment | None
) -> Section:
    frame, first = headline_table(dataset, runs, scores), views[0]
    models = first.of_kind("model", "control")
    section = Section("results", "Results")
    section.opening = [narrative.summary(first, entry) for entry in first.of_kind("model") or models]
    if not models:
        section.opening = ["No language model was scored; all rows are baselines."]
    section.tables = [(capital(first.title), cells.headline_grid(frame, first))]
    if assessment is not None:
        # Without models, the claims of baselines are shown.
        shown = dict.fromkeys(entry.run for entry in models or first.of_kind("baseline"))
        here = [claim for claim in assessment.claims if (claim.scheme, claim.part) == (first.scheme, first.part)]
        section.claims = claim_lists(here, runs=list(shown), baselines=not models)
    section.folded = [(capital(view.title), cells.headline_grid(frame, view)) for view in views[1:]]
    return section


def _setup(dataset: Dataset, runs: Sequence[RunLike], views: Sequence[View]) -> Section:
    section = Section("setup", "Survey, split and models", facts=narrative.facts(dataset, views, runs), models=narrative.models(runs))
    if chart := figures.overview_chart(views[0], "overview"):
        section.figures.append(("", chart))
    return section


def _by(view: View, by: str) -> Section | Absent:
    title = f"By {by}"
    rows = figures.subgroup_rows(view) if by == "subgroup" else figures.topic_rows(view)
    chart = figures.score_chart(view, by, rows, f"by-{by}")
    grid = cells.score_grid(view, by)
    if chart is None or grid is None:
        return title, f"no run was scored by {by}"
    section = Section(f"by-{by}", title, figures=[("", chart)], folded=[(f"Table by {by}", grid)])
    if by == "subgroup":
        section.intro = (
            f"{capital(view.title)}. Respondents in brackets; "
            f"† marks subgroups with pairs of fewer than {small_bound(view.dataset)} valid answers."
        )
        return section
    section.intro = f"{capital(view.title)}. Number of items in brackets."
    if (items := cells.score_grid(view, "item")) is not None:
        section.folded.append(("Table by item", items))
    return section


def _landscape(dataset: Dataset) -> Section | Absent:
    chart = heatmaps.landscape_chart(dataset, "landscape")
    if chart is None:
        return "Landscape", "the data set holds no item and stratum for which a diversity score is defined"
    section = Section("landscape", "Landscape: how far subgroups differ", figures=[("", chart)])
    section.intro = (
        "How much answers differ between subgroups, and how much they would differ by chance. Where all subgroups agree, knowing the "
        "subgroup does not help."
    )
    # The chart has no room for the ranges by chance.
    if heatmaps.landscape_by(dataset) == "topic" or (has_null(dataset.landscape) and not dataset.landscape.is_empty()):
        for metric, name in (("mds", "Modal Diversity Score by item"), ("wasserstein", "Mean Wasserstein distance by item")):
            if (grid := cells.landscape_grid(dataset, metric)) is not None:
                section.folded.append((name, grid))
    return section


def _answers(view: View, runs: Sequence[RunLike]) -> Section | Absent:
    title = "Answers compared with those of the subgroups"
    section = Section("answers", title)
    by_name = {run.name: run for run in runs}
    for place, entry in enumerate(view.of_kind("model", "control")[:MOST_DETAILED]):
        if (chart := heatmaps.confusion_chart(view, by_name[entry.run], entry, f"confusion-{place}")) is not None:
            section.figures.append((f"Which answer: {entry.label}", chart))
    if (chart := figures.bias_chart(view, "bias")) is not None:
        section.figures.append(("Signed bias by attribute level", chart))
    return section if section.figures else (title, "no language model answered here")


def _examples(view: View, runs: Sequence[RunLike]) -> Section | Absent:
    section = Section("examples", "Examples")
    by_name = {run.name: run for run in runs}
    for entry in view.of_kind("model", "control")[:MOST_DETAILED]:
        section.examples += examples.choose(view, entry, by_name[entry.run])
    section.intro = (
        "Chosen by a fixed rule: correct answers with a narrow margin, wrong answers with a wide margin, and one response without an "
        "answer. Bars are shares of respondents; ● marks their most common answer, ▸ the answer of the model."
    )
    return section if section.examples else ("Examples", "no language model answered here")


def _published(dataset: Dataset, views: Sequence[View]) -> Section:
    published = published_facts()
    section = Section("published", "Published figures", tables=[("", cells.published_grid(views))])
    section.intro = f"Rows marked “published”: {published['label']}. They are quoted, not computed here."
    section.link = "https://arxiv.org/abs/2604.12851"
    if not is_published_setting(dataset):
        section.warning = (
            f"Not comparable: the published rows are of {published['setting']} ({published['questions']} questions, "
            f"{published['respondents']:,} respondents). This report is of another survey, other items or other settings. "
            "Compare only the distances between models and baselines."
        )
    elif views[0].scheme != "paper":
        section.warning = "Not comparable: the published rows use the split of the paper; this report uses another split."
    unknown = ", ".join(published["unknown"])
    refused, diverse = published["refusal_rate"], published["modal_diversity"]
    section.sentences = [
        f"Also published: refused answers {number(refused[0])} before and {number(refused[1])} after tuning; Modal Diversity Score from "
        f"{' to '.join(f'{number(value)} ({topic})' for topic, value in sorted(diverse.items(), key=lambda pair: pair[1]))} over topics.",
        f"The paper reports no baseline and no ceiling, and does not state: {unknown}.",
    ]
    return section


def _method(dataset: Dataset, runs: Sequence[RunLike], views: Sequence[View], notes: Sequence[str]) -> Section:
    command = shlex.join(["valuestrata", *sys.argv[1:]]) if Path(sys.argv[0]).stem == "valuestrata" else None
    section = Section("method", "Method notes", facts=list(FORMULAS), sentences=list(notes))
    section.warning = (
        "Scores describe one configured model with these personas, prompts and elicitations. They do not describe people, "
        "and a high score does not mean that a model can replace respondents."
    )
    section.folded = [("Settings, seeds, versions and hashes", cells.pairs_of(narrative.method(dataset, runs, views, command)))]
    return section


FORMULAS = (
    ("Gold", "The most common (weighted) answer of a subgroup to an item; the lowest code in a tie."),
    ("Accuracy", "1 if the answer equals the gold, else 0; mean over the responses of a pair, then over pairs."),
    ("Expected accuracy", "Probability that the answer is the most common one in a fresh sample of respondents."),
    (
        "Ceiling",
        "ceiling_oracle: expected value of that probability for the most common answer in the population.",
    ),
    ("Reference", "ceiling_human: expected accuracy of the most common answer in another survey of this size. Not a bound."),
    ("NMAE", "Distance of the answer from the gold in scale steps, divided by the number of steps; ordinal items only."),
    (
        "Floor",
        "floor: expected NMAE of someone who knows the population; for W1, expected distance of the population's shares.",
    ),
    ("W1", "Wasserstein distance between the distributions of the model and of the respondents; only if a model gives probabilities."),
    ("Signed bias", "Mean signed distance to the gold; missing answers are left out."),
    ("Missing answers", "Refused, invalid and failed answers score 0 on accuracies and 1 on NMAE."),
    ("Intervals", "95 %, from a bootstrap of blocks of items (batteries of the questionnaire) and of respondents."),
    ("Coverage", "Share of the pairs of the part that were scored. Pairs that were not asked are not scored."),
)
