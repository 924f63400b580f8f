"""Formulas against values worked by hand, closed forms, and scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from valuestrata import measures


def distributions(options: int):
    cells = st.lists(st.floats(0.001, 1.0), min_size=options, max_size=options)
    return cells.map(lambda values: np.array(values) / np.sum(values))


pairs_of_distributions = st.integers(2, 10).flatmap(lambda k: st.tuples(distributions(k), distributions(k)))


def test_w1_uses_positions_and_not_values():
    # Moving .8 of the mass one step on a two-point scale: .8, and not the 0 of comparing sorted share vectors.
    assert measures.w1([0.9, 0.1], [0.1, 0.9]) == pytest.approx(0.8)
    # All mass from one end of a five-point scale to the other.
    assert measures.w1([1, 0, 0, 0, 0], [0, 0, 0, 0, 1]) == pytest.approx(1.0)
    # Half of the mass one step on a three-point scale: .5 * 1 / 2.
    assert measures.w1([0.5, 0.5, 0], [0, 1, 0]) == pytest.approx(0.25)


@given(pairs_of_distributions)
def test_w1_agrees_with_scipy(pair):
    p, q = pair
    positions = np.arange(len(p))
    expected = wasserstein_distance(positions, positions, p, q) / (len(p) - 1)
    assert measures.w1(p, q) == pytest.approx(expected, abs=1e-9)


def test_rps_by_hand():
    # Cumulative shares .2, .7 against .5, .6: (.3^2 + .1^2) / 2.
    assert measures.rps([0.2, 0.5, 0.3], [0.5, 0.1, 0.4]) == pytest.approx((0.09 + 0.01) / 2)


@given(pairs_of_distributions)
def test_jsd_agrees_with_scipy_and_tv_with_its_definition(pair):
    p, q = pair
    assert measures.jsd(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)
    assert measures.tv(p, q) == pytest.approx(sum(max(a - b, 0) for a, b in zip(p, q, strict=True)), abs=1e-9)


@given(pairs_of_distributions)
def test_distances_are_symmetric_zero_on_themselves_and_within_bounds(pair):
    p, q = pair
    for distance in (measures.w1, measures.rps, measures.tv, measures.jsd):
        assert distance(p, q) == pytest.approx(distance(q, p), abs=1e-12)
        assert distance(p, p) == pytest.approx(0.0, abs=1e-12)
        assert 0 <= distance(p, q) <= 1 + 1e-12
    assert measures.rps(p, q) <= measures.w1(p, q) + 1e-12


def test_nmae_by_hand():
    assert measures.nmae(3, 0, 4) == pytest.approx(1.0)
    np.testing.assert_allclose(measures.nmae([0, 1, 9], [0, 2, 0], [4, 4, 10]), [0, 1 / 3, 1])


def test_entropy_of_known_distributions():
    assert measures.entropy([0.25] * 4) == pytest.approx(2.0)
    assert measures.entropy([1.0, 0.0]) == 0.0
    assert math.copysign(1, measures.entropy([1.0, 0.0])) == 1.0


def test_kish_n_eff():
    assert measures.kish_n_eff([1, 1, 1, 1]) == pytest.approx(4)
    # (1 + 2 + 3)^2 / (1 + 4 + 9)
    assert measures.kish_n_eff([1, 2, 3]) == pytest.approx(36 / 14)
    assert measures.kish_n_eff([0, 0]) == 0


def test_modal_diversity_by_hand():
    assert measures.modal_diversity([1, 1, 1, 1], 4) == 0
    # Two modes, half of the subgroups each, two options: as diverse as can be.
    assert measures.modal_diversity([1, 2, 1, 2], 2) == pytest.approx(1)
    # Shares 3/4 and 1/4 have .8113 bits; S = 4 and C = 10 allow log2 4 = 2.
    assert measures.modal_diversity([1, 1, 1, 7], 10) == pytest.approx(0.8112781 / 2)
    assert measures.modal_diversity([3], 5) is None
    assert measures.modal_diversity([], 5) is None


@given(st.integers(2, 8).flatmap(lambda k: st.lists(distributions(k), min_size=2, max_size=7)))
def test_mean_pairwise_w1_is_the_mean_over_all_pairs(shares):
    expected = [measures.w1(a, b) for i, a in enumerate(shares) for b in shares[i + 1 :]]
    assert measures.mean_pairwise_w1(np.array(shares)) == pytest.approx(np.mean(expected), abs=1e-9)
