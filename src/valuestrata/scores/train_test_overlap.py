"""Overlap of the pairs a tuned model was trained on with those it is evaluated on."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import ValuestrataError
from valuestrata.responses.run.identity import Answered, run_identity


def training_overlap(
    dataset: Dataset, runs: Iterable[Answered], *, split: str, part: str, fold: int | None = None
) -> dict[str, tuple[float, int]]:
    """Return name of a run -> (share of its evaluated pairs that its adapter was trained on, number of evaluated pairs).

    Runs are left out if their model does not record its training data, was trained on another data set, or has one adapter for each
    fold (`taught_on.fold` None under a split with several folds): such an adapter answers held-out pairs only.
    """
    evaluated = dataset.part(split, part, fold).select("pair_id").unique()
    found: dict[str, tuple[float, int]] = {}
    for run in runs:
        place = run_identity(run).model.taught_on
        if place is None or place.dataset != dataset.fingerprint:
            continue
        pairs = _taught_pairs(dataset, str(place.split), place.fold)
        mine = run.responses.select("pair_id").unique().join(evaluated, on="pair_id", how="semi")
        if pairs is not None and mine.height:
            found[run.name] = (mine.join(pairs, on="pair_id", how="semi").height / mine.height, mine.height)
    return found


def _taught_pairs(dataset: Dataset, split: str, fold: int | None) -> pl.DataFrame | None:
    """Return the training pairs of a split and fold; None where they are not known."""
    try:
        train = dataset.part(split, "train", fold)
    except ValuestrataError:
        return None  # The data set was built without this split.
    return None if fold is None and train["fold"].n_unique() > 1 else train.select("pair_id").unique()
