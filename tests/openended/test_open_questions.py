"""Which open questions are asked, of whom, and how one is drafted where nobody worded it."""

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import build_handmade
from valuestrata.dataset.tables import LANDSCAPE
from valuestrata.errors import UsageError
from valuestrata.openended.ask import plan_open
from valuestrata.openended.questions import chosen_items, drafted_open_question, subsampled, with_open_questions

OPENLY = "Say in your own words what you think, and why."


@pytest.mark.parametrize(
    ("closed", "drafted"),
    [
        ("How much does your family matter?", f"How much does your family matter? {OPENLY}"),
        ("Is divorce justified? Use a scale from 1 to 10, where 1 means never.", f"Is divorce justified? {OPENLY}"),
        ("Please look at this card.  Is work\n good?", f"Is work good? {OPENLY}"),
        ("Which of the following do you trust:", f"Which of the following do you trust. {OPENLY}"),
        ("Is it right? (1-10) Here 1=never and 10=always.", f"Is it right? {OPENLY}"),
        ("Schools get", f"Schools get. {OPENLY}"),
    ],
)
def test_a_draft_keeps_the_matter_and_drops_the_form_of_reply(closed, drafted):
    assert drafted_open_question(closed) == drafted


HAPPY = ["Very happy", "Quite happy", "Not very happy", "Not at all happy"]


@pytest.mark.parametrize(
    ("closed", "labels", "drafted"),
    [
        (
            "Take all things together. Would you say you are very happy, quite happy, not very happy or not at all happy?",
            HAPPY,
            f"Take all things together. {OPENLY}",
        ),
        ("Are you happy? Very happy people are rare.", HAPPY, f"Are you happy? Very happy people are rare. {OPENLY}"),
        ("Some are hanged. Do you favor or oppose it?", ["Favor", "Oppose"], f"Some are hanged. Do you favor or oppose it? {OPENLY}"),
        ("Are you happy, not happy or sad?", ["Happy", "Not happy", "Sad"], f"Are you happy, not happy or sad? {OPENLY}"),
        ("How is it? Say not happy, or happy.", ["Happy", "Not happy", "Unhappy"], f"How is it? Say not happy, or happy. {OPENLY}"),
    ],
)
def test_a_draft_does_not_read_the_options_out_where_anything_else_is_said(closed, labels, drafted):
    assert drafted_open_question(closed, labels) == drafted


def test_only_items_without_an_open_question_are_drafted(handmade):
    worded = handmade.items.with_columns(
        pl.when(pl.col("item") == "Q1").then(pl.lit("What is family to you?")).alias("open_question"),
    )
    data, drafted = with_open_questions(replace(handmade, items=worded))
    assert drafted == ("Q182", "spend")
    assert data.items["open_question"][0] == "What is family to you?"
    assert data.items["open_question"].null_count() == 0
    assert with_open_questions(data) == (data, ())
    plan = plan_open(replace(handmade, items=worded), items=["Q1", "spend"])
    assert plan.drafted == ("spend",)
    assert plan.asking.document["drafted_items"] == ["spend"]
    assert "spend" in str(plan.notes[0])
    assert "--wording" in plan.notes[0].render("cli")
    assert plan_open(replace(handmade, items=worded), items=["Q1"]).notes == []


def test_the_most_divided_items_go_by_modal_diversity_then_distance_then_order(handmade):
    rows = [("Q1", "sex", 0.2, 0.5), ("Q1", "sex_x_age", 0.4, 0.5), ("Q182", "sex", 0.3, 0.6), ("spend", "sex", None, None)]
    landscape = LANDSCAPE.frame([{"item": i, "stratum": s, "subgroups": 2, "mds": m, "wasserstein": w} for i, s, m, w in rows])
    data = replace(handmade, landscape=landscape)
    # Both means of mds are .3; Q182 has the larger distance.
    assert chosen_items(data, most_divided=1) == ["Q182"]
    assert chosen_items(data, most_divided=2) == ["Q1", "Q182"]
    assert chosen_items(data, most_divided=1, strata=["sex_x_age"]) == ["Q1"]
    assert chosen_items(data, topics=["Economy"], most_divided=5) == ["spend"]
    assert chosen_items(replace(data, landscape=LANDSCAPE.empty()), most_divided=1) == ["Q1"]
    with pytest.raises(UsageError, match=r"no topic 'Econmy'. Did you mean 'Economy'"):
        chosen_items(data, topics=["Econmy"])
    with pytest.raises(UsageError, match="at least 1"):
        chosen_items(data, most_divided=0)


HANDMADE = build_handmade()


@given(number=st.integers(1, 8), seed=st.integers(0, 50))
def test_a_subsample_is_spread_over_strata_and_grows_by_adding(number, seed):
    pairs = HANDMADE.part("paper", "all").select("pair_id", "item", "subgroup")
    some = subsampled(HANDMADE, pairs, number, seed)
    more = subsampled(HANDMADE, pairs, number + 1, seed)
    assert set(some["pair_id"]) <= set(more["pair_id"])
    assert some.equals(pairs.join(some, on="pair_id", how="semi", maintain_order="left"))
    alone = subsampled(HANDMADE, pairs.filter(pl.col("item") == "Q1"), number, seed)
    assert alone["pair_id"].to_list() == some.filter(pl.col("item") == "Q1")["pair_id"].to_list()
    described = some.join(HANDMADE.subgroups, on="subgroup")
    strata = pairs.join(HANDMADE.subgroups, on="subgroup").filter(pl.col("item") == "Q1")["stratum"].value_counts()
    for (_,), of_item in described.group_by("item"):
        counts = dict(of_item["stratum"].value_counts().iter_rows())
        # No stratum is taken a second time before every one was taken once.
        assert of_item.height == min(number, strata["count"].sum())
        assert max(counts.values()) == 1 or len(counts) == strata.height


def test_a_subsample_of_nothing_is_refused(handmade):
    with pytest.raises(UsageError, match="pairs_per_item is 0"):
        plan_open(handmade, pairs_per_item=0)
    plan = plan_open(handmade, pairs_per_item=1, seed=3)
    assert plan.asking.pairs.height == 3
    assert (plan.asking.document["pairs_per_item"], plan.asking.document["subsample_seed"]) == (1, 3)
