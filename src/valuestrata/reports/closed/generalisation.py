"""The page about generalisation of tuned models over all splits, and its terminal output."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from valuestrata.claims.claim import Claim
from valuestrata.claims.select import select
from valuestrata.claims.templates import word
from valuestrata.dataset.tables import Dataset
from valuestrata.files import write_text
from valuestrata.formatting import NONE, count, metric_title, number
from valuestrata.reports.closed.figures import overview_chart
from valuestrata.reports.closed.narrative import trained_elsewhere
from valuestrata.reports.core.cells import BOUND_WORDS, Grid, Td, Tr, scored
from valuestrata.reports.core.names import interval, minimum_cell
from valuestrata.reports.core.page import Page, StatusLine
from valuestrata.reports.core.render import render
from valuestrata.reports.core.section import ClaimList, RunSummary, Section
from valuestrata.reports.core.status import coverage_lines, coverage_of, in_order, overlap_lines, plan_line, repetition_lines
from valuestrata.reports.core.view import RunLike, cell_of, views_of
from valuestrata.reports.export.terminal import print_frame, print_line
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.plan import Declared
from valuestrata.scores.train_test_overlap import warnings_about

if TYPE_CHECKING:
    from rich.console import Console

    from valuestrata.reports.export.printer import Printer

ALPHA = 0.05
# Rows of a table that is open.
MOST_OPEN = 12
_COLUMNS = ("accuracy", "accuracy_expected", "nmae", "w1")
_GAIN_TITLES = {
    "taught": "Gain",
    "control:no-persona": "Gain without personas",
    "beyond:no-persona": "Added by personas",
    "control:country-only": "Gain with the country only",
    "beyond:country-only": "Added by personas to the country",
    "control:shuffled-persona": "Gain with shuffled personas",
    "beyond:shuffled-persona": "Added by correct personas",
    "swapped": "Over swapped personas",
    "over:item-mode": "Over item mode",
    "over:nearest-parent": "Over nearest parent",
}
_BOUND_TITLES = BOUND_WORDS | {
    "floor_nmae": "Floor: NMAE from sampling noise alone",
    "floor_w1": "Floor: W1 from sampling noise alone",
}
_READING = [
    "A model tuned on survey answers may do better on unseen subgroups only because it learned the usual answer to each question. "
    "Three comparisons show whether it learned more.",
    "Gain without personas: the same model trained and asked without personas. This gain is about the questions. What the model with "
    "personas gains in addition is about the subgroups.",
    "Shuffled personas: trained with the answers of each subgroup under the description of another. Swapped personas: the tuned model "
    "asked as another subgroup.",
    "Item mode and nearest parent are baselines without a language model. A tuned model below them has not learned everything that the "
    "training answers contain.",
    "Gains are paired differences on the pairs that both runs answered; positive is better. Intervals resample blocks of items and "
    "respondents. With several training seeds a gain is the mean over them, and its interval includes their variation, and that of "
    "option orders and wordings if several were asked. With one seed the data do not show what the recipe does: other seeds may give "
    "another result.",
    "P-values are corrected by Holm over all gains of a metric, in all splits.",
]


@dataclass(frozen=True)
class SplitPart:
    """What the page shows of one split.

    Attributes:
        name: name of the split. runs, scores: all of its runs, and their scores.
        table: rows of GENERALISATION. gains: rows of GAINS. claims: claims about its tuned models.
        report: the split's own report. audited: whether there is an audit next to it. plan: the declared plan.
    """

    name: str
    runs: Sequence[RunLike]
    scores: pl.DataFrame
    table: pl.DataFrame
    gains: pl.DataFrame
    claims: Sequence[Claim]
    report: Path
    audited: bool
    plan: Declared | None = None


def write_generalisation(dataset: Dataset, parts: Sequence[SplitPart], page: Path, *, title: str, metric: str) -> Path:
    """Write the page over all splits and return its path.

    Args:
        dataset: the ground truth. parts: the splits, in order. page: the HTML file.
        title: title of the page. metric: the primary metric.
    """
    reading = Section("reading", "How is this page read?", nav="Reading")
    reading.sentences, reading.method = _READING[:4], _READING[4:]
    sections = [_section(dataset, part, place, page.parent, metric) for place, part in enumerate(parts)]
    lines = [line for part in parts for line in _status(dataset, part)]
    write_text(page, render(Page(f"Generalisation: {title}", [*sections, reading], status=in_order(lines))))
    return page


def _status(dataset: Dataset, part: SplitPart) -> list[StatusLine]:
    """Return what a reader must know about one split."""
    seeds = part.gains.filter(pl.col("seeds").is_not_null()).group_by("recipe", maintain_order=True).agg(pl.col("seeds").min())
    models = [run for run in part.runs if not run_identity(run).is_baseline]
    return [
        plan_line(part.plan),
        *overlap_lines(warnings_about(dataset, part.runs, part.scores)),
        *coverage_lines(coverage_of(dataset, models, part.scores)),
        *repetition_lines(part.runs, dict(seeds.iter_rows())),
    ]


def claim_sentences(claims: Sequence[Claim]) -> list[str]:
    """Return the sentences of at most five claims per tuned model, most important first."""
    return [word(claim).sentence for selection in select(claims) for claim in selection.shown]


def _section(dataset: Dataset, part: SplitPart, place: int, folder: Path, metric: str) -> Section:
    section = Section(f"split-{place}", f"Did tuning teach people or questions, under the split {part.name}?", nav=part.name)
    for selection in select(part.claims):
        shown, rest = ([word(claim) for claim in claims] for claims in (selection.shown, selection.rest))
        if shown:
            section.runs.append(RunSummary(selection.run, shown[0]))
        if shown[1:] or rest:
            section.claims.append(ClaimList(selection.run, tuple(shown[1:]), tuple(rest)))
    views = views_of(dataset, part.runs, part.scores)
    elsewhere = trained_elsewhere(dataset, part.runs, views[0].scheme, views[0].part, views[0].fold) if views else []
    section.intro = " ".join(f"Trained on {sentence}" for sentence in elsewhere)
    if views and (chart := overview_chart(views[0], f"generalisation-{place}")) is not None:
        section.figures.append(("", chart))
    heading = metric_title(metric).lower() if metric.startswith("acc") else metric_title(metric)
    gains = (f"Gains in {heading}", gains_grid(part.gains, metric))
    (section.tables if len(gains[1].rows) <= MOST_OPEN else section.folded).append(gains)
    section.folded.append(("Every run", table_grid(part.table, minimum_cell(dataset, views[0].gold if views else None))))
    others = [name for name in _COLUMNS if name != metric and not part.gains.filter(pl.col("metric") == name).is_empty()]
    section.folded += [(f"Gains in {metric_title(name)}", gains_grid(part.gains, name)) for name in others]
    pages = {"Full report of this split": part.report}
    if part.audited:
        pages["Audit, before and after"] = part.report.parent / "audit" / "audit.html"
    section.pages = [(name, Path(os.path.relpath(page, folder)).as_posix()) for name, page in pages.items()]
    return section


def gains_grid(gains: pl.DataFrame, metric: str) -> Grid:
    """Return the gains of one split in one metric: a row per model and recipe, a column per gain."""
    rows = gains.filter(pl.col("metric") == metric)
    shown = [gain for gain in _GAIN_TITLES if gain in set(rows["gain"])]
    made: list[Tr] = []
    for (model, recipe), of in rows.group_by("model", "recipe", maintain_order=True):
        found = {row["gain"]: row for row in of.iter_rows(named=True)}
        pairs = max(row["pairs"] for row in found.values())
        seeds = max(row["seeds"] for row in found.values())
        apart = None if "taught" not in found else found["taught"]["seed_sd"]
        of_seeds = Td(count(seeds), "" if apart is None else f"sd of the gain {number(apart)}")
        made.append(Tr((Td(str(recipe), str(model), "text"), *[_gain(found.get(gain)) for gain in shown], of_seeds, Td(count(pairs)))))
    notes = (
        "Improvement, positive is better; paired 95 % intervals in grey; * where the corrected p-value is at most .05 and there are "
        "several training seeds.",
    )
    return Grid(("Recipe", *(_GAIN_TITLES[gain] for gain in shown), "Seeds", "Pairs"), tuple(made), (), notes)


def _gain(row: dict[str, Any] | None) -> Td:
    if row is None or row["value"] is None:
        return Td(NONE)
    p = row["p_adjusted"]
    mark = "*" if row["seeds"] > 1 and p is not None and p <= ALPHA else ""
    sign = "+" if row["value"] > 0 else ""
    return Td(f"{sign}{number(row['value'])}{mark}", interval(cell_of(row)))


def table_grid(table: pl.DataFrame, minimum: str) -> Grid:
    """Return every run of one split: base models, tuned models, baselines and bounds."""
    shown = [metric for metric in _COLUMNS if metric in set(table["metric"])]
    made: list[Tr] = []
    last = ""
    for (run, role), of in table.group_by("run", "role", maintain_order=True):
        found = {row["metric"]: row for row in of.iter_rows(named=True)}
        first = next(iter(found.values()))
        # A bound has one metric; its other cells stay empty.
        values = [scored(cell_of(found[metric])) if metric in found else Td("" if role == "bound" else NONE) for metric in shown]
        seed = None if first["seed"] is None else f"seed {first['seed']}"
        recipe = ", ".join(filter(None, (first["recipe"], first["control"], seed)))
        css = {"base": "model", "recipe": "model", "tuned": "control"}.get(str(role), str(role))
        cells = (
            Td(_BOUND_TITLES.get(str(run), str(run)), str(role), "text"),
            Td(recipe or NONE, css="text"),
            Td(first["asked_as"] or NONE, css="text"),
            *values,
            Td(count(first["pairs"])),
        )
        made.append(Tr(cells, f"{css} first" if last and role != last else css))
        last = str(role)
    headers = ("Run", "Recipe", "Asked as", *(metric_title(metric) for metric in shown), "Pairs")
    return Grid(headers, tuple(made), (), (f"Minimum cell: {minimum}.",))


def print_generalisation(
    parts: Mapping[str, Sequence[str]], table: pl.DataFrame, metric: str, console: Console | Printer | None = None
) -> None:
    """Print the runs and claims of each split.

    Args:
        parts: name of the split -> sentences. table: frame of GENERALISATION. metric: the primary metric.
    """
    by_split = table.filter(pl.col("metric") == metric).partition_by("scheme", "fold", maintain_order=True)
    for (name, sentences), rows in zip(parts.items(), by_split, strict=True):
        print_line("", console)
        print_line(f"{name}: {metric_title(metric)}", console)
        print_frame(rows.select("run", "role", "recipe", "control", "asked_as", "value", "ci_low", "ci_high", "pairs"), console)
        for sentence in sentences:
            print_line(f"  - {sentence}", console)
