"""Answers of "don't know": how they are read, and their rate beside the share of people, by hand."""

from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest

from tests.scores.conftest import World, build, respond
from valuestrata.assessment import assess
from valuestrata.prompts.template import load_template
from valuestrata.responses.parse.choice import parse_answer, says_dont_know

WORLD = World(
    dict.fromkeys(("Q1", "Q2", "Q3"), ("topic", "binary", (0, 1))),
    {name: ("sex", {"sex": name}) for name in ("f", "m")},
    {(item, group): (10, 30) for item in ("Q1", "Q2", "Q3") for group in ("f", "m")},
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Don't know", True),
        ("Answer: don't know", True),
        ("Answer: I don’t know.", True),
        ("She has never thought about it.\n\nAnswer: **don't know**", True),
        ("The person does not know", True),
        ("DK", True),
        ("Answer: 2", False),
        ("I don't know much about it, but I would say 2.", False),
        ("I cannot answer that.", False),
        ("No comment", False),
        ("", False),
    ],
)
def test_which_texts_say_that_they_do_not_know(text, says):
    assert says_dont_know(text) is says
    if says:
        assert parse_answer(text, ["1. Yes", "2. No"], [1, 2], {1: "Yes", 2: "No"}).status == "refused"


def test_only_the_template_that_offers_it_says_so():
    offering, default = load_template("dont-know"), load_template("default")
    assert (offering.dont_know, default.dont_know) == (True, False)
    for key in ("reply", "reply_reasoned"):
        texts = ["".join(text for text, _ in template.replies[key].pieces) for template in (offering, default)]
        assert ["don't know" in text for text in texts] == [True, False]


def dataset():
    """One in five say it to Q1 as f, one in nine as m; nobody to Q2; nobody but one m to Q3."""
    said = {("Q1", "f"): 10, ("Q1", "m"): 5, ("Q3", "m"): 10}
    made = build(WORLD)
    counts = [{"dont_know": said.get((item, group), 0)} for item, group in made.gold.select("item", "subgroup").iter_rows()]
    missing = pl.Series("missing", counts, dtype=made.gold.schema["missing"])
    return replace(made, gold=made.gold.with_columns(missing))


def run(texts: dict[tuple[str, str], list[str]], **meta: object) -> SimpleNamespace:
    rows = [
        {"item": item, "subgroup": group, "sample": at, "text": text, "answer": None if says_dont_know(text) else 1}
        for (item, group), of in texts.items()
        for at, text in enumerate(of)
    ]
    known = {"kind": "asked", "elicitation": "text", "dont_know": True, "respondent": {"name": "model"}}
    return SimpleNamespace(name="model", responses=respond(rows), meta=known | meta)


TEXTS = {
    ("Q1", "f"): ["Answer: don't know", "Answer: 2"],
    ("Q1", "m"): ["Answer: 2"],
    ("Q2", "f"): ["don't know"],
    ("Q3", "f"): ["I don't know"],
    ("Q3", "m"): ["Answer: 2"],
}


def test_the_rate_stands_beside_the_share_of_people():
    found = assess(dataset(), [run(TEXTS)], bootstrap=50).dont_know
    by_key = {(row["by"], row["key"]): row for row in found.iter_rows(named=True)}
    # Q2 is left out, because nobody said it to any subgroup. Shares: 10/50, 5/45, 0 and 10/50.
    whole = by_key["all", "all"]
    assert whole["pairs"] == 4
    assert whole["rate"] == pytest.approx((0.5 + 0 + 1 + 0) / 4)
    assert whole["share"] == pytest.approx((0.2 + 5 / 45 + 0 + 0.2) / 4)
    assert whole["gap"] == pytest.approx(whole["rate"] - whole["share"])
    assert whole["gap_low"] <= whole["gap"] <= whole["gap_high"]
    women = by_key["level", "sex=f"]
    assert (women["rate"], women["share"]) == (0.75, pytest.approx(0.1))


@pytest.mark.parametrize("meta", [{"dont_know": False}, {"elicitation": "logprob"}])
def test_a_run_that_was_not_offered_it_has_no_rows(meta):
    assert assess(dataset(), [run(TEXTS, **meta)], bootstrap=0).dont_know.is_empty()


def test_a_survey_without_such_answers_has_no_gap():
    assert set(assess(build(WORLD), [run(TEXTS)], bootstrap=0).dont_know["gap"]) == {None}
