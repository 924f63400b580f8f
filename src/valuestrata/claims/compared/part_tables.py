"""What the rules about scores share: the tables of one part of a split, and the weight of each kind of claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim, Figure, Strength, importance
from valuestrata.dataset.training_source import Overlap
from valuestrata.respondents.baselines import TRAINS_ON_NOTHING
from valuestrata.responses.run.identity import Answered, RunIdentity, run_identity
from valuestrata.scores.plan import Thresholds

# z(.8): a difference this many standard errors past the end of its interval is detected in 80 % of samples.
Z_POWER = 0.8416
# Weights of kinds for `importance`; the outcomes of a comparison share one.
WEIGHTS: Mapping[str, float] = {
    "taught-what-is-tested": 100,
    "halves-not-disjoint": 100,
    "not-a-test": 98,
    "beyond-the-ceiling": 97,
    "no-baseline": 96,
    "model-adds": 100,
    "model-level": 100,
    "model-below": 100,
    "same-position": 95,
    "same-answer": 94,
    "item-mode": 92,
    "nearest-parent": 90,
    "right-persona": 88,
    "with-persona": 87,
    "calibration": 86,
    "": 85,
    "cannot-be-judged": 80,
    "incomplete": 78,
    "unanswered": 76,
    "at-the-ceiling": 75,
    "saturated": 70,
    "cannot-be-placed": 45,
    "shared-respondents": 50,
}


@dataclass(frozen=True)
class PartTables:
    """The tables of one part of a split, the runs by name, and the settings."""

    scores: pl.DataFrame
    comparisons: pl.DataFrame
    relative: pl.DataFrame
    runs: Mapping[str, Answered]
    thresholds: Thresholds
    metric: str
    overlaps: Mapping[str, Overlap]

    @cached_property
    def identities(self) -> Mapping[str, RunIdentity]:
        """Identity of each run, by name."""
        return {name: run_identity(run) for name, run in self.runs.items()}

    @property
    def names(self) -> set[str]:
        """Names of the runs in any table."""
        columns = (self.scores["run"], self.relative["run"], self.comparisons["run"], self.comparisons["against"])
        return {name for column in columns for name in column}

    def overlap(self, run: str) -> Overlap:
        """Return what the training of a run has in common with the scored pairs."""
        identity = self.identities[run]
        trained = identity.is_baseline and identity.rule not in TRAINS_ON_NOTHING
        return self.overlaps.get(run, Overlap("here" if trained else "none"))

    def score(self, run: str, metric: str) -> dict[str, Any]:
        """Return the row of a score, empty without one."""
        rows = self.scores.filter((pl.col("run") == run) & (pl.col("metric") == metric)).to_dicts()
        return rows[-1] if rows else {}


def closed_claim(kind: str, run: Answered, estimate: Figure, *, weight: str | None = None, **fields: Any) -> Claim:
    """Return a claim about scores; `weight` names the entry of WEIGHTS of a comparison, whose size then counts."""
    strength = fields.pop("strength", Strength.SHOWN)
    # Of comparisons, the size of the difference counts; shares are facts of any size.
    effect = None if weight is None else estimate.value or 0.0
    score = importance(WEIGHTS[kind if weight is None else weight], strength, effect)
    return Claim(family="closed", kind=kind, run=run.name, estimate=estimate, strength=strength, importance=score, **fields)


def detectable_difference(low: float, high: float, confidence: float) -> float:
    """Return the difference that would be detected with 80 % power: half width times (z(1 - alpha / 2) + z(.8)) / z(1 - alpha / 2)."""
    return 0.5 * (high - low) * (1 + Z_POWER / NormalDist().inv_cdf((1 + confidence) / 2))
