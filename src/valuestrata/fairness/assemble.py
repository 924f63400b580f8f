"""The audit of runs on one part of a split: all tables from one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, MissingExtraError, UsageError, did_you_mean
from valuestrata.fairness.adjust.held_attributes import Sampling
from valuestrata.fairness.context import context_of
from valuestrata.fairness.options import Adjusting, AuditedPart, Resampling
from valuestrata.fairness.published import published_disparity
from valuestrata.fairness.scores import ScoreCache, subtract
from valuestrata.fairness.tables.change_rows import change_rows
from valuestrata.fairness.tables.level_rows import BaselineScores, excess_rows, gap_rows
from valuestrata.fairness.tables.rows import RATES, Row, joined, reading_note, run_note, table
from valuestrata.fairness.tables.schema import CHANGES, DISPARITY, EXCESS, GAPS, GROUPS
from valuestrata.fairness.tables.spread_ratio_rows import err_rows
from valuestrata.fairness.tables.subgroup_rows import disparity_rows, group_rows
from valuestrata.formatting import DIRECTED, count, number, p_number, title
from valuestrata.frames import Schema
from valuestrata.overview import HasOverview, Overview
from valuestrata.progress import progress
from valuestrata.respondents.baselines import CHEAP
from valuestrata.responses.reference_baselines import check_training
from valuestrata.responses.run.halves import scored_responses
from valuestrata.responses.run.identity import Answered, run_identity
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.aggregate import check_call
from valuestrata.scores.best_baseline import best_baseline
from valuestrata.scores.layout import RunGrid, place
from valuestrata.scores.train_test_overlap import training_notes, training_overlap

METRICS = ("accuracy", "nmae")
# Names of the tables, in the order of `Audit`.
TABLES = ("disparity", "groups", "gaps", "changes", "excess", "errs")
# Estimates of gaps at equal difficulty.
MIXED = ("penalised", "bayes")
# Runs in the sentences of the overview.
_MOST_NAMED = 4
# Metrics that the tables need in addition to those audited.
ALWAYS = ("accuracy", "bias", *RATES)


@dataclass(frozen=True, repr=False)
class Audit(HasOverview):
    """Tables of an audit, with the schemas of the same names in `fairness.tables.schema`.

    Attributes:
        disparity: spread between the subgroups of a run, and what noise alone gives (DISPARITY).
        groups: subgroups that are served worse (GROUPS).
        gaps: differences between two levels of an attribute, on the items that both were asked (GAPS).
        changes: a run against another, on the pairs that both answered (CHANGES).
        excess: subgroups of two attributes against what their levels predict (EXCESS).
        errs: spread of answers between the levels of an attribute, relative to people (ERRS).
        confidence: of the intervals; claims, tables and charts use the level 1 - confidence.
        margins: metric -> the margin that claims of equivalence use, for each audited metric.
        notes: what holds for all tables, and what could not be audited, in sentences.
    """

    disparity: pl.DataFrame
    groups: pl.DataFrame
    gaps: pl.DataFrame
    changes: pl.DataFrame
    excess: pl.DataFrame
    errs: pl.DataFrame
    confidence: float = 0.95
    margins: Mapping[str, float] = field(default_factory=dict[str, float])
    notes: tuple[str, ...] = ()

    def overview(self) -> Overview:
        """Return how many subgroups of each run are served worse, and how far its subgroups differ beside noise."""
        metric = self.groups["metric"][0] if self.groups.height else "accuracy"
        own = self.groups.filter((pl.col("metric") == metric) & pl.col("value").is_not_null())
        served = own.group_by("run", maintain_order=True).agg(pl.col("worst").sum(), tested=pl.col("worst").count())
        sentences = [
            f"{run}: {worst} of {count(tested, 'subgroup')} have a worse {title(metric)} than the rest of their stratum, beyond noise."
            if tested
            else f"{run}: no subgroup could be tested."
            for run, worst, tested in served.head(_MOST_NAMED).iter_rows()
        ]
        spread = self.disparity.filter((pl.col("by") == "all") & (pl.col("metric") == metric) & (pl.col("measure") == "max_min"))
        columns = ("run", "value", "ci_low", "ci_high", "alike", "alike_high", "p")
        rows = [
            (str(run), number(value), f"{number(low)} to {number(high)}", number(alike), number(most), p_number(p))
            for run, value, low, high, alike, most, p in spread.select(columns).iter_rows()
        ]
        heads = ("Run", "Best minus worst", "95 % interval", "From noise alone", "At most (95 %)", "p")
        return Overview(f"Audit of {title(metric)} by subgroup", sentences, heads, rows, " ".join(self.notes[:1]))

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return name -> frame."""
        return {name: getattr(self, name) for name in TABLES}


