"""Scores by person against loops, numpy and planted effects."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.stats.persons.item_scores import Moments, redrawn_weights, weighted_means
from valuestrata.stats.persons.lookup import attribute_sets, predict_from_others


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.booleans())
def test_moments_are_numpy_s(seed, weighted):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 5, (30, 4)).astype(float), rng.integers(0, 5, (30, 4)).astype(float)
    known = rng.random((30, 4)) < 0.8
    weights = rng.integers(1, 4, (2, 30)).astype(float) if weighted else np.ones((2, 30))
    found = Moments.of(x + 100, y, known, weights)
    for row in range(2):
        for item in range(4):
            these = known[:, item]
            covariance = np.cov(x[these, item], y[these, item], aweights=weights[row, these], ddof=0)
            assert found.var_x[row, item] == pytest.approx(covariance[0, 0], abs=1e-9)
            if covariance[0, 0] > 1e-9 and covariance[1, 1] > 1e-9:
                expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
                assert found.correlation[row, item] == pytest.approx(expected, abs=1e-7)
                assert found.spread[row, item] == pytest.approx(np.sqrt(covariance[1, 1] / covariance[0, 0]))


def test_constant_answers_have_no_correlation_and_no_spread():
    known = np.ones((5, 2), dtype=bool)
    x, y = np.zeros((5, 2)), np.arange(10.0).reshape(5, 2)
    found = Moments.of(x, y, known, np.ones((1, 5)))
    assert np.isnan(found.correlation).all()
    assert np.isnan(found.spread).all()
    other = Moments.of(y, x, known, np.ones((1, 5)))
    assert np.isnan(other.correlation).all()
    assert other.spread.tolist() == [[0.0, 0.0]]


def test_means_leave_unknown_values_out():
    values = np.array([[1.0, 0.0], [0.0, np.nan], [1.0, np.nan]])
    known = ~np.isnan(values)
    found = weighted_means(values, known, np.array([[1.0, 1.0, 1.0], [0.0, 3.0, 1.0]]))
    assert found[0].tolist() == pytest.approx([2 / 3, 0.0])
    assert found[1, 0] == pytest.approx(0.25)
    assert np.isnan(found[1, 1])


def test_redraws_keep_the_number_of_persons():
    drawn = redrawn_weights(np.array([2.0, 1.0, 1.0]), 50, np.random.default_rng(0))
    assert drawn[0].tolist() == [2.0, 1.0, 1.0]
    assert (drawn[1:] / [2.0, 1.0, 1.0]).sum(axis=1).tolist() == [3.0] * 50


def accuracy(predicted, answers):
    return float((predicted == answers).mean())


def test_an_answer_never_predicts_itself():
    """Ten persons, each alone in a cell, with answers of their own: memory would be right, the others cannot be."""
    answers = np.arange(10, dtype=np.int8)[:, None]
    levels = np.arange(10, dtype=np.int16)[:, None]
    found = predict_from_others(answers, [10], levels, np.ones(10), np.random.default_rng(0))
    assert accuracy(found.lookup, answers) == accuracy(found.mode, answers) == 0.0


def test_changing_an_answer_does_not_change_its_own_prediction():
    rng = np.random.default_rng(1)
    answers = rng.integers(0, 3, (60, 5)).astype(np.int8)
    levels = rng.integers(0, 3, (60, 2)).astype(np.int16)
    first = predict_from_others(answers, [3] * 5, levels, np.ones(60), np.random.default_rng(2))
    for person in (0, 17, 59):
        other = answers.copy()
        other[person] = (other[person] + 1) % 3
        again = predict_from_others(other, [3] * 5, levels, np.ones(60), np.random.default_rng(2))
        assert (again.lookup[person] == first.lookup[person]).all()
        assert (again.mode[person] == first.mode[person]).all()


def test_a_lookup_finds_the_attributes_that_matter_and_noise_costs_little():
    rng = np.random.default_rng(3)
    levels = rng.integers(0, 3, (900, 4)).astype(np.int16)
    noise = rng.integers(0, 3, (900, 20))
    # Items 0 to 9 follow the second attribute with probability .7, items 10 to 19 have a mode of probability .5 and no pattern.
    planted = np.where(rng.random((900, 10)) < 0.55, levels[:, [1]], noise[:, :10])
    plain = np.where(rng.random((900, 10)) < 0.25, 0, noise[:, 10:])
    answers = np.hstack([planted, plain]).astype(np.int8)
    found = predict_from_others(answers, [3] * 20, levels, np.ones(900), np.random.default_rng(4))
    assert accuracy(found.lookup[:, :10], answers[:, :10]) == pytest.approx(0.7, abs=0.02)
    assert accuracy(found.mode[:, :10], answers[:, :10]) < 0.45
    assert accuracy(found.lookup[:, 10:], answers[:, 10:]) == pytest.approx(0.5, abs=0.03)
    assert accuracy(found.mode[:, 10:], answers[:, 10:]) - accuracy(found.lookup[:, 10:], answers[:, 10:]) < 0.01


def test_weights_decide_the_mode():
    answers = np.array([[0]] * 12 + [[1]] * 8, dtype=np.int8)
    levels = np.zeros((20, 1), dtype=np.int16)
    weight = np.where(answers[:, 0] == 1, 10.0, 1.0)
    assert (predict_from_others(answers, [2], levels, np.ones(20), np.random.default_rng(0)).mode == 0).all()
    assert (predict_from_others(answers, [2], levels, weight, np.random.default_rng(0)).mode == 1).all()


@pytest.mark.parametrize(("persons", "items"), [(0, 2), (1, 2), (2, 1), (3, 0)])
def test_tiny_data(persons, items):
    answers = np.zeros((persons, items), dtype=np.int8)
    found = predict_from_others(answers, [2] * items, np.zeros((persons, 1), np.int16), np.ones(persons), np.random.default_rng(0))
    assert found.mode.shape == found.lookup.shape == (persons, items)
    assert (found.mode == (0 if persons > 1 else -1)).all()


def test_an_item_that_nobody_else_answered_has_no_prediction():
    answers = np.full((10, 1), -4, dtype=np.int8)
    answers[3] = 1
    found = predict_from_others(answers, [2], np.zeros((10, 1), np.int16), np.ones(10), np.random.default_rng(0))
    assert found.mode[3, 0] == found.lookup[3, 0] == -1


def test_many_attributes_are_crossed_at_most_three_at_a_time():
    assert len(list(attribute_sets(4))) == 15
    assert max(map(len, attribute_sets(7))) == 3
    assert list(attribute_sets(0)) == []
