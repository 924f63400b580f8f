"""Slopes shrunken by empirical Bayes, contrasts of options, and intervals of shares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, truncnorm

from valuestrata.stats.small_area.beta_intervals import beta_interval
from valuestrata.stats.small_area.slopes import contrasts, independent_columns, shrunken, truncated_mean


@pytest.mark.parametrize(("estimate", "expected"), [(3.0, 3 * (1 - 1 / 9)), (-2.0, -2 * (1 - 1 / 4)), (0.9, 0.0), (0.0, 0.0)])
def test_one_slope_is_shrunken_by_its_standard_error(estimate: float, expected: float) -> None:
    found = shrunken(np.array([estimate]), np.eye(1), np.zeros(1, dtype=np.intp))
    assert found.mean == pytest.approx([expected], abs=2e-3)
    assert 0 <= found.covariance[0, 0] <= 1


def test_slopes_of_one_family_share_a_prior() -> None:
    """A slope that is 0 by itself is kept with large ones, and large ones are hardly shrunken in their own family."""
    estimate, family = np.array([5.0, 4.0, 0.5]), np.array([0, 0, 1])
    apart, together = shrunken(estimate, np.eye(3), family), shrunken(estimate, np.eye(3), np.zeros(3, dtype=np.intp))
    assert apart.mean[2] == pytest.approx(0, abs=1e-3)
    assert together.mean[2] > 0.4
    assert apart.mean[0] > 4.7


def test_contrasts_keep_the_length_of_differences_of_shares() -> None:
    options = np.array([2, 5])
    turn = contrasts(options, 5)
    shares = np.zeros((2, 5))
    shares[0, :2], shares[1] = [0.3, -0.3], [0.1, -0.2, 0.3, -0.1, -0.1]
    turned = np.einsum("ik,ikc->ic", shares, turn)
    assert (turned**2).sum(axis=1) == pytest.approx((shares**2).sum(axis=1))
    assert np.count_nonzero(turned[0]) == 1
    assert turn[1].T @ turn[1] == pytest.approx(np.eye(4))


def test_dependent_and_empty_columns_are_left_out() -> None:
    x = np.random.default_rng(1).normal(size=(20, 2))
    columns = np.column_stack([x[:, 0], np.zeros(20), x[:, 0] * 2, x[:, 1], x[:, 0] - x[:, 1]])
    assert independent_columns(columns, np.ones(20)).tolist() == [0, 3]


@pytest.mark.parametrize("estimate", [-1.0, 0.0, 0.5, 30.0])
def test_variances_are_means_of_truncated_normal_distributions(estimate: float) -> None:
    assert truncated_mean(estimate, 4.0) == pytest.approx(truncnorm.mean(-estimate / 2, np.inf, loc=estimate, scale=2), rel=1e-6)
    assert truncated_mean(0.3, 0.0) == 0.3


def test_intervals_are_those_of_beta_distributions() -> None:
    low, high = beta_interval(np.array([0.3]), np.array([0.3 * 0.7 / 21]), np.array([np.inf]))
    assert [low[0], high[0]] == pytest.approx(beta.ppf([0.025, 0.975], 6, 14))


def test_ends_are_shares_that_a_small_population_can_have() -> None:
    shares = np.array([0.02, 0.5, 0.98])
    low, high = beta_interval(shares, np.full(3, 0.002), np.full(3, 20.0))
    assert low[0] == 0
    assert high[2] == 1
    for end in (low, high):
        assert np.isclose(end * 20, np.round(end * 20)).sum() >= 2
    assert ((low <= shares) & (shares <= high)).all()


def test_a_certain_share_has_no_length() -> None:
    low, high = beta_interval(np.array([0.0, 0.4]), np.array([0.1, 0.0]), np.full(2, np.inf))
    assert low.tolist() == high.tolist() == [0.0, 0.4]
