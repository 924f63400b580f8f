"""Rows on levels of attributes: gaps with what explains them, and cells against what their levels explain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from valuestrata.fairness.adjust.difficulty import nothing_known
from valuestrata.fairness.adjust.held_attributes import Sampling, adjust_gaps
from valuestrata.fairness.context import MODEL_DRAWS, Scored, Setting, scored
from valuestrata.fairness.estimate.contrasts import judged
from valuestrata.fairness.estimate.gaps import Explained, Figure, common_pairs, expected_alike
from valuestrata.fairness.estimate.national_pull import row_means
from valuestrata.fairness.tables.rows import RATES, Row, adjusted_holm, joined, nulls, place, with_nan
from valuestrata.scores.aggregate import RANGES
from valuestrata.scores.layout import Values
from valuestrata.stats.arrays import Floats
from valuestrata.stats.intervals import Interval
from valuestrata.stats.multiple_testing import benjamini_hochberg


def gap_rows(
    setting: Setting, found: Scored, metric: str, baseline: tuple[str, Scored | Values] | None, sampling: Sampling | None = None
) -> list[Row]:
    """Return every pair of levels: raw, beside the baseline, with the other attributes held and at equal difficulty.

    Args:
        setting: shared. found: the run's scores. metric: their name. baseline: name and scores of the best cheap one.
        sampling: of the Bayesian estimate at equal difficulty; None for the penalised one.
    """
    pairs = setting.pairs
    if not pairs.names:
        return []
    low, high = RANGES.get(metric, (0.0, 1.0))
    width = high - low
    ends = judged(found.gaps, setting.confidence, -width, width)
    other = None if baseline is None else baseline[1]
    beside, theirs = _beside(setting, found, scored(setting, other) if isinstance(other, Values) else other, width)
    number = common_pairs(pairs, found.mask)
    held, adjusted, note = _adjusted(setting, found, metric, sampling)
    p_holm, excess_holm = adjusted_holm(ends.p), adjusted_holm(beside.p)
    held_holm, difficulty_holm = adjusted_holm(held.p), adjusted_holm(adjusted.p)
    rows: list[Row] = []
    for k, (attribute, level, against) in enumerate(pairs.names):
        explained = Explained(
            gap=Figure(float(ends.estimate[k]), ends.low[k], ends.high[k], p_holm[k]),
            excess=Figure(float(beside.estimate[k]), beside.low[k], beside.high[k], excess_holm[k]),
            adjusted=Figure(adjusted.gap[k], adjusted.low[k], adjusted.high[k], difficulty_holm[k]),
            held=Figure(held.gap[k], held.low[k], held.high[k], held_holm[k]),
        )
        items = int(found.gaps.items[k])
        rows.append(
            {
                **place(setting),
                "attribute": attribute,
                "level": level,
                "against_level": against,
                "metric": metric,
                "gap": ends.estimate[k],
                "ci_low": ends.low[k],
                "ci_high": ends.high[k],
                "se": ends.se[k],
                "p": ends.p[k],
                "p_holm": p_holm[k],
                "items": items,
                "pairs": int(number[k]),
                "expected_alike": expected_alike(ends.se)[k],
                "baseline": None if baseline is None else baseline[0],
                "gap_baseline": theirs[k],
                "excess": beside.estimate[k],
                "excess_low": beside.low[k],
                "excess_high": beside.high[k],
                "excess_p": beside.p[k],
                "excess_p_holm": excess_holm[k],
                "held": held.gap[k],
                "held_low": held.low[k],
                "held_high": held.high[k],
                "held_p": held.p[k],
                "held_p_holm": held_holm[k],
                "adjusted": adjusted.gap[k],
                "adjusted_low": adjusted.low[k],
                "adjusted_high": adjusted.high[k],
                "adjusted_p": adjusted.p[k],
                "adjusted_p_holm": difficulty_holm[k],
                "remains": explained.remains(setting.alpha),
                "note": joined(_lacking(items, float(ends.p[k])), note),
            }
        )
    return rows


def _lacking(items: int, p: float) -> str | None:
    return "no common items" if items == 0 else "no interval" if np.isnan(p) else None


def _beside(setting: Setting, found: Scored, baseline: Scored | None, width: float) -> tuple[Interval, Floats]:
    """Return the excess of every gap over the baseline's, and the baseline's gaps, on the pairs both have."""
    unknown = np.full(len(setting.pairs.names), np.nan)
    if baseline is None:
        return Interval(unknown, unknown, unknown, unknown, unknown, np.zeros(len(unknown))), unknown
    difference = found.minus(baseline)
    excess = judged(difference.gaps, setting.confidence, -2 * width, 2 * width)
    return excess, baseline.on(difference.mask).gaps.estimate


@dataclass(frozen=True)
class _Levels:
    """Gaps by the model of `adjusting`, ends of their intervals and p, each of shape (K,); NaN where not known."""

    gap: Floats
    low: Floats
    high: Floats
    p: Floats


def _adjusted(setting: Setting, found: Scored, metric: str, sampling: Sampling | None) -> tuple[_Levels, _Levels, str | None]:
    """Return gaps with the other attributes held, those at equal difficulty, and what a reader of them must know.

    Rates of missing answers are not adjusted for difficulty: nobody is refused because a label is uncertain.
    """
    number = len(setting.pairs.names)
    unknown = _Levels(*np.full((4, number), np.nan))
    # The model needs two items that two subgroups share; the gaps' own rows say what is lacking.
    if (found.mask.sum(axis=0) >= 2).sum() < 2:
        return unknown, unknown, "fewer than two items that two subgroups share: nothing is adjusted"
    difficulty = None if metric in RATES else setting.difficulty
    redrawn = None if found.people is None else found.people.values[:MODEL_DRAWS]
    estimate = adjust_gaps
    if sampling is not None and difficulty is not None:
        from valuestrata.fairness.adjust.bayes import fit_bayes

        estimate = partial(fit_bayes, sampling=sampling)
    fitted = estimate(
        found.values.gold,
        nothing_known(found.mask.shape) if difficulty is None else difficulty,
        setting.labels,
        setting.stratum,
        redrawn=redrawn,
        confidence=setting.confidence,
    )
    by_name = {(gap.attribute, gap.level, gap.against): gap for gap in fitted.gaps}
    gaps = [by_name[name] for name in setting.pairs.names]
    held = _Levels(*np.array([(gap.held, gap.held_low, gap.held_high, gap.held_p) for gap in gaps]).T)
    note = " ".join(fitted.notes) or None
    if difficulty is None:
        why = None if metric in RATES else "the nation's answers are not known: not adjusted for difficulty"
        return held, unknown, joined(why, note)
    return held, _Levels(*np.array([(gap.adjusted, gap.low, gap.high, gap.p) for gap in gaps]).T), note


def excess_rows(setting: Setting, found: Scored, metric: str) -> list[Row]:
    """Return the cells of all strata of two attributes or more against what their levels explain."""
    cells = np.flatnonzero((setting.levels >= 0).sum(axis=1) > 1)
    if len(cells) == 0:
        return []
    low, high = RANGES.get(metric, (0.0, 1.0))
    ends = judged(found.excess, setting.confidence, 2 * (low - high), 2 * (high - low))
    there = found.setting.weights("excess", found.mask).counts > 0
    value = row_means(np.where(there, found.values.gold, np.nan))
    p = ends.p[cells]
    p_holm, p_bh = adjusted_holm(p), with_nan(benjamini_hochberg(nulls(p)))
    rows: list[Row] = []
    for k, g in enumerate(cells.tolist()):
        alone = np.isnan(ends.estimate[g])
        rows.append(
            {
                **place(setting),
                "stratum": setting.stratum[g],
                "subgroup": setting.layout.subgroups[g],
                "metric": metric,
                "value": value[g],
                "explained": value[g] - ends.estimate[g],
                "excess": ends.estimate[g],
                "ci_low": ends.low[g],
                "ci_high": ends.high[g],
                "p": p[k],
                "p_holm": p_holm[k],
                "p_bh": p_bh[k],
                "items": int(found.excess.items[g]),
                "note": "too few other cells of its levels: nothing says what to expect" if alone else None,
            }
        )
    return rows
