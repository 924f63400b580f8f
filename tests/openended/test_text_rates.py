"""Rates of answers by subgroup, with intervals clustered by item."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.stats import binomtest, t

from valuestrata.openended.text.rates import MEASURES, text_rates
from valuestrata.openended.text.schema import TEXTS
from valuestrata.stats.cluster_intervals import clustered_intervals

SUBGROUPS = pl.DataFrame(
    {"subgroup": ["sex_F", "sex_M"], "stratum": ["sex", "sex"], "sex": ["F", "M"]},
)
ITEMS = pl.DataFrame({"item": list("abcde"), "topic": ["One", "Two", None, None, None], "block": [None] * 5})


def text(item: str, subgroup: str, words: int = 10, **other) -> dict:
    row = {"run": "r", "pair_id": f"{item}_{subgroup}", "item": item, "subgroup": subgroup, "sample": 0, "refused": False, "empty": False}
    return row | {"cut": False, "written": True, "words": words, "sentences": 1} | other


def rates(rows: list[dict], measure: str, by: str = "all"):
    found = text_rates(TEXTS.frame(rows), ITEMS, SUBGROUPS, ["sex"])
    return {row["key"]: row for row in found.filter((pl.col("measure") == measure) & (pl.col("by") == by)).to_dicts()}


def test_means_by_hand():
    rows = [text("a", "sex_F", 10), text("a", "sex_M", 20), text("b", "sex_F", 30), text("b", "sex_M", 40)]
    whole = rates(rows, "words")["all"]
    assert (whole["value"], whole["pairs"], whole["items"]) == (25.0, 4, 2)
    assert whole["ci_low"] is None, "two items say nothing of how much items vary"
    # Item sums of y - m: -20 and 20; variance 2/1 * 800 / 16 = 100; t with one degree of freedom.
    one = [np.array([value]) for value in (25.0, 800.0, 4.0, 2.0)]
    low, high = clustered_intervals(*one, np.array([False]))
    assert high[0] - 25.0 == pytest.approx(25.0 - low[0]) == pytest.approx(t.ppf(0.975, 1) * 10)
    by_level = rates(rows, "words", "level")
    assert {key: row["value"] for key, row in by_level.items()} == {"sex=F": 20.0, "sex=M": 30.0}
    by_topic = rates(rows, "words", "topic")
    assert {key: (row["value"], row["ci_low"]) for key, row in by_topic.items()} == {"One": (15.0, None), "Two": (35.0, None)}


def test_five_items_have_an_interval():
    rows = [text(item, "sex_F", words) for item, words in zip("abcde", (10, 20, 30, 40, 50), strict=True)]
    whole = rates(rows, "words")["all"]
    # Squares of y - m sum to 1,000; variance 5/4 * 1000 / 25 = 50.
    assert whole["ci_high"] - 30.0 == pytest.approx(30.0 - whole["ci_low"]) == pytest.approx(t.ppf(0.975, 4) * 50**0.5)
    assert rates(rows[:4], "words")["all"]["ci_low"] is None


def test_samples_of_a_pair_are_averaged_first():
    rows = [text("a", "sex_F", 10), text("a", "sex_F", 30, sample=1), text("b", "sex_F", 50)]
    whole = rates(rows, "words")["all"]
    assert (whole["value"], whole["answers"], whole["pairs"]) == (35.0, 3, 2)


def test_what_was_not_written_has_no_words_and_cannot_leak():
    rows = [
        text("a", "sex_F", leak="self"),
        text("b", "sex_F", refused=True, written=False),
        text("b", "sex_M", 0, empty=True, written=False),
    ]
    assert rates(rows, "refused")["all"]["value"] == pytest.approx(1 / 3)
    assert rates(rows, "empty")["all"]["value"] == pytest.approx(1 / 3)
    assert rates(rows, "leak")["all"]["value"] == 1.0
    assert rates(rows, "leak_profile")["all"]["value"] == 0.0
    assert rates(rows, "words")["all"]["pairs"] == 1


def test_where_nothing_varies_the_interval_is_the_exact_binomial_one():
    count = np.array([30.0])
    low, high = clustered_intervals(np.zeros(1), np.zeros(1), count, count, np.array([True]))
    known = binomtest(0, 30).proportion_ci(method="exact")
    assert (low[0], high[0]) == (0.0, pytest.approx(known.high))
    low, high = clustered_intervals(np.ones(1), np.zeros(1), count, count, np.array([True]))
    assert (low[0], high[0]) == (pytest.approx(1 - known.high), 1.0)


@pytest.mark.slow
def test_intervals_of_clustered_shares_cover():
    rng = np.random.default_rng(3)
    truth, items, per_item, repeats = 0.1, 25, 40, 2000
    rate = rng.beta(2, 18, (repeats, items))  # shares of items, mean .1
    hits = rng.binomial(per_item, rate)
    value = hits.sum(axis=1) / (items * per_item)
    squares = ((hits - value[:, None] * per_item) ** 2).sum(axis=1)
    shape = np.ones(repeats)
    low, high = clustered_intervals(value, squares, shape * items * per_item, shape * items, shape.astype(bool))
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.98
    # Intervals that take answers for independent would miss far too often.
    naive = [binomtest(int(k), items * per_item).proportion_ci(method="exact") for k in hits[:300].sum(axis=1)]
    assert np.mean([ci.low <= truth <= ci.high for ci in naive]) < 0.85


def test_rates_over_blocks_are_those_of_their_sums():
    """Six items of blocks a, a, b, b, c, d with 1, 0, 1, 1, 0, 0 refusals: 3.6 blocks, rests of the blocks 0, 1, -.5 and -.5."""
    refused = dict(zip("abcdef", (1, 0, 1, 1, 0, 0), strict=True))
    rows = [text(item, "sex_F", refused=bool(value)) for item, value in refused.items()]
    items = pl.DataFrame({"item": list(refused), "topic": ["One"] * 6, "block": ["a", "a", "b", "b", "c", None]})
    found = text_rates(TEXTS.frame(rows), items, SUBGROUPS, ["sex"]).filter(pl.col("measure") == "refused", pl.col("by") == "all")
    number, value = 36 / 10, np.array([0.5])
    of_blocks = clustered_intervals(value, np.array([1.5]), np.array([6.0]), np.array([number]), np.array([True]))
    assert (found["items"][0], found["value"][0]) == (6, 0.5)
    assert (found["ci_low"][0], found["ci_high"][0]) == pytest.approx((of_blocks[0][0], of_blocks[1][0]))
    one = text_rates(TEXTS.frame(rows), items.with_columns(pl.lit("a").alias("block")), SUBGROUPS, ["sex"])
    none = text_rates(TEXTS.frame(rows), items.with_columns(pl.lit(None, pl.String).alias("block")), SUBGROUPS, ["sex"])
    assert_frame_equal(one, none)


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["sex_F", "sex_M"]), st.integers(0, 60)), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_changes_nothing(cells, random):
    rows = [
        text(item, subgroup, words, sample=place, leak=[None, "self"][words % 2]) for place, (item, subgroup, words) in enumerate(cells)
    ]
    found = text_rates(TEXTS.frame(rows), ITEMS, SUBGROUPS, ["sex"])
    random.shuffle(rows)
    again = text_rates(TEXTS.frame(rows), ITEMS, SUBGROUPS, ["sex"])
    keys = ["run", "by", "key", "measure"]
    for one, two in zip(found.sort(keys).to_dicts(), again.sort(keys).to_dicts(), strict=True):
        assert one == pytest.approx(two)
        assert one["ci_low"] is None or one["ci_low"] <= one["value"] + 1e-9 <= one["ci_high"] + 2e-9
        assert one["measure"] in MEASURES
