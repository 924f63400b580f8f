"""Training gold in the prompt: which answers are shown, to whom, and how a run records it."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.hosted.prompts import hosted
from tests.hosted.server import Server
from tests.respondents.test_poison import SCHEMES, data, poisoned
from tests.responses.asked import Writes
from valuestrata.dataset.tables import base_of, half_of
from valuestrata.errors import InputDataError, UsageError
from valuestrata.formatting import percent
from valuestrata.prompts import load_template, personas_of
from valuestrata.respondents.baselines.gold import training_gold
from valuestrata.respondents.controls.control import make_control
from valuestrata.respondents.models import make_respondent
from valuestrata.responses.ask.estimate import estimate_run
from valuestrata.responses.ask.loop import ask, ask_planned
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.responses.context.choose import AnswerChooser, SimilarItems
from valuestrata.responses.distributed.shards import parse_shard, sharded
from valuestrata.responses.run.folder import load_run
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.train_test_overlap import training_notes, training_overlap
from valuestrata.study.config import ModelSection

SPLITS = [scheme + suffix for scheme in SCHEMES if scheme != "transfer" for suffix in ("", "+disjoint", "+crossfit")]


@pytest.fixture(autouse=True)
def _texts_are_embedded_by_words(monkeypatch):
    """Without loading a model of embeddings for every plan."""
    from valuestrata.respondents.baselines.item_models import embeddings

    monkeypatch.setattr(
        "valuestrata.responses.context.choose.embed_texts", lambda texts: embeddings.Embedded("tf-idf", embeddings.tf_idf(texts))
    )


def prompts_of(dataset, respondent=None, **plan):
    asking = plan_asking(dataset, **{"context": "gold:3", "elicitation": "text"} | plan)
    return list(asking.prompts(dataset, respondent or Writes()))


def texts_of(dataset, respondent=None, **plan):
    return {prompt.pair_id: prompt.messages[-1].content for prompt in prompts_of(dataset, respondent, **plan)}


# --- Only training gold -----------------------------------------------------------------------------------------------


# Split and fold; all folds but the first are slow.
FOLDS = [
    pytest.param(split, fold, marks=() if fold == 0 else pytest.mark.slow)
    for split in SPLITS
    for fold in range(SCHEMES[base_of(split)] * (2 if split.endswith("+crossfit") else 1))
]


@pytest.mark.parametrize(("split", "fold"), FOLDS)
def test_prompts_do_not_depend_on_gold_outside_training(split, fold):
    dataset = data()
    changed = poisoned(dataset, dataset.part(split, "train", fold), half_of(split, "train", fold))
    plan = {"split": split, "fold": fold, "part": "all"}
    assert texts_of(changed, **plan) == texts_of(dataset, **plan)
    if not split.endswith("+crossfit"):
        # Without a fold, pairs are shown the training gold of the fold that tests them.
        found, expected = texts_of(changed, split=split), texts_of(dataset, split=split)
        asked = dataset.part(split, "test", fold)["pair_id"]
        assert {pair: found[pair] for pair in asked} == {pair: expected[pair] for pair in asked}


def test_changed_training_gold_changes_prompts():
    dataset = data()
    train = dataset.part("paper", "train")
    spared = train.filter(pl.col("subgroup") != train["subgroup"][0])
    assert texts_of(poisoned(dataset, spared, "all"), part="train") != texts_of(dataset, part="train")


@pytest.mark.parametrize("split", SPLITS)
def test_shown_answers_are_the_modes_of_training_pairs_and_never_of_the_question_itself(split):
    dataset = data()
    for fold in dataset.part(split, "all")["fold"].unique().sort()[:1]:
        gold = training_gold(dataset, split=split, fold=fold)
        chooser = AnswerChooser(gold, SimilarItems.of(dataset), 3, frozenset(dataset.part(split, "test", fold)["item"]))
        for item, subgroup in dataset.part(split, "all", fold).select("item", "subgroup").iter_rows():
            chosen = chooser.choose(item, frozenset(gold.levels[subgroup].items()))
            assert chosen is not None
            assert chosen.relation == ("own" if any(s == subgroup and i != item for i, s in gold.counts) else chosen.relation)
            for answer in chosen.answers:
                assert answer.item != item
                if chosen.group:
                    counts = gold.counts[answer.item, gold.subgroup_with[chosen.group]]
                    assert gold.codes[answer.item][int(counts.argmax())] == answer.code
                    assert answer.percent == round(100 * counts.max() / counts.sum())


def test_without_a_fold_a_pair_is_shown_what_is_training_gold_in_all_folds_that_test_it():
    dataset = data()
    asking = plan_asking(dataset, split="unseen-level", context="gold:3")
    tests = dataset.part("unseen-level", "test").group_by("item", "subgroup").agg("fold")
    twice = tests.filter(pl.col("fold").list.len() > 1)
    assert twice.height
    for item, subgroup, folds in twice.iter_rows():
        levels = {level for persona in [asking.context._levels[subgroup]] for level in persona}
        chosen = asking.context.choose(item, subgroup, frozenset(levels))
        assert chosen is not None
        assert all(chosen.group.isdisjoint(levels) for _ in folds)


def test_questions_of_a_topic_that_a_fold_holds_out_are_shown_with_none_of_it():
    """Training pairs are asked as test pairs are: without answers of their own topic."""
    dataset = data()
    topics = [f"T{number % 5}" for number in range(dataset.items.height)]
    by_topic = replace(dataset, items=dataset.items.with_columns(pl.Series("topic", topics)))
    topic = dict(by_topic.items.select("item", "topic").iter_rows())
    tested = {item for item, name in topic.items() if name == "T0"}
    gold = training_gold(by_topic).of_items(set(topic) - tested)
    chooser = AnswerChooser(gold, SimilarItems.of(by_topic), 9, frozenset(tested))
    for item in topic:
        assert {topic[answer.item] for answer in chooser.choose(item, frozenset()).answers} == set(topics) - {"T0", topic[item]}
    # Other folds show what they have.
    chooser = AnswerChooser(training_gold(by_topic), SimilarItems.of(by_topic), 9, frozenset(topic))
    assert {answer.item for answer in chooser.choose("Q1" if "Q1" in topic else next(iter(topic)), frozenset()).answers} < set(topic)


# --- What is shown ----------------------------------------------------------------------------------------------------

PASSAGE = """\
You are a person living in Singapore. This is your profile:
- Sex: Male

