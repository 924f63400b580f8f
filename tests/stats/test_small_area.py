"""Small-area estimates against closed forms, independent samples and simulated cells with known shares."""

import numpy as np
import pytest
from scipy import special

from valuestrata.stats.small_area.modes import fresh_mode, median_mode, median_of, mode_chances
from valuestrata.stats.small_area.shares import columns_of, overlap_of, small_area


def test_one_item_without_levels_is_the_mean_of_a_dirichlet_posterior():
    """Cells of one item that differ: estimate = (a m + n s) / (a + n), and the variance of the normal-normal model."""
    rng = np.random.default_rng(0)
    groups, n, worth = 400, 40.0, 25.0
    mean = np.array([0.5, 0.3, 0.2])
    shares = np.array([rng.multinomial(40, p) / 40 for p in rng.dirichlet(worth * mean, groups)])[:, None]
    found = small_area(shares, np.full((groups, 1), n), np.zeros((0, groups)))
    r = float(found.between[0])
    assert 1 / r - 1 == pytest.approx(worth, rel=0.25)
    a = 1 / r - 1
    np.testing.assert_allclose(found.shares[:, 0], (a * shares.mean(axis=0) + n * shares[:, 0]) / (a + n), atol=1e-9)
    # The variance of Dirichlet(a m + n s) is p (1 - p) / (a + n + 1); estimating m from 400 cells adds next to nothing.
    assert found.variance[0, 0] == pytest.approx(1 / (a + n + 1), rel=0.02)


def test_cells_without_differences_are_pooled():
    """Equal shares everywhere: the estimate is the mean, with the variance of all answers."""
    shares = np.tile([0.6, 0.4], (10, 1))[:, None]
    found = small_area(shares, np.full((10, 1), 50.0), np.zeros((0, 10)))
    np.testing.assert_allclose(found.shares[:, 0], shares[:, 0])
    assert found.variance[0, 0] == pytest.approx(1 / 500, rel=0.01)
    assert found.mse[0, 0, 0] == pytest.approx(0.24 / 500, rel=0.01)


def test_answers_counted_in_several_subgroups_count_once():
    """Two sexes and everyone: everyone's share is as precise as its n says, whatever the sexes repeat of it."""
    overlap = overlap_of([np.array([0, 1]), np.array([0]), np.array([1])], np.array([30.0, 30.0]))
    assert overlap[0, 1] == pytest.approx(np.sqrt(0.5))
    assert overlap[1, 2] == 0
    shares = np.tile([0.5, 0.5], (3, 1))[:, None]
    number = np.array([[60.0], [30.0], [30.0]])
    found = small_area(shares, number, columns_of([[None, "f", "m"]])[0], overlap)
    naive = small_area(shares, number, columns_of([[None, "f", "m"]])[0])
    assert found.variance[0, 0] == pytest.approx(1 / 60, rel=0.02)
    assert naive.variance[0, 0] < 0.8 / 60


def test_the_variances_between_cells_are_those_planted():
    rng = np.random.default_rng(9)
    groups, items = 24, 80
    columns, _ = columns_of([[f"a{k % 4}" for k in range(groups)], [f"b{k // 4}" for k in range(groups)]])
    for worth in (8.0, 60.0):
        shares = np.zeros((groups, items, 4))
        for item in range(items):
            mean = rng.dirichlet(np.full(4, 4.0))
            shares[:, item] = [rng.multinomial(50, p) / 50 for p in rng.dirichlet(worth * mean, groups)]
        found = small_area(shares, np.full((groups, items), 50.0), columns)
        assert np.median(1 / found.between - 1) == pytest.approx(worth, rel=0.3)
        np.testing.assert_allclose(found.shares.sum(axis=2), 1)


@pytest.mark.parametrize("effect", [0.0, 0.04, 0.1])
def test_estimates_are_better_than_raw_shares_by_the_error_they_state(effect):
    rng = np.random.default_rng(3)
    labels = [[f"a{k % 4}" for k in range(20)], [f"b{k // 4}" for k in range(20)]]
    columns, _ = columns_of(labels)
    items = 300
    number = rng.integers(20, 60, (20, items)).astype(float)
    true = np.full((20, items), 0.5) + rng.normal(0, 0.1, items)
    for column in columns:
        true = true + effect * rng.normal(size=items) * column[:, None]
    true = np.clip(true + effect / 2 * rng.normal(size=true.shape), 0.05, 0.95)
    yes = rng.binomial(number.astype(int), true) / number
    found = small_area(np.stack([yes, 1 - yes], axis=2), number, columns)
    error = np.square(found.shares[..., 0] - true).mean()
    assert error < 0.75 * np.square(yes - true).mean()
    assert found.mse[..., 0].mean() == pytest.approx(error, rel=0.15)


