"""Agreement of a judge with people, and of people with each other, on the same answers.

Every measure is the mean over pairs of raters: the judge with each coder, or each coder with each other. Among more than two coders
Krippendorff's alpha is that of all together. `difference` is judge-people minus people-people on the answers rated by the judge and at
least two coders, with both from the same replicates.

Stances of items with different scales are compared by position, 0 to 1. Weighted kappas and alphas of ordered positions leave out nominal
items and answers without a stance; the other measures treat `no stance` as one more category.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.frames import Column, Schema
from valuestrata.openended.annotation.sample import STANCE
from valuestrata.openended.validity.units import IDENTITY, MIN_SHOWN, grouped
from valuestrata.stats.agreement import (
    MISSING,
    Level,
    Weighting,
    agreement,
    alpha,
    coincidences,
    confusions,
    distances,
    kappa,
    mean_over_pairs,
    rater_pairs,
)
from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.cluster_bootstrap import (
    UNDEFINED,
    ClusterEstimate,
    Clusters,
    cluster_draws,
    cluster_numbers,
    clusters_of,
    percentile_interval,
)

# The measure that decides: published agreement with judges mostly uses it, and it respects the order of verdicts.
DECIDING = "kappa_quadratic"
_WEIGHTINGS: Mapping[str, Weighting] = {"kappa": "nominal", "kappa_linear": "linear", DECIDING: "quadratic"}
_LEVELS: Mapping[str, Level] = {"alpha_nominal": "nominal", "alpha_ordinal": "ordinal", "alpha_interval": "interval"}
MEASURES = ("agreement", *_WEIGHTINGS, *_LEVELS)
_ORDERED = ("kappa_linear", DECIDING, "alpha_ordinal", "alpha_interval")
# Position that stands for `no stance`, outside the scale.
_NO_STANCE = 2.0

AGREED = Schema(
    "agreed",
    {
        "judge": Column(pl.String, "the judge"),
        "criterion": Column(pl.String, "criterion of verdicts; `stance` for readings"),
        "by": Column(pl.String, "all, run, stratum, level, subgroup or topic"),
        "key": Column(pl.String, "value of the grouping"),
        "measure": Column(pl.String, ", ".join(MEASURES)),
        "between": Column(pl.String, "judge-people, people-people, or difference: the first minus the second on the same answers"),
        "value": Column(pl.Float64, "the measure, null if undefined"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by block of items"),
        "ci_high": Column(pl.Float64, "upper end"),
        "n": Column(pl.Int64, "answers that both sides rated"),
        "items": Column(pl.Int64, "number of their items"),
        "coders": Column(pl.Int64, "coders who rated them"),
    },
)


@dataclass(frozen=True)
class Ratings:
    """Ratings of the same answers by a judge and coders.

    Attributes:
        codes: category by rater, the judge first, `MISSING` if not rated; shape (answers, 1 + coders).
        places: position of each category, NaN for `no stance`; shape (K,).
        items, blocks: numbers of the item and of its block, shape (answers,).
        ordered: False for stances on nominal items, shape (answers,).
    """

    codes: Indices
    places: Floats
    items: Indices
    blocks: Indices
    ordered: NDArray[np.bool_]

    def on(self, mask: NDArray[np.bool_]) -> Ratings:
        """Return the ratings of some answers."""
        return replace(self, codes=self.codes[mask], items=self.items[mask], blocks=self.blocks[mask], ordered=self.ordered[mask])

    def for_measure(self, measure: str) -> Ratings:
        """Leave out the ratings that a measure cannot use."""
        if measure not in _ORDERED:
            return replace(self, places=np.nan_to_num(self.places, nan=_NO_STANCE))
        known = np.flatnonzero(np.isfinite(self.places))
        codes = np.where(np.isin(self.codes, known) & self.ordered[:, None], self.codes, MISSING)
        return replace(self, codes=codes, places=self.places[known])


def ratings_of(judged: pl.DataFrame, coded: pl.DataFrame, dataset: Dataset) -> tuple[pl.DataFrame, Ratings]:
    """Arrange the ratings of one judge and all coders under one criterion.

    Args:
        judged: from `judged_pairs` or `judged_stances`, one judge and criterion. coded: from `coded_places`, the same criterion.

    Returns:
        The coded answers (columns `IDENTITY`) and their ratings.
    """
    coders = sorted(coded["coder"].unique())
    units = coded.select(IDENTITY).unique().sort(IDENTITY)
    columns: list[NDArray[np.float64]] = []
    for frame in [judged, *(coded.filter(pl.col("coder") == coder) for coder in coders)]:
        rated = frame.select(*IDENTITY, pl.col("place").fill_null(_NO_STANCE))
        columns.append(units.join(rated, on=IDENTITY, how="left", maintain_order="left", nulls_equal=True)["place"].to_numpy())
    table = np.stack(columns, axis=1) if len(units) else np.zeros((0, 1 + len(coders)))
    found = np.unique(np.round(table[np.isfinite(table)], 9))
    codes = np.where(np.isfinite(table), np.searchsorted(found, np.round(np.nan_to_num(table), 9)), MISSING).astype(np.intp)
    nominal = dataset.items.filter(pl.col("level") == "nominal")["item"].to_list()
    ordered = ((units["criterion"] != STANCE) | ~units["item"].is_in(nominal)).to_numpy()
    places = np.where(found == _NO_STANCE, np.nan, found)
    items = units["item"].to_numpy()
    return units, Ratings(codes, places, cluster_numbers(items), cluster_numbers(dataset.blocks_of(items)), ordered)


def agreement_table(dataset: Dataset, judged: pl.DataFrame, coded: pl.DataFrame, *, bootstrap: int, seed: int) -> pl.DataFrame:
    """Return the agreement of judges with people and of people with each other, a frame of AGREED.

    Args:
        judged: from `judged_pairs` or `judged_stances`, any number of judges and criteria.
        coded: from `coded_places`. bootstrap, seed: number of replicates and their seed.
    """
    rows: list[dict[str, object]] = []
    for (judge, criterion), part in judged.group_by("judge", "criterion", maintain_order=True):
        contests = part.select("run", "reference").unique()
        people = coded.filter(pl.col("criterion") == criterion).join(contests, on=["run", "reference"], how="semi", nulls_equal=True)
        if people.is_empty():
            continue
        units, ratings = ratings_of(part, people, dataset)
        for by, key, mask in grouped(dataset, units, MIN_SHOWN):
            where = {"judge": str(judge), "criterion": str(criterion), "by": by, "key": key}
            some = ratings.on(mask)
            for measure in MEASURES:
                for between, (found, coders) in measured(some, measure, bootstrap=bootstrap, seed=seed).items():
                    counts = {"n": found.n, "items": found.items, "coders": coders}
                    rows.append({**where, "measure": measure, "between": between, **found.columns(), **counts})
    return AGREED.frame(rows)


def measured(ratings: Ratings, measure: str, *, bootstrap: int, seed: int) -> Mapping[str, tuple[ClusterEstimate, int]]:
    """Return a measure for judge-people, people-people and their difference, each with its number of coders."""
    used = ratings.for_measure(measure)
    rated = used.codes != MISSING
    coders = used.codes.shape[1] - 1
    clusters = clusters_of(used.items, used.blocks)
    weights = cluster_draws(clusters.count, bootstrap, seed)
    with_judge = [(0, coder) for coder in range(1, coders + 1)]
    people = [(first + 1, second + 1) for first, second in rater_pairs(coders)]
    by_two = rated[:, 1:].sum(axis=1) >= 2
    rows = {"judge-people": rated[:, 0] & rated[:, 1:].any(axis=1), "people-people": by_two, "difference": rated[:, 0] & by_two}
    # If people always give the same category, the kappa of any judge with them is 0, even of a perfect one; it is then undefined.
    theirs = np.where(rows["judge-people"][:, None], used.codes[:, 1:], MISSING)
    defined = not measure.startswith("kappa") or len(np.unique(theirs[theirs != MISSING])) > 1
    common = replace(used, codes=np.where(rows["difference"][:, None], used.codes, MISSING))
    ours, others = _over_pairs(common, measure, with_judge, clusters, weights), _among_people(common, measure, people, clusters, weights)
    values = {
        "judge-people": _over_pairs(used, measure, with_judge if defined else [], clusters, weights),
        "people-people": _among_people(used, measure, people, clusters, weights),
        "difference": (ours[0] - others[0], ours[1] - others[1]),
    }
    return {
        name: (_estimate(values[name], used, mask, 2.0 if name == "difference" else 1.0), int(rated[mask][:, 1:].any(axis=0).sum()))
        for name, mask in rows.items()
    }


def _estimate(values: tuple[float, Floats], ratings: Ratings, counted: NDArray[np.bool_], limit: float) -> ClusterEstimate:
    clusters = clusters_of(ratings.items[counted], ratings.blocks[counted])
    if not clusters.items:
        return UNDEFINED
    return ClusterEstimate(values[0], *percentile_interval(*values, clusters, -limit, limit), int(counted.sum()), clusters.items)


def _over_pairs(ratings: Ratings, measure: str, pairs: list[tuple[int, int]], clusters: Clusters, weights: Floats) -> tuple[float, Floats]:
    """Return the mean of a measure over pairs of raters, and its replicates."""
    items, categories = clusters.count, len(ratings.places)
    if not pairs or not categories or not items:
        return np.nan, np.full(len(weights), np.nan)
    tables = np.stack([confusions(ratings.codes[:, a], ratings.codes[:, b], clusters.of, categories, items) for a, b in pairs])
    units = tables.sum(axis=(1, 2, 3))
    flat = tables.transpose(1, 0, 2, 3).reshape(items, -1)
    drawn = (weights @ flat).reshape(len(weights), len(pairs), categories, categories)
    value = mean_over_pairs(_of_confusions(tables.sum(axis=1), ratings.places, measure), units)
    replicates = mean_over_pairs(_of_confusions(drawn, ratings.places, measure), np.broadcast_to(units, drawn.shape[:2]))
    return float(value), replicates


def _among_people(
    ratings: Ratings, measure: str, pairs: list[tuple[int, int]], clusters: Clusters, weights: Floats
) -> tuple[float, Floats]:
    """Return a measure among people and its replicates: alpha of all coders together, other measures as the mean over pairs."""
    items, categories = clusters.count, len(ratings.places)
    if measure not in _LEVELS or not categories or not items:
        return _over_pairs(ratings, measure, pairs, clusters, weights)
    tables = coincidences(ratings.codes[:, 1:], clusters.of, categories, items)
    drawn = (weights @ tables.reshape(items, -1)).reshape(len(weights), categories, categories)
    level = _LEVELS[measure]
    return float(alpha(tables.sum(axis=0), ratings.places, level)), alpha(drawn, ratings.places, level)


def _of_confusions(tables: Floats, places: Floats, measure: str) -> Floats:
    """Return a measure of confusion tables, shape (..., K, K)."""
    if measure == "agreement":
        return agreement(tables)
    if measure in _LEVELS:
        # The coincidences of two raters are their confusion table plus its transpose.
        return alpha(tables + np.swapaxes(tables, -1, -2), places, _LEVELS[measure])
    return kappa(tables, distances(places, _WEIGHTINGS[measure]))
