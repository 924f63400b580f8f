"""Exports for other trainers: their rows, limits and settings."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.tuning.planted import planted, quick
from valuestrata.errors import InputDataError, UsageError
from valuestrata.prompts import load_template, render_prompts
from valuestrata.tuning.data.chat_examples import ChatLine, answer_text, apportioned
from valuestrata.tuning.export.files import FORMATS, export_training, load_export
from valuestrata.tuning.export.limits import FormatLimits, check_bytes, check_lines
from valuestrata.tuning.export.settings import base_model


def rows_of(file) -> list[list[dict[str, str]]]:
    text = file.read_text()
    rows = json.loads(text) if file.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    assert all(set(row) == {"messages"} for row in rows)
    return [row["messages"] for row in rows]


# --- rows ---------------------------------------------------------------------------------------------------------------


def test_a_row_is_the_prompt_of_ask_and_the_answer_of_logprob(people, template, tmp_path):
    done = export_training(people, tmp_path / "out", recipe=quick("modal", template), format="chat")
    gold = {pair_id: mode for pair_id, half, mode in people.gold.select("pair_id", "half", "mode").iter_rows() if half == "all"}
    train = people.part("paper", "train")
    # As `ask` renders them, and the answer as `logprob` scores it: the prefill, a blank, the number of the mode.
    asked = render_prompts(people, train, template=load_template(template), elicitation="text")
    expected = Counter((p.messages[0].content, f"Answer: {p.options[p.shown.index(gold[p.pair_id])]}") for p in asked)
    rows = rows_of(tmp_path / "out" / "train.jsonl")
    assert Counter((user["content"], answer["content"]) for user, answer in rows) == expected
    assert {tuple(message["role"] for message in row) for row in rows} == {("user", "assistant")}
    assert done.rows == {"train": train.height, "validation": len(rows_of(tmp_path / "out" / "validation.jsonl"))}


def test_rows_are_mixed_by_seed(people, template, tmp_path):
    recipe = quick("modal", template)
    files = [
        export_training(people, tmp_path / name, recipe=recipe, seed=seed).folder / "train.jsonl"
        for name, seed in zip("abc", (1, 1, 2), strict=True)
    ]
    first, again, other = (file.read_text() for file in files)
    assert first == again != other
    assert sorted(first.splitlines()) == sorted(other.splitlines())


def test_shares_become_rows_in_their_proportion(people, template, tmp_path):
    done = export_training(people, tmp_path / "out", recipe=quick("distribution", template), format="chat", answers=20)
    given_ = Counter(tuple(message["content"] for message in row) for row in rows_of(tmp_path / "out" / "train.jsonl"))
    men = next(user for user, _ in given_ if user.startswith("- sex: Male\nWhat of B"))
    shares = people.gold.row(by_predicate=(pl.col("pair_id") == "B_sex_Male") & (pl.col("half") == "all"), named=True)["shares"]
    for number, share in enumerate(shares, start=1):
        assert abs(given_[men, f"Answer: {number}"] - 20 * share) < 1
    assert sum(count for (user, _), count in given_.items() if user == men) == 20
    assert done.rows["train"] == 20 * people.part("paper", "train").height
    assert "20 times the updates" in done.remarks[0]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=10).filter(any), st.integers(1, 60))
def test_apportionment_keeps_the_sum_and_is_off_by_less_than_one(counts, seats):
    shares = [count / sum(counts) for count in counts]
    got = apportioned(shares, seats)
    assert sum(got) == seats
    assert all(abs(number - share * seats) < 1 for number, share in zip(got, shares, strict=True))


def test_the_largest_remainders_get_the_last_seats():
    assert apportioned([0.47, 0.16, 0.158, 0.12, 0.061, 0.031], 10) == [5, 2, 1, 1, 1, 0]  # one more to .7, .61 and .6
    assert apportioned([0.5, 0.5], 3) == [2, 1]


def test_a_reversed_order_answers_with_the_number_that_is_shown(people, template, tmp_path):
    recipe = quick("modal", template, orders="reversed", **{"validation.samples": 0})
    done = export_training(people, tmp_path / "out", recipe=recipe)
    rows = rows_of(tmp_path / "out" / "train.jsonl")
    user, answer = next(row for row in rows if row[0]["content"].startswith("- sex: Male\nWhat of A"))
    assert "1. label 3" in user["content"]  # men's mode is the first option, now the last of three
    assert answer["content"] == "Answer: 3"
    assert done.rows["validation"] == 0
    assert not (tmp_path / "out" / "validation.jsonl").exists()


def test_controls_and_folds_are_those_of_tuning(people, template, tmp_path):
    recipe = quick("modal", template)
    export_training(people, tmp_path / "none", recipe=recipe, control="no-persona")
    assert all(row[0]["content"].startswith("Someone\n") for row in rows_of(tmp_path / "none" / "train.jsonl"))
    done = export_training(people, tmp_path / "fold", recipe=recipe, split="unseen-level", fold=0)
    assert done.document["held_out"]["subgroups"]
    assert done.document["request"]["fold"] == 0
    with pytest.raises(UsageError, match="choose one with"):
        export_training(people, tmp_path / "other", recipe=recipe, split="unseen-level")


def test_an_answer_without_a_prefill_has_no_blank(people, template):
    prompt = next(render_prompts(people, people.part("paper", "train")[:1], template=load_template(template), elicitation="text"))
    assert answer_text(replace(prompt, prefill=""), prompt.shown[1]) == prompt.options[1]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("ordinal", {}, "objective 'rps'"),
        ("dpo", {}, "objective 'dpo'"),
        ("shift", {}, "weights.by 'shift'"),
        ("fair", {}, "weights.groups 'dro'"),
    ],
)
def test_recipes_that_chats_cannot_express_are_refused(people, template, tmp_path, name, changes, said):
    with pytest.raises(UsageError, match=said):
        export_training(people, tmp_path / "out", recipe=quick(name, template, **changes))
    assert not (tmp_path / "out").exists()


def test_a_data_set_that_may_not_be_shared_is_refused(people, template, tmp_path):
    closed = replace(people, meta={**people.meta, "shareable": False})
    with pytest.raises(InputDataError, match="fewer than 10 answers"):
        export_training(closed, tmp_path / "out", recipe=quick("modal", template))
    unsaid = replace(people, meta={key: value for key, value in people.meta.items() if key != "shareable"})
    with pytest.raises(InputDataError, match="may not be shared"):
        export_training(unsaid, tmp_path / "out", recipe=quick("modal", template))


def test_wrong_calls_suggest_the_right_one(people, template, tmp_path):
    recipe = quick("modal", template)
    with pytest.raises(UsageError, match="Did you mean 'axolotl'"):
        export_training(people, tmp_path / "out", recipe=recipe, format="axolot")
    with pytest.raises(UsageError, match="name the base model"):
        export_training(people, tmp_path / "out", recipe=recipe, format="llama-factory")
    with pytest.raises(UsageError, match="at least 1"):
        export_training(people, tmp_path / "out", recipe=recipe, answers=0)
    with pytest.raises(UsageError, match="models of the Hub"):
        export_training(people, tmp_path / "out", recipe=recipe, format="axolotl", model="embedded")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(UsageError, match="is not an export"):
        export_training(people, tmp_path / "mine", recipe=recipe)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep me"


def test_an_export_is_replaced_unless_a_job_was_started_from_it(people, template, tmp_path):
    recipe = quick("modal", template)
    export_training(people, tmp_path / "out", recipe=recipe, format="axolotl", model="org/name")
    export_training(people, tmp_path / "out", recipe=recipe, format="together")
    assert not (tmp_path / "out" / "axolotl.yaml").exists()
    job = dict.fromkeys(("provider", "base_url", "model", "export", "tag"), "x") | {"stage": "starting", "files": {}}
    (tmp_path / "out" / "job.json").write_text(json.dumps(job))
    with pytest.raises(UsageError, match="a job was started"):
        export_training(people, tmp_path / "out", recipe=recipe)


# --- limits -----------------------------------------------------------------------------------------------------------


def line(*messages: tuple[str, str], pair_id: str = "Q1_sex_Female") -> ChatLine:
    return ChatLine(pair_id, messages or (("user", "How?"), ("assistant", "Answer: 1")))


def test_limits_name_the_file_the_limit_and_the_row():
    limits = FormatLimits("Somebody", least_rows=3, most_bytes=1000, most_tokens=400)
    with pytest.raises(InputDataError, match=r"train.jsonl: 2 rows, but Somebody needs at least 3"):
        check_lines([line(), line()], limits, "train.jsonl")
    check_lines([line()], limits, "validation.jsonl", least_rows=1)
    long = line(("user", "é" * 200), ("assistant", "Answer: 1"), pair_id="Q2_sex_Male")  # 400 bytes, though 200 characters
    with pytest.raises(InputDataError, match=r"train.jsonl: row 2 \(Q2_sex_Male\) may have 569 tokens .* Somebody takes at most 400"):
        check_lines([line(), long, line()], limits, "train.jsonl")
    check_bytes(1000, limits, "train.jsonl")
    with pytest.raises(InputDataError, match=r"1,001 bytes, but Somebody takes at most 1,000"):
        check_bytes(1001, limits, "train.jsonl")


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ((("assistant", "a"), ("user", "b")), "roles are assistant, user"),
        ((("user", "a"), ("user", "b"), ("assistant", "c")), "in turn"),
        ((("user", "a"), ("system", "b"), ("assistant", "c")), "at most one system message"),
        ((("user", "a"),), "roles are user"),
        ((("user", " \n"), ("assistant", "c")), "user message is empty"),
        ((("user", "a\ud800"), ("assistant", "c")), "UTF-8"),
    ],
)
def test_chats_that_readers_refuse_are_refused_here(messages, said):
    with pytest.raises(InputDataError, match=said):
        check_lines([line(*messages)], FormatLimits("Somebody"), "train.jsonl")
    check_lines([line(("system", "s"), ("user", "a"), ("assistant", "c"))], FormatLimits("Somebody"), "train.jsonl")


def test_tinker_needs_a_whole_batch(people, template, tmp_path):
    recipe = quick("modal", template, batch=64)
    with pytest.raises(InputDataError, match=r"38 rows, but Tinker's cookbook needs at least 64"):
        export_training(people, tmp_path / "out", recipe=recipe, format="tinker")
    assert export_training(people, tmp_path / "out", recipe=quick("modal", template), format="tinker").rows["train"] == 38


def test_ends_of_line_inside_a_text_do_not_end_a_row(tmp_path, template):
    people = planted()
    odd = people.items.with_columns(question=people.items["question"] + "\u2028\x85\u2029 really?")
    export_training(replace(people, items=odd), tmp_path / "out", recipe=quick("modal", template))
    text = (tmp_path / "out" / "train.jsonl").read_text()
    assert len(text.splitlines()) == 38  # Python ends a line there; so do others
    assert all("\u2028\x85\u2029 really?" in row[0]["content"] for row in rows_of(tmp_path / "out" / "train.jsonl"))


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_every_export_has_a_record_and_notices_changes(people, template, tmp_path, format):
    recipe = quick("modal", template)
    done = export_training(people, tmp_path / "out", recipe=recipe, format=format, model="hf:org/name")
    assert load_export(tmp_path / "out").document == done.document
    assert done.document["recipe"] == recipe.document == yaml.safe_load((tmp_path / "out" / "recipe.resolved.yaml").read_text())
    assert done.document["data"]["fingerprint"] == people.fingerprint
    first = next(name for name in done.document["files"] if name.startswith("train"))
    with (tmp_path / "out" / first).open("a") as file:
        file.write("\n")
    with pytest.raises(InputDataError, match="was changed since it was exported"):
        load_export(tmp_path / "out")


def test_a_folder_without_an_export_is_named(tmp_path):
    with pytest.raises(InputDataError, match=r"export.json is missing"):
        load_export(tmp_path)
    (tmp_path / "export.json").write_text('{"format": "something else"}')
    with pytest.raises(InputDataError, match="Input should be 'valuestrata-export-1'"):
        load_export(tmp_path)


def test_settings_follow_the_recipe(people, template, tmp_path):
    recipe = quick(
        "modal", template, learning_rate=1e-6, scheduler="constant", batch=8, accumulation=2, max_steps=7, early_stopping={"patience": 2}
    )
    export_training(people, tmp_path / "lf", recipe=recipe, format="llama-factory", model="hf:org/name@abc")
    made = yaml.safe_load((tmp_path / "lf" / "train.yaml").read_text())
    # 38 rows, an evaluation every 2 epochs of 38 / 8 updates.
    common = {"learning_rate": 1e-6, "gradient_accumulation_steps": 2, "max_steps": 7, "warmup_ratio": 0.1, "seed": 42, "eval_steps": 10}
    assert {**made, **common} == made
    assert made["model_name_or_path"] == "org/name"
    assert made["model_revision"] == "abc"
    assert made["per_device_train_batch_size"] == 4
    assert (made["lora_rank"], made["lora_alpha"], made["lora_target"]) == (8, 16, "all")
    assert made["lr_scheduler_type"] == "constant_with_warmup"
    assert made["early_stopping_steps"] == 2

    several = quick("modal", template, **{"lora.target_modules": ["q_proj", "v_proj"], "validation.samples": 0})
    export_training(people, tmp_path / "ax", recipe=several, format="axolotl", model="hf:org/name@abc")
    made = yaml.safe_load((tmp_path / "ax" / "axolotl.yaml").read_text())
    assert (made["base_model"], made["revision_of_model"]) == ("org/name", "abc")
    assert made["lora_target_modules"] == ["q_proj", "v_proj"]
    assert "test_datasets" not in made
    assert "eval_steps" not in made
    assert made["sequence_len"] >= load_export(tmp_path / "ax").document["longest"]


def test_differences_from_tune_are_listed(people, template, tmp_path):
    recipe = quick("modal", template, target="option", together=4, early_stopping={"by": "accuracy_expected"})
    remarks = export_training(people, tmp_path / "out", recipe=recipe).remarks
    assert [remark.partition(":")[0] for remark in remarks] == ["target", "together", "early_stopping.by"]
    shared = quick("distribution", template, mass_weight=0.5)
    assert export_training(people, tmp_path / "out", recipe=shared, answers=1).remarks == [
        "mass_weight: written answers correspond to 1, not 0.5."
    ]


def test_base_models_of_other_trainers(tmp_path):
    assert base_model("hf:org/name@v2") == ("org/name", "v2")
    assert base_model("org/name") == ("org/name", None)
    assert base_model(f"hf:{tmp_path}") == (str(tmp_path), None)
    for word in ("gguf:m.gguf", "vllm:org/name", "embedded", "embedded+adapter", "hf:org/name+adapter", "hf:"):
        with pytest.raises(UsageError, match="other trainers load"):
            base_model(word)
