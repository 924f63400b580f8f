"""What teaching was worth in every split: one page over all of them, and the same on a terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.files import write_text
from valuestrata.report.closed.figures import overview_chart
from valuestrata.report.core.cells import BOUND_WORDS, Grid, Td, Tr
from valuestrata.report.core.names import NONE, capital, count, interval, metric_title, minimum_cell, number
from valuestrata.report.core.render import render
from valuestrata.report.core.section import Section
from valuestrata.report.core.view import Cell, RunLike, views_of
from valuestrata.report.export.terminal import print_frame

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS = ("accuracy", "accuracy_expected", "nmae", "w1")
_GAIN_HEADS = {
    "taught": "Gain",
    "control:no-persona": "Taught without a persona",
    "beyond:no-persona": "What personas add",
    "control:country-only": "Taught with the place alone",
    "beyond:country-only": "What personas add to the place",
    "control:shuffled-persona": "Taught with shuffled personas",
    "beyond:shuffled-persona": "What right labels add",
    "swapped": "Over the same, personas swapped",
    "over:item-mode": "Over item mode",
    "over:nearest-parent": "Over nearest parent",
}
_BOUND_OF = {"floor_nmae": "Floor: NMAE that sampling noise alone costs", "floor_w1": "Floor: W1 that sampling noise alone costs"}


@dataclass(frozen=True)
class SplitPart:
    """What the page shows of one split.

    Attributes:
        name: of the split. runs, scores: all of its runs, and their scores.
        table: rows of GENERALISATION. gains: rows of GAINS. sentences: what may be said.
        report: the split's own page. audited: whether an audit lies beside it.
    """

    name: str
    runs: Sequence[RunLike]
    scores: pl.DataFrame
    table: pl.DataFrame
    gains: pl.DataFrame
    sentences: Sequence[str]
    report: Path
    audited: bool


def write_generalisation(dataset: Dataset, parts: Sequence[SplitPart], page: Path, *, title: str, metric: str) -> Path:
    """Write the page over all splits and return its path.

    Args:
        dataset: the ground truth. parts: the splits, in their order. page: the HTML file.
        title: of the page. metric: the primary one.
    """
    sections = [_section(dataset, part, place, page.parent, metric) for place, part in enumerate(parts)]
    write_text(page, render(f"Generalisation: {title}", [_reading(), *sections], [], folder=""))
    return page


def _reading() -> Section:
    section = Section("reading", "How to read this")
    section.sentences = [
        "A model that was taught survey answers and then does better on subgroups that it has not seen may have learned nothing but "
        "what is usually answered to each question. Three comparisons tell.",
        "Taught without a persona: the same model on the same answers, with nobody in the prompt. What it gains is about the questions; "
        "what the model with personas gains beyond it is about the people.",
        "Taught with shuffled personas: every subgroup's answers under another subgroup's description. "
        "Swapped personas: the tuned model, asked as somebody else.",
        "The item mode and the nearest parent need no language model. A tuned model that does not reach them has not learned what the "
        "training answers hold.",
        "Gains are paired differences on the pairs that both answered, turned so that more is better. All intervals resample items and "
        "respondents.",
    ]
    return section


def _section(dataset: Dataset, part: SplitPart, place: int, folder: Path, metric: str) -> Section:
    section = Section(f"split-{place}", f"Split {part.name}")
    section.opening = [capital(sentence) for sentence in part.sentences]
    views = views_of(dataset, part.runs, part.scores)
    if views and (chart := overview_chart(views[0], f"generalisation-{place}")) is not None:
        section.figures.append(("", chart))
    section.tables.append(
        (f"Gains in {metric_title(metric).lower() if metric.startswith('acc') else metric_title(metric)}", gains_grid(part.gains, metric))
    )
    section.tables.append(("Every run", table_grid(part.table, minimum_cell(dataset))))
    others = [name for name in _COLUMNS if name != metric and not part.gains.filter(pl.col("metric") == name).is_empty()]
    section.folded = [(f"Gains in {metric_title(name)}", gains_grid(part.gains, name)) for name in others]
    beside = [("Full report of this split", part.report)]
    if part.audited:
        beside.append(("Audit, before and after", part.report.parent / "audit" / "audit.html"))
    section.pages = [(name, Path(os.path.relpath(page, folder)).as_posix()) for name, page in beside]
    return section


def gains_grid(gains: pl.DataFrame, metric: str) -> Grid:
    """Return the gains of one split by one metric: a row a model and recipe, a column a gain."""
    rows = gains.filter(pl.col("metric") == metric)
    heads = [gain for gain in _GAIN_HEADS if gain in set(rows["gain"])]
    made: list[Tr] = []
    for (model, recipe), of in rows.group_by("model", "recipe", maintain_order=True):
        found = {row["gain"]: row for row in of.iter_rows(named=True)}
        cells = [_gain(found.get(gain)) for gain in heads]
        pairs = max(row["pairs"] for row in found.values())
        made.append(Tr((Td(str(recipe), str(model), "text"), *cells, Td(count(pairs)))))
    notes = ("Improvement, positive is better; paired 95 % intervals in grey; * where the interval excludes 0.",)
    return Grid(("Recipe", *(_GAIN_HEADS[gain] for gain in heads), "Pairs"), tuple(made), (), notes)


def _gain(row: dict[str, Any] | None) -> Td:
    if row is None or row["value"] is None:
        return Td(NONE)
    low, high = row["ci_low"], row["ci_high"]
    clear = low is not None and high is not None and (low > 0 or high < 0)
    sign = "+" if row["value"] > 0 else ""
    return Td(sign + number(row["value"]) + ("*" if clear else ""), interval(Cell(row["value"], low, high)))


def table_grid(table: pl.DataFrame, minimum: str) -> Grid:
    """Return every run of one split: models as they are, what they were taught, baselines, bounds."""
    shown = [metric for metric in _COLUMNS if metric in set(table["metric"])]
    made: list[Tr] = []
    last = ""
    for (run, role), of in table.group_by("run", "role", maintain_order=True):
        found = {row["metric"]: row for row in of.iter_rows(named=True)}
        first = next(iter(found.values()))
        values = [_scored(found.get(metric)) for metric in shown]
        if role == "bound":
            values = [value if value.text != NONE else Td("") for value in values]
        name = BOUND_WORDS.get(str(run)) or _BOUND_OF.get(str(run)) or str(run)
        css = {"base": "model", "tuned": "control"}.get(str(role), str(role))
        taught = "" if first["recipe"] is None else first["recipe"] + (f", {first['control']}" if first["control"] else "")
        made.append(
            Tr(
                (
                    Td(name, str(role), "text"),
                    Td(taught or NONE, css="text"),
                    Td(first["asked_as"] or NONE, css="text"),
                    *values,
                    Td(count(first["pairs"])),
                ),
                f"{css} first" if last and role != last else css,
            )
        )
        last = str(role)
    headers = ("Respondent model", "Taught by", "Asked as", *(metric_title(metric) for metric in shown), "Pairs")
    return Grid(headers, tuple(made), (), (f"Minimum cell: {minimum}.",))


def _scored(row: dict[str, Any] | None) -> Td:
    if row is None:
        return Td(NONE)
    return Td(number(row["value"]), interval(Cell(row["value"], row["ci_low"], row["ci_high"])))


def print_generalisation(parts: Mapping[str, Sequence[str]], table: pl.DataFrame, metric: str, console: Console) -> None:
    """Print each split's runs by one metric, and what may be said of them.

    Args:
        parts: name of the split -> sentences. table: frame of GENERALISATION. metric: the primary one.
    """
    by_split = table.filter(pl.col("metric") == metric).partition_by("scheme", "fold", maintain_order=True)
    for (name, sentences), rows in zip(parts.items(), by_split, strict=True):
        console.print(f"\n{name}: {metric_title(metric)}")
        print_frame(rows.select("run", "role", "recipe", "control", "asked_as", "value", "ci_low", "ci_high", "pairs"), console)
        for sentence in sentences:
            console.print(f"  - {capital(sentence)}", highlight=False, markup=False, soft_wrap=True)
