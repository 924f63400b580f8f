"""Win rates and stances corrected for the judge's errors with people's codings of a sample."""

from __future__ import annotations

from collections.abc import Iterator
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
        "coded": Column(pl.Int64, "coded answers"),
        "judged": Column(pl.Int64, "all answers"),
        "items": Column(pl.Int64, "items with a coded answer"),
    },
)


@dataclass(frozen=True)
class _Quantity:
    """A ratio of means over answers, by people and by the judge; all arrays have the shape (answers,).

    Attributes:
        metric, answer: name, and the code for a share. guess: the judge's value where it gave none.
        people, people_base: numerator and denominator by people, NaN if not coded.
        judge, judge_base: the same by the judge, NaN if it gave no valid judgement.
        about: answers that the quantity is about.
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
        where = {"judge": judge, "criterion": criterion, "run": run, "reference": reference}
        quantities = _stance_quantities(table, dataset) if criterion == STANCE else [_win_rate(table)]
        for by, key, mask in grouped(dataset, table, MIN_ANSWERS):
            minimum = 1 if by == "all" else MIN_ANSWERS
            if by != "run" and (by == "all" or is_coded[mask].sum() >= minimum):
                found = [_row(one, table, mask, bootstrap, seed) for one in quantities]
                rows += [{**where, "by": by, "key": key, **row} for row in found if row["coded"] >= minimum]
        for item, share in _shares(dataset, table) if criterion == STANCE else ():
            rows.append({**where, "by": "item", "key": item, **_row(share, table, share.about, bootstrap, seed)})
    return CORRECTED.frame(rows)


def arranged(units: pl.DataFrame, judged: pl.DataFrame, coded: pl.DataFrame) -> pl.DataFrame:
    """Return the answers with the judge's values (judge_place, judge_score, valid) and people's means (people_*, coded)."""
    score = pl.col("score") if "score" in judged.columns else pl.col("place")
    judge = judged.select(*IDENTITY, pl.col("place").alias("judge_place"), score.alias("judge_score"), pl.lit(True).alias("valid"))
    people = coded.group_by(IDENTITY).agg(
        pl.col("place").fill_null(0.0).mean().alias("people_sum"),
        pl.col("place").is_not_null().cast(pl.Float64).mean().alias("people_stance"),
        pl.col("place").alias("people_places"),
        pl.lit(True).alias("coded"),
    )
    table = units.select(IDENTITY).join(judge, on=IDENTITY, how="left", maintain_order="left", nulls_equal=True)
    table = table.join(people, on=IDENTITY, how="left", maintain_order="left", nulls_equal=True)
    return table.with_columns(pl.col("valid", "coded").fill_null(value=False))


def _floats(table: pl.DataFrame, column: str) -> Floats:
    return table[column].cast(pl.Float64).to_numpy().astype(np.float64)


def _ones_where_known(values: Floats) -> Floats:
    return np.where(np.isnan(values), np.nan, 1.0)


def _win_rate(table: pl.DataFrame) -> _Quantity:
    people, everything = _floats(table, "people_sum"), np.ones(len(table))
    return _Quantity(
        "win_rate", people, _ones_where_known(people), _floats(table, "judge_score"), everything, everything.astype(bool), guess=0.5
    )


def _stance_quantities(table: pl.DataFrame, dataset: Dataset) -> list[_Quantity]:
    stance, place = _floats(table, "people_stance"), _floats(table, "judge_place")
    valid, everything = table["valid"].to_numpy(), np.ones(len(table))
    taken = np.where(valid, np.isfinite(place).astype(np.float64), np.nan)
    places = np.where(valid, np.nan_to_num(place), np.nan)
    # Positions of nominal options have no mean.
    nominal = dataset.items.filter(pl.col("level") == "nominal")["item"].to_list()
    ordered = (~table["item"].is_in(nominal)).to_numpy()
    return [
        _Quantity("place", _floats(table, "people_sum"), stance, places, taken, ordered, guess=0.5),
        _Quantity("no_stance", 1.0 - stance, _ones_where_known(stance), 1.0 - taken, everything, everything.astype(bool)),
    ]


def _shares(dataset: Dataset, table: pl.DataFrame) -> Iterator[tuple[str, _Quantity]]:
    """Yield the share of each option for items with enough coded answers."""
    place, valid, everything = _floats(table, "judge_place"), table["valid"].to_numpy(), np.ones(len(table))
    for (item,), rows in table.group_by("item", maintain_order=True):
        if rows["coded"].sum() < MIN_ANSWERS:
            continue
        mask = (table["item"] == item).to_numpy()
        codes = dataset.codes_of[str(item)]
        for index, code in enumerate(codes):
            position = index / max(len(codes) - 1, 1)
            near = pl.col("people_places").list.eval(((pl.element() - position).abs() < 1e-9).fill_null(value=False).cast(pl.Float64))
            people = table.select(near.list.mean().alias("x"))["x"].to_numpy().astype(np.float64)
            chosen = np.where(valid, (np.abs(np.nan_to_num(place, nan=9.0) - position) < 1e-9).astype(np.float64), np.nan)
            yield str(item), _Quantity("share", people, _ones_where_known(people), chosen, everything, mask, answer=code)


def _row(one: _Quantity, table: pl.DataFrame, rows: NDArray[np.bool_], bootstrap: int, seed: int) -> dict[str, Any]:
    mask = rows & one.about
    items = table["item"].to_numpy()[mask]
    # A share is about one item, so its answers are the units.
    clusters = np.arange(len(items)) if one.metric == "share" else items
    people, base, judge, judge_base = (values[mask] for values in (one.people, one.people_base, one.judge, one.judge_base))
    # Any fixed guess is valid where the judge gave no judgement; it only widens the interval.
    guess, guess_base = np.where(np.isnan(judge), one.guess, judge), np.where(np.isnan(judge_base), 1.0, judge_base)
    found = corrected_ratio(people, base, guess, guess_base, clusters)
    alone = corrected_ratio(people, base, guess, guess_base, clusters, weight=0.0)
    counted = np.isfinite(judge) & (np.nan_to_num(judge_base) > 0)
    own = clustered_mean(judge[counted], clusters[counted], bootstrap=bootstrap, seed=seed)
    numbers = {
        **{f"judge_{end}": getattr(own, end) for end in ("value", "low", "high")},
        **{f"people_{end}": getattr(alone, end) for end in ("value", "low", "high")},
        **{"value": found.value, "ci_low": found.low, "ci_high": found.high, "weight": found.weight},
    }
    counts = {"coded": found.coded, "judged": len(items), "items": len(np.unique(items[np.isfinite(people)]))}
    return {"metric": one.metric, "answer": one.answer, **{name: finite(number) for name, number in numbers.items()}, **counts}
