"""Gaps of levels on common items, and the words for what remains of them."""

import numpy as np
import pytest

from valuestrata.auditing.gaps import common_pairs, expected_alike, gap_weights, level_pairs, remains

LEVELS = {
    "sex": {"man": np.array([1, 1, 0, 0, 0], dtype=bool), "woman": np.array([0, 0, 1, 1, 0], dtype=bool)},
    "age": {
        "young": np.array([1, 0, 1, 0, 0], dtype=bool),
        "old": np.array([0, 1, 0, 0, 0], dtype=bool),
        "oldest": np.array([0, 0, 0, 1, 1], dtype=bool),
    },
}


def test_levels_are_paired_within_their_attribute():
    pairs = level_pairs(LEVELS, 5)
    assert list(pairs.names) == [("sex", "man", "woman"), ("age", "young", "old"), ("age", "young", "oldest"), ("age", "old", "oldest")]
    assert pairs.members.shape == (5, 5)
    assert level_pairs({}, 5).names == []
    assert level_pairs({"sex": {"man": np.ones(5, dtype=bool)}}, 5).names == []


@pytest.mark.parametrize("seed", range(6))
def test_gaps_by_plain_loops(seed):
    rng = np.random.default_rng(seed)
    grid = rng.random((5, 8))
    grid[rng.random(grid.shape) < 0.4] = np.nan
    pairs = level_pairs(LEVELS, 5)
    weights = gap_weights(pairs, ~np.isnan(grid))
    rows = np.einsum("kgi,gi->ki", weights.pairs, np.nan_to_num(grid))
    number = common_pairs(pairs, ~np.isnan(grid))
    for k, (attribute, one, two) in enumerate(pairs.names):
        gaps, used = [], 0
        for i in range(8):
            sides = [[grid[g, i] for g in range(5) if LEVELS[attribute][name][g] and not np.isnan(grid[g, i])] for name in (one, two)]
            if all(sides):
                gaps.append(sum(sides[0]) / len(sides[0]) - sum(sides[1]) / len(sides[1]))
                used += len(sides[0]) + len(sides[1])
        assert weights.counts[k].sum() == len(gaps)
        assert rows[k].sum() == pytest.approx(sum(gaps), abs=1e-6)
        assert number[k] == used


def test_items_that_one_level_lacks_do_not_make_a_gap():
    # Women are asked the hard item only; on the item both have they score alike.
    grid = np.array([[1.0, 1.0], [1.0, 1.0], [np.nan, 1.0], [np.nan, 1.0], [0.0, np.nan]])
    weights = gap_weights(level_pairs(LEVELS, 5), ~np.isnan(grid))
    assert weights.counts[0].tolist() == [0, 1]
    assert np.einsum("kgi,gi->ki", weights.pairs, np.nan_to_num(grid))[0].tolist() == [0, 0]


def test_the_gap_that_noise_gives_is_the_mean_of_a_folded_normal():
    drawn = np.abs(np.random.default_rng(0).normal(0, 0.05, 200_000)).mean()
    assert expected_alike(np.array([0.05]))[0] == pytest.approx(drawn, rel=0.01)


REAL, NONE, UNKNOWN = (0.1, 0.001), (0.1, 0.6), (np.nan, np.nan)


@pytest.mark.parametrize(
    ("gap", "excess", "adjusted", "words"),
    [
        (UNKNOWN, UNKNOWN, UNKNOWN, "no common items: nothing can be said"),
        ((0.1, np.nan), UNKNOWN, UNKNOWN, "no interval: nothing can be said"),
        (NONE, REAL, REAL, "no gap beyond noise"),
        (REAL, REAL, REAL, "better for a than for b: it goes beyond the baseline's gap and it goes beyond what makes cells hard"),
        (
            REAL,
            NONE,
            NONE,
            "better for a than for b, but it is not shown beside the baseline's gap and it is not shown between cells of equal difficulty",
        ),
        (
            REAL,
            REAL,
            NONE,
            "better for a than for b, but it is not shown between cells of equal difficulty (it goes beyond the baseline's gap)",
        ),
        (REAL, UNKNOWN, UNKNOWN, "better for a than for b: the baseline's gap is not known and what makes cells hard is not known"),
        (
            REAL,
            (-0.1, 0.001),
            REAL,
            "better for a than for b, but turned round beside the baseline's gap (it goes beyond what makes cells hard)",
        ),
    ],
)
def test_what_remains_in_words(gap, excess, adjusted, words):
    assert remains(("a", "b"), 1, 0.05, gap, excess, adjusted) == words


def test_better_follows_the_direction_of_the_metric():
    assert remains(("a", "b"), -1, 0.05, REAL, REAL, REAL).startswith("better for b than for a:")
    assert remains(("a", "b"), 1, 0.05, (-0.1, 0.001), (-0.1, 0.001), (-0.1, 0.001)).startswith("better for b than for a:")
