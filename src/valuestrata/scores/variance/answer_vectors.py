"""Answers of one model as vectors, by item, with the persona and presentation of each."""

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
class ItemVariance:
    """The variance components of one item.

    Attributes:
        subgroups: personas with an answer. missing: number of responses without an answer.
    """

    item: str
    topic: str | None
    block: str | None
    components: Components
    subgroups: frozenset[str]
    missing: int


def answer_vectors(distributions: Floats, *, ordered: bool) -> Floats:
    """Return distributions over K codes, shape (..., K), as vectors whose variance is decomposed.

    For ordered codes, the expected position on 0..1, shape (..., 1). For nominal ones, the shares divided by sqrt(2), shape
    (..., K): the variance is half the sum over codes, so a binary item has the same variance either way.
    """
    if not ordered:
        return distributions * np.sqrt(0.5)
    options = distributions.shape[-1]
    return (distributions @ (np.arange(options) / (options - 1)))[..., None]


def responses_of(dataset: Dataset, run: Answered) -> pl.DataFrame:
    """Return a run's responses with the levels of `FACTORS` in columns of these names.

    `order` is the list of codes that was shown, because a shuffle differs between pairs; the name of the order if not recorded.

    Raises:
        InputDataError: responses that do not fit the schema, or to a pair that is not in the data set.
    """
    checked = RESPONSES.check(run.responses, run.name)
    unknown = checked.join(dataset.gold, on="pair_id", how="anti")
    if not unknown.is_empty():
        raise InputDataError(
            f"{run.name}: {unknown['pair_id'].n_unique()} pairs have no gold in the data set, first {unknown['pair_id'][0]!r}. "
            f"Use the data set that the run was asked from."
        )
    shown = pl.col("shown").cast(pl.List(pl.String)).list.join(",")
    versioned = pl.concat_str(pl.col("template", "template_version").fill_null(""), separator="\n")
    return checked.with_columns(
        pl.when(shown.str.len_chars() > 0).then(shown).otherwise(pl.col("order")).fill_null("").alias("order"),
        versioned.alias("template"),
        pl.col("paraphrase").fill_null(0).cast(pl.String),
    ).select(_READ)


def items_of(dataset: Dataset, responses: pl.DataFrame, *, drawn: bool) -> list[ItemVariance]:
    """Decompose the variance of the answers to each item that was asked, in the data set's order.

    Args:
        dataset: the ground truth. responses: from `responses_of`, of one elicitation and any number of runs.
        drawn: as for `decompose`.

    Raises:
        InputDataError: an answer that is not a code of its item, or a wrong number of probabilities.
    """
    by_item = {str(rows["item"][0]): rows for rows in responses.partition_by("item", maintain_order=True)}
    found: list[ItemVariance] = []
    for item, topic, block, level in dataset.items.select("item", "topic", "block", "level").iter_rows():
        if item not in by_item:
            continue
        rows = by_item[item].filter(pl.col("status") == "answered")
        answers = answer_vectors(_distributions(rows, dataset.codes_of[item]), ordered=level != "nominal")
        components = decompose(_levels(rows), answers, drawn=drawn)
        found.append(ItemVariance(item, topic, block, components, frozenset(rows["subgroup"].unique()), len(by_item[item]) - len(rows)))
    return found


def _levels(rows: pl.DataFrame) -> Indices:
    """Return the levels of `FACTORS` as numbers, shape (N, 4)."""
    names = ("subgroup", *FACTORS[1:])
    return np.stack([rows[name].rank("dense").to_numpy().astype(np.intp) for name in names], axis=1)


def _distributions(rows: pl.DataFrame, codes: Sequence[int]) -> Floats:
    """Return the distribution of each response over its item's codes: its probabilities, else 1 for its answer."""
    place = rows["answer"].replace_strict(list(codes), list(range(len(codes))), default=None, return_dtype=pl.Int64)
    if place.null_count():
        first = rows.row(int(place.is_null().arg_max() or 0), named=True)
        raise InputDataError(
            f"{first['pair_id']!r}: {first['answer']} is not a code of the item {first['item']!r} ({place.null_count()} such responses). "
            "Give responses without a valid code another status than `answered`."
        )
    result = np.zeros((len(rows), len(codes)))
    result[np.arange(len(rows)), place.to_numpy()] = 1.0
    stated = rows["option_probs"].is_not_null()
    given = rows["option_probs"].filter(stated)
    if len(wrong := given.filter(given.list.len() != len(codes))):
        raise InputDataError(
            f"{rows['item'][0]!r}: {len(wrong)} responses hold {len(wrong[0])} probabilities, the item has {len(codes)} options. "
            "Give one for each code, in scale order."
        )
    if len(given):
        result[stated.to_numpy()] = given.explode().to_numpy().reshape(len(given), len(codes))
    return result
