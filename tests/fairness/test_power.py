"""Power against plain loops, simulated grids and Holm's procedure one test at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import MODE_DRAWS
from valuestrata.errors import InputDataError, UsageError
from valuestrata.fairness.power.expected_model import BlockEffects, Expectation, covariances, expectation_of, freedom
from valuestrata.fairness.power.power import (
    holm_rejects,
    level_contrasts,
    power,
    rest_contrasts,
)
from valuestrata.scores.layout import lay_out
from valuestrata.stats.multiple_testing import holm
from valuestrata.survey.simulation.population import SimulationSettings, draw_survey, plant


@pytest.fixture(scope="module")
def dataset():
    population = plant(SimulationSettings(respondents=1000, items=40, levels=(2, 3, 2), nominal=0.2, seed=3))
    return build(draw_survey(population, 1), BuildSettings(draws=150))


def frozen(shape, mean, draws=0):
    """The plan's model where labels are certain: every pair right by the same chance."""
    labels = np.zeros((max(draws, 1), *shape), dtype=np.float32)
    variance = mean * (1 - mean)
    cumulants = np.stack([np.full(shape, variance), np.full(shape, variance * (1 - 6 * variance))])
    return Expectation(np.full(shape, mean), np.full(shape, variance), labels, cumulants)


def test_two_cells_with_certain_labels_have_the_binomial_variance():
    present = np.ones((2, 50), dtype=bool)
    pairs, weights = level_contrasts(present, ["f", "m"])
    found = covariances(weights, frozen(present.shape, 0.6))
    assert pairs == [("f", "m")]
    assert found.with_items(1.0)[0, 0] == pytest.approx(0.6 * 0.4 * (1 / 50 + 1 / 50))
    assert found.with_items(0.5)[0, 0] == pytest.approx(0.6 * 0.4 * (1 / 25 + 1 / 25))


def test_covariances_are_those_of_grids_drawn_from_the_plan():
    """Items, answers and labels drawn one after the other; labels of an item and of all items move together."""
    rng = np.random.default_rng(0)
    present = rng.random((4, 12)) > 0.2
    _, weights = level_contrasts(present, ["a", "a", "b", "c"])
    mean = np.where(present, 0.4 + 0.3 * rng.random(present.shape), np.nan)
    labels = 0.06 * rng.normal(size=(300, 4, 1)) + 0.08 * rng.normal(size=(300, 4, 12))
    labels = np.where(present, labels - labels.mean(axis=0), 0.0)
    answers = np.where(present, 0.2, 0.0)
    found = covariances(weights, Expectation(mean, answers, labels.astype(np.float32), np.zeros((2, 4, 12))))
    expected = np.zeros((len(weights), len(weights)))
    for k, one in enumerate(weights):
        for m, other in enumerate(weights):
            parts = [[(w * np.nan_to_num(mean))[:, i].sum() for i in range(12)] for w in (one, other)]
            used = [[bool((w[:, i] != 0).any()) for i in range(12)] for w in (one, other)]
            for i in range(12):
                both = [p[i] - sum(p) / sum(u) if u[i] else 0.0 for p, u in zip(parts, used, strict=True)]
                size = [sum(u) for u in used]
                expected[k, m] += both[0] * both[1] * np.sqrt(size[0] / (size[0] - 1) * size[1] / (size[1] - 1))
            expected[k, m] += (one * other * answers).sum()
            drawn = [[(w * draw).sum() for draw in labels] for w in (one, other)]
            expected[k, m] += np.cov(drawn[0], drawn[1])[0, 1]
    np.testing.assert_allclose(found.with_items(1.0), expected, rtol=1e-5, atol=1e-9)


