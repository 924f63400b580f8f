"""Judge against people beside people against people, on the same answers.

Every measure of `agreement` is the mean over pairs of raters: the judge with each coder, each coder with each other. With more
than two coders Krippendorff's alpha among people is that of all of them together. `difference` is judge-people less people-people
over the answers that have the judge's word and those of two coders or more, both from the same resamples of items: it says
whether a judge agrees with people as well as they do with each other.

Stances of items with different scales share one: the option's place from 0 to 1. Weighted measures and alphas of ordered places leave
out answers said to take no stance, and nominal items; the others take `no stance` as one more category.
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
from valuestrata.openended.validity.units import ENOUGH_SHOWN, IDENTITY, keyed
from valuestrata.stats.agreement import (
    MISSING,
    agreement,
    alpha,
    coincidences,
    confusions,
    distances,
    kappa,
    pooled,
    rater_pairs,
)
from valuestrata.stats.cluster_bootstrap import Estimate, Floats, Indices, draws, ends, numbered

# The measure that decides: the one in which agreement with judges is mostly published, and the order of verdicts counts.
DECIDING = "kappa_quadratic"
MEASURES = ("agreement", "kappa", "kappa_linear", DECIDING, "alpha_nominal", "alpha_ordinal", "alpha_interval")
_ORDERED = ("kappa_linear", DECIDING, "alpha_ordinal", "alpha_interval")
_UNKNOWN = Estimate(np.nan, np.nan, np.nan, 0, 0)

AGREED = Schema(
    "agreed",
    {
        "judge": Column(pl.String, "the judge"),
        "criterion": Column(pl.String, "criterion of verdicts; `stance` for readings of one answer"),
        "by": Column(pl.String, "all, run, stratum, level, subgroup or topic"),
        "key": Column(pl.String, "which one of them"),
        "measure": Column(pl.String, ", ".join(MEASURES)),
        "between": Column(pl.String, "judge-people, people-people, or difference: the first less the second on the same answers"),
        "value": Column(pl.Float64, "the measure, null where it is not defined"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by item"),
        "ci_high": Column(pl.Float64, "upper end"),
        "n": Column(pl.Int64, "answers that both sides spoke of"),
        "items": Column(pl.Int64, "their items"),
        "coders": Column(pl.Int64, "coders who spoke of them"),
    },
)


@dataclass(frozen=True)
class Ratings:
    """What a judge and coders said of the same answers.

    Attributes:
        codes: shape (answers, 1 + coders), the judge in front: category, `MISSING` where nothing was said.
        places: shape (K,): place of each category; the last is NaN where it stands for `no stance`.
        items: shape (answers,): number of the item. ordered: shape (answers,): False for stances on nominal items.
    """

    codes: Indices
    places: Floats
    items: Indices
    ordered: NDArray[np.bool_]

    def on(self, mask: NDArray[np.bool_]) -> Ratings:
        """Return the ratings of some answers."""
        return replace(self, codes=self.codes[mask], items=numbered(self.items[mask]), ordered=self.ordered[mask])

    def for_measure(self, measure: str) -> Ratings:
        """Leave out what a measure does not admit."""
        if measure not in _ORDERED:
            return replace(self, places=np.nan_to_num(self.places, nan=2.0))
        known = np.flatnonzero(np.isfinite(self.places))
        codes = np.where(np.isin(self.codes, known) & self.ordered[:, None], self.codes, MISSING)
        return replace(self, codes=codes, places=self.places[known])

    @property
    def with_both(self) -> NDArray[np.bool_]:
        """Answers with the judge's word and those of two coders or more."""
        said = self.codes != MISSING
        return said[:, 0] & (said[:, 1:].sum(axis=1) >= 2)


