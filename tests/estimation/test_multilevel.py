"""Multilevel regression and poststratification of the human answers."""

from dataclasses import replace

import numpy as np
import pytest

from valuestrata.estimation.estimators.multilevel import multilevel

from .simulated import world


@pytest.fixture(scope="module")
def small():
    return world(3, people=1500, items=6)


def test_shares_sum_to_one_and_lie_in_their_intervals(small):
    found = multilevel(small.draw(120, 1)).estimates
    used = np.broadcast_to(small.items.used, found.shares.shape)
    populated = small.population.sizes > 0
    assert found.shares[populated].sum(axis=2) == pytest.approx(1)
    inside = (found.low <= found.shares) & (found.shares <= found.high)
    assert inside[populated][used[populated]].all()
    assert (found.mse[populated][used[populated]] > 0).all()
    assert (found.mean_low[populated] <= found.mean[populated]).all()


def test_the_left_out_prediction_equals_a_fit_without_the_subgroup(small):
    data = replace(small.draw(150, 2), sample=replace(small.draw(150, 2).sample, fraction=0.0))
    found = multilevel(data)
    assert np.isnan(found.left_out[0]).all()
    assert np.isfinite(found.left_out[1:]).all()
