"""Agreement beyond chance, against published figures, plain loops and an independent library."""

from __future__ import annotations

import warnings
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t
from sklearn.metrics import cohen_kappa_score

from valuestrata.stats.agreement import (
    MISSING,
    agreement,
    alpha,
    coincidences,
    confusions,
    distances,
    kappa,
    mean_over_pairs,
)
from valuestrata.stats.cluster_bootstrap import cluster_draws, clustered_mean, clusters_of, percentile_interval

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), example D: four observers, twelve units, values 1 to 5.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
).T
FIVE = np.arange(5.0)


def alpha_of(ratings, positions, level):
    return float(alpha(coincidences(ratings, np.zeros(len(ratings), dtype=np.intp), len(positions), 1)[0], positions, level))


def kappa_of(first, second, positions, weighting):
    table = confusions(first, second, np.zeros(len(first), dtype=np.intp), len(positions), 1)[0]
    return float(kappa(table, distances(positions, weighting)))


def alpha_in_loops(ratings, level):
    """Krippendorff's alpha pair of values by pair of values; rows are units, None is missing."""
    units = [[value for value in unit if value is not None] for unit in ratings]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]

    def apart(a, b):
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return float((a - b) ** 2)
        low, high = min(a, b), max(a, b)
        between = sum(values.count(value) for value in set(values) if low <= value <= high)
        return (between - (values.count(low) + values.count(high)) / 2) ** 2

    seen = sum(apart(a, b) / (len(unit) - 1) for unit in units for a, b in permutations(unit, 2)) / len(values)
    chance = sum(apart(a, b) for a, b in permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - seen / chance


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_the_published_example(level, published):
    assert alpha_of(PUBLISHED - 1, FIVE, level) == pytest.approx(published, abs=5e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["nominal", "ordinal", "interval"]), st.integers(2, 5), st.integers(2, 6))
def test_alpha_is_what_plain_loops_give(seed, level, raters, categories):
    rng = np.random.default_rng(seed)
    ratings = rng.integers(MISSING, categories, size=(12, raters))
    ratings[0, :2] = [0, categories - 1]  # something to disagree on
    plain = [[None if value == MISSING else int(value) for value in unit] for unit in ratings]
    assert alpha_of(ratings, np.arange(float(categories)), level) == pytest.approx(alpha_in_loops(plain, level))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["nominal", "linear", "quadratic"]), st.integers(2, 5))
def test_kappa_is_what_scikit_learn_gives(seed, weighting, categories):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, categories, size=30)
    second = np.where(rng.random(30) < 0.5, first, rng.integers(0, categories, size=30))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = cohen_kappa_score(first, second, labels=range(categories), weights=None if weighting == "nominal" else weighting)
    ours = kappa_of(first, second, np.arange(float(categories)), weighting)
    assert (np.isnan(ours) and not np.isfinite(theirs)) or ours == pytest.approx(theirs)


def test_a_tie_is_a_smaller_error_than_the_other_side():
    """Reference, tie, run: ten units each, one rater taken aside on the last ten."""
    truth = np.repeat([0, 1, 2], 10)
    to_tie, to_other = truth.copy(), truth.copy()
    to_tie[20:], to_other[20:] = 1, 0
    places = np.array([0.0, 0.5, 1.0])
    assert kappa_of(truth, to_tie, places, "nominal") == pytest.approx(kappa_of(truth, to_other, places, "nominal"))
    assert kappa_of(truth, to_tie, places, "quadratic") > kappa_of(truth, to_other, places, "quadratic")
    # By hand, quadratic, in units of .25: seen 10, expected (10 x (0x10 + 1x20) + 10 x (10 + 0) + 10 x (4 x 10 + 20)) / 30.
    assert kappa_of(truth, to_tie, places, "quadratic") == pytest.approx(1 - 10 * 30 / (200 + 100 + 600))


def test_tables_add_up_over_items():
    rng = np.random.default_rng(0)
    first, second, items = rng.integers(0, 3, 40), rng.integers(0, 3, 40), rng.integers(0, 4, 40)
    tables = confusions(first, second, items, 3, 4)
    assert tables.sum() == 40
    assert agreement(tables.sum(axis=0)) == pytest.approx((first == second).mean())
    for item in range(4):
        only = items == item
        whole = kappa(tables[item], distances(np.arange(3.0), "linear"))
        assert whole == pytest.approx(kappa_of(first[only], second[only], np.arange(3.0), "linear"), nan_ok=True)
    both = np.stack([first, second], axis=1)
    assert coincidences(both, items, 3, 4) == pytest.approx(tables + tables.transpose(0, 2, 1))


