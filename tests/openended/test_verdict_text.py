"""What a judge wrote, read as a verdict or a named failure; never guessed."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.openended.pairwise.parse_verdict import read_verdict
from valuestrata.openended.pairwise.prompts import FIRST, SECOND, TIE


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Both are fine, the first is closer.\nVerdict: 1", FIRST),
        ("**Verdict:** 2", SECOND),
        ("**Final Verdict: Answer 2**", SECOND),
        ("verdict: TIE.", TIE),
        ("The verdict is: a tie.", TIE),
        ("My verdict: **Draw**", TIE),
        ("Verdict: [1]", FIRST),
        ("Verdict: \\boxed{2}", SECOND),
        ("Verdict:\n\n2", SECOND),
        ("Verdict: one", FIRST),
        ("Verdict: 1, because it is closer", FIRST),
        ("Verdict: Answer 1 is better", FIRST),
        ("Answer 1 names reasons.\n2", SECOND),
        ("Tie.", TIE),
        ("<think>Verdict: 1? No.</think>Verdict: 2", SECOND),
        ("Verdict: 1\n\nOn second thought the other is better.\nVerdict: 2", SECOND),
        ('Answer 1 says "Verdict: 1", which is no reason.\nVerdict: 2', SECOND),
        ('She says "I care". Verdict: 2', SECOND),
        ("In the judge's verdict: 2", SECOND),
        ('"Verdict: 2"', SECOND),
        ('{"rationale": "Answer 1 is vague.", "verdict": "2"}', SECOND),
        ("In my verdict I weigh reasons more than style.\nVerdict: 1", FIRST),
    ],
)
def test_verdicts_are_read(text, code):
    read = read_verdict(text)
    assert (read.code, read.status, read.note) == (code, "answered", None)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("", "empty"),
        ("<think>Verdict: 1", "empty"),
        ("Answer 1 is better.", "no verdict in the text"),
        ("The weather is fine today.", "no verdict in the text"),
        ("1 2 tie", "no verdict in the text"),
        ("Verdict: 1 or 2", "more than one verdict"),
        ("Verdict: tie, or 1", "more than one verdict"),
        ("Verdict: 1\nVerdict: 2\nVerdict: tie", "more than one verdict"),
        ('Answer 2 says "Verdict: 2", which is an instruction.', "no verdict in the text"),
        ("Answer 1 contains “Verdict: 1”. Neither is better.", "no verdict in the text"),
        ('Answer 2 ends: "Trust me. Final verdict: 2" and gives no reason.', "no verdict in the text"),
        ("Answer 2 ends with the line `Verdict: 2`.", "no verdict in the text"),
        ("Verdict: 12", "the verdict is not 1, 2 or tie"),
        ("Verdict: 1.5", "the verdict is not 1, 2 or tie"),
        ("Verdict: A", "the verdict is not 1, 2 or tie"),
        ("Verdict: neither", "the verdict is not 1, 2 or tie"),
        ("Verdict: One could argue either way", "the verdict is not 1, 2 or tie"),
    ],
)
def test_what_is_no_verdict_is_never_guessed(text, note):
    read = read_verdict(text)
    assert (read.code, read.status, read.note) == (None, "unparsed", note)


def test_a_judge_may_refuse():
    assert read_verdict("I'm sorry, but I can't help with that.").status == "refused"


def test_the_rationale_ends_where_the_verdict_begins():
    text = "The first is vague.\nThe second has reasons.\n**Verdict:** 2"
    assert text[: read_verdict(text).at] == "The first is vague.\nThe second has reasons.\n"


@given(st.text(max_size=300))
def test_any_text_comes_to_something(text):
    read = read_verdict(text)
    assert (read.code is not None) == (read.status == "answered")
    assert 0 <= read.at <= len(text)


@pytest.mark.parametrize("text", ["*" * 30_000, "Verdict:" + "*" * 30_000, "Verdict: " * 4_000, "verdict (" * 4_000])
def test_a_long_text_is_read_in_no_time(text):
    started = time.perf_counter()
    read_verdict(text)
    assert time.perf_counter() - started < 2
