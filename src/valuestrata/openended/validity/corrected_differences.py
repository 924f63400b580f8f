"""Differences of win rates between two runs, corrected for the judge's errors with people's codings of a sample.

Both runs are judged against the same reference, by the same judge and criterion, and compared on common answers. The interval keeps answers
to the same questions paired (`stats.ppi.corrected_difference`). p-values are corrected by Holm's method over all differences of a judge in
one grouping: all criteria and pairs of runs over all answers are one family, all levels another, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.frames import Column, Schema
from valuestrata.openended.validity.corrected import arranged, coded_by
from valuestrata.openended.validity.decision_rule import MIN_ANSWERS
from valuestrata.openended.validity.units import grouped
from valuestrata.stats.arrays import Floats
from valuestrata.stats.cluster_bootstrap import clustered_mean, finite
from valuestrata.stats.multiple_testing import holm
from valuestrata.stats.ppi import JudgedAnswers, corrected_difference

CORRECTED_DIFFERENCES = Schema(
    "corrected_differences",
    {
        "judge": Column(pl.String, "the judge"),
        "criterion": Column(pl.String, "criterion of the verdicts"),
        "run": Column(pl.String, "run that is judged"),
        "against": Column(pl.String, "run whose win rate is subtracted"),
        "reference": Column(pl.String, "run that both are compared with"),
        "by": Column(pl.String, "all, stratum, level, subgroup or topic"),
        "key": Column(pl.String, "value of the grouping"),
        "judge_value": Column(pl.Float64, "difference of win rates by the judge alone"),
        "judge_low": Column(pl.Float64, "lower end of its 95 % interval, which ignores the judge's errors"),
        "judge_high": Column(pl.Float64, "upper end"),
        "people_value": Column(pl.Float64, "by people alone, on the coded answers"),
        "people_low": Column(pl.Float64, "lower end of its 95 % interval"),
        "people_high": Column(pl.Float64, "upper end"),
        "value": Column(pl.Float64, "corrected difference, -1 to 1"),
        "ci_low": Column(pl.Float64, "lower end of its 95 % interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "p": Column(pl.Float64, "two-sided p-value of no difference"),
        "p_adjusted": Column(pl.Float64, "p by Holm's method over the differences of the judge in the same grouping"),
        "tests": Column(pl.Int64, "number of these differences"),
        "coded": Column(pl.Int64, "coded answers of the run"),
        "coded_against": Column(pl.Int64, "coded answers of the other run"),
        "judged": Column(pl.Int64, "answers of each run that were compared"),
        "items": Column(pl.Int64, "items with a coded answer, the smaller number of the two runs"),
        "coders": Column(pl.Int64, "number of coders; with one, the intervals are about this coder"),
        "coder_se": Column(pl.Float64, "the part of the corrected difference's standard error due to the choice of coders, null with one"),
    },
)
_ANSWER = ("pair_id", "item", "subgroup", "sample")
_FAMILY = ("judge", "by")


def corrected_differences(
    dataset: Dataset,
    units: pl.DataFrame,
    judged: pl.DataFrame,
    coded: pl.DataFrame,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    bootstrap: int,
    seed: int,
) -> pl.DataFrame:
    """Return corrected differences of win rates, a frame of CORRECTED_DIFFERENCES.

    Keys other than `all` need `MIN_ANSWERS` coded answers of both runs.

    Args:
        units: all pairs of answers sent to judges (`pairwise_units`) with the column `judge`.
        judged: from `judged_pairs`. coded: from `coded_places`.
        pairs: (run, run to subtract), for example (tuned, base); by default all pairs, the later run minus the earlier one.
        bootstrap, seed: of the judge's own intervals.
    """
    rows: list[dict[str, Any]] = []
    for (judge, criterion, reference), part in units.group_by("judge", "criterion", "reference", maintain_order=True):
        runs = part["run"].unique(maintain_order=True).to_list()
        mine = judged.filter(pl.col("judge") == judge)
        wanted = [(later, earlier) for earlier, later in combinations(runs, 2)] if pairs is None else pairs
        for run, against in wanted:
            if run not in runs or against not in runs:
                continue
            one, other = (arranged(part.filter(pl.col("run") == name), mine, coded) for name in (run, against))
            both = one.join(other.drop("criterion", "run", "reference"), on=_ANSWER, how="inner", suffix="_other", maintain_order="left")
            where = {"judge": judge, "criterion": criterion, "run": run, "against": against, "reference": reference}
            rows += [{**where, **row} for row in _rows(dataset, both, bootstrap, seed)]
    return _with_families(CORRECTED_DIFFERENCES.frame(rows))


def _rows(dataset: Dataset, both: pl.DataFrame, bootstrap: int, seed: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    both = both.with_columns(pl.Series("block", dataset.blocks_of(both["item"].to_numpy()), pl.String))
    counts = {name: both[name].to_numpy() for name in ("coded", "coded_other")}
    for by, key, mask in grouped(dataset, both, MIN_ANSWERS):
        minimum = 1 if by == "all" else MIN_ANSWERS
        if by != "run" and all(is_coded[mask].sum() >= minimum for is_coded in counts.values()):
            found.append({"by": by, "key": key, **_difference(both.filter(pl.Series(mask)), bootstrap, seed)})
    return found


def _difference(rows: pl.DataFrame, bootstrap: int, seed: int) -> dict[str, Any]:
    items, blocks = rows["item"].to_numpy(), rows["block"].to_numpy()
    coders = pl.concat([rows["coders"].explode(), rows["coders_other"].explode()]).drop_nulls().unique().sort().to_list()
    one, other = _answers(rows, "", items, coders), _answers(rows, "_other", items, coders)
    corrected, people = corrected_difference(one, other), corrected_difference(one, other, weight=0.0)
    difference = _floats(rows, "judge_score") - _floats(rows, "judge_score_other")
    counted = np.isfinite(difference)
    judge = clustered_mean(difference[counted], items[counted], blocks[counted], bootstrap=bootstrap, seed=seed, low=-1.0, high=1.0)
    numbers = {
        **{f"judge_{end}": getattr(judge, end) for end in ("value", "low", "high")},
        **{f"people_{end}": getattr(people, end) for end in ("value", "low", "high")},
        **{"value": corrected.value, "ci_low": corrected.low, "ci_high": corrected.high, "p": corrected.p},
    }
    counts = {"coded": rows["coded"].sum(), "coded_against": rows["coded_other"].sum(), "judged": rows.height, "items": corrected.items}
    counts |= {"coders": len(coders), "coder_se": finite(corrected.rater_se)}
    return {**{name: finite(number) for name, number in numbers.items()}, **counts}


def _answers(rows: pl.DataFrame, suffix: str, items: NDArray[Any], coders: Sequence[str]) -> JudgedAnswers:
    score = _floats(rows, f"judge_score{suffix}")
    # Any fixed guess is valid where the judge gave no judgement; it only widens the interval.
    return JudgedAnswers(coded_by(rows, coders, suffix)[0], np.where(np.isnan(score), 0.5, score), items)


def _floats(rows: pl.DataFrame, column: str) -> Floats:
    return rows[column].cast(pl.Float64).to_numpy().astype(np.float64)


def _with_families(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with the p-values corrected within each family."""
    made: list[pl.DataFrame] = [table.clear()]
    for _, part in table.group_by(_FAMILY, maintain_order=True):
        adjusted = pl.Series("p_adjusted", holm(part["p"].to_list()), pl.Float64)
        made.append(part.with_columns(adjusted, pl.lit(part["p"].count(), pl.Int64).alias("tests")))
    order = ("judge", "criterion", "run", "against", "reference", "by", "key")
    return table.select(order).join(pl.concat(made), on=order, how="left", maintain_order="left", nulls_equal=True).select(table.columns)
