"""Win rates and stances as people would give them: the judge on all answers, put right by what people said of a sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.frames import Column, Schema
from valuestrata.openended.annotation.sample import STANCE
from valuestrata.openended.validity.decision_rule import ENOUGH
from valuestrata.openended.validity.units import IDENTITY, keyed
from valuestrata.stats.cluster_bootstrap import Estimate, Floats, mean
from valuestrata.stats.ppi import Corrected, corrected_ratio

CORRECTED = Schema(
    "corrected",
    {
        "judge": Column(pl.String, "the judge"),
        "criterion": Column(pl.String, "criterion of verdicts; `stance` for readings of one answer"),
        "run": Column(pl.String, "run that is judged or read"),
        "reference": Column(pl.String, "run it is judged against, null for a stance"),
        "by": Column(pl.String, "all, stratum, level, subgroup or topic; item for shares of a stance"),
        "key": Column(pl.String, "which one of them"),
        "metric": Column(
            pl.String,
            "win_rate; place (mean on the scale, 0 to 1, of stances taken on items that have one), no_stance, share (of an option)",
        ),
        "answer": Column(pl.Int32, "scale code of a share, else null"),
        "judge_value": Column(pl.Float64, "by the judge alone"),
        "judge_low": Column(pl.Float64, "lower end of its 95 % interval, which knows nothing of the judge's errors"),
        "judge_high": Column(pl.Float64, "upper end"),
        "people_value": Column(pl.Float64, "by people alone, on the answers they coded"),
        "people_low": Column(pl.Float64, "lower end of its 95 % interval"),
        "people_high": Column(pl.Float64, "upper end"),
        "value": Column(pl.Float64, "corrected: what people would say of all answers"),
        "ci_low": Column(pl.Float64, "lower end of its 95 % interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "weight": Column(pl.Float64, "how far the judge was relied on: 0 not at all, 1 fully"),
        "coded": Column(pl.Int64, "answers that people coded"),
        "judged": Column(pl.Int64, "answers in all"),
        "items": Column(pl.Int64, "items with a coded answer"),
    },
)


class _Quantity(NamedTuple):
    """A ratio of means over answers; the judge's is NaN where it said nothing.

    Attributes:
        metric: what it is. answer: the option, for a share.
        people, people_base, judge, judge_base: numerator and denominator by either, shape (answers,).
        about: which of the answers it is about, shape (answers,); all where left out.
    """

    metric: str
    people: Floats
    people_base: Floats
    judge: Floats
    judge_base: Floats
    answer: int | None = None
    about: NDArray[np.bool_] | None = None


def corrected_table(
    dataset: Dataset, units: pl.DataFrame, judged: pl.DataFrame, coded: pl.DataFrame, *, bootstrap: int, seed: int
) -> pl.DataFrame:
    """Return judges' estimates corrected for their errors, a frame of CORRECTED.

    Where a judge gave no valid verdict its value in the correction is the middle of the scale: any fixed guess is allowed there.
    Keys other than `all` need `ENOUGH` coded answers.

    Args:
        units: all answers that judges were asked about (`calibration.pairwise_units`, `stance_units`) with a column `judge`.
        judged: of `places.judged_pairs` or `judged_stances`. coded: of `places.coded_places`.
        bootstrap, seed: of the judge's own intervals.
    """
    rows: list[dict[str, Any]] = []
    for (judge, criterion, run, reference), part in units.group_by("judge", "criterion", "run", "reference", maintain_order=True):
        table = _laid_out(part, judged.filter(pl.col("judge") == judge), coded)
        if not table["coded"].any():
            continue
        named = {"judge": judge, "criterion": criterion, "run": run, "reference": reference}
        quantities = _stance_quantities(table, dataset) if criterion == STANCE else [_win_rate(table)]
        for by, key, mask in keyed(table, dataset, ENOUGH):
            if by != "run" and (by == "all" or table["coded"].to_numpy()[mask].sum() >= ENOUGH):
                found = [_row(one, table, mask, bootstrap, seed) for one in quantities]
                least = 1 if by == "all" else ENOUGH
                rows += [named | {"by": by, "key": key} | row for row in found if row["coded"] >= least]
        if criterion == STANCE:
            for item, mask, share in _shares(dataset, table):
                rows.append(named | {"by": "item", "key": item} | _row(share, table, mask, bootstrap, seed))
    return CORRECTED.frame(rows)


def _laid_out(units: pl.DataFrame, judged: pl.DataFrame, coded: pl.DataFrame) -> pl.DataFrame:
    """Return the answers with what the judge said (place, score, said) and people's means (people, stance, coded)."""
    score = pl.col("score") if "score" in judged.columns else pl.col("place")
    theirs = judged.select(*IDENTITY, pl.col("place").alias("judge_place"), score.alias("judge_score"), pl.lit(True).alias("said"))
    means = coded.group_by(IDENTITY).agg(
        pl.col("place").fill_null(0.0).mean().alias("people_sum"),
        pl.col("place").is_not_null().cast(pl.Float64).mean().alias("people_stance"),
        pl.col("place").alias("people_places"),
        pl.lit(True).alias("coded"),
    )
    table = units.select(IDENTITY).join(theirs, on=IDENTITY, how="left", maintain_order="left", nulls_equal=True)
    table = table.join(means, on=IDENTITY, how="left", maintain_order="left", nulls_equal=True)
    return table.with_columns(pl.col("said").fill_null(value=False), pl.col("coded").fill_null(value=False))


