"""The audit of runs on one part of a split: every table, from one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, MissingExtraError, UsageError, did_you_mean
from valuestrata.fairness.adjust.held_attributes import Sampling
from valuestrata.fairness.context import Scored, Setting, scored, setting_of
from valuestrata.fairness.estimate.null_spread import Alike, Exchanged
from valuestrata.fairness.published import published_disparity
from valuestrata.fairness.tables.change_rows import change_rows
from valuestrata.fairness.tables.level_rows import excess_rows, gap_rows
from valuestrata.fairness.tables.rows import Row, about_run, better_sign, joined, table
from valuestrata.fairness.tables.schema import CHANGES, DISPARITY, EXCESS, GAPS, GROUPS
from valuestrata.fairness.tables.spread_ratio_rows import err_rows
from valuestrata.fairness.tables.subgroup_rows import disparity_rows, group_rows
from valuestrata.formatting import DIRECTED
from valuestrata.frames import Schema
from valuestrata.progress import progress
from valuestrata.respondents.baselines import CHEAP
from valuestrata.responses.reference_baselines import check_training
from valuestrata.responses.run.identity import Answered, run_identity
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.aggregate import check_call
from valuestrata.scores.layout import RunGrid, place
from valuestrata.scores.relative import FULL_ENOUGH

METRICS = ("accuracy", "nmae")
# Names of the tables, in the order of `Audit`.
TABLES = ("disparity", "groups", "gaps", "changes", "excess", "errs")
# Estimates of gaps at equal difficulty.
MIXED = ("penalised", "bayes")
# Beside the metrics audited: what tables say of each subgroup.
ALWAYS = ("accuracy", "bias", "refusal_rate", "invalid_rate")


@dataclass(frozen=True)
class Audit:
    """What came of an audit: frames of the schemas in `auditing.schema`, of the same names.

    Attributes:
        confidence: of its intervals; claims are made at 1 - confidence, and so must whoever words or draws them.
    """

    disparity: pl.DataFrame
    groups: pl.DataFrame
    gaps: pl.DataFrame
    changes: pl.DataFrame
    excess: pl.DataFrame
    errs: pl.DataFrame
    confidence: float = 0.95

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return name -> frame."""
        return {name: getattr(self, name) for name in TABLES}


