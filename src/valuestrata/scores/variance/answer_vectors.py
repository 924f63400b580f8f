"""Answers of one model, item by item, as vectors with the persona and the presentation that each was given under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.responses.run.identity import Answered
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.variance_components import FACTORS, Components, decompose

_READ = ("pair_id", "item", "subgroup", "elicitation", *FACTORS[1:], "answer", "status", "option_probs")


@dataclass(frozen=True)
class ItemParts:
    """One item's components, and whom it was answered for.

    Attributes:
        subgroups: personas with an answer. missing: responses without one.
    """

    item: str
    topic: str | None
    parts: Components
    subgroups: frozenset[str]
    missing: int


def spots(distributions: Floats, *, ordered: bool) -> Floats:
    """Return distributions over K codes, shape (..., K), as vectors whose squared distances are split into components.

    Of ordered codes it is the expected position on 0..1, shape (..., 1); of nominal ones the shares divided by the root of 2,
    shape (..., K), so that half the sum over codes of the variances is taken: a binary item has one variance either way.
    """
    if not ordered:
        return distributions * np.sqrt(0.5)
    options = distributions.shape[-1]
    return (distributions @ (np.arange(options) / (options - 1)))[..., None]


def responses_of(dataset: Dataset, run: Answered) -> pl.DataFrame:
    """Return a run's responses with the levels of the factors in the columns named so.

    `order` is the list of codes as it was shown, for a shuffle shows each pair another one; its name where that is not recorded.

    Raises:
        InputDataError: responses that do not fit the schema, or to a pair that the data set does not have.
    """
    checked = RESPONSES.check(run.responses, run.name)
    unknown = checked.join(dataset.gold, on="pair_id", how="anti")
    if not unknown.is_empty():
        raise InputDataError(
            f"{run.name}: {unknown['pair_id'].n_unique()} pairs have no gold in the data set, first {unknown['pair_id'][0]!r}. "
            f"Give the data set that the run was asked from."
        )
    shown = pl.col("shown").cast(pl.List(pl.String)).list.join(",")
    versioned = pl.concat_str(pl.col("template", "template_version").fill_null(""), separator="\n")
    return checked.with_columns(
        pl.when(shown.str.len_chars() > 0).then(shown).otherwise(pl.col("order")).fill_null("").alias("order"),
        versioned.alias("template"),
        pl.col("paraphrase").fill_null(0).cast(pl.String),
    ).select(_READ)


def items_of(dataset: Dataset, responses: pl.DataFrame, *, drawn: bool) -> list[ItemParts]:
    """Split the answers to each item, in the data set's order; items that nobody was asked are not there.

    Args:
        dataset: the ground truth. responses: as `responses_of` returns them, of one elicitation and any number of runs.
        drawn: as for `decompose`.

    Raises:
        InputDataError: an answer that is no code of its item, or probabilities that are not one for each code.
    """
    by_item = {str(rows["item"][0]): rows for rows in responses.partition_by("item", maintain_order=True)}
    found: list[ItemParts] = []
    for item, topic, level in dataset.items.select("item", "topic", "level").iter_rows():
        if item not in by_item:
            continue
        rows = by_item[item].filter(pl.col("status") == "answered")
        answers = spots(_distributions(rows, dataset.codes_of[item]), ordered=level != "nominal")
        parts = decompose(_levels(rows), answers, drawn=drawn)
        found.append(ItemParts(item, topic, parts, frozenset(rows["subgroup"].unique()), len(by_item[item]) - len(rows)))
    return found


def _levels(rows: pl.DataFrame) -> Indices:
    """Return the levels of `FACTORS` as numbers, shape (N, 4)."""
    names = ("subgroup", *FACTORS[1:])
    return np.stack([rows[name].rank("dense").to_numpy().astype(np.intp) for name in names], axis=1)


def _distributions(rows: pl.DataFrame, codes: Sequence[int]) -> Floats:
    """Return a distribution a response over its item's codes: its probabilities, else all of it on its answer."""
    place = rows["answer"].replace_strict(list(codes), list(range(len(codes))), default=None, return_dtype=pl.Int64)
    if place.null_count():
        first = rows.row(int(place.is_null().arg_max() or 0), named=True)
        raise InputDataError(
            f"{first['pair_id']!r}: {first['answer']} is no code of the item {first['item']!r} ({place.null_count()} such responses). "
            "A response that gave no legal code must not have the status `answered`."
        )
    result = np.zeros((len(rows), len(codes)))
    result[np.arange(len(rows)), place.to_numpy()] = 1.0
    stated = rows["option_probs"].is_not_null()
    given = rows["option_probs"].filter(stated)
    if len(wrong := given.filter(given.list.len() != len(codes))):
        raise InputDataError(
            f"{rows['item'][0]!r}: {len(wrong)} responses hold {len(wrong[0])} probabilities, the item has {len(codes)} options. "
            "They must stand in scale order, one for each code."
        )
    if len(given):
        result[stated.to_numpy()] = given.explode().to_numpy().reshape(len(given), len(codes))
    return result