def test_labels_that_move_all_items_alike_do_not_fall_with_more_items():
    rng = np.random.default_rng(1)
    present = np.ones((2, 30), dtype=bool)
    _, weights = level_contrasts(present, ["f", "m"])
    common = np.broadcast_to(0.1 * rng.normal(size=(400, 2, 1)), (400, 2, 30)).astype(np.float32)
    alone = (0.1 * rng.normal(size=(400, 2, 30))).astype(np.float32)
    for labels, shared in ((common, True), (alone, False)):
        found = covariances(
            weights, Expectation(np.full((2, 30), 0.6), np.zeros((2, 30)), labels - labels.mean(axis=0), np.zeros((2, 2, 30)))
        )
        ratio = found.with_items(0.1)[0, 0] / found.with_items(1.0)[0, 0]
        assert (ratio < 2) if shared else (ratio > 5)


def test_estimated_variances_are_as_uncertain_as_those_of_drawn_answers():
    """The spread of variances estimated from 60 items, of means of one, four and ten answers."""
    rng = np.random.default_rng(2)
    for cells, mean in ((1, 0.6), (4, 0.6), (10, 0.9)):
        weights = np.full((1, cells, 60), 1 / cells / 60)
        (degrees,) = freedom(weights, frozen((cells, 60), mean), 1.0)
        variances = (rng.random((20_000, cells, 60)) < mean).mean(axis=1).var(axis=1, ddof=1)
        assert 2 / degrees == pytest.approx(variances.var() / variances.mean() ** 2, rel=0.12)


def test_rest_contrasts_take_the_mean_of_the_other_cells_of_the_stratum():
    present = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
    weights = rest_contrasts(present, ["s", "s", "s", "t"])
    np.testing.assert_allclose(weights[0, 0], [1 / 2, 1 / 2, 0])
    np.testing.assert_allclose(weights[0, 1], [-1 / 4, -1 / 2, 0])
    np.testing.assert_allclose(weights[0, 2], [-1 / 4, 0, 0])
    assert not weights[3].any()
    np.testing.assert_allclose(weights.sum(axis=(1, 2)), 0, atol=1e-12)


@given(z=st.lists(st.floats(-5, 5), min_size=1, max_size=12), alpha=st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=200, deadline=None)
def test_rejections_are_those_of_holm(z, alpha):
    adjusted = [value or 0.0 for value in holm([float(2 * stats.norm.sf(abs(one))) for one in z])]
    if any(abs(value - alpha) < 1e-9 for value in adjusted):
        return
    found = holm_rejects(np.array([z, [0.0] * len(z)]), alpha)
    assert found[0].tolist() == [value <= alpha for value in adjusted]
    assert not found[1].any()


@pytest.mark.parametrize(("metric", "expected"), [("accuracy", 0.55), ("nmae", 0.25)])
def test_the_plan_scores_what_is_expected_pair_by_pair(dataset, metric, expected):
    layout = lay_out(dataset, "paper", "test", None, ("all",))
    present = layout.present & (metric == "accuracy" or layout.ordered)
    found = expectation_of(layout, present, metric, expected)
    assert np.nanmean(found.mean) == pytest.approx(expected)
    # By plain loops: the chance q follows from two means, then each pair from its own redrawn labels.
    shape = present.shape

    def score(answer, label, k):
        return float(answer == label) if metric == "accuracy" else abs(answer - label) / (k - 1)

    def over(pair, power=1):
        """Mean over redrawn labels of the score of the label, and of the mean score of the other options."""
        k, mode = int(layout.options[pair % shape[1]]), int(layout.mode[pair])
        right = [score(mode, int(d), k) ** power for d in layout.draws[:, pair]]
        wrong = [np.mean([score(a, int(d), k) ** power for a in range(k) if a != mode]) for d in layout.draws[:, pair]]
        return np.array(right), np.array(wrong)

    cells = [int(pair) for pair in np.flatnonzero(present.ravel())]
    both = np.array([[part.mean() for part in over(pair)] for pair in cells]).mean(axis=0)
    q = (expected - both[1]) / (both[0] - both[1])
    for pair in cells[::37]:
        right, wrong = over(pair)
        mean = q * right + (1 - q) * wrong
        squared = q * over(pair, 2)[0] + (1 - q) * over(pair, 2)[1]
        assert found.mean.ravel()[pair] == pytest.approx(mean.mean())
        assert found.answers.ravel()[pair] == pytest.approx((squared - mean**2).mean())
        np.testing.assert_allclose(found.labels.reshape(len(layout.draws), -1)[:, pair], mean - mean.mean(), atol=1e-6)
        m1, m2, m3, m4 = (float((q * over(pair, k)[0] + (1 - q) * over(pair, k)[1]).mean()) for k in (1, 2, 3, 4))
        fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4 - 3 * (m2 - m1**2) ** 2
        np.testing.assert_allclose(found.cumulants.reshape(2, -1)[:, pair], [m2 - m1**2, fourth], atol=1e-12)


