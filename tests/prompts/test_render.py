"""Rendering: the pinned prompts, what they share, and templates of the user's own."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from valuestrata.errors import InputDataError, UsageError
from valuestrata.prompts import builtin_templates, load_template, orders_from, paraphrases_from, personas_of, render_prompts
from valuestrata.prompts.persona import Persona
from valuestrata.prompts.prompt import ELICITATIONS
from valuestrata.respondents.base import Message

HERE = Path(__file__).parent
YOUNG_WOMEN = "sex_x_age_Female_16-24-years"


def pairs_of(dataset, *pair_ids):
    chosen = dataset.gold.select("pair_id", "item", "subgroup")
    return chosen.filter(pl.col("pair_id").is_in(pair_ids)) if pair_ids else chosen


def prompts_of(dataset, *pair_ids, template="default", **settings):
    recipe = template if not isinstance(template, (str, Path)) else load_template(template)
    return list(render_prompts(dataset, pairs_of(dataset, *pair_ids), template=recipe, **({"elicitation": "text"} | settings)))


PINNED = {
    "default_prompt": ("default", "Q1", "text"),
    "numeric_prompt": ("default", "Q182", "text"),
    "default_stated_prompt": ("default", "Q1", "stated-distribution"),
    "default_reasoned_prompt": ("default", "Q1", "reasoned"),
    "second_person_prompt": ("second-person", "Q1", "logprob"),
    "second_person_numeric_prompt": ("second-person", "Q182", "text"),
    "second_person_stated_prompt": ("second-person", "Q1", "stated-distribution"),
    "second_person_reasoned_prompt": ("second-person", "Q1", "reasoned"),
    "third_person_prompt": ("third-person", "Q1", "first-token"),
    "third_person_numeric_prompt": ("third-person", "Q182", "text"),
    "third_person_stated_prompt": ("third-person", "Q1", "stated-distribution"),
    "third_person_reasoned_prompt": ("third-person", "Q1", "reasoned"),
    "item_first_prompt": ("item-first", "Q1", "text"),
    "item_first_stated_prompt": ("item-first", "Q1", "stated-distribution"),
    "item_first_reasoned_prompt": ("item-first", "Q1", "reasoned"),
}


@pytest.mark.parametrize("golden", PINNED)
def test_the_prompts_of_built_in_templates_are_pinned(handmade, golden):
    template, item, elicitation = PINNED[golden]
    (prompt,) = prompts_of(handmade, f"{item}_{YOUNG_WOMEN}", template=template, elicitation=elicitation)
    text = (HERE / f"{golden}.txt").read_text(encoding="utf-8").removesuffix("\n")
    assert prompt.messages == (Message("user", text),)
    assert (prompt.prefill, prompt.paraphrase) == ("Answer:", 0)


def test_readouts_see_the_same_prompt(handmade):
    text, logprob = (prompts_of(handmade, elicitation=readout) for readout in ("text", "logprob"))
    assert [(p.messages, p.prefill, p.options, p.hash) for p in text] == [(p.messages, p.prefill, p.options, p.hash) for p in logprob]
    assert not {p.key for p in text} & {p.key for p in logprob}


PERSONA_FIRST = ["default", "second-person", "third-person"]


@pytest.mark.parametrize("template", PERSONA_FIRST)
def test_everything_one_persona_is_asked_shares_a_prefix_and_stands_together(handmade, template):
    prompts = prompts_of(handmade, template=template, orders=orders_from("scale,reversed"))
    subgroups = [prompt.subgroup for prompt in prompts]
    assert load_template(template).first == "persona"
    assert len(prompts) == 7 * 3 * 2
    assert sum(a != b for a, b in pairwise(subgroups)) == 6
    for subgroup in set(subgroups):
        texts = [prompt.messages[-1].content for prompt in prompts if prompt.subgroup == subgroup]
        questions = [text.index(text.split("\n\n")[-3]) for text in texts]
        assert len({text[:start] for text, start in zip(texts, questions, strict=True)}) == 1


def test_everyone_an_item_is_put_to_shares_a_prefix_and_stands_together(handmade):
    asked = {"template": "item-first", "orders": orders_from("scale,reversed"), "paraphrases": (0, 2), "samples": 2}
    prompts = prompts_of(handmade, **asked)
    blocks = [(prompt.item, prompt.paraphrase, prompt.order) for prompt in prompts]
    assert load_template("item-first").first == "item"
    assert len(prompts) == 7 * 3 * 2 * 2 * 2
    assert sum(a != b for a, b in pairwise(blocks)) == 3 * 2 * 2 - 1
    for block in set(blocks):
        texts = [prompt.messages[0].content for prompt, other in zip(prompts, blocks, strict=True) if other == block]
        assert len({text[: text.index("You are a person")] for text in texts}) == 1


def test_prompts_stand_in_the_order_of_the_data_set_whatever_the_order_of_the_pairs(handmade):
    for template in ("default", "item-first"):
        asked = {"template": load_template(template), "elicitation": "text"}
        there = [prompt.key for prompt in render_prompts(handmade, pairs_of(handmade), **asked)]
        back = [prompt.key for prompt in render_prompts(handmade, pairs_of(handmade).reverse(), **asked)]
        assert there == back
    persona_first = prompts_of(handmade)
    assert list(dict.fromkeys(prompt.subgroup for prompt in persona_first)) == handmade.subgroups["subgroup"].to_list()
    assert [prompt.item for prompt in persona_first[:3]] == handmade.items["item"].to_list()


@pytest.mark.parametrize("template", builtin_templates())
@pytest.mark.parametrize("place", ["Singapore", None])
def test_no_template_leaves_a_gap_where_something_is_not_known(make_handmade, template, place):
    everything = paraphrases_from("all", load_template(template))
    assert everything == (0, 1, 2)
    for elicitation in ELICITATIONS:
        for prompt in prompts_of(make_handmade(place=place), template=template, elicitation=elicitation, paraphrases=everything):
            text = prompt.messages[0].content
            assert ("Singapore" in text) == (place is not None)
            assert "  " not in text
            assert "\n\n\n" not in text
            assert " ." not in text
            assert "None" not in text
            assert "{" not in text


def test_the_whole_population_has_no_profile(handmade):
    (prompt,) = prompts_of(handmade, "Q1_all")
    assert prompt.messages[0].content.startswith("You are a person living in Singapore.\n\nAnswer")


def test_a_control_may_put_other_personas_in(handmade):
    bare = dict.fromkeys(handmade.subgroups["subgroup"], Persona())
    (prompt,) = prompts_of(handmade, f"Q1_{YOUNG_WOMEN}", personas=bare)
    assert prompt.subgroup == YOUNG_WOMEN
    assert prompt.messages[0].content.startswith("You are a person.\n\nAnswer")


def test_second_and_third_person_say_the_sentence(handmade):
    (second,) = prompts_of(handmade, f"Q1_{YOUNG_WOMEN}", template="second-person")
    (third,) = prompts_of(handmade, f"Q1_{YOUNG_WOMEN}", template="third-person")
    assert second.messages[0].content.startswith("You are a woman aged 16 to 24 living in Singapore. ")
    assert "asks her:" in third.messages[0].content
    assert "would she choose" in third.messages[0].content


def test_numbers_on_the_page_lead_to_the_codes_shown(handmade):
    for prompt in prompts_of(handmade, orders=orders_from("scale,reversed,shuffled:4,balanced:3")):
        ((codes, names),) = handmade.items.filter(item=prompt.item).select("codes", "labels").iter_rows()
        labels = dict(zip(codes, names, strict=True))
        lines = prompt.messages[0].content.split("\n\n")[-2].split("\n")
        for line, number, code in zip(lines, prompt.options, prompt.shown, strict=True):
            assert line in (f"{number}. {labels[code]}", f"{number}.")
            if line == f"{number}.":
                assert labels[code] == str(code)


def test_samples_share_what_is_seen_and_differ_in_key(handmade):
    prompts = prompts_of(handmade, "Q1_sex_Male", samples=3)
    assert [prompt.sample for prompt in prompts] == [0, 1, 2]
    assert len({prompt.hash for prompt in prompts}) == 1
    assert len({prompt.key for prompt in prompts}) == 3


def test_a_pair_there_twice_is_asked_once(handmade):
    twice = pl.concat([pairs_of(handmade, "Q1_sex_Male")] * 2)
    assert len(list(render_prompts(handmade, twice, template=load_template("default"), elicitation="text"))) == 1


def test_pairs_of_another_data_set_are_refused(handmade):
    stranger = pl.DataFrame({"pair_id": ["Q9_sex_Male"], "item": ["Q9"], "subgroup": ["sex_Male"]})
    with pytest.raises(InputDataError, match="unknown item 'Q9'"):
        render_prompts(handmade, stranger, template=load_template("default"), elicitation="text")


@pytest.mark.parametrize(
    "settings", [{"orders": ["scales"]}, {"samples": 0}, {"elicitation": "distribution"}, {"paraphrases": (3,)}, {"paraphrases": ()}]
)
def test_a_wrong_setting_is_refused_before_the_first_prompt(handmade, settings):
    with pytest.raises(UsageError):
        render_prompts(handmade, pairs_of(handmade), template=load_template("default"), **({"elicitation": "text"} | settings))


def test_the_prompt_hash_changes_with_anything_seen(handmade):
    (before,) = prompts_of(handmade, "Q1_sex_Male")
    question = handmade.items.with_columns(question=pl.lit("Another question?"))
    label = handmade.items.with_columns(labels=pl.col("labels").list.eval(pl.element() + "!"))
    hashes = {before.hash}
    for items in (question, label):
        (after,) = prompts_of(replace(handmade, items=items), "Q1_sex_Male")
        hashes.add(after.hash)
    for order in ("reversed", "shuffled-0"):
        hashes.update(prompt.hash for prompt in prompts_of(handmade, "Q1_sex_Male", orders=[order]))
    hashes.update(prompt.hash for prompt in prompts_of(handmade, "Q1_sex_Male", template="second-person"))
    assert len(hashes) == 6


BASE = """\
name: mine
version: 2
description: a template of my own
who: "You: {profile}"
who_all: "You: anyone"
system: "{who}"
user: "{question}\\n{options}\\n{{{first} to {last}}}"
prefill: "Answer:"
"""


def written(folder, text):
    file = folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_template_of_ones_own(handmade, tmp_path):
    (prompt,) = prompts_of(handmade, "Q1_sex_Male", template=written(tmp_path, BASE))
    assert prompt.template == "mine"
    assert prompt.messages[0] == Message("system", "You: - Sex: Male")
    assert prompt.messages[1].role == "user"
    assert prompt.messages[1].content.endswith("4. Not at all important\n{1 to 4}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("You: anyone", "You: somebody"),
        ("version: 2", "version: 3"),
        ("{who}", "{who}!"),
        ("Answer:", "Reply:"),
        ("name: mine", "name: yours"),
        ("prefill:", "person: human\nprefill:"),
        ("prefill:", "levels: {sex: {Male: M, Female: F}}\nprefill:"),
    ],
)
def test_the_template_version_changes_with_anything_seen(tmp_path, old, new):
    before = load_template(written(tmp_path, BASE)).version
    assert before.startswith("2+")
    assert load_template(written(tmp_path, BASE.replace(old, new))).version != before


def test_a_file_without_replies_and_paraphrases_keeps_the_version_it_had_before_there_were_any(tmp_path):
    # Computed before templates had the keys: runs made with such a file go on.
    assert load_template(written(tmp_path, BASE)).version == "2+001b43"


def test_the_template_version_does_not_change_with_its_description(tmp_path):
    before = load_template(written(tmp_path, BASE)).version
    assert load_template(written(tmp_path, BASE.replace("of my own", "of ours"))).version == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{first}", "{frist}", r"user: unknown placeholder \{frist\}\. Did you mean 'first'"),
        ("{profile}", "{question}", r"who: unknown placeholder \{question\}"),
        ("{first}", "{first.__class__}", "unknown placeholder"),
        ("{first}", "{first!r}", "must not have a format"),
        ("{first}", "{first:>9}", "must not have a format"),
        ("{first}", "{}", "unknown placeholder"),
        ("{first}", "{0}", "unknown placeholder"),
        ("{{{first}", "{ {{first}", "double a brace"),
        ("{question}", "", "{question} is missing"),
        ("prefill", "prefil", "'prefil' is not known. Did you mean 'prefill'"),
        ('who_all: "You: anyone"\n', "", "needs both"),
        ("prefill:", 'living_in: " in {land}"\nprefill:', "living_in"),
        ("name: mine", "name: [", "not a YAML file"),
    ],
)
def test_a_broken_template_is_refused_by_name(tmp_path, old, new, message):
    with pytest.raises(InputDataError, match=message):
        load_template(written(tmp_path, BASE.replace(old, new)))


def test_a_template_that_does_not_exist_is_suggested():
    with pytest.raises(UsageError, match="Did you mean 'second-person'"):
        load_template("second_person")


def test_a_value_with_braces_is_not_filled_again(handmade):
    items = handmade.items.with_columns(question=pl.lit("What of {persona} and {0}?"))
    (prompt,) = prompts_of(replace(handmade, items=items), "Q1_sex_Male")
    assert "What of {persona} and {0}?" in prompt.messages[0].content


def test_a_template_in_tamil(handmade, tmp_path):
    file = written(
        tmp_path,
        """\
