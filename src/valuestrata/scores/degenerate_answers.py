"""Answers that do not depend on what is asked, or on whom: what a good score may hide."""

from __future__ import annotations

from typing import Literal, NamedTuple

import polars as pl


class Position(NamedTuple):
    """Where a model's answers stand in the list shown.

    Attributes:
        place: the end where most stand. share: how many of the answers do.
        answers, pairs: answers and pairs behind it.
        fewest, most: numbers of options of the items.
        one_order: whether every list was shown in the same order, so that place and code cannot be told apart.
    """

    place: Literal["first", "last"]
    share: float
    answers: int
    pairs: int
    fewest: int
    most: int
    one_order: bool


class Sameness(NamedTuple):
    """How many items are answered alike for all subgroups.

    Attributes:
        items: items asked of at least two subgroups in the same way. alike: those with one and the same answer for all.
        pairs: pairs behind it.
    """

    items: int
    alike: int
    pairs: int


def position_of(responses: pl.DataFrame) -> Position | None:
    """Return where the answers stand most often, first or last; None without valid answers whose list is known.

    Args:
        responses: RESPONSES schema.
    """
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
    return Position(
        place=place,
        share=float(at[place]),
        answers=len(rows),
        pairs=rows["pair_id"].n_unique(),
        fewest=int(at["fewest"]),
        most=int(at["most"]),
        one_order=rows["order"].n_unique() == 1,
    )


def sameness_of(responses: pl.DataFrame) -> Sameness:
    """Count the items whose answer is the same for all subgroups, comparing only what was asked in the same way.

    Answers to one item are compared among equal elicitation, template, paraphrase, order and sample: a change of the
    order shown is no difference between subgroups.
    """
    asked_alike = ("item", "elicitation", "template", "paraphrase", "order", "sample")
    groups = _answered(responses).group_by(asked_alike).agg(pl.col("subgroup").n_unique().alias("subgroups"), pl.col("answer", "pair_id"))
    groups = groups.filter(pl.col("subgroups") >= 2)
    by_item = groups.group_by("item").agg((pl.col("answer").list.n_unique() == 1).all().alias("alike"))
    pairs = groups["pair_id"].explode().n_unique() if len(groups) else 0
    return Sameness(len(by_item), int(by_item["alike"].sum()), pairs)


def _answered(responses: pl.DataFrame) -> pl.DataFrame:
    return responses.filter((pl.col("status") == "answered") & pl.col("answer").is_not_null())