def test_missing_values_count_nowhere():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 3, 20), rng.integers(0, 3, 20)
    more_first, more_second = np.append(first, [2, MISSING]), np.append(second, [MISSING, 1])
    places = np.arange(3.0)
    assert kappa_of(more_first, more_second, places, "linear") == kappa_of(first, second, places, "linear")
    several = np.stack([more_first, more_second], axis=1)
    assert alpha_of(several, places, "ordinal") == pytest.approx(alpha_of(several[:20], places, "ordinal"))


def test_raters_who_always_say_the_same_have_no_kappa():
    same = np.ones(10, dtype=np.intp)
    assert np.isnan(kappa_of(same, same, np.arange(3.0), "quadratic"))
    assert np.isnan(alpha_of(np.stack([same, same], axis=1), np.arange(3.0), "nominal"))
    assert np.isnan(alpha(np.zeros((3, 3)), np.arange(3.0), "interval"))


def test_pairs_of_raters_weigh_as_many_units_as_they_share():
    assert mean_over_pairs(np.array([0.2, 0.8, np.nan]), np.array([30.0, 10.0, 5.0])) == pytest.approx(0.35)


def test_intervals_widen_with_the_items_that_answers_share():
    """A hundred answers, all of an item alike: as many facts as items."""
    rng = np.random.default_rng(2)
    of_item = rng.integers(0, 2, 10).astype(float)
    items = np.repeat(np.arange(10), 10)
    alike = clustered_mean(np.repeat(of_item, 10), items, bootstrap=2000, seed=0)
    apart = clustered_mean(np.repeat(of_item, 10), np.arange(100), bootstrap=2000, seed=0)
    assert (alike.n, alike.items, apart.items) == (100, 10, 100)
    assert alike.high - alike.low > 2.5 * (apart.high - apart.low)


def test_intervals_of_a_mean_are_those_of_students_t():
    rng = np.random.default_rng(3)
    values = rng.normal(size=30)
    found = clustered_mean(values, np.arange(30), bootstrap=20_000, seed=0, low=-np.inf, high=np.inf)
    half = 2.0452 * values.std(ddof=1) / np.sqrt(30)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_few_items_have_no_interval():
    found = clustered_mean(np.ones(40), np.repeat(np.arange(4), 10), bootstrap=100, seed=0)
    assert found.value == 1.0
    assert np.isnan(found.low)
    assert np.isnan(percentile_interval(0.5, np.full(100, np.nan), clusters_of(np.arange(10)))[0])
    assert cluster_draws(10, 0, 0).shape == (0, 10)
    assert clustered_mean(np.array([np.nan]), np.array(["a"]), bootstrap=10, seed=0).n == 0


def test_answers_to_items_of_one_block_are_one_cluster():
    """Blocks of 2, 2, 1 and 1 items: 6^2 / (4 + 4 + 1 + 1) = 3.6 of equal size."""
    items, blocks = np.repeat(list("fabcde"), 3), np.repeat(["B", "A", "A", "B", "C", "D"], 3)
    found = clusters_of(items, blocks)
    assert (found.items, found.count, found.number) == (6, 4, pytest.approx(3.6))
    for label in "ABCD":
        assert len(np.unique(found.of[blocks == label])) == 1
    # Items of one block are clusters themselves, and so are items without blocks.
    for alone in (clusters_of(items, ["one"] * 18), clusters_of(items), clusters_of(items, items)):
        assert (alone.items, alone.count, alone.number) == (6, 6, 6)
        assert (alone.of == np.unique(items, return_inverse=True)[1]).all()
    assert clusters_of([], []).count == 0


def test_the_interval_of_a_mean_with_few_blocks_is_that_of_their_sums():
    of_block = np.random.default_rng(5).random(12)
    blocks = np.repeat(np.arange(12), 5)
    found = clustered_mean(of_block[blocks], np.arange(60), blocks, bootstrap=20_000, seed=0, low=-np.inf, high=np.inf)
    half = t.ppf(0.975, 11) * of_block.std(ddof=1) / np.sqrt(12)
    assert (found.value, found.items, found.n) == (pytest.approx(of_block.mean()), 60, 60)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)
    single = clustered_mean(of_block[blocks], np.arange(60), bootstrap=20_000, seed=0, low=-np.inf, high=np.inf)
    assert single.high - single.low < 0.55 * (found.high - found.low)
    assert np.isnan(clustered_mean(np.ones(4), np.arange(4), np.array([0, 0, 1, 1]), bootstrap=100, seed=0).low)
