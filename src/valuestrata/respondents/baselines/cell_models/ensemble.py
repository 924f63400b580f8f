"""The mean of the multilevel and the low-rank model, raked to the training cells.

If test and training cells have respondents in common, the shares in joint cells are raked to the shares observed in training
cells (iterative proportional fitting, Deming and Stephan 1940; as small-area estimator, SPREE, Purcell and Kish 1980), because
their sampling errors are then correlated. With disjoint respondents, shares are not raked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    rank, penalty = gold.once(low_rank.choose_rank)
    cells = gold.once(TrainingCells.of)
    first, second = gold.once(multilevel.of_gold), low_rank.joint_shares(cells, rank, penalty)

    def joint(item: str) -> Floats:
        return 0.5 * (first(item) + second(item))

    raked = {} if gold.disjoint else _raked(cells, joint)
    tables = cells.poststratify(joint, None if gold.disjoint else lambda item, _: raked[item])
    return tabulated(gold, tables, rank=rank, penalty=penalty)


# Index of the training cell of each joint cell (-1 for none), shares and n_eff of the training cells.
Margin = tuple[NDArray[np.intp], Floats, Floats]


def _raked(cells: TrainingCells, joint: Callable[[str], Floats]) -> dict[str, Floats]:
    """Return item -> raked shares in the joint cells. Items with the same training subgroups and as many codes are raked together."""
    alike: dict[tuple[tuple[str, ...], int], list[str]] = {}
    for item, seen in cells.observed.items():
        alike.setdefault((seen.subgroups, len(seen.pooled)), []).append(item)
    found: dict[str, Floats] = {}
    for (subgroups, _), items in alike.items():
        seen = [cells.observed[item] for item in items]
        start = np.array([above_floor(joint(item), one.pooled) for item, one in zip(items, seen, strict=True)])
        observed, n_eff = np.array([one.shares for one in seen]), np.array([one.n_eff for one in seen])
        strata: dict[tuple[str, ...], list[int]] = {}
        for place, subgroup in enumerate(subgroups):
            strata.setdefault(tuple(cells.gold.levels[subgroup]), []).append(place)
        margins: list[Margin] = []
        for members in strata.values():
            inside = np.array([cells.mixture[subgroups[place]] > 0 for place in members])
            which = np.where(inside.any(axis=0), inside.argmax(axis=0), -1)
            margins.append((which, observed[:, members], n_eff[:, members]))
        found |= zip(items, rake(start, cells.gold.joint.weight, margins), strict=True)
    return found


def rake(shares: Floats, weight: Floats, margins: Sequence[Margin], *, rounds: int = ROUNDS) -> Floats:
    """Return joint-cell shares raked to the shares of the training cells.

    Args:
        shares: shape (..., joint cells, K), all positive, rows sum to 1. weight: size of each joint cell.
        margins: for each stratum, the index of the training cell of each joint cell (-1 for none), the shares of the training
            cells, shape (..., training cells, K), and their effective answers, shape (..., training cells).
        rounds: number of passes over all strata.
    """
    found = shares.copy()
    for _ in range(rounds):
        for which, observed, n_eff in margins:
            inside = np.flatnonzero(which >= 0)
            cell = which[inside]
            summed = (np.arange(observed.shape[-2])[:, None] == cell) * weight[inside]
            here = found[..., inside, :]
            current = as_shares(summed @ here)
            answers = n_eff[..., None]
            target = (answers * observed + PSEUDO_ANSWERS * current) / (answers + PSEUDO_ANSWERS)
            found[..., inside, :] = as_shares(here * (target / np.maximum(current, 1e-300))[..., cell, :])
    return found
