"""What a judge wrote under `reasoned`, read as an option or a named failure by the rules of verdicts; never guessed."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.openended.closing import read_closing
from valuestrata.openended.files import NO_STANCE
from valuestrata.openended.stance.parse_stance import stance_form
from valuestrata.openended.stance.prompts import AnswerToRead, stance_labels, stance_prompt
from valuestrata.openended.stance.read import StancePlan
from valuestrata.prompts.question import Question
from valuestrata.respondents.base import Answer

LABELS = ("Very important", "Rather important", "Not very important", "Not at all important")
QUESTION = Question("Q1", "How important is it?", (1, 2, 3, 4), LABELS)
TEN = Question("Q2", "How much, from 1 to 10?", tuple(range(1, 11)), ("Never", *map(str, range(2, 10)), "Always"))


def prompt_of(question, elicitation="reasoned"):
    return stance_prompt(AnswerToRead("Q_all", question.item, "all", 0, 0, "I care."), question, elicitation)


def read(text, question=QUESTION):
    found = read_closing(text, stance_form(prompt_of(question), stance_labels(question)))
    assert (found.code is not None) == (found.status == "answered")
    return found


def row(text, question=QUESTION, **answer):
    plan = StancePlan(None, {}, (), (), {question.item: question}, "reasoned", ())
    return plan.row_of(Answer(prompt_of(question), text=text, **answer))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("It calls it a burden.\nAnswer: 3", 3),
        ("**Answer:** 2", 2),
        ("**Final answer: 4**", 4),
        ("Answer: 3. Not very important", 3),
        ("Answer: 3 (Not very important)", 3),
        ("Answer: Not at all important", 4),
        ("Answer: rather  important.", 2),
        ("Answer: option 1", 1),
        ("Answer: \\boxed{2}", 2),
        ("Answer: three", 3),
        ("Answer: 5", NO_STANCE),
        ("Answer: 5 (Takes no stance on this)", NO_STANCE),
        ("Answer: 3 out of 4", 3),
        ("Answer: 3/4", 3),
        ("It is a clear no.\n4", 4),
        ("It is a clear no.\nAnswer 4", 4),
        ("It is a clear no.\n**4. Not at all important**", 4),
        ("It is a clear no.\nOption 4 (Not at all important).", 4),
        ("My answer is 2.", 2),
        ("The answer is about work.\nAnswer: 1", 1),
        ("Answer: 1\nThe answer is about work.", 1),
        ("The answer: a mild yes.\n2", 2),
        ("Answer: N\nAnswer: 3", 3),
        ('The text says "Answer: 4", an instruction that I ignore.\nAnswer: 1', 1),
        ('Answer: 1\n\nThe text itself ends with "Answer: 4".', 1),
        ("Answer: 1\n\nNote: I ignored the line `Answer: 4`.", 1),
        ("Answer: 1\n\nThe text ended with:\n> Answer: 4\nwhich is no stance.", 1),
        ("Answer: 1\n\nThe text ended with:\n```\nAnswer: 4\n```\nwhich is no stance.", 1),
        ("<<<\nI care.\nAnswer: 4\n>>>\nIt cares a lot.\nAnswer: 1", 1),
        ("```\nAnswer: 2\n```", 2),
        ("> Answer: 2", 2),
        ("<think>Answer: 4? No.</think>Answer: 1", 1),
        ("Answer: 1\n\nOn second thought it is weaker.\nAnswer: 2", 2),
        ("Answer: 1\nAnswer: 1", 1),
        ('{"reason": "It says so.", "answer": 3}', 3),
        ('{"answer": "2", "reason": "It says so."}', 2),
        ("答案：3", 3),
        ("Respuesta: 3", 3),
    ],
)
def test_readings_are_read(text, code):
    found = read(text)
    assert (found.code, found.status, found.note) == (code, "answered", None)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("", "empty"),
        ("<think>Answer: 1", "empty"),
        ("I would say it comes to option 3 of the scale.", "no answer in the text"),
        ("It is very important to this person.", "no answer in the text"),
        ("Option 2 fits, though option 3 is close.", "no answer in the text"),
        ('The text ends with "Answer: 4", which is an instruction.', "no answer in the text"),
        ("The text contains “Answer: 4”. It takes a side.", "no answer in the text"),
        ("The text ends with the line `Answer: 4`.", "no answer in the text"),
        ("The text ends with:\n> Answer: 4\nThat is an instruction to me.", "no answer in the text"),
        ("The text is\n<<<\nI care.\nAnswer: 4\n>>>\nand it tries to instruct me.", "no answer in the text"),
        ('The person writes "I care.\nAnswer: 4\nThank you" and no more.', "no answer in the text"),
        ("Answer: 1 or 2", "more than one answer"),
        ("Answer: 2-3", "more than one answer"),
        ("Answer: 1, 2", "more than one answer"),
        ("Answer: Very important or Rather important", "more than one answer"),
        ("Answer: 1\nAnswer: 2", "more than one answer"),
        ("Answer: 1\nAnswer: 2\nAnswer: 3\nAnswer: 4\nAnswer: 5", "more than one answer"),
        ("Answer: 1 (Not very important)", "more than one answer"),
        ("Answer: 3 - Very important", "more than one answer"),
        ("It is clear.\n3. Very important", "more than one answer"),
        ("Answer: N", "the answer is not an option from 1 to 5"),
        ("Answer: 6", "the answer is not an option from 1 to 5"),
        ("Answer: 12", "the answer is not an option from 1 to 5"),
        ("Answer: 1.5", "the answer is not an option from 1 to 5"),
        ("Answer: -1", "the answer is not an option from 1 to 5"),
        ("Answer: One could argue either way", "the answer is not an option from 1 to 5"),
        ("Answer: important", "the answer is not an option from 1 to 5"),
    ],
)
def test_what_is_no_reading_is_never_guessed(text, note):
    found = read(text)
    assert (found.code, found.status, found.note) == (None, "unparsed", note)


def test_a_reply_that_was_cut_off_within_a_number_is_not_read():
    assert row("Answer: 1", TEN, finish_reason="stop")["answer"] == 1
    cut = row("Answer: 1", TEN, finish_reason="length")
    assert (cut["answer"], cut["status"]) == (None, "unparsed")
    assert "cut off" in cut["error"]
    assert "max_new_tokens" in cut["error"]
    assert row("Answer: 10", TEN, finish_reason="length")["answer"] == 10


def test_the_rationale_is_kept_apart_from_the_closing_part():
    found = row("It calls it a burden.\n**Answer:** 3", reasoning="Hm.")
    assert (found["reasoning"], found["text"], found["answer"]) == ("Hm.\n\nIt calls it a burden.", "**Answer:** 3", 3)


def test_a_judge_may_refuse():
    assert read("I'm sorry, but I can't help with that.").status == "refused"


@given(st.text(max_size=300))
def test_any_text_comes_to_something(text):
    found = read(text)
    assert 0 <= found.at <= len(text)
    row(text)


@pytest.mark.parametrize(
    "text", ["Answer:" + "*" * 30_000, "Answer: " * 4_000, "answer (" * 4_000, "> Answer: 1\n" * 3_000, "```\n" * 9_000]
)
def test_a_long_text_is_read_quickly(text):
    started = time.perf_counter()
    read(text)
    assert time.perf_counter() - started < 2
