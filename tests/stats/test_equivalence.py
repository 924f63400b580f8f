"""Equivalence tests from intervals: hand-worked figures, an exact t test, and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from valuestrata.stats.intervals import margin_test

Z = stats.norm.isf(0.025)


def test_two_one_sided_tests_by_hand():
    """Difference .005 with standard error .01 and margin .02: z = .025 / .01 and .015 / .01."""
    found = margin_test(0.005, 0.005 - Z * 0.01, 0.005 + Z * 0.01, 0.95, 0.02, 100)
    assert found.above == pytest.approx(stats.norm.sf(2.5))
    assert found.below == found.within == pytest.approx(stats.norm.sf(1.5))
    # The 90 % interval.
    assert (found.low, found.high) == pytest.approx((0.005 - 0.016449, 0.005 + 0.016449), abs=1e-6)


def test_each_side_has_its_own_width():
    found = margin_test(0.0, -0.01, 0.04, 0.95, 0.02, 100)
    assert found.above == pytest.approx(stats.norm.sf(0.02 / (0.01 / Z)))
    assert found.below == pytest.approx(stats.norm.sf(0.02 / (0.04 / Z)))


def test_equal_answers_show_equality_only_with_enough_of_them():
    """Of 149 equal pairs, fewer than 2 % of all pairs differ: .98 ** 149 = .049 (rule of three: 3 / 149 = .020)."""
    assert margin_test(0.0, 0.0, 0.0, 0.95, 0.02, 149).within == pytest.approx(0.98**149)
    assert margin_test(0.0, 0.0, 0.0, 0.95, 0.02, 148).within > 0.05
    assert margin_test(0.0, 0.0, 0.0, 0.95, 0.02, 0).within == 1.0
    assert margin_test(0.03, 0.03, 0.03, 0.95, 0.02, 1000).within == 1.0


def test_intervals_with_students_t_are_conservative():
    """With 5 degrees of freedom, the exact one-sided p of t = 2 is .051; from the interval it is larger."""
    half = stats.t.isf(0.025, 5) * 0.01
    found = margin_test(0.0, -half, half, 0.95, 0.02015, 6)
    assert stats.t.sf(2.015, 5) == pytest.approx(0.05, abs=1e-3)
    assert found.above > 0.05


@given(st.floats(-0.1, 0.1), st.floats(1e-4, 0.1), st.floats(0.001, 0.1))
def test_equivalence_is_shown_where_the_shorter_interval_is_within_the_margins(estimate, se, margin):
    found = margin_test(estimate, estimate - Z * se, estimate + Z * se, 0.95, margin, 50)
    inside = -margin < found.low and found.high < margin
    if abs(found.within - 0.05) > 1e-6:
        assert (found.within < 0.05) == inside
    assert margin_test(estimate, estimate - Z * se, estimate + Z * se, 0.95, margin * 2, 50).within <= found.within


def test_false_equivalence_at_the_margin_is_at_most_alpha():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(2000):
        x = rng.normal(0.02, 0.1, 100)
        half = Z * x.std(ddof=1) / 10
        found += margin_test(x.mean(), x.mean() - half, x.mean() + half, 0.95, 0.02, 100).within <= 0.05
    assert found / 2000 < 0.06
