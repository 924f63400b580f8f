"""Processor seconds of `build` and of `score` with all baselines, for 2,596 respondents and 237 items (limits: 12 s and 25 s).

The two loops that took most of `score` are compared with plain ones that give the same numbers: sums over redrawn modes with a
look-up of every pair, and shuffles of items with permuted matrices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from population import synthetic_survey

from valuestrata.assessment import assess
from valuestrata.building import BuildSettings, build
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.scores.resampling import ChangedModes
from valuestrata.stats.correlations import shuffled_agreement

DRAWS, GROUPS, ITEMS, OPTIONS, CHANGED = 1000, 49, 237, 10, 0.25
SHUFFLES, ROWS = 1000, 21
# Leaves about as many subgroups and pairs as a country of the WVS has.
MIN_RESPONDENTS = 68


def run() -> list[dict[str, Any]]:
    """Time the parts and the whole."""
    survey = synthetic_survey(2596, ITEMS)
    start = time.process_time()
    dataset = build(survey, BuildSettings(min_respondents=MIN_RESPONDENTS))
    built = time.process_time() - start
    start = time.process_time()
    assess(dataset, reference_baselines(dataset, []))
    scored = time.process_time() - start
    pairs = len(dataset.part("paper", "test"))
    return [
        _alone("build_whole", built, f"{dataset.meta['counts']['subgroups']} subgroups, without reading and writing files"),
        _alone("score_whole", scored, f"{pairs:,} pairs, 11 baselines fitted, scored and compared"),
        _redraws(),
        _shuffles(),
    ]


def _redraws() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    mode = rng.integers(0, OPTIONS, GROUPS * ITEMS).astype(np.int8)
    size = (DRAWS, mode.size)
    drawn = np.where(rng.random(size) < CHANGED, rng.integers(0, OPTIONS, size), mode).astype(np.int8)
    table = rng.random((mode.size, OPTIONS))
    changes = ChangedModes.of(drawn, mode, (GROUPS, ITEMS), OPTIONS)

    def plain() -> tuple[np.ndarray, ...]:
        values = np.take(table.ravel(), drawn + np.arange(mode.size) * OPTIONS).reshape(DRAWS, GROUPS, ITEMS)
        return values.sum(axis=2), values.sum(axis=1)

    return _ratio("score_redraws", lambda: changes.sums(table), plain, "numpy look-up", f"sums of {mode.size:,} pairs in {DRAWS:,} redraws")


def _shuffles() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    x, y = (np.corrcoef(rng.normal(size=(ROWS, ITEMS)), rowvar=False) for _ in range(2))
    orders = [rng.permutation(ITEMS) for _ in range(SHUFFLES)]
    off = ~np.eye(ITEMS, dtype=bool)

    def plain() -> tuple[np.ndarray]:
        return (np.array([np.corrcoef(x[np.ix_(order, order)][off], y[off])[0, 1] for order in orders]),)

    detail = f"{SHUFFLES:,} shuffles of {ITEMS} items, {ROWS} subgroups"
    return _ratio("score_shuffles", lambda: shuffled_agreement(x, y, orders)[:1], plain, "numpy corrcoef", detail)


def _ratio(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], peer: str, detail: str) -> dict[str, Any]:
    times, found = [], []
    for work in (ours, theirs):
        start = time.process_time()
        found.append(work())
        times.append(time.process_time() - start)
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
    unit = {"unit": "processor seconds", "detail": f"{detail}; equal within 1e-9"}
    return {"name": name, "ours": times[0], "peer": times[1], "peer_name": peer, "ratio": times[1] / times[0], **unit}


def _alone(name: str, seconds: float, detail: str) -> dict[str, Any]:
    return {"name": name, "ours": seconds, "peer": None, "peer_name": None, "ratio": None, "unit": "processor seconds", "detail": detail}
