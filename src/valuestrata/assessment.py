"""Everything that can be said of runs on one part of a split, from one call: scores, comparisons, ceilings, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from valuestrata.claims.closed import verdicts
from valuestrata.dataset.tables import DISJOINT, Dataset
from valuestrata.respondents.baselines import CHEAP
from valuestrata.responses.reference_baselines import check_training
from valuestrata.responses.run.identity import Answered, Identified, run_identity
from valuestrata.scores.aggregate import score
from valuestrata.scores.compare import adjust, compare
from valuestrata.scores.plan import Declared, Thresholds, standard_comparisons
from valuestrata.scores.relative import relative
from valuestrata.scores.structure import structure
from valuestrata.scores.train_test_overlap import training_overlap
from valuestrata.splits import leakage_report

# Screening looks where a reader would: not at thousands of single items.
SCREENED = ("all", "stratum", "attribute", "level", "subgroup", "topic")
COMPARED_METRICS = ("accuracy", "accuracy_expected", "nmae", "w1", "rps")


@dataclass(frozen=True)
class Assessment:
    """What came of assessing runs on one part of a split.

    Attributes:
        scores, comparisons, relative, structure, verdicts: frames of the schemas in `scores.schema`.
        leakage: what train and test share, by scheme (LEAKAGE_REPORT).
        plan: what was declared, None without a plan.
    """

    scores: pl.DataFrame
    comparisons: pl.DataFrame
    relative: pl.DataFrame
    structure: pl.DataFrame
    verdicts: pl.DataFrame
    leakage: pl.DataFrame
    plan: Declared | None = None


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
    """Score runs, compare them with one another and with their ceilings, and say what may be said.

    Args:
        dataset: the ground truth.
        runs: what to judge, with baselines and controls beside the models (`responses.beside` answers the baselines).
        split, part, fold: which pairs, as for `score`.
        against: name of a run that every other one is compared with, besides the standard comparisons.
        also: (run, against) by name, compared besides.
        plan: declared beforehand; its comparisons are the declared family, its thresholds and primary metric the verdicts'.
        bootstrap: replicates behind every interval; 0 for none, and then there are no comparisons.
        seed: of the bootstrap.

    Raises:
        UsageError: as for `score` and `compare`; a plan that names a run which is not there; a baseline fitted to another split.
        InputDataError: as for `score`.
    """
    check_training(dataset, runs, split, fold)
    thresholds = plan.plan.thresholds if plan is not None else Thresholds()
    metric = plan.plan.metric if plan is not None else "accuracy_expected"
    where: dict[str, Any] = {"split": split, "part": part, "fold": fold}
    drawn: dict[str, Any] = {"bootstrap": bootstrap, "seed": seed, "confidence": thresholds.confidence}
    scores = score(dataset, runs, **where, **drawn)
    family = [] if plan is None else plan.rows(runs, split, part, fold)
    pairs = list(dict.fromkeys([*standard_comparisons(runs), *((row.run, row.against) for row in family), *_with(runs, against), *also]))
    metrics = tuple(dict.fromkeys([*COMPARED_METRICS, metric, *(row.metric for row in family)]))
    by = (*SCREENED, *({"item"} & {row.by for row in family}))
    compared = compare(dataset, runs, pairs, by=by, metrics=metrics, **where, **drawn)
    compared = adjust(compared, family)
    baselines = [found.name for found in map(run_identity, runs) if found.is_baseline and found.rule in CHEAP]
    found = relative(dataset, runs, baselines=baselines, by=by, **where, **drawn)
    shape = structure(dataset, runs, permutations=bootstrap, **where, **drawn)
    report = leakage_report(dataset)
    taught = training_overlap(dataset, runs, **where)
    lines = verdicts(scores, compared, found, _leakage_of(dataset, split, fold), runs, thresholds, metric, taught)
    return Assessment(scores, compared, found, shape, lines, report, plan)


def _with(runs: Sequence[Identified], against: str | None) -> list[tuple[str, str]]:
    return [] if against is None else [(run.name, against) for run in runs if run.name != against]


def _leakage_of(dataset: Dataset, split: str, fold: int | None) -> pl.DataFrame:
    """Return the leakage rows of a split; none under `+disjoint`, where nobody stands on both sides."""
    rows = dataset.leakage.filter(pl.col("scheme") == split)
    return rows.clear() if split.endswith(DISJOINT) else rows if fold is None else rows.filter(pl.col("fold") == fold)
