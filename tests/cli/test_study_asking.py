"""A study of hosted models: checks before the first call, limits, and failures of single models."""

import json
import shutil

import polars as pl
import pytest
import yaml

from tests.hosted.server import Act, Server, answers, problem
from valuestrata.errors import InputDataError, RunFailedError, UsageError
from valuestrata.responses.run.folder import load_run
from valuestrata.study import ask as asking_one
from valuestrata.study import run_study
from valuestrata.study.config import load_study

pytest.importorskip("openai", reason="needs the extra `api`")

GONE = "The model does not exist"
TEMPLATE = """
name: mine
user: |-
  You are {persona_in_place}.

  {question}

  {options}

  {reply}
reply: |-
  Reply with one number from {first} to {last}, in the form:
  Answer: N
"""


def gone(request):
    """Answer for every model but `gone`."""
    if request.body["model"] == "gone":
        return Act(status=404, document=problem(GONE, "model_not_found"))
    return answers(request)


@pytest.fixture
def server(monkeypatch):
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "OPENAI_COMPATIBLE_API_KEY", "MISTRAL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-of-the-test")
    with Server() as running:
        yield running


@pytest.fixture
def write(tiny, server):
    """A function that writes a study of models on the server."""

    def written(*models, ask=None, **sections):
        entries = [
            {"base_url": server.url, **model} if isinstance(model, dict) and model["model"].startswith("openai-compatible/") else model
            for model in models
        ]
        document = {
            "name": "called",
            "output": "out",
            "survey": {"file": "tiny.csv", "codebook": "tiny.yaml"},
            "build": {"draws": 20},
            "ask": {"elicitation": "text", **(ask or {})},
            "models": entries,
            "score": {"bootstrap": 0, "baselines": "none"},
            "report": {"published": False},
            **sections,
        }
        path = tiny / "study.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return written


SCORED = {"bootstrap": 20, "baselines": "uniform"}
ONE = {"model": "openai-compatible/m", "prices": [1.0, 1.0]}


def run(path):
    messages: list[str] = []
    return run_study(load_study(path), say=messages.append), messages


def test_an_edited_template_is_refused(write, tiny, server):
    (tiny / "mine.yaml").write_text(TEMPLATE)
    path = write(ONE, {**ONE, "model": "openai-compatible/other", "template": "default"}, ask={"template": "mine.yaml"})
    run(path)
    calls = len(server.log)
    _, messages = run(path)
    assert sum("already complete, skipped" in line for line in messages) == 2
    (tiny / "mine.yaml").write_text(TEMPLATE.replace("You are", "Speak as"))
    with pytest.raises(InputDataError, match=r"template_version .*delete the run's folder"):
        run(path)
    assert len(server.log) == calls
    shutil.rmtree(tiny / "out" / "runs" / "openai-compatible-m")
    _, messages = run(path)
    assert sum("already complete, skipped" in line for line in messages) == 1
    assert "Speak as" in server.log[-1].body["messages"][-1]["content"]


def test_another_address_in_the_environment_is_refused(write, server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    path = write({"model": "openai/gpt-4.1-mini"})
    run(path)
    _, messages = run(path)
    assert any("already complete, skipped" in line for line in messages)
    # A complete run needs no key to be scored again, and other limits do not change its answers.
    monkeypatch.delenv("OPENAI_API_KEY")
    _, messages = run(write({"model": "openai/gpt-4.1-mini", "concurrency": 3}))
    assert any("already complete, skipped" in line for line in messages)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(InputDataError, match=r"respondent\.base_url"):
        run(path)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"model": "anthropic/claude-x", "elicitation": "logprob"}, "anthropic gives no log-probabilities"),
        ({"model": "mistral/x"}, "MISTRAL_API_KEY"),
        ({"model": "openai-compatible/z", "template": "nonesuch"}, "There is no template 'nonesuch'"),
        ({"model": "openai-compatible/z", "template": "mine.yaml", "elicitation": "reasoned"}, "no reply instruction for reasoned"),
        ({"model": "openai-compatible/z", "orders": "backwards"}, "backwards"),
        ({"model": "openai-compatible/z", "paraphrases": "7"}, "has no paraphrase 7"),
        ({"model": "openai-compatible/z", "base_url": None}, "give the server's address with `base_url:`"),
        ({"model": "control:no-persona@mistral/x"}, "MISTRAL_API_KEY"),
        ({"model": "control:wrong-country=Atlantis@embedded"}, "there is no such country"),
        ({"model": "gguf:absent.gguf"}, "the model file does not exist"),
        ({"model": "baseline:item-mode", "max_cost": 1.0}, "'baseline:item-mode' is free"),
        ({"model": "openai-compatible/z", "max_cost": 1.0}, "Give `prices"),
    ],
)
def test_problems_of_the_second_model_are_found_before_the_first_call(write, tiny, server, second, message):
    (tiny / "mine.yaml").write_text(TEMPLATE)
    with pytest.raises((UsageError, InputDataError)) as error:
        run(write(ONE, second))
    assert message in str(error.value)
    assert not server.log
    assert not (tiny / "out" / "runs").exists()
    assert not (tiny / "out" / "plan.json").exists()


