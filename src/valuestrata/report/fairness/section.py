"""The audit as a section of the page: verdicts first, then how far apart, which gaps, before and after, intersections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.claims.fairness import audit_verdicts
from valuestrata.claims.fairness_rules import Manner
from valuestrata.dataset.tables import Dataset
from valuestrata.fairness.assemble import Audit
from valuestrata.fairness.estimate.gaps import REMAINS
from valuestrata.report.closed.published import is_published_setting
from valuestrata.report.core.cells import Grid, Td, Tr, scored
from valuestrata.report.core.names import NONE, capital, count, metric_title, minimum_cell, number, percent, subgroup_titles
from valuestrata.report.core.section import Absent, Section
from valuestrata.report.core.view import Cell, RunLike
from valuestrata.report.fairness import figures as auditfigures
from valuestrata.responses.run.identity import KINDS, run_identity

# A model's charts take several screens; beyond these the tables serve better.
MOST_CHARTED = 3
# Metrics with charts; rates of missing answers stand in the tables.
CHARTED = ("accuracy", "accuracy_expected", "nmae", "w1")
SHOWN_MEASURES: Mapping[str, str] = {
    "norm_range": "Norm. range",
    "cv": "CV",
    "max_min": "Best less worst",
    "spread_corrected": "Spread, noise out",
}


def verdicts_of(dataset: Dataset, runs: Sequence[RunLike], audit: Audit) -> pl.DataFrame:
    """Return AUDIT_VERDICTS at the audit's confidence, subgroups called by their titles."""
    return audit_verdicts(audit, runs, dataset, names=subgroup_titles(dataset))


def audit_sections(
    dataset: Dataset, runs: Sequence[RunLike], audit: Audit, verdicts: pl.DataFrame | None = None
) -> list[Section] | list[Absent]:
    """Return the sections: verdicts and how far apart, then the charts.

    Args:
        dataset: the ground truth. runs: those audited, each with `name`, `meta` and `responses`. audit: its tables.
        verdicts: AUDIT_VERDICTS; worked out where left out.
    """
    title = "Audit: who is served worse?"
    if audit.groups.is_empty():
        return [(title, "no run was audited")]
    lines = verdicts_of(dataset, runs, audit) if verdicts is None else verdicts
    kinds = {run.name: run_identity(run).kind for run in runs}
    order = sorted(kinds, key=lambda name: KINDS.index(kinds[name]))
    judged = [name for name in order if kinds[name] != "baseline"] or order
    scheme, part = audit.groups["scheme"][0], audit.groups["part"][0]
    section = Section("audit", title)
    section.intro = (
        f"Split {scheme}, part {part}. Groups that are served alike never score alike: sixty equal subgroups with 90 questions each show "
        "a best-to-worst gap of .24 by noise alone. So every figure stands beside what noise alone gives, every claim is corrected for "
        "how many were looked at, and every gap stands beside the gap of an answer without a model and the gap left between questions "
        "that are equally hard. What is not shown may still be there."
    )
    section.tables.append(("What may be said", verdict_grid(lines, judged)))
    rest = [name for name in order if name not in judged]
    if rest and not lines.filter(pl.col("run").is_in(rest)).is_empty():
        section.folded.append(("What may be said of the baselines", verdict_grid(lines, rest)))
    charted = [metric for metric in dict.fromkeys(audit.groups["metric"]) if metric in CHARTED]
    for metric in charted:
        section.tables.append((f"How far apart: {metric_title(metric)}", disparity_grid(dataset, audit, order, metric)))
    section.sentences = [
        f"Minimum cell: {minimum_cell(dataset)}.",
        "All alike, permuted: values change places among the cells of an item and stratum. All alike, redrawn: respondents are drawn "
        "anew, so that labels change together. The one that reaches further is printed.",
        "The audit is of a configured model under a persona, never of the people.",
    ]
    if not is_published_setting(dataset) and audit.disparity["published"].is_not_null().any():
        section.warning = "Published figures stand beside these, but this data set is not the published one: they cannot be compared."
    return [section, _charts(dataset, audit, judged, charted)]


