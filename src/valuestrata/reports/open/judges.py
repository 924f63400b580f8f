"""Section on the judges: checks, agreement with people, and estimates corrected for their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from valuestrata.claims.judges import judge_claims, shared_base_claims
from valuestrata.claims.templates import word
from valuestrata.claims.wording import Names, p_value
from valuestrata.dataset.tables import Dataset
from valuestrata.formatting import NONE, count, number, percent, points
from valuestrata.openended.validity.decision_rule import (
    KAPPA_MARGIN,
    MAX_INVALID,
    MAX_LONGER,
    MAX_POSITION_BIAS,
    MAX_SAME_READING,
    MAX_TIES,
    MIN_CONSISTENCY,
    TOO_FEW,
    UNFIT,
)
from valuestrata.openended.validity.human_agreement import DECIDING
from valuestrata.reports.core.cells import Grid, Td, Tr
from valuestrata.reports.core.section import Absent, Section
from valuestrata.reports.open.cells import first, key_title, plain, share, texts
from valuestrata.reports.open.findings import OpenFindings
from valuestrata.responses.run.base_models import share_base
from valuestrata.responses.run.identity import run_identity

CRITERION_TITLES: Mapping[str, str] = {"value": "Value", "persona": "Persona", "overall": "Overall", "stance": "Stance"}
_CHECK_TITLES: Mapping[str, str] = {
    "order_consistency": "Same in both orders",
    "position_bias": "First shown wins",
    "invalid_share": "No verdict",
    "refused_share": "Refused",
    "tie_share": "Ties",
    "longer_preferred": "Longer wins",
    "same_reading": "Same reading",
}
_LONGER, _PEOPLES_LONGER = "longer_preferred", "longer_preferred_by_people"
_MEASURES: Mapping[str, str] = {
    "agreement": "Same verdict, share",
    "kappa_quadratic": "Weighted kappa",
    "alpha_nominal": "Krippendorff's alpha, nominal",
    "alpha_ordinal": "Krippendorff's alpha, ordinal",
}
_CORRECTED_TITLES: Mapping[str, str] = {"win_rate": "win rate, %", "place": "mean position on the scale", "no_stance": "no stance, %"}
_PUBLISHED_KAPPAS = (
    "Published weighted kappas, for another judge and other answers (arXiv 2604.12851): with people .568 for overall and .318 for persona, "
    "among people .552 and .388."
)
_KEYS = ("level", "subgroup", "topic")
# The check that applies to each comparison of a measure of agreement.
_CHECK_OF: Mapping[str, Mapping[str, str]] = {
    DECIDING: {"judge-people": "kappa_with_people", "difference": "kappa_difference"},
    "agreement": {"difference": "agreement_difference"},
}


def criterion_title(criterion: str) -> str:
    """Return a criterion's heading."""
    return CRITERION_TITLES.get(criterion, criterion.replace("_", " ").capitalize())


def unfit(found: OpenFindings, judge: str, criterion: str) -> str | None:
    """Return the verdict if the judge may not be used for a criterion, else None; an unchecked judge may not be used."""
    row = first(found.validity.usable, judge=judge, criterion=criterion)
    verdict = TOO_FEW if row is None else str(row["verdict"])
    return verdict if verdict in UNFIT else None


