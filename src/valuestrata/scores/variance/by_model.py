"""Variance tables of all models that were asked in more than one way."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.responses.run.identity import Answered, run_identity
from valuestrata.scores.variance.table import by_model, variance

_WAYS = ("template", "paraphrase", "order", "sample")


def variation(dataset: Dataset, runs: Sequence[Answered], *, bootstrap: int = 1000, seed: int = 0) -> pl.DataFrame | None:
    """Return the variance tables of the models and controls that have two templates, paraphrases, orders or samples; None without any.

    Args:
        dataset: the ground truth. runs: any runs; baselines are left out. bootstrap, seed: as for `variance`.
    """
    called = [run for run in runs if not run_identity(run).is_baseline]
    several = [group for group in by_model(called) if _ways(group) > 1]
    tables = [variance(dataset, group, bootstrap=bootstrap, seed=seed) for group in several]
    return pl.concat(tables) if tables else None


def _ways(runs: Sequence[Answered]) -> int:
    return pl.concat([run.responses.select(_WAYS) for run in runs]).unique().height
