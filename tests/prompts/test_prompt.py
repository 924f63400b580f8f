"""The identity of a prompt: what it covers, and that it stays what it was."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.prompts.prompt import Message, Prompt

PROMPT = Prompt(
    pair_id="Q1_sex_Female",
    item="Q1",
    subgroup="sex_Female",
    messages=(Message("system", "Be brief."), Message("user", "Wie wichtig? \ud800 குடும்பம்")),
    prefill="Answer:",
    options=("1", "2"),
    shown=(1, 2),
    elicitation="text",
    template="default",
    template_version="1+abc",
    order="reversed",
    paraphrase=1,
    sample=2,
)


def test_hash_and_key_are_pinned():
    # Stores hold them: with another way to compute them every answer there is would be asked again.
    assert PROMPT.hash == "ccf1f0cdd94482abfc20f08f5a7ed26df1569aae2f5c4667ea4f7f774489a7ed"
    assert PROMPT.key == "b0c66c3c3239a6d5a2f8ac299315a713eafe4046138f9837f3225bcb5fcbf83b"


@pytest.mark.parametrize(
    "seen", [{"messages": PROMPT.messages[1:]}, {"prefill": "Answer"}, {"options": ("1", "3")}, {"options": ("1", "2", "3")}]
)
def test_what_is_seen_changes_the_hash_and_the_key(seen):
    assert replace(PROMPT, **seen).hash != PROMPT.hash
    assert replace(PROMPT, **seen).key != PROMPT.key


@pytest.mark.parametrize(
    "how",
    [
        {"pair_id": "Q1_sex_Male"},
        {"elicitation": "reasoned"},
        {"template": "mine"},
        {"template_version": "2"},
        {"order": "balanced-1-of-2"},
        {"paraphrase": 0},
        {"sample": 0},
    ],
)
def test_how_it_is_asked_changes_the_key_alone(how):
    assert replace(PROMPT, **how).hash == PROMPT.hash
    assert replace(PROMPT, **how).key != PROMPT.key


TEXTS = st.lists(st.text("1:2a", max_size=6), min_size=1, max_size=4)


@given(TEXTS, TEXTS)
def test_no_two_lists_of_options_run_together_alike(one, other):
    same = replace(PROMPT, options=tuple(one)).hash == replace(PROMPT, options=tuple(other)).hash
    assert same == (one == other)
