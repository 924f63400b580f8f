"""Report sections of an audit: every subgroup beside noise, the claims, gaps, changes and intersections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim
from valuestrata.claims.fairness.rules import audit_claims
from valuestrata.claims.select import select
from valuestrata.claims.templates import word
from valuestrata.claims.wording import Names
from valuestrata.dataset.tables import Dataset
from valuestrata.fairness.assemble import Audit
from valuestrata.fairness.estimate.gaps import REMAINS
from valuestrata.formatting import NONE, count, metric_title, number, p_number, percent
from valuestrata.reports.closed.published import is_published_setting
from valuestrata.reports.core.cells import Grid, Td, Tr, scored
from valuestrata.reports.core.names import minimum_cell, subgroup_titles
from valuestrata.reports.core.section import Absent, Section, claim_lists
from valuestrata.reports.core.view import RunLike, cell_of
from valuestrata.reports.fairness import figures as auditfigures
from valuestrata.reports.fairness.subgroup_figure import subgroup_chart
from valuestrata.responses.run.identity import KINDS, run_identity

SCREEN_NOTE = (
    "These findings are a first screening: each family of tests has its own error rate, so several families together are more likely to "
    "contain a false finding. "
    "Treat them as hypotheses."
)
# A model's charts take several screens; the tables hold further models.
MOST_CHARTED = 3
# Metrics with charts; rates of missing answers are in the tables.
CHARTED = ("accuracy", "accuracy_expected", "nmae", "w1")
SHOWN_MEASURES: Mapping[str, str] = {
    "norm_range": "Norm. range",
    "cv": "CV",
    "max_min": "Best − worst",
    "spread_corrected": "SD without noise",
}


def audit_sections(dataset: Dataset, runs: Sequence[RunLike], audit: Audit) -> list[Section] | list[Absent]:
    """Return the sections: subgroups with what noise alone gives and the claims, then gaps, changes and intersections.

    Args:
        dataset: the ground truth. runs: those audited, each with `name`, `meta` and `responses`. audit: its tables.
    """
    if audit.groups.is_empty():
        return [("Audit", "no run was audited")]
    kinds = {run.name: run_identity(run).kind for run in runs}
    order = sorted(kinds, key=lambda name: KINDS.index(kinds[name]))
    judged = [name for name in order if kinds[name] != "baseline"] or order
    charted = [metric for metric in dict.fromkeys(audit.groups["metric"]) if metric in CHARTED]
    section = Section("audit", "Which subgroups are served worse?", nav="Audit")
    charts = [
        (f"{run}: {metric_title(metric)}", chart)
        for at, run in enumerate(judged[:MOST_CHARTED])
        for metric in charted
        if (chart := subgroup_chart(dataset, audit, run, metric, f"audit-subgroups-{at}-{metric.replace('_', '-')}")) is not None
    ]
    section.figures, section.more = charts[:1], [(f"Every subgroup, {name}", chart) for name, chart in charts[1:]]
    names = Names(keys=subgroup_titles(dataset))
    found = audit_claims(audit, runs, dataset)
    section.claims = claim_lists(found, names, runs=judged, baselines=True)
    if (rest := claim_grid(found, [name for name in order if name not in judged], names)).rows:
        section.folded.append(("Findings about baselines", rest))
    section.folded += [
        (f"Spread between subgroups: {metric_title(metric)}", disparity_grid(dataset, audit, order, metric)) for metric in charted
    ]
    section.folded.append(("All subgroups", group_grid(dataset, audit, judged)))
    section.method = _method(dataset, audit)
    if not is_published_setting(dataset) and audit.disparity["published"].is_not_null().any():
        section.warning = "The published figures are of another data set and cannot be compared with these."
    return [section, _gaps(dataset, audit, judged, charted)]


def _method(dataset: Dataset, audit: Audit) -> list[str]:
    """Return how the numbers of the audit were made, in sentences."""
    scheme, part = audit.groups["scheme"][0], audit.groups["part"][0]
    scored = dataset.scored_gold(scheme, part, audit.groups["fold"][0])
    return [
        f"Split {scheme}, part {part}. Minimum cell: {minimum_cell(dataset, scored)}.",
        "Equal subgroups never score exactly alike: sixty equal subgroups with 90 questions each show a gap of .24 between best and worst "
        "by noise alone. Figures are therefore shown with what noise alone gives.",
        "Noise alone is the wider of two null distributions: scores permuted within block of items and stratum, and redrawn respondents.",
        "The claims shown for a model are corrected together: the chance of any false one is at most "
        f"{percent(1 - audit.confidence)}. A difference that was not detected may still exist. {SCREEN_NOTE}",
        *audit.notes,
        "The audit describes a configured model under a persona, not the people.",
    ]


def claim_grid(claims: Sequence[Claim], runs: Sequence[str], names: Names) -> Grid:
    """Return all claims about some runs as a table."""
    found = {one.run: one for one in select(claims, baselines=True)}
    rows: list[Tr] = []
    for run in (run for run in runs if run in found):
        for at, claim in enumerate((*found[run].shown, *found[run].rest)):
            worded = word(claim, names)
            cells = (Td("" if at else names.run(run), css="text"), Td(worded.sentence, " ".join(worded.details), "long"))
            rows.append(Tr(cells, "" if at else "first"))
    return Grid(("Run", "Finding"), tuple(rows))


def _gaps(dataset: Dataset, audit: Audit, judged: Sequence[str], metrics: Sequence[str]) -> Section:
    """Return the section of gaps between levels, changes and intersections; the charts after the first one are folded."""
    section = Section("audit-gaps", "Which levels differ, and what explains it?", nav="")
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
                    section.more.append((f"{heading}: {of}", chart))
    section.figures, section.more = section.more[:1], section.more[1:]
    for heading, grid in (
        ("All gaps between levels, with what explains them", gap_grid(dataset, audit.gaps, judged)),
        ("Before and after: spreads", spread_grid(dataset, audit.changes.filter(pl.col("run").is_in(list(judged))))),
    ):
        if grid.rows:
            section.folded.append((heading, grid))
    if len(judged) > MOST_CHARTED:
        section.sentences = [f"Charts are of the first {MOST_CHARTED} runs; the tables hold all."]
    return section


def disparity_grid(dataset: Dataset, audit: Audit, runs: Sequence[str], metric: str) -> Grid:
    """Return the measures of every population with what noise alone gives, a row per run and population."""
    titles = auditfigures.attribute_headings(dataset)
    of_metric = audit.disparity.filter(pl.col("metric") == metric).to_dicts()
    found = {(row["run"], row["by"], row["key"], row["measure"]): row for row in of_metric}
    populations = list(dict.fromkeys((by, key) for _, by, key, _ in found))
    alpha = 1 - audit.confidence
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
                cells.append(scored(cell_of(row)))
                cells.append(_noise(row, alpha))
            if published:
                cells += [Td(number((one[measure] or {}).get("published"))) for measure in ("norm_range", "cv")]
            rows.append(Tr(tuple(cells), "first" if first else ""))
            words[f"{who}: {one['cv']['population']}."] = None
            if one["cv"]["note"]:
                notes.setdefault(str(one["cv"]["note"]), {}).setdefault(who, []).append(run)
    groups = [("", 2), *((title, 2) for title in SHOWN_MEASURES.values()), *([("Published", 2)] if published else [])]
    headers = ("Subgroups", "Run", *("Value", "Noise alone") * len(SHOWN_MEASURES), *(("Range", "CV") if published else ()))
    said = (
        f"Noise alone: mean under equal service, and its upper {percent(audit.confidence)} point. * : p at most {number(alpha)}, "
        "uncorrected; findings are corrected for multiple tests."
    )
    return Grid(headers, tuple(rows), tuple(groups), (said, *words, *_noted(notes, len(runs))))


def _noted(notes: Mapping[str, Mapping[str, Sequence[str]]], runs: int) -> list[str]:
    """Return a sentence for each note and set of runs, from note -> population -> runs."""
    said: list[str] = []
    for note, places in notes.items():
        populations: dict[str, list[str]] = {}
        for who, of in places.items():
            populations.setdefault("" if len(of) == runs and runs > 1 else f"{', '.join(of)}, ", []).append(who)
        said += [f"{of}{', '.join(whose)}: {note}." for of, whose in populations.items()]
    return said


def _noise(row: Mapping[str, Any], alpha: float) -> Td:
    beyond = row["p"] is not None and row["p"] <= alpha
    if row["alike"] is None:
        return Td(NONE)
    return Td(number(row["alike"]), f"to {number(row['alike_high'])}{' *' if beyond else ''}")


def gap_grid(dataset: Dataset, gaps: pl.DataFrame, runs: Sequence[str]) -> Grid:
    """Return every gap with its explanations, smallest p-value first, and notes on the gaps of each run."""
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
                scored(cell_of(row, "gap")),
                Td(number(row["expected_alike"])),
                Td(p_number(row["p_holm"])),
                Td(number(row["gap_baseline"])),
                scored(cell_of(row, "excess", "excess")),
                scored(cell_of(row, "held", "held")),
                scored(cell_of(row, "adjusted", "adjusted")),
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
        "Run",
        "Gap",
        "Raw",
        "Noise alone, mean size",
        "p (Holm)",
        "Baseline's gap",
        "Gap minus baseline's",
        "Other attributes equal",
        "Also at equal difficulty",
        "What remains",
    )
    said = "For distances such as NMAE, a positive gap means that the level named first is served worse."
    means = "; ".join(f"{word}: {meaning}" for word, meaning in REMAINS.items())
    return Grid(headers, tuple(rows), (), (said, f"What remains: {means}.", *notes))


def group_grid(dataset: Dataset, audit: Audit, runs: Sequence[str]) -> Grid:
    """Return every subgroup, smallest p-value of being served worse first."""
    titles = subgroup_titles(dataset)
    rows: list[Tr] = []
    for run in runs:
        mine = audit.groups.filter(pl.col("run") == run).sort("metric", pl.col("p_worst").fill_null(2.0), maintain_order=True)
        for row in mine.iter_rows(named=True):
            usual = NONE if row["alike_low"] is None else f"{number(row['alike_low'])}–{number(row['alike_high'])}"
            cells = (
                Td(run, metric_title(row["metric"]), "text"),
                Td(titles.get(str(row["subgroup"]), str(row["subgroup"])), f"{count(row['n'])} respondents", "text"),
                scored(cell_of(row)),
                Td(usual),
                Td(number(row["shrunken"])),
                Td(p_number(row["p_worst"]), "served worse" if row["worst"] else ""),
                Td(number(row["bias"])),
                Td(percent(row["pull"]), percent(row["pull_expected"])),
                Td(percent(row["refusal_rate"]), percent(row["invalid_rate"])),
                Td(number(row["mode_share"])),
                Td(count(row["pairs"])),
            )
            rows.append(Tr(cells))
    headers = (
        "Run",
        "Subgroup",
        "Score",
        "Range by noise alone",
        "Shrunken",
        "p (max-T)",
        "Signed bias",
        "Pull",
        "Refused",
        "Modal share",
        "Pairs",
    )
    notes = (
        f"Range by noise alone: where {percent(audit.confidence)} of the subgroup's scores would fall if all subgroups of its stratum were "
        "served alike. Shrunken: the score, drawn toward that range as far as its difference can be noise.",
        "Pull: share of the wrong answers that are the most common answer of the whole population; the small number is the same share for "
        "people who do not give their subgroup's most common answer. Refused: the small number is the share of invalid answers. Modal "
        "share: mean share of the most common answer; where it is high, questions are easy.",
    )
    return Grid(headers, tuple(rows), (), notes)


def spread_grid(dataset: Dataset, changes: pl.DataFrame) -> Grid:
    """Return the changes of spread, a row per run, metric, population and measure."""
    titles = auditfigures.attribute_headings(dataset)
    names = {
        "sd": "Standard deviation",
        "max_min": "Best − worst",
        "cv": "CV",
        "norm_range": "Norm. range",
        "variance_corrected": "Variance without noise",
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
            Td(p_number(row["p"])),
            Td(row["outcome"] or NONE, css="text"),
            Td(row["note"] or "", css="text"),
        )
        rows.append(Tr(cells))
    note = (
        "The small numbers under before and after are what noise alone gives if all subgroups are served alike. All measures contain this "
        "noise, except the variance without noise. Absolute (standard deviation) and relative spreads (CV) can move in opposite directions."
    )
    return Grid(("Runs", "Subgroups", "Measure", "Before", "After", "Change", "p", "Result", "Note"), tuple(rows), (), (note,))
