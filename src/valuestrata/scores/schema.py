"""Schemas of the tables of results, in long form: one row for each run, key and metric."""

from __future__ import annotations

import polars as pl

from valuestrata.frames import Column, Schema

_BLOCKS = Column(pl.Float64, "effective number of blocks that the interval resamples, null where it resamples items")
PLACE = {
    "run": Column(pl.String, "name of the run"),
    "scheme": Column(pl.String, "split scheme"),
    "fold": Column(pl.Int32, "fold, null when folds are pooled"),
    "part": Column(pl.String, "train, validation, test or all"),
    "by": Column(pl.String, "all, stratum, attribute, level, subgroup, topic or item"),
    "key": Column(pl.String, "which one of them"),
}

SCORES = Schema(
    "scores",
    {
        **PLACE,
        "metric": Column(pl.String, "accuracy, accuracy_expected, ..."),
        "value": Column(pl.Float64, "the metric, null where it does not apply"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "pairs": Column(pl.Int64, "pairs scored"),
        "blocks": _BLOCKS,
        "coverage": Column(pl.Float64, "pairs scored / pairs of the part"),
        "elicitation": Column(pl.String, "readout"),
        "template": Column(pl.String, "template, or several joined by +"),
        "against": Column(pl.String, "run compared with, null for a plain score"),
        "note": Column(pl.String, "why this is not a test of the run (see `train_test_overlap`), or null"),
    },
)

# Differences of two runs on the pairs that both have a value for.
COMPARISONS = Schema(
    "comparisons",
    {
        "run": PLACE["run"],
        "against": Column(pl.String, "run compared with"),
        **{name: column for name, column in PLACE.items() if name != "run"},
        "metric": Column(pl.String, "accuracy, accuracy_expected, ..."),
        "difference": Column(pl.Float64, "run - against, null where undefined"),
        "ci_low": Column(pl.Float64, "lower end of the paired interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "se": Column(pl.Float64, "standard deviation of the paired replicates"),
        "p": Column(pl.Float64, "two-sided p-value of no difference, from the paired replicates"),
        "p_adjusted": Column(pl.Float64, "p adjusted within its family, null where not adjusted"),
        "adjustment": Column(pl.String, "holm, benjamini-hochberg or null"),
        "status": Column(pl.String, "declared or exploratory"),
        "pairs": Column(pl.Int64, "pairs both have a value for"),
        "blocks": _BLOCKS,
        "coverage": Column(pl.Float64, "pairs both were asked / pairs of the part"),
        "note": Column(pl.String, "why this is not a test of the run (see `train_test_overlap`), or null"),
    },
)

# Scores relative to the best cheap baseline and to the ceiling (see `relative`).
RELATIVE = Schema(
    "relative",
    {
        **PLACE,
        "metric": Column(pl.String, "accuracy_expected, nmae, w1 or rps"),
        "value": Column(pl.Float64, "the run's score on the pairs common with the baseline"),
        "baseline": Column(pl.String, "the best cheap baseline of the part by this metric, null without one"),
        "baseline_value": Column(pl.Float64, "its score on the same pairs"),
        "gain": Column(pl.Float64, "improvement over the baseline; positive is better for every metric"),
        "gain_low": Column(pl.Float64, "lower end of the paired interval"),
        "gain_high": Column(pl.Float64, "upper end"),
        "bound": Column(pl.String, "the ceiling or floor of this metric"),
        "bound_value": Column(pl.Float64, "its value on the same pairs"),
        "relative": Column(pl.Float64, "(score - baseline) / (bound - baseline), null where saturated"),
        "relative_low": Column(pl.Float64, "lower end"),
        "relative_high": Column(pl.Float64, "upper end"),
        "state": Column(
            pl.String, "ok, saturated (bound - baseline is not above 0 beyond noise), no baseline, no common pairs or no interval"
        ),
        "pairs": Column(pl.Int64, "pairs common to run and baseline"),
        "note": Column(pl.String, "why this is not a test of the run (see `train_test_overlap`), or null"),
    },
)

# Agreement of a model with the gold on correlations between items across subgroups (see `structure`).
STRUCTURE = Schema(
    "structure",
    {
        "run": Column(pl.String, "name of the run"),
        "scheme": Column(pl.String, "split scheme"),
        "fold": Column(pl.Int32, "fold, null when folds are pooled"),
        "part": Column(pl.String, "train, validation, test or all"),
        "stratum": Column(pl.String, "stratum, or `pooled` for all strata, centred within strata"),
        "measure": Column(
            pl.String, "item_correlations, item_congruence, item_correlations_rmse, item_profiles, gap_inflation or wrong_segment"
        ),
        "value": Column(pl.Float64, "the measure, null with too little variation"),
        "ci_low": Column(pl.Float64, "lower end of the interval over blocks of items"),
        "ci_high": Column(pl.Float64, "upper end"),
        "bound": Column(pl.Float64, "the same measure between half A and half B of the respondents"),
        "null_high": Column(pl.Float64, "95 % quantile with the model's items shuffled (5 % for wrong_segment); null for the rmse"),
        "items": Column(pl.Int64, "ordinal and binary items compared"),
        "blocks": _BLOCKS,
        "left_out": Column(pl.Int64, "items left out: no variation over subgroups, or too few subgroups"),
        "subgroups": Column(pl.Int64, "subgroups compared"),
    },
)

METRICS = (
    "accuracy",
    "accuracy_expected",
    "accuracy_set",
    "accuracy_valid",
    "nmae",
    "nmae_valid",
    "w1",
    "rps",
    "tv",
    "jsd",
    "bias",
    "spread_ratio",
    "spread_ratio_corrected",
    "ceiling_oracle",
    "ceiling_human",
    "ceiling_halves",
    "floor_nmae",
    "floor_w1",
    "floor_rps",
    "floor_nmae_halves",
    "floor_w1_halves",
    "refusal_rate",
    "invalid_rate",
    "option_mass",
    "w1_sampling",
    "ece",
    "ece_top",
)
# Metrics of all pairs together, which are no means over pairs and are not compared.
OF_ALL_PAIRS = ("ece", "ece_top")
