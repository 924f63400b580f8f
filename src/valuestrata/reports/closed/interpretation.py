"""Comparison of runs with baselines, ceilings and each other, and the structure of their answers, as sections of the page."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from valuestrata.assessment import Assessment
from valuestrata.formatting import NONE, count, ends, metric_title, number, p_number, percent, size
from valuestrata.reports.core.cells import Grid, Td, Tr, scored
from valuestrata.reports.core.names import attribute_titles, stratum_titles
from valuestrata.reports.core.section import Absent, Section
from valuestrata.reports.core.view import View, cell_of
from valuestrata.scores.plan import describe
from valuestrata.scores.spread import spread_by_attribute

SHOWN_METRICS = ("accuracy_expected", "nmae", "w1")
# Most exploratory differences that the page shows; `comparisons.csv` has all of them.
MOST_SCREENED = 40
MEASURES: Mapping[str, str] = {
    "item_correlations": "Correlations between items",
    "item_congruence": "Correlations between items, whatever the direction of their coding",
    "item_correlations_rmse": "Correlations between items, root mean square difference",
    "item_profiles": "Profile of each item over subgroups",
    "gap_inflation": "Distance between the furthest subgroups, times that among people (median)",
    "wrong_segment": "Items with the wrong subgroup named highest, or lowest",
}


def comparison_section(view: View, found: Assessment) -> Section | Absent:
    """Return the section of relative scores, paired differences and train-test overlap of one part of a split."""
    title = "Comparison with baselines and ceilings"
    relative = _here(found.relative, view).filter(pl.col("by") == "all")
    comparisons = _here(found.comparisons, view)
    if relative.is_empty() and comparisons.is_empty():
        return title, "no run was compared with a baseline or another run"
    section = Section("comparison", "Is it better than the baselines, and how far from the ceiling?", nav="Baselines")
    section.intro = (
        "Each score on a scale from the best cheap baseline (0) to the limit that sampling noise sets (1). "
        "Negative values are worse than the baseline."
    )
    if not relative.is_empty():
        section.facts = _placed(view, relative)
        section.folded.append(("From the best cheap baseline to the ceiling", relative_grid(view, relative)))
    whole = comparisons.filter(pl.col("by") == "all")
    if not whole.is_empty():
        section.folded.append(("Paired differences", comparison_grid(whole)))
    screened = comparisons.filter((pl.col("by") != "all") & (pl.col("p_adjusted") < 0.05))
    if not screened.is_empty():
        largest = screened.sort(pl.col("difference").abs(), descending=True).head(MOST_SCREENED)
        heading = f"Significant differences within subsets (false discovery rate 5\u00a0%): {count(len(screened), 'difference')}"
        section.folded.append(
            (heading + (f", the {MOST_SCREENED} largest" if len(screened) > MOST_SCREENED else ""), comparison_grid(largest))
        )
    if not found.leakage.is_empty():
        section.folded.append(("Overlap of train and test, by split", leakage_grid(found.leakage)))
    section.sentences.append(describe(found.plan))
    return section


def _placed(view: View, relative: pl.DataFrame) -> list[tuple[str, str]]:
    """Return (run, where it is between the best cheap baseline and the ceiling) of each model, in the metric that the ceiling bounds."""
    metric = view.accuracy_metric
    rows = {row["run"]: row for row in relative.filter(metric=metric).iter_rows(named=True) if row["gain"] is not None}
    found: list[tuple[str, str]] = []
    for entry in view.of_kind("model"):
        if (row := rows.get(entry.run)) is None or row["baseline"] == entry.run:
            continue
        gain = "" if row["gain_low"] is None else f" (95\u00a0% CI {ends(metric, row['gain_low'], row['gain_high'])})"
        said = f"{metric_title(metric)} minus that of {row['baseline']}: {size(metric, row['gain'])}{gain}."
        if row["state"] == "ok":
            low_high = (
                "" if row["relative_low"] is None else f" (95\u00a0% CI {percent(row['relative_low'])} to {percent(row['relative_high'])})"
            )
            said += f" On the way from this baseline to the ceiling it is at {percent(row['relative'])}{low_high}."
        else:
            said += f" Its place between baseline and ceiling is not known: {row['state']}."
        found.append((entry.label, said))
    return found


def structure_section(view: View, found: Assessment) -> Section | Absent:
    """Return the section on the structure of a run's answers: item correlations, profiles and spread."""
    title = "Structure of the answers"
    structure = _here(found.structure, view)
    spread = spread_by_attribute(view.scores)
    if structure.is_empty() and spread.is_empty():
        return title, "no stratum has enough subgroups and items"
    section = Section("structure", "Are the answers related as those of people are?", nav="Structure")
    section.intro = (
        "Models of equal accuracy may differ in structure: whether items correlate across subgroups as they do among people, and whether "
        "subgroups differ as much and in the right direction. The last columns give the agreement of two halves of the respondents and "
        "the agreement by chance."
    )
    if not structure.is_empty():
        section.folded.append(("Agreement of structure", structure_grid(view, structure.filter(pl.col("stratum") == "pooled"))))
        by_stratum = structure.filter(pl.col("stratum") != "pooled")
        if not by_stratum.is_empty():
            section.folded.append(("By stratum", structure_grid(view, by_stratum)))
    if not spread.is_empty():
        section.folded.append(("Spread between subgroups, by attribute", spread_grid(view, spread)))
    return section


