"""Win rates from verdicts: win 1, tie .5, loss 0, the mean of both orders, with intervals clustered by item.

A *unit* is one pair and sample under one criterion. It counts where both orders gave a verdict, by the judge or by rule; its
value is the mean of the two, so that a judge that leans to the answer shown first gives both sides the same. A pair is the mean
over its samples, a win rate the mean over pairs.

=============== ================================================================================= ======
metric          what it is                                                                        range
=============== ================================================================================= ======
win_rate        mean over pairs of the mean of both orders                                        0..1
consistency     units of the judge with the same verdict in both orders                           0..1
position_bias   of the decided verdicts of such units, the share for the answer shown first - .5  -.5...5
tie_rate        ties among the verdicts of such units                                             0..1
invalid_rate    asked verdicts that were refused or could not be read                             0..1
failed_rate     asked verdicts whose call failed                                                  0..1
by_rule_rate    units settled by rule                                                             0..1
left_out        units without a verdict in both orders                                            0..1
=============== ================================================================================= ======

`pairs` is what a metric is the mean of: pairs for the win rate, units or verdicts for the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.frames import Column, Schema
from valuestrata.openended.schema import COUNTED, ORDERS, WINS
from valuestrata.openended.score_keys import BY, keys_of_rows
from valuestrata.stats.cluster_bootstrap import mean

_FIGURES = {
    "by": Column(pl.String, "all, stratum, attribute, level, subgroup or topic"),
    "key": Column(pl.String, "which one of them"),
    "metric": Column(pl.String, "win_rate, consistency, position_bias, ..."),
    "value": Column(pl.Float64, "the metric, null where nothing counts"),
    "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by item; null under 5 items"),
    "ci_high": Column(pl.Float64, "upper end"),
    "pairs": Column(pl.Int64, "what the value is the mean of"),
    "items": Column(pl.Int64, "items they belong to"),
}
_CONTEST = {
    "reference": Column(pl.String, "run that both are judged against"),
    "judge": Column(pl.String, "the judge"),
    "criterion": Column(pl.String, "value, persona, overall or one of the study's own"),
}
WINRATES = Schema("winrates", {"run": Column(pl.String, "run that is judged"), **_CONTEST, **_FIGURES})
WIN_DIFFERENCES = Schema(
    "win_differences",
    {"run": Column(pl.String, "run"), "against": Column(pl.String, "run whose win rate is taken from its own"), **_CONTEST, **_FIGURES},
)
METRICS = ("win_rate", "consistency", "position_bias", "tie_rate", "invalid_rate", "failed_rate", "by_rule_rate", "left_out")
_UNIT = ["run", "reference", "judge", "criterion", "pair_id", "item", "subgroup", "sample"]
_GROUP = ["run", "reference", "judge", "criterion"]
_RANGES: Mapping[str, tuple[float, float]] = {"position_bias": (-0.5, 0.5)}
# Its values are 0 and 1, its null is a half.
_SHIFT: Mapping[str, float] = {"position_bias": 0.5}


def units_of(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return the units: the columns of `_UNIT`, `win` (null where an order is missing), `ruled`, `consistent` (null unless judged).

    Args:
        verdicts: a frame of VERDICTS; of several rows for one unit and order the first counts.
    """
    rows = verdicts.unique([*_UNIT, "order"], keep="first", maintain_order=True)
    counted = pl.col("status").is_in(COUNTED) & pl.col("verdict").is_not_null()
    scored = rows.with_columns(
        pl.when(counted).then(pl.col("verdict").replace_strict(WINS, default=None, return_dtype=pl.Float64)).alias("_win")
    )
    units = scored.group_by(_UNIT, maintain_order=True).agg(
        pl.col("_win").mean().alias("win"),
        pl.col("_win").count().alias("_orders"),
        (pl.col("status") == "by_rule").any().alias("ruled"),
        (pl.col("_win").n_unique() == 1).alias("_alike"),
    )
    both = pl.col("_orders") == len(ORDERS)
    return units.select(
        *_UNIT,
        pl.when(both).then("win").alias("win"),
        "ruled",
        pl.when(both & ~pl.col("ruled")).then(pl.col("_alike").cast(pl.Float64)).alias("consistent"),
    )


def winrates(dataset: Dataset, verdicts: pl.DataFrame, *, by: Sequence[str] = BY, bootstrap: int = 1000, seed: int = 0) -> pl.DataFrame:
    """Return every metric of every run, reference, judge and criterion under every key (WINRATES).

    Args:
        dataset: for strata, levels and topics. verdicts: a frame of VERDICTS, of any number of folders.
        by: groupings. bootstrap, seed: resamples of items behind the intervals.

    Raises:
        UsageError: a grouping that does not exist.
    """
    _check_by(by)
    rows: list[dict[str, object]] = []
    for group, part in verdicts.group_by(_GROUP, maintain_order=True):
        contest = dict(zip(_GROUP, group, strict=True))
        for metric, values in _values(part):
            rows += _figures(dataset, values, contest, metric, tuple(by), bootstrap, seed)
    return _sorted(WINRATES.frame(rows), METRICS)