def audit(
    dataset: Dataset,
    runs: Sequence[Answered],
    *,
    against: str | Mapping[str, str] | None = None,
    metrics: Sequence[str] = METRICS,
    published: Mapping[str, str] | None = None,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    bootstrap: int = 1000,
    permutations: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    margins: Mapping[str, float] | None = None,
    mixed: str = "penalised",
    sampling: Sampling | None = None,
) -> Audit:
    """Test which subgroups are served worse, beyond noise and difficulty, and what a change of model changed.

    Args:
        dataset: the ground truth.
        runs: what to audit, including the cheap baselines that gaps are compared with.
        against: a run that every other run is compared with, pair by pair; or a mapping from a run to the run it is compared with.
        metrics: any of `formatting.DIRECTED`, such as accuracy, accuracy_expected, nmae, w1.
        published: run -> the published model whose figures are shown next to it (`fairness.published`).
        split: split scheme, such as `paper` or `unseen-item`.
        part: `train`, `validation`, `test` or `all`.
        fold: only this fold of the split; None for all folds, each pair once.
        bootstrap: replicates behind every interval; 0 for none, and then gaps and changes have no p-values.
        permutations: permutations behind the permuted null and max-T; 0 for neither.
        seed: seed of bootstrap and permutations.
        confidence: of intervals; claims are made at level 1 - confidence.
        margins: metric -> smallest difference that matters; for others see `scores.plan.Thresholds.margin`.
        mixed: `penalised` (a fraction of a second) or `bayes` (minutes for each metric of a model; needs the extra `bayes`).
        sampling: how the posterior of `bayes` is drawn; None for the defaults with the audit's seed.

    Returns:
        The tables, rows in the order of the runs. A run without any pair of the part has rows with nulls and a note.

    Raises:
        UsageError: two runs of one name, an unknown option, metric, split or run, or a count out of range.
        InputDataError: a run on another data set, no pair with gold in the part, or responses that contradict the data set.
        MissingExtraError: `mixed="bayes"` without its library.
    """
    of = AuditedPart(split, part, fold)
    resampling = Resampling(bootstrap, permutations, seed, confidence, margins or {})
    return audit_runs(dataset, runs, of, resampling, Adjusting(mixed, sampling), metrics, against, published or {})


def audit_runs(
    dataset: Dataset,
    runs: Sequence[Answered],
    of: AuditedPart,
    resampling: Resampling,
    adjusting: Adjusting,
    metrics: Sequence[str],
    against: str | Mapping[str, str] | None,
    published: Mapping[str, str],
) -> Audit:
    """Return the tables of an audit; arguments as for `audit`, options in groups."""
    check_call(runs, resampling.bootstrap, resampling.confidence)
    earlier = _earlier(runs, against)
    named = [*([against] if isinstance(against, str) else []), *earlier.values(), *earlier, *published]
    _check(dataset, runs, named, metrics, resampling.permutations, published)
    check_training(dataset, runs, of.split, of.fold)
    check_mixed(adjusting.mixed)
    context = context_of(dataset, of, resampling)
    grids = [
        _needed(place(context.layout, run.name, RESPONSES.check(scored_responses(run, of.split, of.fold), run.name)), metrics)
        for run in runs
    ]
    # Why scores are not a test, by run: first in the notes of every table.
    untested = training_notes(training_overlap(dataset, runs, split=of.split, part=of.part, fold=of.fold))
    notes = [joined(untested.get(run.name), run_note(context, grid), reading_note(run)) for run, grid in zip(runs, grids, strict=True)]
    names = [run.name for run in runs]
    baselines = {metric: _best_baseline(runs, grids, metric) for metric in metrics}
    reused = {(at, metric) for metric, at in baselines.items() if at is not None}
    reused |= {(names.index(other), metric) for other in earlier.values() for metric in metrics}
    values = {(at, metric): grid.metrics[metric] for at, grid in enumerate(grids) for metric in metrics}
    cache = ScoreCache(context, values, reused, resampling.permutations, resampling.seed)
    parts: dict[str, list[Row]] = {name: [] for name in ("disparity", "groups", "gaps", "changes", "excess")}
    with progress("auditing", len(values)) as advance:
        for at, metric in values:
            advance(0, names[at])
            run, scores = {"run": names[at]}, cache.scores(at, metric)
            figures = published_disparity(published[names[at]]) if names[at] in published else {}
            for row in disparity_rows(scores, metric, notes[at]):
                known = figures.get((metric, row["measure"])) if row["by"] == "all" else None
                parts["disparity"].append({**run, **row, "published": known})
            parts["groups"] += [run | row for row in group_rows(scores, grids[at], metric)]
            best = baselines[metric]
            baseline = None if best is None or best == at else BaselineScores(names[best], cache.scores(best, metric))
            sampling = None if run_identity(runs[at]).is_baseline else adjusting.posterior(resampling.seed)
            parts["gaps"] += [run | row for row in gap_rows(scores, metric, baseline, sampling, cache.weights)]
            parts["excess"] += [run | row for row in excess_rows(scores, metric)]
            if names[at] in earlier:
                other = names.index(earlier[names[at]])
                before, after = cache.on_common_pairs(cache.scores(other, metric), scores)
                difference = subtract(after, before, ("units",), cache.weights)
                note = joined(notes[at], f"before: {notes[other]}" if notes[other] else None)
                rows = change_rows(before, after, difference, metric, note)
                parts["changes"] += [run | {"against": names[other]} | row for row in rows]
            advance(1)
    schemas: Mapping[str, Schema] = {"disparity": DISPARITY, "groups": GROUPS, "gaps": GAPS, "changes": CHANGES, "excess": EXCESS}
    for row in (row for name in ("groups", "gaps", "excess") for row in parts[name] if row["run"] in untested):
        row["note"] = joined(untested[row["run"]], row["note"])
    # Under cross-fitting every pair is scored in both halves of the respondents.
    counted = pl.col("^(pairs|items)$") // context.layout.halves
    frames = {name: table(schema, parts[name]).with_columns(counted) for name, schema in schemas.items()}
    margins = {metric: context.margin(metric) for metric in metrics}
    notes = (context.block_note,)
    return Audit(errs=err_rows(context, grids), confidence=resampling.confidence, margins=margins, notes=notes, **frames)


