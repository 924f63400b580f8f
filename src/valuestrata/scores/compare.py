"""Two runs on the same pairs: what one scores above the other, with a paired interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from valuestrata.dataset import Dataset
from valuestrata.responses.schema import RESPONSES
from valuestrata.scores.aggregate import RANGES, RunLike, check_call, replicate, rows_of
from valuestrata.scores.bootstrap import Replicates, interval, resample, restrict
from valuestrata.scores.layout import BY, lay_out, place
from valuestrata.scores.pairs import OF_GOLD
from valuestrata.scores.spread import Spread


def compare(
    dataset: Dataset,
    run: RunLike,
    against: RunLike,
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    by: Sequence[str] = BY,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return the difference run - against of every metric, on the pairs that both have a value for.

    Both runs are resampled with the same items and the same redrawn modes, so that what is hard or noisy for both drops
    out of the interval. Pairs that only one was asked are left out of both, metric by metric: `accuracy_valid` is compared
    on the pairs that both answered validly. Whether a rise is good depends on the metric: distances, |bias| and rates
    are better low.

    Args:
        dataset: the ground truth. run, against: what to compare, of different names.
        split, part, fold, by, bootstrap, seed, confidence: as for `score`.

    Returns:
        SCORES schema with `against` set. `value` is the difference, `pairs` the common pairs of the metric and `coverage`
        the share of the key's pairs that both runs were asked: an incomplete run shows here. Elicitation and template
        are those of `run`. Ceilings and floors belong to the pairs and have no rows.

    Raises:
        UsageError, InputDataError: as for `score`.
    """
    check_call([run, against], bootstrap, confidence)
    layout = lay_out(dataset, split, part, fold, by)
    resamples = resample(layout, bootstrap, seed)
    spread = Spread(resamples)
    mine, theirs = (place(layout, one.name, RESPONSES.check(one.responses, one.name)) for one in (run, against))
    here, there = restrict(mine, theirs), restrict(theirs, mine)
    left, right = replicate(resamples, here, spread), replicate(resamples, there, spread)
    columns: dict[str, tuple[np.ndarray, ...]] = {}
    for metric in left:
        if metric not in OF_GOLD:
            low, high = RANGES.get(metric, (0.0, 1.0))
            columns[metric] = (*interval(_difference(left[metric], right[metric]), confidence, low - high, high - low), left[metric].pairs)
    return rows_of(layout, here, columns, scheme=split, part=part, fold=fold, against=against.name)


def _difference(left: Replicates, right: Replicates) -> Replicates:
    """Subtract replicate by replicate. A ratio that is infinite on either side leaves the difference without bound."""
    unbounded = np.isinf(left.values) | np.isinf(right.values)
    values = np.full(left.values.shape, np.inf)
    np.subtract(left.values, right.values, out=values, where=~unbounded)
    return Replicates(values, left.pairs, left.centred)
