"""Prompts as a frame: round trips through files and other Parquet readers."""

from dataclasses import fields, replace

import polars as pl
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.errors import InputDataError, UsageError
from valuestrata.prompts import load_template, render_prompts
from valuestrata.prompts.frame import PROMPTS, prompts_from_frame, prompts_to_frame
from valuestrata.prompts.prompt import ELICITATIONS, Message, Prompt

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CODES = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4).map(tuple)
PROMPT = st.builds(
    Prompt,
    pair_id=TEXT,
    item=TEXT,
    subgroup=TEXT,
    messages=st.lists(st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=TEXT), max_size=3).map(tuple),
    prefill=TEXT,
    options=st.lists(TEXT, max_size=4).map(tuple),
    shown=CODES,
    elicitation=st.sampled_from(ELICITATIONS),
    template=TEXT,
    template_version=TEXT,
    order=TEXT,
    paraphrase=st.integers(0, 99),
    sample=st.integers(0, 99),
)
PLAIN = Prompt(
    pair_id="Q1_all",
    item="Q1",
    subgroup="all",
    messages=(Message("user", "How?"),),
    prefill="Answer:",
    options=("1", "2"),
    shown=(1, 2),
    elicitation="text",
    template="t",
    template_version="1",
)


@settings(deadline=None)
@given(st.lists(PROMPT, max_size=6))
def test_prompts_come_back_as_they_were(prompts):
    frame = prompts_to_frame(prompts)
    assert prompts_from_frame(frame) == prompts
    assert frame["key"].to_list() == [prompt.key for prompt in prompts]
    assert frame.schema == PROMPTS.empty().schema


def test_every_field_of_a_prompt_has_a_column():
    assert {field.name for field in fields(Prompt)} | {"key"} == set(PROMPTS.columns)


def test_rendered_prompts_survive_parquet_whoever_reads_it(handmade, tmp_path):
    pairs = handmade.part("paper", "all")
    prompts = list(
        render_prompts(handmade, pairs, template=load_template("default"), elicitation="logprob", orders=["scale", "reversed"], samples=2)
    )
    prompts_to_frame(prompts).write_parquet(tmp_path / "prompts.parquet")
    assert prompts_from_frame(pl.read_parquet(tmp_path / "prompts.parquet")) == prompts
    by_arrow = pl.from_arrow(pyarrow.parquet.read_table(tmp_path / "prompts.parquet"))
    read = prompts_from_frame(by_arrow)
    assert read == prompts
    # The two samples of a prompt hold one chat, not two.
    assert read[0].messages is read[1].messages


def test_a_custom_id_may_stand_beside_and_is_left_alone():
    frame = prompts_to_frame([PLAIN, replace(PLAIN, sample=1)], custom_id=lambda prompt: f"{prompt.pair_id}|{prompt.sample}")
    assert frame["custom_id"].to_list() == ["Q1_all|0", "Q1_all|1"]
    assert prompts_from_frame(frame) == [PLAIN, replace(PLAIN, sample=1)]


def test_half_a_surrogate_pair_is_refused_by_pair():
    broken = replace(PLAIN, pair_id="Q9_all", messages=(Message("user", "\ud83d"),))
    with pytest.raises(InputDataError, match=r"'Q9_all'.*half a surrogate pair"):
        prompts_to_frame([PLAIN, broken])


def test_a_frame_that_holds_no_prompts_is_refused():
    frame = prompts_to_frame([PLAIN])
    with pytest.raises(InputDataError, match=r"batch/prompts\.parquet.*'shown'"):
        prompts_from_frame(frame.drop("shown"), "batch/prompts.parquet")
    with pytest.raises(InputDataError, match=r"'prefill'.*empty row"):
        prompts_from_frame(frame.with_columns(prefill=pl.lit(None, pl.String)))
    with pytest.raises(UsageError, match="telepathy"):
        prompts_from_frame(frame.with_columns(elicitation=pl.lit("telepathy")))
