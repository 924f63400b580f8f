"""The page: sections from a data set, runs and scores, put through one template that escapes everything."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.assessment import Assessment
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.fairness.assemble import Audit
from valuestrata.files import write_text
from valuestrata.report.closed import examples, figures, heatmaps
from valuestrata.report.closed import narrative as story
from valuestrata.report.closed.interpretation import structure_section, worth_section
from valuestrata.report.closed.published import is_published_setting, published_facts
from valuestrata.report.closed.usage import usage_section
from valuestrata.report.closed.variance import variance_section
from valuestrata.report.core import cells
from valuestrata.report.core.names import capital, number, small_bound
from valuestrata.report.core.section import Absent, Section
from valuestrata.report.core.tables import headline_table, write_tables
from valuestrata.report.core.view import RunLike, View, views_of
from valuestrata.report.fairness.section import audit_sections

# A model's confusion and examples take a screen each; beyond these the tables serve better.
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
) -> Path:
    """Write the page and, in the folder `tables` beside it, its tables as CSV.

    Args:
        dataset: the ground truth the runs were scored against.
        runs: the runs, each with `name`, `meta` and `responses`.
        scores: frame of the schema SCORES; every split and part in it gets a headline table, the first one the charts.
        out: the HTML file; a path without a suffix is a folder that gets `report.html`.
        title: of the page; the survey's title if left out.
        published: show the published figures.
        notes: sentences to print with the method.
        assessment: of the first split and part in the scores; without it the page has no verdicts and no comparisons.
        audit: of the same part, of some or all of the runs; without it the page does not say who is served worse.
        variance: frame of `scores.variance`; without it the page does not say what moves the answers.
        pages: (title, address) of other pages, named at the top.

    Returns:
        Path of the page.

    Raises:
        InputDataError: the scores lack a column, or hold no plain score.
    """
    page = out if out.suffix else out / "report.html"
    views = views_of(dataset, runs, scores)
    if not views:
        raise InputDataError("the scores are empty: there is nothing to report. Score at least one run first.")
    parts: dict[str, Any] = {"assessment": assessment, "audit": audit, "variance": variance}
    sections, absent = sections_of(dataset, runs, scores, views, published=published, notes=notes, **parts)
    sections[0].pages = [*sections[0].pages, *pages]
    survey = dataset.meta.get("survey") or {}
    heading = title or str(survey.get("title") or survey.get("name") or "Subgroup answers")
    write_text(page, render(heading, sections, absent))
    write_tables(dataset, runs, scores, page.parent / "tables", published=published, **parts)
    return page


def render(title: str, sections: Sequence[Section], absent: Sequence[tuple[str, str]], *, folder: str = "tables") -> str:
    """Return the page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("valuestrata.report.core"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    css = resources.files("valuestrata.report.core").joinpath("templates", "report.css").read_text(encoding="utf-8")
    # The style sheet is the package's own and the SVGs were escaped by their renderer; nothing else is passed as safe.
    return environment.get_template("report.html.j2").render(
        title=title,
        folder=folder,
        sections=sections,
        absent=absent,
        css=Markup(css),  # noqa: S704
        markup=Markup,
        shades=cells.shade_styles(),
    )


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
        _what(dataset, runs, views, assessment),
        *([] if assessment is None else [worth_section(view, assessment)]),
        _headline(dataset, runs, scores, views),
        *([] if audit is None else audit_sections(dataset, runs, audit)),
        *([] if variance is None else [variance_section(variance)]),
        _by(view, "subgroup"),
        _by(view, "topic"),
        _landscape(dataset),
        _answers(view, runs),
        *([] if assessment is None else [structure_section(view, assessment)]),
        _examples(view, runs),
        usage_section(runs),
        _published(dataset, views) if published else ("Published figures", "left out on request"),
        _method(dataset, runs, views, notes),
    ]
    sections = [section for section in made if isinstance(section, Section)]
    return sections, [section for section in made if not isinstance(section, Section)]


def _what(dataset: Dataset, runs: Sequence[RunLike], views: Sequence[View], assessment: Assessment | None) -> Section:
    view = views[0]
    judged = view.of_kind("model") or view.of_kind("control")
    comparisons = None if assessment is None else assessment.comparisons
    said = [story.verdict(view, entry, comparisons) for entry in judged]
    if not said:
        said = ["No language model was run: the rows below are baselines, which need none."]
    return Section(
        "what", "What was asked, of whom, and how", opening=said, facts=story.facts(dataset, views, runs), models=story.models(runs)
    )


