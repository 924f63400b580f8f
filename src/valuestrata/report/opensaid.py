"""What open answers say: stances scored as closed answers are, and how far a model's open and closed answers agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.dataset import Dataset
from valuestrata.report.cells import Grid, Td, Tr
from valuestrata.report.opencells import GREYED, first, key_title, level_parts, plain, share
from valuestrata.report.openfigures import Dot, dot_chart
from valuestrata.report.openfindings import OpenFindings
from valuestrata.report.openjudged import dataset_order, unfit
from valuestrata.report.section import Absent, Section
from valuestrata.report.words import NONE, count, metric_title, plural
from valuestrata.scores.phrases import points

_METRICS = ("accuracy", "accuracy_expected", "nmae", "w1")
# Subgroups shown where open and closed part most.
MOST_SHOWN = 6
# Fewer pairs than this say little of a subgroup; it is not called one that parts.
FEWEST_PAIRS = 10
_STANCE = "stance"


def stance_section(found: OpenFindings) -> Section | Absent:
    """Return the section of stance scores beside closed scores."""
    title = "Stances beside closed answers"
    if found.scores.is_empty():
        return title, "no stances were given"
    pairs = found.stances["pair_id"].n_unique()
    section = Section("stances", title, tables=[("", _stance_grid(found))])
    section.intro = (
        "A judge places each open answer on the question's own scale, without knowing who speaks or what people answered; then it is "
        f"scored as a closed answer is. All rows are on the {plural(pairs, 'pair')} that were read, as far as they answered them. An "
        "answer without a stance is missing: it scores 0 on accuracy and 1 on distance, as a refusal does. Accuracies and NMAE as shares."
    )
    doubted = [judge for judge in found.stances["judge"].unique(maintain_order=True) if unfit(found, judge, _STANCE)]
    if doubted:
        told = "; ".join(f"{judge} ({unfit(found, judge, _STANCE)})" for judge in doubted)
        section.warning = f"Readings in grey and in brackets may not be used. The judge does not meet the conditions above: {told}."
    return section


def _stance_grid(found: OpenFindings) -> Grid:
    whole = found.scores.filter((pl.col("by") == "all") & pl.col("against").is_null())
    metrics = [name for name in _METRICS if whole.filter((pl.col("metric") == name) & pl.col("value").is_not_null()).height]
    rows: list[Tr] = []
    for name in _score_order(found, whole):
        read = found.read.get(name)
        grey = read is not None and unfit(found, read[1], _STANCE) is not None
        mine = whole.filter(pl.col("run") == name)
        values = [_score(first(mine, metric=metric), grey) for metric in metrics]
        accuracy = first(mine, metric="accuracy")
        if read is None:
            baseline = name.startswith("baseline")
            who = (Td(name.removeprefix("baseline: "), css="text"), Td("baseline" if baseline else "closed", css="text"))
            silent = [Td(NONE), Td(NONE)]
        else:
            who = (Td(read[0], css="text"), Td("open", f"read by {read[1]}", "text"))
            silent = [share(_silence(found, read, metric), greyed=grey) for metric in ("no_stance", "silent")]
        kind = "baseline" if name.startswith("baseline") else "model" if read is not None else ""
        pairs = Td(count(accuracy["pairs"]) if accuracy is not None else NONE)
        rows.append(Tr((*who, *values, *silent, pairs), kind))
    headers = ("Run", "Asked", *map(metric_title, metrics), "No stance, %", "Refused or empty, %", "Pairs")
    return Grid(headers, tuple(rows), (), (f"Split {found.split}, part {found.part}.",))


def _score_order(found: OpenFindings, whole: pl.DataFrame) -> list[str]:
    """Return the runs of the table: each open run's readings, then its closed runs; other closed runs; baselines."""
    known = whole["run"].unique(maintain_order=True).to_list()
    order: list[str] = []
    for run in dict.fromkeys(name for name, _ in found.read.values()):
        order += [name for name, (of, _) in found.read.items() if of == run]
        order += [name for name in found.closed.get(run, ()) if name in known]
    return list(dict.fromkeys([*(name for name in order if name in known), *known]))


def _score(row: Mapping[str, Any] | None, grey: bool) -> Td:
    cell = plain(row)
    return Td(f"({cell.text})", cell.small, f"num {GREYED}") if grey and cell.text != NONE else cell


def _silence(found: OpenFindings, read: tuple[str, str], metric: str) -> Mapping[str, Any] | None:
    return first(found.silence, run=read[0], judge=read[1], metric=metric, by="all")


