"""Words that stand out in a level's answers: against a table worked by hand, and with words planted."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.openended.text.groups import blocks_of
from valuestrata.openended.text.markers import log_odds, markers

ATTRIBUTES = ["sex", "age"]
SUBGROUPS = pl.DataFrame(
    [("age_Y", "age", None, "Y"), ("sex_F", "sex", "F", None), ("sex_M", "sex", "M", None)]
    + [(f"sex_x_age_{sex}_{age}", "sex_x_age", sex, age) for sex in "FM" for age in "YO"],
    schema=["subgroup", "stratum", *ATTRIBUTES],
    orient="row",
)


def test_log_odds_by_hand():
    # y = (10, 5), y' = (4, 11), prior (1, 1): log(11/6) - log(5/12), variance 1/11 + 1/5.
    ratio, z = log_odds(np.array([10.0, 5.0]), np.array([4.0, 11.0]), np.ones(2))
    assert ratio[0] == pytest.approx(math.log(11 / 6) - math.log(5 / 12))
    assert z[0] == pytest.approx(ratio[0] / math.sqrt(1 / 11 + 1 / 5))
    assert ratio[1] == pytest.approx(-ratio[0]), "of two words one's gain is the other's loss"


def test_a_heavy_prior_draws_to_nothing():
    uses, others = np.array([10.0, 50.0]), np.array([1.0, 59.0])
    light, heavy = (log_odds(uses, others, np.array([0.1, 0.9]) * weight)[1][0] for weight in (1, 10_000))
    assert light > 2 > 0.5 > heavy > 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=20))
def test_changing_sides_changes_the_sign(table):
    uses, others = (np.array(column, dtype=float) for column in zip(*table, strict=True))
    prior = (uses + others + 1) / (uses + others + 1).sum() * 10
    assert log_odds(uses, others, prior)[1] == pytest.approx(-log_odds(others, uses, prior)[1])


def test_a_block_differs_in_the_attribute_alone():
    blocks = blocks_of(SUBGROUPS, ATTRIBUTES, "sex")
    found = {tuple(sorted(part["subgroup"])) for _, part in blocks.group_by("block")}
    assert found == {("sex_F", "sex_M"), ("sex_x_age_F_Y", "sex_x_age_M_Y"), ("sex_x_age_F_O", "sex_x_age_M_O")}


def answers(said: dict[str, str], items: int = 20) -> pl.DataFrame:
    rows = [("r", f"q{item}", subgroup, text) for item in range(items) for subgroup, text in said.items()]
    return pl.DataFrame(rows, schema=["run", "item", "subgroup", "text"], orient="row")


def marked(said: dict[str, str], own=None, items: int = 20) -> set[tuple[str, str]]:
    found = markers(answers(said, items), SUBGROUPS, ATTRIBUTES, own or {})
    return set(found.filter("marker").select("level", "word").rows())


COMMON = "our town needs schools roads doctors buses parks"


def test_planted_words_are_found_and_common_ones_are_not():
    said = {f"sex_x_age_{sex}_{age}": COMMON + (" kitchen" if sex == "F" else " football") for sex in "FM" for age in "YO"}
    assert marked(said) == {("F", "kitchen"), ("M", "football")}


def test_a_groups_own_name_is_leakage_and_no_marker():
    said = {"sex_F": COMMON + " woman kitchen", "sex_M": COMMON + " work"}
    own = {("sex", "F"): frozenset({"woman"})}
    assert marked(said, own) == {("F", "kitchen"), ("M", "work")}


def test_ages_are_no_markers():
    said = {"sex_x_age_F_Y": COMMON + " 20-year-old garden", "sex_x_age_F_O": COMMON + " 70-year-old"}
    assert marked(said) == {("Y", "garden")}


def test_a_word_of_one_item_is_none_of_a_group():
    frame = answers({"sex_F": COMMON, "sex_M": COMMON})
    frame = pl.concat([frame, answers({"sex_F": COMMON + " kitchen", "sex_M": COMMON}, items=1)] * 8)
    found = markers(frame, SUBGROUPS, ATTRIBUTES, {}).filter(pl.col("word") == "kitchen")
    assert found["items"].to_list() == [1]
    assert found["marker"].to_list() == [False]


def test_repeating_a_word_within_an_answer_counts_once():
    once = markers(answers({"sex_F": COMMON + " kitchen", "sex_M": COMMON}), SUBGROUPS, ATTRIBUTES, {})
    often = markers(answers({"sex_F": COMMON + " kitchen" * 9, "sex_M": COMMON}), SUBGROUPS, ATTRIBUTES, {})
    assert once.equals(often)


def test_items_that_only_one_level_answered_are_left_out():
    frame = pl.concat(
        [answers({"sex_F": COMMON, "sex_M": COMMON}), answers({"sex_F": "kitchen garden"}, 30).with_columns(item=pl.lit("new"))]
    )
    found = markers(frame, SUBGROUPS, ATTRIBUTES, {})
    assert found.filter(pl.col("word") == "kitchen").is_empty()


@pytest.mark.slow
def test_words_dealt_by_chance_are_seldom_marked():
    rng = np.random.default_rng(0)
    words = [f"word{letter}{other}" for letter in "abcdefghij" for other in "klmnopqrst"]
    hits = 0
    for _ in range(20):
        rows = [
            ("r", f"q{item}", subgroup, " ".join(rng.choice(words, 12)))
            for item in range(30)
            for subgroup in ("sex_F", "sex_M", "sex_x_age_F_Y", "sex_x_age_M_Y")
        ]
        frame = pl.DataFrame(rows, schema=["run", "item", "subgroup", "text"], orient="row")
        hits += int(markers(frame, SUBGROUPS, ATTRIBUTES, {})["marker"].any())
    assert hits <= 3


def test_answers_without_words_have_no_markers():
    assert markers(answers({"sex_F": "1 2 3", "sex_M": "the of"}), SUBGROUPS, ATTRIBUTES, {}).is_empty()


def test_a_run_of_one_word_has_no_markers():
    assert markers(answers({"sex_F": "Work.", "sex_M": "Work."}), SUBGROUPS, ATTRIBUTES, {}).is_empty()
    own = {("sex", "F"): frozenset({"women"})}
    found = markers(answers({"sex_F": "Women work.", "sex_M": "Work."}), SUBGROUPS, ATTRIBUTES, own)
    assert found.filter(pl.col("level") == "F").is_empty(), "but for its own name the level says one word"
