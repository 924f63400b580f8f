"""Was a tuned model taught what it is judged on? Its adapter says where it was taught, and the data set which pairs trained there."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import ValuestrataError
from valuestrata.responses.run.identity import Answered, run_identity


def taught_shares(
    dataset: Dataset, runs: Iterable[Answered], *, split: str, part: str, fold: int | None = None
) -> dict[str, tuple[float, int]]:
    """Return name of a run -> (share of its judged pairs that its adapter was taught, number of its judged pairs).

    A run whose model says nothing of where it was taught, or was taught on another data set, is left out. So is one whose
    folds answered one by one (`taught_on.fold` None under a split of several folds): each answered what it was not taught.
    """
    judged = dataset.part(split, part, fold).select("pair_id").unique()
    found: dict[str, tuple[float, int]] = {}
    for run in runs:
        place = run_identity(run).model.taught_on
        if place is None or place.dataset != dataset.fingerprint:
            continue
        pairs = _taught_pairs(dataset, str(place.split), place.fold)
        mine = run.responses.select("pair_id").unique().join(judged, on="pair_id", how="semi")
        if pairs is not None and mine.height:
            found[run.name] = (mine.join(pairs, on="pair_id", how="semi").height / mine.height, mine.height)
    return found


def _taught_pairs(dataset: Dataset, split: str, fold: int | None) -> pl.DataFrame | None:
    """Return the pairs that train in a split and fold; None where that cannot be told."""
    try:
        train = dataset.part(split, "train", fold)
    except ValuestrataError:
        return None  # a split that this data set was built without
    return None if fold is None and train["fold"].n_unique() > 1 else train.select("pair_id").unique()
