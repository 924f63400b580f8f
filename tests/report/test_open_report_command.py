"""The commands `open texts` and `open report` as a user calls them, on folders that the other commands made."""

from __future__ import annotations

import json

import pytest

from tests.hosted.server import Server
from tests.openended.protocol import command_line, speaks_and_judges
from valuestrata.dataset.tables import write_dataset


@pytest.fixture
def call(monkeypatch, capsys):
    return command_line(monkeypatch, capsys)


talks = speaks_and_judges("As a woman, ")


@pytest.mark.slow
def test_from_the_runs_to_the_page(handmade, call, tmp_path):
    write_dataset(handmade, tmp_path / "data")
    data, page = tmp_path / "data", tmp_path / "out" / "open.html"
    everyone = ["--part", "all"]
    with Server(talks) as server:
        how = ["--base-url", server.url]
        for name in ("base", "gpt"):
            call("open", "ask", data, "--model", f"openai-compatible/{name}", "-o", tmp_path / name, *everyone, *how)
        call("ask", data, "--model", "openai-compatible/base", "--elicitation", "text", "-o", tmp_path / "closed", *everyone, *how)
        judging = ["--against", tmp_path / "gpt", "--judge", "openai-compatible/judge", "-o", tmp_path / "verdicts", *how]
        call("open", "judge", data, tmp_path / "base", *judging)
        call("open", "stance", data, tmp_path / "base", "--judge", "openai-compatible/judge", "-o", tmp_path / "stances", *how)
    out, err = call("open", "texts", data, tmp_path / "base", "--permutations", "20", "--json")
    leaks = {row["key"]: row["value"] for row in json.loads(out)["text_rates"] if row["by"] == "level" and row["measure"] == "leak"}
    assert (leaks["sex=Female"], leaks["sex=Male"]) == (1.0, 0.0)
    runs = ["--runs", tmp_path / "base", "--runs", tmp_path / "gpt"]
    said_of = ["--judgements", tmp_path / "verdicts", "--stances", tmp_path / "stances", "--closed", tmp_path / "closed"]
    rest = ["--baselines", "none", "--bootstrap", "50", "--permutations", "20", *everyone]
    example = ["--example", "Q1", "sex_Male", "sex_Female"]
    out, _ = call("open", "report", data, *runs, *said_of, *rest, *example, "-o", page)
    assert out == f"Report: {page}\n"
    text = page.read_text()
    assert "How much does your family matter in your life?" in text or "Q1:" in text
    assert "base chooses the option that it expresses in its own words in 100" in text
    assert (tmp_path / "out" / "open-tables" / "win_rates.csv").is_file()
    _, err = call("open", "report", data, "--runs", tmp_path / "base", *said_of, "-o", page, code=3)
    assert "add its folder to --runs" in err
    _, err = call("open", "report", data, *runs, "--example", "Q1", "sex_Male", "sex_Femal", "-o", page, code=2)
    assert "Did you mean 'sex_Female'?" in err
    _, err = call("open", "report", data, "--runs", tmp_path / "closed", "-o", page, code=3)
    assert "not a run of open answers" in err
    _, err = call("open", "texts", data, tmp_path / "closed", code=3)
    assert "not a run of open answers" in err