def _headline(dataset: Dataset, runs: Sequence[RunLike], scores: pl.DataFrame, views: Sequence[View]) -> Section:
    frame = headline_table(dataset, runs, scores)
    section = Section("headline", "Headline")
    section.intro = (
        "Accuracy: share of pairs for which the answer is the subgroup's commonest. Expected accuracy: the same against a fresh draw of "
        "the respondents, which the ceiling bounds. NMAE: mean distance to the commonest answer as a share of the scale, 0 is best. "
        "Refused and invalid answers count as wrong. 95 % intervals in grey."
    )
    chart = figures.overview_chart(views[0], "overview")
    if chart:
        section.figures.append(("", chart))
    for view in views:
        section.tables.append((capital(view.title), cells.headline_grid(frame, view)))
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
            f"† marks subgroups some of whose pairs have fewer than {small_bound(view.dataset)} valid answers."
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
    section.intro = "What there is to be known: where all subgroups agree, knowing the subgroup cannot help."
    if heatmaps.landscape_by(dataset) == "topic":
        for metric, name in (("mds", "Modal Diversity Score by item"), ("wasserstein", "Mean Wasserstein distance by item")):
            if (grid := cells.landscape_grid(dataset, metric)) is not None:
                section.folded.append((name, grid))
    return section


def _answers(view: View, runs: Sequence[RunLike]) -> Section | Absent:
    title = "Answers against the subgroups' own"
    section = Section("answers", title)
    for place, entry in enumerate(view.of_kind("model", "control")[:MOST_DETAILED]):
        run = next(run for run in runs if run.name == entry.run)
        if (chart := heatmaps.confusion_chart(view, run, entry, f"confusion-{place}")) is not None:
            section.figures.append((f"Which answer: {entry.label}", chart))
    if (chart := figures.bias_chart(view, "bias")) is not None:
        section.figures.append(("Signed bias by attribute level", chart))
    return section if section.figures else (title, "no language model answered here")


def _examples(view: View, runs: Sequence[RunLike]) -> Section | Absent:
    section = Section("examples", "Examples")
    for entry in view.of_kind("model", "control")[:MOST_DETAILED]:
        run = next(run for run in runs if run.name == entry.run)
        section.examples += examples.choose(view, entry, run)
    section.intro = (
        "Chosen by rule: close calls that were met, misses where the people are most of one mind, and one response without an answer. "
        "Bars are the people's shares; ● is their commonest answer, ▸ the model's."
    )
    return section if section.examples else ("Examples", "no language model answered here")


def _published(dataset: Dataset, views: Sequence[View]) -> Section:
    published = published_facts()
    section = Section("published", "Published figures beside these", tables=[("", cells.published_grid(views))])
    section.intro = f"Rows marked “published”: {published['label']}. They are quoted, not computed here."
    section.link = "https://arxiv.org/abs/2604.12851"
    if not is_published_setting(dataset):
        section.warning = (
            f"Not comparable: the published rows are of {published['setting']} ({published['questions']} questions, "
            f"{published['respondents']:,} respondents). This report is of another survey, other items or other settings. "
            "What can be compared is how far a model stands from the baselines beside it."
        )
    elif views[0].scheme != "paper":
        section.warning = "The published rows are of the paper's split; these are of another."
    unknown = ", ".join(published["unknown"])
    refused, diverse = published["refusal_rate"], published["modal_diversity"]
    section.sentences = [
        f"Also published: refused answers {number(refused[0])} before and {number(refused[1])} after tuning; Modal Diversity Score from "
        f"{' to '.join(f'{number(value)} ({topic})' for topic, value in sorted(diverse.items(), key=lambda pair: pair[1]))} over topics.",
        f"The paper reports no baseline and no ceiling. Not known of it: {unknown}.",
    ]
    return section


def _method(dataset: Dataset, runs: Sequence[RunLike], views: Sequence[View], notes: Sequence[str]) -> Section:
    command = shlex.join(["valuestrata", *sys.argv[1:]]) if Path(sys.argv[0]).stem == "valuestrata" else None
    section = Section("method", "Method notes", facts=list(FORMULAS), sentences=list(notes))
    section.warning = (
        "The scores describe one configured model under these personas, prompts and readouts. They do not describe people, "
        "and a model that scores well may not stand in for them."
    )
    section.folded = [("Settings, seeds, versions and hashes", cells.pairs_of(story.method(dataset, runs, views, command)))]
    return section


FORMULAS = (
    ("Gold", "The (weighted) commonest answer of a subgroup to an item; a tie goes to the lowest code."),
    ("Accuracy", "1 where the answer is that answer, else 0; mean within a pair over its responses, then over pairs."),
    ("Expected accuracy", "The chance that the answer is the commonest one in a fresh draw of the respondents."),
    (
        "Ceiling",
        "ceiling_oracle: that chance for the best answer there is. Optimistic near ties, since it is estimated from the same sample.",
    ),
    ("Reference", "ceiling_human: the chance that two fresh draws have the same commonest answer. Not a bound."),
    ("NMAE", "Distance of answer and commonest answer in scale steps, divided by the number of steps; ordered items only."),
    (
        "Floor",
        "floor: the NMAE of the commonest answer against a fresh draw; under W1 the distance of the shares from a fresh draw's.",
    ),
    ("W1", "Wasserstein distance of the model's and the people's distributions over the scale; only where a model gives probabilities."),
    ("Signed bias", "Mean signed distance to the commonest answer; missing answers are left out."),
    ("Missing answers", "Refused, unreadable, illegal and failed answers score 0 on accuracies and 1 on NMAE."),
    ("Intervals", "95 %, by resampling items and respondents."),
    ("Coverage", "Pairs scored as a share of the pairs of the part. Pairs never asked are not scored."),
)
