"""Sections on stances: their scores, and the agreement of closed with open answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.formatting import NONE, count, metric_title, points
from valuestrata.reports.core.cells import Grid, Td, Tr
from valuestrata.reports.core.section import Absent, Section
from valuestrata.reports.open.cells import GREYED, first, key_title, plain, share, texts
from valuestrata.reports.open.figures import BESIDE, Dot, Row, dot_chart, level_dots
from valuestrata.reports.open.findings import OpenFindings
from valuestrata.reports.open.judges import unfit

_METRICS = ("accuracy", "accuracy_expected", "nmae", "w1")
# Subgroups listed with the largest distance, and their minimum number of pairs.
MAX_SHOWN = 6
MIN_PAIRS = 10
_STANCE = "stance"
_KEYS = ("level", "subgroup", "topic")


def stance_section(dataset: Dataset, found: OpenFindings) -> Section | Absent:
    """Return the section on the scores of stances and closed answers."""
    title = "Stances and closed answers"
    if found.scores.is_empty():
        return title, "no stances were given"
    pairs = found.stances["pair_id"].n_unique()
    section = Section("stances", "Which positions do the open answers express?", nav="Stances", tables=[("Scores", _stance_grid(found))])
    section.intro = (
        "A judge, blind to persona and gold, places each open answer on the scale of its question; it is then scored as a closed answer. "
        f"All rows use the {count(pairs, 'pair')} with readings. An answer without a stance is missing, as a refusal is: it scores 0 on "
        "accuracy and 1 on distance. Accuracies and NMAE are shares."
    )
    doubted = [judge for judge in found.stances["judge"].unique(maintain_order=True) if unfit(found, judge, _STANCE)]
    if doubted:
        told = "; ".join(f"{judge} ({unfit(found, judge, _STANCE)})" for judge in doubted)
        section.warning = f"Values in grey and brackets may not be used, because the judge is not usable: {told}."
    if not found.compared.is_empty():
        section.tables.append(("Agreement between judges", _compared_grid(found)))
    section.folded = [(f"Scores by {by}", _key_scores(dataset, found, by)) for by in _KEYS]
    return section


def _stance_grid(found: OpenFindings) -> Grid:
    whole = found.scores.filter((pl.col("by") == "all") & pl.col("against").is_null())
    metrics = _known_metrics(whole)
    rows: list[Tr] = []
    for name in _score_order(found, whole):
        names, values, pairs, grey = _run_cells(found, whole.filter(pl.col("run") == name), name, metrics)
        read = found.read.get(name)
        silent = [share(_silence(found, read, metric), greyed=grey) if read else Td(NONE) for metric in ("no_stance", "silent")]
        kind = "baseline" if name.startswith("baseline") else "model" if read else ""
        rows.append(Tr((*names, *values, *silent, pairs), kind))
    headers = ("Run", "Asked", *map(metric_title, metrics), "No stance, %", "Refused or empty, %", "Pairs")
    return Grid(headers, tuple(rows), (), (f"Split {found.split}, part {found.part}.",))


def _known_metrics(scores: pl.DataFrame) -> list[str]:
    known = set(scores.filter(pl.col("value").is_not_null())["metric"])
    return [name for name in _METRICS if name in known]


def _run_cells(found: OpenFindings, scores: pl.DataFrame, name: str, metrics: Sequence[str]) -> tuple[tuple[Td, Td], list[Td], Td, bool]:
    """Return the cells of a run and how it was asked, of its metrics, and of its pairs, and whether its judge is not usable."""
    read = found.read.get(name)
    grey = read is not None and unfit(found, read[1], _STANCE) is not None
    asked = "baseline" if name.startswith("baseline") else "closed"
    names = (Td(name.removeprefix("baseline: "), css="text"), Td(asked, css="text"))
    if read is not None:
        names = (Td(read[0], css="text"), Td("open", f"read by {read[1]}", "text"))
    return names, [_score(first(scores, metric=metric), grey) for metric in metrics], _pairs(first(scores, metric="accuracy")), grey


def _compared_grid(found: OpenFindings) -> Grid:
    """Return the agreement of every two judges on the same answers."""
    whole = found.compared.filter(pl.col("by") == "all")
    rows: list[Tr] = []
    for run, judge, other in whole.select("run", "judge", "other").unique(maintain_order=True).rows():
        metrics = {name: first(whole, run=run, judge=judge, other=other, metric=name) for name in ("same", "kappa")}
        rows.append(Tr((*texts(run, judge, other), share(metrics["same"]), plain(metrics["kappa"]), _pairs(metrics["same"]))))
    note = "Judges can make the same errors, so agreement does not show that they are right."
    return Grid(("Run", "Judge", "Other judge", "Same reading, %", "Kappa", "Answers"), tuple(rows), (), (note,))


def _key_scores(dataset: Dataset, found: OpenFindings, by: str) -> Grid:
    """Return the scores of open and closed answers by level, subgroup or topic, without baselines."""
    mine = found.scores.filter((pl.col("by") == by) & pl.col("against").is_null() & ~pl.col("run").str.starts_with("baseline"))
    metrics = _known_metrics(mine)
    runs = _score_order(found, mine)
    rows: list[Tr] = []
    for key in mine["key"].unique(maintain_order=True):
        of_key = mine.filter(pl.col("key") == key)
        for name in runs:
            scores = of_key.filter(pl.col("run") == name)
            if "accuracy" in scores["metric"]:
                names, values, pairs, _ = _run_cells(found, scores, name, metrics)
                rows.append(Tr((*texts(key_title(dataset, by, key)), *names, *values, pairs)))
    return Grid((by.capitalize(), "Run", "Asked", *map(metric_title, metrics), "Pairs"), tuple(rows))


def _score_order(found: OpenFindings, whole: pl.DataFrame) -> list[str]:
    """Return the order of runs: readings of each open run, its closed runs, other closed runs, baselines."""
    known = whole["run"].unique(maintain_order=True).to_list()
    order: list[str] = []
    for run in dict.fromkeys(name for name, _ in found.read.values()):
        order += [name for name, (of, _) in found.read.items() if of == run]
        order += [name for name in found.closed.get(run, ()) if name in known]
    return list(dict.fromkeys([*(name for name in order if name in known), *known]))


def _score(row: Row | None, grey: bool) -> Td:
    cell = plain(row)
    return Td(f"({cell.text})", cell.small, f"num {GREYED}") if grey and cell.text != NONE else cell


def _pairs(row: Row | None) -> Td:
    return Td(NONE if row is None else count(row["pairs"]))


def _silence(found: OpenFindings, read: tuple[str, str], metric: str) -> Row | None:
    return first(found.silence, run=read[0], judge=read[1], metric=metric, by="all")


def agreement_section(dataset: Dataset, found: OpenFindings) -> Section | Absent:
    """Return the section on the agreement of closed with open answers."""
    title = "Closed against open answers"
    if found.agreement.is_empty():
        return title, "no closed run of the same models was given"
    section = Section(
        "agreement",
        "Do open and closed answers agree?",
        nav="Closed and open",
        tables=[("Per model", _agreement_grid(dataset, found, "all"))],
    )
    section.intro = (
        "Does a model choose what it writes? For each pair, the chosen option is compared with the option that the open answer expresses. "
        "Same: equal options. Distance: distance as a share of the scale. Kappa: quadratically weighted; 0 is chance. Errors of the judge "
        "count as disagreement, so agreement is underestimated."
    )
    judges = found.agreement["judge"].unique(maintain_order=True).to_list()
    doubted = [judge for judge in judges if unfit(found, judge, _STANCE)]
    if doubted:
        section.warning = f"Readings of {', '.join(doubted)} may not be used (see above): disagreement can be due to the judge."
    levels = found.agreement.filter((pl.col("by") == "level") & (pl.col("metric") == "same") & pl.col("value").is_not_null())
    # Values of unusable judges are not drawn.
    dots = _dots(dataset, levels.filter(~pl.col("judge").is_in(doubted)))
    caption = "Share of pairs with the same option closed and open. A level contains all its subgroups."
    chart = dot_chart(dots, name="agreement", axis="same option", described="Closed against open by level", caption=caption, width=BESIDE)
    if chart is not None:
        section.figures.append(("Same option, by level", chart))
    apart = _apart_grid(dataset, found)
    if apart.rows:
        section.tables.append(("Subgroups with the largest distance", apart))
    section.folded = [(f"Table by {by}", _agreement_grid(dataset, found, by)) for by in _KEYS]
    return section


def _dots(dataset: Dataset, levels: pl.DataFrame) -> list[Dot]:
    most = {name: max([part[name].n_unique() for _, part in levels.group_by("run")], default=0) for name in ("judge", "closed")}

    def series(row: Row) -> str:
        closed = f"against {row['closed']}" if most["closed"] > 1 else ""
        judge = f"read by {row['judge']}" if most["judge"] > 1 else ""
        return ", ".join(filter(None, (row["run"], closed, judge)))

    return level_dots(dataset, levels, lambda row: f"{series(row)} {points(row['value'])} %, {row['pairs']} pairs", series)


def _agreement_grid(dataset: Dataset, found: OpenFindings, by: str) -> Grid:
    whole = found.agreement.filter(pl.col("by") == by)
    rows: list[Tr] = []
    for key, run, closed, judge in whole.select("key", "run", "closed", "judge").unique(maintain_order=True).rows():
        measured = partial(first, whole, key=key, run=run, closed=closed, judge=judge)
        same, grey = measured(metric="same"), unfit(found, judge, _STANCE) is not None
        scores = [_score(measured(metric=name), grey) for name in ("distance", "kappa")]
        values = (share(same, greyed=grey), *scores, share(measured(metric="both"), greyed=grey))
        names = (*(() if by == "all" else (key_title(dataset, by, key),)), run, closed, judge)
        rows.append(Tr((*texts(*names), *values, _pairs(same)), "model" if by == "all" else ""))
    lead = () if by == "all" else (by.capitalize(),)
    headers = (*lead, "Open run", "Closed run", "Read by", "Same, %", "Distance", "Kappa", "Answered both ways, %", "Pairs")
    return Grid(headers, tuple(rows))


def _apart_grid(dataset: Dataset, found: OpenFindings) -> Grid:
    """Return the subgroups with the largest distance of each run."""
    agreement = found.agreement
    mine = agreement.filter((pl.col("by") == "subgroup") & (pl.col("metric") == "distance") & (pl.col("pairs") >= MIN_PAIRS))
    rows: list[Tr] = []
    most = 0
    for (run, closed, judge), part in mine.group_by("run", "closed", "judge", maintain_order=True):
        most = max(most, part.height)
        grey = unfit(found, str(judge), _STANCE) is not None
        for row in part.sort("value", descending=True, maintain_order=True).head(MAX_SHOWN).iter_rows(named=True):
            where = {"run": str(run), "closed": str(closed), "judge": str(judge), "key": row["key"]}
            same = first(agreement, **where, by="subgroup", metric="same")
            names = texts(key_title(dataset, "subgroup", row["key"]), str(run), str(closed), str(judge))
            rows.append(Tr((*names, _score(row, grey), share(same, greyed=grey), _pairs(row))))
    note = (
        f"The {MAX_SHOWN} largest of {most} subgroups with {MIN_PAIRS} pairs or more. Selected because they are large, they are "
        "overestimated. The CSV table has all subgroups."
    )
    return Grid(("Subgroup", "Open run", "Closed run", "Read by", "Distance", "Same, %", "Pairs"), tuple(rows), (), (note,))
