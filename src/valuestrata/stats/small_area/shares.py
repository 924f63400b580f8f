"""Small-area estimates: shares of subgroups that borrow strength from the item's other subgroups.

**Model.** Each item has a mean m over all cells (its subgroups), an effect of each level, and a deviation of each cell. Let p be the
true shares of a cell, s the observed ones, n its effective answers. With V_k = p_k (1 - p_k) for option k,

    s = p + e,   p = m + effects of its levels + u,   Var e = V / n,   Var effect = V r_L,   Var u = V r.

Errors of two subgroups have the correlation R that shared respondents give (`overlap_of`). The estimate is

    fit = ridge regression of s on the levels,   estimate = fit + g (s - fit),   g = n / (n + 1 / r - 1),

linear in s: estimate = L s. For one item without levels it is the mean of a Dirichlet posterior. r and r_L are estimated by the method
of moments for each item, pooled with those of all items (Fay and Herriot 1979, Journal of the American Statistical Association
74:269-277; Ghosh and Rao 1994, Statistical Science 9:55-76). For ordinal items they are those of the mean position: what makes subgroups
differ moves answers along the scale, so positions differ more than single shares do.

**Mean squared error.** With E_gh = R_gh / sqrt(n_g n_h) and Z the levels of each subgroup, the error of option k is v V_k,

    v = diag(L E L') + r_L diag((I - L) Z Z' (I - L)') + r diag((I - L) (I - L)').

r and r_L count as known, so v is somewhat too small where cells are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.arrays import Bools, Floats

# Singular values below this share of the largest are no direction of their own.
FLAT = 1e-9
# A variance below this is rounding.
NOTHING = 1e-12
# Range of r and r_L: from cells that do not differ to cells that share nothing.
VARIANCES = (1e-6, 0.999)


@dataclass(frozen=True)
class SmallArea:
    """Estimates of the shares of G subgroups for I items.

    Attributes:
        shares: shape (G, I, K), at least 0 with sum 1; NaN without answers.
        variance: shape (G, I), v of the module: mean squared error of share k divided by its p_k (1 - p_k); NaN without answers.
        between, levels: shape (I,), r and r_L.
    """

    shares: Floats
    variance: Floats
    between: Floats
    levels: Floats

    @property
    def mse(self) -> Floats:
        """Mean squared error of each share, shape (G, I, K)."""
        return self.variance[..., None] * self.shares * (1 - self.shares)


def small_area(shares: Floats, number: Floats, levels: Floats, overlap: Floats | None = None, ordered: Bools | None = None) -> SmallArea:
    """Estimate the shares of every cell.

    Args:
        shares: shape (G, I, K), 0 behind an item's last option. number: shape (G, I), effective answers; NaN or 0 without answers.
        levels: shape (P, G), 0/1 columns of levels (`columns_of`).
        overlap: shape (G, G), correlation of the sampling errors of subgroups; None for independent ones.
        ordered: shape (I,), True for items with options in scale order; None for none.
    """
    z = levels.T
    shared = np.eye(len(z)) if overlap is None else overlap
    rows_of = [np.flatnonzero(column > 0) for column in number.T]
    cells = [
        _ItemCells.of(
            shares[rows, item],
            number[rows, item],
            z[rows],
            shared[np.ix_(rows, rows)],
            along_scale=ordered is not None and bool(ordered[item]),
        )
        if len(rows)
        else None
        for item, rows in enumerate(rows_of)
    ]
    known = [here.moments() for here in cells if here is not None]
    between, of_levels = np.full(len(cells), VARIANCES[0]), np.full(len(cells), VARIANCES[0])
    if known:
        of_cells, others = zip(*known, strict=True)
        answered = np.array([here is not None for here in cells])
        between[answered] = _pooled(of_cells)
        mixed = between[answered] * np.array([one.mixed for one in others])
        of_levels[answered] = _pooled([replace(one, above=one.above - part) for one, part in zip(others, mixed.tolist(), strict=True)])
    found, variance = np.full_like(shares, np.nan), np.full_like(number, np.nan)
    for item, (rows, here) in enumerate(zip(rows_of, cells, strict=True)):
        if here is not None:
            found[rows, item], variance[rows, item] = here.estimate(float(between[item]), float(of_levels[item]))
    return SmallArea(found, variance, between, of_levels)


@dataclass(frozen=True)
class _Moments:
    """A sum of squares of one item, over V.

    Attributes:
        above: the sum less what sampling gives. below: what a variance of 1 would give. noise: what sampling gives.
        freedom: degrees of freedom of the sum. mixed: what r = 1 would add to the sum for r_L.
    """

    above: float
    below: float
    noise: float
    freedom: float
    mixed: float = 0.0


def _pooled(moments: Sequence[_Moments]) -> Floats:
    """Return the variance of each item, shrunk toward that of all items by the variance of its estimate, within `VARIANCES`.

    An item's own estimate has the variance 2 level^2 / freedom, as a multiple of a chi-squared variable. What items differ beyond it
    is real.
    """
    above, below, noise, freedom = (np.array([getattr(one, name) for one in moments]) for name in ("above", "below", "noise", "freedom"))
    pooled = above.sum() / below.sum() if below.sum() > NOTHING else 0.0
    own = np.divide(above, below, out=np.full(len(above), pooled), where=below > NOTHING)
    level = np.divide(noise, below, out=np.zeros(len(above)), where=below > NOTHING) + max(pooled, 0.0)
    error = np.divide(2 * np.square(level), freedom, out=np.full(len(above), np.inf), where=freedom > NOTHING)
    usable = np.isfinite(error)
    spread = max(float((np.square(own - pooled) - error)[usable].mean()), 0.0) if usable.any() else 0.0
    weight = np.divide(spread, spread + error, out=np.zeros(len(above)), where=usable & (spread + error > 0))
    return np.clip(weight * own + (1 - weight) * pooled, *VARIANCES)


@dataclass(frozen=True)
class _ItemCells:
    """The cells of one item: shares (G, K), effective answers (G,), levels (G, P), overlap (G, G).

    `basis` holds orthonormal columns of the mean and, from the second on, of the levels, both times the roots of `number`.
    `seen` is overlap @ basis. `along_scale`: variances are those of the mean position.
    """

    shares: Floats
    number: Floats
    levels: Floats
    overlap: Floats
    basis: Floats
    seen: Floats
    along_scale: bool

    @classmethod
    def of(cls, shares: Floats, number: Floats, levels: Floats, overlap: Floats, *, along_scale: bool) -> _ItemCells:
        root = np.sqrt(number)[:, None]
        mean = root / np.linalg.norm(root)
        columns = root * levels
        columns = columns - mean @ (mean.T @ columns)
        found, sizes, _ = np.linalg.svd(columns, full_matrices=False)
        kept = sizes > FLAT * max(float(np.linalg.norm(root)), NOTHING)
        basis = np.concatenate([mean, found[:, kept]], axis=1)
        return cls(shares, number, levels, overlap, basis, overlap @ basis, along_scale)

    @property
    def inflation(self) -> float:
        """How often a respondent counts in the level effects, because subgroups of several strata share respondents."""
        places = self.basis.shape[1] - 1
        return float((self.basis[:, 1:] * self.seen[:, 1:]).sum()) / places if places else 1.0

    def moments(self) -> tuple[_Moments, _Moments]:
        """Return the sums of squares of deviations from the levels, for r, and of the level effects, for r_L."""
        n, basis, seen = self.number, self.basis, self.seen
        mean = n @ self.shares / n.sum()
        squares = np.square(mean).sum()
        total, total_squared = 1 - squares, squares - 2 * (mean**3).sum() + squares**2
        if total <= NOTHING:
            return _Moments(0.0, 0.0, 0.0, 0.0), _Moments(0.0, 0.0, 0.0, 0.0)
        # Independent directions in which the shares vary: (tr V)^2 / tr V^2 of the multinomial variance V.
        directions = total**2 / max(float(total_squared), NOTHING)
        values = self.shares
        if self.along_scale:
            places = np.arange(len(mean)) - mean @ np.arange(len(mean))
            values = (values @ places / np.sqrt(mean @ np.square(places)))[:, None]
            total, directions = 1.0, 1.0
        y = np.sqrt(n)[:, None] * values
        along = basis.T @ y
        rest = np.square(y - basis @ along).sum(axis=1)
        leverage, of_levels = np.square(basis).sum(axis=1), np.square(basis[:, 1:]).sum(axis=1)
        # n times the variances of s - fit from sampling and from u.
        noise = 1 - 2 * (basis * seen).sum(axis=1) + (basis @ (basis.T @ seen) * basis).sum(axis=1)
        own = n * (1 - 2 * leverage) + (basis @ (basis.T @ (n[:, None] * basis)) * basis).sum(axis=1)
        # Each cell has the same weight: large ones are means of many small ones and deviate less.
        deviations = _Moments(
            above=float((rest / total - noise) @ (1 / n)),
            below=float((own / n).sum()),
            noise=float((noise / n).sum()),
            freedom=directions * max(float((1 - leverage).sum()), 0.0) * len(n) / float(np.square(self.overlap).sum()),
        )
        inner = basis[:, 1:].T @ seen[:, 1:]
        sampling = float(np.trace(inner))
        effects = _Moments(
            above=float(np.square(along[1:]).sum()) / total - sampling,
            below=float(np.square(basis[:, 1:].T @ (np.sqrt(n)[:, None] * self.levels)).sum()),
            noise=sampling,
            freedom=directions * sampling**2 / max(float(np.square(inner).sum()), NOTHING),
            mixed=float(n @ of_levels),
        )
        return deviations, effects

    def estimate(self, between: float, of_levels: float) -> tuple[Floats, Floats]:
        """Return the estimated shares (G, K) and v (G,) for r = `between` and r_L = `of_levels`."""
        n, root = self.number, np.sqrt(self.number)[:, None]
        x = np.concatenate([np.ones((len(n), 1)), self.levels], axis=1)
        weighted = x / (self.inflation / n + between)[:, None]
        penalty = np.full(x.shape[1], 1 / of_levels)
        penalty[0] = 0.0
        # fit = smooth @ weighted' @ s.
        smooth = x @ np.linalg.inv(x.T @ weighted + np.diag(penalty))
        fit = np.maximum(smooth @ (weighted.T @ self.shares), 0.0)
        fit /= fit.sum(axis=1, keepdims=True)
        g = n / (n + 1 / between - 1)
        moved = self.overlap @ (weighted / root) / root
        both = (smooth * moved).sum(axis=1)
        own = (smooth @ (weighted.T @ moved) * smooth).sum(axis=1)
        missed = np.square(self.levels - smooth @ (weighted.T @ self.levels)).sum(axis=1)
        apart = 1 - 2 * (smooth * weighted).sum(axis=1) + (smooth @ (weighted.T @ weighted) * smooth).sum(axis=1)
        variance = g * g / n + 2 * g * (1 - g) * both + (1 - g) ** 2 * (own + of_levels * missed + between * apart)
        return fit + g[:, None] * (self.shares - fit), variance


def columns_of(labels: Sequence[Sequence[str | None]]) -> tuple[Floats, list[tuple[int, str]]]:
    """Return one 0/1 column per label of each grouping of G subgroups, shape (P, G), and the (grouping, label) of each."""
    names = [(place, label) for place, group in enumerate(labels) for label in dict.fromkeys(label for label in group if label is not None)]
    rows = [[1.0 if label == wanted else 0.0 for label in labels[place]] for place, wanted in names]
    groups = len(labels[0]) if labels else 0
    return np.array(rows, dtype=np.float64).reshape(len(names), groups), names


def overlap_of(members: Sequence[NDArray[np.intp]], squares: Floats) -> Floats:
    """Return the correlation of the sampling errors of subgroups that share respondents, shape (G, G).

    Args:
        members: joint cells of each subgroup. squares: shape (joint cells,), sum of the squared weights of their respondents.
    """
    from scipy.sparse import csr_array

    ends = np.concatenate([[0], np.cumsum([len(cells) for cells in members])])
    shape = (len(members), len(squares))
    of_cells = csr_array((np.ones(ends[-1]), np.concatenate(members), ends), shape=shape)
    weighted = csr_array((squares[np.concatenate(members)], np.concatenate(members), ends), shape=shape)
    shared = (of_cells @ weighted.T).toarray()
    root = np.sqrt(shared.diagonal())
    return np.divide(shared, np.outer(root, root), out=np.eye(len(members)), where=np.outer(root, root) > 0)
