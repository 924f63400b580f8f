"""The checks that need no judge, as a section: rates, sameness across levels, markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.formatting import points
from valuestrata.openended.text.checks import TextChecks
from valuestrata.openended.text.markers import MIN_USES
from valuestrata.report.core.cells import Grid, Td, Tr
from valuestrata.report.core.names import NONE, attribute_titles, clipped, count, number
from valuestrata.report.core.section import Section
from valuestrata.report.open.cells import first, key_title, level_parts, plain, share
from valuestrata.report.open.figures import Dot, dot_chart
from valuestrata.report.open.judges import dataset_order
from valuestrata.stats.cluster_bootstrap import MIN_ITEMS

_SHARES: Mapping[str, str] = {"refused": "Refused, %", "empty": "Empty, %", "cut": "Cut off, %", "leak": "Restates the persona, %"}
_MEANS: Mapping[str, tuple[str, int]] = {"words": ("Words", 1), "sentences": ("Sentences", 1), "flesch": ("Flesch", 0), "lix": ("LIX", 0)}
_MOST_WORDS = 10
# What a model runs together without a space is shown by its beginning.
_LONGEST_WORD = 40
_ALL = "all"


def texts_section(dataset: Dataset, found: TextChecks) -> Section:
    """Return the section of the checks."""
    section = Section(
        "texts", "The texts themselves", tables=[("Over all answers", _rates_grid(dataset, found.rates, "all", folded=False))]
    )
    section.intro = (
        "Counted and computed, without a judge. Restates the persona: the answer names a level of its speaker's description as its own "
        "(“As a Catholic, I …”), or repeats the description. Flesch reading ease: higher is easier, English only; LIX: lower is easier."
    )
    leaks = found.rates.filter((pl.col("by") == "level") & (pl.col("measure") == "leak") & pl.col("value").is_not_null())
    dots = _leak_dots(dataset, leaks)
    chart = dot_chart(
        dots,
        name="leaks",
        axis="answers that restate the persona",
        described="Answers that restate their persona, by level",
        caption="Share of answers that name or repeat the description of their persona. Levels hold all subgroups with them.",
    )
    if chart is not None and any(dot.value for dot in dots):
        section.figures.append(("Restating the persona, by level", chart))
    if not found.similarity.is_empty():
        section.tables.append(("Do different groups get different words?", _similarity_grid(dataset, found.similarity)))
    section.tables.append(("Words that stand out in a level's answers", _marker_grid(dataset, found.markers)))
    section.folded = [(f"The checks by {by}", _rates_grid(dataset, found.rates, by, folded=True)) for by in ("level", "subgroup", "topic")]
    return section


Gap = Literal["unknown", "few", "flat", "apart"]
_READINGS: Mapping[Gap, str] = {
    "unknown": NONE,
    "few": f"too few questions to tell (under {MIN_ITEMS})",
    "flat": "no difference beyond chance",
    "apart": "written differently",
}


def reading_of_gap(row: Mapping[str, Any]) -> Gap:
    """Say what a row of SIMILARITY shows: nothing to shuffle, too few questions, no difference beyond chance, or one."""
    if row["gap"] is None:
        return "unknown"
    if row["items_shuffled"] < MIN_ITEMS or row["gap_low"] is None:
        return "few"
    return "apart" if row["gap_low"] > 0 else "flat"


def texts_lines(dataset: Dataset, found: TextChecks) -> list[str]:
    """Return a sentence a run: refusals, what it restates, and for which attributes the persona makes no difference to its words."""
    titles = attribute_titles(dataset)
    lines: list[str] = []
    for run in found.rates["run"].unique(maintain_order=True):
        shares = {name: first(found.rates, run=run, by=_ALL, measure=name) for name in _SHARES}
        parts = [
            f"{points(row['value'])} % of answers {words}"
            for name, words in (("refused", "refuse"), ("empty", "are empty"), ("cut", "are cut off"))
            if (row := shares[name]) is not None and (row["value"] or name == "refused")
        ]
        leak = shares["leak"]
        parts.append("no answer to look at" if leak is None else f"{points(leak['value'])} % restate the persona")
        whole = first(found.similarity, run=run, by=_ALL)
        if whole is not None and whole["across"] is not None:
            other = "" if whole["elsewhere"] is None else f" (to other questions: {number(whole['elsewhere'], 2)})"
            parts.append(f"answers of different subgroups to one question are {number(whole['across'], 2)} alike{other}")
        rows = found.similarity.filter((pl.col("run") == run) & (pl.col("by") == "attribute"))
        read: dict[Gap, list[str]] = {}
        for row in rows.iter_rows(named=True):
            read.setdefault(reading_of_gap(row), []).append(titles.get(str(row["key"]), str(row["key"])).lower())
        if read.get("flat"):
            parts.append(f"the words do not differ beyond chance by {', '.join(read['flat'])}")
        if read.get("apart"):
            parts.append(f"the words differ by {', '.join(read['apart'])}")
        if read.get("few") and len(read) == 1:
            parts.append("too few questions to tell whether the words differ by attribute")
        lines.append(f"{run}: {'; '.join(parts)}.")
    return lines


def _leak_dots(dataset: Dataset, leaks: pl.DataFrame) -> list[Dot]:
    dots: list[Dot] = []
    for row in leaks.iter_rows(named=True):
        group, level = level_parts(dataset, row["key"])
        said = f"{level}: {row['run']} {points(row['value'])} % of {row['answers']} answers"
        dots.append(Dot(level, group, row["run"], row["value"], row["ci_low"], row["ci_high"], said))
    order = dataset_order(dataset)
    return sorted(dots, key=lambda dot: order.get((dot.group, dot.label), 0))


def _rates_grid(dataset: Dataset, rates: pl.DataFrame, by: str, *, folded: bool) -> Grid:
    mine = rates.filter(pl.col("by") == by)
    cells = {(row["run"], row["key"], row["measure"]): row for row in mine.iter_rows(named=True)}
    keys = mine.select("key").unique(maintain_order=True)["key"].to_list()
    runs = mine["run"].unique(maintain_order=True).to_list()
    rows: list[Tr] = []
    for key in keys:
        for run in runs:
            shares = [share(cells.get((run, key, name))) for name in _SHARES]
            means = [plain(cells.get((run, key, name)), digits) for name, (_, digits) in _MEANS.items()]
            known = cells.get((run, key, "refused"))
            lead = (Td(key_title(dataset, by, key), css="text"), Td(run, css="text")) if folded else (Td(run, css="text"),)
            rows.append(Tr((*lead, *shares, *means, Td(NONE if known is None else count(known["answers"]))), "" if folded else "model"))
    lead_ = (by.capitalize(), "Run") if folded else ("Run",)
    headers = (*lead_, *_SHARES.values(), *(title for title, _ in _MEANS.values()), "Answers")
    return Grid(headers, tuple(rows), (), () if folded else ("95 % intervals clustered by question.",))


def _similarity_grid(dataset: Dataset, similarity: pl.DataFrame) -> Grid:
    titles = {**attribute_titles(dataset), _ALL: "Every subgroup"}
    rows: list[Tr] = []
    for row in similarity.iter_rows(named=True):
        gap = {"value": row["gap"], "ci_low": row["gap_low"], "ci_high": row["gap_high"]}
        reading = _READINGS[reading_of_gap(row)]
        values = [Td(number(row[name])) for name in ("across", "shuffled")]
        others = [Td(number(row[name])) for name in ("same", "elsewhere")]
        names = (Td(row["run"], css="text"), Td(titles.get(str(row["key"]), str(row["key"])), css="text"))
        rows.append(Tr((*names, *values, plain(gap, 4), Td(reading, css="text"), *others, Td(count(row["answers"])))))
    notes = (
        "Mean cosine similarity of answers to one question, names of the speaker's own levels taken out. Shuffled: what it would be if "
        "the levels were dealt by chance among answers alike in all else; the gap is shuffled less across, and 0 where the persona makes "
        "no difference to the words. Every subgroup: of one stratum; the nearer to 1, the flatter. Same pair: samples of one subgroup. "
        "Other questions: answers of one subgroup to different questions. "
        f"Vectors: {', '.join(similarity['method'].unique(maintain_order=True))}. A dash: nothing to shuffle or to compare.",
    )
    headers = ("Run", "Across levels of", "Across", "Shuffled", "Gap", "Reading", "Same pair", "Other questions", "Answers")
    return Grid(headers, tuple(rows), (), notes)


def _marker_grid(dataset: Dataset, markers: pl.DataFrame) -> Grid:
    titles = attribute_titles(dataset)
    found = markers.filter("marker")
    rows: list[Tr] = []
    for (run, attribute, level), part in found.group_by("run", "attribute", "level", maintain_order=True):
        words: Sequence[str] = [
            f"{clipped(row['word'], _LONGEST_WORD)} ({row['answers']}:{row['others']})"
            for row in part.head(_MOST_WORDS).iter_rows(named=True)
        ]
        size = part.row(0, named=True)
        more = f" and {part.height - _MOST_WORDS} more" if part.height > _MOST_WORDS else ""
        names = (str(run), titles.get(str(attribute), str(attribute)), str(level))
        answers = Td(f"{size['of']:,} : {size['of_others']:,}")
        rows.append(Tr((*(Td(name, css="text") for name in names), Td(", ".join(words) + more, css="long"), answers)))
    if not rows:
        none = "None beyond chance." if markers.height else f"Too few answers: no word stands in {MIN_USES} of those that can be compared."
        rows = [Tr((Td(NONE, css="text"), Td(NONE, css="text"), Td(NONE, css="text"), Td(none, css="long"), Td(NONE)))]
    notes = (
        "Weighted log-odds with a prior from all answers of the run; words at a false discovery rate of 5 % on two questions or more. In "
        "brackets: answers of the level with the word : answers of the other levels with it, on the same questions by people alike in "
        "all else. The level's own name is left out. A screen for what to read, not a finding about any word.",
    )
    return Grid(("Run", "Attribute", "Level", "Words", "Answers, level : others"), tuple(rows), (), notes)
