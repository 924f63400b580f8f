from dataclasses import replace

import numpy as np
import pytest

from tests.estimation.simulated import one_hot, world
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.estimators.model_only import model_only
from valuestrata.estimation.estimators.rectified import rectified, variance_ratio
from valuestrata.estimation.inputs import EstimationInput, HumanSample, ItemOptions, ModelValues, PopulationCells


def small(answers, simulated, population, *, weight=None, fraction=0.0, people=np.inf, unit=None, cell=None):
    """Return the input for one item with three options and the subgroups `all`, `a` and `b`."""
    answers = np.array(answers, dtype=np.int8)[:, None]
    n = len(answers)
    items = ItemOptions(("Q1",), np.array([3]), np.array([[1.0, 2.0, 4.0]]), np.array([True]), np.array(["Q1"]))
    inside = np.array([[True, True], [True, False], [False, True]])
    cells = PopulationCells(("x",), np.array([[0], [1]]), np.array([0.5, 0.5]), ("all", "a", "b"), ("all", "x", "x"), inside, (("a", "b"),))
    unit = np.arange(n) if unit is None else np.array(unit)
    sample = HumanSample(
        answers,
        np.zeros(n, dtype=np.intp) if cell is None else np.array(cell),
        np.ones(n) if weight is None else np.array(weight, dtype=float),
        unit,
        np.zeros(unit.max() + 1, dtype=np.intp),
        fraction,
    )
    values = one_hot(np.array(simulated, dtype=np.int8)[:, None], items)
    mean = np.broadcast_to(np.array(population, dtype=float), (3, 1, 3)).copy()
    model = ModelValues("m", mean, values, mean, np.full((3, 1), people), respondent_level=True)
    return EstimationInput(items, cells, sample, {"m": model})


def test_a_worked_example_with_weight_one():
    # Sample shares: people (1/2, 1/4, 1/4), model (3/4, 0, 1/4). Population of the model (.7, .1, .2).
    data = small([0, 0, 1, 2], [0, 0, 0, 2], [0.7, 0.1, 0.2])
    human = human_only(data)
    found = rectified(data, "m", human, weight=1.0)
    np.testing.assert_allclose(found.shares[0, 0], [0.45, 0.35, 0.2])
    assert found.mean[0, 0] == pytest.approx(0.45 + 2 * 0.35 + 4 * 0.2)
    assert found.weight[0, 0] == 1
    assert (found.estimator, found.run) == ("rectified", "m")


def test_weight_zero_gives_the_human_estimates():
    data = small([0, 0, 1, 2], [0, 0, 0, 2], [0.7, 0.1, 0.2])
    human = human_only(data)
    found = rectified(data, "m", human, weight=0.0)
    for name in ("shares", "low", "high", "mse", "mean", "mean_low", "mean_high", "mean_mse"):
        np.testing.assert_array_equal(getattr(found, name), getattr(human, name), err_msg=name)


def test_model_only_gives_the_models_shares_without_intervals():
    data = small([0, 0, 1, 2], [0, 0, 0, 2], [0.7, 0.1, 0.2])
    found = model_only(data, "m")
    np.testing.assert_allclose(found.shares[:, 0], [[0.7, 0.1, 0.2]] * 3)
    np.testing.assert_allclose(found.mean, 0.7 + 0.2 + 0.8)
    assert np.isnan(found.low).all()
    assert np.isnan(found.mean_high).all()
    assert found.synthetic.all()
    assert (found.estimator, found.run) == ("model", "m")


def test_intervals_are_never_longer_and_shares_sum_to_one():
    place = world(3, items=6)
    for n in (3, 20, 200):
        data = place.draw(n, seed=n)
        human = human_only(data)
        found = rectified(data, "model", human)
        known = ~human.synthetic
        used = np.broadcast_to(place.items.used, found.low.shape) & known[..., None]
        assert (found.high - found.low)[used].max() <= 1
        assert (found.high - found.low <= human.high - human.low + 1e-12)[used].all()
        assert ((found.low <= found.shares) & (found.shares <= found.high))[used].all()
        np.testing.assert_allclose(found.shares.sum(axis=2)[known], 1)
        assert found.shares[known].min() >= 0
        # The interval of a mean may only be cut by the range of the codes.
        inside = known & (human.mean_low > 1) & (human.mean_high < place.items.codes.max())
        assert (found.mean_high - found.mean_low <= human.mean_high - human.mean_low + 1e-12)[inside].all()


def test_an_empty_subgroup_stays_unknown():
    data = small([0, 0, 1, 2], [0, 0, 0, 2], [0.7, 0.1, 0.2])
    found = rectified(data, "m", human_only(data))
    assert found.synthetic[2, 0]
    assert np.isnan(found.shares[2]).all()
    assert np.isnan(found.weight[2, 0])
    assert np.isnan(variance_ratio(data, "m").ratio[2, 0])


def test_a_missing_population_mean_leaves_the_human_estimate():
    data = small([0, 0, 1, 2], [0, 0, 1, 2], [np.nan] * 3)
    human = human_only(data)
    found = rectified(data, "m", human)
    np.testing.assert_array_equal(found.shares, human.shares)
    np.testing.assert_array_equal(found.low, human.low)
    assert found.weight[0, 0] == 0


def test_model_runs_are_named():
    data = small([0, 1], [0, 1], [0.5, 0.5, 0])
    with pytest.raises(KeyError):
        rectified(replace(data, models={}), "m", human_only(data))