A survey asked similar questions. These are the most frequent answers of respondents described as "a man living in Singapore", each \
with the share who gave it:

Where would you place divorce, from never to always justifiable?
Options: 1 (Never justifiable) to 10 (Always justifiable)
Most frequent answer: 1 (Never justifiable) (67 %)

Does the country spend too much, about right, or too little on schools?
Options: Too much; About right; Too little
Most frequent answer: Too much (67 %)

Answer the following question as this person would.

How much does your family matter in your life?
"""


def test_the_passage_of_a_training_pair_has_the_other_questions_of_its_subgroup(handmade):
    texts = texts_of(handmade, part="train", strata=["sex"], items=["Q1"])
    assert texts["Q1_sex_Male"].startswith(PASSAGE)
    assert '"a woman living in Singapore"' in texts["Q1_sex_Female"]


def test_the_passage_is_the_same_in_all_orders_and_the_prefix_is_shared(handmade):
    prompts = prompts_of(handmade, part="train", strata=["sex"], items=["Q1"], orders="scale,reversed")
    starts = {prompt.messages[-1].content.partition("How much")[0] for prompt in prompts if prompt.subgroup == "sex_Male"}
    assert len(prompts) == 4
    assert len(starts) == 1


def test_fewer_similar_questions_than_asked_for_are_all_shown(handmade):
    many = texts_of(handmade, part="train", strata=["sex"], items=["Q1"], context="gold:99")
    assert many == texts_of(handmade, part="train", strata=["sex"], items=["Q1"], context="gold:2")
    one = texts_of(handmade, part="train", strata=["sex"], items=["Q1"], context="gold:1")
    assert all(text.count("Most frequent answer") == 1 for text in one.values())


def test_a_subgroup_without_training_gold_is_shown_that_of_its_smallest_parent():
    dataset = data()
    asking = plan_asking(dataset, context="gold:3", elicitation="text")
    shown = asking.context.for_personas(None)
    gold = training_gold(dataset)
    size = {subgroup: max(n for (_, s), n in gold.n.items() if s == subgroup) for _, subgroup in gold.counts}
    for item, subgroup in asking.pairs.select("item", "subgroup").iter_rows():
        levels = gold.levels[subgroup].items()
        parents = [s for s in size if gold.levels[s].items() < levels]
        smallest = min(parents, key=size.__getitem__)
        found = shown.shown(item, subgroup)
        assert {(trait.attribute, trait.label) for trait in found.group.traits} == set(gold.levels[smallest].items())
    document = shown.document(asking.pairs)
    assert document["groups"] == {"parent": asking.pairs.height}
    assert document["parents"].keys() == set(asking.pairs["subgroup"])


def test_without_a_parent_the_population_is_shown_and_named(handmade):
    text = texts_of(handmade, items=["Q1"])["Q1_age_x_ethnicity_16-24-years_SG:-Malay"]
    assert 'described as "a person living in Singapore"' in text
    assert "- Ethnic group: Malay" in text


def test_items_of_a_block_are_shown_the_same_answers():
    """So prompts of a subgroup share all but the question."""
    dataset = data()
    names = dataset.items["item"].to_list()
    blocks = replace(
        dataset, items=dataset.items.with_columns(pl.lit("T").alias("topic"), pl.Series("block", ["A"] * 3 + ["B"] * (len(names) - 3)))
    )
    nearest = SimilarItems.of(blocks).nearest
    for one in names[:3]:
        assert [item for item in nearest[one] if item not in names[:3]] == [item for item in nearest[names[0]] if item not in names[:3]]
        assert one not in nearest[one]
        assert len(nearest[one]) == len(names) - 1


def test_ties_of_the_most_frequent_answer_go_to_the_lowest_code(handmade):
    tied = handmade.gold.with_columns(pl.col("counts_weighted").list.eval(pl.lit(1.0)))
    text = texts_of(replace(handmade, gold=tied), part="train", strata=["sex"], items=["Q1"])["Q1_sex_Male"]
    assert "Most frequent answer: Too much (33 %)" in text
    assert "Most frequent answer: 1 (Never justifiable) (10 %)" in text


# --- Controls ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["no-persona", "country-only"])
def test_controls_of_one_persona_show_the_answers_of_the_population(handmade, kind):
    control = make_control(f"control:{kind}@x", handmade, lambda _: Writes())
    texts = texts_of(handmade, control, part="train")
    for item in handmade.codes_of:
        same = {text for pair, text in texts.items() if pair.startswith(f"{item}_")}
        assert len(same) == 1
        assert ("living in Singapore" in same.pop()) == (kind == "country-only")


def test_a_shuffled_persona_comes_with_the_answers_of_its_own_subgroup():
    dataset = data()
    control = make_control("control:shuffled-persona@x", dataset, lambda _: Writes())
    personas = control.personas_for(dataset)
    plain, shuffled = (plan_asking(dataset, part="train", context="gold:3").context.for_personas(who) for who in (None, personas))
    own = {persona.traits: subgroup for subgroup, persona in personas_of(dataset).items()}
    changed = 0
    for item, subgroup in dataset.part("paper", "train").select("item", "subgroup").iter_rows():
        other = own[personas[subgroup].traits]
        assert shuffled.shown(item, subgroup) == plain.shown(item, other)
        changed += other != subgroup
    assert changed


def test_a_persona_in_another_country_keeps_the_answers(handmade):
    control = make_control("control:wrong-country=JPN@x", handmade, lambda _: Writes())
    plain = texts_of(handmade, part="train")
    assert texts_of(handmade, control, part="train") == {pair: text.replace("Singapore", "Japan") for pair, text in plain.items()}


# --- Runs -------------------------------------------------------------------------------------------------------------


def test_a_run_records_its_context_and_what_it_was_shown(handmade, tmp_path):
    ask(handmade, Writes(), tmp_path / "run", context="gold:2", elicitation="text")
    meta = load_run(tmp_path / "run").meta
    assert meta["respondent"]["context"] == {"gold": 2, "embedding": "tf-idf"}
    assert meta["plan"]["context"] == "gold:2"
    assert meta["template_version"] == load_template("default").context.version != load_template("default").version
    assert meta["context"] == {"answers": {"2": 9}, "groups": {"population": 9}, "parents": {}}
    source = meta["respondent"]["trained_on"]
    assert (source["split"], source["pairs"], source["halves"], source["method"]) == ("paper", 9, ["all"], "context:gold:2")
    for other in (None, "gold:1"):
        with pytest.raises(InputDataError, match="this run has"):
            ask(handmade, Writes(), tmp_path / "run", context=other, elicitation="text")
    again = ask(handmade, Writes(), tmp_path / "run", context="gold:2", elicitation="text")
    assert (again.asked, again.kept) == (0, 9)


def test_scores_on_pairs_that_were_shown_are_not_a_test(handmade, tmp_path):
    ask(handmade, Writes(), tmp_path / "run", context="gold:2", elicitation="text", part="all")
    run = load_run(tmp_path / "run")
    here = training_overlap(handmade, [run], split="paper", part="test")
    assert not training_notes(here)
    there = training_overlap(handmade, [run], split="paper", part="train")
    assert training_notes(there) == {"run": f"not a test: trained on {percent(1.0)} of the pairs scored"}


def test_gold_of_every_fold_counts_when_another_split_is_scored(tmp_path):
    dataset = data()
    ask(dataset, Writes(), tmp_path / "run", context="gold:2", elicitation="text", split="unseen-item")
    run = load_run(tmp_path / "run")
    assert run_identity(run).respondent.trained_on.by_fold
    assert not training_notes(training_overlap(dataset, [run], split="unseen-item", part="test"))
    assert training_overlap(dataset, [run], split="paper", part="test")["run"].tested == 1.0


def test_half_of_the_respondents_is_recorded_and_the_other_is_scored(tmp_path):
    dataset = data()
    ask(dataset, Writes(), tmp_path / "odd", context="gold:2", elicitation="text", split="paper+crossfit", fold=1)
    run = load_run(tmp_path / "odd")
    assert run_identity(run).model.trained_on.halves == ("B",)
    overlaps = training_overlap(dataset, [run], split="paper+crossfit", part="test", fold=1)
    assert not training_notes(overlaps)
    assert training_overlap(dataset, [run], split="paper+disjoint", part="test")["odd"].halves == "same half"


def test_a_control_belongs_to_the_model_with_the_same_context(handmade, tmp_path):
    control = make_control("control:no-persona@x", handmade, lambda _: Writes())
    ask(handmade, Writes(), tmp_path / "plain", elicitation="text")
    ask(handmade, Writes(), tmp_path / "shown", context="gold:2", elicitation="text")
    ask(handmade, control, tmp_path / "control", context="gold:2", elicitation="text")
    plain, shown, found = (run_identity(load_run(tmp_path / name)) for name in ("plain", "shown", "control"))
    assert found.same_model(shown)
    assert found.same_readout(shown)
    assert not found.same_model(plain)
    assert not shown.same_readout(plain)
    assert [source.method for source in found.sources] == ["context:gold:2"]


def test_shards_show_the_same_as_the_whole(handmade):
    asking = plan_asking(handmade, context="gold:2", elicitation="text")
    whole = {prompt.key for prompt in asking.prompts(handmade, Writes())}
    parts = [sharded(handmade, asking, parse_shard(f"{number}/3")) for number in (1, 2, 3)]
    found = [prompt.key for part in parts for prompt in part.prompts(handmade, Writes())]
    assert set(found) == whole
    assert len(found) == len(whole)


def test_a_hosted_model_is_sent_the_answers_and_they_are_counted(handmade, tmp_path):
    asking = plan_asking(handmade, context="gold:2", elicitation="text")
    with Server() as server:
        respondent = hosted(server.url)
        dry = [estimate_run(handmade, respondent, tmp_path / "run", plan) for plan in (asking, plan_asking(handmade, elicitation="text"))]
        ask_planned(handmade, respondent, tmp_path / "run", asking)
    sent = {json.dumps(request.body["messages"], ensure_ascii=False) for request in server.log}
    expected = [[{"role": "user", "content": prompt.messages[0].content}] for prompt in asking.prompts(handmade, respondent)]
    assert sent == {json.dumps(messages, ensure_ascii=False) for messages in expected}
    assert all(text.count("Most frequent answer") == 2 for text in sent)
    assert dry[0].estimate.prompt_tokens > dry[1].estimate.prompt_tokens + 9 * 50


class Short(Writes):
    """A local model with a short context."""

    context = 200

    def length_of(self, prompt):
        return len(prompt.messages[-1].content) // 4


def test_prompts_longer_than_the_context_of_the_model_are_refused_first(handmade, tmp_path):
    ask(handmade, Short(), tmp_path / "plain", elicitation="text")
    with pytest.raises(InputDataError, match=r"context of 200 tokens.*Show fewer answers with a smaller `context='gold:2'`"):
        ask(handmade, Short(), tmp_path / "run", context="gold:2", elicitation="text")
    assert not (tmp_path / "run").exists()


def test_a_calibrated_run_of_one_fold_does_not_depend_on_gold_outside_training(tmp_path):
    from valuestrata.calibration.calibrated import calibrate

    dataset = data()
    changed = poisoned(dataset, dataset.part("unseen-item", "train", 0), "all")
    by_prompt = Writes(lambda prompt: f"Answer: {1 + int(prompt.hash[:6], 16) % len(prompt.options)}")
    found = []
    for name, gold in (("true", dataset), ("changed", changed)):
        ask(gold, by_prompt, tmp_path / name, context="gold:3", elicitation="text", split="unseen-item", fold=0, part="all")
        done = calibrate(gold, load_run(tmp_path / name), tmp_path / f"{name}-calibrated", split="unseen-item", fold=0)
        found.append(done.run.responses.select("pair_id", "answer", "option_probs"))
        assert not any("too confident" in str(remark) for remark in done.remarks)
    assert_frame_equal(*found)
    # The context counts as training of the calibrated run.
    assert [source.method for source in run_identity(done.run).sources][-1] == "context:gold:3"


def test_a_run_that_shows_the_gold_of_each_fold_cannot_be_calibrated(tmp_path):
    from valuestrata.calibration.calibrated import calibrate

    ask(data(), Writes(), tmp_path / "run", context="gold:3", elicitation="text", split="unseen-item", part="all")
    with pytest.raises(InputDataError, match=r"context of its own.*`fold=`"):
        calibrate(data(), load_run(tmp_path / "run"), tmp_path / "calibrated", split="unseen-item")


def test_the_report_shows_the_prompt_with_its_answers(tmp_path):
    from valuestrata.reports.closed.examples import prompts_for

    dataset = data()
    ask(dataset, Writes(), tmp_path / "run", context="gold:2", elicitation="text", items=[dataset.items["item"][0]])
    run = load_run(tmp_path / "run")
    row = run.responses.row(0, named=True)
    assert "Most frequent answer" in prompts_for(dataset, [row], run.meta)[row["pair_id"]]
    assert not prompts_for(dataset, [row], {})


# --- Templates --------------------------------------------------------------------------------------------------------

MINE = """
name: mine
user: |-
  {context}You are {persona_in_place}. {question} {options} {reply}
