"""The command `predict` on the tiny survey, with a model that answers every prompt alike."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tests.responses.asked import Writes
from valuestrata.prediction import predict as predicting
from valuestrata.respondents.base import Answer
from valuestrata.respondents.baselines.kinds import BASELINES

NEW = """
- id: tax
  question: Should taxes rise?
  options: [Yes, No]
- id: mood
  question: How is the mood?
  options: [Good, Neither, Bad]
  scale: ordinal
"""


@pytest.fixture
def model(monkeypatch):
    # Texts are embedded once, for similarities; the baseline of texts is tested elsewhere.
    monkeypatch.setitem(BASELINES, "item-text", BASELINES["item-average"])
    found = Writes(lambda prompt: Answer(prompt, option_probs=tuple(1 / len(prompt.shown) for _ in prompt.shown), option_mass=1.0))
    monkeypatch.setattr(predicting, "make_respondent", lambda *_, **__: found)
    return found


@pytest.fixture
def words(data, tmp_path):
    file = tmp_path / "new.yaml"
    file.write_text(NEW)
    return ["predict", data, "--questions", file, "--model", "embedded", "--method", "shares", "--bootstrap", 20, "-o", tmp_path / "out"]


def test_it_prints_the_backtest_first_and_writes_everything(call, words, model, tmp_path):
    outcome = call(*words)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("Backtest on the survey's own questions (3 topics left out in turn)")
    assert lines[4].startswith("Report: ")
    assert "calls" in outcome.err
    table = pl.read_parquet(tmp_path / "out/predictions.parquet")
    assert set(table["question"]) == {"tax", "mood"}
    # Three questions cannot show how far a fourth may be.
    assert table["low"].unique().to_list() == [0.0]
    assert table["high"].unique().to_list() == [1.0]
    asked = len(model.asked)
    again = call(*words, "--json")
    document = json.loads(again.out)
    assert len(model.asked) == asked
    assert len(document["predictions"]) == table.height
    assert document["intervals"]["unit"] == "item"


def test_a_limit_predicts_nothing_and_says_what_is_left(call, words, model, tmp_path):
    outcome = call(*words, "--max-calls", 5)
    assert outcome.code == 0
    assert "nothing is predicted yet" in outcome.out
    assert not (tmp_path / "out/predictions.parquet").exists()


def test_a_dry_run_asks_nothing(call, words, model, tmp_path):
    outcome = call(*words, "--dry-run")
    assert (outcome.code, model.asked) == (0, [])
    assert "calls" in outcome.out
    assert not (tmp_path / "out").exists()


def test_a_run_of_another_model_is_refused(call, words, model, data, tmp_path):
    assert call(*words).code == 0
    other = tmp_path / "other.yaml"
    other.write_text(NEW.replace("mood", "temper").replace("tax", "duty"))
    run = ["--run", tmp_path / "out/runs/own"]
    assert call(*words[:3], other, *words[4:], *run).code == 0
    model.more = {"revision": "another"}
    outcome = call(*words[:3], other, *words[4:-1], tmp_path / "third", *run)
    assert outcome.code == 3
    assert "another model" in outcome.err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--method", "sharess"], 2, "Did you mean 'shares'"),
        (["--own-items", 2], 2, "own-items"),
        (["--strata", "sx"], 2, "no stratum 'sx'"),
        (["--questions", "none.yaml"], 3, "none.yaml"),
    ],
)
def test_wrong_calls_have_one_message(call, words, model, tmp_path, more, code, message):
    outcome = call(*words, *more)
    assert outcome.code == code
    assert message in outcome.err
    assert not (tmp_path / "out").exists()
