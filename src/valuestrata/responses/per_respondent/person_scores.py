"""Answers of simulated respondents beside those of the same persons; aggregated, because no person's answer may be stored.

====================== ==================================================================================================
metric                 meaning
====================== ==================================================================================================
agreement              share of the persons' answers that the model gives too; an answer that was refused or could not be read
                       does not agree
agreement_mode         the same for the item's most frequent answer among other persons
agreement_lookup       the same for a lookup by demographics (`stats.persons.lookup`), also learned on other persons
agreement_over_mode    agreement minus agreement_mode, on the same answers
agreement_over_lookup  agreement minus agreement_lookup
correlation            Pearson's correlation of positions over persons, within an item; undefined where either side is constant
spread                 SD of the model's positions over SD of the persons'
====================== ==================================================================================================

The last two need ordered options and leave missing answers out. Values of topics and of all items are means over items, each item with
the same weight. `ci` redraws persons and resamples blocks of items (`stats.item_resampling`); `these`, and both of single items, redraw
persons only. The predictions of mode and lookup are held fixed. With weights, persons are weighted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.files import read_parquet
from valuestrata.frames import Column, Schema
from valuestrata.responses.per_respondent.answers import EMPTY
from valuestrata.responses.per_respondent.people import People
from valuestrata.responses.run.identity import Answered
from valuestrata.stats.arrays import Floats, Indices, generator
from valuestrata.stats.blocks import block_numbers
from valuestrata.stats.item_resampling import ItemResamples, ItemValues
from valuestrata.stats.persons.item_scores import Moments, redrawn_weights, weighted_means
from valuestrata.stats.persons.lookup import PersonPredictions, predict_from_others

FILE = "people.parquet"
FEWEST_PERSONS = 10
REDRAWS = 200
REPLICATES = 1000
CONFIDENCE = 0.95

PERSON_SCORES = Schema(
    FILE,
    {
        "by": Column(pl.String, "all, topic or item"),
        "key": Column(pl.String, "the topic or item, or all"),
        "metric": Column(pl.String, "agreement, agreement_mode, ..., correlation or spread"),
        "value": Column(pl.Float64, "the value; null where undefined"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval for other persons and other items of this kind"),
        "ci_high": Column(pl.Float64, "upper end"),
        "these_low": Column(pl.Float64, "lower end of the 95 % interval for other persons and these items"),
        "these_high": Column(pl.Float64, "upper end"),
        "items": Column(pl.Int64, "items with a value"),
        "persons": Column(pl.Int64, "persons with an answer to the item; for several items, to any of them"),
    },
)
_SHARE, _DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)
# Metric -> range of its values.
METRICS: Mapping[str, tuple[float, float]] = {
    "agreement": _SHARE,
    "agreement_mode": _SHARE,
    "agreement_lookup": _SHARE,
    "agreement_over_mode": _DIFFERENCE,
    "agreement_over_lookup": _DIFFERENCE,
    "correlation": _DIFFERENCE,
    "spread": (0.0, np.inf),
}


def person_scores(dataset: Dataset, people: People, human: NDArray[np.int8], model: NDArray[np.int8], *, seed: int = 0) -> pl.DataFrame:
    """Compare the answers of P persons with a model's answers as these persons.

    Args:
        dataset: the data set. people: the P persons. human, model: shape (P, items), as in `RespondentAnswers`.
        seed: of the folds of the lookup, the redrawn persons and the resampled items.

    Returns:
        PERSON_SCORES schema. Items with fewer than `FEWEST_PERSONS` persons are left out; without any other item it is empty.
    """
    used = np.flatnonzero(((human >= 0) & (model != EMPTY)).sum(axis=0) >= FEWEST_PERSONS)
    if not len(used):
        return PERSON_SCORES.empty()
    items = dataset.items.gather(used)
    human, model = human[:, used], model[:, used]
    weight = np.ones(len(human)) if people.weight is None else people.weight
    options = items["codes"].list.len().to_list()
    predicted = predict_from_others(human, options, people.levels, weight, generator(seed, 1))
    weights = redrawn_weights(weight, REDRAWS, generator(seed, 2))
    values = _by_item(human, model, predicted, weights, (items["level"] != "nominal").to_numpy())
    asked = (human >= 0) & (model != EMPTY)
    resamples = ItemResamples(block_numbers(items["block"].to_list()), REPLICATES, seed, CONFIDENCE)
    topics = items["topic"].unique(maintain_order=True).to_list()
    groups = {("all", "all"): np.arange(len(used))}
    groups |= {("topic", topic): np.flatnonzero((items["topic"] == topic).to_numpy()) for topic in topics}
    rows = [
        {"by": by, "key": key, "metric": metric, "persons": int(asked[:, places].any(axis=1).sum())}
        | _mean(values[metric], places.astype(np.intp), resamples, METRICS[metric])
        for (by, key), places in groups.items()
        for metric in METRICS
    ]
    for place, item in enumerate(items["item"]):
        persons = int(asked[:, place].sum())
        rows += [{"by": "item", "key": item, "metric": name, "persons": persons} | _of_item(values[name][:, place]) for name in METRICS]
    return PERSON_SCORES.frame(rows)


def _by_item(
    human: NDArray[np.int8], model: NDArray[np.int8], predicted: PersonPredictions, weights: Floats, ordered: NDArray[np.bool_]
) -> Mapping[str, Floats]:
    """Return metric -> values by item, shape (1 + redraws, I), under each set of weights."""
    asked = (human >= 0) & (model != EMPTY)
    hits = {
        name: weighted_means((given == human).astype(np.float64), asked, weights)
        for name, given in (("agreement", model), ("agreement_mode", predicted.mode), ("agreement_lookup", predicted.lookup))
    }
    moments = Moments.of(human.astype(np.float64), model.astype(np.float64), asked & (model >= 0), weights)
    return {
        **hits,
        "agreement_over_mode": hits["agreement"] - hits["agreement_mode"],
        "agreement_over_lookup": hits["agreement"] - hits["agreement_lookup"],
        "correlation": np.where(ordered, moments.correlation, np.nan),
        "spread": np.where(ordered, moments.spread, np.nan),
    }


def _mean(values: Floats, places: Indices, resamples: ItemResamples, bounds: tuple[float, float]) -> dict[str, float | int | None]:
    """Return the mean over the items at `places` that have a value, with its intervals; `bounds` is the range of values."""
    places = places[~np.isnan(values[0, places])]
    here = values[:, places]
    drawn = here[1:]
    # In few draws an item may be constant; it then stays at its mean.
    known = ~np.isnan(drawn)
    mean = np.where(known, drawn, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    found = _of_persons(np.where(known, drawn - mean, 0.0).mean(axis=1) + here[0].mean() if len(places) else np.empty(0))
    ends = resamples.mean(ItemValues(here[0], np.where(known, drawn - mean, 0.0)), places) if len(places) else None
    low, high = (None, None) if ends is None else np.clip(ends, *bounds).tolist()
    return found | {"value": float(here[0].mean()) if len(places) else None, "ci_low": low, "ci_high": high, "items": len(places)}


def _of_item(values: Floats) -> dict[str, float | int | None]:
    """Return the value of one item, with the percentiles of its redraws."""
    if np.isnan(values[0]):
        return {"value": None, "items": 0}
    found = _of_persons(values[1:][~np.isnan(values[1:])])
    return found | {"value": float(values[0]), "items": 1, "ci_low": found["these_low"], "ci_high": found["these_high"]}


def _of_persons(redraws: Floats) -> dict[str, float | int | None]:
    """Return the interval of values under redrawn persons."""
    if len(redraws) < 2:
        return {"these_low": None, "these_high": None}
    low, high = np.quantile(redraws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {"these_low": float(low), "these_high": float(high)}


def with_run(run: str, table: pl.DataFrame) -> pl.DataFrame:
    """Return a PERSON_SCORES table with the name of its run as the first column, `run`."""
    return table.select(pl.lit(run).alias("run"), *PERSON_SCORES.columns)


def load_person_scores(runs: Sequence[Answered]) -> pl.DataFrame:
    """Return the person-level scores of those runs that have them: `run`, then PERSON_SCORES.

    Raises:
        InputDataError: a table is damaged.
    """
    found = [with_run("", PERSON_SCORES.empty())]
    for run in runs:
        folder = getattr(run, "path", None)
        if isinstance(folder, Path) and (file := folder / FILE).is_file():
            found.append(with_run(run.name, PERSON_SCORES.check(read_parquet(file), str(file))))
    return pl.concat(found)
