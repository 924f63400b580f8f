"""Rows of DISPARITY and GROUPS: spread between subgroups, and subgroups that are served worse."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from valuestrata.fairness.context import AuditContext, AuditPopulation
from valuestrata.fairness.estimate.disparity import PLUG_IN, CorrectedVariance, corrected_interval, measures, tail, why_null
from valuestrata.fairness.estimate.groups import FEW_BLOCKS, FEW_PAIRS, shrunken, worst
from valuestrata.fairness.estimate.national_pull import pull, row_means
from valuestrata.fairness.estimate.nulls import PermutedSums
from valuestrata.fairness.scores import MetricScores
from valuestrata.fairness.tables.rows import RATES, Row, better_sign, joined, part_columns
from valuestrata.fairness.tables.schema import MEASURES
from valuestrata.scores.aggregate import RANGES
from valuestrata.scores.layout import RunGrid
from valuestrata.stats.arrays import Floats
from valuestrata.stats.blocks import effective_blocks, is_single
from valuestrata.stats.intervals import interval

# Columns of GROUPS that are means of a covariate of `difficulty`.
COVARIATES = {"modal_share": "mode_share", "entropy": "entropy", "distance": "distance"}


def disparity_rows(scores: MetricScores, metric: str, note: str | None) -> list[Row]:
    """Return rows of DISPARITY: every measure of every population with its null distribution. `note` is about the run."""
    context = scores.context
    single = is_single(context.blocks)
    rows: list[Row] = []
    for spread in scores.spreads:
        population, corrected, nulls = spread.population, spread.corrected, spread.nulls
        members, of_units = context.units[population.units], scores.units.estimate[population.units]
        ends = _intervals(scores, population, corrected)
        values = {name: float(value) for name, value in measures(of_units).items()} | {
            "variance_corrected": corrected.value,
            "spread_corrected": float(np.sqrt(max(corrected.value, 0.0))),
        }
        known = ~np.isnan(of_units)
        few = _few_permutations(spread.distinct, context.alpha) if corrected.reason is None else None
        mask = ~np.isnan(scores.values.gold[members.any(axis=0)])
        for measure in MEASURES:
            null = nulls.wider(measure)
            permuted, redrawn = nulls.means(measure)
            # The root has the p-value of the variance.
            tested = "variance_corrected" if measure == "spread_corrected" else measure
            reason = corrected.reason if measure.endswith("_corrected") else why_null(of_units, metric)
            rows.append(
                {
                    **part_columns(context),
                    "by": population.by,
                    "key": population.key,
                    "population": population.words,
                    "metric": metric,
                    "measure": measure,
                    "value": values[measure],
                    "ci_low": ends[measure][0],
                    "ci_high": ends[measure][1],
                    "alike_permuted": permuted,
                    "alike_redrawn": redrawn,
                    "alike": null.mean,
                    "alike_high": null.high,
                    "p": tail(nulls.wider(tested).values, values[tested]),
                    "subgroups": int(known.sum()),
                    "items": int(mask.any(axis=0).sum()),
                    "blocks": None
                    if single
                    else float(effective_blocks(np.asarray(mask.any(axis=0), dtype=np.float64)[None], context.blocks)[0]),
                    "pairs": int(mask.sum()),
                    "note": joined(reason, few, population.note, note),
                }
            )
    return rows


def _few_permutations(distinct: float, alpha: float) -> str | None:
    """Return a note where too few permutations exist for any claim, else None."""
    if distinct * alpha >= 1:
        return None
    if distinct < 1.5:
        return "only one permutation: all pairs are in one block of items, so nothing can be claimed"
    return f"only {distinct:.0f} permutations differ: p cannot be below {1 / distinct:.2f}, so nothing can be claimed"


def _intervals(found: MetricScores, population: AuditPopulation, corrected: CorrectedVariance) -> dict[str, tuple[float, float]]:
    """Return the interval of every measure: percentiles of centred replicates, or the inverted F of the corrected ones."""
    unknown = (np.nan, np.nan)
    ends: dict[str, tuple[float, float]] = dict.fromkeys(MEASURES, unknown)
    replicates = found.units.replicates
    if len(replicates.values) == 0 or found.units.items[population.units].max(initial=0.0) < 2:
        return ends
    values, drawn = measures(replicates.estimate[population.units]), measures(replicates.values[:, population.units])
    shares = ((1 - found.context.confidence) / 2, (1 + found.context.confidence) / 2)
    for name in PLUG_IN:
        known = drawn[name][np.isfinite(drawn[name])]
        if len(known) and np.isfinite(values[name]):
            low, high = np.quantile(known - known.mean() + values[name], shares)
            ends[name] = (max(float(low), 0.0), float(high) if name in ("cv", "theil") else min(float(high), 1.0))
    extra = found.residuals.extra if population.by == "all" else found.units.extra[population.units]
    low, high = corrected_interval(corrected, found.context.confidence, float(np.mean(extra)))
    if high <= 0:
        # The spread is in the lower tail of what noise gives, so the inverted F is empty. That does not show equality.
        return ends
    return ends | {"variance_corrected": (low, high), "spread_corrected": (float(np.sqrt(low)), float(np.sqrt(high)))}


def group_rows(scores: MetricScores, run: RunGrid, metric: str) -> list[Row]:
    """Return rows of GROUPS: every subgroup against the rest of its stratum; `scores` must hold permutations."""
    context, permuted = scores.context, scores.permuted
    assert permuted is not None, "subgroups are tested by permutations"
    groups = len(context.stratum)
    bounds = RANGES.get(metric, (0.0, 1.0))
    ends = interval(scores.units.replicates, context.confidence, *bounds)
    base, estimate = scores.centred.base, ends.estimate[:groups]
    test = worst(scores.centred, scores.residuals, permuted.cells, -better_sign(metric))
    drawn = shrunken(estimate, base, scores.residuals.variance, context.strata)
    low, high = _range_if_alike(scores, permuted.cells)
    toward, expected = pull(context.layout, run, context.nation)
    difficulty = _difficulty(context, scores.mask)
    means = {name: row_means(run.metrics[name].gold) for name in ("bias", *RATES)}
    effective = effective_blocks(scores.mask.astype(np.float64), context.blocks)
    rows: list[Row] = []
    for g, subgroup in enumerate(context.layout.subgroups):
        reason = "no other subgroup of its stratum has its items" if np.isnan(test.rest[g]) else None
        if reason is None and scores.pairs[g] < FEW_PAIRS:
            reason = f"under {FEW_PAIRS} pairs: not tested"
        elif reason is None and effective[g] < FEW_BLOCKS:
            reason = f"pairs in {effective[g]:.1f} effective blocks of items, under {FEW_BLOCKS}: not tested"
        if np.isnan(estimate[g]):
            reason = "no pair scored"
        rows.append(
            {
                **part_columns(context),
                "stratum": context.stratum[g],
                "subgroup": subgroup,
                "metric": metric,
                "value": estimate[g],
                "ci_low": ends.low[g],
                "ci_high": ends.high[g],
                "rest": test.rest[g],
                "shrunken": drawn[g],
                "alike_low": np.clip(low[g], *bounds),
                "alike_high": np.clip(high[g], *bounds),
                "p_worst": test.p[g],
                "worst": None if np.isnan(test.p[g]) else bool(test.p[g] <= context.alpha),
                "n": int(context.respondents[0, g]),
                "n_eff": context.respondents[1, g],
                "pairs": int(scores.pairs[g]),
                "pull": toward[g],
                "pull_expected": expected[g],
                **{name: values[g] for name, values in {**means, **difficulty}.items()},
                "note": reason,
            }
        )
    return rows


def _range_if_alike(scores: MetricScores, permuted: PermutedSums) -> tuple[Floats, Floats]:
    """Return the central range of each subgroup's score if all were served alike, under the null with more variance."""
    base, pairs, confidence = scores.centred.base, np.maximum(scores.centred.pairs, 1.0), scores.context.confidence
    nulls = [sums / pairs for sums in (permuted.sums, scores.redrawn) if len(sums)]
    if not nulls:
        return np.full(len(base), np.nan), np.full(len(base), np.nan)
    ends = np.stack([np.quantile(null, ((1 - confidence) / 2, (1 + confidence) / 2), axis=0) for null in nulls])
    chosen = np.argmax([null.var(axis=0) for null in nulls], axis=0)
    low, high = ends[chosen, :, np.arange(len(base))].T
    return base + low, base + high


def _difficulty(context: AuditContext, mask: NDArray[np.bool_]) -> Mapping[str, Floats]:
    if context.difficulty is None:
        return {column: np.full(len(context.stratum), np.nan) for column in COVARIATES.values()}
    means = context.difficulty.means(mask)
    return {column: means[list(context.difficulty.names).index(name)] for name, column in COVARIATES.items()}