def win_differences(
    dataset: Dataset,
    verdicts: pl.DataFrame,
    pairs: Sequence[tuple[str, str]],
    *,
    by: Sequence[str] = BY,
    bootstrap: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Return win rate of one run less that of another, both against the same reference, on the pairs both have (WIN_DIFFERENCES).

    The interval is of the difference: items are drawn with both runs' verdicts on them.

    Args:
        dataset, verdicts, by, bootstrap, seed: as for `winrates`. pairs: (run, run it is compared with), as (tuned, base).

    Raises:
        UsageError: a run that no verdict is about, or a grouping that does not exist.
    """
    _check_by(by)
    known = verdicts["run"].unique(maintain_order=True).to_list()
    for name in dict.fromkeys(name for pair in pairs for name in pair):
        if name not in known:
            raise UsageError(f"No verdict is about a run {name!r}.{did_you_mean(name, known)}")
    wins = _pair_wins(units_of(verdicts))
    on = [*_GROUP[1:], "pair_id", "item", "subgroup"]
    rows: list[dict[str, object]] = []
    for run, against in pairs:
        theirs = wins.filter(pl.col("run") == against).select(*on, pl.col("value").alias("other"))
        both = wins.filter(pl.col("run") == run).join(theirs, on=on, how="inner", maintain_order="left")
        for group, part in both.group_by(_GROUP[1:], maintain_order=True):
            contest = {"run": run, "against": against, **dict(zip(_GROUP[1:], group, strict=True))}
            values = part.with_columns((pl.col("value") - pl.col("other")).alias("value"))
            rows += _figures(dataset, values, contest, "win_rate", tuple(by), bootstrap, seed, reach=(-1.0, 1.0))
    return WIN_DIFFERENCES.frame(rows)


def _check_by(by: Sequence[str]) -> None:
    for name in by:
        if name not in BY:
            raise UsageError(f"by={name!r} is not a way to group win rates.{did_you_mean(name, BY)}")


def _pair_wins(units: pl.DataFrame) -> pl.DataFrame:
    """Return the mean over the samples of each pair that count, as `value`."""
    pair = [name for name in _UNIT if name != "sample"]
    return units.drop_nulls("win").group_by(pair, maintain_order=True).agg(pl.col("win").mean().alias("value"))


def _values(part: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each metric with what it is the mean of: item, subgroup, value."""
    part = part.unique([*_UNIT, "order"], keep="first", maintain_order=True)
    units = units_of(part)
    yield "win_rate", _pair_wins(units)
    yield "consistency", units.drop_nulls("consistent").with_columns(pl.col("consistent").alias("value"))
    both = part.join(units.drop_nulls("consistent"), on=_UNIT, how="semi")
    first = pl.when(pl.col("order") == ORDERS[0]).then(pl.lit("run")).otherwise(pl.lit("reference"))
    decided = both.filter(pl.col("verdict") != "tie")
    yield "position_bias", decided.with_columns((pl.col("verdict") == first).cast(pl.Float64).alias("value"))
    yield "tie_rate", both.with_columns((pl.col("verdict") == "tie").cast(pl.Float64).alias("value"))
    asked = part.filter(pl.col("status") != "by_rule")
    yield "invalid_rate", asked.with_columns(pl.col("status").is_in(["refused", "unparsed"]).cast(pl.Float64).alias("value"))
    yield "failed_rate", asked.with_columns((pl.col("status") == "failed").cast(pl.Float64).alias("value"))
    yield "by_rule_rate", units.with_columns(pl.col("ruled").cast(pl.Float64).alias("value"))
    yield "left_out", units.with_columns(pl.col("win").is_null().cast(pl.Float64).alias("value"))


def _figures(
    dataset: Dataset,
    values: pl.DataFrame,
    contest: Mapping[str, object],
    metric: str,
    by: tuple[str, ...],
    bootstrap: int,
    seed: int,
    reach: tuple[float, float] | None = None,
) -> list[dict[str, object]]:
    """Return one row a key."""
    low, high = reach or _RANGES.get(metric, (0.0, 1.0))
    shift = _SHIFT.get(metric, 0.0)
    numbers, items = values["value"].cast(pl.Float64).to_numpy() - shift, values["item"].to_numpy()
    rows: list[dict[str, object]] = []
    for grouping, key, mask in keys_of_rows(dataset, values, by):
        found = mean(numbers[mask], items[mask], bootstrap=bootstrap, seed=seed, low=low, high=high)
        ends = {"value": found.value, "ci_low": found.low, "ci_high": found.high}
        known = {name: None if np.isnan(number) else number for name, number in ends.items()}
        rows.append({**contest, "by": grouping, "key": key, "metric": metric, **known, "pairs": found.n, "items": found.items})
    return rows


def _sorted(frame: pl.DataFrame, metrics: Sequence[str]) -> pl.DataFrame:
    """Return rows key by key, the metrics of a key side by side."""
    place = pl.col("metric").replace_strict({metric: at for at, metric in enumerate(metrics)}, return_dtype=pl.Int32)
    group = [name for name in frame.columns if name in (*_GROUP, "against")]
    first = frame.with_row_index("_row").with_columns(pl.col("_row").min().over([*group, "by", "key"]).alias("_first"))
    return first.sort("_first", place, maintain_order=True).drop("_row", "_first")
