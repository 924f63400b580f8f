"""Interviews that a model saves: theory for useless and perfect models, and unbiased gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.estimation.simulated import world
from valuestrata.estimation.estimates import SMALL_AREA, Estimates
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.estimators.rectified import rectified
from valuestrata.estimation.gains import gains_of_estimates, gains_of_rectified
from valuestrata.estimation.inputs import EstimationInput
from valuestrata.estimation.interviews import INTERVIEWS, MOST, interviews
from valuestrata.stats.design_based.two_way import two_way

KNOWS_SOME, USELESS = world(0, skill=0.6), world(21, skill=0.0, items=8)


def of_rectified(data: EstimationInput) -> pl.DataFrame:
    human = human_only(data)
    return interviews(data, human, rectified(data, "model", human))


def over_items(found: pl.DataFrame) -> pl.DataFrame:
    return found.filter(pl.col("item").is_null())


def with_model(data: EstimationInput, **parts) -> EstimationInput:
    return replace(data, models={"model": replace(data.models["model"], **parts)})


def test_the_table_has_a_row_for_each_subgroup_and_pair():
    data = world(1).draw(100, 1)
    found = of_rectified(data)
    groups, items = len(data.population.subgroups), len(data.items.ids)
    assert dict(found.schema) == {name: column.dtype for name, column in INTERVIEWS.columns.items()}
    assert len(found) == groups * (items + 1)
    assert over_items(found)["subgroup"].to_list() == list(data.population.subgroups)
    assert set(found["estimator"]) == {"rectified"}
    assert set(found["run"]) == {"model"}
    known = found.drop_nulls(["low", "estimated"])
    assert known.filter((pl.col("low") > pl.col("estimated") + 1e-9) | (pl.col("estimated") > pl.col("high") + 1e-9)).is_empty()
    assert known.filter(~pl.col("shown"))["saved"].to_list() == [0.0] * known.filter(~pl.col("shown")).height
    nobody = found.filter(pl.col("n") == 0)
    assert nobody["saved"].null_count() == nobody.height
    assert not nobody["shown"].any()


def test_a_model_that_knows_some_people_saves_what_theory_predicts():
    # Right for 60 % of people, independent of them otherwise: correlation .6, so n .36 / .64 interviews.
    saved, covered = [], 0
    for seed in range(12):
        row = over_items(of_rectified(KNOWS_SOME.draw(200, seed))).row(0, named=True)
        assert row["shown"]
        assert row["n_eff"] == pytest.approx(200)
        assert row["interviews"] == pytest.approx(row["n_eff"] + row["estimated"])
        saved.append(row["saved"])
        covered += row["low"] <= 200 * 0.36 / 0.64 <= row["high"]
    assert np.mean(saved) == pytest.approx(200 * 0.36 / 0.64, rel=0.08)
    assert covered >= 9


def test_a_useless_model_is_not_shown_to_save_interviews():
    shown, pairs = 0, 0
    for seed in range(15):
        found = of_rectified(USELESS.draw(60, seed))
        shown += bool(over_items(found)["shown"].any())
        pairs += bool(found["shown"].any())
    assert shown <= 1
    assert pairs <= 2


def test_a_perfect_model_is_worth_its_simulated_people():
    data = world(3, skill=1.0).draw(100, 3)
    exact = over_items(of_rectified(data)).row(0, named=True)
    assert exact["shown"]
    assert exact["saved"] == pytest.approx(100 * (MOST - 1))
    many = replace(data, sample=replace(data.sample, fraction=0.0))
    simulated = np.full(data.models["model"].simulated.shape, 500.0)
    row = over_items(of_rectified(with_model(many, simulated=simulated))).row(0, named=True)
    assert row["shown"]
    assert row["saved"] == pytest.approx(400, rel=0.05)


def test_a_model_without_values_saves_nothing():
    data = world(4).draw(50, 4)
    model = data.models["model"]
    row = over_items(of_rectified(with_model(data, people=np.full_like(model.people, np.nan)))).row(0, named=True)
    assert row["saved"] == 0.0
    assert row["estimated"] == pytest.approx(0.0)
    assert not row["shown"]


@pytest.mark.parametrize(("people", "items"), [(1, 3), (2, 1), (12, 1), (3, 2)])
def test_tiny_samples_give_no_error_and_no_certainty(people, items):
    one = world(8, items=items, skill=0.0)
    for seed in range(8):
        found = of_rectified(one.draw(people, seed))
        assert found.drop_nulls("saved").height > 0
        assert not over_items(found)["shown"].any()


def test_clustered_and_weighted_samples():
    data = world(5, skill=0.9).draw(120, 5)
    rng = np.random.default_rng(1)
    unit = np.repeat(np.arange(30), 4)
    sample = replace(data.sample, unit=unit, stratum=np.repeat([0, 1], 15), weight=rng.gamma(4.0, 1.0, 120))
    found = over_items(of_rectified(replace(data, sample=sample))).row(0, named=True)
    assert found["n_eff"] < 118
    assert found["shown"]


def shrunken(data: EstimationInput, human: Estimates, prediction: np.ndarray, error: np.ndarray, spread: np.ndarray) -> Estimates:
    """Return the best combination of human estimates with predictions of known mean squared error (G, I), as a part of `spread`."""
    n = data.members.sum(axis=0)[:, None]
    variance = (1 - data.sample.fraction) / np.maximum(n, 1e-9)
    weight = np.where(n > 0, error / (error + variance), 0.0)
    y = np.where(n[..., None] > 0, np.nan_to_num(human.shares), prediction)
    shares = weight[..., None] * y + (1 - weight[..., None]) * prediction
    mse = np.where(data.items.used, 1.0, np.nan) * (np.where(n > 0, weight * variance, error) * spread / data.items.options)[..., None]
    return replace(human, estimator=SMALL_AREA, run="model", shares=shares, mse=mse)


def test_gains_of_other_estimates_are_unbiased():
    one = world(6, spread=0.4)
    used = one.items.used
    truth = np.where(used, np.nan_to_num(one.truth), 0.0)
    spread = (truth * (1 - truth)).sum(axis=2)
    everybody = np.broadcast_to(truth[0], truth.shape)
    noisy = 0.6 * truth + 0.4 * everybody
    inside = one.population.sizes > 0.05
    error = [((part - truth) ** 2).sum(axis=2) / np.where(spread > 0, spread, 1) for part in (everybody, noisy)]
    real, estimated = [], []
    for seed in range(24):
        data = one.draw(150, seed, model=False)
        human = human_only(data)
        without, model = (shrunken(data, human, part, bad, spread) for part, bad in zip((everybody, noisy), error, strict=True))
        gains = list(gains_of_estimates(data, human, model, without))
        estimated.append(sum(g.gain.sum() for g, kept in zip(gains, inside, strict=True) if kept))
        real.append((((without.shares - truth) ** 2).sum(axis=2) - ((model.shares - truth) ** 2).sum(axis=2))[inside].sum())
    difference = np.subtract(estimated, real)
    assert np.mean(real) > 0
    assert abs(difference.mean()) < 3 * difference.std() / np.sqrt(24)
    assert abs(difference.mean()) < 0.35 * np.mean(real)


def test_small_area_estimates_without_a_difference_save_nothing():
    data = world(7).draw(80, 7)
    human = human_only(data)
    everybody = np.broadcast_to(human.shares[:1], human.shares.shape)
    one = shrunken(data, human, everybody, np.full(human.shares.shape[:2], 0.02), np.ones(human.shares.shape[:2]))
    found = interviews(data, human, one, one)
    assert found.drop_nulls("saved")["saved"].sum() == 0.0
    assert not found["shown"].any()
    assert over_items(found)["interviews"][1] > over_items(found)["n_eff"][1]


def test_a_model_that_predicts_subgroups_is_shown_and_noise_is_not():
    one = world(9, spread=0.6)
    truth = np.where(one.items.used, np.nan_to_num(one.truth), 0.0)
    spread = np.maximum((truth * (1 - truth)).sum(axis=2), 1e-9)
    everybody = np.broadcast_to(truth[0], truth.shape)
    data = one.draw(200, 9, model=False)
    human = human_only(data)
    noise = np.clip(everybody + np.where(one.items.used, np.random.default_rng(9).normal(0, 0.03, truth.shape), 0.0), 0.001, 1)
    error = ((everybody - truth) ** 2).sum(axis=2) / spread
    without = shrunken(data, human, everybody, error, spread)
    good = interviews(data, human, shrunken(data, human, 0.8 * truth + 0.2 * everybody, error / 25, spread), without)
    useless = interviews(data, human, shrunken(data, human, noise / noise.sum(axis=2, keepdims=True), error, spread), without)
    assert over_items(good)["shown"][1:9].all()
    assert over_items(good)["saved"][1:9].min() > 0
    assert not useless["shown"].any()
    assert useless.drop_nulls("saved")["saved"].sum() == 0.0


def test_held_out_gains_of_a_useless_model_are_not_above_zero():
    total = []
    for seed in range(20):
        data = USELESS.draw(60, seed)
        gains = list(gains_of_rectified(data, "model", human_only(data)))
        total.append(gains[0].gain.sum() / gains[0].error.sum())
    assert np.mean(total) < 0.0


def test_two_way_variance_by_hand():
    rest = np.array([[1.0, 2.0], [-3.0, 0.0]])
    # Units: sums 3 and -3; items: sums -2 and 2; both: 1 + 4 + 9.
    assert two_way(rest, np.array([0, 1])) == pytest.approx((2 * 18 + 2 * 8 - 14, 1.0))
    # One block contains both items, so items are resampled; one item leaves units.
    assert two_way(rest, np.array([0, 0])) == two_way(rest, np.array([0, 1]))
    assert two_way(rest[:, :1], np.array([0])) == pytest.approx((2 * 10, 1.0))
    variance, freedom = two_way(rest[:1], np.array([0, 1]))
    assert np.isnan(variance)
    assert freedom == 0
