"""The commands of open answers as a user calls them, against a real server."""

import json

import pytest

from tests.hosted.server import Act, Server, said
from tests.openended.protocol import command_line, speaks_and_judges
from valuestrata.dataset.tables import write_dataset
from valuestrata.openended.open_runs import load_open_run


@pytest.fixture
def data(handmade, tmp_path):
    write_dataset(handmade, tmp_path / "data")
    return str(tmp_path / "data")


@pytest.fixture
def call(monkeypatch, capsys):
    return command_line(monkeypatch, capsys)


talks = speaks_and_judges()


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
        assert out.startswith("108 prompts, 0 of them already answered: 108 calls.")
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
        assert "Warning: openai-compatible/base judges its own answers (base)" in err
        document = json.loads(out)
        assert len(document["judges"]) == 2
        same = [row for row in document["agreement"] if row["metric"] == "same"]
        assert {(row["run"], row["closed"], row["value"]) for row in same} == {("base", "closed", 1.0)}
        assert {row["answers_of"] for row in document["scores"]} == {"base", "tuned"}
        out, _ = call("open", "stance", data, *runs, *reading)
        assert "no stance counts as a missing answer" in out
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
        assert "need a language model" in err
        _, err = call("open", "stance", data, tmp_path / "nowhere", *judging, code=3)
        assert "no run here" in err
        assert len(server.log) == before
        assert not (tmp_path / "out").exists()


def test_the_cost_guard_stops_asking_and_length_and_decoding_are_recorded(data, call, tmp_path):
    def cut(request):
        return Act(document=said("I care for", finish="length", tokens=(100, 400)))

    with Server(cut) as server:
        model = ["--model", "openai-compatible/a", "-o", tmp_path / "a", "--base-url", server.url, "--concurrency", "1"]
        prices = ["--price-in", "0", "--price-out", "1000"]
        out, _ = call("open", "ask", data, *model, *prices, "--max-cost", "1.3")
        # An answer costs .40 at most, so that three are paid before 1.30 is.
        assert "3 answered" in out
        assert "6 left" in out
        out, _ = call("open", "ask", data, *model, *prices)
        assert "0 left" in out
        assert len(server.log) == 9
    run = load_open_run(tmp_path / "a")
    assert set(run.responses["finish_reason"]) == {"length"}
    assert "400" in json.dumps(run.meta["respondent"])
    assert set(run.responses["completion_tokens"]) == {400}


def test_stances_of_another_part_are_not_scored_in_silence(data, call, tmp_path):
    with Server(talks) as server:
        how = ["--base-url", server.url]
        call("open", "ask", data, "--model", "openai-compatible/a", "--part", "train", "-o", tmp_path / "a", *how)
        reading = [tmp_path / "a", "--judge", "openai-compatible/one", "-o", tmp_path / "out", *how]
        _, err = call("open", "stance", data, *reading)
        assert "None of these answers is in part test of split paper" in err
        _, err = call("open", "stance", data, *reading, "--part", "train")
        assert "None of these" not in err


def test_several_judges_share_the_limits_and_the_document(data, call, tmp_path):
    with Server(talks) as server:
        how = ["--base-url", server.url]
        call("open", "ask", data, "--model", "openai-compatible/a", "-o", tmp_path / "a", *how)
        reading = [tmp_path / "a", "--judge", "openai-compatible/one", "--judge", "openai-compatible/two", "-o", tmp_path / "out", *how]
        out, _ = call("open", "stance", data, *reading, "--dry-run", "--json")
        assert [(row["judge"], row["calls"]) for row in json.loads(out)["judges"]] == [
            ("openai-compatible/one", 9),
            ("openai-compatible/two", 9),
        ]
        out, _ = call("open", "stance", data, *reading, "--max-calls", "11", "--json")
        document = json.loads(out)
        assert [row["asked"] for row in document["judges"]] == [9, 2]
        assert {(row["judge"], row["other"]) for row in document["judges_compared"]} == {("openai-compatible/one", "openai-compatible/two")}
        assert [row["value"] for row in document["judges_compared"] if row["metric"] == "same"] == [1.0]
        assert "majority of 2 judges" in {row["judge"] for row in document["scores"]}
        out, _ = call("open", "stance", data, *reading)
        assert "Agreement between judges" in out
        before = len(server.log)
        _, err = call("open", "stance", data, *reading[:3], "--judge", "opnai/x", *reading[5:], code=2)
        assert "Did you mean 'openai'" in err
        assert len(server.log) == before
        call("ask", data, "--model", "openai-compatible/b", "--elicitation", "text", "-o", tmp_path / "closed", *how)
        before = len(server.log)
        _, err = call("open", "stance", data, *reading[:-4], "-o", tmp_path / "new", "--closed", tmp_path / "closed", *how, code=3)
        assert "is by a model that wrote these open answers" in err
        assert len(server.log) == before


