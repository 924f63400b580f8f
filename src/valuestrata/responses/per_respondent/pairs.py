"""Aggregation of respondents' answers to pairs, with the weights, strata and minimum of the data set's gold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.gold import MISSING_CLASSES, TIE_TOLERANCE, count_answers
from valuestrata.dataset.tables import Dataset
from valuestrata.frames import list_column
from valuestrata.responses.per_respondent.people import People, level_labels
from valuestrata.responses.run.schema import RESPONSES

ELICITATION = "per-respondent"
TEMPLATE = "imported"


@dataclass(frozen=True)
class RespondentPairs:
    """Answers of respondents as pairs.

    Attributes:
        responses: RESPONSES schema, one row for each pair of the gold that has the data set's minimum of answers.
        below: pairs with fewer answers. without: pairs without an answer.
        min_respondents, min_valid: the minimum.
    """

    responses: pl.DataFrame
    below: int
    without: int
    min_respondents: int
    min_valid: float


def aggregate(dataset: Dataset, people: People, codes: NDArray[np.int8]) -> RespondentPairs:
    """Aggregate answers to pairs.

    A pair needs `min_respondents` people in its subgroup and `min_valid` valid answers, both as in the build; with weights the
    effective number (Kish 1965) counts. Answers that are missing are left out, as they are in the gold.

    Args:
        dataset: the data set. people: P people. codes: shape (P, items), as in `RespondentAnswers`.
    """
    settings = dataset.meta.get("settings") or {}
    min_respondents, min_valid = int(settings.get("min_respondents") or 1), float(settings.get("min_valid") or 1.0)
    joint, of_person = np.unique(people.levels, axis=0, return_inverse=True)
    of_person = of_person.reshape(-1).astype(np.intp)
    groups, members = _members(dataset, joint)
    items = list(dataset.codes_of)
    options = np.array([len(dataset.codes_of[item]) for item in items])
    widest = int(options.max(initial=0))

    def counted(weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
        return count_answers(codes, of_person, len(joint), members, widest, weight)[..., MISSING_CLASSES:]

    raw = counted(None)
    number = raw.sum(axis=2)
    weighted = raw if people.weight is None else counted(people.weight)
    total = weighted.sum(axis=2)
    squares = number if people.weight is None else counted(people.weight**2).sum(axis=2)
    effective = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    size = np.bincount(of_person, minlength=len(joint))
    large = np.array([size[cells].sum() >= min_respondents for cells in members])
    at_item = {item: place for place, item in enumerate(items)}
    at_group = {name: place for place, name in enumerate(groups)}
    wanted = dataset.target_gold.select("pair_id", "item", "subgroup")
    rows = np.array([at_item[item] for item in wanted["item"]], dtype=np.intp)
    columns = np.array([at_group.get(name, -1) for name in wanted["subgroup"]], dtype=np.intp)
    there = columns >= 0
    answered = there & (number[rows, columns] > 0)
    kept = answered & (effective[rows, columns] >= min_valid) & large[columns]
    shares = np.divide(weighted, total[..., None], out=np.zeros_like(weighted), where=total[..., None] > 0)
    return RespondentPairs(
        _responses(dataset, wanted.filter(pl.Series(kept)), shares[rows[kept], columns[kept]], number[rows[kept], columns[kept]]),
        int((answered & ~kept).sum()),
        int((~answered).sum()),
        min_respondents,
        min_valid,
    )


def _members(dataset: Dataset, joint: NDArray[np.int16]) -> tuple[list[str], list[NDArray[np.intp]]]:
    """Return the subgroups that hold people, and the rows of `joint` in each."""
    labels = dict(zip(dataset.attributes, level_labels(dataset), strict=True))
    groups: list[str] = []
    members: list[NDArray[np.intp]] = []
    for row in dataset.subgroups.iter_rows(named=True):
        inside = np.ones(len(joint), dtype=np.bool_)
        for place, name in enumerate(dataset.attributes):
            if row[name] is not None:
                inside &= joint[:, place] == labels[name].index(row[name])
        if inside.any():
            groups.append(row["subgroup"])
            members.append(np.flatnonzero(inside).astype(np.intp))
    return groups, members


def _responses(dataset: Dataset, pairs: pl.DataFrame, shares: NDArray[np.float64], number: NDArray[np.float64]) -> pl.DataFrame:
    """Return one response for each pair: its shares, and their mode (the lowest code of ties)."""
    codes = dataset.items.select("item", pl.col("codes").alias("shown"))
    rows = pairs.join(codes, on="item", how="left", maintain_order="left").with_columns(
        option_probs=list_column(shares) if len(shares) else pl.Series([], dtype=pl.List(pl.Float64)),
        respondents=pl.Series(number.astype(np.int64)),
    )
    return shares_as_responses(rows.with_columns(option_probs=pl.col("option_probs").list.head(pl.col("shown").list.len())), ELICITATION)


def shares_as_responses(rows: pl.DataFrame, elicitation: str) -> pl.DataFrame:
    """Return answered responses of pair_id, item, subgroup, `shown` (codes), `option_probs` and `respondents`.

    Their answer is the mode of the shares, the lowest code of ties.
    """
    constants = {
        "elicitation": elicitation,
        "template": TEMPLATE,
        "template_version": "1",
        "paraphrase": 0,
        "order": "scale",
        "sample": 0,
        "status": "answered",
        "attempts": 1,
    }
    missing = [name for name in RESPONSES.columns if name not in (*rows.columns, *constants, "answer")]
    # Sums of weights that should be equal differ by rounding.
    largest = pl.col("option_probs").list.eval((pl.element() >= pl.element().max() - TIE_TOLERANCE).arg_true())
    found = rows.with_columns(
        *(pl.lit(value).alias(name) for name, value in constants.items()),
        *(pl.lit(None).alias(name) for name in missing),
        answer=pl.col("shown").list.gather(largest).list.min(),
    )
    return RESPONSES.check(found, "imported").select(list(RESPONSES.columns))
