"""Linearised variances: by hand, against a loop over units, and against a survey package."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.stats.design_based.intervals import wilson
from valuestrata.stats.design_based.linearisation import domain_means, variance_of_totals


def test_variance_by_hand():
    # Two strata. Unit totals 1, 3, 5 (mean 3, squares 8) and 2, 4 (squares 2).
    scores = np.array([[1.0], [1.0], [2.0], [5.0], [2.0], [3.0], [1.0]])
    unit = np.array([0, 1, 1, 2, 3, 4, 4])
    stratum = np.array([0, 0, 0, 1, 1])
    expected = 3 / 2 * 8 + 2 / 1 * 2
    assert variance_of_totals(scores, unit, stratum) == pytest.approx([expected])
    assert variance_of_totals(scores, unit, stratum, 0.25) == pytest.approx([0.75 * expected])
    assert variance_of_totals(scores, unit, stratum, 1.0) == pytest.approx([0.0])


def test_a_stratum_with_one_unit_deviates_from_the_mean_of_all_units():
    scores = np.array([[1.0], [3.0], [8.0]])
    # Mean 4: 2 (1 + 1) in the first stratum, (8 - 4)^2 in the second.
    assert variance_of_totals(scores, np.arange(3), np.array([0, 0, 1])) == pytest.approx([2 * 2 + 16])
    assert variance_of_totals(np.array([[7.0]]), np.array([0]), np.array([0])) == pytest.approx([0.0])


def simulated_sample(seed: int, people: int, units: int | None, strata: int):
    """Return values (P, 4), answered (P, 2), members (P, 5), weights, units and strata."""
    rng = np.random.default_rng(seed)
    unit = np.arange(people) if units is None else np.unique(rng.integers(0, units, people), return_inverse=True)[1]
    stratum = np.unique(rng.integers(0, strata, unit.max() + 1), return_inverse=True)[1]
    answered = rng.random((people, 2)) < 0.8
    values = rng.normal(100.0, 1.0, (people, 4)) * answered[:, [0, 0, 1, 1]]
    members = rng.random((people, 5)) < np.array([1.0, 0.5, 0.2, 0.05, 0.0])
    return values, answered, np.array([0, 0, 1, 1]), members, rng.gamma(2.0, 1.0, people), unit, stratum


@pytest.mark.parametrize("units", [None, 12, 1])
@pytest.mark.parametrize("strata", [1, 3])
def test_domains_agree_with_scores_of_one_domain_at_a_time(units, strata):
    values, answered, item, members, weight, unit, stratum = simulated_sample(3, 60, units, strata)
    found = domain_means(values, answered, item, members, weight, unit, stratum)
    for d in range(5):
        for v in range(4):
            a = weight * members[:, d] * answered[:, item[v]]
            if not a.any():
                assert np.isnan(found.mean[d, v])
                assert np.isnan(found.variance[d, v])
                continue
            mean = (a @ values[:, v]) / a.sum()
            scores = a * (values[:, v] - mean) / a.sum()
            assert found.mean[d, v] == pytest.approx(mean)
            assert found.variance[d, v] == pytest.approx(variance_of_totals(scores[:, None], unit, stratum)[0], abs=1e-14)
            used = np.unique(unit[a > 0])
            assert found.freedom[d, item[v]] == len(used) - len(np.unique(stratum[used]))
            assert found.people[d, item[v]] == (a > 0).sum()
            assert found.effective[d, item[v]] == pytest.approx(a.sum() ** 2 / (a**2).sum())
            together = np.bincount(unit, a)
            assert found.per_unit[d, item[v]] == pytest.approx((together**2).sum() / (a**2).sum())


@given(scale=st.floats(1e-12, 1e12), seed=st.integers(0, 5))
def test_the_scale_of_weights_does_not_matter(scale, seed):
    values, answered, item, members, weight, unit, stratum = simulated_sample(seed, 20, 6, 2)
    one = domain_means(values, answered, item, members, weight, unit, stratum)
    other = domain_means(values, answered, item, members, weight * scale, unit, stratum)
    assert one.variance == pytest.approx(other.variance, nan_ok=True)


def test_wilson_by_hand_and_at_the_ends():
    z = 1.96
    low, high = wilson(np.array([0.0, 0.5, 1.0, np.nan, 0.3, 0.3]), np.array([10.0, 16.0, 10.0, np.nan, np.inf, 0.0]), z)
    assert low[0] == 0.0
    assert high[0] == pytest.approx(z**2 / (10 + z**2))
    assert high[1] - 0.5 == pytest.approx(z * np.sqrt(0.25 / 16 + z**2 / (4 * 16**2)) / (1 + z**2 / 16))
    assert high[2] == 1.0
    assert low[2] == pytest.approx(1 - high[0])
    assert np.isnan(low[3])
    assert low[4] == high[4] == pytest.approx(0.3)
    assert [low[5], high[5]] == [0.0, 1.0]


def test_a_textbook_cluster_sample():
    # Grade point averages of four students in each of 5 of 100 suites (Lohr 2010, Sampling: Design and Analysis, 2nd ed., example 5.2).
    suites = [
        [3.08, 2.60, 3.44, 3.04],
        [2.36, 3.04, 3.28, 2.68],
        [2.00, 2.56, 2.52, 1.88],
        [3.00, 2.88, 3.44, 3.64],
        [2.68, 1.92, 3.28, 3.20],
    ]
    values = np.array(suites).reshape(-1, 1)
    everyone, one_item = np.ones((20, 1), dtype=bool), np.array([0])
    found = domain_means(values, everyone, one_item, everyone, np.ones(20), np.repeat(np.arange(5), 4), np.zeros(5, dtype=np.intp))
    assert found.mean[0, 0] == pytest.approx(2.826)
    assert np.sqrt(0.95 * found.variance[0, 0]) == pytest.approx(0.164, abs=5e-4)
    assert found.freedom[0, 0] == 4