def _floats(table: pl.DataFrame, column: str) -> Floats:
    return table[column].cast(pl.Float64).to_numpy().astype(np.float64)


def _where_said(table: pl.DataFrame, values: Floats) -> Floats:
    return np.where(table["said"].to_numpy(), values, np.nan)


def _win_rate(table: pl.DataFrame) -> _Quantity:
    people = _floats(table, "people_sum")
    ones = np.ones(len(table))
    return _Quantity("win_rate", people, np.where(np.isnan(people), np.nan, 1.0), _floats(table, "judge_score"), ones)


def _stance_quantities(table: pl.DataFrame, dataset: Dataset) -> list[_Quantity]:
    stance = _floats(table, "people_stance")
    ones = np.where(np.isnan(stance), np.nan, 1.0)
    taken = _where_said(table, np.isfinite(_floats(table, "judge_place")).astype(np.float64))
    place = _where_said(table, np.nan_to_num(_floats(table, "judge_place")))
    all_said = np.ones(len(table))
    # The options of a nominal item stand in no order: their places have no mean.
    nominal = dataset.items.filter(pl.col("level") == "nominal")["item"].to_list()
    ordered = (~table["item"].is_in(nominal)).to_numpy()
    return [
        _Quantity("place", _floats(table, "people_sum"), stance, place, taken, about=ordered),
        _Quantity("no_stance", 1.0 - stance, ones, 1.0 - taken, all_said),
    ]


def _shares(dataset: Dataset, table: pl.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_], _Quantity]]:
    """Yield the share of each option of the items that were coded often enough."""
    for (item,), rows in table.group_by("item", maintain_order=True):
        codes = dataset.codes_of[str(item)]
        if rows["coded"].sum() < ENOUGH:
            continue
        mask = (table["item"] == item).to_numpy()
        judge = _floats(table, "judge_place")
        ones = np.ones(len(table))
        for index, code in enumerate(codes):
            place = index / max(len(codes) - 1, 1)
            near = pl.col("people_places").list.eval(((pl.element() - place).abs() < 1e-9).fill_null(value=False).cast(pl.Float64))
            people = table.select(near.list.mean().alias("x"))["x"].to_numpy().astype(np.float64)
            said = _where_said(table, (np.abs(np.nan_to_num(judge, nan=9.0) - place) < 1e-9).astype(np.float64))
            yield str(item), mask, _Quantity("share", people, np.where(np.isnan(people), np.nan, 1.0), said, ones, code)


def _row(one: _Quantity, table: pl.DataFrame, rows: NDArray[np.bool_], bootstrap: int, seed: int) -> dict[str, Any]:
    mask = rows if one.about is None else rows & one.about
    items = table["item"].to_numpy()[mask]
    # One item is the whole population of its shares: its answers are then the units.
    clusters = np.arange(len(items)) if one.metric == "share" else items
    people, base, judge, judge_base = (values[mask] for values in (one.people, one.people_base, one.judge, one.judge_base))
    middle = 0.5 if one.metric in ("win_rate", "place") else 0.0
    guess, guess_base = np.where(np.isnan(judge), middle, judge), np.where(np.isnan(judge_base), 1.0, judge_base)
    found = corrected_ratio(people, base, guess, guess_base, clusters)
    alone = corrected_ratio(people, base, guess, guess_base, clusters, weight=0.0)
    own = _judge_alone(judge, judge_base, clusters, bootstrap, seed)
    return {
        "metric": one.metric,
        "answer": one.answer,
        **_named("judge", own.value, own.low, own.high),
        **_named("people", alone.value, alone.low, alone.high),
        **_corrected(found),
        "judged": len(items),
        "items": len(np.unique(items[np.isfinite(people)])),
    }


def _judge_alone(judge: Floats, base: Floats, clusters: NDArray[Any], bootstrap: int, seed: int) -> Estimate:
    """Return the judge's own figure over the answers it spoke of; a place is a mean over those with a stance."""
    counted = np.isfinite(judge) & (np.nan_to_num(base) > 0)
    return mean(judge[counted], clusters[counted], bootstrap=bootstrap, seed=seed)


def _named(who: str, value: float, low: float, high: float) -> dict[str, float | None]:
    return {f"{who}_value": _known(value), f"{who}_low": _known(low), f"{who}_high": _known(high)}


def _corrected(found: Corrected) -> dict[str, Any]:
    ends = {"value": _known(found.value), "ci_low": _known(found.low), "ci_high": _known(found.high)}
    return {**ends, "weight": _known(found.weight), "coded": found.coded}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
