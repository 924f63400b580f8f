"""Hosted models, limits, shards and batch files from the command line, against a local server."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.hosted.server import Act, Server, answers, problem
from valuestrata.responses.run.folder import load_run

pytest.importorskip("openai", reason="needs the extra `api`")

KEY = "sk-secret-of-the-test-000000"
MODEL = "openai/gpt-4.1-mini"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Server() as running:
        yield running


@pytest.fixture
def asked(call, data, server):
    """Ask the hosted model, with elicitation text by default."""

    def run(out, *words, model=MODEL):
        return call("ask", data, "--model", model, "--elicitation", "text", "--base-url", server.url, "-o", out, *words)

    return run


def files_of(folder):
    return [file for file in folder.rglob("*") if file.is_file()]


def test_a_hosted_model_is_asked_and_leaves_no_key_behind(asked, server, tmp_path):
    done = asked(tmp_path / "run", "--json", "--price-in", 2, "--price-out", 8)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert (document["left"], document["failed"], document["stopped"]) == (0, 0, None)
    assert document["asked"] == document["answered"] == len(server.delivered)
    calls = len(server.delivered)
    assert document["usage"] == {"prompt_tokens": 100 * calls, "completion_tokens": 4 * calls, "cost": pytest.approx(calls * 232e-6)}
    run = load_run(tmp_path / "run")
    assert run.meta["respondent"]["provider"] == "openai"
    assert run.meta["respondent"]["base_url"] == server.url
    assert "openai" in run.meta["versions"]
    again = asked(tmp_path / "run", "--price-in", 2, "--price-out", 8)
    assert again.code == 0
    assert "input tokens" in again.out
    assert len(server.delivered) == calls
    for file in files_of(tmp_path / "run"):
        assert KEY.encode() not in file.read_bytes(), file
    assert KEY not in done.out + done.err


def test_prompts_are_printed_without_a_key_a_call_or_a_folder(call, data, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("valuestrata.respondents.models.make_respondent", None)
    how = ("ask", data, "--model", MODEL, "--elicitation", "text", "--orders", "reversed")
    one = call(*how, "--show-prompt")
    assert one.code == 0, one.err
    assert one.out.count("Prompt ") == 1
    assert one.out.startswith("Prompt 1 of ")
    assert "order reversed" in one.out
    assert "\n[user]\n" in one.out
    assert "assistant" not in one.out
    two = json.loads(call(*how, "--show-prompt", 2, "--samples", 3, "--json").out)["prompts"]
    assert len({prompt["pair_id"] for prompt in two}) == 2
    assert two[0]["messages"][-1]["content"] in one.out
    begun = call("ask", data, "--model", "hf:no/such-model", "--show-prompt", "--json")
    assert json.loads(begun.out)["prompts"][0]["prefill"] == "Answer:"
    control = ("--model", f"control:no-persona@{MODEL}", "--elicitation", "text")
    alike = json.loads(call("ask", data, *control, "--items", "Q1", "--show-prompt", 5, "--json").out)
    assert len(alike["prompts"]) == 1
    assert "under 40" not in alike["prompts"][0]["messages"][-1]["content"]
    assert call("ask", data, "--model", "opnai/x", "--show-prompt").code == 2
    for model in (MODEL, f"control:no-persona@{MODEL}"):
        impossible = call("ask", data, "--model", model, "--show-prompt")
        assert (impossible.code, "Use --elicitation first-token or text" in impossible.err) == (2, True)
    assert call("ask", data, "--model", MODEL, "--show-prompt", 0).code == 2
    without = call("ask", data, "--model", MODEL)
    assert (without.code, "with -o" in without.err) == (2, True)
    assert "Prompt 1 of " in call("open", "ask", data, "--model", MODEL, "--show-prompt").out


@pytest.mark.slow
def test_a_run_keeps_a_prompt_of_each_wording_and_the_report_shows_it(asked, call, data, tmp_path):
    assert asked(tmp_path / "run", "--paraphrases", "all").code == 0
    run = load_run(tmp_path / "run")
    kept = run.meta["example_prompts"]
    assert [prompt["paraphrase"] for prompt in kept] == run.meta["plan"]["paraphrases"]
    shown = json.loads(call("ask", data, "--model", MODEL, "--elicitation", "text", "--show-prompt", "--json").out)["prompts"]
    assert shown == kept[:1]
    report = ("report", data, tmp_path / "run", "--bootstrap", 0, "-o")
    assert call(*report, tmp_path / "page").code == 0
    assert "Prompt, default, text" in (tmp_path / "page" / "report.html").read_text()
    # A run of an earlier version has no prompt, continues, and gets one.
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    del document["example_prompts"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(document))
    assert call(*report, tmp_path / "old").code == 0
    assert "Prompt, default, text" not in (tmp_path / "old" / "report.html").read_text()
    assert asked(tmp_path / "run").code == 0
    assert load_run(tmp_path / "run").meta["example_prompts"] == kept[:1]


def test_many_damaged_answers_are_paid_again_only_with_ask_again(asked, call, data, server, tmp_path):
    assert asked(tmp_path / "run").code == 0
    file, calls = tmp_path / "run" / "store" / "responses.jsonl", len(server.delivered)
    (tmp_path / "run" / "responses.parquet").unlink()
    file.write_bytes(file.read_bytes().replace(b"Answer", b"answer"))
    lines = len(file.read_bytes().splitlines())
    stopped = asked(tmp_path / "run")
    assert stopped.code == 3
    assert f"{file}: {lines} damaged lines (1-{lines}). {lines} paid answers" in stopped.err
    assert "--ask-again does so" in stopped.err
    assert f"{lines} damaged lines" in asked(tmp_path / "run", "--dry-run").err
    assert "their answers are missing" in call("score", data, tmp_path / "run", "--bootstrap", 0).err
    assert len(server.delivered) == calls
    again = asked(tmp_path / "run", "--ask-again")
    assert again.code == 0
    assert f"{file}: {lines} damaged lines" in again.err
    assert len(server.delivered) == calls + lines


@pytest.mark.slow
def test_a_report_shows_usage_but_no_key(call, asked, data, server, tmp_path):
    assert asked(tmp_path / "run", "--price-in", 2, "--price-out", 8).code == 0
    made = call("report", data, tmp_path / "run", "-o", tmp_path / "page" / "report.html", "--bootstrap", 20, "--baselines", "cheap")
    assert made.code == 0, made.err
    page = (tmp_path / "page" / "report.html").read_text()
    assert "Calls, tokens and cost" in page
    assert f"{100 * len(server.delivered):,}" in page
    for file in files_of(tmp_path / "page"):
        assert KEY.encode() not in file.read_bytes(), file


def test_a_dry_run_needs_neither_key_nor_call(asked, server, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    dry = asked(tmp_path / "run", "--dry-run", "--price-in", 2, "--price-out", 8)
    assert dry.code == 0, dry.err
    assert "calls" in dry.out
    assert "At most $" in dry.out
    document = json.loads(asked(tmp_path / "run", "--dry-run", "--json").out)
    assert document["cost"] is None  # known prices do not apply to another address
    assert document["calls"] == document["planned"]
    assert not server.log
    assert not (tmp_path / "run").exists()
    needs = asked(tmp_path / "run")
    assert needs.code == 2
    assert "OPENAI_API_KEY" in needs.err


def test_limits_stop_the_run_and_report_what_is_left(asked, server, tmp_path):
    first = asked(tmp_path / "run", "--max-cost", 0.0012, "--price-in", 2, "--price-out", 8, "--max-new-tokens", 8, "--json")
    assert first.code == 0, first.err
    document = json.loads(first.out)
    assert 0 < document["usage"]["cost"] <= 0.0012
    assert document["left"] > 0
    assert document["stopped"]
    unknown = asked(tmp_path / "other", "--max-cost", 1)
    assert unknown.code == 2
    assert "--price-in" in unknown.err
    alone = asked(tmp_path / "other", "--price-in", 1)
    assert (alone.code, "--price-out" in alone.err) == (2, True)
    few = asked(tmp_path / "few", "--max-calls", 2)
    assert few.code == 0
    assert "left" in few.out


def test_a_wrong_model_ends_the_run_with_one_message_after_one_call(asked, server, tmp_path):
    server.behave = lambda request: Act(status=404, document=problem("The model `gpt-0` does not exist", "model_not_found"))
    done = asked(tmp_path / "run", model="openai/gpt-0")
    assert done.code == 4
    assert "gpt-0" in done.err
    assert done.err.count("valuestrata:") == 1
    assert len(server.log) == 1


def test_failures_are_counted_by_kind_and_retried(asked, server, tmp_path):
    bad = {}

    def behave(request):
        # Every third prompt is always refused.
        if request.number % 3 == 2:
            bad[request.identity] = True
        return Act(status=400, document=problem("your prompt is odd")) if request.identity in bad else answers(request)

    server.behave = behave
    done = asked(tmp_path / "run")
    assert done.code == 4
    assert f"{len(bad)} refused request" in done.err
    server.behave = answers
    assert asked(tmp_path / "run").code == 0
    assert set(load_run(tmp_path / "run").responses["status"]) == {"answered"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--elicitation", "logprob"], "Use --elicitation first-token"),
        (["--temperature", "hot"], "--temperature is a number or none"),
        (["--extra", "{"], "not valid JSON"),
        (["--extra", "[1]"], "JSON object"),
        (["--shard", "0/3"], "count from 1"),
        (["--shard", "1/3", "--batch-out"], "cannot be used together"),
        (["--on", "dask"], "ray"),
        (["--orders", "balanced:1"], "balanced"),
        (["--paraphrases", "9"], "9"),
    ],
)
def test_invalid_options_are_refused_before_the_first_call(asked, server, tmp_path, words, message):
    done = asked(tmp_path / "run", *words)
    assert done.code == 2, done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert not server.log
    assert not (tmp_path / "run").exists()


def test_an_unknown_provider_is_suggested(asked, tmp_path):
    done = asked(tmp_path / "run", model="opanai/gpt-4.1")
    assert done.code == 2
    assert "Did you mean 'openai'" in done.err


def test_joined_shards_equal_the_whole_run(asked, call, server, tmp_path):
    assert asked(tmp_path / "whole").code == 0
    for shard in ("1/3", "3/3"):
        assert asked(tmp_path / "run", "--shard", shard).code == 0
    gap = call("collect", tmp_path / "run")
    assert gap.code == 3
    assert "2" in gap.err
    assert asked(tmp_path / "run", "--shard", "2/3").code == 0
    joined = call("collect", tmp_path / "run")
    assert joined.code == 0, joined.err
    assert "3 shards" in joined.out
    mine = ["pair_id", "prompt_hash", "answer", "status", "prompt_tokens"]
    whole, parts = (load_run(tmp_path / name).responses.select(mine).sort("pair_id") for name in ("whole", "run"))
    assert parts.equals(whole)


def test_batch_files_need_no_key_and_are_read_back(asked, call, data, server, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    run = tmp_path / "run"
    written = asked(run, "--batch-out", "--json", "--price-in", 2, "--price-out", 8)
    assert written.code == 0, written.err
    document = json.loads(written.out)
    (file,) = document["files"]
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    twice = asked(run, "--price-in", 2, "--price-out", 8)
    assert twice.code == 2
    assert "pay for them twice" in twice.err
    output = tmp_path / "output.jsonl"
    lines = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]
    assert len(lines) == document["requests"]
    with output.open("w", encoding="utf-8") as out:
        for line in lines:
            body = {
                "model": "gpt-4.1-mini",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "Answer: 1"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 4, "total_tokens": 104},
            }
            out.write(json.dumps({"custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}) + "\n")
    taken = call("import", data, output, "-o", run)
    assert taken.code == 0, taken.err
    responses = load_run(run).responses
    assert set(responses["status"]) == {"answered"}
    assert responses["cost"].sum() == pytest.approx(len(lines) * 232e-6 / 2)
    assert not server.log


def test_an_import_without_success_exits_with_4(asked, call, data, tmp_path):
    run = tmp_path / "run"
    written = json.loads(asked(run, "--batch-out", "--json").out)
    ids = [json.loads(line)["custom_id"] for line in Path(written["files"][0]).read_text(encoding="utf-8").splitlines()]
    error = {"code": "batch_expired", "message": "too late"}
    output = tmp_path / "output.jsonl"
    output.write_text("".join(json.dumps({"custom_id": id_, "response": None, "error": error}) + "\n" for id_ in ids))
    expired = call("import", data, output, "-o", run)
    assert expired.code == 4
    assert "the batch contains no answer" in expired.err
    output.write_text("".join(json.dumps({"custom_id": id_.partition("|")[0], "error": error}) + "\n" for id_ in ids))
    foreign = call("import", data, output, "-o", tmp_path / "foreign")
    assert foreign.code == 4
    assert f"all {len(ids)} outputs come from failed calls" in foreign.err


def test_variance_prints_and_writes_a_table(asked, call, data, tmp_path):
    assert asked(tmp_path / "run", "--orders", "scale,reversed", "--paraphrases", "0,1", "--samples", 2).code == 0
    shown = call("variance", data, tmp_path / "run", "--bootstrap", 50)
    assert shown.code == 0, shown.err
    assert "persona" in shown.out
    document = json.loads(call("variance", data, tmp_path / "run", "--bootstrap", 50, "--json", "-o", tmp_path / "v.csv").out)
    assert {"persona", "order", "paraphrase"} <= {row["component"] for row in document["variance"]}
    assert pl.read_csv(tmp_path / "v.csv").height == len(document["variance"])
    wrong = call("variance", data, tmp_path / "run", "-o", tmp_path / "v.txt")
    assert wrong.code == 2


def test_survey_answers_are_shown_in_printed_prompts_batch_files_and_runs(asked, call, data, server, tmp_path):
    shown = call("ask", data, "--model", MODEL, "--elicitation", "text", "--context", "gold:2", "--show-prompt")
    assert shown.code == 0, shown.err
    assert "A survey asked similar questions." in shown.out
    assert asked(tmp_path / "batch", "--context", "gold:2", "--batch-out").code == 0
    lines = [line for file in files_of(tmp_path / "batch") if file.suffix == ".jsonl" for line in file.read_text().splitlines()]
    assert any("A survey asked similar questions." in line for line in lines)
    assert asked(tmp_path / "run", "--context", "gold:2").code == 0
    assert all("A survey asked similar questions." in request.body["messages"][-1]["content"] for request in server.log)
    wrong = asked(tmp_path / "run", "--context", "8")
    assert (wrong.code, "--context 8: expected gold:K" in wrong.err) == (2, True)
    audited = call("audit", data, tmp_path / "run", "--permutations", 0)
    assert audited.code == 0, audited.err
