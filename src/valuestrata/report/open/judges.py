"""What judges are worth: their checks, their agreement with people, and what their figures become once their errors are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from valuestrata.claims.judges import validity_lines
from valuestrata.dataset.tables import Dataset
from valuestrata.formatting import percent, points
from valuestrata.openended.validity.decision_rule import (
    MAX_INVALID,
    MAX_LONGER,
    MAX_POSITION_BIAS,
    MAX_SAME_READING,
    MAX_TIES,
    MIN_CONSISTENCY,
    NOT_USABLE,
    TOO_FEW,
)
from valuestrata.openended.validity.human_agreement import DECIDING
from valuestrata.report.core.cells import Grid, Td, Tr
from valuestrata.report.core.names import NONE, count
from valuestrata.report.core.section import Absent, Section
from valuestrata.report.open.cells import first, key_title, plain, share
from valuestrata.report.open.findings import OpenFindings
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import run_identity

CRITERION_TITLES: Mapping[str, str] = {"value": "Value", "persona": "Persona", "overall": "Overall", "stance": "Stance"}
_CHECK_TITLES: Mapping[str, str] = {
    "order_consistency": "Same in both orders",
    "position_bias": "First shown wins",
    "invalid_share": "No verdict",
    "tie_share": "Ties",
    "longer_preferred": "Longer wins",
    "same_reading": "One and the same reading",
}
_LONGER, _PEOPLES_LONGER = "longer_preferred", "longer_preferred_by_people"
_MEASURES: Mapping[str, str] = {
    "agreement": "Same verdict, share",
    "kappa_quadratic": "Weighted kappa",
    "alpha_nominal": "Krippendorff's alpha, nominal",
    "alpha_ordinal": "Krippendorff's alpha, ordinal",
}
_CORRECTED_TITLES: Mapping[str, str] = {"win_rate": "win rate, %", "place": "mean place on the scale", "no_stance": "no stance, %"}
_PUBLISHED_KAPPAS = (
    "Published weighted kappas (arXiv 2604.12851, another judge and other answers; quoted): with people .568 overall and .318 for persona, "
    "among people .552 and .388."
)
_KEYS = ("level", "subgroup", "topic")
# Which side of a measure of agreement is held against something, and the check that says so.
_HELD: Mapping[str, Mapping[str, str]] = {
    DECIDING: {"judge-people": "kappa_with_people", "difference": "kappa_difference"},
    "agreement": {"difference": "agreement_difference"},
}
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


def judges_section(dataset: Dataset, found: OpenFindings, *, published: bool = True) -> Section | Absent:
    """Return the section of the judges' checks, and of their agreement with people where people coded."""
    title = "What the judges are worth"
    usable = found.validity.usable
    if usable.is_empty():
        return title, "no judge's verdicts or stances were given"
    section = Section("judges", title, tables=[("", _judge_grid(found))])
    section.intro = (
        "A judge is not to be used for a criterion where it fails a check: under "
        f"{percent(MIN_CONSISTENCY)} of pairs with the same verdict in both orders, the answer shown first winning more than "
        f"{percent(0.5 + MAX_POSITION_BIAS)} or less than {percent(0.5 - MAX_POSITION_BIAS)} of decided verdicts, "
        f"over {percent(MAX_INVALID)} of calls without a verdict, over {percent(MAX_TIES)} ties, "
        f"over {percent(MAX_SAME_READING)} of stances at one place of the scale, the longer "
        f"answer winning more than {percent(MAX_LONGER)} beyond noise, or agreement with people that is no better than chance or below "
        "that of people among themselves. What passes all this without people may still be wrong."
    )
    lines = zip(usable["verdict"], validity_lines(found.validity), strict=False)
    section.opening = [line for verdict, line in lines if verdict in UNFIT]
    section.sentences = list(found.validity.notes)
    section.folded = [(f"The checks by {by}", _key_checks(dataset, found, by)) for by in ("run", *_KEYS)]
    if not found.validity.agreed.is_empty():
        section.tables.append(
            ("Agreement with people, beside that of people among themselves", _agreed_grid(dataset, found, "all", published))
        )
        section.folded += [(f"Agreement with people by {by}", _agreed_grid(dataset, found, by)) for by in _KEYS]
    if not found.validity.corrected.is_empty():
        section.tables.append(("Corrected for the judges' errors, by what people coded", _corrected_grid(dataset, found, ("all",))))
        section.folded.append(("Corrected, by level and subgroup", _corrected_grid(dataset, found, ("level", "subgroup"))))
    section.folded = [(name, grid) for name, grid in section.folded if grid.rows]
    return section


