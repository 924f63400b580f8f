"""Tuning jobs at Together, with a local server in its place: each is paid for once, and its model can be asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tuning.planted import quick
from tests.tuning.together_server import KEY, LIMITS, Together
from valuestrata.errors import InputDataError, RunFailedError, UsageError
from valuestrata.files import read_json
from valuestrata.respondents.models import ModelSettings, make_respondent
from valuestrata.tuning import load_recipe
from valuestrata.tuning.export.files import export_training
from valuestrata.tuning.export.jobs import load_job, look_at_job, poll_job, run_job, submit_job
from valuestrata.tuning.export.jobs_request import job_request

pytest.importorskip("openai", reason="needs the extra `api`")


@pytest.fixture
def together(monkeypatch):
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    with Together() as there:
        yield there


@pytest.fixture
def export(people, template, tmp_path):
    recipe = quick("modal", template, learning_rate=1e-5, epochs=2, **{"lora.r": 16, "lora.alpha": 32, "validation.every": 1})
    return export_training(people, tmp_path / "out", recipe=recipe, format="together").folder


@pytest.fixture
def slept():
    return []


def everything_written(folder: Path) -> str:
    return "".join(file.read_text() for file in folder.iterdir() if file.is_file())


def test_a_job_from_files_to_a_model_that_answers(together, export, slept, people, template):
    job = run_job(export, "org/base", base_url=together.url, max_cost=2.0, sleep=slept.append)
    assert job.id == "ft-0"
    assert job.document["status"] == "completed"
    assert job.tuned_model == f"together/acct/base-{job.document['tag']}"
    # What was trained on is what was exported, to the byte.
    sent = together.jobs[0]
    assert together.files[sent["training_file"]] == (export / "train.jsonl").read_bytes()
    assert together.files[sent["validation_file"]] == (export / "validation.jsonl").read_bytes()
    assert sent["training_type"] == {
        "type": "Lora",
        "lora_r": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
        "lora_trainable_modules": "all-linear",
    }
    assert (sent["learning_rate"], sent["n_epochs"], sent["batch_size"], sent["gradient_accumulation_steps"]) == (1e-5, 2, 8, 1)
    assert sent["training_method"] == {"method": "sft", "train_on_inputs": False}
    assert KEY not in everything_written(export)
    # The model is one like any other.
    respondent = make_respondent(job.tuned_model, people, settings=ModelSettings(base_url=together.url))
    prompt = _prompt(people, template)
    assert [answer.text for answer in respondent.answer([prompt])] == ["Answer: 2"]


def _prompt(people, template):
    from valuestrata.prompts import load_template, render_prompts

    return next(render_prompts(people, people.part("paper", "test")[:1], template=load_template(template), elicitation="text"))


def test_look_at_job_updates_the_status(together, export, slept):
    with pytest.raises(InputDataError, match="there is no job"):
        look_at_job(export)
    submit_job(export, "org/base", base_url=together.url, sleep=slept.append)
    assert look_at_job(export, sleep=slept.append).document["status"] == "pending"
    while (job := look_at_job(export, sleep=slept.append)).document["stage"] == "running":
        assert job.tuned_model is None
    assert load_job(export) == job
    assert (job.document["status"], job.tuned_model) == ("completed", f"together/acct/base-{job.document['tag']}")
    before = len(together.server.seen)
    assert look_at_job(export) == job
    assert len(together.server.seen) == before


def test_a_repeated_call_changes_nothing(together, export, slept):
    first = run_job(export, "org/base", base_url=together.url, sleep=slept.append)
    before = len(together.server.seen)
    assert run_job(export, "org/base", base_url=together.url, sleep=slept.append) == first
    assert len(together.server.seen) == before
    assert len(together.jobs) == 1


@pytest.mark.parametrize("fates", [["drop"], ["nameless"], ["500", "drop"], ["500", "500", "ok"]])
def test_a_start_without_a_reply_is_looked_up(together, export, slept, fates):
    together.fates = list(fates)
    job = submit_job(export, "org/base", base_url=together.url, sleep=slept.append)
    assert (job.id, job.document["stage"]) == ("ft-0", "running")
    assert len(together.jobs) == 1
    assert max(slept) < 60


CHILD = """
import sys
from valuestrata.tuning.export.jobs import submit_job
submit_job(sys.argv[1], "org/base", base_url=sys.argv[2], sleep=lambda seconds: None)
"""


def test_a_process_killed_while_the_job_is_started_does_not_pay_twice(together, export, slept):
    together.fates = ["hang"]
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(export), together.url], env={**os.environ, "TOGETHER_API_KEY": KEY})
    try:
        until = time.monotonic() + 60
        while not together.jobs and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert read_json(export / "job.json")["stage"] == "starting"
    job = run_job(export, "org/base", base_url=together.url, sleep=slept.append)
    assert len(together.jobs) == 1
    assert job.id == "ft-0"
    assert together.paths("POST").count("/fine-tunes") == 1


def test_files_that_are_there_already_are_not_sent_again(together, export, slept):
    together.files = {"file-old": (export / "train.jsonl").read_bytes()}
    job = submit_job(export, "org/base", base_url=together.url, sleep=slept.append)
    assert job.document["files"]["train"] == "file-old"
    assert together.jobs[0]["training_file"] == "file-old"


def test_files_that_are_refused_start_nothing(together, export, slept, people, template):
    together.invalid = f"line 3 is no conversation, said {KEY}"
    with pytest.raises(InputDataError, match=r"train.jsonl: Together rejects it: line 3 is no conversation") as caught:
        submit_job(export, "org/base", base_url=together.url, sleep=slept.append)
    assert KEY not in str(caught.value)
    assert not together.jobs
    # They may be exported anew, in the same place, and handed in.
    together.invalid = None
    export_training(people, export, recipe=quick("modal", template, learning_rate=1e-5, epochs=1), format="together", seed=7)
    assert submit_job(export, "org/base", base_url=together.url, sleep=slept.append).id == "ft-0"
    assert together.files[together.jobs[0]["training_file"]] == (export / "train.jsonl").read_bytes()


def test_a_budget_is_kept(together, export, slept):
    with pytest.raises(UsageError, match=r"estimates 1.25 US dollars for the job, and max_cost is 1"):
        submit_job(export, "org/base", base_url=together.url, max_cost=1.0, sleep=slept.append)
    together.price = {"estimation_available": False, "unavailable_reason": "train_file_not_validated"}
    with pytest.raises(UsageError, match="does not state the price of the job"):
        submit_job(export, "org/base", base_url=together.url, max_cost=1.0, sleep=slept.append)
    together.price = {"estimation_available": True, "estimated_total_price": 7.5, "allowed_to_proceed": False, "user_limit": 5}
    with pytest.raises(UsageError, match="more than the account's limit"):
        submit_job(export, "org/base", base_url=together.url, sleep=slept.append)
    assert not together.jobs


def test_a_job_that_fails_says_why_and_is_not_started_again(together, export, slept):
    together.ends = "user_error"
    with pytest.raises(RunFailedError, match=r"job ft-0 ended as 'user_error' \(out of funds\)"):
        run_job(export, "org/base", base_url=together.url, sleep=slept.append)
    seen = len(together.server.seen)
    with pytest.raises(RunFailedError, match=r"delete .*job.json to start another"):
        run_job(export, "org/base", base_url=together.url, sleep=slept.append)
    assert len(together.server.seen) == seen


def test_wrong_calls_suggest_the_right_one(together, export, slept, people, template, tmp_path, monkeypatch):
    other = export_training(people, tmp_path / "ax", recipe=quick("modal", template), format="axolotl", model="org/name").folder
    with pytest.raises(UsageError, match=r"the export is for axolotl, but Together reads chat and together"):
        submit_job(other, "org/base", base_url=together.url)
    with pytest.raises(RunFailedError, match="limits of org/none cannot be read"):
        submit_job(export, "org/none", base_url=together.url, sleep=slept.append)
    with pytest.raises(InputDataError, match="has not been started"):
        poll_job(export)
    # Nothing was started: the right name may be said now, and the files are there already.
    submit_job(export, "org/base", base_url=together.url, sleep=slept.append)
    assert together.paths("POST").count("/files/upload") == 2
    with pytest.raises(UsageError, match=r"the job has model 'org/base', but this call has 'org/other'"):
        submit_job(export, "org/other", base_url=together.url)
    with pytest.raises(UsageError, match="a job was started from these files"):
        export_training(people, export, recipe=quick("modal", template))
    monkeypatch.setenv("TOGETHER_API_KEY", "tgp_v1_wrong-9876543210")
    (export / "job.json").unlink()
    with pytest.raises(RunFailedError, match="Incorrect API key") as caught:
        submit_job(export, "org/base", base_url=together.url, sleep=slept.append)
    assert "9876543210" not in str(caught.value) + everything_written(export)
    monkeypatch.delenv("TOGETHER_API_KEY")
    with pytest.raises(UsageError, match="set the environment variable TOGETHER_API_KEY"):
        submit_job(export, "org/base", base_url=together.url)


# --- the request ------------------------------------------------------------------------------------------------------


def request(*, limits: dict | None = None, longest: int = 500, validation: str | None = "file-v", **changes):
    recipe = load_recipe("modal", **({"epochs": 3} | changes))
    return job_request(recipe, "org/base", LIMITS | (limits or {}), train="file-t", validation=validation, longest=longest, tag="vs-1")


def test_the_request_follows_the_recipe():
    body = request(batch=24, scheduler="constant", early_stopping={"patience": 2, "gain": 0.01}, **{"validation.every": 0.5})
    assert (body["batch_size"], body["gradient_accumulation_steps"]) == (12, 2)  # the largest divisor of 24 up to 16
    assert body["lr_scheduler"] == {"lr_scheduler_type": "linear", "lr_scheduler_args": {"min_lr_ratio": 1.0}}
    assert body["n_evals"] == 6
    assert (body["early_stopping_patience"], body["early_stopping_min_delta"]) == (2, 0.01)
    assert body["packing"] is False
    assert request(early_stopping=None, validation=None).keys().isdisjoint({"validation_file", "n_evals", "early_stopping_enabled"})
    assert request(**{"lora.target_modules": ["q_proj", "v_proj"]})["training_type"]["lora_trainable_modules"] == "q_proj,v_proj"
    # Patience 3 needs a first evaluation, one that does not count, and 3 more.
    assert request(epochs=1, **{"validation.every": 1.0})["n_evals"] == 5


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"lora.r": 128}, r"lora.r is 128; Together trains org/base with at most 64"),
        ({"learning_rate": 2.0}, r"learning_rate is 2; .* at least 1e-08 and at most 1"),
        ({"epochs": 1.5}, "whole epochs"),
        ({"max_steps": 10}, "no max_steps"),
        ({"epochs": 30}, r"epochs is 30; .* at most 20"),
        ({"longest": 9000}, r"rows of at most 8,192 tokens \(max_seq_length_sft\), but a row may have 9,000"),
        ({"batch": 7, "limits": {"lora_training": {**LIMITS["lora_training"], "min_batch_size": 8}}}, r"batch is 7; .* batches of 8 to 16"),
        ({"limits": {"max_num_evals": 3}}, r"at most 3 times \(max_num_evals\); early_stopping.patience 3 needs 5"),
    ],
)
def test_values_beyond_the_limits_are_refused_with_both_numbers(how, said):
    with pytest.raises(UsageError, match=said):
        request(**how)


def test_the_job_file_is_json(together, export, slept):
    submit_job(export, "org/base", base_url=together.url, sleep=slept.append)
    document = json.loads((export / "job.json").read_text())
    assert list(document)[:4] == ["format", "provider", "model", "base_url"]
    assert document["estimate"]["estimated_total_price"] == 1.25
