"""How often the claim that a calibrated model adds to the best method without a model is made, where the truth is known.

    python bench/model_adds.py --repetitions 1000

Each repetition draws the W1 and the expected accuracy of a calibrated run and of eight methods without a model on items with errors in
common, takes the paired intervals over items (Student's t), and lets the rules make the claims of the first screen. A claim that the
model adds is false if the run is no better than the best of the methods in expectation. `tied`: number of methods that are the best;
the others are .03 behind.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from valuestrata.claims.claim import Claim
from valuestrata.claims.closed import closed_claims
from valuestrata.claims.select import select
from valuestrata.dataset.tables import LEAKAGE
from valuestrata.respondents.baselines import LADDER
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.schema import COMPARISONS, RELATIVE, SCORES

SEED = 1600
MODEL = {"name": "model", "provider": "transformers"}
BEHIND = 0.03
# (items, methods that are the best, gain over them in W1).
CASES = ((30, 1, 0.0), (30, 3, 0.0), (30, 8, 0.0), (30, 1, 0.02), (150, 1, 0.0), (150, 1, 0.01), (150, 3, 0.02), (1000, 1, 0.0))
# Metric -> sign of a gain, and the scale of a gain of 1 unit of W1.
METRICS = {"w1": (-1.0, 1.0), "accuracy_expected": (1.0, 2.0)}


def runs() -> list[Any]:
    """Return a calibrated run, its control `no-model` and seven baselines."""
    documents: dict[str, dict[str, Any]] = {
        "calibrated": {"provider": "calibrated", "method": "hybrid", "of": MODEL},
        "no-model": {"provider": "calibrated", "method": "hybrid", "of": MODEL, "control": "no-model"},
    }
    documents |= {f"baseline-{rule}": {"name": f"baseline:{rule}", "provider": "baseline"} for rule in LADDER[:7]}
    return [SimpleNamespace(name=name, meta={"respondent": one}, responses=RESPONSES.empty()) for name, one in documents.items()]


def claims(rng: np.random.Generator, items: int, tied: int, gain: float) -> list[Claim]:
    """Return the claims of one repetition.

    Args:
        rng: generator. items: number of independent items. tied: number of methods without a model that are the best.
        gain: of the calibrated run over them in W1.
    """
    given = runs()
    names = [run.name for run in given[1:]]
    order = rng.permutation(len(names))
    rows: list[dict[str, Any]] = []
    for metric, (sign, scale) in METRICS.items():
        # Differences per item, correlated because all methods are compared with the same run.
        shared = rng.normal(0, 0.03, items)
        for place, name in enumerate(names):
            truth = gain + (BEHIND if order[place] >= tied else 0.0)
            each = truth + shared + rng.normal(0, 0.03, items)
            rows.append(_row(name, metric, scale * each, sign))
    scores = SCORES.frame([{"run": run.name, **PLACE, "metric": metric, "value": 0.1} for run in given for metric in METRICS])
    return closed_claims(scores, COMPARISONS.frame(rows), RELATIVE.empty(), LEAKAGE.empty(), given)


PLACE: dict[str, Any] = {"scheme": "unseen-item", "part": "test", "by": "all", "key": "all", "coverage": 1.0}


def _row(name: str, metric: str, each: NDArray[np.float64], sign: float) -> dict[str, Any]:
    mean, error, freedom = float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5), len(each) - 1
    half = float(stats.t.ppf(0.975, freedom)) * error
    figures = {"difference": sign * mean, "ci_low": sign * mean - half, "ci_high": sign * mean + half, "se": error}
    p = 2 * float(stats.t.sf(abs(mean) / error, freedom))
    return {**PLACE, "run": "calibrated", "against": name, "metric": metric, **figures, "p": p, "pairs": 3000, "status": "exploratory"}


def rates(items: int, tied: int, gain: float, repetitions: int, seed: int) -> dict[str, Any]:
    """Return how often each outcome was on the first screen, by W1 or by expected accuracy."""
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(("adds", "below", "within the margin"), 0)
    for _ in range(repetitions):
        found = claims(rng, items, tied, gain)
        shown = [claim for claim in select(found)[0].shown if claim.strength in ("shown", "within the margin")]
        counts["adds"] += any(claim.kind == "model-adds" for claim in shown)
        counts["below"] += any(claim.kind == "model-below" for claim in shown)
        counts["within the margin"] += any(claim.kind == "model-level" for claim in shown)
    return {"items": items, "tied": tied, "gain": gain, **{name: count / repetitions for name, count in counts.items()}}


def main() -> None:
    """Print the rates of every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    for items, tied, gain in CASES:
        print(json.dumps(rates(items, tied, gain, arguments.repetitions, arguments.seed)), flush=True)


if __name__ == "__main__":
    main()
