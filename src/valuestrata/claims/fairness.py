"""What may be said of a run from its audit, by fixed rules: one line a finding, for tables and reports.

Who reads nothing but these lines must not be misled: each holds its figure, its interval, the pairs behind it and what noise alone
would give; what is not shown is never called absent. The rules are in the modules of sentences, all of them in `docs/auditing.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.claims import fairness_answers as answer_sentences
from valuestrata.claims import fairness_changes as change_sentences
from valuestrata.claims import fairness_gaps as gap_sentences
from valuestrata.claims import fairness_rules as sentences
from valuestrata.claims.fairness_rules import Finding, Manner, Row
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.fairness.assemble import Audit
from valuestrata.fairness.estimate.groups import FEW_PAIRS
from valuestrata.fairness.tables.rows import MANY_MISSING, RATES
from valuestrata.fairness.tables.schema import CHANGES, DISPARITY, ERRS, EXCESS, GAPS, GROUPS
from valuestrata.frames import Column, Schema
from valuestrata.responses.run.identity import Answered, Identified, run_identity
from valuestrata.stats.multiple_testing import holm

AUDIT_VERDICTS = Schema(
    "audit verdicts",
    {
        "run": Column(pl.String, "name of the run"),
        "scheme": Column(pl.String, "split scheme"),
        "fold": Column(pl.Int32, "fold, null when folds are pooled"),
        "part": Column(pl.String, "train, validation, test or all"),
        "rule": Column(pl.String, "name of the rule"),
        "verdict": Column(pl.String, "the sentence: the claim, a colon, its figures"),
        "claim": Column(pl.String, "what is claimed"),
        "metric": Column(pl.String, "metric it is about, or null"),
        "by": Column(pl.String, "all, attribute, level or subgroup; null where it is about the run"),
        "key": Column(pl.String, "which one of them"),
        "value": Column(pl.Float64, "the figure behind it; gaps and changes of scores are turned so that positive is better for `key`"),
        "ci_low": Column(pl.Float64, "lower end of its interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "alike": Column(pl.Float64, "what noise alone gives on average, in the unit of `value`"),
        "alike_low": Column(pl.Float64, "lower end of what noise alone usually gives"),
        "alike_high": Column(pl.Float64, "upper end"),
        "p": Column(pl.Float64, "p adjusted for its family, where the rule tests"),
        "items": Column(pl.Int64, "items behind it"),
        "pairs": Column(pl.Int64, "pairs behind it"),
        "against": Column(pl.String, "the other level or run, or null"),
    },
)
# In the order in which they are said of a run.
RULES = (
    "mostly-missing",
    "many-missing",
    "incomplete",
    "no-baseline",
    "cannot-be-judged",
    "differ",
    "alike",
    "paper-figures-beyond-noise",
    "paper-figures-noise",
    "served-worse",
    "nobody-shown-worse",
    "gap-remains",
    "gap-unclear",
    "gap-explained",
    "gap-composition",
    "gap-turned",
    "gap-hidden",
    "no-gap-shown",
    "underpowered",
    "missing-concentrated",
    "missing-uneven",
    "missing-unclear",
    "missing-composition",
    "missing-not-concentrated",
    "missing-not-looked-at",
    "flattened",
    "exaggerated",
    "pulled-to-nation",
    "intersection-worse",
    "intersection-better",
    "no-intersection-shown",
    "better",
    "worse",
    "no-change",
    "better-for-all",
    "better-for-some",
    "mixed",
    "worse-for-some",
    "worse-for-all",
    "no-change-shown",
    "levelled-down",
    "opposite-directions",
    "spread-narrower",
    "spread-wider",
    "spread-moved-with-noise",
    "spread-not-changed",
)
CUT = ("scheme", "fold", "part")
SCHEMAS: Mapping[str, Schema] = {
    "disparity": DISPARITY,
    "groups": GROUPS,
    "gaps": GAPS,
    "changes": CHANGES,
    "excess": EXCESS,
    "errs": ERRS,
}
# Share of a model's answers missing from which it is asked where they are missing.
WORTH_LOOKING = 0.02
# What is no invalid answer.
ANSWERED = ("answered", "refused")
# Metrics that have a value for every pair, so that their pairs say what was asked.
WHOLE = ("accuracy", "accuracy_expected", "accuracy_set", *RATES)


def rank(rule: str) -> int:
    """Return the place of a rule among those of a metric; lines on who gained and who lost keep the order of their populations."""
    return RULES.index(next(iter(change_sentences.PARETO.values())) if rule in change_sentences.PARETO.values() else rule)


def audit_verdicts(
    audit: Audit | Mapping[str, pl.DataFrame],
    runs: Sequence[Identified],
    dataset: Dataset | None = None,
    *,
    confidence: float | None = None,
    names: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Return every line that the rules allow, for each run: of the run, then of each metric in the order of `RULES`.

    Args:
        audit: an audit, or its tables disparity, groups, gaps, changes, excess and errs, as `Audit.tables` gives them.
        runs: those audited. dataset: the ground truth; without it nothing is said of pairs that were never asked.
        confidence: of the audit whose tables are given, .95 where left out; an audit holds its own.
        names: subgroup -> how a reader calls it; its id where left out.

    Returns:
        AUDIT_VERDICTS.

    Raises:
        UsageError: a confidence that is none or not the audit's, or a run in the tables that is not among `runs`.
        InputDataError: a table is missing or lacks a column.
    """
    tables = audit.tables() if isinstance(audit, Audit) else audit
    own = audit.confidence if isinstance(audit, Audit) else None
    confidence = confidence or own or 0.95
    if not 0 < confidence < 1:
        raise UsageError(f"confidence={confidence}; expected a share between 0 and 1, such as 0.95.")
    if own is not None and confidence != own:
        raise UsageError(f"confidence={confidence}; the audit was made at {own}, and its claims can be worded at no other.")
    lacking = [name for name in SCHEMAS if name not in tables]
    if lacking:
        raise InputDataError(f"audit: the table {lacking[0]!r} is missing; found {list(tables)}.")
    frames = {name: schema.check(tables[name], f"audit: {name}") for name, schema in SCHEMAS.items()}
    kinds = {run.name: run_identity(run).kind for run in runs}
    strangers = sorted(set(frames["groups"]["run"].to_list()).difference(kinds))
    if strangers:
        raise UsageError(f"the audit speaks of the run {strangers[0]!r}, which was not given; given: {', '.join(kinds) or 'none'}.")
    rows: list[dict[str, Any]] = []
    cuts = frames["groups"].select(CUT).unique(maintain_order=True).rows()
    for scheme, fold, part in cuts:
        at = pl.col("fold").is_null() if fold is None else pl.col("fold") == fold
        here = {name: frame.filter((pl.col("scheme") == scheme) & (pl.col("part") == part) & at) for name, frame in frames.items()}
        of = None if dataset is None else dataset.part(scheme, part, fold)["pair_id"].n_unique()
        reader = _Reader(here, kinds, Manner(confidence, names or {}), of)
        for run in kinds:
            found = reader.findings(run)
            where = {"run": run, "scheme": scheme, "fold": fold, "part": part}
            rows += [where | {"verdict": finding.verdict} | finding.columns() for finding in found]
    return AUDIT_VERDICTS.frame(rows)