def ratings_of(judged: pl.DataFrame, coded: pl.DataFrame, dataset: Dataset) -> tuple[pl.DataFrame, Ratings]:
    """Lay out what one judge and all coders said under one criterion.

    Args:
        judged: of `places.judged_pairs` or `judged_stances`, one judge and criterion. coded: of `places.coded_places`, the same criterion.

    Returns:
        The answers that somebody coded (columns `places.IDENTITY`), and the ratings of each.
    """
    coders = sorted(coded["coder"].unique())
    units = coded.select(IDENTITY).unique().sort(IDENTITY)
    columns: list[NDArray[np.float64]] = []
    for frame in [judged, *(coded.filter(pl.col("coder") == coder) for coder in coders)]:
        # No stance is a word, too: 2 stands for it, outside of the scale.
        said = frame.select(*IDENTITY, pl.col("place").fill_null(2.0))
        columns.append(units.join(said, on=IDENTITY, how="left", maintain_order="left", nulls_equal=True)["place"].to_numpy())
    table = np.stack(columns, axis=1) if len(units) else np.zeros((0, 1 + len(coders)))
    found = np.unique(np.round(table[np.isfinite(table)], 9))
    codes = np.where(np.isfinite(table), np.searchsorted(found, np.round(np.nan_to_num(table), 9)), MISSING).astype(np.intp)
    nominal = dataset.items.filter(pl.col("level") == "nominal")["item"].to_list()
    # Verdicts are ordered whatever the item is; a stance stands on the item's own scale.
    ordered = ((units["criterion"] != STANCE) | ~units["item"].is_in(nominal)).to_numpy()
    return units, Ratings(codes, np.where(found == 2.0, np.nan, found), numbered(units["item"].to_numpy()), ordered)


def agreement_table(dataset: Dataset, judged: pl.DataFrame, coded: pl.DataFrame, *, bootstrap: int, seed: int) -> pl.DataFrame:
    """Return how judges agree with people and people with each other, a frame of AGREED.

    Args:
        judged: of `places.judged_pairs` or `judged_stances`, any number of judges and criteria.
        coded: of `places.coded_places`. bootstrap, seed: of the intervals, clustered by item.
    """
    rows: list[dict[str, object]] = []
    for (judge, criterion), part in judged.group_by("judge", "criterion", maintain_order=True):
        # What people said of answers that this judge was never given says nothing about it.
        contests = part.select("run", "reference").unique()
        people = coded.filter(pl.col("criterion") == criterion).join(contests, on=["run", "reference"], how="semi", nulls_equal=True)
        if people.is_empty():
            continue
        units, ratings = ratings_of(part, people, dataset)
        for by, key, mask in keyed(units, dataset, ENOUGH_SHOWN):
            some = ratings.on(mask)
            named = {"judge": str(judge), "criterion": str(criterion), "by": by, "key": key}
            for measure in MEASURES:
                for between, (found, coders) in measured(some, measure, bootstrap=bootstrap, seed=seed).items():
                    rows.append(named | _row(measure, between, found, coders))
    return AGREED.frame(rows)


def _row(measure: str, between: str, found: Estimate, coders: int) -> dict[str, object]:
    numbers = {"value": found.value, "ci_low": found.low, "ci_high": found.high}
    known = {name: value if np.isfinite(value) else None for name, value in numbers.items()}
    return {"measure": measure, "between": between, **known, "n": found.n, "items": found.items, "coders": coders}