reply: Reply with a number.
"""


def test_a_template_words_and_places_the_answers(handmade, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(MINE + "context: |-\n  Réponses ({group_profile}): {answers}\ncontext_answer: '{question} {answer} {share} %'\n")
    text = texts_of(handmade, part="train", strata=["sex"], items=["Q1"], template=file, context="gold:1")["Q1_sex_Male"]
    assert text.startswith("Réponses (- Sex: Male): ")
    assert " 67 %\n\nYou are a man living in Singapore. How much" in text


def test_the_version_of_a_template_without_answers_does_not_change(tmp_path):
    found = []
    for name, body in (("old", MINE.replace("{context}", "")), ("new", MINE), ("other", MINE + "context: 'So said {group}: {answers}'\n")):
        (tmp_path / name).write_text(body)
        found.append(load_template(tmp_path / name))
    assert len({template.version for template in found}) == 1
    assert len({template.showing_context().version_of("text") for template in found}) == 3
    # Without a place of its own, the passage comes first.
    assert [template.showing_context().messages("text")[0][1].pieces[0][1] for template in found] == ["context"] * 3


@pytest.mark.parametrize(("key", "text", "missing"), [("context", "none", "answers"), ("context_answer", "{question}", "answer")])
def test_a_template_that_would_hide_the_answers_is_refused(tmp_path, key, text, missing):
    file = tmp_path / "mine.yaml"
    file.write_text(f"{MINE}{key}: '{text}'\n")
    with pytest.raises(InputDataError, match=rf"{key}: \{{{missing}\}} is missing"):
        load_template(file)


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["gold", "gold:0", "8", "gold:1.5", "gold:1000", "test:8", ""])
def test_a_context_that_is_not_gold_and_a_number_is_refused(handmade, spec):
    with pytest.raises(UsageError, match="expected gold:K, such as gold:8"):
        plan_asking(handmade, context=spec)
    with pytest.raises(ValueError, match="expected gold:K"):
        ModelSection(model="embedded", context=spec)


def test_no_context_is_the_default_and_can_be_said(handmade):
    assert plan_asking(handmade, context="none").document == plan_asking(handmade).document
    assert "context" not in plan_asking(handmade).document


def test_baselines_read_no_prompts(handmade, tmp_path):
    with pytest.raises(UsageError, match=r"reads no prompts.*Leave out `context=`"):
        ask(handmade, make_respondent("baseline:uniform", handmade), tmp_path / "run", context="gold:2")


def test_a_split_without_training_pairs_has_nothing_to_show():
    with pytest.raises(InputDataError, match=r"'transfer' has no training pairs.*`split=`"):
        plan_asking(data(), split="transfer", context="gold:2")


@pytest.mark.parametrize(
    ("split", "part", "message"),
    [("paper+crossfit", "test", "one half of the respondents.*`fold=`"), ("unseen-both", "all", "test pairs of no fold.*`fold=`")],
)
def test_folds_that_would_show_different_gold_must_be_asked_one_at_a_time(split, part, message):
    with pytest.raises(UsageError, match=message):
        plan_asking(data(), split=split, part=part, context="gold:2")
    assert prompts_of(data(), split=split, part=part, fold=0)
