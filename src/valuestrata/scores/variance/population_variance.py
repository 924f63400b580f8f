"""Variance between subgroups of respondents, by item, to compare with the persona component of a model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl

from valuestrata.dataset.gold import unpack_share_draws
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.scores.distances import padded
from valuestrata.scores.variance.answer_vectors import answer_vectors
from valuestrata.stats.arrays import Floats

EVERYBODY = "all"


@dataclass(frozen=True)
class SubgroupVariance:
    """The variance between the subgroups of one item.

    Attributes:
        value: sample variance of their answer vectors minus sampling noise; may be negative.
        redraws: shape (D,), deviations under redrawn respondents, with mean 0; None without redraws.
        subgroups: number of subgroups.
    """

    value: float
    redraws: Floats | None
    subgroups: int


class PopulationVariance:
    """Variances between subgroups in the gold of all respondents."""

    def __init__(self, dataset: Dataset) -> None:
        """Join gold and redraws."""
        draws = dataset.mode_draws.filter(pl.col("half") == EVERYBODY).select("pair_id", "draws", "share_se", "share_draws")
        gold = dataset.gold.filter(pl.col("half") == EVERYBODY).select("pair_id", "item", "subgroup", "n_eff", "shares", "mode")
        joined = gold.join(draws, on="pair_id", how="left", maintain_order="left")
        self._none = joined.clear()
        self._by_item = {str(rows["item"][0]): rows for rows in joined.partition_by("item", maintain_order=True)}
        self._ordered = {item: level != "nominal" for item, level in dataset.items.select("item", "level").iter_rows()}
        self._codes = dataset.codes_of

    def both(self, item: str, subgroups: Collection[str]) -> tuple[SubgroupVariance | None, SubgroupVariance | None]:
        """Return the variances between mean positions and between modes."""
        return self.means(item, subgroups), self.modes(item, subgroups)

    def means(self, item: str, subgroups: Collection[str]) -> SubgroupVariance | None:
        """Return the variance between the subgroups' mean positions (shares, for a nominal item); None with fewer than two.

        With redraws of the shares, the noise is the variance within a redraw minus the variance of the means over redraws; this
        accounts for shared respondents. Without, it is that of independent samples of size `n_eff`.
        """
        rows = self._rows(item, subgroups)
        if len(rows) < 2:
            return None
        shares, ordered = padded(rows["shares"], len(self._codes[item])), self._ordered[item]
        vector = answer_vectors(shares, ordered=ordered)
        if (packed := _lists(rows, "share_draws")) is None:
            each = (shares @ np.square(answer_vectors(np.eye(shares.shape[1]), ordered=ordered)).sum(axis=1)) - np.square(vector).sum(
                axis=1
            )
            noise = float((each / np.maximum(rows["n_eff"].to_numpy() - 1.0, 1.0)).mean())
            return SubgroupVariance(float(_between(vector)) - noise, None, len(rows))
        drawn = unpack_share_draws(packed, shares, padded(rows["share_se"], shares.shape[1]))
        return _less_noise(vector, np.moveaxis(answer_vectors(drawn, ordered=ordered), 1, 0))

    def modes(self, item: str, subgroups: Collection[str]) -> SubgroupVariance | None:
        """Return the variance between the subgroups' modes; None with fewer than two subgroups, or without redraws."""
        rows = self._rows(item, subgroups)
        if len(rows) < 2 or (drawn := _lists(rows, "draws")) is None:
            return None
        codes = self._codes[item]
        each = answer_vectors(np.eye(len(codes)), ordered=self._ordered[item])
        return _less_noise(each[[codes.index(code) for code in rows["mode"]]], each[drawn.T])

    def _rows(self, item: str, subgroups: Collection[str]) -> pl.DataFrame:
        return self._by_item.get(item, self._none).filter(pl.col("subgroup").is_in(list(subgroups)))


def _between(vectors: Floats) -> Floats:
    """Return the sample variance over subgroups, summed over the vector: (..., G, D) -> (...)."""
    return np.asarray(vectors.var(axis=-2, ddof=1).sum(axis=-1), dtype=np.float64)


def _less_noise(vector: Floats, drawn: Floats) -> SubgroupVariance:
    """Subtract the noise: `vector` (G, D) as observed, `drawn` (B, G, D) in each redraw."""
    each, number = _between(drawn), len(drawn)
    noise = (float(each.mean()) - float(_between(drawn.mean(axis=0)))) * number / max(number - 1, 1)
    return SubgroupVariance(float(_between(vector)) - noise, each - each.mean(), len(vector))


def _lists(rows: pl.DataFrame, column: str) -> np.ndarray[tuple[int, int], np.dtype[np.int8]] | None:
    """Return a column of lists as an array with one row for each list; None if all lists are empty.

    Raises:
        InputDataError: lists of different lengths.
    """
    lengths = rows[column].list.len().fill_null(0)
    if lengths.max() == 0:
        return None
    if lengths.n_unique() > 1:
        bad = rows.filter(lengths != lengths.max())
        raise InputDataError(
            f"mode_draws.parquet, column {column}: {len(bad)} of {len(rows)} pairs do not have {lengths.max()} numbers, first "
            f"{bad['pair_id'][0]!r}. Build the data set again."
        )
    return rows[column].explode().to_numpy().reshape(len(rows), -1)
