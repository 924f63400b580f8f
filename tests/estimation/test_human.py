"""Design-based estimates of subgroups: known cases, bad cases and coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.estimation.simulated import world
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.inputs import EstimationInput

WORLD = world(4, items=6)


def changed(data: EstimationInput, **parts) -> EstimationInput:
    return replace(data, sample=replace(data.sample, **parts))


def test_shares_and_standard_errors_of_a_simple_random_sample():
    data = WORLD.draw(200, 1)
    found = human_only(data)
    answers, people, f = data.sample.answers[:, 1], data.sample.people, data.sample.fraction
    inside = data.members[:, 2]
    p = np.array([(answers[inside] == k).mean() for k in range(4)])
    n = inside.sum()
    assert found.shares[2, 1, :4] == pytest.approx(p)
    assert found.mse[2, 1, :4] == pytest.approx((1 - f) * people / (people - 1) * p * (1 - p) / n)
    assert found.mean[2, 1] == pytest.approx(p @ [1, 2, 3, 4])
    assert found.mean_mse[2, 1] == pytest.approx((1 - f) * people / (people - 1) * answers[inside].var() / n)
    used = np.broadcast_to(WORLD.items.used, found.shares.shape)
    assert np.nansum(found.shares, axis=2)[~found.synthetic] == pytest.approx(1.0)
    assert (found.shares[~used & ~found.synthetic[..., None]] == 0).all()
    assert np.isnan(found.low[~used]).all()
    known = used & ~found.synthetic[..., None]
    assert ((found.low <= found.shares) & (found.shares <= found.high))[known].all()
    assert ((found.mean_low < found.mean) & (found.mean < found.mean_high))[~found.synthetic & (found.mean_mse > 0)].all()


def test_a_subgroup_without_answers_is_synthetic_and_undefined():
    data = WORLD.draw(50, 2)
    answers = data.sample.answers.copy()
    answers[data.members[:, 3], 0] = -1
    found = human_only(changed(data, answers=answers))
    assert found.synthetic[3, 0]
    assert not found.synthetic[0, 0]
    for part in (found.shares, found.low, found.high, found.mse):
        assert np.isnan(part[3, 0]).all()
    for part in (found.mean, found.mean_low, found.mean_high, found.mean_mse):
        assert np.isnan(part[3, 0])


def test_equal_answers_have_no_variance_but_an_interval():
    data = WORLD.draw(60, 3)
    answers = data.sample.answers.copy()
    answers[data.members[:, 1], 2] = 1
    found = human_only(changed(data, answers=answers))
    n, f = data.members[:, 1].sum(), data.sample.fraction
    assert found.mse[1, 2, :5] == pytest.approx(0.0)
    z2 = 1.959964**2 * (1 - f)
    assert found.high[1, 2, 0] == pytest.approx(z2 / (n + z2), rel=1e-6)
    assert found.low[1, 2, 1] == pytest.approx(n / (n + z2), rel=1e-6)
    assert found.mean_low[1, 2] < 2.0 < found.mean_high[1, 2]


def test_one_person_gives_wide_intervals():
    data = WORLD.draw(1, 4)
    found = human_only(data)
    assert found.shares[0, 0].max() == 1.0
    assert found.mse[0, 0, 0] == 0.0
    assert 0.1 < np.nanmax(found.low[0, 0]) < 0.3
    assert [found.mean_low[0, 0], found.mean_high[0, 0]] == [1.0, 2.0]


def test_everyone_in_the_population_leaves_no_error():
    found = human_only(WORLD.draw(len(WORLD.cell), 5))
    used = np.broadcast_to(WORLD.items.used, found.shares.shape)
    assert found.shares[used] == pytest.approx(WORLD.truth[used])
    assert (found.high - found.low)[used] == pytest.approx(0.0, abs=1e-9)
    assert found.mse[used] == pytest.approx(0.0)


def test_equal_weights_of_any_size_change_nothing():
    data = WORLD.draw(80, 6)
    one, other = human_only(data), human_only(changed(data, weight=np.full(80, 1e9)))
    for part in ("shares", "low", "high", "mse", "mean_low", "mean_high"):
        assert getattr(other, part) == pytest.approx(getattr(one, part), nan_ok=True)


def test_one_huge_weight_is_one_person():
    data = WORLD.draw(80, 7)
    weight = np.ones(80)
    weight[5] = 1e9
    found = human_only(changed(data, weight=weight))
    assert found.shares[0, 0].max() == pytest.approx(1.0)
    assert np.nanmax(found.low[0, 0]) == pytest.approx(np.nanmax(human_only(WORLD.draw(1, 4)).low[0, 0]), abs=0.02)


def test_one_unit_has_no_degrees_of_freedom():
    data = WORLD.draw(40, 8)
    found = human_only(changed(data, unit=np.zeros(40, dtype=np.intp), stratum=np.zeros(1, dtype=np.intp)))
    assert found.mse[0, 0, :2] == pytest.approx(0.0)
    assert (found.high[0, 0, :2] > found.low[0, 0, :2]).all()


def test_duplicated_people_in_units_widen_intervals():
    data = WORLD.draw(50, 9)
    twice = np.repeat(np.arange(50), 4)
    single = human_only(data)
    sample = replace(data.sample.of(twice), unit=twice, stratum=np.zeros(50, dtype=np.intp))
    copied = human_only(replace(data, sample=sample, models={}))
    assert copied.mse == pytest.approx(single.mse, nan_ok=True)
    length = np.nanmean(copied.high - copied.low) / np.nanmean(single.high - single.low)
    assert 0.97 < length < 1.03


def test_intervals_cover_the_population_in_small_cells():
    covered = []
    for seed in range(30):
        data = WORLD.draw(100, 100 + seed)
        found = human_only(data)
        inside = (found.low <= WORLD.truth + 1e-9) & (WORLD.truth - 1e-9 <= found.high)
        covered.append(inside[data.members.sum(axis=0) >= 10][:, WORLD.items.used].mean())
    assert 0.93 < np.mean(covered) < 0.97