def own_lines(found: OpenFindings) -> list[str]:
    """Return a sentence for each judge that read answers of its own: the runs whose model is called as the judge is."""
    lines: list[str] = []
    for judge in found.validity.usable["judge"].unique(maintain_order=True):
        said = (found.verdicts.filter(pl.col("judge") == judge), found.stances.filter(pl.col("judge") == judge))
        read = {name for frame in said for name in frame["run"]} | set(said[0]["reference"])
        own = [run.name for run in found.runs if run.name in read and _called(run) == judge]
        if own:
            lines.append(f"Judge {judge} judges answers of its own ({', '.join(own)}); models tend to prefer what they wrote.")
    return lines


def _called(run: Run) -> str:
    """Return the name of the model that answered, alone or inside a control."""
    return str(run_identity(run).model.name)


def _judge_grid(found: OpenFindings) -> Grid:
    checks = found.validity.checks.filter(pl.col("by") == "all")
    # What people say has a table of its own.
    shown = [name for name in _CHECK_TITLES if name in checks["check"].to_list()]
    rows: list[Tr] = []
    for row in found.validity.usable.iter_rows(named=True):
        mine = checks.filter((pl.col("judge") == row["judge"]) & (pl.col("criterion") == row["criterion"]))
        cells = [_check_cell(first(mine, check=name), name) for name in shown]
        peoples = first(mine, check=_PEOPLES_LONGER)
        if peoples is not None and peoples["value"] is not None and _LONGER in shown:
            # A judge's taste for length is to be read beside people's.
            at = shown.index(_LONGER)
            cells[at] = replace(cells[at], small=f"{cells[at].small}; people {points(peoples['value'])}")
        rows.append(
            Tr((Td(row["judge"], css="text"), Td(criterion_title(row["criterion"]), css="text"), Td(row["verdict"], css="text"), *cells))
        )
    notes = ("Shares in percent. ✗: the check fails; ✓: it passes; no mark: too few to tell, or not held against anything.",)
    return Grid(("Judge", "Criterion", "Verdict", *(_CHECK_TITLES[name] for name in shown)), tuple(rows), (), notes)


def _check_cell(row: Mapping[str, Any] | None, name: str) -> Td:
    if row is None:
        return Td(NONE)
    cell = share(row, shift=0.5 if name == "position_bias" else 0.0)
    small = "; ".join(part for part in (cell.small, f"n {row['n']:,}") if part)
    return Td(f"{cell.text}{_mark(row)}", small, cell.css)


def _mark(row: Mapping[str, Any]) -> str:
    return {True: " ✓", False: " ✗", None: ""}[row["passed"]]


def _key_checks(dataset: Dataset, found: OpenFindings, by: str) -> Grid:
    """Return the checks of each judge and criterion under every run, level, subgroup or topic with enough of them."""
    mine = found.validity.checks.filter(pl.col("by") == by)
    shown = [name for name in _CHECK_TITLES if name in mine["check"].to_list()]
    rows: list[Tr] = []
    for key, judge, criterion in mine.select("key", "judge", "criterion").unique(maintain_order=True).rows():
        part = mine.filter((pl.col("key") == key) & (pl.col("judge") == judge) & (pl.col("criterion") == criterion))
        cells = [_check_cell(first(part, check=name), name) for name in shown]
        names = (key_title(dataset, by, key), judge, criterion_title(criterion))
        rows.append(Tr((*(Td(name, css="text") for name in names), *cells)))
    headers = (by.capitalize(), "Judge", "Criterion", *(_CHECK_TITLES[name] for name in shown))
    note = "The rule is applied to all answers together; of so many rows some miss a threshold by chance."
    return Grid(headers, tuple(rows), (), (note,))


