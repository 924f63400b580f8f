"""Schemas of the audit tables. Unknown values are null, never NaN."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from valuestrata.fairness.estimate.gaps import REMAINS
from valuestrata.frames import Column, Schema

# Measures of DISPARITY, in the order of its rows.
MEASURES = ("norm_range", "cv", "max_min", "spread_corrected", "variance_corrected", "theil", "gini")

_WHERE: Mapping[str, Column] = {
    "run": Column(pl.String, "name of the run"),
    "scheme": Column(pl.String, "split scheme"),
    "fold": Column(pl.Int32, "fold, null when folds are pooled"),
    "part": Column(pl.String, "train, validation, test or all"),
}
_INTERVAL: Mapping[str, Column] = {
    "ci_low": Column(pl.Float64, "lower end of its interval: other items, other respondents"),
    "ci_high": Column(pl.Float64, "upper end"),
}

# Spread between the subgroups of a run, and what noise alone gives (see `disparity`, `nulls`).
DISPARITY = Schema(
    "disparity",
    {
        **_WHERE,
        "by": Column(pl.String, "all: the subgroups of the part; attribute: the levels of an attribute, each over its subgroups"),
        "key": Column(pl.String, "all, or the attribute"),
        "population": Column(pl.String, "description of the subgroups that enter"),
        "metric": Column(pl.String, "accuracy, nmae, ..."),
        "measure": Column(pl.String, ", ".join(MEASURES)),
        "value": Column(pl.Float64, "the measure, null where undefined"),
        **_INTERVAL,
        "alike_permuted": Column(
            pl.Float64, "mean if values are permuted within block of items, among the subgroups of a stratum or among levels"
        ),
        "alike_redrawn": Column(pl.Float64, "mean if all subgroups of a stratum have equal expected scores and labels are redrawn"),
        "alike": Column(pl.Float64, "mean under the wider of the two: what noise alone gives"),
        "alike_high": Column(pl.Float64, "95 % point under that null, the larger of the two"),
        "p": Column(pl.Float64, "p-value under that null; large values are extreme"),
        "subgroups": Column(pl.Int64, "number of scores"),
        "items": Column(pl.Int64, "items behind it"),
        "blocks": Column(pl.Float64, "effective number of their blocks, null where items are taken as independent", optional=True),
        "pairs": Column(pl.Int64, "pairs behind it"),
        "note": Column(pl.String, "reason for missing numbers, and caveats; or null"),
        "published": Column(pl.Float64, "published figure for this model, where requested"),
    },
)

# Subgroups served worse (see `groups`): a lower accuracy or a higher distance.
GROUPS = Schema(
    "groups",
    {
        **_WHERE,
        "stratum": Column(pl.String, "stratum of the subgroup"),
        "subgroup": Column(pl.String, "subgroup"),
        "metric": Column(pl.String, "accuracy, nmae, ..."),
        "value": Column(pl.Float64, "its score, null where nothing was scored"),
        **_INTERVAL,
        "rest": Column(pl.Float64, "its score minus that of the rest of its stratum on the same items"),
        "shrunken": Column(pl.Float64, "empirical Bayes score, shrunk toward its value under equal service"),
        "alike_low": Column(pl.Float64, "lower end of its score under equal service within its stratum"),
        "alike_high": Column(pl.Float64, "upper end"),
        "p_worst": Column(pl.Float64, "p-value of being worse than the rest, max-T over all subgroups of the run"),
        "worst": Column(pl.Boolean, "worse than the rest beyond noise; null where untested"),
        "n": Column(pl.Int64, "respondents"),
        "n_eff": Column(pl.Float64, "effective respondents"),
        "pairs": Column(pl.Int64, "pairs scored"),
        "bias": Column(pl.Float64, "mean signed error on 0..1: above 0 toward the scale's last code"),
        "pull": Column(pl.Float64, "share of its valid wrong answers that are the national answer"),
        "pull_expected": Column(pl.Float64, "the same for people who differ from their subgroup's answer"),
        "refusal_rate": Column(pl.Float64, "share refused"),
        "invalid_rate": Column(pl.Float64, "share unparsed, of an invalid code or failed"),
        "mode_share": Column(pl.Float64, "mean share of the gold mode: high is easy"),
        "entropy": Column(pl.Float64, "mean entropy of the gold shares / log2 K, 0..1: high is hard"),
        "distance": Column(pl.Float64, "mean distance of its mode from the nation's, on 0..1"),
        "note": Column(pl.String, "why a number is missing, or null"),
    },
)

# Two levels of an attribute on the items both were asked (see `gaps`).
GAPS = Schema(
    "gaps",
    {
        **_WHERE,
        "attribute": Column(pl.String, "attribute"),
        "level": Column(pl.String, "one level"),
        "against_level": Column(pl.String, "the other"),
        "metric": Column(pl.String, "accuracy, nmae, ..."),
        "gap": Column(pl.Float64, "score of level minus that of against_level"),
        **_INTERVAL,
        "se": Column(pl.Float64, "standard error of the gap"),
        "p": Column(pl.Float64, "two-sided p-value"),
        "p_holm": Column(pl.Float64, "adjusted over all gaps of the run and metric (Holm)"),
        "items": Column(pl.Int64, "items both levels have"),
        "pairs": Column(pl.Int64, "pairs of both on these items"),
        "expected_alike": Column(pl.Float64, "mean absolute gap under noise alone"),
        "baseline": Column(pl.String, "the best cheap baseline, null without one"),
        "gap_baseline": Column(pl.Float64, "gap of the baseline on common pairs"),
        "excess": Column(pl.Float64, "gap of the run minus gap of the baseline, on the same pairs"),
        "excess_low": Column(pl.Float64, "lower end of its interval"),
        "excess_high": Column(pl.Float64, "upper end"),
        "excess_p": Column(pl.Float64, "two-sided p-value"),
        "excess_p_holm": Column(pl.Float64, "adjusted within the same family"),
        "held": Column(pl.Float64, "gap with items, strata and the other attributes held constant (`held_attributes`)"),
        "held_low": Column(pl.Float64, "lower end of its interval"),
        "held_high": Column(pl.Float64, "upper end"),
        "held_p": Column(pl.Float64, "two-sided p-value"),
        "held_p_holm": Column(pl.Float64, "adjusted within the same family"),
        "adjusted": Column(pl.Float64, "held gap between cells of equal difficulty; null for rates of missing answers"),
        "adjusted_low": Column(pl.Float64, "lower end of its interval"),
        "adjusted_high": Column(pl.Float64, "upper end"),
        "adjusted_p": Column(pl.Float64, "two-sided p-value"),
        "adjusted_p_holm": Column(pl.Float64, "adjusted within the same family"),
        "remains": Column(pl.String, f"what remains of `better for X`: {', '.join(REMAINS)}"),
        "note": Column(pl.String, "reason for missing numbers, covariates left out, and caveats; or null"),
    },
)

# A run against another on the pairs both answered (see `changes`).
CHANGES = Schema(
    "changes",
    {
        "run": Column(pl.String, "name of the run (after)"),
        "against": Column(pl.String, "run it is compared with (before)"),
        **{name: column for name, column in _WHERE.items() if name != "run"},
        "by": Column(pl.String, "all, attribute, level or subgroup"),
        "key": Column(pl.String, "which one of them"),
        "metric": Column(pl.String, "accuracy, nmae, ..."),
        "measure": Column(pl.String, f"score, or a spread: sd, {', '.join(MEASURES)}"),
        "before": Column(pl.Float64, "the other run's"),
        "after": Column(pl.Float64, "the run's"),
        "change": Column(pl.Float64, "after - before"),
        **_INTERVAL,
        "p": Column(pl.Float64, "two-sided p-value"),
        "p_holm": Column(pl.Float64, "within the scores of one metric and `by` (Holm); null for spreads"),
        "alike_before": Column(pl.Float64, "mean of a spread before under noise alone, on common pairs; null for scores"),
        "alike_after": Column(pl.Float64, "the same after"),
        "outcome": Column(pl.String, "better, worse or not shown; of spreads: narrower, wider or not shown"),
        "limits": Column(pl.String, "shown about a change of score: within the margin, not worse or not better by more than it; or null"),
        "levelling_down": Column(pl.Boolean, "the range fell and the best-served before lost beyond noise; on rows of max_min"),
        "pareto": Column(pl.String, "who gained and who lost; on rows of max_min"),
        "subgroups": Column(pl.Int64, "number of scores"),
        "pairs": Column(pl.Int64, "pairs both have"),
        "note": Column(pl.String, "reason for missing numbers, and caveats; or null"),
    },
)

# Cells of strata of two attributes against what their levels predict (see `intersections`).
EXCESS = Schema(
    "excess",
    {
        **_WHERE,
        "stratum": Column(pl.String, "stratum of two attributes or more"),
        "subgroup": Column(pl.String, "the cell"),
        "metric": Column(pl.String, "accuracy, nmae, ..."),
        "value": Column(pl.Float64, "its score on the items of the comparison"),
        "explained": Column(pl.Float64, "prediction from the other cells of its levels, additive"),
        "excess": Column(pl.Float64, "value - explained"),
        **_INTERVAL,
        "p": Column(pl.Float64, "two-sided p-value"),
        "p_holm": Column(pl.Float64, "within the cells of the run's metric (Holm)"),
        "p_bh": Column(pl.Float64, "the same by Benjamini-Hochberg, for screening"),
        "items": Column(pl.Int64, "items behind it"),
        "note": Column(pl.String, "why a number is missing, or null"),
    },
)

# Spread of answers between the levels of an attribute, relative to people (`scores.spread`).
ERRS = Schema(
    "errs",
    {
        **_WHERE,
        "attribute": Column(pl.String, "attribute"),
        "raw": Column(pl.Float64, "spread ratio of answers over modes"),
        "raw_low": Column(pl.Float64, "lower end of its interval"),
        "raw_high": Column(pl.Float64, "upper end"),
        "corrected": Column(pl.Float64, "the same without the noise of modes"),
        "corrected_low": Column(pl.Float64, "lower end"),
        "corrected_high": Column(pl.Float64, "upper end"),
        "pairs": Column(pl.Int64, "pairs behind it"),
        "word": Column(pl.String, "flattened, exaggerated, indistinguishable from 1 or not known"),
    },
)
