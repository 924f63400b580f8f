"""The claims as a table: one row per claim, fields and text, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.templates import NO_NAMES, word
from valuestrata.claims.wording import Names
from valuestrata.frames import Column, Schema

CLAIMS = Schema(
    "claims",
    {
        "run": Column(pl.String, "name of the run"),
        "scheme": Column(pl.String, "split scheme"),
        "fold": Column(pl.Int32, "fold, null when folds are pooled"),
        "part": Column(pl.String, "train, validation, test or all"),
        "rule": Column(pl.String, "kind of claim"),
        "verdict": Column(pl.String, "the sentence"),
        "details": Column(pl.String, "further figures in words"),
        "metric": Column(pl.String, "metric it is about, or null"),
        "elicitation": Column(pl.String, "how the answers were obtained, where the claim is about one way only"),
        "by": Column(pl.String, "attribute, level, subgroup or another kind of subset; null where it is about the whole run"),
        "key": Column(pl.String, "which one of them"),
        "against": Column(pl.String, "run, level or component compared with, or null"),
        "direction": Column(pl.String, "better, worse or another direction, or null"),
        "value": Column(pl.Float64, "the estimate; differences of scores are gains: positive is better"),
        "ci_low": Column(pl.Float64, "lower end of its interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "se": Column(pl.Float64, "standard error of the estimate"),
        "alike": Column(pl.Float64, "the mean of the estimate under no effect, in the unit of `value`"),
        "alike_low": Column(pl.Float64, "lower end of the usual range under no effect"),
        "alike_high": Column(pl.Float64, "upper end"),
        "p": Column(pl.Float64, "p-value, corrected for its family of tests where there is one"),
        "p_unadjusted": Column(pl.Float64, "p-value before correction"),
        "correction": Column(pl.String, "method of correction"),
        "tests": Column(pl.Int64, "number of tests in the family"),
        "items": Column(pl.Int64, "items behind it"),
        "pairs": Column(pl.Int64, "pairs behind it"),
        "respondents": Column(pl.Int64, "respondents behind it"),
        "status": Column(pl.String, "declared or exploratory; null where it is not a comparison"),
        "strength": Column(pl.String, "shown, within the margin, not shown, undetermined or underpowered"),
        "importance": Column(pl.Int64, "0 (least) to 100"),
        "confidence": Column(pl.Float64, "level of the intervals"),
        "page_p": Column(pl.Float64, "p-value corrected over all claims that the first screen of the run may show; null where not a test"),
        "family": Column(pl.String, "closed, variance, fairness, judges or tuning"),
        "run_kind": Column(pl.String, "model, control or baseline"),
        "more": Column(pl.String, "further figures, other metrics and notes, as JSON"),
    },
)
# Column -> field of the main figure.
_ESTIMATE = {
    "metric": "metric",
    "value": "value",
    "ci_low": "low",
    "ci_high": "high",
    "se": "se",
    "alike": "expected",
    "alike_low": "expected_low",
    "alike_high": "expected_high",
    "items": "items",
    "pairs": "pairs",
    "respondents": "respondents",
}
_FIGURE_DEFAULTS = {one.name: one.default for one in fields(Figure)}
_PLAIN = tuple(one.name for one in fields(Claim) if one.name in CLAIMS.columns)


def to_frame(claims: Iterable[Claim], names: Names = NO_NAMES) -> pl.DataFrame:
    """Return CLAIMS, a row per claim, in their order; `names` are those that the sentences use."""
    return CLAIMS.frame([_row(claim, names) for claim in claims])


def from_frame(frame: pl.DataFrame) -> list[Claim]:
    """Return the claims of a CLAIMS frame.

    Raises:
        InputDataError: a column is missing, as in files of an earlier version.
    """
    return [_claim(row) for row in CLAIMS.check(frame, "claims").iter_rows(named=True)]


def _row(claim: Claim, names: Names) -> dict[str, Any]:
    worded, estimate = word(claim, names), claim.estimate
    p = estimate.p if estimate.p_adjusted is None else estimate.p_adjusted
    return {
        **{name: getattr(claim, name) for name in _PLAIN},
        **{column: getattr(estimate, name) for column, name in _ESTIMATE.items()},
        "rule": claim.kind,
        "verdict": worded.sentence,
        "details": " ".join(worded.details),
        "p": p,
        "p_unadjusted": None if estimate.p_adjusted is None else estimate.p,
        "strength": str(claim.strength),
        "more": json.dumps(
            {
                "estimate": {
                    name: getattr(estimate, name) for name in ("role", "label", "n", "unit") if getattr(estimate, name) is not None
                },
                "figures": [_kept(one) for one in claim.figures],
                "also": [_kept(one) for one in claim.also],
                "notes": list(claim.notes),
            },
            ensure_ascii=False,
        ),
    }


def _kept(figure: Figure) -> dict[str, Any]:
    return {name: value for name, value in asdict(figure).items() if value != _FIGURE_DEFAULTS[name]}


def _claim(row: dict[str, Any]) -> Claim:
    more = json.loads(row["more"])
    corrected = any(row[name] is not None for name in ("correction", "tests", "p_unadjusted"))
    estimate = Figure(
        **{name: row[column] for column, name in _ESTIMATE.items()},
        **more["estimate"],
        p=row["p_unadjusted"] if corrected else row["p"],
        p_adjusted=row["p"] if corrected else None,
    )
    kept = {name: row[name] for name in _PLAIN if name != "strength"}
    return Claim(
        **kept,
        kind=row["rule"],
        strength=Strength(row["strength"]),
        estimate=estimate,
        figures=tuple(Figure(**one) for one in more["figures"]),
        also=tuple(Figure(**one) for one in more["also"]),
        notes=tuple(more["notes"]),
    )
