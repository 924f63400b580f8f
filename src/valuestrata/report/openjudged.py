"""What judges are worth, and the win rates they give: the first stands above the second, and greys what is not to be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.dataset import Dataset
from valuestrata.openended.usable import LEAST_CONSISTENT, MOST_BIAS, MOST_INVALID, MOST_LONGER, NOT_USABLE, TOO_FEW
from valuestrata.openended.validitylines import validity_lines
from valuestrata.report.cells import Grid, Td, Tr
from valuestrata.report.opencells import first, key_title, level_parts, plain, share
from valuestrata.report.openfigures import Dot, dot_chart
from valuestrata.report.openfindings import OpenFindings
from valuestrata.report.published import published_facts
from valuestrata.report.section import Absent, Section
from valuestrata.report.words import NONE, count
from valuestrata.scores.phrases import percent, points

CRITERION_TITLES: Mapping[str, str] = {"value": "Value", "persona": "Persona", "overall": "Overall", "stance": "Stance"}
_CHECK_TITLES: Mapping[str, str] = {
    "order_consistency": "Same in both orders",
    "position_bias": "First shown wins",
    "invalid_share": "No verdict",
    "tie_share": "Ties",
    "longer_preferred": "Longer wins",
    "same_reading": "One and the same reading",
    "kappa_with_people": "Kappa with people",
    "kappa_among_people": "Kappa among people",
    "kappa_difference": "Difference of kappas",
}
_KAPPAS = ("kappa_with_people", "kappa_among_people", "kappa_difference")
# Verdicts that a reader must not lean on.
UNFIT = (NOT_USABLE, TOO_FEW)


def criterion_title(criterion: str) -> str:
    """Return a criterion's heading."""
    return CRITERION_TITLES.get(criterion, criterion.replace("_", " ").capitalize())


def unfit(found: OpenFindings, judge: str, criterion: str) -> str | None:
    """Return the verdict that forbids a judge for a criterion, None where none does; a judge nobody checked is unfit, too."""
    row = found.verdict_of(judge, criterion)
    verdict = TOO_FEW if row is None else str(row["verdict"])
    return verdict if verdict in UNFIT else None


def judges_section(found: OpenFindings) -> Section | Absent:
    """Return the section of the judges' checks."""
    title = "What the judges are worth"
    usable = found.validity.usable
    if usable.is_empty():
        return title, "no judge's verdicts or stances were given"
    section = Section("judges", title, tables=[("", _judge_grid(found))])
    section.intro = (
        "A judge is not to be used for a criterion where it fails a check: under "
        f"{percent(LEAST_CONSISTENT)} of pairs with the same verdict in both orders, the answer shown first winning more than "
        f"{percent(0.5 + MOST_BIAS)} or less than {percent(0.5 - MOST_BIAS)} of decided verdicts, over {percent(MOST_INVALID)} of calls "
        f"without a verdict, the longer answer winning more than {percent(MOST_LONGER)} beyond noise, or agreement with people that "
        "is no better than chance or below that of people among themselves. What passes all this without people may still be wrong."
    )
    section.opening = [line for line in validity_lines(found.validity)[: usable.height] if f": judge {NOT_USABLE}" in line]
    section.sentences = list(found.validity.notes)
    if not found.validity.corrected.is_empty():
        section.folded.append(("Corrected for the judges' errors, by what people coded", _corrected_grid(found.validity.corrected)))
    return section


def _judge_grid(found: OpenFindings) -> Grid:
    checks = found.validity.checks.filter(pl.col("by") == "all")
    shown = [name for name in _CHECK_TITLES if not checks.filter(pl.col("check") == name).is_empty()]
    rows: list[Tr] = []
    for row in found.validity.usable.iter_rows(named=True):
        mine = checks.filter((pl.col("judge") == row["judge"]) & (pl.col("criterion") == row["criterion"]))
        cells = [_check_cell(first(mine, check=name), name) for name in shown]
        rows.append(
            Tr((Td(row["judge"], css="text"), Td(criterion_title(row["criterion"]), css="text"), Td(row["verdict"], css="text"), *cells))
        )
    notes = ("Shares in percent. ✗: the check fails; ✓: it passes; no mark: too few to tell, or not held against anything.",)
    return Grid(("Judge", "Criterion", "Verdict", *(_CHECK_TITLES[name] for name in shown)), tuple(rows), (), notes)


def _check_cell(row: Mapping[str, Any] | None, name: str) -> Td:
    if row is None:
        return Td(NONE)
    cell = plain(row) if name in _KAPPAS else share(row, shift=0.5 if name == "position_bias" else 0.0)
    mark = {True: " ✓", False: " ✗", None: ""}[row["passed"]]
    small = "; ".join(part for part in (cell.small, f"n {row['n']:,}") if part)
    return Td(f"{cell.text}{mark}", small, cell.css)


