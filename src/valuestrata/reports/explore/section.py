"""The explorer as a section of a page, with its script, style and data."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources

import polars as pl

from valuestrata.dataset.sharing import check_shareable
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.formatting import count
from valuestrata.reports.core.links import EXPLORE, links_in
from valuestrata.reports.core.page import Page, PageData
from valuestrata.reports.core.render import render
from valuestrata.reports.core.section import Section
from valuestrata.reports.core.view import RunLike, View
from valuestrata.reports.explore.bundle import datatables
from valuestrata.reports.explore.columns import pack
from valuestrata.reports.explore.data import Explored, ExploredRun, explorer_blocks
from valuestrata.respondents.baselines import CHEAP
from valuestrata.responses.run.identity import KINDS, run_identity
from valuestrata.scores.best_baseline import best_of

TITLE = "Which answers lie behind these scores?"
# Largest page, in bytes.
MOST_BYTES = 10_000_000
# Bytes of the data's own element, and of the sentence about what was left out.
AROUND = 500
# What is left out of a page that would be larger, in this order: beginnings of block names, and the blocks in words.
LEFT_OUT = (("prompts", "prompts"), ("texts", "texts of models"), ("probabilities", "probabilities of options"))
# In this order, in one function, so that no name is global.
SCRIPTS = ("elements.js", "unpack.js", "address.js", "pairs.js", "detail.js", "explore.js", "charts.js")
# Sections whose scores have intervals, and those before which the explorer is placed.
WITH_INTERVALS = ("results", "audit", "by-subgroup", "by-topic")
FOLLOWING = ("examples", "usage", "published", "method")


def explored_view(view: View, runs: Sequence[RunLike]) -> Explored:
    """Return what the explorer of a report shows: the pairs and runs of a view, in the order of its tables."""
    by_name = {run.name: run for run in runs}
    entries = {entry.run: entry for entry in reversed(view.of_kind("model", "control", "baseline"))}
    shown = [ExploredRun(by_name[entry.run], entry.run, entry.kind) for entry in reversed(entries.values())]
    best = view.best_cheap(view.accuracy_metric)
    return Explored(view.dataset, shown, view.scheme, view.part, view.fold, None if best is None else best.run)


def explored_groups(dataset: Dataset, runs: Sequence[RunLike], groups: pl.DataFrame) -> Explored | None:
    """Return what the explorer of an audit shows: the pairs and runs of its table GROUPS; None if that is empty."""
    if groups.is_empty():
        return None
    kinds = {run.name: run_identity(run) for run in runs}
    shown = sorted(runs, key=lambda run: KINDS.index(kinds[run.name].kind))
    first = groups.row(0, named=True)
    cheap = groups.filter((pl.col("metric") == first["metric"]) & pl.col("value").is_not_null())
    cheap = cheap.filter(pl.col("run").is_in([name for name, found in kinds.items() if found.is_baseline and found.rule in CHEAP]))
    weighed = cheap.group_by("run", maintain_order=True).agg((pl.col("value") * pl.col("pairs")).sum() / pl.col("pairs").sum())
    best = best_of(str(first["metric"]), dict(weighed.iter_rows()))
    return Explored(
        dataset, [ExploredRun(run, run.name, kinds[run.name].kind) for run in shown], first["scheme"], first["part"], first["fold"], best
    )


def add_explorer(page: Page, what: Explored, *, most_bytes: int = MOST_BYTES) -> None:
    """Add the explorer to a page whose other sections are complete.

    Args:
        page: gets a section, a style sheet, a script and data. what: the pairs and runs.
        most_bytes: largest size of the whole page. Prompts, then texts, then probabilities are left out of a larger one, and the
            section says so. If that is not enough, the page has no explorer, and says why.
    """
    library, style = datatables()
    script = '(() => {\n"use strict";\n' + "\n".join(_asset(name) for name in SCRIPTS) + "})();\n"
    shelf = PageData("explore-library", b64encode(gzip.compress(library.encode(), mtime=0)).decode())
    charts = [chart for section in page.sections for _, chart in (*section.figures, *section.more)]
    addresses = sorted({link for chart in charts for link in links_in(chart.svg)})
    with_intervals = [(other.title, other.id) for other in page.sections if other.id in WITH_INTERVALS]
    section = Section(EXPLORE, TITLE, nav="Explore")
    section.intro = (
        "Every pair of a question and a subgroup, with the answers of people and runs. Choose one run or two, filter, and select a "
        "question to see the distributions, what the model was shown and what it wrote. Marks in the figures lead here."
    )
    try:
        check_shareable(what.dataset, "share a page without the explorer")
    except InputDataError as error:
        section.warning = f"This page holds the shares of every pair. {error}"
    section.body = _body(addresses, [], most_bytes, with_intervals)
    ids = [other.id for other in page.sections]
    place = min([ids.index(name) for name in FOLLOWING if name in ids], default=len(ids))
    empty = replace(
        page,
        sections=[*page.sections[:place], section, *page.sections[place:]],
        styles=[*page.styles, style, _asset("explore.css")],
        scripts=[*page.scripts, script],
        loaded=[*page.loaded, library],
        data=[*page.data, shelf],
    )
    packed = {name: b64encode(pack(block)).decode() for name, block in explorer_blocks(what).items()}
    kept, left_out = fitting(packed, most_bytes - len(render(empty).encode()) - AROUND)
    if not kept:
        pairs = count(what.dataset.scored_gold(what.split, what.part, what.fold).height, "pair")
        reason = f"{pairs} and {count(len(what.runs), 'run')} do not fit into a page of {megabytes(most_bytes)}"
        page.absent = [*page.absent, (TITLE, reason)]
        return
    section.body = _body(addresses, left_out, most_bytes, with_intervals)
    data = PageData("explore-data", "\n".join(f"{name}:{text}" for name, text in kept.items()))
    page.sections, page.styles, page.scripts, page.loaded = empty.sections, empty.styles, empty.scripts, empty.loaded
    page.data = [*empty.data, data]


def fitting(packed: Mapping[str, str], most: int) -> tuple[dict[str, str], list[str]]:
    """Return the blocks that fit and, in words, what was left out.

    Args:
        packed: name -> block. most: characters of all blocks together, each on a line with its name.

    Returns:
        No block at all if those that are always needed do not fit.
    """
    kept, left_out = dict(packed), list[str]()
    for beginning, words in LEFT_OUT:
        if _lines(kept) <= most:
            break
        if lost := [name for name in kept if name.startswith(beginning)]:
            kept = {name: text for name, text in kept.items() if name not in lost}
            left_out.append(words)
    return (kept, left_out) if _lines(kept) <= most else ({}, left_out)


def _lines(packed: Mapping[str, str]) -> int:
    return sum(len(name) + len(text) + 2 for name, text in packed.items())


def megabytes(size: int) -> str:
    """Write a number of bytes: `10 MB`."""
    return f"{size / 1e6:.3g} MB"


def _asset(name: str) -> str:
    return resources.files("valuestrata.reports.explore").joinpath("assets", name).read_text(encoding="utf-8")


def _body(addresses: Sequence[str], left_out: Sequence[str], most: int, with_intervals: Sequence[tuple[str, str]]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("valuestrata.reports.explore", "assets")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    anchors = [address.removeprefix("#") for address in addresses]
    return environment.get_template("explore.html.j2").render(
        addresses=anchors, left_out=left_out, most=megabytes(most), with_intervals=with_intervals
    )
