"""Times all baselines on a survey of 2,000 respondents and 240 items (limit: 3 minutes).

The additive multinomial models are compared with direct use of scikit-learn: one LogisticRegression per item with a weighted
row per cell and code and the fastest solver. (The default, lbfgs, has errors of up to .02 in shares at its default tolerance.)
Both must give the same shares.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import Dataset
from valuestrata.respondents.baselines import BASELINES, TrainingGold, training_gold
from valuestrata.respondents.baselines.cell_models.additive import joint_shares
from valuestrata.respondents.baselines.cell_models.cells import TrainingCells
from valuestrata.survey.simulation.population import SimulationSettings, draw_survey, plant

RESPONDENTS, ITEMS = 2000, 240
# Prior variance of effects in the comparison.
VARIANCE = 1.0
# Largest allowed difference of shares.
CLOSE = 1e-4


def survey() -> Dataset:
    """Return a simulated data set with four attributes of 2, 6, 3 and 4 levels, effects and weights."""
    settings = SimulationSettings(
        respondents=RESPONDENTS, items=ITEMS, options=(2, 3, 4, 5, 10), levels=(2, 6, 3, 4), main_effects=0.3, weighted=True, seed=1
    )
    return build(draw_survey(plant(settings), 1), BuildSettings(draws=20))


def run() -> list[dict[str, Any]]:
    """Time all baselines on the paper split, and the additive fits against scikit-learn."""
    dataset = survey()
    asked = list(dataset.part("paper", "test").select("item", "subgroup").iter_rows())
    gold = training_gold(dataset)
    seconds = {kind: _timed(kind, dataset, asked) for kind in BASELINES}
    each = ", ".join(f"{kind} {took:.1f}" for kind, took in seconds.items() if took >= 0.05)
    whole = {
        "ours": sum(seconds.values()),
        "peer": None,
        "peer_name": None,
        "ratio": None,
        "unit": "seconds",
        "detail": f"{len(gold.counts):,} training and {len(asked):,} test pairs; {each}; the others under 0.05 each",
    }
    return [whole, _additive(gold)]


def _timed(kind: str, dataset: Dataset, asked: list[tuple[str, str]]) -> float:
    start = time.perf_counter()
    predictor = BASELINES[kind](training_gold(dataset))
    for item, subgroup in asked:
        shares = predictor.shares(item, subgroup)
        assert abs(shares.sum() - 1.0) < 1e-9
    return time.perf_counter() - start


def _additive(gold: TrainingGold) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression

    cells = gold.once(TrainingCells.of)
    trained, asked = cells.centred(gold.trained_joint), cells.centred(gold.joint)

    def design(item: str) -> np.ndarray:
        return np.array([cells.mixture[s] @ trained for s in cells.observed[item].subgroups])

    def theirs(item: str) -> np.ndarray:
        seen = cells.observed[item]
        options = seen.shares.shape[1]
        rows = design(item)
        weights = seen.shares * seen.n_eff[:, None] + 0.5 * seen.pooled
        model = LogisticRegression(C=VARIANCE, solver="newton-cholesky", tol=1e-6)
        model.fit(np.repeat(rows, options, axis=0), np.tile(np.arange(options), len(rows)), sample_weight=weights.ravel())
        return model.predict_proba(asked)

    start = time.perf_counter()
    found = joint_shares(cells, VARIANCE, ordered=False)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    expected = {item: theirs(item) for item in cells.items}
    peer = time.perf_counter() - start
    for item, shares in expected.items():
        difference = float(np.abs(found[item] - shares).max())
        if difference > CLOSE:
            raise AssertionError(f"{item}: shares differ by {difference:.2g} between the two fits")
    return {
        "name": "baseline_additive_fit",
        "ours": ours,
        "peer": peer,
        "peer_name": "scikit-learn LogisticRegression (newton-cholesky)",
        "ratio": peer / ours,
        "unit": "seconds",
        "detail": f"multinomial logit of {len(cells.items)} items at one penalty; shares agree within {CLOSE:g}",
    }