def _corrected_grid(corrected: pl.DataFrame) -> Grid:
    rows: list[Tr] = []
    for row in corrected.filter((pl.col("by") == "all") & pl.col("answer").is_null()).iter_rows(named=True):
        alone = {"value": row["judge_value"], "ci_low": row["judge_low"], "ci_high": row["judge_high"]}
        people = {"value": row["people_value"], "ci_low": row["people_low"], "ci_high": row["people_high"]}
        about = row["run"] if row["reference"] is None else f"{row['run']} against {row['reference']}"
        names = (row["judge"], criterion_title(row["criterion"]), about, row["metric"].replace("_", " "))
        rows.append(Tr((*(Td(name, css="text") for name in names), share(alone), share(people), share(row), Td(count(row["coded"])))))
    headers = ("Judge", "Criterion", "Run", "What", "By the judge", "By people", "Corrected", "Coded")
    note = "In percent. Corrected: what people would say of all answers, by prediction-powered inference."
    return Grid(headers, tuple(rows), (), (note,))


def wins_section(found: OpenFindings, *, published: bool = True) -> Section | Absent:
    """Return the section of win rates, with those of judges that are not usable greyed."""
    title = "Win rates"
    rates = found.winrates.filter(pl.col("metric") == "win_rate")
    if rates.is_empty():
        return title, "no verdicts of a judge were given"
    section = Section("wins", title)
    section.intro = (
        "How often a run's answer is preferred to that of the reference, in percent: win 1, tie .5, loss 0, the mean of both orders. "
        "50 is as good as the reference. 95 % intervals in grey are clustered by question."
    )
    contests = rates.select("judge", "reference").unique(maintain_order=True).rows()
    criteria = rates["criterion"].unique(maintain_order=True).to_list()
    doubted = [
        (judge, criterion, verdict) for judge, _ in contests for criterion in criteria if (verdict := unfit(found, judge, criterion))
    ]
    section.warning = _warning(doubted, len(contests) * len(criteria))
    for judge, reference in contests:
        grid = _win_grid(found, rates, judge, reference, criteria, published=published)
        section.tables.append((f"Against {reference}, judged by {judge}", grid))
    if not found.differences.is_empty():
        section.tables.append(("One run less another, on the pairs that both were judged on", _difference_grid(found, criteria)))
    return section


def win_levels_section(dataset: Dataset, found: OpenFindings) -> Section | Absent:
    """Return the section of win rates by level and subgroup; a chart only of criteria that may be used."""
    title = "Win rates by level"
    rates = found.winrates.filter(pl.col("metric") == "win_rate")
    if rates.is_empty():
        return title, "no verdicts of a judge were given"
    section = Section("wins-by-level", title)
    criteria = rates["criterion"].unique(maintain_order=True).to_list()
    for place, (judge, reference) in enumerate(rates.select("judge", "reference").unique(maintain_order=True).rows()):
        chart = _chart(dataset, found, rates, judge, reference, criteria, f"wins-{place}")
        if chart is not None:
            section.figures.append(chart)
    if not section.figures:
        section.intro = "No chart: there is no criterion for which a judge may be used. The tables are greyed where it may not."
    section.folded.append(("Table by level", _key_grid(dataset, found, rates, "level", criteria)))
    section.folded.append(("Table by subgroup", _key_grid(dataset, found, rates, "subgroup", criteria)))
    return section


def _warning(doubted: Sequence[tuple[str, str, str]], of: int) -> str:
    if not doubted:
        return ""
    told = "; ".join(f"{criterion_title(criterion)} by {judge} ({verdict})" for judge, criterion, verdict in doubted)
    whole = "None of these win rates may be used" if len(doubted) == of else "Win rates in grey and in brackets may not be used"
    return f"{whole}. The judge does not meet the conditions of the section above: {told}."


