"""The command `calibrate`: what it prints and refuses."""

from __future__ import annotations

import json

import pytest

from tests.calibration.model_run import biased, written
from tests.poison import data
from valuestrata.dataset.tables import write_dataset


@pytest.fixture
def folders(tmp_path):
    write_dataset(data(), tmp_path / "data")
    (tmp_path / "run").mkdir()
    written(data(), tmp_path / "run", biased(data()))
    return tmp_path


def test_parameters_and_reliability_are_printed_for_people_and_for_programs(call, folders):
    words = ("calibrate", folders / "data", folders / "run", "-o", folders / "out", "--method", "shrunken-persona")
    found = call(*words)
    assert found.code == 0, found.err
    for text in (
        "pairs answered.",
        "Slope and offsets by scale: mean (range) over 5 folds.",
        "factor",
        "Reliability on the test pairs",
        "before,",
    ):
        assert text in found.out
    again = call(*words, "--json")
    document = json.loads(again.out)
    assert [one["fold"] for one in document["folds"]] == [0, 1, 2, 3, 4]
    assert {"scales", "factor", "penalty_offsets"} <= document["folds"][0].keys()
    assert {row["run"] for row in document["reliability"]} == {"before", "after"}
    assert call("score", folders / "data", folders / "out", "--split", "unseen-item", "--baselines", "none", "--bootstrap", "0").code == 0


def test_wrong_calls_have_one_message_and_write_nothing(call, folders):
    train = set(data().part("paper", "train").select("item", "subgroup").iter_rows())
    (folders / "tested").mkdir()
    given = biased(data())
    written(data(), folders / "tested", lambda *pair: None if pair in train else given(*pair))
    refused = call("calibrate", folders / "data", folders / "tested", "-o", folders / "none", "--split", "paper")
    assert refused.code == 3
    assert "answered none of the" in refused.err
    assert "--part all" in refused.err
    assert call("calibrate", folders / "data", folders / "run", "-o", folders / "none", "--method", "share").code == 2
    assert not (folders / "none").exists()