def test_a_shared_cost_limit_applies_to_paid_models(write, server):
    models = ({**ONE, "prices": [1000.0, 1000.0]}, "baseline:item-mode")
    result, messages = run(write(*models, ask={"max_cost": 1.0}))
    paid, free = result.asked
    assert 0 < paid.usage["cost"] <= 1.0
    assert paid.left > 0
    assert paid.stopped
    assert (free.left, free.stopped, result.problems) == (0, None, [])
    assert any(f"openai-compatible-m: stopped, {paid.left:,} prompts left ({paid.stopped}" in line for line in messages)
    calls = len(server.log)
    run(write(*models, ask={"max_cost": 1.0}))
    assert len(server.log) == calls
    # Without the limit the run continues.
    result, _ = run(write(*models))
    assert [one.left for one in result.asked] == [0, 0]
    assert len(server.log) == calls + paid.left


def test_an_unreachable_model_does_not_end_the_study(call, write, tiny, server):
    server.behave = gone
    comparisons = [
        {"run": "gone", "against": "baseline-uniform"},
        {"run": "openai-compatible-m", "against": "gone"},
        {"run": "openai-compatible-m", "against": "baseline-uniform"},
    ]
    models = ({**ONE, "model": "openai-compatible/gone", "name": "gone"}, ONE)
    path = write(*models, plan={"comparisons": comparisons}, audit={"against": "gone", "permutations": 20}, score=SCORED)
    done = call("run", path, "--json")
    assert done.code == 4
    assert GONE in done.err
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("valuestrata: gone: ended by an error, ")
    assert "openai-compatible-m" not in last
    document = json.loads(done.out)
    lost, there = document["runs"]
    assert (lost["run"], lost["answered"], lost["stopped"]) == ("gone", 0, None)
    assert GONE in lost["error"]
    calls = len(server.delivered)
    assert (there["answered"], there["left"], there["failures"], there["error"]) == (calls, 0, {}, None)
    assert lost["left"] == calls
    assert there["usage"]["prompt_tokens"] == 100 * calls
    assert "gone" not in {row["run"] for row in document["scores"]}
    assert (tiny / "out" / "report.html").is_file()
    declared = pl.read_parquet(tiny / "out" / "comparisons.parquet").filter(pl.col("status") == "declared")
    assert set(declared.select("run", "against").rows()) == {("openai-compatible-m", "baseline-uniform")}

    # Once the model is reachable, only it is asked, and the plan is complete.
    server.behave = answers
    again = call("run", path, "--json")
    assert again.code == 0, again.err
    lost, there = json.loads(again.out)["runs"]
    assert (lost["answered"], lost["kept"], there["kept"]) == (calls, False, True)
    assert there["usage"]["prompt_tokens"] == 100 * calls
    assert len(server.delivered) == 2 * calls
    assert pl.read_parquet(tiny / "out" / "comparisons.parquet").filter(pl.col("status") == "declared").height == 3


