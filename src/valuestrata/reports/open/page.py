"""Report page on open answers: summary, judges, win rates, stances, texts and examples, with tables as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim
from valuestrata.claims.judges import (
    closed_vs_open_claims,
    corrected_claims,
    corrected_difference_claims,
    judge_claims,
    own_answer_claims,
    shared_base_claims,
    text_claims,
    win_rate_claims,
)
from valuestrata.claims.select import select
from valuestrata.claims.templates import word
from valuestrata.claims.wording import Names
from valuestrata.dataset.tables import Dataset
from valuestrata.files import write_text
from valuestrata.formatting import count
from valuestrata.frames import csv_text
from valuestrata.openended.files import Stances
from valuestrata.openended.sources import Sources
from valuestrata.openended.validity.judge_validity import Codings
from valuestrata.reports.core.cells import pairs_of
from valuestrata.reports.core.names import attribute_titles, plain
from valuestrata.reports.core.page import Page, StatusLine
from valuestrata.reports.core.render import render
from valuestrata.reports.core.section import ClaimList, RunSummary, Section
from valuestrata.reports.core.status import coverage_lines, in_order, judge_lines, overlap_lines, plan_line, repetition_lines
from valuestrata.reports.open.examples import choose_example, examples_section
from valuestrata.reports.open.findings import OpenFindings, open_findings
from valuestrata.reports.open.judges import judge_names, judges_section, own_answers, shared_bases
from valuestrata.reports.open.stances import agreement_section, stance_section
from valuestrata.reports.open.texts import texts_section
from valuestrata.reports.open.win_rates import win_levels_section, wins_section
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.plan import Declared
from valuestrata.scores.train_test_overlap import training_overlap, training_warnings

# Rows of a table that is open.
MOST_OPEN = 12
_METHOD = (
    ("Open answers", "The open question of each pair is asked in persona, without options or numbers."),
    (
        "Win rate",
        "Win 1, tie .5, loss 0; mean over both orders, then samples, then pairs. A pair without a verdict in both orders is left out.",
    ),
    (
        "By rule",
        "An answer wins against a refusal or an empty text without the judge; two of those tie. The checks of judges leave them out.",
    ),
    ("Stance", "The option of the closed question that the answer expresses, read by a judge blind to persona and people's answers."),
    ("Intervals", "95 %, clustered by question: the bootstrap draws questions with all their answers."),
    ("Validity", "The verdict on a judge follows a fixed rule; docs/judge-validity.md gives the thresholds and their reasons."),
)


def write_open_report(
    dataset: Dataset,
    runs: Sequence[Run],
    out: Path,
    *,
    sources: Sources | None = None,
    stances: Sequence[Stances] = (),
    closed: Sequence[Run] = (),
    codings: Codings | None = None,
    plan: Declared | None = None,
    example: Sequence[str] = (),
    title: str | None = None,
    published: bool = True,
    **how: Any,
) -> Path:
    """Write the report on open answers and, in a folder next to it, its tables as CSV.

    Args:
        dataset: the ground truth.
        runs: open runs, the reference among them.
        out: the HTML file, or a folder for `open.html`. The tables are in the folder `STEM-tables`.
        sources: judgements (`openended.sources.load_sources`).
        stances: the folders of stances among them.
        closed: closed runs of the same models.
        codings: codings of a sample.
        plan: the declared plan of the study.
        example: item and two subgroups to show side by side; chosen by rule if empty.
        title: title of the page.
        published: show the published win rates.
        how: further arguments of `open_findings`.

    Returns:
        Path of the page.

    Raises:
        UsageError: as for `open_findings` and `choose_example`.
        InputDataError: as for `open_findings` and `choose_example`.
    """
    found = open_findings(dataset, runs, sources=sources, stances=stances, closed=closed, codings=codings, **how)
    chosen = choose_example(dataset, found, example)
    made = [
        _short_section(dataset, found),
        judges_section(dataset, found, published=published),
        wins_section(dataset, found, published=published),
        win_levels_section(dataset, found),
        stance_section(dataset, found),
        agreement_section(dataset, found),
        texts_section(dataset, found.texts),
        examples_section(dataset, found, chosen),
        _setup_section(found),
        _method_section(found),
    ]
    page = out if out.suffix else out / "open.html"
    folder = f"{page.stem}-tables"
    sections = [section for section in made if isinstance(section, Section)]
    absent = [section for section in made if not isinstance(section, Section)]
    _shorten(sections)
    survey: Mapping[str, Any] = dataset.meta.get("survey") or {}
    heading = title or f"Open answers: {survey.get('title') or survey.get('name') or 'subgroups'}"
    write_text(page, render(Page(heading, sections, absent, open_status(dataset, found, plan), folder=folder)))
    for name, frame in found.tables().items():
        write_text(page.parent / folder / f"{name}.csv", csv_text(frame))
    return page


def open_status(dataset: Dataset, found: OpenFindings, plan: Declared | None = None) -> list[StatusLine]:
    """Return the banner: judges, what the models were trained on, and how often they were asked."""
    overlaps = training_overlap(dataset, found.runs, split=found.split, part=found.part, fold=found.fold)
    return in_order(
        [
            plan_line(plan, declares=False),
            *judge_lines(found.validity.usable),
            *overlap_lines(training_warnings(overlaps, found.split, found.part)),
            *coverage_lines(judged_share(found)),
            *repetition_lines(found.runs),
        ]
    )


def judged_share(found: OpenFindings) -> dict[str, float | None]:
    """Return run -> the share of the pairs it answered that a judge read; runs that no judge read are left out."""
    read = {frame["run"][0]: frame["pair_id"].n_unique() for frame in _by_run(found)}
    answered = {run.name: run.responses["pair_id"].n_unique() for run in found.runs}
    return {run: pairs / max(answered[run], 1) for run, pairs in read.items() if run in answered}


def _by_run(found: OpenFindings) -> list[pl.DataFrame]:
    read = [frame.select("run", "pair_id") for frame in (found.verdicts, found.stances) if not frame.is_empty()]
    return pl.concat(read).partition_by("run", maintain_order=True) if read else []


def _short_section(dataset: Dataset, found: OpenFindings) -> Section:
    """Return the first screen: the most important claim about each judge and run; the other claims are below or folded."""
    section = Section("what", "What do the open answers show?", nav="Summary")
    names = Names(keys={**judge_names(found).keys, **{key: title.lower() for key, title in attribute_titles(dataset).items()}})
    judges = set(found.validity.usable["judge"])
    for selection in select(_claims(found)):
        name = f"Judge {selection.run}" if selection.run in judges else selection.run
        shown, rest = ([word(claim, names) for claim in claims] for claims in (selection.shown, selection.rest))
        if shown:
            section.runs.append(RunSummary(name, shown[0]))
        if shown[1:] or rest:
            section.claims.append(ClaimList(name, tuple(shown[1:]), tuple(rest)))
    return section


def _shorten(sections: Sequence[Section]) -> None:
    """Move the first figure of a page to the first screen, and fold all tables but a short first one of each section."""
    first, *others = sections
    with_figure = next((section for section in others if section.figures), None)
    if with_figure is not None and first.runs:
        title, chart = with_figure.figures.pop(0)
        first.figures.append((title or with_figure.title, chart))
    for section in others:
        kept = 1 if section.tables and len(section.tables[0][1].rows) <= MOST_OPEN else 0
        section.folded = [*((title or "Table", grid) for title, grid in section.tables[kept:]), *section.folded]
        section.tables = section.tables[:kept]


def _claims(found: OpenFindings) -> list[Claim]:
    usable = found.validity.usable
    return [
        *judge_claims(found.validity),
        *own_answer_claims(own_answers(found)),
        *shared_base_claims(shared_bases(found)),
        *win_rate_claims(found.winrates, usable),
        *corrected_claims(found.validity.corrected.filter(pl.col("metric") == "win_rate")),
        *corrected_difference_claims(found.validity.corrected_differences),
        *closed_vs_open_claims(found.agreement, usable),
        *text_claims(found.texts),
    ]


def _facts(found: OpenFindings) -> list[tuple[str, str]]:
    references = found.verdicts["reference"].unique(maintain_order=True).to_list()
    judges = [*found.verdicts["judge"].unique(maintain_order=True), *found.stances["judge"].unique(maintain_order=True)]
    rows: list[tuple[str, str]] = []
    for run in found.runs:
        pairs, answers = run.responses["pair_id"].n_unique(), run.responses.height
        role = " Reference." if run.name in references else ""
        rows.append(
            (run.name, f"{count(answers, 'answer')} to {count(pairs, 'pair')} of {run.responses['item'].n_unique()} questions.{role}")
        )
    if judges:
        rows.append(("Judges", f"{', '.join(dict.fromkeys(judges))}."))
    drafted = sorted({item for run in found.runs for item in run_identity(run).plan.get("drafted_items", ())})
    if drafted:
        rows.append(("Drafted by rule", f"The open questions of {', '.join(drafted)}. Read them before interpreting the answers."))
    return rows


def _identity(run: Run) -> Mapping[str, Any]:
    known = run_identity(run).respondent.document
    return {key: known[key] for key in ("name", "model", "provider", "revision", "adapter_hash", "decoding") if known.get(key) is not None}


def _setup_section(found: OpenFindings) -> Section:
    section = Section("setup", "What was asked, and of whom?", nav="Setup", facts=_facts(found))
    section.models = [(run.name, plain(_identity(run))) for run in found.runs]
    return section


def _method_section(found: OpenFindings) -> Section:
    section = Section("method", "How were the numbers made?", nav="Method")
    section.warning = (
        "A judge's preference is not that of people. Win rates and stances describe configured models with these personas and prompts. "
        "They do not describe people, and models cannot replace them."
    )
    settings = [
        (run.name, plain({key: run.meta.get(key) for key in ("respondent", "template", "template_version", "plan")})) for run in found.runs
    ]
    section.folded = [("Definitions", pairs_of(_METHOD)), ("Runs in full", pairs_of(settings))]
    return section
