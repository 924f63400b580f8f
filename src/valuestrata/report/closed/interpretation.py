"""What the scores are worth: verdicts, every score against the best cheap baseline and the ceiling, paired differences."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from valuestrata.assessment import Assessment
from valuestrata.report.core.cells import Grid, Td, Tr, scored
from valuestrata.report.core.names import NONE, attribute_titles, count, metric_title, number, percent, plural, stratum_titles
from valuestrata.report.core.section import Absent, Section
from valuestrata.report.core.view import Cell, View
from valuestrata.scores.plan import describe
from valuestrata.scores.structure import spread_by_attribute

SHOWN_METRICS = ("accuracy_expected", "nmae", "w1")
# Screened differences that a page shows; the table beside it has them all.
MOST_SCREENED = 40
MEASURES: Mapping[str, str] = {
    "item_correlations": "How items go together",
    "item_congruence": "How items go together, whichever way round they are coded",
    "item_correlations_rmse": "How items go together, root mean square difference",
    "item_profiles": "Which subgroups stand high, item by item",
}


def worth_section(view: View, found: Assessment) -> Section | Absent:
    """Return the section of verdicts, relative scores and comparisons of one part of a split."""
    title = "What the scores are worth"
    verdicts = _here(found.verdicts, view)
    relative = _here(found.relative, view).filter(pl.col("by") == "all")
    comparisons = _here(found.comparisons, view)
    if verdicts.is_empty() and relative.is_empty():
        return title, "no run was compared with anything"
    section = Section("worth", title)
    section.intro = (
        "A score says little alone. Each run stands here against what needs no model (the baselines), against the most that the "
        "sampling noise of these subgroups allows (the ceiling), and, where that was asked, against itself told to be somebody else "
        "(the controls)."
    )
    if not verdicts.is_empty():
        of_baselines = pl.col("run").is_in([entry.run for entry in view.of_kind("baseline")])
        asked = verdicts.filter(~of_baselines)
        section.tables.append(("Verdicts", verdict_grid(view, verdicts if asked.is_empty() else asked)))
        if 0 < len(asked) < len(verdicts):
            section.folded.append(("Verdicts on the baselines", verdict_grid(view, verdicts.filter(of_baselines))))
    if not relative.is_empty():
        section.tables.append(("From the best cheap baseline to the ceiling", relative_grid(view, relative)))
    whole = comparisons.filter(pl.col("by") == "all")
    if not whole.is_empty():
        section.folded.append(("Paired differences", comparison_grid(whole)))
    screened = comparisons.filter((pl.col("by") != "all") & (pl.col("p_adjusted") < 0.05))
    if not screened.is_empty():
        largest = screened.sort(pl.col("difference").abs(), descending=True).head(MOST_SCREENED)
        heading = f"Where runs differ, screened at a false discovery rate of 5 %: {plural(len(screened), 'difference')}"
        section.folded.append(
            (heading + (f", the {MOST_SCREENED} largest" if len(screened) > MOST_SCREENED else ""), comparison_grid(largest))
        )
    if not found.leakage.is_empty():
        section.folded.append(("What train and test share, by split", leakage_grid(found.leakage)))
    section.sentences.append(describe(found.plan))
    return section


def structure_section(view: View, found: Assessment) -> Section | Absent:
    """Return the section on how a run's answers hang together: item correlations, profiles and spread."""
    title = "Structure: do answers hang together as people's do?"
    structure = _here(found.structure, view)
    spread = spread_by_attribute(view.scores)
    if structure.is_empty() and spread.is_empty():
        return title, "no stratum has enough subgroups and items"
    section = Section("structure", title)
    section.intro = (
        "Two models of equal accuracy may differ here: one may know which views go together in which subgroups, the other only each "
        "question's usual answer. The last columns say what two halves of the same people reach against each other, and what chance gives."
    )
    if not structure.is_empty():
        section.tables.append(("Agreement of structure", structure_grid(view, structure.filter(pl.col("stratum") == "pooled"))))
        by_stratum = structure.filter(pl.col("stratum") != "pooled")
        if not by_stratum.is_empty():
            section.folded.append(("By stratum", structure_grid(view, by_stratum)))
    if not spread.is_empty():
        section.tables.append(("Spread between subgroups, by attribute", spread_grid(view, spread)))
    return section


def _here(frame: pl.DataFrame, view: View) -> pl.DataFrame:
    return frame.filter((pl.col("scheme") == view.scheme) & (pl.col("part") == view.part))


