"""Variances of the effects of levels on shares in joint cells, by restricted maximum likelihood.

**Model.** Joint cell j has levels of A attributes. The share of an option with mean m is, in cell j,

    p_j = m + effects of its levels + effect of its pairs of levels + effect of the cell,

and an answer has variance V = m (1 - m) in all. B_e is the correlation that effect e gives to cells, q_e its variance over that
within cells, and d_e = 1 - a B_e a' the part of q_e that is between the cells of the population, which have shares a. So the variance
within cells is V / (1 + sum_e q_e d_e). With D the diagonal matrix of 1 / n_j (n_j effective answers) and K = sum_e q_e B_e,
observed shares have covariance

    V C,   C = (D + K) / (1 + sum_e q_e d_e).

An effect of the sampling unit is one more B_e, which belongs to the noise. C does not depend on the option, so its linear predictor
is the same for all options, and predicted shares sum to 1.

**Variances.** The q_e maximise the restricted likelihood (Patterson and Thompson 1971, Biometrika 58:545-554) summed over items, with a
log-normal prior. An item counts as c = (tr S)^2 / tr S^2 independent directions, S = diag(m) - m m' being the covariance of
an answer (Satterthwaite 1946, Biometrics Bulletin 2:110-114).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from valuestrata.stats.arrays import Floats, Indices

# Prior medians of q: one attribute; all pairs of levels together; the cell; the sampling unit.
ATTRIBUTE, PAIRS, CELL, UNIT = "attribute", "pairs", "cell", "unit"
PRIOR_MEDIAN = {ATTRIBUTE: 0.02, PAIRS: 0.01, CELL: 0.01, UNIT: 0.02}
# Standard deviation of log q in the prior.
PRIOR_SPREAD = 1.5
# Range of q.
BOUNDS = (1e-6, 10.0)


@dataclass(frozen=True)
class EffectKernels:
    """The effects of E kinds on J joint cells.

    Attributes:
        names: name of each effect: that of an attribute, or its kind. kinds: the kind of each, a key of `PRIOR_MEDIAN`.
        correlation: shape (E, J, J), the correlation B_e that each gives to cells, diagonal 1. spread: shape (E,), d_e.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    correlation: Floats
    spread: Floats

    @classmethod
    def of(cls, levels: Indices, attributes: Sequence[str], share: Floats) -> EffectKernels:
        """Return the effects of cells with `levels`, shape (J, A), of A attributes, and shares (J,) of the population.

        An unknown level (-1) is a level of its own.

        Effects that all cells share, and effects that equal an earlier one, are left out: they cannot be told apart.
        """
        cells = len(levels)
        same = [(column[:, None] == column[None, :]).astype(np.float64) for column in levels.T]
        pairs = [one * other for one, other in combinations(same, 2)]
        kinds = [ATTRIBUTE] * len(same) + [PAIRS] * bool(pairs) + [CELL]
        found = [*same, *([np.mean(pairs, axis=0)] if pairs else []), np.eye(cells)]
        names = [*attributes, *kinds[len(same) :]]
        kept: list[int] = []
        for place, part in enumerate(found):
            if part.min() < 1 and not any(np.array_equal(part, found[other]) for other in kept):
                kept.append(place)
        correlation = np.array([found[place] for place in kept]).reshape(len(kept), cells, cells)
        spread = 1 - np.einsum("ejk,j,k->e", correlation, share, share, optimize=True)
        return cls(tuple(names[place] for place in kept), tuple(kinds[place] for place in kept), correlation, spread)


@dataclass(frozen=True)
class ObservedCells:
    """Observed shares of items that the same people answered.

    Attributes:
        cells: the S joint cells with answers. noise: shape (S,), 1 / n. parts: shape (E, S, S), the correlations B_e among them.
        values: shape (S, M), shares times the square root of c / tr S of their item. directions: sum of c over the items.
    """

    cells: Indices
    noise: Floats
    parts: Floats
    values: Floats
    directions: float


