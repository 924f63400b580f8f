"""Gaps of levels on common items, and the words for what remains of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.fairness.estimate.gaps import REMAINS, ExplainedGap, GapEstimate, common_pairs, expected_alike, gap_weights, level_pairs

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


SHOWN = GapEstimate(0.1, 0.04, 0.16, 0.001)
NOT_KNOWN = GapEstimate.of(None, None, None, None)
# What an explanation leaves: its interval ends short of the gap; reaches it; lies on the other side.
NOTHING_LEFT = GapEstimate(0.01, -0.04, 0.06, 0.9)
ANYTHING_LEFT = GapEstimate(0.05, -0.02, 0.12, 0.2)
SHOWN_ALONE = GapEstimate(0.1, 0.01, 0.19, 0.2)
OTHER_WAY = GapEstimate(-0.1, -0.16, -0.04, 0.001)


@pytest.mark.parametrize(
    ("gap", "excess", "adjusted", "held", "word"),
    [
        (NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, "not known"),
        (GapEstimate(0.1, np.nan, np.nan, np.nan), NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, "not known"),
        (NOTHING_LEFT, NOTHING_LEFT, NOTHING_LEFT, NOTHING_LEFT, "not shown"),
        # One explanation alone brings nothing to light, nor do two that contradict each other.
        (NOTHING_LEFT, SHOWN, NOTHING_LEFT, NOTHING_LEFT, "not shown"),
        (NOTHING_LEFT, SHOWN, OTHER_WAY, NOTHING_LEFT, "not shown"),
        (NOTHING_LEFT, SHOWN, SHOWN, NOTHING_LEFT, "hidden"),
        (SHOWN, SHOWN, SHOWN, SHOWN, "remains"),
        (SHOWN, SHOWN, SHOWN, ANYTHING_LEFT, "remains"),
        (SHOWN, NOTHING_LEFT, SHOWN, SHOWN, "unclear"),
        (SHOWN, SHOWN, NOTHING_LEFT, SHOWN, "unclear"),
        (SHOWN, NOTHING_LEFT, ANYTHING_LEFT, SHOWN, "explained"),
        # What would be shown if it were looked at alone gainsays an explanation.
        (SHOWN, NOTHING_LEFT, SHOWN_ALONE, SHOWN, "unclear"),
        (SHOWN, SHOWN_ALONE, SHOWN_ALONE, SHOWN_ALONE, "unclear"),
        (SHOWN, ANYTHING_LEFT, NOTHING_LEFT, SHOWN, "explained"),
        (SHOWN, ANYTHING_LEFT, SHOWN, SHOWN, "unclear"),
        (SHOWN, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, "unclear"),
        (SHOWN, OTHER_WAY, SHOWN, SHOWN, "turned"),
        # The other attributes make the gap, whatever difficulty leaves; a gap that the baseline has as well lies in the survey.
        (SHOWN, SHOWN, NOTHING_LEFT, NOTHING_LEFT, "composition"),
        (SHOWN, SHOWN, OTHER_WAY, OTHER_WAY, "composition"),
        (SHOWN, ANYTHING_LEFT, NOTHING_LEFT, NOTHING_LEFT, "composition"),
        (SHOWN, NOTHING_LEFT, NOTHING_LEFT, NOTHING_LEFT, "explained"),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_remains_of_a_gap(gap, excess, adjusted, held, word, sign):
    assert ExplainedGap(gap, excess, adjusted, held).turned(sign).remains(0.05) == word
    assert word in REMAINS


def test_a_figure_that_is_mere_rounding_is_not_shown():
    assert not GapEstimate(1e-9, 1e-10, 1e-8, 1e-5).shown(0.05)
    assert GapEstimate(1e-3, 1e-4, 1e-2, 0.05).shown(0.05)
    assert not GapEstimate(1e-3, 1e-4, 1e-2, 0.0501).shown(0.05)


@given(st.lists(st.tuples(st.floats(-0.3, 0.3), st.floats(0.001, 0.2), st.floats(0.0, 1.0)), min_size=4, max_size=4))
def test_a_claim_needs_what_it_says(figures):
    gap, excess, adjusted, held = (GapEstimate(value, value - half, value + half, p) for value, half, p in figures)
    whole = ExplainedGap(gap, excess, adjusted, held)
    word = whole.remains(0.05)
    side = whole.side(0.05)
    assert whole.turned(-1.0).remains(0.05) == word
    if word == "remains":
        assert gap.shown(0.05)
        assert all(one.shown(0.05) and one.value * side > 0 for one in (excess, adjusted))
    if word == "explained":
        assert any(one.low <= 0 <= one.high and not one.shown(0.05) for one in (excess, adjusted))
    if word == "hidden":
        assert not gap.shown(0.05)
        assert excess.value * adjusted.value > 0
    assert (word == "not shown") == (side == 0)
