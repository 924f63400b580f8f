"""Rules for claims about tuned models: what tuning gained, and whether personas contributed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim, Figure, Strength, importance

FAMILY = "tuning"
# Outcome of a comparison by the sign of its interval.
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


def tuning_claims(table: pl.DataFrame, gains: pl.DataFrame, metric: str, confidence: float = 0.95) -> list[Claim]:
    """Return the claims about every tuned model of one split.

    Args:
        table: rows of GENERALISATION. gains: rows of GAINS. metric: which metric. confidence: level of the intervals.
    """
    scores = {row["run"]: row["value"] for row in table.filter(pl.col("metric") == metric).iter_rows(named=True)}
    by_variant = gains.filter(pl.col("metric") == metric).partition_by("model", "recipe", maintain_order=True)
    return [claim for rows in by_variant for claim in _of_one(rows, scores, metric, confidence)]


def _of_one(rows: pl.DataFrame, scores: Mapping[str, float], metric: str, confidence: float) -> Iterator[Claim]:
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
        sign = _sign(row)
        unknown = row["ci_low"] is None or row["ci_high"] is None
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
            correction=None if row["p_adjusted"] is None else "holm",
            status=row["status"],
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
        p_adjusted=row["p_adjusted"],
        pairs=row["pairs"],
    )


def _sign(row: Mapping[str, Any]) -> int:
    """Return 1 or -1 if the interval is above or below 0, else 0; also 0 without an interval."""
    if row["ci_low"] is None or row["ci_high"] is None:
        return 0
    return 1 if row["ci_low"] > 0 else -1 if row["ci_high"] < 0 else 0
