"""Scores, comparisons, ceilings and claims of runs on one part of a split, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim
from valuestrata.claims.closed import closed_claims
from valuestrata.claims.table import to_frame
from valuestrata.dataset.tables import DISJOINT, Dataset
from valuestrata.progress import progress
from valuestrata.respondents.baselines import CHEAP
from valuestrata.responses.reference_baselines import check_training
from valuestrata.responses.run.identity import Answered, Identified, run_identity
from valuestrata.scores.aggregate import PlacedRuns, score_placed
from valuestrata.scores.compare import adjust, checked_metrics, compare_placed
from valuestrata.scores.layout import BY
from valuestrata.scores.plan import Declared, Thresholds, standard_comparisons
from valuestrata.scores.relative import relative_placed
from valuestrata.scores.structure import structure
from valuestrata.scores.train_test_overlap import training_overlap
from valuestrata.splits import leakage_report

# Groupings of the comparisons. Single items are left out, because they would add thousands of tests.
GROUPINGS = ("all", "stratum", "attribute", "level", "subgroup", "topic")
COMPARED_METRICS = ("accuracy", "accuracy_expected", "nmae", "w1", "rps")


@dataclass(frozen=True)
class Assessment:
    """The results of `assess`.

    Attributes:
        scores, comparisons, relative, structure: frames of the schemas in `scores.schema`.
        claims: the claims that the tables support, by run.
        leakage: overlap of train and test, by scheme (LEAKAGE_REPORT).
        plan: the declared plan, None without one.
    """

    scores: pl.DataFrame
    comparisons: pl.DataFrame
    relative: pl.DataFrame
    structure: pl.DataFrame
    claims: tuple[Claim, ...]
    leakage: pl.DataFrame
    plan: Declared | None = None

    @cached_property
    def verdicts(self) -> pl.DataFrame:
        """The claims as a table (CLAIMS)."""
        return to_frame(self.claims)


def assess(
    dataset: Dataset,
    runs: Sequence[Answered],
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    against: str | None = None,
    also: Sequence[tuple[str, str]] = (),
    plan: Declared | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Assessment:
    """Score runs, compare them with each other and with ceilings, and derive claims.

    Args:
        dataset: the ground truth.
        runs: models, with their baselines and controls (`responses.reference_baselines` answers the baselines).
        split, part, fold: which pairs, as for `score`.
        against: name of a run to compare all others with, in addition to the standard comparisons.
        also: further comparisons (run, against), by name.
        plan: declared plan. Its comparisons form the declared family; its thresholds and primary metric are used for claims.
        bootstrap: bootstrap replicates; 0 for no intervals and no comparisons. seed: of the bootstrap.

    Raises:
        UsageError: as for `score` and `compare`; a plan that names a missing run; a baseline trained on another split.
        InputDataError: as for `score`.
    """
    check_training(dataset, runs, split, fold)
    thresholds = plan.plan.thresholds if plan is not None else Thresholds()
    metric = plan.plan.metric if plan is not None else "accuracy_expected"
    where: dict[str, Any] = {"split": split, "part": part, "fold": fold}
    family = [] if plan is None else plan.rows(runs, split, part, fold)
    pairs = list(dict.fromkeys([*standard_comparisons(runs), *((row.run, row.against) for row in family), *_with(runs, against), *also]))
    metrics = tuple(dict.fromkeys([*COMPARED_METRICS, metric, *(row.metric for row in family)]))
    by = (*GROUPINGS, *({"item"} & {row.by for row in family}))
    checked_metrics(runs, pairs, metrics)
    baselines = [found.name for found in map(run_identity, runs) if found.is_baseline and found.rule in CHEAP]
    confidence = thresholds.confidence
    placed = PlacedRuns(dataset, runs, by=BY, bootstrap=bootstrap, seed=seed, **where)
    with progress("scoring", 3 * len(runs) + len(pairs)) as advance:
        scores = score_placed(placed, confidence, advance)
        narrower = placed if "item" in by else placed.without_items()
        compared = adjust(compare_placed(narrower, pairs, metrics, confidence, advance), family)
        found = relative_placed(narrower, baselines, confidence, advance)
        structures = structure(
            dataset, runs, bootstrap=bootstrap, permutations=bootstrap, seed=seed, confidence=confidence, advance=advance, **where
        )
    overlap = training_overlap(dataset, runs, **where)
    claims = closed_claims(scores, compared, found, _leakage_of(dataset, split, fold), runs, thresholds, metric, overlap)
    return Assessment(scores, compared, found, structures, tuple(claims), leakage_report(dataset), plan)


def _with(runs: Sequence[Identified], against: str | None) -> list[tuple[str, str]]:
    return [] if against is None else [(run.name, against) for run in runs if run.name != against]


def _leakage_of(dataset: Dataset, split: str, fold: int | None) -> pl.DataFrame:
    """Return the leakage rows of a split; none under `+disjoint`, where train and test share no respondents."""
    rows = dataset.leakage.filter(pl.col("scheme") == split)
    return rows.clear() if split.endswith(DISJOINT) else rows if fold is None else rows.filter(pl.col("fold") == fold)