def _agreed_grid(dataset: Dataset, found: OpenFindings, by: str, published: bool = False) -> Grid:
    """Return what judge and people, and people among themselves, agree on: a row a judge, criterion and measure."""
    mine = found.validity.agreed.filter((pl.col("by") == by) & pl.col("measure").is_in(list(_MEASURES)))
    rows: list[Tr] = []
    for key, judge, criterion, measure in mine.select("key", "judge", "criterion", "measure").unique(maintain_order=True).rows():
        part = mine.filter(
            (pl.col("key") == key) & (pl.col("judge") == judge) & (pl.col("criterion") == criterion) & (pl.col("measure") == measure)
        )
        sides = {name: first(part, between=name) for name in ("judge-people", "people-people", "difference")}
        names = ([] if by == "all" else [key_title(dataset, by, key)]) + [judge, criterion_title(criterion), _MEASURES[measure]]
        with_judge = sides["judge-people"]
        coded = Td(count(with_judge["n"]) if with_judge is not None else NONE)
        cells = {side: plain(row) for side, row in sides.items()}
        for side, check in _HELD.get(measure, {}).items() if by == "all" else ():
            held = first(found.validity.checks, by=by, judge=judge, criterion=criterion, check=check)
            cells[side] = replace(cells[side], text=cells[side].text + ("" if held is None else _mark(held)))
        rows.append(Tr((*(Td(name, css="text") for name in names), *cells.values(), coded)))
    lead = () if by == "all" else (by.capitalize(),)
    headers = (*lead, "Judge", "Criterion", "Measure", "Judge and people", "People among themselves", "Difference", "Answers")
    notes = (
        "Means over pairs of raters; Krippendorff's alpha among people is of all coders. The difference is on the same answers. "
        "The weighted kappa decides: ✗ where it is no better than chance, or below that of people.",
    )
    if published:
        notes = (*notes, _PUBLISHED_KAPPAS)
    return Grid(headers, tuple(rows), (), notes)


def _corrected_grid(dataset: Dataset, found: OpenFindings, bys: Sequence[str]) -> Grid:
    rows: list[Tr] = []
    for row in found.validity.corrected.filter(pl.col("by").is_in(bys) & pl.col("answer").is_null()).iter_rows(named=True):
        write = plain if row["metric"] == "place" else share
        alone = {"value": row["judge_value"], "ci_low": row["judge_low"], "ci_high": row["judge_high"]}
        people = {"value": row["people_value"], "ci_low": row["people_low"], "ci_high": row["people_high"]}
        about = row["run"] if row["reference"] is None else f"{row['run']} against {row['reference']}"
        names = [row["judge"], criterion_title(row["criterion"]), about, _CORRECTED_TITLES.get(row["metric"], row["metric"])]
        if row["by"] != "all":
            names.insert(0, key_title(dataset, row["by"], row["key"]))
        coded = Td(f"{row['coded']:,} of {row['judged']:,}")
        rows.append(Tr((*(Td(name, css="text") for name in names), write(alone), write(people), write(row), coded)))
    lead = () if "all" in bys else ("Of",)
    headers = (*lead, "Judge", "Criterion", "Run", "What", "By the judge", "By people", "Corrected", "Coded")
    note = (
        "Corrected: what people would say of all answers, by prediction-powered inference, whatever the judge's errors are; it may be used "
        "where the judge alone may not. Answers settled by rule are in none of the three. Shares in percent, places from 0 to 1."
    )
    return Grid(headers, tuple(rows), (), (note,))


def dataset_order(dataset: Dataset) -> dict[tuple[str, str], int]:
    """Return (attribute's title, level) -> its place in the data set's document."""
    found: dict[tuple[str, str], int] = {}
    for attribute in dataset.meta.get("attributes", []):
        for level in attribute["levels"]:
            found[str(attribute.get("title") or attribute["name"]), str(level["label"])] = len(found)
    return found
