"""A low-rank model of items x subgroups: items share a few patterns of who departs from everyone, and how.

A share's departure from the item's pooled share, over the root of the latter, is a sum of effects of the attribute
levels; the matrix of effects, (item, code) x level, is a ridge estimate cut to its largest singular values. This is
canonical correspondence analysis (ter Braak 1986) with a penalty, or reduced-rank regression (Izenman 1975). Subgroups
never trained are predicted from their levels: a plain factorisation has nothing to say about an empty column.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from valuestrata.respondents.baselines.cell_models.cells import Cells, tabled
from valuestrata.respondents.baselines.cell_models.validation import Tables, choose
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Floats, Predictor

RANKS = (2, 4, 8, 16)
# Answers at the pooled shares that each effect is shrunk by.
PENALTIES = (100.0, 30.0, 10.0)
CANDIDATES = tuple((rank, penalty) for rank in RANKS for penalty in PENALTIES)
# What items share is seen in many of them, so that more are used than for a penalty.
ENOUGH_ITEMS = 120


def fit_low_rank(gold: TrainingGold) -> Predictor:
    """Choose rank and penalty inside the training pairs, and fit."""
    cells = Cells.of(gold)
    rank, penalty = chosen(gold)
    return tabled(gold, cells.poststratify(joint_shares(cells, rank, penalty)), rank=rank, penalty=penalty)


def chosen(gold: TrainingGold) -> tuple[int, float]:
    """Return the rank and the penalty that predict left-out training strata best."""

    def fitted(cells: Cells, candidate: tuple[int, float]) -> Tables:
        return cells.poststratify(joint_shares(cells, *candidate))

    return choose(gold, CANDIDATES, fitted, items=ENOUGH_ITEMS)


def joint_shares(cells: Cells, rank: int, penalty: float) -> Callable[[str], Floats]:
    """Return item -> shares in the joint cells asked about, shape (cells, K); they may be negative.

    Args:
        cells: the training gold on arrays. rank: how many singular values stay. penalty: of the ridge, in answers.
    """
    trained = cells.centred(cells.gold.trained_joint)
    asked = cells.centred(cells.gold.joint)
    covariates = {subgroup: weights @ trained for subgroup, weights in cells.mixture.items()}
    effects: list[Floats] = []
    rows: dict[str, slice] = {}
    start = 0
    for item, seen in cells.observed.items():
        of_cells = np.array([covariates[s] for s in seen.subgroups])
        departures = (seen.shares - seen.everyone) / np.sqrt(seen.everyone)
        weighted = of_cells.T * seen.n_eff
        solved = np.linalg.solve(weighted @ of_cells + penalty * np.eye(of_cells.shape[1]), weighted @ departures)
        effects.append(np.asarray(solved.T, dtype=np.float64))
        rows[item] = slice(start, start + len(seen.everyone))
        start = rows[item].stop
    if not effects:  # nothing trains in joint cells, and nobody asks
        return lambda item: cells.observed[item].everyone[None]
    low = _cut(np.vstack(effects), np.array(list(covariates.values())), rank)

    def of_item(item: str) -> Floats:
        everyone = cells.observed[item].everyone
        return everyone + np.sqrt(everyone) * (asked @ low[rows[item]].T)

    return of_item


def _cut(effects: Floats, covariates: Floats, rank: int) -> Floats:
    """Return the nearest matrix of that rank, nearness measured in the departures predicted in the training cells."""
    metric = covariates.T @ covariates
    values, vectors = np.linalg.eigh(metric)
    values = np.sqrt(np.maximum(values, 1e-9 * max(values[-1], 1e-300)))
    root, inverse = (vectors * values) @ vectors.T, (vectors / values) @ vectors.T
    left, singular, right = np.linalg.svd(effects @ root, full_matrices=False)
    return (left[:, :rank] * singular[:rank]) @ right[:rank] @ inverse