def _charts(dataset: Dataset, audit: Audit, judged: Sequence[str], metrics: Sequence[str]) -> Section:
    """Return the charts of models, with the long tables folded away under them."""
    section = Section("audit-charts", "Audit: gaps, changes, intersections")
    for place, run in enumerate(judged[:MOST_CHARTED]):
        for metric in metrics:
            of = f"{metric_title(metric)}, {run}"
            name = f"audit-{place}-{metric.replace('_', '-')}"
            for heading, chart in (
                ("Gaps between levels", auditfigures.gap_chart(dataset, audit, run, metric, f"{name}-gaps")),
                ("Before and after", auditfigures.slope_chart(dataset, audit, run, metric, f"{name}-slopes")),
                ("Intersections", auditfigures.intersection_chart(dataset, audit, run, metric, f"{name}-cells")),
            ):
                if chart is not None:
                    section.figures.append((f"{heading}: {of}", chart))
    for heading, grid in (
        ("All gaps between levels, with what explains them", gap_grid(dataset, audit.gaps, judged)),
        ("All subgroups", group_grid(dataset, audit, judged)),
        ("Before and after: spreads", spread_grid(dataset, audit.changes.filter(pl.col("run").is_in(list(judged))))),
    ):
        if grid.rows:
            section.folded.append((heading, grid))
    if len(judged) > MOST_CHARTED:
        section.sentences = [f"Charts are of the first {MOST_CHARTED} runs; the tables hold all."]
    return section


def verdict_grid(verdicts: pl.DataFrame, runs: Sequence[str]) -> Grid:
    """Return the verdicts, a row each, under the run and metric they are of."""
    rows: list[Tr] = []
    for run in runs:
        last: tuple[str, str | None] | None = None
        for row in verdicts.filter(pl.col("run") == run).iter_rows(named=True):
            here = (run, row["metric"])
            first = last is None or last != here
            name = run if last is None else ""
            metric: str | None = row["metric"]
            what = NONE if metric is None else metric_title(metric)
            claim = str(row["claim"])
            figures = str(row["verdict"]).removeprefix(f"{claim}: ")
            cells = (Td(name, css="text"), Td(what if first else "", css="text"), Td(capital(claim), figures, "long"))
            rows.append(Tr(cells, "first" if last is None else ""))
            last = here
    return Grid(("Respondent model", "Metric", "Verdict"), tuple(rows))


def disparity_grid(dataset: Dataset, audit: Audit, runs: Sequence[str], metric: str) -> Grid:
    """Return the measures of every population beside what noise alone gives, a row a run and population."""
    titles = auditfigures.attribute_headings(dataset)
    of_metric = audit.disparity.filter(pl.col("metric") == metric).to_dicts()
    found = {(row["run"], row["by"], row["key"], row["measure"]): row for row in of_metric}
    populations = list(dict.fromkeys((by, key) for _, by, key, _ in found))
    manner = Manner(audit.confidence, {})
    published = any(row["published"] is not None for row in found.values())
    rows: list[Tr] = []
    # Note -> population -> runs: most notes are of all runs alike.
    notes: dict[str, dict[str, list[str]]] = {}
    words: dict[str, None] = {}
    for by, key in populations:
        for run in runs:
            one = {measure: found.get((run, by, key, measure)) for measure in SHOWN_MEASURES}
            if one["cv"] is None:
                continue
            first = run == runs[0]
            who = "All subgroups" if by == "all" else titles.get(str(key), str(key))
            cells: list[Td] = [Td(who if first else "", count(one["cv"]["subgroups"]) if first else "", "text"), Td(run, css="text")]
            for row in one.values():
                assert row is not None
                cells.append(scored(Cell(row["value"], row["ci_low"], row["ci_high"])))
                cells.append(_noise(row, manner))
            if published:
                cells += [Td(number((one[measure] or {}).get("published"))) for measure in ("norm_range", "cv")]
            rows.append(Tr(tuple(cells), "first" if first else ""))
            words[f"{who}: {one['cv']['population']}."] = None
            if one["cv"]["note"]:
                notes.setdefault(str(one["cv"]["note"]), {}).setdefault(who, []).append(run)
    groups = [("", 2), *((title, 2) for title in SHOWN_MEASURES.values()), *([("Published", 2)] if published else [])]
    headers = ("Over", "Respondent model", *("Here", "Noise alone") * len(SHOWN_MEASURES), *(("Range", "CV") if published else ()))
    said = (
        f"Noise alone: mean if all were alike, and below it what it exceeds {manner.once}. * : more than noise alone gives "
        f"(p at most {number(manner.alpha)}, each figure alone; verdicts correct for their number)."
    )
    return Grid(headers, tuple(rows), tuple(groups), (said, *words, *_noted(notes, len(runs))))


