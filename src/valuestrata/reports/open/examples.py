"""Section with examples: the answers of people and of every run to one question, for two subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import Option, UsageError, did_you_mean
from valuestrata.formatting import NONE, percent
from valuestrata.measures import tv, w1
from valuestrata.openended.questions import chosen_items, with_open_questions
from valuestrata.reports.closed.examples import STATUS_WORDS
from valuestrata.reports.core.cells import Grid, Td, Tr
from valuestrata.reports.core.names import clipped, subgroup_titles
from valuestrata.reports.core.section import Absent, Section
from valuestrata.reports.open.findings import OpenFindings
from valuestrata.reports.open.judges import unfit
from valuestrata.responses.run.folder import Run

LONGEST_TEXT = 1500


@dataclass(frozen=True)
class Chosen:
    """The item and subgroups of the examples."""

    item: str
    first: str
    second: str


def choose_example(dataset: Dataset, found: OpenFindings, wanted: Sequence[str] = ()) -> Chosen | None:
    """Return the item and the two subgroups to show; None if no two subgroups of a stratum were asked the same item.

    Args:
        dataset: the ground truth. found: whose runs answered.
        wanted: item and two subgroups; else the item on which subgroups differ most (as `most_divided=1` of `plan_open` chooses it, of
            those answered), and the two subgroups of one stratum whose people differ most there.

    Raises:
        UsageError: an item or subgroup that the data set does not have, or that no run answered.
    """
    answered = pl.concat([run.responses.select("item", "subgroup") for run in found.runs]).unique()
    if wanted:
        return _wanted(dataset, answered, wanted)
    several = _comparable(dataset, answered)
    items = several["item"].unique(maintain_order=True).to_list()
    if not items:
        return None
    item = chosen_items(dataset, items=items, most_divided=1)[0]
    return _furthest(dataset, item, several.filter(pl.col("item") == item))


def _wanted(dataset: Dataset, answered: pl.DataFrame, wanted: Sequence[str]) -> Chosen:
    if len(wanted) != 3:
        raise UsageError(Option("example"), f" takes an item and two subgroups; found {len(wanted)} words.")
    item, first, second = wanted
    for what, name in (("item", item), ("subgroup", first), ("subgroup", second)):
        known = getattr(dataset, f"{what}s")[what].to_list()
        if name not in known:
            raise UsageError(Option("example"), f": the data set has no {what} {name!r}.{did_you_mean(name, known)}")
    for subgroup in (first, second):
        if answered.filter((pl.col("item") == item) & (pl.col("subgroup") == subgroup)).is_empty():
            raise UsageError(Option("example"), f": no run was asked {item!r} as {subgroup!r}; choose a pair that was asked.")
    return Chosen(item, first, second)


def _comparable(dataset: Dataset, answered: pl.DataFrame) -> pl.DataFrame:
    """Return the answered items of strata with two or more answering subgroups, with people's shares."""
    gold = dataset.gold.filter(pl.col("half") == "all").select("item", "subgroup", "shares")
    strata = dataset.subgroups.select("subgroup", "stratum")
    rows = answered.join(strata, on="subgroup").join(gold, on=("item", "subgroup")).filter(pl.col("stratum") != "all")
    several = rows.filter(pl.len().over("item", "stratum") > 1)
    order = {name: place for place, name in enumerate(dataset.subgroups["subgroup"])}
    return several.sort("item", pl.col("subgroup").replace_strict(order, return_dtype=pl.Int64))


def _furthest(dataset: Dataset, item: str, rows: pl.DataFrame) -> Chosen:
    nominal = dataset.items.row(by_predicate=pl.col("item") == item, named=True)["level"] == "nominal"
    apart = tv if nominal else w1
    best, at = -1.0, Chosen(item, "", "")
    for _, part in rows.group_by("stratum", maintain_order=True):
        for one, other in combinations(part.to_dicts(), 2):
            distance = float(apart(np.array(one["shares"]), np.array(other["shares"])))
            if distance > best:
                best, at = distance, Chosen(item, one["subgroup"], other["subgroup"])
    return at


