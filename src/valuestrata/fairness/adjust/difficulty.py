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
than they are and flatten slopes. (*) are therefore expectations given the data (regression calibration): the shares of a cell are shrunk
toward what the other cells of its levels predict for the item, by a Dirichlet prior whose strength is estimated from the cells
(`posterior`). If a model's answers depend linearly on a cell's true share, on whether its label is right or on whether it is the national
one, its expected score is linear in these covariates. Other dependence, and errors of the prior, remain in the gap.

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
from valuestrata.fairness.adjust.crossed_effects import FLAT, columns_of
from valuestrata.fairness.estimate.national_pull import nation_of
from valuestrata.scores.distances import padded
from valuestrata.scores.layout import Layout
from valuestrata.stats.arrays import Floats

# In order of entry: of two with the same information, the earlier one enters.
COVARIATES = ("modal_share", "off_nation", "distance", "label_certainty", "entropy", "log_n_eff")
# A variance below this is rounding.
NOTHING = 1e-12
# Weight of the pooled spread of all items, in cells of an item.
POOLED_CELLS = 10
# From almost no prior to one that overrides the cell.
CONCENTRATION = (1e-3, 1e6)


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
    rows = dataset.subgroups.join(pl.DataFrame({"subgroup": list(layout.subgroups)}), on="subgroup", how="right", maintain_order="right")
    exact, _ = columns_of([rows["stratum"].to_list(), *(rows[name].to_list() for name in dataset.attributes)])
    calibrated, certainty = np.empty_like(shares), np.empty(len(gold))
    grid, number = layout.grid(cells, shares), layout.grid(cells, n_eff)
    strengths = concentrations(grid.reshape(*shape, -1), number.reshape(shape), exact)
    for item in range(shape[1]):
        here = np.flatnonzero(cells % shape[1] == item)
        k = int(layout.options[item])
        means = strengths.fitted[cells[here] // shape[1], item, :k]
        calibrated[here], certainty[here] = 0.0, 0.0
        calibrated[here, :k], certainty[here] = posterior(shares[here, :k], n_eff[here], means, strengths.concentration[item], mode[here])
    always = {
        "off_nation": np.where(nation < 0, np.nan, (mode != nation).astype(np.float64)),
        "distance": np.where(nation < 0, np.nan, apart),
        "log_n_eff": np.log(n_eff),
    }
    pair = np.arange(len(gold))
    found = {"modal_share": calibrated[pair, mode], "label_certainty": certainty, "entropy": _bits(calibrated) / np.log2(options)}
    seen = {
        "modal_share": shares[pair, mode],
        "label_certainty": gold["ceiling_oracle"].to_numpy().astype(np.float64),
        "entropy": _bits(shares) / np.log2(options),
    }
    values, observed = (
        np.stack([layout.grid(cells, columns[name]).reshape(shape) for name in COVARIATES]) for columns in (always | found, always | seen)
    )
    return Difficulty(COVARIATES, values, observed)


@dataclass(frozen=True)
class Strengths:
    """Dirichlet priors of the shares.

    Attributes:
        fitted: shape (G, I, K), shares predicted from strata and levels, at least 0 with sum 1; NaN without a pair.
        concentration: shape (I,), prior weight in answers; large where cells hardly differ beyond their levels.
    """

    fitted: Floats
    concentration: Floats


def concentrations(shares: Floats, number: Floats, exact: Floats) -> Strengths:
    """Return the priors of the shares: predictions from levels, and their weight against a cell's own answers.

    Shares are fitted by strata and levels, item by item, weighted by the answers. If a cell's true shares are Dirichlet(a m) about
    the fitted m, observed ones of n answers have the variance m (1 - m) (1 / n + (1 - 1 / n) r), r = 1 / (1 + a). r of an item is the
    residual sum of squares less what noise gives, over what r = 1 would give, pooled with that of all items (`POOLED_CELLS`).

    Args:
        shares: shape (G, I, K), NaN where there is no pair, 0 behind an item's last option. number: shape (G, I), effective answers.
        exact: shape (P, G), columns of strata and levels.
    """
    items = shares.shape[1]
    fitted = np.full_like(shares, np.nan)
    above, below, free = np.zeros(items), np.zeros(items), np.zeros(items)
    for item in range(items):
        rows = np.flatnonzero(~np.isnan(number[:, item]))
        s, n = shares[rows, item], number[rows, item]
        root = np.sqrt(n)[:, None]
        basis, sizes, _ = np.linalg.svd(root * exact[:, rows].T, full_matrices=False)
        basis = basis[:, sizes > FLAT * max(float(sizes.max(initial=0.0)), NOTHING)]
        m = np.maximum(basis @ (basis.T @ (root * s)) / root, 0.0)
        m /= m.sum(axis=1, keepdims=True)
        fitted[rows, item] = m
        left = 1.0 - np.square(basis).sum(axis=1)
        spread = (m * (1 - m)).sum(axis=1)
        # Weighted residuals n (s - m)^2 have the expectation (1 - leverage) m (1 - m) (1 + (n - 1) r), leverage near enough.
        above[item] = (n * np.square(s - m).sum(axis=1)).sum() - (left * spread).sum()
        below[item] = (left * spread * np.maximum(n - 1, 0.0)).sum()
        free[item] = left.sum()
    # Where every cell is a level of its own, the weight of other cells cannot be estimated: no prior then.
    pooled = above.sum() / below.sum() if below.sum() > NOTHING and free.sum() > 1e-6 else 1.0
    own = np.divide(above, below, out=np.full(items, pooled), where=below > NOTHING)
    weight = free / (free + POOLED_CELLS)
    r = np.clip(weight * own + (1 - weight) * pooled, 1 / (1 + CONCENTRATION[1]), 1 / (1 + CONCENTRATION[0]))
    return Strengths(fitted, 1 / r - 1)


def posterior(shares: Floats, number: Floats, means: Floats, concentration: float, label: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return the expected shares of N cells given their answers, (N, K), and the probability that `label` is the true mode, (N,).

    Dirichlet(a m) with n answers of shares s gives Dirichlet(a m + n s): mean (a m + n s) / (a + n). The difference of two of its
    shares p, q has the variance (p + q - (p - q)^2) / (a + n + 1); the probability is the product over the other options
    of the normal probabilities that the label's share is larger.

    Args:
        shares, means: shape (N, K). number: shape (N,). concentration: a. label: shape (N,), option index.
    """
    from scipy.special import ndtr

    total = (concentration + number)[:, None]
    found = (concentration * means + number[:, None] * shares) / total
    rows = np.arange(len(found))
    own = found[rows, label][:, None]
    deviation = np.sqrt(np.maximum(own + found - np.square(own - found), 0.0) / (total + 1))
    ahead = np.divide(own - found, deviation, out=np.zeros_like(found), where=deviation > 0)
    chance = ndtr(ahead)
    chance[rows, label] = 1.0
    return found, chance.prod(axis=1)


def _bits(shares: Floats) -> Floats:
    return -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(axis=1)
