"""Win rates from verdicts, with intervals clustered by block of items (`stats.cluster_bootstrap`).

A win counts 1, a tie .5, a loss 0. The value of a unit (one pair and sample under one criterion) is the mean of both orders, so a judge
that prefers the answer shown first gives both sides the same. A pair is the mean over its samples, a win rate the mean over pairs.

=============== ======================================================================================= ======
metric          definition                                                                              range
=============== ======================================================================================= ======
win_rate        mean over pairs of the mean of both orders                                              0..1
consistency     units of the judge with the same verdict in both orders                                 0..1
position_bias   decided verdicts of such units for the answer shown first, minus .5                     -.5...5
tie_rate        ties among the verdicts of such units                                                   0..1
invalid_rate    calls of the judge without a verdict: refused, unreadable or failed                     0..1
refused_rate    calls of the judge that it refused, or whose reply the service withheld                 0..1
failed_rate     calls of the judge that failed                                                          0..1
by_rule_rate    units decided by rule                                                                   0..1
left_out        units without a verdict in both orders                                                  0..1
=============== ======================================================================================= ======

`refused_rate` and `failed_rate` are parts of `invalid_rate`. The column `pairs` counts pairs for the
win rate, units or calls for the other metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.frames import Column, Schema
from valuestrata.openended.groupings import BY, check_groupings, groups_of
from valuestrata.openended.pairwise.diagnostics import CONTEST, UNIT, diagnostics, units_of
from valuestrata.openended.schema import estimate_columns
from valuestrata.stats.cluster_bootstrap import clustered_mean

METRICS = (
    "win_rate",
    "consistency",
    "position_bias",
    "tie_rate",
    "invalid_rate",
    "refused_rate",
    "failed_rate",
    "by_rule_rate",
    "left_out",
)
_DIAGNOSTICS = {
    "consistency": "consistency",
    "position_bias": "position_bias",
    "ties": "tie_rate",
    "invalid": "invalid_rate",
    "refused": "refused_rate",
}
_RANGES: Mapping[str, tuple[float, float]] = {"position_bias": (-0.5, 0.5)}
_AGAINST = CONTEST[1:]

_COLUMNS = {
    "reference": Column(pl.String, "run that all are compared with"),
    "judge": Column(pl.String, "the judge"),
    "criterion": Column(pl.String, "value, persona, overall or a custom one"),
    **estimate_columns(", ".join(METRICS), "number of pairs, units or calls"),
}
WINRATES = Schema("winrates", {"run": Column(pl.String, "run that is judged"), **_COLUMNS})
WIN_DIFFERENCES = Schema(
    "win_differences", {"run": Column(pl.String, "run"), "against": Column(pl.String, "run whose win rate is subtracted"), **_COLUMNS}
)


def winrates(dataset: Dataset, verdicts: pl.DataFrame, *, by: Sequence[str] = BY, bootstrap: int = 1000, seed: int = 0) -> pl.DataFrame:
    """Return all metrics of every run, reference, judge and criterion, a frame of WINRATES.

    Args:
        dataset: describes strata, levels and topics.
        verdicts: a frame of VERDICTS, of any number of folders.
        by: groupings.
        bootstrap: number of bootstrap replicates.
        seed: their seed.

    Raises:
        UsageError: an unknown grouping.
    """
    check_groupings(by)
    rows: list[dict[str, object]] = []
    for group, part in verdicts.group_by(CONTEST, maintain_order=True):
        contest: dict[str, object] = dict(zip(CONTEST, group, strict=True))
        for metric, values in _values(part):
            rows += _estimates(dataset, values, contest, metric, by, bootstrap, seed, _RANGES.get(metric, (0.0, 1.0)))
    return _sorted(WINRATES.frame(rows))


def win_differences(
    dataset: Dataset,
    verdicts: pl.DataFrame,
    pairs: Sequence[tuple[str, str]],
    *,
    by: Sequence[str] = BY,
    bootstrap: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Return differences of win rates against the same reference, on common pairs, a frame of WIN_DIFFERENCES.

    The bootstrap draws blocks of items with the verdicts of both runs.

    Args:
        dataset: describes strata, levels and topics.
        verdicts: a frame of VERDICTS, of any number of folders.
        pairs: (run, run to subtract), for example (tuned, base).
        by: groupings.
        bootstrap: number of bootstrap replicates.
        seed: their seed.

    Raises:
        UsageError: a run without verdicts, or an unknown grouping.
    """
    check_groupings(by)
    known = verdicts["run"].unique(maintain_order=True).to_list()
    for name in dict.fromkeys(name for pair in pairs for name in pair):
        if name not in known:
            raise UsageError(f"There are no verdicts on a run {name!r}.{did_you_mean(name, known)}")
    wins = _pair_wins(units_of(verdicts))
    on = [*_AGAINST, "pair_id", "item", "subgroup"]
    rows: list[dict[str, object]] = []
    for run, against in pairs:
        other = wins.filter(pl.col("run") == against).select(*on, pl.col("value").alias("other"))
        both = wins.filter(pl.col("run") == run).join(other, on=on, how="inner", maintain_order="left")
        for group, part in both.group_by(_AGAINST, maintain_order=True):
            contest = {"run": run, "against": against, **dict(zip(_AGAINST, group, strict=True))}
            values = part.with_columns(pl.col("value") - pl.col("other"))
            rows += _estimates(dataset, values, contest, "win_rate", by, bootstrap, seed, (-1.0, 1.0))
    return WIN_DIFFERENCES.frame(rows)