def audit(
    dataset: Dataset,
    runs: Sequence[Answered],
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    against: str | Mapping[str, str] | None = None,
    metrics: Sequence[str] = METRICS,
    permutations: int = 2000,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    published: Mapping[str, str] | None = None,
    mixed: str = "penalised",
    sampling: Sampling | None = None,
) -> Audit:
    """Say who is served worse, how much of that is noise or difficulty, and what a change of model did to it.

    Args:
        dataset: the ground truth.
        runs: what to audit, the cheap baselines that gaps are read against among them.
        split, part, fold: which pairs, as for `score`.
        against: name of a run that every other one is compared with, pair by pair; or name of a run -> the run it is compared with,
            for several models each before and after.
        metrics: any of `scores.phrases.DIRECTED`, such as accuracy, accuracy_expected, nmae, w1.
        permutations: behind the permuted null and max-T; 0 for neither.
        bootstrap: replicates behind every interval; 0 for none, and then there are no p-values of gaps and changes.
        seed: of permutations and replicates. confidence: of intervals; claims are made at the level 1 - confidence.
        published: name of a run -> the published model it stands for (`auditing.published`), whose figures are to stand beside it.
        mixed: how gaps at equal difficulty are estimated: `penalised`, in a fraction of a second, or `bayes`, in minutes for each metric of
            a run that is no baseline (`auditing.bayes`, which needs the extra `bayes`).
        sampling: draws, chains and seed of the latter; `seed` where left out.

    Returns:
        The tables. Rows of runs stand in their order. A run without any pair of the part has its rows, with nulls and a note.

    Raises:
        UsageError: two runs of one name, an unknown metric, split or run, or counts that cannot be meant.
        InputDataError: a run that answered another data set, no pair with gold in the part, or responses that contradict it.
        MissingExtraError: `bayes` without its library.
    """
    check_call(runs, bootstrap, confidence)
    earlier = _earlier(runs, against)
    named = [*([against] if isinstance(against, str) else []), *earlier.values(), *earlier, *(published or {})]
    _check(dataset, runs, named, metrics, permutations, published or {})
    check_training(dataset, runs, split, fold)
    posterior = _posterior(mixed, sampling, seed)
    setting = setting_of(dataset, split, part, fold, bootstrap=bootstrap, seed=seed, confidence=confidence)
    alike = Alike(setting, permutations, seed)
    grids = [_slim(place(setting.layout, run.name, RESPONSES.check(run.responses, run.name)), metrics) for run in runs]
    parts: dict[str, list[Row]] = {name: [] for name in ("disparity", "groups", "gaps", "changes", "excess")}
    wanted = [(run, metric) for run in range(len(runs)) for metric in metrics]
    exchanged = alike.exchanged([grids[run].metrics[metric].gold for run, metric in wanted])
    baselines = {metric: _best_baseline(runs, grids, metric) for metric in metrics}
    # Runs that others are read against are worked out once.
    kept: dict[tuple[int, str], Scored] = {}
    names = [one.name for one in runs]
    with progress("auditing", len(wanted)) as advance:
        for number, (run, metric) in enumerate(wanted):
            grid, name = grids[run], {"run": runs[run].name}
            found = kept.get((run, metric)) or scored(setting, grid.metrics[metric])
            before = names.index(earlier[names[run]]) if names[run] in earlier else None
            for other in (baselines[metric], before):
                if other is not None:
                    kept.setdefault((other, metric), found if other == run else scored(setting, grids[other].metrics[metric]))
            about = about_run(setting, grid)
            facts = published_disparity(published[name["run"]]) if published and name["run"] in published else {}
            rows = disparity_rows(setting, found, exchanged[number], metric, about)
            known = [facts.get((metric, row["measure"])) if row["by"] == "all" else None for row in rows]
            parts["disparity"] += [{**name, **row, "published": fact} for row, fact in zip(rows, known, strict=True)]
            parts["groups"] += [{**name, **row} for row in group_rows(setting, grid, found, exchanged[number].cells, metric)]
            at = baselines[metric]
            beside = None if at is None or at == run else (runs[at].name, kept[at, metric])
            drawn = None if run_identity(runs[run]).is_baseline else posterior
            parts["gaps"] += [{**name, **row} for row in gap_rows(setting, found, metric, beside, drawn)]
            parts["excess"] += [{**name, **row} for row in excess_rows(setting, found, metric)]
            if before is not None:
                notes = joined(about, _before(about_run(setting, grids[before])))
                known = (exchanged[wanted.index((before, metric))], exchanged[number])
                rows = _changed(setting, kept[before, metric], found, metric, notes, alike, known)
                parts["changes"] += [{**name, "against": names[before], **row} for row in rows]
            found.forget()
            advance(1)
    schemas: Mapping[str, Schema] = {"disparity": DISPARITY, "groups": GROUPS, "gaps": GAPS, "changes": CHANGES, "excess": EXCESS}
    errs = err_rows(setting, grids)
    return Audit(errs=errs, confidence=confidence, **{name: table(schema, parts[name]) for name, schema in schemas.items()})


def _before(note: str | None) -> str | None:
    return f"before: {note}" if note else None


def _changed(
    setting: Setting, before: Scored, after: Scored, metric: str, note: str | None, alike: Alike, known: tuple[Exchanged, Exchanged]
) -> list[Row]:
    """Return the rows of CHANGES of one metric, on the pairs both have a value for; `known` are the permutations of all their pairs."""
    both = before.mask & after.mask
    old, new = before.on(both), after.on(both)
    whole = old is before and new is after
    exchanged = known if whole else alike.exchanged([old.values.gold, new.values.gold])
    return change_rows(setting, old, new, new.minus(old), metric, note, exchanged)


