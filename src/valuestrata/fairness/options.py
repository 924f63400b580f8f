"""Options of an audit, in typed groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from valuestrata.fairness.adjust.held_attributes import Sampling


@dataclass(frozen=True)
class AuditedPart:
    """The pairs to audit, as for `score`; `attributes` limits gaps and levels to some attributes."""

    split: str = "paper"
    part: str = "test"
    fold: int | None = None
    attributes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Resampling:
    """Resampling behind intervals and null distributions.

    Attributes:
        bootstrap: replicates behind every interval; 0 for none, and then gaps and changes have no p-values.
        permutations: behind the permuted null and max-T; 0 for neither.
        seed: of both. confidence: of intervals; claims are made at level 1 - confidence.
        margins: metric -> smallest difference that matters; defaults as in `scores.plan.Thresholds.margin`.
    """

    bootstrap: int = 1000
    permutations: int = 2000
    seed: int = 0
    confidence: float = 0.95
    margins: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Adjusting:
    """How gaps at equal difficulty are estimated.

    Attributes:
        mixed: `penalised` (a fraction of a second) or `bayes` (minutes for each metric of a model; needs the extra `bayes`).
        sampling: of `bayes`; defaults with the audit's seed where left out.
    """

    mixed: str = "penalised"
    sampling: Sampling | None = None

    def posterior(self, seed: int) -> Sampling | None:
        """Return how the posterior is drawn; None for the penalised estimate."""
        return None if self.mixed == "penalised" else self.sampling or Sampling(seed=seed)
