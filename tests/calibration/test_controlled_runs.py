"""Runs calibrated with a control: what identifies them, what is printed, and how they score."""

from __future__ import annotations

import polars as pl
import pytest

import valuestrata as vs
from tests.calibration.model_run import biased, written
from tests.poison import data
from valuestrata.assessment import assess
from valuestrata.reports.core.view import entries_of
from valuestrata.responses.run.identity import run_identity

SPLIT = "paper"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A model that knows the subgroups, its calibration, and the two controls."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "model").mkdir()
    model = written(data(), folder / "model", biased(data()))
    found = {"model": model}
    for name, control in (("shuffled", "shuffled-answers"), ("without", "no-model"), ("calibrated", None)):
        found[name] = vs.calibrate(data(), model, folder / name, split=SPLIT, method="shares", control=control).run
    return found


def test_a_control_is_part_of_the_identity(runs):
    kinds = [(run_identity(run).kind, run_identity(run).control, run_identity(run).method) for run in runs.values()]
    assert kinds == [
        ("model", None, None),
        ("control", "shuffled-answers", "shares"),
        ("control", "no-model", "shares"),
        ("model", None, "shares"),
    ]
    assert run_identity(runs["calibrated"]).is_calibrated_from(run_identity(runs["model"]))
    assert runs["shuffled"].meta["respondent"]["seed"] == 0


def test_without_the_model_the_same_method_scores_worse(runs):
    scores = vs.score(data(), list(runs.values()), split=SPLIT, bootstrap=0).filter((pl.col("by") == "all") & (pl.col("metric") == "w1"))
    w1 = dict(scores.select("run", "value").iter_rows())
    assert w1["calibrated"] < 0.8 * w1["without"]
    assert w1["calibrated"] < 0.8 * w1["shuffled"]


def test_a_calibrated_run_follows_its_source_in_tables(runs):
    other = {**runs["model"].meta["respondent"], "name": "other", "revision": "2"}
    second = type(runs["model"])("other", runs["model"].path, {**runs["model"].meta, "respondent": other}, runs["model"].responses)
    given = [runs["model"], second, *list(runs.values())[1:]]
    scores = vs.score(data(), given, split=SPLIT, bootstrap=0, by=["all"])
    assert [entry.run for entry in entries_of(given, scores)] == ["model", "calibrated", "other", "shuffled", "without"]


def test_items_without_a_partner_keep_their_answers_and_are_named(runs, tmp_path):
    found = vs.calibrate(data(), runs["model"], tmp_path / "out", split="unseen-item", method="shares", control="shuffled-answers")
    remarks = [str(remark) for remark in found.remarks]
    assert any("keep their own answers, because no other item on the same side of the split" in remark for remark in remarks)
    again = {"split": "unseen-item", "method": "shares", "control": "shuffled-answers", "overwrite": True}
    assert vs.calibrate(data(), runs["model"], tmp_path / "out", **again).kept
    assert not vs.calibrate(data(), runs["model"], tmp_path / "out", **again, seed=1).kept


def test_the_claims_of_a_calibrated_run_name_what_it_was_compared_with(runs):
    claims = assess(data(), list(runs.values()), split=SPLIT, bootstrap=60).claims
    own = {claim.kind: claim for claim in claims if claim.run == "calibrated" and claim.metric == "w1"}
    (added,) = [claim for kind, claim in own.items() if kind.startswith("model-")]
    assert {figure.label for figure in added.figures if figure.role == "rival"} == {"no-model=without", "shuffled-answers=shuffled"}
    assert own["calibration-better"].against == "model"