def _in_order(view: View, frame: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by run: models, controls, baselines, as the headline does."""
    place = {entry.run: at for at, entry in enumerate(view.entries)}
    return (
        frame.with_columns(pl.col("run").replace_strict(place, default=len(place), return_dtype=pl.Int64).alias("_at"))
        .sort("_at", maintain_order=True)
        .drop("_at")
    )


def verdict_grid(view: View, verdicts: pl.DataFrame) -> Grid:
    """Return the verdicts, a row each, under the run they are of."""
    rows: list[Tr] = []
    last = ""
    for row in _in_order(view, verdicts).iter_rows(named=True):
        first = row["run"] != last
        last = row["run"]
        cells = (Td(row["run"] if first else "", css="text"), Td(row["verdict"], css="long"), Td(row["status"] or NONE, css="text"))
        rows.append(Tr(cells, "first" if first else ""))
    return Grid(("Respondent model", "Verdict", "Status"), tuple(rows))


def relative_grid(view: View, relative: pl.DataFrame) -> Grid:
    """Return gain on the best cheap baseline and relative score of each run, for the metrics shown; their values stand in the headline."""
    metrics = [metric for metric in SHOWN_METRICS if relative.filter((pl.col("metric") == metric) & pl.col("value").is_not_null()).height]
    found = {(row["run"], row["metric"]): row for row in relative.iter_rows(named=True)}
    rows: list[Tr] = []
    for entry in view.entries:
        cells: list[Td] = [Td(entry.label, entry.kind, "text")]
        for metric in metrics:
            row = found.get((entry.run, metric))
            if row is None:
                cells += [Td(NONE)] * 2
                continue
            if row["baseline"] == entry.run:
                cells += [Td("baseline", css="text"), Td(NONE)]
                continue
            share = Cell(row["relative"], row["relative_low"], row["relative_high"])
            cells.append(scored(Cell(row["gain"], row["gain_low"], row["gain_high"])))
            cells.append(scored(share) if row["state"] == "ok" else Td(str(row["state"]), css="text"))
        rows.append(Tr(tuple(cells), entry.kind))
    groups = (("", 1), *((metric_title(metric), 2) for metric in metrics))
    notes: list[str] = []
    for metric in metrics:
        known = [row for (_, name), row in found.items() if name == metric and row["baseline_value"] is not None]
        if known:
            # Each row has the baseline on the pairs common with its run: the one with the most pairs speaks for the part.
            row = max(known, key=lambda row: row["pairs"] or 0)
            notes.append(
                f"{metric_title(metric)}: best cheap baseline {row['baseline']} {number(row['baseline_value'])}, "
                f"{row['bound']} {number(row['bound_value'])}."
            )
    notes.append("Gain: improvement on that baseline, positive is better. Relative: 0 is the baseline, 1 the ceiling or floor.")
    return Grid(("Respondent model", *("Gain", "Relative") * len(metrics)), tuple(rows), groups, tuple(notes))


def comparison_grid(comparisons: pl.DataFrame) -> Grid:
    """Return paired differences, a row each."""
    rows: list[Tr] = []
    for row in comparisons.iter_rows(named=True):
        where = "" if row["by"] == "all" else f"{row['by']} {row['key']}"
        adjusted = NONE if row["p_adjusted"] is None else _p(row["p_adjusted"])
        cells = (
            Td(f"{row['run']} − {row['against']}", where, "text"),
            Td(metric_title(row["metric"]), css="text"),
            scored(Cell(row["difference"], row["ci_low"], row["ci_high"])),
            Td(NONE if row["p"] is None else _p(row["p"])),
            Td(adjusted, row["adjustment"] or ""),
            Td(count(row["pairs"])),
            Td(row["status"], css="text"),
        )
        rows.append(Tr(cells))
    return Grid(("Difference", "Metric", "Value", "p", "p adjusted", "Pairs", "Status"), tuple(rows))


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else number(value)


def leakage_grid(leakage: pl.DataFrame) -> Grid:
    """Return the leakage report: a row a split."""
    rows: list[Tr] = []
    notes: list[str] = []
    for row in leakage.iter_rows(named=True):
        cells = (
            Td(row["scheme"], css="text"),
            Td(count(row["folds"])),
            Td(count(row["train"])),
            Td(count(row["test_pairs"])),
            Td(percent(row["with_trained_parents"])),
            Td(percent(row["shared_mean"]), "" if row["shared_max"] is None else f"at most {percent(row['shared_max'])}"),
        )
        rows.append(Tr(cells))
        if row["note"]:
            notes.append(f"{row['scheme']}: {row['note']}")
    headers = ("Split", "Folds", "Train pairs, a fold", "Test pairs", "Test pairs with trained parents", "Respondents shared, mean")
    return Grid(headers, tuple(rows), (), tuple(notes))


def structure_grid(view: View, structure: pl.DataFrame) -> Grid:
    """Return the agreement of structure, a row a run, stratum and measure."""
    titles = stratum_titles(view.dataset)
    rows: list[Tr] = []
    for row in _in_order(view, structure).iter_rows(named=True):
        stratum = str(row["stratum"])
        where = "" if stratum == "pooled" else titles.get(stratum, stratum)
        cells = (
            Td(row["run"], where, "text"),
            Td(MEASURES.get(row["measure"], row["measure"]), css="text"),
            scored(Cell(row["value"], row["ci_low"], row["ci_high"])),
            Td(number(row["bound"])),
            Td(number(row["null_high"])),
            Td(count(row["items"])),
            Td(count(row["subgroups"])),
        )
        rows.append(Tr(cells))
    headers = ("Respondent model", "Measure", "Agreement", "Two halves of the people", "Chance, 95 %", "Items", "Subgroups")
    return Grid(headers, tuple(rows))


def spread_grid(view: View, spread: pl.DataFrame) -> Grid:
    """Return the spread ratio by attribute, raw and corrected for noise, with its reading."""
    titles = attribute_titles(view.dataset)
    rows: list[Tr] = []
    for row in _in_order(view, spread).iter_rows(named=True):
        cells = (
            Td(row["run"], css="text"),
            Td(titles.get(str(row["attribute"]), str(row["attribute"])), css="text"),
            scored(Cell(row["raw"], row["raw_low"], row["raw_high"])),
            scored(Cell(row["corrected"], row["corrected_low"], row["corrected_high"])),
            Td(row["word"], css="text"),
        )
        rows.append(Tr(cells))
    note = "1: as far apart as the people. Below 1 the subgroups are flattened, above 1 exaggerated."
    return Grid(("Respondent model", "Attribute", "Spread ratio", "Corrected for noise", "Reading"), tuple(rows), (), (note,))
