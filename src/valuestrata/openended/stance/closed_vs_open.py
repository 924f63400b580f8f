"""Agreement of closed answers with stances: does a model choose the option that it expresses in its own words?

x and y are the positions of the closed answer and the stance on the scale 0..1, index / (K - 1). If a pair has several responses, each is
compared with each stance and the pair is their mean. Intervals are clustered by block of items.

========== =========================================================================================== ======================
metric     definition                                                                                  null
========== =========================================================================================== ======================
same       share of pairs with the same code
distance   mean of abs(x - y)                                                                          nominal items
kappa      quadratically weighted kappa over all pairs of the key (`kappa_from_moments`)               nominal items; no spread
both       share of pairs asked both ways that have an answer and a stance
========== =========================================================================================== ======================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.frames import Column, Schema
from valuestrata.openended.files import Stances
from valuestrata.openended.groupings import BY, groups_of
from valuestrata.openended.schema import estimate_columns
from valuestrata.responses.run.identity import Answered, RunIdentity, run_identity
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.stats.agreement import kappa_from_moments
from valuestrata.stats.arrays import Floats
from valuestrata.stats.cluster_bootstrap import UNDEFINED, ClusterEstimate, cluster_draws, clusters_of, percentile_interval

METRICS = ("same", "distance", "kappa", "both")
MOMENTS = ("apart", "x", "y", "xx", "yy")
AGREEMENT = Schema(
    "agreement",
    {
        "run": Column(pl.String, "run of open answers"),
        "closed": Column(pl.String, "run of closed answers by the same model"),
        "judge": Column(pl.String, "judge who read the open answers"),
        **estimate_columns(", ".join(METRICS), "pairs"),
    },
)


def closed_runs_of(stances: Stances, closed: Sequence[Answered]) -> list[tuple[str, Answered]]:
    """Return (open run, closed run) for runs of the same model, whatever its decoding.

    A control is not the model inside it: it matches open runs of the same control only.

    Raises:
        InputDataError: no closed run is by a model that wrote the open answers.
    """
    documents: Mapping[str, Any] = stances.meta.get("contestants", {})
    identities = {name: RunIdentity.from_document(meta, name) for name, meta in documents.items()}
    found = [(name, run) for name, identity in identities.items() for run in closed if _same(identity, run_identity(run))]
    if not found:
        raise InputDataError(
            f"{stances.path}: none of the closed runs ({', '.join(run.name for run in closed) or 'none given'}) is by a model that wrote "
            f"these open answers ({', '.join(documents)}). Ask the same model closed: valuestrata ask DATASET --model MODEL -o RUN"
        )
    return found


def _same(one: RunIdentity, other: RunIdentity) -> bool:
    return one.control == other.control and one.same_weights(other)


def closed_against_open(
    dataset: Dataset,
    stances: pl.DataFrame,
    runs: Sequence[tuple[str, Answered]],
    *,
    by: Sequence[str] = BY,
    bootstrap: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the agreement of closed answers with stances by run, judge and key, a frame of AGREEMENT.

    Args:
        dataset: describes the scales.
        stances: a frame of STANCES.
        runs: (name of the open run, closed run of the same model), from `closed_runs_of`.
        by: groupings.
        bootstrap: number of bootstrap replicates.
        seed: their seed.
    """
    rows: list[dict[str, object]] = []
    for name, closed in runs:
        chosen = positions(dataset, RESPONSES.check(closed.responses, closed.name))
        for (judge,), part in stances.filter(pl.col("run") == name).group_by("judge", maintain_order=True):
            compared = _compared_pairs(chosen, positions(dataset, part))
            blocks = dataset.blocks_of(compared["item"].to_numpy())
            for grouping, key, mask in groups_of(dataset, compared, by):
                for metric in METRICS:
                    where = {"run": name, "closed": closed.name, "judge": judge, "by": grouping, "key": key, "metric": metric}
                    rows.append({**where, **agreement_columns(compared, blocks, mask, metric, bootstrap, seed)})
    return AGREEMENT.frame(rows)


