"""Conformal intervals: hand-worked quantiles, the error model, and coverage in simulated surveys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.prediction.conformal import (
    HeldOutRows,
    fit_conformal,
    hierarchical_quantile,
    units_of_items,
    weighted_quantile,
    weights_within,
)
from valuestrata.prediction.error_model import Predicted, fit_error_model, of_positions, of_shares


def indices(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.intp)


def test_units_items_and_rows_have_equal_weights():
    # Unit 0: item 0 with two rows, item 1 with one. Unit 1: item 2 with one row.
    found = weights_within(indices(0, 0, 0, 1), indices(0, 0, 1, 2))
    np.testing.assert_allclose(found, [0.25, 0.25, 0.5, 1.0])


def test_a_weighted_quantile_is_the_first_value_with_enough_weight():
    values, weight = np.array([3.0, 1.0, 2.0]), np.array([0.5, 0.2, 0.3])
    np.testing.assert_allclose(weighted_quantile(values, weight, np.array([0.1, 0.2, 0.3, 0.5, 0.6, 1.0])), [1, 1, 2, 2, 3, 3])


def test_units_of_one_score_give_the_quantile_of_split_conformal():
    # 19 units: the smallest score with rank >= .9 x 20 is the 18th.
    score = np.random.default_rng(0).permutation(np.arange(1.0, 20.0))
    each = np.arange(19)
    quantile, level = hierarchical_quantile(score, each, each, each, 0.9)
    assert quantile == 18.0
    assert level <= 0.9 * 20 / 19 + 1e-9


def test_too_few_units_have_no_finite_quantile():
    each = np.arange(8)
    assert hierarchical_quantile(each.astype(float), each, each, each, 0.9) == (np.inf, 1.0)


def test_a_single_group_uses_the_limit_of_the_level():
    each = np.arange(20)
    _, level = hierarchical_quantile(each.astype(float), each, each, np.zeros(20, dtype=np.intp), 0.9)
    assert level == pytest.approx(0.9 * 21 / 20)


@given(st.integers(9, 40), st.integers(1, 5), st.integers(0, 1000))
def test_the_level_stays_between_the_confidence_and_its_limit(blocks, items, seed):
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(blocks), items)
    _, level = hierarchical_quantile(rng.random(blocks * items), unit, np.arange(blocks * items), unit % 5, 0.9)
    assert 0.9 <= level <= 0.9 * (blocks + 1) / blocks + 1e-9


def test_blocks_are_units_where_there_are_enough_of_them():
    units, by_block = units_of_items([f"block {number // 2}" for number in range(18)])
    assert by_block
    assert units.tolist() == [number // 2 for number in range(18)]
    units, by_block = units_of_items([f"block {number // 3}" for number in range(18)])
    assert not by_block
    assert units.tolist() == list(range(18))


def test_the_error_model_recovers_its_variance():
    rng = np.random.default_rng(1)
    rows = 20_000
    n = rng.choice([40.0, 400.0], rows)
    predicted = Predicted(rng.uniform(0.1, 0.9, rows), np.full(rows, 0.2), np.full(rows, 4.0), n)
    difference = rng.normal(0, np.sqrt(0.2 / n + 0.05**2))
    model = fit_error_model(predicted, difference, np.ones(rows))
    np.testing.assert_allclose(model.scale(predicted), np.sqrt(0.2 / n + 0.05**2), rtol=0.05)


def test_a_method_without_errors_leaves_sampling_variance():
    rng = np.random.default_rng(2)
    n = np.full(4000, 50.0)
    predicted = Predicted(np.full(4000, 0.5), np.full(4000, 0.25), np.full(4000, 2.0), n)
    model = fit_error_model(predicted, rng.normal(0, np.sqrt(0.25 / n)), np.full(4000, 0.01))
    np.testing.assert_allclose(model.scale(predicted), np.sqrt(0.25 / n), rtol=0.1)


@pytest.mark.parametrize("rows", [1, 2])
def test_one_or_two_equal_rows_give_a_finite_scale(rows):
    predicted = of_shares(np.full((rows, 2), 0.5), np.full(rows, 30.0))
    model = fit_error_model(predicted, np.zeros(2 * rows), np.ones(2 * rows))
    assert np.isfinite(model.scale(predicted)).all()
    assert (model.scale(predicted) > 0).all()


def test_mean_positions_run_from_zero_to_one():
    found = of_positions(np.array([[1.0, 0, 0], [0, 0, 1.0], [0.25, 0.5, 0.25]]), np.array([30.0, 30.0, 30.0]))
    np.testing.assert_allclose(found.value, [0, 1, 0.5])
    assert found.unit[2] == pytest.approx(0.125)
    assert (found.unit > 0).all()


def simulated(rng: np.random.Generator, blocks: int, block_effect: float, spread: float, options: int = 4) -> HeldOutRows:
    """Return held-out predictions of a survey with `blocks` exchangeable blocks of one to six questions, in eight subgroups."""
    rows: list[tuple[np.ndarray, np.ndarray, float, int, int]] = []
    item = 0
    for block in range(blocks):
        shared, size = rng.normal(0, block_effect, options), np.exp(rng.normal(0, spread))
        for _ in range(int(rng.integers(1, 7))):
            shares = rng.dirichlet(np.full(options, 2.0))
            truth = np.maximum(shares + size * (shared + rng.normal(0, 0.05, options)), 1e-3)
            for _ in range(8):
                n = int(rng.choice([40, 90, 200, 700]))
                own = np.maximum(truth / truth.sum() + rng.normal(0, 0.02, options), 1e-3)
                rows.append((shares, rng.multinomial(n, own / own.sum()) / n, float(n), block, item))
            item += 1
    shares, found, n, block, item_of = (np.array(column) for column in zip(*rows, strict=True))
    unit = np.repeat(block, options).astype(np.intp)
    size_class = np.repeat(np.digitize(n, [60, 150]), options).astype(np.intp)
    return HeldOutRows(of_shares(shares, n), found.ravel(), unit, np.repeat(item_of, options).astype(np.intp), unit % 8, size_class)


def coverage_of_new_blocks(repetitions: int, blocks: int, block_effect: float, spread: float, seed: int) -> np.ndarray:
    """Return the coverage in each repetition: over all rows of a new block, then by class of sizes (NaN without rows)."""
    found: list[list[float]] = []
    for repetition in range(repetitions):
        world = simulated(np.random.default_rng([seed, repetition]), blocks + 1, block_effect, spread)
        new = world.rows(world.unit == blocks)
        low, high = fit_conformal(world.rows(world.unit < blocks), 3).ends(new.predicted, new.size)
        inside = (new.found >= low) & (new.found <= high)
        found.append([inside.mean(), *(inside[new.size == one].mean() if (new.size == one).any() else np.nan for one in range(3))])
    return np.array(found)


def test_intervals_stay_inside_zero_and_one():
    world = simulated(np.random.default_rng(3), 20, 0.1, 0.5)
    low, high = fit_conformal(world, 3).ends(world.predicted, world.size)
    assert (low >= 0).all()
    assert (high <= 1).all()
    assert (low <= world.predicted.value).all()
    assert (high >= world.predicted.value).all()


def test_a_class_that_few_units_have_uses_the_quantile_of_all():
    world = simulated(np.random.default_rng(5), 20, 0.1, 0.0)
    rare = HeldOutRows(world.predicted, world.found, world.unit, world.item, world.group, np.where(world.unit < 3, 1, 0).astype(np.intp))
    fitted = fit_conformal(rare, 3)
    score = np.abs(world.found - world.predicted.value) / fitted.error.scale(world.predicted)
    pooled, _ = hierarchical_quantile(score, world.unit, world.item, world.group, 0.9)
    assert fitted.quantile[1] == fitted.quantile[2] == pytest.approx(pooled)
    assert fitted.quantile[0] != fitted.quantile[1]


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "block_effect", "spread"), [(30, 0.0, 0.0), (30, 0.1, 0.0), (30, 0.08, 0.6), (12, 0.08, 0.0)])
def test_ninety_percent_intervals_cover_new_blocks_ninety_percent_of_the_time(blocks, block_effect, spread):
    found = coverage_of_new_blocks(150, blocks, block_effect, spread, seed=7)
    error = found[:, 0].std() / np.sqrt(len(found))
    assert abs(found[:, 0].mean() - 0.9) < 3 * error + 0.005
    assert np.all(np.abs(np.nanmean(found[:, 1:], axis=0) - 0.9) < 0.05)