def test_the_table_names_every_gap_and_what_is_needed_to_see_it(dataset):
    found = power(dataset, effect=0.1)
    levels = found.filter(pl.col("by") == "level")
    assert set(levels["attribute"]) == {"age_group", "religion"}
    assert len(levels) == 3 * 2 + 2
    assert (levels["family"] == 4).all()
    assert len(found.filter(pl.col("by") == "subgroup")) == 6
    assert (found["power_alone"] >= found["power"] - 0.02).all()
    np.testing.assert_allclose(found["expected_alike"], found["se"] * np.sqrt(2 / np.pi))
    # Holm's first step: the gap that one test at alpha / 4 over 40 items finds with chance .8.
    first = stats.t.isf(0.05 / 2 / 4, 39) + stats.norm.ppf(0.8)
    np.testing.assert_allclose(levels["detectable"], first * levels["se"])


def test_the_detectable_gap_is_found_as_often_as_it_says(dataset):
    found = power(dataset, effect=0.1)
    for row in (found.row(0, named=True), found.filter(pl.col("by") == "subgroup").row(0, named=True)):
        again = power(dataset, effect=row["detectable"]).filter(level=row["level"], against=row["against"])
        chance = float(again["power"][0])
        # Holm's later steps can only add; a subgroup has no later steps.
        assert chance >= 0.78
        if row["by"] == "subgroup":
            assert chance == pytest.approx(0.8, abs=0.04)


def test_power_falls_with_fewer_items_and_grows_with_the_gap(dataset):
    few, all_, large = power(dataset, items=10), power(dataset), power(dataset, effect=0.2)
    assert (few["se"] > all_["se"]).all()
    assert (few["detectable"] > all_["detectable"]).all()
    assert (large["power_alone"] > all_["power_alone"]).all()
    assert few["items"].to_list() == [10] * len(few)
    ratio = (few["se"] / all_["se"]).to_numpy()
    # Answers and items fall with the number asked, what respondents share does not.
    assert (ratio < 2.05).all()
    assert (ratio > 1.7).all()


def test_without_redraws_it_says_that_labels_are_not_counted(dataset):
    bare = replace(dataset, mode_draws=MODE_DRAWS.empty())
    found = power(bare, effect=0.1)
    assert found["note"].str.ends_with("no redraws: label noise is not included").all()
    assert (found["se"] < power(dataset, effect=0.1)["se"] * 1.05).all()


def test_a_subgroup_alone_in_its_stratum_has_nothing_to_be_compared_with(dataset):
    one = dataset.splits.filter((pl.col("scheme") == "paper") & (pl.col("part") == "test"))
    lone = one.filter(pl.col("subgroup") == one["subgroup"][0])
    found = power(replace(dataset, splits=lone))
    assert found["by"].to_list() == ["subgroup"]
    assert found["power"].to_list() == [None]
    assert "no other subgroup" in found["note"][0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"metric": "w1"}, "available for accuracy and nmae"),
        ({"effect": 0.0}, "a gap between 0 and 1"),
        ({"effect": 5}, "a gap between 0 and 1"),
        ({"alpha": 1.0}, "a level between 0 and 1"),
        ({"items": 1}, "expected 2 to 40"),
        ({"items": 41}, "expected 2 to 40"),
        ({"expected": 0.999}, "is between"),
    ],
)
def test_wrong_calls_say_what_is_expected(dataset, call, words):
    with pytest.raises(UsageError, match=words):
        power(dataset, **call)


