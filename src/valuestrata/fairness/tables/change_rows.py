"""Rows of CHANGES: a run against another, scores of everyone, levels and subgroups, and spreads of every population."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from valuestrata.fairness.context import AuditContext
from valuestrata.fairness.estimate.changes import (
    ABSOLUTE,
    RELATIVE,
    directions_differ,
    levelled_down,
    limits,
    outcome,
    pareto,
    spread_changes,
)
from valuestrata.fairness.estimate.contrasts import interval_and_p
from valuestrata.fairness.scores import MetricScores, PopulationSpread
from valuestrata.fairness.tables.rows import Row, adjusted_holm, better_sign, joined, part_columns
from valuestrata.scores.aggregate import RANGES
from valuestrata.stats.arrays import Indices
from valuestrata.stats.bootstrap import Replicates
from valuestrata.stats.intervals import Interval, interval, margin_test

SPREADS_IN_ROWS = ("sd", "max_min", "norm_range", "cv", "theil", "gini", "variance_corrected")


def change_rows(before: MetricScores, after: MetricScores, difference: MetricScores, metric: str, note: str | None) -> list[Row]:
    """Return every change of one metric.

    Args:
        before, after: scores of the two runs on their common pairs, with permutations. difference: after - before, pair by pair.
        metric: its name. note: about the runs.
    """
    context = before.context
    low, high = RANGES.get(metric, (0.0, 1.0))
    sign = better_sign(metric)
    groups = len(context.stratum)
    everyone = interval_and_p(difference.everyone, context.confidence, low - high, high - low)
    ends = interval_and_p(difference.units, context.confidence, low - high, high - low)
    rows = [_score_row(context, "all", "all", metric, _totals(before, after, groups), everyone, 0, float(everyone.p[0]), note, sign)]
    p_holm = np.concatenate([adjusted_holm(ends.p[groups:]), adjusted_holm(ends.p[:groups])])
    order = [*range(groups, len(ends.p)), *range(groups)]
    names = [("level", f"{attribute}={level}") for attribute, level in context.level_names]
    names += [("subgroup", subgroup) for subgroup in context.layout.subgroups]
    shown: dict[int, tuple[str | None, str | None]] = {}
    for (by, key), k, adjusted in zip(names, order, p_holm, strict=True):
        pair = (float(before.units.estimate[k]), float(after.units.estimate[k]))
        row = _score_row(context, by, key, metric, pair, ends, k, float(adjusted), note, sign)
        shown[k] = (row["outcome"], row["limits"])
        rows.append(row)
    for old, new in zip(before.spreads, after.spreads, strict=True):
        outcomes = list(zip(*(shown[int(k)] for k in old.population.units), strict=True)) or [(), ()]
        rows += _spread_rows(before, after, old, new, outcomes, metric, note, sign)
    return rows


def _totals(before: MetricScores, after: MetricScores, groups: int) -> tuple[float, float]:
    found: list[float] = []
    for one in (before, after):
        pairs = one.pairs[:groups]
        total = float((np.nan_to_num(one.units.estimate[:groups]) * pairs).sum())
        found.append(total / float(pairs.sum()) if pairs.sum() else np.nan)
    return found[0], found[1]


def _score_row(
    context: AuditContext,
    by: str,
    key: str,
    metric: str,
    values: tuple[float, float],
    ends: Interval,
    k: int,
    p_holm: float,
    note: str | None,
    sign: int,
) -> Row:
    change = float(ends.estimate[k])
    return {
        **part_columns(context),
        "by": by,
        "key": key,
        "metric": metric,
        "measure": "score",
        "before": values[0],
        "after": values[1],
        "change": change,
        "ci_low": ends.low[k],
        "ci_high": ends.high[k],
        "p": ends.p[k],
        "p_holm": p_holm,
        "outcome": outcome(change, p_holm, sign, context.alpha),
        "limits": None if np.isnan(p_holm) else _limits(context, ends, k, metric, sign),
        "subgroups": None,
        "pairs": int(ends.pairs[k]),
        "note": joined("no common pair" if ends.pairs[k] == 0 else None, note),
    }


def _limits(context: AuditContext, ends: Interval, k: int, metric: str, sign: int) -> str | None:
    margin, pairs = context.margin(metric), int(ends.pairs[k])
    test = margin_test(float(ends.estimate[k]), float(ends.low[k]), float(ends.high[k]), context.confidence, margin, pairs)
    return limits(test, sign, context.alpha)


def _spread_rows(
    before: MetricScores,
    after: MetricScores,
    spread_before: PopulationSpread,
    spread_after: PopulationSpread,
    shown: Sequence[Sequence[str | None]],
    metric: str,
    note: str | None,
    sign: int,
) -> list[Row]:
    context, population = before.context, spread_before.population
    units = population.units
    old, new = before.units.replicates, after.units.replicates
    changes = spread_changes(_select(old, units), _select(new, units), (spread_before.corrected.value, spread_after.corrected.value))
    differ = directions_differ(changes)
    known = int((~np.isnan(old.estimate[units])).sum())
    groups = len(context.stratum)
    pairs = int(before.pairs[units].sum() if population.by == "all" else before.pairs[:groups][context.units[units].any(axis=0)].sum())
    scores = before.units.estimate[units]
    levelled = levelled_down(scores, after.units.estimate[units] - scores, shown[0], sign)
    what = "subgroups" if population.by == "all" else f"levels of {population.key}"
    rows: list[Row] = []
    for measure in SPREADS_IN_ROWS:
        change = changes[measure]
        ends = interval(change.replicates, context.confidence, -np.inf, np.inf)
        reason = "fewer than two subgroups" if known < 2 else spread_before.corrected.reason if measure == "variance_corrected" else None
        if reason is None and np.isnan(change.after - change.before):
            reason = f"undefined: {metric} is 0 for all of them in one of the runs"
        rows.append(
            {
                **part_columns(context),
                "by": population.by,
                "key": population.key,
                "metric": metric,
                "measure": measure,
                "before": change.before,
                "after": change.after,
                "change": change.after - change.before,
                "ci_low": ends.low[0],
                "ci_high": ends.high[0],
                "p": ends.p[0],
                "p_holm": np.nan,
                "alike_before": spread_before.nulls.wider(measure).mean,
                "alike_after": spread_after.nulls.wider(measure).mean,
                "outcome": outcome(float(ends.estimate[0]), float(ends.p[0]), -1, context.alpha, ("narrower", "wider")),
                "levelling_down": levelled if measure == "max_min" else None,
                "pareto": pareto(shown[0], shown[1], what) if measure == "max_min" else None,
                "subgroups": known,
                "pairs": pairs,
                "note": joined(reason, differ if measure in (*ABSOLUTE, *RELATIVE) else None, population.note, note),
            }
        )
    return rows


def _select(replicates: Replicates, units: Indices) -> Replicates:
    freedom, blocks = (None if each is None else each[units] for each in (replicates.freedom, replicates.blocks))
    return Replicates(
        replicates.estimate[units], replicates.values[:, units], replicates.pairs[units], replicates.known[units], freedom, blocks
    )
