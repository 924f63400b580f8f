"""Crossed effects of items and subgroups on a grid of pairs.

    y_gi = item_i + x_gi' b + u_g + e_gi,    u_g ~ (0, tau2),  e_gi ~ (0, sigma2)

Items are fixed and absorbed, so anything that makes an item hard for everybody cancels exactly, however uneven the grid. Subgroups are
random.

**Computation.** All cross-products are sums over items of blocks of columns + subgroups; nothing as long as the pairs is inverted. With
S = Z'M_W Z, eigenvalues d_j, and t = V'Z'M_W y (M_W projects out items and columns), the restricted likelihood depends on
theta = tau2 / sigma2 alone (Patterson and Thompson 1971, profiled):

    -2 l(theta) = (n - q) log(y'M_W y - sum_j t_j^2 / (d_j + 1 / theta)) + sum_j log(1 + theta d_j).

Coefficients solve Henderson's mixed-model equations with items absorbed.

**Standard errors** do not rely on the model's variances: a delete-one-block jackknife with theta fixed, valid under any dependence
between the pairs of a block of items. The jackknife sees the same subgroups and people in every block, so two parts are added: tau2 times
the square of how u enters, and the variance that redrawn people add to all blocks jointly. With n_b items in block b the jackknife has
k - 1 degrees of freedom, k = (sum n_b)^2 / sum n_b^2.

**Blocks.** An item without a block is a block of its own. Otherwise the residuals of a subgroup may be correlated within a block, which
single pairs would attribute to u. theta is then estimated from the sums over blocks, each divided by the root of n_b: on a complete grid
that is the restricted likelihood of the means of blocks, and sigma2 includes what blocks add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from valuestrata.errors import UsageError
from valuestrata.stats.blocks import effective_blocks, sum_blocks

Floats = NDArray[np.float64]

# Directions with less than this share of the largest eigenvalue are not identified.
FLAT = 1e-9
# Residual subgroup directions above this share of the largest identify tau2.
SEEN = 1e-8
# A square below this is rounding.
TINY = 1e-300
# theta is searched between these, on a log scale; below the lower end it is 0.
THETA = (1e-7, 1e4)
# Numbers held at once for the systems of left-out items, 8 bytes each.
CHUNK_NUMBERS = 4_000_000


@dataclass(frozen=True)
class CrossedEffectsFit:
    """Coefficients with what inference on their contrasts needs. P columns, the same for all items, then C covariates.

    Attributes:
        coefficients: shape (P + C,); only contrasts that are `identified` have a meaning.
        left_out: shape (B, P + C), the coefficients without each block of items in turn; NaN where the other blocks do not determine them.
        alone: shape (P + C,), True for columns that differ between the subgroups of an item in one block only: without it they are unknown.
        through: shape (P + C, G), effect of a shift of each subgroup.
        people: shape (P + C, P + C), covariance from redrawn people beyond that within blocks; zeros without redraws.
        tau2, sigma2: variances. groups_free: dimensions that identify tau2; 0: not identified.
        null: shape (P + C, N), directions that are not identified.
        pairs, items: sample sizes. blocks: effective number of blocks.
    """

    coefficients: Floats
    left_out: Floats
    alone: NDArray[np.bool_]
    through: Floats
    people: Floats
    tau2: float
    sigma2: float
    groups_free: int
    null: Floats
    pairs: int
    items: int
    blocks: float

    def identified(self, contrast: Floats) -> bool:
        """Whether the data determine a contrast of the coefficients, shape (P + C,)."""
        return bool(np.linalg.norm(contrast @ self.null) <= 1e-5 * np.linalg.norm(contrast))

    def contrast(self, contrast: Floats) -> tuple[float, float, float]:
        """Return a contrast, its standard error and degrees of freedom (Satterthwaite over blocks and subgroups).

        All are NaN if it is not identified; the last two also if a single block identifies it.
        """
        if not self.identified(contrast):
            return np.nan, np.nan, np.nan
        if (self.alone & (contrast != 0)).any():
            return float(contrast @ self.coefficients), np.nan, np.nan
        without = self.left_out @ contrast
        number = self.blocks
        by_items = (number - 1) / number * float(np.square(without - without.mean()).sum()) if number > 1 else np.nan
        by_groups = self.tau2 * float(np.square(contrast @ self.through).sum())
        by_people = max(0.0, float(contrast @ self.people @ contrast))
        total = by_items + by_groups + by_people
        spread = by_items**2 / max(number - 1.0, 1.0) + (by_groups**2 / self.groups_free if self.groups_free else 0.0)
        return float(contrast @ self.coefficients), float(np.sqrt(total)), total**2 / spread if spread > 0 else float(number - 1)


def fit(
    values: Floats,
    columns: Floats,
    covariates: Floats,
    redrawn: NDArray[np.floating] | None = None,
    blocks: NDArray[np.intp] | None = None,
) -> CrossedEffectsFit:
    """Fit the model of the module docstring.

    Args:
        values: y, shape (G, I), NaN for missing pairs. columns: shape (P, G). covariates: shape (C, G, I), finite wherever y is.
        redrawn: y in redraws of the respondents, shape (D, G, I), finite wherever y is; None where they do not change it.
        blocks: shape (I,), the block of each item; each item by itself if None.

    Raises:
        UsageError: fewer than two items with at least two pairs, or a covariate that is not finite at a pair.
    """
    mask = ~np.isnan(values)
    kept = mask.sum(axis=0) >= 2
    values, covariates, mask = values[:, kept], covariates[:, :, kept], mask[:, kept]
    pairs, items = int(mask.sum()), int(kept.sum())
    if items < 2:
        raise UsageError(f"Crossed effects need two items that at least two subgroups answer; found {items}.")
    if not np.isfinite(covariates[:, mask]).all():
        raise UsageError("A covariate is missing at a pair that has a value; leave the pair out of both.")
    design = np.concatenate([np.broadcast_to(columns[:, :, None], (len(columns), *mask.shape)), covariates])
    within, y_within = _within(design, mask), _within(values, mask)
    # Sums over items of the cross-products of columns and covariates (x), subgroups (z) and values (y).
    xx = np.einsum("pgi,qgi->pq", within, within, optimize=True)
    xz = within.sum(axis=2)
    zz = np.diag(mask.sum(axis=1).astype(np.float64)) - (mask / mask.sum(axis=0)) @ mask.T.astype(np.float64)
    xy, zy, yy = np.einsum("pgi,gi->p", within, y_within), y_within.sum(axis=1), float(np.square(y_within).sum())
    block = np.arange(items) if blocks is None else np.unique(blocks[kept], return_inverse=True)[1].ravel()
    if int(block.max()) + 1 < items:
        variances = _variances(*_of_blocks(within, y_within, mask, block))
    else:
        variances = _variances(xx, xz, zz, xy, zy, yy, pairs - items)
    null = _null(xx)
    system = _system(xx, xz, zz, null, variances.theta)
    right = np.concatenate([xy, zy])[: len(system)]
    rows = np.zeros((len(xx), len(xx) + len(zz)))
    rows[:, : len(system)] = np.linalg.inv(system)[: len(xx)]
    return CrossedEffectsFit(
        coefficients=np.asarray(np.linalg.solve(system, right)[: len(xx)], dtype=np.float64),
        left_out=_without_each(within, y_within, mask, system, right, block),
        alone=_in_one_block(within, block),
        through=rows @ np.concatenate([xz, zz]),
        people=_people(rows, within, mask, None if redrawn is None else redrawn[:, :, kept], block),
        tau2=variances.theta * variances.sigma2,
        sigma2=variances.sigma2,
        groups_free=variances.groups_free,
        null=null,
        pairs=pairs,
        items=items,
        blocks=float(effective_blocks(np.ones((1, items)), block)[0]),
    )


def _within(values: NDArray[np.floating], mask: NDArray[np.bool_]) -> Floats:
    """Return values (..., G, I) minus the mean of their item; 0 for missing pairs."""
    mean = np.where(mask, values, 0.0).sum(axis=-2) / mask.sum(axis=0)
    return np.where(mask, values - mean[..., None, :], 0.0)


def _null(gram: Floats) -> Floats:
    """Return an orthonormal basis of the directions that a Gram matrix (Q, Q) does not identify, in the columns' own scales."""
    scale = np.sqrt(np.diag(gram))
    safe = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(gram / np.outer(safe, safe))
    found = (vectors[:, values <= FLAT * max(float(values.max(initial=0.0)), 1.0)].T / safe).T
    return np.linalg.qr(found)[0] if found.shape[1] else found