def test_a_plan_without_possible_comparisons_declares_nothing(write, server):
    server.behave = gone
    plan = {"comparisons": [{"run": "gone", "against": "baseline-uniform"}]}
    result, messages = run(write({**ONE, "model": "openai-compatible/gone", "name": "gone"}, ONE, plan=plan, score=SCORED))
    # An empty list would mean the default comparisons of the other model.
    assert set(result.assessment.comparisons["status"]) == {"exploratory"}
    assert any("comparison of gone with baseline-uniform is left out" in line for line in messages)


def test_a_study_without_answers_exits_with_4(call, write, tiny, server):
    server.behave = lambda request: Act(status=404, document=problem(GONE, "model_not_found"))
    done = call("run", write(ONE, {**ONE, "name": "two"}))
    assert done.code == 4
    last = done.err.strip().splitlines()[-1]
    assert "no model has an answer" in last
    assert "two" in last
    assert GONE in last
    assert not (tiny / "out" / "report.html").exists()


def test_a_full_disk_ends_the_study_at_once(write, monkeypatch):
    asked = []

    def full(_dataset, respondent, *_, **__):
        asked.append(respondent.name)
        raise RunFailedError("the disk takes no more") from OSError(28, "No space left on device")

    monkeypatch.setattr(asking_one, "ask_planned", full)
    with pytest.raises(RunFailedError, match="the disk takes no more"):
        run(write(ONE, {**ONE, "model": "openai-compatible/two"}))
    assert asked == ["openai-compatible/m"]


def test_failures_are_reported_by_run_and_kind(call, write, tiny, server):
    # All prompts of one item fail; then the study asks only another item.
    server.behave = lambda request: (
        Act(status=400, document=problem("no")) if "people be trusted" in str(request.body["messages"]) else answers(request)
    )
    path = write(ONE, {**ONE, "name": "two", "temperature": 0.5})
    done = call("run", path, "--json")
    assert done.code == 4
    first, second = json.loads(done.out)["runs"]
    failed = first["failed"]
    assert failed > 0
    assert first["failures"] == second["failures"] == {"refused request": failed}
    assert first["left"] == failed
    last = done.err.strip().splitlines()[-1]
    assert f"openai-compatible-m: {failed:,} responses failed ({failed:,} refused request)" in last
    assert f"two: {failed:,} responses failed" in last

    for expected in ("asking", "already complete, skipped"):
        fewer = call("run", write(ONE, {**ONE, "name": "two", "temperature": 0.5}, ask={"items": ["Q1"]}), "--json")
        assert fewer.code == 0, fewer.err
        assert expected in fewer.err
        assert [one["failed"] for one in json.loads(fewer.out)["runs"]] == [0, 0]
        assert [one["left"] for one in json.loads(fewer.out)["runs"]] == [0, 0]
    assert set(load_run(tiny / "out" / "runs" / "two").responses["status"]) == {"answered", "failed"}


def test_a_limit_of_calls_reports_what_is_left(call, write):
    done = call("run", write(ONE, ask={"max_calls": 4}), "--json")
    assert done.code == 0, done.err
    (one,) = json.loads(done.out)["runs"]
    assert one["answered"] == 4
    assert f"openai-compatible-m: stopped, {one['left']:,} prompts left" in done.err


def test_models_of_a_study_are_shown_survey_answers_unless_they_say_none(write, server, tiny):
    plain = {**ONE, "model": "openai-compatible/plain", "context": "none"}
    path = write(ONE, plain, "baseline:uniform", ask={"context": "gold:1", "items": ["Q1"]})
    run(path)
    sent = {request.body["model"]: request.body["messages"][-1]["content"] for request in server.log}
    assert ("A survey asked similar questions." in sent["m"], "A survey asked similar questions." in sent["plain"]) == (True, False)
    assert load_run(tiny / "out/runs/openai-compatible-m").meta["respondent"]["context"]["gold"] == 1
    calls = len(server.log)
    _, messages = run(path)
    assert (len(server.log), sum("already complete, skipped" in line for line in messages)) == (calls, 3)
    with pytest.raises(InputDataError, match=r"context: .*expected gold:K"):
        load_study(write(ONE, ask={"context": "8"}))
