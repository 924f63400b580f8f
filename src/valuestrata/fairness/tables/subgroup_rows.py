"""Rows on subgroups: how far apart they are, and who is served worse."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from valuestrata.fairness.context import Population, Scored, Setting
from valuestrata.fairness.estimate.disparity import PLUG_IN, Corrected, corrected_interval, measures, tail, why_null
from valuestrata.fairness.estimate.groups import FEW_PAIRS, shrunken, worst
from valuestrata.fairness.estimate.national_pull import pull, row_means
from valuestrata.fairness.estimate.null_spread import Exchanged, nulls_of
from valuestrata.fairness.estimate.nulls import Permuted
from valuestrata.fairness.tables.rows import Row, better_sign, joined, place
from valuestrata.fairness.tables.schema import MEASURES
from valuestrata.scores.aggregate import RANGES
from valuestrata.scores.layout import RunGrid
from valuestrata.stats.arrays import Floats
from valuestrata.stats.intervals import interval

# Columns of GROUPS that are means of a covariate of `difficulty`.
COVARIATES = {"modal_share": "mode_share", "entropy": "entropy", "distance": "distance"}


def disparity_rows(setting: Setting, found: Scored, exchanged: Exchanged, metric: str, about: str | None) -> list[Row]:
    """Return the measures of every population, beside what noise alone would give.

    Args:
        setting: shared. found: the run's scores. exchanged: permutations of them.
        metric: its name. about: what a reader must know of the run.
    """
    rows: list[Row] = []
    for population in setting.populations:
        members, scores = setting.units[population.units], found.units.estimate[population.units]
        corrected = found.corrected(population.units)
        nulls = nulls_of(setting, found, population, corrected, exchanged)
        ends = _ends(setting, found, population, corrected)
        values = {name: float(value) for name, value in measures(scores).items()} | {
            "variance_corrected": corrected.value,
            "spread_corrected": float(np.sqrt(max(corrected.value, 0.0))),
        }
        known = ~np.isnan(scores)
        mask = ~np.isnan(found.values.gold[members.any(axis=0)])
        for measure in MEASURES:
            null = nulls.wider(measure)
            permuted, redrawn = nulls.means(measure)
            # The floored root has the p of what it is the root of.
            tested = "variance_corrected" if measure == "spread_corrected" else measure
            reason = corrected.reason if measure.endswith("_corrected") else why_null(scores, metric)
            rows.append(
                {
                    **place(setting),
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
                    "pairs": int(mask.sum()),
                    "note": joined(reason, population.note, about),
                }
            )
    return rows


def _ends(setting: Setting, found: Scored, population: Population, corrected: Corrected) -> dict[str, tuple[float, float]]:
    """Return the interval of every measure: of plug-in ones percentiles of centred replicates, of corrected ones the inverted F."""
    unknown = (np.nan, np.nan)
    ends: dict[str, tuple[float, float]] = dict.fromkeys(MEASURES, unknown)
    replicates = found.units.replicates
    if len(replicates.values) == 0 or found.units.items[population.units].max(initial=0.0) < 2:
        return ends
    values, drawn = measures(replicates.estimate[population.units]), measures(replicates.values[:, population.units])
    shares = ((1 - setting.confidence) / 2, (1 + setting.confidence) / 2)
    for name in PLUG_IN:
        known = drawn[name][np.isfinite(drawn[name])]
        if len(known) and np.isfinite(values[name]):
            low, high = np.quantile(known - known.mean() + values[name], shares)
            ends[name] = (max(float(low), 0.0), float(high) if name in ("cv", "theil") else min(float(high), 1.0))
    extra = found.residuals.extra if population.by == "all" else found.units.extra[population.units]
    low, high = corrected_interval(corrected, setting.confidence, float(np.mean(extra)))
    if high <= 0:
        # Less spread than noise alone would give in all but a few worlds: the inverted F is empty, which is no proof that all are alike.
        return ends
    return ends | {"variance_corrected": (low, high), "spread_corrected": (float(np.sqrt(low)), float(np.sqrt(high)))}


def group_rows(setting: Setting, run: RunGrid, found: Scored, permuted: Permuted, metric: str) -> list[Row]:
    """Return every subgroup against the rest of its stratum."""
    groups = len(setting.stratum)
    bounds = RANGES.get(metric, (0.0, 1.0))
    scores = interval(found.units.replicates, setting.confidence, *bounds)
    base, estimate = found.centred.base, scores.estimate[:groups]
    claim = worst(found.centred, found.residuals, permuted, -better_sign(metric))
    drawn = shrunken(estimate, base, found.residuals.variance, setting.strata)
    alike = _alike_ends(found, permuted, setting.confidence)
    toward, awaited = pull(setting.layout, run, setting.nation)
    hard = _difficulty(setting, ~np.isnan(found.values.gold))
    rows: list[Row] = []
    for g, subgroup in enumerate(setting.layout.subgroups):
        reason = "no other subgroup of its stratum has its items" if np.isnan(claim.rest[g]) else None
        if reason is None and found.pairs[g] < FEW_PAIRS:
            reason = f"under {FEW_PAIRS} pairs: not tested"
        if np.isnan(estimate[g]):
            reason = "no pair scored"
        rows.append(
            {
                **place(setting),
                "stratum": setting.stratum[g],
                "subgroup": subgroup,
                "metric": metric,
                "value": estimate[g],
                "ci_low": scores.low[g],
                "ci_high": scores.high[g],
                "rest": claim.rest[g],
                "shrunken": drawn[g],
                "alike_low": np.clip(alike[0][g], *bounds),
                "alike_high": np.clip(alike[1][g], *bounds),
                "p_worst": claim.p[g],
                "worst": None if np.isnan(claim.p[g]) else bool(claim.p[g] <= setting.alpha),
                "n": int(setting.respondents[0, g]),
                "n_eff": setting.respondents[1, g],
                "pairs": int(found.pairs[g]),
                "bias": row_means(run.metrics["bias"].gold)[g],
                "pull": toward[g],
                "pull_expected": awaited[g],
                "refusal_rate": row_means(run.metrics["refusal_rate"].gold)[g],
                "invalid_rate": row_means(run.metrics["invalid_rate"].gold)[g],
                **{name: values[g] for name, values in hard.items()},
                "note": reason,
            }
        )
    return rows


def _alike_ends(found: Scored, permuted: Permuted, confidence: float) -> tuple[Floats, Floats]:
    """Return where a share `confidence` of each subgroup's scores would fall if all were alike, under the null that moves it more."""
    base, pairs = found.centred.base, np.maximum(found.centred.pairs, 1.0)
    nulls = [sums / pairs for sums in (permuted.sums, found.redrawn) if len(sums)]
    if not nulls:
        return np.full(len(base), np.nan), np.full(len(base), np.nan)
    ends = np.stack([np.quantile(null, ((1 - confidence) / 2, (1 + confidence) / 2), axis=0) for null in nulls])
    chosen = np.argmax([null.var(axis=0) for null in nulls], axis=0)
    low, high = ends[chosen, :, np.arange(len(base))].T
    return base + low, base + high


def _difficulty(setting: Setting, mask: NDArray[np.bool_]) -> Mapping[str, Floats]:
    if setting.difficulty is None:
        return {column: np.full(len(setting.stratum), np.nan) for column in COVARIATES.values()}
    means = setting.difficulty.means(mask)
    return {column: means[list(setting.difficulty.names).index(name)] for name, column in COVARIATES.items()}