@dataclass(frozen=True)
class _Variances:
    theta: float
    sigma2: float
    groups_free: int


def _variances(xx: Floats, xz: Floats, zz: Floats, xy: Floats, zy: Floats, yy: float, free: int) -> _Variances:
    """Maximise the restricted likelihood; theta is 0 where subgroups show no variance. groups_free: dimensions that identify it."""
    from scipy.optimize import minimize_scalar

    inverse = np.linalg.pinv(xx, rcond=FLAT, hermitian=True) if len(xx) else xx
    d, vectors = np.linalg.eigh(zz - xz.T @ inverse @ xz)
    seen = d > SEEN * max(float(zz.max(initial=0.0)), 1.0)
    t2, d = np.square(vectors.T @ (zy - xz.T @ inverse @ xy))[seen], d[seen]
    left = free - (int(np.linalg.matrix_rank(xx, rtol=FLAT, hermitian=True)) if len(xx) else 0)
    square = max(yy - float(xy @ inverse @ xy), 0.0)
    if not len(d) or left <= len(d) or square <= 0:
        return _Variances(0.0, square / max(left, 1), 0)

    def rest(theta: float) -> float:
        return max(square - float((t2 / (d + 1 / theta)).sum()), TINY)

    def deviance(log_theta: float) -> float:
        theta = math.exp(log_theta)
        return left * math.log(rest(theta)) + float(np.log1p(theta * d).sum())

    # The profile is flat at both ends: a coarse grid first, then a search around its best point.
    looks = np.linspace(math.log(THETA[0]), math.log(THETA[1]), 60)
    at = int(np.argmin([deviance(look) for look in looks]))
    bounds = (looks[max(at - 1, 0)], looks[min(at + 1, len(looks) - 1)])
    best = cast(Any, minimize_scalar(deviance, bounds=bounds, method="bounded", options={"xatol": 1e-9}))
    if best.fun >= left * math.log(square):
        return _Variances(0.0, square / left, len(d))
    theta = math.exp(float(best.x))
    return _Variances(theta, rest(theta) / left, len(d))


