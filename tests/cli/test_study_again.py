"""A study run again: from its resolved YAML, and after the files of a model changed."""

import json
import os

import pytest
import yaml

from tests.respondents.tiny import save_tiny
from valuestrata.building import BuildSettings, paper_preset
from valuestrata.errors import InputDataError
from valuestrata.files import read_json
from valuestrata.study import resume, run_study
from valuestrata.study.config import load_study
from valuestrata.study.data import build_or_load, write_resolved
from valuestrata.study.model_spec import is_hosted, local_files
from valuestrata.study.resume import FileState, changed_files, file_states

STUDY = """
name: again
output: out
survey: {file: tiny.csv, codebook: tiny.yaml}
build: {draws: 20}
models: ["baseline:item-mode"]
score: {bootstrap: 0, baselines: none}
report: {published: false}
"""


def run(path):
    messages: list[str] = []
    return run_study(load_study(path), say=messages.append), messages


def test_an_explicit_default_gives_the_same_data_set(tiny):
    prints = []
    for number, minimum in enumerate(("", ", min_valid: 30", ", min_valid: 30.0")):
        text = STUDY.replace("draws: 20", f"draws: 20{minimum}").replace("output: out", f"output: out{number}")
        (tiny / "study.yaml").write_text(text)
        prints.append(build_or_load(load_study(tiny / "study.yaml"), print).fingerprint)
    assert len(set(prints)) == 1
    for settings in (BuildSettings(), BuildSettings(min_valid=30), paper_preset(BuildSettings())):
        assert type(settings.min_valid) is float


def test_the_resolved_study_runs_from_any_directory(tiny, monkeypatch):
    (tiny / "mine.yaml").write_text(
        "name: mine\nuser: '{persona_in_place} {question} {options} {reply}'\nreply: 'Answer: {first} to {last}'\n"
    )
    monkeypatch.chdir(tiny)
    (tiny / "study.yaml").write_text(STUDY + "ask: {template: mine.yaml}\n")
    first, _ = run("study.yaml")
    written = tiny / "out" / "study.yaml"
    text = written.read_text()
    assert str(tiny) not in text
    for place in (tiny, tiny / "out"):
        monkeypatch.chdir(place)
        again, messages = run(os.path.relpath(written))
        assert "data set: already built, kept" in messages
        assert any("already complete, skipped" in line for line in messages)
        assert again.scores.equals(first.scores)
        assert written.read_text() == text
    assert not (tiny / "out" / "out").exists()


def test_a_meaningful_null_is_kept(tiny):
    hosted = {"model": "ollama/m", "temperature": None, "extra": {"max_tokens": None, "options": {"top_k": None}}, "prices": [1.0, 2.0]}
    (tiny / "study.yaml").write_text(yaml.safe_dump({**yaml.safe_load(STUDY), "models": [hosted]}))
    study = load_study(tiny / "study.yaml")
    study.folder.mkdir()
    write_resolved(study)
    (written,) = yaml.safe_load((tiny / "out" / "study.yaml").read_text())["models"]
    assert written["temperature"] is None
    assert written["extra"] == hosted["extra"]
    # A key that is null by default is left out.
    assert "max_new_tokens" not in written
    assert load_study(tiny / "out" / "study.yaml").models == study.models


def test_model_files_are_compared_by_content(tmp_path):
    model, adapter = tmp_path / "model", tmp_path / "adapter"
    for folder in (model, adapter):
        folder.mkdir()
    for file in (model / "config.json", model / "model.safetensors", model / "README.md", adapter / "adapter_config.json"):
        file.write_text("1234")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    found = [file.name for file in local_files(f"vllm:{model}+{adapter}")]
    assert found == ["adapter_config.json", "config.json", "model.safetensors"]
    assert local_files(f"control:no-persona@gguf:{tmp_path / 'm.gguf'}") == [tmp_path / "m.gguf"]
    assert local_files("hf:ORG/NAME") == local_files("openai/gpt-4.1-mini") == local_files("baseline:uniform") == []

    files = local_files(f"hf:{model}")
    before = file_states(files, {}, tmp_path / "elsewhere")
    weights = model / "model.safetensors"
    os.utime(weights, ns=(0, 0))
    assert changed_files(before, file_states(files, before, tmp_path / "elsewhere")) == ([], [])
    weights.write_text("1235")
    assert changed_files(before, file_states(files, before, tmp_path / "elsewhere")) == ([str(weights)], [])
    # A complete run does not need its model files.
    assert changed_files(before, file_states(files[:1], before, tmp_path / "elsewhere")) == ([], [])


