"""Covariates that make a pair hard for any predictor.

A level may be served worse because it is hard: its answers are divided, its cells are small and their labels often wrong, or its mode is
not the national one.

=============== ========================================================================== =====
modal_share     share of the label among the subgroup's people (*)                          0..1
off_nation      1 where the label is not the national answer                                0, 1
distance        of the label to the nation's: abs(m - nation) / (K - 1), nominal 0 or 1     0..1
label_certainty probability that the label is the true mode (*)                             0..1
entropy         entropy of the subgroup's shares / log2 K (*)                               0..1
log_n_eff       log of the effective answers                                                > 0
=============== ========================================================================== =====

The number of codes is a property of the item and is absorbed with it.

**Errors in covariates.** Shares come from few respondents, and the label is the largest share: raw values make small cells look clearer
than they are and flatten slopes. (*) are therefore expectations given the data (regression calibration): the small-area estimates of
the data set (`stats.small_area`), which borrow strength from the item's other subgroups. If a model's answers depend linearly on a
cell's true share, on whether its label is right or on whether it is the national one, its expected score is linear in these covariates.
Other dependence, and errors of the estimates, remain in the gap.

**Size** enters through `label_certainty`: a small cell is hard because its label may be wrong, which differs between items.
`log_n_eff` itself is nearly the sum of contributions of two levels and is often left out for that reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.fairness.estimate.national_pull import nation_of
from valuestrata.scores.distances import padded
from valuestrata.scores.layout import Layout
from valuestrata.stats.arrays import Floats
from valuestrata.stats.small_area.modes import mode_chances
from valuestrata.stats.small_area.shares import columns_of, small_area

# In order of entry: of two with the same information, the earlier one enters.
COVARIATES = ("modal_share", "off_nation", "distance", "label_certainty", "entropy", "log_n_eff")


@dataclass(frozen=True)
class Difficulty:
    """Covariates of difficulty of each pair. C covariates, G subgroups, I items.

    Attributes:
        names: of the covariates. values: shape (C, G, I), NaN where unknown. observed: the same from the raw gold, for tables.
    """

    names: Sequence[str]
    values: Floats
    observed: Floats

    def means(self, mask: NDArray[np.bool_]) -> Floats:
        """Return the mean of each observed covariate over the pairs of each subgroup in `mask` (G, I), shape (C, G); NaN without a pair."""
        number = mask.sum(axis=1)
        total = np.where(mask, self.observed, 0.0).sum(axis=2)
        return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def nothing_known(shape: tuple[int, ...]) -> Difficulty:
    """Return no covariates, for a grid of shape (G, I)."""
    return Difficulty((), np.zeros((0, *shape)), np.zeros((0, *shape)))


def difficulty_of(dataset: Dataset, layout: Layout) -> Difficulty:
    """Return the covariates of a layout's pairs from its gold and the national mode; NaN where that is unknown."""
    gold, shape = layout.gold, layout.present.shape
    cells = gold["cell"].to_numpy()
    options = gold["options"].to_numpy().astype(np.intp)
    mode, nation = layout.mode[cells], nation_of(dataset, layout).mode[cells]
    apart = np.where(layout.ordered[cells % shape[1]], np.abs(mode - nation) / (options - 1), (mode != nation).astype(np.float64))
    n_eff = gold["n_eff"].to_numpy().astype(np.float64)
    shares = padded(gold["shares"], int(options.max(initial=2)))
    calibrated, chances = _estimates(dataset, layout, shares, n_eff)
    always = {
        "off_nation": np.where(nation < 0, np.nan, (mode != nation).astype(np.float64)),
        "distance": np.where(nation < 0, np.nan, apart),
        "log_n_eff": np.log(n_eff),
    }
    pair = np.arange(len(gold))
    found = {"modal_share": calibrated[pair, mode], "label_certainty": chances[pair, mode], "entropy": _bits(calibrated) / np.log2(options)}
    seen = {
        "modal_share": shares[pair, mode],
        "label_certainty": gold["p_mode"].list.max().to_numpy().astype(np.float64),
        "entropy": _bits(shares) / np.log2(options),
    }
    values, observed = (
        np.stack([layout.grid(cells, columns[name]).reshape(shape) for name in COVARIATES]) for columns in (always | found, always | seen)
    )
    return Difficulty(COVARIATES, values, observed)


def _estimates(dataset: Dataset, layout: Layout, shares: Floats, n_eff: Floats) -> tuple[Floats, Floats]:
    """Return the estimated shares of each pair and the probability of each option to be the mode, both (N, largest K).

    Data sets of older versions hold neither. They are estimated from the pairs of the layout, taken as samples of their own.
    """
    gold, width = layout.gold, shares.shape[1]
    if not gold["p_true"].null_count():
        return padded(gold["shares_shrunken"], width), padded(gold["p_true"], width)
    rows = dataset.subgroups.join(pl.DataFrame({"subgroup": list(layout.subgroups)}), on="subgroup", how="right", maintain_order="right")
    levels, _ = columns_of([rows[name].to_list() for name in dataset.attributes])
    cells, shape = gold["cell"].to_numpy(), layout.present.shape
    grids = layout.grid(cells, shares).reshape(*shape, width), layout.grid(cells, n_eff).reshape(shape)
    found = small_area(*grids, levels, ordered=layout.ordered)
    calibrated = found.shares.reshape(-1, width)[cells]
    return calibrated, mode_chances(calibrated, found.variance.ravel()[cells])


def _bits(shares: Floats) -> Floats:
    return -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(axis=1)
