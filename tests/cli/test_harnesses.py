"""Both harnesses, started as a user starts them, against our own scores on the same pairs."""

import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import polars as pl
import pytest

from tests.hosted.server import Act, Server, said
from tests.respondents.tiny import save_tiny
from valuestrata.dataset.tables import load_dataset
from valuestrata.responses.run.folder import load_run
from valuestrata.scores.aggregate import score
from valuestrata.scores.pairs import pair_scores

pytestmark = pytest.mark.slow
TOPICS = 3
METRICS = ("accuracy", "accuracy_expected")
# What the server says, chosen by the prompt: answers, a refusal, an answer that is no option, and no answer.
TEXTS = ["Answer: 1", "Answer: 2", "2", "Answer: 4", "I'm sorry, but I can't answer that.", "Answer: 77", "It depends."]


def run_harness(module: str, *words: object, folder: Path | None = None, **environment: str) -> str:
    """Run a harness's command offline, in a folder, and return what it printed."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **environment}
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **offline},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def scored_by_pair(data: Path, run: Path) -> dict[str, dict[str, float]]:
    """Return our metrics of each pair of a run."""
    rows = pair_scores(load_dataset(data), load_run(run).responses)
    return {row["pair_id"]: {metric: row[metric] for metric in (*METRICS, "nmae")} for row in rows.iter_rows(named=True)}


def scored_overall(data: Path, run: Path, part: str) -> dict[str, float]:
    """Return our metrics over all pairs of a run."""
    found = score(load_dataset(data), [load_run(run)], split="unseen-item", part=part, bootstrap=0).filter(pl.col("by") == "all")
    return dict(found.select("metric", "value").iter_rows())


def lm_eval_results(out: Path) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return the metrics of the group of tasks, and those of each pair."""
    (results,) = out.rglob("results_*.json")
    (group,) = json.loads(results.read_text())["groups"].values()
    overall = {metric: group[f"{metric},none"] for metric in METRICS}
    samples = [json.loads(line) for file in out.rglob("samples_*.jsonl") for line in file.read_text().splitlines()]
    return overall, {sample["doc"]["pair_id"]: {metric: sample[metric] for metric in METRICS} for sample in samples}


def check_lm_eval(call, data: Path, model: str, arguments: str, elicitation: str, *limit: object) -> int:
    """Evaluate in the harness and ask ourselves, compare everything, and return the number of pairs that the harness asked."""
    folder = data.parent
    exported = call(
        "export", data, "--to", "lm-eval", "-o", folder / "task", "--split", "unseen-item", "--elicitation", elicitation, "--json"
    )
    task = json.loads(exported.out)["task"]
    words = [
        "run",
        "--tasks",
        task,
        "--include_path",
        folder / "task",
        "--model",
        "hf",
        "--model_args",
        arguments,
        "--device",
        "cpu",
        *limit,
    ]
    run_harness("lm_eval", *words, "--batch_size", 4, "--apply_chat_template", "--log_samples", "--output_path", folder / "out")
    asked = call("ask", data, "--model", model, "--elicitation", elicitation, "--split", "unseen-item", "-o", folder / "asked")
    assert asked.code == 0, asked.err
    imported = call("import", data, folder / "out", "-o", folder / "imported", "--trained-on", "none")
    assert imported.code == 0, imported.err

    overall, by_pair = lm_eval_results(folder / "out")
    ours = {pair: values for pair, values in scored_by_pair(data, folder / "asked").items() if pair in by_pair}
    assert by_pair == {pair: {metric: values[metric] for metric in METRICS} for pair, values in ours.items()}
    assert scored_by_pair(data, folder / "imported") == ours
    scores = scored_overall(data, folder / "imported", "test")
    for metric in METRICS:
        # The harness adds the pairs of each topic first, so the last bits of the sum may differ.
        assert overall[metric] == pytest.approx(scores[metric], rel=1e-14)
    there, here = (load_run(folder / name).responses.sort("pair_id") for name in ("imported", "asked"))
    here = here.filter(pl.col("pair_id").is_in(list(by_pair)))
    for column in ("pair_id", "prompt_hash", "template_version", "answer", "status", "text"):
        assert there[column].to_list() == here[column].to_list(), column
    if elicitation == "logprob":
        for one, other in zip(there["option_probs"], here["option_probs"], strict=True):
            assert one.to_list() == pytest.approx(other.to_list(), rel=1e-3)
        assert there["option_mass"].to_list() == pytest.approx(here["option_mass"].to_list(), rel=1e-3)
    return len(by_pair)


@pytest.mark.parametrize("elicitation", ["logprob", "text"])
def test_lm_eval_scores_a_model_folder_as_we_do(call, data, tmp_path, elicitation):
    pytest.importorskip("lm_eval", reason="needs the extra `lm-eval`")
    model = save_tiny(tmp_path / "model")
    # Each item is tested in one fold, so all pairs are asked.
    pairs = load_dataset(data).part("unseen-item", "test").height
    assert check_lm_eval(call, data, f"hf:{model}", f"pretrained={model}", elicitation) == pairs
    assert len(set(load_run(data.parent / "imported").responses["answer"])) > 1