def _system(xx: Floats, xz: Floats, zz: Floats, null: Floats, theta: float) -> Floats:
    """Return the matrix of the mixed-model equations, columns and covariates before subgroups; without subgroups where theta is 0.

    Directions that are not identified are filled to make it solvable; identified contrasts do not depend on how.
    """
    top = xx + null @ null.T * max(float(np.abs(xx).max(initial=0.0)), 1.0)
    if theta == 0:
        return top
    return np.block([[top, xz], [xz.T, zz + np.eye(len(zz)) / theta]])


def _of_blocks(
    within: Floats, y_within: Floats, mask: NDArray[np.bool_], block: NDArray[np.intp]
) -> tuple[Floats, Floats, Floats, Floats, Floats, float, int]:
    """Return the arguments of `_variances` from sums over blocks, each divided by the root of the block's items."""
    root = np.sqrt(np.bincount(block))
    x, y = sum_blocks(within, block) / root, sum_blocks(y_within, block) / root
    z = np.stack(
        [np.diag(here.sum(axis=1)) - (here / here.sum(axis=0)) @ here.T for here in (mask[:, block == b] * 1.0 for b in range(len(root)))]
    )
    z /= root[:, None, None]
    free = sum(max(int(mask[:, block == b].any(axis=1).sum()) - 1, 0) for b in range(len(root)))
    return (
        np.einsum("pgb,qgb->pq", x, x, optimize=True),
        np.einsum("pgb,bgh->ph", x, z, optimize=True),
        np.einsum("bgh,bgk->hk", z, z, optimize=True),
        np.einsum("pgb,gb->p", x, y),
        np.einsum("bgh,gb->h", z, y),
        float(np.square(y).sum()),
        free,
    )