def _best_baseline(runs: Sequence[Answered], grids: Sequence[RunGrid], metric: str) -> int | None:
    """Return the place of the best cheap baseline, None without one."""
    identities = list(map(run_identity, runs))
    cheap = {run.name: grid for run, grid in zip(identities, grids, strict=True) if run.is_baseline and run.rule in CHEAP}
    best = best_baseline(metric, cheap)
    return None if best is None else [run.name for run in runs].index(best)


def _needed(grid: RunGrid, metrics: Sequence[str]) -> RunGrid:
    """Drop the metrics that no table needs: each may hold a hundred redrawn grids."""
    kept = {name: values for name, values in grid.metrics.items() if name in (*ALWAYS, *metrics)}
    return replace(grid, metrics=kept)


def _earlier(runs: Sequence[Answered], against: str | Mapping[str, str] | None) -> Mapping[str, str]:
    """Return run -> the run it is compared with, by name."""
    if against is None or not isinstance(against, str):
        for run, other in (against or {}).items():
            if run == other:
                raise UsageError(f"against: the run {run!r} is compared with itself; name another run.")
        return against or {}
    return {run.name: against for run in runs if run.name != against}


def check_mixed(mixed: str) -> None:
    """Check the estimate of gaps at equal difficulty.

    Raises:
        UsageError: not one of `MIXED`.
        MissingExtraError: `bayes` without its library.
    """
    if mixed not in MIXED:
        raise UsageError(f"mixed={mixed!r} is unknown; expected {' or '.join(MIXED)}.{did_you_mean(mixed, MIXED)}")
    if mixed == "bayes" and find_spec("bambi") is None:
        raise MissingExtraError("A Bayesian estimate of gaps (mixed='bayes')", "bayes", "bambi")


def _check(
    dataset: Dataset,
    runs: Sequence[Answered],
    named: Sequence[str],
    metrics: Sequence[str],
    permutations: int,
    published: Mapping[str, str],
) -> None:
    """Check the arguments before anything is computed; `named` are run names found in the arguments."""
    names = [run.name for run in runs]
    for metric in metrics:
        if metric not in DIRECTED:
            raise UsageError(f"metrics={metric!r} cannot be audited: it has no better direction.{did_you_mean(metric, DIRECTED)}")
    if not metrics or len(set(metrics)) < len(metrics):
        raise UsageError(f"metrics={list(metrics)}: name at least one, each once.")
    if permutations < 0:
        raise UsageError(f"permutations={permutations} is negative; give a number, or 0 for none.")
    for name in named:
        if name not in names:
            raise UsageError(f"No run is named {name!r}.{did_you_mean(name, names)}")
    for model in published.values():
        published_disparity(model)
    for run in runs:
        found = run_identity(run).dataset.fingerprint
        if found is not None and found != dataset.fingerprint:
            raise InputDataError(
                f"{run.name}: this run answered data set {str(found)[:12]}, not {dataset.fingerprint[:12]} "
                f"({dataset.path or 'not on disk'}). Audit runs on different data sets separately."
            )
