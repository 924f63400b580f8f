"""Cells against what their levels explain: additive grids, planted crossings, and the fit without the cell."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.fairness.estimate.intersections import deleted_residuals, design_of, excess_weights


def levels_of(*sizes):
    return np.array(list(itertools.product(*(range(size) for size in sizes))))


def excess_of(grid, strata, levels):
    weights = excess_weights(~np.isnan(grid), strata, levels)
    rows = np.einsum("kgi,gi->ki", weights.pairs.astype(float), np.nan_to_num(grid))
    total = weights.counts.sum(axis=1)
    return np.divide(rows.sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)


@given(st.integers(0, 500))
def test_effects_that_add_up_leave_no_excess(seed):
    rng = np.random.default_rng(seed)
    levels = levels_of(3, 4)
    grid = (rng.normal(size=3)[levels[:, 0]] + rng.normal(size=4)[levels[:, 1]])[:, None] + rng.normal(size=6)
    assert excess_of(grid, np.zeros(12, dtype=np.intp), levels) == pytest.approx(np.zeros(12), abs=1e-4)


def test_a_planted_crossing_is_the_excess_of_its_cell():
    levels = levels_of(3, 4)
    grid = np.add.outer(0.1 * levels[:, 0] + 0.2 * levels[:, 1], np.zeros(5))
    grid[7] += 0.3
    found = excess_of(grid, np.zeros(12, dtype=np.intp), levels)
    assert found[7] == pytest.approx(0.3, abs=1e-6)
    assert found[7] == np.abs(found).max()


@pytest.mark.parametrize("seed", range(4))
def test_a_deleted_residual_is_what_the_fit_without_the_cell_leaves(seed):
    rng = np.random.default_rng(seed)
    levels = levels_of(3, 3, 2)
    kept = rng.permutation(len(levels))[:15]
    design, values = design_of(levels[kept]), rng.normal(size=15)
    found = deleted_residuals(design) @ values
    for cell in range(15):
        others = np.arange(15) != cell
        if np.linalg.matrix_rank(design[others]) < np.linalg.matrix_rank(design):
            assert np.isnan(found[cell])
            continue
        solved, *_ = np.linalg.lstsq(design[others], values[others], rcond=None)
        assert found[cell] == pytest.approx(values[cell] - design[cell] @ solved)


def test_a_cell_alone_with_its_level_has_no_excess():
    levels = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 1]])
    found = excess_of(np.random.default_rng(0).random((5, 4)), np.zeros(5, dtype=np.intp), levels)
    assert np.isnan(found[4])
    assert not np.isnan(found[:4]).any()


def test_strata_of_one_attribute_have_none_and_strata_do_not_mix():
    levels = np.array([[0, -1], [1, -1], *levels_of(2, 2)])
    grid = np.random.default_rng(1).random((6, 5))
    found = excess_of(grid, np.array([0, 0, 1, 1, 1, 1]), levels)
    assert np.isnan(found[:2]).all()
    # Of a table of two by two each cell is explained by the other three: a - b - c + d.
    assert found[2] == pytest.approx((grid[2] - grid[3] - grid[4] + grid[5]).mean(), abs=1e-6)


def test_items_are_fitted_with_the_cells_they_have():
    levels = levels_of(2, 3)
    grid = np.random.default_rng(2).random((6, 3))
    grid[0, 1] = np.nan
    found = excess_of(grid, np.zeros(6, dtype=np.intp), levels)
    single = [excess_of(grid[:, [i]], np.zeros(6, dtype=np.intp), levels) for i in range(3)]
    assert found == pytest.approx(np.nanmean(single, axis=0), abs=1e-5)
    assert np.isnan(single[1][0])