def judges_section(dataset: Dataset, found: OpenFindings, *, published: bool = True) -> Section | Absent:
    """Return the section on the judges: their checks, and their agreement with people if there are codings."""
    title = "Validity of the judges"
    usable = found.validity.usable
    if usable.is_empty():
        return title, "no verdicts or stances were given"
    section = Section("judges", "Can the judges be trusted?", nav="Judges", tables=[("", _judge_grid(found))])
    section.intro = "A judge is not usable for a criterion if it fails a check. A judge that passes without people can still be wrong."
    rule = (
        f"A judge is not usable for a criterion if it fails a check: fewer than {percent(MIN_CONSISTENCY)} of pairs with the same verdict "
        f"in both orders, more than {percent(0.5 + MAX_POSITION_BIAS)} or less than {percent(0.5 - MAX_POSITION_BIAS)} of decided verdicts "
        f"for the answer shown first, more than {percent(MAX_INVALID)} of calls without a verdict, more than {percent(MAX_TIES)} ties, "
        f"more than {percent(MAX_SAME_READING)} of stances at one position, more than {percent(MAX_LONGER)} of pairs won by the longer "
        "answer (whole interval), or agreement with people that is no better than chance or lower than that among people. It is usable "
        "only if the intervals show that it meets every threshold and that its kappa with people is at most "
        f"{number(KAPPA_MARGIN)} lower than that among people."
    )
    section.method = [rule]
    names = judge_names(found)
    claims = [claim for claim in judge_claims(found.validity) if unfit(found, claim.run, str(claim.key)) is not None]
    section.opening = [word(claim, names).text for claim in claims]
    section.opening += [word(claim, names).sentence for claim in shared_base_claims(shared_bases(found))]
    section.sentences = list(found.validity.notes)
    section.folded = [(f"The checks by {by}", _key_checks(dataset, found, by)) for by in ("run", *_KEYS)]
    if not found.validity.agreed.is_empty():
        section.tables.append(("Agreement with people and among people", _agreed_grid(dataset, found, "all", published)))
        section.folded += [(f"Agreement with people by {by}", _agreed_grid(dataset, found, by)) for by in _KEYS]
    if not found.validity.corrected.is_empty():
        section.tables.append(("Corrected for the judges' errors with people's codings", _corrected_grid(dataset, found, ("all",))))
        section.folded.append(("Corrected, by level and subgroup", _corrected_grid(dataset, found, ("level", "subgroup"))))
    if not found.validity.corrected_differences.is_empty():
        title_ = "Differences of win rates, corrected for the judges' errors"
        section.tables.append((title_, _difference_grid(dataset, found, ("all",))))
        section.folded.append((f"{title_}, by level and subgroup", _difference_grid(dataset, found, ("level", "subgroup"))))
    section.folded = [(name, grid) for name, grid in section.folded if grid.rows]
    return section


def judge_names(found: OpenFindings) -> Names:
    """Return the titles of the criteria, for claims."""
    return Names(keys={criterion: criterion_title(criterion) for criterion in found.validity.usable["criterion"].unique()})


def own_answers(found: OpenFindings) -> dict[str, list[str]]:
    """Return judge -> runs it read that were written by the model of the same name, alone or inside a control."""
    own: dict[str, list[str]] = {}
    for judge in found.validity.usable["judge"].unique(maintain_order=True):
        verdicts, stances = (frame.filter(pl.col("judge") == judge) for frame in (found.verdicts, found.stances))
        read = {*verdicts["run"], *verdicts["reference"], *stances["run"]}
        own[judge] = [run.name for run in found.runs if run.name in read and str(run_identity(run).model.name) == judge]
    return own


def shared_bases(found: OpenFindings) -> dict[str, list[str]]:
    """Return judge -> runs it read whose model is another one on the same base."""
    own, shared = own_answers(found), dict[str, list[str]]()
    for judge, identity in found.judges.items():
        verdicts, stances = (frame.filter(pl.col("judge") == judge) for frame in (found.verdicts, found.stances))
        read = {*verdicts["run"], *verdicts["reference"], *stances["run"]} - set(own.get(judge, ()))
        shared[judge] = [run.name for run in found.runs if run.name in read and share_base(identity, run_identity(run))]
    return shared


def _judge_grid(found: OpenFindings) -> Grid:
    checks = found.validity.checks.filter(pl.col("by") == "all")
    shown = [name for name in _CHECK_TITLES if name in checks["check"].to_list()]
    rows: list[Tr] = []
    for row in found.validity.usable.iter_rows(named=True):
        mine = checks.filter((pl.col("judge") == row["judge"]) & (pl.col("criterion") == row["criterion"]))
        cells = [_check_cell(first(mine, check=name), name) for name in shown]
        peoples = first(mine, check=_PEOPLES_LONGER)
        if peoples is not None and peoples["value"] is not None and _LONGER in shown:
            at = shown.index(_LONGER)
            cells[at] = replace(cells[at], small=f"{cells[at].small}; people {points(peoples['value'])}")
        rows.append(Tr((*texts(row["judge"], criterion_title(row["criterion"]), row["verdict"]), *cells)))
    notes = ("Shares in percent. ✗: the check fails; ✓: it passes; no mark: undetermined, or no threshold.",)
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
    """Return the checks of each judge and criterion by run, level, subgroup or topic."""
    mine = found.validity.checks.filter(pl.col("by") == by)
    shown = [name for name in _CHECK_TITLES if name in mine["check"].to_list()]
    rows: list[Tr] = []
    for (key, judge, criterion), part in mine.group_by("key", "judge", "criterion", maintain_order=True):
        cells = [_check_cell(first(part, check=name), name) for name in shown]
        rows.append(Tr((*texts(key_title(dataset, by, str(key)), str(judge), criterion_title(str(criterion))), *cells)))
    headers = (by.capitalize(), "Judge", "Criterion", *(_CHECK_TITLES[name] for name in shown))
    note = "The rule uses all answers together; among many rows, some miss a threshold by chance."
    return Grid(headers, tuple(rows), (), (note,))


