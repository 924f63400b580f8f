"""The audit of runs on one part of a split: every table, from one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl

from valuestrata.auditing.change_rows import change_rows
from valuestrata.auditing.contrasts import unit_grid
from valuestrata.auditing.err_rows import err_rows
from valuestrata.auditing.level_rows import excess_rows, gap_rows
from valuestrata.auditing.nulls import centre, permute
from valuestrata.auditing.published import published_disparity
from valuestrata.auditing.rows import Row, about_run, better_sign, joined, table
from valuestrata.auditing.schema import CHANGES, DISPARITY, EXCESS, GAPS, GROUPS
from valuestrata.auditing.setting import Scored, Setting, scored, setting_of
from valuestrata.auditing.subgroup_rows import disparity_rows, group_rows
from valuestrata.dataset import Dataset
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.frames import Schema
from valuestrata.progress import progress
from valuestrata.respondents.baselines import CHEAP
from valuestrata.responses.beside import check_training
from valuestrata.responses.kinds import Answered, kind_of
from valuestrata.responses.schema import RESPONSES
from valuestrata.scores.aggregate import check_call
from valuestrata.scores.layout import RunGrid, place
from valuestrata.scores.phrases import DIRECTED
from valuestrata.scores.relative import FULL_ENOUGH

METRICS = ("accuracy", "nmae")
# Beside the metrics audited: what tables say of each subgroup.
ALWAYS = ("accuracy", "bias", "refusal_rate", "invalid_rate")


@dataclass(frozen=True)
class Audit:
    """What came of an audit: frames of the schemas in `audit.schema`, of the same names."""

    disparity: pl.DataFrame
    groups: pl.DataFrame
    gaps: pl.DataFrame
    changes: pl.DataFrame
    excess: pl.DataFrame
    errs: pl.DataFrame

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return name -> frame."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def audit(
    dataset: Dataset,
    runs: Sequence[Answered],
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    against: str | None = None,
    metrics: Sequence[str] = METRICS,
    permutations: int = 2000,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    published: Mapping[str, str] | None = None,
) -> Audit:
    """Say who is served worse, how much of that is noise or difficulty, and what a change of model did to it.

    Args:
        dataset: the ground truth.
        runs: what to audit, the cheap baselines that gaps are read against among them.
        split, part, fold: which pairs, as for `score`.
        against: name of a run that every other one is compared with, pair by pair.
        metrics: any of `scores.phrases.DIRECTED`, such as accuracy, accuracy_expected, nmae, w1.
        permutations: behind the permuted null and max-T; 0 for neither.
        bootstrap: replicates behind every interval; 0 for none, and then there are no p-values of gaps and changes.
        seed: of permutations and replicates. confidence: of intervals; claims are made at the level 1 - confidence.
        published: name of a run -> the published model it stands for (`audit.published`), whose figures are to stand beside it.

    Returns:
        The tables. Rows of runs stand in their order. A run without any pair of the part has its rows, with nulls and a note.

    Raises:
        UsageError: two runs of one name, an unknown metric, split or run, or counts that cannot be meant.
        InputDataError: a run that answered another data set, no pair with gold in the part, or responses that contradict it.
    """
    check_call(runs, bootstrap, confidence)
    _check(dataset, runs, against, metrics, permutations, published or {})
    check_training(dataset, runs, split, fold)
    setting = setting_of(dataset, split, part, fold, bootstrap=bootstrap, seed=seed, confidence=confidence)
    grids = [_slim(place(setting.layout, run.name, RESPONSES.check(run.responses, run.name)), metrics) for run in runs]
    parts: dict[str, list[Row]] = {name: [] for name in ("disparity", "groups", "gaps", "changes", "excess")}
    wanted = [(run, metric) for run in range(len(runs)) for metric in metrics]
    centred = [centre(grids[run].metrics[metric].gold, setting.strata) for run, metric in wanted]
    permuted = permute(centred, setting.strata, permutations, seed)
    levels = [centre(unit_grid(setting.pairs.members, grids[run].metrics[metric].gold), setting.attribute_of) for run, metric in wanted]
    permuted_levels = permute(levels, setting.attribute_of, permutations, seed)
    baselines = {metric: _best_baseline(runs, grids, metric) for metric in metrics}
    # Runs that others are read against are worked out once.
    kept: dict[tuple[int, str], Scored] = {}
    before = next((run for run, one in enumerate(runs) if one.name == against), None)
    with progress("auditing", len(wanted)) as advance:
        for number, (run, metric) in enumerate(wanted):
            grid, name = grids[run], {"run": runs[run].name}
            found = kept.get((run, metric)) or scored(setting, grid.metrics[metric])
            for other in (baselines[metric], before):
                if other is not None:
                    kept.setdefault((other, metric), found if other == run else scored(setting, grids[other].metrics[metric]))
            about = about_run(setting, grid)
            facts = published_disparity(published[name["run"]]) if published and name["run"] in published else {}
            rows = disparity_rows(setting, found, permuted[number], permuted_levels[number], metric, about)
            known = [facts.get((metric, row["measure"])) if row["by"] == "all" else None for row in rows]
            parts["disparity"] += [{**name, **row, "published": fact} for row, fact in zip(rows, known, strict=True)]
            parts["groups"] += [{**name, **row} for row in group_rows(setting, grid, found, permuted[number], metric)]
            at = baselines[metric]
            beside = None if at is None or at == run else (runs[at].name, kept[at, metric])
            parts["gaps"] += [{**name, **row} for row in gap_rows(setting, found, metric, beside)]
            parts["excess"] += [{**name, **row} for row in excess_rows(setting, found, metric)]
            if before is not None and run != before:
                rows = _changed(setting, kept[before, metric], found, metric, about, about_run(setting, grids[before]))
                parts["changes"] += [{**name, "against": against, **row} for row in rows]
            found.forget()
            advance(1)
    schemas: Mapping[str, Schema] = {"disparity": DISPARITY, "groups": GROUPS, "gaps": GAPS, "changes": CHANGES, "excess": EXCESS}
    errs = err_rows(setting, grids)
    return Audit(errs=errs, **{name: table(schema, parts[name]) for name, schema in schemas.items()})


def _changed(setting: Setting, before: Scored, after: Scored, metric: str, about: str | None, earlier: str | None) -> list[Row]:
    """Return the rows of CHANGES of one metric, on the pairs both have a value for."""
    both = before.mask & after.mask
    old, new = before.on(both), after.on(both)
    note = joined(about, f"before: {earlier}" if earlier else None)
    return change_rows(setting, old, new, new.minus(old), metric, note)


def _best_baseline(runs: Sequence[Answered], grids: Sequence[RunGrid], metric: str) -> int | None:
    """Return the place of the best cheap baseline on the pairs that all of them have; None without one.

    Those that have a value for less than `FULL_ENOUGH` of what the fullest has are passed over.
    """
    places = [k for k, run in enumerate(runs) if kind_of(run)[0] == "baseline" and kind_of(run)[1] in CHEAP]
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


def _check(
    dataset: Dataset,
    runs: Sequence[Answered],
    against: str | None,
    metrics: Sequence[str],
    permutations: int,
    published: Mapping[str, str],
) -> None:
    """Refuse what cannot be meant, before anything is worked out."""
    names = [run.name for run in runs]
    for metric in metrics:
        if metric not in DIRECTED:
            raise UsageError(f"metrics={metric!r} cannot be audited: it must say who is served worse.{did_you_mean(metric, DIRECTED)}")
    if not metrics or len(set(metrics)) < len(metrics):
        raise UsageError(f"metrics={list(metrics)}: name at least one, each once.")
    if permutations < 0:
        raise UsageError(f"permutations={permutations} is negative; give their number, or 0 for none.")
    for name in [*([] if against is None else [against]), *published]:
        if name not in names:
            raise UsageError(f"No run is named {name!r}.{did_you_mean(name, names)}")
    for model in published.values():
        published_disparity(model)
    for run in runs:
        theirs: Mapping[str, Any] = run.meta.get("dataset") or {}
        found = theirs.get("fingerprint")
        if found is not None and found != dataset.fingerprint:
            raise InputDataError(
                f"{run.name}: this run answered the data set {str(found)[:12]}, and the audit is of {dataset.fingerprint[:12]} "
                f"({dataset.path or 'not on disk'}). Runs on different data sets have no pairs in common: audit each on its own."
            )