def _noted(notes: Mapping[str, Mapping[str, Sequence[str]]], runs: int) -> list[str]:
    """Write note -> population -> runs, a sentence for each note and set of runs."""
    said: list[str] = []
    for note, places in notes.items():
        populations: dict[str, list[str]] = {}
        for who, of in places.items():
            populations.setdefault("" if len(of) == runs and runs > 1 else f"{', '.join(of)}, ", []).append(who)
        said += [f"{of}{', '.join(whose)}: {note}." for of, whose in populations.items()]
    return said


def _noise(row: Mapping[str, Any], manner: Manner) -> Td:
    beyond = manner.shown(row["p"])
    if row["alike"] is None:
        return Td(NONE)
    return Td(number(row["alike"]), f"to {number(row['alike_high'])}{' *' if beyond else ''}")


def gap_grid(dataset: Dataset, gaps: pl.DataFrame, runs: Sequence[str]) -> Grid:
    """Return every gap with what explains it, the surest first; below, what is to be known of each run's gaps."""
    titles = auditfigures.attribute_headings(dataset)
    rows: list[Tr] = []
    notes: dict[str, None] = {}
    for run in runs:
        mine = gaps.filter(pl.col("run") == run).sort("metric", pl.col("p_holm").fill_null(2.0), maintain_order=True)
        for row in mine.iter_rows(named=True):
            pair = f"{row['level']} − {row['against_level']}"
            behind = f"{count(row['items'])} items, {count(row['pairs'])} pairs"
            cells = (
                Td(run, metric_title(row["metric"]), "text"),
                Td(pair, f"{titles.get(str(row['attribute']), str(row['attribute']))}: {behind}", "text"),
                scored(Cell(row["gap"], row["ci_low"], row["ci_high"])),
                Td(number(row["expected_alike"])),
                Td(_p(row["p_holm"])),
                Td(number(row["gap_baseline"])),
                scored(Cell(row["excess"], row["excess_low"], row["excess_high"])),
                scored(Cell(row["held"], row["held_low"], row["held_high"])),
                scored(Cell(row["adjusted"], row["adjusted_low"], row["adjusted_high"])),
                Td(row["remains"] or NONE, css="text"),
            )
            rows.append(Tr(cells))
        for metric, name in (
            mine.filter(pl.col("baseline").is_not_null()).select("metric", "baseline").unique(maintain_order=True).iter_rows()
        ):
            notes[f"{run}, {metric_title(metric)}: the baseline is {name}."] = None
        for metric, note in mine.filter(pl.col("note").is_not_null()).select("metric", "note").unique(maintain_order=True).iter_rows():
            notes[f"{run}, {metric_title(metric)}: {note}"] = None
    headers = (
        "Respondent model",
        "Gap",
        "Raw",
        "Noise alone, mean size",
        "p (Holm)",
        "Baseline's",
        "Less the baseline's",
        "Other attributes held",
        "At equal difficulty, too",
        "What remains",
    )
    said = "Of distances such as NMAE a positive gap is worse for the level named first."
    means = "; ".join(f"{word}: {meaning}" for word, meaning in REMAINS.items())
    return Grid(headers, tuple(rows), (), (said, f"What remains: {means}.", *notes))


