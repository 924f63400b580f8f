"""Times each calibration method on 20,000 training pairs (limit: 10 seconds on one core).

The survey is simulated: 250 items on five scales, 80 subgroups of four attributes. The true shares follow the model's answers with a
known slope, and the persona's departures with a known factor, which each fit must recover.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from valuestrata.calibration.methods import METHODS
from valuestrata.calibration.model_answers import ModelAnswers, Pair
from valuestrata.respondents.baselines import JointCells, TrainingGold
from valuestrata.stats.arrays import softmax

ITEMS, OPTIONS, LEVELS = 250, (2, 3, 4, 5, 10), (2, 6, 4, 5)
SLOPE, FACTOR = 0.5, 0.3
ANSWERS = 300
LIMIT = 10.0
# Largest allowed distance of a recovered slope or factor from the planted one.
CLOSE = 0.1


def world(
    items: int = ITEMS, subgroups: int = 80, seed: int = 0, *, slope: float = SLOPE, factor: float = FACTOR
) -> tuple[TrainingGold, ModelAnswers]:
    """Return training gold and a model's answers, with four topics, by seed."""
    rng = np.random.default_rng(seed)
    attributes = {f"a{i}": [f"l{j}" for j in range(size)] for i, size in enumerate(LEVELS)}
    levels = {f"{name}_{label}": {name: label} for name, labels in attributes.items() for label in labels}
    names = list(attributes)
    for one, first in enumerate(names):
        for second in names[one + 1 :]:
            for left in attributes[first]:
                levels |= {f"{first}x{second}_{left}_{right}": {first: left, second: right} for right in attributes[second]}
    levels = dict(list(levels.items())[:subgroups])
    codes = {f"q{i}": tuple(range(1, OPTIONS[i % len(OPTIONS)] + 1)) for i in range(items)}
    answers: dict[Pair, np.ndarray] = {}
    counts: dict[Pair, np.ndarray] = {}
    for item, own in codes.items():
        nation, residual = rng.normal(0, 1.5, len(own)), rng.normal(0, 0.3, len(own))
        for subgroup in levels:
            departure = rng.normal(0, 0.5, len(own))
            answers[item, subgroup] = softmax(nation + departure)
            truth = softmax(slope * nation + factor * departure + residual)
            counts[item, subgroup] = rng.multinomial(ANSWERS, truth).astype(float)
    cells = JointCells(tuple(names), ((None,) * len(names),), np.ones(1), np.ones(1))
    text = {item: item for item in codes}
    gold = TrainingGold(
        codes=codes,
        level={item: "binary" if len(own) == 2 else "ordinal" for item, own in codes.items()},
        labels={item: tuple(map(str, own)) for item, own in codes.items()},
        question=text,
        topic={item: f"t{i % 4}" for i, item in enumerate(codes)},
        counts=counts,
        n=dict.fromkeys(counts, ANSWERS),
        n_eff=dict.fromkeys(counts, float(ANSWERS)),
        levels=levels,
        singles={name: [one for label in labels if (one := f"{name}_{label}") in levels] for name, labels in attributes.items()},
        joint=cells,
        trained_joint=cells,
        scheme="unseen-item",
        fold=0,
    )
    return gold, ModelAnswers(answers, dict.fromkeys(answers, 1))


def run() -> list[dict[str, Any]]:
    """Time each method, and check the recovered slope and factor."""
    gold, answers = world()
    return [_timed(method, gold, answers) for method in METHODS]


def _timed(method: str, gold: TrainingGold, answers: ModelAnswers) -> dict[str, Any]:
    start = time.process_time()
    predictor = METHODS[method](gold, answers)
    fitted = time.process_time() - start
    for pair in gold.counts:
        shares = predictor.shares(*pair)
        assert abs(shares.sum() - 1.0) < 1e-9
    took = time.process_time() - start
    settings: Any = predictor.settings
    for scale in settings.get("scales", ()) if method in ("shares", "shrunken-persona", "by-subgroup") else ():
        planted = SLOPE if "factor" in settings else None
        assert planted is None or abs(scale["slope"] - planted) < CLOSE, scale
    assert "factor" not in settings or abs(settings["factor"] - FACTOR) < CLOSE, settings["factor"]
    assert took < LIMIT, f"{method} took {took:.1f} s"
    detail = f"{len(gold.counts):,} pairs: {fitted:.1f} s to fit, {took - fitted:.1f} s to predict (CPU)"
    return {"ours": took, "peer": None, "peer_name": None, "ratio": None, "unit": "seconds", "detail": f"{method}, {detail}"}


if __name__ == "__main__":
    for row in run():
        print(row["detail"])
