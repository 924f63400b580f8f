"""The mean of the multilevel and the low-rank model, made to agree with the training cells it stands on.

The one pools within an item over attributes and their pairs, the other over items; their errors differ, and their mean is
better than either. Where the people of a test cell also stand behind trained cells, the shares in joint cells are then
raked until they add up to what was observed in each training cell (iterative proportional fitting, Deming and Stephan
1940; as an estimator for small areas, SPREE, Purcell and Kish 1980): a parent's noise is then its child's too. Where they
are apart, the noise is somebody else's and the model's shares stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from valuestrata.respondents.baselines.cell_models import low_rank as lowrank
from valuestrata.respondents.baselines.cell_models import multilevel
from valuestrata.respondents.baselines.cell_models.cells import Cells, above_floor, tabled
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Floats, Predictor, as_shares

ROUNDS = 10
# Answers at the shares so far that are added to each training cell: none of its shares is then exactly 0.
PSEUDO_ANSWERS = 1.0


def fit_ensemble(gold: TrainingGold) -> Predictor:
    """Fit both, take their mean, rake it where people are shared."""
    rank, penalty = lowrank.chosen(gold)
    cells = Cells.of(gold)
    one, other = multilevel.joint_shares(cells), lowrank.joint_shares(cells, rank, penalty)

    def raked(item: str, shares: Floats) -> Floats:
        return rake(above_floor(shares, cells.observed[item].everyone), gold.joint.weight, _margins(cells, item))

    tables = cells.poststratify(lambda item: 0.5 * (one(item) + other(item)), None if gold.apart else raked)
    return tabled(gold, tables, rank=rank, penalty=penalty)


Margin = tuple[NDArray[np.intp], Floats, Floats]


def _margins(cells: Cells, item: str) -> list[Margin]:
    """Return for each stratum that trains: which of its cells each joint cell is in (-1: none), their shares and n_eff."""
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
    """Return joint-cell shares that add up to those of the training cells, as near to the given ones as can be.

    Args:
        shares: shape (joint cells, K), all positive, rows sum to 1. weight: people of each joint cell.
        margins: for each stratum the index of the training cell each joint cell is in (-1: none), the training cells'
            shares, shape (training cells, K), and effective answers.
        rounds: over all strata; strata that cannot be met all at once are met in the mean.
    """
    options = shares.shape[1]
    found = shares.copy()
    for _ in range(rounds):
        for which, wanted, n_eff in margins:
            inside = which >= 0
            cell, people = which[inside], weight[inside]
            sums = [np.bincount(cell, people * found[inside, k], len(wanted)) for k in range(options)]
            now = as_shares(np.array(sums, dtype=np.float64).T)
            target = (n_eff[:, None] * wanted + PSEUDO_ANSWERS * now) / (n_eff[:, None] + PSEUDO_ANSWERS)
            found[inside] = as_shares(found[inside] * (target / np.maximum(now, 1e-300))[cell])
    return found
