"""The table of scores: long, one row a metric of a run on a part of a split for one key."""

from __future__ import annotations

import polars as pl

from valuestrata.frames import Column, Schema

SCORES = Schema(
    "scores",
    {
        "run": Column(pl.String, "name of the run"),
        "scheme": Column(pl.String, "split scheme"),
        "fold": Column(pl.Int32, "fold, null when folds are pooled"),
        "part": Column(pl.String, "train, validation, test or all"),
        "by": Column(pl.String, "all, stratum, attribute, level, subgroup, topic or item"),
        "key": Column(pl.String, "which one of them"),
        "metric": Column(pl.String, "accuracy, accuracy_expected, ..."),
        "value": Column(pl.Float64, "the metric, null where it does not apply"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "pairs": Column(pl.Int64, "pairs scored"),
        "coverage": Column(pl.Float64, "pairs scored / pairs of the part"),
        "elicitation": Column(pl.String, "readout"),
        "template": Column(pl.String, "template, or several joined by +"),
        "against": Column(pl.String, "run compared with, null for a plain score"),
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
    "floor_nmae",
    "floor_w1",
    "floor_rps",
    "refusal_rate",
    "invalid_rate",
    "option_mass",
)
