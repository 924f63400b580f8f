"""Measures of disparity by hand, from plain loops, from fairlearn, and in worlds whose true spread is known."""

import math

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from valuestrata.fairness.estimate.disparity import corrected_interval, corrected_variance, measures, tail, why_null


def test_the_measures_of_three_subgroups_by_hand():
    found = {name: float(value) for name, value in measures(np.array([0.8, 0.6, 0.4])).items()}
    assert found["norm_range"] == pytest.approx(0.5)
    assert found["max_min"] == pytest.approx(0.4)
    # sigma^2 = (.04 + 0 + .04) / 3, mu = .6.
    assert found["sd"] == pytest.approx(math.sqrt(0.08 / 3))
    assert found["cv"] == pytest.approx(math.sqrt(0.08 / 3) / 0.6)
    assert found["theil"] == pytest.approx((4 / 3 * math.log(4 / 3) + 0 + 2 / 3 * math.log(2 / 3)) / 3)
    # Six ordered pairs apart: .2, .2, .4, each twice; 2 * 9 * .6 below.
    assert found["gini"] == pytest.approx(1.6 / 10.8)


def test_the_spread_of_distances_falls_in_absolute_and_stays_in_relative_terms_when_all_of_them_halve():
    before, after = measures(np.array([0.30, 0.20, 0.25])), measures(np.array([0.15, 0.10, 0.125]))
    assert after["sd"] == pytest.approx(before["sd"] / 2)
    assert after["max_min"] == pytest.approx(before["max_min"] / 2)
    assert (after["cv"], after["norm_range"]) == pytest.approx((float(before["cv"]), float(before["norm_range"])))


@pytest.mark.parametrize("metric", ["accuracy", "distance"])
def test_group_scores_range_and_ratio_are_those_of_fairlearn(metric):
    rng = np.random.default_rng(3)
    groups = rng.choice(["a", "b", "c", "d"], 400)
    truth, answer = rng.integers(0, 5, 400), rng.integers(0, 5, 400)

    def score(y_true, y_pred):
        return float(np.mean(y_true == y_pred)) if metric == "accuracy" else float(np.mean(np.abs(y_true - y_pred) / 4))

    frame = MetricFrame(metrics=score, y_true=truth, y_pred=answer, sensitive_features=groups)
    scores = np.array([score(truth[groups == g], answer[groups == g]) for g in "abcd"])
    assert frame.by_group.to_numpy() == pytest.approx(scores)
    found = measures(scores)
    assert frame.difference(method="between_groups") == pytest.approx(float(found["max_min"]))
    assert 1 - frame.ratio(method="between_groups") == pytest.approx(float(found["norm_range"]))


def test_relative_measures_of_zeros_are_undefined_and_say_so():
    found = measures(np.zeros(4))
    assert all(np.isnan(found[name]) for name in ("norm_range", "cv", "theil", "gini"))
    assert found["max_min"] == 0
    assert "all zero" in str(why_null(np.zeros(4), "nmae"))
    assert why_null(np.array([0.5, np.nan]), "nmae") == "one subgroup"
    assert why_null(np.array([np.nan]), "nmae") == "no pair scored"
    assert why_null(np.array([0.0, 0.1]), "nmae") is None
    assert all(np.isnan(value) for value in measures(np.array([0.5, np.nan])).values())


def test_one_zero_among_others_has_a_theil_index():
    # Two of three have nothing: (1/3) * 3 ln 3.
    assert measures(np.array([0.0, 0.0, 0.9]))["theil"] == pytest.approx(math.log(3))


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=12), st.floats(0.1, 1))
def test_relative_measures_do_not_depend_on_the_scale_and_the_order(scores, factor):
    found, scaled = measures(np.array(scores)), measures(factor * np.array(scores[::-1]))
    for name in ("norm_range", "cv", "theil", "gini"):
        assert scaled[name] == pytest.approx(float(found[name]), abs=1e-9)
    gini = sum(abs(a - b) for a in scores for b in scores) / (2 * len(scores) * sum(scores))
    assert found["gini"] == pytest.approx(gini, abs=1e-9)
    assert 0 <= found["gini"] <= 1
    assert found["theil"] <= math.log(len(scores)) + 1e-9


def anova(grid):
    """Between-cell variance less (residual mean square) / items, from the sums of a complete two-way table."""
    subgroups, items = len(grid), len(grid[0])
    rows = [sum(row) / items for row in grid]
    columns = [sum(row[i] for row in grid) / subgroups for i in range(items)]
    grand = sum(rows) / subgroups
    between = sum((row - grand) ** 2 for row in rows) / (subgroups - 1)
    residual = sum((grid[g][i] - rows[g] - columns[i] + grand) ** 2 for g in range(subgroups) for i in range(items))
    return between - residual / ((subgroups - 1) * (items - 1)) / items


