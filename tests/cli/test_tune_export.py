"""The commands `tune-export` and `tune-job`, with a local server in place of Together."""

import json

import pytest

from tests.tuning.together_server import KEY, Together


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("base: modal\nname: own\nlearning_rate: 1.0e-5\nepochs: 2\n")
    return path


@pytest.mark.parametrize("to", ["chat", "together", "tinker"])
def test_rows_are_written_for_each_reader(call, data, recipe, tmp_path, to):
    done = call("tune-export", data, "--to", to, "--recipe", recipe, "--control", "no-persona", "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["request"] | {"dataset": ""} == {
        "for": to,
        "model": None,
        "dataset": "",
        "split": "paper",
        "fold": None,
        "control": "no-persona",
        "answers": 1,
    }
    rows = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    assert len(rows) == document["rows"]["train"]
    assert rows[0]["messages"][-1]["content"].startswith("Answer: ")
    plain = call("tune-export", data, "--to", to, "--recipe", recipe, "-o", tmp_path / "out")
    assert f"{len(rows):,} rows to train on" in plain.out


def test_shares_become_rows_and_differences_are_reported(call, data, tmp_path):
    done = call("tune-export", data, "--recipe", "distribution", "--answers", 4, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "Different from `tune`: epochs: an example has 4 rows" in done.out


def test_invalid_exports_are_refused(call, data, tmp_path):
    for words, message in (
        (("--to", "llama-factori"), "Did you mean 'llama-factory'"),
        (("--to", "axolotl"), "give it with --model hf:ORG/NAME"),
        (("--recipe", "dpo"), "Export a recipe of objective"),
    ):
        wrong = call("tune-export", data, *words, "-o", tmp_path / "out")
        assert wrong.code == 2
        assert message in wrong.err
    assert not (tmp_path / "out").exists()


def test_a_job_is_started_once_and_its_model_printed(call, data, recipe, tmp_path, monkeypatch):
    pytest.importorskip("openai", reason="needs the extra `api`")
    monkeypatch.setattr("valuestrata.tuning.export.jobs_service.UNTIL_LISTED", 0.01)
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    out = tmp_path / "out"
    assert call("tune-export", data, "--to", "together", "--recipe", recipe, "-o", out).code == 0
    none = call("tune-job", "status", out)
    assert none.code == 3
    assert "there is no job" in none.err
    with Together() as there:
        start = ("tune-job", "submit", out, "--model", "together/org/base", "--base-url", there.url)
        keyless = call(*start)
        assert keyless.code == 2
        assert "set the environment variable TOGETHER_API_KEY" in keyless.err
        monkeypatch.setenv("TOGETHER_API_KEY", KEY)
        dear = call(*start, "--max-cost", 1)
        assert dear.code == 2
        assert "estimates 1.25 US dollars for the job, and max_cost is 1. Nothing was started" in dear.err
        begun = call(*start, "--max-cost", 2)
        assert begun.code == 0, begun.err
        assert "Job ft-0 at together: pending, expected to cost $1.25." in begun.out
        assert f"valuestrata tune-job wait {out}" in begun.out
        assert call(*start, "--max-cost", 2).out == begun.out
        assert "Job ft-0" in call("tune-job", "status", out).out
        waited = call("tune-job", "wait", out, "--every", 0.01)
        assert waited.code == 0, waited.err
        assert f"Ask it with: --model together/{there.jobs[0]['model_output_name']}" in waited.out
        assert len(there.jobs) == 1
        status = json.loads(call("tune-job", "status", out, "--json").out)
        assert (status["id"], status["stage"], status["tuned_model"]) == (
            "ft-0",
            "ended",
            f"together/{there.jobs[0]['model_output_name']}",
        )
    everything = "".join(file.read_text() for file in out.iterdir()) + begun.out + waited.out + dear.err
    assert KEY not in everything
