"""Section on the checks without a judge: rates, similarity across levels, markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from valuestrata.claims.claim import Strength
from valuestrata.claims.judges import gap_strength
from valuestrata.dataset.tables import Dataset
from valuestrata.formatting import NONE, count, number, points
from valuestrata.openended.text.checks import TextChecks
from valuestrata.openended.text.markers import MIN_USES
from valuestrata.reports.core.cells import Grid, Td, Tr
from valuestrata.reports.core.names import attribute_titles, clipped
from valuestrata.reports.core.section import Section
from valuestrata.reports.open.cells import key_title, plain, share, texts
from valuestrata.reports.open.figures import BESIDE, dot_chart, level_dots
from valuestrata.stats.cluster_bootstrap import MIN_ITEMS

_SHARES: Mapping[str, str] = {"refused": "Refused, %", "empty": "Empty, %", "cut": "Cut off, %", "leak": "Restates the persona, %"}
_MEANS: Mapping[str, tuple[str, int]] = {"words": ("Words", 1), "sentences": ("Sentences", 1), "flesch": ("Flesch", 0), "lix": ("LIX", 0)}
_MOST_WORDS = 10
_LONGEST_WORD = 40
_ALL = "all"


def texts_section(dataset: Dataset, found: TextChecks) -> Section:
    """Return the section of the checks."""
    section = Section(
        "texts", "What is in the texts?", nav="Texts", tables=[("Over all answers", _rates_grid(dataset, found.rates, "all", folded=False))]
    )
    section.intro = (
        "Computed without a judge. Restates the persona: the answer names a level of the persona in the first person (“As a Catholic, I "
        "…”) or repeats its description. Flesch reading ease: higher is easier, English only. LIX: lower is easier."
    )
    leaks = found.rates.filter((pl.col("by") == "level") & (pl.col("measure") == "leak") & pl.col("value").is_not_null())
    dots = level_dots(dataset, leaks, lambda row: f"{row['run']} {points(row['value'])} % of {row['answers']} answers")
    chart = dot_chart(
        dots,
        name="leaks",
        axis="answers that restate the persona",
        described="Answers that restate their persona, by level",
        caption="Share of answers that name or repeat the description of their persona. A level contains all its subgroups.",
        width=BESIDE,
    )
    if chart is not None and any(dot.value for dot in dots):
        section.figures.append(("Restating the persona, by level", chart))
    if not found.similarity.is_empty():
        section.tables.append(("Similarity of answers across levels", _similarity_grid(dataset, found.similarity)))
    section.tables.append(("Words that are more frequent in a level's answers", _marker_grid(dataset, found.markers)))
    section.folded = [(f"The checks by {by}", _rates_grid(dataset, found.rates, by, folded=True)) for by in ("level", "subgroup", "topic")]
    return section


_GAP_READINGS: Mapping[Strength | None, str] = {
    None: NONE,
    Strength.UNDETERMINED: f"undetermined (fewer than {MIN_ITEMS} questions)",
    Strength.NOT_SHOWN: "no difference detected",
    Strength.SHOWN: "differs",
}


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
        reading = _GAP_READINGS[gap_strength(row)]
        values = [Td(number(row[name])) for name in ("across", "shuffled")]
        others = [Td(number(row[name])) for name in ("same", "elsewhere")]
        names = (Td(row["run"], css="text"), Td(titles.get(str(row["key"]), str(row["key"])), css="text"))
        rows.append(Tr((*names, *values, plain(gap, 4), Td(reading, css="text"), *others, Td(count(row["answers"])))))
    notes = (
        "Mean cosine similarity of answers to one question, without the names of the persona's levels. Shuffled: the same after shuffling "
        "the levels among answers that are equal in everything else. Gap: shuffled minus across; 0 if the persona makes no difference to "
        "the wording. Every subgroup: across all subgroups of a stratum. Same pair: samples of one pair. "
        "Other questions: answers of one subgroup to different questions. "
        f"Vectors: {', '.join(similarity['method'].unique(maintain_order=True))}. A dash: nothing to shuffle or compare.",
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
        rows.append(Tr((*texts(*names), Td(", ".join(words) + more, css="long"), answers)))
    if not rows:
        none = "None detected." if markers.height else f"Too few answers: no word occurs in {MIN_USES} of the answers that can be compared."
        rows = [Tr((Td(NONE, css="text"), Td(NONE, css="text"), Td(NONE, css="text"), Td(none, css="long"), Td(NONE)))]
    notes = (
        "Weighted log-odds with a prior from all answers of the run; false discovery rate 5 %, two questions or more. In brackets: answers "
        "of the level with the word : answers of the other levels with it, on the same questions by personas that are equal otherwise. "
        "Names of the level are left out. Exploratory: use the words to choose answers to read.",
    )
    return Grid(("Run", "Attribute", "Level", "Words", "Answers, level : others"), tuple(rows), (), notes)