@dataclass(frozen=True)
class Projection:
    """Solutions with N = D + K.

    Attributes:
        inverse: N^-1, shape (S, S). ones: its row sums, shape (S,). log_determinant: log |N| + log(1' N^-1 1).
    """

    inverse: Floats
    ones: Floats
    log_determinant: float

    @classmethod
    def of(cls, covariance: Floats) -> Projection:
        """Return the projection of a positive definite N."""
        root = _root(covariance)
        lower: Floats = _lapack("potri")(root, lower=1)[0]
        inverse = np.tril(lower)
        inverse += np.tril(lower, -1).T
        ones = inverse.sum(axis=1)
        return cls(inverse, ones, float(2 * np.log(root.diagonal()).sum() + np.log(ones.sum())))

    def apply(self, values: Floats) -> Floats:
        """Return P values, with P = N^-1 - N^-1 1 (1' N^-1 1)^-1 1' N^-1; values (S, M)."""
        removed: Floats = self.ones[:, None] * (self.ones @ values / self.ones.sum())
        return self.inverse @ values - removed


def restricted_variances(groups: Sequence[ObservedCells], kinds: Sequence[str], spread: Floats) -> Floats:
    """Return q of each effect, shape (E,), pooled over items, for effects of given kinds and d_e = `spread`, shape (E,)."""
    if not kinds:
        return np.zeros(0)
    from scipy.optimize import minimize

    centre = np.log([PRIOR_MEDIAN[kind] for kind in kinds])

    def negative(logs: Floats) -> tuple[float, Floats]:
        q = np.exp(logs)
        scale = 1 / (1 + float(q @ spread))
        offset = (logs - centre) / PRIOR_SPREAD
        value = 0.5 * float(offset @ offset)
        slope: Floats = np.zeros(len(q))
        for group in groups:
            free = len(group.cells) - 1
            found = Projection.of(np.diag(group.noise) + np.tensordot(q, group.parts, axes=1))
            solved = found.apply(group.values)
            square = float((solved * group.values).sum())
            value += 0.5 * (group.directions * (found.log_determinant + free * np.log(scale)) + square / scale)
            projection = found.inverse - found.ones[:, None] * (found.ones / found.ones.sum())
            inner = group.directions * projection - solved @ solved.T / scale
            slope += 0.5 * (group.parts.reshape(len(q), -1) @ inner.reshape(-1) + (square - group.directions * free * scale) * spread)
        return float(value), np.asarray(slope * q + offset / PRIOR_SPREAD, dtype=np.float64)

    bounds = [(np.log(BOUNDS[0]), np.log(BOUNDS[1]))] * len(kinds)
    found: Any = minimize(negative, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-6})
    return np.exp(found.x)


@dataclass(frozen=True)
class LikelihoodColumns:
    """Columns of shares whose likelihoods are computed together.

    Attributes:
        values: shape (S, M), as in `ObservedCells`. owner: shape (M,), the variable 0..N-1 of each.
        directions: shape (N,), c of each variable.
    """

    values: Floats
    owner: Indices
    directions: Floats

    def log_likelihood(self, covariance: Floats, scale: float) -> Floats:
        """Return the restricted log-likelihood of each variable, up to a constant: shape (N,).

        Args:
            covariance: N, shape (S, S). scale: 1 / (1 + sum of q d).
        """
        root = _root(covariance)
        columns = np.column_stack([np.ones(len(self.values)), self.values])
        solved: Floats = _lapack("trtrs")(root, columns, lower=1)[0]
        ones, rest = solved[:, 0], solved[:, 1:]
        precision = float(ones @ ones)
        square = np.bincount(self.owner, (rest**2).sum(axis=0) - (ones @ rest) ** 2 / precision, len(self.directions))
        log_determinant = 2 * np.log(root.diagonal()).sum() + np.log(precision)
        return -0.5 * (self.directions * (log_determinant + (len(ones) - 1) * np.log(scale)) + square / scale)


def _root(covariance: Floats) -> Floats:
    """Return the lower Cholesky factor; what is above the diagonal has no meaning."""
    root, failed = _lapack("potrf")(covariance, lower=1, clean=0)
    if failed:
        raise np.linalg.LinAlgError("The covariance of the cells is not positive definite.")
    return root


def _lapack(name: str) -> Any:
    """Return a LAPACK function for double precision."""
    from scipy.linalg import get_lapack_funcs

    return get_lapack_funcs(name, dtype=np.float64)