def test_several_judges_share_one_cost_limit_also_over_repeated_commands(data, call, tmp_path):
    with Server(talks) as server:
        how = ["--base-url", server.url]
        call("open", "ask", data, "--model", "openai-compatible/a", "-o", tmp_path / "a", *how)
        reading = [tmp_path / "a", "-o", tmp_path / "out", *how, "--price-in", "1000", "--price-out", "1000", "--max-new-tokens", "4"]
        judges = ["openai-compatible/one", "openai-compatible/two"]
        before, limit = len(server.log), 1.75
        # Nine calls of each judge would cost 18 times .104 dollars. What the other judge cost earlier counts, in any order.
        for one, two in (judges, judges[::-1], judges):
            call("open", "stance", data, *reading, "--judge", one, "--judge", two, "--max-cost", limit, "--concurrency", "1")
            assert 0.104 * (len(server.log) - before) <= limit
        assert len(server.log) - before >= 9
        call("open", "stance", data, *reading, "--judge", judges[0], "--judge", judges[1], "--max-cost", "20")
        assert len(server.log) - before == 18


def test_a_judge_that_no_call_reaches_ends_with_4_and_keeps_the_folder(data, call, tmp_path):
    down = [False]
    with Server(lambda request: Act(status=500) if down[0] else talks(request)) as server:
        how = ["--base-url", server.url, "--attempts", "1"]
        for name in ("a", "b"):
            call("open", "ask", data, "--model", f"openai-compatible/{name}", "-o", tmp_path / name, *how)
        down[0] = True
        judging = [tmp_path / "a", "--against", tmp_path / "b", "--judge", "openai-compatible/judge", "-o", tmp_path / "verdicts", *how]
        _, err = call("open", "judge", data, *judging, code=4)
        assert "no call succeeded" in err
        reading = [tmp_path / "a", "--judge", "openai-compatible/judge", "-o", tmp_path / "read", *how]
        _, err = call("open", "stance", data, *reading, code=4)
        assert "no call succeeded" in err
        down[0] = False
        assert "54 answered" in call("open", "judge", data, *judging)[0]
        assert "9 answered" in call("open", "stance", data, *reading)[0]


@pytest.mark.slow
@pytest.mark.model
def test_the_embedded_model_speaks_reads_and_judges(data, call, tmp_path):
    for name, seed in (("one", 1), ("two", 2)):
        tokens = ["--max-new-tokens", "12", "--temperature", "1", "--seed", seed, "--items", "Q1"]
        call("open", "ask", data, "--model", "embedded", "-o", tmp_path / name, *tokens)
    out, err = call("open", "stance", data, tmp_path / "one", "--judge", "embedded", "-o", tmp_path / "read", "--json")
    assert "Warning: embedded judges its own answers (one)" in err
    assert json.loads(out)["judges"][0]["failed"] == 0
    with Server(talks) as server:
        judges = ["--judge", "openai-compatible/one", "--judge", "embedded", "-o", tmp_path / "both", "--base-url", server.url]
        prices = ["--price-in", "1", "--price-out", "1", "--max-cost", "1"]
        out, _ = call("open", "stance", data, tmp_path / "one", *judges, *prices, "--json")
        # The limit of cost is for the judge that is paid.
        assert [row["left"] for row in json.loads(out)["judges"]] == [0, 0]
    judging = ["--against", tmp_path / "two", "--judge", "embedded", "-o", tmp_path / "verdicts", "--only", "value", "--json"]
    out, _ = call("open", "judge", data, tmp_path / "one", *judging, "--elicitation", "logprob")
    document = json.loads(out)
    assert (document["answered"], document["failed"]) == (6, 0)
    _, err = call("open", "judge", data, tmp_path / "one", *judging, "--elicitation", "logprob", "--context", "100", code=3)
    assert "embedded has a context of 100 tokens" in err