def positions(dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
    """Return pair_id, item, subgroup, sample, code (null without an answer) and position on 0..1 (null for nominal items).

    Args:
        dataset: describes the scales. rows: a frame with pair_id, item, subgroup, sample, answer, status (RESPONSES, STANCES).
    """
    scale = dataset.items.select(
        "item",
        pl.col("codes").alias("code"),
        pl.int_ranges(0, pl.col("codes").list.len()).alias("_index"),
        (pl.col("codes").list.len() - 1).alias("_last"),
        (pl.col("level") != "nominal").alias("_ordered"),
    ).explode("code", "_index")
    answered = pl.when(pl.col("status") == "answered").then("answer").alias("code")
    placed = rows.select("pair_id", "item", "subgroup", "sample", answered).join(
        scale, on=("item", "code"), how="left", maintain_order="left"
    )
    position = pl.when("_ordered").then(pl.col("_index") / pl.col("_last").clip(1)).alias("position")
    return placed.select("pair_id", "item", "subgroup", "sample", "code", position)


def _compared_pairs(chosen: pl.DataFrame, stances: pl.DataFrame) -> pl.DataFrame:
    """Return the pairs asked both ways, with the columns of METRICS and MOMENTS, each the mean over responses and stances."""
    asked = stances.select("pair_id", "item", "subgroup").unique("pair_id", maintain_order=True)
    asked = asked.join(chosen.select("pair_id").unique(), on="pair_id", how="semi", maintain_order="left")
    other = stances.select("pair_id", pl.col("code").alias("_stance"), pl.col("position").alias("_y")).drop_nulls("_stance")
    each = chosen.drop_nulls("code").join(other, on="pair_id", how="inner", maintain_order="left")
    x, y = pl.col("position"), pl.col("_y")
    means = [((x - y) ** 2).mean().alias("apart"), x.mean().alias("x"), y.mean().alias("y")]
    means += [(x**2).mean().alias("xx"), (y**2).mean().alias("yy"), (x - y).abs().mean().alias("distance")]
    pairs = each.group_by("pair_id", maintain_order=True).agg((pl.col("code") == pl.col("_stance")).mean().alias("same"), *means)
    joined = asked.join(pairs, on="pair_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("same").is_not_null().cast(pl.Float64).alias("both"))


def agreement_columns(
    pairs: pl.DataFrame, blocks: NDArray[np.str_], mask: NDArray[np.bool_], metric: str, bootstrap: int, seed: int
) -> dict[str, object]:
    """Return value, ci_low, ci_high, pairs and items of one metric over the rows of a mask.

    Args:
        pairs: item, the metric's column, and for `kappa` the columns MOMENTS, null without two positions.
        blocks: block of each row.
    """
    found = _agreement(pairs.with_columns(pl.Series("block", blocks)).filter(pl.Series(mask)), metric, bootstrap, seed)
    return {**found.columns(), "pairs": found.n, "items": found.items}


def _agreement(pairs: pl.DataFrame, metric: str, bootstrap: int, seed: int) -> ClusterEstimate:
    names = MOMENTS if metric == "kappa" else (metric,)
    rows = pairs.drop_nulls(names[0])
    if rows.is_empty():
        return UNDEFINED
    clusters = clusters_of(rows["item"].to_numpy(), rows["block"].to_numpy())
    cluster, number = clusters.of, clusters.count
    sums = np.stack([np.bincount(cluster, rows[name].to_numpy(), minlength=number) for name in names])
    counts = np.bincount(cluster, minlength=number).astype(np.float64)

    def measured(means: Floats) -> Floats:
        return kappa_from_moments(means) if metric == "kappa" else means[0]

    weights = cluster_draws(number, bootstrap, seed)
    value = float(measured(sums.sum(axis=1) / counts.sum()))
    replicates = measured((sums @ weights.T) / (weights @ counts))
    ends = percentile_interval(value, replicates, clusters, -1.0 if metric == "kappa" else 0.0, 1.0)
    return ClusterEstimate(value, *ends, rows.height, clusters.items)
