"""The commands and the Python code of the example in docs/fewer-interviews.md."""

import shlex
from pathlib import Path

import polars as pl
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fewer-interviews.md"


def example() -> list[str]:
    """Return the indented blocks of the example, in order."""
    section = PAGE.read_text().split("## An example from file to estimate\n")[1].split("\n## ")[0]
    blocks: list[str] = []
    for paragraph in section.split("\n\n"):
        if paragraph.startswith("    "):
            blocks.append("\n".join(line[4:] for line in paragraph.splitlines()))
    return blocks


def test_the_page_names_commands_that_exist(call):
    for line in "\n".join(example()).splitlines():
        if line.startswith("valuestrata "):
            assert call(shlex.split(line)[1], "--help").code == 0


@pytest.mark.slow
def test_the_example_runs_from_file_to_estimate(call, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = ""
    for block in example():
        if block.startswith("valuestrata "):
            if code:
                exec(compile(code, "example", "exec"), names := {})
            code = ""
            for line in block.splitlines():
                outcome = call(*shlex.split(line)[1:])
                assert outcome.code == 0, f"{line}: {outcome.err}"
        elif not block.startswith("From "):
            code += "\n\n" + block
    exec(compile(code, "example", "exec"), names)
    assert "small-area" in capsys.readouterr().out
    assert (tmp_path / "estimates" / "report.html").is_file()
    found = pl.read_csv(tmp_path / "estimates" / "estimates.csv")
    assert set(found["estimator"]) == {"human", "model", "rectified", "multilevel", "small-area"}
