"""The calibration methods on simulated answers with known slope, offsets and factor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.calibrate_20k import FACTOR, SLOPE, world
from valuestrata.calibration.methods import METHODS
from valuestrata.calibration.methods.by_subgroup import NAMES, random_effects
from valuestrata.calibration.methods.pairs import log_shares, population_answers
from valuestrata.calibration.methods.scales import ItemScale, ScaleParameters, needed
from valuestrata.calibration.model_answers import ModelAnswers
from valuestrata.respondents.baselines import TrainingGold
from valuestrata.stats.arrays import softmax

# The methods that regress the gold on the model's answers alone.
REGRESSIONS = ("shares", "shrunken-persona", "by-subgroup")


def slopes_of(predictor):
    return [scale["slope"] for scale in predictor.settings["scales"]]


def test_shares_recovers_a_planted_slope():
    gold, answers = world(60, 12, slope=0.4, factor=0.4)
    assert slopes_of(METHODS["shares"](gold, answers)) == pytest.approx([0.4] * 5, abs=0.05)


def test_shrunken_persona_recovers_slope_and_factor():
    fit = METHODS["shrunken-persona"](*world(60, 12))
    assert slopes_of(fit) == pytest.approx([SLOPE] * 5, abs=0.08)
    assert fit.settings["factor"] == pytest.approx(FACTOR, abs=3 * fit.settings["factor_se"])
    assert fit.settings["factor"] == pytest.approx(FACTOR, abs=0.05)


def test_offsets_are_recovered_where_a_model_prefers_the_last_option():
    gold, answers = world(100, 6, slope=1.0, factor=1.0)
    # The model adds 1 to the logit of the last option, so people have less of it.
    biased = {pair: softmax(np.log(p) + np.eye(len(p))[-1]) for pair, p in answers.shares.items()}
    fit = METHODS["shares"](gold, ModelAnswers(biased, answers.n))
    for scale in fit.settings["scales"]:
        wanted = -np.eye(scale["options"])[-1]
        assert scale["offsets"] == pytest.approx(wanted - wanted.mean(), abs=0.35)


def test_a_persona_that_says_nothing_gets_factor_0():
    factors = [METHODS["shrunken-persona"](*world(30, 12, seed, factor=0.0)).settings["factor"] for seed in range(4)]
    assert factors.count(0.0) >= 2
    assert max(factors) < 0.05
    # A persona that says the opposite gets 0 as well, not a negative factor.
    assert METHODS["shrunken-persona"](*world(30, 12, factor=-0.3)).settings["factor"] == 0


def test_without_departures_the_answer_is_that_of_the_population():
    gold, answers = world(20, 6)
    same = {(item, s): answers.shares[item, "a0_l0"] for item, s in answers.shares}
    fit = METHODS["shrunken-persona"](gold, ModelAnswers(same, answers.n))
    assert fit.settings["factor"] == 0
    np.testing.assert_allclose(fit.shares("q0", "a0_l0"), fit.shares("q0", "a1_l2"))


def test_slope_1_without_offsets_returns_the_model():
    p = np.array([[0.2, 0.5, 0.3], [0.0, 0.9, 0.1]])
    assert softmax(log_shares(p, np.array([7.0, 7.0]), 1e-9)) == pytest.approx(p, abs=1e-8)
    assert softmax(log_shares(p, np.array([8.0, 8.0]), 0.5)) == pytest.approx((8 * p + 0.5) / 9.5)


def test_the_population_answer_is_weighted_by_size_unless_the_model_gave_one():
    gold, answers = world(5, 3)
    pair = [("q0", "a0_l0"), ("q0", "a0_l1")]
    two = ModelAnswers({one: answers.shares[one] for one in pair}, dict.fromkeys(pair, 2))
    joint = replace(gold.joint, levels=(("l0", None, None, None), ("l1", None, None, None)), n=np.ones(2), weight=np.array([30.0, 10.0]))
    found = population_answers(replace(gold, joint=joint), two)
    assert found.shares["q0", "all"] == pytest.approx(0.75 * answers.shares[pair[0]] + 0.25 * answers.shares[pair[1]])
    assert found.n["q0", "all"] == 4
    given_ = ModelAnswers({**two.shares, ("q0", "all"): np.array([0.9, 0.1])}, {**two.n, ("q0", "all"): 1})
    assert population_answers(gold, given_).shares["q0", "all"].tolist() == [0.9, 0.1]


def test_variances_of_subgroups_are_recovered_and_unseen_ones_use_their_levels():
    rng = np.random.default_rng(5)
    levels, size, precision = 30, 4, 400.0
    member = np.zeros((levels**2, levels))
    first, second = np.divmod(np.arange(levels**2), levels)
    member[np.arange(levels**2), first] += 1
    member[np.arange(levels**2), second] += 1
    sd_levels, sd_own = np.array([0.3, 0.0, 0.2, 0.1]), np.array([0.1, 0.2, 0.0, 0.3])
    delta = rng.normal(0, 1, (levels, size)) * sd_levels
    theta = member @ delta + rng.normal(0, 1, (levels**2, size)) * sd_own
    hessian = np.broadcast_to(np.eye(size) * precision, (levels**2, size, size))
    gradient = precision * theta + rng.normal(0, np.sqrt(precision), theta.shape)
    found = random_effects(gradient, hessian, member)
    assert found.sd_own == pytest.approx(sd_own, abs=0.035)
    assert found.sd_levels == pytest.approx(sd_levels, abs=0.08)
    assert np.corrcoef(found.levels[:, 0], delta[:, 0])[0, 1] > 0.95
    assert len(NAMES) == size


def test_terms_that_the_pairs_say_nothing_about_have_no_variance():
    hessian = np.zeros((5, 4, 4))
    found = random_effects(np.zeros((5, 4)), hessian, np.zeros((5, 0)))
    assert found.sd_own.tolist() == found.sd_levels.tolist() == [0.0] * 4


def test_by_subgroup_finds_subgroups_for_which_the_model_is_wrong():
    gold, answers = world(80, 8, slope=1.0, factor=1.0)
    # Men: the model is right. Women: it says the scale is one step in logits too high.
    tilted = {
        (item, s): softmax(np.log(p) + (gold.levels[s].get("a0") == "l1") * np.linspace(-1, 1, len(p)))
        for (item, s), p in answers.shares.items()
    }
    changed = ModelAnswers(tilted, answers.n)
    partly, pooled = (METHODS[method](gold, changed) for method in ("by-subgroup", "shrunken-persona"))
    truth = {pair: counts / counts.sum() for pair, counts in gold.counts.items()}
    errors = {
        name: np.mean([np.abs(fit.shares(*pair) - truth[pair]).sum() for pair in truth if pair[1] == "a0_l1"])
        for name, fit in (("partly", partly), ("pooled", pooled))
    }
    assert errors["partly"] < 0.9 * errors["pooled"]
    # A combination that was not trained has the deviation of its level.
    without = replace(gold, counts={pair: c for pair, c in gold.counts.items() if pair[1] != "a0_l1"})
    assert METHODS["by-subgroup"](without, changed).shares("q0", "a0_l1").sum() == pytest.approx(1.0)


def test_scales_with_too_few_items_use_the_common_terms():
    gold, answers = world(25, 4)
    trained = {pair: c for pair, c in gold.counts.items() if len(gold.codes[pair[0]]) != 10}
    fit = METHODS["shares"](replace(gold, counts=trained), answers)
    scales = {scale["options"]: scale for scale in fit.settings["scales"]}
    assert scales[10]["fallback"] == {"items": 0, "needed": needed(10)}
    assert scales[5]["items"] == 5
    assert "fallback" not in scales[5]
    assert fit.shares("q4", "a0_l0").shape == (10,)
    parameters = ScaleParameters.of({ItemScale(4, "ordinal"): 3, ItemScale(5, "ordinal"): 5}, 1)
    assert list(parameters.of_options) == [5]


@pytest.mark.parametrize("method", REGRESSIONS)
def test_a_useless_model_is_not_followed(method):
    gold, answers = world(100, 6, slope=0.0, factor=0.0)
    fit = METHODS[method](gold, answers)
    spread = [np.std([fit.shares(f"q{i}", "a0_l0") for i in range(k, 100, 5)], axis=0).max() for k in range(5)]
    # The answers of the model vary by about .25 between items.
    assert max(spread) < 0.03


@settings(max_examples=15)
@given(st.data())
@pytest.mark.parametrize("method", [*REGRESSIONS, pytest.param("hybrid", marks=pytest.mark.slow)])
def test_any_answers_give_shares(method, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    items = data.draw(st.integers(1, 5))
    gold, _ = world(items, data.draw(st.integers(1, 4)), seed=1)
    codes = {item: tuple(range(data.draw(st.integers(2, 10)))) for item in gold.codes}
    level = {item: data.draw(st.sampled_from(["ordinal", "nominal"])) for item in codes}
    levels = {"all": {}} if data.draw(st.booleans()) else gold.levels
    pairs = [(item, s) for item in codes for s in levels]
    counts, shares = {}, {}
    for pair in pairs:
        counts[pair] = rng.multinomial(40, rng.dirichlet(np.full(len(codes[pair[0]]), 0.2))).astype(float)
        one_hot = np.eye(len(codes[pair[0]]))[rng.integers(len(codes[pair[0]]))]
        shares[pair] = one_hot if data.draw(st.booleans()) else rng.dirichlet(np.ones(len(one_hot)))
    trained = pairs[: data.draw(st.integers(1, len(pairs)))]
    changed: TrainingGold = replace(
        gold,
        codes=codes,
        labels={item: tuple(map(str, own)) for item, own in codes.items()},
        level=level,
        levels=levels,
        singles={} if levels is not gold.levels else gold.singles,
        counts={pair: counts[pair] for pair in trained},
        n=dict.fromkeys(trained, 40),
        n_eff=dict.fromkeys(trained, 40.0),
    )
    fit = METHODS[method](changed, ModelAnswers(shares, dict.fromkeys(pairs, 1)))
    for pair in pairs:
        found = fit.shares(*pair)
        assert found.sum() == pytest.approx(1.0)
        # The baselines of `hybrid` may give a share of 0 to an option that nobody chose.
        assert (found >= 0).all() if method == "hybrid" else (found > 0).all()