def _here(frame: pl.DataFrame, view: View) -> pl.DataFrame:
    return frame.filter((pl.col("scheme") == view.scheme) & (pl.col("part") == view.part))


def _in_order(view: View, frame: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by run in the order of the headline: models, controls, baselines."""
    place = {entry.run: at for at, entry in enumerate(view.entries)}
    return (
        frame.with_columns(pl.col("run").replace_strict(place, default=len(place), return_dtype=pl.Int64).alias("_at"))
        .sort("_at", maintain_order=True)
        .drop("_at")
    )


def relative_grid(view: View, relative: pl.DataFrame) -> Grid:
    """Return gain over the best cheap baseline and relative score of each run, for the metrics shown."""
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
                cells += [Td("baseline"), Td(NONE)]
                continue
            share = cell_of(row, "relative", "relative")
            cells.append(scored(cell_of(row, "gain", "gain")))
            cells.append(scored(share) if row["state"] == "ok" else Td(str(row["state"]), css="text"))
        rows.append(Tr(tuple(cells), entry.kind))
    groups = (("", 1), *((metric_title(metric), 2) for metric in metrics))
    notes: list[str] = []
    for metric in metrics:
        known = [row for (_, name), row in found.items() if name == metric and row["baseline_value"] is not None]
        if known:
            # Each row has the baseline on the pairs common with its run; the row with the most pairs represents the part.
            row = max(known, key=lambda row: row["pairs"] or 0)
            notes.append(
                f"{metric_title(metric)}: 0 is {row['baseline']} ({number(row['baseline_value'])}), "
                f"1 is the noise {row['bound'].partition('_')[0]} ({number(row['bound_value'])})."
            )
    notes.append("Gain: improvement on the best cheap baseline; positive is better. Relative: the gain as a share of the way to the limit.")
    return Grid(("Run", *("Gain", "Relative") * len(metrics)), tuple(rows), groups, tuple(notes))


def comparison_grid(comparisons: pl.DataFrame) -> Grid:
    """Return paired differences, one row each."""
    rows: list[Tr] = []
    for row in comparisons.iter_rows(named=True):
        where = "" if row["by"] == "all" else f"{row['by']} {row['key']}"
        cells = (
            Td(f"{row['run']} − {row['against']}", where, "text"),
            Td(metric_title(row["metric"]), css="text"),
            scored(cell_of(row, "difference")),
            Td(p_number(row["p"])),
            Td(p_number(row["p_adjusted"]), row["adjustment"] or ""),
            Td(count(row["pairs"])),
            Td(row["status"], css="text"),
        )
        rows.append(Tr(cells))
    return Grid(("Difference", "Metric", "Value", "p", "p adjusted", "Pairs", "Status"), tuple(rows))


def leakage_grid(leakage: pl.DataFrame) -> Grid:
    """Return the overlap of train and test, one row per split."""
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
    headers = ("Split", "Folds", "Train pairs per fold", "Test pairs", "Test pairs with trained parents", "Shared respondents, mean")
    return Grid(headers, tuple(rows), (), tuple(notes))


def structure_grid(view: View, structure: pl.DataFrame) -> Grid:
    """Return the agreement of structure, one row per run, stratum and measure."""
    titles = stratum_titles(view.dataset)
    rows: list[Tr] = []
    for row in _in_order(view, structure).iter_rows(named=True):
        stratum = str(row["stratum"])
        where = "" if stratum == "pooled" else titles.get(stratum, stratum)
        cells = (
            Td(row["run"], where, "text"),
            Td(MEASURES.get(row["measure"], row["measure"]), css="text"),
            scored(cell_of(row)),
            Td(number(row["bound"])),
            Td(number(row["null_high"])),
            Td(count(row["items"])),
            Td(count(row["subgroups"])),
        )
        rows.append(Tr(cells))
    headers = ("Run", "Measure", "Agreement", "Two halves of the respondents", "Chance (95 %)", "Items", "Subgroups")
    return Grid(headers, tuple(rows))


def spread_grid(view: View, spread: pl.DataFrame) -> Grid:
    """Return the spread ratio by attribute, raw and corrected for noise, with its interpretation."""
    titles = attribute_titles(view.dataset)
    rows: list[Tr] = []
    for row in _in_order(view, spread).iter_rows(named=True):
        cells = (
            Td(row["run"], css="text"),
            Td(titles.get(str(row["attribute"]), str(row["attribute"])), css="text"),
            scored(cell_of(row, "raw", "raw")),
            scored(cell_of(row, "corrected", "corrected")),
            Td(row["word"], css="text"),
        )
        rows.append(Tr(cells))
    note = "1: subgroups differ as much as among people. Below 1 differences are flattened, above 1 exaggerated."
    return Grid(("Run", "Attribute", "Spread ratio", "Corrected for noise", "Interpretation"), tuple(rows), (), (note,))
