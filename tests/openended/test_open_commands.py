"""The commands of open answers as a user calls them, against a real server."""

import json

import pytest

from tests.hosted.server import Act, Server, said
from tests.openended.protocol import chance_of, judges
from valuestrata.cli import main
from valuestrata.dataset import write_dataset


@pytest.fixture
def data(handmade, tmp_path):
    write_dataset(handmade, tmp_path / "data")
    return str(tmp_path / "data")


@pytest.fixture
def call(monkeypatch, capsys):
    def called(*words, code=0):
        monkeypatch.setattr("sys.argv", ["valuestrata", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == code, err
        return out, err

    return called


def talks(request):
    """One model for all: it judges, reads and speaks."""
    content = request.body["messages"][-1]["content"]
    if "Verdict:" in content:
        return judges()(request)
    if "Takes no stance" in content:
        return Act(document=said("Answer: 2"))
    if "Reply with one number" in content:
        return Act(document=said("Answer: 2"))
    return Act(document=said(f"I give it weight {chance_of(request.body['model'], content):.6f} in my life."))


def test_ask_judge_and_read_from_the_command_line(data, call, tmp_path):
    with Server(talks) as server:
        how = ["--base-url", server.url]
        for name in ("base", "tuned", "gpt"):
            model = ["--model", f"openai-compatible/{name}", "-o", tmp_path / name]
            out, err = call("open", "ask", data, *model, *how)
            assert "9 answered" in out
            assert "3 items have no open question" in err
            body = server.log[-1].body
            assert body["max_tokens"] == 400
        call("ask", data, "--model", "openai-compatible/base", "--elicitation", "text", "-o", tmp_path / "closed", *how)
        runs = [tmp_path / "base", tmp_path / "tuned"]
        judging = ["--against", tmp_path / "gpt", "--judge", "openai-compatible/judge", "-o", tmp_path / "verdicts", *how]
        out, _ = call("open", "judge", data, *runs, *judging, "--dry-run")
        assert out.startswith("108 prompts, 0 of them answered before: 108 calls.")
        out, err = call("open", "judge", data, *runs, *judging, "--base", "base", "--json")
        document = json.loads(out)
        assert (document["answered"], document["left"]) == (108, 0)
        wins = {(row["run"], row["criterion"]): row["value"] for row in document["winrates"] if row["metric"] == "win_rate"}
        assert set(wins) == {(run, criterion) for run in ("base", "tuned") for criterion in ("value", "persona", "overall")}
        gains = {row["criterion"]: row["value"] for row in document["differences"]}
        assert gains["value"] == pytest.approx(wins["tuned", "value"] - wins["base", "value"])
        out, _ = call("open", "judge", data, *runs, *judging)
        assert "win 1, tie .5, loss 0" in out
        assert "open validity" in out
        reading = ["--judge", "openai-compatible/one", "--judge", "openai-compatible/base", "-o", tmp_path / "stances", *how]
        out, err = call("open", "stance", data, *runs, *reading, "--closed", tmp_path / "closed", "--json")
        assert "Warning: openai-compatible/base judges answers of its own (base)" in err
        document = json.loads(out)
        assert len(document["judges"]) == 2
        same = [row for row in document["agreement"] if row["metric"] == "same"]
        assert {(row["run"], row["closed"], row["value"]) for row in same} == {("base", "closed", 1.0)}
        assert {row["answers_of"] for row in document["scores"]} == {"base", "tuned"}
        out, _ = call("open", "stance", data, *runs, *reading)
        assert "no stance counts as an answer that is missing" in out
        call("score", data, tmp_path / "base", code=3)


def test_wrong_calls_are_told_before_anything_is_asked(data, call, tmp_path):
    with Server(talks) as server:
        how = ["--base-url", server.url]
        call("open", "ask", data, "--model", "openai-compatible/a", "-o", tmp_path / "a", *how)
        call("open", "ask", data, "--model", "openai-compatible/b", "--items", "Q1", "-o", tmp_path / "b", *how)
        before = len(server.log)
        judging = ["--judge", "openai-compatible/judge", "-o", tmp_path / "out", *how]
        _, err = call("open", "judge", data, tmp_path / "a", "--against", tmp_path / "b", *judging, code=2)
        assert "has 3 of the 9 answers" in err
        _, err = call("open", "judge", data, tmp_path / "a", "--against", tmp_path / "b", *judging, "--common", "--context", "20", code=3)
        assert "prompts are longer" in err
        _, err = call("open", "judge", data, tmp_path / "a", "--against", tmp_path / "b", *judging, "--only", "valu", code=2)
        assert "Did you mean 'value'" in err
        _, err = call("open", "ask", data, "--model", "baseline:midpoint", "-o", tmp_path / "c", code=2)
        assert "needs a language model" in err
        _, err = call("open", "stance", data, tmp_path / "nowhere", *judging, code=3)
        assert "no run here" in err
        assert len(server.log) == before
        assert not (tmp_path / "out").exists()


@pytest.mark.model
def test_the_embedded_model_speaks_reads_and_judges(data, call, tmp_path):
    for name, seed in (("one", 1), ("two", 2)):
        tokens = ["--max-new-tokens", "12", "--temperature", "1", "--seed", seed, "--items", "Q1"]
        call("open", "ask", data, "--model", "embedded", "-o", tmp_path / name, *tokens)
    out, err = call("open", "stance", data, tmp_path / "one", "--judge", "embedded", "-o", tmp_path / "read", "--json")
    assert "Warning: embedded judges answers of its own (one)" in err
    assert json.loads(out)["judges"][0]["failed"] == 0
    judging = ["--against", tmp_path / "two", "--judge", "embedded", "-o", tmp_path / "verdicts", "--only", "value", "--json"]
    out, _ = call("open", "judge", data, tmp_path / "one", *judging, "--elicitation", "logprob")
    document = json.loads(out)
    assert (document["answered"], document["failed"]) == (6, 0)
    _, err = call("open", "judge", data, tmp_path / "one", *judging, "--elicitation", "logprob", "--context", "100", code=3)
    assert "embedded reads and writes 100 tokens at most" in err
