"""Every baseline fitted and all test pairs answered on a 2,000 x 240 survey: seconds, in all and one by one (limit: 3 minutes).

Beside it the same additive multinomial models as a good user of scikit-learn would fit them: one LogisticRegression an item
on the cells, one weighted row a cell and code, the solver that is quickest here. (Its default, lbfgs, is up to .02 off in some
share at its default tolerance, and many times slower at one that gives the same shares.) Both give the same shares
before either is timed.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import Dataset
from valuestrata.respondents.baselines import BASELINES, TrainingGold, training_gold
from valuestrata.respondents.baselines.cell_models.additive import multinomial
from valuestrata.respondents.baselines.cell_models.cells import Cells
from valuestrata.survey.simulation.population import SimulationSettings, draw_survey, plant

RESPONDENTS, ITEMS = 2000, 240
# The ladder's penalty of the additive models is chosen among several; the comparison is of fits at one of them.
VARIANCE = 1.0
# Largest difference of two shares that two fits of one problem may have.
CLOSE = 1e-4


def survey() -> Dataset:
    """Return a data set of the size named, four attributes with 2, 6, 3 and 4 levels, planted effects, weights."""
    settings = SimulationSettings(
        respondents=RESPONDENTS, items=ITEMS, options=(2, 3, 4, 5, 10), levels=(2, 6, 3, 4), main_effects=0.3, weighted=True, seed=1
    )
    return build(draw_survey(plant(settings), 1), BuildSettings(draws=20))


def run() -> list[dict[str, Any]]:
    """Time the whole ladder on the paper split, then the additive fits against scikit-learn's on the same cells."""
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

    cells = Cells.of(gold)
    trained, asked = cells.centred(gold.trained_joint), cells.centred(gold.joint)

    def design(item: str) -> np.ndarray:
        return np.array([cells.mixture[s] @ trained for s in cells.observed[item].subgroups])

    def ours(item: str) -> np.ndarray:
        return multinomial(design(item), cells.observed[item], asked, VARIANCE)

    def theirs(item: str) -> np.ndarray:
        seen = cells.observed[item]
        options = seen.shares.shape[1]
        rows = design(item)
        weights = seen.shares * seen.n_eff[:, None] + 0.5 * seen.everyone
        model = LogisticRegression(C=VARIANCE, solver="newton-cholesky", tol=1e-6)
        model.fit(np.repeat(rows, options, axis=0), np.tile(np.arange(options), len(rows)), sample_weight=weights.ravel())
        return model.predict_proba(asked)

    for item in cells.items:
        apart = float(np.abs(ours(item) - theirs(item)).max())
        if apart > CLOSE:
            raise AssertionError(f"{item}: shares differ by {apart:.2g} between the two fits")
    times = []
    for fit in (ours, theirs):
        start = time.perf_counter()
        for item in cells.items:
            fit(item)
        times.append(time.perf_counter() - start)
    return {
        "name": "baseline_additive_fit",
        "ours": times[0],
        "peer": times[1],
        "peer_name": "scikit-learn LogisticRegression (newton-cholesky)",
        "ratio": times[1] / times[0],
        "unit": "seconds",
        "detail": f"multinomial logit of {len(cells.items)} items at one penalty; shares agree within {CLOSE:g}",
    }
