"""The mean of the multilevel and the low-rank model, raked to the training cells.

If test and training cells have respondents in common, the shares in joint cells are raked to the shares observed in training
cells (iterative proportional fitting, Deming and Stephan 1940; as small-area estimator, SPREE, Purcell and Kish 1980), because
their sampling errors are then correlated. With disjoint respondents, shares are not raked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from valuestrata.respondents.baselines.cell_models import low_rank, multilevel
from valuestrata.respondents.baselines.cell_models.cells import TrainingCells, above_floor, tabulated
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Floats, Predictor, as_shares

ROUNDS = 10
# Answers with the current shares added to each training cell, so no target share is 0.
PSEUDO_ANSWERS = 1.0


def fit_ensemble(gold: TrainingGold) -> Predictor:
    """Fit both models and return their mean, raked if respondents are shared."""
    rank, penalty = low_rank.choose_rank(gold)
    cells = TrainingCells.of(gold)
    first, second = multilevel.joint_shares(cells), low_rank.joint_shares(cells, rank, penalty)

    def raked(item: str, shares: Floats) -> Floats:
        return rake(above_floor(shares, cells.observed[item].pooled), gold.joint.weight, _margins(cells, item))

    tables = cells.poststratify(lambda item: 0.5 * (first(item) + second(item)), None if gold.disjoint else raked)
    return tabulated(gold, tables, rank=rank, penalty=penalty)


Margin = tuple[NDArray[np.intp], Floats, Floats]


def _margins(cells: TrainingCells, item: str) -> list[Margin]:
    """Return, for each training stratum, the index of the cell of each joint cell (-1 for none), the shares and n_eff."""
    seen = cells.observed[item]
    strata: dict[tuple[str, ...], list[int]] = {}
    for i, subgroup in enumerate(seen.subgroups):
        strata.setdefault(tuple(cells.gold.levels[subgroup]), []).append(i)
    margins: list[Margin] = []
    for members in strata.values():
        inside = np.array([cells.mixture[seen.subgroups[i]] > 0 for i in members])
        which = np.where(inside.any(axis=0), inside.argmax(axis=0), -1)
        margins.append((which, seen.shares[members], seen.n_eff[members]))
    return margins


def rake(shares: Floats, weight: Floats, margins: Sequence[Margin], *, rounds: int = ROUNDS) -> Floats:
    """Return joint-cell shares raked to the shares of the training cells.

    Args:
        shares: shape (joint cells, K), all positive, rows sum to 1. weight: size of each joint cell.
        margins: for each stratum, the index of the training cell of each joint cell (-1 for none), the shares of the training
            cells, shape (training cells, K), and their effective answers.
        rounds: number of passes over all strata.
    """
    options = shares.shape[1]
    found = shares.copy()
    for _ in range(rounds):
        for which, observed, n_eff in margins:
            inside = which >= 0
            cell, size = which[inside], weight[inside]
            sums = [np.bincount(cell, size * found[inside, k], len(observed)) for k in range(options)]
            current = as_shares(np.array(sums, dtype=np.float64).T)
            target = (n_eff[:, None] * observed + PSEUDO_ANSWERS * current) / (n_eff[:, None] + PSEUDO_ANSWERS)
            found[inside] = as_shares(found[inside] * (target / np.maximum(current, 1e-300))[cell])
    return found
