"""Open questions asked in persona: what the model sees, and what its words come to."""

import re

import polars as pl
import pytest

from tests.openended.protocol import Speaks, open_run
from valuestrata.errors import InputDataError, UsageError
from valuestrata.openended.ask import open_ask, plan_open
from valuestrata.openended.open_runs import load_open_run
from valuestrata.prompts import builtin_templates, load_template
from valuestrata.respondents.models import make_respondent
from valuestrata.responses.ask.estimate import estimate_run
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.parse.choice import refuses
from valuestrata.responses.run.folder import load_run


@pytest.mark.parametrize("name", builtin_templates())
def test_an_open_prompt_has_the_persona_and_neither_options_nor_numbers(handmade, name):
    plan = plan_open(handmade, template=name)
    prompts = list(plan.asking.prompts(plan.dataset, Speaks(lambda _: "")))
    assert len(prompts) == len({prompt.key for prompt in prompts}) == 9
    for prompt in prompts:
        text = "\n".join(message.content for message in prompt.messages)
        assert "Malay" in text or "Others" in text
        assert (prompt.options, prompt.shown, prompt.elicitation) == ((), (), "open")
        question = plan.dataset.items.filter(pl.col("item") == prompt.item)["open_question"][0]
        assert question in text
        assert not re.search(r"^\d+\.|Answer:|Rather important|from \d+ to \d+", text, re.MULTILINE)


def test_what_only_open_questions_show_changes_no_closed_version():
    template = load_template("default")
    assert template.version_of("text") == template.version_of("logprob") == template.version
    assert template.version_of("open") not in ("", template.version)


def test_words_are_answers_refusals_or_nothing(handmade, tmp_path):
    texts = {
        "Q1": "I live for my family. " * 5,
        "Q182": "As an AI language model, I do not have personal opinions on divorce. Is there anything else?",
        "spend": "",
    }
    run = open_run(handmade, tmp_path / "run", lambda prompt: texts[prompt.item])
    status = dict(run.responses.group_by("item").agg(pl.col("status").first()).iter_rows())
    assert status == {"Q1": "answered", "Q182": "refused", "spend": "unparsed"}
    assert run.responses["answer"].null_count() == run.responses.height == 9
    assert run.responses["shown"].list.len().max() == 0
    assert run.responses.filter(pl.col("item") == "Q1")["text"][0] == texts["Q1"].strip()
    assert set(run.responses["order"]) == {"scale"}
    assert run.meta["elicitation"] == "open"
    assert run.meta["plan"]["drafted_items"] == ["Q1", "Q182", "spend"]


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("No comment.", True),
        ("I'm sorry, but I can't role-play as a religious person. I would gladly help with something else!", True),
        ("I would rather not say.", True),
        ("My faith tells me to be patient, and so I am.", False),
        ("", False),
        (
            "As an AI, I have no family. Speaking as this person, though: family is what I come home to, what my mother taught me to put "
            "first, and I would not trade an hour with them for more pay at the shop.",
            False,
        ),
    ],
)
def test_a_text_refuses_only_as_a_whole(text, refused):
    assert refuses(text) is refused


def test_thoughts_are_kept_apart_and_an_unfinished_one_is_no_answer(handmade, tmp_path):
    said = {"Q1": "<think>She is young.</think>\nI love my family.", "Q182": "<think>Where do I begin", "spend": "Schools need more."}
    run = open_run(handmade, tmp_path / "run", lambda prompt: said[prompt.item])
    rows = {row["item"]: row for row in run.responses.iter_rows(named=True)}
    assert (rows["Q1"]["text"], rows["Q1"]["reasoning"]) == ("I love my family.", "<think>She is young.</think>")
    assert (rows["Q182"]["status"], rows["Q182"]["text"]) == ("unparsed", "")


def test_an_open_run_goes_on_and_asks_nothing_twice(handmade, tmp_path):
    model = Speaks(lambda _: "I care.")
    first = open_ask(handmade, model, tmp_path / "run", max_calls=4, samples=2)
    second = open_ask(handmade, model, tmp_path / "run", samples=2)
    assert (first.asked, second.asked, second.kept, second.left) == (4, 14, 4, 0)
    assert len({prompt.key for prompt in model.asked}) == len(model.asked) == 18
    plan = plan_open(handmade, samples=2)
    dry = estimate_run(plan.dataset, model, tmp_path / "run", plan.asking)
    assert (dry.planned, dry.kept, dry.estimate.calls) == (18, 18, 0)


def test_an_open_run_is_not_scored_and_a_closed_one_not_judged(handmade, tmp_path):
    open_run(handmade, tmp_path / "open", lambda _: "I care.")
    with pytest.raises(InputDataError, match=r"`valuestrata open judge`.*`valuestrata open stance`"):
        load_run(tmp_path / "open")
    ask(handmade, make_respondent("baseline:midpoint", handmade), tmp_path / "closed")
    with pytest.raises(InputDataError, match="not a run of open answers"):
        load_open_run(tmp_path / "closed")


def test_what_cannot_be_asked_openly_is_refused_before_a_folder_is_made(handmade, tmp_path):
    with pytest.raises(UsageError, match="chooses options only"):
        open_ask(handmade, make_respondent("baseline:item-mode", handmade), tmp_path / "run")
    with pytest.raises(UsageError, match="show no options"):
        ask(handmade, Speaks(lambda _: ""), tmp_path / "run", elicitation="open", orders="reversed")
    with pytest.raises(InputDataError, match=r"item 'Q\w*' has no open question.*open ask"):
        ask(handmade, Speaks(lambda _: ""), tmp_path / "other", elicitation="open")
    assert not (tmp_path / "run").exists()


def test_a_template_without_an_open_wording_names_the_key(handmade, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nuser: |-\n  You are {persona}. {question}\n\n  {options}\n")
    with pytest.raises(InputDataError, match=r"mine.yaml: the template has no open question; add the key `open`"):
        plan_open(handmade, template=file)
    file.write_text(file.read_text() + "open: |-\n  {question} Now say it as {persona}.\n")
    with pytest.raises(InputDataError, match="open: it must begin with the persona"):
        plan_open(handmade, template=file)
    file.write_text("name: mine\nuser: |-\n  {persona}: {question} {options}\nopen: |-\n  {persona}: {question} {options}\n")
    with pytest.raises(InputDataError, match=r"unknown placeholder \{options\}"):
        plan_open(handmade, template=file)