def _without_each(
    within: Floats, y_within: Floats, mask: NDArray[np.bool_], system: Floats, right: Floats, block: NDArray[np.intp]
) -> Floats:
    """Return the coefficients without each block, shape (B, P + C). An item is a part of the equations; those of a block are subtracted."""
    beside, groups, items = within.shape
    size, number = len(system), int(block.max()) + 1
    order = np.argsort(block, kind="stable")
    ends = np.searchsorted(block[order], np.arange(number + 1))
    found = np.empty((number, beside))
    step = max(1, CHUNK_NUMBERS // size**2)
    start = 0
    while start < number:
        # As many blocks as fit; at least one.
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + step, side="right")) - 1)
        these = order[ends[start] : ends[stop]]
        x, y = within[:, :, these], y_within[:, these]
        parts, rights = np.zeros((x.shape[2], size, size)), np.zeros((x.shape[2], size))
        parts[:, :beside, :beside] = np.einsum("pgi,qgi->ipq", x, x)
        rights[:, :beside] = np.einsum("pgi,gi->ip", x, y)
        if size > beside:
            there = mask[:, these].T.astype(np.float64)
            parts[:, :beside, beside:] = x.transpose(2, 0, 1)
            parts[:, beside:, :beside] = x.transpose(2, 1, 0)
            parts[:, beside:, beside:] = there[:, :, None] * (np.eye(groups) - there[:, None, :] / there.sum(axis=1)[:, None, None])
            rights[:, beside:] = y.T
        if number < items:
            starts = ends[start:stop] - ends[start]
            parts, rights = np.add.reduceat(parts, starts, axis=0), np.add.reduceat(rights, starts, axis=0)
        found[start:stop] = _solved(system - parts, right - rights)[:, :beside]
        start = stop
    return found


def _solved(systems: Floats, rights: Floats) -> Floats:
    """Return the solution of each system (B, Q, Q) for its right side (B, Q); NaN where a system is singular."""
    try:
        return np.asarray(np.linalg.solve(systems, rights[..., None])[..., 0], dtype=np.float64)
    except np.linalg.LinAlgError:
        # Ranks take longer than solving, so they are computed only if some system is singular.
        regular = np.linalg.matrix_rank(systems, hermitian=True) == systems.shape[-1]
    found = np.full(rights.shape, np.nan)
    found[regular] = np.linalg.solve(systems[regular], rights[regular, :, None])[..., 0]
    return found


def _in_one_block(within: Floats, block: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which columns (P + C, G, I) are 0 in all blocks but one; shape (P + C,)."""
    squares = sum_blocks(np.square(within).sum(axis=1), block)
    total = squares.sum(axis=1)
    return (total > 0) & (squares.max(axis=1, initial=0.0) >= (1 - FLAT) * total)


def _people(rows: Floats, within: Floats, mask: NDArray[np.bool_], redrawn: NDArray[np.floating] | None, block: NDArray[np.intp]) -> Floats:
    """Return the covariance of the coefficients from redrawn people, minus the part within blocks."""
    beside = len(within)
    if redrawn is None or len(redrawn) < 2:
        return np.zeros((beside, beside))
    # Weight of each pair in each coefficient. Weights have mean 0 within an item, so redraws need no centring there.
    weights = np.einsum("qp,pgi->qgi", rows[:, :beside], within) + _within(np.broadcast_to(rows[:, beside:, None], within.shape), mask)
    moved = np.where(mask, redrawn - redrawn.mean(axis=0), 0.0)
    each = np.matmul(weights.transpose(2, 0, 1), moved.transpose(2, 1, 0))
    together = each.sum(axis=0)
    if int(block.max()) + 1 < len(block):
        each = np.moveaxis(sum_blocks(np.moveaxis(each, 0, -1), block), -1, 0)
    return (together @ together.T - np.einsum("iqd,ird->qr", each, each, optimize=True)) / (len(redrawn) - 1)