def measured(ratings: Ratings, measure: str, *, bootstrap: int, seed: int) -> Mapping[str, tuple[Estimate, int]]:
    """Return a measure between judge and people, between people, and the difference of the two, each with its coders."""
    admitted = ratings.for_measure(measure)
    said = admitted.codes != MISSING
    coders = admitted.codes.shape[1] - 1
    weights = draws(int(admitted.items.max()) + 1 if len(admitted.items) else 0, bootstrap, seed)
    with_judge = [(0, coder) for coder in range(1, coders + 1)]
    among = [(first + 1, second + 1) for first, second in rater_pairs(coders)]
    judge_said = said[:, 0] & said[:, 1:].any(axis=1)
    people_said = said[:, 1:].sum(axis=1) >= 2
    both = admitted.with_both
    heard = np.where(judge_said[:, None], admitted.codes[:, 1:], MISSING)
    # With raters who always say the same any judge has a kappa of 0, one that says it, too, no less than one that guesses.
    apart = not measure.startswith("kappa") or len(np.unique(heard[heard != MISSING])) > 1
    found = {
        "judge-people": _estimate(_values(admitted, measure, with_judge if apart else [], weights), admitted, judge_said),
        "people-people": _estimate(_among(admitted, measure, among, weights), admitted, people_said),
    }
    # The same answers on both sides, and the same pairs of raters all over.
    common = replace(admitted, codes=np.where(both[:, None], admitted.codes, MISSING))
    ours, theirs = _values(common, measure, with_judge, weights), _among(common, measure, among, weights)
    found["difference"] = _estimate((ours[0] - theirs[0], ours[1] - theirs[1]), admitted, both, low=-2.0, high=2.0)
    who = {"judge-people": judge_said, "people-people": people_said, "difference": both}
    return {name: (estimate, int(said[who[name]][:, 1:].any(axis=0).sum())) for name, estimate in found.items()}


def _estimate(values: tuple[float, Floats], ratings: Ratings, counted: NDArray[np.bool_], low: float = -1.0, high: float = 1.0) -> Estimate:
    items = len(np.unique(ratings.items[counted]))
    if not items:
        return _UNKNOWN
    return Estimate(values[0], *ends(values[0], values[1], items, low, high), int(counted.sum()), items)


def _values(ratings: Ratings, measure: str, pairs: list[tuple[int, int]], weights: Floats) -> tuple[float, Floats]:
    """Return a measure, the mean over pairs of raters: as it is, and in each resample."""
    items, categories = weights.shape[1], len(ratings.places)
    if not pairs or not categories or not items:
        return np.nan, np.full(len(weights), np.nan)
    tables = np.stack([confusions(ratings.codes[:, a], ratings.codes[:, b], ratings.items, categories, items) for a, b in pairs])
    units = tables.sum(axis=(1, 2, 3))
    flat = tables.transpose(1, 0, 2, 3).reshape(items, -1)
    drawn = (weights @ flat).reshape(len(weights), *tables.shape[:1], categories, categories)
    return float(pooled(_formula(tables.sum(axis=1), ratings.places, measure), units)), pooled(
        _formula(drawn, ratings.places, measure), np.broadcast_to(units, drawn.shape[:2])
    )


def _among(ratings: Ratings, measure: str, pairs: list[tuple[int, int]], weights: Floats) -> tuple[float, Floats]:
    """Return a measure among people: alpha of all of them, anything else the mean over pairs."""
    items, categories = weights.shape[1], len(ratings.places)
    if not measure.startswith("alpha") or not categories or not items:
        return _values(ratings, measure, pairs, weights)
    tables = coincidences(ratings.codes[:, 1:], ratings.items, categories, items)
    drawn = (weights @ tables.reshape(items, -1)).reshape(len(weights), categories, categories)
    return float(_alpha(tables.sum(axis=0), ratings.places, measure)), _alpha(drawn, ratings.places, measure)


def _formula(tables: Floats, places: Floats, measure: str) -> Floats:
    """Return a measure of confusions, shape (..., K, K)."""
    if measure == "agreement":
        return agreement(tables)
    if measure.startswith("alpha"):
        # Two raters' coincidences are their confusion, read both ways.
        return _alpha(tables + np.swapaxes(tables, -1, -2), places, measure)
    weighting = {"kappa": "nominal", "kappa_linear": "linear", DECIDING: "quadratic"}[measure]
    return kappa(tables, distances(places, weighting))  # pyright: ignore[reportArgumentType]


def _alpha(tables: Floats, places: Floats, measure: str) -> Floats:
    return alpha(tables, places, {"alpha_nominal": "nominal", "alpha_ordinal": "ordinal"}.get(measure, "interval"))  # pyright: ignore[reportArgumentType]
