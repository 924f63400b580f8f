"""Shards: every pair in exactly one, found from the plan alone, in the order of shared prefixes."""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.responses.asked import Writes
from valuestrata.errors import InputDataError, UsageError
from valuestrata.responses.ask.loop import ask, ask_planned
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.responses.distributed.shards import (
    Shard,
    in_prefix_order,
    parse_shard,
    prepare_shard,
    shard_folder,
    shard_of,
    sharded,
    shards_in,
)
from valuestrata.responses.run.folder import load_run, read_meta


def frame_of(number):
    return pl.DataFrame({"pair_id": [f"p{n}" for n in range(number)], "item": ["i"] * number, "subgroup": [f"s{n}" for n in range(number)]})


@settings(deadline=None)
@given(st.integers(1, 200), st.data())
def test_shards_cut_the_pairs_into_slices_of_equal_length(number, data):
    of = data.draw(st.integers(1, number))
    pairs = frame_of(number)
    shards = [shard_of(pairs, index, of) for index in range(1, of + 1)]
    assert pl.concat(shards).equals(pairs)
    sizes = [shard.height for shard in shards]
    assert max(sizes) - min(sizes) <= 1


def test_ten_pairs_in_three_shards():
    assert [shard_of(frame_of(10), index, 3)["pair_id"].to_list() for index in (1, 2, 3)] == [
        ["p0", "p1", "p2"],
        ["p3", "p4", "p5"],
        ["p6", "p7", "p8", "p9"],
    ]


@pytest.mark.parametrize(
    ("word", "message"), [("0/16", "--array=1-16"), ("17/16", "does not exist"), ("3", "I/N"), ("3/0", "I must be"), ("-1/2", "I/N")]
)
def test_a_shard_that_does_not_exist_is_refused(word, message):
    with pytest.raises(UsageError, match=message):
        parse_shard(word)


def test_a_shard_is_read_from_one():
    assert parse_shard(" 3/16 ") == Shard(3, 16)
    assert str(parse_shard("03/16")) == "3/16"


def test_more_shards_than_pairs_are_refused(handmade):
    with pytest.raises(UsageError, match="10 shards of 9 pairs"):
        sharded(handmade, plan_asking(handmade), Shard(1, 10))


@pytest.mark.parametrize("template", ["default", "item-first"])
def test_the_prefix_order_is_that_of_the_rendered_prompts(handmade, template):
    asking = plan_asking(handmade, part="all", template=template, orders="scale,reversed")
    rendered = list(dict.fromkeys(prompt.pair_id for prompt in asking.prompts(handmade, Writes())))
    shuffled = asking.of_pairs(asking.pairs.sample(fraction=1, shuffle=True, seed=3))
    assert in_prefix_order(handmade, shuffled)["pair_id"].to_list() == rendered
    first = "subgroup" if template == "default" else "item"
    # Four shards of eighteen pairs: what stands first changes as seldom as it can within a shard.
    for index in (1, 2, 3, 4):
        values = sharded(handmade, shuffled, Shard(index, 4)).pairs[first].to_list()
        assert len([one for one, other in pairwise(values) if one != other]) == len(set(values)) - 1


def test_a_shard_is_a_run_of_its_own_and_all_orders_and_samples_of_a_pair_are_in_it(handmade, tmp_path):
    asking = plan_asking(handmade, elicitation="text", orders="scale,reversed", samples=2)
    prompts = {}
    for index in (1, 2):
        shard = Shard(index, 2)
        folder = prepare_shard(tmp_path / "run", shard)
        assert folder == shard_folder(tmp_path / "run", index, 2) == tmp_path / "run" / "shards" / f"000{index}-of-0002"
        model = Writes()
        result = ask_planned(handmade, model, folder, sharded(handmade, asking, shard))
        assert result.left == 0
        prompts[index] = {(prompt.pair_id, prompt.order, prompt.sample) for prompt in model.asked}
        assert read_meta(folder)["plan"]["shard"] | {"all_hash": ""} == {
            "index": index,
            "of": 2,
            "pairs": 4 if index == 1 else 5,
            "prompts": 16 if index == 1 else 20,
            "all_pairs": 9,
            "all_hash": "",
        }
    assert not {pair for pair, _, _ in prompts[1]} & {pair for pair, _, _ in prompts[2]}
    assert len(prompts[1] | prompts[2]) == 36
    assert set(shards_in(tmp_path / "run")) == {Shard(1, 2), Shard(2, 2)}
    again = Writes()
    ask_planned(handmade, again, shard_folder(tmp_path / "run", 1, 2), sharded(handmade, asking, Shard(1, 2)))
    assert again.asked == []
    assert load_run(shard_folder(tmp_path / "run", 1, 2)).responses.height == 16


def test_another_cut_of_the_same_run_is_refused(handmade, tmp_path):
    asking = plan_asking(handmade, elicitation="text")
    ask_planned(handmade, Writes(), prepare_shard(tmp_path / "run", Shard(1, 2)), sharded(handmade, asking, Shard(1, 2)))
    with pytest.raises(UsageError, match="has 2 shards"):
        prepare_shard(tmp_path / "run", Shard(1, 3))


def test_shards_do_not_ask_again_what_a_run_has(handmade, tmp_path):
    ask(handmade, Writes(), tmp_path / "run", elicitation="text", max_calls=2)
    with pytest.raises(UsageError, match="begun without shards"):
        prepare_shard(tmp_path / "run", Shard(1, 2))
    # And the other way round: a folder of shards is no run until they are collected.
    asking = plan_asking(handmade, elicitation="text")
    ask_planned(handmade, Writes(), prepare_shard(tmp_path / "cut", Shard(1, 2)), sharded(handmade, asking, Shard(1, 2)))
    with pytest.raises(InputDataError, match="not a run"):
        ask(handmade, Writes(), tmp_path / "cut", elicitation="text")


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputDataError, match="not a run"):
        prepare_shard(tmp_path, Shard(1, 2))
