"""The report page: its sections, and its file with tables next to it."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
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
from valuestrata.reports.closed import examples, figures, heatmaps, narrative
from valuestrata.reports.closed.calibrated import calibrated_section
from valuestrata.reports.closed.calibration import calibration_section, dont_know_section
from valuestrata.reports.closed.first import first_section
from valuestrata.reports.closed.interpretation import comparison_section, structure_section
from valuestrata.reports.closed.persons import persons_section
from valuestrata.reports.closed.published import is_published_setting, published_facts
from valuestrata.reports.closed.usage import usage_section
from valuestrata.reports.closed.variance import variance_section
from valuestrata.reports.core import cells
from valuestrata.reports.core.checklist import CheckedResults, checklist, corrected_tests
from valuestrata.reports.core.names import small_bound
from valuestrata.reports.core.page import Check, Page, StatusLine
from valuestrata.reports.core.render import render
from valuestrata.reports.core.section import Absent, Section
from valuestrata.reports.core.status import coverage_lines, coverage_of, in_order, overlap_lines, plan_line, repetition_lines
from valuestrata.reports.core.tables import FULL_COVERAGE, write_tables
from valuestrata.reports.core.view import RunLike, View, views_of
from valuestrata.reports.explore.section import add_explorer, explored_view
from valuestrata.reports.fairness.section import audit_sections
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.train_test_overlap import warnings_about

# Subgroups or topics in charts that are open.
MOST_OPEN = 12
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
    views = views_of(dataset, runs, scores)
    if not views:
        raise InputDataError("The scores are empty, so there is nothing to report. Score at least one run.")
    parts: dict[str, Any] = {"assessment": assessment, "audit": audit, "variance": variance}
    sections, absent = sections_of(dataset, runs, scores, views, published=published, notes=notes, **parts)
    sections[0].pages = [*sections[0].pages, *pages]
    survey = dataset.meta.get("survey") or {}
    heading = title or str(survey.get("title") or survey.get("name") or "Subgroup answers")
    status, checks = _status(dataset, runs, scores, views[0], assessment)
    page = Page(heading, sections, absent, status, checks)
    if explore:
        add_explorer(page, explored_view(views[0], runs))
    return page


def _status(
    dataset: Dataset, runs: Sequence[RunLike], scores: pl.DataFrame, view: View, assessment: Assessment | None
) -> tuple[list[StatusLine], list[Check]]:
    """Return the banner about all parts that were scored, and the checklist about the first one."""
    plan = None if assessment is None else assessment.plan
    seeds: dict[str, int] = {}
    tests = 0, list[str]()
    if assessment is not None:
        seeds = dict(assessment.seeded.group_by("run", maintain_order=True).agg(pl.col("seeds").min()).iter_rows())
        tests = corrected_tests(assessment.comparisons, "p_adjusted", "adjustment")
    asked = [run for run in runs if not run_identity(run).is_baseline]
    least = FULL_COVERAGE if plan is None else plan.plan.thresholds.coverage
    lines = [
        plan_line(plan),
        *overlap_lines(warnings_about(dataset, runs, scores)),
        *coverage_lines(coverage_of(dataset, asked or runs, scores), least),
        *repetition_lines(runs, seeds),
    ]
    has_intervals = any(view.overall(entry, view.accuracy_metric).low is not None for entry in view.entries)
    has_ceiling = view.accuracy_metric == "accuracy_expected" and view.bound("all", view.all_key, "ceiling_oracle").value is not None
    evidence = CheckedResults(dataset, runs, view.scheme, has_ceiling, has_intervals, *tests, plan=plan, seeds=tuple(seeds.values()))
    return in_order(lines), checklist(evidence)


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
        first_section(dataset, runs, scores, views, assessment),
        *([] if assessment is None else [comparison_section(view, assessment)]),
        _by(view, "subgroup"),
        _by(view, "topic"),
        _answers(view, runs),
        _examples(view, runs),
        *([] if audit is None else audit_sections(dataset, runs, audit)),
        *([] if assessment is None or (better := calibrated_section(view, runs, assessment)) is None else [better]),
        *([] if variance is None else [variance_section(variance)]),
        *([] if assessment is None else [calibration_section(view, assessment)]),
        *([] if assessment is None or (said := dont_know_section(view, assessment)) is None else [said]),
        *([] if assessment is None or (by_person := persons_section(assessment.persons)) is None else [by_person]),
        *([] if assessment is None else [structure_section(view, assessment)]),
        _landscape(view),
        _setup(dataset, runs, views),
        usage_section(runs),
        _published(dataset, views) if published else ("Published figures", "left out on request"),
        _method(dataset, runs, views, notes),
    ]
    sections = [section for section in made if isinstance(section, Section)]
    return sections, [section for section in made if not isinstance(section, Section)]


def _setup(dataset: Dataset, runs: Sequence[RunLike], views: Sequence[View]) -> Section:
    section = Section("setup", "What was asked, and of whom?", nav="Setup", facts=narrative.facts(dataset, views, runs))
    if models := narrative.models(runs):
        section.folded.append(("Models and their settings", cells.pairs_of(models)))
    if prompts := narrative.example_prompts(runs):
        section.folded.append(("One prompt of each template", cells.pairs_of(prompts)))
    return section


def _by(view: View, by: str) -> Section | Absent:
    rows = figures.subgroup_rows(view) if by == "subgroup" else figures.topic_rows(view)
    charts = figures.score_charts(view, by, rows, f"by-{by}")
    grid = cells.score_grid(view, by)
    if not charts or grid is None:
        return f"Scores by {by}", f"no run was scored by {by}"
    section = Section(f"by-{by}", f"For which {by}s do models fail?", nav=f"{capital(by)}s", folded=[(f"Table by {by}", grid)])
    sizes = Counter(row.group for row in rows)
    for heading, chart in charts:
        # As many groups as fit on a screen are open; they share the legend of the first one.
        fits = not section.figures or (not section.more and sum(sizes[name] for name, _ in section.figures) + sizes[heading] <= MOST_OPEN)
        if fits and section.figures:
            chart = replace(chart, legend=(), caption="")
        (section.figures if fits else section.more).append((heading, chart))
    if by == "subgroup":
        section.intro = f"Respondents in brackets; † marks subgroups with pairs of fewer than {small_bound(view.dataset)} valid answers."
        return section
    section.intro = "Number of items in brackets."
    if (items := cells.score_grid(view, "item")) is not None:
        section.folded.append(("Table by item", items))
    return section


def _landscape(view: View) -> Section | Absent:
    dataset = view.dataset
    chart = heatmaps.landscape_chart(dataset, "landscape", view.gold)
    if chart is None:
        return "Landscape", "the data set holds no item and stratum for which a diversity score is defined"
    section = Section("landscape", "How much do the subgroups differ?", nav="Landscape", figures=[("", chart)])
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
    section = Section("answers", "Which answers do models give instead?", nav="Answers")
    by_name = {run.name: run for run in runs}
    for place, entry in enumerate(view.of_kind("model", "control")[:MOST_DETAILED]):
        if (chart := heatmaps.confusion_chart(view, by_name[entry.run], entry, f"confusion-{place}")) is not None:
            section.figures.append((f"Which answer: {entry.label}", chart))
    if (chart := figures.bias_chart(view, "bias")) is not None:
        section.figures.append(("Signed bias by attribute level", chart))
    section.figures, section.more = section.figures[:1], section.figures[1:]
    return section if section.figures else (title, "no language model answered here")


def _examples(view: View, runs: Sequence[RunLike]) -> Section | Absent:
    section = Section("examples", "What do single answers look like?", nav="Examples")
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
    section = Section("published", "What did the published study find?", nav="Published")
    section.folded = [("Published figures beside these runs", cells.published_grid(views))]
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
    section = Section("method", "How were the numbers made?", nav="Method", sentences=list(notes))
    section.warning = (
        "Scores describe one configured model with these personas, prompts and elicitations. They do not describe people, "
        "and a high score does not mean that a model can replace respondents."
    )
    section.folded = [
        ("Definitions", cells.pairs_of(FORMULAS)),
        ("Settings, seeds, versions and hashes", cells.pairs_of(narrative.method(dataset, runs, views, command))),
    ]
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
