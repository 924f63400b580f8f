"""All rules of an audit applied to its tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from valuestrata.claims.claim import Claim, Figure
from valuestrata.claims.fairness import answers
from valuestrata.claims.fairness.changes import changes
from valuestrata.claims.fairness.gaps import gaps, missing_by_level
from valuestrata.claims.fairness.screen import Screen, screen_of
from valuestrata.claims.fairness.spreads import spreads
from valuestrata.claims.fairness.subgroups import intersections, missing_by_subgroup, served_worse
from valuestrata.claims.fairness.subject import AuditSubject, Row
from valuestrata.claims.select import ranked
from valuestrata.claims.table import to_frame
from valuestrata.claims.wording import ELSEWHERE, TRAINED_THERE, Names
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.fairness.assemble import Audit
from valuestrata.fairness.estimate.groups import FEW_PAIRS
from valuestrata.fairness.tables.rows import MANY_MISSING, RATES
from valuestrata.fairness.tables.schema import CHANGES, DISPARITY, ERRS, EXCESS, GAPS, GROUPS
from valuestrata.frames import Schema
from valuestrata.responses.run.identity import Answered, Identified, run_identity, trained_here
from valuestrata.scores.plan import thresholds_with
from valuestrata.scores.train_test_overlap import NOT_A_TEST

# Share of alpha of claims on attributes that are audited on another part.
SHARE_ELSEWHERE = 1 / 3
PART = ("scheme", "fold", "part")
SCHEMAS: Mapping[str, Schema] = {
    "disparity": DISPARITY,
    "groups": GROUPS,
    "gaps": GAPS,
    "changes": CHANGES,
    "excess": EXCESS,
    "errs": ERRS,
}
# Share of missing answers from which their rate is audited too.
WORTH_LOOKING = 0.02
ANSWERED = ("answered", "refused")
# Metrics with a value for every pair, so their pairs are those asked.
WHOLE = ("accuracy", "accuracy_expected", "accuracy_set", *RATES)
# Each further claim of a kind loses this share of its importance, so that the most important claims differ in kind.
REPEATED = 0.75


def audit_claims(
    audit: Audit | Mapping[str, pl.DataFrame],
    runs: Sequence[Identified],
    dataset: Dataset | None = None,
    *,
    confidence: float | None = None,
) -> list[Claim]:
    """Return every claim that an audit supports, run by run.

    Args:
        audit: an audit, or its tables disparity, groups, gaps, changes, excess and errs, as `Audit.tables` returns them.
        runs: those audited. dataset: the ground truth; without it, pairs that were never asked are not counted.
        confidence: of the audit whose tables are given, .95 by default; an `Audit` has its own.

    Raises:
        UsageError: a confidence that is out of range or not the audit's, or a run in the tables that is not among `runs`.
        InputDataError: a table or a column is missing.
    """
    tables = audit.tables() if isinstance(audit, Audit) else audit
    own = audit.confidence if isinstance(audit, Audit) else None
    confidence = confidence or own or 0.95
    if not 0 < confidence < 1:
        raise UsageError(f"confidence={confidence}; expected a share between 0 and 1, such as 0.95.")
    if own is not None and confidence != own:
        raise UsageError(f"confidence={confidence}; the audit was made at {own}, so its claims can only be made at that level.")
    missing = [name for name in SCHEMAS if name not in tables]
    if missing:
        raise InputDataError(f"audit: the table {missing[0]!r} is missing; found {list(tables)}.")
    frames = {name: schema.check(tables[name], f"audit: {name}") for name, schema in SCHEMAS.items()}
    thresholds = thresholds_with(audit.margins if isinstance(audit, Audit) else {})
    kinds = {run.name: run_identity(run).kind for run in runs}
    unknown = sorted(set(frames["groups"]["run"].to_list()).difference(kinds))
    if unknown:
        raise UsageError(f"the audit contains the run {unknown[0]!r}, which is not among the runs: {', '.join(kinds) or 'none'}.")
    found: list[Claim] = []
    trained = {run.name: trained_here(run_identity(run)) for run in runs}
    also = set(frames["gaps"].join(frames["groups"], on=[*PART, "run"], how="anti", nulls_equal=True)["run"])
    places = [frames[name].select(PART) for name in ("groups", "gaps")]
    for scheme, fold, part in pl.concat(places).unique(maintain_order=True).rows():
        at = pl.col("fold").is_null() if fold is None else pl.col("fold") == fold
        here = {name: frame.filter((pl.col("scheme") == scheme) & (pl.col("part") == part) & at) for name, frame in frames.items()}
        reason = pl.col("note").str.extract(rf"^{NOT_A_TEST}: trained on ([^;]*)")
        untested = dict(here["groups"].select("run", reason).drop_nulls().unique().iter_rows())
        pairs = None if dataset is None else dataset.part(scheme, part, fold)["pair_id"].n_unique()
        for run, kind in kinds.items():
            own = _AuditTables(here, run)
            # Rows of gaps without rows of subgroups are of attributes that the audited part does not have (`fairness.elsewhere`).
            added = here["groups"].is_empty()
            share = 1.0 if run not in also else SHARE_ELSEWHERE if added else 1 - SHARE_ELSEWHERE
            subject = AuditSubject(run, kind, scheme, fold, part, confidence, thresholds, _screen(own, share))
            made = _varied(_claims_elsewhere(subject, own) if added else _claims(subject, own, pairs, untested))
            notes = (ELSEWHERE, *((TRAINED_THERE,) if trained[run] else ())) if added else ()
            found += [replace(claim, notes=(*claim.notes, *notes)) for claim in made]
    return found


def audit_verdicts(
    audit: Audit | Mapping[str, pl.DataFrame],
    runs: Sequence[Identified],
    dataset: Dataset | None = None,
    *,
    confidence: float | None = None,
    names: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Return the claims of an audit as CLAIMS: run by run, most important first, merged where they differ only in metric.

    Args:
        audit: an audit, or its tables as `Audit.tables` returns them.
        runs: the runs that were audited.
        dataset: the ground truth; without it, pairs that were never asked are not counted.
        confidence: of the audit whose tables are given, .95 by default; an `Audit` has its own.
        names: subgroup -> name shown to readers.
    """
    by_run: dict[str, list[Claim]] = {}
    for claim in audit_claims(audit, runs, dataset, confidence=confidence):
        by_run.setdefault(claim.run, []).append(claim)
    return to_frame([claim for mine in by_run.values() for claim in ranked(mine)], Names(keys=names or {}))


