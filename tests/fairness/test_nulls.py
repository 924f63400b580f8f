"""What permutations and redraws make of a grid, against enumeration, closed forms and plain loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from valuestrata.fairness.estimate.disparity import measures, tail
from valuestrata.fairness.estimate.nulls import centre, distinct_permutations, permute, unit_scores

STRATA = np.array([0, 0, 0, 1, 1])


def grid_of(seed, missing=0.2, shape=(5, 7)):
    rng = np.random.default_rng(seed)
    grid = rng.random(shape)
    grid[rng.random(shape) < missing] = np.nan
    return grid


@pytest.mark.parametrize("seed", range(5))
def test_values_are_centred_within_item_and_stratum(seed):
    grid = grid_of(seed)
    found = centre(grid, STRATA)
    for g in range(5):
        means = []
        for i in range(7):
            if np.isnan(grid[g, i]):
                assert found.residual[g, i] == found.rest[g, i] == 0
                continue
            others = [grid[h, i] for h in range(5) if STRATA[h] == STRATA[g] and not np.isnan(grid[h, i])]
            means.append(sum(others) / len(others))
            assert found.residual[g, i] == pytest.approx(grid[g, i] - means[-1])
            assert found.rest[g, i] == pytest.approx(len(others) / (len(others) - 1) if len(others) > 1 else 0)
        assert found.base[g] == pytest.approx(np.mean(means))
        assert found.pairs[g] == len(means)


def test_all_exchanges_within_an_item_are_equally_likely():
    grid = np.array([[1.0], [0.0], [0.4]])
    drawn = permute([centre(grid, np.zeros(3, dtype=np.intp))], np.zeros(3, dtype=np.intp), 6000, 0)[0].sums
    orders, counts = np.unique(np.round(drawn + grid.mean(), 4), axis=0, return_counts=True)
    assert {tuple(order) for order in orders.tolist()} == set(itertools.permutations([1.0, 0.0, 0.4]))
    assert stats.chisquare(counts).pvalue > 0.001


def test_permuted_sums_have_the_variance_of_drawing_one_value_an_item():
    grid = grid_of(1, missing=0.2, shape=(6, 30))
    strata = np.array([0, 0, 0, 0, 1, 1])
    centred = centre(grid, strata)
    drawn = permute([centred], strata, 20_000, 3)[0]
    expected = np.zeros(6)
    for g in range(6):
        for i in np.flatnonzero(centred.mask[g]):
            cells = (strata == strata[g]) & centred.mask[:, i]
            expected[g] += np.mean(centred.residual[cells, i] ** 2)
    assert drawn.sums.var(axis=0) == pytest.approx(expected, rel=0.05)
    assert drawn.squares.mean(axis=0) == pytest.approx(expected, rel=0.02)
    assert drawn.sums.mean(axis=0) == pytest.approx(np.zeros(6), abs=4 * np.sqrt(expected.max() / 20_000))


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_what_is_permuted_stays_in_its_stratum_and_among_cells_with_a_value(seed):
    grid = grid_of(seed)
    grid[1] = np.nan
    centred = centre(grid, STRATA)
    drawn = permute([centred], STRATA, 8, seed)[0]
    assert (drawn.sums[:, 1] == 0).all()
    assert (drawn.squares[:, 1] == 0).all()
    for stratum in (0, 1):
        rows = stratum == STRATA
        assert drawn.sums[:, rows].sum(axis=1) == pytest.approx(np.zeros(8), abs=1e-5)
        assert drawn.squares[:, rows].sum(axis=1) == pytest.approx(np.full(8, (centred.residual[rows] ** 2).sum()), rel=1e-4)


def test_a_subgroup_with_few_cells_is_permuted_over_those_only():
    grid = np.full((3, 4), np.nan)
    grid[0], grid[1] = [1, 0, 1, 0], [0, 0, 1, 1]
    grid[2, 0] = 1.0
    centred = centre(grid, np.zeros(3, dtype=np.intp))
    drawn = permute([centred], np.zeros(3, dtype=np.intp), 500, 0)[0]
    # Item 0 holds 1, 0, 1 with mean 2/3: the third subgroup has one of them.
    assert set(np.round(drawn.sums[:, 2], 5)) == {0.33333, -0.66667}
    # On items that only the first two share, nothing of the third one can arrive.
    assert np.abs(drawn.sums[:, :2]).max() <= 2 / 3 + 0.5 + 1e-6


def test_runs_with_the_same_pairs_are_permuted_alike_and_others_by_the_same_seed():
    first = grid_of(2, missing=0.1)
    other = grid_of(3, missing=0.3)
    grids = [centre(first, STRATA), centre(other, STRATA), centre(3 * first + 1, STRATA)]
    together = permute(grids, STRATA, 20, 5)
    assert together[2].sums == pytest.approx(3 * together[0].sums, abs=1e-5)
    assert together[2].squares == pytest.approx(9 * together[0].squares, abs=1e-4)
    assert together[1].sums == pytest.approx(permute([grids[1]], STRATA, 20, 5)[0].sums)


def test_a_metric_without_some_items_shares_the_permutations_of_the_others():
    # Distances leave out nominal items: what is left is permuted as it is for accuracy.
    grid = np.round(np.random.default_rng(4).random((5, 8)))
    without = grid.copy()
    without[:, 3] = np.nan
    alone = np.full_like(grid, np.nan)
    alone[:, 3] = grid[:, 3]
    whole, most, one = permute([centre(g, STRATA) for g in (grid, without, alone)], STRATA, 30, 1)
    assert most.sums + one.sums == pytest.approx(whole.sums, abs=1e-5)


def test_scores_under_a_null_by_plain_loops():
    grid = grid_of(6)
    centred = centre(grid, STRATA)
    members = np.array([[1, 0, 0, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=float)
    added = np.random.default_rng(0).normal(size=(4, 5))
    found = unit_scores(members, centred, added)
    for b in range(4):
        for u in (0, 1):
            cells = np.flatnonzero(members[u])
            total = sum(centred.base[g] * centred.pairs[g] + added[b, g] for g in cells)
            assert found[b, u] == pytest.approx(total / sum(centred.pairs[g] for g in cells))
    assert np.isnan(found[:, 2]).all()


def test_a_range_of_alike_subgroups_is_called_large_as_often_as_said():
    rng = np.random.default_rng(8)
    strata = np.zeros(8, dtype=np.intp)
    small = 0
    for world in range(300):
        grid = (rng.random((8, 30)) < rng.uniform(0.3, 0.9, 30)).astype(float)
        centred = centre(grid, strata)
        drawn = unit_scores(np.eye(8), centred, permute([centred], strata, 99, world)[0].sums)
        small += tail(measures(drawn)["norm_range"], float(measures(grid.mean(axis=1))["norm_range"])) <= 0.05
    assert stats.binomtest(small, 300, 0.05, alternative="greater").pvalue > 0.01


def test_noise_alone_gives_the_gaps_that_are_known():
    # Equal subgroups at .574, 90 items each (closed simulation): mean best-to-worst gap .148 for 8 and .241 for 60.
    rng = np.random.default_rng(9)
    for groups, gap in ((8, 0.148), (60, 0.241)):
        strata = np.zeros(groups, dtype=np.intp)
        means = []
        for world in range(10):
            centred = centre((rng.random((groups, 90)) < 0.574).astype(float), strata)
            drawn = unit_scores(np.eye(groups), centred, permute([centred], strata, 200, world)[0].sums)
            means.append(measures(drawn)["max_min"].mean())
        assert np.mean(means) == pytest.approx(gap, abs=0.006)


BLOCKS = np.array([0, 1, 0, 1, 2, 0, 1])


def test_the_items_of_a_block_are_permuted_together():
    # Two cells and two blocks of two items: the block sums are exchanged or not, one block apart from the other.
    grid = np.array([[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    centred = centre(grid, np.zeros(2, dtype=np.intp), np.array([0, 0, 1, 1]))
    drawn = permute([centred], np.zeros(2, dtype=np.intp), 400, 0)[0]
    # Block sums of the first cell are +-1 and +-.5; items alone would also give 0 and +-1 in the first block.
    sums, counts = np.unique(drawn.sums[:, 0], return_counts=True)
    assert sums.tolist() == [-1.5, -0.5, 0.5, 1.5]
    assert stats.chisquare(counts).pvalue > 0.001
    assert drawn.squares == pytest.approx(np.full((400, 2), 1.25))
    assert drawn.sized == pytest.approx(2 * drawn.sums)


def test_permuted_block_sums_have_the_variance_of_drawing_one_cell_a_block():
    grid = grid_of(1, missing=0.0, shape=(6, 7))
    strata = np.array([0, 0, 0, 0, 1, 1])
    centred = centre(grid, strata, BLOCKS)
    drawn = permute([centred], strata, 4_000, 3)[0]
    expected = np.zeros(6)
    for g in range(6):
        for b in range(3):
            sums = centred.residual[strata == strata[g]][:, b == BLOCKS].sum(axis=1)
            expected[g] += np.mean(sums**2)
    assert drawn.sums.var(axis=0) == pytest.approx(expected, rel=0.1)
    assert drawn.squares.mean(axis=0) == pytest.approx(expected, rel=0.05)


def test_blocks_of_single_items_are_permuted_as_items_are():
    grid = grid_of(7)
    plain, single = (permute([centre(grid, STRATA, blocks)], STRATA, 20, 5)[0] for blocks in (None, np.arange(7)))
    assert (plain.sums == single.sums).all()
    assert (plain.sized == single.sums).all()


def test_cells_that_some_items_of_a_block_lack_are_skipped_and_the_others_move_together():
    grid = np.array([[1.0, 1.0], [0.0, 0.0], [0.4, 0.4], [0.7, np.nan]])
    one = np.zeros(4, dtype=np.intp)
    blocks = np.zeros(2, dtype=np.intp)
    shown = np.where([True, False], grid, np.nan), np.where([False, True], grid, np.nan)
    first, second = (permute([centre(part, one, blocks)], one, 2400, 0)[0].sums for part in shown)
    both = permute([centre(grid, one, blocks)], one, 2400, 0)[0]
    assert both.sums == pytest.approx(first + second, abs=1e-5)
    assert both.squares == pytest.approx((first + second) ** 2, abs=1e-4)
    # Each item alone is permuted uniformly over its own cells.
    for drawn, values in ((first, [1.0, 0.0, 0.4, 0.7]), (second, [1.0, 0.0, 0.4])):
        cells = drawn[:, : len(values)] + np.mean(values)
        orders, counts = np.unique(np.round(cells, 4), axis=0, return_counts=True)
        assert {tuple(order) for order in orders.tolist()} == set(itertools.permutations(values))
        assert stats.chisquare(counts).pvalue > 0.001
    assert (second[:, 3] == 0).all()
    # A cell has the same source on both items unless that source is the cell that the second item lacks: in 3 of 4 permutations.
    same = np.abs((first[:, 0] + grid[:, 0].mean()) - (second[:, 0] + grid[:3, 1].mean())) < 1e-5
    assert same.mean() == pytest.approx(0.75, abs=0.04)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_permuted_blocks_keep_the_total_of_each_stratum(seed):
    centred = centre(grid_of(seed, missing=0.4), STRATA, BLOCKS)
    drawn = permute([centred], STRATA, 8, seed)[0]
    for stratum in (0, 1):
        assert drawn.sums[:, stratum == STRATA].sum(axis=1) == pytest.approx(np.zeros(8), abs=1e-5)
    assert (drawn.sums[:, ~centred.mask.any(axis=1)] == 0).all()


def test_permutations_that_only_rename_the_cells_are_not_counted():
    whole = np.ones((5, 7), dtype=bool)
    # Strata of 3 and 2 cells: 3! 2! for each block beyond the first.
    assert distinct_permutations(whole, STRATA, BLOCKS) == pytest.approx((6 * 2) ** 2)
    assert distinct_permutations(whole, STRATA, np.arange(7)) == pytest.approx((6 * 2) ** 6)
    assert distinct_permutations(whole, STRATA, np.zeros(7, dtype=np.intp)) == 1
    part = whole.copy()
    part[2, BLOCKS == 0] = False
    assert distinct_permutations(part, STRATA, BLOCKS) == pytest.approx(6 * 2 * 2 * 2)
    assert distinct_permutations(np.ones((60, 240), dtype=bool), np.zeros(60, dtype=np.intp), np.arange(240)) == np.inf