def _agreed_grid(dataset: Dataset, found: OpenFindings, by: str, published: bool = False) -> Grid:
    """Return the agreement of judge and people, and among people: one row per judge, criterion and measure."""
    mine = found.validity.agreed.filter((pl.col("by") == by) & pl.col("measure").is_in(list(_MEASURES)))
    rows: list[Tr] = []
    for grouped, part in mine.group_by("key", "judge", "criterion", "measure", maintain_order=True):
        key, judge, criterion, measure = map(str, grouped)
        sides = {name: first(part, between=name) for name in ("judge-people", "people-people", "difference")}
        names = ([] if by == "all" else [key_title(dataset, by, key)]) + [judge, criterion_title(criterion), _MEASURES[measure]]
        with_judge = sides["judge-people"]
        coded = Td(count(with_judge["n"]) if with_judge is not None else NONE)
        cells = {side: plain(row) for side, row in sides.items()}
        for side, check in _CHECK_OF.get(measure, {}).items() if by == "all" else ():
            held = first(found.validity.checks, by=by, judge=judge, criterion=criterion, check=check)
            cells[side] = replace(cells[side], text=cells[side].text + ("" if held is None else _mark(held)))
        rows.append(Tr((*texts(*names), *cells.values(), coded)))
    lead = () if by == "all" else (by.capitalize(),)
    headers = (*lead, "Judge", "Criterion", "Measure", "Judge and people", "Among people", "Difference", "Answers")
    notes = (
        "Means over pairs of raters; Krippendorff's alpha among people is over all coders. The difference is on the same answers. "
        "The weighted kappa decides: ✗ if it is no better than chance, or below that among people.",
        *((_PUBLISHED_KAPPAS,) if published else ()),
    )
    return Grid(headers, tuple(rows), (), notes)


# What the intervals of people's and corrected values contain.
_CODERS_NOTE = (
    "With two coders or more, the intervals of people's and corrected values cover differences between coders; with one, they are about "
    "this coder. Intervals of agreement are about the coders at hand."
)


def _difference_grid(dataset: Dataset, found: OpenFindings, bys: Sequence[str]) -> Grid:
    rows: list[Tr] = []
    for row in found.validity.corrected_differences.filter(pl.col("by").is_in(bys)).iter_rows(named=True):
        names = [row["judge"], criterion_title(row["criterion"]), f"{row['run']} minus {row['against']}", row["reference"]]
        if row["by"] != "all":
            names.insert(0, key_title(dataset, row["by"], row["key"]))
        alone = {"value": row["judge_value"], "ci_low": row["judge_low"], "ci_high": row["judge_high"]}
        people = {"value": row["people_value"], "ci_low": row["people_low"], "ci_high": row["people_high"]}
        p = Td(NONE if row["p_adjusted"] is None else p_value(row["p_adjusted"]), f"{row['tests']} tests")
        coded = Td(f"{row['coded']:,} and {row['coded_against']:,} of {row['judged']:,}")
        rows.append(Tr((*texts(*names), share(alone), share(people), share(row), p, coded)))
    lead = () if "all" in bys else ("Of",)
    headers = (*lead, "Judge", "Criterion", "Runs", "Against", "Judge", "People", "Corrected", "p, corrected", "Coded")
    note = (
        "In points, on answers that both runs have. The interval keeps answers to the same questions paired. p is for no difference, "
        f"corrected by Holm's method over the differences of a judge in this grouping. {_CODERS_NOTE}"
    )
    return Grid(headers, tuple(rows), (), (note,))


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
        rows.append(Tr((*texts(*names), write(alone), write(people), write(row), coded)))
    lead = () if "all" in bys else ("Of",)
    headers = (*lead, "Judge", "Criterion", "Run", "Estimate", "Judge", "People", "Corrected", "Coded")
    note = (
        "Corrected: estimate of people's value for all answers, by prediction-powered inference. It is valid for any errors of the judge, "
        "also if the judge alone is not usable. Answers decided by rule are left out. Shares in percent, positions from 0 to 1. "
        f"{_CODERS_NOTE}"
    )
    return Grid(headers, tuple(rows), (), (note,))