def examples_section(dataset: Dataset, found: OpenFindings, chosen: Chosen | None) -> Section | Absent:
    """Return the section of answers side by side."""
    title = "Side by side"
    if chosen is None:
        return title, "no two subgroups of one stratum were asked the same question"
    item = dataset.items.row(by_predicate=pl.col("item") == chosen.item, named=True)
    titles = subgroup_titles(dataset)
    sides = (chosen.first, chosen.second)
    rows = [Tr((Td("People", "shares of the survey", "text"), *(_people(dataset, item, subgroup) for subgroup in sides)), "head")]
    for run in found.runs:
        cells = [_answer(found, run.name, run.responses, item, subgroup) for subgroup in sides]
        rows.append(Tr((Td(run.name, css="text"), *cells)))
    section = Section("examples", "What do two answers look like side by side?", nav="Side by side")
    worded, drafted = with_open_questions(dataset)
    question = worded.items.row(by_predicate=pl.col("item") == chosen.item, named=True)["open_question"]
    section.intro = f"{chosen.item}{' (drafted by rule)' if chosen.item in drafted else ''}: {question}"
    notes = (
        "The first answer of each run. In small type: its reading, the closed answer of the same model, and the results of the text "
        "checks.",
    )
    section.tables = [("", Grid(("", titles[chosen.first], titles[chosen.second]), tuple(rows), (), notes))]
    return section


def _people(dataset: Dataset, item: Mapping[str, Any], subgroup: str) -> Td:
    rows = dataset.gold.filter((pl.col("item") == item["item"]) & (pl.col("subgroup") == subgroup) & (pl.col("half") == "all"))
    if rows.is_empty():
        return Td(NONE, css="long")
    gold = rows.row(0, named=True)
    named = sorted(zip(item["labels"], gold["shares"], strict=True), key=lambda pair: -pair[1])
    told = "; ".join(f"{label} {percent(share)}" for label, share in named if share > 0)
    return Td(told, f"{gold['n']:,} answers", "long")


def _answer(found: OpenFindings, run: str, responses: pl.DataFrame, item: Mapping[str, Any], subgroup: str) -> Td:
    rows = responses.filter((pl.col("item") == item["item"]) & (pl.col("subgroup") == subgroup)).sort("sample")
    if rows.is_empty():
        return Td("not asked", css="long quiet")
    row = rows.row(0, named=True)
    remarks = [] if row["status"] == "answered" else [STATUS_WORDS.get(row["status"], row["status"])]
    where = (pl.col("pair_id") == row["pair_id"]) & (pl.col("run") == run)
    stances = found.stances.filter(where & (pl.col("sample") == row["sample"]))
    remarks += [_reading(found, stance, item) for stance in stances.iter_rows(named=True)]
    remarks += [_choice(closed, row["pair_id"], item) for closed in found.chosen if closed.name in found.closed.get(run, ())]
    checks = found.texts.texts.filter(where & (pl.col("sample") == row["sample"]))
    for check in checks.iter_rows(named=True):
        remarks += [f"restates its persona: “{clipped(check['leak_text'], 80)}”"] if check["leak"] is not None else []
        remarks += ["cut off"] if check["cut"] else []
    written = (row["text"] or "").strip()
    return Td(clipped(written or NONE, LONGEST_TEXT), "; ".join(filter(None, remarks)), "long")


def _reading(found: OpenFindings, stance: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    labels = dict(zip(item["codes"], item["labels"], strict=True))
    said = labels.get(stance["answer"], stance["status"].replace("_", " "))
    doubt = " (judge not usable)" if unfit(found, stance["judge"], "stance") else ""
    return f"read by {stance['judge']} as “{said}”{doubt}"


def _choice(closed: Run, pair_id: str, item: Mapping[str, Any]) -> str:
    """Return the option that a model chose for a pair, empty if it was not asked."""
    rows = closed.responses.filter(pl.col("pair_id") == pair_id).sort("template", "order", "sample", maintain_order=True)
    if rows.is_empty():
        return ""
    row = rows.row(0, named=True)
    labels = dict(zip(item["codes"], item["labels"], strict=True))
    said = labels.get(row["answer"])
    return f"chose “{said}” in {closed.name}" if said is not None else f"chose nothing in {closed.name}"