def metrics_worth_auditing(runs: Sequence[Answered], metrics: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics, plus the rates of refused or invalid answers where a model leaves many out: they count as wrong."""
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


class _AuditTables:
    """Rows of the tables of one part, of one run unless another is named."""

    def __init__(self, frames: Mapping[str, pl.DataFrame], run: str) -> None:
        self._frames, self._run = frames, run

    def rows(self, table: str, **where: str) -> Sequence[Row]:
        where = {"run": self._run} | where
        return self._frames[table].filter(*(pl.col(column) == value for column, value in where.items())).to_dicts()


def _screen(tables: _AuditTables, total: float) -> Screen:
    """Return the families of tests that the first screen of a run is corrected for; `total` is the share of alpha of all."""
    groups, spread = tables.rows("groups"), tables.rows("disparity")
    metrics = list(dict.fromkeys(row["metric"] for row in groups or spread))
    rates = [rate for rate in RATES if any(row["value"] for row in groups if row["metric"] == rate)]
    scored = [metric for metric in metrics if metric not in RATES]
    rows = tables.rows("changes")
    changes_of = {row["metric"]: row["p"] for row in rows if row["by"] == "all" and row["measure"] == "score"} if rows else None
    return screen_of(scored, rates, spread, groups, tables.rows("gaps"), changes=changes_of, total=total)


def _claims_elsewhere(subject: AuditSubject, tables: _AuditTables) -> Iterator[Claim]:
    """Yield the claims about attributes that the audited part does not have: spread between their levels, gaps and changes."""
    for metric in dict.fromkeys(row["metric"] for row in tables.rows("gaps")):
        level_gaps = tables.rows("gaps", metric=metric)
        if metric in RATES:
            tests = sum(row["p_holm"] is not None for row in level_gaps)
            yield from (claim for row in level_gaps if (claim := missing_by_level(subject, row, tests)) is not None)
            continue
        spread = list(spreads(subject, tables.rows("disparity", metric=metric), {}))
        yield from spread
        yield from gaps(
            subject, level_gaps, sum(row["pairs"] or 0 for row in level_gaps), {one.key for one in spread if one.kind == "differ"}
        )
        yield from changes(subject, tables.rows("changes", metric=metric))
    ratios = tables.rows("errs")
    for row in ratios:
        yield from answers.spread_ratio(subject, row, len(ratios))


def _claims(subject: AuditSubject, tables: _AuditTables, of: int | None, untested: Mapping[str, str]) -> Iterator[Claim]:
    """Yield every claim about a run.

    Args:
        subject, tables: the run and its rows. of: number of pairs of the part, None if unknown.
        untested: run -> what it was trained on, where its scores are not a test; of such a run only missing answers are stated.
    """
    groups = tables.rows("groups")
    metrics = list(dict.fromkeys(row["metric"] for row in groups))
    if metrics:
        about_answers = _answers(subject, tables, groups, metrics, of)
        if subject.run in untested:
            pairs = sum(row["pairs"] for row in groups if row["metric"] == metrics[0])
            yield subject.claim("not-a-test", Figure(pairs=pairs), notes=(untested[subject.run],))
            yield from (claim for claim in about_answers if claim.kind != "pulled-to-nation")
            return
        yield from about_answers
    for metric in metrics:
        mine = [row for row in groups if row["metric"] == metric]
        level_gaps = tables.rows("gaps", metric=metric)
        if metric in RATES:
            if any(row["value"] for row in mine):
                yield from missing_by_subgroup(subject, mine)
                tests = sum(row["p_holm"] is not None for row in level_gaps)
                yield from (claim for row in level_gaps if (claim := missing_by_level(subject, row, tests)) is not None)
            continue
        baseline = next((row["baseline"] for row in level_gaps if row["baseline"]), None)
        its_spreads, its_groups = (
            [] if baseline is None else tables.rows(table, run=baseline, metric=metric) for table in ("disparity", "groups")
        )
        of_baseline = {(row["by"], row["key"]): row for row in its_spreads if row["measure"] == "spread_corrected"}
        spread = list(spreads(subject, tables.rows("disparity", metric=metric), of_baseline))
        yield from spread
        yield from served_worse(subject, mine, {row["subgroup"]: row for row in its_groups})
        yield from gaps(subject, level_gaps, sum(row["pairs"] for row in mine), {one.key for one in spread if one.kind == "differ"})
        yield from intersections(subject, tables.rows("excess", metric=metric))
        yield from changes(subject, [row for row in tables.rows("changes", metric=metric) if row["against"] not in untested])
    ratios = tables.rows("errs")
    for row in ratios:
        yield from answers.spread_ratio(subject, row, len(ratios))


def _answers(subject: AuditSubject, tables: _AuditTables, groups: Sequence[Row], metrics: Sequence[str], of: int | None) -> Iterator[Claim]:
    """Yield what was asked, what is missing, and the pull, from the rows of a metric that all pairs have."""
    whole = next((metric for metric in WHOLE if metric in metrics), None)
    rows = [row for row in groups if row["metric"] == (whole or metrics[0])]
    pairs = sum(row["pairs"] for row in rows)
    rates = {rate: sum((row[rate] or 0.0) * row["pairs"] for row in rows) / max(pairs, 1) for rate in RATES}
    yield from answers.missing_answers(subject, rates, pairs)
    if of is not None and whole is not None:
        yield from answers.not_asked(subject, pairs, of)
    for rate, share in rates.items():
        if share > MANY_MISSING and rate not in metrics:
            yield answers.not_looked_at(subject, rate, share, pairs)
    if "accuracy" in metrics:
        everyone = tables.rows("disparity", by="all", metric="accuracy")
        accuracy = [row for row in groups if row["metric"] == "accuracy"]
        items, blocks = (everyone[0]["items"], everyone[0]["blocks"]) if everyone else (0, None)
        yield from answers.pulled(subject, accuracy, items, blocks)


def _varied(claims: Iterable[Claim]) -> list[Claim]:
    """Lower the importance of each further claim of one kind and metric, the surest first, the largest first among equals."""
    given = list(claims)
    groups: dict[tuple[str, str | None], list[int]] = {}
    for at, claim in enumerate(given):
        groups.setdefault((claim.kind, claim.metric), []).append(at)
    for places in groups.values():
        places.sort(key=lambda at: (given[at].estimate.p_adjusted or 0.0, -given[at].importance, -abs(given[at].estimate.value or 0.0)))
        for rank, at in enumerate(places):
            given[at] = replace(given[at], importance=round(given[at].importance * REPEATED**rank))
    return given
