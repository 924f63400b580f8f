"""A low-rank model of the effects of attribute levels, shared across items.

The difference between a share and the pooled share of the item, divided by the square root of the latter, is a sum of effects
of levels. The matrix of effects, (item, code) x level, is a ridge estimate truncated to its largest singular values: canonical
correspondence analysis (ter Braak 1986) with a penalty, or reduced-rank regression (Izenman 1975).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from valuestrata.respondents.baselines.cell_models.cells import TrainingCells, tabulated
from valuestrata.respondents.baselines.cell_models.validation import Tables, choose
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Floats, Predictor

RANKS = (2, 4, 8, 16)
# Ridge penalties, in units of answers.
PENALTIES = (100.0, 30.0, 10.0)
CANDIDATES = tuple((rank, penalty) for rank in RANKS for penalty in PENALTIES)
# More items than for other penalties, because the patterns are shared across items.
VALIDATION_ITEMS = 120


def fit_low_rank(gold: TrainingGold) -> Predictor:
    """Choose rank and penalty by validation within training, and fit."""
    cells = gold.once(TrainingCells.of)
    rank, penalty = gold.once(choose_rank)
    return tabulated(gold, cells.poststratify(joint_shares(cells, rank, penalty)), rank=rank, penalty=penalty)


def choose_rank(gold: TrainingGold) -> tuple[int, float]:
    """Return the rank and penalty that predict held-out training strata best."""

    def fitted(cells: TrainingCells, candidate: tuple[int, float]) -> Tables:
        return cells.poststratify(joint_shares(cells, *candidate))

    return choose(gold, CANDIDATES, fitted, items=VALIDATION_ITEMS)


def joint_shares(cells: TrainingCells, rank: int, penalty: float) -> Callable[[str], Floats]:
    """Return item -> shares in the joint cells to predict, shape (cells, K), possibly negative.

    Args:
        cells: the training cells. rank: number of singular values kept. penalty: ridge penalty, in answers.
    """
    trained = cells.centred(cells.gold.trained_joint)
    asked = cells.centred(cells.gold.joint)
    covariates = {subgroup: weights @ trained for subgroup, weights in cells.mixture.items()}
    effects: list[Floats] = []
    rows: dict[str, slice] = {}
    start = 0
    for item, seen in cells.observed.items():
        of_cells = np.array([covariates[s] for s in seen.subgroups])
        differences = (seen.shares - seen.pooled) / np.sqrt(seen.pooled)
        weighted = of_cells.T * seen.n_eff
        solved = np.linalg.solve(weighted @ of_cells + penalty * np.eye(of_cells.shape[1]), weighted @ differences)
        effects.append(np.asarray(solved.T, dtype=np.float64))
        rows[item] = slice(start, start + len(seen.pooled))
        start = rows[item].stop
    if not effects:  # no training cell
        return lambda item: cells.observed[item].pooled[None]
    low = _truncate(np.vstack(effects), np.array(list(covariates.values())), rank)

    def of_item(item: str) -> Floats:
        pooled = cells.observed[item].pooled
        return pooled + np.sqrt(pooled) * (asked @ low[rows[item]].T)

    return of_item


def _truncate(effects: Floats, covariates: Floats, rank: int) -> Floats:
    """Return the closest matrix of a rank, in terms of the predictions for training cells."""
    if not covariates.size:  # the population only
        return effects
    metric = covariates.T @ covariates
    values, vectors = np.linalg.eigh(metric)
    values = np.sqrt(np.maximum(values, 1e-9 * max(values[-1], 1e-300)))
    root, inverse = (vectors * values) @ vectors.T, (vectors / values) @ vectors.T
    left, singular, right = np.linalg.svd(effects @ root, full_matrices=False)
    return (left[:, :rank] * singular[:rank]) @ right[:rank] @ inverse
