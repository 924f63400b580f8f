"""Sections on win rates: overall, before and after tuning, and by level and subgroup; grey if the judge is not usable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.formatting import NONE, count, points
from valuestrata.openended.schema import CRITERIA
from valuestrata.reports.closed.published import published_facts
from valuestrata.reports.core.cells import Grid, Td, Tr
from valuestrata.reports.core.section import Absent, Section
from valuestrata.reports.open.cells import first, key_title, share, texts
from valuestrata.reports.open.figures import BESIDE, dot_chart, level_dots
from valuestrata.reports.open.findings import OpenFindings
from valuestrata.reports.open.judges import criterion_title, unfit

# Published mean gains by tuning over the seven models.
_PUBLISHED_MEAN = "Mean of the seven"
_PUBLISHED_GAINS: Mapping[str, float] = {"value": 0.022}


def wins_section(dataset: Dataset, found: OpenFindings, *, published: bool = True) -> Section | Absent:
    """Return the section on win rates."""
    title = "Win rates"
    rates = found.winrates.filter(pl.col("metric") == "win_rate")
    if rates.is_empty():
        return title, "no verdicts of a judge were given"
    section = Section("wins", "Whose answers do the judges prefer?", nav="Win rates")
    section.intro = (
        "How often a run's answer is preferred to that of the reference, in percent: win 1, tie .5, loss 0, mean of both orders. "
        "50 is as good as the reference. 95 % intervals (in small type) are clustered by question; there is none under five questions."
    )
    contests = rates.select("judge", "reference").unique(maintain_order=True).rows()
    criteria = _in_order(rates)
    # Only criteria that the judge judged.
    asked = rates.select("judge", "criterion").unique(maintain_order=True).rows()
    doubted = [(judge, criterion, verdict) for judge, criterion in asked if (verdict := unfit(found, judge, criterion))]
    section.warning = _warning(doubted, len(asked))
    for judge, reference in contests:
        mine = rates.filter((pl.col("judge") == judge) & (pl.col("reference") == reference) & (pl.col("by") == "all"))
        shown = [name for name in criteria if name in mine["criterion"].to_list()]
        gains = _gain_rows(found, mine, judge, reference, shown)
        quoted = published and "overall" in shown
        grid = _win_grid(found, mine, judge, shown, published=quoted and not gains)
        section.tables.append((f"Against {reference}, judged by {judge}", grid))
        if gains:
            title_ = f"Before and after tuning, against {reference}, judged by {judge}"
            section.tables.append((title_, _gain_grid(gains, shown, published=quoted)))
    if not found.differences.is_empty():
        note = "In points, with the interval of the difference."
        section.tables.append(
            ("Differences between runs, on common pairs", _criteria_grid(dataset, found, found.differences, "all", criteria, (note,)))
        )
    return section


def win_levels_section(dataset: Dataset, found: OpenFindings) -> Section | Absent:
    """Return the section on win rates by level and subgroup, with a chart for usable judges."""
    title = "Win rates by level"
    rates = found.winrates.filter(pl.col("metric") == "win_rate")
    if rates.is_empty():
        return title, "no verdicts of a judge were given"
    section = Section("wins-by-level", "For which groups do the judges prefer them?", nav="By level")
    criteria = _in_order(rates)
    for place, (judge, reference) in enumerate(rates.select("judge", "reference").unique(maintain_order=True).rows()):
        chart = _chart(dataset, found, rates, judge, reference, criteria, f"wins-{place}")
        if chart is not None:
            section.figures.append(chart)
    if not section.figures:
        section.intro = "There is no chart because no judge is usable for any criterion."
    section.folded = [(f"Table by {by}", _criteria_grid(dataset, found, rates, by, criteria)) for by in ("level", "subgroup", "topic")]
    section.folded = [(name, grid) for name, grid in section.folded if grid.rows]
    if not found.differences.is_empty():
        note = "In points. Among many levels some differ by chance; the row over all pairs decides."
        by_level = _criteria_grid(dataset, found, found.differences, "level", criteria, (note,))
        section.folded.append(("Differences between runs, by level", by_level))
    return section


def _in_order(rates: pl.DataFrame) -> list[str]:
    """Return the criteria of the paper, then others."""
    own = rates["criterion"].unique(maintain_order=True).to_list()
    return sorted(own, key=lambda name: CRITERIA.index(name) if name in CRITERIA else len(CRITERIA))


def _warning(doubted: Sequence[tuple[str, str, str]], of: int) -> str:
    if not doubted:
        return ""
    told = "; ".join(f"{criterion_title(criterion)} by {judge} ({verdict})" for judge, criterion, verdict in doubted)
    whole = "None of these win rates may be used" if len(doubted) == of else "Win rates in grey and brackets may not be used"
    return f"{whole}, because the judge is not usable: {told}."


def _win_grid(found: OpenFindings, mine: pl.DataFrame, judge: str, criteria: Sequence[str], *, published: bool) -> Grid:
    grey = {criterion: unfit(found, judge, criterion) is not None for criterion in criteria}
    rows: list[Tr] = []
    for run in mine["run"].unique(maintain_order=True):
        cells = {criterion: first(mine, run=run, criterion=criterion) for criterion in criteria}
        values = [share(cells[criterion], greyed=grey[criterion]) for criterion in criteria]
        rows.append(Tr((*texts(run), *values, Td(_pairs(cells.values())), *texts("this report")), "model"))
    notes: list[str] = []
    if published:
        for place, result in enumerate(published_facts()["results"]):
            text = " → ".join(points(value) for value in result["win_rate"])
            cells_ = [Td(text if criterion == "overall" else NONE) for criterion in criteria]
            tail = (Td(NONE), Td("published", css="text"))
            rows.append(Tr((Td(result["model"], css="text"), *cells_, *tail), "first" if place == 0 else ""))
        notes.append(_quoted())
    return Grid(("Run", *map(criterion_title, criteria), "Pairs", "Source"), tuple(rows), (), tuple(notes))


def _quoted() -> str:
    label = published_facts()["label"]
    return (
        f"Rows marked {label}: published win rates against GPT-4.1, before and after tuning, with another judge and other answers. "
        "They are not directly comparable."
    )


def _gain_rows(found: OpenFindings, mine: pl.DataFrame, judge: str, reference: str, criteria: Sequence[str]) -> list[Tr]:
    """Return a row for each model judged before and after tuning: both win rates and the gain, by criterion."""
    known = mine["run"].to_list()
    whole = found.differences.filter((pl.col("by") == "all") & (pl.col("judge") == judge) & (pl.col("reference") == reference))
    rows: list[Tr] = []
    for tuned, base in found.tuned:
        if tuned not in known or base not in known:
            continue
        cells: list[Td] = []
        pairs: list[Mapping[str, Any] | None] = []
        for criterion in criteria:
            greyed = unfit(found, judge, criterion) is not None
            cells += [share(first(mine, run=run, criterion=criterion), greyed=greyed) for run in (base, tuned)]
            gain = first(whole, run=tuned, against=base, criterion=criterion)
            cells.append(share(gain, greyed=greyed))
            pairs.append(gain)
        rows.append(Tr((Td(base, f"tuned: {tuned}", "text"), *cells, Td(_pairs(pairs)), Td("this report", css="text")), "model"))
    return rows


def _gain_grid(rows: Sequence[Tr], criteria: Sequence[str], *, published: bool) -> Grid:
    groups = (("", 1), *((criterion_title(name), 3) for name in criteria), ("", 2))
    headers = ("Model", *("before", "after", "gain") * len(criteria), "Pairs", "Source")
    notes = ["Gain: in points, on common pairs, with the interval of the difference."]
    quoted: list[Tr] = []
    if published:
        for place, result in enumerate(published_facts()["results"]):
            cells: list[Td] = []
            for criterion in criteria:
                before, after = (*result["win_rate"], None)[:2] if criterion == "overall" else (None, None)
                gain = after - before if before is not None and after is not None else None
                gain = _PUBLISHED_GAINS.get(criterion) if gain is None and result["model"] == _PUBLISHED_MEAN else gain
                cells += [Td(NONE if value is None else points(value)) for value in (before, after, gain)]
            tail = (Td(NONE), Td("published", css="text"))
            quoted.append(Tr((Td(result["model"], css="text"), *cells, *tail), "first" if place == 0 else ""))
        notes.append(_quoted())
    return Grid(headers, (*rows, *quoted), groups, tuple(notes))


def _criteria_grid(
    dataset: Dataset, found: OpenFindings, frame: pl.DataFrame, by: str, criteria: Sequence[str], notes: tuple[str, ...] = ()
) -> Grid:
    """Return win rates, or differences between runs, with one column per criterion; a column of keys unless over all pairs."""
    mine = frame.filter(pl.col("by") == by)
    differ = "against" in mine.columns
    names = ("key", "run", *(("against",) if differ else ()), "reference", "judge")
    rows: list[Tr] = []
    for where, values, pairs in _by_criterion(found, mine, names, criteria):
        run = f"{where['run']} minus {where['against']}" if differ else where["run"]
        key = () if by == "all" else (key_title(dataset, by, where["key"]),)
        rows.append(Tr((*texts(*key, run, where["reference"], where["judge"]), *values, pairs)))
    lead = () if by == "all" else (by.capitalize(),)
    headers = (*lead, "Runs" if differ else "Run", "Against", "Judge", *map(criterion_title, criteria), "Pairs")
    return Grid(headers, tuple(rows), (), notes)


def _by_criterion(
    found: OpenFindings, frame: pl.DataFrame, names: Sequence[str], criteria: Sequence[str]
) -> Iterator[tuple[dict[str, str], list[Td], Td]]:
    """Yield for every distinct `names` of a frame their values, one cell per criterion, and the number of pairs."""
    for row in frame.select(*names).unique(maintain_order=True).iter_rows():
        where = dict(zip(names, row, strict=True))
        cells = [first(frame, **where, criterion=criterion) for criterion in criteria]
        greyed = [unfit(found, where["judge"], criterion) is not None for criterion in criteria]
        values = [share(cell, greyed=grey) for cell, grey in zip(cells, greyed, strict=True)]
        yield where, values, Td(_pairs(cells))


def _pairs(cells: Any) -> str:
    """Return the number of pairs of a row, as a range if criteria differ."""
    known = sorted({row["pairs"] for row in cells if row is not None})
    if not known:
        return NONE
    return count(known[0]) if len(known) == 1 else f"{count(known[0])}–{count(known[-1])}"


def _chart(
    dataset: Dataset, found: OpenFindings, rates: pl.DataFrame, judge: str, reference: str, criteria: Sequence[str], name: str
) -> tuple[str, Any] | None:
    """Return the chart by level of the broadest criterion with a usable judge, or None."""
    fit = [criterion for criterion in ("overall", *criteria) if criterion in criteria and unfit(found, judge, criterion) is None]
    if not fit:
        return None
    mine = rates.filter(
        (pl.col("judge") == judge) & (pl.col("reference") == reference) & (pl.col("criterion") == fit[0]) & (pl.col("by") == "level")
    )
    known = mine.filter(pl.col("value").is_not_null())
    chart = dot_chart(
        level_dots(dataset, known, lambda row: f"{row['run']} {points(row['value'])} %"),
        name=name,
        axis=f"win rate against {reference}",
        described=f"Win rate on {fit[0]} by level",
        caption=f"{criterion_title(fit[0])}, judged by {judge}. Dashed line: as good as {reference}.",
        at=0.5,
        width=BESIDE,
    )
    return None if chart is None else (f"Win rates by level: {criterion_title(fit[0])}, against {reference}, judged by {judge}", chart)
