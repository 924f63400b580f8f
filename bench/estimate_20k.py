"""Times the five estimators on 20,000 pairs (limit: 60 seconds on one core, all together).

A sample of 2,000 people of a simulated population of 4,000, five attributes, 180 subgroups, 110 items with 2 to 5 options, and a model
that answered as each person. Small-area estimates are made with the model and without.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

if __name__ == "__main__":
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from tests.estimation.simulated import world
from valuestrata.estimation.estimates import Estimates
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.estimators.model_only import model_only
from valuestrata.estimation.estimators.multilevel import multilevel
from valuestrata.estimation.estimators.rectified import rectified
from valuestrata.estimation.estimators.small_area import small_area_estimates

LIMIT = 60.0
PEOPLE, ITEMS = 2000, 110
MORE = ((0.4, 0.3, 0.2, 0.1), (0.3, 0.3, 0.2, 0.1, 0.1))
Result = TypeVar("Result")


def run() -> list[dict[str, Any]]:
    """Time each estimator, and check the total and that shares sum to 1."""
    with np.errstate(invalid="ignore"):
        made = world(0, people=2 * PEOPLE, items=ITEMS, options=(2, 3, 4, 5, 5), more=MORE)
    data = made.draw(PEOPLE, 0)
    times: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Result]) -> Result:
        start = time.process_time()
        found = call()
        times[name] = time.process_time() - start
        return found

    human = timed("human", lambda: human_only(data))
    fit = timed("multilevel", lambda: multilevel(data))
    found: list[Estimates] = [human, fit.estimates]
    found.append(timed("model", lambda: model_only(data, "model")))
    found.append(timed("rectified", lambda: rectified(data, "model", human)))
    found.append(timed("small-area without a model", lambda: small_area_estimates(data, (), fit, human)))
    found.append(timed("small-area", lambda: small_area_estimates(data, ("model",), fit, human)))
    for one in found:
        total = one.shares.sum(axis=2)
        assert np.allclose(total[np.isfinite(total)], 1.0), f"{one.estimator}: shares sum to 1"
    pairs = f"{human.shares.shape[0] * human.shares.shape[1]:,} pairs, {PEOPLE:,} people (CPU)"
    times["together"] = sum(times.values())
    assert times["together"] < LIMIT, f"{times['together']:.1f} s"
    rest = {"peer": None, "peer_name": None, "ratio": None, "unit": "seconds"}
    return [{"ours": took, **rest, "detail": f"{name}: {pairs}"} for name, took in times.items()]


if __name__ == "__main__":
    for row in run():
        print(f"{row['ours']:7.2f} s  {row['detail']}")