def test_the_corrected_variance_of_a_complete_grid_is_that_of_the_two_way_table():
    grid = np.random.default_rng(0).integers(0, 2, (5, 9)).astype(float)
    assert corrected_variance(grid).value == pytest.approx(anova(grid.tolist()))


def test_the_corrected_variance_by_hand():
    # Means 1 and 1/3, variance 2/9. Residuals (+-1/6, +-1/6, -+1/3): mean square 2 * (1/36 + 1/36 + 1/9) / 2 = 1/6.
    assert corrected_variance(np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])).value == pytest.approx(2 / 9 - 1 / 6 / 3)


def test_effects_and_residual_of_an_incomplete_grid_are_those_of_least_squares():
    rng = np.random.default_rng(1)
    grid = rng.normal(size=(6, 12))
    grid[rng.random(grid.shape) < 0.3] = np.nan
    cells = np.argwhere(~np.isnan(grid))
    design = np.zeros((len(cells), 18))
    design[np.arange(len(cells)), cells[:, 0]] = design[np.arange(len(cells)), 6 + cells[:, 1]] = 1
    y = grid[cells[:, 0], cells[:, 1]]
    solved, *_ = np.linalg.lstsq(design, y, rcond=None)
    effects = solved[:6] - solved[:6].mean()
    mean_square = ((y - design @ solved) ** 2).sum() / (len(cells) - 17)
    covariance = np.linalg.pinv(design.T @ design)[:6, :6] * mean_square
    centre = np.eye(6) - 1 / 6
    noise = np.trace(centre @ covariance @ centre) / 5
    found = corrected_variance(grid)
    assert found.effects == pytest.approx(effects)
    assert found.residual == pytest.approx(mean_square)
    assert found.noise == pytest.approx(noise)
    assert found.value == pytest.approx(effects.var(ddof=1) - noise)


@pytest.mark.parametrize("spread", [0.0, 0.08])
def test_the_unfloored_corrected_variance_is_unbiased_with_missing_cells_and_hard_items(spread):
    rng = np.random.default_rng(2)
    skill = spread * (np.arange(8) - 3.5) / np.std(np.arange(8), ddof=1)
    missing = rng.random((8, 40)) < 0.25
    # Subgroups that lack the hard items must not pass for well served.
    ease = np.linspace(-0.15, 0.15, 40)
    missing[:4, :10] = True
    found = []
    for _ in range(3000):
        grid = (rng.random((8, 40)) < 0.55 + skill[:, None] + ease).astype(float)
        grid[missing] = np.nan
        found.append(corrected_variance(grid).value)
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - spread**2) < max(4 * error, 1e-9)
    assert abs(np.mean(found) - spread**2) < 2e-4
    assert min(found) < 0 or spread > 0


def test_what_cannot_be_corrected_says_why():
    assert corrected_variance(np.array([[1.0, 0.0], [np.nan, np.nan]])).reason == "one subgroup"
    assert corrected_variance(np.array([[1.0, 0.0, np.nan, np.nan], [np.nan, np.nan, 1.0, 0.0]])).reason == "no common items"
    assert corrected_variance(np.array([[1.0], [0.0]])).reason == "no residual"
    assert np.isnan(corrected_variance(np.array([[1.0], [0.0]])).value)
    assert all(np.isnan(end) for end in corrected_interval(corrected_variance(np.array([[1.0], [0.0]])), 0.95))


def test_the_ends_of_the_corrected_interval_leave_half_of_the_rest_on_each_side():
    grid = np.random.default_rng(5).normal(size=(10, 50)) + np.linspace(0, 1, 10)[:, None]
    found = corrected_variance(grid)
    low, high = corrected_interval(found, 0.9)
    assert 0 < low < found.value < high
    for end, share in ((low, 0.95), (high, 0.05)):
        strength = end * 9 / found.noise
        assert stats.ncf.cdf(found.raw / found.noise, 9, found.freedom, strength) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.15])
def test_the_corrected_interval_covers_the_true_variance(spread):
    rng = np.random.default_rng(6)
    skill = spread * (np.arange(8) - 3.5) / np.std(np.arange(8), ddof=1)
    ends = []
    for _ in range(400):
        grid = (rng.random((8, 60)) < 0.6 + skill[:, None] + np.linspace(-0.1, 0.1, 60)).astype(float)
        ends.append(corrected_interval(corrected_variance(grid), 0.95))
    covered = sum(low <= spread**2 <= high for low, high in ends)
    assert stats.binomtest(covered, 400, 0.95, alternative="less").pvalue > 0.001
    if spread == 0:
        assert sum(low > 0 for low, _ in ends) <= stats.binom.ppf(0.999, 400, 0.025)