def _win_grid(found: OpenFindings, rates: pl.DataFrame, judge: str, reference: str, criteria: Sequence[str], *, published: bool) -> Grid:
    mine = rates.filter((pl.col("judge") == judge) & (pl.col("reference") == reference) & (pl.col("by") == "all"))
    grey = {criterion: unfit(found, judge, criterion) is not None for criterion in criteria}
    rows: list[Tr] = []
    for run in mine["run"].unique(maintain_order=True):
        cells = {criterion: first(mine, run=run, criterion=criterion) for criterion in criteria}
        pairs = max((row["pairs"] for row in cells.values() if row is not None), default=0)
        values = [share(cells[criterion], greyed=grey[criterion]) for criterion in criteria]
        rows.append(Tr((Td(run, css="text"), *values, Td(count(pairs)), Td("this report", css="text")), "model"))
    notes: list[str] = [f"{criterion_title(name)}: judge {unfit(found, judge, name)}." for name in criteria if grey[name]]
    if published and "overall" in criteria:
        facts = published_facts()
        for place, result in enumerate(facts["results"]):
            values = result["win_rate"]
            text = " → ".join(points(value) for value in values)
            cells_ = [Td(text if criterion == "overall" else NONE) for criterion in criteria]
            source = Td("published", css="text")
            rows.append(Tr((Td(result["model"], css="text"), *cells_, Td(NONE), source), "first" if place == 0 else ""))
        notes.append(
            f"Published rows: {facts['label']}, win rate against GPT-4.1, before → after tuning, judged by another model on other "
            "answers. They are quoted, not computed here, and not comparable but in kind."
        )
    return Grid(("Run", *map(criterion_title, criteria), "Pairs", "Source"), tuple(rows), (), tuple(notes))


def _difference_grid(found: OpenFindings, criteria: Sequence[str]) -> Grid:
    whole = found.differences.filter(pl.col("by") == "all")
    rows: list[Tr] = []
    for run, against, judge in whole.select("run", "against", "judge").unique(maintain_order=True).rows():
        cells = [first(whole, run=run, against=against, judge=judge, criterion=criterion) for criterion in criteria]
        values = [share(row, greyed=unfit(found, judge, criterion) is not None) for criterion, row in zip(criteria, cells, strict=True)]
        pairs = max((row["pairs"] for row in cells if row is not None), default=0)
        rows.append(Tr((Td(f"{run} less {against}", css="text"), Td(judge, css="text"), *values, Td(count(pairs)))))
    note = "In points; the interval is of the difference, with both runs' verdicts drawn together."
    return Grid(("Runs", "Judge", *map(criterion_title, criteria), "Pairs"), tuple(rows), (), (note,))


def _key_grid(dataset: Dataset, found: OpenFindings, rates: pl.DataFrame, by: str, criteria: Sequence[str]) -> Grid:
    mine = rates.filter(pl.col("by") == by)
    rows: list[Tr] = []
    for run, judge, key in mine.select("run", "judge", "key").unique(maintain_order=True).rows():
        cells = [first(mine, run=run, judge=judge, key=key, criterion=criterion) for criterion in criteria]
        values = [share(row, greyed=unfit(found, judge, criterion) is not None) for criterion, row in zip(criteria, cells, strict=True)]
        pairs = max((row["pairs"] for row in cells if row is not None), default=0)
        names = (key_title(dataset, by, key), run, judge)
        rows.append(Tr((*(Td(name, css="text") for name in names), *values, Td(count(pairs)))))
    return Grid((by.capitalize(), "Run", "Judge", *map(criterion_title, criteria), "Pairs"), tuple(rows))


def _chart(
    dataset: Dataset, found: OpenFindings, rates: pl.DataFrame, judge: str, reference: str, criteria: Sequence[str], name: str
) -> tuple[str, Any] | None:
    """Return the chart by level of the broadest criterion that may be used; none where none may."""
    fit = [criterion for criterion in ("overall", *criteria) if criterion in criteria and unfit(found, judge, criterion) is None]
    if not fit:
        return None
    mine = rates.filter(
        (pl.col("judge") == judge) & (pl.col("reference") == reference) & (pl.col("criterion") == fit[0]) & (pl.col("by") == "level")
    )
    dots: list[Dot] = []
    for row in mine.filter(pl.col("value").is_not_null()).iter_rows(named=True):
        group, level = level_parts(dataset, row["key"])
        said = f"{level}: {row['run']} {points(row['value'])} %"
        dots.append(Dot(level, group, row["run"], row["value"], row["ci_low"], row["ci_high"], said))
    dots.sort(key=lambda dot: dataset_order(dataset).get((dot.group, dot.label), 0))
    chart = dot_chart(
        dots,
        name=name,
        axis=f"win rate against {reference}",
        described=f"Win rate on {fit[0]} by level",
        caption=f"{criterion_title(fit[0])}, judged by {judge}. The dashed line: as good as {reference}.",
        at=0.5,
    )
    return None if chart is None else (f"{criterion_title(fit[0])}, against {reference}, judged by {judge}", chart)


def dataset_order(dataset: Dataset) -> dict[tuple[str, str], int]:
    """Return (attribute's title, level) -> its place in the data set's document."""
    found: dict[tuple[str, str], int] = {}
    for attribute in dataset.meta.get("attributes", []):
        for level in attribute["levels"]:
            found[str(attribute.get("title") or attribute["name"]), str(level["label"])] = len(found)
    return found
