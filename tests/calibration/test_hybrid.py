"""The method hybrid: a useful model helps, a useless one gets weight 0 and leaves the baselines as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.respondents.test_item_text import AGREE, ARMY, GARDEN, make_gold, overall, question_about, softmax
from valuestrata.calibration.methods import METHODS
from valuestrata.calibration.methods.hybrid import fit_hybrid
from valuestrata.calibration.methods.hybrid.cells import covariate, tilted
from valuestrata.calibration.methods.hybrid.departures import fit_factors, model_departures, population_shares
from valuestrata.calibration.methods.hybrid.national import LEAST_SHARE, chosen, logs, unfloored
from valuestrata.calibration.methods.scales import orthogonal_polynomials
from valuestrata.calibration.model_answers import ModelAnswers
from valuestrata.measures import w1
from valuestrata.respondents.baselines.gold import JointCells
from valuestrata.respondents.baselines.item_models.item_text import FLOOR, fit_item_text

ITEMS, TESTED = 32, 10


def world(seed: int, confidence: float = 3.0):
    """Return training gold, true shares of items, and a model that is too confident but knows the items."""
    rng = np.random.default_rng(seed)
    truth = {f"q{i}": softmax(np.linspace(-1, 1, 4) * rng.normal(0, 1) + rng.normal(0, 0.3, 4)) for i in range(ITEMS)}
    tested = [f"q{i}" for i in range(ITEMS - TESTED, ITEMS)]
    gold = make_gold(
        {item: overall(p) for item, p in truth.items() if item not in tested},
        questions={item: question_about(GARDEN + ARMY, rng) for item in truth},
        labels=dict.fromkeys(truth, AGREE),
        unseen=dict.fromkeys(tested, 4),
    )
    model = {item: np.array(softmax(confidence * np.log(np.array(p)) + rng.normal(0, 0.5, 4))) for item, p in truth.items()}
    return gold, truth, model, tested


def answered(model) -> ModelAnswers:
    shares = {(item, "all"): p for item, p in model.items()}
    return ModelAnswers(shares, dict.fromkeys(shares, 500))


def error(predictor, truth, tested) -> float:
    return float(np.mean([w1(predictor.shares(item, "all"), np.array(truth[item])) for item in tested]))


def test_a_useful_model_helps_and_its_weight_is_reported():
    gold, truth, model, tested = world(0)
    found = fit_hybrid(gold, answered(model))
    assert found.settings["weight"] == {"scale": 1.0}
    raw = np.mean([w1(model[item], np.array(truth[item])) for item in tested])
    assert error(found, truth, tested) < 0.6 * min(raw, error(fit_item_text(gold), truth, tested))
    for item in tested:
        assert found.shares(item, "all").sum() == pytest.approx(1.0)
    assert METHODS["hybrid"](gold, answered(model)).settings == found.settings


@pytest.mark.slow
def test_a_shuffled_model_gets_weight_zero_in_most_worlds_and_costs_little():
    weights, costs = [], []
    for seed in range(10, 20):
        gold, truth, model, tested = world(seed)
        keys = list(model)
        order = np.random.default_rng(seed).permutation(len(keys))
        found = fit_hybrid(gold, answered({keys[i]: model[keys[j]] for i, j in enumerate(order)}))
        text = fit_item_text(gold)
        weights.append(found.settings["weight"]["scale"])
        costs.append(error(found, truth, tested) / error(text, truth, tested) - 1.0)
        if weights[-1] == 0:
            assert costs[-1] == 0
    assert np.mean(np.array(weights) == 0) > 0.7
    assert np.mean(costs) < 0.02


@pytest.mark.parametrize("shares", [None, [1.0, 0.0, 0.0, 0.0]])
def test_without_information_in_the_model_predictions_are_those_of_item_text(shares):
    gold, _, model, tested = world(1)
    answers = answered({item: np.array(shares) for item in model} if shares else {})
    found, text = fit_hybrid(gold, answers), fit_item_text(gold)
    for item in tested:
        np.testing.assert_array_equal(found.shares(item, "all"), text.shares(item, "all"))


def test_with_few_items_the_remark_names_the_method_that_is_used():
    gold, _, model, _ = world(2)
    few = gold.of_items([f"q{i}" for i in range(5)])
    found = fit_hybrid(few, answered(model))
    (remark,) = found.settings["remarks"]
    assert remark.startswith("scale: 5 training items with answers of the model; a regression needs 10.")
    assert found.shares("q30", "all").sum() == pytest.approx(1.0)


def with_subgroups(seed: int, factor: float, told: float):
    """Return gold of two levels on 20 items, and a model whose departures are `told` times the true ones plus noise."""
    rng = np.random.default_rng(seed)
    shares, answers = {}, {}
    for i in range(20):
        base, way = rng.normal(0, 0.5, 4), rng.normal(0, 1, 4)
        for name, sign in (("sex_Female", 1), ("sex_Male", -1)):
            shares.setdefault(f"q{i}", {})[name] = softmax(base + factor * sign * way)
            answers[f"q{i}", name] = np.array(softmax(base + sign * told * way + rng.normal(0, 0.1, 4)))
    return shares, ModelAnswers(answers, dict.fromkeys(answers, 100))


def test_the_factor_of_departures_is_recovered_and_zero_for_a_model_without_any():
    shares, answers = with_subgroups(0, 0.2, 0.6)
    cells = JointCells(("sex",), (("Female",), ("Male",)), np.full(2, 50.0), np.full(2, 50.0))
    gold = replace(make_gold(shares), joint=cells)
    departures = model_departures(gold, answers, population_shares(gold, answers))
    found = fit_factors(gold, departures)
    assert found.factor(("sex",)) == pytest.approx(1 / 3, abs=0.1)
    assert found.gain > 0.3
    flat = ModelAnswers({pair: answers.shares[pair[0], "sex_Female"] for pair in answers.shares}, answers.n)
    assert fit_factors(gold, model_departures(gold, flat, population_shares(gold, flat))).of == {}


def test_the_covariate_is_what_the_trained_levels_do_not_show():
    own = {"sex": "F", "age": "old"}
    subgroups = {frozenset([("sex", "F")]): "f", frozenset([("age", "old")]): "o", frozenset(own.items()): "fo"}
    departures = {("q", "f"): np.array([1.0, -1.0]), ("q", "o"): np.array([0.5, -0.5]), ("q", "fo"): np.array([2.0, -2.0])}
    trained = frozenset(own.items())
    assert covariate(departures, "q", "fo", own, subgroups, trained).tolist() == [0.5, -0.5]
    assert covariate(departures, "q", "fo", own, subgroups, frozenset([("sex", "F")])).tolist() == [1.0, -1.0]
    assert covariate(departures, "q", "f", {"sex": "F"}, subgroups, trained).tolist() == [0.0, 0.0]
    assert covariate({("q", "fo"): np.zeros(2)}, "q", "fo", own, subgroups, trained) is None
    np.testing.assert_allclose(tilted(np.array([0.2, 0.8]), np.zeros(2)), [0.2, 0.8])


@pytest.mark.parametrize("options", [2, 3, 5, 10])
def test_polynomials_are_orthogonal_and_log_shares_are_inverted(options):
    basis = orthogonal_polynomials(options, 4)
    np.testing.assert_allclose(basis @ basis.T / options, np.eye(min(options - 1, 4)), atol=1e-9)
    np.testing.assert_allclose(basis.sum(axis=1), 0.0, atol=1e-9)
    shares = np.random.default_rng(0).dirichlet(np.full(options, 5.0))
    assert shares.min() > LEAST_SHARE
    np.testing.assert_allclose(np.exp(unfloored(logs(shares, FLOOR))), shares, atol=1e-9)


def test_a_weight_above_zero_needs_more_than_one_standard_error():
    losses = np.array([[1.0, 0.9], [1.0, 0.8], [1.0, 0.85], [1.0, 0.9]])
    block = np.arange(4)
    assert chosen(losses, np.full(4, 1.0), block) == 1
    assert chosen(losses, np.full(4, 0.8), block) == 0
    assert chosen(np.array([[1.0, 0.0], [1.0, 1.9], [1.0, 0.5], [1.0, 1.4]]), np.full(4, 2.0), block) == 0
    assert chosen(np.ones((4, 2)), np.ones(4), block) == 0