def group_grid(dataset: Dataset, audit: Audit, runs: Sequence[str]) -> Grid:
    """Return every subgroup, those most surely served worse first."""
    titles = subgroup_titles(dataset)
    rows: list[Tr] = []
    for run in runs:
        mine = audit.groups.filter(pl.col("run") == run).sort("metric", pl.col("p_worst").fill_null(2.0), maintain_order=True)
        for row in mine.iter_rows(named=True):
            usual = NONE if row["alike_low"] is None else f"{number(row['alike_low'])}–{number(row['alike_high'])}"
            cells = (
                Td(run, metric_title(row["metric"]), "text"),
                Td(titles.get(str(row["subgroup"]), str(row["subgroup"])), f"{count(row['n'])} respondents", "text"),
                scored(Cell(row["value"], row["ci_low"], row["ci_high"])),
                Td(usual),
                Td(number(row["shrunken"])),
                Td(_p(row["p_worst"]), "served worse" if row["worst"] else ""),
                Td(number(row["bias"])),
                Td(percent(row["pull"]), percent(row["pull_expected"])),
                Td(percent(row["refusal_rate"]), percent(row["invalid_rate"])),
                Td(number(row["mode_share"])),
                Td(count(row["pairs"])),
            )
            rows.append(Tr(cells))
    headers = (
        "Respondent model",
        "Subgroup",
        "Score",
        "If all alike",
        "Shrunken",
        "p (max-T)",
        "Signed bias",
        "Pull",
        "Refused",
        "Modal share",
        "Pairs",
    )
    notes = (
        f"If all alike: where {percent(audit.confidence)} of its scores would fall if all of its stratum were served alike. Shrunken: "
        "drawn toward that as far as it is noise.",
        "Pull: share of its wrong answers that are the nation's usual answer; below it, of people outside of the subgroup's usual answer. "
        "Refused: below it, invalid. Modal share: mean share of the usual answer, high is easy.",
    )
    return Grid(headers, tuple(rows), (), notes)


def spread_grid(dataset: Dataset, changes: pl.DataFrame) -> Grid:
    """Return what became of the spreads, a row a run, metric, population and measure."""
    titles = auditfigures.attribute_headings(dataset)
    names = {
        "sd": "Standard deviation",
        "max_min": "Best less worst",
        "cv": "CV",
        "norm_range": "Norm. range",
        "variance_corrected": "Variance, noise out",
    }
    rows: list[Tr] = []
    for row in changes.filter(pl.col("measure").is_in(list(names))).iter_rows(named=True):
        who = "all subgroups" if row["by"] == "all" else titles.get(str(row["key"]), str(row["key"]))
        # A variance has twice the digits of its root.
        digits = 5 if row["measure"] == "variance_corrected" else 3
        ends = "" if row["ci_low"] is None else f"{number(row['ci_low'], digits)} to {number(row['ci_high'], digits)}"
        cells = (
            Td(f"{row['run']} − {row['against']}", metric_title(row["metric"]), "text"),
            Td(who, css="text"),
            Td(names[row["measure"]], css="text"),
            Td(number(row["before"], digits), number(row["alike_before"], digits)),
            Td(number(row["after"], digits), number(row["alike_after"], digits)),
            Td(number(row["change"], digits), ends),
            Td(_p(row["p"])),
            Td(row["outcome"] or NONE, css="text"),
            Td(row["note"] or "", css="text"),
        )
        rows.append(Tr(cells))
    note = (
        "Below before and after: what noise alone would give if all were alike. All measures hold it but the variance with noise taken "
        "out. Absolute (standard deviation) and relative spreads (CV) can move in opposite directions."
    )
    return Grid(("Change", "Over", "Measure", "Before", "After", "Change", "p", "Shown", "Note"), tuple(rows), (), (note,))


def _p(value: float | None) -> str:
    return NONE if value is None else "<.001" if value < 0.001 else number(value)