def metrics_worth_auditing(runs: Sequence[Answered], metrics: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics, and behind them the rate of refused, or of invalid, answers where a model leaves many out.

    Missing answers count as wrong: who is left without them is half of who is served worse.
    """
    found = list(metrics)
    for run in runs:
        if run_identity(run).is_baseline or not len(run.responses):
            continue
        missing = run.responses.select(
            "subgroup", refusal_rate=pl.col("status") == "refused", invalid_rate=~pl.col("status").is_in(ANSWERED)
        )
        by_subgroup = missing.group_by("subgroup").agg(pl.len().alias("asked"), pl.col(*RATES).mean()).filter(pl.col("asked") >= FEW_PAIRS)
        for rate in RATES:
            largest = max([float(share) for share in by_subgroup[rate]], default=0.0)
            if (missing[rate].sum() > WORTH_LOOKING * len(missing) or largest > MANY_MISSING) and rate not in found:
                found.append(rate)
    return tuple(found)


class _Reader:
    """The tables of one part of a split, as rules read them."""

    def __init__(self, frames: Mapping[str, pl.DataFrame], kinds: Mapping[str, str], manner: Manner, of: int | None) -> None:
        self._frames, self._kinds, self._manner, self._of = frames, kinds, manner, of

    def findings(self, run: str) -> list[Finding]:
        """Return every finding about a run: of the run, then metric by metric in the order of `RULES`, then of its spread ratios."""
        found = list(self._findings(run))
        metrics = list(dict.fromkeys(finding.metric for finding in found))
        metrics.sort(key=lambda metric: (metric is not None, metric in RATES, metric == "spread_ratio"))
        return sorted(found, key=lambda finding: (metrics.index(finding.metric), rank(finding.rule)))

    def _findings(self, run: str) -> Iterator[Finding]:
        groups = self._rows("groups", run=run)
        metrics = list(dict.fromkeys(row["metric"] for row in groups))
        yield from self._answers(run, groups, metrics)
        for metric in metrics:
            of_metric = [row for row in groups if row["metric"] == metric]
            if metric in RATES:
                yield from self._missing(run, metric, of_metric)
                continue
            gaps = self._rows("gaps", run=run, metric=metric)
            spreads = list(self._spreads(run, metric, _baseline_of(gaps)))
            yield from spreads
            yield from self._groups(of_metric, _baseline_of(gaps))
            yield from self._gaps(run, metric, gaps, {one.key for one in spreads if one.rule == "differ"})
            yield from sentences.excess(self._rows("excess", run=run, metric=metric), self._manner)
            yield from self._changes(run, metric)
        errs = self._rows("errs", run=run)
        yield from _some(*(answer_sentences.spread_ratio(row, len(errs), self._manner) for row in errs))

    def _rows(self, table: str, **where: str) -> Sequence[Row]:
        frame = self._frames[table]
        return frame.filter(*(pl.col(column) == value for column, value in where.items())).to_dicts()

    def _answers(self, run: str, groups: Sequence[Row], metrics: Sequence[str]) -> Iterator[Finding]:
        """What was asked, what is missing, and the pull; from the rows of a metric that all pairs have."""
        whole = next((metric for metric in WHOLE if metric in metrics), None)
        rows = [row for row in groups if row["metric"] == (whole or metrics[0])]
        pairs = sum(row["pairs"] for row in rows)
        rates = {rate: sum((row[rate] or 0.0) * row["pairs"] for row in rows) / max(pairs, 1) for rate in RATES}
        yield from _some(answer_sentences.missing_answers(rates["refusal_rate"], rates["invalid_rate"], pairs))
        if self._of is not None and whole is not None:
            yield from _some(answer_sentences.not_asked(pairs, self._of))
        for rate, share in rates.items():
            if share > MANY_MISSING and rate not in metrics:
                yield answer_sentences.not_looked_at(rate, share, pairs)
        if "accuracy" in metrics:
            everyone = self._rows("disparity", run=run, by="all", metric="accuracy")
            items = everyone[0]["items"] if everyone else 0
            accuracy = [row for row in groups if row["metric"] == "accuracy"]
            yield from _some(answer_sentences.pulled(accuracy, items, self._manner))

    def _missing(self, run: str, metric: str, groups: Sequence[Row]) -> Iterator[Finding]:
        """Who is left without an answer; nothing where all are answered."""
        if not any(row["value"] for row in groups):
            return
        yield from answer_sentences.missing_by_subgroup(groups, self._manner)
        gaps = self._rows("gaps", run=run, metric=metric)
        family = sum(row["p_holm"] is not None for row in gaps)
        yield from _some(*(answer_sentences.missing_by_level(row, family, self._manner) for row in gaps))

    def _spreads(self, run: str, metric: str, baseline: str | None) -> Iterator[Finding]:
        rows = self._rows("disparity", run=run, metric=metric)
        theirs = self._rows("disparity", run=baseline, metric=metric, measure="spread_corrected") if baseline else ()
        beside = {(row["by"], row["key"]): row for row in theirs}
        populations = list(dict.fromkeys((row["by"], row["key"]) for row in rows))
        by_place = {(row["by"], row["key"], row["measure"]): row for row in rows}
        corrected = [by_place[by, key, "spread_corrected"] for by, key in populations]
        adjusted = holm([row["p"] for row in corrected])
        family = sum(p is not None for p in adjusted)
        quiet: list[tuple[Row, float | None]] = []
        for (by, key), row, p in zip(populations, corrected, adjusted, strict=True):
            yield from _some(sentences.undefined([one for one in rows if (one["by"], one["key"]) == (by, key)]))
            if by == "all":
                yield from _some(sentences.paper_figures(by_place[by, key, "norm_range"], by_place[by, key, "cv"], self._manner))
            elif row["value"] is not None and p is not None and not self._manner.shown(p):
                quiet.append((row, p))
                continue
            yield from _some(sentences.spread(row, p, family, self._manner, beside.get((by, key))))
        yield from _some(sentences.levels_alike(quiet, family, self._manner))

    def _groups(self, rows: Sequence[Row], baseline: str | None) -> Iterator[Finding]:
        beside = {row["subgroup"]: row for row in self._rows("groups", run=baseline, metric=rows[0]["metric"])} if baseline else {}
        yield from sentences.worst_groups(rows, beside, self._manner)

    def _gaps(self, run: str, metric: str, rows: Sequence[Row], differ: Collection[str | None]) -> Iterator[Finding]:
        if not rows:
            return
        if self._kinds[run] != "baseline" and not any(row["baseline"] for row in rows):
            yield gap_sentences.no_baseline(metric, sum(row["pairs"] for row in self._rows("groups", run=run, metric=metric)))
        family = sum(row["p_holm"] is not None for row in rows)
        claimed: list[str] = []
        for row in rows:
            finding = gap_sentences.gap(row, family, self._manner)
            if finding is not None:
                yield finding
                claimed += [row["attribute"]] if finding.rule != "gap-hidden" else []
        yield from gap_sentences.no_gaps(rows, claimed, family, self._manner, differ)

    def _changes(self, run: str, metric: str) -> Iterator[Finding]:
        rows = self._rows("changes", run=run, metric=metric)
        scores = [row for row in rows if row["measure"] == "score"]
        for against in dict.fromkeys(row["against"] for row in rows):
            mine = [row for row in scores if row["against"] == against]
            yield from (change_sentences.overall(row, self._manner) for row in mine if row["by"] == "all")
            units = [row for row in rows if row["against"] == against and row["measure"] != "score"]
            places = list(dict.fromkeys((row["by"], row["key"]) for row in units))
            measures = {place: {row["measure"]: row for row in units if (row["by"], row["key"]) == place} for place in places}
            adjusted = _adjusted(measures)
            for by, key in places:
                inside = "subgroup" if by == "all" else "level"
                members = [row for row in mine if row["by"] == inside and (by == "all" or row["key"].startswith(f"{key}="))]
                yield from self._population(measures[by, key], adjusted[by, key], members)

    def _population(self, measures: Mapping[str, Row], p: Mapping[str, float | None], members: Sequence[Row]) -> Iterator[Finding]:
        """What became of one population: who gained, levelling down, the spread."""
        first = next(iter(measures.values()))
        whole = first["by"] == "all"
        known = [row for row in members if row["before"] is not None]
        sign = sentences.turned(first["metric"], 1.0)
        best = max(known, key=lambda row: sign * row["before"], default=None)
        if "max_min" in measures:
            gained = change_sentences.gained_and_lost(measures["max_min"], members, self._manner)
            # Of attributes only what is shown: that nothing is has its line on all subgroups.
            if whole or (gained is not None and gained.rule != "no-change-shown"):
                yield from _some(gained)
            yield from _some(change_sentences.levelled_down(measures["max_min"], best, self._manner))
        found = change_sentences.moved(measures, p, self._manner)
        if found is not None and (whole or any(self._manner.shown(one.p) for one in found)):
            yield change_sentences.spreads(*found, measures.get(change_sentences.CORRECTED), self._manner)


def _adjusted(measures: Mapping[tuple[str, str], Mapping[str, Row]]) -> dict[tuple[str, str], dict[str, float | None]]:
    """Adjust the p of spreads by Holm: absolute and relative ones of all populations together, corrected variances together."""
    made: dict[tuple[str, str], dict[str, float | None]] = {place: {} for place in measures}
    for names in ((change_sentences.ABSOLUTE, change_sentences.RELATIVE), (change_sentences.CORRECTED,)):
        places = [(place, name) for place, rows in measures.items() for name in names if name in rows]
        for (place, name), p in zip(places, holm([measures[place][name]["p"] for place, name in places]), strict=True):
            made[place][name] = p
    return made


def _baseline_of(gaps: Sequence[Row]) -> str | None:
    """Return the run that gaps are read against, None without one."""
    return next((row["baseline"] for row in gaps if row["baseline"]), None)


def _some(*findings: Finding | None) -> Iterator[Finding]:
    yield from (finding for finding in findings if finding is not None)
