"""The section `calibrate` of a study: both sides of the split are asked, and each model's answers are calibrated, once."""

import polars as pl
import pytest
import yaml

from tests.hosted.server import Server, answers
from valuestrata.errors import InputDataError, UsageError
from valuestrata.responses.run.folder import load_run
from valuestrata.study import run_study
from valuestrata.study.config import load_study

pytest.importorskip("openai", reason="needs the extra `api`")


@pytest.fixture
def server(monkeypatch):
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "OPENAI_COMPATIBLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with Server(answers) as running:
        yield running


@pytest.fixture
def study(tiny, server):
    """A function that writes a study of a model and its control without personas."""

    def written(**changes):
        model = {"model": "openai-compatible/m", "base_url": server.url, "name": "m"}
        control = {**model, "model": "control:no-persona@openai-compatible/m", "name": "none"}
        document = {
            "name": "better",
            "output": "out",
            "survey": {"file": "tiny.csv", "codebook": "tiny.yaml"},
            "build": {"draws": 20},
            "ask": {"elicitation": "text"},
            "models": [model, control],
            "calibrate": {"methods": ["shares"]},
            "score": {"bootstrap": 20, "baselines": "cheap"},
            "report": {"published": False},
            **changes,
        }
        path = tiny / "study.yaml"
        path.write_text(yaml.safe_dump(document))
        return load_study(path)

    return written


NAMES = ["m-shares", "m-shares-shuffled-answers", "m-shares-no-model", "none-shares"]


def test_each_model_is_calibrated_with_its_controls_and_kept(study, tiny, server):
    messages: list[str] = []
    result = run_study(study(), say=messages.append)
    assert [run.name for run in result.calibrated] == NAMES
    assert [run.name for run in result.model_runs] == ["m", "none", *NAMES]
    # Both sides of the split were asked; only the test part is scored.
    pairs = result.dataset.part("paper", "all")["pair_id"].n_unique()
    assert load_run(tiny / "out" / "runs" / "m").responses["pair_id"].n_unique() == pairs
    assert load_run(tiny / "out" / "runs" / "m-shares").meta["respondent"]["of"]["name"] == "openai-compatible/m"
    assert set(result.scores["part"]) == {"test"}
    found = pl.read_parquet(tiny / "out" / "verdicts.parquet").filter(pl.col("run") == "m-shares")["rule"].to_list()
    assert any(rule.startswith("model-") for rule in found)
    assert any(rule.startswith("calibration-") for rule in found)
    assert "What does the model add to the calibrated run?" in result.report.read_text()

    asked = len(server.log)
    messages.clear()
    again = run_study(study(), say=messages.append)
    assert len(server.log) == asked
    assert sum("already calibrated, kept" in line for line in messages) == len(NAMES)
    assert again.scores.equals(result.scores)


def test_calibrate_true_means_the_defaults_and_a_plan_may_name_the_runs(study):
    found = study(calibrate={"methods": ["shares"], "controls": []}, plan={"comparisons": [{"run": "m-shares", "against": "m"}]})
    result = run_study(found)
    assert [run.name for run in result.calibrated] == ["m-shares", "none-shares"]
    declared = result.assessment.comparisons.filter(pl.col("status") == "declared")
    assert declared.select("run", "against").rows() == [("m-shares", "m")]
    assert study(calibrate=True).calibrate.controls == ["shuffled-answers", "no-model"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["baseline:item-mode"]}, "all models are baselines"),
        ({"split": {"scheme": "transfer"}}, "the split 'transfer' has no training pairs"),
    ],
)
def test_nothing_is_asked_where_nothing_can_be_calibrated(study, server, changes, message):
    with pytest.raises(UsageError, match=message):
        run_study(study(**changes))
    assert not server.log


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"methods": ["share"]}, "there is no calibration method 'share'. Did you mean 'shares'"),
        ({"methods": ["shares", "shares"]}, "listed twice"),
        ({"controls": ["no-persona"]}, "shuffled-answers"),
    ],
)
def test_unknown_methods_and_controls_are_refused(study, section, message):
    with pytest.raises(InputDataError, match=message):
        study(calibrate=section)


def test_a_run_that_stopped_before_the_training_pairs_is_named_and_left_out(study):
    messages: list[str] = []
    result = run_study(study(split={"scheme": "unseen-item"}, ask={"elicitation": "text", "max_calls": 1}), say=messages.append)
    assert result.calibrated == ()
    assert any(line.startswith("m-shares: not calibrated: ") for line in messages)