def _best_baseline(runs: Sequence[Answered], grids: Sequence[RunGrid], metric: str) -> int | None:
    """Return the place of the best cheap baseline on the pairs that all of them have; None without one.

    Those that have a value for less than `FULL_ENOUGH` of what the fullest has are passed over.
    """
    places = [k for k, run in enumerate(map(run_identity, runs)) if run.is_baseline and run.rule in CHEAP]
    known = {k: ~np.isnan(grids[k].metrics[metric].gold) for k in places}
    fullest = max((int(mask.sum()) for mask in known.values()), default=0)
    places = [k for k in places if fullest and known[k].sum() >= FULL_ENOUGH * fullest]
    if not places:
        return None
    common = np.logical_and.reduce([known[k] for k in places])
    if not common.any():
        return None
    return max(places, key=lambda k: better_sign(metric) * float(grids[k].metrics[metric].gold[common].mean()))


def _slim(grid: RunGrid, metrics: Sequence[str]) -> RunGrid:
    """Let go of what no table needs: redrawn distances of a run are a hundred grids each."""
    kept = {name: values for name, values in grid.metrics.items() if name in (*ALWAYS, *metrics)}
    return RunGrid(grid.name, grid.asked, kept, grid.position, grid.elicitation, grid.template)


def _earlier(runs: Sequence[Answered], against: str | Mapping[str, str] | None) -> Mapping[str, str]:
    """Return name of a run -> name of the run it is compared with."""
    if against is None or not isinstance(against, str):
        for run, other in (against or {}).items():
            if run == other:
                raise UsageError(f"against: the run {run!r} is compared with itself; name another run.")
        return against or {}
    return {run.name: against for run in runs if run.name != against}


def check_mixed(mixed: str) -> None:
    """Refuse an estimate of gaps at equal difficulty that is not of `MIXED` or whose library is missing; costs nothing.

    Raises:
        UsageError: not one of `MIXED`.
        MissingExtraError: `bayes` without its library.
    """
    if mixed not in MIXED:
        raise UsageError(f"mixed {mixed!r} is no estimate of gaps at equal difficulty.{did_you_mean(mixed, MIXED)}")
    if mixed == "bayes" and find_spec("bambi") is None:
        raise MissingExtraError("A Bayesian estimate of gaps (mixed='bayes')", "bayes", "bambi")


def _posterior(mixed: str, sampling: Sampling | None, seed: int) -> Sampling | None:
    """Return how a posterior is to be drawn, None for the penalised estimate; errors before anything is worked out."""
    check_mixed(mixed)
    return None if mixed == "penalised" else sampling or Sampling(seed=seed)


def _check(
    dataset: Dataset,
    runs: Sequence[Answered],
    named: Sequence[str],
    metrics: Sequence[str],
    permutations: int,
    published: Mapping[str, str],
) -> None:
    """Refuse what cannot be meant, before anything is worked out; `named` are runs that an argument names."""
    names = [run.name for run in runs]
    for metric in metrics:
        if metric not in DIRECTED:
            raise UsageError(f"metrics={metric!r} cannot be audited: it must say who is served worse.{did_you_mean(metric, DIRECTED)}")
    if not metrics or len(set(metrics)) < len(metrics):
        raise UsageError(f"metrics={list(metrics)}: name at least one, each once.")
    if permutations < 0:
        raise UsageError(f"permutations={permutations} is negative; give their number, or 0 for none.")
    for name in named:
        if name not in names:
            raise UsageError(f"No run is named {name!r}.{did_you_mean(name, names)}")
    for model in published.values():
        published_disparity(model)
    for run in runs:
        found = run_identity(run).dataset.fingerprint
        if found is not None and found != dataset.fingerprint:
            raise InputDataError(
                f"{run.name}: this run answered the data set {str(found)[:12]}, and the audit is of {dataset.fingerprint[:12]} "
                f"({dataset.path or 'not on disk'}). Runs on different data sets have no pairs in common: audit each on its own."
            )
