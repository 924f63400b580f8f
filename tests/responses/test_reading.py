"""From an answer to a row: what each elicitation reads, and what it keeps of what was written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.prompts.prompt import ELICITATIONS, Message, Prompt
from valuestrata.respondents.base import Answer
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.schema import RESPONSES

LABELS = {1: "Very important", 2: "Rather important", 3: "Not very important", 4: "Not at all important"}
ROW = {"item": "Q1", "subgroup": "sex_Female", "template": "default", "template_version": "1"}


def prompt(elicitation="text", shown=(1, 2, 3, 4), order="scale"):
    return Prompt(
        pair_id="Q1_sex_Female",
        messages=(Message("user", "?"),),
        prefill="Answer:",
        options=tuple(str(n) for n in range(1, len(shown) + 1)),
        shown=shown,
        elicitation=elicitation,
        order=order,
        **ROW,
    )


REVERSED = (4, 3, 2, 1)


def read(elicitation, text=None, shown=(1, 2, 3, 4), labels=LABELS, **given):
    return row_of(Answer(prompt(elicitation, shown), text=text, **given), labels)


def test_a_row_has_every_column_of_the_table():
    row = read("text", "Answer: 3")
    # One answer stands for no simulated respondents.
    assert list(row) == [name for name in RESPONSES.columns if name != "respondents"]
    assert (row["answer"], row["status"], row["text"], row["reasoning"], row["option_probs"]) == (3, "answered", "Answer: 3", None, None)


def test_a_stated_distribution_stands_in_scale_order_and_its_likeliest_option_is_the_answer():
    text = "1: 10%\n2: 20%\n3: 60%\n4: 10%"
    row = read("stated-distribution", text)
    assert (row["answer"], row["status"], row["error"], row["text"]) == (3, "answered", None, text)
    assert row["option_probs"] == pytest.approx([0.1, 0.2, 0.6, 0.1])
    assert row["option_mass"] is None
    turned = read("stated-distribution", text, shown=REVERSED)
    assert turned["answer"] == 2
    assert turned["option_probs"] == pytest.approx([0.1, 0.6, 0.2, 0.1])
    assert turned["shown"] == [4, 3, 2, 1]


def test_of_equally_likely_options_the_lowest_code_is_the_answer():
    assert read("stated-distribution", "1: 50%\n2: 50%\n3: 0%\n4: 0%", shown=REVERSED)["answer"] == 3


def test_a_stated_distribution_that_cannot_be_read_says_why():
    row = read("stated-distribution", "1: 10%\n2: 20%")
    assert (row["answer"], row["status"], row["option_probs"]) == (None, "unparsed", None)
    assert row["error"] == "the shares come to 30 and not to 100; none for 3, 4"
    assert row["text"] == "1: 10%\n2: 20%"
    assert read("stated-distribution", "As an AI, I cannot answer that.")["status"] == "refused"
    assert read("stated-distribution", "Answer: 3")["status"] == "unparsed"


def test_the_other_readouts_do_not_read_shares_nor_shares_the_answer():
    assert read("text", "1: 10%\n2: 90%")["option_probs"] is None
    assert read("stated-distribution", "Answer: 2")["answer"] is None


def test_reasoned_keeps_the_thinking_apart_from_the_closing_answer():
    row = read("reasoned", "At first Answer: 2, but she is young.\n\nAnswer: 1")
    assert (row["answer"], row["status"]) == (1, "answered")
    assert row["reasoning"] == "At first Answer: 2, but she is young.\n\n"
    assert row["text"] == "Answer: 1"


def test_what_the_provider_gave_as_reasoning_stays_and_what_was_written_comes_behind_it():
    assert read("reasoned", "Answer: 1", reasoning="She is young.")["reasoning"] == "She is young."
    row = read("reasoned", "So it is.\nAnswer: 1", reasoning="She is young.")
    assert (row["reasoning"], row["text"]) == ("She is young.\n\nSo it is.\n", "Answer: 1")
    thought = read("reasoned", "<think>She is young.</think>\n\n3")
    assert (thought["answer"], thought["reasoning"], thought["text"]) == (3, "<think>She is young.</think>", "\n\n3")


def test_without_a_marked_answer_the_whole_text_is_read():
    row = read("reasoned", "She is young, so I would say 2.")
    assert (row["answer"], row["text"], row["reasoning"]) == (2, "She is young, so I would say 2.", None)
    assert read("reasoned", "As an AI, I have no family.")["status"] == "refused"
    assert read("reasoned", "So.\nAnswer: 7")["status"] == "invalid_code"


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS", "max_output_tokens"])
@pytest.mark.parametrize("text", ["She is young. I would say 2, but then", "<think>She is young. Answer: 2", "1. First of all", ""])
def test_thinking_that_was_cut_off_holds_no_answer(text, finish):
    row = read("reasoned", text, finish_reason=finish)
    assert (row["answer"], row["status"]) == (None, "unparsed")
    assert row["error"].startswith("cut off before it was finished (no closing answer)")
    assert "max_new_tokens" in row["error"]
    assert (row["reasoning"] or "") + row["text"] == text


def test_an_answer_given_before_the_cut_counts():
    row = read("reasoned", "So.\nAnswer: 2\nBecause", finish_reason="length")
    assert (row["answer"], row["status"], row["error"]) == (2, "answered", None)
    assert read("text", "Answer: 2 because", finish_reason="length")["answer"] == 2


@pytest.mark.parametrize("elicitation", ["text", "reasoned"])
def test_the_first_digit_of_a_longer_option_is_no_answer_where_the_text_was_cut_off(elicitation):
    ten = tuple(range(1, 11))
    labels = {1: "Never", 10: "Always"} | {n: str(n) for n in range(2, 10)}
    row = read(elicitation, "Answer: 1", shown=ten, labels=labels, finish_reason="length")
    assert (row["answer"], row["status"]) == (None, "unparsed")
    assert "within a number" in row["error"]
    assert read(elicitation, "Answer: 1", shown=ten, labels=labels, finish_reason="stop")["answer"] == 1
    assert read(elicitation, "Answer: 2", shown=ten, labels=labels, finish_reason="length")["answer"] == 2


def test_a_cut_off_text_says_so_under_every_elicitation():
    for elicitation in ("text", "stated-distribution"):
        row = read(elicitation, "Well, there are many", finish_reason="length")
        assert row["error"].endswith("raise max_new_tokens")
        assert "max-new-tokens" not in read(elicitation, "Well, there are many", finish_reason="stop")["error"]


def test_a_first_token_that_is_no_option_is_never_read_out_of_the_words_that_follow():
    for text, finish in (("I would say 3", "stop"), ("I would say that many", "length")):
        row = read("first-token", text, option_mass=0.0, finish_reason=finish)
        assert (row["answer"], row["status"], row["error"]) == (None, "unparsed", "no option among the likeliest tokens")
    assert read("first-token", "I cannot answer that.", option_mass=0.0, finish_reason="length")["status"] == "refused"
    cut = read("first-token", "Answer", option_mass=0.0, finish_reason="length")
    assert cut["error"] == "cut off before it was finished (no answer token); raise max_new_tokens"


def test_a_model_that_thought_and_wrote_nothing_has_answered_the_call():
    row = read("reasoned", None, reasoning="She is", finish_reason="length")
    assert (row["status"], row["reasoning"], row["text"]) == ("unparsed", "She is", "")
    assert read("reasoned", None)["status"] == "failed"


@pytest.mark.parametrize("elicitation", ELICITATIONS)
def test_an_error_probabilities_and_a_choice_are_read_alike_under_every_elicitation(elicitation):
    assert read(elicitation, error="429: slow down")["status"] == "failed"
    chosen = read(elicitation, choice=4)
    assert (chosen["answer"], chosen["option_probs"]) == (4, None)
    given = read(elicitation, text="1: 100%", option_probs=(0.1, 0.2, 0.3, 0.4), option_mass=0.9, shown=REVERSED)
    assert (given["answer"], given["option_mass"]) == (1, 0.9)
    assert given["option_probs"] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert read(elicitation, option_probs=(0.5, 0.6, 0.0, 0.0))["status"] == "failed"


WRITTEN = st.one_of(
    st.text(),
    st.lists(st.sampled_from(["Answer: 2", "1: 50%", "2: 50%", "\n", "<think>", "</think>", "Hm. ", "answer"]), max_size=10).map("".join),
)


@given(st.sampled_from(["text", "stated-distribution", "reasoned"]), WRITTEN, st.sampled_from([None, "length", "stop"]))
def test_nothing_written_is_lost_and_a_row_read_again_is_the_same(elicitation, text, finish):
    answer = Answer(prompt(elicitation), text=text, finish_reason=finish)
    row = row_of(answer, LABELS)
    assert (row["reasoning"] or "") + row["text"] == text.encode("utf-8", "replace").decode("utf-8")
    # As a control copies an answer out of a run that was stopped.
    probabilities = None if row["option_probs"] is None else tuple(row["option_probs"])
    again = row_of(replace(answer, text=row["text"], reasoning=row["reasoning"], option_probs=probabilities), LABELS)
    assert again == row


@given(st.text(), st.sampled_from(["text", "stated-distribution", "reasoned"]))
def test_every_row_is_one_of_the_table(text, elicitation):
    table = RESPONSES.frame([read(elicitation, text)])
    assert table["status"][0] in ("answered", "refused", "unparsed", "invalid_code")
    assert (table["answer"][0] is None) == (table["status"][0] != "answered")


@pytest.mark.parametrize("reason", ["refusal", "content_filter", "SAFETY", "PROHIBITED_CONTENT"])
@pytest.mark.parametrize("elicitation", ["text", "reasoned", "stated-distribution", "first-token", "open"])
def test_what_a_service_withheld_is_refused_and_not_unreadable(elicitation, reason):
    row = read(elicitation, "", finish_reason=reason)
    assert (row["answer"], row["status"]) == (None, "refused")
    assert row["error"] == f"withheld by the service ({reason})"


def test_an_answer_that_was_given_before_a_filter_stepped_in_counts():
    assert read("text", "Answer: 2", finish_reason="content_filter")["status"] == "answered"
