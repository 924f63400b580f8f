"""Full audit of ten runs x 20,000 pairs with 2,000 permutations (limit: 60 s on 2 cores).

We time `audit` as a user calls it: accuracy and NMAE, 1,000 two-way replicates, both nulls, max-T, gaps (raw, relative to the best
cheap baseline and adjusted for difficulty), intersections, and each run against the first. Two of the ten runs are cheap baselines.

The peer does the slowest part one run at a time: permuting values within item and stratum with numpy's `Generator.permuted`, and
the mean of each subgroup. Both sides do equally many permutations of one metric of all ten runs. Their means and standard deviations
over permutations are checked to agree.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from bootstrap_10x20k import ITEMS, RESPONDENTS, RUNS, answered
from numpy.typing import NDArray
from population import synthetic_survey

from valuestrata.building import BuildSettings, build
from valuestrata.fairness import audit
from valuestrata.fairness.context import context_of
from valuestrata.fairness.estimate.nulls import centre, permute
from valuestrata.fairness.options import AuditedPart, Resampling
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.scores.layout import place

PERMUTATIONS, REPLICATES = 2_000, 1_000
# The peer would take minutes with all permutations.
PEER_PERMUTATIONS = 100


@dataclass(frozen=True)
class Model:
    """A run with a name, responses and no metadata."""

    name: str
    responses: pl.DataFrame
    meta: Mapping[str, Any] = field(default_factory=dict)


def run() -> list[dict[str, Any]]:
    """Time the audit, then the permutations of both sides."""
    dataset = build(synthetic_survey(RESPONDENTS, ITEMS), BuildSettings(draws=1000))
    baselines = reference_baselines(dataset, [], kinds=("item-mode", "nearest-parent"))
    models = [Model(one.name, one.responses) for one in (answered(dataset, seed) for seed in range(RUNS - len(baselines)))]
    runs = [*models, *baselines]
    pairs = len(dataset.part("paper", "test"))
    start = time.perf_counter()
    found = audit(dataset, runs, against=models[0].name, permutations=PERMUTATIONS, bootstrap=REPLICATES)
    seconds = time.perf_counter() - start
    rows = {name: len(frame) for name, frame in found.tables().items()}
    whole = {
        "name": "audit_10x20k",
        "ours": seconds,
        "peer": None,
        "peer_name": None,
        "ratio": None,
        "unit": "seconds",
        "detail": f"{len(runs)} runs x {pairs:,} pairs, {PERMUTATIONS:,} permutations, {REPLICATES:,} replicates; rows {rows}",
    }
    context = context_of(dataset, AuditedPart(), Resampling(bootstrap=1))
    grids = [centre(place(context.layout, one.name, one.responses).metrics["accuracy"].gold, context.strata) for one in runs]
    start = time.perf_counter()
    ours = [one.sums for one in permute(grids, context.strata, PEER_PERMUTATIONS, 0)]
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    theirs = [_permuted(one.residual, one.mask, context.strata, PEER_PERMUTATIONS) for one in grids]
    peer = time.perf_counter() - start
    for one, other in zip(ours, theirs, strict=True):
        spread = other.std(axis=0)
        if np.abs(one.mean(axis=0) - other.mean(axis=0)).max() > 6 * spread.max() / PEER_PERMUTATIONS**0.5:
            raise RuntimeError("both sides must permute around the same means")
        if not np.allclose(one.std(), other.std(), rtol=0.05):
            raise RuntimeError("both sides must permute with the same spread")
    part = {
        "name": "audit_permutations",
        "ours": seconds,
        "peer": peer,
        "peer_name": "numpy Generator.permuted, run by run",
        "ratio": peer / seconds,
        "unit": "seconds",
        "detail": f"{PEER_PERMUTATIONS} permutations of accuracy of {len(runs)} runs within item and stratum, subgroups' sums",
    }
    return [whole, part]


def _permuted(residual: NDArray[np.float64], mask: NDArray[np.bool_], strata: NDArray[np.intp], permutations: int) -> NDArray[np.float64]:
    """Permute the values of each item among the cells of a stratum that have one."""
    rng = np.random.default_rng(1)
    sums = np.zeros((permutations, len(residual)))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        there = mask[rows]
        # Items with the same missing cells are permuted together.
        patterns, which = np.unique(there, axis=1, return_inverse=True)
        for number, pattern in enumerate(patterns.T):
            block = residual[rows[pattern]][:, which.ravel() == number]
            for at in range(permutations):
                sums[at, rows[pattern]] += rng.permuted(block, axis=0).sum(axis=1)
    return sums
