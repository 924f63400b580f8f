"""Checks for answers that do not depend on the question or the subgroup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl


@dataclass(frozen=True)
class PositionPreference:
    """Which end of the list of options a model chooses most often.

    Attributes:
        place: the end chosen more often. share: share of the answers there.
        answers, pairs: number of answers and pairs.
        fewest, most: smallest and largest number of options.
        one_order: whether every list was shown in the same order; then place and code are confounded.
    """

    place: Literal["first", "last"]
    share: float
    answers: int
    pairs: int
    fewest: int
    most: int
    one_order: bool


@dataclass(frozen=True)
class Sameness:
    """How many items have the same answer for all subgroups.

    Attributes:
        items: items asked for at least two subgroups in the same way. alike: those with the same answer for all of them.
        pairs: number of pairs.
    """

    items: int
    alike: int
    pairs: int


def position_of(responses: pl.DataFrame) -> PositionPreference | None:
    """Return which end of the list shown is chosen more often; None without valid answers whose list is recorded."""
    rows = _answered(responses).filter(pl.col("shown").list.len() >= 2).filter(pl.col("shown").list.contains(pl.col("answer")))
    if rows.is_empty():
        return None
    at = rows.select(
        (pl.col("shown").list.first() == pl.col("answer")).mean().alias("first"),
        (pl.col("shown").list.last() == pl.col("answer")).mean().alias("last"),
        pl.col("shown").list.len().min().alias("fewest"),
        pl.col("shown").list.len().max().alias("most"),
    ).row(0, named=True)
    place: Literal["first", "last"] = "first" if at["first"] >= at["last"] else "last"
    return PositionPreference(
        place=place,
        share=float(at[place]),
        answers=len(rows),
        pairs=rows["pair_id"].n_unique(),
        fewest=int(at["fewest"]),
        most=int(at["most"]),
        one_order=rows["order"].n_unique() == 1,
    )


def sameness_of(responses: pl.DataFrame) -> Sameness:
    """Count items with the same answer for all subgroups, comparing equal elicitation, template, paraphrase, order and sample."""
    asked_alike = ("item", "elicitation", "template", "paraphrase", "order", "sample")
    groups = _answered(responses).group_by(asked_alike).agg(pl.col("subgroup").n_unique().alias("subgroups"), pl.col("answer", "pair_id"))
    groups = groups.filter(pl.col("subgroups") >= 2)
    by_item = groups.group_by("item").agg((pl.col("answer").list.n_unique() == 1).all().alias("alike"))
    pairs = groups["pair_id"].explode().n_unique() if len(groups) else 0
    return Sameness(items=len(by_item), alike=int(by_item["alike"].sum()), pairs=pairs)


def _answered(responses: pl.DataFrame) -> pl.DataFrame:
    return responses.filter((pl.col("status") == "answered") & pl.col("answer").is_not_null())