def test_noise_of_respondents_widens_the_corrected_interval():
    found = corrected_variance(np.random.default_rng(7).normal(size=(6, 30)) + np.arange(6)[:, None] / 4)
    low, high = corrected_interval(found, 0.95)
    lower, higher = corrected_interval(found, 0.95, extra=2 * found.noise)
    assert lower < low
    assert higher - lower > high - low


def test_the_tail_counts_the_value_itself():
    null = np.array([0.1, 0.2, 0.3, 0.4])
    assert tail(null, 0.3) == pytest.approx(3 / 5)
    assert tail(null, 0.9) == pytest.approx(1 / 5)
    assert np.isnan(tail(np.empty(0), 0.3))
    assert np.isnan(tail(null, np.nan))


def test_with_equal_blocks_the_noise_is_that_of_a_table_of_block_means():
    rng = np.random.default_rng(1)
    grid, blocks = rng.random((5, 24)), np.arange(24) % 6
    means = np.stack([grid[:, blocks == b].mean(axis=1) for b in range(6)], axis=1)
    found, expected = corrected_variance(grid, blocks), corrected_variance(means)
    assert (found.value, found.noise, found.raw) == pytest.approx((expected.value, expected.noise, expected.raw))
    assert found.freedom == pytest.approx(expected.freedom)
    assert corrected_interval(found, 0.9) == pytest.approx(corrected_interval(expected, 0.9))


def test_unequal_blocks_by_plain_loops():
    rng = np.random.default_rng(2)
    sizes = [4, 3, 3, 2, 1, 1, 1]
    grid, blocks = rng.random((4, 15)), np.repeat(np.arange(7), sizes)
    effects = grid.mean(axis=1) - grid.mean()
    top, bottom = 0.0, 1.0
    for b, size in enumerate(sizes):
        within = grid[:, blocks == b] - grid[:, blocks == b].mean(axis=0)
        w = size / 15
        q = sum((within[u].sum() - size * effects[u]) ** 2 for u in range(4)) / 15**2 / 3
        top += q / (1 - 2 * w)
        bottom += w**2 / (1 - 2 * w)
    found = corrected_variance(grid, blocks)
    assert found.noise == pytest.approx(top / bottom)
    assert found.freedom == pytest.approx(3 * (15**2 / sum(size**2 for size in sizes) - 1))


def test_single_items_as_blocks_change_nothing():
    grid = np.random.default_rng(3).random((5, 9))
    grid[1, 2] = np.nan
    assert corrected_variance(grid, np.arange(9)).value == corrected_variance(grid).value


def test_a_large_block_and_a_single_one():
    grid = np.random.default_rng(4).random((5, 12))
    # One block of two thirds: the jackknife over blocks, by leaving each out.
    blocks = np.repeat([0, 1, 2], [8, 2, 2])
    effects = grid.mean(axis=1) - grid.mean()
    total = 0.0
    for b in range(3):
        rest = grid[:, blocks != b]
        total += ((rest.mean(axis=1) - rest.mean() - effects) ** 2).sum() / 4
    kept = 1 - ((8 / 12) ** 2 + 2 * (2 / 12) ** 2)
    assert corrected_variance(grid, blocks).noise == pytest.approx(kept * total)
    alone = corrected_variance(grid, np.zeros(12, dtype=np.intp))
    assert alone.reason == "one block"
    assert np.isnan(alone.value)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_the_corrected_variance_is_unbiased_where_subgroups_differ_by_block(missing):
    rng = np.random.default_rng(5)
    sizes = [6, 5, 4, 4, 3, 2, 2, 1, 1, 1, 1]
    blocks = np.repeat(np.arange(len(sizes)), sizes)
    there = rng.random((8, len(blocks))) >= missing
    by_block, by_item = [], []
    for _ in range(500):
        grid = 0.5 * rng.standard_normal(there.shape) + 0.2 * rng.standard_normal((8, len(sizes)))[:, blocks]
        grid = np.where(there, grid + 0.1 * np.linspace(-1, 1, 8)[:, None], np.nan)
        by_block.append(corrected_variance(grid, blocks).value)
        by_item.append(corrected_variance(grid).value)
    true = (0.1 * np.linspace(-1, 1, 8)).var(ddof=1)
    error = np.std(by_block) / np.sqrt(500)
    assert abs(np.mean(by_block) - true) < 3 * error
    assert np.mean(by_item) - true > 4 * error
