"""Blocks of items: numbers by hand, sums by loops, and the equality with items where there are no blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, t

from valuestrata.stats.blocks import block_numbers, draw_blocks, effective_blocks, sum_blocks, units_of
from valuestrata.stats.bootstrap import freedom_of, shared_variance
from valuestrata.survey.describe import blocks_text


def test_items_without_a_name_are_blocks_of_their_own():
    assert block_numbers(["a", None, "b", "a", None]).tolist() == [0, 1, 2, 0, 3]
    assert block_numbers([None, None]).tolist() == [0, 1]
    assert block_numbers([]).tolist() == []


def test_effective_number_by_hand():
    blocks = np.array([0, 0, 0, 1, 2, 2])
    counts = np.array([[1, 1, 1, 1, 1, 1], [5, 0, 0, 9, 1, 1], [4, 0, 7, 0, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=float)
    # Sizes 3, 1, 2; then 1, 1, 2; then 2; pairs do not matter, only items that have any.
    assert effective_blocks(counts, blocks) == pytest.approx([36 / 14, 16 / 6, 1.0, 0.0])


def test_blocks_are_drawn_whole():
    blocks = np.array([0, 0, 1, 2, 2, 2])
    drawn = draw_blocks(np.random.default_rng(0), blocks, 50)
    assert drawn.shape == (50, 6)
    for block in range(3):
        of_block = drawn[:, blocks == block]
        assert (of_block == of_block[:, :1]).all()
    firsts = drawn[:, [0, 2, 3]]
    assert (firsts.sum(axis=1) == 3).all()
    assert set(np.unique(firsts)) <= {0, 1, 2, 3}


def test_without_blocks_the_draws_are_those_of_items():
    items = 7
    expected = np.random.default_rng(3).multinomial(items, np.full(items, 1 / items), size=20)
    assert (draw_blocks(np.random.default_rng(3), np.arange(items), 20) == expected).all()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 99))
def test_sums_by_block_equal_a_loop(names, seed):
    blocks = block_numbers([str(name) for name in names])
    values = np.random.default_rng(seed).normal(size=(2, 3, len(names)))
    found = sum_blocks(values, blocks)
    for block in range(blocks.max() + 1):
        assert found[..., block] == pytest.approx(values[..., blocks == block].sum(axis=-1))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_the_effective_number_is_between_one_and_the_number_of_blocks(names):
    blocks = block_numbers([str(name) for name in names])
    number = effective_blocks(np.ones((1, len(names))), blocks)[0]
    assert 1 - 1e-12 <= number <= blocks.max() + 1 + 1e-12


def test_one_block_or_nearly_one_is_resampled_over_its_items():
    blocks = np.array([0, 0, 0, 0, 0, 1, 2, 2, 3, 3])
    keys = {"one block": [0, 1, 2], "5 and 1 items": [0, 1, 2, 3, 4, 5], "2 and 2": [6, 7, 8, 9], "all": range(10), "none": []}
    counts = np.array([[1.0 if item in members else 0.0 for item in range(10)] for members in keys.values()])
    units = units_of(counts, blocks)
    # 5 and 1: 36 / 26 = 1.4 blocks.
    assert units.by_block.tolist() == [False, False, True, True, False]
    assert units.number == pytest.approx([3, 6, 2, 100 / 34, 0])
    of_blocks, of_items = np.full((1, 10), 2.0), np.arange(10.0)[None]
    assert units.sums(of_blocks, of_items, counts).tolist() == [[3.0, 15.0, 8.0, 20.0, 0.0]]
    single = units_of(counts, np.arange(10))
    assert not single.by_block.any()
    assert single.number.tolist() == [3, 6, 4, 10, 0]


def test_shared_noise_of_blocks_by_loops():
    """The noise that items of one block share is in both ways of resampling, so it counts as the block's own."""
    rng = np.random.default_rng(1)
    blocks = np.array([0, 1, 1, 2, 2, 2, 0])
    noise = rng.normal(size=(40, 2, 7)).astype(np.float32)
    noise -= noise.mean(axis=0)
    counts = np.array([[1, 1, 1, 1, 2, 1, 1], [0, 1, 3, 0, 0, 0, 0]], dtype=float)
    noise[:, 1, counts[1] == 0] = 0
    units = units_of(counts, blocks)
    assert units.by_block.tolist() == [True, False]
    found = shared_variance(noise, noise, counts, units)
    total = 0.0
    for draw in noise[:, 0]:
        for block in range(3):
            mine = blocks == block
            total += (draw[mine].sum() - counts[0, mine].sum() / counts[0].sum() * draw.sum()) ** 2
    assert found == pytest.approx([total / 39, shared_variance(noise[:, 1:], noise[:, 1:], counts[1:])[0]], rel=1e-5)
    # Independent noise by item is in item resampling whole; noise common to a block only if blocks are resampled.
    common = rng.normal(size=(400, 1, 3))[..., blocks].astype(np.float32)
    ones = np.ones((1, 7))
    by_items, by_blocks = shared_variance(common, common, ones)[0], shared_variance(common, common, ones, units_of(ones, blocks))[0]
    # Sizes 2, 2, 3: sums of squares of the blocks' noise, less the mean.
    assert by_blocks == pytest.approx(17 - 2 * 43 / 7 + 17 * 17 / 49, rel=0.2)
    assert by_items < by_blocks / 2


def test_blocks_are_counted_with_their_effective_number():
    none, one, several = (blocks_text(blocks) for blocks in ([None] * 4, ["a"] * 9 + [None], ["a", "a", "b", None]))
    assert none == (
        "No item has a `block` (battery of the questionnaire): intervals take 4 items as independent, and are too narrow if some "
        "belong to one battery."
    )
    # 100 / (81 + 1), and 16 / (4 + 1 + 1).
    assert one.startswith("10 items in 2 blocks (1 named), equivalent to 1.2 of equal size: most items are of one block")
    assert several == "4 items in 3 blocks (2 named), equivalent to 2.7 of equal size: intervals resample blocks."


def test_degrees_of_freedom_of_few_blocks_use_the_upper_limit_of_their_variance():
    n, between, people = np.array([3.0, 3.0]), np.array([0.1, 0.1]), np.array([0.1, 0.1])
    limit = 0.1 * 2 / chi2.ppf(0.25, 2)
    expected = 2 * ((limit + 0.1) / limit) ** 2
    assert freedom_of(n, between, people, np.array([3.0, np.nan])) == pytest.approx([expected, 8.0])
    assert freedom_of(n, between, people) == pytest.approx([8.0, 8.0])


def test_intervals_of_few_blocks_cover_where_part_of_the_variance_is_known():
    rng = np.random.default_rng(0)
    between, x = 0.9 * rng.chisquare(2, 20_000) / 2, rng.normal(size=20_000)
    three, known = np.full(20_000, 3.0), np.full(20_000, 0.1)
    for blocks, low, high in ((three, 0.945, 0.955), (None, 0.91, 0.93)):
        limits = t.ppf(0.975, freedom_of(three, between, known, blocks)) * np.sqrt(between + known)
        assert low < np.mean(np.abs(x) <= limits) < high
