"""How far subgroups differ, and how well people outside a subgroup predict it at a planned number of interviews.

**Model.** The share of an option in joint cell j is its mean plus effects of the cell's levels, of its pairs of levels and of the cell.
An answer has the variance V; effects of kind e have the variance V r_e. Subgroup g has the weights a_gj on cells. Shares s of
subgroups then have the covariance, for deviations from the population,

    V (sum_e r_e B_e[g, h] + R_gh),

with B_e from the weights and R the sampling errors of subgroups that share respondents. The r_e solve these equations for the observed
products of deviations, pooled over items, by least squares with r_e >= 0 (method of moments; Fay and Herriot 1979, Journal of the
American Statistical Association 74:269-277; Rao and Molina 2015, Small Area Estimation, 5.2).

**Prediction.** `outside_variance` is the error of the best linear unbiased prediction of a subgroup from the people outside it, over V.
Multilevel regression with poststratification and the small-area estimator combine this prediction with the subgroup's own answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from valuestrata.estimation.inputs import PopulationCells
from valuestrata.estimation.plan.evidence import Evidence
from valuestrata.stats.arrays import NEGLIGIBLE, Bools, Floats, Indices

# Variances of effects are below this share of the variance of an answer.
MOST = 0.5
# Typical r, in the weights of the least squares.
TYPICAL = 0.02
# Added to the variances of the noise, as a share of their mean: the cells of a subgroup differ a little between sample and population.
RIDGE = 0.1


@dataclass(frozen=True)
class CellEffects:
    """Effects of levels, pairs of levels and cells on the answers in joint cells.

    Attributes:
        columns: shape (J, L), the 0/1 columns of levels and pairs. kind: shape (L,), the kind of each column.
        variance: shape (E + 1,), r_e of the E kinds of columns, and last of the cell.
    """

    columns: Floats
    kind: Indices
    variance: Floats

    @property
    def of_columns(self) -> Floats:
        """Variance of each column's effect, over V, shape (L,)."""
        return self.variance[self.kind]

    @property
    def total(self) -> float:
        """Variance between joint cells over V; the rest is within cells."""
        return float(min(self.variance.sum(), MOST))

    def scaled(self, factor: float) -> CellEffects:
        """Return effects whose variances are `factor` times these."""
        return CellEffects(self.columns, self.kind, self.variance * factor)

    def predicted_cells(self, evidence: Evidence) -> Floats:
        """Return shares of joint cells, shape (J, I, K), predicted from the shares of all subgroups; sums over options are 1."""
        weights = evidence.population.weights
        used = np.flatnonzero(evidence.number.max(axis=1) > 0)
        deviation = evidence.deviation[used].reshape(len(used), -1)
        contrast = weights[used] - weights[0]
        covariance = (self.columns * self.of_columns) @ (contrast @ self.columns).T + self.variance[-1] * contrast.T
        noise = evidence.noise[np.ix_(used, used)]
        scale = max(float(np.trace(noise)) / max(len(used), 1), NEGLIGIBLE)
        solved = np.linalg.solve(contrast @ covariance + noise + RIDGE * scale * np.eye(len(used)), deviation)
        moved = covariance @ solved
        found = evidence.shares[0] + (moved - weights[0] @ moved).reshape(len(self.columns), *evidence.shares.shape[1:])
        kept = np.clip(found, 0.0, 1.0)
        return kept / np.maximum(kept.sum(axis=2, keepdims=True), NEGLIGIBLE)

    def outside_variance(self, population: PopulationCells, number: Floats, subgroups: Indices) -> Floats:
        """Return the error variance of the prediction of `subgroups` from the people outside, over V, shape (len(subgroups),).

        Infinite for a subgroup that holds everyone.

        Args:
            number: shape (J,), effective interviews in each joint cell.
        """
        design = np.column_stack([np.ones(len(self.columns)), self.columns])
        live = np.concatenate([[True], self.of_columns > NEGLIGIBLE])
        design = design[:, live]
        prior = np.diag(np.concatenate([[0.0], 1 / self.of_columns[live[1:]]]))
        precision = np.divide(number, (1 - self.total) + number * self.variance[-1], out=np.zeros_like(number), where=number > 0)
        whole = design.T @ (design * precision[:, None]) + prior
        found = np.full(len(subgroups), np.inf)
        for place, g in enumerate(subgroups):
            inside, weight = population.inside[g], population.weights[g]
            if (precision * ~inside).sum() <= NEGLIGIBLE:
                continue
            own = design[inside]
            outside = whole - own.T @ (own * precision[inside, None])
            mean = weight @ design
            found[place] = mean @ np.linalg.solve(outside, mean) + self.variance[-1] * np.square(weight).sum()
        return found


def cell_effects(evidence: Evidence) -> CellEffects:
    """Estimate the variances of effects from the shares of subgroups."""
    population = evidence.population
    columns, kind = _columns(population.levels)
    kinds = int(kind.max(initial=-1)) + 1
    used = np.flatnonzero(evidence.number.max(axis=1) > 0)[1:]
    if not len(used) or not kinds:
        return CellEffects(columns, kind, np.zeros(kinds + 1))
    deviation = evidence.deviation[used]
    observed = np.einsum("gik,hik->gh", deviation, deviation, optimize=True) / max(evidence.spread_of_items.sum(), NEGLIGIBLE)
    contrast = population.weights[used] - population.weights[0]
    seen = contrast @ columns
    parts = [seen[:, kind == e] @ seen[:, kind == e].T for e in range(kinds)] + [contrast @ contrast.T]
    noise = evidence.noise[np.ix_(used, used)]
    rows = np.triu_indices(len(used))
    spread = noise.diagonal() + TYPICAL
    weight = 1 / np.sqrt(np.outer(spread, spread)[rows])
    return CellEffects(columns, kind, _least_squares(np.array([part[rows] for part in parts]).T, (observed - noise)[rows], weight))


def _least_squares(parts: Floats, target: Floats, weight: Floats) -> Floats:
    """Return non-negative coefficients, of kinds that differ from 0; at most MOST in all."""
    from scipy.optimize import nnls

    known = np.abs(parts).max(axis=0) > 1e-9
    found = np.zeros(parts.shape[1])
    if known.any():
        found[known] = nnls(parts[:, known] * weight[:, None], target * weight)[0]
    return found * min(1.0, MOST / max(found.sum(), NEGLIGIBLE))


def _columns(levels: Indices) -> tuple[Floats, Indices]:
    """Return 0/1 columns of the levels of each attribute, then of the pairs of levels, and the kind of each column."""
    columns: list[Bools] = []
    kind: list[int] = []
    varying = [column for column in levels.T if len(np.unique(column)) > 1]
    for a, column in enumerate(varying):
        for level in np.unique(column):
            columns.append(column == level)
            kind.append(a)
    pairs = list(combinations(varying, 2))
    for first, second in pairs:
        _, code = np.unique(np.column_stack([first, second]), axis=0, return_inverse=True)
        for one in range(int(code.max()) + 1):
            columns.append(code.reshape(-1) == one)
            kind.append(len(varying))
    found = np.array(columns, dtype=np.float64).reshape(len(columns), len(levels)).T
    # The kind `pairs` is the sum over pairs of attributes.
    found[:, np.array(kind, dtype=np.intp) == len(varying)] /= np.sqrt(max(len(pairs), 1))
    return found, np.array(kind, dtype=np.intp)
