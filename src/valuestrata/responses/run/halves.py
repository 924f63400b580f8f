"""Under `+crossfit`: which half of the respondents each response may be scored against.

A model that was trained on half A is scored against half B, and the other way round. A model without training on this data set
answers both directions, so each of its responses is scored against both halves.
"""

from __future__ import annotations

from typing import Protocol

import polars as pl

from valuestrata.dataset.tables import CROSSFIT, half_of, uses_halves
from valuestrata.dataset.training_source import TrainingSource
from valuestrata.respondents.baselines import TRAINS_ON_NOTHING
from valuestrata.responses.run.identity import RunIdentity

HALF = "half"


class RunWithResponses(Protocol):
    """A named table of responses, with or without the document of its `run.json` in `meta`."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def responses(self) -> pl.DataFrame: ...  # noqa: D102


def scored_responses(run: RunWithResponses, split: str, fold: int | None = None) -> pl.DataFrame:
    """Return the responses of a run that a split scores; under `+crossfit` with a column `half` where it matters.

    Args:
        run: the run. Its responses may have a column `half`, which is used as it is. split, fold: what is scored.
    """
    responses = run.responses
    if not split.endswith(CROSSFIT):
        return responses
    half = pl.col(HALF) if HALF in responses.columns else _half(run)
    if half is None:
        return responses
    found = responses.with_columns(half.alias(HALF))
    return found if fold is None else found.filter(pl.col(HALF) == half_of(split, "test", fold))


def response_keys(responses: pl.DataFrame) -> list[str]:
    """Return the columns on which responses join the gold: the pair and, where it matters, the half of the respondents."""
    return ["pair_id", HALF] if HALF in responses.columns else ["pair_id"]


def with_half(run: RunWithResponses, split: str, fold: int | None) -> pl.DataFrame:
    """Return the responses of a model trained in one fold, with the half that they may be scored against under `+crossfit`."""
    if not split.endswith(CROSSFIT) or fold is None:
        return run.responses
    return run.responses.with_columns(pl.lit(half_of(split, "test", fold)).alias(HALF))


def _half(run: RunWithResponses) -> pl.Expr | None:
    """Return the half of each response of a run that was trained on one half, or on each in turn; None for other runs."""
    meta = getattr(run, "meta", None)
    if meta is None:
        return None
    identity = RunIdentity.from_document(meta, run.name, f"run.json of the run {run.name!r}")
    # Of a model that was shown gold in its prompts, the gold has its record.
    source: TrainingSource | None = identity.model.taught_on or identity.model.trained_on
    if identity.method is not None:
        source = identity.respondent.trained_on
    elif identity.is_baseline:
        source = None if identity.rule in TRAINS_ON_NOTHING else identity.respondent.trained_on
    if source is None or source.split is None or not uses_halves(source.split):
        return None
    if source.split.endswith(CROSSFIT) and source.fold is None:
        # A baseline or calibration fitted in every fold gives one sample for each, in the order of the folds. Even folds are trained
        # on half A.
        return pl.when(pl.col("sample") % 2 == 0).then(pl.lit("B")).otherwise(pl.lit("A"))
    return pl.lit(half_of(source.split, "test", source.fold))