def test_nominal_items_have_no_nmae(dataset):
    nominal = replace(dataset, items=dataset.items.with_columns(pl.lit("nominal").alias("level")))
    assert len(power(nominal)) == 14
    with pytest.raises(InputDataError, match="all items of the part 'test' are nominal"):
        power(nominal, metric="nmae")


def test_effects_of_blocks_add_their_squared_block_weights():
    """Two cells, 12 items in blocks of 6, 4 and 2, certain labels: by hand."""
    present = np.ones((2, 12), dtype=bool)
    _, weights = level_contrasts(present, ["f", "m"])
    effects = BlockEffects(np.repeat([0, 1, 2], [6, 4, 2]), 0.1)
    found = covariances(weights, frozen(present.shape, 0.6), effects)
    plain = 0.6 * 0.4 * 2 / 12
    # Two cells, sum over blocks of (n_b / 12)^2 without the pairs' own part, which their binomial variance contains.
    blocks = 2 * 0.1**2 * ((36 + 16 + 4) - 12) / 144
    assert found.with_items(1.0)[0, 0] == pytest.approx(plain + blocks)
    assert found.with_items(0.5)[0, 0] == pytest.approx(2 * plain + blocks)
    assert effects.units(weights, 1.0) == pytest.approx([144 / 56])
    # Half of the items: 6 in blocks of 3, 2 and 1 on average, plus the chance of any other split.
    assert effects.units(weights, 0.5) == pytest.approx([144 / (24 + 56 - 12)])


def test_variances_estimated_from_blocks_are_as_uncertain_as_those_of_drawn_scores():
    rng = np.random.default_rng(4)
    sizes = np.repeat([8, 4, 2], [3, 6, 6])
    blocks = np.repeat(np.arange(15), sizes)
    weights = np.full((1, 4, len(blocks)), 1 / 4 / len(blocks))
    (degrees,) = freedom(weights, frozen((4, len(blocks)), 0.6), 1.0, BlockEffects(blocks, 0.1))
    chance = 0.6 + 0.1 * rng.standard_normal((20_000, 4, 15))[:, :, blocks]
    sums = np.add.reduceat((rng.random(chance.shape) < chance).mean(axis=1) - 0.6, np.cumsum(sizes) - sizes, axis=1)
    variances = ((sums - sizes * sums.sum(axis=1, keepdims=True) / len(blocks)) ** 2).sum(axis=1)
    assert 2 / degrees == pytest.approx(variances.var() / variances.mean() ** 2, rel=0.25)


def test_a_plan_says_what_it_assumes_of_blocks(dataset):
    plain = power(dataset, effect=0.1)
    assert (plain["note"] == "the survey names no blocks of items: items are taken as independent").all()
    named = replace(dataset, items=dataset.items.with_columns(block=pl.Series([f"b{i // 5}" for i in range(40)])))
    alike, apart, further = (power(named, effect=0.1, block_sd=sd) for sd in (0.0, 0.05, 0.15))
    assert alike["note"][0].startswith("40 items in 8 blocks, as good as 8 of equal size")
    assert "standard deviation .050" in apart["note"][0]
    assert (apart["se"] > alike["se"]).all()
    assert (further["power"] < alike["power"]).all()
    assert (alike.filter(by="level")["power"] < plain.filter(by="level")["power"]).all()
    few = replace(dataset, items=dataset.items.with_columns(block=pl.Series(["b", *["a"] * 39])))
    assert "too few to resample" in power(few, effect=0.1)["note"][0]
    np.testing.assert_allclose(power(few, effect=0.1)["se"], plain["se"])
    with pytest.raises(UsageError, match="block_sd"):
        power(dataset, block_sd=0.5)
