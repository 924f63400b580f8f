"""The page of estimates: which estimator to use, what the model saves, and the estimates of a few items side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.claims.templates import Wording
from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.estimation.estimate import EstimateResult
from valuestrata.estimation.estimates import MODEL
from valuestrata.estimation.results.advice import ALONE, EstimatorChoice, advice, choice_of, half_width, side_by_side
from valuestrata.estimation.results.files import write_estimate_tables
from valuestrata.estimation.results.sentences import CHANGED, best_run, change_choice, titled, width_table
from valuestrata.estimation.results.table import FEW_ANSWERS
from valuestrata.files import folder_written_beside, write_text
from valuestrata.formatting import NONE, count, number, p_number, percent, points
from valuestrata.reports.core.cells import Grid, Td, Tr, pairs_of
from valuestrata.reports.core.names import plain, subgroup_titles
from valuestrata.reports.core.page import Page, StatusLine
from valuestrata.reports.core.render import render
from valuestrata.reports.core.section import KeyNumber, RunSummary, Section
from valuestrata.reports.core.status import coverage_lines, in_order, plan_line
from valuestrata.reports.estimation.figures import ShownSubgroup, item_chart, saved_chart, shown_subgroups, two_digits

PAGE = "report.html"
# Items with a chart, and items with a table of all subgroups.
MOST_CHARTS, MOST_TABLES = 4, 30
# Rows of a table that is open.
MOST_OPEN = 12
_METHOD = (
    ("The sample alone", "Weighted shares of the people who were interviewed, with intervals that follow the design of the sample."),
    ("The model alone", "What the model says. Its errors are unknown, so it has no interval. Never report it as an estimate."),
    (
        "Rectified",
        "The sample's estimate plus a part of the difference between the model's answers in the population and in the sample. The part, a "
        "weight from 0 to 1, is chosen for each item. Intervals hold in each subgroup and are never longer than those of the sample alone.",
    ),
    ("Multilevel", "Regression of the people's answers on their attributes, averaged over the population's cells. It uses no model."),
    (
        "Small-area",
        "The sample's estimate of each subgroup, combined with what the multilevel regression and the model predict for it. Its intervals "
        "hold on average over subgroups, not in each of them.",
    ),
    (
        "Interviews saved",
        "How many more interviews the same estimator without the model would need to be as precise. Over all items together. The interval "
        "is from gains that a useless model does not have; people and blocks of items count as samples.",
    ),
    ("Benchmarking", "Estimates of the subgroups of a stratum are moved to agree with that of the population; benchmark.csv says how far."),
    (
        "Synthetic",
        f"Nobody in the subgroup answered. Flag `few`: fewer than {FEW_ANSWERS} answers.",
    ),
)


def write_estimates(result: EstimateResult, out: str | Path, *, title: str | None = None) -> Path:
    """Write report.html and the tables of estimates into a folder, which is complete or absent; return the page.

    Args:
        result: from `estimate`.
        out: the folder; estimates that it holds are replaced.
        title: title of the page.
    """
    folder = Path(out)
    with folder_written_beside(folder) as temporary:
        write_estimate_tables(result, temporary)
        write_text(temporary / PAGE, estimates_page(result, title=title))
    return folder / PAGE


def estimates_page(result: EstimateResult, *, title: str | None = None) -> str:
    """Return the page as text."""
    survey = result.dataset.meta.get("survey") or {}
    heading = (
        title
        or f"Estimates from {count(result.document['people']['interviewed'], 'interview')}: {survey.get('title') or survey.get('name')}"
    )
    shown = shown_subgroups(result.dataset, result.table["subgroup"].unique().to_list())
    sections = [_opening(result, shown), *_saved(result), *_change(result), *_items(result, shown), _method(result)]
    # Advice on these estimates says more to a reader than that nothing was declared.
    lines = [*coverage_lines(model_coverage(result)), *(StatusLine("note", said) for said in advice(result)), plan_line(None)]
    return render(Page(heading, sections, status=in_order(lines)))


def model_coverage(result: EstimateResult) -> dict[str, float | None]:
    """Return run -> the share of the pairs of a subgroup and an item that it answered."""
    answers = result.table.filter(estimator=MODEL).group_by("run", "subgroup", "item").agg(pl.col("value").is_not_null().any())
    shares = dict(answers.group_by("run").agg(pl.col("value").mean()).iter_rows())
    return {run: shares.get(run) for run in result.runs}


def _opening(result: EstimateResult, shown: Sequence[ShownSubgroup]) -> Section:
    """Return the first screen: which estimates to use, how long their intervals are and what the model saves, beside its figure."""
    said = titled(result)
    section = Section("answer", "Which estimates should I use?", nav="What to use")
    section.runs = [RunSummary("Recommended", Wording(sentence=said["What to use"], details=()), _key_numbers(result))]
    if not result.runs:
        section.sentences = [said["The model"]]
    elif (chart := saved_chart(result.interviews.filter(pl.col("item").is_null()), shown, "saved")) is not None:
        section.figures = [("Interviews saved in each subgroup", chart)]
    widths = width_table(result)
    names = subgroup_titles(result.dataset) | {EVERYONE: "Population"}
    rows = [
        Tr((Td(names.get(str(row[0]), str(row[0])), css="text"), *(Td(str(cell)) for cell in row[1:])), "first" if place == 1 else "")
        for place, row in enumerate(widths.iter_rows())
    ]
    note = "Average half-width of the 95 % intervals of shares, in points: 3.0 means plus or minus 3 points. Shorter is better."
    section.folded = [
        ("Length of the intervals of all estimators", Grid(("Subgroup", "Answers", *widths.columns[2:]), tuple(rows), (), (note,)))
    ]
    return section


def _key_numbers(result: EstimateResult) -> tuple[KeyNumber, ...]:
    """Return the half-widths of the recommended estimates, and the interviews that the best model saves in the population."""
    chosen = choice_of(result)
    numbers = [
        _width_number(result, "Intervals of the population", chosen.population, population=True),
        _width_number(result, "Intervals of subgroups", chosen.subgroups, population=False),
    ]
    if result.runs:
        best = best_run(result)
        row = best.rectified.population
        ends = "" if row["low"] is None else f"95\u00a0% CI {number(row['low'], 1)} to {number(row['high'], 1)}, "
        numbers.append(KeyNumber("Interviews saved", number(row["estimated"], 1), f"{ends}of {number(row['n'], 0)}; with {best.run}"))
    return tuple(numbers)


def _width_number(result: EstimateResult, label: str, chosen: EstimatorChoice, *, population: bool) -> KeyNumber:
    own, alone = (half_width(result, one, population=population) for one in (chosen, ALONE))
    details = f"points; {chosen.name}"
    if chosen != ALONE and alone is not None:
        details += f" ({ALONE.name}: ±\u00a0{points(alone)})"
    return KeyNumber(label, NONE if own is None else f"±\u00a0{points(own)}", details)


def _saved(result: EstimateResult) -> list[Section]:
    if not result.runs:
        return []
    said = titled(result)
    rows = result.interviews.filter(pl.col("item").is_null())
    section = Section("saved", "How many interviews does the model save?", nav="Interviews saved")
    section.opening = [said[title] for title in ("The model", "Where it saves nothing") if title in said]
    section.intro = "An interval that reaches 0 means that no saving is shown; that is the usual result for a general model."
    names = subgroup_titles(result.dataset) | {EVERYONE: "Population"}
    made: list[Tr] = []
    for row in rows.iter_rows(named=True):
        ends = "" if row["low"] is None else f"{number(row['low'], 1)} to {number(row['high'], 1)}"
        choice = EstimatorChoice(row["estimator"], row["run"]).name
        cells = (
            Td(names[row["subgroup"]], css="text"),
            Td(choice, css="text"),
            Td(number(row["n"], 0)),
            Td(number(row["estimated"], 1), ends),
        )
        made.append(Tr((*cells, Td("yes" if row["shown"] else "", css="text"))))
    note = "In grey: 95 % intervals. Shown: above 0 after adjustment for the number of subgroups (Holm). By item: interviews.csv."
    section.folded = [("Table of all subgroups", Grid(("Subgroup", "Estimator", "Interviews", "Saved", "Shown"), tuple(made), (), (note,)))]
    return [section]


def _change(result: EstimateResult) -> list[Section]:
    if not result.has_change:
        return []
    chosen = change_choice(result)
    rows = result.table.filter(
        pl.col("estimator") == chosen.estimator, pl.col("run").eq_missing(chosen.run), pl.col("p_change") < CHANGED
    ).sort("p_change", maintain_order=True)
    section = Section("change", "What changed since the first wave?", nav="Change")
    section.opening = [titled(result)["Change"]]
    names = subgroup_titles(result.dataset) | {EVERYONE: "Population"}
    labels = _labels(result)
    made: list[Tr] = []
    for row in rows.iter_rows(named=True):
        share = row["code"] is not None
        # Pairs with a mean are listed by it, others by their options.
        if share and (row["item"] in _ordered(result)):
            continue
        write = points if share else two_digits
        ends = f"{write(row['change_low'])} to {write(row['change_high'])}"
        what = labels[row["item"]].get(row["code"], "Mean")
        texts = (names[row["subgroup"]], row["item"], what)
        values = (Td(write(row["first"])), Td(write(row["value"])), Td(write(row["change"]), ends), Td(p_number(row["p_change"])))
        made.append(Tr((*(Td(text, css="text") for text in texts), *values)))
    note = "Means are of the scale codes, shares in points. In grey: 95 % intervals."
    grid = Grid(("Subgroup", "Item", "", "First wave", "Now", "Change", "Adjusted p"), tuple(made), (), (note,))
    all_pairs = "The estimates of all pairs, with intervals of their change, are in estimates.csv."
    section.sentences = [all_pairs if not made else f"Only pairs that are shown to have changed are listed. {all_pairs}"]
    if len(made) > MOST_OPEN:
        section.folded = [(f"All {count(len(made), 'change')}", grid)]
    elif made:
        section.tables = [("", grid)]
    return [section]


def _ordered(result: EstimateResult) -> set[str]:
    return set(result.dataset.items.filter(pl.col("level") != "nominal")["item"])


def _labels(result: EstimateResult) -> dict[str, dict[int | None, str]]:
    rows = result.dataset.items.select("item", "codes", "labels").iter_rows()
    return {item: dict(zip(codes, labels, strict=True)) for item, codes, labels in rows}


def _items(result: EstimateResult, shown: Sequence[ShownSubgroup]) -> list[Section]:
    """Return a section with the charts of a few items, one per topic, and the tables of more."""
    known = set(result.table["item"])
    items = [row for row in result.dataset.items.iter_rows(named=True) if row["item"] in known]
    first: list[dict[str, Any]] = []
    for row in items:
        if row["topic"] not in {one["topic"] for one in first}:
            first.append(row)
    charted = [*first, *(row for row in items if row not in first)][:MOST_CHARTS]
    estimators = side_by_side(result)
    section = Section("estimates", "What are the estimates?", nav="Estimates")
    if said := titled(result).get("Synthetic estimates"):
        section.opening = [said]
    section.intro = (
        "One item of each of the first topics. All items, subgroups and options are in estimates.csv."
        if len(items) > len(charted)
        else "All subgroups and options are in estimates.csv."
    )
    if len(result.runs) > 1:
        section.intro += f" The model shown is {estimators[1].run}."
    for place, item in enumerate(charted):
        what, code = _number_shown(item)
        rows = result.table.filter(pl.col("item") == item["item"], pl.col("code").eq_missing(code))
        chart = item_chart(rows, shown, estimators, f"item-{place}", what, code is not None)
        if chart is not None:
            (section.more if section.figures else section.figures).append((f"{item['item']}: {item['question']}", chart))
    section.folded = [
        (f"Table of {item['item']}: {item['question']}", _table(result, item, shown, estimators)) for item in items[:MOST_TABLES]
    ]
    return [section]


def _number_shown(item: dict[str, Any]) -> tuple[str, int | None]:
    """Return what a chart of an item shows, and its code: the mean of ordinal items with more than two options, else the first option."""
    labels, codes = item["labels"], item["codes"]
    if item["level"] == "ordinal" and len(codes) > 2:
        return f"Mean of the codes, {codes[0]} ({labels[0]}) to {codes[-1]} ({labels[-1]})", None
    return f"Share of “{labels[0]}”", codes[0]


def _table(result: EstimateResult, item: dict[str, Any], shown: Sequence[ShownSubgroup], estimators: Sequence[EstimatorChoice]) -> Grid:
    what, code = _number_shown(item)
    write = percent if code is not None else two_digits
    rows = result.table.filter(pl.col("item") == item["item"], pl.col("code").eq_missing(code))
    found = {(row["subgroup"], row["estimator"], row["run"]): row for row in rows.iter_rows(named=True)}
    made: list[Tr] = []
    for subgroup in shown:
        mine = [found.get((subgroup.id, one.estimator, one.run)) for one in estimators]
        cells = [
            Td(NONE)
            if row is None or row["value"] is None
            else Td(write(row["value"]), "" if row["low"] is None else f"{write(row['low'])} to {write(row['high'])}")
            for row in mine
        ]
        n = next((row["n"] for row in mine if row is not None), 0)
        made.append(Tr((Td(subgroup.label, css="text"), Td(count(n)), *cells)))
    return Grid(("Subgroup", "Answers", *(one.name for one in estimators)), tuple(made), (), (f"{what}. In grey: 95 % intervals.",))


def _method(result: EstimateResult) -> Section:
    section = Section("method", "How were the numbers made?", nav="Method")
    document = result.document
    described: list[tuple[str, Any]] = [
        ("Data set", f"{result.dataset.survey_and_place}, fingerprint {result.dataset.fingerprint[:12]}"),
        ("People", plain(document["people"])),
        *((f"Run {run['name']}", plain(run["respondent"])) for run in document["request"]["runs"]),
        ("First wave", plain(document["first_wave"])),
        ("Files", plain(document["request"]["files"])),
        ("Options", plain(document["request"]["options"])),
    ]
    notes = [str(remark) for remark in result.remarks]
    section.sentences = notes
    section.folded = [("What the estimators do", pairs_of(_METHOD)), ("Settings, files and runs", pairs_of(described))]
    return section
