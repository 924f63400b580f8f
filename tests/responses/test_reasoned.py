"""Reasoned answers: where the thinking ends and the answer begins, and nothing lost between them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.responses.parse.choice import parse_answer
from valuestrata.responses.parse.reasoned import split_reasoned

FOUR = ("1", "2", "3", "4"), (1, 2, 3, 4), {1: "Very important", 2: "Rather important", 3: "Not very important", 4: "Not at all important"}

CUT = [
    ("She is young, and family matters.\n\nAnswer: 1", "She is young, and family matters.\n\n", "Answer: 1"),
    ("Family matters. **Answer:** 3", "Family matters. ", "**Answer:** 3"),
    ("Family matters.\n**Final answer**: 3", "Family matters.\n", "**Final answer**: 3"),
    ("So the final answer is 3.", "So ", "the final answer is 3."),
    ("At first Answer: 2. On reflection:\nAnswer: 4", "At first Answer: 2. On reflection:\n", "Answer: 4"),
    ("Answer: 3\n\nI base my answer on what she said.", "", "Answer: 3\n\nI base my answer on what she said."),
    ("Answer: N is the form. Work matters.\nAnswer: 2", "Answer: N is the form. Work matters.\n", "Answer: 2"),
    ("<think>Perhaps Answer: 2</think>\nAnswer: 3", "<think>Perhaps Answer: 2</think>\n", "Answer: 3"),
    ("<think>Perhaps 2</think>\n\n3", "<think>Perhaps 2</think>", "\n\n3"),
    ("Perhaps 2</think>3", "Perhaps 2</think>", "3"),
    ("<think>It should be 3. Answer: 3", "<think>It should be 3. Answer: 3", ""),
    ("Answer: 2 <think>Was that right?</think>", "", "Answer: 2 <think>Was that right?</think>"),
    ("3 <think>Was that right?</think>", "", "3 <think>Was that right?</think>"),
    ('{"thinking": "Answer: 2 is wrong", "answer": 3}', '{"thinking": "Answer: 2 is wrong", ', '"answer": 3}'),
    ("Thus we get \\boxed{3}.", "Thus we get ", "\\boxed{3}."),
    ("Penso que sim.\nResposta: 3", "Penso que sim.\n", "Resposta: 3"),
    ("குடும்பம் முக்கியம்.\nபதில்: 2", "குடும்பம் முக்கியம்.\n", "பதில்: 2"),
    ("Family matters.\nAnswer: 1 or 2", "Family matters.\n", "Answer: 1 or 2"),
    ("I gave my answer 3 times. I would say 2.", "", "I gave my answer 3 times. I would say 2."),
    ("3", "", "3"),
    ("", "", ""),
]


@pytest.mark.parametrize(("text", "thinking", "closing"), CUT, ids=[text or "empty" for text, *_ in CUT])
def test_cuts_before_the_closing_answer(text, thinking, closing):
    parts = split_reasoned(text, *FOUR)
    assert (parts.thinking, parts.closing) == (thinking, closing)


@pytest.mark.parametrize("text", [text for text, *_ in CUT if text])
def test_the_closing_part_says_what_the_whole_text_says(text):
    whole = parse_answer(text, *FOUR)
    assert parse_answer(split_reasoned(text, *FOUR).closing, *FOUR).answer == whole.answer


PIECES = [*'13\n"*#', "Answer: ", "answer", " is ", "<think>", "</think>", "my final ", "\\boxed{2}", "So. ", "code", ": "]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=20).map("".join)))
def test_thinking_and_closing_part_are_the_text_and_a_second_cut_changes_nothing(text):
    parts = split_reasoned(text, *FOUR)
    assert parts.thinking + parts.closing == text
    assert parts.thinking == "" or parts.thinking.strip()
    again = split_reasoned(parts.closing, *FOUR)
    assert (again.thinking, again.closing) == ("", parts.closing)


THOUGHTS = st.lists(st.sampled_from(["I think of 2 things. ", "Perhaps 4? ", "Answer: 1, no. ", "1. Work\n2. Family\n", "<b>Hm.</b> "]))


FORMS = ["Answer: {}", "**Answer: {}**", "Final answer: {}.", "The answer is {}."]


@given(THOUGHTS.map("".join), st.sampled_from(FORMS), st.integers(1, 4))
def test_a_closing_answer_is_read_whatever_was_thought(thought, form, number):
    parts = split_reasoned(f"{thought}\n{form.format(number)}", *FOUR)
    assert parts.marked
    assert parse_answer(parts.closing, *FOUR).answer == number
    assert parts.thinking.strip() == thought.strip()


@pytest.mark.parametrize("piece", ["Answer: ", "answer ", " ", "my ", '"', "<think>", "\\boxed{", "Answer: 3 "])
def test_a_long_text_of_nothing_but_one_thing_takes_no_time(piece):
    started = time.process_time()
    split_reasoned(piece * 10_000, *FOUR)
    assert time.process_time() - started < 3
