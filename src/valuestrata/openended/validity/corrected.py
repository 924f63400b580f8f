"""Win rates and stances corrected for the judge's errors with people's codings of a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.frames import Column, Schema
from valuestrata.openended.annotation.sample import STANCE
from valuestrata.openended.validity.decision_rule import MIN_ANSWERS
from valuestrata.openended.validity.units import IDENTITY, grouped
from valuestrata.stats.arrays import Floats
from valuestrata.stats.cluster_bootstrap import clustered_mean, finite
from valuestrata.stats.ppi import corrected_ratio

# Positions closer than this are equal; an answer without a position is nowhere on the scale from 0 to 1.
NEAR, _NOWHERE = 1e-9, 9.0

CORRECTED = Schema(
    "corrected",
    {
        "judge": Column(pl.String, "the judge"),
        "criterion": Column(pl.String, "criterion of verdicts; `stance` for readings"),
        "run": Column(pl.String, "run that is judged or read"),
        "reference": Column(pl.String, "run it is compared with, null for a stance"),
        "by": Column(pl.String, "all, stratum, level, subgroup or topic; item for shares of a stance"),
        "key": Column(pl.String, "value of the grouping"),
        "metric": Column(
            pl.String, "win_rate; place (mean position, 0 to 1, of stances on ordered items), no_stance (share), share (of an option)"
        ),
        "answer": Column(pl.Int32, "scale code of a share, else null"),
        "judge_value": Column(pl.Float64, "by the judge alone"),
        "judge_low": Column(pl.Float64, "lower end of its 95 % interval, which ignores the judge's errors"),
        "judge_high": Column(pl.Float64, "upper end"),
        "people_value": Column(pl.Float64, "by people alone, on the coded answers"),
        "people_low": Column(pl.Float64, "lower end of its 95 % interval"),
        "people_high": Column(pl.Float64, "upper end"),
        "value": Column(pl.Float64, "corrected estimate for all answers"),
        "ci_low": Column(pl.Float64, "lower end of its 95 % interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "weight": Column(pl.Float64, "weight of the judge (lambda), 0 to 1"),
        "coders": Column(pl.Int64, "number of coders; with one, the intervals are about this coder"),
        "coder_se": Column(pl.Float64, "the part of the corrected estimate's standard error due to the choice of coders, null with one"),
        "coded": Column(pl.Int64, "coded answers"),
        "judged": Column(pl.Int64, "all answers"),
        "items": Column(pl.Int64, "items with a coded answer"),
    },
)


@dataclass(frozen=True)
class _Quantity:
    """A ratio of means over answers, by people and by the judge.

    Attributes:
        metric, answer: name, and the code for a share. guess: the judge's value where it gave none.
        people, people_base: numerator and denominator by each coder, NaN if not coded; shape (answers, coders).
        judge, judge_base: the same by the judge, NaN if it gave no valid judgement; shape (answers,).
        about: answers that the quantity is about; shape (answers,).
    """

    metric: str
    people: Floats
    people_base: Floats
    judge: Floats
    judge_base: Floats
    about: NDArray[np.bool_]
    guess: float = 0.0
    answer: int | None = None


def corrected_table(
    dataset: Dataset, units: pl.DataFrame, judged: pl.DataFrame, coded: pl.DataFrame, *, bootstrap: int, seed: int
) -> pl.DataFrame:
    """Return corrected estimates of all judges, a frame of CORRECTED.

    Keys other than `all` need `MIN_ANSWERS` coded answers.

    Args:
        units: all answers sent to judges (`pairwise_units`, `stance_units`) with the column `judge`.
        judged: from `judged_pairs` or `judged_stances`. coded: from `coded_places`.
        bootstrap, seed: of the judge's own intervals.
    """
    rows: list[dict[str, Any]] = []
    for (judge, criterion, run, reference), part in units.group_by("judge", "criterion", "run", "reference", maintain_order=True):
        table = arranged(part, judged.filter(pl.col("judge") == judge), coded)
        is_coded = table["coded"].to_numpy()
        if not is_coded.any():
            continue
        coders = table["coders"].explode().drop_nulls().unique().sort().to_list()
        where = {"judge": judge, "criterion": criterion, "run": run, "reference": reference}
        quantities = _stance_quantities(table, dataset, coders) if criterion == STANCE else [_win_rate(table, coders)]
        for by, key, mask in grouped(dataset, table, MIN_ANSWERS):
            minimum = 1 if by == "all" else MIN_ANSWERS
            if by != "run" and (by == "all" or is_coded[mask].sum() >= minimum):
                found = [_row(one, table, mask, bootstrap, seed) for one in quantities]
                rows += [{**where, "by": by, "key": key, **row} for row in found if row["coded"] >= minimum]
        for item, share in _shares(dataset, table, coders) if criterion == STANCE else ():
            rows.append({**where, "by": "item", "key": item, **_row(share, table, share.about, bootstrap, seed)})
    return CORRECTED.frame(rows)


def arranged(units: pl.DataFrame, judged: pl.DataFrame, coded: pl.DataFrame) -> pl.DataFrame:
    """Return the answers with the judge's values (judge_place, judge_score, valid) and people's codings (coders, places, coded)."""
    score = pl.col("score") if "score" in judged.columns else pl.col("place")
    judge = judged.select(*IDENTITY, pl.col("place").alias("judge_place"), score.alias("judge_score"), pl.lit(True).alias("valid"))
    people = coded.group_by(IDENTITY).agg(pl.col("coder").alias("coders"), pl.col("place").alias("places"), pl.lit(True).alias("coded"))
    table = units.select(IDENTITY).join(judge, on=IDENTITY, how="left", maintain_order="left", nulls_equal=True)
    table = table.join(people, on=IDENTITY, how="left", maintain_order="left", nulls_equal=True)
    return table.with_columns(pl.col("valid", "coded").fill_null(value=False))


def _floats(table: pl.DataFrame, column: str) -> Floats:
    return table[column].cast(pl.Float64).to_numpy().astype(np.float64)


def coded_by(table: pl.DataFrame, coders: Sequence[str], suffix: str = "") -> tuple[Floats, NDArray[np.bool_]]:
    """Return the codings of a table of `arranged`, both of shape (answers, coders).

    Returns:
        The position given by each coder, NaN without a stance or without a coding; and whether the coder coded the answer.
    """
    names = [f"coders{suffix}", f"places{suffix}"]
    number = {coder: column for column, coder in enumerate(coders)}
    long = table.select(pl.int_range(pl.len()).alias("row"), *names).drop_nulls(names[0]).explode(names)
    rows, columns = long["row"].to_numpy(), long[names[0]].replace_strict(number, return_dtype=pl.Int64).to_numpy()
    places, there = np.full((len(table), len(coders)), np.nan), np.zeros((len(table), len(coders)), dtype=np.bool_)
    places[rows, columns] = _floats(long, names[1])
    there[rows, columns] = True
    return places, there


def _ones_where(mask: NDArray[np.bool_]) -> Floats:
    return np.where(mask, 1.0, np.nan)


def _win_rate(table: pl.DataFrame, coders: Sequence[str]) -> _Quantity:
    (places, there), everything = coded_by(table, coders), np.ones(len(table))
    return _Quantity("win_rate", places, _ones_where(there), _floats(table, "judge_score"), everything, everything.astype(bool), guess=0.5)


def _stance_quantities(table: pl.DataFrame, dataset: Dataset, coders: Sequence[str]) -> list[_Quantity]:
    (coded, there), place = coded_by(table, coders), _floats(table, "judge_place")
    stance = np.where(there, np.isfinite(coded).astype(np.float64), np.nan)
    valid, everything = table["valid"].to_numpy(), np.ones(len(table))
    taken = np.where(valid, np.isfinite(place).astype(np.float64), np.nan)
    places = np.where(valid, np.nan_to_num(place), np.nan)
    # Positions of nominal options have no mean.
    nominal = dataset.items.filter(pl.col("level") == "nominal")["item"].to_list()
    ordered = (~table["item"].is_in(nominal)).to_numpy()
    return [
        _Quantity("place", np.where(there, np.nan_to_num(coded), np.nan), stance, places, taken, ordered, guess=0.5),
        _Quantity("no_stance", 1.0 - stance, _ones_where(there), 1.0 - taken, everything, everything.astype(bool)),
    ]


def _shares(dataset: Dataset, table: pl.DataFrame, coders: Sequence[str]) -> Iterator[tuple[str, _Quantity]]:
    """Yield the share of each option for items with enough coded answers."""
    place, valid, everything = _floats(table, "judge_place"), table["valid"].to_numpy(), np.ones(len(table))
    coded, there = coded_by(table, coders)
    for (item,), rows in table.group_by("item", maintain_order=True):
        if rows["coded"].sum() < MIN_ANSWERS:
            continue
        mask = (table["item"] == item).to_numpy()
        codes = dataset.codes_of[str(item)]
        for index, code in enumerate(codes):
            position = index / max(len(codes) - 1, 1)
            people, judge = (np.abs(np.nan_to_num(values, nan=_NOWHERE) - position) < NEAR for values in (coded, place))
            people, judge = np.where(there, people, np.nan), np.where(valid, judge, np.nan)
            yield str(item), _Quantity("share", people, _ones_where(there), judge, everything, mask, answer=code)


def _row(one: _Quantity, table: pl.DataFrame, rows: NDArray[np.bool_], bootstrap: int, seed: int) -> dict[str, Any]:
    mask = rows & one.about
    items = table["item"].to_numpy()[mask]
    # A share is about one item, so its answers are the units.
    clusters = np.arange(len(items)) if one.metric == "share" else items
    people, base, judge, judge_base = (values[mask] for values in (one.people, one.people_base, one.judge, one.judge_base))
    # Any fixed guess is valid where the judge gave no judgement; it only widens the interval.
    guess, guess_base = np.where(np.isnan(judge), one.guess, judge), np.where(np.isnan(judge_base), 1.0, judge_base)
    rating = np.isfinite(people).any(axis=0)
    people, base = people[:, rating], base[:, rating]
    found = corrected_ratio(people, base, guess, guess_base, clusters)
    alone = corrected_ratio(people, base, guess, guess_base, clusters, weight=0.0)
    counted = np.isfinite(judge) & (np.nan_to_num(judge_base) > 0)
    own = clustered_mean(judge[counted], clusters[counted], bootstrap=bootstrap, seed=seed)
    numbers = {
        **{f"judge_{end}": getattr(own, end) for end in ("value", "low", "high")},
        **{f"people_{end}": getattr(alone, end) for end in ("value", "low", "high")},
        **{"value": found.value, "ci_low": found.low, "ci_high": found.high, "weight": found.weight},
    }
    known = np.isfinite(people)
    counts = {
        **{"coded": found.coded, "judged": len(items), "items": len(np.unique(items[known.any(axis=1)]))},
        **{"coders": int(known.any(axis=0).sum()), "coder_se": finite(found.rater_se)},
    }
    return {"metric": one.metric, "answer": one.answer, **{name: finite(number) for name, number in numbers.items()}, **counts}