def agreement_section(dataset: Dataset, found: OpenFindings) -> Section | Absent:
    """Return the section of closed against open."""
    title = "Closed against open: does a model choose what it writes?"
    if found.agreement.is_empty():
        return title, "no closed run of a model that answered openly was given"
    section = Section("agreement", title, tables=[("Per model", _agreement_grid(found))])
    section.intro = (
        "For each pair, the option that the model chose against the option that its open answer amounts to. Same: the very option. "
        "Distance: steps apart as a share of the scale. Kappa: agreement beyond what the two margins alone give, distances squared; 0 is "
        "chance. What a judge misreads counts as disagreement: it bounds agreement from below."
    )
    judges = found.agreement["judge"].unique(maintain_order=True).to_list()
    if doubted := [judge for judge in judges if unfit(found, judge, _STANCE)]:
        section.warning = f"Readings of {', '.join(doubted)} may not be used (see above): their disagreement may be the judge's own."
    levels = found.agreement.filter((pl.col("by") == "level") & (pl.col("metric") == "same") & pl.col("value").is_not_null())
    dots = _dots(dataset, levels, several=len(judges) > 1)
    caption = "Share of pairs with the same option closed and open. Levels hold all subgroups with them."
    chart = dot_chart(dots, name="agreement", axis="same option", described="Closed against open by level", caption=caption)
    if chart is not None:
        section.figures.append(("Same option, by level", chart))
    apart = _apart_grid(dataset, found.agreement)
    if apart.rows:
        section.tables.append(("Subgroups where they part most", apart))
    return section


def _dots(dataset: Dataset, levels: pl.DataFrame, *, several: bool) -> list[Dot]:
    dots: list[Dot] = []
    for row in levels.iter_rows(named=True):
        group, level = level_parts(dataset, row["key"])
        who = f"{row['run']}, read by {row['judge']}" if several else str(row["run"])
        said = f"{level}: {who} {points(row['value'])} %, {row['pairs']} pairs"
        dots.append(Dot(level, group, who, row["value"], row["ci_low"], row["ci_high"], said))
    order = dataset_order(dataset)
    return sorted(dots, key=lambda dot: order.get((dot.group, dot.label), 0))


def _agreement_grid(found: OpenFindings) -> Grid:
    whole = found.agreement.filter(pl.col("by") == "all")
    rows: list[Tr] = []
    for run, closed, judge in whole.select("run", "closed", "judge").unique(maintain_order=True).rows():
        metrics = {name: first(whole, run=run, closed=closed, judge=judge, metric=name) for name in ("same", "distance", "kappa", "both")}
        same = metrics["same"]
        values = (share(same), plain(metrics["distance"]), plain(metrics["kappa"]), share(metrics["both"]))
        names = (Td(run, css="text"), Td(closed, css="text"), Td(judge, css="text"))
        rows.append(Tr((*names, *values, Td(count(same["pairs"]) if same is not None else NONE)), "model"))
    headers = ("Open run", "Closed run", "Read by", "Same, %", "Distance", "Kappa", "Answered both ways, %", "Pairs")
    return Grid(headers, tuple(rows))


def _apart_grid(dataset: Dataset, agreement: pl.DataFrame) -> Grid:
    """Return the subgroups with the largest distance of each run: the largest of many, so that it overstates each."""
    mine = agreement.filter((pl.col("by") == "subgroup") & (pl.col("metric") == "distance") & (pl.col("pairs") >= FEWEST_PAIRS))
    rows: list[Tr] = []
    most = 0
    for (run, judge), part in mine.group_by("run", "judge", maintain_order=True):
        most = max(most, part.height)
        for row in part.sort("value", descending=True, maintain_order=True).head(MOST_SHOWN).iter_rows(named=True):
            same = first(agreement, run=str(run), judge=str(judge), by="subgroup", key=row["key"], metric="same")
            names: Sequence[str] = (key_title(dataset, "subgroup", row["key"]), str(run), str(judge))
            rows.append(Tr((*(Td(name, css="text") for name in names), plain(row), share(same), Td(count(row["pairs"])))))
    note = (
        f"The {MOST_SHOWN} largest of {most} subgroups with {FEWEST_PAIRS} pairs or more: picked because they are large, so that each is "
        "overstated. The table beside the page has all."
    )
    return Grid(("Subgroup", "Open run", "Read by", "Distance", "Same, %", "Pairs"), tuple(rows), (), (note,))
