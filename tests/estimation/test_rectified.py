from dataclasses import replace

import numpy as np
import pytest

from bench.rectified_coverage import by_region, clustered, drawn, one_sided, outcome, shuffled
from tests.estimation.simulated import one_hot, world
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.estimators.model_only import model_only
from valuestrata.estimation.estimators.rectified import rectified
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
    place = world(3, items=3)
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


def test_a_useless_model_costs_nothing():
    found = outcome(shuffled(world(2, items=6)), 100, 6)
    assert found.weight < 0.05
    assert 0.98 < found.length <= 1
    assert found.error < 1.02
    assert 0.93 < found.found < 0.97


@pytest.mark.parametrize("skill", [0.4, 0.7])
def test_a_good_model_reduces_the_variance_by_the_squared_correlation(skill):
    # With the person's own answer in a share `skill` of cases, answers and model correlate by `skill`.
    place = world(2, items=6, skill=skill)
    found = outcome(place, 200, 8)
    assert found.weight == pytest.approx(skill, abs=0.08)
    assert found.error == pytest.approx(1 - skill**2, abs=0.06)
    assert found.length == pytest.approx(np.sqrt(1 - skill**2), abs=0.05)
    assert 0.93 < found.found < 0.97
    human = human_only(place.draw(200, 1))
    ratio = rectified(place.draw(200, 1), "model", human).mse[0, place.items.used] / human.mse[0, place.items.used]
    assert ratio.mean() == pytest.approx(1 - skill**2, abs=0.07)


def test_a_perfect_model_gives_the_truth_with_short_intervals():
    found = outcome(world(2, items=3, skill=1.0), 200, 2)
    assert found.weight == 1
    assert found.error == pytest.approx(0, abs=1e-12)
    assert found.length < 0.2
    assert found.found == 1


def test_few_simulated_people_gain_little():
    place = world(2, items=3, skill=0.8)
    data = replace(place.draw(100, 1), sample=replace(place.draw(100, 1).sample, fraction=0.0))
    human, ratios = human_only(data), []
    for people in (np.inf, 400.0, 100.0):
        model = replace(data.models["model"], simulated=np.full((len(place.population.subgroups), 3), people))
        ratios.append(rectified(replace(data, models={"model": model}), "model", human).mse[0, place.items.used])
    ratios = np.array(ratios) / human.mse[0, place.items.used]
    np.testing.assert_allclose(1 - ratios[1], 0.75 * (1 - ratios[0]), rtol=0.02)
    np.testing.assert_allclose(ratios[2], 1)


def test_a_person_without_a_simulated_answer_stays_in_the_human_mean():
    # Model in the sample: (1/2, 0, 1/2) of the two people with a value.
    data = small([0, 0, 1, 2], [0, -1, -1, 2], [0.7, 0.1, 0.2])
    found = rectified(data, "m", human_only(data), weight=1.0)
    np.testing.assert_allclose(found.shares[0, 0], [0.5 + 0.2, 0.25 + 0.1, 0.25 - 0.3 + 0.05], atol=0.04)
    assert found.shares[0, 0].sum() == pytest.approx(1)


def test_people_who_did_not_answer_are_out_of_both_means():
    answers, simulated = [0, 0, 1, 2, -1, -1], [0, 0, 0, 2, 1, 1]
    some = rectified(one := small(answers, simulated, [0.7, 0.1, 0.2]), "m", human_only(one), weight=0.5)
    rest = rectified(one := small(answers[:4], simulated[:4], [0.7, 0.1, 0.2]), "m", human_only(one), weight=0.5)
    np.testing.assert_allclose(some.shares[0], rest.shares[0])


@pytest.mark.parametrize(("answers", "simulated"), [([1], [0]), ([1, 1], [1, 0]), ([0, 0, 0, 0], [0, 1, 2, 0]), ([2, 2], [2, 2])])
def test_tiny_samples_and_equal_answers(answers, simulated):
    data = small(answers, simulated, [0.6, 0.2, 0.2])
    human = human_only(data)
    found = rectified(data, "m", human)
    assert found.shares[0, 0].sum() == pytest.approx(1)
    assert (found.low[0] <= found.shares[0]).all()
    assert (found.shares[0] <= found.high[0]).all()
    assert (found.high - found.low <= human.high - human.low + 1e-12)[0].all()


def test_shares_outside_0_and_1_are_moved_to_the_nearest_shares():
    data = small([1, 1, 1, 2], [0, 0, 0, 2], [0.2, 0.3, 0.5])
    found = rectified(data, "m", human_only(data), weight=1.0)
    # 0 + .2 - .75 < 0; .75 + .3 - 0 and .25 + .5 - .25 share the excess of .55.
    np.testing.assert_allclose(found.shares[0, 0], [0, 0.775, 0.225])
    assert found.low[0, 0].min() >= 0
    assert found.high[0, 0].max() <= 1


def test_pair_level_values_explain_differences_between_cells_only():
    # People of cell a answer 0, those of b answer 2 or 1; the sample has too many of a.
    cell = [0, 0, 0, 1]
    data = small([0, 0, 0, 2], [0, 0, 0, 2], [0.5, 0.0, 0.5], cell=cell)
    data = replace(data, models={"m": replace(data.models["m"], respondent_level=False)})
    found = rectified(data, "m", human_only(data))
    np.testing.assert_allclose(found.shares[0, 0], [0.5, 0, 0.5])
    assert (found.weight[1:, 0] == 0).all()


def test_a_nominal_item_has_no_mean():
    data = small([0, 0, 1, 2], [0, 0, 0, 2], [0.7, 0.1, 0.2])
    data = replace(data, items=replace(data.items, ordered=np.array([False])))
    assert np.isnan(rectified(data, "m", human_only(data)).mean).all()
    assert np.isnan(model_only(data, "m").mean).all()


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 400])
@pytest.mark.parametrize("draw", [drawn, clustered])
def test_intervals_cover_the_truth(n, draw):
    found = outcome(world(2, people=3000, items=9, skill=0.6), n, 60, draw)
    assert 0.93 < found.found < 0.97
    assert 0.93 < found.means < 0.97
    assert found.length == pytest.approx(0.81, abs=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("change", [by_region, one_sided])
def test_intervals_cover_the_truth_of_uneven_models(change):
    found = outcome(change(world(2, people=3000, items=9)), 200, 60)
    assert 0.93 < found.found < 0.97
    assert found.length < 0.9
