"""The page of open answers: judges first, then what they say, then what is seen without them; tables beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.claims.judges import validity_lines
from valuestrata.dataset.tables import Dataset
from valuestrata.files import write_text
from valuestrata.formatting import number, points
from valuestrata.openended.files import Stances
from valuestrata.openended.sources import Sources
from valuestrata.openended.validity.decision_rule import TOO_FEW
from valuestrata.openended.validity.judge_validity import Codings
from valuestrata.report.core.cells import pairs_of
from valuestrata.report.core.names import plain, plural
from valuestrata.report.core.render import render
from valuestrata.report.core.section import Section
from valuestrata.report.open.cells import ends, first
from valuestrata.report.open.examples import choose_example, examples_section
from valuestrata.report.open.findings import OpenFindings, open_findings
from valuestrata.report.open.judges import UNFIT, criterion_title, judges_section, own_lines, unfit
from valuestrata.report.open.stances import agreement_section, stance_section
from valuestrata.report.open.texts import texts_lines, texts_section
from valuestrata.report.open.win_rates import win_levels_section, wins_section
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import run_identity

_METHOD = (
    ("Open answers", "Each pair's open question is asked in persona, without options or numbers."),
    (
        "Win rate",
        "Win 1, tie .5, loss 0; both orders, then samples, then pairs averaged. A pair without a verdict in one order is left out.",
    ),
    (
        "By rule",
        "An answer against a refusal or an empty text wins without the judge; two of those tie. The judge's checks leave them out.",
    ),
    ("Stance", "The option of the question's own scale that the answer amounts to, by a judge blind to persona and people's answers."),
    ("Intervals", "95 %; questions are drawn again with all that was said of them, so that they speak for questions like these."),
    ("Minimum", "What a judge's verdict says is by its fixed rule; docs/judge-validity.md has the thresholds and why they stand there."),
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
    example: Sequence[str] = (),
    title: str | None = None,
    published: bool = True,
    **how: Any,
) -> Path:
    """Write the page of open answers and, in a folder beside it, its tables as CSV.

    Args:
        dataset: the ground truth. runs: open runs, the reference among them.
        out: the HTML file; a path without a suffix is a folder that gets `open.html`. The folder is named as the page, `-tables` behind.
        sources: what judges said (`openended.sources.load_sources`). stances: the folders of stances among them.
        closed: closed runs of the same models. codings: what people said of a sample.
        example: item and two subgroups to show side by side; chosen by rule where left out.
        title: of the page. published: show the published win rates. how: further arguments of `open_findings`.

    Returns:
        Path of the page.

    Raises:
        UsageError, InputDataError: as for `open_findings` and `choose_example`.
    """
    found = open_findings(dataset, runs, sources=sources, stances=stances, closed=closed, codings=codings, **how)
    chosen = choose_example(dataset, found, example)
    made = [
        _short_section(dataset, found),
        judges_section(dataset, found, published=published),
        wins_section(found, published=published),
        win_levels_section(dataset, found),
        stance_section(dataset, found),
        agreement_section(dataset, found),
        texts_section(dataset, found.texts),
        examples_section(dataset, found, chosen),
        _method_section(found),
    ]
    page = out if out.suffix else out / "open.html"
    folder = f"{page.stem}-tables"
    sections = [section for section in made if isinstance(section, Section)]
    absent = [section for section in made if not isinstance(section, Section)]
    survey: Mapping[str, Any] = dataset.meta.get("survey") or {}
    heading = title or f"Open answers: {survey.get('title') or survey.get('name') or 'subgroups'}"
    write_text(page, render(heading, sections, absent, folder=folder))
    for name, frame in found.tables().items():
        write_text(page.parent / folder / f"{name}.csv", frame.write_csv())
    return page


def _short_section(dataset: Dataset, found: OpenFindings) -> Section:
    """Return what stands at the top: whether the judges may be used at all, and what may be said then."""
    section = Section("what", "In short")
    section.opening = [
        *_judge_lines(found),
        *own_lines(found),
        *_win_lines(found),
        *_corrected_lines(found),
        *_agreement_lines(found),
        *texts_lines(dataset, found.texts),
    ]
    section.facts = _facts(found)
    section.models = [(run.name, plain(_identity(run))) for run in found.runs]
    return section


def _judge_lines(found: OpenFindings) -> list[str]:
    """Return a sentence a judge: for what it may be used, and for what not."""
    lines: list[str] = []
    for (judge,), part in found.validity.usable.group_by("judge", maintain_order=True):
        by_verdict: dict[str, list[str]] = {}
        for criterion, verdict in part.select("criterion", "verdict").iter_rows():
            by_verdict.setdefault(verdict, []).append(criterion_title(criterion))
        # What forbids comes first.
        order = sorted(by_verdict, key=lambda verdict: (verdict not in UNFIT, verdict))
        told = {verdict: verdict.upper() if verdict in UNFIT else verdict for verdict in order}
        if TOO_FEW in told:
            told[TOO_FEW] += " (counts as not usable)"
        parts = [f"{told[verdict]} for {', '.join(by_verdict[verdict])}" for verdict in order]
        lines.append(f"Judge {judge}: {'; '.join(parts)}.")
    return lines


def _win_lines(found: OpenFindings) -> list[str]:
    """Return a sentence a run, of the criteria for which its judge may be used; of the others nothing is said here."""
    whole = found.winrates.filter((pl.col("metric") == "win_rate") & (pl.col("by") == "all") & pl.col("value").is_not_null())
    lines: list[str] = []
    for (run, reference, judge), part in whole.group_by("run", "reference", "judge", maintain_order=True):
        fit = [row for row in part.iter_rows(named=True) if unfit(found, str(judge), row["criterion"]) is None]
        told = [f"{points(row['value'])} % on {criterion_title(row['criterion'])} ({ends(row) or 'no interval'})" for row in fit]
        if told:
            pairs = plural(max(row["pairs"] for row in fit), "pair")
            lines.append(f"{run} is preferred to {reference} in {', '.join(told)} of {pairs}, judged by {judge}.")
    return lines


def _corrected_lines(found: OpenFindings) -> list[str]:
    """Return a sentence a win rate that people's codings corrected: it may be said even where the judge alone may not be used."""
    rates = found.validity.corrected.filter(pl.col("metric") == "win_rate")
    return validity_lines(replace(found.validity, usable=found.validity.usable.clear(), corrected=rates, notes=()))


