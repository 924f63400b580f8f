"""Rows on levels of attributes: gaps with what explains them, and cells against what their levels explain."""

from __future__ import annotations

import numpy as np

from valuestrata.auditing.contrasts import judged
from valuestrata.auditing.difficulty import adjust_gaps
from valuestrata.auditing.errs import row_means
from valuestrata.auditing.gaps import common_pairs, expected_alike, remains
from valuestrata.auditing.rows import Row, adjusted_holm, better_sign, nulls, place, with_nan
from valuestrata.auditing.setting import MODEL_DRAWS, Scored, Setting, scored
from valuestrata.scores.aggregate import RANGES
from valuestrata.scores.intervals import Interval
from valuestrata.scores.layout import Values
from valuestrata.scores.multiple import benjamini_hochberg
from valuestrata.scores.pairs import Floats


def gap_rows(setting: Setting, found: Scored, metric: str, baseline: tuple[str, Scored | Values] | None) -> list[Row]:
    """Return every pair of levels, raw, beside the baseline and adjusted for difficulty."""
    pairs = setting.pairs
    if not pairs.names:
        return []
    low, high = RANGES.get(metric, (0.0, 1.0))
    width = high - low
    sign = better_sign(metric)
    ends = judged(found.gaps, setting.confidence, -width, width)
    other = None if baseline is None else baseline[1]
    beside, theirs = _beside(setting, found, scored(setting, other) if isinstance(other, Values) else other, width)
    number = common_pairs(pairs, found.mask)
    adjusted = _adjusted(setting, found)
    p_holm, excess_holm, difficulty_holm = (adjusted_holm(p) for p in (ends.p, beside.p, adjusted[3]))
    se = ends.se
    rows: list[Row] = []
    for k, (attribute, level, other) in enumerate(pairs.names):
        rows.append(
            {
                **place(setting),
                "attribute": attribute,
                "level": level,
                "against_level": other,
                "metric": metric,
                "gap": ends.estimate[k],
                "ci_low": ends.low[k],
                "ci_high": ends.high[k],
                "se": se[k],
                "p": ends.p[k],
                "p_holm": p_holm[k],
                "items": int(found.gaps.items[k]),
                "pairs": int(number[k]),
                "expected_alike": expected_alike(se)[k],
                "baseline": None if baseline is None else baseline[0],
                "gap_baseline": theirs[k],
                "excess": beside.estimate[k],
                "excess_low": beside.low[k],
                "excess_high": beside.high[k],
                "excess_p": beside.p[k],
                "excess_p_holm": excess_holm[k],
                "adjusted": adjusted[0][k],
                "adjusted_low": adjusted[1][k],
                "adjusted_high": adjusted[2][k],
                "adjusted_p": adjusted[3][k],
                "adjusted_p_holm": difficulty_holm[k],
                "remains": remains(
                    (level, other),
                    sign,
                    setting.alpha,
                    (float(ends.estimate[k]), p_holm[k]),
                    (float(beside.estimate[k]), excess_holm[k]),
                    (float(adjusted[0][k]), difficulty_holm[k]),
                ),
            }
        )
    return rows


def _beside(setting: Setting, found: Scored, baseline: Scored | None, width: float) -> tuple[Interval, Floats]:
    """Return the excess of every gap over the baseline's, and the baseline's gaps, on the pairs both have."""
    unknown = np.full(len(setting.pairs.names), np.nan)
    if baseline is None:
        return Interval(unknown, unknown, unknown, unknown, unknown, np.zeros(len(unknown))), unknown
    difference = found.minus(baseline)
    excess = judged(difference.gaps, setting.confidence, -2 * width, 2 * width)
    return excess, baseline.on(difference.mask).gaps.estimate


def _adjusted(setting: Setting, found: Scored) -> tuple[Floats, Floats, Floats, Floats]:
    """Return adjusted gaps, ends of their intervals and p, each of shape (K,); NaN where the model can't be fitted."""
    count = len(setting.pairs.names)
    columns = np.full((4, count), np.nan)
    # The model needs two items that two subgroups share; the gaps' own rows say what is lacking.
    if setting.difficulty is None or (found.mask.sum(axis=0) >= 2).sum() < 2:
        return columns[0], columns[1], columns[2], columns[3]
    redrawn = None if found.people is None else found.people.values[:MODEL_DRAWS]
    fitted = adjust_gaps(
        found.values.gold, setting.difficulty, setting.labels, setting.stratum, redrawn=redrawn, confidence=setting.confidence
    )
    by_name = {(gap.attribute, gap.level, gap.against): gap for gap in fitted.gaps}
    for k, (attribute, level, other) in enumerate(setting.pairs.names):
        gap = by_name[attribute, level, other]
        columns[:, k] = (gap.adjusted, gap.low, gap.high, gap.p)
    return columns[0], columns[1], columns[2], columns[3]


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