@pytest.mark.model
def test_lm_eval_scores_the_embedded_model_as_we_do(call, data):
    pytest.importorskip("lm_eval", reason="needs the extra `lm-eval`")
    from valuestrata.errors import MissingExtraError
    from valuestrata.respondents.local.load import embedded_file

    try:
        file = embedded_file()
    except MissingExtraError as error:
        pytest.skip(str(error))
    model = f"pretrained={file.parent},gguf_file={file.name},dtype=float32"
    # The harness reads the whole prompt for each form of each option, so one pair of each topic has to do.
    assert check_lm_eval(call, data, "embedded", model, "logprob", "--limit", 1) == TOPICS


def answers(request) -> Act:
    prompt = json.dumps([message["content"] for message in request.body["messages"]])
    return Act(document=said(TEXTS[hashlib.sha256(prompt.encode()).digest()[0] % len(TEXTS)]))


SYSTEM_TEMPLATE = """
name: in-system
version: 1
who: "You are a person{in_place}. This is your profile:\\n{profile}"
who_all: "You are a person{in_place}."
system: "{who}"
user: "{question}\\n\\n{options}\\n\\n{reply}"
reply: "Reply with one number from {first} to {last}."
prefill: "Answer:"
"""


@pytest.mark.parametrize("template", ["default", "system"])
def test_inspect_scores_a_server_as_we_do(call, data, template):
    pytest.importorskip("inspect_ai", reason="needs the extra `inspect`")
    assert "valuestrata" in entry_points(group="inspect_ai").names, "Install the package again: pip install --no-deps -e ."
    folder = data.parent
    if template == "system":
        (folder / "system.yaml").write_text(SYSTEM_TEMPLATE)
        template = folder / "system.yaml"
    with Server(answers) as server:
        environment = {"PLANTED_BASE_URL": server.url, "PLANTED_API_KEY": "none"}
        given = ["--model", "openai-api/planted/planted", "--display", "none", "--no-log-realtime"]
        words = [
            "-T",
            f"dataset={data}",
            "-T",
            "split=unseen-item",
            "-T",
            "part=all",
            "-T",
            f"template={template}",
            "--log-dir",
            folder / "logs",
        ]
        run_harness("inspect_ai", "eval", "valuestrata/survey", *words, *given, **environment)
        pairs = ["--split", "unseen-item", "--part", "all", "--template", template]
        exported = call("export", data, "--to", "inspect", "-o", folder / "task", *pairs)
        assert exported.code == 0, exported.err
        words = ["survey.py", "--log-dir", folder / "json", "--log-format", "json"]
        run_harness("inspect_ai", "eval", *words, *given, folder=folder / "task", **environment)
        words = ["--model", "openai-compatible/planted", "--base-url", server.url, "--elicitation", "text"]
        asked = call("ask", data, *words, *pairs, "-o", folder / "asked")
        assert asked.code == 0, asked.err
    ours = scored_by_pair(data, folder / "asked")
    overall = scored_overall(data, folder / "asked", "all")
    here = load_run(folder / "asked").responses.sort("pair_id")
    assert set(here["status"]) == {"answered", "refused", "invalid_code", "unparsed"}
    for log in (*(folder / "logs").glob("*.eval"), *(folder / "json").glob("*.json")):
        check_inspect_log(log, ours, overall)
        imported = call("import", data, log, "-o", folder / "imported", "--trained-on", "none", "--overwrite")
        assert imported.code == 0, imported.err
        there = load_run(folder / "imported").responses.sort("pair_id")
        for column in ("pair_id", "prompt_hash", "template_version", "answer", "status", "text", "prompt_tokens"):
            assert there[column].to_list() == here[column].to_list(), column
        assert scored_overall(data, folder / "imported", "all") == overall


def check_inspect_log(file: Path, ours: dict[str, dict[str, float]], overall: dict[str, float]) -> None:
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(file))
    assert log.samples is not None
    assert log.results is not None
    names = {"gold_mode": "accuracy", "expected_accuracy": "accuracy_expected", "distance": "nmae"}
    theirs = {
        str(sample.id): {names[name.split("/")[-1]]: found.value for name, found in (sample.scores or {}).items()} for sample in log.samples
    }
    assert theirs == ours
    for found in log.results.scores:
        name = names[found.name.split("/")[-1]]
        # Inspect adds the samples in the order in which they finished.
        assert found.metrics["mean" if name == "nmae" else "accuracy"].value == pytest.approx(overall[name], rel=1e-14)
        assert found.metrics["stderr"].value > 0
        assert any(group.startswith("stratum: ") for group in found.metrics)
