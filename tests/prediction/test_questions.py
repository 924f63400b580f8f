"""The file of new questions: what it may hold, and what is refused."""

import re
from dataclasses import replace

import polars as pl
import pytest

from valuestrata.errors import InputDataError
from valuestrata.prediction.questions import NO_TOPIC, NewQuestion, read_questions, with_questions


@pytest.fixture
def read(tmp_path, handmade):
    def parse(text: str, dataset=handmade):
        file = tmp_path / "new.yaml"
        file.write_text(text)
        return read_questions(file, dataset)

    return parse


def test_questions_become_items_in_scale_order(read, handmade):
    text = """
- id: tax
  text: Should the country raise taxes on petrol?
  options: [Yes, No]
- id: trust
  question: How much do you trust your neighbours, from 1 to 4?
  options: [Not at all, 2, 3, Completely]
  scale: ordinal
  topic: social values
  block: trust
"""
    tax, trust = read(text)
    assert (tax.options, tax.codes, tax.scale, tax.topic) == (("Yes", "No"), (1, 2), "binary", NO_TOPIC)
    assert (trust.codes, trust.topic, trust.block) == ((1, 2, 3, 4), "Social values", "trust")
    extended = with_questions(handmade, [tax, trust])
    assert extended.items["item"].to_list()[-2:] == ["tax", "trust"]
    assert extended.gold.equals(handmade.gold)
    assert extended.fingerprint not in (handmade.fingerprint, with_questions(handmade, [tax]).fingerprint)


def test_a_numbered_scale_keeps_its_numbers(read):
    (found,) = read("- id: a\n  text: How happy, from 0 to 4?\n  options: [Not at all, 1, 2, 3, Very]\n  scale: ordinal")
    assert found.codes == (0, 1, 2, 3, 4)


YES_NO = "options: [Yes, No]"
BAD = {
    "no list": ("id: a", "expected a list of questions"),
    "nothing": ("", "found nothing"),
    "no options": ("- id: a\n  text: b\n  scale: binary", "has no options; list at least two"),
    "one option": ("- id: a\n  text: b\n  options: [Yes]", "has 1 option;"),
    "an option twice": ("- id: a\n  text: b\n  options: [Yes, 'yes ']", "has the option 'yes ' twice"),
    "unknown key": (f"- id: a\n  text: b\n  {YES_NO}\n  scales: binary", "line 4.*'0.scales' is not known. Did you mean 'scale'"),
    "an id twice": (f"- id: a\n  text: b\n  {YES_NO}\n- id: a\n  text: c\n  {YES_NO}", "line 4.*given twice, first in entry 1"),
    "an id of the survey": (f"- id: Q1\n  text: b\n  {YES_NO}", "'Q1' is the id of a question"),
    "an id with a slash": (f"- id: a/b\n  text: b\n  {YES_NO}", "must not contain '/'"),
    "no text": (f"- id: a\n  {YES_NO}", "'question' is missing"),
    "text and question": (f"- id: a\n  text: b\n  question: c\n  {YES_NO}", "mean the same"),
    "no scale": ("- id: a\n  text: b\n  options: [Yes, Maybe, No]", "3 options and no scale"),
    "binary with three": ("- id: a\n  text: b\n  options: [Yes, Maybe, No]\n  scale: binary", "is binary and has 3 options"),
    "numbers downwards": (
        "- id: a\n  text: b\n  options: [3 high, 2, 1 low]\n  scale: ordinal",
        "runs downwards. Expected .*'1 low', '2', '3 high'",
    ),
    "opposite to the survey": (
        "- id: a\n  text: b\n  options: [Too little, about right, Too much]\n  scale: ordinal",
        "opposite order of the scale of item 'spend', which is 'Too much', 'About right', 'Too little'",
    ),
    "opposite with another option": (
        "- id: a\n  text: b\n  options: [Too little, About right, Don't mind, Too much]\n  scale: ordinal",
        "opposite order of the scale of item 'spend'",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=list(BAD))
def test_bad_questions_are_refused(read, text, message):
    with pytest.raises(InputDataError, match=r"new\.yaml") as error:
        read(text)
    assert re.search(message, str(error.value)), str(error.value)


@pytest.mark.parametrize("options", ["[Too little, About right, Too much]", "[3, 2, 1]"])
def test_a_scale_in_another_order_can_be_confirmed(read, options):
    (found,) = read(f"- id: a\n  text: b\n  options: {options}\n  scale: ordinal\n  scale_checked: true")
    assert found.codes == (1, 2, 3)


def test_nominal_options_have_no_order(read):
    assert read("- id: a\n  text: b\n  options: [Too little, About right, Too much]\n  scale: nominal")


def test_an_order_that_the_survey_also_has_is_accepted(read, handmade):
    flipped = handmade.items.filter(pl.col("item") == "spend").with_columns(item=pl.lit("flipped"), labels=pl.col("labels").list.reverse())
    both = replace(handmade, items=pl.concat([handmade.items, flipped]))
    assert read("- id: a\n  text: b\n  options: [Too little, About right, Too much]\n  scale: ordinal", both)


def test_a_question_cannot_take_the_pair_id_of_another_pair(handmade):
    with pytest.raises(InputDataError, match="gives the pair id"):
        with_questions(handmade, [NewQuestion("Q1", "again", ("a", "b"), (1, 2), "binary")])
