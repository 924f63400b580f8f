"""Rows on a run against another: scores of everyone, levels and subgroups, then the spreads of every population."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from valuestrata.fairness.context import Population, Scored, Setting
from valuestrata.fairness.estimate.changes import ABSOLUTE, RELATIVE, directions_differ, levelled_down, outcome, pareto, spread_changes
from valuestrata.fairness.estimate.contrasts import judged
from valuestrata.fairness.estimate.null_spread import Exchanged, nulls_of
from valuestrata.fairness.tables.rows import Row, adjusted_holm, better_sign, joined, place
from valuestrata.scores.aggregate import RANGES
from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.bootstrap import Replicates
from valuestrata.stats.intervals import Interval, interval

SPREADS_IN_ROWS = ("sd", "max_min", "norm_range", "cv", "theil", "gini", "variance_corrected")


def change_rows(
    setting: Setting, before: Scored, after: Scored, difference: Scored, metric: str, about: str | None, exchanged: Sequence[Exchanged]
) -> list[Row]:
    """Return every change of one metric.

    Args:
        setting: shared. before, after: of the two runs on their common pairs. difference: after - before, pair by pair.
        metric: its name. about: what a reader must know of the runs. exchanged: permutations before and after, on the common pairs.
    """
    low, high = RANGES.get(metric, (0.0, 1.0))
    sign = better_sign(metric)
    groups = len(setting.stratum)
    everyone = judged(difference.everyone, setting.confidence, low - high, high - low)
    ends = judged(difference.units, setting.confidence, low - high, high - low)
    rows = [_score_row(setting, "all", "all", metric, _totals(before, after, groups), everyone, 0, float(everyone.p[0]), about, sign)]
    p_holm = np.concatenate([adjusted_holm(ends.p[groups:]), adjusted_holm(ends.p[:groups])])
    order = [*range(groups, len(ends.p)), *range(groups)]
    names = [("level", f"{attribute}={level}") for attribute, level in setting.level_names]
    names += [("subgroup", subgroup) for subgroup in setting.layout.subgroups]
    shown: dict[int, str | None] = {}
    for (by, key), k, adjusted in zip(names, order, p_holm, strict=True):
        pair = (float(before.units.estimate[k]), float(after.units.estimate[k]))
        row = _score_row(setting, by, key, metric, pair, ends, k, float(adjusted), about, sign)
        shown[k] = row["outcome"]
        rows.append(row)
    for population in setting.populations:
        outcomes = [shown[int(k)] for k in population.units]
        rows += _spread_rows(setting, population, before, after, outcomes, metric, about, sign, exchanged)
    return rows


def _totals(before: Scored, after: Scored, groups: int) -> tuple[float, float]:
    found: list[float] = []
    for one in (before, after):
        pairs = one.pairs[:groups]
        total = float((np.nan_to_num(one.units.estimate[:groups]) * pairs).sum())
        found.append(total / float(pairs.sum()) if pairs.sum() else np.nan)
    return found[0], found[1]


def _score_row(
    setting: Setting,
    by: str,
    key: str,
    metric: str,
    values: tuple[float, float],
    ends: Interval,
    k: int,
    p_holm: float,
    about: str | None,
    sign: int,
) -> Row:
    change = float(ends.estimate[k])
    return {
        **place(setting),
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
        "outcome": outcome(change, p_holm, sign, setting.alpha),
        "subgroups": None,
        "pairs": int(ends.pairs[k]),
        "note": joined("no common pair" if ends.pairs[k] == 0 else None, about),
    }


def _spread_rows(
    setting: Setting,
    population: Population,
    before: Scored,
    after: Scored,
    shown: list[str | None],
    metric: str,
    about: str | None,
    sign: int,
    exchanged: Sequence[Exchanged],
) -> list[Row]:
    units = population.units
    old, new = before.units.replicates, after.units.replicates
    corrected = (before.corrected(units), after.corrected(units))
    changes = spread_changes(_kept(old, units), _kept(new, units), (corrected[0].value, corrected[1].value))
    nulls = [
        nulls_of(setting, one, population, variance, drawn)
        for one, variance, drawn in zip((before, after), corrected, exchanged, strict=True)
    ]
    differ = directions_differ(changes)
    known = int((~np.isnan(old.estimate[units])).sum())
    groups = len(setting.stratum)
    pairs = int(before.pairs[units].sum() if population.by == "all" else before.pairs[:groups][setting.units[units].any(axis=0)].sum())
    scores = before.units.estimate[units]
    rows: list[Row] = []
    for measure in SPREADS_IN_ROWS:
        change = changes[measure]
        ends = interval(change.replicates, setting.confidence, -np.inf, np.inf)
        reason = "fewer than two subgroups" if known < 2 else corrected[0].reason if measure == "variance_corrected" else None
        if reason is None and np.isnan(change.after - change.before):
            reason = f"undefined: {metric} is 0 for all of them in one of the runs"
        rows.append(
            {
                **place(setting),
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
                "alike_before": nulls[0].wider(measure).mean,
                "alike_after": nulls[1].wider(measure).mean,
                "outcome": outcome(float(ends.estimate[0]), float(ends.p[0]), -1, setting.alpha, ("narrower", "wider")),
                "levelling_down": _levelled(measure, scores, after.units.estimate[units] - scores, shown, sign),
                "pareto": pareto(shown, _what(population)) if measure == "max_min" else None,
                "subgroups": known,
                "pairs": pairs,
                "note": joined(reason, differ if measure in (*ABSOLUTE, *RELATIVE) else None, population.note, about),
            }
        )
    return rows


def _levelled(measure: str, before: Floats, change: Floats, shown: list[str | None], sign: int) -> bool | None:
    return levelled_down(before, change, shown, sign) if measure == "max_min" else None


def _what(population: Population) -> str:
    return "subgroups" if population.by == "all" else f"levels of {population.key}"


def _kept(replicates: Replicates, units: Indices) -> Replicates:
    freedom = None if replicates.freedom is None else replicates.freedom[units]
    return Replicates(replicates.estimate[units], replicates.values[:, units], replicates.pairs[units], replicates.known[units], freedom)
