"""Titles of runs, attributes, strata and subgroups in reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset, fewest_answers
from valuestrata.formatting import NONE, number
from valuestrata.reports.core.view import Cell, Entry
from valuestrata.survey.describe import blocks_text


def interval(cell: Cell, digits: int = 3) -> str:
    """Write an interval: `.790–.834`, with a negative end `−.012 to .020`; empty without one."""
    if cell.low is None or cell.high is None:
        return ""
    return f"{number(cell.low, digits)}{' to ' if cell.low < 0 else '–'}{number(cell.high, digits)}"


def with_interval(cell: Cell, digits: int = 3) -> str:
    """Write a value with its interval: `.812 [.790–.834]`."""
    ends = interval(cell, digits)
    return number(cell.value, digits) + (f" [{ends}]" if ends else "")


def small_bound(dataset: Dataset) -> str:
    """Return the number of valid answers below which the gold flags a pair."""
    return f"{dataset.meta.get('flag_below', 60):g}"


def minimum_cell(dataset: Dataset, scored: pl.DataFrame | None = None) -> str:
    """Return the minimum-cell rule in words and, given the gold rows that are scored, the fewest answers of any of them."""
    settings, weighted = dataset.meta.get("settings") or {}, bool(dataset.meta.get("weighted"))
    if "min_respondents" not in settings:
        return "not recorded in the data set"
    valid = f"{float(settings.get('min_valid', 0)):g}"
    answers = "effective valid answers (weighted)" if weighted else "effective valid answers" if has_design(dataset) else "valid answers"
    preset = " (preset “paper”)" if settings.get("preset") == "paper" else ""
    rule = (
        f"at least {settings['min_respondents']} respondents per subgroup and {valid} {answers} per pair; "
        f"pairs with fewer than {small_bound(dataset)} are flagged as small{preset}"
    )
    if scored is None or scored.is_empty():
        return rule
    return f"{rule}. The smallest pair scored here has {fewest_answers(scored)}"


# The note under scores of a data set of an older version.
PLUG_IN_BOUNDS = (
    "Ceilings of this data set come from an older version and are higher than anyone can reach; build it again to correct them."
)


def has_reachable_bounds(dataset: Dataset) -> bool:
    """Whether the ceilings and floors of a data set are those of someone who knows the population (`dataset.population`)."""
    return not dataset.small_area.is_empty()


def blocks_note(dataset: Dataset) -> str:
    """Return what intervals resample: blocks of items, or items."""
    return blocks_text(dataset.items["block"].to_list())


def has_design(dataset: Dataset) -> bool:
    """Whether the redraws follow sampling units, strata or replicate weights of the survey."""
    return bool(dataset.meta.get("design"))


def attribute_titles(dataset: Dataset) -> dict[str, str]:
    """Return attribute name -> title."""
    return {a["name"]: str(a.get("title") or a["name"].replace("_", " ").capitalize()) for a in dataset.meta.get("attributes", [])}


def stratum_titles(dataset: Dataset) -> dict[str, str]:
    """Return stratum -> title, such as `Sex × Age`."""
    titles = attribute_titles(dataset)
    names = [name for name in titles if name in dataset.subgroups.columns]
    made: dict[str, str] = {}
    for row in dataset.subgroups.unique("stratum", keep="first", maintain_order=True).iter_rows(named=True):
        used = [titles[name] for name in names if row[name] is not None]
        made[row["stratum"]] = " × ".join(used) or ("Everyone" if row["stratum"] == "all" else row["stratum"])
    return made


def subgroup_titles(dataset: Dataset) -> dict[str, str]:
    """Return subgroup -> title, such as `Female, 16-24 years`."""
    names = [name for name in attribute_titles(dataset) if name in dataset.subgroups.columns]
    made: dict[str, str] = {}
    for row in dataset.subgroups.iter_rows(named=True):
        levels = [str(row[name]) for name in names if row[name] is not None]
        made[row["subgroup"]] = ", ".join(levels) or ("Everyone" if row["subgroup"] == "all" else row["subgroup"])
    return made


def clipped(text: str, length: int) -> str:
    """Shorten a text with an ellipsis, at the end of a word if possible."""
    if len(text) <= length:
        return text
    head = text[: length - 1]
    at = head.rfind(" ")
    return (head[:at] if at > length // 2 else head).rstrip(" ,;") + "…"


def short_label(entry: Entry) -> str:
    """Return a short name: the last part of the path of a model, the rule of a baseline."""
    # The rule of a control with an adapter contains the adapter's path; the name of the run is shorter.
    if entry.rule and "(" not in entry.label and "+" not in entry.rule:
        return entry.rule
    return clipped(entry.label.rsplit("/", 1)[-1], 44)


def chart_names(entries: Sequence[Entry]) -> dict[Entry, str]:
    """Return a name for each entry in charts: short if unique, else the whole label."""
    short = {entry: short_label(entry) for entry in entries}
    used = list(short.values())
    return {entry: name if used.count(name) == 1 else clipped(entry.label, 44) for entry, name in short.items()}


def plain(value: Any) -> str:
    """Write a value of a settings document on one line."""
    if isinstance(value, Mapping):
        known = {key: inner for key, inner in value.items() if inner is not None}
        return ", ".join(f"{k} ({plain(v)})" if isinstance(v, Mapping) else f"{k}: {plain(v)}" for k, v in known.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NONE if value is None else str(value)
