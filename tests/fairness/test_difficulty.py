"""Adjusted gaps against dense generalised least squares, closed forms, plain loops and planted difficulty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from valuestrata.errors import UsageError
from valuestrata.fairness.adjust.crossed_effects import fit
from valuestrata.fairness.adjust.difficulty import Difficulty, difficulty_of
from valuestrata.fairness.adjust.held_attributes import adjust_gaps
from valuestrata.scores.layout import lay_out
from valuestrata.stats.small_area.shares import columns_of


def nothing(shape):
    return Difficulty([], np.zeros((0, *shape)), np.zeros((0, *shape)))


def covariates(**grids):
    values = np.stack(list(grids.values()))
    return Difficulty(list(grids), values, values)


def dense(y, columns, noisy):
    """REML and GLS with every pair, item dummy and subgroup written out: theta, sigma2, coefficients."""
    group, item = np.nonzero(~np.isnan(y))
    pairs = len(group)
    z = np.eye(len(y))[group]
    full = np.concatenate([np.eye(y.shape[1])[item], columns[:, group].T, noisy[:, group, item].T], axis=1)
    left, sizes, _ = np.linalg.svd(full, full_matrices=False)
    basis = left[:, sizes > 1e-9 * sizes[0]]
    seen = y[group, item]

    def parts(theta):
        inverse = np.linalg.inv(np.eye(pairs) + theta * z @ z.T)
        inner = basis.T @ inverse @ basis
        projected = inverse - inverse @ basis @ np.linalg.inv(inner) @ basis.T @ inverse
        return inverse, inner, float(seen @ projected @ seen)

    def deviance(log_theta):
        inverse, inner, square = parts(np.exp(log_theta))
        determinants = np.linalg.slogdet(inner)[1] - np.linalg.slogdet(inverse)[1]
        return (pairs - basis.shape[1]) * np.log(square) + determinants

    best = optimize.minimize_scalar(deviance, bounds=(-14, 6), method="bounded", options={"xatol": 1e-9})
    theta = float(np.exp(best.x))
    inverse, _, square = parts(theta)
    found = np.linalg.pinv(full.T @ inverse @ full) @ full.T @ inverse @ seen
    return theta, square / (pairs - basis.shape[1]), found[y.shape[1] :]


def uneven(seed, groups=12, items=15):
    rng = np.random.default_rng(seed)
    labels = [[f"a{k % 3}" for k in range(groups)], [f"b{k // 3 % 2}" for k in range(groups)]]
    columns, names = columns_of(labels)
    noisy = rng.normal(size=(2, groups, items))
    y = rng.normal(size=(groups, items)) + 0.7 * rng.normal(size=(groups, 1)) + rng.normal(size=items) + 0.5 * noisy[0]
    y[rng.random(y.shape) < 0.25] = np.nan
    return y, columns, noisy, names


@pytest.mark.parametrize("seed", range(4))
def test_variances_and_contrasts_are_those_of_dense_restricted_likelihood(seed):
    y, columns, noisy, names = uneven(seed)
    found = fit(y, columns, noisy)
    theta, sigma2, coefficients = dense(y, columns, noisy)
    assert found.tau2 / found.sigma2 == pytest.approx(theta, rel=1e-4)
    assert found.sigma2 == pytest.approx(sigma2, rel=1e-5)
    contrast = np.zeros(len(coefficients))
    contrast[names.index((0, "a0"))], contrast[names.index((0, "a2"))] = 1, -1
    assert found.contrast(contrast)[0] == pytest.approx(contrast @ coefficients, abs=1e-6)
    np.testing.assert_allclose(found.coefficients[-2:], coefficients[-2:], atol=1e-6)


def test_left_out_items_are_refits_without_them_at_the_same_theta():
    y, columns, noisy, names = uneven(1, groups=8, items=9)
    found = fit(y, columns, noisy)
    theta = found.tau2 / found.sigma2
    contrast = np.zeros(len(columns) + 2)
    contrast[names.index((0, "a0"))], contrast[names.index((0, "a1"))] = 1, -1
    for item in range(y.shape[1]):
        kept = np.delete(np.arange(y.shape[1]), item)
        group, place = np.nonzero(~np.isnan(y[:, kept]))
        full = np.concatenate([np.eye(len(kept))[place], columns[:, group].T, noisy[:, :, kept][:, group, place].T], axis=1)
        inverse = np.linalg.inv(np.eye(len(group)) + theta * np.eye(len(y))[group] @ np.eye(len(y))[group].T)
        refit = np.linalg.pinv(full.T @ inverse @ full) @ full.T @ inverse @ y[:, kept][group, place]
        assert found.left_out[item] @ contrast == pytest.approx(contrast @ refit[len(kept) :], abs=1e-8)


def test_tau2_of_a_complete_grid_is_the_one_of_the_analysis_of_variance():
    rng = np.random.default_rng(3)
    groups, items = 9, 40
    y = rng.normal(size=(groups, items)) + rng.normal(size=(groups, 1)) + rng.normal(size=items)
    found = fit(y, np.ones((1, groups)), np.zeros((0, groups, items)))
    residual = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    within = np.square(residual).sum() / ((groups - 1) * (items - 1))
    assert found.sigma2 == pytest.approx(within, rel=1e-6)
    assert found.tau2 == pytest.approx(y.mean(axis=1).var(ddof=1) - within / items, rel=1e-5)


def test_two_single_subgroups_give_a_paired_t_test():
    rng = np.random.default_rng(4)
    y = rng.random((2, 25))
    result = adjust_gaps(y, nothing(y.shape), {"sex": ["f", "m"]}, ["sex", "sex"])
    (gap,) = result.gaps
    expected = stats.ttest_rel(y[0], y[1])
    assert (gap.attribute, gap.level, gap.against) == ("sex", "f", "m")
    assert gap.adjusted == pytest.approx((y[0] - y[1]).mean())
    assert gap.se == pytest.approx((y[0] - y[1]).std(ddof=1) / 5)
    assert gap.p == pytest.approx(expected.pvalue)
    assert (gap.low, gap.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert any("one subgroup" in note for note in result.notes)


def test_redrawn_people_add_what_moves_all_items_alike():
    rng = np.random.default_rng(5)
    groups, items, draws = 4, 12, 60
    y = rng.random((groups, items))
    redrawn = y + 0.3 * rng.normal(size=(draws, groups, 1)) + 0.2 * rng.normal(size=(draws, groups, items))
    levels = {"sex": ["f", "f", "m", "m"], "age": ["y", "o", "y", "o"]}
    plain = adjust_gaps(y, nothing(y.shape), levels, ["s"] * 4).gaps[0]
    moved = adjust_gaps(y, nothing(y.shape), levels, ["s"] * 4, redrawn=redrawn).gaps[0]
    by_item = (redrawn[:, :2] - redrawn[:, 2:]).mean(axis=1) / items
    extra = by_item.sum(axis=1).var(ddof=1) - by_item.var(axis=0, ddof=1).sum()
    assert moved.adjusted == plain.adjusted
    notes = adjust_gaps(y, nothing(y.shape), levels, ["s"] * 4).notes
    assert any("rest on 1 degrees of freedom" in note for note in notes)
    assert moved.se**2 - plain.se**2 == pytest.approx(extra, rel=1e-6)


@given(seed=st.integers(0, 10_000), shift=st.floats(-2, 2))
@settings(max_examples=25, deadline=None)
def test_items_do_not_matter_and_levels_move_their_gaps(seed, shift):
    y, _, noisy, _ = uneven(seed, groups=6, items=8)
    levels = {"a": [f"a{k % 3}" for k in range(6)]}
    known = covariates(first=noisy[0], second=noisy[1])
    before = adjust_gaps(y, known, levels, ["s"] * 6)
    rng = np.random.default_rng(seed)
    raised = y + 5 * rng.normal(size=8) + shift * np.array([label == "a0" for label in levels["a"]])[:, None]
    after = adjust_gaps(raised, known, levels, ["s"] * 6)
    for one, two in zip(before.gaps, after.gaps, strict=True):
        step = shift if one.level == "a0" else 0.0
        assert two.adjusted == pytest.approx(one.adjusted + step, abs=1e-5, nan_ok=True)
        assert two.held == pytest.approx(one.held + step, abs=1e-5, nan_ok=True)


def test_levels_without_a_common_item_have_no_gap_and_it_is_said():
    y = np.full((3, 8), np.nan)
    rng = np.random.default_rng(0)
    y[0, :4], y[1, 4:], y[2, 4:] = rng.random(4), rng.random(4), rng.random(4)
    result = adjust_gaps(y, nothing(y.shape), {"age": ["young", "middle", "old"]}, ["age"] * 3)
    by_pair = {(gap.level, gap.against): gap for gap in result.gaps}
    assert np.isnan(by_pair["young", "middle"].adjusted)
    assert np.isnan(by_pair["young", "middle"].p)
    assert by_pair["middle", "old"].adjusted == pytest.approx((y[1] - y[2])[4:].mean())
    assert any("null" in note for note in result.notes)


def test_a_lone_subgroup_is_refused_in_words():
    with pytest.raises(UsageError, match="two items that at least two subgroups answer; found 0"):
        adjust_gaps(np.ones((1, 5)), nothing((1, 5)), {"sex": ["f"]}, ["sex"])


def test_covariates_that_cannot_be_told_apart_are_left_out_with_the_reason():
    rng = np.random.default_rng(6)
    y = rng.random((6, 30))
    labels = ["a", "a", "b", "b", "c", "c"]
    level = np.array([0.0, 0.0, 1.0, 1.0, 2.0, 2.0])[:, None]
    own = rng.normal(size=y.shape)
    unknown = own.copy()
    unknown[2, 3] = np.nan
    known = covariates(
        first=own, twin=own + 0.1 * rng.normal(size=y.shape), size=level + 0.05 * own, flat=np.ones((6, 30)), unknown=unknown
    )
    result = adjust_gaps(y, known, {"x": labels}, ["s"] * 6)
    assert list(result.covariates) == ["first"]
    assert set(result.left_out) == {"twin", "size", "flat", "unknown"}
    assert "the levels explain" in result.left_out["size"]
    assert result.left_out["twin"] == "first hold the same information"
    assert "does not differ" in result.left_out["flat"]
    assert "unknown for some pairs" in result.left_out["unknown"]


def test_intervals_hold_where_an_item_treats_all_subgroups_of_a_level_alike():
    """Answers to one item go together within a level: pairs by themselves would be counted six times over."""
    rng = np.random.default_rng(7)
    labels = ["a"] * 6 + ["b"] * 6
    covered = 0
    for _ in range(200):
        y = rng.normal(size=(12, 1, 40))[:, 0] * 0.5
        y += np.repeat(rng.normal(size=(2, 40)), 6, axis=0)
        (gap,) = adjust_gaps(y, nothing(y.shape), {"x": labels}, ["s"] * 12).gaps
        covered += gap.low <= 0 <= gap.high
    assert stats.binom.cdf(covered, 200, 0.95) > 0.001
    assert covered < 200


def test_covariates_of_a_small_data_set_by_hand(handmade):
    layout = lay_out(handmade, "paper", "test", None, ("all",))
    found = difficulty_of(handmade, layout)
    observed = dict(zip(found.names, found.observed, strict=True))
    # Every cell holds 40 answers to the first code and 20 to the second, as the nation does.
    np.testing.assert_allclose(observed["modal_share"], 2 / 3)
    np.testing.assert_allclose(observed["off_nation"], 0)
    np.testing.assert_allclose(observed["distance"], 0)
    np.testing.assert_allclose(observed["log_n_eff"], np.log(60))
    two = -(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))
    np.testing.assert_allclose(observed["entropy"], np.broadcast_to(two / np.log2([4, 10, 3]), (3, 3)))
    values = dict(zip(found.names, found.values, strict=True))
    # All cells agree with one another: nothing is drawn anywhere, and the label is all but certain.
    np.testing.assert_allclose(values["modal_share"], 2 / 3)
    assert (values["label_certainty"] > 0.99).all()
    np.testing.assert_allclose(found.means(layout.present)[0], 2 / 3)


def test_without_the_nation_its_distance_is_not_known(handmade):
    from dataclasses import replace

    bare = replace(handmade, gold=handmade.gold.filter(handmade.gold["subgroup"] != "all"))
    layout = lay_out(bare, "paper", "test", None, ("all",))
    found = difficulty_of(bare, layout)
    assert np.isnan(found.values[list(found.names).index("distance")]).all()
    rng = np.random.default_rng(0)
    result = adjust_gaps(rng.random((3, 3)), found, {"age": ["y", "o", "m"]}, ["s"] * 3)
    assert "unknown" in result.left_out["distance"]


def test_a_gap_made_of_a_covariate_is_explained_by_it():
    rng = np.random.default_rng(11)
    labels = ["a"] * 5 + ["b"] * 5
    share = np.clip(rng.normal(0.6, 0.1, (10, 300)) + np.where(np.array(labels) == "a", 0.1, 0.0)[:, None], 0.2, 1)
    y = (rng.random(share.shape) < share).astype(float)
    result = adjust_gaps(y, covariates(modal_share=share), {"x": labels}, ["s"] * 10)
    (gap,) = result.gaps
    assert gap.held == pytest.approx(0.1, abs=0.05)
    assert gap.held_p < 0.05
    assert gap.low < 0 < gap.high
    assert result.slopes[0] == pytest.approx(1, abs=3.5 * result.slope_se[0])
    assert gap.explained == pytest.approx(gap.held - gap.adjusted)


def test_with_blocks_the_jackknife_leaves_out_blocks():
    y, columns, noisy = blocky(1)
    blocks = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4, 5, 5, 6, 6, 6, 7])
    contrast = np.array([1.0, -1.0, 0, 0, 0, 0, 0])
    found = fit(y, columns, noisy, None, blocks)
    whole = found.coefficients @ contrast
    without = np.array(
        [solved(y[:, blocks != b], columns, noisy[:, :, blocks != b], found.tau2 / found.sigma2) @ contrast for b in range(8)]
    )
    assert found.left_out @ contrast == pytest.approx(without, abs=1e-8)
    k = 15**2 / (np.bincount(blocks) ** 2).sum()
    by_items = (k - 1) / k * ((without - without.mean()) ** 2).sum()
    value, se, _ = found.contrast(contrast)
    assert value == pytest.approx(whole)
    assert se**2 == pytest.approx(by_items + found.tau2 * ((contrast @ found.through) ** 2).sum())


def blocky(seed):
    rng = np.random.default_rng(seed)
    columns, _ = columns_of([[f"a{k % 3}" for k in range(12)], [f"b{k // 3 % 2}" for k in range(12)]])
    noisy = rng.normal(size=(2, 12, 15))
    return rng.normal(size=(12, 15)) + 0.7 * rng.normal(size=(12, 1)) + 0.5 * noisy[0], columns, noisy


def solved(y, columns, noisy, theta):
    """Generalised least squares at a given theta, every pair and item dummy written out."""
    group, item = np.nonzero(~np.isnan(y))
    full = np.concatenate([np.eye(y.shape[1])[item], columns[:, group].T, noisy[:, group, item].T], axis=1)
    z = np.eye(len(y))[group]
    inverse = np.linalg.inv(np.eye(len(group)) + theta * z @ z.T)
    return (np.linalg.pinv(full.T @ inverse @ full) @ full.T @ inverse @ y[group, item])[y.shape[1] :]


def test_with_equal_blocks_the_variance_between_subgroups_is_that_of_block_means():
    y, columns, _ = blocky(2)
    blocks = np.arange(15) % 5
    means = np.stack([y[:, blocks == b].mean(axis=1) for b in range(5)], axis=1)
    none = np.zeros((0, 12, 15))
    found, expected = fit(y, columns, none, None, blocks), fit(means, columns, none[:, :, :5])
    assert found.tau2 == pytest.approx(expected.tau2, rel=1e-5)
    assert found.sigma2 == pytest.approx(3 * expected.sigma2, rel=1e-5)
    assert found.coefficients[:2] @ [1, -1] == pytest.approx(expected.coefficients[:2] @ [1, -1])


def test_a_level_that_only_one_block_contains_has_no_standard_error():
    y, columns, _ = blocky(3)
    y[::3, 4:] = np.nan
    found = fit(y, columns, np.zeros((0, 12, 15)), None, np.repeat(np.arange(5), [4, 3, 3, 3, 2]))
    value, se, _ = found.contrast(np.array([1.0, -1.0, 0, 0, 0]))
    assert np.isfinite(value)
    assert np.isnan(se)
    assert np.isfinite(found.contrast(np.array([0, 1.0, -1.0, 0, 0]))[1])


def test_without_an_item_that_tells_two_columns_apart_the_standard_error_is_not_known():
    # Item 0 gives a + b = 2 and item 1 gives a - b = 1, so a = 1.5; neither item alone tells a from b.
    values = np.array([[2, np.nan], [0, np.nan], [np.nan, 1], [np.nan, 0]])
    fitted = fit(values, np.array([[1.0, 0, 1, 0], [1, 0, 0, 1]]), np.empty((0, 4, 2)))
    value, error, _ = fitted.contrast(np.array([1.0, 0]))
    assert value == pytest.approx(1.5)
    assert np.isnan(error)