def _pair_wins(units: pl.DataFrame) -> pl.DataFrame:
    """Return the mean over the counted samples of each pair, as `value`."""
    pair = [name for name in UNIT if name != "sample"]
    return units.drop_nulls("win").group_by(pair, maintain_order=True).agg(pl.col("win").mean().alias("value"))


def _values(part: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each metric with the rows it is the mean of: item, subgroup, value."""
    part = part.unique([*UNIT, "order"], keep="first", maintain_order=True)
    units = units_of(part)
    yield "win_rate", _pair_wins(units)
    for name, values in diagnostics(part):
        yield _DIAGNOSTICS[name], values
    asked = part.filter(pl.col("status") != "by_rule")
    yield "failed_rate", asked.with_columns((pl.col("status") == "failed").cast(pl.Float64).alias("value"))
    yield "by_rule_rate", units.with_columns(pl.col("ruled").cast(pl.Float64).alias("value"))
    yield "left_out", units.with_columns(pl.col("win").is_null().cast(pl.Float64).alias("value"))


def _estimates(
    dataset: Dataset,
    values: pl.DataFrame,
    contest: Mapping[str, object],
    metric: str,
    by: Sequence[str],
    bootstrap: int,
    seed: int,
    limits: tuple[float, float],
) -> list[dict[str, object]]:
    """Return one row per key."""
    numbers, items = values["value"].to_numpy(), values["item"].to_numpy()
    blocks = dataset.blocks_of(items)
    rows: list[dict[str, object]] = []
    for grouping, key, mask in groups_of(dataset, values, by):
        found = clustered_mean(numbers[mask], items[mask], blocks[mask], bootstrap=bootstrap, seed=seed, low=limits[0], high=limits[1])
        estimate = {**found.columns(), "pairs": found.n, "items": found.items}
        rows.append({**contest, "by": grouping, "key": key, "metric": metric, **estimate})
    return rows


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows key by key, with all metrics of a key together."""
    order = pl.col("metric").replace_strict({metric: at for at, metric in enumerate(METRICS)}, return_dtype=pl.Int32)
    first = frame.with_row_index("_row").with_columns(pl.col("_row").min().over([*CONTEST, "by", "key"]).alias("_first"))
    return first.sort("_first", order, maintain_order=True).drop("_row", "_first")
