"""Batch files without a key: what is written, and what is read back from what somebody fetched."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace

import polars as pl
import pytest

from tests.responses.asked import Writes
from valuestrata.errors import InputDataError, UsageError
from valuestrata.prompts.frame import prompts_from_frame
from valuestrata.respondents.hosted.batch.answers import respondent_from_identity
from valuestrata.respondents.hosted.batch.files import AnthropicBatchFormat, OpenAIBatchFormat, batch_format_of, write_requests
from valuestrata.respondents.hosted.prices import Prices
from valuestrata.respondents.hosted.settings import HostedSettings
from valuestrata.responses.ask.loop import ask_planned
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.responses.batch.folder import BatchFolder
from valuestrata.responses.batch.requests import collect_batch, hosted_of_run, is_batch_run, open_keys, write_batch
from valuestrata.responses.run.folder import load_run

BASE = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
}


def model(provider="openai", settings=None, prices=Prices(1.0, 2.0, batch=0.5)):  # noqa: B008
    """A hosted model without a key: the environment of these tests has none."""
    decoding = (settings or HostedSettings(temperature=None)).decoding()
    identity = {"name": f"{provider}/test-model", "base_url": BASE[provider], "decoding": decoding}
    kept = None if prices is None else {"input": prices.input, "output": prices.output, "batch": prices.batch}
    return respondent_from_identity(identity, kept)


def asking(dataset, **more):
    return plan_asking(dataset, **{"elicitation": "text", "orders": "scale,reversed"} | more)


def lines_of(written):
    return [json.loads(line) for file in written.files for line in file.read_text().splitlines()]


def completion(text, **choice):
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}], "usage": usage}


def output(custom_id, text="Answer: 1", **choice):
    body = completion(text, **choice)
    return {"id": "r", "custom_id": custom_id, "response": {"status_code": 200, "request_id": "r", "body": body}, "error": None}


def save(path, lines, end="\n"):
    path.write_text("\n".join(json.dumps(line) for line in lines) + end)
    return path


def test_a_line_of_openai_is_the_live_request_under_the_pair_and_its_variant(handmade, tmp_path):
    who, plan = model(), asking(handmade, samples=2)
    written = write_batch(handmade, who, tmp_path / "run", plan)
    lines = lines_of(written)
    prompts = list(plan.prompts(handmade, who))
    assert [line["custom_id"] for line in lines] == [f"{p.pair_id}|{p.order}|p{p.paraphrase}|s{p.sample}" for p in prompts]
    assert lines[0]["custom_id"] == "Q1_age_x_ethnicity_16-24-years_SG:-Malay|scale|p0|s0"
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert [line["body"] for line in lines] == [who.codec.body(prompt, who.settings) for prompt in prompts]
    assert (written.requests, written.kept, written.waiting) == (plan.planned, 0, 0)


def test_a_name_for_anthropic_fits_and_is_of_this_run_alone(handmade, tmp_path):
    names = []
    for run in ("one", "two"):
        lines = lines_of(write_batch(handmade, model("anthropic"), tmp_path / run, asking(handmade)))
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", line["custom_id"]) for line in lines)
        assert lines[0]["params"]["max_tokens"] == 32
        names.append({line["custom_id"] for line in lines})
    assert len(names[0]) == asking(handmade).planned
    assert not names[0] & names[1]


def test_a_line_of_google(handmade, tmp_path):
    line = lines_of(write_batch(handmade, model("google"), tmp_path / "run", asking(handmade)))[0]
    assert set(line) == {"key", "request"}
    assert line["request"]["generationConfig"] == {"maxOutputTokens": 32}


def test_the_run_knows_what_was_asked_before_anything_came_back(handmade, tmp_path):
    who, plan = model(), asking(handmade)
    write_batch(handmade, who, tmp_path / "run", plan)
    run = load_run(tmp_path / "run")
    assert run.responses.height == 0
    assert run.meta["respondent"]["name"] == "openai/test-model"
    assert is_batch_run(tmp_path / "run")
    assert not is_batch_run(tmp_path)
    frame = pl.read_parquet(tmp_path / "run" / "batch" / "prompts.parquet")
    assert prompts_from_frame(frame) == list(plan.prompts(handmade, who))
    assert open_keys(tmp_path / "run") == frozenset(frame["key"])


def test_files_end_where_the_provider_says(handmade, tmp_path, monkeypatch):
    monkeypatch.setattr(OpenAIBatchFormat, "most_requests", 7)
    written = write_batch(handmade, model(), tmp_path / "run", asking(handmade))
    assert [file.name for file in written.files] == ["requests-000.jsonl", "requests-001.jsonl", "requests-002.jsonl"]
    assert [len(file.read_text().splitlines()) for file in written.files] == [7, 7, 4]
    assert [file.requests for file in BatchFolder(tmp_path / "run").files()] == [7, 7, 4]


def test_files_end_before_the_size_that_the_provider_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(OpenAIBatchFormat, "most_bytes", 400)
    form = batch_format_of(model().codec)
    bodies = [("a" * size, {"text": "ä" * size}) for size in (20, 30, 40, 10, 60, 5)]
    counts = write_requests(form, bodies, lambda number: tmp_path / f"{number}.jsonl")
    files = [tmp_path / f"{number}.jsonl" for number in range(len(counts))]
    assert all(file.stat().st_size <= 400 for file in files)
    assert [len(file.read_text().splitlines()) for file in files] == counts
    assert len(counts) > 2
    # greedy: what a file left to the next would not have fitted
    for file, following in itertools.pairwise(files):
        assert file.stat().st_size + len(following.read_bytes().splitlines()[0]) + 1 > 400
    with pytest.raises(InputDataError, match="a file for openai holds 400"):
        write_requests(form, [("x", {"text": "y" * 400})], lambda number: tmp_path / "large.jsonl")
    assert not (tmp_path / "large.jsonl").exists()
    assert write_requests(form, [], lambda number: tmp_path / "none.jsonl") == []


def test_outputs_in_any_order_and_in_several_files(handmade, tmp_path):
    plan = asking(handmade)
    ids = [line["custom_id"] for line in lines_of(write_batch(handmade, model(), tmp_path / "run", plan))]
    refused = {"status_code": 400, "request_id": "r", "body": {"error": {"message": "too long", "code": "context_length_exceeded"}}}
    first = save(tmp_path / "a.jsonl", [output(name) for name in reversed(ids[3:])])
    second = save(tmp_path / "b.jsonl", [output(ids[0], "Answer: 2"), {"custom_id": ids[1], "response": refused, "error": None}])
    collected = collect_batch(handmade, tmp_path / "run", [second, first])
    assert (collected.stored, collected.waiting) == (len(ids) - 1, 1)
    assert collected.failures == {"refused request": 1}
    assert collected.counts["answered"] == len(ids) - 2
    table = load_run(tmp_path / "run").responses
    assert set(table.filter(table["status"] == "answered")["cost"].round(9)) == {60e-6}
    assert table["latency"].null_count() == table.height
    meta = load_run(tmp_path / "run").meta
    assert meta["counts"]["answered"] == len(ids) - 2
    assert meta["usage"]["cost"] == pytest.approx(60e-6 * (len(ids) - 2))


def test_the_same_outputs_again_change_nothing(handmade, tmp_path):
    ids = [line["custom_id"] for line in lines_of(write_batch(handmade, model(), tmp_path / "run", asking(handmade)))]
    failed = {"custom_id": ids[0], "response": {"status_code": 500, "body": {"error": {"message": "down"}}}, "error": None}
    outputs = [save(tmp_path / "a.jsonl", [failed, failed, output(ids[1]), output(ids[1], "Answer: 3"), output(ids[2])])]
    first = collect_batch(handmade, tmp_path / "run", outputs)
    store = (tmp_path / "run" / "store" / "responses.jsonl").read_bytes()
    again = collect_batch(handmade, tmp_path / "run", outputs)
    assert (first.stored, again.stored) == (3, 0)
    assert again.counts == first.counts
    assert (tmp_path / "run" / "store" / "responses.jsonl").read_bytes() == store
    # of two answers under one name the first counts
    assert set(load_run(tmp_path / "run").responses["text"]) == {"Answer: 1", None}


def test_a_failed_request_is_written_again_and_one_under_way_is_not(handmade, tmp_path):
    plan = asking(handmade)
    ids = [line["custom_id"] for line in lines_of(write_batch(handmade, model(), tmp_path / "run", plan))]
    nothing = write_batch(handmade, model(), tmp_path / "run", plan)
    assert (nothing.files, nothing.requests, nothing.waiting) == ((), 0, len(ids))
    failed = {"custom_id": ids[0], "response": {"status_code": 500, "body": {"error": {"message": "down"}}}, "error": None}
    expired = {"custom_id": ids[1], "response": None, "error": {"code": "batch_expired", "message": "not executed"}}
    old = save(tmp_path / "a.jsonl", [failed, expired, output(ids[2])])
    collect_batch(handmade, tmp_path / "run", [old])
    more = write_batch(handmade, model(), tmp_path / "run", asking(handmade, samples=2))
    assert (more.kept, more.waiting) == (1, len(ids) - 3)
    names = [line["custom_id"] for line in lines_of(more)]
    assert names[:1] == [ids[0]]
    assert len(names) == len(ids) + 2
    # The outputs of the first round, read again, say nothing of the second.
    assert collect_batch(handmade, tmp_path / "run", [old]).stored == 0
    assert write_batch(handmade, model(), tmp_path / "run", plan).requests == 0
    new = save(tmp_path / "b.jsonl", [output(ids[0]), output(ids[1])])
    assert collect_batch(handmade, tmp_path / "run", [new]).stored == 2


def test_what_was_answered_live_is_not_written(handmade, tmp_path):
    plan = asking(handmade)

    class Live(Writes):
        def identity(self):
            return model().identity()

    ask_planned(handmade, Live(name="openai/test-model"), tmp_path / "run", plan, max_calls=5)
    written = write_batch(handmade, model(), tmp_path / "run", plan)
    assert (written.kept, written.requests) == (5, plan.planned - 5)


def test_lines_that_are_none_are_told_and_hide_nothing(handmade, tmp_path):
    ids = [line["custom_id"] for line in lines_of(write_batch(handmade, model(), tmp_path / "run", asking(handmade)))]
    whole = json.dumps(output(ids[2]))
    file = tmp_path / "a.jsonl"
    stranger = json.dumps(output("Q9_nobody|scale|p0|s0"))
    file.write_text("\n".join([json.dumps(output(ids[0])), "{broken", stranger, "", json.dumps({"answer": 42}), whole[:80]]))
    collected = collect_batch(handmade, tmp_path / "run", [file])
    assert collected.stored == 1
    assert (collected.unknown, collected.unknown_ids) == (1, ("Q9_nobody|scale|p0|s0",))
    assert collected.damaged == tuple(f"{file}: line {number}" for number in (2, 5, 6))
    assert any("line 6 is incomplete" in remark for remark in collected.remarks)
    assert any("2 lines could not be read; the first is" in remark for remark in collected.remarks)
    file.write_text(json.dumps(output(ids[0])) + "\n" + whole)
    assert collect_batch(handmade, tmp_path / "run", [file]).stored == 1  # whole now, though no line feed ends it


def test_answers_of_vllm_run_batch_are_read(handmade, tmp_path):
    ids = [line["custom_id"] for line in lines_of(write_batch(handmade, model(), tmp_path / "run", asking(handmade)))]
    line = {"id": "vllm-1", "custom_id": ids[0], "response": {"status_code": 200, "request_id": "vllm-batch-1"}, "error": None}
    line["response"]["body"] = {**completion("Answer: 2"), "usage": {"prompt_tokens": 7, "total_tokens": 9, "completion_tokens": 2}}
    collect_batch(handmade, tmp_path / "run", [save(tmp_path / "a.jsonl", [line])])
    assert load_run(tmp_path / "run").responses["answer"].to_list() == [2]


def test_results_of_anthropic(handmade, tmp_path):
    ids = [line["custom_id"] for line in lines_of(write_batch(handmade, model("anthropic"), tmp_path / "run", asking(handmade)))]
    message = {"type": "message", "content": [{"type": "text", "text": "Answer: 1"}], "stop_reason": "end_turn"}
    message["usage"] = {"input_tokens": 100, "output_tokens": 10}
    refusal = {**message, "content": [], "stop_reason": "refusal"}
    lost = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    lines = [
        {"custom_id": ids[0], "result": {"type": "succeeded", "message": message}},
        {"custom_id": ids[1], "result": {"type": "succeeded", "message": refusal}},
        {"custom_id": ids[2], "result": {"type": "errored", "error": lost}},
        {"custom_id": ids[3], "result": {"type": "expired"}},
        {"custom_id": ids[4], "result": {"type": "canceled"}},
    ]
    collected = collect_batch(handmade, tmp_path / "run", [save(tmp_path / "a.jsonl", lines)])
    assert collected.stored == 3
    assert collected.failures == {"overloaded": 1}
    assert collected.not_asked == {"expired": 1, "canceled": 1}
    assert (collected.counts["answered"], collected.counts["failed"]) == (1, 1)
    assert write_batch(handmade, model("anthropic"), tmp_path / "run", asking(handmade)).requests == 3


def test_results_of_google(handmade, tmp_path):
    ids = [line["key"] for line in lines_of(write_batch(handmade, model("google"), tmp_path / "run", asking(handmade)))]
    content = {"parts": [{"text": "Answer: 1"}], "role": "model"}
    answered = {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 9}}
    lines = [
        {"key": ids[0], "response": answered},
        {"key": ids[1], "error": {"code": 429, "message": "busy", "status": "RESOURCE_EXHAUSTED"}},
        {"key": ids[2], "response": {"promptFeedback": {"blockReason": "SAFETY"}}},
    ]
    collected = collect_batch(handmade, tmp_path / "run", [save(tmp_path / "a.jsonl", lines)])
    assert collected.stored == 3
    assert collected.failures == {"rate limit": 1}
    assert "SAFETY" in set(load_run(tmp_path / "run").responses["finish_reason"])


def test_probabilities_of_first_token_are_read_as_in_live_calls(handmade, tmp_path):
    plan = asking(handmade, elicitation="first-token", items=["Q1"], orders="scale")
    lines = lines_of(write_batch(handmade, model(), tmp_path / "run", plan))
    assert lines[0]["body"]["logprobs"] is True
    # e^-0.5 and e^-1.0 of "1" and "2"; what is left is of no option
    content = [{"token": "1", "logprob": -0.5, "top_logprobs": [{"token": "1", "logprob": -0.5}, {"token": "2", "logprob": -1.0}]}]
    outputs = [output(lines[0]["custom_id"], "1", logprobs={"content": content}), output(lines[1]["custom_id"], "1")]
    collect_batch(handmade, tmp_path / "run", [save(tmp_path / "a.jsonl", outputs)])
    rows = load_run(tmp_path / "run").responses.sort("status").to_dicts()
    assert rows[0]["option_mass"] == pytest.approx(0.6065307 + 0.3678794)
    assert rows[0]["option_probs"] == pytest.approx([0.6224593, 0.3775407, 0, 0])
    assert rows[1]["error"].startswith("wrong setting: no log-probabilities came")


@pytest.mark.parametrize(
    ("provider", "elicitation", "message"),
    [
        ("openai", "logprob", "logprob needs several calls per prompt"),
        ("anthropic", "first-token", "anthropic"),
    ],
)
def test_what_a_batch_cannot_answer_is_refused_before_anything_is_written(provider, elicitation, message, handmade, tmp_path):
    with pytest.raises(UsageError, match=message):
        write_batch(handmade, model(provider), tmp_path / "run", asking(handmade, elicitation=elicitation))
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_no_provider_s_has_no_batches(handmade, tmp_path):
    with pytest.raises(UsageError, match="'fake:writes' does not support batch files"):
        write_batch(handmade, Writes(), tmp_path / "run", asking(handmade))


def test_outputs_go_only_into_the_run_that_asked(handmade, make_handmade, tmp_path):
    other = make_handmade(fingerprint="e" * 64)
    write_batch(handmade, model(), tmp_path / "run", asking(handmade))
    file = save(tmp_path / "a.jsonl", [output("x")])
    with pytest.raises(InputDataError, match="belong to another data set"):
        collect_batch(other, tmp_path / "run", [file])
    with pytest.raises(InputDataError, match="no batch files here"):
        collect_batch(handmade, tmp_path, [file])
    with pytest.raises(InputDataError, match=r"gone\.jsonl: the file does not exist"):
        collect_batch(handmade, tmp_path / "run", [tmp_path / "gone.jsonl"])
    warmer = model("openai", replace(model().settings, temperature=0.5))
    with pytest.raises(InputDataError, match=r"respondent\.decoding\.temperature None, and now it would be 0\.5"):
        write_batch(handmade, warmer, tmp_path / "run", asking(handmade))


def test_a_state_that_is_none_is_named(handmade, tmp_path):
    write_batch(handmade, model(), tmp_path / "run", asking(handmade))
    state = tmp_path / "run" / "batch" / "batches.json"
    document = json.loads(state.read_text())
    for broken in ({**document, "format": "other"}, {**document, "files": [{"name": "x"}]}, {"format": document["format"]}):
        state.write_text(json.dumps(broken))
        with pytest.raises(InputDataError, match=r"batches\.json"):
            write_batch(handmade, model(), tmp_path / "run", asking(handmade))


def test_settings_survive_the_way_through_the_run(handmade, tmp_path):
    settings = HostedSettings(max_new_tokens=40, temperature=0.3, seed=7, constrain=True, top_logprobs=5, extra={"top_p": 0.9})
    who = model("openai", settings)
    write_batch(handmade, who, tmp_path / "run", asking(handmade))
    again = hosted_of_run(tmp_path / "run")
    assert again.identity() == who.identity()
    assert again.prices == who.prices


def test_sizes_are_the_providers_own():
    assert (OpenAIBatchFormat.most_requests, OpenAIBatchFormat.most_bytes) == (50_000, 200_000_000)
    assert AnthropicBatchFormat.most_requests == 100_000
    assert AnthropicBatchFormat.most_bytes < 256 * 2**20


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_process_that_ends_while_it_writes_leaves_nothing_to_hand_in(provider, handmade, tmp_path, monkeypatch):
    def ends(*_):
        raise KeyboardInterrupt

    form = {"openai": OpenAIBatchFormat, "anthropic": AnthropicBatchFormat}[provider]
    run, who = tmp_path / "run", model(provider)
    with monkeypatch.context() as patched:
        patched.setattr(BatchFolder, "save", ends)
        patched.setattr(form, "most_requests", 5)
        with pytest.raises(KeyboardInterrupt):
            write_batch(handmade, who, run, asking(handmade))
    assert open_keys(run) == frozenset()  # asked live, they are paid once
    written = write_batch(handmade, who, run, asking(handmade, orders="scale"))
    assert sorted(file.name for file in (run / "batch").glob("*.jsonl")) == ["requests-000.jsonl"]
    ids = [line["custom_id"] for line in lines_of(written)]
    assert len(open_keys(run)) == len(ids) == 9
    results = [{"custom_id": name, "result": {"type": "expired"}} for name in ids]
    outputs = results if provider == "anthropic" else [output(name) for name in ids]
    assert collect_batch(handmade, run, [save(tmp_path / "a.jsonl", outputs)]).waiting == 0
