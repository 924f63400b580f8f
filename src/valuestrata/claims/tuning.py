"""Rules for claims about tuned models: what tuning gained, and whether personas contributed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim, Figure, Strength, importance

FAMILY = "tuning"
# Notes of a claim: what a single training cannot show, and an interval without 0 that does not count after correction.
ONE_SEED, NOT_AFTER_CORRECTION = "one-seed", "not-after-correction"
# Outcome of a comparison: the sign of a difference whose corrected p-value is small enough, else 0.
OUTCOMES: Mapping[int, str] = {1: "better", -1: "worse", 0: "no-difference"}


@dataclass(frozen=True)
class TuningRule:
    """A rule that turns one gain of the table GAINS into a claim.

    Attributes:
        kind: prefix of the claim's kind. gain: the gain. weight: weight of its importance, 0 to 100.
    """

    kind: str
    gain: str
    weight: int


RULES: tuple[TuningRule, ...] = (
    TuningRule("tuned", "taught", 90),
    TuningRule("personas", "beyond:no-persona", 95),
    TuningRule("item-mode", "over:item-mode", 85),
    TuningRule("swapped", "swapped", 75),
    TuningRule("labels", "beyond:shuffled-persona", 70),
    TuningRule("nearest-parent", "over:nearest-parent", 65),
)


def tuning_claims(table: pl.DataFrame, gains: pl.DataFrame, metric: str, confidence: float = 0.95, tests: int | None = None) -> list[Claim]:
    """Return the claims about every tuned model of one split.

    A gain is better or worse if its corrected p-value is at most 1 - confidence. What a recipe teaches is shown with two or more
    training seeds only; with one, another seed might give another result, and the claim is undetermined.

    Args:
        table: rows of GENERALISATION. gains: rows of GAINS, corrected. metric: which metric. confidence: level of the intervals.
        tests: number of tests that p-values are corrected for, None if unknown.
    """
    scores = {row["run"]: row["value"] for row in table.filter(pl.col("metric") == metric).iter_rows(named=True)}
    by_variant = gains.filter(pl.col("metric") == metric).partition_by("model", "recipe", maintain_order=True)
    return [claim for rows in by_variant for claim in _of_one(rows, scores, metric, confidence, tests)]


def _of_one(rows: pl.DataFrame, scores: Mapping[str, float], metric: str, confidence: float, tests: int | None) -> Iterator[Claim]:
    found = {row["gain"]: row for row in rows.iter_rows(named=True)}
    for rule in RULES:
        if (row := found.get(rule.gain)) is None:
            continue
        figures: tuple[Figure, ...] = ()
        if rule.kind == "tuned":
            figures = tuple(
                Figure(role=role, metric=metric, value=scores[name]) for role, name in (("before", row["against"]), ("after", row["run"]))
            )
        elif rule.kind == "personas":
            if (alone := found.get("control:no-persona")) is None:
                continue
            figures = (_figure(alone, metric, "without-personas"),)
        sign, notes = _sign(row, 1 - confidence)
        if row["seeds"] > 1:
            seeds = Figure(role="seeds", metric=metric, value=row["seed_sd"], low=row["seed_low"], high=row["seed_high"], n=row["seeds"])
            figures = (*figures, seeds)
            notes += tuple(name for name in row["included"].split("+") if name)
        else:
            notes += (ONE_SEED,)
        unknown = row["seeds"] < 2 or row["ci_low"] is None or row["ci_high"] is None or row["p_adjusted"] is None
        strength = Strength.UNDETERMINED if unknown else Strength.SHOWN if sign else Strength.NOT_SHOWN
        yield Claim(
            family=FAMILY,
            kind=f"{rule.kind}-{OUTCOMES[sign]}",
            run=row["run"],
            scheme=row["scheme"],
            fold=row["fold"],
            part=row["part"],
            against=row["against"],
            direction=OUTCOMES[sign] if sign else None,
            estimate=_figure(row, metric, "estimate"),
            figures=figures,
            correction=row["adjustment"],
            tests=None if row["p_adjusted"] is None else tests,
            status=row["status"],
            notes=notes,
            strength=strength,
            importance=importance(rule.weight, strength, row["value"] if sign else None),
            confidence=confidence,
        )


def _figure(row: Mapping[str, Any], metric: str, role: str) -> Figure:
    return Figure(
        role=role,
        metric=metric,
        value=row["value"],
        low=row["ci_low"],
        high=row["ci_high"],
        p=row["p"],
        p_adjusted=row["p_adjusted"],
        pairs=row["pairs"],
    )


def _sign(row: Mapping[str, Any], alpha: float) -> tuple[int, tuple[str, ...]]:
    """Return 1 or -1 for a gain or loss with a corrected p-value of at most alpha, else 0; and the notes to add."""
    if row["ci_low"] is None or row["ci_high"] is None or row["p_adjusted"] is None:
        return 0, ()
    if row["p_adjusted"] <= alpha:
        return 1 if row["value"] > 0 else -1, ()
    return 0, (NOT_AFTER_CORRECTION,) if row["ci_low"] > 0 or row["ci_high"] < 0 else ()
