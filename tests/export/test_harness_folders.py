"""Exports to lm-evaluation-harness and Inspect: the prompts and the gold that the folders hold."""

import json

import pytest
import yaml

from valuestrata.errors import InputDataError, UsageError
from valuestrata.export.export import export_dataset
from valuestrata.export.harness.documents import DOCUMENTS, documents_of, metrics_of, read_documents
from valuestrata.respondents.base import Answer
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.pairs import pair_scores

TEST_PAIRS = 9


class Tagged(yaml.SafeLoader):
    """Reads `!function` values as text."""


Tagged.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def loaded(file):
    return yaml.load(file.read_text(), Loader=Tagged)


def test_documents_hold_the_prompts_that_ask_would_send(handmade):
    documents = documents_of(handmade, ("logprob",))
    asked = list(plan_asking(handmade, elicitation="logprob").prompts_with(handmade, None))
    assert [document.prompt() for document in documents] == asked
    assert len(documents) == TEST_PAIRS
    gold = {row["pair_id"]: row for row in handmade.gold.iter_rows(named=True)}
    for document in documents:
        row = gold[document.pair_id]
        assert (document.mode, document.p_mode, document.shares) == (row["mode"], row["p_mode"], [])
        assert document.block == document.item
        assert list(document.label_of) == list(document.shown)


def test_a_task_directory_has_a_task_for_each_topic(handmade, tmp_path):
    made = export_dataset(handmade, tmp_path / "task", to="lm-eval")
    group = loaded(tmp_path / "task" / "valuestrata_handmade.yaml")
    names = [f"valuestrata_handmade_{topic}" for topic in ("social_values", "ethical_values", "economy")]
    assert group["task"] == made.document["tasks"] == names
    assert all(metric["weight_by_size"] for metric in group["aggregate_metric_list"])
    pairs = 0
    for name in names:
        task = loaded(tmp_path / "task" / f"{name}.yaml")
        assert (task["task"], task["output_type"], task["class"]) == (name, "multiple_choice", "survey_task.SurveyTask")
        pairs += len(read_documents(tmp_path / "task" / task["dataset_kwargs"]["file"]))
    assert pairs == made.document["pairs"] == TEST_PAIRS
    assert "def score(" in (tmp_path / "task" / "survey_task.py").read_text()
    assert f" --tasks valuestrata_handmade --include_path {tmp_path / 'task'} " in made.summary


def test_a_task_directory_for_texts_generates(handmade, tmp_path):
    export_dataset(handmade, tmp_path / "task", to="lm-eval", elicitation="text", part="train")
    task = loaded(tmp_path / "task" / "valuestrata_handmade_economy.yaml")
    assert (task["output_type"], task["generation_kwargs"]["max_gen_toks"]) == ("generate_until", 32)
    (first, *_) = read_documents(tmp_path / "task" / "valuestrata_handmade_economy.jsonl")
    assert (first.elicitation, first.subgroup) == ("text", "sex_Male")


def test_topics_that_differ_only_in_signs_keep_tasks_of_their_own(handmade, tmp_path):
    from dataclasses import replace

    import polars as pl

    topics = pl.Series("topic", ["Work & pay", "Work, pay", "日本"])
    made = export_dataset(replace(handmade, items=handmade.items.with_columns(topics)), tmp_path / "task", to="lm-eval")
    assert made.document["tasks"] == ["valuestrata_handmade_work_pay", "valuestrata_handmade_work_pay_1", "valuestrata_handmade_topic"]


def test_an_inspect_folder_holds_the_documents_and_a_task_file(handmade, tmp_path):
    export_dataset(handmade, tmp_path / "task", to="inspect")
    assert [document.elicitation for document in read_documents(tmp_path / "task" / DOCUMENTS)] == ["text"] * TEST_PAIRS
    compile((tmp_path / "task" / "survey.py").read_text(), "survey.py", "exec")


def test_metrics_of_an_answer_by_hand(handmade):
    q1 = next(document for document in documents_of(handmade, ("text",)) if document.item == "Q1")
    assert metrics_of(q1, {"status": "answered", "answer": 1}) == {"accuracy": 1.0, "accuracy_expected": 1.0, "distance": 0.0}
    assert metrics_of(q1, {"status": "answered", "answer": 4}) == {"accuracy": 0.0, "accuracy_expected": 0.0, "distance": 1.0}
    assert metrics_of(q1, {"status": "refused", "answer": None}) == {"accuracy": 0.0, "accuracy_expected": 0.0, "distance": 1.0}


@pytest.mark.parametrize(("elicitation", "distance"), [("text", "nmae"), ("stated-distribution", "w1")])
def test_metrics_are_those_of_score(handmade, elicitation, distance):
    texts = ["Answer: 2", "1", "I cannot answer that.", "Answer: 77", ""]
    if elicitation == "stated-distribution":
        texts = ["1: 20%\n2: 70%\n3: 10%", '{"1": 0.1, "2": 0.6, "3": 0.3}', "1: 50%\n2: 20%\n3: 20%\n4: 10%", "I cannot say."]
    documents = documents_of(handmade, ("text", "stated-distribution"), elicitation=elicitation)
    answers = [Answer(document.prompt(), text=texts[place % len(texts)]) for place, document in enumerate(documents)]
    rows = [row_of(answer, document.label_of) for answer, document in zip(answers, documents, strict=True)]
    assert len({row["status"] for row in rows}) > 1
    ours = {row["pair_id"]: row for row in pair_scores(handmade, RESPONSES.frame(rows)).iter_rows(named=True)}
    for document, row in zip(documents, rows, strict=True):
        found, expected = metrics_of(document, row), ours[document.pair_id]
        assert (found["accuracy"], found["accuracy_expected"]) == (expected["accuracy"], expected["accuracy_expected"])
        assert found["distance"] == pytest.approx(expected[distance], rel=1e-15)


def test_stated_shares_are_scored_against_the_gold_shares(handmade):
    q1 = next(document for document in documents_of(handmade, ("text", "stated-distribution"), elicitation="stated-distribution"))
    assert (q1.item, q1.shares) == ("Q1", [40 / 60, 20 / 60, 0.0, 0.0])
    # The first option has a third too little, which the last has: over the whole scale.
    row = {"status": "answered", "answer": 1, "option_probs": [1 / 3, 1 / 3, 0.0, 1 / 3]}
    assert metrics_of(q1, row)["distance"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"to": "lm-eval", "elicitation": "first-token"}, "This harness does not support the elicitation 'first-token'"),
        ({"to": "inspect", "elicitation": "logprob"}, "This harness does not support the elicitation 'logprob'"),
        ({"to": "lm-eval", "split": "paper+crossfit"}, "scores each pair against two halves of the respondents; use 'paper'"),
        ({"to": "lm-eval", "part": "tset"}, "Did you mean 'test'"),
        ({"to": "lm-eval", "license": "cc0-1.0"}, "does not apply to an export to lm-evaluation-harness"),
        ({"to": "hf", "part": "test"}, "does not apply to an export to Hugging Face"),
    ],
)
def test_wrong_calls_name_the_mistake(handmade, tmp_path, call, message):
    with pytest.raises(UsageError, match=message):
        export_dataset(handmade, tmp_path / "out", **call)
    assert not (tmp_path / "out").exists()


def test_a_changed_folder_names_line_and_key(handmade, tmp_path):
    export_dataset(handmade, tmp_path / "task", to="inspect")
    file = tmp_path / "task" / DOCUMENTS
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    del lines[1]["p_mode"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputDataError, match=r"pairs.jsonl: line 2: p_mode: Field required. It was not written by `valuestrata export`"):
        read_documents(file)
