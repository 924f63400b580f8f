import numpy as np
import pytest

from tests.estimation.simulated import world
from valuestrata.errors import UsageError
from valuestrata.estimation.trend import trend


def slopes(place, attribute="age"):
    """Return the slope of each item's codes over the levels of an attribute in the population."""
    x = place.population.levels[place.cell, place.population.attributes.index(attribute)].astype(float)
    return np.array([np.polyfit(x, place.items.codes[i, column], 1)[0] for i, column in enumerate(place.answers.T)])


def test_a_perfect_model_gives_the_slope_of_the_population():
    place = world(4, items=4, skill=1.0)
    found = trend(place.draw(60, 1), "model", "age")
    np.testing.assert_allclose(found.slope, slopes(place), atol=1e-8)
    np.testing.assert_allclose(found.se, 0, atol=1e-8)
    assert (found.human_se > 0.01).all()


def test_intervals_of_slopes_cover_the_truth_and_a_good_model_makes_them_shorter():
    place = world(5, items=6, skill=0.7)
    truth = slopes(place)
    found = [trend(place.draw(80, seed), "model", "age") for seed in range(40)]
    covered = np.mean([(one.low <= truth) & (truth <= one.high) for one in found])
    assert 0.92 < covered < 0.98
    assert np.mean([one.se for one in found]) < 0.8 * np.mean([one.human_se for one in found])
    errors = [np.mean([np.square(getattr(one, name) - truth) for one in found]) for name in ("slope", "human")]
    assert errors[0] < 0.7 * errors[1]


def test_weight_zero_gives_the_slope_of_the_people():
    place = world(4, items=4)
    data = place.draw(60, 1)
    found = trend(data, "model", "age", weight=0.0)
    x = data.population.levels[data.sample.cell, 1].astype(float)
    expected = [np.polyfit(x, place.items.codes[i, column], 1)[0] for i, column in enumerate(data.sample.answers.T)]
    np.testing.assert_allclose(found.slope, expected)
    np.testing.assert_allclose(found.slope, found.human)


def test_an_unknown_attribute_is_named():
    place = world(4, items=4)
    with pytest.raises(UsageError, match="no attribute 'income'"):
        trend(place.draw(20, 1), "model", "income")
