"""Replies and paraphrases: each elicitation asks in its own way, each wording in its own words, and all else stays."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.errors import InputDataError, UsageError
from valuestrata.prompts import builtin_templates, load_template, paraphrases_from, render_prompts
from valuestrata.prompts.pattern import Pattern, read_pattern
from valuestrata.prompts.prompt import ELICITATIONS, elicitation_of
from valuestrata.prompts.template import OF_QUESTION, PLACEHOLDERS

PLAIN = """\
name: plain
user: "{persona}: {question}\\n{options}\\nReply with a number."
"""
FULL = """\
name: full
user: "{persona}: {question}\\n{options}\\n{reply}"
paraphrases:
  - "Ask {persona}. {question}\\n{options}\\n{reply}"
reply: "Number."
reply_stated: "Shares of {first} to {last}, of people like {them}."
reply_reasoned: "Think, then a number."
"""


def written(folder, text):
    file = folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def chats(dataset, template, elicitation="text", **settings):
    pairs = dataset.gold.filter(item="Q1", subgroup="sex_Female").select("pair_id", "item", "subgroup")
    return list(render_prompts(dataset, pairs, template=template, elicitation=elicitation, **settings))


def test_elicitations_have_names_and_the_nearest_is_suggested():
    assert [elicitation_of(word) for word in ELICITATIONS] == list(ELICITATIONS)
    with pytest.raises(UsageError, match="Did you mean 'stated-distribution'"):
        elicitation_of("distribution")


@pytest.mark.parametrize("name", builtin_templates())
def test_elicitations_differ_in_the_reply_and_in_nothing_before_it(handmade, name):
    template = load_template(name)
    texts = {how: chats(handmade, template, how)[0].messages[0].content for how in ELICITATIONS}
    assert texts["text"] == texts["logprob"] == texts["first-token"]
    assert len(set(texts.values())) == 3
    assert texts["stated-distribution"].endswith("summing to 100, in the form:\n1: N%")
    assert "step by step" in texts["reasoned"]
    last = "Answer: don't know" if template.dont_know else "Answer: N"
    assert texts["reasoned"].endswith(last)
    assert {text.partition("4. Not at all important\n\n")[0] for text in texts.values()} == {texts["text"].partition("4. Not")[0]}


@pytest.mark.parametrize("name", builtin_templates())
def test_paraphrases_keep_the_words_of_the_question_the_options_and_the_reply(handmade, name):
    prompts = chats(handmade, load_template(name), paraphrases=(0, 1, 2))
    texts = [prompt.messages[0].content for prompt in prompts]
    assert [prompt.paraphrase for prompt in prompts] == [0, 1, 2]
    assert len({prompt.hash for prompt in prompts}) == len({prompt.key for prompt in prompts}) == 3
    for part in ("How much does your family matter in your life?\n\n1. Very important\n2. Rather important\n", "Answer: N"):
        assert all(part in text for text in texts)


def test_paraphrases_of_one_subgroup_stand_together(handmade):
    pairs = handmade.gold.filter(subgroup="sex_Female").select("pair_id", "item", "subgroup")
    prompts = render_prompts(handmade, pairs, template=load_template("default"), elicitation="text", paraphrases=(2, 0))
    assert [(prompt.paraphrase, prompt.item) for prompt in prompts] == [(at, item) for at in (2, 0) for item in ("Q1", "Q182", "spend")]


def test_a_template_of_ones_own_says_how_to_reply(handmade, tmp_path):
    template = load_template(written(tmp_path, FULL))
    says = [chats(handmade, template, how)[0].messages[0].content.rpartition("\n")[2] for how in ELICITATIONS]
    assert says == ["Number."] * 3 + ["Shares of 1 to 4, of people like her.", "Think, then a number."]
    (second,) = chats(handmade, template, paraphrases=(1,))
    assert second.messages[0].content.startswith("Ask a woman. How much")


def test_the_template_of_the_documentation_works_as_it_stands(handmade, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "eliciting.md").read_text(encoding="utf-8")
    template = load_template(written(tmp_path, page.partition("```yaml\n")[2].partition("```")[0]))
    says = [prompt.messages[0].content for how in ELICITATIONS for prompt in chats(handmade, template, how, paraphrases=(0, 1))]
    assert len(set(says)) == 6
    assert says[0].startswith("Your neighbour is a woman living in Singapore. A survey asks her:\n\nHow much does")


def test_a_template_without_a_reply_is_asked_for_answers_only(handmade, tmp_path):
    template = load_template(written(tmp_path, PLAIN))
    for how in ("text", "logprob", "first-token"):
        assert chats(handmade, template, how)[0].messages[0].content.endswith("Reply with a number.")
    for how, key in (("stated-distribution", "reply_stated"), ("reasoned", "reply_reasoned")):
        with pytest.raises(InputDataError, match=rf"mine\.yaml: .* for {how}; replace the reply .* keys `reply` and `{key}`"):
            chats(handmade, template, how)


def test_a_template_that_lacks_one_reply_is_refused_for_that_elicitation_alone(handmade, tmp_path):
    template = load_template(written(tmp_path, FULL.replace('reply_stated: "Shares of {first} to {last}, of people like {them}."\n', "")))
    assert chats(handmade, template, "reasoned")
    with pytest.raises(InputDataError, match=r"mine\.yaml: .* add the key `reply_stated`"):
        chats(handmade, template, "stated-distribution")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Number.", "Number of {frist}.", r"reply: unknown placeholder \{frist\}\. Did you mean 'first'"),
        ("Number.", "{reply}", r"reply: unknown placeholder \{reply\}"),
        ("Think, then", "{who}", "needs both `who` and `who_all`"),
        ("Ask {persona}. {question}", "Ask {persona}.", r"paraphrases: 1: \{question\} is missing"),
        ("Ask {persona}. {question}", "{question} Ask {persona}.", "paraphrases: 1: it must begin with the persona, as `user` does"),
        ('{reply}"\nreply:', 'Number."\nreply:', r"paraphrases: 1: \{reply\} is missing, so the model would not see `reply`"),
        ('{reply}"\nparaphrases:', 'Number."\nparaphrases:', r"user: \{reply\} is missing"),
        ("reply_stated", "reply_state", "Did you mean 'reply_stated'"),
        ("name: full", "name: full\nsystem: '{reply}'", r"system: unknown placeholder \{reply\}"),
    ],
)
def test_a_broken_reply_or_paraphrase_is_refused_by_name(tmp_path, old, new, message):
    text = FULL.replace(old, new)
    assert text != FULL
    with pytest.raises(InputDataError, match=message):
        load_template(written(tmp_path, text))


def test_a_reply_that_is_used_must_be_there(tmp_path):
    with pytest.raises(InputDataError, match="needs the key `reply`"):
        load_template(written(tmp_path, PLAIN.replace("Reply with a number.", "{reply}")))


@pytest.mark.parametrize("old", ["Number.", "Shares of", "Think, then", "Ask "])
def test_the_version_covers_replies_and_paraphrases(tmp_path, old):
    before = load_template(written(tmp_path, FULL)).version
    assert load_template(written(tmp_path, FULL.replace(old, old + "! "))).version != before


def test_what_comes_first_is_read_off_the_pattern(tmp_path):
    def first(user, system=None):
        text = f"name: x\nuser: '{user}'\n" + (f"system: '{system}'\n" if system else "")
        return load_template(written(tmp_path, text)).first

    assert first("{persona} {question} {options}") == "persona"
    assert first("{question} {options} {persona}") == "item"
    assert first("{options} {their} {question}") == "item"
    assert first("{question} {options}", system="{profile}") == "persona"
    # Everyone lives in the same place, so that it parts no prefix.
    assert first("In {place}{in_place}: {question} {options} {persona}") == "item"
    assert first("{question} {options}") == "item"


def test_paraphrase_specs_are_read():
    template = load_template("default")
    assert paraphrases_from("0", template) == (0,)
    assert paraphrases_from(" 2, 0", template) == (2, 0)
    assert paraphrases_from("all", template) == (0, 1, 2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("3", "'default' has no paraphrase 3. It has 0 to 2; 0 is `user`"),
        ("0,7", "has no paraphrase 7"),
        ("1,1", "Paraphrase 1 of the template 'default' occurs more than once"),
        ("", "separated by commas, or `all`; found ''"),
        ("one", "found 'one'"),
        ("-1", "found '-1'"),
        ("²", "found '²'"),
        ("0,,1", "found ''"),
        ("9" * 5000, "found '999"),
    ],
)
def test_other_paraphrase_specs_are_refused(spec, message):
    with pytest.raises(UsageError, match=message):
        paraphrases_from(spec, load_template("default"))


def test_a_template_with_one_wording_says_so(tmp_path):
    with pytest.raises(UsageError, match=r"'plain' has no paraphrase 1\. It has only 0"):
        paraphrases_from("0,1", load_template(written(tmp_path, PLAIN)))


PIECES = st.lists(st.tuples(st.text(string.ascii_letters + " \n", max_size=4), st.sampled_from([None, *PLACEHOLDERS])), max_size=12)
VALUES = st.fixed_dictionaries({name: st.text(string.ascii_letters + "{}", max_size=3) for name in PLACEHOLDERS})


@given(PIECES, VALUES)
def test_halves_filled_apart_and_joined_are_the_pattern_filled_whole(pieces, values):
    pattern = Pattern(tuple(pieces))
    ours, theirs = pattern.in_halves(OF_QUESTION)
    assert all(half.names <= set(OF_QUESTION) for half in ours)
    assert not any(half.names & set(OF_QUESTION) for half in theirs)
    assert "".join(a.fill(values) + b.fill(values) for a, b in zip(ours, theirs, strict=True)) == pattern.fill(values)


@given(PIECES, PIECES, VALUES)
def test_a_pattern_within_a_pattern_says_what_its_text_would(outer, inner, values):
    within = Pattern(tuple(inner))
    whole = Pattern((*outer, ("", "reply"), ("!", "reply"))).with_pattern("reply", within)
    said = within.fill(values)
    assert whole.fill(values) == Pattern(tuple(outer)).fill(values) + said + "!" + said


def test_a_pattern_is_read_as_it_is_written():
    assert read_pattern("{{{who}}}\n", "x", PLACEHOLDERS).fill({"who": "I"}) == "{I}"