def _agreement_lines(found: OpenFindings) -> list[str]:
    whole = found.agreement.filter((pl.col("by") == "all") & (pl.col("metric") == "same") & pl.col("value").is_not_null())
    lines: list[str] = []
    for row in whole.iter_rows(named=True):
        kappa = first(found.agreement, run=row["run"], closed=row["closed"], judge=row["judge"], by="all", metric="kappa")
        beyond = "" if kappa is None or kappa["value"] is None else f", weighted kappa {number(kappa['value'], 2)}"
        verdict = unfit(found, row["judge"], "stance")
        doubt = "" if verdict is None else f"Not to be used (judge {row['judge']}, stance: {verdict}): "
        lines.append(
            f"{doubt}{row['run']} chooses the option that it writes (as {row['judge']} reads it) in {points(row['value'])} % of "
            f"{plural(row['pairs'], 'pair')}{beyond}."
        )
    return lines


def _facts(found: OpenFindings) -> list[tuple[str, str]]:
    references = found.verdicts["reference"].unique(maintain_order=True).to_list()
    judges = [*found.verdicts["judge"].unique(maintain_order=True), *found.stances["judge"].unique(maintain_order=True)]
    rows: list[tuple[str, str]] = []
    for run in found.runs:
        pairs, answers = run.responses["pair_id"].n_unique(), run.responses.height
        role = " The reference." if run.name in references else ""
        rows.append(
            (run.name, f"{plural(answers, 'answer')} to {plural(pairs, 'pair')} of {run.responses['item'].n_unique()} questions.{role}")
        )
    if judges:
        rows.append(("Judges", f"{', '.join(dict.fromkeys(judges))}."))
    drafted = sorted({item for run in found.runs for item in run_identity(run).plan.get("drafted_items", ())})
    if drafted:
        rows.append(("Drafted by rule", f"The open questions of {', '.join(drafted)}: read them before leaning on their answers."))
    return rows


def _identity(run: Run) -> Mapping[str, Any]:
    known = run_identity(run).respondent.document
    return {key: known[key] for key in ("name", "model", "provider", "revision", "adapter_hash", "decoding") if known.get(key) is not None}


def _method_section(found: OpenFindings) -> Section:
    section = Section("method", "Method notes", facts=list(_METHOD))
    section.warning = (
        "A judge's preference is not people's. Win rates and stances describe configured models under these personas and prompts; they do "
        "not describe people, and a model that writes well may not stand in for them."
    )
    settings = [
        (run.name, plain({key: run.meta.get(key) for key in ("respondent", "template", "template_version", "plan")})) for run in found.runs
    ]
    section.folded = [("Runs in full", pairs_of(settings))]
    return section