def test_cells_that_nobody_answered_have_no_estimate():
    shares = np.array([[[0.5, 0.5]], [[0.4, 0.6]], [[0.0, 0.0]]])
    found = small_area(shares, np.array([[30.0], [np.nan], [0.0]]), columns_of([["a", "b", "c"]])[0])
    assert np.isfinite(found.shares[0]).all()
    assert np.isnan(found.variance[1:]).all()
    empty = small_area(np.zeros((2, 3, 2)), np.zeros((2, 3)), np.zeros((0, 2)))
    assert np.isnan(empty.shares).all()


def test_items_that_everybody_answers_alike_are_certain():
    shares = np.tile([1.0, 0.0, 0.0], (6, 2, 1))
    found = small_area(shares, np.full((6, 2), 30.0), columns_of([list("aabbcc")])[0])
    np.testing.assert_allclose(found.shares, shares)
    assert (found.mse == 0).all()
    np.testing.assert_array_equal(mode_chances(found.shares[:, 0], found.variance[:, 0]), shares[:, 0])


def test_chances_of_the_mode_are_those_of_a_dirichlet():
    rng = np.random.default_rng(8)
    for options in (2, 3, 5, 10):
        shares = rng.dirichlet(np.full(options, 3.0), size=15)
        variance = 1 / (rng.integers(20, 120, 15) + 1.0)
        found = mode_chances(shares, variance)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        for row in range(15):
            drawn = rng.dirichlet((1 / variance[row] - 1) * shares[row], size=20_000)
            np.testing.assert_allclose(found[row], np.bincount(drawn.argmax(axis=1), minlength=options) / 20_000, atol=0.015)
    # Two options: a beta distribution.
    exact = 1 - special.betainc(54.0, 46.0, 0.5)
    assert mode_chances(np.array([[0.54, 0.46]]), np.array([1 / 101]))[0, 0] == pytest.approx(exact, abs=0.002)


def test_the_median_is_the_best_answer_and_need_not_be_the_mode():
    """p = .4, .2, .4 at codes 1, 5 and 10 of 1 to 10: code 5 is .400 away from a draw, code 1 .489."""
    chances = np.zeros((1, 10))
    chances[0, [0, 4, 9]] = [0.4, 0.2, 0.4]
    distance = [(chances[0] * np.abs(np.arange(10) - answer)).sum() / 9 for answer in range(10)]
    assert distance[4] == pytest.approx(0.4)
    assert distance[0] == pytest.approx(0.489, abs=5e-4)
    assert median_of(chances)[0] == 4 == int(np.argmin(distance))


def test_shares_with_modes_on_both_sides_have_their_best_answer_in_between():
    """Shares near a tie at both ends and close behind in the middle: the median mode of samples is often the middle."""
    shares = np.array([[0.35, 0.30, 0.35], [0.8, 0.1, 0.1]])
    variance, number = np.full(2, 1e-5), np.full(2, 40.0)
    chances = mode_chances(shares, variance)
    found = median_mode(shares, variance, number, chances, fresh_mode(shares, variance, number))
    assert found[0] == pytest.approx([0, 1, 0])
    assert chances[0, 1] < 0.01
    assert found[1] == pytest.approx([1, 0, 0])
    drawn = np.random.default_rng(0).multinomial(40, shares[0], size=4000).argmax(axis=1)
    assert np.median(drawn) == 1


def test_a_fresh_sample_has_the_mode_of_a_multinomial():
    shares = np.array([[0.45, 0.35, 0.2]])
    drawn = np.random.default_rng(1).multinomial(60, shares[0], size=40_000)
    tied = drawn == drawn.max(axis=1, keepdims=True)
    expected = (tied / tied.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(fresh_mode(shares, np.zeros(1), np.array([60.0]))[0], expected, atol=0.02)


def test_variances_of_ordinal_items_are_those_of_positions():
    """Subgroups that move along the scale: positions differ more than single shares, and the mean position is shrunk less."""
    rng = np.random.default_rng(5)
    groups, items, n = 30, 40, 50
    shift = 0.4 * rng.normal(size=(groups, items))
    cuts = special.ndtri(np.array([0.2, 0.4, 0.6, 0.8]))
    below = special.ndtr(cuts - shift[..., None])
    true = np.diff(np.concatenate([np.zeros((groups, items, 1)), below, np.ones((groups, items, 1))], axis=2), axis=2)
    shares = np.array([[rng.multinomial(n, p / p.sum()) / n for p in row] for row in true])
    number, nothing = np.full((groups, items), float(n)), np.zeros((0, groups))
    ordinal, nominal = (small_area(shares, number, nothing, ordered=np.full(items, kind)) for kind in (True, False))
    assert np.median(ordinal.between) > 1.5 * np.median(nominal.between)
    places = np.arange(5)
    planted = (true @ places).var(axis=0).mean() / 2.0
    assert np.median(ordinal.between) == pytest.approx(planted, rel=0.25)
    errors = [np.square((found.shares - true) @ places).mean() for found in (ordinal, nominal)]
    assert errors[0] < errors[1]
