"""Rows of GAPS and EXCESS: gaps between levels with what explains them, and intersections against their levels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from valuestrata.fairness.adjust.difficulty import nothing_known
from valuestrata.fairness.adjust.held_attributes import Sampling, adjust_gaps
from valuestrata.fairness.estimate.contrasts import interval_and_p
from valuestrata.fairness.estimate.gaps import ExplainedGap, GapEstimate, common_pairs, expected_alike
from valuestrata.fairness.estimate.national_pull import row_means
from valuestrata.fairness.scores import MetricScores, WeightsOf, score_metric, subtract
from valuestrata.fairness.tables.rows import RATES, Row, adjusted_holm, joined, nulls, part_columns, with_nan
from valuestrata.scores.aggregate import RANGES
from valuestrata.stats.arrays import Floats
from valuestrata.stats.intervals import Interval
from valuestrata.stats.multiple_testing import benjamini_hochberg


@dataclass(frozen=True)
class BaselineScores:
    """Name and scores of the best cheap baseline."""

    name: str
    scores: MetricScores


def gap_rows(
    found: MetricScores,
    metric: str,
    baseline: BaselineScores | None,
    sampling: Sampling | None = None,
    weights: WeightsOf | None = None,
) -> list[Row]:
    """Return rows of GAPS: every pair of levels, raw, minus the baseline's gap, with attributes held and at equal difficulty.

    Args:
        found: scores of the run. metric: their name. baseline: best cheap one, None without one.
        sampling: of the Bayesian estimate at equal difficulty; None for the penalised one. weights: as for `score_metric`.
    """
    context = found.context
    pairs = context.pairs
    if not pairs.names:
        return []
    low, high = RANGES.get(metric, (0.0, 1.0))
    width = high - low
    ends = interval_and_p(found.gaps, context.confidence, -width, width)
    excess, theirs = _less_baseline(found, None if baseline is None else baseline.scores, width, weights)
    number = common_pairs(pairs, found.mask)
    held, adjusted, note = _adjusted(found, metric, sampling)
    explanations = {"excess": excess, "held": held, "adjusted": adjusted}
    p_holm, holm_of = adjusted_holm(ends.p), {name: adjusted_holm(one.p) for name, one in explanations.items()}
    rows: list[Row] = []
    for k, (attribute, level, against) in enumerate(pairs.names):
        estimates = {name: _estimate(one, holm_of[name], k) for name, one in explanations.items()}
        explained = ExplainedGap(gap=_estimate(ends, p_holm, k), **estimates)
        items = int(found.gaps.items[k])
        rows.append(
            {
                **part_columns(context),
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
                "baseline": None if baseline is None else baseline.name,
                "gap_baseline": theirs[k],
                **{name: one.value for name, one in estimates.items()},
                **{f"{name}_low": one.low for name, one in estimates.items()},
                **{f"{name}_high": one.high for name, one in estimates.items()},
                **{f"{name}_p": one.p[k] for name, one in explanations.items()},
                **{f"{name}_p_holm": one.p for name, one in estimates.items()},
                "remains": explained.remains(context.alpha),
                "note": joined(_lacking(items, float(ends.p[k])), note),
            }
        )
    return rows


def _estimate(found: Interval | _AdjustedGaps, p_holm: Floats, k: int) -> GapEstimate:
    return GapEstimate(float(found.estimate[k]), found.low[k], found.high[k], p_holm[k])


def _lacking(items: int, p: float) -> str | None:
    return "no common items" if items == 0 else "no interval" if np.isnan(p) else None


def _less_baseline(found: MetricScores, baseline: MetricScores | None, width: float, weights: WeightsOf | None) -> tuple[Interval, Floats]:
    """Return every gap minus the baseline's, and the baseline's gaps, on the pairs that both have."""
    unknown = np.full(len(found.context.pairs.names), np.nan)
    if baseline is None:
        return Interval(unknown, unknown, unknown, unknown, unknown, np.zeros(len(unknown)), unknown), unknown
    difference = subtract(found, baseline, ("gaps",), weights)
    excess = interval_and_p(difference.gaps, found.context.confidence, -2 * width, 2 * width)
    if not bool(difference.mask[baseline.mask].all()):
        baseline = score_metric(found.context, baseline.values.on(difference.mask), families=("gaps",), weights=weights)
    return excess, baseline.gaps.estimate


@dataclass(frozen=True)
class _AdjustedGaps:
    """Gaps by the model of `held_attributes`, interval ends and p-values, each of shape (K,); NaN where unknown."""

    estimate: Floats
    low: Floats
    high: Floats
    p: Floats


def _adjusted(found: MetricScores, metric: str, sampling: Sampling | None) -> tuple[_AdjustedGaps, _AdjustedGaps, str | None]:
    """Return gaps with the other attributes held, gaps at equal difficulty, and a note.

    Rates of missing answers are not adjusted for difficulty: an uncertain label does not cause a refusal.
    """
    context = found.context
    number = len(context.pairs.names)
    unknown = _AdjustedGaps(*np.full((4, number), np.nan))
    # The model needs two items that two subgroups share.
    if (found.mask.sum(axis=0) >= 2).sum() < 2:
        return unknown, unknown, "fewer than two items that two subgroups share: gaps are not adjusted"
    difficulty = None if metric in RATES else context.difficulty
    estimate = adjust_gaps
    if sampling is not None and difficulty is not None:
        from valuestrata.fairness.adjust.bayes import fit_bayes

        estimate = partial(fit_bayes, sampling=sampling)
    fitted = estimate(
        found.values.gold,
        nothing_known(found.mask.shape) if difficulty is None else difficulty,
        context.labels,
        context.stratum,
        redrawn=found.model_draws,
        blocks=context.blocks,
        confidence=context.confidence,
    )
    by_name = {(gap.attribute, gap.level, gap.against): gap for gap in fitted.gaps}
    gaps = [by_name[name] for name in context.pairs.names]
    held = _AdjustedGaps(*np.array([(gap.held, gap.held_low, gap.held_high, gap.held_p) for gap in gaps]).T)
    note = " ".join(fitted.notes) or None
    if difficulty is None:
        why = None if metric in RATES else "the national answers are unknown: not adjusted for difficulty"
        return held, unknown, joined(why, note)
    return held, _AdjustedGaps(*np.array([(gap.adjusted, gap.low, gap.high, gap.p) for gap in gaps]).T), note


def excess_rows(found: MetricScores, metric: str) -> list[Row]:
    """Return rows of EXCESS: cells of strata of two or more attributes, minus what their levels explain."""
    context = found.context
    cells = np.flatnonzero((context.levels >= 0).sum(axis=1) > 1)
    if len(cells) == 0:
        return []
    low, high = RANGES.get(metric, (0.0, 1.0))
    ends = interval_and_p(found.excess, context.confidence, 2 * (low - high), 2 * (high - low))
    assert found.excess_mask is not None
    value = row_means(np.where(found.excess_mask, found.values.gold, np.nan))
    p = ends.p[cells]
    p_holm, p_bh = adjusted_holm(p), with_nan(benjamini_hochberg(nulls(p)))
    rows: list[Row] = []
    for k, g in enumerate(cells.tolist()):
        alone = np.isnan(ends.estimate[g])
        rows.append(
            {
                **part_columns(context),
                "stratum": context.stratum[g],
                "subgroup": context.layout.subgroups[g],
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
                "note": "too few other cells of its levels to compute an expected value" if alone else None,
            }
        )
    return rows