def test_large_files_are_compared_by_size_and_time(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "_MAX_HASHED_BYTES", 3)
    file = tmp_path / "weights"
    file.write_text("1234")
    before = file_states([file], {}, tmp_path / "elsewhere")
    assert before[str(file)] == FileState(4, file.stat().st_mtime_ns, None)
    assert changed_files(before, file_states([file], before, tmp_path / "elsewhere")) == ([], [])
    os.utime(file, ns=(0, 0))
    assert changed_files(before, file_states([file], before, tmp_path / "elsewhere")) == ([], [str(file)])
    file.write_text("12345")
    assert changed_files(before, file_states([file], before, tmp_path / "elsewhere")) == ([str(file)], [])


@pytest.mark.parametrize(
    ("spec", "hosted"),
    [
        ("openai/gpt-4.1-mini", True),
        ("control:shuffled-persona@ollama/llama3:8b", True),
        ("control:no-persona@embedded", False),
        ("embedded", False),
        ("hf:ORG/NAME", False),
        ("vllm:ORG/NAME", False),
        ("baseline:uniform", False),
    ],
)
def test_hosted_models_are_recognised_by_their_specification(spec, hosted):
    assert is_hosted(spec) is hosted


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_changed_weights_are_refused(tiny):
    pytest.importorskip("torch", reason="needs the extra `local`")
    pytest.importorskip("transformers", reason="needs the extra `local`")
    model = save_tiny(tiny / "model")
    document = {**yaml.safe_load(STUDY), "models": [f"hf:{model}"], "ask": {"items": ["Q2"]}}
    (tiny / "study.yaml").write_text(yaml.safe_dump(document))
    result, _ = run(tiny / "study.yaml")
    (one,) = result.asked
    assert (one.left, one.skipped) == (0, False)
    weights = model / "model.safetensors"
    os.utime(weights, ns=(0, 0))
    _, messages = run(tiny / "study.yaml")
    assert any("already complete, skipped" in line for line in messages)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputDataError, match=r"model\.safetensors has changed"):
        run(tiny / "study.yaml")
    # The old record is kept: with the old weights, the run is complete again.
    content[-1] ^= 1
    weights.write_bytes(content)
    assert run(tiny / "study.yaml")[0].asked[0].skipped
    # A complete run is scored without its model.
    for file in model.iterdir():
        file.unlink()
    model.rmdir()
    assert run(tiny / "study.yaml")[0].asked[0].skipped


def test_another_model_under_the_name_of_a_run_is_refused(tiny):
    (tiny / "study.yaml").write_text(STUDY.replace('"baseline:item-mode"', "{model: baseline:item-mode, name: one}"))
    run(tiny / "study.yaml")
    models = "baseline:uniform, {model: baseline:nearest-parent, name: one}"
    (tiny / "study.yaml").write_text(STUDY.replace('"baseline:item-mode"', models))
    with pytest.raises(InputDataError, match=r"respondent\.name 'baseline:item-mode'.*delete the run's folder"):
        run(tiny / "study.yaml")
    assert not (tiny / "out" / "runs" / "baseline-uniform").exists()


def test_old_records_are_ignored_and_invalid_ones_refused(tiny):
    (tiny / "study.yaml").write_text(STUDY)
    run(tiny / "study.yaml")
    marks = tiny / "out" / "asked.json"
    whole = read_json(marks)
    marks.write_text(json.dumps({"baseline-item-mode": whole["baseline-item-mode"]["request"]}))
    _, messages = run(tiny / "study.yaml")
    assert "asking baseline-item-mode" in messages
    assert read_json(marks) == whole
    marks.write_text(json.dumps({"baseline-item-mode": {"request": 1}}))
    with pytest.raises(InputDataError, match=r"asked\.json: baseline-item-mode: request: .*found 1.*Delete the file"):
        run(tiny / "study.yaml")