name: tamil
who: "நீங்கள்{in_place} ஒரு நபர்.\\n{profile}"
who_all: "நீங்கள்{in_place} ஒரு நபர்."
user: "{who}\\n\\n{question}\\n\\n{options}\\n\\nபதில்: N"
prefill: "பதில்:"
living_in: " {place}"
articles: false
attributes: {sex: பால், age_group: வயது}
levels:
  sex: {Male: ஆண், Female: பெண்}
places: {Singapore: சிங்கப்பூரில்}
""",
    )
    (prompt,) = prompts_of(handmade, f"Q1_{YOUNG_WOMEN}", template=file)
    assert prompt.messages[0].content.startswith("நீங்கள் சிங்கப்பூரில் ஒரு நபர்.\n- பால்: பெண்\n- வயது: 16-24 years\n")
    assert prompt.prefill == "பதில்:"


def test_a_half_translated_attribute_is_refused(handmade, tmp_path):
    file = written(tmp_path, BASE + "levels: {sex: {Femal: பெண், Male: ஆண்}}\n")
    with pytest.raises(InputDataError, match=r"levels\.sex has no entry for 'Female'"):
        prompts_of(handmade, "Q1_sex_Male", template=file)


def test_a_level_that_the_data_set_does_not_describe_is_refused(handmade):
    stranger = handmade.subgroups.with_columns(sex=pl.col("sex").replace("Male", "Other"))
    with pytest.raises(InputDataError, match="'Other'"):
        personas_of(replace(handmade, subgroups=stranger))
