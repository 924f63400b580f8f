"""Rules for claims about scores: comparisons, ceilings, missing answers and train-test overlap (docs/verdicts.md lists them)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.compared.calibrated import added_claims
from valuestrata.claims.compared.comparisons import compared_runs, comparison_claims, is_main
from valuestrata.claims.compared.first_screen import corrected_over_screen, tail_of
from valuestrata.claims.compared.part_tables import PartTables, closed_claim
from valuestrata.claims.templates_closed import CLOSED
from valuestrata.dataset.tables import uses_halves
from valuestrata.dataset.training_source import Overlap
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.formatting import DIRECTED
from valuestrata.responses.run.identity import Answered, run_identity
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.degenerate_answers import position_of, sameness_of
from valuestrata.scores.plan import MEASURED_AGAINST, Thresholds
from valuestrata.scores.schema import COMPARISONS, RELATIVE, SCORES
from valuestrata.scores.train_test_overlap import reason_of

CUT = ("scheme", "part", "fold")
SAME_POSITION = 0.99
# A run is at the ceiling if its interval reaches the ceiling and starts above this share of the way to it.
AT_CEILING = 0.8
# Least share of responses without an answer that makes a claim.
UNANSWERED = 0.05


def closed_claims(
    scores: pl.DataFrame,
    comparisons: pl.DataFrame,
    relative: pl.DataFrame,
    leakage: pl.DataFrame,
    runs: Sequence[Answered],
    thresholds: Thresholds | None = None,
    metric: str = "accuracy_expected",
    overlaps: Mapping[str, Overlap] | None = None,
) -> list[Claim]:
    """Return the claims that the rules support, for each split, part and run; within a run in the order of `CLOSED`.

    Folds are used pooled. A part scored only by fold has claims by fold.

    Args:
        scores: SCORES rows. comparisons: COMPARISONS rows by `metric` over all pairs, and declared ones by any metric or key.
        relative: RELATIVE rows. leakage: `scheme` and `shared_respondents`, one row per test pair (LEAKAGE), or one row per
            scheme with its mean and its number of `pairs`.
        runs: the runs in the frames. thresholds: those of the plan; defaults without one.
        metric: the primary metric; one in `DIRECTED`.
        overlaps: name of a run -> what its training has in common with the scored pairs (`training_overlap`). Comparisons and
            ceilings of a run that was trained on what is tested support no claim. Without it, only baselines count as trained.

    Raises:
        UsageError: a metric without a better direction. InputDataError: a frame lacks a column, or names a run not given.
    """
    if metric not in DIRECTED:
        raise UsageError(
            f"metric={metric!r}: neither high nor low values are better, so it supports no claims.{did_you_mean(metric, DIRECTED)}"
        )
    scores = SCORES.check(scores, "scores").filter((pl.col("by") == "all") & pl.col("against").is_null())
    comparisons = COMPARISONS.check(comparisons, "comparisons")
    relative = RELATIVE.check(relative, "relative scores").filter(pl.col("by") == "all")
    known = {run.name: run for run in runs}
    for frame, columns in ((scores, ("run",)), (comparisons, ("run", "against")), (relative, ("run",))):
        for name in (name for column in columns for name in frame[column].unique(maintain_order=True)):
            if name not in known:
                raise InputDataError(f"The tables contain the run {name!r}, which was not given.{did_you_mean(name, known)}")
    order, found = list(CLOSED), list[Claim]()
    for scheme, part, fold in _cuts(scores, comparisons, relative):
        figures = [_at(frame, scheme, part, fold) for frame in (scores, comparisons, relative)]
        here = PartTables(figures[0], figures[1], figures[2], known, thresholds or Thresholds(), metric, overlaps or {})
        shared = _shared(leakage, scheme, fold) if part in ("test", "all") and not uses_halves(scheme) else Figure()
        for run in (run for run in runs if run.name in here.names):
            compared, added = compared_runs(here, run), added_claims(here, run)
            tests = sum(is_main(here, one) and one.figure("margin") is not None for one in compared) + len(added) + _is_placed(here, run)
            own = [corrected_over_screen(one, tests, 1 - here.thresholds.confidence) for one in added]
            own += [*comparison_claims(here, compared, tests), *_ceiling(here, run, tests)]
            own += [*_coverage(here, run), *_answers(here, run)]
            own += _training(run, part, here.overlap(run.name), shared)
            for claim in sorted(own, key=lambda claim: order.index(claim.kind)):
                found.append(
                    replace(
                        claim,
                        scheme=scheme,
                        part=part,
                        fold=fold,
                        run_kind=here.identities[run.name].kind,
                        confidence=here.thresholds.confidence,
                    )
                )
    return found


def _placed(tables: PartTables, run: Answered) -> list[dict[str, Any]]:
    """Return the relative score of a run in the primary metric, if it has a baseline and a bound, and was not trained on the test."""
    if tables.overlap(run.name).voids:
        return []
    metric = "accuracy_expected" if tables.metric.startswith("accuracy") else tables.metric.removesuffix("_valid")
    rows = tables.relative.filter((pl.col("run") == run.name) & (pl.col("metric") == metric)).tail(1).to_dicts()
    return [row for row in rows if not (row["baseline"] in (None, run.name) or row["baseline_value"] is None or row["bound_value"] is None)]


def _is_placed(tables: PartTables, run: Answered) -> bool:
    return any(row["relative_low"] is not None for row in _placed(tables, run))


def _ceiling(tables: PartTables, run: Answered, tests: int) -> Iterator[Claim]:
    """Place a run between the best cheap baseline (0) and the ceiling (1); no claim where it is below the ceiling.

    `tests` is the number of tests that p-values are corrected for.
    """
    for row in _placed(tables, run):
        metric = row["metric"]
        fields: dict[str, Any] = {
            "against": row["baseline"],
            "figures": (
                Figure(role="baseline", metric=metric, label=row["baseline"], value=row["baseline_value"]),
                Figure(role="bound", metric=metric, label=row["bound"], value=row["bound_value"]),
            ),
        }
        value, low, high = row["relative"], row["relative_low"], row["relative_high"]
        if row["state"] == "saturated":
            # Room between baseline and bound is not shown; that is no proof of none.
            figure = Figure(metric=metric, value=row["bound_value"], pairs=row["pairs"])
            yield closed_claim("saturated", run, figure, strength=Strength.NOT_SHOWN, **fields)
        elif value is not None and low is not None and high is not None and high >= 1:
            kind, page = "cannot-be-placed", None
            for other, end in (("beyond-the-ceiling", 1.0), ("at-the-ceiling", AT_CEILING)):
                p = min(1.0, tests * tail_of(value - end, value - low, tables.thresholds.confidence))
                if kind == "cannot-be-placed" and low >= end and (low > 1 or end < 1) and p <= 1 - tables.thresholds.confidence:
                    kind, page = other, p
            estimate = Figure(metric=metric, value=value, low=low, high=high, pairs=row["pairs"])
            strength = Strength.UNDETERMINED if kind == "cannot-be-placed" else Strength.SHOWN
            yield closed_claim(kind, run, estimate, strength=strength, page_p=page, **fields)


def _coverage(tables: PartTables, run: Answered) -> Iterator[Claim]:
    """State that a run was not asked all pairs of the part."""
    row = tables.score(run.name, tables.metric)
    threshold = tables.thresholds.coverage
    if row and row["coverage"] is not None and row["coverage"] < threshold:
        estimate = Figure(role="coverage", value=row["coverage"], pairs=row["pairs"])
        yield closed_claim("incomplete", run, estimate, figures=(Figure(role="threshold", value=threshold),))


def _answers(tables: PartTables, run: Answered) -> Iterator[Claim]:
    """State, of models and controls, missing baselines, missing answers and answers that ignore the question or the persona."""
    kind = run_identity(run).kind
    if kind == "baseline":
        return
    row = tables.score(run.name, tables.metric)
    identities = [run_identity(run) for name, run in tables.runs.items() if name in tables.names]
    baselines = {one.name: one.rule for one in identities if one.is_baseline}
    if not set(baselines.values()) & set(MEASURED_AGAINST):
        value, low, high = row.get("value"), row.get("ci_low"), row.get("ci_high")
        estimate = Figure(metric=tables.metric, value=value, low=low, high=high, pairs=row.get("pairs") or 0)
        yield closed_claim("no-baseline", run, estimate, strength=Strength.UNDETERMINED, notes=tuple(baselines))
    refused, invalid = (tables.score(run.name, metric) for metric in ("refusal_rate", "invalid_rate"))
    rates = {"refused": refused.get("value") or 0.0, "invalid": invalid.get("value") or 0.0}
    if sum(rates.values()) > UNANSWERED:
        estimate = Figure(value=sum(rates.values()), pairs=refused.get("pairs") or invalid.get("pairs") or 0)
        yield closed_claim("unanswered", run, estimate, figures=tuple(Figure(role=role, value=value) for role, value in rates.items()))
    responses = RESPONSES.check(run.responses, run.name)
    # A calibrated run was shown no list.
    position = None if run_identity(run).method is not None else position_of(responses)
    if position is not None and position.share >= SAME_POSITION and position.fewest != position.most:
        yield closed_claim(
            "same-position",
            run,
            Figure(value=position.share, pairs=position.pairs, n=position.answers, unit="answer"),
            direction=position.place,
            figures=(Figure(role="fewest options", n=position.fewest), Figure(role="most options", n=position.most)),
            notes=("one-order",) if position.one_order else (),
        )
    spread, same = tables.score(run.name, "spread_ratio").get("value"), sameness_of(responses)
    # Without variation in the gold, `spread_ratio` is null: the same answer for everyone may be right.
    if kind == "model" and spread is not None and spread <= 1e-9 and 0 < same.items == same.alike:
        yield closed_claim("same-answer", run, Figure(metric="spread_ratio", value=0.0, items=same.items, pairs=same.pairs))


def _training(run: Answered, part: str, overlap: Overlap, shared: Figure) -> Iterator[Claim]:
    """State that a run was scored on what it was trained on, or on respondents behind its training data."""
    if overlap.tested:
        yield closed_claim("taught-what-is-tested", run, Figure(value=overlap.tested, pairs=overlap.pairs))
    if overlap.halves is not None:
        yield closed_claim("halves-not-disjoint", run, Figure(pairs=overlap.pairs), notes=(reason_of(replace(overlap, tested=0.0)),))
    if overlap.relation == "here":
        if shared.value:
            yield closed_claim("shared-respondents", run, shared)
        if part in ("train", "validation"):
            yield closed_claim("not-a-test", run, Figure())


def _cuts(*frames: pl.DataFrame) -> list[tuple[str, str, int | None]]:
    """Return (scheme, part, fold) of all tables; single folds only where there are no pooled rows."""
    found = pl.concat([frame.select(CUT) for frame in frames]).unique(maintain_order=True).rows()
    pooled = {(scheme, part) for scheme, part, fold in found if fold is None}
    return [(scheme, part, fold) for scheme, part, fold in found if fold is None or (scheme, part) not in pooled]


def _at(frame: pl.DataFrame, scheme: str, part: str, fold: int | None) -> pl.DataFrame:
    return frame.filter((pl.col("scheme") == scheme) & (pl.col("part") == part) & pl.col("fold").eq_missing(pl.lit(fold, dtype=pl.Int32)))


def _shared(leakage: pl.DataFrame, scheme: str, fold: int | None) -> Figure:
    """Return the mean share of respondents shared with training data on a split, and the number of test pairs."""
    for name in ("scheme", "shared_respondents"):
        if name not in leakage.columns:
            raise InputDataError(f"leakage: the column {name!r} is missing; found {leakage.columns}. Give the data set's leakage table.")
    rows = leakage.filter((pl.col("scheme") == scheme) & pl.col("shared_respondents").is_not_null())
    if fold is not None and "fold" in rows.columns:
        rows = rows.filter(pl.col("fold") == fold)
    weights = rows["pairs"].cast(pl.Float64) if "pairs" in rows.columns else pl.repeat(1.0, rows.height, eager=True)
    total = float(weights.sum())
    return Figure(value=float((rows["shared_respondents"] * weights).sum()) / total, pairs=round(total)) if total > 0 else Figure()
